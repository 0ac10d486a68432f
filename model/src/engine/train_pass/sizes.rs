//! Shapes of a pass, and the memory that it takes.

use crate::engine::launch::Float;
use crate::error::{Error, Result};
use crate::network::config::ModelConfig;

/// Steps of a chunk of the scan, and the side of its tiles; `scan_tiles.cuh` has the same.
pub const CHUNK: usize = 64;
/// Steps of a block of the convolution; `conv.cuh` has the same.
pub const CONV_STEPS: usize = 64;
/// Rows of a block of the norms' backward kernels; `norm.cuh` has the same.
pub const NORM_ROWS: usize = 32;

/// Blocks of the scan's backward kernel that should be there before one of them does several heads.
const BUSY: usize = 512;
/// The most blocks along the second and third axis of a grid (CUDA's limit).
const GRID: usize = 65_535;

/// Shapes of a call: letters as in [`crate::network::config`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Sequences.
    pub b: usize,
    /// Steps of each.
    pub l: usize,
    /// Width of the residual stream.
    pub d: usize,
    /// Channels inside a block.
    pub e: usize,
    /// Heads.
    pub h: usize,
    /// Channels a head.
    pub p: usize,
    /// Groups.
    pub g: usize,
    /// State size.
    pub n: usize,
    /// Taps.
    pub k: usize,
    /// Blocks.
    pub layers: usize,
    /// Vocabulary.
    pub v: usize,
    /// Rows of the embedding and of the output projection.
    pub padded: usize,
    /// Rows of the table of side information.
    pub context_rows: usize,
    /// The norms'.
    pub eps: f32,
    /// What lies between kernels and is multiplied.
    pub float: Float,
}

impl Sizes {
    /// Those of `b` sequences of `l` steps of a model.
    ///
    /// # Errors
    /// [`Error::Input`] for shapes that the kernels do not have.
    pub fn new(cfg: &ModelConfig, (b, l): (usize, usize), float: Float) -> Result<Self> {
        if cfg.headdim > CHUNK {
            return Err(Error::input(
                "channels a head on the GPU",
                format!("headdim at most {CHUNK}"),
                cfg.headdim,
            ));
        }
        let sizes = Self {
            b,
            l,
            d: cfg.d_model,
            e: cfg.d_inner(),
            h: cfg.nheads(),
            p: cfg.headdim,
            g: cfg.ngroups,
            n: cfg.d_state,
            k: cfg.d_conv,
            layers: cfg.n_layer,
            v: cfg.vocab_size,
            padded: cfg.padded_vocab(),
            context_rows: cfg.context.map_or(0, |context| context.rows),
            eps: cfg.norm_eps as f32,
            float,
        };
        for (what, blocks) in
            [("sequences", b), ("heads", sizes.h), ("steps of a sequence", l.div_ceil(CONV_STEPS))]
        {
            if blocks > GRID {
                return Err(Error::input("a pass on the GPU", format!("{GRID} blocks of {what}"), blocks));
            }
        }
        if sizes.d.max(sizes.e) > 12_288 {
            return Err(Error::input(
                "width on the GPU",
                "d_model and d_inner at most 12288",
                sizes.d.max(sizes.e),
            ));
        }
        Ok(sizes)
    }

