/* import.h — networks from other people's files: EDM's pickles, torch state dicts, FastGen checkpoints, safetensors.
 *
 * The configuration is read off the names and shapes of the tensors, compared with the constructor's arguments where
 * the file carries them, and then every tensor is checked against it. Nothing is executed (io/pickle.h).
 */
#ifndef FD_MODELS_IMPORT_H
#define FD_MODELS_IMPORT_H

#include "io/checkpoint.h"
#include "models/net.h"

typedef struct fd_import {
    fd_checkpoint *file;
    const fd_ck_tree *tree;       /* the group of tensors that was chosen */
    bool ours;                    /* a file of fdistill: nothing had to be found out */
    bool network;                 /* the tensors are a U-Net of EDM's family (or the file is ours) */
    fd_net_config config;         /* if network and not ours */
    fd_net_meta meta;
    char class_name[64], model_name[64];      /* "EDMPrecond", "SongUNet"; "" where the file does not say */
    const char *note[12];         /* what a person should know: what was assumed, what was left out */
    int notes;
    fd_safetensors view;          /* what net_file.h reads; tensors lie in `file` or in the arena below */
    fd_arena arena;
} fd_import;

typedef struct fd_import_options {
    const char *key;              /* path of the tensors inside the file, or a word of it; NULL: "ema" if there is one,
                                     else the network, else the only group. ARG lists what there is */
    bool raw;                     /* do not look for a network */
    bool precond_given;           /* else: what the file says, and edm if it does not say */
    fd_precond_type precond;
} fd_import_options;

/* options NULL: defaults. Owner: the caller, until fd_import_close. */
fd_status fd_import_open(fd_ctx *ctx, const char *path, const fd_import_options *options, fd_import *out);
void fd_import_close(fd_import *i);                          /* safe on {0} */
/* The tensors as they will be written, checked; in our order for a network, else as they are. Arrays in i->arena. */
fd_status fd_import_tensors(fd_ctx *ctx, fd_import *i, fd_st_tensor **out, int *n, int64_t *parameters);
/* A copyright or licence remark at the head of program text that came with the file; "" if there is none. */
void fd_import_licence(const fd_checkpoint *c, char *out, size_t size);

/* Parts, for the files of the importer ---------------------------------------------------------------------------- */

/* Title of the network in pytorch-fid's file: what makes a distance FID. */
#define FD_IMPORT_INCEPTION "Inception-v3 2015-12-05"
bool fd_import_is_inception(const fd_ck_tree *t);
/* i->tree under our names in *out, arrays in i->arena; fills configuration, provenance (parent: SHA-256 of the file) and
 * notes. FORMAT for torchvision's network and for tensors that do not belong. */
fd_status fd_import_inception(fd_ctx *ctx, fd_import *i, fd_ck_tree *out);
/* The configuration from names and shapes; names without any prefix ("map_layer0.weight"), `where` begins messages. */
fd_status fd_import_infer(fd_ctx *ctx, const char *where, const fd_ck_tree *t, fd_net_config *out);
/* The preconditioning that a class of EDM's stands for: "VPPrecond" and so on; false: not one of them. */
bool fd_import_precond(const char *class_name, fd_precond_type *out);
/* Constructor arguments: fills what shapes do not show (dropout, sigma_data) and refuses contradictions, and constants
 * of the preconditioning that are not the usual ones. */
fd_status fd_import_arguments(fd_ctx *ctx, const char *where, const fd_pk *attributes, fd_net_config *c);

#endif
