// The chunked scan's outputs from the states at the chunks' starts.
//
//   y_i = D x_i + exp(sums_i) C_i S + sum over j <= i of (C_i B_j) exp(sums_i - sums_j) dt_j x_j
//
// Shapes    xbc (b, l, E + 2 G N): x, B, C; dt, sums (b, H, chunks CHUNK) of scan_steps.cu; states (b, H, chunks, N, P) float of
//           scan_pass.cu; skip D (H) float; lengths (b); y (b, l, E) as xbc. E = H P, P at most CHUNK. Steps that do not count
//           give zero.
// Launch    grid (chunks, H, b), block SCAN_THREADS; dynamic shared memory 3 tiles.
// Numerics  float; every exponent that is raised is not positive (what lies above the diagonal never is).
// Reference netssm_model::ssd::reference (f64). Source: Dao and Gu 2024, listing 1, steps 1 and 4.
#include "scan_tiles.cuh"

template <typename T>
__device__ void scan_output(const T* xbc, const float* dt, const float* sums, const float* states, const float* skip,
                            const int* lengths, T* y, int l, int h, int p, int n, int g) {
    SHARED_MEMORY(float, tiles);
    __shared__ float own_dt[CHUNK], own_sums[CHUNK];
    float *first_tile = tiles, *second_tile = tiles + TILE, *third_tile = tiles + 2 * TILE;
    int head = blockIdx.y, b = blockIdx.z, group = head / (h / g), steps = steps_in_chunk(lengths, b);
    int e = h * p, start = blockIdx.x * CHUNK, row = own_row(), col = own_col();
    size_t width = e + 2 * static_cast<size_t>(g) * n;
    const T* rows = xbc + (static_cast<size_t>(b) * l + start) * width;
    size_t chunk = (static_cast<size_t>(b) * h + head) * gridDim.x + blockIdx.x;
    states += chunk * n * p;
    for (int t = threadIdx.x; t < CHUNK; t += SCAN_THREADS) {
        own_dt[t] = dt[chunk * CHUNK + t];
        own_sums[t] = sums[chunk * CHUNK + t];
    }
    float scores[4][4] = {}, out[4][4] = {};
    for (int first = 0; first < n; first += CHUNK) {
        int some = min(CHUNK, n - first);
        load_tile<false>(first_tile, rows + e + (g + group) * n + first, width, steps, some);  // C
        load_tile<true>(second_tile, rows + e + group * n + first, width, steps, some);        // B^T
        load_tile<false>(third_tile, states + static_cast<size_t>(first) * p, p, some, p);     // S
        __syncthreads();
        multiply<false>(scores, first_tile, second_tile, 0, fours(some), min(CHUNK, row + 4));
        multiply<false>(out, first_tile, third_tile, 0, fours(some), p);
        __syncthreads();
    }
    for (int r = 0; r < 4; ++r) {
        int i = row + r;
        for (int c = 0; c < 4; ++c) {
            int j = col + c;
            float weight = j <= i ? scores[r][c] * expf(own_sums[i] - own_sums[j]) * own_dt[j] : 0.0f;
            first_tile[i * STRIDE + j] = weight;
            out[r][c] *= expf(own_sums[i]);
        }
    }
    load_tile<false>(second_tile, rows + head * p, width, steps, p);  // x
    __syncthreads();
    multiply<false>(out, first_tile, second_tile, 0, row + 4, p);
    for (int r = 0; r < 4; ++r) {
        int i = row + r;
        for (int c = 0; c < 4; ++c) {
            if (start + i >= l || col + c >= p) continue;
            float value = fmaf(skip[head], second_tile[i * STRIDE + col + c], out[r][c]);
            y[(static_cast<size_t>(b) * l + start + i) * e + head * p + col + c] = from_float<T>(value);
        }
    }
}

#define SCAN_OUTPUT(name, T)                                                                                     \
    KERNEL __launch_bounds__(SCAN_THREADS)                                                                       \
    name(const T* xbc, const float* dt, const float* sums, const float* states, const float* skip,               \
         const int* lengths, T* y, int l, int h, int p, int n, int g) {                                          \
        scan_output(xbc, dt, sums, states, skip, lengths, y, l, h, p, n, g);                                     \
    }                                                                                                            \
    EMULATE(name)
SCAN_OUTPUT(scan_output_f32, float)
SCAN_OUTPUT(scan_output_bf16, bf16)
