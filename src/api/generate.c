/* Images into the caller's memory. */
#include <math.h>

#include "api/api.h"
#include "train/sampler.h"

static const fdistill_generate_options defaults = {
    .size = sizeof(fdistill_generate_options), .s_max = INFINITY, .s_noise = 1};

void fdistill_generate_options_init(fdistill_generate_options *o, size_t size) {
    memset(o, 0, size);
    memcpy(o, &defaults, size < sizeof defaults ? size : sizeof defaults);
    o->size = size;
}

/* The call, checked: what the layers below would blame on a flag is said in this API's words. */
static fd_status check(fd_ctx *c, const fd_net *net, const int32_t *classes, int64_t n,
                       const fdistill_generate_options *o, const fd_sampler *s, size_t image_bytes) {
    const fd_net_config *k = &net->config;
    size_t each = (size_t)k->image_channels * (size_t)k->resolution * (size_t)k->resolution;
    if (n < 0 || fd_mul_size((size_t)n, each) > image_bytes)
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: %lld images take %zu bytes each, but the memory has %zu",
                       (long long)n, each, image_bytes);
    if (s->steps < 1 || s->steps > 10000)
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: steps is %d, not in 1…10000", s->steps);
    if (!(s->sigma_min > 0 && s->sigma_min < s->sigma_max && s->sigma_max < 1e6 && s->rho > 0 && s->rho < 1e6))
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: need 0 < sigma_min (%g) < sigma_max (%g) < 1e6 and rho (%g) "
                       "positive", s->sigma_min, s->sigma_max, s->rho);
    if (!(s->s_churn >= 0 && s->s_churn < 1e6 && s->s_min >= 0 && s->s_max >= s->s_min && s->s_noise >= 0 &&
          s->s_noise < 1e6))
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: s_churn %g, s_min %g, s_max %g, s_noise %g: none may be "
                       "negative, and s_max not below s_min", s->s_churn, s->s_min, s->s_max, s->s_noise);
    if (o->batch < 0 || o->batch > 65536)
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: batch is %d, not in 0…65536", o->batch);
    if ((unsigned)o->solver > FDISTILL_DPMPP_2M || (unsigned)o->precision > FDISTILL_BF16 ||
        (unsigned)o->layout > FDISTILL_NHWC)
        return FD_FAIL(c, FD_E_ARG, "fdistill_generate: solver %d, precision %d or layout %d is none that exists",
                       (int)o->solver, (int)o->precision, (int)o->layout);
    for (int64_t i = 0; classes && i < n; i++) {
        if (classes[i] >= 0 && !k->label_dim)
            return FD_FAIL(c, FD_E_ARG, "fdistill_generate: class %d asked for, but the network has no classes",
                           classes[i]);
        if (classes[i] < -1 || (k->label_dim && classes[i] >= k->label_dim))
            return FD_FAIL(c, FD_E_ARG, "fdistill_generate: class %d of image %lld is not in 0…%d", classes[i],
                           (long long)i, k->label_dim - 1);
    }
    return FD_OK;
}

/* The plan of this batch size, number type and thread count: the last call's, or a new one in its place. */
static fd_status plan(fd_ctx *c, fdistill_net *net, int batch, fd_dtype dtype) {
    if (net->denoiser && net->batch == batch && net->dtype == dtype && net->threads == c->threads) return FD_OK;
    fd_denoiser_free(net->denoiser);
    net->denoiser = NULL;
    FD_TRY(fd_denoiser_new(c, net->net, batch, &(fd_run_options){.dtype = dtype}, &net->denoiser));
    net->batch = batch;
    net->dtype = dtype;
    net->threads = c->threads;
    return FD_OK;
}

/* [c][pixels] to [pixels][c]. */
static void to_pixel_order(uint8_t *image, int64_t c, int64_t pixels, uint8_t *scratch) {
    memcpy(scratch, image, (size_t)(c * pixels));
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t k = 0; k < c; k++) image[p * c + k] = scratch[k * pixels + p];
}

typedef struct {
    const fdistill_generate_options *o;
    uint8_t *images, *scratch;    /* scratch: one picture */
    int64_t channels, pixels, ordered, total;
} watcher;

/* After each batch: its pictures in the order asked for, then the caller's word. */
static bool report(void *user, int64_t done) {
    watcher *w = user;
    for (; w->o->layout == FDISTILL_NHWC && w->ordered < done; w->ordered++)
        to_pixel_order(w->images + w->ordered * w->channels * w->pixels, w->channels, w->pixels, w->scratch);
    return !w->o->progress || w->o->progress(w->o->user, done, w->total);
}

static fd_status generate(fd_ctx *c, fdistill_net *net, const uint64_t *seeds, const int32_t *classes, int64_t n,
                          const fdistill_generate_options *o, uint8_t *images, size_t image_bytes, int32_t *used) {
    const fd_net_config *k = &net->net->config;
    fd_sampler s = fd_sampler_for(net->net, o->steps);
    s.solver = (fd_solver)o->solver;
    if (o->sigma_min != 0) s.sigma_min = o->sigma_min;
    if (o->sigma_max != 0) s.sigma_max = o->sigma_max;
    if (o->rho != 0) s.rho = o->rho;
    s.s_churn = o->s_churn;
    s.s_min = o->s_min;
    s.s_max = o->s_max;
    s.s_noise = o->s_noise;
    FD_TRY(check(c, net->net, classes, n, o, &s, image_bytes));
    if (n == 0) return FD_OK;
    int64_t batch = o->batch ? o->batch : 64;
    FD_TRY(plan(c, net, (int)(n < batch ? n : batch), o->precision == FDISTILL_BF16 ? FD_BF16 : FD_F32));
    watcher w = {.o = o, .images = images, .channels = k->image_channels,
                 .pixels = (int64_t)k->resolution * k->resolution, .total = n};
    w.scratch = fd_alloc(c, (size_t)(w.channels * w.pixels));
    if (!w.scratch) return FD_E_NOMEM;
    fd_status status = fd_sample_seeds(c, &s, net->denoiser, seeds, classes, n, images, used, report, &w);
    fd_free(w.scratch);
    return status;
}

_Static_assert(sizeof(int) == sizeof(int32_t), "classes go down as int");

fdistill_status fdistill_generate(fdistill_context *ctx, fdistill_net *net, const uint64_t *seeds,
                                  const int32_t *classes, int64_t n, const fdistill_generate_options *o,
                                  uint8_t *images, size_t image_bytes, int32_t *classes_used) {
    fd_ctx *c = fd_api_enter(ctx);
    fdistill_generate_options all = defaults;
    if (o && !fd_api_take(&all, sizeof all, o, offsetof(fdistill_generate_options, user)))
        return (fdistill_status)FD_FAIL(c, FD_E_ARG, "fdistill_generate: the options say they have %zu bytes; fill "
                                        "them with fdistill_generate_options_init", o->size);
    return (fdistill_status)generate(c, net, seeds, classes, n, &all, images, image_bytes, classes_used);
}
