/* Makes N pictures with a network and writes them as PPM files: generate NETWORK.safetensors [N]
 * cc generate.c $(pkg-config --cflags --libs fdistill) -o generate */
#include <fdistill.h>
#include <stdio.h>
#include <stdlib.h>

static bool show(void *user, int64_t done, int64_t total) {
    (void)user;
    fprintf(stderr, "%lld of %lld pictures\n", (long long)done, (long long)total);
    return true; /* false would stop */
}

static int save(const char *name, const uint8_t *rgb, int side, int channels) {
    FILE *f = fopen(name, "wb");
    if (!f) return perror(name), 1;
    fprintf(f, "P%d %d %d 255\n", channels == 3 ? 6 : 5, side, side);
    fwrite(rgb, (size_t)channels, (size_t)side * (size_t)side, f);
    if (ferror(f) | fclose(f)) return perror(name), 1;
    return 0;
}

int main(int argc, char **argv) {
    int n = argc > 2 ? atoi(argv[2]) : 4, failed = 1;
    fdistill_context *ctx = fdistill_context_new();
    fdistill_net *net = NULL;
    fdistill_net_info info;
    uint8_t *images = NULL;
    uint64_t *seeds = NULL;
    if (!ctx || argc < 2 || n < 1) return fprintf(stderr, "usage: generate NETWORK.safetensors [N]\n"), 2;
    if (fdistill_net_load(ctx, argv[1], &net) || fdistill_net_describe(ctx, net, &info, sizeof info)) goto done;

    fdistill_generate_options o;
    fdistill_generate_options_init(&o, sizeof o);
    o.layout = FDISTILL_NHWC;
    o.progress = show;
    size_t each = (size_t)info.resolution * (size_t)info.resolution * (size_t)info.channels;
    images = malloc((size_t)n * each);
    seeds = malloc((size_t)n * sizeof *seeds);
    if (!images || !seeds) goto done;
    for (int i = 0; i < n; i++) seeds[i] = (uint64_t)i;
    if (fdistill_generate(ctx, net, seeds, NULL, n, &o, images, (size_t)n * each, NULL)) goto done;
    failed = 0;
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06d.ppm", i);
        failed |= save(name, images + (size_t)i * each, info.resolution, info.channels);
    }
done:
    if (failed) fprintf(stderr, "generate: %s\n", fdistill_message(ctx));
    free(seeds);
    free(images);
    fdistill_net_free(net);
    fdistill_context_free(ctx);
    return failed;
}
