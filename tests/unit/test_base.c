#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/sha256_blocks.h"

static void first_failure_wins(void **state) {
    fd_ctx ctx = {0};
    assert_int_equal(FD_FAIL(&ctx, FD_E_IO, "a.bin: byte %d\n", 7), FD_E_IO);
    assert_int_equal(FD_FAIL(&ctx, FD_E_ARG, "later"), FD_E_ARG);
    assert_int_equal(ctx.code, FD_E_IO);
    assert_string_equal(ctx.message, "a.bin: byte 7?");
    assert_int_equal(fd_while(&ctx, "reading %s", "net"), FD_E_IO);
    assert_string_equal(ctx.message, "reading net: a.bin: byte 7?");
    char big[3000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    fd_while(&ctx, "%s", big);
    assert_true(strlen(ctx.message) < FD_MESSAGE_MAX);
    fd_clear(&ctx);
    assert_int_equal(ctx.code, FD_OK);
    FD_FAIL(&ctx, FD_E_FORMAT, "%s", big);
    assert_int_equal(strlen(ctx.message), FD_MESSAGE_MAX - 1);
    fd_while(&ctx, "again");
    assert_int_equal(strlen(ctx.message), FD_MESSAGE_MAX - 1);
    assert_string_equal(fd_status_name(FD_E_FORMAT), "format");
}

static void alloc_is_aligned_zeroed_and_can_fail(void **state) {
    fd_ctx ctx = {0};
    size_t sizes[] = {0, 1, 63, 64, 65, 5 << 20};
    uint64_t before = fd_alloc_calls();
    for (size_t i = 0; i < FD_COUNT(sizes); i++) {
        unsigned char *p = fd_alloc(&ctx, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % FD_ALIGN, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(p[k], 0);
        memset(p, 0xff, sizes[i]);
        fd_free(p);
    }
    assert_int_equal(fd_alloc_calls() - before, FD_COUNT(sizes));
    fd_free(NULL);
    assert_null(fd_alloc(&ctx, SIZE_MAX));
    assert_int_equal(ctx.code, FD_E_NOMEM);
    fd_clear(&ctx);
    fd_alloc_fail_at(2);
    void *p = fd_alloc(&ctx, 8);
    assert_non_null(p);
    assert_null(fd_alloc(&ctx, 8));
    void *q = fd_alloc(&ctx, 8);
    assert_non_null(q);
    fd_free(p);
    fd_free(q);
}

static void arena_grows_and_frees(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    char *all[500];
    for (int i = 0; i < 500; i++) {
        size_t n = (size_t)(i * i) % 7000 + (i == 250 ? 9u << 20 : 0);
        all[i] = fd_arena_alloc(&ctx, &a, n);
        assert_non_null(all[i]);
        assert_int_equal((uintptr_t)all[i] % FD_ALIGN, 0);
        for (size_t k = 0; k < n; k++) assert_int_equal(all[i][k], 0);
        memset(all[i], i, n);
    }
    for (int i = 1; i < 500; i++)
        if (i * i % 7000) assert_int_equal((unsigned char)all[i][0], i & 255);
    assert_string_equal(fd_arena_printf(&ctx, &a, "%d-%s", 5, "x"), "5-x");
    assert_string_equal(fd_arena_strdup(&ctx, &a, "text"), "text");
    assert_null(fd_arena_alloc(&ctx, &a, fd_mul_size(SIZE_MAX / 2, 3)));
    assert_int_equal(ctx.code, FD_E_NOMEM);
    fd_arena_free(&a);
    assert_null(a.top);
}

/* Known answers of the Random123 distribution, philox4x32 with 10 rounds. */
static void philox_known_answers(void **state) {
    static const struct { uint32_t c[4], k[2], want[4]; } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (size_t i = 0; i < FD_COUNT(kat); i++) {
        fd_rng r = {.seed = (uint64_t)kat[i].k[1] << 32 | kat[i].k[0],
                    .index = (uint64_t)kat[i].c[3] << 32 | kat[i].c[2]};
        uint32_t w[4];
        fd_rng_words(&r, (uint64_t)kat[i].c[1] << 32 | kat[i].c[0], w);
        assert_memory_equal(w, kat[i].want, sizeof w);
    }
}

static void uniform_and_below(void **state) {
    fd_rng r = {.seed = 42, .purpose = FD_RNG_TEST, .index = 7};
    double sum = 0, sum2 = 0;
    int n = 200000, hits[7] = {0};
    for (int i = 0; i < n; i++) {
        double u = fd_rng_uniform(&r, (uint64_t)i);
        assert_true(u > 0 && u < 1 && u + u != u && fmod(u * 0x1p53, 2) == 1);
        sum += u;
        sum2 += u * u;
        hits[fd_rng_below(&r, (uint64_t)i, 7)]++;
    }
    assert_true(fabs(sum / n - 0.5) < 4 * 0.2887 / sqrt(n));
    assert_true(fabs(sum2 / n - 1.0 / 3) < 4 * 0.2981 / sqrt(n));
    for (int k = 0; k < 7; k++) assert_true(abs(hits[k] - n / 7) < 4 * sqrt(n / 7.0));
    assert_int_equal(fd_rng_below(&r, 0, 1), 0);
}

/* The normal must be the inverse of the CDF: Phi(z(u)) = u, with Phi from the C library's erfc. */
static void normal_inverts_the_cdf(void **state) {
    double worst = 0;
    for (uint64_t index = 0; index < 200000; index++) {
        fd_rng r = {.seed = 5, .purpose = FD_RNG_TEST, .index = index};
        double u = fd_rng_uniform(&r, 0), z = fd_rng_normal(&r, 0);
        double p = u < 0.5 ? u : 1 - u, back = 0.5 * erfc(fabs(z) / sqrt(2.0));
        assert_true((z < 0) == (u < 0.5));
        worst = fmax(worst, fabs(back / p - 1));
    }
    assert_true(worst < 2e-14);
    /* Fixed values: a change of any bit here changes every picture. */
    fd_rng r = {.seed = 0, .purpose = FD_RNG_LATENT, .index = 0};
    float z[4];
    fd_rng_normals(&r, 0, 4, z);
    static const float want[4] = {0x1.327634p+1f, -0x1.acbebap-1f, 0x1.affa52p-1f, 0x1.50e7f2p-1f};
    assert_memory_equal(z, want, sizeof z);
}

static void normals_do_not_depend_on_how_they_are_asked_for(void **state) {
    fd_rng r = {.seed = 0x123456789abcdef0u, .purpose = FD_RNG_NOISE, .index = 3};
    enum { N = 40001 };
    float *all = malloc(N * sizeof *all);
    fd_rng_normals(&r, 5, N, all);
    double m[5] = {0};
    for (int i = 0; i < N; i++) {
        assert_true(all[i] == (float)fd_rng_normal(&r, 5 + (uint64_t)i));
        double z = all[i];
        m[1] += z / N, m[2] += z * z / N, m[3] += z * z * z / N, m[4] += z * z * z * z / N;
    }
    assert_true(fabs(m[1]) < 4 / sqrt(N) && fabs(m[2] - 1) < 4 * sqrt(2.0 / N));
    assert_true(fabs(m[3]) < 4 * sqrt(15.0 / N) && fabs(m[4] - 3) < 4 * sqrt(96.0 / N));
    float part[700];
    fd_rng_normals(&r, 5 + 1234, 700, part);
    assert_memory_equal(part, all + 1234, sizeof part);
    fd_rng_normals(&r, 5, 0, part);
    free(all);
}

static void hash_text_known_answers(void **state) {
    assert_true(fd_hash_text("") == 0xcbf29ce484222325u);
    assert_true(fd_hash_text("a") == 0xaf63dc4c8601ec8cu);
    assert_true(fd_hash_text("foobar") == 0x85944171f73967e8u);
}

static void sha256_known_answers(void **state) {
    static const struct { const char *text, *hex; } kat[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    char hex[65];
    for (size_t i = 0; i < FD_COUNT(kat); i++) {
        fd_sha256 s;
        fd_sha256_init(&s);
        fd_sha256_add(&s, kat[i].text, strlen(kat[i].text));
        fd_sha256_hex(&s, hex);
        assert_string_equal(hex, kat[i].hex);
    }
    fd_sha256 s;                            /* one million 'a' in pieces of odd sizes */
    fd_sha256_init(&s);
    char a[997];
    memset(a, 'a', sizeof a);
    for (size_t done = 0, n = 1; done < 1000000; done += n, n = n % 990 + 7) {
        if (n > 1000000 - done) n = 1000000 - done;
        fd_sha256_add(&s, a, n);
    }
    fd_sha256_hex(&s, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The known answers above went through one of the two. */
static void sha256_paths_agree(void **state) {
    if (!fd_sha256_x86_usable()) {
        print_message("this processor has no SHA instructions\n");
        skip();
    }
    uint8_t data[64 * 9 + 1];
    fd_rng r = {7, 0, 0};
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(fd_rng_uniform(&r, i) * 256);
    for (size_t blocks = 0; blocks <= 9; blocks++) {
        uint32_t plain[8] = {1, 2, 3, 4, 5, 0x80000000u, 7, 0xffffffffu}, fast[8];
        memcpy(fast, plain, sizeof fast);
        fd_sha256_blocks_plain(plain, data + 1, blocks);
        fd_sha256_blocks_x86(fast, data + 1, blocks);
        assert_memory_equal(plain, fast, sizeof plain);
    }
}

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void files_are_whole_or_absent(void **state) {
    fd_ctx ctx = {0};
    assert_int_equal(fd_make_folder(&ctx, in_folder("a/b/c/")), FD_OK);
    assert_int_equal(fd_make_folder(&ctx, in_folder("a/b/c")), FD_OK);
    assert_true(fd_is_folder(in_folder("a/b/c")));
    const char *path = in_folder("a/b/c/x.bin");
    fd_outfile o;
    assert_int_equal(fd_outfile_open(&ctx, path, &o), FD_OK);
    assert_int_equal(fd_outfile_write(&ctx, &o, "hello", 5), FD_OK);
    assert_false(fd_file_exists(path));
    char tmp[4200];
    strcpy(tmp, o.tmp);
    assert_true(fd_file_exists(tmp));
    assert_int_equal(fd_outfile_commit(&ctx, &o), FD_OK);
    assert_false(fd_file_exists(tmp));
    fd_outfile_abandon(&o);
    fd_bytes b;
    assert_int_equal(fd_file_map(&ctx, path, &b), FD_OK);
    assert_int_equal(b.size, 5);
    assert_memory_equal(b.data, "hello", 5);
    fd_file_unmap(&b);
    assert_int_equal(fd_outfile_open(&ctx, path, &o), FD_OK);      /* abandoned: the old file stays */
    fd_outfile_write(&ctx, &o, "other", 5);
    fd_outfile_abandon(&o);
    assert_false(fd_file_exists(tmp));
    assert_int_equal(fd_file_write(&ctx, in_folder("empty"), "", 0), FD_OK);
    assert_int_equal(fd_file_map(&ctx, in_folder("empty"), &b), FD_OK);
    assert_int_equal(b.size, 0);
    assert_non_null(b.data);
    fd_file_unmap(&b);
}

static void file_errors_name_the_path(void **state) {
    fd_ctx ctx = {0};
    fd_bytes b;
    assert_int_equal(fd_file_map(&ctx, in_folder("none"), &b), FD_E_IO);
    assert_non_null(strstr(ctx.message, "none: cannot open: No such file"));
    fd_file_unmap(&b);
    fd_clear(&ctx);
    assert_int_equal(fd_file_map(&ctx, folder, &b), FD_E_IO);
    assert_non_null(strstr(ctx.message, "is a folder"));
    fd_clear(&ctx);
    fd_outfile o;
    assert_int_equal(fd_outfile_open(&ctx, in_folder("no/such/x"), &o), FD_E_IO);
    assert_non_null(strstr(ctx.message, "no/such/x: cannot create"));
    fd_clear(&ctx);
    assert_int_equal(fd_file_write(&ctx, folder, "x", 1), FD_E_IO);
    fd_clear(&ctx);
    assert_int_equal(fd_file_write(&ctx, in_folder("plain"), "x", 1), FD_OK);
    assert_int_equal(fd_make_folder(&ctx, in_folder("plain/sub")), FD_E_IO);
    assert_non_null(strstr(ctx.message, "in the way"));
    fd_clear(&ctx);
    assert_int_equal(fd_make_folder(&ctx, ""), FD_E_ARG);
    fd_clear(&ctx);
    fd_outfile full = {.f = fopen("/dev/full", "wb"), .path = "/dev/full"};      /* every write fails with ENOSPC */
    assert_non_null(full.f);
    char zeros[65536] = {0};
    fd_status s = fd_outfile_write(&ctx, &full, zeros, sizeof zeros);
    if (s == FD_OK) s = fd_outfile_commit(&ctx, &full);
    assert_int_equal(s, FD_E_IO);
    assert_non_null(strstr(ctx.message, "/dev/full: cannot write: No space left"));
    fd_outfile_abandon(&full);
}

static void signals_are_remembered(void **state) {
    fd_interrupt_install();
    assert_false(fd_interrupted());
    raise(SIGTERM);
    assert_true(fd_interrupted());
    assert_string_equal(fd_interrupt_name(), "SIGTERM");
    fd_interrupt_clear();
    assert_false(fd_interrupted());
    assert_string_equal(fd_interrupt_name(), "");
}

static void durations_and_progress(void **state) {
    char t[32];
    static const struct { double s; const char *want; } cases[] = {
        {0, "0s"}, {59.4, "59s"}, {59.6, "1m 00s"}, {3723, "1h 02m 03s"}, {90061, "1d 01h 01m"},
        {NAN, "0s"}, {-1, "0s"}};
    for (size_t i = 0; i < FD_COUNT(cases); i++) {
        fd_format_duration(cases[i].s, t);
        assert_string_equal(t, cases[i].want);
    }
    fd_format_duration(INFINITY, t);
    assert_true(fd_peak_rss_gb() > 0);
    double a = fd_now();
    assert_true(fd_now() >= a);
    fd_ctx ctx = {.quiet = true};
    fd_progress p;
    fd_progress_start(&ctx, &p, "working", "things", 10);
    fd_progress_update(&p, 10, "note");
    fd_progress_end(&p);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/fd-test-base-%ld", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_wins), cmocka_unit_test(alloc_is_aligned_zeroed_and_can_fail),
        cmocka_unit_test(arena_grows_and_frees), cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(uniform_and_below), cmocka_unit_test(normal_inverts_the_cdf),
        cmocka_unit_test(normals_do_not_depend_on_how_they_are_asked_for), cmocka_unit_test(hash_text_known_answers),
        cmocka_unit_test(sha256_known_answers), cmocka_unit_test(sha256_paths_agree), cmocka_unit_test(files_are_whole_or_absent),
        cmocka_unit_test(file_errors_name_the_path), cmocka_unit_test(signals_are_remembered),
        cmocka_unit_test(durations_and_progress),
    };
    fd_ctx ctx = {0};
    if (fd_make_folder(&ctx, folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command)) return 1;
    return failed;
}
