#include "train/distiller.h"

#include <math.h>
#include <string.h>

#include "comm/comm.h"
#include "train/distill_views.h"

struct fd_distiller {
    fd_distiller_spec spec;
    fd_distill_nets nets;
    fd_distill_views views;
    fd_arena arena;
    int64_t pixels;                  /* C R R */
    int total;                       /* samples of a step on all ranks */
    int heads, label_dim;
    bool r1;
    fd_ranges student, fake, disc;
    /* this rank's samples */
    float *g, *x_t, *d_fake, *d_teacher, *dg, *dg_gan, *logits, *h, *w, *logits_real, *logits_r1;
    /* all ranks' */
    float *all_logits, *all_h;
    double *all_t;
    /* one pass */
    float *z, *rows, *row_labels, *uncond, *row_logits, *row_loss;
    double *level, *row_t;
};

/* ---- making ------------------------------------------------------------------------------------------------------ */

static fd_status check_nets(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets) {
    const fd_net_config *t = &nets->teacher->config;
    const struct { const char *name; const fd_net *net; } others[] = {{"student", nets->student}, {"fake score", nets->fake}};
    if (spec->n < 1 || spec->batch < 1 || spec->batch % spec->n)
        return FD_FAIL(ctx, FD_E_ARG, "a batch of %d cannot be cut into passes of %d; --batch-gpu must divide --batch",
                       spec->batch, spec->n);
    for (size_t i = 0; i < FD_COUNT(others); i++) {
        const fd_net_config *c = &others[i].net->config;
        if (c->resolution != t->resolution || c->image_channels != t->image_channels || c->label_dim != t->label_dim)
            return FD_FAIL(ctx, FD_E_SHAPE, "%s is for %dx%dx%d with %d classes, the teacher for %dx%dx%d with %d",
                           others[i].name, c->image_channels, c->resolution, c->resolution, c->label_dim,
                           t->image_channels, t->resolution, t->resolution, t->label_dim);
    }
    bool wanted = spec->method->gan_weight > 0 || !spec->method->divergence->constant;
    if (wanted && !nets->heads)
        return FD_FAIL(ctx, FD_E_ARG, "divergence '%s' with GAN weight %g needs discriminator heads",
                       spec->method->divergence->name, spec->method->gan_weight);
    if (spec->method->guidance != 1 && !t->label_dim)
        return FD_FAIL(ctx, FD_E_ARG, "--guidance %g needs a teacher with classes; this one has none", spec->method->guidance);
    return FD_OK;
}

static fd_status allocate(fd_ctx *ctx, fd_distiller *d) {
    fd_arena *a = &d->arena;
    int64_t batch = d->spec.batch, all = batch * d->pixels, heads = d->heads ? d->heads : 1, rows = 3 * (int64_t)d->spec.n;
    float **images[] = {&d->g, &d->x_t, &d->d_fake, &d->d_teacher, &d->dg, &d->dg_gan};
    for (size_t i = 0; i < FD_COUNT(images); i++) FD_NEW(ctx, a, *images[i], all);
    float **per_head[] = {&d->logits, &d->logits_real, &d->logits_r1};
    for (size_t i = 0; i < FD_COUNT(per_head); i++) FD_NEW(ctx, a, *per_head[i], batch * heads);
    FD_NEW(ctx, a, d->all_logits, d->total * heads);
    FD_NEW(ctx, a, d->all_h, d->total);
    FD_NEW(ctx, a, d->all_t, d->total);
    d->h = d->all_h + fd_comm_rank(ctx) * batch;
    FD_NEW(ctx, a, d->w, batch);
    FD_NEW(ctx, a, d->z, d->spec.n * d->pixels);
    FD_NEW(ctx, a, d->uncond, d->spec.n * d->pixels);
    FD_NEW(ctx, a, d->rows, rows * d->pixels);
    FD_NEW(ctx, a, d->row_labels, rows * (d->label_dim ? d->label_dim : 1));
    FD_NEW(ctx, a, d->row_logits, rows * heads);
    FD_NEW(ctx, a, d->row_loss, d->spec.n);
    FD_NEW(ctx, a, d->row_t, rows);
    FD_NEW(ctx, a, d->level, d->spec.n);
    return FD_OK;
}

