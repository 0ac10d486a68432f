//! The update of parameters in device memory. On a GPU whose kernels this build has, the kernels of `model/kernels`
//! compute it; elsewhere tensor operations do. This is the only file of the optimiser that depends on feature `cuda`.

use candle_core::{DType, Tensor, Var};

use crate::engine::train_pass::Factors;
use crate::error::Result;

/// The device's kernels. They are loaded on first use.
#[derive(Default)]
pub(super) struct Loaded {
    #[cfg(feature = "cuda")]
    runner: std::sync::OnceLock<crate::engine::gpu::train::Runner>,
}

impl Loaded {
    /// The sum of the squares of all gradients.
    pub(super) fn squares(&self, gradients: &[&Tensor]) -> Result<f64> {
        #[cfg(feature = "cuda")]
        if let Some(device) = gradients.first().map(|gradient| gradient.device()).filter(|d| d.is_cuda()) {
            let length = crate::engine::gpu::train::length(self.get(device)?, gradients)?;
            return Ok(length * length);
        }
        let square = |gradient: &&Tensor| -> Result<f64> {
            Ok(gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
        };
        gradients.iter().map(square).sum()
    }

    /// Updates a parameter and its moments.
    pub(super) fn update(
        &self,
        var: &Var,
        gradient: &Tensor,
        (first, second): (&mut Tensor, &mut Tensor),
        factors: &Factors,
    ) -> Result<()> {
        #[cfg(feature = "cuda")]
        if var.device().is_cuda() {
            let runner = self.get(var.device())?;
            return crate::engine::gpu::train::adamw(
                runner,
                var.as_tensor(),
                gradient,
                (first, second),
                factors,
            );
        }
        by_tensors(var, gradient, first, second, factors)
    }

    #[cfg(feature = "cuda")]
    fn get(&self, device: &candle_core::Device) -> Result<&crate::engine::gpu::train::Runner> {
        if let Some(runner) = self.runner.get() {
            return Ok(runner);
        }
        let runner = crate::engine::gpu::train::Runner::new(device)?;
        Ok(self.runner.get_or_init(|| runner))
    }
}

pub(super) fn by_tensors(
    var: &Var,
    gradient: &Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    k: &Factors,
) -> Result<()> {
    let grad = (gradient * f64::from(k.scale))?;
    let m = ((&*first * f64::from(k.beta1))? + (&grad * f64::from(1.0 - k.beta1))?)?;
    let v = ((&*second * f64::from(k.beta2))? + (grad.sqr()? * f64::from(1.0 - k.beta2))?)?;
    let denominator = ((&v * f64::from(k.correction))?.sqrt()? + f64::from(k.eps))?;
    let change = ((&m * f64::from(k.rate))? / denominator)?;
    var.set(&((var.as_tensor() * f64::from(k.keep))? - change)?)?;
    (*first, *second) = (m.detach(), v.detach());
    Ok(())
}
