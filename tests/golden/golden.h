/* golden.h — comparing our numbers with stored ones.
 *
 * A case is a folder with case.json (what to compute, from which numbers, and how exact the same computation was in
 * plain float32) and tensors.safetensors (inputs, weights, expected outputs in float64 accuracy). One function per
 * kind of case computes everything and hands each result to golden_compare; the runner then insists that every
 * expected output was handed over. Format and tolerances: the README next to the cases.
 */
#ifndef FD_TESTS_GOLDEN_H
#define FD_TESTS_GOLDEN_H

#include <jansson.h>

#include "io/npy.h"
#include "io/safetensors.h"
#include "models/net.h"
#include "train/optim.h"

typedef struct golden_options {
    const fd_backend *backend;
    bool wide;                   /* fast convolutions: limits that only catch gross mistakes */
    bool perturb;                /* spoil one number by 1e-3 of its size; the case must then fail */
} golden_options;

typedef struct golden {
    fd_ctx *ctx;
    const golden_options *o;
    json_t *meta, *config, *outputs;     /* case.json and two of its members */
    fd_safetensors st;
    bool *seen;                          /* per tensor of the file: an expected output that was compared */
    int compared;
    double worst;                        /* largest error / limit so far */
    double worst_error, worst_limit;
    char worst_name[256];
    double *gradient_errors;             /* for the median over the gradients */
    int ngradients;
    bool spoiled;                        /* perturb found something to spoil */
} golden;

/* How a result may differ from the stored one. */
typedef enum {
    GOLDEN_FLOAT,        /* rel L2 <= max(10 f32_error, 2e-6): float32 networks                 */
    GOLDEN_SERIES,       /* a number per iteration of a training: the first as FLOAT; those after an update rel L2 <=
                            max(10 f32_error, 1e-4), because Adam makes a whole step of a gradient near zero whichever sign
                            rounding gave it: the trained weights are compared with 1e-2 for the same reason */
    GOLDEN_TIGHT,        /* rel L2 <= max(10 f32_error, 2e-7): a few float operations            */
    GOLDEN_DOUBLE,       /* rel L2 <= 1e-7: double code, stored as float                         */
    GOLDEN_STATE,        /* rel L2 <= 1e-6: double state, float network                          */
    GOLDEN_ELEMENTS,     /* every element within 1e-12 relative + 1e-15                          */
    GOLDEN_BITS          /* equal                                                                */
} golden_rule;

/* Is there an output of this name? */
bool golden_has(const golden *g, const char *name);
/* Compares n of our values with the stored output. */
void golden_compare(golden *g, const char *name, const double *ours, int64_t n, golden_rule rule);
void golden_compare_f32(golden *g, const char *name, const float *ours, int64_t n, golden_rule rule);
/* Trained weights: the error relative to how far the weights moved from `start`. */
void golden_compare_update(golden *g, const char *name, const float *ours, const float *start, int64_t n);

/* An input tensor as an array that lives as long as the case (in *arena); count may be NULL. */
fd_status golden_f32(golden *g, fd_arena *arena, const char *name, float **out, int64_t *count);
fd_status golden_f64(golden *g, fd_arena *arena, const char *name, double **out, int64_t *count);
bool golden_has_tensor(const golden *g, const char *name);
/* Members of case.json's config; a missing one fails the case. */
fd_status golden_number(golden *g, const json_t *object, const char *key, double *out);
fd_status golden_network(golden *g, fd_net_config *out);

/* The network of the case with the weights stored under `prefix` ("weights/"); where none are stored, with formula
 * weights of this salt. Under --perturb the first convolution of the first such network is spoiled. */
fd_status golden_net(golden *g, const char *prefix, const char *salt, fd_net **out);
fd_status golden_weights(golden *g, const char *prefix, const char *salt, float head_scale, fd_net *net);
/* For kinds without weights: spoils v[i]. */
void golden_spoil(golden *g, float *v, int64_t i);
void golden_spoil_f64(golden *g, double *v, int64_t i);
/* Gradient sums in the order of grad_names: L2 norm, and dot product with the formula tensor input:probe/<name>. */
fd_status golden_gradsum(golden *g, const char *norm, const char *dot, const json_t *names, const fd_params *p);

/* The optimiser of case.json. */
fd_status golden_adam(golden *g, fd_adam *p);
/* Every stored "<prefix><parameter>", as golden_compare_update. w, start: flat blocks of the set's layout. */
void golden_compare_trained(golden *g, const char *prefix, const fd_params *p, const float *w, const float *start);

/* Files of weights (kind_import.c). words: what was compared. Under perturb one number is spoiled, and exactly that one
 * must be noticed. */
bool golden_is_import(const char *folder);
bool golden_run_import(const golden_options *o, const char *folder, char *words, size_t size);

/* Sets of files with an expected.json that are judged number by number (kind_metrics.c, kind_inception.c, kind_datasets.c). */
typedef struct golden_files {
    const golden_options *o;
    const char *folder;
    json_t *expected;
    fd_arena arena;               /* of the item at hand */
    const char *item;             /* what is being judged: a file, a case, a picture */
    const char *spoiled;          /* the item with the spoiled number */
    bool noticed;                 /* that one was found wrong */
    int items, compared, wrong;
} golden_files;
/* Begins an item: frees what the last one held. */
void golden_item(golden_files *f, const char *item);
void golden_wrong(golden_files *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* |ours - want[key]| <= relative |want| + absolute; a missing key is wrong. */
void golden_near(golden_files *f, const json_t *want, const char *key, double ours, double relative, double absolute);
/* folder/name in the arena of the item. */
fd_status golden_npy(fd_ctx *ctx, golden_files *f, const char *name, fd_npy *out);
/* Spoils v[i] under perturb unless something is spoiled already. */
void golden_spoil_item(golden_files *f, float *v, int64_t i);

typedef void golden_files_fn(golden_files *f);
golden_files_fn golden_files_metrics, golden_files_npz, golden_files_inception, golden_files_datasets;
/* Is it one, and of which kind? NULL: no. */
golden_files_fn *golden_files_kind(const char *folder);
bool golden_run_files(const golden_options *o, const char *folder, char *words, size_t size);

typedef fd_status golden_kind_fn(golden *g, fd_arena *arena);
golden_kind_fn golden_kind_net, golden_kind_full, golden_kind_formula, golden_kind_grids, golden_kind_divergences,
    golden_kind_ratio, golden_kind_optim, golden_kind_edm_train, golden_kind_heun,
    golden_kind_fdistill_step, golden_kind_fdistill_run;

#endif
