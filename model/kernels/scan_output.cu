// The chunked scan's outputs from the states at the chunks' starts.
//
//   y_i = D x_i + exp(sums_i) C_i S + sum over j <= i of (C_i B_j) exp(sums_i - sums_j) dt_j x_j
//
// Shapes    xbc (b, l, E + 2 G N): x, B, C; dt, sums (b, H, chunks CHUNK) of scan_steps.cu; states (b, H, chunks, N, P)
//           float of scan_pass.cu; skip D (H) float; lengths (b); y (b, l, E) as xbc. E = H P, P at most CHUNK. Steps
//           that do not count give zero.
// Launch    grid (chunks, H, b), block SCAN_THREADS; dynamic shared memory 3 tiles: 51 KiB in float, 27 in bf16.
// Numerics  float; every exponent that is raised is not positive (what lies above the diagonal never is). In bf16 two
//           factors are rounded: the state, and the scores with decay and step. Scores and sums are float, and the
//           state's decay is applied to the sums.
// Speed     64 registers, so 4 blocks a multiprocessor; for shared memory 3 on an A100 and 1 on an L4 in float, 3 on an
//           L4 in bf16. Scores above the diagonal are left out by 4 x 4, in bf16 by 16 x 16 outputs, and so are their
//           steps of the last product.
// Reference netssm_model::engine::tensors::reference (f64). Source: Dao and Gu 2024, listing 1, steps 1 and 4.
#include "scan_tiles.cuh"

template <typename T>
__device__ void scan_output(const T* xbc, const float* dt, const float* sums, const float* states, const float* skip,
                            const int* lengths, T* y, int l, int h, int p, int n, int g) {
    using Own = Tiles<T>;
    SHARED_MEMORY(T, tiles);
    __shared__ float own_dt[CHUNK], own_sums[CHUNK];
    T *first_tile = tiles, *second_tile = tiles + Own::SIZE, *third_tile = tiles + 2 * Own::SIZE;
    int head = blockIdx.y, b = blockIdx.z, group = head / (h / g), steps = steps_in_chunk(lengths, b);
    int e = h * p, start = blockIdx.x * CHUNK;
    int width = e + 2 * g * n;
    size_t at = static_cast<size_t>(b) * l + start;
    const T* rows = xbc + at * width;
    size_t chunk = (static_cast<size_t>(b) * h + head) * gridDim.x + blockIdx.x;
    states += chunk * n * p;
    for (int t = threadIdx.x; t < CHUNK; t += SCAN_THREADS) {
        own_dt[t] = dt[chunk * CHUNK + t];
        own_sums[t] = sums[chunk * CHUNK + t];
    }
    typename Own::Outputs scores = {}, out = {};
    for (int first = 0; first < n; first += CHUNK) {
        int some = min(CHUNK, n - first);
        load_tile<PLAIN>(first_tile, rows + e + (g + group) * n + first, width, steps, some);  // C
        load_tile<TURNED>(second_tile, rows + e + group * n + first, width, steps, some);      // B
        load_tile<PLAIN>(third_tile, states + static_cast<size_t>(first) * p, p, some, p);     // S
        __syncthreads();
        multiply<PLAIN, TURNED>(scores, first_tile, second_tile, 0, Own::whole(some), Own::end_row());
        multiply<PLAIN, PLAIN>(out, first_tile, third_tile, 0, Own::whole(some), p);
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < Own::ROWS; ++r) {
        int i = Own::row(r);
#pragma unroll
        for (int c = 0; c < Own::COLS; ++c) {
            int j = Own::col(c);
            scores[r][c] = j <= i ? scores[r][c] * expf(own_sums[i] - own_sums[j]) * own_dt[j] : 0.0f;
            out[r][c] *= expf(own_sums[i]);
        }
    }
    put_tile<T>(first_tile, scores);
    load_tile<PLAIN>(second_tile, rows + head * p, width, steps, p);  // x
    __syncthreads();
    multiply<PLAIN, PLAIN>(out, first_tile, second_tile, 0, Own::end_row(), p);
#pragma unroll
    for (int r = 0; r < Own::ROWS; ++r) {
#pragma unroll
        for (int c = 0; c < Own::COLS; ++c) {
            out[r][c] = fmaf(skip[head], to_float(second_tile[Own::row(r) * Own::STRIDE + Own::col(c)]), out[r][c]);
        }
    }
    put_outputs<T>(y + at * e + head * p, e, l - start, p, out);
}

#define SCAN_OUTPUT(name, T)                                                                                     \
    KERNEL __launch_bounds__(SCAN_THREADS, 4)                                                                    \
    name(const T* xbc, const float* dt, const float* sums, const float* states, const float* skip,               \
         const int* lengths, T* y, int l, int h, int p, int n, int g) {                                          \
        scan_output(xbc, dt, sums, states, skip, lengths, y, l, h, p, n, g);                                     \
    }                                                                                                            \
    EMULATE(name)
SCAN_OUTPUT(scan_output_f32, float)
SCAN_OUTPUT(scan_output_bf16, bf16)
