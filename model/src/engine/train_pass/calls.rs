//! The kernels besides the scan's, each with its launch geometry, whose reasons are in the header comments of
//! `model/kernels`; and matrix products.

use super::scan::ScanGrads;
use super::scatter::Lists;
use super::{Backend, CONV_STEPS, Matmul, NORM_ROWS, Sizes};
use crate::engine::launch::{Argument, Float, Gemm, Launch};
use crate::error::Result;

const NORM_THREADS: usize = 128;
const CONV_THREADS: usize = 128;
const ROW_THREADS: usize = 128;
const COLUMNS: usize = 32;

/// The name of a kernel that exists once for each format.
pub(super) fn in_format(function: &str, float: Float) -> String {
    format!("{function}_{}", float.name())
}

/// A launch of blocks along one axis.
pub(super) fn launch<'a, B>(
    module: &'static str,
    function: impl Into<String>,
    (grid, block): (usize, usize),
    shared: usize,
    arguments: Vec<Argument<&'a B>>,
) -> Launch<&'a B> {
    Launch { module, function: function.into(), grid: (grid, 1, 1), block, shared, arguments }
}

/// The norm of rows, `(rows, d)` f32 to the pass' format.
pub(super) fn rms_norm<K: Backend>(
    k: &K,
    sizes: &Sizes,
    x: &K::Buffer,
    weight: &K::Buffer,
) -> Result<K::Buffer> {
    let out = k.alloc("normed rows", sizes.float, sizes.rows() * sizes.d)?;
    let arguments = vec![
        Argument::Buffer(x),
        Argument::Buffer(weight),
        Argument::Buffer(&out),
        Argument::Int(sizes.d),
        Argument::Float(sizes.eps),
    ];
    let blocks = (sizes.rows(), NORM_THREADS);
    k.launch(&launch("rms_norm", in_format("rms_norm", sizes.float), blocks, 0, arguments))?;
    Ok(out)
}

/// Adds the gradient of [`rms_norm`] to `grad_x`, gives the weight's.
pub(super) fn rms_norm_backward<K: Backend>(
    k: &K,
    sizes: &Sizes,
    (x, weight): (&K::Buffer, &K::Buffer),
    grad: &K::Buffer,
    grad_x: &K::Buffer,
) -> Result<K::Buffer> {
    let pieces = sizes.rows().div_ceil(NORM_ROWS);
    let totals = k.alloc("gradient of a norm, in pieces", Float::F32, pieces * sizes.d)?;
    let arguments = vec![
        Argument::Buffer(x),
        Argument::Buffer(weight),
        Argument::Buffer(grad),
        Argument::Buffer(grad_x),
        Argument::Buffer(&totals),
        Argument::Int(sizes.rows()),
        Argument::Int(sizes.d),
        Argument::Float(sizes.eps),
    ];
    let blocks = (pieces, NORM_THREADS);
    k.launch(&launch("rms_norm_backward", "rms_norm_backward", blocks, sizes.d * 4, arguments))?;
    sum_columns(k, "gradient of a norm", &totals, pieces, sizes.d)
}

/// What the convolution reads: the rows of `in_proj`, its tails and its parameters.
pub(super) struct ConvBuffers<'a, B> {
    pub(super) rows: &'a B,
    pub(super) tails: &'a B,
    pub(super) weight: &'a B,
    pub(super) bias: Option<&'a B>,
    pub(super) lengths: &'a B,
}

fn conv_grid(sizes: &Sizes, steps: usize) -> (usize, usize, usize) {
    (sizes.c().div_ceil(CONV_THREADS), steps, sizes.b)
}

/// x, B and C after the activation, `(b, l, C)`.
pub(super) fn conv<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ConvBuffers<'_, K::Buffer>,
) -> Result<K::Buffer> {
    let out = k.alloc("convolution's output", sizes.float, sizes.rows() * sizes.c())?;
    k.launch(&Launch {
        module: "conv_silu",
        function: in_format("conv_silu", sizes.float),
        grid: conv_grid(sizes, sizes.l.div_ceil(CONV_STEPS)),
        block: CONV_THREADS,
        shared: 0,
        arguments: vec![
            Argument::Buffer(input.rows),
            Argument::Buffer(input.tails),
            Argument::Buffer(input.weight),
            input.bias.map_or(Argument::Null, Argument::Buffer),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&out),
            Argument::Int(sizes.l),
            Argument::Int(sizes.c()),
            Argument::Int(sizes.k),
            Argument::Int(sizes.j()),
            Argument::Int(sizes.e),
        ],
    })?;
    Ok(out)
}