    /// Those of a scan alone, with nothing around it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_scan(
        (b, l): (usize, usize),
        heads: (usize, usize, usize, usize),
        float: Float,
    ) -> Result<Self> {
        let (h, p, g, n) = heads;
        let cfg = ModelConfig {
            d_model: h * p,
            expand: 1,
            headdim: p,
            ngroups: g,
            d_state: n,
            ..ModelConfig::default()
        };
        Self::new(&cfg, (b, l), float)
    }

    /// Positions of the batch.
    pub fn rows(&self) -> usize {
        self.b * self.l
    }

    /// Channels through the convolution.
    pub fn c(&self) -> usize {
        self.e + 2 * self.g * self.n
    }

    /// Rows of `in_proj`.
    pub fn j(&self) -> usize {
        self.e + self.c() + self.h
    }

    /// Chunks of a sequence.
    pub fn chunks(&self) -> usize {
        self.l.div_ceil(CHUNK)
    }

    /// Bytes of one block's state that a batch carries.
    pub fn carried(&self) -> usize {
        self.b * (self.h * self.n * self.p + (self.k - 1) * self.c()) * 4
    }

    /// Pieces of the norms' backward kernels.
    pub(super) fn norm_pieces(&self) -> usize {
        self.rows().div_ceil(NORM_ROWS)
    }

    /// Pieces of the convolution's backward kernel.
    pub(super) fn conv_pieces(&self) -> usize {
        self.b * self.l.div_ceil(CONV_STEPS)
    }

    /// Heads that one block of the scan's backward kernel does, one after the other: as many as a group has where that
    /// still makes many blocks, since each part of the heads costs a gradient of B and C. A function of the shape
    /// alone, so that results are too.
    pub(super) fn heads_per_block(&self) -> usize {
        let group = self.h / self.g;
        let enough = |per: &usize| self.b * self.chunks() * (self.h / per) >= BUSY;
        (1..=group).rev().filter(|per| group.is_multiple_of(*per)).find(enough).unwrap_or(1)
    }

    /// Values of the states at every chunk's start.
    pub(super) fn states(&self) -> usize {
        self.b * self.chunks() * self.h * self.n * self.p
    }

    /// Parts of the gradients of B and C: a whole number for each group, one group's after the other.
    pub fn bc_parts(&self) -> usize {
        self.h / self.heads_per_block()
    }

    /// Values of the gradients of B and C, in parts.
    pub(super) fn grad_bc(&self) -> usize {
        self.bc_parts() * self.rows() * 2 * self.g * self.n
    }

    /// Bytes of device memory that a pass takes besides weights and gradients, at most: every block's input and carried
    /// state, and what is alive at once in the larger of a block's backward pass and the loss.
    ///
    /// With rows R = b l and T the bytes of [`Self::float`]:
    /// ```text
    /// inputs    (layers + 1) R d 4
    /// block     R (2 d 4 + 2 d T + (2 J + C + 5 E) T + 8 H) + 8 R' H N P / CHUNK + parts R 2 G N 4 + sums over pieces
    /// loss      R (v (4 + T) + 2 d 4 + d T)
    /// ```
    /// R' being R with each sequence rounded up to whole chunks, and parts 1 to H (1 for long sequences in one group).
    pub fn memory(&self) -> usize {
        let (r, t) = (self.rows(), self.float.size());
        let (d, e, j, c, h) = (self.d, self.e, self.j(), self.c(), self.h);
        let inputs = (self.layers + 1) * (r * d * 4 + 2 * self.carried());
        let matrices = 2 * (j * d + d * e);
        let pieces = 4
            * (self.norm_pieces() * (e + d)
                + self.conv_pieces() * c * (self.k + 1)
                + self.b * self.chunks() * 3 * h);
        let block = r * (2 * d * 4 + 2 * d * t + (2 * j + c + 5 * e) * t)
            + 2 * self.b * self.chunks() * CHUNK * h * 4
            + 2 * self.states() * 4
            + self.grad_bc() * 4
            + pieces
            + matrices;
        let loss = r * (self.v * (4 + t) + 2 * d * 4 + d * t + 4) + self.v * d * 2;
        inputs + block.max(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(float: Float) -> Sizes {
        let cfg = ModelConfig { d_model: 768, n_layer: 24, ..ModelConfig::default() };
        Sizes::new(&cfg, (1, 100_000), float).unwrap()
    }

    #[test]
    fn the_papers_sequences_fit_one_device() {
        let (half, single) = (paper(Float::Bf16).memory(), paper(Float::F32).memory());
        assert!((10..20).contains(&(half >> 30)), "{half}");
        assert!((15..32).contains(&(single >> 30)), "{single}");
        assert_eq!(paper(Float::F32).heads_per_block(), 24);
    }

    #[test]
    fn short_batches_are_split_by_heads_of_a_group() {
        let cfg = ModelConfig { d_model: 256, ngroups: 2, ..ModelConfig::default() };
        let sizes = |b, l| Sizes::new(&cfg, (b, l), Float::F32).unwrap();
        assert_eq!(sizes(1, 1000).heads_per_block(), 1);
        assert_eq!(sizes(8, 1024).heads_per_block(), 2);
        assert_eq!(sizes(64, 1024).heads_per_block(), 4);
    }

    #[test]
    fn heads_that_no_tile_holds_are_refused() {
        let cfg = ModelConfig { headdim: 128, ..ModelConfig::default() };
        let error = Sizes::new(&cfg, (1, 1), Float::F32).unwrap_err().to_string();
        assert!(error.contains("headdim at most 64"), "{error}");
    }
}
