// Gated RMS norm and its gradient: a = y silu(z), out = a / sqrt(mean over the channel's group of a^2 + eps) weight.
//
//   backward, a group of M channels with scale r: grad_a = r weight grad - a r^3 / M sum(a weight grad)
//
// Shapes    y, out, grad, grad_y (rows, E); z and grad_z: the first E columns of rows of `width` values; weight (E)
//           float. Groups of E / G channels lie together. totals (pieces, E) float: the weight's gradient, summed over
//           NORM_ROWS rows.
// Launch    gated_norm_*: grid (rows); gated_norm_backward_*: grid (rows / NORM_ROWS rounded up), dynamic shared memory
//           E floats; block NORM_THREADS.
// Numerics  float; sums by thread, then a tree over the block; the weight's gradient in the order of rows, its channel
//           always the same thread's. The gate and the root are recomputed backward.
// Reference netssm_model::engine::cpu::norm::{gated_row, gated_row_backward} (the CPU's).
#include "norm.cuh"

// 1 / root mean square of a group's gated values.
template <typename T>
__device__ __forceinline__ float gated_scale(const T* y, const T* z, int from, int to, float eps, float* scratch) {
    float squares = 0.0f;
    for (int i = from + threadIdx.x; i < to; i += NORM_THREADS) {
        float a = to_float(y[i]) * silu(to_float(z[i]));
        squares = fmaf(a, a, squares);
    }
    float sum = block_sum(squares, scratch);
    __syncthreads();
    return 1.0f / sqrtf(sum / static_cast<float>(to - from) + eps);
}

template <typename T>
__device__ void gated_norm(const T* y, const T* z, const float* weight, T* out, int e, int groups, int width, float eps) {
    __shared__ float scratch[WARP_LANES];
    size_t row = blockIdx.x;
    y += row * e, z += row * width, out += row * e;
    int size = e / groups;
    for (int from = 0; from < e; from += size) {
        float scale = gated_scale(y, z, from, from + size, eps, scratch);
        for (int i = from + threadIdx.x; i < from + size; i += NORM_THREADS) {
            out[i] = from_float<T>(to_float(y[i]) * silu(to_float(z[i])) * (scale * weight[i]));
        }
    }
}

#define GATED_NORM(name, T)                                                                                            \
    KERNEL __launch_bounds__(NORM_THREADS)                                                                             \
    name(const T* y, const T* z, const float* weight, T* out, int e, int groups, int width, float eps) {               \
        gated_norm(y, z, weight, out, e, groups, width, eps);                                                          \
    }                                                                                                                  \
    EMULATE(name)
GATED_NORM(gated_norm_f32, float)
GATED_NORM(gated_norm_bf16, bf16)

template <typename T>
__device__ void gated_norm_backward(const T* y, const T* z, const float* weight, const T* grad, T* grad_y, T* grad_z,
                                    float* totals, int rows, int e, int groups, int width, float eps) {
    SHARED_MEMORY(float, grad_weight);
    __shared__ float scratch[WARP_LANES];
    int size = e / groups, first = blockIdx.x * NORM_ROWS, last = min(rows, first + NORM_ROWS);
    for (size_t row = first; row < static_cast<size_t>(last); ++row) {
        const T *ys = y + row * e, *zs = z + row * width, *grads = grad + row * e;
        bool begin = row == static_cast<size_t>(first);
        for (int from = 0; from < e; from += size) {
            float scale = gated_scale(ys, zs, from, from + size, eps, scratch), sum = 0.0f;
            for (int i = from + threadIdx.x; i < from + size; i += NORM_THREADS) {
                sum = fmaf(to_float(ys[i]) * silu(to_float(zs[i])), weight[i] * to_float(grads[i]), sum);
            }
            float back = block_sum(sum, scratch) * scale * scale * scale / static_cast<float>(size);
            __syncthreads();
            for (int i = from + threadIdx.x; i < from + size; i += NORM_THREADS) {
                float yi = to_float(ys[i]), zi = to_float(zs[i]), above = to_float(grads[i]);
                float gate = 1.0f / (1.0f + expf(-zi)), a = yi * zi * gate;
                float grad_a = scale * weight[i] * above - a * back;
                // A channel's thread depends on its group alone, so no barrier is needed.
                grad_weight[i] = (begin ? 0.0f : grad_weight[i]) + above * a * scale;
                grad_y[row * e + i] = from_float<T>(grad_a * zi * gate);
                grad_z[row * width + i] = from_float<T>(grad_a * yi * gate * (1.0f + zi * (1.0f - gate)));
            }
        }
    }
    for (int from = 0; from < e; from += size) {
        for (int i = from + threadIdx.x; i < from + size; i += NORM_THREADS) {
            totals[static_cast<size_t>(blockIdx.x) * e + i] = grad_weight[i];
        }
    }
}

#define GATED_NORM_BACKWARD(name, T)                                                                                  \
    KERNEL __launch_bounds__(NORM_THREADS)                                                                            \
    name(const T* y, const T* z, const float* weight, const T* grad, T* grad_y, T* grad_z, float* totals, int rows,   \
         int e, int groups, int width, float eps) {                                                                   \
        gated_norm_backward(y, z, weight, grad, grad_y, grad_z, totals, rows, e, groups, width, eps);                 \
    }                                                                                                                 \
    EMULATE(name)
GATED_NORM_BACKWARD(gated_norm_backward_f32, float)
GATED_NORM_BACKWARD(gated_norm_backward_bf16, bf16)
