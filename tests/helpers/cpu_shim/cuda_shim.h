// Enough of CUDA to run kernels on the CPU, one thread after the other. WITH_BARRIERS builds kernels that synchronize
// the threads of a block.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#ifdef WITH_BARRIERS
#include <ucontext.h>
#endif

#define __global__
#define __device__ static inline
#define __shared__ static  // one block runs at a time

struct dim3 {
    unsigned int x, y, z;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

static inline int atomicAdd(int *address, int value) {
    int old = *address;
    *address = old + value;
    return old;
}

static inline unsigned int atomicXor(unsigned int *address, unsigned int value) {
    unsigned int old = *address;
    *address = old ^ value;
    return old;
}

static inline unsigned int atomicAnd(unsigned int *address, unsigned int value) {
    unsigned int old = *address;
    *address = old & value;
    return old;
}

static inline int atomicMin(int *address, int value) {
    int old = *address;
    if (value < old) *address = value;
    return old;
}

static inline int atomicMax(int *address, int value) {
    int old = *address;
    if (value > old) *address = value;
    return old;
}

static inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

#ifdef WITH_BARRIERS
// A thread that runs up to a barrier and goes on when all others have come there.
struct Fiber {
    ucontext_t context;
    dim3 thread;
    bool is_done;
    std::vector<char> stack = std::vector<char>(1 << 16);
};

static std::vector<Fiber> fibers;
static Fiber *running;
static ucontext_t scheduler;
static std::function<void()> body;

static inline void __syncthreads() { swapcontext(&running->context, &scheduler); }

static void run_fiber() {
    body();
    running->is_done = true;
}

// Returns how many threads have ended.
static std::size_t run_to_barrier(bool is_ascending) {
    std::size_t num_done = 0;
    for (std::size_t turn = 0; turn < fibers.size(); ++turn) {
        running = &fibers[is_ascending ? turn : fibers.size() - 1 - turn];
        threadIdx = running->thread;
        swapcontext(&scheduler, &running->context);
        num_done += running->is_done;
    }
    return num_done;
}

// Returns false when some threads of the block end while others wait at a barrier. Every other time the threads run in
// reverse, so that a missing barrier shows.
static bool run_block(const std::function<void()> &call) {
    body = call;
    fibers.resize(blockDim.x * blockDim.y * blockDim.z);
    for (unsigned int index = 0; index < fibers.size(); ++index) {
        Fiber &fiber = fibers[index];
        fiber.thread = {index % blockDim.x, index / blockDim.x % blockDim.y, index / blockDim.x / blockDim.y};
        fiber.is_done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_fiber, 0);
    }
    std::size_t num_done = 0;
    for (bool is_ascending = true; num_done == 0; is_ascending = !is_ascending) num_done = run_to_barrier(is_ascending);
    return num_done == fibers.size();
}
#else
static bool run_block(const std::function<void()> &call) {
    for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
        for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) call();
    return true;
}
#endif

// The inverse of the normal distribution, by Newton's method.
static inline double normcdfinv(double share) {
    double x = 0.0;
    for (int step = 0; step < 50; ++step) {
        double density = std::exp(-0.5 * x * x) * 0.3989422804014327;
        double miss = 0.5 * std::erfc(-x * 0.7071067811865476) - share;
        x -= std::fmax(-1.0, std::fmin(1.0, miss / density));
    }
    return x;
}

template <class... Args, std::size_t... index>
static bool run_blocks(void (*kernel)(Args...), void **arguments, std::index_sequence<index...>) {
    auto call = [&] { kernel(*static_cast<std::remove_reference_t<Args> *>(arguments[index])...); };
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                if (!run_block(call)) return false;
    return true;
}

// A letter per parameter: p pointer, i 32-bit integer, f float, d double, ? anything else.
template <class Arg>
constexpr char letter_of() {
    if (std::is_pointer_v<Arg>) return 'p';
    if (std::is_same_v<Arg, int>) return 'i';
    if (std::is_same_v<Arg, double>) return 'd';
    return std::is_same_v<Arg, float> ? 'f' : '?';
}

template <class... Args>
static const char *signature_of(void (*)(Args...)) {
    static const char letters[] = {letter_of<Args>()..., '\0'};
    return letters;
}

template <class... Args>
static bool launch(void (*kernel)(Args...), const unsigned int *sizes, void **arguments) {
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    return run_blocks(kernel, arguments, std::index_sequence_for<Args...>{});
}

// Exports what the tests call through ctypes.
#define EXPORT_KERNEL(name)                                                  \
    extern "C" const char *signature_##name() { return signature_of(name); } \
    extern "C" bool launch_##name(const unsigned int *sizes, void **arguments) { return launch(name, sizes, arguments); }
