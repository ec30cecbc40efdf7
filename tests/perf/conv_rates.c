/* conv_rates — GFLOP/s of the CPU backend's convolutions, by shape, role and algorithm.
 *
 *   conv_rates [N C H K R [STRIDE]]…     without arguments: the shapes of the networks this program is made for
 *
 * GFLOP/s count the multiplications of the direct convolution, whatever the algorithm does, so rates compare times.
 * The first line is a large matrix product by OpenBLAS: what the machine gives.
 */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/progress.h"
#include "cpu/conv_choice.h"

typedef struct { int64_t n, c, h, k, r, stride; const char *what; } shape;

static const shape usual[] = {
    {8, 3, 32, 128, 3, 1, "DDPM++ CIFAR: first"},
    {8, 128, 32, 128, 3, 1, "DDPM++ CIFAR"},
    {8, 384, 32, 128, 3, 1, "DDPM++ CIFAR: with skip"},
    {8, 256, 16, 256, 3, 1, "DDPM++ CIFAR"},
    {8, 512, 16, 256, 3, 1, "DDPM++ CIFAR: with skip"},
    {8, 256, 8, 256, 3, 1, "DDPM++ CIFAR"},
    {8, 512, 8, 256, 3, 1, "DDPM++ CIFAR: with skip"},
    {8, 128, 32, 3, 3, 1, "DDPM++ CIFAR: last"},
    {8, 256, 16, 768, 1, 1, "DDPM++ CIFAR: qkv"},
    {8, 256, 16, 256, 1, 1, "DDPM++ CIFAR: proj"},
    {8, 384, 32, 128, 1, 1, "DDPM++ CIFAR: skip"},
    {64, 3, 16, 32, 3, 1, "small: first"},
    {64, 16, 16, 16, 3, 1, "small"},
    {64, 24, 16, 24, 3, 1, "small"},
    {64, 32, 16, 32, 3, 1, "small"},
    {64, 48, 16, 48, 3, 1, "small"},
    {64, 64, 8, 64, 3, 1, "small"},
    {64, 64, 4, 64, 3, 1, "small"},
    {64, 32, 16, 3, 3, 1, "small: last"},
    {64, 64, 8, 192, 1, 1, "small: qkv"},
    {64, 64, 8, 64, 4, 2, "heads"},
    {1, 256, 16, 256, 3, 1, "one image"},
    {1, 256, 8, 256, 3, 1, "one image"},
    {2, 1024, 8, 1024, 3, 1, "ADM 64"},
    {2, 192, 64, 192, 3, 1, "ADM 64"},
};

static int block_of(int64_t c) { return c % 16 == 0 ? 16 : c % 8 == 0 ? 8 : 1; }

static fd_buf make(fd_ctx *ctx, fd_arena *a, fd_shape s, fd_dtype dt, int block) {
    fd_buf b = {fd_arena_alloc(ctx, a, fd_tensor_bytes(s, dt)), s, block, dt};
    for (int64_t i = 0; b.p && i < fd_count(s); i++) fd_put(&b, i, (float)(i * 7919 % 1009 - 504) * 1e-3f);
    return b;
}

/* Seconds of the best run, or a negative number when the kernel does not take the problem. */
static double seconds(fd_ctx *ctx, const fd_kernel *kernel, fd_call *c, const char **algo) {
    if (kernel->prepare(ctx, c) != FD_OK) return -1;
    c->work = fd_alloc(ctx, c->work_bytes);
    double best = 1e30, start = fd_now();
    for (int i = 0; c->work && (i < 3 || fd_now() - start < 0.1); i++) {
        double t = fd_now();
        if (kernel->run(ctx, c) != FD_OK) break;
        t = fd_now() - t;
        if (t < best) best = t;
    }
    fd_free(c->work);
    static char name[64];
    snprintf(name, sizeof name, "%s, %.1f MB", c->algo ? c->algo : "", (double)c->work_bytes / 1e6);
    *algo = name;
    kernel->release(c->state);
    return best;
}

