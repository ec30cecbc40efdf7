#include "train/grid.h"

#include "io/image.h"

#define SMALL 64      /* images below this are enlarged up to it */

int fd_grid_class(int i, int side, int label_dim) { return label_dim ? i / side % label_dim : -1; }

fd_status fd_grid_save(fd_ctx *ctx, const char *path, const uint8_t *images, int side, int c, int h, int w) {
    fd_image grid;
    int scale = w < SMALL ? SMALL / w : 1;
    FD_TRY(fd_image_grid(ctx, images, side * side, c, h, w, side, 2, scale > 1 ? scale : 1, &grid));
    fd_status s = fd_png_save(ctx, path, &grid, NULL, 0);
    fd_image_free(&grid);
    return s;
}

static fd_status generate(fd_ctx *ctx, fd_arena *a, const char *path, const fd_sampler *s, fd_denoiser *d, int side) {
    fd_shape shape = fd_denoiser_shape(d);
    int n = side * side;
    uint64_t *seeds;
    uint8_t *images;
    int *classes;
    FD_NEW(ctx, a, seeds, n);
    FD_NEW(ctx, a, classes, n);
    FD_NEW(ctx, a, images, n * shape.c * shape.h * shape.w);
    for (int i = 0; i < n; i++) {
        seeds[i] = (uint64_t)i;
        classes[i] = fd_grid_class(i, side, fd_denoiser_label_dim(d));
    }
    FD_TRY(fd_sample_seeds(ctx, s, d, seeds, classes, n, images, NULL, NULL, NULL));
    return fd_grid_save(ctx, path, images, side, (int)shape.c, (int)shape.h, (int)shape.w);
}

fd_status fd_grid_generate(fd_ctx *ctx, const char *path, const fd_sampler *s, fd_denoiser *d, fd_params *params, float *w,
                           int side) {
    fd_arena a = {0};
    float *own = w ? fd_params_use(params, w) : NULL;
    fd_status status = generate(ctx, &a, path, s, d, side);
    if (own) fd_params_use(params, own);
    fd_arena_free(&a);
    return status;
}
