//! What a sequence carries from token to token: the convolution's last inputs and the state of every head.
//!
//! On the CPU in f32 each batch row owns one contiguous buffer over all layers, so that a generator can reset, drop and
//! admit rows for the price of a small copy, and rows can be stepped by different threads. Elsewhere (CUDA, f64) the
//! state is one pair of tensors a layer. The state never carries gradients: training over it is truncated
//! back-propagation.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::network::config::ModelConfig;

/// Sizes of one layer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateDims {
    /// Layers.
    pub(crate) layers: usize,
    /// Values of one layer's convolution tail: `(K - 1) * conv_dim`, oldest input first.
    pub(crate) conv: usize,
    /// Values of one layer's scan state: `H * N * P`, laid out `(H, N, P)` so that the channel is contiguous.
    pub(crate) ssm: usize,
}

impl StateDims {
    pub(crate) fn of(cfg: &ModelConfig) -> Self {
        Self {
            layers: cfg.n_layer,
            conv: (cfg.d_conv - 1) * cfg.conv_dim(),
            ssm: cfg.d_inner() * cfg.d_state,
        }
    }

    fn per_layer(&self) -> usize {
        self.conv + self.ssm
    }
}

/// One batch row's state over all layers, for the f32 CPU engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowState {
    values: Vec<f32>, // per layer: conv (K-1, conv_dim), then ssm (H, N, P)
    dims: StateDims,
}

impl RowState {
    fn zeros(dims: StateDims) -> Self {
        Self { values: vec![0.0; dims.layers * dims.per_layer()], dims }
    }

    /// One layer's (convolution tail, scan state).
    pub(crate) fn layer(&self, i: usize) -> (&[f32], &[f32]) {
        let w = self.dims.per_layer();
        self.values[i * w..(i + 1) * w].split_at(self.dims.conv)
    }

    /// One layer's (convolution tail, scan state), to write.
    pub(crate) fn layer_mut(&mut self, i: usize) -> (&mut [f32], &mut [f32]) {
        let w = self.dims.per_layer();
        self.values[i * w..(i + 1) * w].split_at_mut(self.dims.conv)
    }
}

/// One layer's state of a batch: the convolution's last inputs `(b, K-1, C)`, oldest first, and the scan's state.
///
/// As tensors the scan's state is `(b, H, P, N)`, as the reference has it; as values of the CPU and as a buffer of a
/// device it is `(b, H, N, P)`, so that the channel is contiguous.
#[derive(Debug, Clone, Default)]
pub struct LayerState<T> {
    /// The convolution's tail.
    pub conv: T,
    /// The scan's state.
    pub ssm: T,
}

#[derive(Debug, Clone)]
pub(crate) enum Store {
    Rows(Vec<RowState>),
    Tensors { device: Device, dtype: DType, layers: Vec<LayerState<Tensor>> },
}

/// Carried state of a batch of sequences.
#[derive(Debug, Clone)]
pub struct State {
    cfg: ModelConfig,
    dims: StateDims,
    pub(crate) store: Store,
}

impl State {
    /// The state before the first token of `batch` sequences, in f32.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold it.
    pub fn zeros(cfg: &ModelConfig, batch: usize, device: &Device) -> Result<Self> {
        Self::zeros_dtype(cfg, batch, DType::F32, device)
    }

