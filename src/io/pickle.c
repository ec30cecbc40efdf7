/* The pickle machine: one small function per group of opcodes, chosen by a table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/pickle_parts.h"

typedef struct machine {
    fd_ctx *ctx;
    fd_pk_session *s;
    const uint8_t *start, *p, *end, *op;      /* op: the opcode at work */
    fd_pk **stack, **memo;
    uint32_t depth, stack_room, memo_room, memo_used;
    uint32_t mark[FD_PK_MAX_MARKS];
    int marks;
    bool stopped;
} machine;

typedef fd_status op_function(machine *m, uint8_t op);

#define BAD(m, code, fmt, ...)                                                                              \
    FD_FAIL((m)->ctx, code, "%s: pickle byte %td: " fmt, (m)->s->where, (m)->op - (m)->start, ##__VA_ARGS__)

/* ---- reading --------------------------------------------------------------------------------------------------- */

static fd_status take(machine *m, uint64_t n, const uint8_t **out) {
    *out = m->p;
    if ((uint64_t)(m->end - m->p) < n)
        return BAD(m, FD_E_FORMAT, "%" PRIu64 " bytes are announced, %td are left: the file is cut off or lies", n,
                   m->end - m->p);
    m->p += n;
    return FD_OK;
}

static fd_status number(machine *m, int width, uint64_t *out) {
    const uint8_t *p;
    uint64_t v = *out = 0;
    FD_TRY(take(m, (uint64_t)width, &p));
    for (int i = width; i-- > 0;) v = v << 8 | p[i];
    *out = v;
    return FD_OK;
}

/* A line of the text protocol without its end. */
static fd_status text_line(machine *m, size_t most, fd_bytes *out) {
    size_t left = (size_t)(m->end - m->p), look = left < most + 1 ? left : most + 1;
    const uint8_t *stop = look ? memchr(m->p, '\n', look) : NULL;
    *out = (fd_bytes){m->p, 0};
    if (!stop)
        return BAD(m, FD_E_FORMAT, "a line of text %s", left <= most ? "has no end" : "is too long: refused");
    out->size = (size_t)(stop - m->p);
    m->p = stop + 1;
    return FD_OK;
}

/* ---- stack ----------------------------------------------------------------------------------------------------- */

static fd_status push(machine *m, fd_pk *v) {
    void *array = m->stack;
    FD_TRY(fd_pk_grow(m->ctx, m->s, &array, m->depth, &m->stack_room, sizeof *m->stack, FD_PK_MAX_STACK,
                      "values on the pickle's stack"));
    m->stack = array;
    m->stack[m->depth++] = v;
    return FD_OK;
}

/* Values above the last mark. */
static uint32_t above(const machine *m) { return m->depth - (m->marks ? m->mark[m->marks - 1] : 0); }

static fd_status need(machine *m, uint32_t n) {
    if (above(m) < n) return BAD(m, FD_E_FORMAT, "the stack holds too few values: the pickle is damaged");
    return FD_OK;
}

static fd_status pop_mark(machine *m, fd_pk ***item, uint32_t *n) {
    *item = NULL;
    *n = 0;
    if (!m->marks) return BAD(m, FD_E_FORMAT, "a mark is missing: the pickle is damaged");
    uint32_t base = m->mark[--m->marks];
    *n = m->depth - base;
    *item = m->stack ? m->stack + base : NULL;
    m->depth = base;
    return FD_OK;
}

static fd_pk *top(const machine *m) { return m->stack[m->depth - 1]; }

static fd_status push_new(machine *m, fd_pk_kind kind, fd_pk **out) {
    FD_TRY(fd_pk_new(m->ctx, m->s, kind, out));
    return push(m, *out);
}

static fd_status push_text(machine *m, fd_pk_kind kind, const uint8_t *p, size_t n) {
    fd_pk *v;
    if (kind == FD_PK_TEXT && !fd_utf8_valid((const char *)p, n))
        return BAD(m, FD_E_FORMAT, "a text of %zu bytes is not UTF-8", n);
    FD_TRY(fd_pk_new_text(m->ctx, m->s, kind, p, n, &v));
    return push(m, v);
}

static fd_status op_mark(machine *m, uint8_t op) {
    if (m->marks == FD_PK_MAX_MARKS)
        return BAD(m, FD_E_FORMAT, "more than %d open marks: refused", FD_PK_MAX_MARKS);
    m->mark[m->marks++] = m->depth;
    return FD_OK;
}

static fd_status op_pop(machine *m, uint8_t op) {
    fd_pk **item;
    uint32_t n;
    if (op == '1') return pop_mark(m, &item, &n);
    FD_TRY(need(m, 1));
    m->depth--;
    return FD_OK;
}

static fd_status op_dup(machine *m, uint8_t op) {
    FD_TRY(need(m, 1));
    return push(m, top(m));
}

static fd_status op_stop(machine *m, uint8_t op) {
    if (m->marks || m->depth != 1)
        return BAD(m, FD_E_FORMAT, "%u values and %d marks are on the stack at the end, one value is right", m->depth,
                   m->marks);
    m->stopped = true;
    return FD_OK;
}

/* ---- memo ------------------------------------------------------------------------------------------------------ */

static fd_status memo_index(machine *m, uint8_t op, uint64_t *out) {
    fd_bytes line;
    switch (op) {
    case 'h': case 'q': return number(m, 1, out);
    case 'j': case 'r': return number(m, 4, out);
    case 0x94: *out = m->memo_used; return FD_OK;
    }
    FD_TRY(text_line(m, 20, &line));
    *out = 0;
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] < '0' || line.data[i] > '9' || *out > FD_PK_MAX_MEMO)
            return BAD(m, FD_E_FORMAT, "'%.*s' is no sensible memo index", (int)line.size, (const char *)line.data);
        *out = *out * 10 + (uint64_t)(line.data[i] - '0');
    }
    return FD_OK;
}

