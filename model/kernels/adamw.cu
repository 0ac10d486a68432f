// AdamW: the gradient's length over all parameters, and the update of one parameter in one pass.
//
//   square_sums  sums[at + block] = sum over the block's values of from^2
//   length       out = sqrt(sum of sums)
//   adamw        g = scale grad, m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
//                theta = keep theta - rate m / (sqrt(correction v) + eps)
//
// Shapes    from (n), sums (at + blocks, or count) double, out (1); theta, grad, m, v (n) float. scale, keep, rate,
//           correction are those of netssm_model::engine::train_pass::Factors.
// Launch    square_sums: any number of blocks, which is part of the order of the sum; length: one block; adamw: grid
//           (n / ADAMW_THREADS rounded up). Block ADAMW_THREADS; no dynamic shared memory.
// Numerics  squares and their sums in double, by thread, then a tree over the block, then over the blocks: no atomics,
//           and one read for all parameters. The update in float, operation by operation as the CPU's; nvcc fuses some
//           of them.
// Speed     seven numbers of memory for each parameter; nothing is read twice.
// Reference netssm_model::optim::AdamW (the CPU's).
#include "common.cuh"

constexpr int ADAMW_THREADS = 256;

// Sum over the block, in thread 0.
__device__ __forceinline__ double tree_sum(double x, double* scratch) {
    scratch[threadIdx.x] = x;
    for (unsigned half = ADAMW_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    }
    return scratch[0];
}

KERNEL __launch_bounds__(ADAMW_THREADS) square_sums(const float* from, double* sums, int at, size_t n) {
    __shared__ double scratch[ADAMW_THREADS];
    double sum = 0.0;
    size_t step = static_cast<size_t>(gridDim.x) * ADAMW_THREADS;
    for (size_t i = static_cast<size_t>(blockIdx.x) * ADAMW_THREADS + threadIdx.x; i < n; i += step) {
        sum += static_cast<double>(from[i]) * from[i];
    }
    sum = tree_sum(sum, scratch);
    if (threadIdx.x == 0) sums[at + blockIdx.x] = sum;
}
EMULATE(square_sums)

KERNEL __launch_bounds__(ADAMW_THREADS) length(const double* sums, float* out, int count) {
    __shared__ double scratch[ADAMW_THREADS];
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += ADAMW_THREADS) sum += sums[i];
    sum = tree_sum(sum, scratch);
    if (threadIdx.x == 0) out[0] = static_cast<float>(sqrt(sum));
}
EMULATE(length)

KERNEL __launch_bounds__(ADAMW_THREADS)
adamw(float* theta, const float* grad, float* first, float* second, size_t n, float scale, float beta1, float beta2,
      float eps, float keep, float rate, float correction) {
    size_t i = static_cast<size_t>(blockIdx.x) * ADAMW_THREADS + threadIdx.x;
    if (i >= n) return;
    float g = grad[i] * scale;
    float m = beta1 * first[i] + (1.0f - beta1) * g;
    float v = beta2 * second[i] + (1.0f - beta2) * g * g;
    first[i] = m, second[i] = v;
    theta[i] = theta[i] * keep - rate * m / (sqrtf(v * correction) + eps);
}
EMULATE(adamw)
