// RMS norm of rows: out = x / sqrt(mean(x^2) + eps) * weight.
//
// Shapes    x (rows, d) float; weight (d) float; out (rows, d) float or bf16, what the matrix product after it reads.
// Launch    grid (rows), block THREADS; no dynamic shared memory.
// Numerics  float; the sum of squares by thread, then a tree over the block: the same bits whatever the rows.
// Reference netssm_model::engine::cpu::norm::rms_rows (the CPU's), engine::tensors::norm::rms_norm.
#include "common.cuh"

constexpr int THREADS = 128;

template <typename Out>
__device__ void rms_norm(const float* x, const float* weight, Out* out, int d, float eps) {
    __shared__ float scratch[WARP_LANES];
    const float* row = x + static_cast<size_t>(blockIdx.x) * d;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < d; i += THREADS) squares = fmaf(row[i], row[i], squares);
    float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(d) + eps);
    Out* to = out + static_cast<size_t>(blockIdx.x) * d;
    for (int i = threadIdx.x; i < d; i += THREADS) to[i] = from_float<Out>(row[i] * scale * weight[i]);
}

KERNEL __launch_bounds__(THREADS) rms_norm_f32(const float* x, const float* weight, float* out, int d, float eps) {
    rms_norm(x, weight, out, d, eps);
}
EMULATE(rms_norm_f32)

KERNEL __launch_bounds__(THREADS) rms_norm_bf16(const float* x, const float* weight, bf16* out, int d, float eps) {
    rms_norm(x, weight, out, d, eps);
}
EMULATE(rms_norm_bf16)
