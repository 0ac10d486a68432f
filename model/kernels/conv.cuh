// One channel of the causal convolution: its input at any step, and the value before the activation.
#pragma once
#include "common.cuh"

constexpr int CONV_THREADS = 128;
// Steps of a block. Keep in step with netssm_model::engine::train_pass::CONV_STEPS.
constexpr int CONV_STEPS = 64;

template <typename T>
struct Conv {
    const T* inputs;
    const float *tail, *weight;
    float bias;
    size_t width, c;
    int k;

    __device__ Conv(const T* rows, const float* tails, const float* weights, const float* biases, int b, int l, int c,
                    int k, int width, int at, int channel)
        : inputs(rows + static_cast<size_t>(b) * l * width + at + channel),
          tail(tails + static_cast<size_t>(b) * (k - 1) * c + channel),
          weight(weights + static_cast<size_t>(channel) * k),
          bias(biases ? biases[channel] : 0.0f),
          width(width),
          c(c),
          k(k) {}

    // The input of step t, which may lie up to k - 1 before the first.
    __device__ __forceinline__ float input(int t) const { return t >= 0 ? to_float(inputs[t * width]) : tail[(t + k - 1) * c]; }

    __device__ __forceinline__ float before_activation(int t) const {
        float sum = bias;
        for (int i = 0; i < k; ++i) sum = fmaf(weight[i], input(t + i - k + 1), sum);
        return sum;
    }
};
