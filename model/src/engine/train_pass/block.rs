//! One block, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, forward and backward.
//!
//! Backward begins by running the block forward again from its input: between the passes only that input is kept, so
//! that memory grows with length x (layers x d + what one block needs).

use super::calls::{self, ConvBuffers, matmul, operand};
use super::scan::{self, ScanBuffers, Scanned};
use super::{Backend, Matmul, Sizes};
use crate::engine::launch::Float;
use crate::engine::launch::Gemm;
use crate::error::Result;
use crate::network::params::BlockParams;
use crate::network::state::LayerState;

/// Gradients of a block's parameters, f32.
#[derive(Debug)]
pub struct BlockGrads<B> {
    /// `(d)`.
    pub norm: B,
    /// `(J, d)`.
    pub in_proj: B,
    /// Weight `(C, K)`, then bias `(C)`.
    pub conv: B,
    /// dt_bias, a_log, D, each `(H)`.
    pub heads: B,
    /// `(E)`.
    pub gated_norm: B,
    /// `(d, E)`.
    pub out_proj: B,
}

/// What a block computes on its way to its output, without the last product.
struct Inside<B> {
    normed: B, // (rows, d)
    zx: B,     // (rows, J)
    xbc: B,    // (b, l, C)
    scanned: Scanned<B>,
    gated: B, // (rows, E)
}

/// What every block of a call reads.
pub(super) struct Common<'a, K: Backend> {
    pub(super) k: &'a K,
    pub(super) sizes: &'a Sizes,
    pub(super) lengths: &'a K::Buffer,
}

