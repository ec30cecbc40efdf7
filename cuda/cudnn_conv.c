/* cudnn_conv.c — convolutions by cuDNN's graph interface, through its C backend. The only file that knows cuDNN, which is
 * loaded when the first convolution is planned; where it is not there, the tiled kernels of conv2d.cu run.
 *
 * A plan is one operation (forward, data gradient or weight gradient) on NHWC tensors; the first engine of cuDNN's
 * heuristics that is deterministic, keeps the precision asked for and fits is taken. Plans are kept per shape for the life
 * of the process. TF32 is used for f32 only when the environment variable FD_TF32 is 1.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include <cudnn.h>

#include "base/arena.h"
#include "base/library.h"
#include "cuda/conv.h"

#define WORKSPACE_MOST ((size_t)1 << 30)
#define ALIGN 256
enum { CANDIDATES = 16, DESCRIPTORS = 8 + CANDIDATES };
enum { UID_IMAGE = 1, UID_FILTER = 2, UID_RESULT = 3 };

/* ---- the library ------------------------------------------------------------------------------------------------- */

static struct {
    cudnnStatus_t (*create)(cudnnHandle_t *);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    cudnnStatus_t (*make)(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t *);
    cudnnStatus_t (*destroy)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*set)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t, const void *);
    cudnnStatus_t (*get)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t, int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t);
    const char *(*error)(cudnnStatus_t);
    size_t (*version)(void);
} dnn;
static cudnnHandle_t handle;
static bool tried, usable;
static char said[160] = "not looked for yet";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool find_functions(void *library) {
    const fd_symbol wanted[] = {
        {"cudnnCreate", &dnn.create}, {"cudnnSetStream", &dnn.set_stream}, {"cudnnBackendCreateDescriptor", &dnn.make},
        {"cudnnBackendDestroyDescriptor", &dnn.destroy}, {"cudnnBackendFinalize", &dnn.finalize},
        {"cudnnBackendSetAttribute", &dnn.set}, {"cudnnBackendGetAttribute", &dnn.get}, {"cudnnBackendExecute", &dnn.execute},
        {"cudnnGetErrorString", &dnn.error}, {"cudnnGetVersion", &dnn.version}};
    const char *lacks = fd_library_find(library, wanted, FD_COUNT(wanted));
    if (lacks) snprintf(said, sizeof said, "libcudnn.so.9 lacks %s", lacks);
    return !lacks;
}

static void open_library(void) {
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        snprintf(said, sizeof said, "libcudnn.so.9 cannot be loaded");
        return;
    }
    if (!find_functions(library)) return;
    cudnnStatus_t e = dnn.create(&handle);
    if (e == CUDNN_STATUS_SUCCESS) e = dnn.set_stream(handle, fd_cuda_stream());
    usable = e == CUDNN_STATUS_SUCCESS;
    size_t v = dnn.version();
    if (usable) snprintf(said, sizeof said, "cuDNN %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    else snprintf(said, sizeof said, "cuDNN cannot start: %.100s", dnn.error(e));
}

static bool ready(void) {
    if (!tried) open_library();
    tried = true;
    return usable;
}

const char *fd_cudnn_describe(void) {
    pthread_mutex_lock(&lock);
    ready();
    pthread_mutex_unlock(&lock);
    return said;
}

