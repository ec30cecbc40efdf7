/* The procedural set and the decoder that reads it back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"
#include "eval/sprites_judge.h"

enum { N = 4000, R = FD_SPRITE_RESOLUTION, SIZE = 3 * R * R };
static uint8_t images[N][SIZE];
static int32_t labels[N];
static fd_sprite_verdict verdicts[N];

#define near(a, b, tol) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tol))) fail_msg("%s = %.9g, want %.9g", #a, a_, b_); \
    } while (0)

static void draw(uint64_t seed) {
    fd_ctx ctx = {0};
    assert_int_equal(fd_sprites(&ctx, seed, 0, N, R, images[0], labels), FD_OK);
}

static void judge(void) {
    fd_ctx ctx = {0};
    fd_sprites_judge *j;
    assert_int_equal(fd_sprites_judge_open(&ctx, R, &j), FD_OK);
    assert_int_equal(fd_sprites_judge_run(&ctx, j, images[0], N, verdicts), FD_OK);
    fd_sprites_judge_close(j);
}

/* The bytes are a promise: published numbers, shipped networks and other machines rely on them. */
static void same_bytes_everywhere(void **state) {
    draw(1);
    fd_sha256 s;
    char hex[65];
    fd_sha256_init(&s);
    fd_sha256_add(&s, images, sizeof images);
    fd_sha256_hex(&s, hex);
    assert_string_equal(hex, "ba665522f5d55fef48a91bf671d4eb7c7723fa66c61c728165cf8da88800a55a");
}

static void function_of_seed_and_index(void **state) {
    fd_ctx ctx = {0};
    uint8_t some[5][SIZE], one[SIZE];
    draw(7);
    assert_int_equal(fd_sprites(&ctx, 7, 1234, 5, R, some[0], NULL), FD_OK);
    assert_memory_equal(some, images[1234], sizeof some);
    fd_sprite s;
    fd_sprite_attributes(7, 1234, &s);
    assert_int_equal(s.cls, 4);
    fd_sprite_draw(&s, R, one);
    assert_memory_equal(one, images[1234], sizeof one);
    fd_sprite_attributes(8, 1234, &s);
    fd_sprite_draw(&s, R, one);
    assert_memory_not_equal(one, images[1234], sizeof one);
    assert_int_equal(fd_sprites(&ctx, 7, 0, 1, 2, one, NULL), FD_E_ARG);
}

/* Chi-squared of the mode counts over all classes: 31 degrees of freedom, so mean 31 and deviation 7.9. */
static void masses(void **state) {
    double sum = 0, chi = 0;
    int n = 20000, count[FD_SPRITE_MODES] = {0};
    for (int m = 0; m < FD_SPRITE_MODES; m++) sum += fd_sprite_mode_mass(m);
    near(sum, 1, 1e-12);
    near(fd_sprite_mode_mass(0), 0.4 / (1 - pow(0.6, 8)) * 0.49, 1e-12);
    for (int i = 0; i < n; i++) {
        fd_sprite s;
        fd_sprite_attributes(3, (uint64_t)i, &s);
        count[fd_sprite_mode(s.rank, s.light, s.small)]++;
        assert_int_equal(s.hue, (s.rank + 3 * s.cls) % 8);
        assert_true(fabs(s.x) <= 0.1 && fabs(s.y) <= 0.1 && fabs(s.degrees) <= 12);
    }
    for (int m = 0; m < FD_SPRITE_MODES; m++) {
        double want = n * fd_sprite_mode_mass(m);
        chi += (count[m] - want) * (count[m] - want) / want;
    }
    assert_true(chi > 5 && chi < 31 + 5 * 7.9);
}

static void turning_and_scaling(void **state) {
    fd_sprite s = {.cls = 8};
    double a[R * R], b[4 * R * R];
    fd_sprite_coverage(&s, R, a);
    fd_sprite_coverage(&s, 2 * R, b);
    double area = 0, fine = 0;
    for (int i = 0; i < R * R; i++) area += a[i] / (R * R);
    for (int i = 0; i < 4 * R * R; i++) fine += b[i] / (4 * R * R);
    near(area, fine, 0.01);
    /* the star: 10 triangles of sides 1.05 and .5 at 36 degrees, scaled by .86; the square [-1,1]^2 has area 4 */
    near(fine, 10 * 0.5 * 1.05 * 0.5 * sin(M_PI / 5) * 0.86 * 0.86 / 4, 0.01);
    for (int row = 0; row < R; row++)
        for (int col = 0; col < R; col++) near(a[row * R + col], a[row * R + R - 1 - col], 1e-12);
    assert_true(a[2 * R + 8] > a[13 * R + 8]);    /* points up */
}