    /// As [`Self::zeros`] in the dtype that a model computes in.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold it.
    pub fn zeros_dtype(cfg: &ModelConfig, batch: usize, dtype: DType, device: &Device) -> Result<Self> {
        let dims = StateDims::of(cfg);
        let store = if device.is_cpu() && dtype == DType::F32 {
            Store::Rows(vec![RowState::zeros(dims); batch])
        } else {
            let layers = (0..dims.layers)
                .map(|_| {
                    Ok(LayerState {
                        conv: Tensor::zeros((batch, cfg.d_conv - 1, cfg.conv_dim()), dtype, device)?,
                        ssm: Tensor::zeros((batch, cfg.nheads(), cfg.headdim, cfg.d_state), dtype, device)?,
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            Store::Tensors { device: device.clone(), dtype, layers }
        };
        Ok(Self { cfg: cfg.clone(), dims, store })
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        match &self.store {
            Store::Rows(rows) => rows.len(),
            Store::Tensors { layers, .. } => layers.first().map_or(0, |l| l.conv.dims()[0]),
        }
    }

    /// Bytes that one sequence's state takes.
    pub fn bytes_per_row(&self) -> usize {
        let size = match &self.store {
            Store::Rows(_) => 4,
            Store::Tensors { dtype, .. } => dtype.size_in_bytes(),
        };
        self.dims.layers * self.dims.per_layer() * size
    }

    /// Puts row `i` back to the state before the first token.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such row.
    pub fn reset_row(&mut self, i: usize) -> Result<()> {
        let batch = self.batch();
        if i >= batch {
            return Err(Error::input("state row", format!("below {batch}"), i));
        }
        match &mut self.store {
            Store::Rows(rows) => rows[i].values.fill(0.0),
            Store::Tensors { layers, .. } => {
                for layer in layers {
                    layer.conv = zero_row(&layer.conv, i)?;
                    layer.ssm = zero_row(&layer.ssm, i)?;
                }
            }
        }
        Ok(())
    }

    /// A new state made of the rows named, in that order; a row may be named more than once.
    ///
    /// # Errors
    /// [`Error::Input`] if a row does not exist.
    pub fn select(&self, rows: &[usize]) -> Result<State> {
        let batch = self.batch();
        if let Some(&i) = rows.iter().find(|&&i| i >= batch) {
            return Err(Error::input("state row", format!("below {batch}"), i));
        }
        let store = match &self.store {
            Store::Rows(all) => Store::Rows(rows.iter().map(|&i| all[i].clone()).collect()),
            Store::Tensors { device, dtype, layers } => {
                let ids: Vec<u32> = rows.iter().map(|&i| i as u32).collect();
                let ids = Tensor::new(ids.as_slice(), device)?;
                let layers = layers
                    .iter()
                    .map(|l| {
                        Ok(LayerState {
                            conv: l.conv.index_select(&ids, 0)?,
                            ssm: l.ssm.index_select(&ids, 0)?,
                        })
                    })
                    .collect::<Result<Vec<_>>>()?;
                Store::Tensors { device: device.clone(), dtype: *dtype, layers }
            }
        };
        Ok(State { cfg: self.cfg.clone(), dims: self.dims, store })
    }

    /// Keeps the rows that `stays` holds for, in their order.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold the old and the new state at once.
    pub fn retain(&mut self, stays: impl Fn(usize) -> bool) -> Result<()> {
        let mut all = 0..self.batch();
        if let Store::Rows(rows) = &mut self.store {
            rows.retain(|_| all.next().is_some_and(&stays));
        } else {
            *self = self.select(&all.filter(|&row| stays(row)).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Puts the only row of `other` in place of row `i`, both kept in rows.
    pub(crate) fn replace_row(&mut self, i: usize, other: State) -> Result<()> {
        match (&mut self.store, other.store) {
            (Store::Rows(mine), Store::Rows(theirs)) if theirs.len() == 1 && i < mine.len() => {
                mine[i..=i].clone_from_slice(&theirs);
                Ok(())
            }
            _ => Err(Error::input("replaced state row", "one row on the cpu in f32", "another")),
        }
    }

    /// Appends the rows of another state of the same model, device and dtype.
    ///
    /// # Errors
    /// [`Error::Input`] if the other state is of another model or lives elsewhere.
    pub fn append(&mut self, other: State) -> Result<()> {
        if other.cfg != self.cfg {
            return Err(Error::input("appended state", "the same model configuration", "another"));
        }
        match (&mut self.store, other.store) {
            (Store::Rows(mine), Store::Rows(theirs)) => mine.extend(theirs),
            (Store::Tensors { layers: mine, .. }, Store::Tensors { layers: theirs, .. }) => {
                for (m, t) in mine.iter_mut().zip(theirs) {
                    m.conv = Tensor::cat(&[&m.conv, &t.conv], 0)?;
                    m.ssm = Tensor::cat(&[&m.ssm, &t.ssm], 0)?;
                }
            }
            _ => return Err(Error::input("appended state", "the same device and dtype", "another")),
        }
        Ok(())
    }

    /// Cuts every link to the graph that computed this state. On the f32 CPU path there is none.
    pub fn detach(&mut self) {
        if let Store::Tensors { layers, .. } = &mut self.store {
            for l in layers {
                l.conv = l.conv.detach();
                l.ssm = l.ssm.detach();
            }
        }
    }

    /// Layer `i`'s state of all rows, for the CPU's engine.
    ///
    /// # Errors
    /// [`Error::Input`] if the state is not one of the CPU in f32.
    pub(crate) fn carried(&self, i: usize) -> Result<LayerState<Vec<f32>>> {
        let Store::Rows(rows) = &self.store else {
            return Err(Error::input("state", "one on the cpu in f32", "one of another device or dtype"));
        };
        let mut carried = LayerState {
            conv: Vec::with_capacity(rows.len() * self.dims.conv),
            ssm: Vec::with_capacity(rows.len() * self.dims.ssm),
        };
        for row in rows {
            let (conv, ssm) = row.layer(i);
            carried.conv.extend_from_slice(conv);
            carried.ssm.extend_from_slice(ssm);
        }
        Ok(carried)
    }

    /// Takes layer `i`'s state of all rows from the CPU's engine.
    pub(crate) fn set_carried(&mut self, i: usize, carried: &LayerState<Vec<f32>>) {
        if let Store::Rows(rows) = &mut self.store {
            let parts =
                carried.conv.chunks_exact(self.dims.conv).zip(carried.ssm.chunks_exact(self.dims.ssm));
            for (row, (conv, ssm)) in rows.iter_mut().zip(parts) {
                let (row_conv, row_ssm) = row.layer_mut(i);
                row_conv.copy_from_slice(conv);
                row_ssm.copy_from_slice(ssm);
            }
        }
    }

    /// Every layer's state as tensors, `conv (b, K-1, C)` and `ssm (b, H, P, N)`.
    pub(crate) fn tensors(&self, dtype: DType, device: &Device) -> Result<Vec<LayerState<Tensor>>> {
        let (b, cfg) = (self.batch(), &self.cfg);
        match &self.store {
            Store::Tensors { layers, .. } => Ok(layers.clone()),
            Store::Rows(rows) => (0..self.dims.layers)
                .map(|i| {
                    let conv: Vec<f32> = rows.iter().flat_map(|r| r.layer(i).0).copied().collect();
                    let ssm: Vec<f32> = rows.iter().flat_map(|r| r.layer(i).1).copied().collect();
                    let conv = Tensor::from_vec(conv, (b, cfg.d_conv - 1, cfg.conv_dim()), &Device::Cpu)?;
                    let ssm =
                        Tensor::from_vec(ssm, (b, cfg.nheads(), cfg.d_state, cfg.headdim), &Device::Cpu)?;
                    let ssm = ssm.transpose(2, 3)?.contiguous()?; // (b, H, P, N)
                    let to = |t: Tensor| t.to_dtype(dtype)?.to_device(device);
                    Ok(LayerState { conv: to(conv)?, ssm: to(ssm)? })
                })
                .collect(),
        }
    }

    /// Takes every layer's state from tensors.
    pub(crate) fn set_tensors(&mut self, new: Vec<LayerState<Tensor>>) -> Result<()> {
        match &mut self.store {
            Store::Tensors { layers, .. } => *layers = new,
            Store::Rows(rows) => {
                for (i, layer) in new.iter().enumerate() {
                    let to = |t: &Tensor| {
                        t.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_from(1)?.to_vec2()
                    };
                    let (conv, ssm) = (to(&layer.conv)?, to(&layer.ssm.transpose(2, 3)?.contiguous()?)?);
                    for ((row, conv), ssm) in rows.iter_mut().zip(conv).zip(ssm) {
                        let (row_conv, row_ssm) = row.layer_mut(i);
                        row_conv.copy_from_slice(&conv);
                        row_ssm.copy_from_slice(&ssm);
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn fits(&self, cfg: &ModelConfig, batch: usize) -> Result<()> {
        if StateDims::of(cfg) != self.dims
            || cfg.headdim != self.cfg.headdim
            || cfg.d_state != self.cfg.d_state
        {
            return Err(Error::input(
                "state",
                "one made for this model",
                "one made for another configuration",
            ));
        }
        if self.batch() != batch {
            return Err(Error::input("state", format!("{batch} rows"), self.batch()));
        }
        Ok(())
    }
}

fn zero_row(t: &Tensor, i: usize) -> Result<Tensor> {
    let zero = t.narrow(0, i, 1)?.zeros_like()?;
    let ranges: Vec<_> =
        t.dims().iter().enumerate().map(|(axis, &n)| if axis == 0 { i..i + 1 } else { 0..n }).collect();
    Ok(t.slice_assign(&ranges, &zero)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cfg() -> ModelConfig {
        ModelConfig { d_model: 8, n_layer: 2, vocab_size: 5, d_state: 4, headdim: 4, ..Default::default() }
    }

    fn numbered(dtype: DType) -> State {
        let mut s = State::zeros_dtype(&cfg(), 3, dtype, &Device::Cpu).unwrap();
        match &mut s.store {
            Store::Rows(rows) => {
                for (i, r) in rows.iter_mut().enumerate() {
                    r.values.fill(i as f32 + 1.0);
                }
            }
            Store::Tensors { layers, .. } => {
                let n = Tensor::new(&[1f64, 2.0, 3.0], &Device::Cpu).unwrap();
                for l in layers {
                    l.conv = l.conv.broadcast_add(&n.reshape((3, 1, 1)).unwrap()).unwrap();
                    l.ssm = l.ssm.broadcast_add(&n.reshape((3, 1, 1, 1)).unwrap()).unwrap();
                }
            }
        }
        s
    }

    fn first_values(s: &State) -> Vec<f64> {
        match &s.store {
            Store::Rows(rows) => rows.iter().map(|r| f64::from(r.values[0])).collect(),
            Store::Tensors { layers, .. } => layers[1]
                .ssm
                .flatten_from(1)
                .unwrap()
                .narrow(1, 0, 1)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap(),
        }
    }

    #[test]
    fn rows_are_reset_selected_and_appended() {
        for dtype in [DType::F32, DType::F64] {
            let mut s = numbered(dtype);
            assert_eq!(s.bytes_per_row(), 2 * (3 * 24 + 16 * 4) * dtype.size_in_bytes());
            s.reset_row(1).unwrap();
            assert_eq!(first_values(&s), [1.0, 0.0, 3.0]);
            let mut t = s.select(&[2, 2, 0]).unwrap();
            assert_eq!(first_values(&t), [3.0, 3.0, 1.0]);
            t.append(s).unwrap();
            assert_eq!(first_values(&t), [3.0, 3.0, 1.0, 1.0, 0.0, 3.0]);
            assert_eq!(t.batch(), 6);
            assert!(t.reset_row(6).unwrap_err().to_string().contains("below 6, got 6"));
            assert!(t.select(&[7]).is_err());
            t.retain(|row| row % 2 == 1).unwrap();
            assert_eq!(first_values(&t), [3.0, 1.0, 3.0]);
        }
    }
}
