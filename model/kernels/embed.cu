// What a token's step begins with: its embedding, and the side information beside it.
//
//     x = table[token] + sum over the shown fields of scale * context[id],  scale = sqrt(fields) / max(shown, 1)
//
// An id of HIDDEN is not shown and counts for nothing.
//
// Shapes    row inputs (rows, ROW_INPUT_WORDS + fields) u32; table (vocabulary, d), context (table rows, d), float or
//           bf16; x (rows, d) float: the residual stream. Tokens and ids are in range: the host has checked them.
// Launch    grid (rows), block THREADS; no dynamic shared memory.
// Numerics  float; fields in order.
// Reference netssm_model::engine::cpu::context::add.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr uint32_t HIDDEN = 0xffffffffu;

template <typename W>
__device__ void embed(const uint32_t* row_inputs, const W* table, const W* context, float* x, int fields, int d) {
    size_t row = blockIdx.x;
    const uint32_t* row_input = row_inputs + row * (ROW_INPUT_WORDS + fields);
    const uint32_t* own = row_input + ROW_INPUT_WORDS;
    int shown = 0;
    for (int field = 0; field < fields; ++field) shown += own[field] != HIDDEN;
    float scale = sqrtf(static_cast<float>(fields)) / static_cast<float>(max(shown, 1));
    const W* embedding = table + static_cast<size_t>(row_input[TOKEN]) * d;
    for (int i = threadIdx.x; i < d; i += THREADS) {
        float sum = to_float(embedding[i]);
        for (int field = 0; field < fields; ++field) {
            if (own[field] != HIDDEN) sum = fmaf(to_float(context[static_cast<size_t>(own[field]) * d + i]), scale, sum);
        }
        x[row * d + i] = sum;
    }
}

KERNEL __launch_bounds__(THREADS)
embed_f32(const uint32_t* row_inputs, const float* table, const float* context, float* x, int fields, int d) {
    embed(row_inputs, table, context, x, fields, d);
}
EMULATE(embed_f32)

KERNEL __launch_bounds__(THREADS)
embed_bf16(const uint32_t* row_inputs, const bf16* table, const bf16* context, float* x, int fields, int d) {
    embed(row_inputs, table, context, x, fields, d);
}
EMULATE(embed_bf16)
