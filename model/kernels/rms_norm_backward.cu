// The gradient of rms_norm.cu: grad_x += r weight grad - x r^3 / d sum(x weight grad), with
// r = 1 / sqrt(mean(x^2) + eps).
//
// Shapes    x, grad, grad_x (rows, d) float; weight (d) float; totals (pieces, d) float: the weight's gradient, summed
//           over NORM_ROWS rows. What grad_x holds before is the residual's gradient.
// Launch    grid (rows / NORM_ROWS rounded up), block NORM_THREADS; dynamic shared memory d floats.
// Numerics  float; sums by thread, then a tree over the block; the weight's gradient in the order of rows.
// Reference netssm_model::engine::cpu::norm::rms_backward (the CPU's).
#include "norm.cuh"

KERNEL __launch_bounds__(NORM_THREADS)
rms_norm_backward(const float* x, const float* weight, const float* grad, float* grad_x, float* totals, int rows, int d,
                  float eps) {
    SHARED_MEMORY(float, grad_weight);
    __shared__ float scratch[WARP_LANES];
    int first = blockIdx.x * NORM_ROWS, last = min(rows, first + NORM_ROWS);
    for (int i = threadIdx.x; i < d; i += NORM_THREADS) grad_weight[i] = 0.0f;
    for (size_t row = first; row < static_cast<size_t>(last); ++row) {
        const float *xs = x + row * d, *grads = grad + row * d;
        float squares = 0.0f, sum = 0.0f;
        for (int i = threadIdx.x; i < d; i += NORM_THREADS) {
            squares = fmaf(xs[i], xs[i], squares);
            sum = fmaf(xs[i], weight[i] * grads[i], sum);
        }
        float mean = block_sum(squares, scratch) / static_cast<float>(d);
        __syncthreads();
        float scale = 1.0f / sqrtf(mean + eps);
        float back = block_sum(sum, scratch) * scale * scale * scale / static_cast<float>(d);
        __syncthreads();
        for (int i = threadIdx.x; i < d; i += NORM_THREADS) {
            grad_weight[i] += grads[i] * xs[i] * scale;
            grad_x[row * d + i] += scale * weight[i] * grads[i] - xs[i] * back;
        }
    }
    for (int i = threadIdx.x; i < d; i += NORM_THREADS) totals[static_cast<size_t>(blockIdx.x) * d + i] = grad_weight[i];
}
EMULATE(rms_norm_backward)
