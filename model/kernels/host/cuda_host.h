// CUDA's language on the host: what the kernels of this folder use of it, so that g++ compiles the same files.
//
// A launch runs its blocks one after the other and each thread of a block as a fiber (ucontext), which gives way only
// at a barrier or a warp exchange. So a missing barrier is not a race here; the order in which the threads of a block
// run is a parameter of the launch, and a test that runs both orders sees most of them. Stricter than hardware:
// a thread that ends while others wait at a barrier, a warp exchange that not every lane of its mask reaches, and a
// read of dynamic shared memory that was not written (it begins as NaN) are all found.
//
// Arithmetic: float with fused multiply-add only where the source says fmaf (-ffp-contract=off), and the C library's
// exp and log, which differ from the device's in the last bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }

namespace emulated {

// Sizes of a launch, as the tests give them. `order`: 0 runs the threads of a block first to last, 1 last to first.
struct Launch {
    uint32_t grid[3], block[3], shared, order;
};

// What a running thread sees of itself.
struct Thread {
    dim3 index;
    unsigned lane;
};

extern thread_local Thread* current;
extern thread_local dim3 block_index, block_size, grid_size;
extern thread_local unsigned char* shared_memory;

constexpr unsigned WARP = 32;

void block_barrier();
// Gives `value` (at most 16 bytes) to the other lanes of `mask` and returns what all of them gave, 16 bytes a lane.
const unsigned char* exchange(unsigned mask, const void* value, unsigned bytes);
// Lets go of what exchange returned; every lane of the mask calls it.
void exchanged(unsigned mask);
// Null, or what was wrong with the launch.
const char* run(const Launch& launch, void (*body)(void*), void* closure);

template <typename T>
T from_lane(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable<T>::value, "a register or a few");
    T out;
    std::memcpy(&out, exchange(mask, &value, sizeof(T)) + 16 * (source % WARP), sizeof(T));
    exchanged(mask);
    return out;
}

template <typename... A, size_t... I>
const char* unpack(void (*kernel)(A...), const Launch& launch, void** arguments, std::index_sequence<I...>) {
    auto body = [&] { kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...); };
    return run(launch, [](void* closure) { (*static_cast<decltype(body)*>(closure))(); }, &body);
}

template <typename... A>
const char* launch(void (*kernel)(A...), const Launch& launch, void** arguments) {
    return unpack(kernel, launch, arguments, std::index_sequence_for<A...>{});
}

}  // namespace emulated

using std::isfinite;

#define threadIdx (emulated::current->index)
#define blockIdx (emulated::block_index)
#define blockDim (emulated::block_size)
#define gridDim (emulated::grid_size)

inline void __syncthreads() { emulated::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) {
    unsigned nothing = 0;
    emulated::exchange(mask, &nothing, sizeof(nothing));
    emulated::exchanged(mask);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return emulated::from_lane(mask, value, static_cast<unsigned>(lane));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return emulated::from_lane(mask, value, emulated::current->lane ^ static_cast<unsigned>(bits));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by) {
    unsigned lane = emulated::current->lane, source = lane + by;
    return emulated::from_lane(mask, value, source < emulated::WARP ? source : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by) {
    unsigned lane = emulated::current->lane;
    return emulated::from_lane(mask, value, lane >= by ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const unsigned char* all = emulated::exchange(mask, &predicate, sizeof(predicate));
    unsigned out = 0;
    for (unsigned lane = 0; lane < emulated::WARP; ++lane) {
        int value;
        std::memcpy(&value, all + 16 * lane, sizeof(value));
        out |= (mask >> lane & 1 && value != 0) ? 1u << lane : 0;
    }
    emulated::exchanged(mask);
    return out;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <typename T>
T __ldg(const T* p) { return *p; }
template <typename T>
T __ldcs(const T* p) { return *p; }
template <typename T>
void __stcs(T* p, T value) { *p = value; }

template <typename T>
T atomicAdd(T* p, T value) {
    T old = *p;
    *p = old + value;
    return old;
}
template <typename T>
T atomicMax(T* p, T value) {
    T old = *p;
    *p = value > old ? value : old;
    return old;
}
template <typename T>
T atomicOr(T* p, T value) {
    T old = *p;
    *p = old | value;
    return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
// As CUDA's overloads for whole numbers.
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