/// The tails after the sequences, `(b, K - 1, C)`.
pub(super) fn conv_tails<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ConvBuffers<'_, K::Buffer>,
) -> Result<K::Buffer> {
    let after = k.alloc("convolution's tails", Float::F32, sizes.b * (sizes.k - 1) * sizes.c())?;
    k.launch(&Launch {
        module: "conv_silu",
        function: in_format("conv_tails", sizes.float),
        grid: conv_grid(sizes, sizes.k - 1),
        block: CONV_THREADS,
        shared: 0,
        arguments: vec![
            Argument::Buffer(input.rows),
            Argument::Buffer(input.tails),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&after),
            Argument::Int(sizes.l),
            Argument::Int(sizes.c()),
            Argument::Int(sizes.k),
            Argument::Int(sizes.j()),
            Argument::Int(sizes.e),
        ],
    })?;
    Ok(after)
}

/// Writes the columns of x, B and C of `grad_rows`; gives the gradient of weight and bias, `(C K + C)`.
pub(super) fn conv_backward<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ConvBuffers<'_, K::Buffer>,
    scan: &ScanGrads<K::Buffer>,
    grad_rows: &K::Buffer,
) -> Result<K::Buffer> {
    let (pieces, width) = (sizes.conv_pieces(), sizes.c() * (sizes.k + 1));
    let totals = k.alloc("gradient of a convolution, in pieces", Float::F32, pieces * width)?;
    k.launch(&Launch {
        module: "conv_backward",
        function: in_format("conv_backward", sizes.float),
        grid: conv_grid(sizes, sizes.l.div_ceil(CONV_STEPS)),
        block: CONV_THREADS,
        shared: (CONV_STEPS + sizes.k - 1) * CONV_THREADS * 4,
        arguments: vec![
            Argument::Buffer(input.rows),
            Argument::Buffer(input.tails),
            Argument::Buffer(input.weight),
            input.bias.map_or(Argument::Null, Argument::Buffer),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&scan.x),
            Argument::Buffer(&scan.bc),
            Argument::Buffer(grad_rows),
            Argument::Buffer(&totals),
            Argument::Int(sizes.l),
            Argument::Int(sizes.c()),
            Argument::Int(sizes.k),
            Argument::Int(sizes.j()),
            Argument::Int(sizes.e),
            Argument::Int(sizes.e),
            Argument::Int(sizes.n),
            Argument::Int(sizes.g),
            Argument::Int(sizes.h / sizes.g / sizes.heads_per_block()),
        ],
    })?;
    sum_columns(k, "gradient of a convolution", &totals, pieces, width)
}

/// The gated norm of `y (rows, E)` with z in the first columns of `rows (rows, J)`.
pub(super) fn gated_norm<K: Backend>(
    k: &K,
    sizes: &Sizes,
    (y, rows): (&K::Buffer, &K::Buffer),
    weight: &K::Buffer,
) -> Result<K::Buffer> {
    let out = k.alloc("gated rows", sizes.float, sizes.rows() * sizes.e)?;
    let arguments = vec![
        Argument::Buffer(y),
        Argument::Buffer(rows),
        Argument::Buffer(weight),
        Argument::Buffer(&out),
        Argument::Int(sizes.e),
        Argument::Int(sizes.g),
        Argument::Int(sizes.j()),
        Argument::Float(sizes.eps),
    ];
    let blocks = (sizes.rows(), NORM_THREADS);
    k.launch(&launch("gated_norm", in_format("gated_norm", sizes.float), blocks, 0, arguments))?;
    Ok(out)
}

/// Writes z's columns of `grad_rows`; gives the gradients of y `(rows, E)` and of the weight.
pub(super) fn gated_norm_backward<K: Backend>(
    k: &K,
    sizes: &Sizes,
    (y, rows): (&K::Buffer, &K::Buffer),
    weight: &K::Buffer,
    grad: &K::Buffer,
    grad_rows: &K::Buffer,
) -> Result<(K::Buffer, K::Buffer)> {
    let pieces = sizes.norm_pieces();
    let grad_y = k.alloc("gradient of y", sizes.float, sizes.rows() * sizes.e)?;
    let totals = k.alloc("gradient of a gated norm, in pieces", Float::F32, pieces * sizes.e)?;
    let arguments = vec![
        Argument::Buffer(y),
        Argument::Buffer(rows),
        Argument::Buffer(weight),
        Argument::Buffer(grad),
        Argument::Buffer(&grad_y),
        Argument::Buffer(grad_rows),
        Argument::Buffer(&totals),
        Argument::Int(sizes.rows()),
        Argument::Int(sizes.e),
        Argument::Int(sizes.g),
        Argument::Int(sizes.j()),
        Argument::Float(sizes.eps),
    ];
    let function = in_format("gated_norm_backward", sizes.float);
    k.launch(&launch("gated_norm", function, (pieces, NORM_THREADS), sizes.e * 4, arguments))?;
    Ok((grad_y, sum_columns(k, "gradient of a gated norm", &totals, pieces, sizes.e)?))
}

