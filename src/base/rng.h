/* rng.h — counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011).
 *
 * A number depends on (seed, purpose, index, draw) and on nothing else: not on the batch it is in, the thread that
 * makes it or how many were made before. So a seed is one image for any batch size, and a resumed run draws what the
 * uninterrupted one would have drawn.
 *
 *   key     = (seed low word, seed high word XOR purpose)
 *   counter = (draw low word, draw high word, index low word, index high word), four 32-bit words per draw block
 */
#ifndef FD_BASE_RNG_H
#define FD_BASE_RNG_H

#include <stdint.h>
#include <stddef.h>

/* What a stream is for. Values are part of the file formats (they decide the pictures): never renumber. */
typedef enum {
    FD_RNG_LATENT = 1,       /* initial noise of a generated image; index = seed of the image */
    FD_RNG_CHURN = 2,        /* fresh noise of sampler step `draw`                            */
    FD_RNG_CLASS = 3,        /* class of a generated image when none was asked for            */
    FD_RNG_INIT = 4,         /* weight initialisation; index = hash of the tensor name        */
    FD_RNG_SHUFFLE = 5,      /* order of the data set; index = epoch                          */
    FD_RNG_SIGMA = 6,        /* noise level of a training sample; index = image counter       */
    FD_RNG_NOISE = 7,        /* noise of a training sample                                    */
    FD_RNG_AUGMENT = 8,      /* which augmentations a training sample gets, and angles        */
    FD_RNG_LABEL_DROP = 9,
    FD_RNG_DROPOUT = 10,
    FD_RNG_FLIP = 11,
    FD_RNG_DISTILL_Z = 12,   /* student's input noise                                         */
    FD_RNG_DISTILL_T = 13,   /* t of generated images                                         */
    FD_RNG_DISTILL_EPS = 14,
    FD_RNG_DISTILL_T_REAL = 15,
    FD_RNG_DISTILL_EPS_REAL = 16,
    FD_RNG_DISTILL_R1 = 17,
    FD_RNG_SUBSET = 18,
    FD_RNG_AUGMENT_SIZE = 19,    /* normals of the augmentations: how far                     */
    FD_RNG_TEST = 99
} fd_rng_purpose;

typedef struct { uint64_t seed; uint32_t purpose; uint64_t index; } fd_rng;

/* Block `draw` of the stream: four uniform 32-bit words. */
void fd_rng_words(const fd_rng *r, uint64_t draw, uint32_t out[4]);
/* Uniform in (0, 1), an odd multiple of 2^-53, from words 0 and 1 of block `draw`. */
double fd_rng_uniform(const fd_rng *r, uint64_t draw);
/* Uniform integer in [0, n), n >= 1, exactly unbiased to 2^-64. */
uint64_t fd_rng_below(const fd_rng *r, uint64_t draw, uint64_t n);
/* Standard normal number `draw`: inverse CDF of the uniform made from words 0, 1 (even draw) or 2, 3 (odd draw) of
 * block draw/2. So one stream (seed, purpose, index) should give either normals or uniforms, not both. A rational
 * approximation evaluated with explicit operations only (+ - * / sqrt and an own log): every machine and the GPU give
 * the same bits. |z| < 8.3. Source: Wichura, AS 241 (1988), relative error below 1e-15. */
double fd_rng_normal(const fd_rng *r, uint64_t draw);
/* n normals, draws first … first+n-1, as float. Same numbers as fd_rng_normal rounded to float. Uses OpenMP when n is
 * large; the result does not depend on the number of threads. */
void fd_rng_normals(const fd_rng *r, uint64_t first, size_t n, float *out);
/* 64-bit FNV-1a of a text: turns a tensor name into a stream index. */
uint64_t fd_hash_text(const char *s);

#endif
