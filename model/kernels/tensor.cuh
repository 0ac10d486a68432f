// Tensor cores: a warp's product of bf16 matrices with float sums, and the load of its operands from shared memory.
//
// Layouts are those of the PTX ISA's "Matrix Fragments for mma.m16n8k16 with floating point type" and of ldmatrix, the same
// from compute capability 8.0 on. The host has twins of both, which a test compares with plain loops over the ISA's formulas.
#pragma once
#include "common.cuh"

// c (16, 8) += a (16, 16) b (16, 8) over a warp. Lane l has, with g = l / 4 and t = l % 4: of a the pairs at columns 2t and
// 2t + 8 in rows g and g + 8, in the order (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); of b the pairs at rows 2t and
// 2t + 8 of column g; of c the pairs at columns 2t of rows g and g + 8.
__device__ __forceinline__ void tensor_product(float* c, const uint32_t* a, const uint32_t* b) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    uint32_t all_a[WARP_LANES][4], all_b[WARP_LANES][4];
    std::memcpy(all_a, emulated::exchange(ALL_LANES, a, 16), sizeof(all_a));
    emulated::exchanged(ALL_LANES);
    std::memcpy(all_b, emulated::exchange(ALL_LANES, b, 8), sizeof(all_b));
    emulated::exchanged(ALL_LANES);
    auto half = [](uint32_t pair, int upper) { return __uint_as_float(upper ? pair & 0xffff0000u : pair << 16); };
    int group = threadIdx.x % WARP_LANES / 4, pair = threadIdx.x % 4;
    for (int i = 0; i < 4; ++i) {
        int row = group + i / 2 * 8, col = 2 * pair + i % 2;
        for (int k = 0; k < 16; ++k) {
            float x = half(all_a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2);
            float y = half(all_b[col * 4 + k % 8 / 2][k / 8], k % 2);
            c[i] = fmaf(x, y, c[i]);
        }
    }
#endif
}

// Four 8 x 8 matrices of bf16 from shared memory. Lane l says where row l % 8 of matrix l / 8 begins (on a multiple of 16
// bytes), and gets of matrix m, in to[m], the pair at columns 2 (l % 4) of row l / 4; TRANSPOSED: the pair at rows 2 (l % 4)
// of column l / 4.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(uint32_t* to, const bf16* row) {
#ifdef __CUDACC__
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
    }
#else
    struct alignas(16) {
        const bf16* row;
    } all[WARP_LANES];
    std::memcpy(all, emulated::exchange(ALL_LANES, &row, sizeof(row)), sizeof(all));
    int group = threadIdx.x % WARP_LANES / 4, pair = threadIdx.x % 4;
    for (int m = 0; m < 4; ++m) {
        auto at = [&](int i, int j) -> uint32_t {
            const bf16* from = all[m * 8 + i].row;
            // The device would fault; here it shows as NaN.
            return reinterpret_cast<uintptr_t>(from) % 16 == 0 ? from[j].bits : 0xffff;
        };
        to[m] = TRANSPOSED ? at(2 * pair, group) | at(2 * pair + 1, group) << 16
                           : at(group, 2 * pair) | at(group, 2 * pair + 1) << 16;
    }
    emulated::exchanged(ALL_LANES);
#endif
}
