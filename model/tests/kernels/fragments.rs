//! The tensor cores' wrappers against plain loops, with the layouts written down a second time from the PTX ISA:
//! "Matrix Fragments for mma.m16n8k16 with floating point type" and "Warp-level matrix load instruction: ldmatrix".
//!
//! The kernels' own twins could otherwise agree with one another and with no device.

use crate::emulated::{self, Argument, Buffer, Launch, close, from_bf16, to_bf16};
use crate::noise;

const LANES: usize = 32;
const WARP: Launch = Launch { grid: (1, 1, 1), block: 32, shared: 0 };

/// Row and column of a's element `i` of a lane, of eight.
fn of_a(lane: usize, i: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane % 4);
    let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
    let col = in_group * 2 + (i & 1);
    (row, if i < 4 { col } else { col + 8 })
}

/// Of b's, of four.
fn of_b(lane: usize, i: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane % 4);
    let row = in_group * 2 + (i & 1);
    (if i < 2 { row } else { row + 8 }, group)
}

/// Of the sums', of four.
fn of_c(lane: usize, i: usize) -> (usize, usize) {
    let (group, in_group) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, in_group * 2 + (i & 1))
}

/// Two values as a register has them, the first in the lower half.
fn pair(low: f32, high: f32) -> u32 {
    u32::from(to_bf16(low)) | u32::from(to_bf16(high)) << 16
}

#[test]
fn a_warps_product_is_the_plain_one() {
    let Some(kernels) = emulated::kernels() else { return };
    let round = |values: Vec<f32>| -> Vec<f32> { values.iter().map(|&x| from_bf16(to_bf16(x))).collect() };
    let (a, b, before) = (round(noise(1, 16 * 16)), round(noise(2, 16 * 8)), noise(3, 16 * 8));
    let (mut held_a, mut held_b, mut held_c) = (vec![], vec![], vec![]);
    for lane in 0..LANES {
        let a = |i| a[of_a(lane, i).0 * 16 + of_a(lane, i).1];
        let b = |i| b[of_b(lane, i).0 * 8 + of_b(lane, i).1];
        held_a.extend((0..8).step_by(2).map(|i| pair(a(i), a(i + 1))));
        held_b.extend((0..4).step_by(2).map(|i| pair(b(i), b(i + 1))));
        held_c.extend((0..4).map(|i| before[of_c(lane, i).0 * 8 + of_c(lane, i).1]));
    }
    let buffers = vec![Buffer::of(&held_a), Buffer::of(&held_b), Buffer::of(&held_c)];
    let arguments = [Argument::Buffer(0), Argument::Buffer(1), Argument::Buffer(2)];
    let got = kernels.launch("tensor_product_once", WARP, buffers, &arguments)[2].values::<f32>();
    let mut want = vec![0.0; LANES * 4];
    for lane in 0..LANES {
        for i in 0..4 {
            let (row, col) = of_c(lane, i);
            let product = |k: usize| f64::from(a[row * 16 + k]) * f64::from(b[k * 8 + col]);
            want[lane * 4 + i] =
                ((0..16).map(product).sum::<f64>() + f64::from(before[row * 8 + col])) as f32;
        }
    }
    close("a warp's product", &got, &want, 1e-6);
}

#[test]
fn matrices_come_as_rows_and_as_columns() {
    let Some(kernels) = emulated::kernels() else { return };
    let rows: Vec<u16> = (0..LANES as u16 * 8).collect();
    let room = || Buffer::unwritten::<u32>(LANES * 4);
    let buffers = vec![Buffer::of(&rows), room(), room()];
    let arguments = [Argument::Buffer(0), Argument::Buffer(1), Argument::Buffer(2)];
    let launch = Launch { shared: LANES * 16, ..WARP };
    let out = kernels.launch("load_matrices_once", launch, buffers, &arguments);
    let (plain, transposed) = (out[1].values::<u32>(), out[2].values::<u32>());
    // "A group of four threads loads an entire row of the matrix"; with .trans rows are columns.
    let at = |matrix: usize, row: usize, col: usize| u32::from(rows[(matrix * 8 + row) * 8 + col]);
    for lane in 0..LANES {
        let (row, col) = (lane / 4, lane % 4 * 2);
        for matrix in 0..4 {
            let got = (plain[lane * 4 + matrix], transposed[lane * 4 + matrix]);
            let want = at(matrix, row, col) | at(matrix, row, col + 1) << 16;
            let turned = at(matrix, col, row) | at(matrix, col + 1, row) << 16;
            assert_eq!(got, (want, turned), "lane {lane}, matrix {matrix}");
        }
    }
}
