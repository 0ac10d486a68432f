//! The plain loop in f64: the definition of correct for every other form.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::network::scan::{ScanInput, ScanShape};

fn values(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn softplus(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp().ln_1p() }
}

/// Scans in f64. The results have the dtype of the arguments, and no gradient.
pub(crate) fn scan(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    let ScanShape { b: batch, l, h, p, g, n } = *shape;
    let (e, width) = (h * p, h * p + 2 * g * n);
    let (xbc, dt) = (values(input.xbc)?, values(input.dt)?);
    let (a_log, d, dt_bias) = (values(input.a_log)?, values(input.d)?, values(input.dt_bias)?);
    let mut state = match input.initial {
        Some(s) => values(s)?,
        None => vec![0.0; batch * h * p * n],
    };
    let mut y = vec![0.0; batch * l * e];
    for b in 0..batch {
        for t in 0..input.lengths.map_or(l, |lengths| lengths[b]) {
            let row = &xbc[(b * l + t) * width..(b * l + t + 1) * width];
            for head in 0..h {
                let group = head / (h / g);
                let bs = &row[e + group * n..e + (group + 1) * n];
                let cs = &row[e + (g + group) * n..e + (g + group + 1) * n];
                let step = softplus(dt[(b * l + t) * h + head] + dt_bias[head]);
                let decay = (-step * a_log[head].exp()).exp();
                for i in 0..p {
                    let x = row[head * p + i];
                    let s = &mut state[((b * h + head) * p + i) * n..((b * h + head) * p + i + 1) * n];
                    let mut sum = d[head] * x;
                    for k in 0..n {
                        s[k] = decay * s[k] + step * bs[k] * x;
                        sum += cs[k] * s[k];
                    }
                    y[(b * l + t) * e + head * p + i] = sum;
                }
            }
        }
    }
    let back = |v: Vec<f64>, dims: &[usize]| -> Result<Tensor> {
        Ok(Tensor::from_vec(v, dims, &Device::Cpu)?
            .to_dtype(input.xbc.dtype())?
            .to_device(input.xbc.device())?)
    };
    Ok((back(y, &[batch, l, e])?, back(state, &[batch, h, p, n])?))
}
