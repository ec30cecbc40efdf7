#include "cpu/amx.h"

#if defined(__AMX_BF16__) && defined(__linux__)
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux's arch_prctl, and the number of the tiles among the states of a thread. */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

int fd_amx_allowed(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0; }

/* In memory before the program starts: GCC 12 believes that the instruction reads no more than a pointer. */
#define EIGHT(n) n, n, n, n, n, n, n, n
static const struct {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} eight_full_tiles = {.palette = 1, .row_bytes = {EIGHT(64)}, .rows = {EIGHT(FD_AMX_ROWS)}};

void fd_amx_begin(fd_amx_tiles *before) {
    _tile_storeconfig(before);
    _tile_loadconfig(&eight_full_tiles);
}

void fd_amx_end(const fd_amx_tiles *before) {
    if (before->bytes[0]) _tile_loadconfig(before);
    else _tile_release();
}

/* Tiles 0 to 3 are the sums (position tile * 2 + output tile), 4 and 5 hold x, 6 and 7 weights. */
#define LOAD_X(p, two)                                             \
    do {                                                           \
        _tile_loadd(4, (p), 64);                                   \
        if (two) _tile_loadd(5, (p) + FD_AMX_ROWS * FD_AMX_CHUNK, 64); \
    } while (0)
#define LOAD_W(p)                        \
    do {                                 \
        _tile_loadd(6, (p), 64);         \
        _tile_loadd(7, (p) + 512, 64);   \
    } while (0)
#define MULTIPLY(two)                    \
    do {                                 \
        _tile_dpbf16ps(0, 4, 6);         \
        _tile_dpbf16ps(1, 4, 7);         \
        if (two) {                       \
            _tile_dpbf16ps(2, 5, 6);     \
            _tile_dpbf16ps(3, 5, 7);     \
        }                                \
    } while (0)

static inline __attribute__((always_inline)) void multiply(const fd_amx_block *b, int two, int split, float *to) {
    const uint16_t *w = b->w;
    _tile_loadd(0, b->start, 0);
    _tile_loadd(1, b->start + 16, 0);
    if (two) {
        _tile_loadd(2, b->start, 0);
        _tile_loadd(3, b->start + 16, 0);
    }
    for (int c = 0; c < b->chunks; c++)
        for (int i = 0; i < b->kh; i++) {
            const uint16_t *x = b->x + c * b->chunk + i * b->row * FD_AMX_CHUNK;
            for (int j = 0; j < b->kw; j++, x += FD_AMX_CHUNK) {
                LOAD_X(x, two);
                if (split) {
                    LOAD_W(w + 1024);
                    MULTIPLY(two);               /* high x, low w */
                }
                LOAD_W(w);
                MULTIPLY(two);
                if (split) {
                    LOAD_X(x + b->part, two);
                    MULTIPLY(two);               /* low x, high w */
                }
                w += split ? 2048 : 1024;
            }
        }
    _tile_stored(0, to, 4 * FD_AMX_OUT);
    _tile_stored(1, to + 16, 4 * FD_AMX_OUT);
    if (two) {
        _tile_stored(2, to + FD_AMX_ROWS * FD_AMX_OUT, 4 * FD_AMX_OUT);
        _tile_stored(3, to + FD_AMX_ROWS * FD_AMX_OUT + 16, 4 * FD_AMX_OUT);
    }
}

void fd_amx_multiply(const fd_amx_block *b, int tiles, float *to) {
    if (b->split) tiles == 2 ? multiply(b, 1, 1, to) : multiply(b, 0, 1, to);
    else tiles == 2 ? multiply(b, 1, 0, to) : multiply(b, 0, 0, to);
}

static inline __attribute__((always_inline)) void multiply_positions(const fd_amx_gradient *g, int split, float *sums) {
    const uint16_t *y = g->dy, *x = g->x;
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + 256, 64);
    _tile_loadd(2, sums + 512, 64);
    _tile_loadd(3, sums + 768, 64);
    for (int64_t i = 0; i < g->steps; i++, y += split ? 2048 : 1024, x += 512) {
        LOAD_X(y, 1);
        if (split) {
            _tile_loadd(6, x + g->part, 64);
            _tile_loadd(7, x + g->part + g->tile, 64);
            MULTIPLY(1);
        }
        _tile_loadd(6, x, 64);
        _tile_loadd(7, x + g->tile, 64);
        MULTIPLY(1);
        if (split) {
            LOAD_X(y + 1024, 1);
            MULTIPLY(1);
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
}

void fd_amx_multiply_positions(const fd_amx_gradient *g, float *sums) {
    if (g->split) multiply_positions(g, 1, sums);
    else multiply_positions(g, 0, sums);
}

double fd_amx_multiply_adds(int64_t n) {
    fd_amx_tiles before;
    fd_amx_begin(&before);               /* which clears the tiles */
    for (int64_t i = 0; i < n; i++) MULTIPLY(1);
    fd_amx_end(&before);
    return (double)n * 4 * 2 * FD_AMX_ROWS * 16 * FD_AMX_CHUNK;
}

#else
int fd_amx_allowed(void) { return 0; }
void fd_amx_begin(fd_amx_tiles *before) { (void)before; }
void fd_amx_end(const fd_amx_tiles *before) { (void)before; }
void fd_amx_multiply(const fd_amx_block *b, int tiles, float *to) { (void)b, (void)tiles, (void)to; }
void fd_amx_multiply_positions(const fd_amx_gradient *g, float *sums) { (void)g, (void)sums; }
double fd_amx_multiply_adds(int64_t n) { return 0 * (double)n; }
#endif
