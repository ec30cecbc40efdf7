/* sprites_judge.h — reads the attributes back from pictures of the sprites set, and scores a generator with them.
 *
 * Decoder: for each of the 16 (background, hue) pairs the coverage of every pixel is solved by projection on the line
 * between the two colours; the pair that leaves the least is taken; then the nearest of 2,100 coverage templates (10
 * shapes x 2 sizes x 5x5 centres x 5 turns, turns left out for disc and ring) names shape, size, centre and turn. The
 * residual is the RMS over all pixels and channels, in [0, 1] units, between the picture and that template in those
 * two colours. On true images all attributes come out right and the median residual is near 0.020 (the grid of
 * templates is coarse); a picture is *valid* if the class is the one asked for and the residual is below 0.10
 * (strict) or 0.15. */
#ifndef FD_EVAL_SPRITES_JUDGE_H
#define FD_EVAL_SPRITES_JUDGE_H

#include "base/arena.h"
#include "io/sprites.h"

#define FD_SPRITE_STRICT 0.10
#define FD_SPRITE_LOOSE 0.15
#define FD_SPRITE_RARE 0.02          /* modes below this share of their class count as rare */

typedef struct fd_sprites_judge fd_sprites_judge;

typedef struct {
    int cls, hue;
    bool light, small;
    float residual;
    float x, y, degrees;             /* of the template: centres on a grid of 0.04, turns of 4.8 degrees */
} fd_sprite_verdict;

typedef struct {
    int64_t n;
    double shape_right;              /* share whose decoded class is the one asked for */
    double valid_strict, valid_loose;
    double residual_median;
    /* Histogram of the 32 modes (rank by the class asked for), all pictures counted, against the known masses. */
    double mode_kl;                  /* sum q ln(q/p), q measured, p known; true images have 31/(2n) on average */
    double mode_tv;                  /* half the sum of |q - p| */
    /* The same for every class by itself, weighed by its pictures: sees a hue that one class has too often and another too
     * seldom. True images have 310/(2n) on average. Of one class: mode_kl. */
    double class_mode_kl;
    /* What the histogram is made of; true images: 0.6^rank, normalised, 0.3 and 0.3. */
    double hue_rank[FD_SPRITE_HUES], light, small;
    /* Root mean square of centres and of turns over that of true images: a student that always draws in the middle has 0. turn_spread
     * is 0 for classes that look alike at any turn. */
    double shift_spread, turn_spread;
    /* Cells (class, mode) of mass below 0.02 that at least one valid (loose) picture fell into. */
    double rare_recall;              /* share of those cells reached; depends on n                          */
    double rare_coverage;            /* cells reached over cells that n true pictures would reach on average */
} fd_sprite_score;

typedef struct { fd_sprite_score all, of_class[FD_SPRITE_CLASSES]; } fd_sprite_report;

/* Templates for res x res pictures (4 … 64, ARG otherwise); about res*res*8.4 kB. Owner: the caller, until _close. */
fd_status fd_sprites_judge_open(fd_ctx *ctx, int res, fd_sprites_judge **out);
void fd_sprites_judge_close(fd_sprites_judge *j);
/* images uint8 [n][3][res][res]; verdicts [n]. 10,000 pictures of 16x16 take well under a second. */
fd_status fd_sprites_judge_run(fd_ctx *ctx, const fd_sprites_judge *j, const uint8_t *images, int64_t n,
                               fd_sprite_verdict *verdicts);
/* labels [n]: the classes asked for, 0 … 9 (ARG otherwise); NULL takes every decoded class as meant. n >= 1. */
fd_status fd_sprites_report(fd_ctx *ctx, const fd_sprite_verdict *verdicts, const int32_t *labels, int64_t n,
                            fd_sprite_report *out);

#endif
