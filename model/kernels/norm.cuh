// Sizes that the norms' kernels share.
#pragma once
#include "common.cuh"

constexpr int NORM_THREADS = 128;
// Rows of a block of the backward kernels, which sum the weight's gradient over them. Keep in step with
// netssm_model::engine::train_pass::NORM_ROWS.
constexpr int NORM_ROWS = 32;
