/* sampling.h — the options of everything that makes images from a network, and what they become for a given one. */
#ifndef FD_CLI_SAMPLING_H
#define FD_CLI_SAMPLING_H

#include <math.h>

#include "cli/args.h"
#include "cli/device.h"
#include "models/net.h"
#include "train/sampler.h"

extern const char *const fd_solver_names[];       /* in fd_solver's order */
extern const char *const fd_precision_names[];    /* "fp32", "bf16"  */

/* As given; 0 and NaN stand for "the network's own". */
typedef struct fd_sampling {
    int steps, solver, cls, batch, precision;
    fd_device_choice device;
    double sigma_min, sigma_max, rho, s_churn, s_min, s_max, s_noise;
} fd_sampling;

#define FD_SAMPLING_DEFAULTS                                                                                         \
    {.cls = -1, .batch = 64, .sigma_min = NAN, .sigma_max = NAN, .rho = NAN, .s_max = INFINITY, .s_noise = 1}

/* Rows of an option table; s is an fd_sampling variable. */
#define FD_SAMPLING_ROWS(s)                                                                                          \
    {.name = "steps", .type = FD_OPT_INT, .to = &(s).steps, .value = "N", .lo = 1, .hi = 10000, .no_default = true,  \
     .help = "Sampling steps: 1 for students and 18 for teachers if not given.", .group = "Sampling"},               \
    {.name = "solver", .type = FD_OPT_ENUM, .to = &(s).solver, .value = "NAME", .words = fd_solver_names,            \
     .help = "heun takes 2 N - 1 evaluations of the network for N steps, euler and dpmpp_2m N."},                                 \
    {.name = "sigma_min", .type = FD_OPT_DOUBLE, .to = &(s).sigma_min, .value = "X", .lo = 1e-6, .hi = 1e6,          \
     .help = "Lowest noise level; the network's own if not given.", .no_default = true},                             \
    {.name = "sigma_max", .type = FD_OPT_DOUBLE, .to = &(s).sigma_max, .value = "X", .lo = 1e-6, .hi = 1e6,          \
     .help = "Highest noise level, where a student starts; the network's own if not given.", .no_default = true},    \
    {.name = "rho", .type = FD_OPT_DOUBLE, .to = &(s).rho, .value = "X", .lo = 0.1, .hi = 100,                       \
     .help = "Exponent of the noise levels; the network's own if not given.", .no_default = true},                   \
    {.name = "S_churn", .type = FD_OPT_DOUBLE, .to = &(s).s_churn, .value = "X", .lo = 0, .hi = 1e6,                 \
     .help = "Stochasticity strength."},                                                                             \
    {.name = "S_min", .type = FD_OPT_DOUBLE, .to = &(s).s_min, .value = "X", .lo = 0, .hi = 1e6,                     \
     .help = "Stochasticity: lowest noise level."},                                                                  \
    {.name = "S_max", .type = FD_OPT_DOUBLE, .to = &(s).s_max, .value = "X", .lo = 0, .hi = INFINITY,                \
     .help = "Stochasticity: highest noise level."},                                                                 \
    {.name = "S_noise", .type = FD_OPT_DOUBLE, .to = &(s).s_noise, .value = "X", .lo = 0, .hi = 10,                  \
     .help = "Stochasticity: noise inflation."},                                                                     \
    {.name = "class", .type = FD_OPT_INT, .to = &(s).cls, .value = "N", .lo = 0, .hi = 1e6, .no_default = true,      \
     .help = "Class of all images; without it each seed has its own."},                                              \
    {.name = "batch", .type = FD_OPT_INT, .to = &(s).batch, .value = "N", .lo = 1, .hi = 65536,                      \
     .help = "Images per pass. Changes memory and speed, never the images."},                                        \
    {.name = "precision", .type = FD_OPT_ENUM, .to = &(s).precision, .value = "NAME", .words = fd_precision_names,   \
     .help = "Number type of the network's computation."},                                                           \
    FD_DEVICE_ROWS((s).device)

/* A U-Net from a file; ARG with what the file is, if it is something else. */
fd_status fd_load_generator(fd_ctx *ctx, const char *path, fd_net **out);
/* Checks the options against the network and fills in what was not given. */
fd_status fd_sampling_resolve(fd_ctx *ctx, const fd_sampling *s, const fd_net *net, fd_sampler *out);
/* "1 step at sigma 80", "18 Heun steps, sigma 80 to 0.002, rho 7": for people and for PNG files. */
void fd_sampler_words(const fd_sampler *s, char out[160]);

#endif
