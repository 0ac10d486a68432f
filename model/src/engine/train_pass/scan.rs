//! The chunked scan's kernels, forward and backward.
//!
//! Forward: steps and decays, what each chunk adds to the state, from chunk to chunk, outputs. Backward: what the
//! outputs' gradients add to the states', from the last chunk to the first, then everything inside the chunks. Source:
//! Dao and Gu 2024, section 6 and listing 1.

use super::calls::in_format;
use super::{Backend, CHUNK, Sizes};
use crate::engine::launch::{Argument, Float, Launch};
use crate::error::Result;

/// Bytes of a tile in shared memory, as `Tiles` of `scan_tiles_f32.cuh` and `scan_tiles_bf16.cuh` say.
const fn tile(float: Float) -> usize {
    match float {
        Float::F32 => CHUNK * (CHUNK + 4) * 4,
        Float::Bf16 => CHUNK * (CHUNK + 8) * 2,
    }
}

const SCAN_THREADS: usize = 256;
const PASS_THREADS: usize = 128;

/// What a scan reads, on the device.
#[derive(Debug)]
pub struct ScanBuffers<'a, B> {
    /// x, B and C after the activation, `(b, l, C)`.
    pub xbc: &'a B,
    /// Rows that hold the steps before bias and softplus, `(b, l, width)`.
    pub rows: &'a B,
    /// Values of one of these rows.
    pub width: usize,
    /// The first head's place in it.
    pub at: usize,
    /// `(H)`, f32 as the next two.
    pub a_log: &'a B,
    /// `(H)`.
    pub skip: &'a B,
    /// `(H)`.
    pub dt_bias: &'a B,
    /// `(b)`.
    pub lengths: &'a B,
    /// State before the first step `(b, H, N, P)`, f32; zero if absent.
    pub initial: Option<&'a B>,
}

/// What the backward pass reads of the forward pass.
pub(super) struct Scanned<B> {
    dt: B,           // (b, H, chunks CHUNK)
    sums: B,         // (b, H, chunks CHUNK)
    states: B,       // (b, H, chunks, N, P)
    pub(super) y: B, // (b, l, E)
}

/// The gradient of a scan.
pub(super) struct ScanGrads<B> {
    pub(super) x: B,     // (b, l, E)
    pub(super) bc: B,    // (parts, b, l, 2 G N)
    pub(super) heads: B, // (3 H): dt_bias, a_log, D
}

fn or_null<B>(buffer: Option<&B>) -> Argument<&B> {
    buffer.map_or(Argument::Null, Argument::Buffer)
}

/// y `(b, l, E)`; `after`, if given, receives the state after each row's last step, `(b, H, N, P)`.
///
/// # Errors
/// What the backend's calls fail with.
pub fn scan<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ScanBuffers<'_, K::Buffer>,
    after: Option<&K::Buffer>,
) -> Result<K::Buffer> {
    Ok(scanned(k, sizes, input, after)?.y)
}

pub(super) fn scanned<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ScanBuffers<'_, K::Buffer>,
    after: Option<&K::Buffer>,
) -> Result<Scanned<K::Buffer>> {
    let Sizes { b, l, h, p, g, n, e, float, .. } = *sizes;
    let chunks = sizes.chunks();
    let dt = k.alloc("steps", Float::F32, b * h * chunks * CHUNK)?;
    let sums = k.alloc("decays", Float::F32, b * h * chunks * CHUNK)?;
    k.launch(&Launch {
        module: "scan_steps",
        function: in_format("scan_steps", float),
        grid: (chunks, h, b),
        block: CHUNK,
        shared: 0,
        arguments: vec![
            Argument::Buffer(input.rows),
            Argument::Buffer(input.dt_bias),
            Argument::Buffer(input.a_log),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&dt),
            Argument::Buffer(&sums),
            Argument::Int(l),
            Argument::Int(input.width),
            Argument::Int(input.at),
        ],
    })?;
    let states = k.alloc("states", Float::F32, sizes.states())?;
    let of_x = Added { left_at: e, right: input.xbc, right_width: sizes.c(), backward: false };
    added(k, sizes, input, (&dt, &sums), &of_x, &states)?;
    pass(k, sizes, (&states, &sums), input.initial, after, false)?;
    let y = k.alloc("scan's output", float, sizes.rows() * e)?;
    k.launch(&Launch {
        module: "scan_output",
        function: in_format("scan_output", float),
        grid: (chunks, h, b),
        block: SCAN_THREADS,
        shared: 3 * tile(float),
        arguments: vec![
            Argument::Buffer(input.xbc),
            Argument::Buffer(&dt),
            Argument::Buffer(&sums),
            Argument::Buffer(&states),
            Argument::Buffer(input.skip),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&y),
            Argument::Int(l),
            Argument::Int(h),
            Argument::Int(p),
            Argument::Int(n),
            Argument::Int(g),
        ],
    })?;
    Ok(Scanned { dt, sums, states, y })
}

/// The products that make a chunk's part of the state, or of its gradient.
struct Added<'a, B> {
    /// Where the left factor (B or C) of the first group lies in a row of x B C.
    left_at: usize,
    right: &'a B,
    right_width: usize,
    backward: bool,
}

