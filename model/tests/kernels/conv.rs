//! The convolution of training, its tails and its gradient, against plain loops in f64.

use netssm_model::engine::launch::Float;
use netssm_model::engine::train_pass::CONV_STEPS;

use crate::emulated::{self, Argument, Buffer, Kernels, Launch, close};
use crate::{noise, noise_in};

const THREADS: u32 = 128;

/// A call's sizes: the convolution's channels are E of x, then B and C of `g` groups of `n`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    l: usize,
    k: usize,
    e: usize,
    g: usize,
    n: usize,
    bias: bool,
}

/// Ragged: a whole sequence, an empty one, one that ends inside the first piece, one that ends behind the second's
/// first step.
fn lengths(l: usize) -> [usize; 4] {
    [l, 0, l.min(3), l.saturating_sub(5)]
}
const B: usize = 4;
/// Columns of a row before and behind the convolution's.
const BEFORE: usize = 3;
const BEHIND: usize = 2;
/// Parts of each group in the gradients of B and C.
const PARTS: usize = 2;

struct Conv {
    shape: Shape,
    float: Float,
    rows: Vec<f32>,
    tails: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad_x: Vec<f32>,
    grad_bc: Vec<f32>,
}

impl Conv {
    fn new(shape: Shape, float: Float) -> Self {
        let Shape { l, k, e, g, n, bias } = shape;
        let c = e + 2 * g * n;
        Self {
            shape,
            float,
            rows: noise_in(float, 1, B * l * (c + BEFORE + BEHIND)),
            tails: noise(2, B * (k - 1) * c),
            weight: noise(3, c * k),
            bias: if bias { noise(4, c) } else { vec![0.0; c] },
            grad_x: noise_in(float, 5, B * l * e),
            grad_bc: noise(6, g * PARTS * B * l * 2 * g * n),
        }
    }

    fn channels(&self) -> usize {
        self.shape.e + 2 * self.shape.g * self.shape.n
    }

    fn width(&self) -> usize {
        self.channels() + BEFORE + BEHIND
    }

    /// The input of step `t`, negative for the tails'.
    fn input(&self, b: usize, t: isize, channel: usize) -> f64 {
        let (c, k, l) = (self.channels(), self.shape.k, self.shape.l);
        f64::from(match usize::try_from(t) {
            Ok(t) => self.rows[(b * l + t) * self.width() + BEFORE + channel],
            Err(_) => self.tails[(b * (k - 1) + (t + k as isize - 1) as usize) * c + channel],
        })
    }

    fn before_activation(&self, b: usize, t: usize, channel: usize) -> f64 {
        let k = self.shape.k;
        let tap = |i: usize| f64::from(self.weight[channel * k + i]) * self.input(b, at(t, i, k), channel);
        f64::from(self.bias[channel]) + (0..k).map(tap).sum::<f64>()
    }

    /// The gradient before the activation; zero where no step counts.
    fn grad(&self, b: usize, t: usize, channel: usize) -> f64 {
        let Shape { l, e, g, n, .. } = self.shape;
        if t >= lengths(l)[b] {
            return 0.0;
        }
        let row = b * l + t;
        let above: f64 = if channel < e {
            f64::from(self.grad_x[row * e + channel])
        } else {
            let (column, width) = (channel - e, 2 * g * n);
            let group = column / n % g;
            let part = |part: usize| f64::from(self.grad_bc[(part * B * l + row) * width + column]);
            (group * PARTS..(group + 1) * PARTS).map(part).sum()
        };
        let x = self.before_activation(b, t, channel);
        let gate = 1.0 / (1.0 + (-x).exp());
        above * (gate + x * gate * (1.0 - gate))
    }

    fn launch(&self, kernels: &Kernels, name: &str, blocks: usize, shared: usize, call: Call) -> Vec<Buffer> {
        let name = format!("{name}_{}", self.float.name());
        let grid = (self.channels().div_ceil(THREADS as usize) as u32, blocks as u32, B as u32);
        kernels.launch(&name, Launch { grid, block: THREADS, shared }, call.buffers, &call.arguments)
    }

    fn lengths(&self) -> Buffer {
        Buffer::of(&lengths(self.shape.l).map(|length| length as u32))
    }

    /// Pointers to rows, tails, weight, bias or null, lengths.
    fn inputs(&self) -> Call {
        let mut call = Call::default();
        call.pointer(Buffer::of_floats(&self.rows, self.float));
        call.pointer(Buffer::of(&self.tails));
        call.pointer(Buffer::of(&self.weight));
        if self.shape.bias {
            call.pointer(Buffer::of(&self.bias))
        } else {
            call.arguments.push(Argument::Null)
        }
        call.pointer(self.lengths());
        call
    }
}

/// The step of tap `i` of step `t`'s output.
fn at(t: usize, i: usize, k: usize) -> isize {
    (t + i) as isize - (k as isize - 1)
}

#[derive(Default)]
struct Call {
    buffers: Vec<Buffer>,
    arguments: Vec<Argument<usize>>,
}

impl Call {
    fn pointer(&mut self, buffer: Buffer) {
        self.arguments.push(Argument::Buffer(self.buffers.len()));
        self.buffers.push(buffer);
    }

    fn ints<const N: usize>(&mut self, values: [usize; N]) {
        self.arguments.extend(values.map(Argument::Int));
    }
}

