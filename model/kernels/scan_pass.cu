// From chunk to chunk: what each chunk adds is replaced by the state at its start; or, backward, by the gradient of the
// state at its end.
//
//   forward   next = exp(sums_last) state + added      from the first chunk on, beginning with `initial`
//   backward  next = exp(sums_last) grad + added       from the last chunk on, beginning with zero
//
// Shapes    states (b, H, chunks, N P) float, in place; sums (b, H, chunks CHUNK) of scan_steps.cu; initial, after (b,
//           H, N P) float or null. The gradient of what came before the first chunk is not kept: sequences longer than
//           one call are trained by truncated back-propagation.
// Launch    grid (N P / PASS_THREADS rounded up, H, b), block PASS_THREADS; no dynamic shared memory.
// Numerics  float, two roundings a chunk. A thread has one value of the state; AHEAD chunks are read at once, so that
//           the walk is not one wait for memory after the other.
// Reference netssm_model::engine::tensors::chunked, step 3 (Dao and Gu 2024, listing 1).
#include "scan_tiles.cuh"

constexpr int PASS_THREADS = 128;
constexpr int AHEAD = 8;

KERNEL __launch_bounds__(PASS_THREADS)
scan_pass(float* states, const float* sums, const float* initial, float* after, int chunks, int np, int backward) {
    int i = blockIdx.x * PASS_THREADS + threadIdx.x;
    if (i >= np) return;
    size_t head = static_cast<size_t>(blockIdx.z) * gridDim.y + blockIdx.y;
    states += head * chunks * np + i, sums += head * chunks * CHUNK;
    float state = initial ? initial[head * np + i] : 0.0f;
    for (int first = 0; first < chunks; first += AHEAD) {
        float added[AHEAD], decay[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; ++j) {
            if (first + j >= chunks) break;
            int chunk = backward ? chunks - 1 - first - j : first + j;
            added[j] = states[static_cast<size_t>(chunk) * np];
            decay[j] = expf(sums[static_cast<size_t>(chunk) * CHUNK + CHUNK - 1]);
        }
#pragma unroll
        for (int j = 0; j < AHEAD; ++j) {
            if (first + j >= chunks) break;
            int chunk = backward ? chunks - 1 - first - j : first + j;
            states[static_cast<size_t>(chunk) * np] = state;
            state = decay[j] * state + added[j];
        }
    }
    if (after) after[head * np + i] = state;
}
EMULATE(scan_pass)
