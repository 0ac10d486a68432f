//! The chunked form in tensor operations: matrix products inside chunks, a short recurrence between them.
//!
//! Decay factors are differences of cumulative sums of `dt A` inside one chunk only, never across the sequence, and
//! only exponents that are not positive are ever raised: what lies above the diagonal is replaced before `exp`, so that
//! neither values nor gradients overflow. In bf16 and f16 the steps, their sums and what they decay are f32, since a
//! sum of many steps has not enough digits there, and so is the state from chunk to chunk; the products are in the
//! dtype asked for.

use candle_core::{D, DType, Tensor};

use crate::error::Result;
use crate::network::scan::{ScanInput, ScanShape};

/// `ln(1 + exp(x))`, without overflow for large and without loss for small results.
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    let small = x.abs()?.neg()?.exp()?; // exp(-|x|), in (0, 1]
    // ln(1 + s) loses s when s is far below the dtype's epsilon; its series does not.
    let series = ((&small - (small.sqr()? * 0.5)?)? + (small.powf(3.0)? / 3.0)?)?;
    let log = (&small + 1.0)?.log()?;
    let tiny = small.lt(1e-3)?;
    Ok((x.relu()? + tiny.where_cond(&series, &log)?)?)
}

/// Ones where a step of a row counts, `(b, l, 1)`.
fn mask(lengths: &[usize], l: usize, like: &Tensor) -> Result<Tensor> {
    let ones: Vec<f32> =
        lengths.iter().flat_map(|&n| (0..l).map(move |t| f32::from(u8::from(t < n)))).collect();
    Ok(Tensor::from_vec(ones, (lengths.len(), l, 1), like.device())?.to_dtype(like.dtype())?)
}

/// Pads axis 1 with zeros to `len`.
fn pad(t: &Tensor, len: usize) -> Result<Tensor> {
    let have = t.dim(1)?;
    Ok(if have == len { t.clone() } else { t.pad_with_zeros(1, 0, len - have)? })
}

/// `(b, c q, groups, w)` to `(b c groups, q, w)`.
fn by_chunk(t: &Tensor, c: usize, q: usize) -> Result<Tensor> {
    let (b, _, g, w) = t.dims4()?;
    Ok(t.reshape((b, c, q, g, w))?.transpose(2, 3)?.contiguous()?.reshape((b * c * g, q, w))?)
}

/// Repeats each group for its heads: `(b c g, x, y)` to `(b c h, x, y)`.
fn per_head(t: &Tensor, g: usize, heads_per_group: usize) -> Result<Tensor> {
    let (bcg, x, y) = t.dims3()?;
    let bc = bcg / g;
    Ok(t.reshape((bc, g, 1, x, y))?.broadcast_as((bc, g, heads_per_group, x, y))?.contiguous()?.reshape((
        bc * g * heads_per_group,
        x,
        y,
    ))?)
}

