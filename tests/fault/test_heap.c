/* The heap seen from outside: malloc and its kin are replaced in this program, so that calls of every library are
 * counted and can be made to fail.
 *
 *   1. After warm-up a step makes no heap call: running a plan, training, distilling. What oneDNN and OpenMP
 *      do inside (a few hundred bytes of book-keeping) is beyond our reach; it is told apart and reported.
 *   2. The libraries under the parsers of JPEG and JSON run out of memory at every single call: no crash, an error
 *      with words, nothing lost. (libpng takes its memory from us, see test_nomem.c; libzip 1.7 itself frees a wrong
 *      pointer when one of its allocations fails.)
 */
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/image.h"
#include "io/json.h"
#include "train/distiller.h"
#include "train/edm_step.h"
#include "train/optim.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)

/* ---- the heap -------------------------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), __libc_free(void *);

static _Atomic long heap_calls, heap_live;
/* Of those, calls from oneDNN, which makes a small map of the arguments in every run of a primitive, and from OpenMP,
 * which makes a team anew when the number of threads changes from one loop to the next. */
static _Atomic long lib_calls, lib_largest;
static _Atomic long fail_at;      /* 0: never; 1: the next call and all after it fail */
static __thread bool watched;     /* only calls of threads that ask for it may fail */

/* Code of the two, and of the C++ library, through which oneDNN asks for memory. */
static struct { uintptr_t from, to; } lib_code[16];
static int lib_codes;

