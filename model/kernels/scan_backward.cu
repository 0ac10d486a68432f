// The chunked scan's gradient: from that of y, and of the states at the chunks' ends, to those of x, B, C, dt and the heads'
// parameters. Everything inside a chunk is recomputed from x B C; nothing but the states was kept.
//
// With U_j = dt_j x_j, s the running sums, S the state at the chunk's start, dS the gradient of that at its end, and for j <= i
// M_ij = (C_i B_j) exp(s_i - s_j), W_ij = (dy_i U_j) exp(s_i - s_j):
//   dU_j = exp(s_last - s_j) B_j dS + sum over i >= j of M_ij dy_i        dx_j = D dy_j + dt_j dU_j
//   dC_i = exp(s_i) S dy_i          + sum over j <= i of W_ij B_j
//   dB_j = exp(s_last - s_j) dS U_j + sum over i >= j of W_ij C_i
//   ds_i = sum over j < i of T_ij - sum over j > i of T_ji + (first term of dC_i) C_i - (first term of dU_i) U_i
//          and at the last step also S' dS, with T_ij = W_ij (C_i B_j) and S' the state at the chunk's end
//   d(dt_t A) = sum over i >= t of ds_i
// In the line for ds, C_i dC_i - U_i dU_i would do; but both contain T_ii, often the largest term, and would lose digits by it.
//
// Shapes    xbc (b, l, E + 2 G N); grad_y (b, l, E); dt, sums (b, H, chunks CHUNK); states, grad_states (b, H, chunks, N, P)
//           float of scan_pass.cu forward and backward; a_log, skip (H) float; lengths (b).
//           grad_x (b, l, E); grad_bc (parts, b, l, 2 G N) float, a part for each `per` heads, of which a group has a whole number:
//           conv_backward.cu adds a group's parts, the others' columns are not written; grad_dt rows of dt_width values with
//           the heads at column dt_at, before softplus and bias; totals (b chunks, 3 H) float: dt_bias, a_log, D.
// Launch    grid (chunks, H / per, b), block SCAN_THREADS; dynamic shared memory 5 tiles.
// Numerics  float; no atomics: sums over heads are made by one block in their order, those over blocks by whoever reads the
//           parts. The slope of softplus is 1 - exp(-dt). P at most CHUNK.
// Reference netssm_model::ssd (the CPU's recurrence backward, tested against finite differences).
#include "scan_tiles.cuh"

