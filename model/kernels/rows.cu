// Sums of rows: embeddings into the model's input, their gradient back into the tables, and totals over pieces.
//
//   sum_rows       out[i] = (add: out[i]) + sum over j in begin[i] .. begin[i + 1] of weights[j] from[index[j]]
//   sum_columns    out[i] = (add: out[i]) + sum over rows of from[row][i]
//   narrow_rows    out[i] = from[i] in bf16
//
// sum_rows is a lookup with side information (index: a token's row, or its fields'), and its gradient (index: the
// positions at which a row was looked up): a gather in both directions, so nothing is added by two threads and no order
// is left open. A row that was looked up very often is summed in pieces first
// (netssm_model::engine::train_pass::scatter).
//
// Shapes    from (.., d) float; begin (rows + 1); index (begin[rows]); weights as index, float, or null for ones; out
//           (rows, d) float. sum_columns: from (count, n), out (n) float.
// Launch    sum_rows: grid (rows), block ROW_THREADS. sum_columns: grid (n / 32 rounded up), block 256. narrow_rows:
//           grid (n / 256 rounded up), block 256. No dynamic shared memory.
// Numerics  float, in the order of the list; sum_columns: eight running sums a column (rows 0, 8, ..; 1, 9, ..; ...),
//           then these.
// Reference netssm_model::engine::cpu::gradient and context (the CPU's).
#include "common.cuh"

constexpr int ROW_THREADS = 128;

KERNEL __launch_bounds__(ROW_THREADS)
sum_rows(const float* from, const uint32_t* begin, const uint32_t* index, const float* weights, float* out, int d, int add) {
    size_t row = blockIdx.x;
    uint32_t first = begin[row], last = begin[row + 1];
    for (int i = threadIdx.x; i < d; i += ROW_THREADS) {
        float sum = add ? out[row * d + i] : 0.0f;
        for (uint32_t j = first; j < last; ++j) {
            float value = from[static_cast<size_t>(index[j]) * d + i];
            sum += weights ? weights[j] * value : value;
        }
        out[row * d + i] = sum;
    }
}
EMULATE(sum_rows)

constexpr int COLUMN_ROWS = 8;

KERNEL __launch_bounds__(WARP_LANES* COLUMN_ROWS)
sum_columns(const float* from, float* out, int count, int n, int add) {
    __shared__ float sums[COLUMN_ROWS][WARP_LANES];
    int lane = threadIdx.x % WARP_LANES, first = threadIdx.x / WARP_LANES, column = blockIdx.x * WARP_LANES + lane;
    float sum = 0.0f;
    if (column < n) {
#pragma unroll 4
        for (int row = first; row < count; row += COLUMN_ROWS) sum += from[static_cast<size_t>(row) * n + column];
    }
    sums[first][lane] = sum;
    __syncthreads();
    if (first != 0 || column >= n) return;
    float total = add ? out[column] : 0.0f;
    for (int i = 0; i < COLUMN_ROWS; ++i) total += sums[i][lane];
    out[column] = total;
}
EMULATE(sum_columns)

KERNEL __launch_bounds__(256)
narrow_rows(const float* from, bf16* out, size_t n) {
    size_t i = static_cast<size_t>(blockIdx.x) * 256 + threadIdx.x;
    if (i < n) out[i] = from_float<bf16>(from[i]);
}
EMULATE(narrow_rows)
