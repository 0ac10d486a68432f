// One token through the middle of a layer, for every row: everything between the two matrix products in one pass that
// reads the convolution's tail and the state once and writes them once.
//
//     xBC  = silu(bias + sum over taps of w_k * (tail, input)_k)      the tail moves on by one
//     dt   = softplus(raw + dt_bias),  decay = exp(dt * a)            a = -exp(A_log)
//     s    = decay * s + B (dt x),  y = C s + D x                     s (N, P) for each head
//     out  = rms_norm(y * silu(z)) * weight, within each group of channels
//
// Letters: E channels = H heads of P, G groups of heads that share a B and a C of N, taps K; C = E + 2 G N convolved
// channels; J = E + C + H.
//
// Shapes    zx (rows, J) float: z, x, B, C, raw dt, as the first product left it; tail (slots, K-1, C) float, oldest
//           first; state (slots, H, N, P) float or bf16: of this layer; taps (K, C), bias (C), dt_bias, a, skip (H),
//           weight (E), float; out (rows, E) float or bf16, what the second product reads. row inputs (rows, stride)
//           u32: SLOT says where a row's state is, no two rows in the same place; with FRESH set, tail and state count
//           as zero and are not read; DITHER differs from token to token and from session to session.
// Launch    grid (rows, G), block THREADS. Dynamic shared memory: (2 E/G + 2 N + 2 H/G + 32) floats.
// Numerics  float, sums over N in order, each thread its own channels: a row's bits do not depend on the batch. A bf16
//           state is read exactly, the new state enters y unrounded and is stored with stochastic rounding: a
//           decay of 0.999 moves a bf16 by less than half its last bit, and to the nearest it would never move.
// Speed     the state is 2 E N values a row and nothing else comes near; V values (8 or 16 bytes) a load, eight loads
//           in flight a thread, P consecutive: whole sectors.
// Reference netssm_model::lm::Mamba2::step (engine::cpu::step on the CPU).
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int AHEAD = 8;

struct Shape {
    int e, h, p, n, g, k;
};

// V consecutive values as floats.
template <typename S, int V>
struct Vector;
template <>
struct Vector<float, 4> {
    using Raw = float4;
    static __device__ __forceinline__ void unpack(Raw r, float* v) { v[0] = r.x, v[1] = r.y, v[2] = r.z, v[3] = r.w; }
    static __device__ __forceinline__ Raw pack(const float* v, uint32_t) { return make_float4(v[0], v[1], v[2], v[3]); }
};
template <>
struct Vector<float, 1> {
    using Raw = float;
    static __device__ __forceinline__ void unpack(Raw r, float* v) { v[0] = r; }
    static __device__ __forceinline__ Raw pack(const float* v, uint32_t) { return v[0]; }
};

// A number from a number: every bit of the input moves every bit of the output (two rounds of xor-shift and multiply).
__device__ __forceinline__ uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

// To bf16, up with the probability of what is cut off; `random` is uniform below 2^16.
__device__ __forceinline__ uint32_t rounded(float x, uint32_t random) {
    uint32_t bits = __float_as_uint(x);
    bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return (finite ? bits + random : bits) >> 16;
}
template <>
struct Vector<bf16, 4> {
    using Raw = uint2;
    static __device__ __forceinline__ void unpack(Raw r, float* v) {
        v[0] = __uint_as_float(r.x << 16), v[1] = __uint_as_float(r.x & 0xffff0000u);
        v[2] = __uint_as_float(r.y << 16), v[3] = __uint_as_float(r.y & 0xffff0000u);
    }
    static __device__ __forceinline__ Raw pack(const float* v, uint32_t noise) {
        uint32_t a = mix(noise), b = mix(noise ^ 0x9e3779b9u);
        return make_uint2(rounded(v[0], a & 0xffffu) | rounded(v[1], a >> 16) << 16,
                          rounded(v[2], b & 0xffffu) | rounded(v[3], b >> 16) << 16);
    }
};
template <>
struct Vector<bf16, 1> {
    using Raw = unsigned short;
    static __device__ __forceinline__ void unpack(Raw r, float* v) { v[0] = to_float(bf16{r}); }
    static __device__ __forceinline__ Raw pack(const float* v, uint32_t noise) {
        return static_cast<Raw>(rounded(v[0], mix(noise) & 0xffffu));
    }
};

// The convolution of one channel; moves its tail on.
__device__ __forceinline__ float convolve(float input, float* tail, const float* taps, float sum, const Shape& s,
                                          int channels, bool fresh) {
    for (int k = 0; k + 1 < s.k; ++k) {
        float before = fresh ? 0.0f : tail[static_cast<size_t>(k) * channels];
        sum = fmaf(before, taps[static_cast<size_t>(k) * channels], sum);
        if (k > 0) tail[static_cast<size_t>(k - 1) * channels] = before;
    }
    tail[static_cast<size_t>(s.k - 2) * channels] = input;
    return silu(fmaf(input, taps[static_cast<size_t>(s.k - 1) * channels], sum));
}

