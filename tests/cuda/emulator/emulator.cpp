/* emulator.cpp — a CUDA device on the host, to find what is wrong in kernels before a GPU is at hand. Slow by design.
 *
 * Threads of a block are fibers that run one after the other from barrier to barrier; blocks follow each other. Found:
 *   - memory outside a buffer: device memory lies in a region of its own that the host cannot touch while no kernel runs
 *     (a stray access of the host ends the program), and shared memory is a heap block of exactly the bytes asked for,
 *     so that AddressSanitizer sees every step beside it; both start as NaN
 *   - barriers and shuffles that not all threads reach, or that they reach at different lines
 *   - races on shared memory, as far as an order shows them: with EMULATOR_SHUFFLE=seed threads and blocks run in an
 *     order drawn anew after each barrier, and the results must not change
 *   - work that may not be recorded: copies and waits while a capture is open
 * A fault prints the kernel and aborts. Not found: wrong speeds, and races that need true simultaneity.
 */
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "cuda_runtime.h"

#include "cuda/launch.cuh"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

namespace emulator {

uint3 thread_index, block_index;
dim3 block_size, grid_size;

static const char *running = "";

[[noreturn]] static void fault(const char *what, int line) {
    fprintf(stderr, "emulated device: %s (line %d), block %u,%u,%u thread %u: %s\n", running, line, block_index.x, block_index.y,
            block_index.z, thread_index.x, what);
    abort();
}

/* ---- fibers ------------------------------------------------------------------------------------------------------ */

enum { STACK = 256 * 1024, LANES = 32 };
enum state { FRESH, READY, AT_BLOCK, AT_WARP, DONE };

struct fiber {
    void *stack = nullptr, *sp = nullptr, *fake = nullptr;      /* fake: AddressSanitizer's own */
};
struct thread {
    state at = FRESH;
    int line = 0, phase = 0;
    fiber *on = nullptr;
    uint64_t slot[2] = {0, 0};      /* a lane may be one exchange ahead of another, never two */
};

static std::vector<thread> threads;
static std::vector<fiber *> &idle = *new std::vector<fiber *>;      /* never destroyed: the fibers stay reachable */
static fiber host;
static int current = -1;
static const std::function<void()> *body;
static std::vector<char> no_shared;
static void *shared_block;

#if defined(__x86_64__)
/* Saves what the calling convention wants kept, and goes on at the other stack. */
extern "C" void emulator_switch(void **save, void *to);
asm(".text\n.p2align 4\n.globl emulator_switch\n.type emulator_switch,@function\nemulator_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size emulator_switch,.-emulator_switch\n");
static void prepare_stack(fiber *f, void (*entry)()) {
    void **top = (void **)((char *)f->stack + STACK);
    *--top = nullptr;                                            /* keeps the stack aligned as after a call */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    f->sp = top;
}
static void raw_switch(fiber *from, fiber *to) { emulator_switch(&from->sp, to->sp); }
#else
#include <ucontext.h>
static void prepare_stack(fiber *f, void (*entry)()) {
    if (!f->sp) f->sp = new ucontext_t;
    ucontext_t *u = (ucontext_t *)f->sp;
    getcontext(u);
    u->uc_stack.ss_sp = f->stack;
    u->uc_stack.ss_size = STACK;
    u->uc_link = nullptr;
    makecontext(u, entry, 0);
}
static void raw_switch(fiber *from, fiber *to) {
    if (!from->sp) from->sp = new ucontext_t;
    swapcontext((ucontext_t *)from->sp, (ucontext_t *)to->sp);
}
#endif

#if defined(__SANITIZE_ADDRESS__)
static const void *host_bottom;
static size_t host_size;
#endif

static void switch_fiber(fiber *from, fiber *to, bool last) {
#if defined(__SANITIZE_ADDRESS__)
    bool home = to == &host;
    __sanitizer_start_switch_fiber(last ? nullptr : &from->fake, home ? host_bottom : to->stack, home ? host_size : (size_t)STACK);
    raw_switch(from, to);
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(from->fake, &bottom, &size);
#else
    (void)last;
    raw_switch(from, to);
#endif
}

static void entry() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &host_bottom, &host_size);
#endif
    (*body)();
    threads[(size_t)current].at = DONE;
    switch_fiber(threads[(size_t)current].on, &host, true);
    abort();      /* never resumed */
}