static int find_libraries(struct dl_phdr_info *info, size_t size, void *user) {
    const char *name = info->dlpi_name;
    if (!strstr(name, "libdnnl") && !strstr(name, "libstdc++") && !strstr(name, "libgomp")) return 0;
    for (int i = 0; i < info->dlpi_phnum && lib_codes < 16; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        lib_code[lib_codes].from = info->dlpi_addr + p->p_vaddr;
        lib_code[lib_codes++].to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    return 0;
}

static bool refused(size_t bytes, void *caller) {
    heap_calls++;
    for (int i = 0; i < lib_codes; i++) {
        if ((uintptr_t)caller < lib_code[i].from || (uintptr_t)caller >= lib_code[i].to) continue;
        lib_calls++;
        if ((long)bytes > lib_largest) lib_largest = (long)bytes;
        break;
    }
    if (!watched || !fail_at) return false;
    if (fail_at == 1) return true;
    fail_at--;
    return false;
}
static void *lent(void *p) {
    if (p) heap_live++;
    return p;
}
#define CALLER __builtin_return_address(0)

void *malloc(size_t n) { return refused(n, CALLER) ? NULL : lent(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return refused(n * size, CALLER) ? NULL : lent(__libc_calloc(n, size)); }
void *memalign(size_t align, size_t n) { return refused(n, CALLER) ? NULL : lent(__libc_memalign(align, n)); }
void *aligned_alloc(size_t align, size_t n) { return refused(n, CALLER) ? NULL : lent(__libc_memalign(align, n)); }
void *realloc(void *p, size_t n) {
    if (refused(n, CALLER)) return NULL;
    void *q = __libc_realloc(p, n);
    if (!p && q) heap_live++;
    if (p && !q && n == 0) heap_live--;
    return q;
}
int posix_memalign(void **out, size_t align, size_t n) {
    void *p = refused(n, CALLER) ? NULL : lent(__libc_memalign(align, n));
    if (p) *out = p;
    return p ? 0 : ENOMEM;
}
void free(void *p) {
    if (p) heap_live--;
    __libc_free(p);
}

/* ---- 1: no heap call per step ---------------------------------------------------------------------------------- */

enum { N = 2, SIDE = 8, EACH = 3 * SIDE * SIDE };
static fd_ctx ctx;

static fd_net *tiny_net(int classes) {
    fd_net_config k;
    fd_net *net;
    fd_net_config_preset(&k, FD_FAMILY_DDPMPP);
    k.resolution = SIDE;
    k.model_channels = 32;
    k.levels = 2;
    k.channel_mult[0] = k.channel_mult[1] = 1;
    k.num_blocks = 1;
    k.nattn = 1;
    k.attn_resolutions[0] = 4;
    k.label_dim = classes;
    k.dropout = 0.1;
    assert_int_equal(fd_net_new(&ctx, &k, &net), FD_OK);
    fd_net_init_random(net, 1);
    return net;
}

static fd_net *tiny_heads(const fd_net *unet) {
    fd_net_config k;
    fd_net *net;
    assert_int_equal(fd_heads_config(&ctx, &unet->config, (int[]){0, 1}, 2, 16, &k), FD_OK);
    assert_int_equal(fd_net_new(&ctx, &k, &net), FD_OK);
    fd_net_init_random(net, 2);
    return net;
}

typedef fd_status (*step)(void *self, int number);

static void no_heap_call(const char *what, step run, void *self) {
    int number = 0;
    for (; number < 3; number++) assert_int_equal(run(self, number), FD_OK);
    long all = heap_calls, theirs = lib_calls;
    uint64_t ours = fd_alloc_calls();
    lib_largest = 0;
    for (; number < 9; number++) assert_int_equal(run(self, number), FD_OK);
    all = heap_calls - all;
    theirs = lib_calls - theirs;
    assert_int_equal(fd_alloc_calls() - ours, 0);
    print_message("%s: 0 heap calls per step, and %ld of the libraries, none above %ld bytes\n", what, theirs / 6,
                  (long)lib_largest);
    if (all != theirs) fail_msg("%s: %ld heap calls in 6 steps that are our own", what, all - theirs);
    assert_true(lib_largest <= 4096);
}

typedef struct { fd_denoiser *d; } denoise_self;

static fd_status denoise_step(void *self, int number) {
    static float x[N * EACH];
    double sigma[N] = {1 + number, 2};
    return fd_denoiser_run(&ctx, ((denoise_self *)self)->d, x, sigma, NULL, NULL, x);
}

static void test_denoiser(void **state) {
    fd_net *net = tiny_net(3);
    for (int dtype = FD_F32; dtype <= FD_BF16; dtype++) {
        denoise_self s;
        assert_int_equal(fd_denoiser_new(&ctx, net, N, &(fd_run_options){.dtype = (fd_dtype)dtype}, &s.d), FD_OK);
        no_heap_call(dtype ? "denoiser bf16" : "denoiser f32", denoise_step, &s);
        fd_denoiser_free(s.d);
    }
    fd_net_free(net);
}

typedef struct { fd_edm_step s; fd_net *net; float *m, *v, *average; } train_self;

static fd_status train_step(void *self, int number) {
    static float images[N * EACH], noise[N * EACH];
    train_self *t = self;
    fd_params *p = &t->net->params;
    double sigma[N] = {0.5, 3}, loss = 0;
    fd_range all = {0, p->trained};
    fd_ema ema = {t->average, 0.99};
    memset(p->g, 0, (size_t)p->trained * sizeof *p->g);
    for (int i = 0; i < N * EACH; i++) images[i] = (float)(i % 7) / 7, noise[i] = (float)(i % 5) - 2;
    FD_TRY(fd_edm_step_run(&ctx, &t->s, images, noise, sigma, NULL, NULL, (uint64_t)number, 0.5, &loss));
    fd_grad_stats g = fd_grad_measure(&all, 1, p->g);
    fd_adamw_step(&(fd_adam){1e-4, 0.9, 0.999, 1e-8, 0}, number + 1, &all, 1, p->w, p->g, t->m, t->v,
                  fd_clip_factor(g.norm, 1), &ema, 1);
    fd_params_touch(p);
    return FD_OK;
}

static void test_training(void **state) {
    for (int dtype = FD_F32; dtype <= FD_BF16; dtype++) {
        train_self t = {.net = tiny_net(3)};
        size_t bytes = (size_t)t.net->params.trained * sizeof(float);
        t.m = fd_alloc(&ctx, bytes);
        t.v = fd_alloc(&ctx, bytes);
        t.average = fd_alloc(&ctx, bytes);
        assert_true(t.m && t.v && t.average);
        fd_edm_step_spec spec = {.n = N, .dtype = (fd_dtype)dtype};
        assert_int_equal(fd_edm_step_open(&ctx, t.net, &spec, &t.s), FD_OK);
        no_heap_call(dtype ? "training bf16" : "training f32", train_step, &t);
        fd_edm_step_close(&t.s);
        fd_free(t.m);
        fd_free(t.v);
        fd_free(t.average);
        fd_net_free(t.net);
    }
}

typedef struct { fd_distiller *d; fd_distill_nets nets; fd_ratio ratio; } distill_self;

static fd_status distill_step(void *self, int number) {
    static float numbers[2 * N * EACH], labels[2 * N * 3];
    double t[2 * N] = {0.5, 3, 1, 10};
    distill_self *s = self;
    fd_student_step student;
    fd_critic_step critic;
    for (int i = 0; i < 2 * N * EACH; i++) numbers[i] = (float)(i % 7) / 3 - 1;
    fd_distill_batch b = {.z = numbers, .eps = numbers, .labels = labels, .t = t, .real = numbers,
                          .eps_real = numbers, .r1_noise = numbers, .t_real = t, .first = (uint64_t)number};
    FD_TRY(fd_distiller_student(&ctx, s->d, &b, &s->ratio, NULL, &student));
    FD_TRY(fd_distiller_critic(&ctx, s->d, &b, &critic));
    fd_params_touch(&s->nets.student->params);
    fd_params_touch(&s->nets.fake->params);
    fd_params_touch(&s->nets.heads->params);
    return FD_OK;
}

static void test_distilling(void **state) {
    distill_self s = {.nets = {.teacher = tiny_net(3), .student = tiny_net(3), .fake = tiny_net(3)}};
    fd_ratio_config config = fd_ratio_defaults();
    fd_distill_method m = fd_distill_method_defaults();
    s.nets.heads = tiny_heads(s.nets.teacher);
    assert_int_equal(fd_ratio_init(&ctx, &config, &s.ratio), FD_OK);
    assert_int_equal(fd_divergence_find(&ctx, "js", &m.divergence), FD_OK);
    m.r1_weight = 1;
    m.taps[1] = 1;
    m.ntaps = 2;
    fd_distiller_spec spec = {.method = &m, .batch = 2 * N, .n = N};
    assert_int_equal(fd_distiller_new(&ctx, &spec, &s.nets, &s.d), FD_OK);
    no_heap_call("distilling", distill_step, &s);
    fd_distiller_free(s.d);
    fd_net_free(s.nets.student);
    fd_net_free(s.nets.fake);
    fd_net_free(s.nets.teacher);
    fd_net_free(s.nets.heads);
}

/* ---- 2: libraries without memory ------------------------------------------------------------------------------- */

static const char json_text[] =
    "{\"labels\": [[\"a\", 1.5], [\"b\\u00e9\", null]], \"x\": {\"y\": [true, -3]}}";

typedef fd_status (*work)(fd_ctx *c);

static void exhaust(const char *name, work w) {
    static fd_ctx c;
    for (int i = 0; i < 2; i++) {
        c = (fd_ctx){.threads = 1, .quiet = true};
        assert_int_equal(w(&c), FD_OK);
    }
    long before = heap_live, calls = heap_calls, failures = 0;
    assert_int_equal(w(&c), FD_OK);
    calls = heap_calls - calls;
    assert_int_equal(heap_live, before);
    for (long n = 1; n <= calls; n++) {
        c = (fd_ctx){.threads = 1, .quiet = true};
        watched = true;
        fail_at = n;
        fd_status s = w(&c);
        watched = false;
        fail_at = 0;
        failures += s != FD_OK;
        if (s != c.code || (s != FD_OK && !c.message[0])) fail_msg("%s, call %ld: a failure without words", name, n);
        if (heap_live != before)
            fail_msg("%s, call %ld of %ld: %ld blocks were lost (%s)", name, n, calls, heap_live - before, c.message);
    }
    print_message("%s: %ld calls, %ld refused ones were failures\n", name, calls, failures);
    assert_true(failures > 0);
}

static fd_status read_json(fd_ctx *c) {
    json_t *v;
    fd_arena a = {0};
    FD_TRY(fd_json_parse(c, (fd_bytes){(const uint8_t *)json_text, strlen(json_text)}, "text", &v));
    fd_status s = fd_json_dump(c, &a, v, 1) ? FD_OK : FD_E_NOMEM;
    json_decref(v);
    fd_arena_free(&a);
    return s;
}

static fd_bytes jpeg;

static fd_status read_jpeg(fd_ctx *c) {
    fd_image image;
    FD_TRY(fd_image_decode(c, jpeg, "picture", &image));
    fd_image_free(&image);
    return FD_OK;
}

static void test_libraries(void **state) {
    exhaust("JSON", read_json);
    assert_int_equal(fd_file_map(&ctx, "tests/fuzz/corpus/image/gray.jpg", &jpeg), FD_OK);
    exhaust("JPEG", read_jpeg);
    fd_file_unmap(&jpeg);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_denoiser), cmocka_unit_test(test_training),
                                       cmocka_unit_test(test_distilling), cmocka_unit_test(test_libraries)};
    dl_iterate_phdr(find_libraries, NULL);
    ctx.threads = 2;
    ctx.quiet = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void) {
    puts("skipped: the heap of this build cannot be replaced (sanitizer, or a C library other than glibc)");
    return 77;
}
#endif
