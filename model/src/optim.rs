//! AdamW over named variables, in one pass per parameter, with moments that can be saved.
//!
//! candle-nn's AdamW keeps its moments private, so a run that uses it cannot be resumed exactly. It also walks each
//! parameter a dozen times with temporary tensors. Here `accumulate` first adds the gradients of any number of
//! micro-batches or shards into one buffer per parameter. Then `apply` computes the global norm in f64, folds the
//! clipping factor into the update, and writes first moment, second moment and parameter in one vectorised loop. On a
//! GPU kernels do the same; on other devices tensor operations do (`device.rs`).
//!
//! The formula is decoupled weight decay as in Loshchilov and Hutter, "Decoupled Weight Decay
//! Regularization" (arXiv 1711.05101), algorithm 2, in PyTorch's parametrisation:
//! `theta <- theta (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`.

mod device;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor, Var};

use crate::engine::train_pass::Factors;
use crate::error::{Error, Result};

/// The constants of AdamW. The learning rate is an argument of [`AdamW::apply`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, for the parameters that [`decays`] names.
    pub weight_decay: f64,
}

/// The outcome of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// Global L2 norm of the gradient before clipping.
    pub norm: f64,
    /// False when the norm was not finite. Parameters, moments and step count are then unchanged.
    pub applied: bool,
}

/// Whether weight decay applies to the parameter `name`. It applies to the matrices of the projections, the convolution
/// and the embedding. It does not apply to gains of norms, to biases, or to the SSM's own scalars, for which zero is
/// not a neutral value (the reference marks `A_log`, `D` and `dt_bias` likewise).
pub fn decays(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    !(last == "A_log" || last == "D" || last.ends_with("bias") || name.contains("norm"))
}

struct Slot {
    name: String,
    var: Var,
    decay: bool,
    buffers: Buffers,
}

enum Buffers {
    /// Gradient sum, first and second moment, flat in row-major order.
    Host { grad: Vec<f32>, first: Vec<f32>, second: Vec<f32> },
    /// The same as tensors of the parameter's shape.
    Device { grad: Option<Tensor>, first: Tensor, second: Tensor },
}

/// The optimiser: the parameters, their moments, and the gradient sum of the current step.
pub struct AdamW {
    slots: Vec<Slot>,
    config: AdamWConfig,
    steps: u64,
    arch: pulp::Arch,
    loaded: device::Loaded,
}

impl AdamW {
    /// An optimiser with zero moments over `vars`, which must be float32. Parameters are ordered by name, and so is
    /// every sum over them.
    pub fn new(vars: impl IntoIterator<Item = (String, Var)>, config: AdamWConfig) -> Result<Self> {
        let mut slots = Vec::new();
        for (name, var) in vars {
            if var.dtype() != DType::F32 {
                return Err(Error::TensorDtype { name, got: format!("{:?}", var.dtype()) });
            }
            let buffers = match var.device() {
                Device::Cpu => {
                    let zeros = vec![0f32; var.elem_count()];
                    Buffers::Host { grad: zeros.clone(), first: zeros.clone(), second: zeros }
                }
                _ => Buffers::Device { grad: None, first: var.zeros_like()?, second: var.zeros_like()? },
            };
            slots.push(Slot { decay: decays(&name), name, var, buffers });
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { slots, config, steps: 0, arch: pulp::Arch::new(), loaded: device::Loaded::default() })
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The parameters in the optimiser's order.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), &slot.var))
    }

    /// Adds `weight` times the gradients in `grads`, by parameter name, to the sum of this step. A parameter without a
    /// gradient is an error: an operation on its path has no backward pass.
    pub fn accumulate(&mut self, grads: &BTreeMap<String, Tensor>, weight: f64) -> Result<()> {
        for slot in &mut self.slots {
            let grad = grads.get(&slot.name).ok_or_else(|| Error::MissingTensor {
                name: format!("gradient of {}", slot.name),
                expected: slot.var.dims().to_vec(),
            })?;
            if grad.shape() != slot.var.shape() {
                return Err(Error::TensorShape {
                    name: format!("gradient of {}", slot.name),
                    expected: slot.var.dims().to_vec(),
                    got: grad.dims().to_vec(),
                });
            }
            match &mut slot.buffers {
                Buffers::Host { grad: sum, .. } => {
                    with_f32(grad, |g| self.arch.dispatch(|| add_into(sum, g, weight as f32)))?;
                }
                Buffers::Device { grad: sum, .. } => {
                    let grad = (grad.detach() * weight)?;
                    *sum = Some(match sum.take() {
                        Some(sum) => sum.add(&grad)?,
                        None => grad,
                    });
                }
            }
        }
        Ok(())
    }

