// The chunked scan's gradient: from that of y, and of the states at the chunks' ends, to those of x, B, C, dt and the
// heads' parameters. Everything inside a chunk is recomputed from x B C; nothing but the states was kept.
//
// With U_j = dt_j x_j, s the running sums, S the state at the chunk's start, dS the gradient of that at its end, and
// for j <= i M_ij = (C_i B_j) exp(s_i - s_j), W_ij = (dy_i U_j) exp(s_i - s_j), T_ij = W_ij (C_i B_j):
//   dU_j = exp(s_last - s_j) B_j dS + sum over i >= j of M_ij dy_i        dx_j = D dy_j + dt_j dU_j
//   dC_i = exp(s_i) S dy_i          + sum over j <= i of W_ij B_j
//   dB_j = exp(s_last - s_j) dS U_j + sum over i >= j of W_ij C_i
//   d(dt_t A) = exp(s_last) S dS + sum over i >= t of (first term of dC_i) C_i
//               + sum over j < t of (first term of dU_j) U_j + sum over i >= t > j of T_ij
// The last line counts what passes from before step t to t or behind it. As the sum over i >= t of the gradients of s_i
// it would be one of large terms that cancel: C_i dC_i - U_i dU_i has T_ii in both, and what the chunk adds to the
// state is in each of the steps and once more at its end. The sum of T is made so, but from the T below the diagonal
// alone.
//
// Shapes    xbc (b, l, E + 2 G N); grad_y (b, l, E); dt, sums (b, H, chunks CHUNK); states, grad_states (b, H, chunks,
//           N, P) float of scan_pass.cu forward and backward; a_log, skip (H) float; lengths (b). grad_x (b, l, E);
//           grad_bc (parts, b, l, 2 G N) float, a part for each `per` heads, of which a group has a whole number:
//           conv_backward.cu adds a group's parts, the others' columns are not written; grad_dt rows of dt_width values
//           with the heads at column dt_at, before softplus and bias; totals (b chunks, 3 H) float: dt_bias, a_log, D.
// Launch    grid (chunks, H / per, b), block SCAN_THREADS; dynamic shared memory 5 tiles: 85 KiB in float, 45 in bf16.
// Numerics  float; no atomics: sums over heads are made by one block in their order, those over blocks by whoever reads
//           the parts. The slope of softplus is 1 - exp(-dt). P at most CHUNK. In bf16 four factors are rounded: S, dS,
//           M and W. C B, dy x and T are exact products summed in float; steps and decays are applied to sums, never to
//           x.
// Speed     122 to 128 registers, so 2 blocks a multiprocessor (in float one on an A100 or L4, for shared memory). A
//           head reads S and dS twice, 16 N P bytes, and adds to the gradients of B and C, 16 N CHUNK, which stay in
//           the second cache: with tensor cores it is this traffic.
// Reference netssm_model::engine::cpu::recurrence (backward, tested against finite differences).
#include "scan_tiles.cuh"

// The thread's part of the product of two arrays of `count` values.
__device__ __forceinline__ float part_of_dot(const float* a, const float* b, int count) {
    float sum = 0.0f;
    int thread = thread_anew();
    int by_four = aligned(a, 0, 16) && aligned(b, 0, 16) ? count / 4 * 4 : 0;
#pragma unroll 2
    for (int i = thread * 4; i < by_four; i += SCAN_THREADS * 4) {
        float4 x = *reinterpret_cast<const float4*>(a + i), y = *reinterpret_cast<const float4*>(b + i);
        sum = fmaf(x.x, y.x, fmaf(x.y, y.y, fmaf(x.z, y.z, fmaf(x.w, y.w, sum))));
    }
    for (int i = by_four + thread; i < count; i += SCAN_THREADS) sum = fmaf(a[i], b[i], sum);
    return sum;
}

