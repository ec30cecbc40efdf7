/* Runs a target without libFuzzer: every file of a corpus folder, then `count` mutations of them. The mutations
 * depend on nothing but their number, so a failure happens again: TARGET FOLDER COUNT [FIRST].
 *
 * On a crash the input is left in crash-<target>.bin in the working folder, for TARGET crash-<target>.bin 0. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/progress.h"
#include "fuzz.h"

enum { FILES = 256, LARGEST = 1 << 20 };

typedef struct { char name[256]; uint8_t *data; size_t size; } seed_file;
static seed_file file[FILES];
static int files;
static uint8_t *input;            /* its end is the end of the block, so that sanitizers see a byte too much */
static size_t input_size;
static char crash_name[64];

/* ---- the input that kills -------------------------------------------------------------------------------------- */

static void keep_input(void) {
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return;
    ssize_t n = write(fd, input, input_size);
    (void)n;
    close(fd);
}
static void on_signal(int number) {
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void arm(const char *program) {
    const char *name = strrchr(program, '/');
    snprintf(crash_name, sizeof crash_name, "crash-%.40s.bin", name ? name + 1 : program);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(keep_input);
        return;
    }
    int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < FD_COUNT(deadly); i++) signal(deadly[i], on_signal);
}

/* ---- mutations ------------------------------------------------------------------------------------------------- */

static uint64_t state;
static uint64_t draw(void) {      /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static size_t below(size_t n) { return n ? (size_t)(draw() % n) : 0; }

/* The places parsers believe: numbers, in binary and as text. */
static void put_number(uint8_t *p, size_t size) {
    static const uint64_t nasty[] = {0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                     0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffff8};
    uint64_t v = nasty[below(FD_COUNT(nasty))];
    size_t width = (size_t)1 << below(4), at = below(size);
    bool big = draw() & 1;
    for (size_t i = 0; i < width && at + i < size; i++)
        p[at + i] = (uint8_t)(v >> 8 * (big ? width - 1 - i : i));
}

static size_t put_digits(uint8_t *p, size_t size) {
    static const char *const nasty[] = {"-1", "0", "1e309", "9223372036854775808", "4294967296",
                                        "65536", "-0.0", "1.5", "null", "[]", "\"\"", "{}"};
    const char *text = nasty[below(FD_COUNT(nasty))];
    size_t at = below(size), end, n = strlen(text);
    for (size_t i = 0; i < size && !(p[at] >= '0' && p[at] <= '9'); i++) at = (at + 1) % size;
    for (end = at; end < size && p[end] >= '0' && p[end] <= '9'; end++) {}
    if (end == at || size - (end - at) + n > LARGEST) return size;
    memmove(p + at + n, p + end, size - end);
    memcpy(p + at, text, n);
    return size - (end - at) + n;
}

static size_t mutate(uint8_t *p, size_t size) {
    size_t at = below(size), n = below(size - at < 64 ? size - at : 64) + 1;
    switch (size ? below(9) : 8) {
    case 0: p[at] ^= (uint8_t)(1u << below(8)); break;
    case 1: p[at] = (uint8_t)draw(); break;
    case 2: size = at; break;                                        /* truncated */
    case 3: put_number(p, size); break;
    case 4: size = put_digits(p, size); break;
    case 5:                                                          /* a piece less */
        if (at + n > size) n = size - at;
        memmove(p + at, p + at + n, size - at - n);
        size -= n;
        break;
    case 6:                                                          /* a piece twice */
        if (at + n > size) n = size - at;
        if (size + n > LARGEST) break;
        memmove(p + at + n, p + at, size - at);
        size += n;
        break;
    case 7: {                                                        /* a piece of another file */
        const seed_file *other = &file[below((size_t)files)];
        size_t from = below(other->size);
        if (n > other->size - from) n = other->size - from;
        if (at + n > LARGEST) break;
        if (n) memcpy(p + at, other->data + from, n);
        if (at + n > size) size = at + n;
        break;
    }
    default:                                                         /* rubbish behind it */
        for (n = below(16); n && size < LARGEST; n--) p[size++] = (uint8_t)draw();
    }
    return size;
}

/* ---- running --------------------------------------------------------------------------------------------------- */

static int run(const uint8_t *data, size_t size, const char *what) {
    input = malloc(size ? size : 1);
    if (!input) return 1;
    if (size) memcpy(input, data, size);
    input_size = size;
    int64_t before = fd_alloc_live();
    double start = fd_now();
    LLVMFuzzerTestOneInput(input, size);
    double seconds = fd_now() - start;
    int64_t lost = fd_alloc_live() - before;
    if (lost || seconds > 10) {
        keep_input();
        fprintf(stderr, "%s: lost %" PRId64 " blocks, took %.1f s; the input is in %s\n", what, lost, seconds,
                crash_name);
    }
    free(input);
    return lost || seconds > 10;
}

static int read_file(const char *path, const char *name) {
    struct stat st;
    FILE *f = fopen(path, "rb");
    seed_file *s = &file[files];
    if (!f || fstat(fileno(f), &st) || st.st_size > LARGEST || files == FILES)
        return fprintf(stderr, "%s: cannot be used\n", path), 1;
    snprintf(s->name, sizeof s->name, "%.255s", name);
    s->size = (size_t)st.st_size;
    s->data = malloc(s->size + 1);
    files++;
    int bad = !s->data || fread(s->data, 1, s->size, f) != s->size;
    fclose(f);
    return bad;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const seed_file *)a)->name, ((const seed_file *)b)->name);
}

static int read_corpus(const char *path) {
    DIR *d = opendir(path);
    if (!d && errno == ENOTDIR) return read_file(path, path);
    int bad = !d;
    for (struct dirent *e; d && (e = readdir(d));) {
        char full[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(full, sizeof full, "%s/%s", path, e->d_name);
        bad |= read_file(full, e->d_name);
    }
    if (d) closedir(d);
    qsort(file, (size_t)files, sizeof *file, by_name);      /* the same order on every machine */
    return bad || !files;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s CORPUS COUNT [FIRST]\n", argv[0]), 2;
    long count = atol(argv[2]), first = argc > 3 ? atol(argv[3]) : 0;
    int bad = 0;
    arm(argv[0]);
    if (read_corpus(argv[1])) return fprintf(stderr, "%s: no corpus\n", argv[1]), 1;
    double start = fd_now();
    for (int i = 0; i < files; i++) bad |= run(file[i].data, file[i].size, file[i].name);
    uint8_t *buffer = malloc(LARGEST + 64);
    for (long i = first; buffer && i < first + count; i++) {
        const seed_file *s = &file[i % files];
        char what[300];
        state = (uint64_t)i * 0x2545f4914f6cdd1du;
        memcpy(buffer, s->data, s->size);
        size_t size = s->size;
        for (size_t k = 1 + below(4); k; k--) size = mutate(buffer, size);
        snprintf(what, sizeof what, "mutation %ld of %.255s", i, s->name);
        bad |= run(buffer, size, what);
    }
    free(buffer);
    for (int i = 0; i < files; i++) free(file[i].data);
    printf("%d files and %ld mutations in %.1f s%s\n", files, count, fd_now() - start, bad ? ": BAD" : "");
    return bad;
}
