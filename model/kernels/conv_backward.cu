// The causal convolution's gradient, from those of the scan's x, B and C.
//
// With g_t the gradient before the activation (that of the output times silu'):
//   grad_in_t = sum over k of weight_k g_(t - k + K - 1)   grad_weight_k = sum over t of g_t in_(t + k - K + 1)
//
// Shapes    rows, tails, weight, bias, lengths as conv_silu.cu; grad_x (b, l, E) as the rows; grad_bc (parts, b, l,
//           2 G N) float of scan_backward.cu: `per_group` parts a group, which are added here; grad_rows (b, l, width):
//           columns at .. at + C are written; totals (b pieces, C K + C) float: weight's, then the bias', summed over
//           CONV_STEPS steps. C = E + 2 G N. No gradient reaches the tails.
// Launch    grid (C / CONV_THREADS, pieces = l / CONV_STEPS, b), rounded up, block CONV_THREADS; dynamic shared memory
//           (CONV_STEPS + K - 1) CONV_THREADS floats: the steps' g, in which a thread has a column of its own
//           (no barrier).
// Numerics  float; sums in the order of steps; the parts' in theirs.
// Reference netssm_model::engine::cpu::conv::backward (the CPU's).
#include "conv.cuh"

template <typename T>
__device__ void conv_backward(const T* rows, const float* tails, const float* weight, const float* bias,
                              const int* lengths, const T* grad_x, const float* grad_bc, T* grad_rows, float* totals,
                              int l, int c, int k, int width, int at, int e, int n, int g, int per_group) {
    SHARED_MEMORY(float, grads);
    int channel = blockIdx.x * CONV_THREADS + threadIdx.x, b = blockIdx.z;
    if (channel >= c) return;
    Conv<T> conv(rows, tails, weight, bias, b, l, c, k, width, at, channel);
    int from = blockIdx.y * CONV_STEPS, to = min(l, from + CONV_STEPS), counted = min(lengths[b], l);
    size_t bc_width = 2 * static_cast<size_t>(g) * n, part = static_cast<size_t>(gridDim.z) * l * bc_width;
    int column = channel - e, group = column >= 0 ? column / n % g : 0;
    // A step's gradient reaches the inputs of the K - 1 steps before it: those of the steps after this piece count here
    // too.
    for (int t = from; t < to + k - 1; ++t) {
        float grad = 0.0f;
        if (t < counted) {
            size_t row = static_cast<size_t>(b) * l + t;
            if (column < 0) {
                grad = to_float(grad_x[row * e + channel]);
            } else {
                for (int i = 0; i < per_group; ++i) grad += grad_bc[(group * per_group + i) * part + row * bc_width + column];
            }
            float x = conv.before_activation(t), gate = 1.0f / (1.0f + expf(-x));
            grad *= gate * (1.0f + x * (1.0f - gate));
        }
        grads[(t - from) * CONV_THREADS + threadIdx.x] = grad;
    }
    auto grad_at = [&](int t) { return grads[(t - from) * CONV_THREADS + threadIdx.x]; };
    for (int t = from; t < to; ++t) {
        float sum = 0.0f;
        for (int i = 0; i < k; ++i) sum = fmaf(conv.weight[i], grad_at(t - i + k - 1), sum);
        grad_rows[(static_cast<size_t>(b) * l + t) * width + at + channel] = from_float<T>(sum);
    }
    float* to_totals = totals + (static_cast<size_t>(b) * gridDim.y + blockIdx.y) * c * (k + 1);
    for (int i = 0; i < k; ++i) {
        float sum = 0.0f;
        for (int t = from; t < min(to, counted); ++t) sum = fmaf(grad_at(t), conv.input(t + i - k + 1), sum);
        to_totals[static_cast<size_t>(channel) * k + i] = sum;
    }
    float sum = 0.0f;
    for (int t = from; t < to; ++t) sum += grad_at(t);
    to_totals[static_cast<size_t>(c) * k + channel] = sum;
}

#define CONV_BACKWARD(name, T)                                                                                      \
    KERNEL __launch_bounds__(CONV_THREADS)                                                                          \
    name(const T* rows, const float* tails, const float* weight, const float* bias, const int* lengths,             \
         const T* grad_x, const float* grad_bc, T* grad_rows, float* totals, int l, int c, int k, int width,        \
         int at, int e, int n, int g, int per_group) {                                                              \
        conv_backward(rows, tails, weight, bias, lengths, grad_x, grad_bc, grad_rows, totals, l, c, k, width, at, e, \
                      n, g, per_group);                                                                             \
    }                                                                                                               \
    EMULATE(name)
CONV_BACKWARD(conv_backward_f32, float)
CONV_BACKWARD(conv_backward_bf16, bf16)
