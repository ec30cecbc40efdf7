/* fid_input.h — what the subcommands of fid share: where the pictures come from, and printing. */
#ifndef FD_CLI_FID_INPUT_H
#define FD_CLI_FID_INPUT_H

#include <jansson.h>

#include "cli/sampling.h"
#include "eval/image_source.h"
#include "eval/inception_input.h"

typedef struct fd_fid_input {
    const char *images, *network;
    int64_t num;
    uint64_t seed;
    fd_sampling sampling;
    fd_net *net;
    fd_image_source source;
} fd_fid_input;

#define FD_FID_INPUT_ROWS(p)                                                                                         \
    {.name = "images", .type = FD_OPT_TEXT, .to = &(p).images, .value = "PATH",                                      \
     .help = "Zip, folder or npz to measure."},                                                                      \
    {.name = "network", .type = FD_OPT_TEXT, .to = &(p).network, .value = "FILE",                                    \
     .help = "Or a network, measured without writing images."},                                                      \
    {.name = "num", .type = FD_OPT_COUNT, .to = &(p).num, .value = "N", .lo = 1, .hi = 1e8, .no_default = true,      \
     .help = "Images. From a network 50000 if not given; of a set, all, else so many drawn with --seed."},           \
    {.name = "seed", .type = FD_OPT_SEED, .to = &(p).seed, .value = "N",                                             \
     .help = "A network's images have the seeds N, N+1, …; of a set, the draw of --num."}

#define FD_FID_NET_HELP "Feature network: Inception in pytorch-fid's file, or one that 'fdistill fid net' trained."
#define FD_FID_RESIZE_ROW(to_int)                                                                                    \
    {.name = "resize", .type = FD_OPT_ENUM, .to = &(to_int), .value = "NAME", .words = fd_resize_rule_names,          \
     .help = "How images get to Inception's 299 x 299: as TensorFlow 1 (EDM, ADM, torch-fidelity), as pytorch-fid, or as clean-fid."}

/* Opens p->source. block > 0: the next images of a network, with seeds from seed + block * num on. */
fd_status fd_fid_input_open(fd_ctx *ctx, fd_fid_input *p, int block);
void fd_fid_input_close(fd_fid_input *p);

const char *fd_base_name(const char *path);
/* Takes the object. */
fd_status fd_fid_print_json(fd_ctx *ctx, json_t *o);

/* fid calc, in a file of its own. */
fd_status fd_fid_calc(fd_ctx *ctx, int argc, char **argv);

#endif
