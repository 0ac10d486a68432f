//! The recurrence of one head in f32 on the CPU, forward and backward, vectorised over the head's channels.
//!
//! On a CPU the recurrent form costs fewer operations than the chunked one for the state sizes we use, because a head's
//! state (N x P) stays in the first-level cache: a step is one pass over it. The state lies as `(N, P)` with the
//! channel contiguous (and padded to whole vectors), so that a step is `N` rank-one updates without horizontal sums.
//!
//! Backward keeps the state at the start of every [`HeadShape::every`] steps from the forward pass, recomputes the
//! states between and runs the reverse recurrence over them. No gradient flows into the initial state or from the
//! final one: sequences longer than one call are trained by truncated back-propagation.

use pulp::{Simd, WithSimd};

use crate::engine::simd::math;

/// Channels are padded to this many, one AVX-512 vector.
const PAD: usize = 16;

/// Sizes of one head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadShape {
    /// Channels `P`.
    pub(crate) p: usize,
    /// State size `N`.
    pub(crate) n: usize,
}

impl HeadShape {
    fn padded(self) -> usize {
        self.p.next_multiple_of(PAD)
    }

    /// Steps between two kept states: the states recomputed between them should fit the second-level cache.
    pub(crate) fn every(self) -> usize {
        if self.n <= 32 { 16 } else { 32 }
    }

    /// Values of one kept state.
    fn kept(self) -> usize {
        self.n * self.padded()
    }

    /// Values that a forward pass over `len` steps keeps for the backward pass.
    pub(crate) fn kept_len(self, len: usize) -> usize {
        len.div_ceil(self.every()) * self.kept()
    }

    /// Width of one row of the backward pass's result: gradients of x (P), B (N), C (N) and raw dt (1).
    pub(crate) fn grad_width(self) -> usize {
        self.p + 2 * self.n + 1
    }
}

/// What one head reads: a window of the rows `(len, width)` that hold x, B and C of every head and group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadInput<'a> {
    pub(crate) shape: HeadShape,
    /// Rows of one sequence.
    pub(crate) xbc: &'a [f32],
    /// Values per row.
    pub(crate) width: usize,
    /// Offset of this head's x in a row.
    pub(crate) x_at: usize,
    /// Offset of this head's group's B in a row.
    pub(crate) b_at: usize,
    /// Offset of this head's group's C in a row.
    pub(crate) c_at: usize,
    /// Raw steps with their bias added, before softplus, `(len)`.
    pub(crate) raw_dt: &'a [f32],
    /// `A`, negative.
    pub(crate) a: f32,
    /// Skip weight.
    pub(crate) d: f32,
}

impl<'a> HeadInput<'a> {
    #[inline(always)]
    fn row(&self, t: usize) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let row = &self.xbc[t * self.width..(t + 1) * self.width];
        let HeadShape { p, n } = self.shape;
        (&row[self.x_at..self.x_at + p], &row[self.b_at..self.b_at + n], &row[self.c_at..self.c_at + n])
    }
}

/// Runs the head over `raw_dt.len()` steps.
///
/// `state` is `(N, P)`, read at the start and written at the end. `y` is `(len, P)`. `kept`, when given, holds
/// [`HeadShape::kept_len`] values and receives what [`backward`] needs.
pub(crate) fn forward(input: HeadInput<'_>, state: &mut [f32], y: &mut [f32], kept: Option<&mut [f32]>) {
    pulp::Arch::new().dispatch(Forward { input, state, y, kept });
}