bool fd_cudnn_usable(void) {
    pthread_mutex_lock(&lock);
    bool good = ready();
    pthread_mutex_unlock(&lock);
    return good;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* Everything made for one plan; a failure is remembered and makes the rest do nothing. */
typedef struct {
    cudnnBackendDescriptor_t made[DESCRIPTORS];
    int n;
    bool failed;
} builder;

static cudnnBackendDescriptor_t make(builder *b, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t d = NULL;
    if (b->failed || b->n == DESCRIPTORS || dnn.make(type, &d) != CUDNN_STATUS_SUCCESS) {
        b->failed = true;
        return NULL;
    }
    return b->made[b->n++] = d;
}
static void set(builder *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int64_t count, const void *value) {
    if (!b->failed && dnn.set(d, name, type, count, value) != CUDNN_STATUS_SUCCESS) b->failed = true;
}
static void finish(builder *b, cudnnBackendDescriptor_t d) {
    if (!b->failed && dnn.finalize(d) != CUDNN_STATUS_SUCCESS) b->failed = true;
}
/* All but `kept`. */
static void destroy_all(builder *b, cudnnBackendDescriptor_t kept) {
    for (int i = b->n - 1; i >= 0; i--)
        if (b->made[i] != kept) dnn.destroy(b->made[i]);
}

static cudnnDataType_t type_of(fd_dtype dt) { return dt == FD_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

/* n, c, h, w with channels innermost; filters alike: K, C, R, S as [K][R][S][C]. */
static cudnnBackendDescriptor_t tensor(builder *b, int64_t uid, fd_shape s, fd_dtype dt) {
    cudnnBackendDescriptor_t d = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t dim[4] = {s.n, s.c, s.h, s.w}, stride[4] = {s.c * s.h * s.w, 1, s.w * s.c, s.c}, align = 16;
    const cudnnDataType_t type = type_of(dt);
    set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    finish(b, d);
    return d;
}

static cudnnBackendDescriptor_t convolution(builder *b, const fd_attr *a) {
    cudnnBackendDescriptor_t d = make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const int64_t dims = 2, stride[2] = {a->stride, a->stride}, pad[2] = {a->pad, a->pad_w}, one[2] = {1, 1};
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    finish(b, d);
    return d;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* x, w, y of the convolution whichever of them the role computes. */
typedef struct {
    fd_conv_role role;
    fd_shape x, w, y;
    fd_dtype xt, wt, yt;
    int stride, pad, pad_w;
} problem;

typedef struct plan {
    problem of;
    cudnnBackendDescriptor_t plan;      /* NULL: cuDNN has none for this problem */
    size_t workspace;
    struct plan *next;
} plan;

/* Engines that would change the numbers from run to run or below the precision asked for. */
static bool refused(cudnnBackendDescriptor_t config, const problem *p) {
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0, notes = 0;
    if (dnn.make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != CUDNN_STATUS_SUCCESS) return true;
    bool bad = dnn.get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) != CUDNN_STATUS_SUCCESS ||
               dnn.get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes,
                       note) != CUDNN_STATUS_SUCCESS;
    const char *tf32 = getenv("FD_TF32");
    bool exact = p->xt == FD_F32 && p->yt == FD_F32 && !(tf32 && !strcmp(tf32, "1"));
    for (int64_t i = 0; !bad && i < notes && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
        bad = note[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
              (exact && (note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
    dnn.destroy(engine);
    return bad;
}

static cudnnBackendDescriptor_t operation(builder *b, const problem *p, const fd_attr *a) {
    static const struct {
        cudnnBackendDescriptorType_t type;
        cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
    } names[] = {
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const float one = 1, nought = 0;
    cudnnBackendDescriptor_t x = tensor(b, UID_IMAGE, p->x, p->xt), w = tensor(b, UID_FILTER, p->w, p->wt),
                             y = tensor(b, UID_RESULT, p->y, p->yt), conv = convolution(b, a);
    cudnnBackendDescriptor_t op = make(b, names[p->role].type);
    set(b, op, names[p->role].conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv);
    set(b, op, names[p->role].x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    set(b, op, names[p->role].w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w);
    set(b, op, names[p->role].y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    set(b, op, names[p->role].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(b, op, names[p->role].beta, CUDNN_TYPE_FLOAT, 1, &nought);
    finish(b, op);
    return op;
}

/* The first of the heuristics' configurations that can be had. */
static cudnnBackendDescriptor_t choose(builder *b, cudnnBackendDescriptor_t graph, const problem *p, size_t *workspace) {
    const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    for (size_t m = 0; m < FD_COUNT(modes); m++) {
        cudnnBackendDescriptor_t heuristics = NULL, config[CANDIDATES] = {0}, found = NULL;
        int64_t n = 0;
        if (dnn.make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics) != CUDNN_STATUS_SUCCESS) return NULL;
        builder h = {.made = {heuristics}, .n = 1};
        set(&h, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
        set(&h, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &modes[m]);
        finish(&h, heuristics);
        for (int i = 0; i < CANDIDATES; i++) config[i] = make(&h, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        if (!h.failed && dnn.get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, CANDIDATES, &n, config) !=
                             CUDNN_STATUS_SUCCESS)
            n = 0;
        for (int64_t i = 0; i < n && i < CANDIDATES && !found && !h.failed; i++) {
            cudnnBackendDescriptor_t made = NULL;
            int64_t bytes = 0, got = 0;
            if (refused(config[i], p) || dnn.make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &made) != CUDNN_STATUS_SUCCESS) continue;
            bool good = dnn.set(made, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) == CUDNN_STATUS_SUCCESS &&
                        dnn.set(made, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config[i]) ==
                            CUDNN_STATUS_SUCCESS &&
                        dnn.finalize(made) == CUDNN_STATUS_SUCCESS &&
                        dnn.get(made, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got, &bytes) ==
                            CUDNN_STATUS_SUCCESS &&
                        bytes >= 0 && (size_t)bytes <= WORKSPACE_MOST;
            if (good) found = made, *workspace = (size_t)bytes;
            else dnn.destroy(made);
        }
        destroy_all(&h, NULL);
        if (found) return found;
    }
    return NULL;
}

static cudnnBackendDescriptor_t make_plan(const problem *p, const fd_attr *a, size_t *workspace) {
    builder b = {.n = 0};
    cudnnBackendDescriptor_t op = operation(&b, p, a), graph = make(&b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR), found = NULL;
    set(&b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    set(&b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &op);
    finish(&b, graph);
    if (!b.failed) found = choose(&b, graph, p, workspace);
    destroy_all(&b, NULL);
    return found;
}

static plan *plans;

static bool same(const problem *a, const problem *b) {
    return a->role == b->role && fd_same_shape(a->x, b->x) && fd_same_shape(a->w, b->w) && fd_same_shape(a->y, b->y) &&
           a->xt == b->xt && a->wt == b->wt && a->yt == b->yt && a->stride == b->stride && a->pad == b->pad && a->pad_w == b->pad_w;
}

/* *out: the plan, NULL where there is none. */
static fd_status find_plan(fd_ctx *ctx, const problem *p, const fd_attr *a, plan **out) {
    for (*out = plans; *out; *out = (*out)->next)
        if (same(&(*out)->of, p)) return FD_OK;
    plan *n = fd_alloc(ctx, sizeof *n);
    if (!n) return FD_E_NOMEM;
    n->of = *p;
    n->plan = make_plan(p, a, &n->workspace);
    n->next = plans;
    *out = plans = n;
    return FD_OK;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

/* The workspace of a call: the packed filter, the bias gradient's parts, cuDNN's own. */
static size_t filter_bytes(const problem *p) { return aligned(fd_tensor_bytes(p->w, p->wt)); }
static size_t bias_bytes(const problem *p) {
    return p->role == FD_CONV_BWD_W ? aligned(FD_BIAS_PARTS * (size_t)p->y.c * sizeof(float)) : 0;
}

static problem problem_of(const fd_call *c, fd_conv_role role) {
    const fd_buf *x = role == FD_CONV_FORWARD ? &c->in[0] : role == FD_CONV_BWD_X ? &c->out[0] : &c->in[1];
    const fd_buf *y = role == FD_CONV_FORWARD ? &c->out[0] : &c->in[0];
    const fd_buf *w = role == FD_CONV_BWD_W ? &c->out[0] : &c->in[1];
    /* Filters take the type of what they meet; their gradient stays f32 where an engine can. */
    fd_dtype wt = role == FD_CONV_FORWARD ? x->dt : role == FD_CONV_BWD_X ? y->dt : FD_F32;
    return (problem){role, x->s, w->s, y->s, x->dt, wt, y->dt, c->attr.stride, c->attr.pad, c->attr.pad_w};
}

static fd_status prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role) {
    if (!ready()) return FD_E_UNSUPPORTED;
    problem p = problem_of(c, role);
    plan *found;
    FD_TRY(find_plan(ctx, &p, &c->attr, &found));
    if (!found->plan && role == FD_CONV_BWD_W && p.xt == FD_BF16) {
        p.wt = FD_BF16;
        FD_TRY(find_plan(ctx, &p, &c->attr, &found));
    }
    if (!found->plan) return FD_E_UNSUPPORTED;
    c->state = found;
    c->algo = "cudnn";
    c->work_bytes = filter_bytes(&p) + bias_bytes(&p) + found->workspace;
    return FD_OK;
}

fd_status fd_cudnn_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role) {
    pthread_mutex_lock(&lock);
    fd_status s = prepare(ctx, c, role);
    pthread_mutex_unlock(&lock);
    return s;
}

/* Plans belong to the cache. */
void fd_cudnn_release(void *state) {}

static fd_status execute(fd_ctx *ctx, const plan *p, void *x, void *w, void *y, void *workspace) {
    builder b = {.n = 0};
    cudnnBackendDescriptor_t pack = make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    void *pointer[] = {x, w, y};
    const int64_t uid[] = {UID_IMAGE, UID_FILTER, UID_RESULT};
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, uid);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointer);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    finish(&b, pack);
    cudnnStatus_t e = b.failed ? CUDNN_STATUS_BAD_PARAM : dnn.execute(handle, p->plan, pack);
    destroy_all(&b, NULL);
    if (e == CUDNN_STATUS_SUCCESS) return fd_cuda_launched(ctx);
    return FD_FAIL(ctx, FD_E_DEVICE, "cuDNN failed: %s", dnn.error(e));
}

fd_status fd_cudnn_run(fd_ctx *ctx, const fd_call *c, fd_conv_role role) {
    const plan *p = c->state;
    const fd_shape w = p->of.w;
    char *filter = c->work, *bias = filter + filter_bytes(&p->of), *workspace = bias + bias_bytes(&p->of);
    if (role == FD_CONV_BWD_W) {
        FD_TRY(execute(ctx, p, c->in[1].p, filter, c->in[0].p, workspace));
        fd_cuda_add_filter(c->out[0].p, filter, p->of.wt, w);
        if (c->out[1].p) fd_cuda_bias_gradient(c->out[1].p, &c->in[0], (float *)(void *)bias);
        return fd_cuda_launched(ctx);
    }
    fd_cuda_pack_filter(filter, p->of.wt, c->in[1].p, w);
    if (role == FD_CONV_BWD_X) return execute(ctx, p, c->out[0].p, filter, c->in[0].p, workspace);
    FD_TRY(execute(ctx, p, c->in[0].p, filter, c->out[0].p, workspace));
    fd_cuda_finish_conv(&c->out[0], c->in[2].p, c->attr.act != 0);
    return fd_cuda_launched(ctx);
}
