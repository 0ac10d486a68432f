// What a chunk alone adds to the state by its end; or, backward, what its outputs' gradient adds to that of the state
// at its start.
//
//   forward   out (N, P) = sum over j of exp(sums_last - sums_j) dt_j B_j x_j^T
//   backward  out (N, P) = sum over i of exp(sums_i) C_i dy_i^T
//
// Shapes    left (b, l, left_width) with the group's N values at column left_at + group N (B or C, both in the rows of
//           x B C); right (b, l, right_width) with the head's P values at column head P (x or dy); dt, sums (b, H,
//           chunks CHUNK) of scan_steps.cu; lengths (b); out (b, H, chunks, N, P) float. P at most CHUNK.
// Launch    grid (chunks, H, b), block SCAN_THREADS; dynamic shared memory 2 tiles: 34 KiB in float, 18 in bf16.
// Numerics  float sums in the order of steps; exponents are never positive. In bf16 x (or dy) is rounded once more,
//           with its step's weight: 64 errors of 2^-9 that do not add up. The sums stay float, in memory too: the walk
//           over chunks adds to them.
// Speed     40 to 51 registers, so 4 or 5 blocks a multiprocessor. Writes 4 N P bytes for the 2 CHUNK (N + P) that it
//           reads: with tensor cores it is these writes.
// Reference netssm_model::engine::tensors::chunked, step 2 (Dao and Gu 2024, listing 1).
#include "scan_tiles.cuh"

template <typename T>
__device__ void scan_state(const T* left, const T* right, const float* dt, const float* sums, const int* lengths,
                           float* out, int l, int h, int p, int n, int g, int left_width, int left_at,
                           int right_width, int backward) {
    using Own = Tiles<T>;
    SHARED_MEMORY(T, tiles);
    __shared__ float weights[CHUNK];
    T *lefts = tiles, *rights = tiles + Own::SIZE;
    int head = blockIdx.y, b = blockIdx.z, group = head / (h / g), steps = steps_in_chunk(lengths, b);
    size_t row = static_cast<size_t>(b) * l + static_cast<size_t>(blockIdx.x) * CHUNK;
    size_t chunk = (static_cast<size_t>(b) * h + head) * gridDim.x + blockIdx.x;
    dt += chunk * CHUNK, sums += chunk * CHUNK, out += chunk * n * p;
    for (int t = threadIdx.x; t < CHUNK; t += SCAN_THREADS) {
        weights[t] = backward ? expf(sums[t]) : expf(sums[CHUNK - 1] - sums[t]) * dt[t];
    }
    __syncthreads();
    load_tile<PLAIN>(rights, right + row * right_width + head * p, right_width, steps, p, weights);
    for (int first = 0; first < n; first += CHUNK) {
        const T* from = left + row * left_width + left_at + group * n + first;
        load_tile<PLAIN>(lefts, from, left_width, steps, n - first);
        __syncthreads();
        typename Own::Outputs sum = {};
        multiply<TRANSPOSED, PLAIN>(sum, lefts, rights, 0, Own::whole(steps), p);
        put_outputs<T>(out + static_cast<size_t>(first) * p, p, n - first, p, sum);
        __syncthreads();
    }
}

#define SCAN_STATE(name, T)                                                                                      \
    KERNEL __launch_bounds__(SCAN_THREADS)                                                                       \
    name(const T* left, const T* right, const float* dt, const float* sums, const int* lengths, float* out,      \
         int l, int h, int p, int n, int g, int left_width, int left_at, int right_width, int backward) {        \
        scan_state(left, right, dt, sums, lengths, out, l, h, p, n, g, left_width, left_at, right_width, backward); \
    }                                                                                                            \
    EMULATE(name)
SCAN_STATE(scan_state_f32, float)
SCAN_STATE(scan_state_bf16, bf16)
