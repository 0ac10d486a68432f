// What every kernel of this folder begins with: how kernels are declared, shared memory, bf16, sums over a block.
//
// The same files are compiled by nvcc for the device and by a C++ compiler for the tests (see README.md).
#pragma once

#ifdef __CUDACC__
#include <cstdint>
#define KERNEL extern "C" __global__ void
#define EMULATE(name)
#define SHARED_MEMORY(type, name)                                    \
    extern __shared__ __align__(16) unsigned char dynamic_shared_[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared_)
#else
#include "host/cuda_host.h"
#define KERNEL extern "C" void
// Exports a kernel of that name to the tests.
#define EMULATE(name)                                                                          \
    extern "C" const char* emulate_##name(const emulated::Launch* launch, void** arguments) {  \
        return emulated::launch(name, *launch, arguments);                                     \
    }
#define SHARED_MEMORY(type, name) type* name = reinterpret_cast<type*>(emulated::shared_memory)
#endif

constexpr int WARP_LANES = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// What the host says of a row that is stepped, in 32-bit words: these, then an id of side information a field.
// Keep in step with netssm_model::engine::step_program (row_input.rs).
enum RowInput { TOKEN, SLOT, FLAGS, DITHER, ROW_INPUT_WORDS };
// Flags: the row's session begins, so its state counts as zero; no token is to be chosen.
constexpr uint32_t FRESH = 1, SILENT = 2;

// bf16 as its bits: the upper half of a float. Own code, so that host and device round alike.
struct bf16 {
    uint16_t bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
// To the nearest, ties to even; a NaN stays one.
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

// x / (1 + exp(-x))
__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

// ln(1 + exp(x)); above 20 that is x in float.
__device__ __forceinline__ float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

// Sum over the warp's lanes, the same bits in each: the order is a tree by lane number.
__device__ __forceinline__ float warp_sum(float x) {
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(ALL_LANES, x, bits);
    return x;
}

// Sum over the threads of a block of whole warps, the same bits in each thread. `scratch` has WARP_LANES floats of
// shared memory, free again after the caller's next barrier.
__device__ __forceinline__ float block_sum(float x, float* scratch) {
    int lane = threadIdx.x % WARP_LANES, warp = threadIdx.x / WARP_LANES, warps = blockDim.x / WARP_LANES;
    x = warp_sum(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? scratch[lane] : 0.0f);
}