static fd_status op_put(machine *m, uint8_t op) {
    uint64_t i;
    FD_TRY(memo_index(m, op, &i));
    FD_TRY(need(m, 1));
    if (i >= FD_PK_MAX_MEMO)
        return BAD(m, FD_E_FORMAT, "memo index %" PRIu64 " is beyond the limit of %d: refused", i, FD_PK_MAX_MEMO);
    while (i >= m->memo_room) {
        void *array = m->memo;
        FD_TRY(fd_pk_grow(m->ctx, m->s, &array, m->memo_room, &m->memo_room, sizeof *m->memo, FD_PK_MAX_MEMO,
                          "memo slots"));
        m->memo = array;
    }
    m->memo_used += m->memo[i] == NULL;
    m->memo[i] = top(m);
    return FD_OK;
}

static fd_status op_get(machine *m, uint8_t op) {
    uint64_t i;
    FD_TRY(memo_index(m, op, &i));
    if (i >= m->memo_room || !m->memo[i])
        return BAD(m, FD_E_FORMAT, "memo slot %" PRIu64 " was never set: the pickle is damaged", i);
    return push(m, m->memo[i]);
}

/* ---- numbers and constants -------------------------------------------------------------------------------------- */

static fd_status push_int(machine *m, int64_t v) {
    fd_pk *i;
    FD_TRY(push_new(m, FD_PK_INT, &i));
    i->i = v;
    return FD_OK;
}

static fd_status op_constant(machine *m, uint8_t op) {
    fd_pk **v = &m->s->constant[op == 'N' ? 0 : op == 0x89 ? 1 : 2];
    if (!*v) {
        FD_TRY(fd_pk_new(m->ctx, m->s, op == 'N' ? FD_PK_NONE : FD_PK_BOOL, v));
        (*v)->truth = op == 0x88;
    }
    return push(m, *v);
}

static fd_status op_int(machine *m, uint8_t op) {
    uint64_t v;
    FD_TRY(number(m, op == 'K' ? 1 : op == 'M' ? 2 : 4, &v));
    return push_int(m, op == 'J' ? (int32_t)(uint32_t)v : (int64_t)v);
}

/* LONG1, LONG4: little-endian two's complement of any length. */
static fd_status op_long(machine *m, uint8_t op) {
    uint64_t n;
    const uint8_t *p;
    FD_TRY(number(m, op == 0x8a ? 1 : 4, &n));
    if (n > 256) return BAD(m, FD_E_FORMAT, "an integer of %" PRIu64 " bytes: refused", n);
    FD_TRY(take(m, n, &p));
    if (n > 8) return push_text(m, FD_PK_BIG, p, n);
    uint64_t v = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return push_int(m, (int64_t)v);
}

static fd_status op_real(machine *m, uint8_t op) {
    const uint8_t *p;
    FD_TRY(take(m, 8, &p));
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    fd_pk *v;
    FD_TRY(push_new(m, FD_PK_REAL, &v));
    memcpy(&v->r, &bits, 8);
    return FD_OK;
}

