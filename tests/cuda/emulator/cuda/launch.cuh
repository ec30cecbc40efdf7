/* launch.cuh — the tests' own: found before cuda/launch.cuh, it runs kernels on the host. */
#ifndef FD_CUDA_LAUNCH_CUH
#define FD_CUDA_LAUNCH_CUH

#include <functional>
#include <tuple>

namespace emulator {
void launch(const char *kernel, dim3 grid, dim3 block, size_t shared, std::function<void()> thread);
template <class... P, class... A>
void start(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... argument) {
    std::tuple<P...> copy(static_cast<P>(argument)...);      /* evaluated now, as the runtime does */
    launch(name, grid, block, shared, [=] { std::apply(kernel, copy); });
}
}

#define FD_LAUNCH(kernel, grid, block, shared, ...) emulator::start(#kernel, kernel, grid, block, shared, __VA_ARGS__)
#define FD_SHARED(type, name) type *name = static_cast<type *>(emulator::shared_memory())

#endif
