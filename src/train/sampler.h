/* sampler.h — from noise to images: one step for students; for teachers Heun or Euler (Karras et al. 2022, algorithms 1 and 2) or
 * DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). */
#ifndef FD_TRAIN_SAMPLER_H
#define FD_TRAIN_SAMPLER_H

#include "models/net.h"

/* Evaluations of the network in N steps: 2N-1, N, N. In the order of the program's words and of fdistill_solver. */
typedef enum fd_solver { FD_HEUN, FD_EULER, FD_DPMPP_2M, FD_SOLVERS } fd_solver;

typedef struct fd_sampler {
    int steps;                    /* 1 = one denoising at sigma_max; 18                                            */
    double sigma_min, sigma_max, rho;           /* 0.002, 80, 7                                                    */
    fd_solver solver;             /* FD_HEUN                                                                       */
    double s_churn, s_min, s_max, s_noise;      /* 0, 0, infinity, 1; no churn with FD_DPMPP_2M                    */
} fd_sampler;

fd_sampler fd_sampler_defaults(void);
/* What a network asks for in its metadata, defaults for the rest: one step from sigma_init for students, Heun for
 * teachers. steps 0: its own number. */
fd_sampler fd_sampler_for(const fd_net *net, int steps);
bool fd_is_student(const fd_net *net);
fd_status fd_sampler_check(fd_ctx *ctx, const fd_sampler *s);      /* ARG and the option's name for what makes no sense */
int fd_sampler_evaluations(const fd_sampler *s);      /* of the network, per image */

/* Images from given noise. latents [n,C,R,R] standard normals; labels [n,label_dim] or NULL; noises: [steps][n,C,R,R]
 * standard normals for the churn, or NULL when s_churn is 0. State is double; x (out) [n,C,R,R] double.
 * n must be the denoiser's batch. trajectory (may be NULL): [steps+1][n,C,R,R], state before step 0 and after each. */
fd_status fd_sample(fd_ctx *ctx, const fd_sampler *s, fd_denoiser *d, const float *latents, const float *labels,
                    const float *noises, double *x, double *trajectory);

/* Images from seeds: each seed is one image, whatever the batch. Classes: labels[i] in [0,label_dim), or -1 = drawn
 * from the seed; ignored by unconditional networks. Fills uint8 [n][C][R][R] and the classes used. Any n; runs in
 * batches of the denoiser's size. `done` (may be NULL) is called after each batch and may return false to stop. */
typedef bool (*fd_sample_progress)(void *user, int64_t images_done);
fd_status fd_sample_seeds(fd_ctx *ctx, const fd_sampler *s, fd_denoiser *d, const uint64_t *seeds, const int *classes,
                          int64_t n, uint8_t *images, int *classes_used, fd_sample_progress done, void *user);

/* clip(x * 127.5 + 128) as EDM writes images. */
void fd_to_uint8(const double *x, int64_t n, uint8_t *out);

#endif