struct Forward<'a> {
    input: HeadInput<'a>,
    state: &'a mut [f32],
    y: &'a mut [f32],
    kept: Option<&'a mut [f32]>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { input, state, y, mut kept } = self;
        let shape = input.shape;
        let padded = shape.padded();
        let mut s = vec![0f32; shape.kept()];
        unpack(state, &mut s, shape);
        let mut dtx = vec![0f32; padded];
        // Where no channel is padding, a step's output is made in its place.
        let mut padded_row = vec![0f32; if padded == shape.p { 0 } else { padded }];
        let every = shape.every();
        for (t, y_row) in y.chunks_exact_mut(shape.p).take(input.raw_dt.len()).enumerate() {
            if t % every == 0
                && let Some(kept) = kept.as_deref_mut()
            {
                let at = t / every * shape.kept();
                kept[at..at + shape.kept()].copy_from_slice(&s);
            }
            let (x, b, c) = input.row(t);
            let dt = math::softplus(input.raw_dt[t]);
            let decay = (dt * input.a).exp();
            let in_place = padded_row.is_empty();
            let out = if in_place { &mut *y_row } else { &mut padded_row[..] };
            for i in 0..shape.p {
                dtx[i] = dt * x[i];
                out[i] = input.d * x[i];
            }
            advance(simd, &mut s, &dtx, decay, b, c, out);
            if !in_place {
                y_row.copy_from_slice(&padded_row[..shape.p]);
            }
        }
        for n in 0..shape.n {
            state[n * shape.p..(n + 1) * shape.p].copy_from_slice(&s[n * padded..n * padded + shape.p]);
        }
    }
}

#[inline(always)]
fn unpack(state: &[f32], padded_state: &mut [f32], shape: HeadShape) {
    let padded = shape.padded();
    for n in 0..shape.n {
        padded_state[n * padded..n * padded + shape.p]
            .copy_from_slice(&state[n * shape.p..(n + 1) * shape.p]);
    }
}

/// One step of the recurrence: `s = decay s + B dtx`, `y += C s`.
///
/// The channels are taken in panels of 4, 2 or 1 vectors, whose step input and output stay in registers.
#[inline(always)]
pub(crate) fn advance<S: Simd>(
    simd: S,
    s: &mut [f32],
    dtx: &[f32],
    decay: f32,
    b: &[f32],
    c: &[f32],
    y: &mut [f32],
) {
    let (s, _) = S::as_mut_simd_f32s(s);
    let (dtx, _) = S::as_simd_f32s(dtx);
    let (y, _) = S::as_mut_simd_f32s(y);
    let width = dtx.len();
    let decay = simd.splat_f32s(decay);
    let mut at = 0;
    while at < width {
        if width - at >= 4 {
            advance_panel::<S, 4>(simd, s, dtx, decay, b, c, y, at);
            at += 4;
        } else if width - at >= 2 {
            advance_panel::<S, 2>(simd, s, dtx, decay, b, c, y, at);
            at += 2;
        } else {
            advance_panel::<S, 1>(simd, s, dtx, decay, b, c, y, at);
            at += 1;
        }
    }
}

/// The state behind a step whose output is known: `after = decay before + B dtx`, with the bits of [`advance`].
#[inline(always)]
fn retrace<S: Simd>(simd: S, before: &[f32], after: &mut [f32], dtx: &[f32], decay: f32, b: &[f32]) {
    let (before, _) = S::as_simd_f32s(before);
    let (after, _) = S::as_mut_simd_f32s(after);
    let (dtx, _) = S::as_simd_f32s(dtx);
    let decay = simd.splat_f32s(decay);
    let rows = before.chunks_exact(dtx.len()).zip(after.chunks_exact_mut(dtx.len()));
    for ((before, after), &b) in rows.zip(b) {
        let b = simd.splat_f32s(b);
        for ((after, before), x) in after.iter_mut().zip(before).zip(dtx) {
            *after = simd.mul_add_f32s(decay, *before, simd.mul_f32s(b, *x));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)] // the inner kernel: its operands, all in registers
fn advance_panel<S: Simd, const V: usize>(
    simd: S,
    s: &mut [S::f32s],
    dtx: &[S::f32s],
    decay: S::f32s,
    b: &[f32],
    c: &[f32],
    y: &mut [S::f32s],
    at: usize,
) {
    let width = dtx.len();
    let mut acc = [simd.splat_f32s(0.0); V];
    let mut xs = [simd.splat_f32s(0.0); V];
    acc.copy_from_slice(&y[at..at + V]);
    xs.copy_from_slice(&dtx[at..at + V]);
    for ((row, &b), &c) in s.chunks_exact_mut(width).zip(b).zip(c) {
        let b = simd.splat_f32s(b);
        let c = simd.splat_f32s(c);
        let row = &mut row[at..at + V];
        for i in 0..V {
            let v = simd.mul_add_f32s(decay, row[i], simd.mul_f32s(b, xs[i]));
            row[i] = v;
            acc[i] = simd.mul_add_f32s(c, v, acc[i]);
        }
    }
    y[at..at + V].copy_from_slice(&acc);
}

/// What the backward pass of one head adds to its parameters' gradients.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeadGrad {
    pub(crate) a: f32,
    pub(crate) d: f32,
    pub(crate) dt_bias: f32,
}