static void measure(fd_ctx *ctx, const shape *s, int role, fd_dtype dt, fd_conv_algorithm algorithm) {
    static const fd_kernel *const kernel[] = {&fd_cpu_conv2d, &fd_cpu_conv2d_bwd_x, &fd_cpu_conv2d_bwd_w};
    static uint64_t version = 1;
    fd_arena a = {0};
    int64_t pad = s->stride > 1 ? 1 : s->r / 2, ho = (s->h + 2 * pad - s->r) / s->stride + 1;
    fd_shape xs = {s->n, s->c, s->h, s->h}, ys = {s->n, s->k, ho, ho};
    fd_buf x = make(ctx, &a, xs, s->c < 8 ? FD_F32 : dt, block_of(s->c));      /* pictures stay f32 */
    fd_buf y = make(ctx, &a, ys, s->k < 8 ? FD_F32 : dt, block_of(s->k));
    fd_buf w = make(ctx, &a, (fd_shape){s->k, s->c, s->r, s->r}, FD_F32, 1);
    fd_buf b = make(ctx, &a, (fd_shape){1, s->k, 1, 1}, FD_F32, 1);
    fd_call c = {.attr = {.stride = (int)s->stride, .pad = (int)pad, .pad_w = (int)pad, .h = (int)s->h, .w = (int)s->h},
                 .threads = omp_get_max_threads()};
    fd_cpu_conv_algorithm(algorithm);
    version++;
    if (role == 0) c.in[0] = x, c.in[1] = w, c.in[2] = b, c.out[0] = y, c.version[1] = &version;
    if (role == 1) c.in[0] = y, c.in[1] = w, c.out[0] = x, c.version[1] = &version;
    if (role == 2) c.in[0] = y, c.in[1] = x, c.out[0] = w, c.out[1] = b;
    const char *algo = "";
    double t = seconds(ctx, kernel[role], &c, &algo);
    double flops = 2.0 * (double)(s->n * s->k * s->c * s->r * s->r) * (double)(ho * ho);
    if (t < 0) printf("  %-32s", "-");
    else printf("  %5.0f %7.3f ms (%s)", flops / t / 1e9, t * 1e3, algo);
    fd_arena_free(&a);
}

static void report(fd_ctx *ctx, const shape *s) {
    static const char *const role[] = {"fwd", "bwd_x", "bwd_w"};
    for (int i = 0; i < 3; i++) {
        printf("%3d x %4d %2d^2 -> %4d  %dx%d  %-5s", (int)s->n, (int)s->c, (int)s->h, (int)s->k, (int)s->r, (int)s->r,
               role[i]);
        measure(ctx, s, i, FD_F32, FD_CONV_DIRECT);
        if (s->r == 3 && s->c > 3 && s->k > 3) measure(ctx, s, i, FD_F32, FD_CONV_AUTO);
        printf("   | bf16");
        measure(ctx, s, i, FD_BF16, FD_CONV_DIRECT);
        if (s->r == 3 && s->c > 3 && s->k > 3) measure(ctx, s, i, FD_BF16, FD_CONV_AUTO);
        printf("%s%s\n", i ? "" : "   ", i || !s->what ? "" : s->what);
        fflush(stdout);
    }
}

static void matrix_product(fd_ctx *ctx) {
    enum { N = 2048 };
    fd_arena a = {0};
    const fd_shape s = {1, 1, N, N};
    fd_buf x = make(ctx, &a, s, FD_F32, 1), y = make(ctx, &a, s, FD_F32, 1), z = make(ctx, &a, s, FD_F32, 1);
    double best = 1e30;
    for (int i = 0; i < 4; i++) {
        double t = fd_now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, x.p, N, y.p, N, 0, z.p, N);
        t = fd_now() - t;
        if (t < best) best = t;
    }
    printf("sgemm %d: %.0f GFLOP/s\n", N, 2.0 * N * N * N / best / 1e9);
    fd_arena_free(&a);
}

int main(int argc, char **argv) {
    fd_ctx ctx = {0};
    if (argc > 1 && argc != 6 && argc != 7) {
        fprintf(stderr, "usage: conv_rates [N C H K R [STRIDE]]\n");
        return 2;
    }
    matrix_product(&ctx);
    if (argc > 1) {
        shape s = {atoll(argv[1]), atoll(argv[2]), atoll(argv[3]), atoll(argv[4]), atoll(argv[5]),
                   argc > 6 ? atoll(argv[6]) : 1, NULL};
        report(&ctx, &s);
        return 0;
    }
    for (size_t i = 0; i < FD_COUNT(usual); i++) report(&ctx, &usual[i]);
    return 0;
}