impl<K: Backend> Common<'_, K> {
    fn conv<'b>(
        &'b self,
        weights: &'b BlockParams<K::Buffer>,
        rows: &'b K::Buffer,
        tails: &'b K::Buffer,
    ) -> ConvBuffers<'b, K::Buffer> {
        let bias = weights.conv_bias.as_ref();
        ConvBuffers { rows, tails, weight: &weights.conv_weight, bias, lengths: self.lengths }
    }

    fn scan<'b>(
        &'b self,
        weights: &'b BlockParams<K::Buffer>,
        (zx, xbc): (&'b K::Buffer, &'b K::Buffer),
        initial: &'b K::Buffer,
    ) -> ScanBuffers<'b, K::Buffer> {
        ScanBuffers {
            xbc,
            rows: zx,
            width: self.sizes.j(),
            at: self.sizes.e + self.sizes.c(),
            a_log: &weights.a_log,
            skip: &weights.d,
            dt_bias: &weights.dt_bias,
            lengths: self.lengths,
            initial: Some(initial),
        }
    }

    fn inside(
        &self,
        weights: &BlockParams<K::Buffer>,
        x: &K::Buffer,
        before: &LayerState<K::Buffer>,
        after: Option<&K::Buffer>,
    ) -> Result<Inside<K::Buffer>> {
        let (k, sizes, float) = (self.k, self.sizes, self.sizes.float);
        let (rows, d, j) = (sizes.rows(), sizes.d, sizes.j());
        let normed = calls::rms_norm(k, sizes, x, &weights.norm)?;
        let in_proj = operand(k, float, &weights.in_proj, j * d)?;
        let form = ("rows of in_proj", Gemm::Nt, float);
        let zx = matmul(k, form, (&normed, in_proj.buffer()), (rows, j, d), float)?;
        let xbc = calls::conv(k, sizes, &self.conv(weights, &zx, &before.conv))?;
        let scanned = scan::scanned(k, sizes, &self.scan(weights, (&zx, &xbc), &before.ssm), after)?;
        let gated = calls::gated_norm(k, sizes, (&scanned.y, &zx), &weights.gated_norm)?;
        Ok(Inside { normed, zx, xbc, scanned, gated })
    }

    /// The block's output `(rows, d)` and the state after the sequences.
    pub(super) fn forward(
        &self,
        weights: &BlockParams<K::Buffer>,
        x: &K::Buffer,
        before: &LayerState<K::Buffer>,
    ) -> Result<(K::Buffer, LayerState<K::Buffer>)> {
        let (k, sizes, float) = (self.k, self.sizes, self.sizes.float);
        let (rows, d, e) = (sizes.rows(), sizes.d, sizes.e);
        let ssm = k.alloc("state after the sequences", Float::F32, sizes.b * sizes.h * sizes.n * sizes.p)?;
        let Inside { zx, gated, .. } = self.inside(weights, x, before, Some(&ssm))?;
        let conv = calls::conv_tails(k, sizes, &self.conv(weights, &zx, &before.conv))?;
        let out = k.copy("a block's output", x, rows * d)?;
        let out_proj = operand(k, float, &weights.out_proj, d * e)?;
        k.matmul(&Matmul {
            form: Gemm::Nt,
            a: &gated,
            b: out_proj.buffer(),
            to: &out,
            sizes: (rows, d, e),
            operands: float,
            result: Float::F32,
            add: true,
        })?;
        Ok((out, LayerState { conv, ssm }))
    }

    /// Turns the gradient of the block's output, `grad (rows, d)`, into that of its input; gives the parameters'.
    pub(super) fn backward(
        &self,
        weights: &BlockParams<K::Buffer>,
        (x, before): (&K::Buffer, &LayerState<K::Buffer>),
        grad: &K::Buffer,
    ) -> Result<BlockGrads<K::Buffer>> {
        let (k, sizes, float) = (self.k, self.sizes, self.sizes.float);
        let (rows, d, e, j) = (sizes.rows(), sizes.d, sizes.e, sizes.j());
        let Inside { normed, zx, xbc, scanned, gated } = self.inside(weights, x, before, None)?;

        let above = operand(k, float, grad, rows * d)?;
        let form = ("gradient of out_proj", Gemm::Tn, Float::F32);
        let grad_out_proj = matmul(k, form, (above.buffer(), &gated), (d, e, rows), float)?;
        drop(gated);
        let out_proj = operand(k, float, &weights.out_proj, d * e)?;
        let form = ("gradient of gated rows", Gemm::Nn, float);
        let grad_gated = matmul(k, form, (above.buffer(), out_proj.buffer()), (rows, e, d), float)?;
        drop((above, out_proj));

        let grad_zx = k.alloc("gradient of in_proj's rows", float, rows * j)?;
        let (grad_y, grad_gated_norm) = calls::gated_norm_backward(
            k,
            sizes,
            (&scanned.y, &zx),
            &weights.gated_norm,
            &grad_gated,
            &grad_zx,
        )?;
        drop(grad_gated);
        let of_scan = self.scan(weights, (&zx, &xbc), &before.ssm);
        let scan = scan::gradient(k, sizes, &of_scan, scanned, &grad_y, &grad_zx)?;
        drop((grad_y, xbc));
        let of_conv = self.conv(weights, &zx, &before.conv);
        let conv = calls::conv_backward(k, sizes, &of_conv, &scan, &grad_zx)?;
        let heads = scan.heads;
        drop((zx, scan.x, scan.bc));

        let form = ("gradient of in_proj", Gemm::Tn, Float::F32);
        let grad_in_proj = matmul(k, form, (&grad_zx, &normed), (j, d, rows), float)?;
        drop(normed);
        let in_proj = operand(k, float, &weights.in_proj, j * d)?;
        let form = ("gradient of normed rows", Gemm::Nn, Float::F32);
        let grad_normed = matmul(k, form, (&grad_zx, in_proj.buffer()), (rows, d, j), float)?;
        let norm = calls::rms_norm_backward(k, sizes, (x, &weights.norm), &grad_normed, grad)?;
        Ok(BlockGrads {
            norm,
            in_proj: grad_in_proj,
            conv,
            heads,
            gated_norm: grad_gated_norm,
            out_proj: grad_out_proj,
        })
    }
}
