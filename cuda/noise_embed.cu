/* noise_embed: a few thousand numbers per step, so each is computed in double as the reference does. */
#include "cuda/kernel.cuh"

static __global__ void embed(float *e, const float *level, const float *freqs, int64_t n, int half, int endpoint, int cos_first) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int j = (int)(i % half);
    const int64_t sample = i / half;
    const float f = freqs ? (float)(2.0 * 3.14159265358979323846 * (double)freqs[j])
                          : (float)pow(10000.0, -(double)j / (double)(half - endpoint));
    const double angle = (double)__fmul_rn(level[sample], f);
    float *row = e + sample * 2 * half;
    row[(cos_first ? 0 : half) + j] = (float)cos(angle);
    row[(cos_first ? half : 0) + j] = (float)sin(angle);
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *e = &c->out[0];
    const int half = (int)(e->s.c / 2);
    FD_LAUNCH(embed, grid_of(e->s.n * half), dim3(THREADS), 0, (float *)e->p, (const float *)c->in[0].p,
              (const float *)c->in[1].p, e->s.n * half, half, c->attr.endpoint, c->attr.mode == FD_EMBED_COS_SIN);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_noise_embed = {NULL, run, NULL};