/// Gradients of one head.
///
/// `dy` are rows `(len, dy_width)` whose values from `dy_at` on are this head's. `grads` is `(len, grad_width)` and is
/// overwritten: x, B, C, raw dt.
pub(crate) fn backward(
    input: HeadInput<'_>,
    kept: &[f32],
    dy: &[f32],
    dy_width: usize,
    dy_at: usize,
    grads: &mut [f32],
) -> HeadGrad {
    pulp::Arch::new().dispatch(Backward { input, kept, dy, dy_width, dy_at, grads })
}

struct Backward<'a> {
    input: HeadInput<'a>,
    kept: &'a [f32],
    dy: &'a [f32],
    dy_width: usize,
    dy_at: usize,
    grads: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = HeadGrad;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> HeadGrad {
        let Self { input, kept, dy, dy_width, dy_at, grads } = self;
        let shape = input.shape;
        let HeadShape { p, n } = shape;
        let (padded, size, every) = (shape.padded(), shape.kept(), shape.every());
        let len = input.raw_dt.len();
        let mut states = vec![0f32; (every + 1) * size]; // states before the chunk and after each of its steps
        let mut dtx = vec![0f32; padded];
        let mut steps = vec![(0f32, 0f32); every]; // dt and decay of the chunk's steps
        let mut grad_state = vec![0f32; size];
        let mut padded_row = vec![0f32; if padded == p { 0 } else { padded }];
        let mut grad_dtx = vec![0f32; padded];
        let mut total = HeadGrad::default();
        for chunk in (0..len.div_ceil(every)).rev() {
            let from = chunk * every;
            let to = len.min(from + every);
            states[..size].copy_from_slice(&kept[chunk * size..(chunk + 1) * size]);
            for t in from..to {
                let (x, b, _) = input.row(t);
                let dt = math::softplus(input.raw_dt[t]);
                let decay = (dt * input.a).exp();
                steps[t - from] = (dt, decay);
                for i in 0..p {
                    dtx[i] = dt * x[i];
                }
                let (before, after) = states.split_at_mut((t - from + 1) * size);
                retrace(simd, &before[(t - from) * size..], &mut after[..size], &dtx, decay, b);
            }
            for t in (from..to).rev() {
                let (x, b, c) = input.row(t);
                let raw = input.raw_dt[t];
                let (dt, decay) = steps[t - from];
                for i in 0..p {
                    dtx[i] = dt * x[i];
                }
                let mut dy_row = &dy[t * dy_width + dy_at..t * dy_width + dy_at + p];
                if !padded_row.is_empty() {
                    padded_row[..p].copy_from_slice(dy_row);
                    dy_row = &padded_row;
                }
                grad_dtx.fill(0.0);
                let row = &mut grads[t * shape.grad_width()..(t + 1) * shape.grad_width()];
                let (grad_x, rest) = row.split_at_mut(p);
                let (grad_b, rest) = rest.split_at_mut(n);
                let (grad_c, grad_raw) = rest.split_at_mut(n);
                let (before, after) = states.split_at((t - from + 1) * size);
                let reverse = Reverse {
                    before: &before[(t - from) * size..],
                    after: &after[..size],
                    decay,
                    b,
                    c,
                    dtx: &dtx,
                    dy: dy_row,
                };
                let grad_decay = reverse.run(simd, &mut grad_state, grad_b, grad_c, &mut grad_dtx);
                for i in 0..p {
                    grad_x[i] = grad_dtx[i].mul_add(dt, input.d * dy_row[i]);
                }
                // decay = exp(dt A), so d decay / d dt = decay A and d decay / d A = decay dt
                let grad_dt = math::dot(&grad_dtx[..p], x) + grad_decay * decay * input.a;
                total.a += grad_decay * decay * dt;
                total.d += math::dot(&dy_row[..p], x);
                let slope = 1.0 / (1.0 + (-raw).exp()); // softplus'
                grad_raw[0] = grad_dt * slope;
                total.dt_bias += grad_raw[0];
            }
        }
        total
    }
}

