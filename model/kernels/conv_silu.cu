// Causal depthwise convolution, bias and SiLU over sequences; and the inputs that the next call begins with.
//
//   out_t = silu(bias + sum over k of weight_k in_(t + k - K + 1)), inputs before the first step from the tails
//
// Shapes    rows (b, l, width), the convolution's input at columns at .. at + C; tails, after (b, K - 1, C) float,
//           oldest first; weight (C, K), bias (C) float, bias may be null; lengths (b); out (b, l, C) as the rows, zero
//           where no step counts.
// Launch    conv_silu_*: grid (C / CONV_THREADS, l / CONV_STEPS, b), rounded up; conv_tails_*: grid
//           (C / CONV_THREADS rounded up, K - 1, b); block CONV_THREADS; no dynamic shared memory.
// Numerics  float, one fmaf after the other from the oldest input on, after the bias. A thread has one channel:
//           neighbours read neighbours, and a step's inputs come again from the first cache.
// Reference netssm_model::engine::cpu::conv (the CPU's).
#include "conv.cuh"

template <typename T>
__device__ void conv_silu(const T* rows, const float* tails, const float* weight, const float* bias,
                          const int* lengths, T* out, int l, int c, int k, int width, int at) {
    int channel = blockIdx.x * CONV_THREADS + threadIdx.x, b = blockIdx.z;
    if (channel >= c) return;
    Conv<T> conv(rows, tails, weight, bias, b, l, c, k, width, at, channel);
    int from = blockIdx.y * CONV_STEPS, to = min(l, from + CONV_STEPS), counted = min(lengths[b], l);
    for (int t = from; t < to; ++t) {
        float value = t < counted ? silu(conv.before_activation(t)) : 0.0f;
        out[(static_cast<size_t>(b) * l + t) * c + channel] = from_float<T>(value);
    }
}

#define CONV_SILU(name, T)                                                                                         \
    KERNEL __launch_bounds__(CONV_THREADS)                                                                         \
    name(const T* rows, const float* tails, const float* weight, const float* bias, const int* lengths, T* out,    \
         int l, int c, int k, int width, int at) {                                                                 \
        conv_silu(rows, tails, weight, bias, lengths, out, l, c, k, width, at);                                    \
    }                                                                                                              \
    EMULATE(name)
CONV_SILU(conv_silu_f32, float)
CONV_SILU(conv_silu_bf16, bf16)

template <typename T>
__device__ void conv_tails(const T* rows, const float* tails, const int* lengths, float* after, int l, int c, int k,
                           int width, int at) {
    int channel = blockIdx.x * CONV_THREADS + threadIdx.x, b = blockIdx.z, i = blockIdx.y;
    if (channel >= c) return;
    Conv<T> conv(rows, tails, nullptr, nullptr, b, l, c, k, width, at, channel);
    after[(static_cast<size_t>(b) * (k - 1) + i) * c + channel] = conv.input(min(lengths[b], l) + i - k + 1);
}

#define CONV_TAILS(name, T)                                                                                        \
    KERNEL __launch_bounds__(CONV_THREADS)                                                                         \
    name(const T* rows, const float* tails, const int* lengths, float* after, int l, int c, int k, int width,      \
         int at) {                                                                                                 \
        conv_tails(rows, tails, lengths, after, l, c, k, width, at);                                               \
    }                                                                                                              \
    EMULATE(name)
CONV_TAILS(conv_tails_f32, float)
CONV_TAILS(conv_tails_bf16, bf16)