static void resume(int t) {
    thread &x = threads[(size_t)t];
    if (x.at == FRESH) {
        if (idle.empty()) {
            fiber *f = new fiber;
            f->stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (f->stack == MAP_FAILED) abort();
            idle.push_back(f);
        }
        x.on = idle.back();
        idle.pop_back();
        ASAN_UNPOISON_MEMORY_REGION(x.on->stack, STACK);      /* what the last one left there */
        prepare_stack(x.on, entry);
    }
    x.at = READY;
    current = t;
    thread_index = uint3{(unsigned)t, 0, 0};
    switch_fiber(&host, x.on, false);
    if (x.at == DONE) {
        idle.push_back(x.on);
        x.on = nullptr;
    }
}

static void wait(state where, int line) {
    thread &x = threads[(size_t)current];
    x.at = where;
    x.line = line;
    switch_fiber(x.on, &host, false);
}

int lane() { return current % LANES; }
void block_barrier(int line) { wait(AT_BLOCK, line); }
uint64_t exchange(uint64_t bits, int from, unsigned mask, int line) {
    thread &x = threads[(size_t)current];
    if (mask != 0xffffffffu) fault("a shuffle that leaves lanes out", line);
    if (from < 0 || from >= LANES) fault("a shuffle from a lane that is not there", line);
    int phase = x.phase ^= 1;
    x.slot[phase] = bits;
    int me = current;
    wait(AT_WARP, line);
    return threads[(size_t)(me - me % LANES + from)].slot[phase];
}
void *shared_memory() { return shared_block; }

/* ---- a launch ---------------------------------------------------------------------------------------------------- */

static uint64_t shuffle_state;
static void draw_order(std::vector<int> &order) {
    std::iota(order.begin(), order.end(), 0);
    static const char *seed = getenv("EMULATOR_SHUFFLE");
    if (!seed) return;
    if (!shuffle_state) shuffle_state = strtoull(seed, nullptr, 10) * 2 + 1;
    for (size_t i = order.size(); i > 1; i--) {
        shuffle_state = shuffle_state * 6364136223846793005u + 1442695040888963407u;
        std::swap(order[i - 1], order[(shuffle_state >> 33) % i]);
    }
}

/* Frees those who wait together; false when nobody could move. */
static bool release(size_t first, size_t count, state where) {
    size_t waiting = 0;
    int line = 0;
    for (size_t t = first; t < first + count; t++) {
        if (threads[t].at != where) continue;
        if (waiting++ && threads[t].line != line) fault("threads wait at different barriers", threads[t].line);
        line = threads[t].line;
    }
    if (waiting != count) return false;
    for (size_t t = first; t < first + count; t++) threads[t].at = READY;
    return true;
}

static void run_block(size_t count) {
    threads.assign(count, thread());
    std::vector<int> order(count);
    for (;;) {
        draw_order(order);
        size_t done = 0;
        for (int t : order) {
            state at = threads[(size_t)t].at;
            if (at == FRESH || at == READY) resume(t);
        }
        for (size_t t = 0; t < count; t++) done += threads[t].at == DONE;
        if (done == count) return;
        bool moved = false;
        for (size_t t = 0; t < count; t += LANES) moved = release(t, LANES, AT_WARP) || moved;
        if (!moved) moved = release(0, count, AT_BLOCK);
        if (!moved) fault("not all threads reach this barrier", threads[0].line);
    }
}

static void unlock(bool open);

