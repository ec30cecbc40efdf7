/* inception_input.h — uint8 pictures of any size to the input of Inception, 299 x 299, by one of three rules.
 *
 *   FD_RESIZE_TF1    as TensorFlow 1 resizes, and EDM, StyleGAN, torch-fidelity, ADM's evaluator and clean-fid's legacy
 *                    mode measure: on pixels 0 … 255, coordinates c = i * (in / 299) in float32, without half pixels and
 *                    corner alignment, rows mixed first along x, then along y, a + (b - a) d; then (v - 128) / 128
 *   FD_RESIZE_TORCH  as pytorch-fid: v / 255, coordinates max((i + 1/2) in / 299 - 1/2, 0), a (1 - d) + b d; then 2 v - 1
 *
 *   FD_RESIZE_CLEAN  as clean-fid: Pillow's bicubic on float pixels 0 … 255 (io/window.h), along x, then along y, clamped to
 *                    0 … 255, not rounded; then (v - 128) / 128
 *
 * The first two do not filter before they shrink. A gray picture is repeated to three channels.
 */
#ifndef FD_EVAL_INCEPTION_INPUT_H
#define FD_EVAL_INCEPTION_INPUT_H

#include "base/arena.h"

typedef enum { FD_RESIZE_TF1, FD_RESIZE_TORCH, FD_RESIZE_CLEAN, FD_RESIZE_RULES } fd_resize_rule;
/* For option lists: "tf", "torch", "clean". */
extern const char *const fd_resize_rule_names[FD_RESIZE_RULES + 1];
/* A sentence for provenance, compared as text when two sets meet. */
const char *fd_resize_rule_words(fd_resize_rule r);

typedef struct fd_resizer fd_resizer;
/* For pictures [c][h][w], c 1 or 3 (ARG otherwise). Owner: the caller, until _free. */
fd_status fd_resizer_new(fd_ctx *ctx, fd_resize_rule rule, int c, int h, int w, fd_resizer **out);
void fd_resizer_free(fd_resizer *r);                         /* NULL is allowed */
/* n pictures to out [n][3][299][299]; the same bits on every machine, in any batch and for any number of threads. */
void fd_resizer_run(const fd_resizer *r, const uint8_t *images, int n, float *out);

#endif
