// The scheduler behind cuda_host.h: one fiber a thread, blocks one after the other.
#include "cuda_host.h"

#include <algorithm>
#include <cstdio>
#include <csetjmp>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace emulated {

thread_local Thread* current = nullptr;
thread_local dim3 block_index, block_size, grid_size;
thread_local unsigned char* shared_memory = nullptr;

namespace {

constexpr size_t STACK = 128 * 1024;
// Behind the shared memory that a launch asked for, so that a write past its end is seen.
constexpr unsigned GUARD = 256;
constexpr unsigned char UNWRITTEN = 0xff;  // as a float: NaN

enum class Wait { Nothing, Block, Warp, Over };

struct Fiber : Thread {
    ucontext_t context;
    std::jmp_buf here;
    bool begun = false;
    unsigned char* stack = nullptr;
    Wait wait = Wait::Nothing;
    unsigned mask = 0;
    unsigned warp = 0;
};

struct Warp {
    alignas(16) unsigned char values[WARP * 16];
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::jmp_buf scheduler;
    void (*body)(void*);
    void* closure;
};

thread_local Block* block = nullptr;
// Kept from launch to launch: getting them is most of a small one.
thread_local std::vector<std::unique_ptr<unsigned char[]>> stacks;
thread_local char message[256];

Fiber* self() { return static_cast<Fiber*>(current); }

// ucontext begins a fiber; from then on a jump changes between fibers, since swapcontext is two system calls.
void give_way() {
    if (_setjmp(self()->here) == 0) _longjmp(block->scheduler, 1);
}

// Runs a fiber until it gives way. Not inlined: after the jump back nothing but the stack is as it was.
__attribute__((noinline)) void resume(Fiber* fiber) {
    current = fiber;
    if (_setjmp(block->scheduler) == 0) {
        if (fiber->begun) _longjmp(fiber->here, 1);
        fiber->begun = true;
        setcontext(&fiber->context);
    }
}

void entry() {
    block->body(block->closure);
    self()->wait = Wait::Over;
    give_way();
}

void warp_barrier(unsigned mask) {
    Fiber* fiber = self();
    fiber->wait = Wait::Warp;
    fiber->mask = mask;
    give_way();
}

void begin(Fiber& fiber, unsigned number) {
    unsigned x = block_size.x, y = block_size.y;
    fiber.index = {number % x, number / x % y, number / (x * y)};
    fiber.lane = number % WARP;
    fiber.warp = number / WARP;
    fiber.wait = Wait::Nothing;
    fiber.begun = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
}

// Lets threads go on whose barrier is complete. False if there was none.
bool release() {
    auto& fibers = block->fibers;
    bool all = true, any = false;
    for (auto& fiber : fibers) all = all && fiber.wait == Wait::Block;
    if (all) {
        for (auto& fiber : fibers) fiber.wait = Wait::Nothing;
        return true;
    }
    for (size_t first = 0; first < fibers.size(); first += WARP) {
        size_t end = std::min(fibers.size(), first + WARP);
        for (size_t i = first; i < end; ++i) {
            if (fibers[i].wait != Wait::Warp) continue;
            unsigned mask = fibers[i].mask;
            bool complete = mask >> fibers[i].lane & 1;
            for (unsigned lane = 0; lane < WARP; ++lane) {
                if (!(mask >> lane & 1)) continue;
                complete = complete && first + lane < end && fibers[first + lane].wait == Wait::Warp &&
                           fibers[first + lane].mask == mask;
            }
            if (!complete) continue;
            for (unsigned lane = 0; lane < WARP; ++lane) {
                if (mask >> lane & 1) fibers[first + lane].wait = Wait::Nothing;
            }
            any = true;
        }
    }
    return any;
}

const char* stuck() {
    unsigned waiting[4] = {};
    for (auto& fiber : block->fibers) ++waiting[static_cast<int>(fiber.wait)];
    std::snprintf(message, sizeof(message),
                  "block (%u, %u, %u) is stuck: %u threads wait at __syncthreads, %u in a warp exchange, %u have ended",
                  block_index.x, block_index.y, block_index.z, waiting[1], waiting[2], waiting[3]);
    return message;
}

const char* run_block(unsigned order) {
    auto& fibers = block->fibers;
    unsigned count = static_cast<unsigned>(fibers.size());
    for (unsigned i = 0; i < count; ++i) begin(fibers[i], i);
    for (;;) {
        bool over = true;
        for (unsigned i = 0; i < count; ++i) {
            Fiber& fiber = fibers[order == 0 ? i : count - 1 - i];
            if (fiber.wait == Wait::Nothing) resume(&fiber);
            over = over && fiber.wait == Wait::Over;
        }
        if (over) return nullptr;
        if (!release()) return stuck();
    }
}

}  // namespace

void block_barrier() {
    self()->wait = Wait::Block;
    give_way();
}

const unsigned char* exchange(unsigned mask, const void* value, unsigned bytes) {
    Fiber* fiber = self();
    Warp& warp = block->warps[fiber->warp];
    std::memcpy(warp.values + 16 * fiber->lane, value, bytes);
    warp_barrier(mask);
    return warp.values;
}

void exchanged(unsigned mask) { warp_barrier(mask); }

const char* run(const Launch& launch, void (*body)(void*), void* closure) {
    block_size = {launch.block[0], launch.block[1], launch.block[2]};
    grid_size = {launch.grid[0], launch.grid[1], launch.grid[2]};
    unsigned threads = block_size.x * block_size.y * block_size.z;
    if (threads == 0 || threads > 1024 || launch.shared > 227 * 1024) return "no device takes a launch of these sizes";
    Block here;
    here.fibers = std::vector<Fiber>(threads);
    here.warps = std::vector<Warp>((threads + WARP - 1) / WARP);
    here.body = body;
    here.closure = closure;
    while (stacks.size() < threads) stacks.emplace_back(new unsigned char[STACK]);
    for (unsigned i = 0; i < threads; ++i) here.fibers[i].stack = stacks[i].get();
    std::vector<uint4> shared((launch.shared + GUARD) / 16 + 1);
    block = &here;
    shared_memory = reinterpret_cast<unsigned char*>(shared.data());
    const char* wrong = nullptr;
    for (unsigned z = 0; z < grid_size.z && !wrong; ++z) {
        for (unsigned y = 0; y < grid_size.y && !wrong; ++y) {
            for (unsigned x = 0; x < grid_size.x && !wrong; ++x) {
                block_index = {x, y, z};
                std::memset(shared_memory, UNWRITTEN, launch.shared + GUARD);
                wrong = run_block(launch.order);
                for (unsigned i = 0; i < GUARD && !wrong; ++i) {
                    if (shared_memory[launch.shared + i] != UNWRITTEN) wrong = "a write beyond the shared memory";
                }
            }
        }
    }
    block = nullptr;
    current = nullptr;
    return wrong;
}

}  // namespace emulated
