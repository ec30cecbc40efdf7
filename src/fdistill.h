/* fdistill.h — the public C API of fdistill: load a network, make images in the caller's memory, distil a teacher.
 *
 *     fdistill_context *ctx = fdistill_context_new();
 *     fdistill_net *net;
 *     uint64_t seeds[4] = {0, 1, 2, 3};
 *     uint8_t images[4 * 3 * 32 * 32];
 *     if (fdistill_net_load(ctx, "student.safetensors", &net) != FDISTILL_OK ||
 *         fdistill_generate(ctx, net, seeds, NULL, 4, NULL, images, sizeof images, NULL) != FDISTILL_OK)
 *         fprintf(stderr, "%s\n", fdistill_message(ctx));
 *     fdistill_net_free(net);
 *     fdistill_context_free(ctx);
 *
 * Errors     Functions that can fail return a status; the context keeps one line of text that says what, where and
 *            what to do. Nothing is printed, nothing ends the process.
 * Ownership  What a function creates in *out belongs to the caller, who gives it to the _free function of its type.
 *            Arguments are borrowed during the call. Nothing returned must be given to free(); texts live as long as
 *            the object they come from, the context's message until the next call with that context.
 * Threads    A context and a network serve one thread at a time. Threads that work at the same time use a context and
 *            a network each; loading a file twice is fine. The computation itself uses several threads (OpenMP).
 * Versions   Structures begin with their size, set by the _init functions, and only ever grow at the end; so programs
 *            built with an older header go on working with a newer library.
 */
#ifndef FDISTILL_H
#define FDISTILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FDISTILL_API __attribute__((visibility("default")))

typedef enum fdistill_status {
    FDISTILL_OK = 0,
    FDISTILL_E_ARG = 1,           /* an argument or option is wrong                            */
    FDISTILL_E_SHAPE = 2,         /* a tensor has another shape than the network wants         */
    FDISTILL_E_FORMAT = 3,        /* a file's contents are not what they should be             */
    FDISTILL_E_IO = 4,            /* the operating system refused: open, read, write           */
    FDISTILL_E_NOMEM = 5,         /* memory                                                    */
    FDISTILL_E_UNSUPPORTED = 6,   /* valid, but this build or machine cannot                   */
    FDISTILL_E_NUMERIC = 7,       /* NaN or infinity where finite numbers are needed           */
    FDISTILL_E_DEVICE = 8,        /* a compute library reported an error                       */
    FDISTILL_E_CANCELLED = 9      /* a callback asked to stop                                  */
} fdistill_status;

/* "0.1.0" */
FDISTILL_API const char *fdistill_version(void);
/* "format", "io", … */
FDISTILL_API const char *fdistill_status_name(fdistill_status status);

/* ---- context --------------------------------------------------------------------------------------------------- */

/* The message of the last failure, and the number of threads. */
typedef struct fdistill_context fdistill_context;

/* NULL when out of memory. */
FDISTILL_API fdistill_context *fdistill_context_new(void);
FDISTILL_API void fdistill_context_free(fdistill_context *ctx);      /* NULL is allowed */
/* Compute threads of the calls that follow; 0, the start value: one per available core. The images do not depend on
 * it. */
FDISTILL_API void fdistill_context_threads(fdistill_context *ctx, int threads);
/* One line, no newline; "" if the last call with this context succeeded. */
FDISTILL_API const char *fdistill_message(const fdistill_context *ctx);

/* ---- networks -------------------------------------------------------------------------------------------------- */

typedef struct fdistill_net fdistill_net;

/* A student or teacher from a self-describing .safetensors file, as `fdistill train`, `distill` and `import` write
 * them, or from other programs' weights that `fdistill import` understands; nothing in a file is executed. Every
 * name, shape and value in the file is checked: IO, FORMAT, UNSUPPORTED, SHAPE, NUMERIC, NOMEM; ARG for a network that
 * makes no images. On failure *out is NULL. */
FDISTILL_API fdistill_status fdistill_net_load(fdistill_context *ctx, const char *path, fdistill_net **out);
FDISTILL_API void fdistill_net_free(fdistill_net *net);              /* NULL is allowed */

typedef struct fdistill_net_info {
    size_t size;                  /* of this structure, as the caller knows it                                      */
    int32_t resolution;           /* height and width of the images, pixels                                         */
    int32_t channels;             /* 1 or 3                                                                         */
    int32_t classes;              /* 0: unconditional                                                               */
    int32_t steps;                /* sampling steps when the caller names none: 1 for students                      */
    bool one_step;                /* a student: made to give an image in one step                                   */
    double sigma_min, sigma_max;  /* noise levels it samples between, in image units (data in [-1,1])               */
    double rho;                   /* exponent of the levels in between                                              */
    int64_t parameters;
    const char *family;           /* "ddpmpp", "ncsnpp", "adm"                                                      */
    const char *kind;             /* "student", "teacher" or ""                                                     */
    const char *digest;           /* 64 hex digits: identifies the weights, whatever file they came from            */
} fdistill_net_info;

