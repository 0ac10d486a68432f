// Steps and decays of the chunked scan: dt = softplus(raw + bias), and inside each chunk the running sum of dt A.
//
// Shapes    raw rows of `width` values, head h at column `at` + h: (b, l, width) float or bf16; dt_bias, a_log (H)
//           float; lengths (b); dt, sums (b, H, chunks CHUNK) float, with A = -exp(a_log).
// Launch    grid (chunks, H, b), block CHUNK; no dynamic shared memory.
// Numerics  float. Sums begin anew in each chunk, so that a decay is never the difference of two large numbers. Steps
//           that do not count have dt = 0: they neither decay the state nor feed it.
// Reference netssm_model::engine::tensors::reference (f64). Source: Dao and Gu 2024, section 6.
#include "scan_tiles.cuh"

template <typename T>
__device__ void scan_steps(const T* raw, const float* dt_bias, const float* a_log, const int* lengths, float* dt,
                           float* sums, int l, int width, int at) {
    __shared__ float total;
    int t = threadIdx.x, head = blockIdx.y, b = blockIdx.z, lane = t % WARP_LANES;
    float step = 0.0f;
    if (t < steps_in_chunk(lengths, b)) {
        size_t row = static_cast<size_t>(b) * l + blockIdx.x * CHUNK + t;
        step = softplus(to_float(raw[row * width + at + head]) + dt_bias[head]);
    }
    float sum = -expf(a_log[head]) * step;
    for (int by = 1; by < WARP_LANES; by *= 2) {
        float before = __shfl_up_sync(ALL_LANES, sum, by);
        if (lane >= by) sum += before;
    }
    if (t == WARP_LANES - 1) total = sum;
    __syncthreads();
    if (t >= WARP_LANES) sum += total;
    size_t to = ((static_cast<size_t>(b) * gridDim.y + head) * gridDim.x + blockIdx.x) * CHUNK + t;
    dt[to] = step;
    sums[to] = sum;
}

#define SCAN_STEPS(name, T)                                                                                    \
    KERNEL __launch_bounds__(CHUNK)                                                                            \
    name(const T* raw, const float* dt_bias, const float* a_log, const int* lengths, float* dt, float* sums,   \
         int l, int width, int at) {                                                                           \
        scan_steps(raw, dt_bias, a_log, lengths, dt, sums, l, width, at);                                      \
    }                                                                                                          \
    EMULATE(name)
SCAN_STEPS(scan_steps_f32, float)
SCAN_STEPS(scan_steps_bf16, bf16)
