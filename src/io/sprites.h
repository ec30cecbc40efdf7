/* sprites.h — a procedural set of small RGB pictures with known attributes; every image is a function of (seed,
 * index).
 *
 *   u(j)    = top 24 bits of finalise(splitmix64(seed) + (16 index + j + 1) * 0x9E3779B97F4A7C15) / 2^24
 *   class   = index mod 10: disc ring square diamond triangle cross ex heart star crescent
 *   rank    from u(0), 0 … 7 with probability ~ 0.6^rank;  hue = (rank + 3 class) mod 8, so each class has its own
 *           common and rare hues
 *   light   background when u(1) >= 0.7;  small (0.56, else 0.86) when u(2) >= 0.7
 *   centre  jitter +-0.10 in x (u 3) and y (u 4), half an image being 1;  rotation +-12 degrees (u 5)
 *
 * So every class has 32 modes (8 ranks x 2 backgrounds x 2 sizes) whose masses are known and unequal: that is what
 * shows whether a generator drops modes. Only + - * / sqrt and floor are used (the sine is a polynomial) and fused
 * multiply-add is switched off for this file, so that all machines draw the same bytes. */
#ifndef FD_IO_SPRITES_H
#define FD_IO_SPRITES_H

#include <stdint.h>

#include "base/err.h"

#define FD_SPRITE_CLASSES 10
#define FD_SPRITE_HUES 8
#define FD_SPRITE_MODES 32          /* per class: mode = rank * 4 + light * 2 + small */
#define FD_SPRITE_RESOLUTION 16     /* of the standard set */
#define FD_SPRITE_JITTER 0.10
#define FD_SPRITE_TURN 12.0         /* degrees */

typedef struct {
    int cls, rank, hue;
    bool light, small;
    double x, y;                    /* centre; the image spans [-1, 1], y points down */
    double degrees;                 /* turned clockwise as seen */
} fd_sprite;

extern const char *const fd_sprite_class_names[FD_SPRITE_CLASSES];
extern const char *const fd_sprite_hue_names[FD_SPRITE_HUES];
extern const double fd_sprite_colours[FD_SPRITE_HUES][3];      /* RGB in [0, 1] */
extern const double fd_sprite_backgrounds[2][3];               /* dark, light   */

void fd_sprite_attributes(uint64_t seed, uint64_t index, fd_sprite *out);
static inline double fd_sprite_size(bool small) { return small ? 0.56 : 0.86; }
static inline int fd_sprite_mode(int rank, bool light, bool small) { return rank * 4 + light * 2 + small; }
/* Known share of a mode within its class, 0 <= mode < FD_SPRITE_MODES. */
double fd_sprite_mode_mass(int mode);

/* Share of the shape in every pixel, [res][res] in [0, 1]. Colours and rank of s are not looked at. */
void fd_sprite_coverage(const fd_sprite *s, int res, double *out);
/* uint8 [3][res][res], red first: floor(255 v + 0.5), v = background + coverage (hue - background). */
void fd_sprite_draw(const fd_sprite *s, int res, uint8_t *out);
/* Images first … first+n-1: images [n][3][res][res], labels [n] or NULL. 4 <= res <= 1024, else ARG. */
fd_status fd_sprites(fd_ctx *ctx, uint64_t seed, uint64_t first, int64_t n, int res, uint8_t *images,
                     int32_t *labels);

#endif
