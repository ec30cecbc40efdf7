/* Writes the networks that the shell tests use: make_net teacher|student|uncond|classifier|broken|inception FILE [SEED]
 * make_net adm FILE.npz STATISTICS.npz IMAGES.npz joins mu, sigma and arr_0 to a reference in the form of ADM's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/npy.h"
#include "models/net.h"

static fd_net_config unet(int classes) {
    fd_net_config c;
    fd_net_config_preset(&c, FD_FAMILY_DDPMPP);
    c.resolution = 16;
    c.image_channels = 3;
    c.model_channels = 16;
    c.levels = 2;
    c.channel_mult[0] = 1;
    c.channel_mult[1] = 2;
    c.num_blocks = 1;
    c.nattn = 1;
    c.attn_resolutions[0] = 8;
    c.label_dim = classes;
    c.augment_dim = 0;
    c.dropout = 0;
    return c;
}

static fd_net_config classifier(void) {
    fd_net_config c = {.family = FD_FAMILY_CLASSIFIER, .resolution = 16, .image_channels = 3, .nchannels = 3,
                       .channels = {8, 16, 24}, .nclasses = 1, .classes = {10}};
    return c;
}

static fd_status adm(fd_ctx *ctx, char **file) {
    static const char *const name[] = {"mu", "sigma", "arr_0"};
    fd_arena a = {0};
    fd_npz_entry entry[3];
    for (int i = 0; i < 3; i++) {
        fd_zip *z;
        entry[i].name = name[i];
        FD_TRY(fd_zip_open(ctx, file[i < 2 ? 1 : 2], &z));
        fd_status s = fd_npz_read(ctx, z, name[i], &a, &entry[i].array);
        fd_zip_close(z);
        FD_TRY(s);
    }
    fd_status s = fd_npz_write(ctx, file[0], entry, 3);
    fd_arena_free(&a);
    return s;
}

int main(int argc, char **argv) {
    static fd_ctx ctx;
    if (argc < 3) return 2;
    const char *kind = argv[1];
    if (!strcmp(kind, "adm")) return argc != 5 || adm(&ctx, argv + 2) != FD_OK;
    fd_net_config c = !strcmp(kind, "classifier") ? classifier() : unet(strcmp(kind, "uncond") ? 10 : 0);
    if (!strcmp(kind, "inception")) fd_net_config_preset(&c, FD_FAMILY_INCEPTION);
    fd_net *net = NULL;
    fd_status s = fd_net_new(&ctx, &c, &net);
    if (s == FD_OK && !strcmp(kind, "classifier")) fd_net_init_random(net, argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    else if (s == FD_OK) s = fd_net_fill_formula(&ctx, net, kind, 1);
    if (s == FD_OK) {
        fd_net_meta *m = &net->meta;
        const bool same = !strcmp(kind, "classifier") || !strcmp(kind, "student");
        snprintf(m->kind, sizeof m->kind, "%s", same ? kind : !strcmp(kind, "inception") ? "features" : "teacher");
        if (!strcmp(kind, "student")) m->sigma_init = 80;
        if (!strcmp(kind, "broken")) net->params.w[net->params.list[0].offset] = NAN;
        for (int i = 0; i < net->params.n; i++)      /* standard deviations are positive */
            if (strstr(net->params.list[i].name, "features.std"))
                for (int64_t k = 0; k < net->params.list[i].count; k++) net->params.w[net->params.list[i].offset + k] = 1;
        s = fd_net_save(&ctx, net, NULL, argv[2]);
    }
    fd_net_free(net);
    if (s != FD_OK) fprintf(stderr, "make_net: %s\n", ctx.message);
    return s != FD_OK;
}