    /// One update with learning rate `lr`. A gradient longer than `clip` is scaled down to that norm (0 = never).
    /// Clears the gradient sum.
    pub fn apply(&mut self, lr: f64, clip: f64) -> Result<Applied> {
        let mut sum = 0f64;
        let mut elsewhere = Vec::new();
        for slot in &self.slots {
            match &slot.buffers {
                Buffers::Host { grad, .. } => sum += self.arch.dispatch(|| square_sum(grad)),
                Buffers::Device { grad, .. } => elsewhere.extend(grad),
            }
        }
        sum += self.loaded.squares(&elsewhere)?;
        let norm = sum.sqrt();
        if !norm.is_finite() {
            self.clear();
            return Ok(Applied { norm, applied: false });
        }
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        self.steps += 1;
        for slot in &mut self.slots {
            let k = self.config.factors(self.steps, lr, scale, slot.decay);
            match &mut slot.buffers {
                Buffers::Host { grad, first, second } => {
                    slot.var.inplace_op1(&Update {
                        k,
                        arch: self.arch,
                        buffers: RefCell::new((grad, first, second)),
                    })?;
                }
                Buffers::Device { grad, first, second } => {
                    if let Some(grad) = grad.take() {
                        self.loaded.update(&slot.var, &grad, (first, second), &k)?;
                    }
                }
            }
        }
        Ok(Applied { norm, applied: true })
    }

    fn clear(&mut self) {
        for slot in &mut self.slots {
            match &mut slot.buffers {
                Buffers::Host { grad, .. } => grad.fill(0.0),
                Buffers::Device { grad, .. } => *grad = None,
            }
        }
    }

    /// Both moments of every parameter as `<name>.first` and `<name>.second`, for a checkpoint.
    pub fn moments(&self) -> Result<HashMap<String, Tensor>> {
        let mut out = HashMap::new();
        for slot in &self.slots {
            let (first, second) = match &slot.buffers {
                Buffers::Host { first, second, .. } => {
                    let tensor = |v: &[f32]| Tensor::from_slice(v, slot.var.shape(), &Device::Cpu);
                    (tensor(first)?, tensor(second)?)
                }
                Buffers::Device { first, second, .. } => (first.clone(), second.clone()),
            };
            out.insert(format!("{}.first", slot.name), first);
            out.insert(format!("{}.second", slot.name), second);
        }
        Ok(out)
    }

    /// Restores what [`AdamW::moments`] gave after `steps` updates.
    pub fn restore(&mut self, moments: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        for slot in &mut self.slots {
            let find = |suffix: &str| {
                let name = format!("{}.{suffix}", slot.name);
                let expected = slot.var.dims().to_vec();
                match moments.get(&name) {
                    None => Err(Error::MissingTensor { name, expected }),
                    Some(tensor) if tensor.dims() != expected => {
                        Err(Error::TensorShape { name, expected, got: tensor.dims().to_vec() })
                    }
                    Some(tensor) => Ok(tensor),
                }
            };
            let (new_first, new_second) = (find("first")?, find("second")?);
            match &mut slot.buffers {
                Buffers::Host { first, second, .. } => {
                    with_f32(new_first, |t| first.copy_from_slice(t))?;
                    with_f32(new_second, |t| second.copy_from_slice(t))?;
                }
                Buffers::Device { first, second, .. } => {
                    // Copies, because a kernel updates them in place.
                    *first = new_first.to_device(slot.var.device())?.copy()?;
                    *second = new_second.to_device(slot.var.device())?.copy()?;
                }
            }
        }
        self.steps = steps;
        self.clear();
        Ok(())
    }
}

impl AdamWConfig {
    /// The factors of update number `step`, counted from 1. `scale` multiplies the gradient. `decay` says whether the
    /// parameter decays.
    pub fn factors(&self, step: u64, lr: f64, scale: f64, decay: bool) -> Factors {
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        Factors {
            scale: scale as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            keep: if decay { (1.0 - lr * self.weight_decay) as f32 } else { 1.0 },
            rate: (lr / (1.0 - self.beta1.powi(exponent))) as f32,
            correction: (1.0 / (1.0 - self.beta2.powi(exponent))) as f32,
        }
    }
}

