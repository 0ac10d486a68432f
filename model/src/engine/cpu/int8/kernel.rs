//! The kernels of int8 products and the choice among them, with unsafe code.
//!
//! Each kernel is the same loops compiled for other instructions. Unsafe is one thing only: calling a function that was
//! compiled for instructions that this processor must have, which a [`Kernel`] is the proof of. Their arithmetic is
//! that of whole numbers, without rounding and saturation, so that all give the same bits.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm512_dpbusd_epi32, _mm512_set1_epi32,
};

use super::pack::{Outputs, PANEL, Packed, Step};
use super::quantise::{Layout, Rows};
use crate::network::masks::Masks;

/// A kernel that this processor has the instructions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Kernel {
    /// Those that this processor has the instructions for, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        // All that the functions below are compiled for.
        #[cfg(target_arch = "x86_64")]
        let avx512_vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        #[cfg(target_arch = "x86_64")]
        let avx_vnni = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni");
        #[cfg(target_arch = "x86_64")]
        let special = [
            (Instructions::Avx512Vnni, avx512_vnni),
            (Instructions::AvxVnni, avx_vnni),
            (Instructions::Avx2, is_x86_feature_detected!("avx2")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let special: [(Instructions, bool); 0] = [];
        special
            .into_iter()
            .chain([(Instructions::Portable, true)])
            .filter(|&(_, there)| there)
            .map(|(instructions, _)| Self(instructions))
    }

    /// The fastest.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self(Instructions::Portable))
    }

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            Instructions::Portable => "portable",
        }
    }

    /// How it takes whole numbers.
    pub(super) fn layout(self) -> Layout {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni | Instructions::AvxVnni => Layout::Bytes,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Layout::Pairs,
            Instructions::Portable => Layout::Pairs,
        }
    }

    /// Does a job whose weights and rows are in this kernel's layout.
    pub(super) fn multiply(self, job: Job<'_>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes a kernel of this kind only where the processor has avx512f, avx512bw, avx512vl
            // and avx512vnni.
            Instructions::Avx512Vnni => unsafe { avx512_vnni(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes a kernel of this kind only where the processor has avx2 and avxvnni.
            Instructions::AvxVnni => unsafe { avx_vnni(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes a kernel of this kind only where the processor has avx2.
            Instructions::Avx2 => unsafe { avx2(job) },
            Instructions::Portable => portable(job),
        }
    }
}

/// A product: weights, quantised rows, and where results go.
pub(super) struct Job<'a> {
    pub(super) packed: &'a Packed,
    pub(super) rows: &'a Rows,
    pub(super) out: &'a mut [f32], // (rows, outputs)
    pub(super) add: bool,
    pub(super) wanted: &'a Masks,
    pub(super) wanting: &'a mut Vec<usize>,
}

/// Defines a kernel: how many rows a block has, the vector that sums are in, a word in every lane of one, and sums with
/// the products of two vectors of words added.
macro_rules! kernel {
    ($(#[$features:meta])* $name:ident, $tile:ident, $rows:literal, $vector:ty, $splat:expr, $dot:expr) => {
        $(#[$features])*
        fn $name(job: Job<'_>) {
            let Packed { steps, panels, words, outputs, .. } = job.packed;
            let (all, rows) = (0..job.rows.scales.len(), job.wanting);
            rows.clear();
            rows.extend(all.clone());
            for (i, (panel, steps)) in panels.iter().zip(steps.chunks_exact(*words)).enumerate() {
                let at = i * PANEL;
                if !job.wanted.is_empty() {
                    rows.clear();
                    rows.extend(all.clone().filter(|&row| job.wanted.wants(row, at)));
                }
                let target = Target { at, outputs: *outputs, add: job.add };
                // A row by itself sums in four chains, since one chain would wait for each of its instructions.
                let (blocks, rest) = rows.as_chunks::<$rows>();
                for rows in blocks {
                    $tile::<$rows, 1>(panel, steps, job.rows, rows, target, job.out);
                }
                let (pairs, rest) = rest.as_chunks::<2>();
                for rows in pairs {
                    $tile::<2, 2>(panel, steps, job.rows, rows, target, job.out);
                }
                for &row in rest {
                    $tile::<1, 4>(panel, steps, job.rows, &[row], target, job.out);
                }
            }
        }

        /// `R` rows times one panel, every sum in `C` chains.
        $(#[$features])*
        #[inline]
        fn $tile<const R: usize, const C: usize>(
            panel: &Outputs,
            steps: &[Step],
            x: &Rows,
            rows: &[usize; R],
            target: Target,
            out: &mut [f32],
        ) {
            const VECTORS: usize = size_of::<Step>() / size_of::<$vector>();
            let words = steps.len();
            let mut x_rows = [&x.words[..0]; R];
            for (x_row, &row) in x_rows.iter_mut().zip(rows) {
                *x_row = &x.words[row * words..(row + 1) * words];
            }
            let zero: [$vector; VECTORS] = pulp::cast([0_u32; PANEL]);
            let mut sums = [[zero; R]; C];
            sums[0] = [pulp::cast(panel.start); R];
            let (blocks, rest) = steps.as_chunks::<C>();
            let whole = blocks.len() * C;
            for (k, block) in blocks.iter().enumerate() {
                for c in 0..C {
                    let weights: [$vector; VECTORS] = pulp::cast(block[c].0);
                    for r in 0..R {
                        let word = ($splat)(x_rows[r][k * C + c]);
                        for v in 0..VECTORS {
                            sums[c][r][v] = ($dot)(sums[c][r][v], word, weights[v]);
                        }
                    }
                }
            }
            for (k, step) in rest.iter().enumerate() {
                let weights: [$vector; VECTORS] = pulp::cast(step.0);
                for r in 0..R {
                    let word = ($splat)(x_rows[r][whole + k]);
                    for v in 0..VECTORS {
                        sums[0][r][v] = ($dot)(sums[0][r][v], word, weights[v]);
                    }
                }
            }
            for r in 0..R {
                let mut total: [i32; PANEL] = pulp::cast(sums[0][r]);
                for c in 1..C {
                    let more: [i32; PANEL] = pulp::cast(sums[c][r]);
                    for (total, more) in total.iter_mut().zip(more) {
                        *total = total.wrapping_add(more);
                    }
                }
                target.put(&total, x.scales[rows[r]], panel, rows[r], out);
            }
        }
    };
}

/// Where the results of a panel go.
#[derive(Clone, Copy)]
struct Target {
    at: usize,
    outputs: usize,
    add: bool,
}

impl Target {
    /// Scales a row's sums and puts them where they belong.
    #[inline(always)]
    fn put(self, sums: &[i32; PANEL], scale: f32, panel: &Outputs, row: usize, out: &mut [f32]) {
        let mut result = [0f32; PANEL];
        for i in 0..PANEL {
            result[i] = sums[i] as f32 * scale * panel.scales[i];
        }
        let width = PANEL.min(self.outputs - self.at);
        let out = &mut out[row * self.outputs + self.at..][..width];
        for (o, v) in out.iter_mut().zip(&result) {
            *o = if self.add { *o + v } else { *v };
        }
    }
}

// Rows of a block: their sums fill the registers that weights and a word leave, 32 of AVX-512 and 16 of AVX2.
#[cfg(target_arch = "x86_64")]
kernel!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    avx512_vnni,
    avx512_vnni_tile,
    8,
    __m512i,
    |word: u32| _mm512_set1_epi32(word as i32),
    |sums, x, w| _mm512_dpbusd_epi32(sums, x, w)
);

#[cfg(target_arch = "x86_64")]
kernel!(
    #[target_feature(enable = "avx2,avxvnni")]
    avx_vnni,
    avx_vnni_tile,
    3,
    __m256i,
    |word: u32| _mm256_set1_epi32(word as i32),
    |sums, x, w| _mm256_dpbusd_avx_epi32(sums, x, w)
);

#[cfg(target_arch = "x86_64")]
kernel!(
    #[target_feature(enable = "avx2")]
    avx2,
    avx2_tile,
    2,
    __m256i,
    |word: u32| _mm256_set1_epi32(word as i32),
    |sums, x, w| _mm256_add_epi32(sums, _mm256_madd_epi16(x, w))
);

kernel!(portable, portable_tile, 1, [u32; PANEL], |word: u32| [word; PANEL], portable_dot);

/// The slow twin of the vectors' multiply-and-add: two products of 16 bits a lane.
#[inline(always)]
fn portable_dot(sums: [u32; PANEL], x: [u32; PANEL], w: [u32; PANEL]) -> [u32; PANEL] {
    let mut out = sums;
    for i in 0..PANEL {
        let ([x0, x1], [w0, w1]): ([i16; 2], [i16; 2]) = (pulp::cast(x[i]), pulp::cast(w[i]));
        let products = i32::from(x0) * i32::from(w0) + i32::from(x1) * i32::from(w1);
        out[i] = out[i].wrapping_add(products as u32);
    }
    out
}