/// Operands of one step of the reverse recurrence.
struct Reverse<'a> {
    before: &'a [f32],
    after: &'a [f32],
    decay: f32,
    b: &'a [f32],
    c: &'a [f32],
    dtx: &'a [f32],
    dy: &'a [f32],
}

impl Reverse<'_> {
    /// Updates the gradient of the state from "after step t, from later steps" to "after step t-1", overwrites the
    /// gradients of B and C, adds to that of dtx, and returns that of the decay.
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        simd: S,
        grad_state: &mut [f32],
        grad_b: &mut [f32],
        grad_c: &mut [f32],
        grad_dtx: &mut [f32],
    ) -> f32 {
        grad_b.fill(0.0);
        grad_c.fill(0.0);
        let width = self.dtx.len() / S::F32_LANES;
        let mut total = simd.splat_f32s(0.0);
        let mut at = 0;
        while at < width {
            if width - at >= 4 {
                total = self.panel::<S, 4>(simd, grad_state, grad_b, grad_c, grad_dtx, at, total);
                at += 4;
            } else if width - at >= 2 {
                total = self.panel::<S, 2>(simd, grad_state, grad_b, grad_c, grad_dtx, at, total);
                at += 2;
            } else {
                total = self.panel::<S, 1>(simd, grad_state, grad_b, grad_c, grad_dtx, at, total);
                at += 1;
            }
        }
        simd.reduce_sum_f32s(total)
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // the inner kernel: its operands, all in registers
    fn panel<S: Simd, const V: usize>(
        &self,
        simd: S,
        grad_state: &mut [f32],
        grad_b: &mut [f32],
        grad_c: &mut [f32],
        grad_dtx: &mut [f32],
        at: usize,
        mut total: S::f32s,
    ) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        let (before, _) = S::as_simd_f32s(self.before);
        let (after, _) = S::as_simd_f32s(self.after);
        let (dtx, _) = S::as_simd_f32s(self.dtx);
        let (dy, _) = S::as_simd_f32s(self.dy);
        let (grad_state, _) = S::as_mut_simd_f32s(grad_state);
        let (grad_dtx, _) = S::as_mut_simd_f32s(grad_dtx);
        let width = dtx.len();
        let decay = simd.splat_f32s(self.decay);
        let (mut xs, mut dys, mut grad_xs) = ([zero; V], [zero; V], [zero; V]);
        xs.copy_from_slice(&dtx[at..at + V]);
        dys.copy_from_slice(&dy[at..at + V]);
        grad_xs.copy_from_slice(&grad_dtx[at..at + V]);
        let rows = grad_state
            .chunks_exact_mut(width)
            .zip(before.chunks_exact(width))
            .zip(after.chunks_exact(width))
            .zip(self.b.iter().zip(self.c))
            .zip(grad_b.iter_mut().zip(grad_c));
        for ((((g, before), after), (&b, &c)), (grad_b, grad_c)) in rows {
            let (g, before, after) = (&mut g[at..at + V], &before[at..at + V], &after[at..at + V]);
            let (b, c) = (simd.splat_f32s(b), simd.splat_f32s(c));
            let (mut sum_b, mut sum_c) = (zero, zero);
            for i in 0..V {
                let v = simd.mul_add_f32s(c, dys[i], g[i]);
                sum_c = simd.mul_add_f32s(after[i], dys[i], sum_c);
                sum_b = simd.mul_add_f32s(v, xs[i], sum_b);
                grad_xs[i] = simd.mul_add_f32s(b, v, grad_xs[i]);
                total = simd.mul_add_f32s(v, before[i], total);
                g[i] = simd.mul_f32s(v, decay);
            }
            *grad_b += simd.reduce_sum_f32s(sum_b);
            *grad_c += simd.reduce_sum_f32s(sum_c);
        }
        grad_dtx[at..at + V].copy_from_slice(&grad_xs);
        total
    }
}
