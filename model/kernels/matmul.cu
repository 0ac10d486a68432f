// out = a w^T, or out += a w^T, for the matrix products of a step.
//
// Shapes    a (rows, k), w (n, k), both float or both bf16, row-major; out (rows, n) float.
// Launch    float: matmul_f32_{16,64,128}: grid (n / 64, rows / that number), rounded up, block 256.
//           bf16: matmul_bf16: grid (n / 64, rows / 64), rounded up, block 128. No dynamic shared memory.
// Numerics  Float accumulators. Each output is one chain of sums over k in order (float: one fmaf after the other;
//           bf16: one tensor-core product of 16 after the other), whatever the tile and whatever the rows beside it. So
//           a row's bits do not depend on the batch, which a library that picks its kernel by the sizes does not
//           promise. No TF32: float means float.
// Speed     Tiles in shared memory, the next one on its way in registers. Far from cuBLAS' best at large sizes; the
//           step is bound by the state's traffic (layer_step.cu), not by this.
// Reference netssm_model::engine::cpu::panels (the CPU's).
#include "tensor.cuh"

constexpr int TILE_N = 64;

// --- float ---

constexpr int F32_THREADS = 256;
constexpr int F32_K = 16;

// Four values of a row from column `k` on; zeros outside of the matrix.
__device__ __forceinline__ float4 load4(const float* m, int row, int rows, int k, int width, bool whole) {
    if (row >= rows || k >= width) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float* at = m + static_cast<size_t>(row) * width + k;
    if (whole) return __ldg(reinterpret_cast<const float4*>(at));
    return make_float4(at[0], k + 1 < width ? at[1] : 0.0f, k + 2 < width ? at[2] : 0.0f, k + 3 < width ? at[3] : 0.0f);
}