fn added<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ScanBuffers<'_, K::Buffer>,
    (dt, sums): (&K::Buffer, &K::Buffer),
    of: &Added<'_, K::Buffer>,
    to: &K::Buffer,
) -> Result<()> {
    let Sizes { b, l, h, p, g, n, float, .. } = *sizes;
    k.launch(&Launch {
        module: "scan_state",
        function: in_format("scan_state", float),
        grid: (sizes.chunks(), h, b),
        block: SCAN_THREADS,
        shared: 2 * tile(float),
        arguments: vec![
            Argument::Buffer(input.xbc),
            Argument::Buffer(of.right),
            Argument::Buffer(dt),
            Argument::Buffer(sums),
            Argument::Buffer(input.lengths),
            Argument::Buffer(to),
            Argument::Int(l),
            Argument::Int(h),
            Argument::Int(p),
            Argument::Int(n),
            Argument::Int(g),
            Argument::Int(sizes.c()),
            Argument::Int(of.left_at),
            Argument::Int(of.right_width),
            Argument::Int(usize::from(of.backward)),
        ],
    })
}

fn pass<K: Backend>(
    k: &K,
    sizes: &Sizes,
    (states, sums): (&K::Buffer, &K::Buffer),
    initial: Option<&K::Buffer>,
    after: Option<&K::Buffer>,
    backward: bool,
) -> Result<()> {
    let values = sizes.n * sizes.p;
    k.launch(&Launch {
        module: "scan_pass",
        function: "scan_pass".to_owned(),
        grid: (values.div_ceil(PASS_THREADS), sizes.h, sizes.b),
        block: PASS_THREADS,
        shared: 0,
        arguments: vec![
            Argument::Buffer(states),
            Argument::Buffer(sums),
            or_null(initial),
            or_null(after),
            Argument::Int(sizes.chunks()),
            Argument::Int(values),
            Argument::Int(usize::from(backward)),
        ],
    })
}

/// The gradients of a scan by everything it reads but the initial state, from `grad_y (b, l, E)`.
///
/// Recomputes the forward pass. Gives those of x `(b, l, E)`, of B and C `(parts, b, l, 2 G N)` in f32 (a group's parts
/// to be added), of the heads' dt_bias, a_log and D `(3 H)`; writes those of the steps into `grad_rows`, laid out as
/// [`ScanBuffers::rows`].
///
/// # Errors
/// What the backend's calls fail with.
pub fn scan_gradient<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ScanBuffers<'_, K::Buffer>,
    grad_y: &K::Buffer,
    grad_rows: &K::Buffer,
) -> Result<[K::Buffer; 3]> {
    let done = scanned(k, sizes, input, None)?;
    let ScanGrads { x, bc, heads } = gradient(k, sizes, input, done, grad_y, grad_rows)?;
    Ok([x, bc, heads])
}

pub(super) fn gradient<K: Backend>(
    k: &K,
    sizes: &Sizes,
    input: &ScanBuffers<'_, K::Buffer>,
    Scanned { dt, sums, states, y }: Scanned<K::Buffer>,
    grad_y: &K::Buffer,
    grad_rows: &K::Buffer,
) -> Result<ScanGrads<K::Buffer>> {
    drop(y);
    let Sizes { b, l, h, p, g, n, e, float, .. } = *sizes;
    let (chunks, per) = (sizes.chunks(), sizes.heads_per_block());
    let grad_states = k.alloc("gradient of states", Float::F32, sizes.states())?;
    let of_y = Added { left_at: e + g * n, right: grad_y, right_width: e, backward: true };
    added(k, sizes, input, (&dt, &sums), &of_y, &grad_states)?;
    pass(k, sizes, (&grad_states, &sums), None, None, true)?;
    let x = k.alloc("gradient of x", float, sizes.rows() * e)?;
    let bc = k.alloc("gradient of B and C", Float::F32, sizes.grad_bc())?;
    let totals = k.alloc("gradient of heads, in pieces", Float::F32, b * chunks * 3 * h)?;
    k.launch(&Launch {
        module: "scan_backward",
        function: in_format("scan_backward", float),
        grid: (chunks, h / per, b),
        block: SCAN_THREADS,
        shared: 5 * tile(float),
        arguments: vec![
            Argument::Buffer(input.xbc),
            Argument::Buffer(grad_y),
            Argument::Buffer(&dt),
            Argument::Buffer(&sums),
            Argument::Buffer(&states),
            Argument::Buffer(&grad_states),
            Argument::Buffer(input.a_log),
            Argument::Buffer(input.skip),
            Argument::Buffer(input.lengths),
            Argument::Buffer(&x),
            Argument::Buffer(&bc),
            Argument::Buffer(grad_rows),
            Argument::Buffer(&totals),
            Argument::Int(l),
            Argument::Int(h),
            Argument::Int(p),
            Argument::Int(n),
            Argument::Int(g),
            Argument::Int(per),
            Argument::Int(input.width),
            Argument::Int(input.at),
        ],
    })?;
    let heads = super::calls::sum_columns(k, "gradient of heads", &totals, b * chunks, 3 * h)?;
    Ok(ScanGrads { x, bc, heads })
}
