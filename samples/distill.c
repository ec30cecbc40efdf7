/* Distils a teacher into a one-step student: distill TEACHER.safetensors DATA.zip OUTDIR [IMAGES]
 * cc distill.c $(pkg-config --cflags --libs fdistill) -o distill */
#include <fdistill.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stopped;
static void stop(int number) { stopped = number; }

static bool show(void *user, int64_t done, int64_t total) {
    (void)user;
    fprintf(stderr, "\r%lld of %lld images ", (long long)done, (long long)total);
    return !stopped; /* false: the iteration is finished, a state saved; the next call with resume goes on */
}

int main(int argc, char **argv) {
    static fdistill_distill_result result;
    if (argc < 4) return fprintf(stderr, "usage: distill TEACHER.safetensors DATA.zip OUTDIR [IMAGES]\n"), 2;
    fdistill_context *ctx = fdistill_context_new();
    if (!ctx) return 1;
    signal(SIGINT, stop);

    fdistill_distill_options o;
    fdistill_distill_options_init(&o, sizeof o);
    o.teacher = argv[1];
    o.data = argv[2];
    o.outdir = argv[3];
    o.images = argc > 4 ? atoll(argv[4]) : 100000;
    o.cond = true;
    o.resume = true;
    o.divergence = "js";
    o.batch = 64;
    o.update_freq = 3;
    o.grid = 4;
    o.lr = 3e-4, o.fake_lr = 6e-4, o.disc_lr = 1e-3;
    o.gan_weight = 0.05, o.head_width = 32, o.fake_edm_weight = true;
    o.ema[0] = 6000, o.n_ema = 1; /* half-life in images: a short run wants a short memory */
    o.progress = show;
    fdistill_status s = fdistill_distill(ctx, &o, &result, sizeof result);
    if (s) fprintf(stderr, "\ndistill: %s\n", fdistill_message(ctx));
    else printf("\nthe student is %s\n", result.student);
    fdistill_context_free(ctx);
    return s ? 1 : 0;
}