static fd_status make(fd_ctx *ctx, fd_distiller *d) {
    const fd_net_config *c = &d->nets.teacher->config;
    d->pixels = (int64_t)c->image_channels * c->resolution * c->resolution;
    d->total = d->spec.batch * fd_comm_size(ctx);
    d->label_dim = c->label_dim;
    d->heads = d->nets.heads ? d->nets.heads->config.ntap : 0;
    d->r1 = d->nets.heads && d->spec.method->r1_weight > 0;
    FD_TRY(fd_distill_views_open(ctx, &d->spec, &d->nets, d->r1, &d->views));
    FD_TRY(fd_trained_ranges(ctx, &d->arena, d->views.student.v.g, &d->nets.student->params, &d->student));
    FD_TRY(fd_trained_ranges(ctx, &d->arena, d->views.fake.v.g, &d->nets.fake->params, &d->fake));
    if (d->heads) FD_TRY(fd_trained_ranges(ctx, &d->arena, d->views.critic.v.g, &d->nets.heads->params, &d->disc));
    return allocate(ctx, d);
}

fd_status fd_distiller_new(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets, fd_distiller **out) {
    *out = NULL;
    FD_TRY(check_nets(ctx, spec, nets));
    fd_distiller *d = fd_alloc(ctx, sizeof *d);
    if (!d) return FD_E_NOMEM;
    d->spec = *spec;
    d->nets = *nets;
    fd_status s = make(ctx, d);
    if (s == FD_OK) *out = d;
    else fd_distiller_free(d);
    return s;
}

void fd_distiller_free(fd_distiller *d) {
    if (!d) return;
    fd_distill_views_close(&d->views);
    fd_arena_free(&d->arena);
    fd_free(d);
}

fd_ranges fd_distiller_student_ranges(const fd_distiller *d) { return d->student; }
fd_ranges fd_distiller_fake_ranges(const fd_distiller *d) { return d->fake; }
fd_ranges fd_distiller_heads_ranges(const fd_distiller *d) { return d->disc; }
const fd_device *fd_distiller_device(const fd_distiller *d) { return d->spec.backend ? d->spec.backend->device : NULL; }
size_t fd_distiller_bytes(const fd_distiller *d) { return fd_distill_views_bytes(&d->views) + d->arena.used; }

/* ---- one pass ---------------------------------------------------------------------------------------------------- */

/* x + t eps for each of n samples: in double, rounded once. */
static void add_noise(const float *x, const double *t, const float *eps, int n, int64_t pixels, float *out) {
    for (int i = 0; i < n; i++)
        for (int64_t p = i * pixels; p < (i + 1) * pixels; p++) out[p] = (float)((double)x[p] + t[i] * (double)eps[p]);
}

static const float *labels_at(const fd_distiller *d, const fd_distill_batch *b, int at) {
    return b->labels ? b->labels + (int64_t)at * d->label_dim : NULL;
}

static fd_status generate(fd_ctx *ctx, fd_distiller *d, const float *z, const float *labels, uint64_t first, float *out) {
    fd_student_view *s = &d->views.student;
    double sigma = d->spec.method->sigma_max;
    for (int64_t p = 0; p < d->spec.n * d->pixels; p++) d->z[p] = (float)(sigma * (double)z[p]);
    for (int i = 0; i < d->spec.n; i++) d->level[i] = sigma;
    FD_TRY(fd_view_fill(ctx, &s->v, d->z, d->level, labels, NULL));
    FD_TRY(fd_view_count_samples(ctx, &s->v, first));
    FD_TRY(fd_exec_run(ctx, s->v.e, 0, s->forward_end));
    return fd_exec_read(ctx, s->v.e, s->v.D, out);
}

fd_status fd_distiller_generate(fd_ctx *ctx, fd_distiller *d, const float *z, const float *labels, float *images) {
    return generate(ctx, d, z, labels, 0, images);
}

/* Samples at … at+n-1 of the step: G into the batch array. */
static fd_status student_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    int64_t p = at * d->pixels;
    return generate(ctx, d, b->z + p, labels_at(d, b, at), b->first + (uint64_t)at, d->g + p);
}