pub(crate) fn scan(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    let ScanShape { b, l, h, p, g, n } = *shape;
    let (e, dtype, device) = (h * p, input.xbc.dtype(), input.xbc.device());
    let q = input.chunk_size.min(l);
    let c = l.div_ceil(q);
    let r = h / g;

    let fine = if matches!(dtype, DType::BF16 | DType::F16) { DType::F32 } else { dtype };

    let raw = input.dt.broadcast_add(&input.dt_bias.reshape((1, 1, h))?)?;
    let mut dt = softplus(&raw.to_dtype(fine)?)?; // (b, l, h)
    let mut xbc = input.xbc.clone();
    if let Some(lengths) = input.lengths {
        let mask = mask(lengths, l, &dt)?;
        dt = dt.broadcast_mul(&mask)?; // a step of length zero neither decays nor feeds the state
        xbc = xbc.broadcast_mul(&mask.to_dtype(dtype)?)?; // and x = C = 0 makes y = 0
    }
    let x = xbc.narrow(2, 0, e)?.reshape((b, l, h, p))?;
    let bs = xbc.narrow(2, e, g * n)?.reshape((b, l, g, n))?;
    let cs = xbc.narrow(2, e + g * n, g * n)?.reshape((b, l, g, n))?;
    let a = input.a_log.to_dtype(fine)?.exp()?.neg()?; // (h)

    // Padding steps have dt = 0: they leave the state alone.
    let log_decay = dt.broadcast_mul(&a.reshape((1, 1, h))?)?; // (b, l, h), not positive
    let log_decay = pad(&log_decay, c * q)?.reshape((b, c, q, h))?.transpose(2, 3)?.contiguous()?; // (b, c, h, q)
    let sum = log_decay.cumsum(D::Minus1)?.reshape((b * c * h, q))?; // (bch, q)
    let dtx = by_chunk(&pad(&x.broadcast_mul(&dt.to_dtype(dtype)?.unsqueeze(3)?)?, c * q)?, c, q)?; // (bch, q, p)
    let bs = by_chunk(&pad(&bs, c * q)?, c, q)?; // (bcg, q, n)
    let cs = by_chunk(&pad(&cs, c * q)?, c, q)?; // (bcg, q, n)

    // 1. Inside each chunk: y_i += sum_{j <= i} (C_i . B_j) exp(sum_i - sum_j) dt_j x_j
    let difference = sum.unsqueeze(2)?.broadcast_sub(&sum.unsqueeze(1)?)?; // (bch, q, q)
    let below = Tensor::tril2(q, DType::U8, device)?.broadcast_as(difference.shape())?;
    let never = Tensor::full(-1e4f32, difference.shape(), device)?.to_dtype(fine)?; // exp(-1e4) = 0
    let decay = below.where_cond(&difference, &never)?.exp()?.to_dtype(dtype)?; // (bch, q, q)
    let scores = cs.matmul(&bs.t()?)?; // (bcg, q, q)
    let inside = (per_head(&scores, g, r)? * decay)?.matmul(&dtx)?; // (bch, q, p)

    // 2. What each chunk adds to the state by its end
    let last = sum.narrow(1, q - 1, 1)?; // (bch, 1)
    let to_end = last.broadcast_sub(&sum)?.exp()?.to_dtype(dtype)?.unsqueeze(2)?; // (bch, q, 1)
    let bs = per_head(&bs, g, r)?; // (bch, q, n)
    let added = dtx.broadcast_mul(&to_end)?.transpose(1, 2)?.contiguous()?.matmul(&bs)?; // (bch, p, n)
    let added = added.reshape((b, c, h, p, n))?.to_dtype(fine)?;

    // 3. From chunk to chunk
    let whole = last.exp()?.reshape((b, c, h, 1, 1))?;
    let mut state = match input.initial {
        Some(s) => s.detach().to_dtype(fine)?,
        None => Tensor::zeros((b, h, p, n), fine, device)?,
    };
    let mut starts = Vec::with_capacity(c);
    for i in 0..c {
        starts.push(state.unsqueeze(1)?);
        let decayed = state.broadcast_mul(&whole.narrow(1, i, 1)?.squeeze(1)?)?;
        state = (decayed + added.narrow(1, i, 1)?.squeeze(1)?)?;
    }
    let starts = Tensor::cat(&starts, 1)?.reshape((b * c * h, p, n))?.to_dtype(dtype)?;

    // 4. What the state at a chunk's start gives its steps
    let cs = per_head(&cs, g, r)?; // (bch, q, n)
    let carried = cs.matmul(&starts.transpose(1, 2)?.contiguous()?)?; // (bch, q, p)
    let carried = carried.broadcast_mul(&sum.exp()?.to_dtype(dtype)?.unsqueeze(2)?)?;
    let y = (inside + carried)?.reshape((b, c, h, q, p))?.transpose(2, 3)?.contiguous()?;
    let y = y.reshape((b, c * q, h, p))?.narrow(1, 0, l)?;
    let y = (y + x.broadcast_mul(&input.d.reshape((1, 1, h, 1))?)?)?.reshape((b, l, e))?;
    Ok((y, state.detach().to_dtype(dtype)?))
}
