/* The file: two lines that say what it holds of which machine, then a line per convolution,
 *
 *   <ms directly> <ms by Winograd> <ms by AMX> <role> <type> <inputs>x<height>x<width> to <outputs> pad <p> blocks <in> <out>
 *
 * in the order they were measured, "inf" where that way cannot. It is read when the first convolution is planned, and
 * written anew after each measurement: whole or not at all, and two processes that measure at once lose nothing but time.
 */
#include "cpu/tune.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/version.h"
#include "cpu/describe.h"

#define TITLE "fdistill convolutions, 2\n"

enum {
    MOST = 1024,            /* more than all networks of this project have together; beyond it the rules decide */
    KEY = 80,
    LEAST_RUNS = 3, MOST_RUNS = 20,
};
#define ENOUGH 0.06         /* seconds of one measurement, if MOST_RUNS do not come first */

typedef struct {
    char key[KEY];
    double ms[FD_CONV_ALGORITHMS];  /* infinite: cannot; that of FD_CONV_AUTO is not used */
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry table[MOST];
static int known, loaded_threads = -1;
static bool announced;

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void machine_line(int threads, char *out, size_t size) {
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    snprintf(out, size, "%s; %s; %s; %d threads; fdistill %s\n", f.processor, f.isa, f.onednn, threads, fd_version());
}

void fd_tune_path(int threads, char out[4096]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char machine[256], hex[65];
    out[0] = 0;
    if (!(cache && *cache) && !(home && *home)) return;
    machine_line(threads, machine, sizeof machine);
    fd_sha256 h;
    fd_sha256_init(&h);
    fd_sha256_add(&h, machine, strlen(machine));
    fd_sha256_hex(&h, hex);
    int n = cache && *cache ? snprintf(out, 4096, "%s/fdistill/convolutions-%.16s.txt", cache, hex)
                            : snprintf(out, 4096, "%s/.cache/fdistill/convolutions-%.16s.txt", home, hex);
    if (n >= 4096) out[0] = 0;
}

/* One line without its end; false: none of ours. */
static bool parse(char *line, entry *e) {
    for (int a = FD_CONV_DIRECT; a < FD_CONV_ALGORITHMS; a++) {
        char *end;
        e->ms[a] = strtod(line, &end);
        if (end == line || *end != ' ' || !(e->ms[a] > 0)) return false;
        line = end;
    }
    return snprintf(e->key, KEY, "%s", line + 1) < KEY;
}

/* Number of the first line that is not as it should be, 0 when all are. */
static int parse_all(char *text, int threads) {
    char machine[256];
    machine_line(threads, machine, sizeof machine);
    const size_t title = strlen(TITLE), second = strlen(machine);
    if (strncmp(text, TITLE, title)) return 1;
    if (strncmp(text + title, machine, second)) return 2;
    int at = 3;
    for (char *line = text + title + second, *end; *line; line = end + 1, at++) {
        end = strchr(line, '\n');
        if (!end || known == MOST) return at;
        *end = 0;
        if (!parse(line, &table[known])) return at;
        known++;
    }
    return 0;
}

/* A cache that cannot be read is no reason to stop: the rules do without it. */
static void load(fd_ctx *ctx, int threads) {
    if (loaded_threads == threads) return;
    loaded_threads = threads;
    known = 0;
    char path[4096];
    fd_tune_path(threads, path);
    FILE *f = path[0] ? fopen(path, "rb") : NULL;
    if (!f) return;
    static char text[MOST * (KEY + 40)];
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    int bad = strlen(text) == n ? parse_all(text, threads) : 1;
    if (!bad) return;
    known = 0;
    if (!ctx->silent)
        fprintf(stderr, "fdistill: warning: %s: line %d is no measurement of a convolution: not used; delete the file\n", path, bad);
}

static fd_status save(fd_ctx *ctx, int threads) {
    char path[4096], folder[4096], machine[256];
    fd_tune_path(threads, path);
    if (!path[0]) return FD_FAIL(ctx, FD_E_IO, "--tune on: neither HOME nor XDG_CACHE_HOME is set; set one, or leave the option out");
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    FD_TRY(fd_make_folder(ctx, folder));
    fd_outfile o;
    FD_TRY(fd_outfile_open(ctx, path, &o));
    machine_line(threads, machine, sizeof machine);
    fprintf(o.f, TITLE "%s", machine);
    for (int i = 0; i < known; i++) {
        for (int a = FD_CONV_DIRECT; a < FD_CONV_ALGORITHMS; a++) fprintf(o.f, "%.4g ", table[i].ms[a]);
        fprintf(o.f, "%s\n", table[i].key);
    }
    return fd_outfile_commit(ctx, &o);
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* One of the ways: a call with memory of its own. */
typedef struct {
    fd_call call;
    fd_arena arena;
    uint64_t version;              /* of the weights: they are packed once, as in a run */
    bool ready;
    double best;                   /* seconds */
} rival;

static fd_status operand(fd_ctx *ctx, fd_arena *a, fd_buf *b) {
    char *p;
    b->p = NULL;
    if (!fd_has(b)) return FD_OK;
    const int64_t n = fd_count(b->s);
    FD_NEW(ctx, a, p, n * (int64_t)fd_dtype_bytes(b->dt));
    for (int64_t i = 0; i < n; i++)
        if (b->dt == FD_BF16) ((uint16_t *)p)[i] = 0x3e00;                /* 0.125: not zero, which may cost less power */
        else ((float *)p)[i] = 0.125f;
    b->p = p;
    return FD_OK;
}

static fd_status get_ready(fd_ctx *ctx, rival *r, const fd_call *call, fd_conv_role role, fd_conv_prepare_fn *prepare,
                           fd_conv_algorithm how) {
    fd_call *c = &r->call;
    *c = *call;
    fd_status s = prepare(ctx, c, role, how);
    if (s == FD_E_UNSUPPORTED && ctx->code == FD_OK) return FD_OK;
    FD_TRY(s);
    r->ready = true;
    for (int k = 0; k < FD_MAX_IN; k++) {
        FD_TRY(operand(ctx, &r->arena, &c->in[k]));
        if (c->version[k]) c->version[k] = &r->version;
    }
    for (int k = 0; k < FD_MAX_OUT; k++) FD_TRY(operand(ctx, &r->arena, &c->out[k]));
    char *work;
    FD_NEW(ctx, &r->arena, work, (int64_t)c->work_bytes + 1);
    c->work = work;
    return ((const fd_conv_state *)c->state)->run(ctx, c);
}

/* In turns, so that other work on the machine meets both. */
static fd_status race(fd_ctx *ctx, rival r[FD_CONV_ALGORITHMS]) {
    double total = 0;
    for (int i = 0; i < LEAST_RUNS || (i < MOST_RUNS && total < ENOUGH); i++)
        for (int k = FD_CONV_DIRECT; k < FD_CONV_ALGORITHMS; k++) {
            if (!r[k].ready) continue;
            const double start = fd_now();
            FD_TRY(((const fd_conv_state *)r[k].call.state)->run(ctx, &r[k].call));
            const double took = fd_now() - start;
            total += took;
            if (took < r[k].best) r[k].best = took;
        }
    return FD_OK;
}

static fd_status measure(fd_ctx *ctx, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare, entry *e) {
    rival r[FD_CONV_ALGORITHMS] = {0};
    fd_status s = FD_OK;
    for (int k = FD_CONV_DIRECT; k < FD_CONV_ALGORITHMS && s == FD_OK; k++) {
        r[k] = (rival){.version = 1, .best = INFINITY};
        if (fd_conv_suits(c, role, (fd_conv_algorithm)k)) s = get_ready(ctx, &r[k], c, role, prepare, (fd_conv_algorithm)k);
    }
    if (s == FD_OK) s = race(ctx, r);
    for (int k = FD_CONV_DIRECT; k < FD_CONV_ALGORITHMS; k++) {
        if (r[k].ready) ((const fd_conv_state *)r[k].call.state)->release(r[k].call.state);
        fd_arena_free(&r[k].arena);
        e->ms[k] = r[k].best * 1e3;
    }
    return s;
}

static fd_status add(fd_ctx *ctx, const char *key, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare) {
    entry *e = &table[known];
    if (!announced && !ctx->quiet && !ctx->silent)
        fprintf(stderr, "measuring the convolutions of this network, once for this machine\n");
    announced = true;
    FD_TRY(measure(ctx, c, role, prepare, e));
    snprintf(e->key, KEY, "%s", key);
    known++;
    return save(ctx, c->threads);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static void describe(const fd_call *c, fd_conv_role role, char key[KEY]) {
    static const char *const names[] = {"forward", "data-gradient", "weight-gradient"};
    const fd_buf *in = &c->in[role == FD_CONV_BWD_W], *out = role == FD_CONV_BWD_W ? &c->in[0] : &c->out[0];
    snprintf(key, KEY, "%s %s %lldx%lldx%lld to %lld pad %d blocks %d %d", names[role],
             in->dt == FD_BF16 || out->dt == FD_BF16 ? "bf16" : "f32", (long long)in->s.c, (long long)in->s.h, (long long)in->s.w,
             (long long)out->s.c, c->attr.pad, in->block, out->block);
}

static const entry *find(const char *key) {
    for (int i = 0; i < known; i++)
        if (!strcmp(table[i].key, key)) return &table[i];
    return NULL;
}

fd_status fd_tune_choose(fd_ctx *ctx, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare, fd_conv_algorithm *a) {
    if (ctx->tune == FD_TUNE_OFF) return FD_OK;
    char key[KEY];
    describe(c, role, key);
    fd_status s = FD_OK;
    pthread_mutex_lock(&lock);
    load(ctx, c->threads);
    const entry *e = find(key);
    if (!e && ctx->tune == FD_TUNE_ON && known < MOST) {
        s = add(ctx, key, c, role, prepare);
        e = find(key);
    }
    for (int k = FD_CONV_DIRECT; e && k < FD_CONV_ALGORITHMS; k++)
        if (k == FD_CONV_DIRECT || e->ms[k] <= e->ms[*a]) *a = (fd_conv_algorithm)k;
    pthread_mutex_unlock(&lock);
    return s;
}

int fd_tune_known(fd_ctx *ctx, int threads) {
    pthread_mutex_lock(&lock);
    load(ctx, threads);
    int n = known;
    pthread_mutex_unlock(&lock);
    return n;
}

void fd_tune_forget(void) {
    pthread_mutex_lock(&lock);
    loaded_threads = -1;
    known = 0;
    pthread_mutex_unlock(&lock);
}