/* ... and x_t. */
static fd_status generate_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    int64_t p = at * d->pixels;
    FD_TRY(student_pass(ctx, d, b, at));
    add_noise(d->g + p, b->t + at, b->eps + p, d->spec.n, d->pixels, d->x_t + p);
    return FD_OK;
}

static fd_status fake_score_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    fd_fake_view *f = &d->views.fake;
    int64_t p = at * d->pixels;
    FD_TRY(fd_view_fill(ctx, &f->v, d->x_t + p, b->t + at, labels_at(d, b, at), NULL));
    FD_TRY(fd_exec_run(ctx, f->v.e, 0, f->v.forward_end));
    return fd_exec_read(ctx, f->v.e, f->v.D, d->d_fake + p);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
/* log(1 + e^x), without overflow */
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* Gradient of mean softplus(-logit) over the whole batch at the x_t of this pass. */
static fd_status gan_gradient_pass(fd_ctx *ctx, fd_distiller *d, int at) {
    fd_tapped_view *t = &d->views.teacher;
    int64_t p = at * d->pixels, l = (int64_t)at * d->heads;
    double each = 1.0 / ((double)d->total * d->heads);
    for (int i = 0; i < d->spec.n * d->heads; i++)
        d->row_logits[i] = (float)(-sigmoid(-(double)d->logits[l + i]) * each);
    FD_TRY(fd_exec_write(ctx, t->v.e, t->dlogits, d->row_logits));
    FD_TRY(fd_exec_run(ctx, t->v.e, t->logits_end, -1));
    return fd_exec_read(ctx, t->v.e, t->dx, d->dg_gan + p);
}

static fd_status teacher_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    fd_tapped_view *t = &d->views.teacher;
    const fd_distill_method *m = d->spec.method;
    int64_t p = at * d->pixels, n = d->spec.n * d->pixels;
    bool guided = m->guidance != 1;
    if (guided) {
        FD_TRY(fd_view_fill(ctx, &t->v, d->x_t + p, b->t + at, NULL, NULL));
        FD_TRY(fd_exec_run(ctx, t->v.e, 0, t->v.forward_end));
        FD_TRY(fd_exec_read(ctx, t->v.e, t->v.D, d->uncond));
    }
    FD_TRY(fd_view_fill(ctx, &t->v, d->x_t + p, b->t + at, labels_at(d, b, at), NULL));
    FD_TRY(fd_exec_run(ctx, t->v.e, 0, t->logits_end));
    FD_TRY(fd_exec_read(ctx, t->v.e, t->v.D, d->d_teacher + p));
    if (guided) {
        float more = (float)(m->guidance - 1);
        for (int64_t i = 0; i < n; i++) d->d_teacher[p + i] += more * (d->d_teacher[p + i] - d->uncond[i]);
    }
    if (!d->heads) return FD_OK;
    FD_TRY(fd_exec_read(ctx, t->v.e, t->logits, d->logits + (int64_t)at * d->heads));
    return m->gan_weight > 0 ? gan_gradient_pass(ctx, d, at) : FD_OK;
}

/* ---- student step ------------------------------------------------------------------------------------------------ */

/* The weight of the GAN term's gradient in this step: lambda, less where it would exceed its share of the score's. */
static double gan_factor(const fd_distill_method *m, double vsd, double gan) {
    const double most = m->gan_limit * vsd, asked = m->gan_weight * gan;
    return m->gan_limit > 0 && asked > most ? m->gan_weight * most / asked : m->gan_weight;
}

/* What the scores ask of the number p of the batch, before the mean is taken. */
static double score_push(const fd_distiller *d, int64_t p) {
    return (double)d->w[p / d->pixels] * ((double)d->d_fake[p] - (double)d->d_teacher[p]);
}