/* Fills *info; size is sizeof *info. Texts belong to the network. ARG for a size no version of this structure has. */
FDISTILL_API fdistill_status fdistill_net_describe(fdistill_context *ctx, const fdistill_net *net,
                                                   fdistill_net_info *info, size_t size);

/* ---- images ---------------------------------------------------------------------------------------------------- */

typedef enum fdistill_solver { FDISTILL_HEUN = 0, FDISTILL_EULER = 1, FDISTILL_DPMPP_2M = 2 } fdistill_solver;
typedef enum fdistill_precision { FDISTILL_FP32 = 0, FDISTILL_BF16 = 1 } fdistill_precision;
typedef enum fdistill_layout { FDISTILL_NCHW = 0, FDISTILL_NHWC = 1 } fdistill_layout;

/* Called from the thread that called the library, after each batch of images or each iteration. Returns true to go
 * on, false to stop: the running call then ends with FDISTILL_E_CANCELLED. It must not use the context and network of
 * that call. */
typedef bool (*fdistill_progress)(void *user, int64_t done, int64_t total);

typedef struct fdistill_generate_options {
    size_t size;                  /* of this structure, set by _init                                                */
    int32_t steps;                /* 0: the network's own; N Heun steps cost 2 N - 1 evaluations, others N          */
    fdistill_solver solver;
    double sigma_min, sigma_max;  /* noise levels, image units; 0: the network's own                                */
    double rho;                   /* 0: the network's own                                                           */
    double s_churn, s_min, s_max, s_noise;   /* stochasticity (Karras et al. 2022, algorithm 2): 0, 0, inf, 1         */
    int32_t batch;                /* images per pass; 0: 64. Changes memory and speed, never the images             */
    fdistill_precision precision;
    fdistill_layout layout;       /* order of a picture's bytes                                                     */
    fdistill_progress progress;   /* NULL: none; counts images                                                      */
    void *user;                   /* handed to progress                                                             */
} fdistill_generate_options;

/* Fills *o with the defaults; size is sizeof *o. */
FDISTILL_API void fdistill_generate_options_init(fdistill_generate_options *o, size_t size);

/* Makes n images, one per seed: the same bits as `fdistill generate` for the same seed, class and sampler, whatever
 * n, batch and threads.
 *   seeds         [n]
 *   classes       [n], each 0 … classes-1 or -1 = drawn from the seed; NULL: all drawn. Unconditional networks take
 *                 NULL or -1
 *   o             NULL: the defaults
 *   images        uint8 [n][C][R][R] or, FDISTILL_NHWC, [n][R][R][C]; image_bytes is the size of this memory
 *   classes_used  [n], -1 for unconditional networks; may be NULL
 * The first call with a batch size and precision plans the computation; later ones reuse the plan.
 * Errors: ARG, NOMEM, NUMERIC (weights that give NaN), DEVICE, CANCELLED (images before `done` are complete). */
FDISTILL_API fdistill_status fdistill_generate(fdistill_context *ctx, fdistill_net *net, const uint64_t *seeds,
                                               const int32_t *classes, int64_t n, const fdistill_generate_options *o,
                                               uint8_t *images, size_t image_bytes, int32_t *classes_used);

/* ---- distillation ---------------------------------------------------------------------------------------------- */

#define FDISTILL_PATH_MAX 4096
#define FDISTILL_EMAS_MAX 8
#define FDISTILL_TAPS_MAX 8

