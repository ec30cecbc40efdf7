/* rng.c — Philox4x32-10 and the inverse normal CDF. Compiled with -ffp-contract=off: the bits decide the pictures. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

static inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t c0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, c2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = c0;
        c[2] = c2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

void fd_rng_words(const fd_rng *r, uint64_t draw, uint32_t out[4]) {
    uint32_t c[4] = {(uint32_t)draw, (uint32_t)(draw >> 32), (uint32_t)r->index, (uint32_t)(r->index >> 32)};
    philox(c, (uint32_t)r->seed, (uint32_t)(r->seed >> 32) ^ r->purpose);
    memcpy(out, c, sizeof c);
}

/* Odd multiples of 2^-53: never 0 or 1, symmetric about 1/2, and every step exact in double. The upper 52 bits are
 * placed under the exponent of 1.0 instead of converted, which vectorises without a 64-bit integer conversion. */
static inline double unit(uint32_t high, uint32_t low) {
    uint64_t bits = 0x3FF0000000000000u | ((uint64_t)high << 32 | low) >> 12;
    double d;
    memcpy(&d, &bits, sizeof d);
    return (d - 1.0) + 0x1p-53;
}

double fd_rng_uniform(const fd_rng *r, uint64_t draw) {
    uint32_t w[4];
    fd_rng_words(r, draw, w);
    return unit(w[0], w[1]);
}

uint64_t fd_rng_below(const fd_rng *r, uint64_t draw, uint64_t n) {
    uint32_t w[4];
    fd_rng_words(r, draw, w);
    return (uint64_t)((unsigned __int128)((uint64_t)w[0] << 32 | w[1]) * n >> 64);
}

/* ln x for normal x > 0: x = m 2^e with m in [sqrt 1/2, sqrt 2), ln m = 2 artanh((m-1)/(m+1)) by its series. */
static double natural_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    double s = (m - 1.0) / (m + 1.0), z = s * s, t = 1.0 / 23.0;
    for (int k = 21; k >= 3; k -= 2) t = t * z + 1.0 / k;
    double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    return e * ln2_high + (2.0 * s + (2.0 * s * z * t + e * ln2_low));
}

#define POLY7(x, c) \
    (((((((c[7] * (x) + c[6]) * (x) + c[5]) * (x) + c[4]) * (x) + c[3]) * (x) + c[2]) * (x) + c[1]) * (x) + c[0])

/* Rational approximations of Wichura, "Algorithm AS 241", Appl. Statist. 37 (1988), routine PPND16. */
static const double center_p[8] = {
    3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
    4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3};
static const double center_q[8] = {
    1.0,                      4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
    2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3};
static const double tail_p[8] = {
    1.42343711074968357734e0, 4.63033784615654529590e0,  5.76949722146069140550e0,  3.64784832476320460504e0,
    1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double tail_q[8] = {
    1.0,                       2.05319162663775882187e0,  1.67638483018380384940e0,  6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
static const double far_p[8] = {
    6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,  2.96560571828504891230e-1,
    2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
static const double far_q[8] = {
    1.0,                       5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15};

#define CENTER 0.425     /* |u - 1/2| up to here needs neither log nor root */

static inline double normal_center(double q) {
    double r = 0.180625 - q * q;
    return q * POLY7(r, center_p) / POLY7(r, center_q);
}

static double normal_tail(double u, double q) {
    double r = sqrt(-natural_log(q < 0 ? u : 1.0 - u)), z;
    if (r <= 5.0) {
        r -= 1.6;
        z = POLY7(r, tail_p) / POLY7(r, tail_q);
    } else {
        r -= 5.0;
        z = POLY7(r, far_p) / POLY7(r, far_q);
    }
    return q < 0 ? -z : z;
}

double fd_rng_normal(const fd_rng *r, uint64_t draw) {
    uint32_t w[4];
    fd_rng_words(r, draw >> 1, w);
    double u = draw & 1 ? unit(w[2], w[3]) : unit(w[0], w[1]), q = u - 0.5;
    return q >= -CENTER && q <= CENTER ? normal_center(q) : normal_tail(u, q);
}

#define LANES 128        /* Philox blocks per pass; two normals each */

/* Wider vectors where the machine has them; with contraction off they give the same bits. The sanitizers cannot run
 * the resolver function that picks a version at load time. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define WIDE
#endif

/* The 2 LANES normals of blocks first … first+LANES-1: the centre formula for all, then the few outside it again. */
WIDE static void normals_pass(const fd_rng *r, uint64_t first, float *restrict out) {
    uint32_t c[4][LANES];
    for (int i = 0; i < LANES; i++) {
        uint64_t block = first + (uint64_t)i;
        c[0][i] = (uint32_t)block;
        c[1][i] = (uint32_t)(block >> 32);
        c[2][i] = (uint32_t)r->index;
        c[3][i] = (uint32_t)(r->index >> 32);
    }
    uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32) ^ r->purpose;
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < LANES; i++) {
            uint64_t a = (uint64_t)0xD2511F53u * c[0][i], b = (uint64_t)0xCD9E8D57u * c[2][i];
            c[0][i] = (uint32_t)(b >> 32) ^ c[1][i] ^ k0;
            c[2][i] = (uint32_t)(a >> 32) ^ c[3][i] ^ k1;
            c[1][i] = (uint32_t)b;
            c[3][i] = (uint32_t)a;
        }
    double u[2][LANES], z[2][LANES];
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < LANES; i++) u[half][i] = unit(c[2 * half][i], c[2 * half + 1][i]);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < LANES; i++) z[half][i] = normal_center(u[half][i] - 0.5);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < LANES; i++) {
            double q = u[half][i] - 0.5;
            if (q < -CENTER || q > CENTER) z[half][i] = normal_tail(u[half][i], q);
        }
    for (int i = 0; i < LANES; i++) {
        out[2 * i] = (float)z[0][i];
        out[2 * i + 1] = (float)z[1][i];
    }
}

void fd_rng_normals(const fd_rng *r, uint64_t first, size_t n, float *out) {
    size_t i = 0;
    if (first & 1 && n) out[i++] = (float)fd_rng_normal(r, first);
    size_t passes = (n - i) / (2 * LANES);
    uint64_t block = (first + i) >> 1;
    /* Below some thousand numbers waking the threads costs more than it saves. */
#pragma omp parallel for schedule(static) if (passes >= 64)
    for (size_t p = 0; p < passes; p++) normals_pass(r, block + p * LANES, out + i + p * 2 * LANES);
    for (i += passes * 2 * LANES; i < n; i++) out[i] = (float)fd_rng_normal(r, first + i);
}

uint64_t fd_hash_text(const char *s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}