/* w and the two parts of the image gradient, from what all passes gathered. */
static fd_status image_gradient(fd_ctx *ctx, fd_distiller *d, fd_student_step *out) {
    const fd_distill_method *m = d->spec.method;
    int64_t batch = d->spec.batch, all = d->total * d->pixels;
    double squares = 0, gan = 0, logits = 0;
    bool with_gan = d->heads && m->gan_weight > 0;
    for (int64_t i = 0; i < batch; i++) {
        double distance = 0;
        const int64_t from = i * d->pixels, to = from + d->pixels;
        for (int64_t p = from; p < to; p++) distance += fabs((double)d->g[p] - (double)d->d_teacher[p]);
        d->w[i] = (float)((double)d->h[i] / (distance / (double)d->pixels + 1e-6));
        for (int64_t p = from; p < to; p++) {
            double push = score_push(d, p);
            squares += push * push;
            gan += with_gan ? (double)d->dg_gan[p] * (double)d->dg_gan[p] : 0;
        }
    }
    for (int64_t i = 0; i < batch * d->heads; i++) logits += softplus(-(double)d->logits[i]);
    double sum[] = {squares, gan, logits};
    FD_TRY(fd_comm_sum_f64(ctx, sum, (int)FD_COUNT(sum)));
    out->loss_vsd = 0.5 * sum[0] / (double)all;
    out->norm_vsd = sqrt(sum[0]) / (double)all;
    const double lambda = gan_factor(m, out->norm_vsd, sqrt(sum[1]));
    out->norm_gan = lambda * sqrt(sum[1]);
    for (int64_t p = 0; p < batch * d->pixels; p++)
        d->dg[p] = (float)(score_push(d, p) / (double)all + (with_gan ? lambda * (double)d->dg_gan[p] : 0));
    out->loss_gan = d->heads ? sum[2] / (double)(d->total * (int64_t)d->heads) : 0;
    out->loss = out->loss_vsd + m->gan_weight * out->loss_gan;
    return FD_OK;
}

static fd_status student_backward_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    fd_student_view *s = &d->views.student;
    int64_t p = at * d->pixels;
    /* With one pass the activations of the forward run are still there. */
    if (d->spec.n < d->spec.batch) FD_TRY(student_pass(ctx, d, b, at));
    FD_TRY(fd_exec_write(ctx, s->v.e, s->dD, d->dg + p));
    return fd_exec_run(ctx, s->v.e, s->forward_end, -1);
}

/* The ratio looks at the samples of all ranks, and gives every rank the same. Without heads there is no ratio: h = 1. */
static fd_status weigh(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, fd_ratio *ratio,
                       const fd_ratio_stages *stages, fd_student_step *out) {
    if (d->heads) {
        const size_t batch = (size_t)d->spec.batch;
        FD_TRY(fd_comm_gather(ctx, d->logits, batch * (size_t)d->heads * sizeof *d->logits, d->all_logits));
        FD_TRY(fd_comm_gather(ctx, b->t, batch * sizeof *b->t, d->all_t));
        return fd_ratio_apply(ctx, ratio, d->spec.method->divergence, d->all_logits, d->heads, d->all_t, d->total, d->all_h,
                              stages, &out->ratio);
    }
    for (int i = 0; i < d->spec.batch; i++) d->h[i] = 1;
    out->ratio = (fd_ratio_stats){.h_min = 1, .h_mean = 1, .h_max = 1};
    return FD_OK;
}

fd_status fd_distiller_student(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, fd_ratio *ratio,
                               const fd_ratio_stages *stages, fd_student_step *out) {
    *out = (fd_student_step){.g = d->g, .x_t = d->x_t, .d_fake = d->d_fake, .d_teacher = d->d_teacher,
                             .logits = d->logits, .h = d->h, .w = d->w, .dg = d->dg, .dg_gan = d->dg_gan};
    for (int at = 0; at < d->spec.batch; at += d->spec.n) {
        FD_TRY(generate_pass(ctx, d, b, at));
        FD_TRY(fake_score_pass(ctx, d, b, at));
        FD_TRY(teacher_pass(ctx, d, b, at));
    }
    FD_TRY(weigh(ctx, d, b, ratio, stages, out));
    FD_TRY(image_gradient(ctx, d, out));
    for (int at = 0; at < d->spec.batch; at += d->spec.n) FD_TRY(student_backward_pass(ctx, d, b, at));
    return FD_OK;
}

/* |gap| without its corner: grows like the square of gaps below ROUNDED. */
#define ROUNDED 0.1
static double rounded(double gap) { return sqrt(gap * gap + ROUNDED * ROUNDED); }

/* How far an image is from its target. */
static double distance(const float *g, const float *target, int64_t pixels) {
    double sum = 0;
    for (int64_t p = 0; p < pixels; p++) {
        sum += rounded((double)g[p] - (double)target[p]) - ROUNDED;
    }
    return sum / (double)pixels;
}