/* The options of `fdistill distill`, whose help says more about each. Amounts of work are counted in images. */
typedef struct fdistill_distill_options {
    size_t size;                  /* of this structure, set by _init                                                */
    /* files: texts are borrowed */
    const char *teacher;          /* network file; must be given                                                    */
    const char *data;             /* the set it was trained on: EDM zip or folder; must be given                    */
    const char *outdir;           /* where the run folder 00000-… is made; must be given                            */
    const char *desc;             /* appended to the folder's name; NULL: nothing                                   */
    bool nosubdir;                /* write straight into outdir                                                     */
    bool resume;                  /* continue the newest run in outdir with the same options, if there is one       */
    /* method */
    const char *divergence;       /* "rkl" (DMD2), "sf", "js" (default), "sh", "kl", "jf", "neyman", "pearson"      */
    int32_t update_freq;          /* every so many iterations train the student, the others fake score and heads; 5 */
    double gan_weight;            /* of the student's GAN term; 1e-3                                                */
    double r1_weight, r1_alpha;   /* approximate R1 on the heads: 0, 0.1                                            */
    double guidance;              /* classifier-free guidance on the teacher; 1: none                               */
    bool fake_edm_weight;         /* EDM's weight over the noise levels in the fake score's loss, not a flat one    */
    double sigma_max;             /* noise level a student starts from; 80                                          */
    double sigma_min, t_max, rho; /* levels that teacher and fake score are compared at; 0.002, 0: sigma_max, 7     */
    int32_t ratio_bins;           /* bins of the noise level the density ratio is normalised in; 10                 */
    const char *ratio_spacing;    /* "sigma" (default), "log-sigma", "quantile"                                     */
    double ratio_ema;             /* share of a bin's old average that is kept; 0                                   */
    double logit_clamp, ratio_min, ratio_max;   /* 10, 0.1, 20                                                      */
    bool normalise_bins, normalise_h;           /* true, true                                                       */
    int32_t taps[FDISTILL_TAPS_MAX], ntaps;     /* encoder levels the heads look at, 0 the finest; ntaps 0: all     */
    int32_t head_width;           /* channels of the heads; 0: those of the features                                */
    /* training */
    bool cond, xflip;             /* use the labels; mirror images at random                                        */
    int64_t max_size;             /* use only so many images of the set; 0: all                                     */
    int64_t images;               /* length of the run; 200 million                                                 */
    int32_t batch, batch_gpu;     /* images per iteration, 2048; per pass, 0: chosen; changes memory only            */
    uint64_t seed;
    fdistill_precision precision;
    double lr, fake_lr, disc_lr;  /* of student, fake score, heads; 1e-4 each                                       */
    double lr_ramp;               /* images over which they rise from zero; 0                                       */
    const char *lr_decay;         /* how they fall to zero at the end: "none" (default), "linear", "cosine"         */
    double lr_decay_start;        /* share of the run after which they fall; 0                                      */
    double beta1, beta2, weight_decay;          /* of AdamW: 0.9, 0.999, 0.01                                       */
    double clip;                  /* limit of the student's gradient norm; 10; 0: none                              */
    double dropout;               /* of the student; 0                                                              */
    double ema[FDISTILL_EMAS_MAX];      /* averages of the student: below 1 a decay per iteration, from 1 on a      */
    int32_t n_ema;                      /* half-life in images; 0.9999, 0.99995, 0.9996                             */
    /* records */
    int64_t tick;                 /* images per line of statistics; 50000                                           */
    int32_t snap, dump;           /* ticks per snapshot (50) and per state to resume from (500); 0: only at the end */
    int32_t grid;                 /* pictures per row and column of the grids; 8; 0: none                           */
    fdistill_progress progress;   /* called after every iteration with images done and to do; NULL: none            */
    void *user;                   /* handed to progress                                                             */
    const char *head_norm;        /* of the heads: "group" (default), as published, or "none"                       */
    int64_t pairs;                /* images of the teacher's sampler the student is drawn to first; 0: none         */
    int32_t pair_iterations;      /* iterations of the run that go into that; 500                                   */
    double pair_lr;               /* learning rate in them, falling by a cosine; 0: lr                              */
    const char *transfer;         /* network file whose weights the student starts from; NULL: the teacher's        */
    double pair_weight;           /* in the student's loss afterwards, of how far it misses the pairs' images; 0     */
    double gan_limit;             /* GAN gradient at the image, at most this times the score's; 0: no limit         */
    int32_t pair_steps;           /* evaluations of the teacher for each, by DPM-Solver++(2M); 16                   */
    bool head_cond;               /* the heads judge an image as one of its class; false                            */
} fdistill_distill_options;

/* Fills *o with the defaults; size is sizeof *o. */
FDISTILL_API void fdistill_distill_options_init(fdistill_distill_options *o, size_t size);

typedef struct fdistill_distill_result {
    size_t size;                             /* of this structure, as the caller knows it                           */
    char folder[FDISTILL_PATH_MAX];          /* the run's folder; "" if there was none yet                          */
    char student[FDISTILL_PATH_MAX];         /* its newest network snapshot; "" if there is none yet                */
} fdistill_distill_result;

/* Runs a distillation to its end, as `fdistill distill` does: the same options and data give the same bits. Logs,
 * statistics, grids, snapshots and states go to the run folder; nothing is printed. When progress returns false, the
 * iteration is finished, a state is saved and the call ends with CANCELLED; the same options with `resume` go on.
 * result (NULL: not wanted) is filled on failure too, as far as things went; size is sizeof *result.
 * Errors: ARG names the option; FORMAT, SHAPE, IO for teacher and data; NUMERIC when the training diverges; NOMEM. */
FDISTILL_API fdistill_status fdistill_distill(fdistill_context *ctx, const fdistill_distill_options *o,
                                              fdistill_distill_result *result, size_t size);

#ifdef __cplusplus
}
#endif
#endif