type HostBuffers<'a> = (&'a mut Vec<f32>, &'a mut Vec<f32>, &'a mut Vec<f32>);

/// The fused update as an in-place operation on the parameter's storage. The buffers belong to the optimiser. candle's
/// trait passes `&self`, hence the cell.
struct Update<'a> {
    k: Factors,
    arch: pulp::Arch,
    buffers: RefCell<HostBuffers<'a>>,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else { candle_core::bail!("adamw: expected float32") };
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("adamw: parameter is not contiguous")
        };
        let mut buffers = self.buffers.borrow_mut();
        let (grad, first, second) = &mut *buffers;
        let k = self.k;
        self.arch.dispatch(|| update(&mut values[from..to], grad, first, second, k));
        Ok(())
    }
}

#[inline(always)]
fn update(theta: &mut [f32], grad: &mut [f32], first: &mut [f32], second: &mut [f32], k: Factors) {
    for (((p, g), m), v) in theta.iter_mut().zip(grad).zip(first).zip(second) {
        let scaled = *g * k.scale;
        *m = k.beta1 * *m + (1.0 - k.beta1) * scaled;
        *v = k.beta2 * *v + (1.0 - k.beta2) * scaled * scaled;
        *p = *p * k.keep - k.rate * *m / ((*v * k.correction).sqrt() + k.eps);
        *g = 0.0;
    }
}

#[inline(always)]
fn add_into(sum: &mut [f32], add: &[f32], weight: f32) {
    for (s, a) in sum.iter_mut().zip(add) {
        *s += *a * weight;
    }
}