/* The distance that counts as half a miss. Where one step cannot tell which of several images the noise leads to, a distance is least
 * somewhere between them; a loss that hardly grows any more far away is least at one of them (Geman and McClure's function). */
#define NEAR 0.03

fd_status fd_distiller_regress(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, const float *target, double weight,
                               double *loss) {
    double sum = 0;
    for (int at = 0; at < d->spec.batch; at += d->spec.n) FD_TRY(student_pass(ctx, d, b, at));
    for (int i = 0; i < d->spec.batch; i++) {
        const int64_t first = i * d->pixels;
        const double far = distance(d->g + first, target + first, d->pixels), from = far + NEAR;
        const double slope = weight * NEAR / (from * from) / ((double)d->total * (double)d->pixels);
        sum += far / from;
        for (int64_t p = first; p < first + d->pixels; p++) {
            const double gap = (double)d->g[p] - (double)target[p];
            d->dg[p] = (float)(slope * gap / rounded(gap));
        }
    }
    FD_TRY(fd_comm_sum_f64(ctx, &sum, 1));
    *loss = sum / d->total;
    for (int at = 0; at < d->spec.batch; at += d->spec.n) FD_TRY(student_backward_pass(ctx, d, b, at));
    return FD_OK;
}

/* ---- critic step ------------------------------------------------------------------------------------------------- */

static fd_status fake_loss_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at, fd_critic_step *out) {
    fd_fake_view *f = &d->views.fake;
    int64_t p = at * d->pixels;
    float *weight = d->row_loss;
    double sd = d->nets.fake->config.sigma_data;
    for (int i = 0; i < d->spec.n; i++) {
        double t = b->t[at + i], w = d->spec.method->fake_edm_weight ? (t * t + sd * sd) / (t * sd * t * sd) : 1;
        weight[i] = (float)(w / (double)d->pixels);
    }
    FD_TRY(fd_exec_write(ctx, f->v.e, f->weight, weight));
    FD_TRY(fd_exec_fill(ctx, f->v.e, f->dloss, 1.0f / (float)d->total));
    FD_TRY(fd_view_fill(ctx, &f->v, d->x_t + p, b->t + at, labels_at(d, b, at), NULL));
    FD_TRY(fd_exec_write(ctx, f->v.e, f->target, d->g + p));
    FD_TRY(fd_exec_run(ctx, f->v.e, 0, -1));
    FD_TRY(fd_exec_read(ctx, f->v.e, f->v.D, d->d_fake + p));
    FD_TRY(fd_exec_read(ctx, f->v.e, f->loss, d->row_loss));
    for (int i = 0; i < d->spec.n; i++) out->loss_fake_score += (double)d->row_loss[i] / d->total;
    return FD_OK;
}

/* Rows of the critic's view: n generated, n real, n perturbed real ones under R1. */
static fd_status critic_rows(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at) {
    int n = d->spec.n;
    int64_t p = at * d->pixels, block = n * d->pixels;
    const float *labels = labels_at(d, b, at);
    memcpy(d->rows, d->x_t + p, sizeof(float) * (size_t)block);
    add_noise(b->real + p, b->t_real + at, b->eps_real + p, n, d->pixels, d->rows + block);
    for (int i = 0; i < n; i++) {
        d->row_t[i] = b->t[at + i];
        d->row_t[n + i] = d->row_t[2 * n + i] = b->t_real[at + i];
    }
    /* Clean images, hardly perturbed, shown as if they had noise t_real: as the published code does. */
    for (int64_t i = 0; d->r1 && i < block; i++)
        d->rows[2 * block + i] = (float)((double)b->real[p + i] + d->spec.method->r1_alpha * (double)b->r1_noise[p + i]);
    for (int k = 0; labels && k < (d->r1 ? 3 : 2); k++)
        memcpy(d->row_labels + (int64_t)k * n * d->label_dim, labels, sizeof(float) * (size_t)n * (size_t)d->label_dim);
    return fd_view_fill(ctx, &d->views.critic.v, d->rows, d->row_t, labels ? d->row_labels : NULL, NULL);
}

