//! Cross-entropy of next-token logits, fused: one pass forward, one backward, no copy of the logits in between.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with_slice};
use crate::engine::simd::math;
use crate::engine::simd::vectorized;
use crate::error::{Error, Result};
use crate::network::input::IGNORE;

/// Rows per parallel task; fixed, so that the sum's order does not depend on the number of threads.
const ROWS: usize = 64;

/// Mean of `-ln softmax(logits)[target]` in nats over the targets that are not [`IGNORE`], as a scalar with a gradient.
///
/// `logits` are `(.., v)`, `targets` one per row in row-major order.
///
/// # Errors
/// [`Error::Input`] if the number of targets differs from that of rows, a target is not below `v`, or none counts.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let v = check(logits, targets)?;
    let counted = targets.iter().filter(|&&t| t != IGNORE).count();
    if counted == 0 {
        return Err(Error::input("targets", "at least one that counts", "none"));
    }
    let rows = logits.reshape((targets.len(), v))?;
    if rows.device().is_cpu() && rows.dtype() == DType::F32 {
        let op = CrossEntropyOp { targets: targets.to_vec(), v, counted };
        return Ok(rows.contiguous()?.apply_op1(op)?);
    }
    let safe: Vec<u32> = targets.iter().map(|&t| if t == IGNORE { 0 } else { t }).collect();
    let weight: Vec<f64> =
        targets.iter().map(|&t| if t == IGNORE { 0.0 } else { 1.0 / counted as f64 }).collect();
    let safe = Tensor::from_vec(safe, (targets.len(), 1), rows.device())?;
    let weight = Tensor::from_vec(weight, targets.len(), rows.device())?.to_dtype(rows.dtype())?;
    let nll = (rows.log_sum_exp(D::Minus1)? - rows.gather(&safe, 1)?.squeeze(1)?)?;
    Ok((nll * weight)?.sum_all()?)
}

/// `-ln softmax(logits)[target]` in nats of each row, zero where the target is [`IGNORE`]; without a gradient.
///
/// # Errors
/// As [`cross_entropy`], but targets that all do not count are allowed.
pub fn token_nats(logits: &Tensor, targets: &[u32]) -> Result<Vec<f32>> {
    let v = check(logits, targets)?;
    let rows = logits.detach().to_dtype(DType::F32)?.to_device(&candle_core::Device::Cpu)?;
    let mut out = vec![0f32; targets.len()];
    with_slice(&rows, "logits", |rows| {
        nats(rows, targets, v, &mut out);
        Ok(())
    })?;
    Ok(out)
}

/// Checks that every target that counts is below `v`.
pub(crate) fn check_range(targets: &[u32], v: usize) -> Result<()> {
    match targets.iter().find(|&&t| t != IGNORE && t as usize >= v) {
        Some(t) => Err(Error::input("target", format!("below {v}"), t)),
        None => Ok(()),
    }
}

fn check(logits: &Tensor, targets: &[u32]) -> Result<usize> {
    let v = logits.dims().last().copied().unwrap_or(0);
    if v == 0 || logits.elem_count() / v != targets.len() {
        return Err(Error::input(
            "targets",
            format!("one per row of logits {:?}", logits.dims()),
            targets.len(),
        ));
    }
    check_range(targets, v)?;
    Ok(v)
}

fn nats(rows: &[f32], targets: &[u32], v: usize, out: &mut [f32]) {
    out.par_chunks_mut(ROWS)
        .zip(rows.par_chunks(ROWS * v).zip(targets.par_chunks(ROWS)))
        .for_each(|(out, (rows, targets))| nats_rows(rows, targets, v, out));
}

vectorized! {
    /// [`token_nats`] of rows on one thread.
    pub(crate) fn nats_rows<'a>(rows: &'a [f32], targets: &'a [u32], v: usize, out: &'a mut [f32]) {
        let mut powers = vec![0f32; v];
        for ((out, row), &target) in out.iter_mut().zip(rows.chunks_exact(v)).zip(targets) {
            *out = if target == IGNORE {
                0.0
            } else {
                let (max, sum) = soft_powers(row, &mut powers);
                sum.ln() + (max - row[target as usize])
            };
        }
    }
}

vectorized! {
    fn grad_rows<'a>(rows: &'a [f32], targets: &'a [u32], v: usize, scale: f32, out: &'a mut [f32]) {
        for ((out, row), &target) in out.chunks_exact_mut(v).zip(rows.chunks_exact(v)).zip(targets) {
            if target != IGNORE {
                let (_, sum) = soft_powers(row, out);
                let factor = scale / sum;
                for p in out.iter_mut() {
                    *p *= factor;
                }
                out[target as usize] -= scale;
            }
        }
    }
}

/// Writes `exp(x - max)` of a row and returns (max, sum of the powers).
#[inline(always)]
fn soft_powers(row: &[f32], powers: &mut [f32]) -> (f32, f32) {
    let max = math::max(row);
    for (p, x) in powers.iter_mut().zip(row) {
        *p = math::exp(x - max);
    }
    (max, math::sum(powers))
}

/// Turns logits `(rows, v)` into the gradient of the mean over the targets that count, and returns that mean in nats.
///
/// Targets are in range and at least one counts.
pub(crate) fn replace_by_gradient(logits: &mut [f32], targets: &[u32], v: usize) -> f64 {
    let counted = targets.iter().filter(|&&t| t != IGNORE).count();
    let scale = 1.0 / counted as f32;
    let mut each = vec![0f32; targets.len()];
    logits
        .par_chunks_mut(ROWS * v)
        .zip(targets.par_chunks(ROWS))
        .zip(each.par_chunks_mut(ROWS))
        .for_each(|((rows, targets), each)| nats_and_grad_rows(rows, targets, v, scale, each));
    each.iter().map(|&x| f64::from(x)).sum::<f64>() / counted as f64
}

vectorized! {
    fn nats_and_grad_rows<'a>(rows: &'a mut [f32], targets: &'a [u32], v: usize, scale: f32, out: &'a mut [f32]) {
        let mut powers = vec![0f32; v];
        for ((out, row), &target) in out.iter_mut().zip(rows.chunks_exact_mut(v)).zip(targets) {
            if target == IGNORE {
                row.fill(0.0);
                continue;
            }
            let (max, sum) = soft_powers(row, &mut powers);
            *out = sum.ln() + (max - row[target as usize]);
            let factor = scale / sum;
            for (g, p) in row.iter_mut().zip(&powers) {
                *g = p * factor;
            }
            row[target as usize] -= scale;
        }
    }
}

struct CrossEntropyOp {
    targets: Vec<u32>,
    v: usize,
    counted: usize,
}

impl CustomOp1 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let rows = slice(s, l, "logits")?;
        let mut each = vec![0f32; self.targets.len()];
        nats(rows, &self.targets, self.v, &mut each);
        let mean = each.iter().map(|&x| f64::from(x)).sum::<f64>() / self.counted as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _res: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let scale = grad.to_scalar::<f32>()? / self.counted as f32;
        let v = self.v;
        let mut out = vec![0f32; logits.elem_count()];
        with_slice(logits, "logits", |rows| {
            out.par_chunks_mut(ROWS * v)
                .zip(rows.par_chunks(ROWS * v).zip(self.targets.par_chunks(ROWS)))
                .for_each(|(out, (rows, targets))| grad_rows(rows, targets, v, scale, out));
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(out, logits.shape(), logits.device())?))
    }
}
