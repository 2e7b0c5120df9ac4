// Enough of CUDA to run kernels without barriers on the CPU, one thread after the other.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__ static inline

struct dim3 {
    unsigned int x, y, z;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

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

template <class... Args, std::size_t... index>
static void run_threads(void (*kernel)(Args...), void **arguments, std::index_sequence<index...>) {
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
                            kernel(*static_cast<std::remove_reference_t<Args> *>(arguments[index])...);
}

// A letter per parameter: p pointer, i 32-bit integer, f float, ? anything else.
template <class Arg>
constexpr char letter_of() {
    if (std::is_pointer_v<Arg>) return 'p';
    if (std::is_same_v<Arg, int>) return 'i';
    return std::is_same_v<Arg, float> ? 'f' : '?';
}

template <class... Args>
static const char *signature_of(void (*)(Args...)) {
    static const char letters[] = {letter_of<Args>()..., '\0'};
    return letters;
}

template <class... Args>
static void launch(void (*kernel)(Args...), const unsigned int *sizes, void **arguments) {
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    run_threads(kernel, arguments, std::index_sequence_for<Args...>{});
}

// Exports what the tests call through ctypes.
#define EXPORT_KERNEL(name)                                                                 \
    extern "C" const char *signature_##name() { return signature_of(name); }                \
    extern "C" void launch_##name(const unsigned int *sizes, void **arguments) { launch(name, sizes, arguments); }