static void true_images_are_read_right(void **state) {
    fd_ctx ctx = {0};
    draw(11);
    judge();
    int wrong = 0;
    for (int i = 0; i < N; i++) {
        fd_sprite s;
        fd_sprite_attributes(11, (uint64_t)i, &s);
        const fd_sprite_verdict *v = &verdicts[i];
        wrong += v->cls != s.cls || v->hue != s.hue || v->light != s.light || v->small != s.small;
    }
    assert_true(wrong <= N / 1000);
    fd_sprite_report r;
    assert_int_equal(fd_sprites_report(&ctx, verdicts, labels, N, &r), FD_OK);
    print_message("wrong %d, median residual %.4f, KL %.4f, TV %.4f, rare recall %.3f, coverage %.3f\n", wrong,
                  r.all.residual_median, r.all.mode_kl, r.all.mode_tv, r.all.rare_recall, r.all.rare_coverage);
    near(r.all.valid_strict, 1, 0.001);
    near(r.all.valid_loose, 1, 0);
    near(r.all.shape_right, 1, 0.001);
    near(r.all.residual_median, 0.020, 0.003);
    assert_true(r.all.mode_kl < 3 * 31.0 / (2 * N));          /* 31/(2n) is expected of true images */
    assert_true(r.all.class_mode_kl < 3 * 310.0 / (2 * N));
    near(r.of_class[3].class_mode_kl, r.of_class[3].mode_kl, 1e-12);
    near(r.all.rare_coverage, 1, 0.08);
    for (int i = 0; i < FD_SPRITE_HUES; i++)                    /* four deviations of a share near 0.4 */
        near(r.all.hue_rank[i], 0.4 * pow(0.6, i) / (1 - pow(0.6, 8)), 4 * sqrt(0.24 / N));
    near(r.all.light, 0.3, 4 * sqrt(0.21 / N));
    near(r.all.small, 0.3, 4 * sqrt(0.21 / N));
    near(r.all.shift_spread, 1, 4 * sqrt(0.2 / N));             /* a uniform's square has 0.8 of its mean as deviation; of x and y */
    near(r.all.turn_spread, 1, 4 * sqrt(0.2 / N));
    assert_int_equal(r.of_class[3].n, N / 10);
    near(r.of_class[3].valid_loose, 1, 0);
}

/* Broken pictures must be seen as broken, dropped modes as dropped. */
static void faults_are_seen(void **state) {
    fd_ctx ctx = {0};
    fd_sprite_report r;
    draw(11);
    for (int i = 0; i < N; i++) {
        if (i % 4 == 0) labels[i] = (labels[i] + 1) % 10;                         /* wrong class */
        if (i % 4 == 1) memset(images[i], 30, SIZE);                              /* blank */
        if (i % 4 == 2) for (int p = 0; p < SIZE; p++) images[i][p] ^= (uint8_t)((p * 37 + i) & 64);   /* noisy */
    }
    judge();
    assert_int_equal(fd_sprites_report(&ctx, verdicts, labels, N, &r), FD_OK);
    near(r.all.valid_loose, 0.25, 0.01);
    near(r.all.valid_strict, 0.25, 0.01);

    draw(11);
    int n = 0;
    for (int i = 0; i < N; i++) {                                                 /* only the two commonest hues */
        fd_sprite s;
        fd_sprite_attributes(11, (uint64_t)i, &s);
        if (s.rank > 1) continue;
        memmove(images[n], images[i], SIZE);
        labels[n++] = labels[i];
    }
    judge();
    assert_int_equal(fd_sprites_report(&ctx, verdicts, labels, n, &r), FD_OK);
    double kept = 0.4 / (1 - pow(0.6, 8)) * 1.6;
    near(r.all.mode_tv, 1 - kept, 0.03);
    near(r.all.mode_kl, -log(kept), 0.05);
    near(r.all.class_mode_kl, -log(kept), 0.1);
    near(r.all.hue_rank[0] + r.all.hue_rank[1], 1, 1e-9);
    near(r.all.rare_recall, 0, 1e-9);        /* no mode of these two hues is rare */
    near(r.all.valid_loose, 1, 0);
}

/* Sprites all in the middle and upright have no spread. */
static void sameness_is_seen(void **state) {
    fd_ctx ctx = {0};
    fd_sprite_report r;
    draw(11);
    judge();
    int n = 0;
    for (int i = 0; i < N; i++)
        if (verdicts[i].x == 0 && verdicts[i].y == 0 && verdicts[i].degrees == 0) verdicts[n++] = verdicts[i];
    assert_true(n > N / 250);
    assert_int_equal(fd_sprites_report(&ctx, verdicts, NULL, n, &r), FD_OK);
    near(r.all.shift_spread, 0, 0);
    near(r.all.turn_spread, 0, 0);
}

static void other_resolution(void **state) {
    fd_ctx ctx = {0};
    fd_sprites_judge *j;
    static uint8_t big[200][3 * 32 * 32];
    assert_int_equal(fd_sprites(&ctx, 2, 0, 200, 32, big[0], NULL), FD_OK);
    assert_int_equal(fd_sprites_judge_open(&ctx, 32, &j), FD_OK);
    assert_int_equal(fd_sprites_judge_run(&ctx, j, big[0], 200, verdicts), FD_OK);
    fd_sprites_judge_close(j);
    for (int i = 0; i < 200; i++) {
        fd_sprite s;
        fd_sprite_attributes(2, (uint64_t)i, &s);
        assert_true(verdicts[i].cls == s.cls && verdicts[i].hue == s.hue && verdicts[i].small == s.small);
        assert_true(fabs(verdicts[i].x - s.x) < 0.05 && fabs(verdicts[i].y - s.y) < 0.05);
    }
    assert_int_equal(fd_sprites_judge_open(&ctx, 65, &j), FD_E_ARG);
    fd_clear(&ctx);
    int32_t bad = 10;
    fd_sprite_report r;
    assert_int_equal(fd_sprites_report(&ctx, verdicts, &bad, 1, &r), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_sprites_report(&ctx, verdicts, NULL, 0, &r), FD_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_everywhere), cmocka_unit_test(function_of_seed_and_index),
        cmocka_unit_test(masses),
        cmocka_unit_test(turning_and_scaling), cmocka_unit_test(true_images_are_read_right),
        cmocka_unit_test(faults_are_seen), cmocka_unit_test(sameness_is_seen),
        cmocka_unit_test(other_resolution)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
