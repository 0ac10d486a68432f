// The scan's tiles in bf16: products on tensor cores with float sums, 16 of k at once in their order.
//
// The block's eight warps own 16 rows x 32 columns each, as four fragments of 16 x 8: a thread has two rows of four pairs of
// columns; four lanes of two warps share a row. Tiles lie as memory does: ldmatrix reads rows and columns alike.
//
// Numerics  operands are rounded to the nearest bf16 where they are not bf16 already; products are exact, sums float (the order
//           inside 16 of k is the device's). Blocks of 16 x 16 above a diagonal are left out.
// Banks     no conflicts in loads by ldmatrix, in 16-byte writes of rows, and in a thread's writes of its pairs.
#pragma once
#include "scan_tiles.cuh"
#include "tensor.cuh"

template <>
struct Tiles<bf16> {
    using Element = bf16;
    // 36 words: the eight rows of 16 bytes that ldmatrix reads at once begin four banks apart, and no two of them meet.
    static constexpr int STRIDE = CHUNK + 8;
    static constexpr int SIZE = CHUNK * STRIDE;
    static constexpr int ROWS = 2, COLS = 8;
    using Outputs = float[ROWS][COLS];
    static constexpr int ROW_PARTS = 2, COL_PARTS = CHUNK / 16;
    static constexpr bool TURNS = false;

    static __device__ __forceinline__ int warp() { return threadIdx.x / WARP_LANES; }
    static __device__ __forceinline__ int first_col() { return warp() % 2 * 32; }
    static __device__ __forceinline__ int row(int r) { return first_row() + threadIdx.x % WARP_LANES / 4 + r * 8; }
    static __device__ __forceinline__ int col(int c) {
        return first_col() + c / 2 * 8 + threadIdx.x % 4 * 2 + c % 2;
    }
    static __device__ __forceinline__ int first_row() { return warp() / 2 * 16; }
    static __device__ __forceinline__ int end_row() { return first_row() + 16; }
    static __device__ __forceinline__ int whole(int k) { return (k + 15) / 16 * 16; }
    static __device__ __forceinline__ int row_part() { return warp() % 2; }
    static __device__ __forceinline__ bool writes_rows() { return threadIdx.x % 4 == 0; }
    static __device__ __forceinline__ int col_part() { return warp() / 2; }
    static __device__ __forceinline__ bool writes_cols() { return threadIdx.x % WARP_LANES < 4; }
    static __device__ __forceinline__ float row_sum(float x) {
        x += __shfl_xor_sync(ALL_LANES, x, 2);
        return x + __shfl_xor_sync(ALL_LANES, x, 1);
    }
    static __device__ __forceinline__ float col_sum(float x) {
        for (int bits = WARP_LANES / 2; bits >= 4; bits /= 2) x += __shfl_xor_sync(ALL_LANES, x, bits);
        return x;
    }
    static __device__ __forceinline__ int turned(int row, int col) { return row * STRIDE + col; }
};

// Eight neighbouring values as four words of bf16, rounded to the nearest.
__device__ __forceinline__ uint4 as_words(const float (&x)[8]) {
    auto pair = [&](int i) -> uint32_t {
        return from_float<bf16>(x[i]).bits | static_cast<uint32_t>(from_float<bf16>(x[i + 1]).bits) << 16;
    };
    return make_uint4(pair(0), pair(2), pair(4), pair(6));
}

__device__ __forceinline__ uint4 load_words(const bf16* from) { return __ldg(reinterpret_cast<const uint4*>(from)); }
__device__ __forceinline__ uint4 load_words(const float* from) {
    float4 low = __ldg(reinterpret_cast<const float4*>(from)), high = __ldg(reinterpret_cast<const float4*>(from) + 1);
    return as_words({low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w});
}

// As that of scan_tiles_f32.cuh, from bf16 or from float. A thread has eight values of a row at once: a quarter of a warp writes
// one row, every bank once, and reads 128 bytes of bf16.
template <Factor AS, typename T>
__device__ __forceinline__ void load_tile(bf16* tile, const T* from, int stride, int rows, int cols,
                                          const float* weights = nullptr) {
    constexpr int AT_ONCE = 8, LOADS = CHUNK * CHUNK / AT_ONCE / SCAN_THREADS;
    int thread = thread_anew();
    bool whole = aligned(from, stride, 16);
    uint4 words[LOADS];
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
        int at = thread + i * SCAN_THREADS, row = at / (CHUNK / AT_ONCE), col = at % (CHUNK / AT_ONCE) * AT_ONCE;
        const T* values = from + row * stride + col;
        if (row >= rows || col >= cols) {
            words[i] = make_uint4(0, 0, 0, 0);
        } else if (whole && col + AT_ONCE <= cols) {
            words[i] = load_words(values);
        } else {
            float some[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) some[j] = col + j < cols ? to_float(values[j]) : 0.0f;
            words[i] = as_words(some);
        }
    }
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
        int at = thread + i * SCAN_THREADS, row = at / (CHUNK / AT_ONCE), col = at % (CHUNK / AT_ONCE) * AT_ONCE;
        if (weights) {
            uint32_t pairs[] = {words[i].x, words[i].y, words[i].z, words[i].w};
            float some[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) {
                uint32_t pair = pairs[j / 2];
                some[j] = __uint_as_float(j % 2 ? pair & 0xffff0000u : pair << 16) * weights[row];
            }
            words[i] = as_words(some);
        }
        *reinterpret_cast<uint4*>(tile + row * Tiles<bf16>::STRIDE + col) = words[i];
    }
}

// As that of scan_tiles_f32.cuh. Columns from `cols` on are left alone by sixteens.
template <Factor LEFT, Factor RIGHT>
__device__ __forceinline__ void multiply(float (&sum)[2][8], const bf16* a, const bf16* b, int from, int to, int cols) {
    static_assert(RIGHT != TRANSPOSED, "a right factor is turned instead");
    using Own = Tiles<bf16>;
    int lane = thread_anew() % WARP_LANES, row = Own::first_row(), col = Own::first_col();
    // Which row of which of the four matrices of a load the lane points to.
    int line = lane % 8, odd = lane / 8 % 2 * 8, upper = lane / 16 * 8;
    if (col >= cols) return;
#pragma unroll 1
    for (int k = from; k < to; k += 16) {
        uint32_t left[4];
        load_matrices<LEFT == TRANSPOSED>(left, LEFT == TRANSPOSED ? a + (k + upper + line) * Own::STRIDE + row + odd
                                                                   : a + (row + odd + line) * Own::STRIDE + k + upper);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            int first = col + j * 16;
            if (first >= cols) continue;
            uint32_t right[4];
            load_matrices<RIGHT == PLAIN>(right, RIGHT == PLAIN ? b + (k + odd + line) * Own::STRIDE + first + upper
                                                                : b + (first + upper + line) * Own::STRIDE + k + odd);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                int c = j * 4 + i * 2;
                float part[4] = {sum[0][c], sum[0][c + 1], sum[1][c], sum[1][c + 1]};
                tensor_product(part, left, right + i * 2);
                sum[0][c] = part[0], sum[0][c + 1] = part[1], sum[1][c] = part[2], sum[1][c + 1] = part[3];
            }
        }
    }
}
