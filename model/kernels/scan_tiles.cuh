// What the chunked scan's kernels share: a chunk is CHUNK steps, and every small matrix of it is cut into tiles of
// CHUNK x CHUNK floats in shared memory, of which each of the block's THREADS threads owns 4 x 4 outputs.
//
// Tiles are filled with zeros where the matrix ends, so that products need no bounds: rows of a chunk behind a sequence's
// end, heads of fewer than CHUNK channels, states of fewer than CHUNK values (larger ones take several tiles).
#pragma once
#include "common.cuh"

// Steps of a chunk. Keep in step with netssm_model::pass::CHUNK.
constexpr int CHUNK = 64;
constexpr int SCAN_THREADS = 256;
// Floats from one row of a tile to the next: rows stay aligned to four floats and begin on different banks.
constexpr int STRIDE = CHUNK + 4;
constexpr int TILE = CHUNK * STRIDE;

// The thread's first row and column of its 4 x 4 outputs.
__device__ __forceinline__ int own_row() { return threadIdx.x / (CHUNK / 4) * 4; }
__device__ __forceinline__ int own_col() { return threadIdx.x % (CHUNK / 4) * 4; }

// Steps of chunk blockIdx.x that count in sequence b.
__device__ __forceinline__ int steps_in_chunk(const int* lengths, int b) {
    return max(0, min(CHUNK, lengths[b] - static_cast<int>(blockIdx.x) * CHUNK));
}

// Fills a tile from `rows` x `cols` values that lie `stride` apart, each row times its weight where there are weights;
// TRANSPOSED writes columns as rows. Another barrier before it is read.
template <bool TRANSPOSED, typename T>
__device__ __forceinline__ void load_tile(float* tile, const T* from, size_t stride, int rows, int cols,
                                          const float* weights = nullptr) {
#pragma unroll 4
    for (int i = threadIdx.x; i < CHUNK * CHUNK; i += SCAN_THREADS) {
        int row = i / CHUNK, col = i % CHUNK;
        float value = row < rows && col < cols ? to_float(from[row * stride + col]) : 0.0f;
        if (weights) value *= weights[row];
        tile[TRANSPOSED ? col * STRIDE + row : row * STRIDE + col] = value;
    }
}

// Adds the thread's outputs of a product over k = from .. to (multiples of four, at most CHUNK): a (row, k) b (k, col), or with
// TRANSPOSED a is (k, row). Columns from `cols` on are left alone. One fmaf after the other in the order of k.
template <bool TRANSPOSED>
__device__ __forceinline__ void multiply(float (&sum)[4][4], const float* a, const float* b, int from, int to, int cols) {
    int row = own_row(), col = own_col();
    if (col >= cols) return;
    for (int k = from; k < to; k += 4) {
        float4 bs[4], as[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            bs[i] = *reinterpret_cast<const float4*>(b + (k + i) * STRIDE + col);
            as[i] = *reinterpret_cast<const float4*>(TRANSPOSED ? a + (k + i) * STRIDE + row : a + (row + i) * STRIDE + k);
        }
        auto add = [&](int r, float x, const float4& y) {
            sum[r][0] = fmaf(x, y.x, sum[r][0]);
            sum[r][1] = fmaf(x, y.y, sum[r][1]);
            sum[r][2] = fmaf(x, y.z, sum[r][2]);
            sum[r][3] = fmaf(x, y.w, sum[r][3]);
        };
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (TRANSPOSED) {
                add(0, as[i].x, bs[i]), add(1, as[i].y, bs[i]), add(2, as[i].z, bs[i]), add(3, as[i].w, bs[i]);
            } else {
                add(i, as[i].x, bs[0]), add(i, as[i].y, bs[1]), add(i, as[i].z, bs[2]), add(i, as[i].w, bs[3]);
            }
        }
    }
}

// k rounded up to whole fours; the tile has zeros there.
__device__ __forceinline__ int fours(int k) { return (k + 3) / 4 * 4; }

// Sum over the threads that own the same rows, the same bits in each of them.
__device__ __forceinline__ float row_sum(float x) {
    for (int bits = CHUNK / 8; bits > 0; bits /= 2) x += __shfl_xor_sync(ALL_LANES, x, bits);
    return x;
}