/// Nats of each row, and the gradient by the logits of `scale` times their sum, in the pass' format.
pub(super) fn cross_entropy<K: Backend>(
    k: &K,
    sizes: &Sizes,
    (logits, targets): (K::Buffer, &K::Buffer),
    scale: f32,
) -> Result<(K::Buffer, K::Buffer)> {
    let nats = k.alloc("nats", Float::F32, sizes.rows())?;
    let narrow = match sizes.float {
        Float::F32 => None,
        Float::Bf16 => Some(k.alloc("gradient of logits", Float::Bf16, sizes.rows() * sizes.v)?),
    };
    let arguments = vec![
        Argument::Buffer(&logits),
        Argument::Buffer(targets),
        Argument::Buffer(&nats),
        Argument::Buffer(narrow.as_ref().unwrap_or(&logits)),
        Argument::Int(sizes.v),
        Argument::Float(scale),
    ];
    let blocks = (sizes.rows(), 128);
    k.launch(&launch("cross_entropy", in_format("cross_entropy", sizes.float), blocks, 0, arguments))?;
    Ok((nats, narrow.unwrap_or(logits)))
}

/// `to (rows, d)` plus, or instead of it, the sums of the rows of `from` that the lists name.
pub(super) fn sum_rows<K: Backend>(
    k: &K,
    lists: &Lists,
    from: &K::Buffer,
    to: &K::Buffer,
    d: usize,
    add: bool,
) -> Result<()> {
    let begin = k.upload_u32("lists", &lists.begin)?;
    let index = k.upload_u32("lists", &lists.index)?;
    let weights = if lists.weights.is_empty() { None } else { Some(k.upload_f32("lists", &lists.weights)?) };
    let arguments = vec![
        Argument::Buffer(from),
        Argument::Buffer(&begin),
        Argument::Buffer(&index),
        weights.as_ref().map_or(Argument::Null, Argument::Buffer),
        Argument::Buffer(to),
        Argument::Int(d),
        Argument::Int(usize::from(add)),
    ];
    k.launch(&launch("rows", "sum_rows", (lists.rows(), ROW_THREADS), 0, arguments))
}

/// The sums of the columns of `from (count, n)`.
pub(super) fn sum_columns<K: Backend>(
    k: &K,
    what: &'static str,
    from: &K::Buffer,
    count: usize,
    n: usize,
) -> Result<K::Buffer> {
    let out = k.alloc(what, Float::F32, n)?;
    let arguments = vec![
        Argument::Buffer(from),
        Argument::Buffer(&out),
        Argument::Int(count),
        Argument::Int(n),
        Argument::Int(0),
    ];
    k.launch(&launch("rows", "sum_columns", (n.div_ceil(COLUMNS), 256), 0, arguments))?;
    Ok(out)
}

/// A matrix as products read it: itself, or a copy in bf16.
pub(super) enum Operand<'a, B> {
    Itself(&'a B),
    Narrow(B),
}

impl<B> Operand<'_, B> {
    pub(super) fn buffer(&self) -> &B {
        match self {
            Self::Itself(buffer) => buffer,
            Self::Narrow(buffer) => buffer,
        }
    }
}

/// `len` f32 values in the pass' format.
pub(super) fn operand<'a, K: Backend>(
    k: &K,
    float: Float,
    from: &'a K::Buffer,
    len: usize,
) -> Result<Operand<'a, K::Buffer>> {
    if float == Float::F32 {
        return Ok(Operand::Itself(from));
    }
    let out = k.alloc("a matrix in bf16", Float::Bf16, len)?;
    let arguments = vec![Argument::Buffer(from), Argument::Buffer(&out), Argument::Size(len)];
    k.launch(&launch("rows", "narrow_rows", (len.div_ceil(256), 256), 0, arguments))?;
    Ok(Operand::Narrow(out))
}

/// A matrix product into a new array.
pub(super) fn matmul<K: Backend>(
    k: &K,
    (what, form, result): (&'static str, Gemm, Float),
    (a, b): (&K::Buffer, &K::Buffer),
    sizes: (usize, usize, usize),
    operands: Float,
) -> Result<K::Buffer> {
    let to = k.alloc(what, result, sizes.0 * sizes.1)?;
    k.matmul(&Matmul { form, a, b, to: &to, sizes, operands, result, add: false })?;
    Ok(to)
}