/// Sum of squares in f64 with eight independent lanes. The order is the same on every machine.
#[inline(always)]
fn square_sum(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

/// Calls `f` with a tensor's float32 values in row-major order. It makes no copy where the tensor is contiguous on the
/// CPU.
fn with_f32<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(cpu) = &*storage else {
        return Err(Error::input("gradient", "a tensor on the cpu", "one elsewhere after a copy to it"));
    };
    let values = cpu.as_slice::<f32>()?;
    let from = layout.start_offset();
    Ok(f(&values[from..from + layout.shape().elem_count()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_nn::optim::{Optimizer, ParamsAdamW};

    const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };

    fn var(seed: u64, n: usize) -> Var {
        use rand::{Rng, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        Var::from_vec(values, n, &Device::Cpu).unwrap()
    }

    /// A loss whose gradient changes with the parameter: sum of (x - target)^4.
    fn loss(x: &Var) -> Tensor {
        (x.as_tensor() - 0.3).unwrap().powf(4.0).unwrap().sum_all().unwrap()
    }

    /// The gradient of a loss with respect to named variables.
    fn gradients(loss: &Tensor, vars: &[(&str, &Var)]) -> BTreeMap<String, Tensor> {
        let store = loss.backward().unwrap();
        let found = vars.iter().filter_map(|(n, v)| Some((n.to_string(), store.get(v.as_tensor())?.clone())));
        found.collect()
    }

    #[test]
    fn equals_candle_nn_over_many_steps() {
        let (ours, theirs) = (var(1, 1003), var(1, 1003));
        let mut a = AdamW::new([("w.weight".to_string(), ours.clone())], CONFIG).unwrap();
        let params = ParamsAdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let mut b = candle_nn::AdamW::new(vec![theirs.clone()], params).unwrap();
        for _ in 0..50 {
            a.accumulate(&gradients(&loss(&ours), &[("w.weight", &ours)]), 1.0).unwrap();
            assert!(a.apply(3e-3, 0.0).unwrap().applied);
            b.backward_step(&loss(&theirs)).unwrap();
        }
        let (x, y) = (ours.to_vec1::<f32>().unwrap(), theirs.to_vec1::<f32>().unwrap());
        let worst = x.iter().zip(&y).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst < 2e-6, "worst difference {worst}");
        assert!(x.iter().zip(var(1, 1003).to_vec1::<f32>().unwrap()).any(|(a, b)| (a - b).abs() > 0.05));
    }

    #[test]
    fn the_device_form_agrees_with_the_fused_form() {
        let (fused, plain) = (var(2, 77), var(2, 77));
        let mut a = AdamW::new([("w.weight".to_string(), fused.clone())], CONFIG).unwrap();
        let (mut m, mut v) = (plain.zeros_like().unwrap(), plain.zeros_like().unwrap());
        let grads = gradients(&loss(&plain), &[("w.weight", &plain)]);
        a.accumulate(&gradients(&loss(&fused), &[("w.weight", &fused)]), 1.0).unwrap();
        a.apply(1e-2, 0.0).unwrap();
        let k = CONFIG.factors(1, 1e-2, 1.0, true);
        device::by_tensors(&plain, &grads["w.weight"], &mut m, &mut v, &k).unwrap();
        let (x, y) = (fused.to_vec1::<f32>().unwrap(), plain.to_vec1::<f32>().unwrap());
        for (a, b) in x.iter().zip(&y) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn norm_clipping_and_accumulation() {
        let x = Var::new(&[0f32, 0.0], &Device::Cpu).unwrap();
        let mut optim = AdamW::new([("b.bias".to_string(), x.clone())], CONFIG).unwrap();
        let linear = |a: f32, b: f32| {
            let c = Tensor::new(&[a, b], &Device::Cpu).unwrap();
            gradients(&(x.as_tensor() * c).unwrap().sum_all().unwrap(), &[("b.bias", &x)])
        };
        optim.accumulate(&linear(2.0, 8.0), 0.5).unwrap();
        optim.accumulate(&linear(2.0, 0.0), 1.0).unwrap();
        let applied = optim.apply(0.1, 1.0).unwrap();
        assert!((applied.norm - 5.0).abs() < 1e-12, "{}", applied.norm);
        let moments = optim.moments().unwrap();
        let first = moments["b.bias.first"].to_vec1::<f32>().unwrap();
        assert!((first[0] - 0.06).abs() < 1e-6 && (first[1] - 0.08).abs() < 1e-6, "{first:?}");
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let x = Var::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let mut optim = AdamW::new([("w".to_string(), x.clone())], CONFIG).unwrap();
        let bad = (x.as_tensor() * f64::INFINITY).unwrap().sum_all().unwrap();
        optim.accumulate(&gradients(&bad, &[("w", &x)]), 1.0).unwrap();
        assert!(!optim.apply(0.1, 1.0).unwrap().applied);
        assert_eq!(x.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(optim.steps(), 0);
        optim.accumulate(&gradients(&x.sum_all().unwrap(), &[("w", &x)]), 1.0).unwrap();
        assert!(optim.apply(0.1, 1.0).unwrap().norm < 2.0, "the bad gradient is gone");
    }

    #[test]
    fn a_parameter_without_a_gradient_is_an_error() {
        let (x, y) = (var(1, 3), var(2, 3));
        let mut optim = AdamW::new([("x".to_string(), x.clone()), ("y".to_string(), y)], CONFIG).unwrap();
        let error = optim.accumulate(&gradients(&loss(&x), &[("x", &x)]), 1.0).unwrap_err().to_string();
        assert!(error.contains("gradient of y is missing"), "{error}");
    }

    #[test]
    fn moments_restore_exactly() {
        let (x, y) = (var(3, 40), var(3, 40));
        let mut a = AdamW::new([("w".to_string(), x.clone())], CONFIG).unwrap();
        for _ in 0..5 {
            a.accumulate(&gradients(&loss(&x), &[("w", &x)]), 1.0).unwrap();
            a.apply(1e-2, 1.0).unwrap();
        }
        y.set(&x.as_detached_tensor().copy().unwrap()).unwrap();
        let mut b = AdamW::new([("w".to_string(), y.clone())], CONFIG).unwrap();
        b.restore(&a.moments().unwrap(), a.steps()).unwrap();
        for (optim, var) in [(&mut a, &x), (&mut b, &y)] {
            optim.accumulate(&gradients(&loss(var), &[("w", var)]), 1.0).unwrap();
            optim.apply(1e-2, 1.0).unwrap();
        }
        assert_eq!(x.to_vec1::<f32>().unwrap(), y.to_vec1::<f32>().unwrap());
    }

    #[test]
    fn decay_spares_norms_biases_and_ssm_scalars() {
        for name in ["backbone.embedding.weight", "backbone.layers.0.mixer.in_proj.weight", "conv1d.weight"] {
            assert!(decays(name), "{name}");
        }
        for name in [
            "l.mixer.A_log",
            "l.mixer.D",
            "l.mixer.dt_bias",
            "l.conv1d.bias",
            "l.norm.weight",
            "norm_f.weight",
        ] {
            assert!(!decays(name), "{name}");
        }
    }
}