/// Every position and channel, in memory's order.
fn positions(l: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..B * l * c).map(move |i| (i / c / l, i / c % l, i % c))
}

fn forward(kernels: &Kernels, conv: &Conv, tolerance: f32) {
    let Shape { l, k, .. } = conv.shape;
    let (c, what) = (conv.channels(), format!("{:?} in {:?}", conv.shape, conv.float));
    let want = |(b, t, channel)| {
        let x = conv.before_activation(b, t, channel);
        if t < lengths(l)[b] { (x / (1.0 + (-x).exp())) as f32 } else { 0.0 }
    };
    let want: Vec<f32> = positions(l, c).map(want).collect();
    let mut call = conv.inputs();
    call.pointer(Buffer::unwritten_floats(B * l * c, conv.float));
    call.ints([l, c, k, conv.width(), BEFORE]);
    let out = conv.launch(kernels, "conv_silu", l.div_ceil(CONV_STEPS), 0, call);
    close(&format!("conv_silu of {what}"), &out.last().expect("out").floats(conv.float), &want, tolerance);

    let mut call = Call::default();
    call.pointer(Buffer::of_floats(&conv.rows, conv.float));
    call.pointer(Buffer::of(&conv.tails));
    call.pointer(conv.lengths());
    call.pointer(Buffer::unwritten::<f32>(B * (k - 1) * c));
    call.ints([l, c, k, conv.width(), BEFORE]);
    let after = conv.launch(kernels, "conv_tails", k - 1, 0, call)[3].values::<f32>();
    for (i, got) in after.into_iter().enumerate() {
        let (b, age, channel) = (i / c / (k - 1), i / c % (k - 1), i % c);
        let want = conv.input(b, at(lengths(l)[b], age, k), channel);
        assert_eq!(f64::from(got), want, "conv_tails of {what}: {i}");
    }
}

fn backward(kernels: &Kernels, conv: &Conv, tolerance: f32) {
    let Shape { l, k, e, g, n, .. } = conv.shape;
    let (c, width, what) = (conv.channels(), conv.width(), format!("{:?} in {:?}", conv.shape, conv.float));
    let pieces = l.div_ceil(CONV_STEPS);
    let mut call = conv.inputs();
    call.pointer(Buffer::of_floats(&conv.grad_x, conv.float));
    call.pointer(Buffer::of(&conv.grad_bc));
    let grad_rows = call.buffers.len();
    call.pointer(Buffer::unwritten_floats(B * l * width, conv.float));
    call.pointer(Buffer::unwritten::<f32>(B * pieces * c * (k + 1)));
    call.ints([l, c, k, width, BEFORE, e, n, g, PARTS]);
    let shared = (CONV_STEPS + k - 1) * THREADS as usize * 4;
    let out = conv.launch(kernels, "conv_backward", pieces, shared, call);

    let rows = out[grad_rows].floats(conv.float);
    let got: Vec<f32> =
        positions(l, c).map(|(b, t, channel)| rows[(b * l + t) * width + BEFORE + channel]).collect();
    // Tap i of step s read the input of step s + i - (K - 1).
    let of_input = |(b, t, channel): (usize, usize, usize)| {
        let tap = |i: usize| match t + k - 1 - i {
            s if s < l => f64::from(conv.weight[channel * k + i]) * conv.grad(b, s, channel),
            _ => 0.0,
        };
        (0..k).map(tap).sum::<f64>() as f32
    };
    let want: Vec<f32> = positions(l, c).map(of_input).collect();
    close(&format!("gradient of the input of {what}"), &got, &want, tolerance);
    let outside = |i: &usize| !(BEFORE..BEFORE + c).contains(&(i % width));
    assert!(
        (0..rows.len()).filter(outside).all(|i| rows[i].is_nan()),
        "{what}: a column that is not its own"
    );

    let pieces = out[grad_rows + 1].values::<f32>();
    let mut totals = vec![0.0; c * (k + 1)];
    pieces.iter().enumerate().for_each(|(i, x)| totals[i % (c * (k + 1))] += x);
    let mut want = vec![0.0; c * (k + 1)];
    for (b, t, channel) in positions(l, c) {
        let grad = conv.grad(b, t, channel);
        (0..k).for_each(|i| want[channel * k + i] += grad * conv.input(b, at(t, i, k), channel));
        want[c * k + channel] += grad;
    }
    let want: Vec<f32> = want.into_iter().map(|x| x as f32).collect();
    close(&format!("gradient of weight and bias of {what}"), &totals, &want, 1e-5);
}

#[test]
fn convolutions_are_the_plain_loops() {
    let Some(kernels) = emulated::kernels() else { return };
    let shapes = [
        Shape { l: 70, k: 4, e: 124, g: 2, n: 3, bias: true },
        Shape { l: 65, k: 3, e: 20, g: 1, n: 5, bias: false },
        Shape { l: 2, k: 4, e: 6, g: 2, n: 4, bias: false },
        Shape { l: 9, k: 2, e: 8, g: 1, n: 4, bias: true },
    ];
    for shape in shapes {
        for (float, tolerance) in [(Float::F32, 2e-6), (Float::Bf16, 4e-3)] {
            let conv = Conv::new(shape, float);
            forward(kernels, &conv, tolerance);
            backward(kernels, &conv, tolerance);
        }
    }
}
