// What the chunked scan's kernels share: a chunk is CHUNK steps, and every small matrix of it is cut into tiles of
// CHUNK x CHUNK values in shared memory, of whose products each of the block's SCAN_THREADS threads owns 16 outputs.
//
// The kernels are written once. What a tile consists of, how two of them are multiplied and which outputs a thread owns is
// Tiles<T> with load_tile and multiply: scan_tiles_f32.cuh for float, one fmaf after the other, and scan_tiles_bf16.cuh for
// bf16 on tensor cores. Sums, decays and exponents are float in both.
//
// Tiles are filled with zeros where the matrix ends, so that products need no bounds: rows of a chunk behind a sequence's
// end, heads of fewer than CHUNK channels, states of fewer than CHUNK values (larger ones take several tiles).
#pragma once
#include "common.cuh"

// Steps of a chunk. Keep in step with netssm_model::engine::train_pass::CHUNK.
constexpr int CHUNK = 64;
constexpr int SCAN_THREADS = 256;
constexpr int SCAN_WARPS = SCAN_THREADS / WARP_LANES;

// How a factor of a product lies in its tile.
enum Factor {
    // As load_tile<PLAIN> left it, and so it is multiplied.
    PLAIN,
    // As load_tile<PLAIN> left it, and its transpose is multiplied: a left factor only.
    TRANSPOSED,
    // As load_tile<TURNED> left it: a left factor as it lies in memory, a right one transposed. For those that want columns in
    // a row; a form that reads both directions alike leaves them in place.
    TURNED,
};

// threadIdx.x, read anew: what a helper makes of it is forgotten behind the helper. Otherwise the compiler keeps the addresses of
// every load of a kernel in registers over its loop over heads, and spills sums for them.
__device__ __forceinline__ int thread_anew() {
#ifdef __CUDACC__
    int thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
#else
    return threadIdx.x;
#endif
}

// Tiles of a form: see Tiles<float>.
template <typename T>
struct Tiles;

// Steps of chunk blockIdx.x that count in sequence b.
__device__ __forceinline__ int steps_in_chunk(const int* lengths, int b) {
    return max(0, min(CHUNK, lengths[b] - static_cast<int>(blockIdx.x) * CHUNK));
}

// Whether rows `stride` values apart from `at` on all begin on a multiple of `bytes`.
template <typename T>
__device__ __forceinline__ bool aligned(const T* at, int stride, int bytes) {
    return reinterpret_cast<uintptr_t>(at) % bytes == 0 && stride * static_cast<int>(sizeof(T)) % bytes == 0;
}

__device__ __forceinline__ void put_pair(float* to, float x, float y) {
    *reinterpret_cast<float2*>(to) = make_float2(x, y);
}
__device__ __forceinline__ void put_pair(bf16* to, float x, float y) {
    uint32_t low = from_float<bf16>(x).bits, high = from_float<bf16>(y).bits;
    *reinterpret_cast<uint32_t*>(to) = low | high << 16;
}

#include "scan_tiles_bf16.cuh"
#include "scan_tiles_f32.cuh"

// Writes the thread's outputs as a tile.
template <typename T>
__device__ __forceinline__ void put_tile(typename Tiles<T>::Element* tile, const typename Tiles<T>::Outputs& values) {
    using Own = Tiles<T>;
#pragma unroll
    for (int r = 0; r < Own::ROWS; ++r) {
#pragma unroll
        for (int c = 0; c < Own::COLS; c += 2) {
            put_pair(tile + Own::row(r) * Own::STRIDE + Own::col(c), values[r][c], values[r][c + 1]);
        }
    }
}

// Writes the thread's outputs to `rows` x `cols` values that lie `stride` apart, or adds them to what is there. By pairs where
// all of them are aligned.
template <typename T, typename Out>
__device__ __forceinline__ void put_outputs(Out* to, int stride, int rows, int cols,
                                            const typename Tiles<T>::Outputs& values, bool add = false) {
    using Own = Tiles<T>;
    bool pairs = cols % 2 == 0 && aligned(to, stride, 2 * sizeof(Out));
#pragma unroll
    for (int r = 0; r < Own::ROWS; ++r) {
        Out* row = to + Own::row(r) * stride;
        if (Own::row(r) >= rows) continue;
#pragma unroll
        for (int c = 0; c < Own::COLS; c += 2) {
            int col = Own::col(c);
            float x = values[r][c], y = values[r][c + 1];
            bool second = col + 1 < cols;
            if (col >= cols) continue;
            if (add) x += to_float(row[col]), y += second ? to_float(row[col + 1]) : 0.0f;
            if (pairs) {
                put_pair(row + col, x, y);
            } else {
                row[col] = from_float<Out>(x);
                if (second) row[col + 1] = from_float<Out>(y);
            }
        }
    }
}