template <typename T>
__device__ void scan_backward(const T* xbc, const T* grad_y, const float* dts, const float* sums, const float* states,
                              const float* grad_states, const float* a_log, const float* skip, const int* lengths,
                              T* grad_x, float* grad_bc, T* grad_dt, float* totals, int l, int h, int p, int n,
                              int g, int per, int dt_width, int dt_at) {
    SHARED_MEMORY(float, tiles);
    __shared__ float dt[CHUNK], s[CHUNK], grow[CHUNK], shrink[CHUNK], grad_s[CHUNK], x_grad_u[CHUNK];
    __shared__ float columns[SCAN_THREADS / WARP_LANES][CHUNK], scratch[WARP_LANES], upper;
    float *dy = tiles, *u = tiles + TILE, *weights = tiles + 2 * TILE, *one = tiles + 3 * TILE, *two = tiles + 4 * TILE;
    int b = blockIdx.z, steps = steps_in_chunk(lengths, b), start = blockIdx.x * CHUNK, thread = threadIdx.x;
    int lane = thread % WARP_LANES, warp = thread / WARP_LANES;
    int e = h * p, first_head = blockIdx.y * per, group = first_head / (h / g), row = own_row(), col = own_col();
    size_t width = e + 2 * static_cast<size_t>(g) * n, bc_width = 2 * static_cast<size_t>(g) * n;
    size_t at = static_cast<size_t>(b) * l + start;
    const T *rows = xbc + at * width, *bs = rows + e + group * n, *cs = rows + e + (g + group) * n;
    grad_bc += (static_cast<size_t>(blockIdx.y) * gridDim.z * l + at) * bc_width + group * n;
    totals += (static_cast<size_t>(b) * gridDim.x + blockIdx.x) * 3 * h;

    float scores[4][4] = {};  // C_i B_j, the same for every head of the group
    for (int first = 0; first < n; first += CHUNK) {
        int some = min(CHUNK, n - first);
        load_tile<false>(one, cs + first, width, steps, some);
        load_tile<true>(two, bs + first, width, steps, some);
        __syncthreads();
        multiply<false>(scores, one, two, 0, fours(some), min(CHUNK, row + 4));
        __syncthreads();
    }

    for (int head = first_head; head < first_head + per; ++head) {
        size_t chunk = (static_cast<size_t>(b) * h + head) * gridDim.x + blockIdx.x;
        const float *state = states + chunk * n * p, *grad_state = grad_states + chunk * n * p;
        if (thread < CHUNK) {
            const float* own = sums + chunk * CHUNK;
            dt[thread] = dts[chunk * CHUNK + thread];
            s[thread] = own[thread];
            grow[thread] = expf(own[thread]);
            shrink[thread] = expf(own[CHUNK - 1] - own[thread]);
        }
        __syncthreads();
        load_tile<false>(dy, grad_y + at * e + head * p, e, steps, p);
        load_tile<true>(u, rows + head * p, width, steps, p, dt);  // U^T
        __syncthreads();

        // M, and W kept aside: its place is M's until dU is done.
        float w[4][4] = {};
        multiply<false>(w, dy, u, 0, fours(p), min(CHUNK, row + 4));
        float down[4] = {};
        for (int r = 0; r < 4; ++r) {
            float across = 0.0f;
            for (int c = 0; c < 4; ++c) {
                int i = row + r, j = col + c;
                float decay = j <= i ? expf(s[i] - s[j]) : 0.0f;
                weights[i * STRIDE + j] = scores[r][c] * decay;
                w[r][c] *= decay;
                float both = j < i ? scores[r][c] * w[r][c] : 0.0f;
                across += both, down[c] += both;
            }
            across = row_sum(across);
            if (col == 0) grad_s[row + r] = across;
        }
        for (int c = 0; c < 4; ++c) {
            down[c] += __shfl_xor_sync(ALL_LANES, down[c], CHUNK / 4);
            if (lane < CHUNK / 4) columns[warp][col + c] = down[c];
        }

        float grad_u[4][4] = {}, end = 0.0f;
        for (int first = 0; first < n; first += CHUNK) {
            int some = min(CHUNK, n - first);
            load_tile<false>(one, bs + first, width, steps, some);
            load_tile<false>(two, grad_state + static_cast<size_t>(first) * p, p, some, p);
            __syncthreads();
            multiply<false>(grad_u, one, two, 0, fours(some), p);
            __syncthreads();
        }
        if (blockIdx.x + 1 < gridDim.x) {
            // The state at this chunk's end is that at the next one's start.
            for (int i = thread; i < n * p; i += SCAN_THREADS) end = fmaf(grad_state[i], state[n * p + i], end);
        }
        auto x_at = [&](int j, int channel) {
            return j < steps && channel < p ? to_float(rows[j * width + head * p + channel]) : 0.0f;
        };
        for (int r = 0; r < 4; ++r) {
            float sum = 0.0f;
            for (int c = 0; c < 4; ++c) {
                grad_u[r][c] *= shrink[row + r];
                sum = fmaf(x_at(row + r, col + c), grad_u[r][c], sum);
            }
            sum = row_sum(sum);
            if (col == 0) grad_s[row + r] -= dt[row + r] * sum;
        }
        multiply<true>(grad_u, weights, dy, row, CHUNK, p);
        float skipped = 0.0f;
        for (int r = 0; r < 4; ++r) {
            int j = row + r;
            float sum = 0.0f;
            for (int c = 0; c < 4; ++c) {
                int channel = col + c;
                if (channel >= p || start + j >= l) continue;
                float x = x_at(j, channel);
                float above = dy[j * STRIDE + channel];
                sum = fmaf(x, grad_u[r][c], sum);
                skipped = fmaf(x, above, skipped);
                float value = fmaf(skip[head], above, dt[j] * grad_u[r][c]);
                grad_x[(at + j) * e + head * p + channel] = from_float<T>(value);
            }
            sum = row_sum(sum);
            if (col == 0) x_grad_u[j] = sum;
        }
        __syncthreads();
        for (int r = 0; r < 4; ++r) {
            for (int c = 0; c < 4; ++c) weights[(row + r) * STRIDE + col + c] = w[r][c];
        }

        for (int first = 0; first < n; first += CHUNK) {
            int some = min(CHUNK, n - first);
            auto add = [&](float* to, const float (&grad)[4][4]) {
                for (int r = 0; r < 4; ++r) {
                    for (int c = 0; c < 4; ++c) {
                        if (start + row + r >= l || col + c >= some) continue;
                        float* sum = to + (row + r) * bc_width + first + col + c;
                        *sum = head == first_head ? grad[r][c] : *sum + grad[r][c];
                    }
                }
            };
            load_tile<false>(one, bs + first, width, steps, some);
            load_tile<true>(two, state + static_cast<size_t>(first) * p, p, some, p);
            __syncthreads();
            float grad[4][4] = {};
            multiply<false>(grad, dy, two, 0, fours(p), some);
            for (int r = 0; r < 4; ++r) {
                float sum = 0.0f;
                for (int c = 0; c < 4; ++c) {
                    grad[r][c] *= grow[row + r];
                    if (row + r < steps && col + c < some) {
                        sum = fmaf(to_float(cs[(row + r) * width + first + col + c]), grad[r][c], sum);
                    }
                }
                sum = row_sum(sum);
                if (col == 0) grad_s[row + r] += sum;
            }
            multiply<false>(grad, weights, one, 0, row + 4, some);
            add(grad_bc + g * n, grad);
            __syncthreads();

            load_tile<false>(one, cs + first, width, steps, some);
            load_tile<true>(two, grad_state + static_cast<size_t>(first) * p, p, some, p);
            __syncthreads();
            float other[4][4] = {};
            multiply<true>(other, u, two, 0, fours(p), some);
            for (int r = 0; r < 4; ++r) {
                for (int c = 0; c < 4; ++c) other[r][c] *= shrink[row + r];
            }
            multiply<true>(other, weights, one, row, CHUNK, some);
            add(grad_bc, other);
            __syncthreads();
        }

        // Steps: their sums from behind, over two warps.
        end = block_sum(end, scratch);
        __syncthreads();
        float a = -expf(a_log[head]), later = 0.0f, raw = 0.0f, rate = 0.0f;
        if (thread < CHUNK) {
            later = grad_s[thread] + (thread == CHUNK - 1 ? end : 0.0f);
            for (int i = 0; i < SCAN_THREADS / WARP_LANES; ++i) later -= columns[i][thread];
            for (int by = 1; by < WARP_LANES; by *= 2) {
                float behind = __shfl_down_sync(ALL_LANES, later, by);
                if (lane + by < WARP_LANES) later += behind;
            }
            if (thread == WARP_LANES) upper = later;
        }
        __syncthreads();
        if (thread < CHUNK) {
            if (thread < WARP_LANES) later += upper;
            raw = fmaf(a, later, x_grad_u[thread]) * -expm1f(-dt[thread]);
            rate = later * dt[thread] * a;
            if (start + thread < l) grad_dt[(at + thread) * dt_width + dt_at + head] = from_float<T>(raw);
        }
        raw = block_sum(raw, scratch);
        __syncthreads();
        rate = block_sum(rate, scratch);
        __syncthreads();
        skipped = block_sum(skipped, scratch);
        if (thread == 0) totals[head] = raw, totals[h + head] = rate, totals[2 * h + head] = skipped;
        __syncthreads();
    }
}

#define SCAN_BACKWARD(name, T)                                                                                     \
    KERNEL __launch_bounds__(SCAN_THREADS, 2)                                                                      \
    name(const T* xbc, const T* grad_y, const float* dts, const float* sums, const float* states,                  \
         const float* grad_states, const float* a_log, const float* skip, const int* lengths, T* grad_x,           \
         float* grad_bc, T* grad_dt, float* totals, int l, int h, int p, int n, int g, int per, int dt_width,      \
         int dt_at) {                                                                                              \
        scan_backward(xbc, grad_y, dts, sums, states, grad_states, a_log, skip, lengths, grad_x, grad_bc, grad_dt, \
                      totals, l, h, p, n, g, per, dt_width, dt_at);                                                \
    }                                                                                                              \
    EMULATE(name)
SCAN_BACKWARD(scan_backward_f32, float)
SCAN_BACKWARD(scan_backward_bf16, bf16)
