//! Loss and gradients of a [`Mamba2`] by tensor name: what a training step needs.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::{Engine, Mamba2};
use crate::engine::cpu::gradient::loss_and_gradient;
use crate::engine::cpu::loss::check_range;
use crate::engine::cpu::mixer::Dims;
use crate::error::{Error, Result};
use crate::network::input::{IGNORE, Input};
use crate::network::params::Params;
use crate::network::state::State;

impl Mamba2 {
    /// [`Mamba2::loss`] and its gradient by every tensor's reference name.
    ///
    /// The same as `loss(..)?.backward()?`, to rounding. With [`Engine::Fused`] and [`Engine::Kernels`] it is faster,
    /// because candle's autograd is left out, and the tensors need not be variables; with [`Engine::Tensors`] it is
    /// autograd, and they must be.
    ///
    /// # Errors
    /// As [`Mamba2::loss`]; [`Error::Input`] if autograd is needed and a tensor is no variable.
    pub fn loss_and_gradients<'a>(
        &self,
        input: impl Into<Input<'a>>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        let input = input.into();
        match self.engine {
            Engine::Fused => self.fused_gradients(input, targets, lengths, state),
            Engine::Tensors => self.autograd(input, targets, lengths, state),
            Engine::Kernels(float) => self.checked_kernel_gradients(float, input, targets, lengths, state),
        }
    }

    fn autograd(
        &self,
        input: Input<'_>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        let loss = self.loss(input, targets, lengths, state)?;
        let mut store = loss.backward()?;
        let gradients = self
            .params
            .as_ref()
            .named()
            .into_iter()
            .map(|(name, t)| match store.remove(t) {
                Some(g) => Ok((name, g)),
                None => {
                    Err(Error::input("gradient", "a model of variables", format!("{name}, which is none")))
                }
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        Ok((f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?), gradients))
    }

    /// As [`Self::check_input`]; also checks that every position has a target in range and that at least one counts.
    pub(super) fn check_call(
        &self,
        input: Input<'_>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&State>,
    ) -> Result<(usize, usize)> {
        let (b, l) = self.check_input(input, lengths, state)?;
        if targets.len() != b * l || targets.iter().all(|&t| t == IGNORE) {
            return Err(Error::input("targets", format!("{} of which one counts", b * l), targets.len()));
        }
        check_range(targets, self.cfg.vocab_size)?;
        Ok((b, l))
    }

    fn fused_gradients(
        &self,
        input: Input<'_>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        let (b, l) = self.check_call(input, targets, lengths, state.as_deref())?;
        let whole = vec![l; b];
        let dims = Dims::new(&self.cfg, b, l, lengths.unwrap_or(&whole));
        let mut carried = (0..self.cfg.n_layer)
            .map(|i| self.carried(i, b, state.as_deref()))
            .collect::<Result<Vec<_>>>()?;
        let flat = input.tokens.flatten_all()?.to_vec1::<u32>()?;
        let model = (&self.params, self.cfg.vocab_size);
        let tokens = (&flat[..], input.context, self.cfg.context_fields());
        let (nats, grads) = loss_and_gradient(model, &dims, tokens, targets, &mut carried, &self.buffers)?;
        if let Some(state) = state {
            for (i, carried) in carried.iter().enumerate() {
                state.set_carried(i, carried);
            }
        }
        let gradients = grads.named().into_iter().zip(Params::shapes(&self.cfg).named());
        let gradients = gradients
            .map(|((name, values), (_, shape))| Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?)));
        Ok((nats, gradients.collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::config::ModelConfig;

    /// Buffers of passes are full of NaN when a test's pass takes them.
    #[test]
    fn a_pass_does_not_depend_on_what_the_one_before_left() {
        let cfg = ModelConfig {
            d_model: 24,
            n_layer: 2,
            vocab_size: 11,
            d_state: 8,
            headdim: 8,
            ngroups: 2,
            ..Default::default()
        };
        let model = Mamba2::init(&cfg, 3, &Device::Cpu).unwrap();
        let run = |lengths: &[usize]| {
            let (b, l) = (lengths.len(), 20);
            let tokens: Vec<u32> = (0..b * l).map(|i| (i * 7 % 11) as u32).collect();
            let counts = |i: usize| i % l < lengths[i / l];
            let targets: Vec<u32> =
                (0..b * l).map(|i| if counts(i) { (i * 5 % 11) as u32 } else { IGNORE }).collect();
            let tokens = Tensor::from_vec(tokens, (b, l), &Device::Cpu).unwrap();
            let mut state = model.zero_state(b).unwrap();
            let (nats, gradients) =
                model.loss_and_gradients(&tokens, &targets, Some(lengths), Some(&mut state)).unwrap();
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (nats, gradients.values().flat_map(values).collect::<Vec<f32>>())
        };
        let ragged = run(&[20, 0, 7]);
        assert!(ragged.0.is_finite() && ragged.1.iter().all(|g| g.is_finite()));
        assert!(run(&[20, 20, 20, 20]) != ragged);
        assert!(run(&[20, 0, 7]) == ragged);
    }
}