// V channels of a head through the recurrence; `state` is theirs at n = 0. Adds C s to y.
template <typename S, int V>
__device__ __forceinline__ void advance(S* state, const float* b, const float* c, const float* dtx, float decay,
                                        float* y, const Shape& s, bool fresh, uint32_t noise) {
    using Raw = typename Vector<S, V>::Raw;
    int stride = s.p / V;
    Raw* at = reinterpret_cast<Raw*>(state);
    for (int first = 0; first < s.n; first += AHEAD) {
        Raw before[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (first + i < s.n && !fresh) before[i] = __ldcs(at + static_cast<size_t>(first + i) * stride);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            int n = first + i;
            if (n >= s.n) break;
            float v[V] = {};
            if (!fresh) Vector<S, V>::unpack(before[i], v);
#pragma unroll
            for (int j = 0; j < V; ++j) {
                v[j] = fmaf(decay, v[j], b[n] * dtx[j]);
                y[j] = fmaf(c[n], v[j], y[j]);
            }
            __stcs(at + static_cast<size_t>(n) * stride, Vector<S, V>::pack(v, noise + 0x632be5abu * n));
        }
    }
}

template <typename S, int V, typename Out>
__device__ void layer_step(const float* zx, float* tail, S* state, const float* taps, const float* bias,
                           const float* dt_bias, const float* a, const float* skip, const float* weight,
                           const uint32_t* row_inputs, Out* out, const Shape s, int stride, float eps, int layer) {
    SHARED_MEMORY(float, shared);
    int width = s.e / s.g, heads = s.h / s.g, channels = s.e + 2 * s.g * s.n;
    float *x = shared, *y = x + width, *b = y + width, *c = b + s.n, *dt = c + s.n, *decay = dt + heads;
    float* scratch = decay + heads;
    int group = blockIdx.y;
    size_t row = blockIdx.x;
    const uint32_t* row_input = row_inputs + row * stride;
    size_t slot = row_input[SLOT];
    bool fresh = row_input[FLAGS] & FRESH;
    const float* z = zx + row * (s.e + channels + s.h);
    const float* input = z + s.e;

    for (int i = threadIdx.x; i < width + 2 * s.n; i += THREADS) {
        int channel = i < width         ? group * width + i
                      : i < width + s.n ? s.e + group * s.n + (i - width)
                                        : s.e + (s.g + group) * s.n + (i - width - s.n);
        float value = convolve(input[channel], tail + slot * (s.k - 1) * channels + channel, taps + channel,
                               bias[channel], s, channels, fresh);
        // b and c lie behind each other, and behind y.
        (i < width ? x : b - width)[i] = value;
    }
    for (int i = threadIdx.x; i < heads; i += THREADS) {
        int head = group * heads + i;
        dt[i] = softplus(input[channels + head] + dt_bias[head]);
        decay[i] = expf(dt[i] * a[head]);
    }
    __syncthreads();

    float squares = 0.0f;
    for (int i = threadIdx.x * V; i < width; i += THREADS * V) {
        int own = i / s.p, head = group * heads + own, p = i % s.p;
        float dtx[V], sum[V];
#pragma unroll
        for (int j = 0; j < V; ++j) {
            dtx[j] = dt[own] * x[i + j];
            sum[j] = skip[head] * x[i + j];
        }
        size_t first = ((slot * s.h + head) * s.n) * s.p + p;
        uint32_t noise = mix(row_input[DITHER] + 0x9e3779b9u * static_cast<uint32_t>(layer * s.e + group * width + i));
        advance<S, V>(state + first, b, c, dtx, decay[own], sum, s, fresh, noise);
#pragma unroll
        for (int j = 0; j < V; ++j) {
            float gated = sum[j] * silu(z[group * width + i + j]);
            y[i + j] = gated;
            squares = fmaf(gated, gated, squares);
        }
    }
    float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(width) + eps);
    // block_sum ends behind a barrier, so all of y is there.
    for (int i = threadIdx.x; i < width; i += THREADS) {
        int channel = group * width + i;
        out[row * s.e + channel] = from_float<Out>(y[i] * (scale * weight[channel]));
    }
}

#define LAYER_STEP(name, S, V, Out)                                                                                   \
    KERNEL __launch_bounds__(THREADS)                                                                                 \
    name(const float* zx, float* tail, S* state, const float* taps, const float* bias, const float* dt_bias,          \
         const float* a, const float* skip, const float* weight, const uint32_t* row_inputs, Out* out, int e, int h,     \
         int p, int n, int g, int k, int stride, float eps, int layer) {                                              \
        layer_step<S, V>(zx, tail, state, taps, bias, dt_bias, a, skip, weight, row_inputs, out,                         \
                         Shape{e, h, p, n, g, k}, stride, eps, layer);                                                \
    }                                                                                                                 \
    EMULATE(name)

// Named by the state's type, what is written out, and the values of a load: 4 where 4 divides P, else 1.
LAYER_STEP(layer_step_f32_f32_4, float, 4, float)
LAYER_STEP(layer_step_f32_f32_1, float, 1, float)
LAYER_STEP(layer_step_f32_bf16_4, float, 4, bf16)
LAYER_STEP(layer_step_f32_bf16_1, float, 1, bf16)
LAYER_STEP(layer_step_bf16_f32_4, bf16, 4, float)
LAYER_STEP(layer_step_bf16_f32_1, bf16, 1, float)
LAYER_STEP(layer_step_bf16_bf16_4, bf16, 4, bf16)
LAYER_STEP(layer_step_bf16_bf16_1, bf16, 1, bf16)