static void run(const char *kernel, dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread) {
    running = kernel;
    if (block.x % LANES || block.x > 1024 || block.y * block.z != 1) fault("blocks are whole warps of one dimension here", 0);
    if (grid.y > 65535 || grid.z > 65535) fault("grid too large", 0);
    if (shared > 48 * 1024) fault("more than 48 KiB of shared memory", 0);
    body = &thread;
    block_size = block;
    grid_size = grid;
    unlock(true);
    std::vector<int> order((size_t)grid.x * grid.y * grid.z);
    draw_order(order);
    for (int b : order) {
        unsigned i = (unsigned)b;
        block_index = uint3{i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        shared_block = aligned_alloc(16, (shared + 15) / 16 * 16);
        memset(shared_block, 0xff, shared);
        if (shared % 16) ASAN_POISON_MEMORY_REGION((char *)shared_block + shared, 16 - shared % 16);
        run_block(block.x);
        free(shared_block);
    }
    unlock(false);
    running = "";
}

/* ---- streams, graphs, memory ------------------------------------------------------------------------------------- */

static cudaError_t last = cudaSuccess;
static std::vector<std::function<void()>> *recording;

void launch(const char *kernel, dim3 grid, dim3 block, size_t shared, std::function<void()> thread) {
    if (!grid.x || !grid.y || !grid.z) {
        last = cudaErrorInvalidConfiguration;
        return;
    }
    if (recording) recording->push_back([=] { run(kernel, grid, block, shared, thread); });
    else run(kernel, grid, block, shared, thread);
}

static const size_t REGION = (size_t)8 << 30, PAGE = 4096;
static char *region;
static size_t used;
static std::map<char *, size_t> live, holes;      /* start, bytes in whole pages */

static void unlock(bool open) {
    if (region && used && mprotect(region, used, open ? PROT_READ | PROT_WRITE : PROT_NONE)) abort();
}
static char *find_room(size_t bytes) {
    for (auto h = holes.begin(); h != holes.end(); ++h)
        if (h->second == bytes) {
            char *p = h->first;
            holes.erase(h);
            return p;
        }
    if (used + bytes > REGION) return nullptr;
    used += bytes;
    return region + used - bytes;
}

}

using namespace emulator;

struct emulated_stream {
    int unused;
};
struct emulated_graph {
    std::vector<std::function<void()>> work;
};

static cudaError_t not_while_recording() { return recording ? last = cudaErrorStreamCaptureUnsupported : cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *count) {
    const char *several = getenv("EMULATOR_DEVICES");
    *count = getenv("EMULATOR_NO_DEVICE") ? 0 : several ? atoi(several) : 1;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int) {
    *prop = cudaDeviceProp{"emulated device", REGION, 8, 0, 1};
    return cudaSuccess;
}
cudaError_t cudaGetLastError() {
    cudaError_t e = last;
    last = cudaSuccess;
    return e;
}
const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "error";
    }
}
/* Of the device: EMULATOR_KIB, or as good as endless. */
static size_t memory() {
    const char *kib = getenv("EMULATOR_KIB");
    return kib ? (size_t)atoll(kib) << 10 : REGION;
}
static size_t asked;      /* bytes in live buffers */
static std::map<void *, size_t> sizes;

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    *free_bytes = memory() - asked;
    *total_bytes = memory();
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t bytes) {
    if (not_while_recording()) return last;
    if (!region) {
        void *m = mmap(nullptr, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (m == MAP_FAILED) return cudaErrorMemoryAllocation;
        region = (char *)m;
    }
    if (bytes > memory() - asked) return cudaErrorMemoryAllocation;
    const size_t whole = (bytes + PAGE - 1) / PAGE * PAGE + PAGE;      /* one page is left free behind each buffer */
    char *room = find_room(whole);
    if (!room) return cudaErrorMemoryAllocation;
    unlock(true);
    ASAN_UNPOISON_MEMORY_REGION(room, whole);
    memset(room, 0xff, whole);
    ASAN_POISON_MEMORY_REGION(room + bytes, whole - bytes);
    unlock(false);
    live[room] = whole;
    asked += sizes[room] = bytes;
    *p = room;
    return cudaSuccess;
}
cudaError_t cudaFree(void *p) {
    if (!p) return cudaSuccess;
    auto b = live.find((char *)p);
    if (b == live.end()) return cudaErrorInvalidValue;
    ASAN_POISON_MEMORY_REGION(b->first, b->second);
    holes[b->first] = b->second;
    asked -= sizes[p];
    live.erase(b);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    if (not_while_recording()) return last;
    unlock(true);
    memcpy(to, from, bytes);
    unlock(false);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t) {
    auto work = [=] {
        unlock(true);
        memset(p, value, bytes);
        unlock(false);
    };
    if (recording) recording->push_back(work);
    else work();
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    static emulated_stream only;
    *stream = &only;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return not_while_recording(); }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    if (not_while_recording()) return last;
    recording = new std::vector<std::function<void()>>;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
    if (!recording) return cudaErrorInvalidValue;
    *graph = new emulated_graph{std::move(*recording)};
    delete recording;
    recording = nullptr;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = new emulated_graph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    if (not_while_recording()) return last;
    for (auto &work : exec->work) work();
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