/* Loss and gradient at the logits of the rows; logits are in row_logits, gradients replace them. */
static void discriminate(fd_distiller *d, int at, fd_critic_step *out) {
    int count = d->spec.n * d->heads;
    float *fake = d->row_logits, *real = fake + count, *r1 = real + count;
    double each = 1.0 / ((double)d->total * d->heads), penalty = d->spec.method->r1_weight;
    int64_t l = (int64_t)at * d->heads;
    for (int i = 0; i < count; i++) {
        double lf = fake[i], lr = real[i];
        d->logits[l + i] = fake[i];
        d->logits_real[l + i] = real[i];
        out->loss_disc += (softplus(lf) + softplus(-lr)) * each;
        out->accuracy_fake += (lf < 0) * each;
        out->accuracy_real += (lr > 0) * each;
        fake[i] = (float)(sigmoid(lf) * each);
        real[i] = (float)(-sigmoid(-lr) * each);
        if (!d->r1) continue;
        double gap = lr - (double)r1[i];
        d->logits_r1[l + i] = r1[i];
        out->loss_r1 += gap * gap * each;
        real[i] = (float)(-sigmoid(-lr) * each + 2 * penalty * gap * each);
        r1[i] = (float)(-2 * penalty * gap * each);
    }
}

static fd_status heads_pass(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, int at, fd_critic_step *out) {
    fd_tapped_view *t = &d->views.critic;
    FD_TRY(critic_rows(ctx, d, b, at));
    FD_TRY(fd_exec_run(ctx, t->v.e, 0, t->logits_end));
    FD_TRY(fd_exec_read(ctx, t->v.e, t->logits, d->row_logits));
    discriminate(d, at, out);
    FD_TRY(fd_exec_write(ctx, t->v.e, t->dlogits, d->row_logits));
    return fd_exec_run(ctx, t->v.e, t->logits_end, -1);
}

fd_status fd_distiller_critic(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, fd_critic_step *out) {
    *out = (fd_critic_step){.g = d->g, .x_t = d->x_t, .d_fake = d->d_fake, .logits_fake = d->logits, .logits_real = d->logits_real,
                            .logits_r1 = d->r1 ? d->logits_r1 : NULL};
    for (int at = 0; at < d->spec.batch; at += d->spec.n) {
        FD_TRY(generate_pass(ctx, d, b, at));
        FD_TRY(fake_loss_pass(ctx, d, b, at, out));
        if (d->heads) FD_TRY(heads_pass(ctx, d, b, at, out));
    }
    double sum[] = {out->loss_fake_score, out->loss_disc, out->loss_r1, out->accuracy_fake, out->accuracy_real};
    FD_TRY(fd_comm_sum_f64(ctx, sum, (int)FD_COUNT(sum)));
    out->loss_fake_score = sum[0];
    out->loss_disc = sum[1];
    out->loss_r1 = sum[2];
    out->accuracy_fake = sum[3];
    out->accuracy_real = sum[4];
    out->loss = out->loss_fake_score + out->loss_disc + d->spec.method->r1_weight * out->loss_r1;
    return FD_OK;
}

/* ---- diagnosis --------------------------------------------------------------------------------------------------- */

fd_status fd_distiller_find_nonfinite(fd_ctx *ctx, fd_distiller *d, bool was_student, const char **scope, const char **op) {
    fd_distill_views *w = &d->views;
    fd_view *first[] = {&w->student.v, &w->fake.v, &w->teacher.v}, *critic[] = {&w->student.v, &w->fake.v, &w->critic.v};
    /* The student's own numbers before what others gave it. */
    FD_TRY(fd_exec_fill(ctx, w->student.v.e, w->student.dD, 0));
    for (int i = 0; i < 3; i++) {
        fd_view *v = was_student ? first[i] : critic[i];
        *scope = *op = NULL;
        if (v->e) FD_TRY(fd_exec_find_nonfinite(ctx, v->e, scope, op));
        if (*op) return FD_OK;
    }
    if (!was_student) return FD_OK;
    FD_TRY(fd_exec_write(ctx, w->student.v.e, w->student.dD, d->dg + (d->spec.batch - d->spec.n) * d->pixels));
    return fd_exec_find_nonfinite(ctx, w->student.v.e, scope, op);
}
