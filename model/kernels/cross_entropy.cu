// Cross-entropy of rows of logits: nats = -ln softmax(logits)[target], and scale times its gradient.
//
// Shapes    logits (rows, v) float; targets (rows), IGNORE where none counts, else below v; nats (rows) float; grad
//           (rows, v) float or bf16, which in float may be the logits themselves. Where nothing counts both are zero.
// Launch    grid (rows), block LOSS_THREADS; no dynamic shared memory.
// Numerics  float; the row's largest value is taken off first; sums by thread, then a tree over the block.
// Reference netssm_model::engine::cpu::loss::replace_by_gradient (the CPU's).
#include "common.cuh"

constexpr int LOSS_THREADS = 128;
// Keep in step with netssm_model::network::input::IGNORE.
constexpr uint32_t IGNORE = 0xffffffffu;

template <typename T>
__device__ void cross_entropy(const float* logits, const uint32_t* targets, float* nats, T* grad, int v, float scale) {
    __shared__ float scratch[WARP_LANES];
    size_t row = blockIdx.x;
    uint32_t target = targets[row];
    const float* from = logits + row * v;
    T* to = grad + row * v;
    if (target == IGNORE) {
        for (int i = threadIdx.x; i < v; i += LOSS_THREADS) to[i] = from_float<T>(0.0f);
        if (threadIdx.x == 0) nats[row] = 0.0f;
        return;
    }
    float largest = -INFINITY;
    for (int i = threadIdx.x; i < v; i += LOSS_THREADS) largest = fmaxf(largest, from[i]);
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, bits));
    }
    if (threadIdx.x % WARP_LANES == 0) scratch[threadIdx.x / WARP_LANES] = largest;
    __syncthreads();
    for (int i = 0; i < LOSS_THREADS / WARP_LANES; ++i) largest = fmaxf(largest, scratch[i]);
    float chosen = from[target];
    __syncthreads();
    float sum = 0.0f;
    for (int i = threadIdx.x; i < v; i += LOSS_THREADS) sum += expf(from[i] - largest);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nats[row] = logf(sum) + (largest - chosen);
    float factor = scale / sum;
    for (int i = threadIdx.x; i < v; i += LOSS_THREADS) {
        float value = expf(from[i] - largest) * factor;
        to[i] = from_float<T>(static_cast<uint32_t>(i) == target ? value - scale : value);
    }
}

KERNEL __launch_bounds__(LOSS_THREADS)
cross_entropy_f32(const float* logits, const uint32_t* targets, float* nats, float* grad, int v, float scale) {
    cross_entropy(logits, targets, nats, grad, v, scale);
}
EMULATE(cross_entropy_f32)

KERNEL __launch_bounds__(LOSS_THREADS)
cross_entropy_bf16(const float* logits, const uint32_t* targets, float* nats, bf16* grad, int v, float scale) {
    cross_entropy(logits, targets, nats, grad, v, scale);
}
EMULATE(cross_entropy_bf16)
