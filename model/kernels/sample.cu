// From each row's logits to its next token: grammar mask, repetition penalty, temperature, top-k, min-p, eta, top-p,
// one draw.
//
// The steps, their order and their ties are those of netssm_model::sample, which says why; given the same logits and
// the same random number the same token comes out. The random numbers are the host's: one u64 a draw from the session's
// own ChaCha8 stream, so a session's randomness is the CPU's, whatever else is in the batch.
//
// Shapes    logits (rows, vocabulary) float; draws (rows, 1 + words or 1 + 2 words) u64: the random number, the legal
//           tokens (t at bit t % 64 of word t / 64), and with `recent` set those that the penalty applies to; row
//           inputs (rows, stride) u32: a row with SILENT set is left out; weights (rows, padded) double and ids (rows,
//           padded) u32: scratch, padded being the vocabulary rounded up to a power of two; out (rows, 3) u32: status,
//           token, logit's bits.
// Launch    grid (rows / ROWS, rounded up), block 32 ROWS: a warp a row; no dynamic shared memory.
// Numerics  double, as on the CPU. Sums that decide between tokens run in the CPU's order; exp and log may differ in
//           the last bit, and the entropy of eta is summed in another order.
// Reference netssm_model::sample::Sampler.
#include "common.cuh"

constexpr int ROWS = 4;

enum Status : uint32_t { CHOSEN = 0, NOT_FINITE = 1, NOTHING_LEGAL = 2, LEFT_OUT = 3 };

// Candidates of a row: a weight (first the logit) and a token each.
struct Candidates {
    double* weights;
    uint32_t* ids;
    int n;
};

// Larger weight first, then lower id.
__device__ __forceinline__ bool before(double weight, uint32_t id, double other, uint32_t other_id) {
    return weight > other || (weight == other && id < other_id);
}

__device__ __forceinline__ double warp_sum(double x) {
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(ALL_LANES, x, bits);
    return x;
}

// Sorts by weight, or by id only (bitonic; the missing ones of a power of two come last).
__device__ void sort(Candidates& c, bool by_weight, int lane) {
    int whole = 1;
    while (whole < c.n) whole *= 2;
    for (int i = c.n + lane; i < whole; i += WARP_LANES) {
        c.weights[i] = -INFINITY;
        c.ids[i] = 0xffffffffu;
    }
    __syncwarp();
    for (int size = 2; size <= whole; size *= 2) {
        for (int apart = size / 2; apart > 0; apart /= 2) {
            for (int i = lane; i < whole / 2; i += WARP_LANES) {
                int low = i / apart * apart * 2 + i % apart, high = low + apart;
                double a = c.weights[low], b = c.weights[high];
                uint32_t ia = c.ids[low], ib = c.ids[high];
                bool ordered = by_weight ? before(a, ia, b, ib) : ia < ib;
                bool ascending = (low & size) == 0;
                if (ordered != ascending) {
                    c.weights[low] = b, c.weights[high] = a;
                    c.ids[low] = ib, c.ids[high] = ia;
                }
            }
            __syncwarp();
        }
    }
}

// Keeps what weighs at least so much, in order.
__device__ void keep_from(Candidates& c, double least, int lane) {
    int kept = 0;
    for (int first = 0; first < c.n; first += WARP_LANES) {
        int i = first + lane;
        double weight = i < c.n ? c.weights[i] : 0.0;
        uint32_t id = i < c.n ? c.ids[i] : 0;
        bool stays = i < c.n && weight >= least;
        unsigned all = __ballot_sync(ALL_LANES, stays);
        // Every lane has read before any writes; the places written lie no further on.
        __syncwarp();
        if (stays) {
            int at = kept + __popc(all & ((1u << lane) - 1));
            c.weights[at] = weight;
            c.ids[at] = id;
        }
        kept += __popc(all);
        __syncwarp();
    }
    c.n = kept;
}

// In order, as the CPU sums; each lane does the same.
__device__ double total(const Candidates& c) {
    double sum = 0.0;
    for (int i = 0; i < c.n; ++i) sum += c.weights[i];
    return sum;
}

struct Policy {
    double temperature, top_p, min_p, eta, penalty;
    int top_k;
};

// Legal tokens with penalised logits, in order of token; false, with the first bad one in `bad`, if one is not finite.
__device__ bool gather(Candidates& c, const float* logits, const uint64_t* mask, const uint64_t* recent, int vocabulary,
                       int words, double penalty, int lane, int& bad) {
    c.n = 0;
    for (int first = 0; first < vocabulary; first += WARP_LANES) {
        uint64_t word = first / 64 < words ? mask[first / 64] : 0;
        uint32_t legal_here = static_cast<uint32_t>(word >> first % 64);
        if (legal_here == 0) continue;
        int token = first + lane;
        bool legal = token < vocabulary && (legal_here >> lane & 1);
        float value = legal ? logits[token] : 0.0f;
        unsigned wrong = __ballot_sync(ALL_LANES, legal && !isfinite(value));
        if (wrong != 0) {
            bad = first + __ffs(static_cast<int>(wrong)) - 1;
            return false;
        }
        unsigned all = __ballot_sync(ALL_LANES, legal);
        if (legal) {
            double logit = value;
            if (recent != nullptr && first / 64 < words && (recent[first / 64] >> token % 64 & 1)) {
                logit = logit > 0.0 ? logit / penalty : logit * penalty;
            }
            int at = c.n + __popc(all & ((1u << lane) - 1));
            c.weights[at] = logit;
            c.ids[at] = token;
        }
        c.n += __popc(all);
    }
    __syncwarp();
    return true;
}