/* INT, LONG and FLOAT of protocol 0: a line of digits. */
static fd_status op_text_number(machine *m, uint8_t op) {
    fd_bytes line;
    char digits[64], *end;
    FD_TRY(text_line(m, sizeof digits - 1, &line));
    if (op == 'L' && line.size && line.data[line.size - 1] == 'L') line.size--;
    memcpy(digits, line.data, line.size);
    digits[line.size] = 0;
    if (op == 'I' && line.size == 2 && digits[0] == '0' && (digits[1] == '0' || digits[1] == '1'))
        return op_constant(m, digits[1] == '1' ? 0x88 : 0x89);
    errno = 0;
    double real = op == 'F' ? strtod(digits, &end) : 0;
    long long integer = op == 'F' ? 0 : strtoll(digits, &end, 10);
    if (!line.size || *end || strlen(digits) != line.size || (errno && op != 'F'))
        return BAD(m, FD_E_FORMAT, "'%.40s' is no number that is expected here", digits);
    if (op != 'F') return push_int(m, integer);
    fd_pk *v;
    FD_TRY(push_new(m, FD_PK_REAL, &v));
    v->r = real;
    return FD_OK;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

static fd_status op_text(machine *m, uint8_t op) {
    static const struct { uint8_t op, width, kind; } table[] = {
        {'X', 4, FD_PK_TEXT}, {0x8c, 1, FD_PK_TEXT}, {0x8d, 8, FD_PK_TEXT}, {'B', 4, FD_PK_BYTES},
        {'C', 1, FD_PK_BYTES}, {0x8e, 8, FD_PK_BYTES}, {0x96, 8, FD_PK_BYTES}, {'T', 4, FD_PK_TEXT},
        {'U', 1, FD_PK_TEXT}};
    size_t i = 0;
    uint64_t n;
    const uint8_t *p;
    while (table[i].op != op) i++;
    FD_TRY(number(m, table[i].width, &n));
    FD_TRY(take(m, n, &p));
    /* Python 2 had one kind for texts and bytes. */
    if ((op == 'T' || op == 'U') && !fd_utf8_valid((const char *)p, n)) return push_text(m, FD_PK_BYTES, p, n);
    return push_text(m, (fd_pk_kind)table[i].kind, p, n);
}

/* STRING and UNICODE of protocol 0, as far as they need no decoding. */
static fd_status op_text_text(machine *m, uint8_t op) {
    fd_bytes line;
    FD_TRY(text_line(m, 4096, &line));
    if (op == 'S') {
        char quote = line.size >= 2 ? (char)line.data[0] : 0;
        if ((quote != '\'' && quote != '"') || line.data[line.size - 1] != (uint8_t)quote)
            return BAD(m, FD_E_FORMAT, "a text without its quotes");
        line.data++;
        line.size -= 2;
    }
    if (line.size && memchr(line.data, '\\', line.size))
        return BAD(m, FD_E_UNSUPPORTED, "a text with escapes of protocol 0; save the file with a newer protocol");
    return push_text(m, FD_PK_TEXT, line.data, line.size);
}

/* ---- containers ------------------------------------------------------------------------------------------------ */

static fd_status op_empty(machine *m, uint8_t op) {
    fd_pk *v;
    return push_new(m, op == '}' ? FD_PK_DICT : op == ']' ? FD_PK_LIST : op == ')' ? FD_PK_TUPLE : FD_PK_SET, &v);
}

static fd_status op_tuple(machine *m, uint8_t op) {
    fd_pk **item, *v;
    uint32_t n = op == 't' ? 0 : (uint32_t)(op - 0x84);
    if (op == 't') {
        FD_TRY(pop_mark(m, &item, &n));
    } else {
        FD_TRY(need(m, n));
        m->depth -= n;
        item = m->stack + m->depth;
    }
    FD_TRY(fd_pk_new_items(m->ctx, m->s, FD_PK_TUPLE, item, n, &v));
    return push(m, v);
}

static fd_status add_pairs(machine *m, fd_pk *dict, fd_pk *const *item, uint32_t n) {
    if (!fd_pk_is(dict, FD_PK_DICT))
        return BAD(m, FD_E_FORMAT, "entries are added to %s", fd_pk_kind_name(dict));
    if (n % 2) return BAD(m, FD_E_FORMAT, "a key without a value");
    for (uint32_t i = 0; i < n; i += 2) FD_TRY(fd_pk_set(m->ctx, m->s, dict, item[i], item[i + 1]));
    return FD_OK;
}

static fd_status add_items(machine *m, fd_pk_kind kind, fd_pk *to, fd_pk *const *item, uint32_t n) {
    if (!fd_pk_is(to, kind)) return BAD(m, FD_E_FORMAT, "items are added to %s", fd_pk_kind_name(to));
    for (uint32_t i = 0; i < n; i++) FD_TRY(fd_pk_append(m->ctx, m->s, to, item[i]));
    return FD_OK;
}

/* LIST, DICT, FROZENSET: from the mark. */
static fd_status op_whole(machine *m, uint8_t op) {
    fd_pk **item, *v;
    uint32_t n;
    FD_TRY(pop_mark(m, &item, &n));
    if (op != 'd')
        FD_TRY(fd_pk_new_items(m->ctx, m->s, op == 'l' ? FD_PK_LIST : FD_PK_SET, item, n, &v));
    else {
        FD_TRY(fd_pk_new(m->ctx, m->s, FD_PK_DICT, &v));
        FD_TRY(add_pairs(m, v, item, n));
    }
    return push(m, v);
}

/* APPEND, SETITEM: one item; APPENDS, SETITEMS, ADDITEMS: all above the mark. */
static fd_status op_add(machine *m, uint8_t op) {
    fd_pk **item;
    uint32_t n = op == 'a' ? 1 : 2;
    if (op == 'a' || op == 's') {
        FD_TRY(need(m, n + 1));
        m->depth -= n;
        item = m->stack + m->depth;
    } else {
        FD_TRY(pop_mark(m, &item, &n));
        FD_TRY(need(m, 1));
    }
    if (op == 's' || op == 'u') return add_pairs(m, top(m), item, n);
    return add_items(m, op == 0x90 ? FD_PK_SET : FD_PK_LIST, top(m), item, n);
}

/* ---- names and objects ----------------------------------------------------------------------------------------- */

static fd_status push_name(machine *m, fd_bytes module, fd_bytes name) {
    const fd_pk_name *known;
    fd_pk *v;
    FD_TRY(fd_pk_find_name(m->ctx, m->s, module, name, &known));
    FD_TRY(push_new(m, FD_PK_GLOBAL, &v));
    v->name = known;
    return FD_OK;
}

static fd_status op_global(machine *m, uint8_t op) {
    fd_bytes module, name;
    if (op == 'c') {
        FD_TRY(text_line(m, 512, &module));
        FD_TRY(text_line(m, 512, &name));
        return push_name(m, module, name);
    }
    FD_TRY(need(m, 2));
    m->depth -= 2;
    const fd_pk *a = m->stack[m->depth], *b = m->stack[m->depth + 1];
    if (!fd_pk_is(a, FD_PK_TEXT) || !fd_pk_is(b, FD_PK_TEXT))
        return BAD(m, FD_E_FORMAT, "a class or function is named by %s and %s, not by two texts", fd_pk_kind_name(a),
                   fd_pk_kind_name(b));
    return push_name(m, (fd_bytes){(const uint8_t *)a->text.p, a->text.n},
                     (fd_bytes){(const uint8_t *)b->text.p, b->text.n});
}

static fd_status op_call(machine *m, uint8_t op) {
    fd_pk *v;
    FD_TRY(need(m, 2));
    m->depth -= 2;
    const fd_pk *what = m->stack[m->depth], *args = m->stack[m->depth + 1];
    if (!fd_pk_is(what, FD_PK_GLOBAL)) return BAD(m, FD_E_FORMAT, "%s is called", fd_pk_kind_name(what));
    if (!fd_pk_is(args, FD_PK_TUPLE))
        return BAD(m, FD_E_FORMAT, "%s.%s is called with %s instead of a tuple", what->name->module, what->name->name,
                   fd_pk_kind_name(args));
    if (op == 'R') FD_TRY(fd_pk_call(m->ctx, m->s, what, args, &v));
    else FD_TRY(fd_pk_new_object(m->ctx, m->s, what, args, &v));
    return push(m, v);
}

static fd_status op_build(machine *m, uint8_t op) {
    FD_TRY(need(m, 2));
    m->depth--;
    return fd_pk_build(m->ctx, m->s, top(m), m->stack[m->depth]);
}

static fd_status op_persistent(machine *m, uint8_t op) {
    fd_pk *v;
    FD_TRY(need(m, 1));
    const fd_pk_host *h = m->s->host;
    if (!h->persistent)
        return BAD(m, FD_E_FORMAT, "a reference to outside data (BINPERSID), but this is a bare pickle: nothing is "
                   "outside");
    FD_TRY(h->persistent(m->ctx, m->s, h->user, top(m), &v));
    m->stack[m->depth - 1] = v;
    return FD_OK;
}

static fd_status op_refused(machine *m, uint8_t op) {
    static const struct { uint8_t op; const char *name; } table[] = {
        {'i', "INST"}, {'o', "OBJ"}, {0x92, "NEWOBJ_EX"}, {'P', "PERSID"}, {0x82, "EXT1"}, {0x83, "EXT2"},
        {0x84, "EXT4"}, {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}};
    size_t i = 0;
    while (table[i].op != op) i++;
    return BAD(m, FD_E_UNSUPPORTED, "the opcode %s, which no checkpoint needs: refused", table[i].name);
}

/* ---- framing --------------------------------------------------------------------------------------------------- */

static fd_status op_proto(machine *m, uint8_t op) {
    uint64_t v;
    FD_TRY(number(m, 1, &v));
    if (v > 5) return BAD(m, FD_E_UNSUPPORTED, "pickle protocol %d; 0 to 5 are known", (int)v);
    return FD_OK;
}

/* Frames only help readers that fetch from a stream. */
static fd_status op_frame(machine *m, uint8_t op) {
    uint64_t n;
    FD_TRY(number(m, 8, &n));
    if (n > (uint64_t)(m->end - m->p))
        return BAD(m, FD_E_FORMAT, "a frame of %" PRIu64 " bytes, but %td are left: the file is cut off or lies", n,
                   m->end - m->p);
    return FD_OK;
}

static op_function *const table[256] = {
    ['('] = op_mark, ['0'] = op_pop, ['1'] = op_pop, ['2'] = op_dup, ['.'] = op_stop, [0x80] = op_proto,
    [0x95] = op_frame, ['p'] = op_put, ['q'] = op_put, ['r'] = op_put, [0x94] = op_put, ['g'] = op_get,
    ['h'] = op_get, ['j'] = op_get, ['N'] = op_constant, [0x88] = op_constant, [0x89] = op_constant,
    ['J'] = op_int, ['K'] = op_int, ['M'] = op_int, [0x8a] = op_long, [0x8b] = op_long, ['G'] = op_real,
    ['I'] = op_text_number, ['L'] = op_text_number, ['F'] = op_text_number, ['X'] = op_text, [0x8c] = op_text,
    [0x8d] = op_text, ['B'] = op_text, ['C'] = op_text, [0x8e] = op_text, [0x96] = op_text, ['T'] = op_text,
    ['U'] = op_text, ['S'] = op_text_text, ['V'] = op_text_text, ['}'] = op_empty, [']'] = op_empty,
    [')'] = op_empty, [0x8f] = op_empty, ['t'] = op_tuple, [0x85] = op_tuple, [0x86] = op_tuple, [0x87] = op_tuple,
    ['l'] = op_whole, ['d'] = op_whole, [0x91] = op_whole, ['a'] = op_add, ['e'] = op_add, ['s'] = op_add,
    ['u'] = op_add, [0x90] = op_add, ['c'] = op_global, [0x93] = op_global, ['R'] = op_call, [0x81] = op_call,
    ['b'] = op_build, ['Q'] = op_persistent, ['i'] = op_refused, ['o'] = op_refused, [0x92] = op_refused,
    ['P'] = op_refused, [0x82] = op_refused, [0x83] = op_refused, [0x84] = op_refused, [0x97] = op_refused,
    [0x98] = op_refused};

fd_status fd_pickle_run(fd_ctx *ctx, fd_pk_session *s, fd_bytes in, size_t *used, fd_pk **out) {
    machine m = {.ctx = ctx, .s = s, .start = in.data, .p = in.data, .end = in.data + in.size, .op = in.data};
    while (!m.stopped) {
        m.op = m.p;
        if (m.p == m.end) return BAD(&m, FD_E_FORMAT, "the pickle has no end: the file is cut off");
        uint8_t op = *m.p++;
        if (s->opcodes-- <= 0)
            return BAD(&m, FD_E_FORMAT, "more than %d opcodes: refused", FD_PK_MAX_OPCODES);
        if (!table[op]) return BAD(&m, FD_E_FORMAT, "0x%02x is no opcode: no pickle, or a damaged one", op);
        FD_TRY(table[op](&m, op));
    }
    *used = (size_t)(m.p - m.start);
    *out = m.stack[0];
    return FD_OK;
}