template <typename T>
__device__ void scan_backward(const T* xbc, const T* grad_y, const float* dts, const float* sums, const float* states,
                              const float* grad_states, const float* a_log, const float* skip, const int* lengths,
                              T* grad_x, float* grad_bc, T* grad_dt, float* totals, int l, int h, int p, int n,
                              int g, int per, int dt_width, int dt_at) {
    using Own = Tiles<T>;
    using Outputs = typename Own::Outputs;
    SHARED_MEMORY(T, tiles);
    __shared__ float dt[CHUNK], s[CHUNK], grow[CHUNK], shrink[CHUNK];
    // What step i adds to the gradients of dt A of the steps up to it; of those behind it; x dU; and the columns' sums
    // of T.
    __shared__ float up_to[Own::ROW_PARTS][CHUNK], behind[Own::ROW_PARTS][CHUNK], x_grad_u[Own::ROW_PARTS][CHUNK];
    __shared__ float columns[Own::COL_PARTS][CHUNK], scratch[WARP_LANES], lower;
    __shared__ double upper;
    T *dy = tiles, *x = dy + Own::SIZE, *weights = x + Own::SIZE, *one = weights + Own::SIZE, *two = one + Own::SIZE;
    int b = blockIdx.z, steps = steps_in_chunk(lengths, b), start = blockIdx.x * CHUNK, thread = threadIdx.x;
    int lane = thread % WARP_LANES, e = h * p, first_head = blockIdx.y * per, group = first_head / (h / g);
    int bc_width = 2 * g * n, width = e + bc_width;
    size_t at = static_cast<size_t>(b) * l + start;
    const T *rows = xbc + at * width, *bs = rows + e + group * n, *cs = rows + e + (g + group) * n;
    grad_bc += (static_cast<size_t>(blockIdx.y) * gridDim.z * l + at) * bc_width + group * n;
    totals += (static_cast<size_t>(b) * gridDim.x + blockIdx.x) * 3 * h;

    Outputs scores = {};  // C_i B_j, the same for every head of the group
    for (int first = 0; first < n; first += CHUNK) {
        int some = min(CHUNK, n - first);
        load_tile<PLAIN>(one, cs + first, width, steps, some);
        load_tile<TURNED>(two, bs + first, width, steps, some);
        __syncthreads();
        multiply<PLAIN, TURNED>(scores, one, two, 0, Own::whole(some), Own::end_row());
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
        load_tile<PLAIN>(dy, grad_y + at * e + head * p, e, steps, p);
        load_tile<TURNED>(x, rows + head * p, width, steps, p);
        __syncthreads();
        auto decay = [&](int i, int j) { return j <= i ? expf(s[i] - s[j]) : 0.0f; };
        auto add_bc = [&](float* to, int cols, const Outputs& grad) {
            put_outputs<T>(to, bc_width, l - start, cols, grad, head != first_head);
        };

        Outputs w = {};
        multiply<PLAIN, TURNED>(w, dy, x, 0, Own::whole(p), Own::end_row());
        float down[Own::COLS] = {};
#pragma unroll
        for (int r = 0; r < Own::ROWS; ++r) {
            int i = Own::row(r);
            float across = 0.0f;
#pragma unroll
            for (int c = 0; c < Own::COLS; ++c) {
                int j = Own::col(c);
                w[r][c] *= decay(i, j) * dt[j];
                float both = j < i ? scores[r][c] * w[r][c] : 0.0f;
                across += both, down[c] += both;
            }
            across = Own::row_sum(across);
            if (Own::writes_rows()) up_to[Own::row_part()][i] = across;
        }
#pragma unroll
        for (int c = 0; c < Own::COLS; ++c) {
            float sum = Own::col_sum(down[c]);
            if (Own::writes_cols()) columns[Own::col_part()][Own::col(c)] = sum;
        }
        put_tile<T>(weights, w);

        Outputs grad_u = {};
        for (int first = 0; first < n; first += CHUNK) {
            int some = min(CHUNK, n - first);
            const float* grad_part = grad_state + static_cast<size_t>(first) * p;
            Outputs grad_c = {}, grad_b = {};
            load_tile<PLAIN>(one, cs + first, width, steps, some);
            load_tile<TURNED>(two, state + static_cast<size_t>(first) * p, p, some, p);
            __syncthreads();
            multiply<PLAIN, TURNED>(grad_c, dy, two, 0, Own::whole(p), some);
#pragma unroll
            for (int r = 0; r < Own::ROWS; ++r) {
                int i = Own::row(r);
                float sum = 0.0f;
#pragma unroll
                for (int c = 0; c < Own::COLS; ++c) {
                    grad_c[r][c] *= grow[i];
                    sum = fmaf(to_float(one[i * Own::STRIDE + Own::col(c)]), grad_c[r][c], sum);
                }
                sum = Own::row_sum(sum);
                if (Own::writes_rows()) up_to[Own::row_part()][i] += sum;
            }
            __syncthreads();

            load_tile<PLAIN>(one, bs + first, width, steps, some);
            load_tile<PLAIN>(two, grad_part, p, some, p);
            __syncthreads();
            multiply<PLAIN, PLAIN>(grad_c, weights, one, 0, Own::end_row(), some);
            add_bc(grad_bc + g * n + first, some, grad_c);
            multiply<PLAIN, PLAIN>(grad_u, one, two, 0, Own::whole(some), p);
            __syncthreads();

            // C once more: with this product further up, its sums would be registers all the while.
            load_tile<PLAIN>(one, cs + first, width, steps, some);
            if (Own::TURNS) load_tile<TURNED>(two, grad_part, p, some, p);
            __syncthreads();
            multiply<TURNED, TURNED>(grad_b, x, two, 0, Own::whole(p), some);
#pragma unroll
            for (int r = 0; r < Own::ROWS; ++r) {
                float scale = shrink[Own::row(r)] * dt[Own::row(r)];
#pragma unroll
                for (int c = 0; c < Own::COLS; ++c) grad_b[r][c] *= scale;
            }
            multiply<TRANSPOSED, PLAIN>(grad_b, weights, one, Own::first_row(), CHUNK, some);
            add_bc(grad_bc + first, some, grad_b);
            __syncthreads();
        }

        // M takes the place of W.
        Outputs m;
#pragma unroll
        for (int r = 0; r < Own::ROWS; ++r) {
            int j = Own::row(r);
            float sum = 0.0f;
#pragma unroll
            for (int c = 0; c < Own::COLS; ++c) {
                m[r][c] = scores[r][c] * decay(j, Own::col(c));
                grad_u[r][c] *= shrink[j];
                sum = fmaf(to_float(x[Own::turned(j, Own::col(c))]), grad_u[r][c], sum);
            }
            sum = Own::row_sum(sum);
            if (Own::writes_rows()) behind[Own::row_part()][j] = dt[j] * sum;
        }
        put_tile<T>(weights, m);
        __syncthreads();
        multiply<TRANSPOSED, PLAIN>(grad_u, weights, dy, Own::first_row(), CHUNK, p);
        float skipped = 0.0f;
#pragma unroll
        for (int r = 0; r < Own::ROWS; ++r) {
            int j = Own::row(r);
            float sum = 0.0f;
#pragma unroll
            for (int c = 0; c < Own::COLS; ++c) {
                float own = to_float(x[Own::turned(j, Own::col(c))]);
                float above = to_float(dy[j * Own::STRIDE + Own::col(c)]);
                sum = fmaf(own, grad_u[r][c], sum);
                skipped = fmaf(own, above, skipped);
                grad_u[r][c] = fmaf(skip[head], above, dt[j] * grad_u[r][c]);
            }
            sum = Own::row_sum(sum);
            if (Own::writes_rows()) x_grad_u[Own::row_part()][j] = sum;
        }
        put_outputs<T>(grad_x + at * e + head * p, e, l - start, p, grad_u);
        float kept = block_sum(part_of_dot(grad_state, state, n * p), scratch);
        __syncthreads();

        // Steps: sums from behind and from the front, over two warps.
        float a = -expf(a_log[head]), earlier = 0.0f, of_x = 0.0f, raw = 0.0f, rate = 0.0f;
        // Where a head forgets fast the sums of T are of single neighbours, which cancel one another: exactly, in
        // double.
        double later = 0.0;
        if (thread < CHUNK) {
            float own = 0.0f;
            for (int i = 0; i < Own::ROW_PARTS; ++i) {
                later += up_to[i][thread], own += behind[i][thread], of_x += x_grad_u[i][thread];
            }
            for (int i = 0; i < Own::COL_PARTS; ++i) later -= columns[i][thread];
            earlier = __shfl_up_sync(ALL_LANES, own, 1);
            if (lane == 0) earlier = 0.0f;
            for (int by = 1; by < WARP_LANES; by *= 2) {
                double next = __shfl_down_sync(ALL_LANES, later, by);
                float last = __shfl_up_sync(ALL_LANES, earlier, by);
                if (lane + by < WARP_LANES) later += next;
                if (lane >= by) earlier += last;
            }
            if (thread == WARP_LANES) upper = later;
            if (thread == WARP_LANES - 1) lower = earlier + own;
        }
        __syncthreads();
        if (thread < CHUNK) {
            if (thread < WARP_LANES) {
                later += upper;
            } else {
                earlier += lower;
            }
            float grad = static_cast<float>(later) + fmaf(grow[CHUNK - 1], kept, earlier);
            raw = fmaf(a, grad, of_x) * -expm1f(-dt[thread]);
            rate = grad * dt[thread] * a;
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