// The largest logit, of equals the lowest token; c has at least one.
__device__ void best(const Candidates& c, int lane, double& weight, uint32_t& id) {
    weight = -INFINITY;
    id = 0xffffffffu;
    for (int i = lane; i < c.n; i += WARP_LANES) {
        if (before(c.weights[i], c.ids[i], weight, id)) weight = c.weights[i], id = c.ids[i];
    }
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
        double other = __shfl_xor_sync(ALL_LANES, weight, bits);
        uint32_t other_id = __shfl_xor_sync(ALL_LANES, id, bits);
        if (before(other, other_id, weight, id)) weight = other, id = other_id;
    }
}

// What eta cuts: netssm_model::sample, step 7.
__device__ void cut_eta(Candidates& c, double eta, int lane) {
    double sum = total(c), entropy = 0.0;
    for (int i = lane; i < c.n; i += WARP_LANES) {
        double p = c.weights[i] / sum;
        if (p > 0.0) entropy += -p * log(p);
    }
    entropy = warp_sum(entropy);
    double least = fmin(eta, sqrt(eta) * exp(-entropy)) * sum;
    keep_from(c, fmin(least, 1.0), lane);
}

__device__ uint32_t choose(Candidates& c, const Policy& policy, uint64_t number, int lane) {
    double top;
    uint32_t likeliest;
    best(c, lane, top, likeliest);
    if (policy.temperature == 0.0) return likeliest;
    if (policy.top_k > 0 && policy.top_k < c.n) {
        sort(c, true, lane);
        c.n = policy.top_k;
    }
    for (int i = lane; i < c.n; i += WARP_LANES) c.weights[i] = exp((c.weights[i] - top) / policy.temperature);
    __syncwarp();
    if (policy.min_p > 0.0) keep_from(c, policy.min_p, lane);
    if (policy.eta > 0.0) cut_eta(c, policy.eta, lane);
    if (policy.top_p < 1.0) {
        sort(c, true, lane);
        double goal = policy.top_p * total(c), sum = 0.0;
        int n = c.n;
        for (int i = 0; i < n; ++i) {
            sum += c.weights[i];
            if (sum >= goal) {
                c.n = i + 1;
                break;
            }
        }
    } else if (policy.top_k > 0) {
        sort(c, false, lane);
    }
    double at = static_cast<double>(number >> 11) / 9007199254740992.0 * total(c), sum = 0.0;
    for (int i = 0; i < c.n; ++i) {
        sum += c.weights[i];
        if (at < sum) return c.ids[i];
    }
    return c.ids[c.n - 1];
}

KERNEL __launch_bounds__(WARP_LANES * ROWS)
sample(const float* logits, const uint64_t* draws, const uint32_t* row_inputs, double* weights, uint32_t* ids, uint32_t* out,
       int rows, int vocabulary, int words, int recent, int stride, int padded, double temperature, double top_p,
       double min_p, double eta, double penalty, int top_k) {
    int lane = threadIdx.x % WARP_LANES, row = blockIdx.x * ROWS + threadIdx.x / WARP_LANES;
    // A whole warp at a time, and nothing here waits for another.
    if (row >= rows) return;
    size_t at = static_cast<size_t>(row);
    const float* own = logits + at * vocabulary;
    const uint64_t *draw = draws + at * (1 + (recent ? 2 : 1) * words), *legal = draw + 1;
    Candidates c{weights + at * padded, ids + at * padded, 0};
    uint32_t status = CHOSEN, token = 0;
    float value = 0.0f;
    if (row_inputs[at * stride + FLAGS] & SILENT) {
        status = LEFT_OUT;
    } else {
        int bad = 0;
        if (!gather(c, own, legal, recent ? legal + words : nullptr, vocabulary, words, penalty, lane, bad)) {
            status = NOT_FINITE, token = bad, value = own[bad];
        } else if (c.n == 0) {
            status = NOTHING_LEGAL;
        } else {
            token = choose(c, Policy{temperature, top_p, min_p, eta, penalty, top_k}, draw[0], lane);
        }
    }
    if (lane == 0) out[3 * at] = status, out[3 * at + 1] = token, out[3 * at + 2] = __float_as_uint(value);
}
EMULATE(sample)