// A thread has ROWS x 4 outputs of a tile of (16 ROWS) x 64.
template <int ROWS>
__device__ void matmul_f32(const float* a, const float* w, float* out, int rows, int n, int k, int add) {
    constexpr int TILE_M = 16 * ROWS;
    constexpr int A_LOADS = (TILE_M * F32_K / 4 + F32_THREADS - 1) / F32_THREADS;
    // Transposed, so that a thread's rows or columns lie together; the odd stride spreads the writes over the banks.
    __shared__ __align__(16) float tile_a[F32_K][TILE_M + 4];
    __shared__ __align__(16) float tile_w[F32_K][TILE_N + 4];
    int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N, t = threadIdx.x;
    bool whole = k % 4 == 0;
    float4 next_a[A_LOADS], next_w;
    auto fetch = [&](int from) {
#pragma unroll
        for (int i = 0; i < A_LOADS; ++i) {
            int at = t + i * F32_THREADS;
            if (at < TILE_M * F32_K / 4) {
                next_a[i] = load4(a, first_row + at / (F32_K / 4), rows, from + at % (F32_K / 4) * 4, k, whole);
            }
        }
        next_w = load4(w, first_col + t / (F32_K / 4), n, from + t % (F32_K / 4) * 4, k, whole);
    };
    auto put = [](float* to, int stride, float4 v) {
        to[0] = v.x, to[stride] = v.y, to[2 * stride] = v.z, to[3 * stride] = v.w;
    };
    float sum[ROWS][4] = {};
    int own_row = t / 16 * ROWS, own_col = t % 16 * 4;
    fetch(0);
    for (int from = 0; from < k; from += F32_K) {
#pragma unroll
        for (int i = 0; i < A_LOADS; ++i) {
            int at = t + i * F32_THREADS;
            if (at < TILE_M * F32_K / 4) {
                put(&tile_a[at % (F32_K / 4) * 4][at / (F32_K / 4)], TILE_M + 4, next_a[i]);
            }
        }
        put(&tile_w[t % (F32_K / 4) * 4][t / (F32_K / 4)], TILE_N + 4, next_w);
        __syncthreads();
        if (from + F32_K < k) fetch(from + F32_K);
#pragma unroll
        for (int i = 0; i < F32_K; ++i) {
            float4 columns = *reinterpret_cast<const float4*>(&tile_w[i][own_col]);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                float x = tile_a[i][own_row + r];
                sum[r][0] = fmaf(x, columns.x, sum[r][0]);
                sum[r][1] = fmaf(x, columns.y, sum[r][1]);
                sum[r][2] = fmaf(x, columns.z, sum[r][2]);
                sum[r][3] = fmaf(x, columns.w, sum[r][3]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        int row = first_row + own_row + r;
        for (int c = 0; c < 4 && row < rows; ++c) {
            int col = first_col + own_col + c;
            float* to = out + static_cast<size_t>(row) * n + col;
            if (col < n) *to = add ? *to + sum[r][c] : sum[r][c];
        }
    }
}

#define MATMUL_F32(name, ROWS)                                                                             \
    KERNEL __launch_bounds__(F32_THREADS)                                                                  \
    name(const float* a, const float* w, float* out, int rows, int n, int k, int add) {                    \
        matmul_f32<ROWS>(a, w, out, rows, n, k, add);                                                      \
    }                                                                                                      \
    EMULATE(name)
MATMUL_F32(matmul_f32_16, 1)
MATMUL_F32(matmul_f32_64, 4)
MATMUL_F32(matmul_f32_128, 8)

// --- bf16 on tensor cores ---

constexpr int BF16_THREADS = 128;
constexpr int BF16_M = 64;
constexpr int BF16_K = 32;
// In 32-bit words, each two values of a row. Rows of 20 words: the eight rows of a fragment fall on different banks.
constexpr int BF16_STRIDE = BF16_K / 2 + 4;

// Eight values of a row from column `k` on; zeros outside of the matrix.
__device__ __forceinline__ uint4 load8(const bf16* m, int row, int rows, int k, int width, bool whole) {
    if (row >= rows || k >= width) return make_uint4(0, 0, 0, 0);
    const bf16* at = m + static_cast<size_t>(row) * width + k;
    if (whole) return __ldg(reinterpret_cast<const uint4*>(at));
    uint32_t words[4];
    for (int i = 0; i < 4; ++i) {
        uint32_t low = k + 2 * i < width ? at[2 * i].bits : 0, high = k + 2 * i + 1 < width ? at[2 * i + 1].bits : 0;
        words[i] = low | high << 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

KERNEL __launch_bounds__(BF16_THREADS)
matmul_bf16(const bf16* a, const bf16* w, float* out, int rows, int n, int k, int add) {
    constexpr int LOADS = BF16_M * BF16_K / 8 / BF16_THREADS;
    __shared__ __align__(16) uint32_t tile_a[BF16_M][BF16_STRIDE];
    __shared__ __align__(16) uint32_t tile_w[TILE_N][BF16_STRIDE];
    int first_row = blockIdx.y * BF16_M, first_col = blockIdx.x * TILE_N, t = threadIdx.x;
    // Four warps, each with a quarter of 32 x 32: two fragments down, four across.
    int warp = t / WARP_LANES, warp_row = warp / 2 * 32, warp_col = warp % 2 * 32;
    int group = t % WARP_LANES / 4, pair = t % 4;
    bool whole = k % 8 == 0;
    uint4 next_a[LOADS], next_w[LOADS];
    auto fetch = [&](int from) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            int at = t + i * BF16_THREADS, row = at / (BF16_K / 8), column = from + at % (BF16_K / 8) * 8;
            next_a[i] = load8(a, first_row + row, rows, column, k, whole);
            next_w[i] = load8(w, first_col + row, n, column, k, whole);
        }
    };
    float sum[2][4][4] = {};
    fetch(0);
    for (int from = 0; from < k; from += BF16_K) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            int at = t + i * BF16_THREADS, row = at / (BF16_K / 8), word = at % (BF16_K / 8) * 4;
            *reinterpret_cast<uint4*>(&tile_a[row][word]) = next_a[i];
            *reinterpret_cast<uint4*>(&tile_w[row][word]) = next_w[i];
        }
        __syncthreads();
        if (from + BF16_K < k) fetch(from + BF16_K);
#pragma unroll
        for (int word = 0; word < BF16_K / 2; word += 8) {
            uint32_t fa[2][4], fb[4][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                int row = warp_row + i * 16 + group;
                fa[i][0] = tile_a[row][word + pair], fa[i][1] = tile_a[row + 8][word + pair];
                fa[i][2] = tile_a[row][word + pair + 4], fa[i][3] = tile_a[row + 8][word + pair + 4];
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                int row = warp_col + j * 8 + group;
                fb[j][0] = tile_w[row][word + pair], fb[j][1] = tile_w[row][word + pair + 4];
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) tensor_product(sum[i][j], fa[i], fb[j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                int row = first_row + warp_row + i * 16 + group + c / 2 * 8;
                int col = first_col + warp_col + j * 8 + pair * 2 + c % 2;
                float* to = out + static_cast<size_t>(row) * n + col;
                if (row < rows && col < n) *to = add ? *to + sum[i][j][c] : sum[i][j][c];
            }
        }
    }
}
EMULATE(matmul_bf16)
