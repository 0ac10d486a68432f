// The scan's tiles in float: exact products, each a chain of fmaf in the order of k.
//
// A thread owns 4 x 4 neighbouring outputs, half of a warp owns whole rows.
#pragma once
#include "scan_tiles.cuh"

template <>
struct Tiles<float> {
    using Element = float;
    // From one row of a tile to the next: rows stay aligned to four floats and begin on different banks.
    static constexpr int STRIDE = CHUNK + 4;
    static constexpr int SIZE = CHUNK * STRIDE;
    static constexpr int ROWS = 4, COLS = 4;
    using Outputs = float[ROWS][COLS];
    // Sets of threads that each sum a part of a row, and groups of rows whose columns are summed by one warp each.
    static constexpr int ROW_PARTS = 1, COL_PARTS = SCAN_WARPS;
    // Whether a turned tile differs from a plain one.
    static constexpr bool TURNS = true;

    // The thread's rows and columns, by the place of the output among its own.
    static __device__ __forceinline__ int row(int r) { return threadIdx.x / (CHUNK / COLS) * ROWS + r; }
    static __device__ __forceinline__ int col(int c) { return threadIdx.x % (CHUNK / COLS) * COLS + c; }
    // The rows that are multiplied together with the thread's: the bounds of k where a factor is triangular.
    static __device__ __forceinline__ int first_row() { return row(0); }
    static __device__ __forceinline__ int end_row() { return row(0) + ROWS; }
    // k rounded up to what a product takes at once; the tile has zeros there.
    static __device__ __forceinline__ int whole(int k) { return (k + 3) / 4 * 4; }
    // Which of the row's parts is the thread's, and whether it is the one that writes it.
    static __device__ __forceinline__ int row_part() { return 0; }
    static __device__ __forceinline__ bool writes_rows() { return threadIdx.x % (CHUNK / COLS) == 0; }
    static __device__ __forceinline__ int col_part() { return threadIdx.x / WARP_LANES; }
    static __device__ __forceinline__ bool writes_cols() { return threadIdx.x % WARP_LANES < CHUNK / COLS; }
    // Sums over the threads of the row's part, and over those of the warp that own the same columns.
    static __device__ __forceinline__ float row_sum(float x) {
        for (int bits = CHUNK / COLS / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(ALL_LANES, x, bits);
        return x;
    }
    static __device__ __forceinline__ float col_sum(float x) {
        return x + __shfl_xor_sync(ALL_LANES, x, CHUNK / COLS);
    }
    // Where a turned tile has what lies at that row and column in memory.
    static __device__ __forceinline__ int turned(int row, int col) { return col * STRIDE + row; }
};

// Fills a tile from `rows` x `cols` values that lie `stride` apart, each row times its weight where there are weights.
// Another barrier before it is read.
template <Factor AS>
__device__ __forceinline__ void load_tile(float* tile, const float* from, int stride, int rows, int cols,
                                          const float* weights = nullptr) {
    using Own = Tiles<float>;
    int thread = thread_anew();
#pragma unroll 4
    for (int i = thread; i < CHUNK * CHUNK; i += SCAN_THREADS) {
        int row = i / CHUNK, col = i % CHUNK;
        float value = row < rows && col < cols ? from[row * stride + col] : 0.0f;
        if (weights) value *= weights[row];
        tile[AS == TURNED ? Own::turned(row, col) : row * Own::STRIDE + col] = value;
    }
}

// Adds to the thread's outputs those of a product over k = from .. to (whole(), at most CHUNK): a (row, k) b (k, col).
// Columns from `cols` on are left alone.
template <Factor LEFT, Factor RIGHT>
__device__ __forceinline__ void multiply(float (&sum)[4][4], const float* a, const float* b, int from, int to, int cols) {
    static_assert(RIGHT != TRANSPOSED, "a right factor is turned instead");
    using Own = Tiles<float>;
    constexpr bool BY_K = LEFT != PLAIN;  // the factor's columns are rows of the tile
    int row = Own::row(0), col = Own::col(0);
    if (col >= cols) return;
#pragma unroll 1
    for (int k = from; k < to; k += 4) {
        float4 bs[4], as[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            bs[i] = *reinterpret_cast<const float4*>(b + (k + i) * Own::STRIDE + col);
            const float* left = BY_K ? a + (k + i) * Own::STRIDE + row : a + (row + i) * Own::STRIDE + k;
            as[i] = *reinterpret_cast<const float4*>(left);
        }
        auto add = [&](int r, float x, const float4& y) {
            sum[r][0] = fmaf(x, y.x, sum[r][0]);
            sum[r][1] = fmaf(x, y.y, sum[r][1]);
            sum[r][2] = fmaf(x, y.z, sum[r][2]);
            sum[r][3] = fmaf(x, y.w, sum[r][3]);
        };
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (BY_K) {
                add(0, as[i].x, bs[i]), add(1, as[i].y, bs[i]), add(2, as[i].z, bs[i]), add(3, as[i].w, bs[i]);
            } else {
                add(i, as[i].x, bs[0]), add(i, as[i].y, bs[1]), add(i, as[i].z, bs[2]), add(i, as[i].w, bs[3]);
            }
        }
    }
}
