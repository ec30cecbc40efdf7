#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/pickle.h"

/* A pickle written as a C string: its length is known at compile time, so NUL bytes may be inside. */
#define PICKLE(text) ((fd_bytes){(const uint8_t *)(text), sizeof(text) - 1})

static const fd_pk_host plain = {.names = FD_PK_DATA | FD_PK_TORCH | FD_PK_STORAGES | FD_PK_BLOBS | FD_PK_PERSISTENT};

static void refuses(fd_bytes in, fd_status code, const char *message) {
    fd_ctx ctx = {0};
    fd_pk_session s;
    fd_pk *v;
    size_t used;
    fd_pk_session_init(&s, "x.pkl", in.size);
    s.host = &plain;
    assert_int_equal(fd_pickle_run(&ctx, &s, in, &used, &v), code);
    if (!strstr(ctx.message, message)) fail_msg("'%s' not in '%s'", message, ctx.message);
    if (strncmp(ctx.message, "x.pkl: ", 7)) fail_msg("no file name in '%s'", ctx.message);
    fd_pk_session_free(&s);
}

typedef struct { fd_ctx ctx; fd_pk_session s; fd_pk *v; size_t used; } ran;

static void run(ran *r, fd_bytes in) {
    *r = (ran){.used = 0};
    fd_pk_session_init(&r->s, "x.pkl", in.size);
    r->s.host = &plain;
    if (fd_pickle_run(&r->ctx, &r->s, in, &r->used, &r->v) != FD_OK) fail_msg("%s", r->ctx.message);
}

static void done(ran *r) { fd_pk_session_free(&r->s); }

static void values(void **state) {
    (void)state;
    ran r;
    int64_t i;
    double d;
    char text[8];
    /* {'a': [1, -2, 3e9, 70000, True, None], 'b': (2.5, 'é'), 'a': 7}: the last of a name counts */
    run(&r, PICKLE("\x80\x02}(X\x01\0\0\0a](K\x01J\xfe\xff\xff\xff\x8a\x05\0^\xd0\xb2\0J\x70\x11\x01\0\x88Ne"
                   "X\x01\0\0\0bG\x40\x04\0\0\0\0\0\0X\x02\0\0\0\xc3\xa9\x86X\x01\0\0\0aK\x07u."));
    assert_true(fd_pk_is(r.v, FD_PK_DICT));
    assert_int_equal(r.v->n, 3);
    assert_true(fd_pk_int(fd_pk_get(r.v, "a"), &i) && i == 7);
    const fd_pk *list = r.v->item[1], *pair = fd_pk_get(r.v, "b");
    static const int64_t want[] = {1, -2, 3000000000, 70000, 1};
    for (int k = 0; k < 5; k++) assert_true(fd_pk_int(list->item[k], &i) && i == want[k]);
    assert_string_equal(fd_pk_kind_name(list->item[5]), "None");
    assert_true(fd_pk_real(pair->item[0], &d) && d == 2.5);
    fd_pk_copy(pair->item[1], text, sizeof text);
    assert_string_equal(text, "é");
    fd_pk_copy(pair->item[1], text, 2);      /* no half characters */
    assert_string_equal(text, "");
    assert_null(fd_pk_get(r.v, "c"));
    assert_null(fd_pk_get(list, "a"));
    assert_false(fd_pk_real(list, &d));
    done(&r);
    /* Memo in all its forms, DUP, POP, POP_MARK, frozen sets, text numbers. */
    run(&r, PICKLE("\x80\x04\x8c\x01x\x94q\x05" "0(h\0h\x05j\x05\0\0\0g5\n2KK0(KK1t."));
    assert_int_equal(r.v->n, 5);
    for (int k = 0; k < 5; k++) assert_true(fd_pk_is_text(r.v->item[k], "x"));
    done(&r);
    run(&r, PICKLE("(I01\nI-12\nL99L\nF-0.5\nS'q'\nVw\nl."));
    assert_true(fd_pk_is(r.v->item[0], FD_PK_BOOL) && r.v->item[0]->truth);
    assert_true(fd_pk_int(r.v->item[1], &i) && i == -12);
    assert_true(fd_pk_int(r.v->item[2], &i) && i == 99);
    assert_true(fd_pk_real(r.v->item[3], &d) && d == -0.5);
    assert_true(fd_pk_is_text(r.v->item[4], "q") && fd_pk_is_text(r.v->item[5], "w"));
    done(&r);
    run(&r, PICKLE("N.garbage"));
    assert_int_equal(r.used, 2);      /* nothing after STOP is touched */
    done(&r);
}

static void constructors(void **state) {
    (void)state;
    ran r;
    run(&r, PICKLE("\x80\x02" "ccollections\nOrderedDict\n]]X\x01\0\0\0aaK\x05" "aa\x85R."));     /* from pairs */
    int64_t i;
    assert_true(fd_pk_int(fd_pk_get(r.v, "a"), &i) && i == 5);
    done(&r);
    run(&r, PICKLE("\x80\x02" "c_codecs\nencode\nX\x04\0\0\0a\xc3\xbf\x01X\x06\0\0\0latin1\x86R."));
    assert_true(fd_pk_is(r.v, FD_PK_BYTES) && r.v->text.n == 3);
    assert_memory_equal(r.v->text.p, "a\xff\x01", 3);
    done(&r);
    run(&r, PICKLE("\x80\x02" "cargparse\nNamespace\n)\x81}X\x01\0\0\0aK\x05sb."));
    assert_true(fd_pk_is(r.v, FD_PK_OBJECT) && fd_pk_int(fd_pk_get(r.v->object.state, "a"), &i) && i == 5);
    done(&r);
#define DTYPE(type, order) \
    "cnumpy\ndtype\nX\x02\0\0\0" type "\x89\x88\x87R(K\x03X\x01\0\0\0" order "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    run(&r, PICKLE("\x80\x03" "cnumpy._core.multiarray\nscalar\n" DTYPE("i2", ">") "C\x02\xff\xfe\x86R."));
    assert_true(fd_pk_int(r.v, &i) && i == -2);
    done(&r);
    /* 2 x 3, in Fortran order: [[0, 1, 2], [3, 4, 5]] lies as 0 3 1 4 2 5. */
    run(&r, PICKLE("\x80\x03" "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" "C\x01" "b\x87R(K\x01K\x02K\x03\x86"
                   DTYPE("u1", "|") "\x88" "C\x06\0\3\1\4\2\5tb."));
    for (int k = 0; k < 6; k++) assert_true(fd_pk_array_at(r.v->array, k) == k);
    done(&r);
}

static void refused_names(void **state) {
    (void)state;
    refuses(PICKLE("cos\nsystem\n."), FD_E_UNSUPPORTED, "names 'os.system'");
    refuses(PICKLE("cos\nsys\x07tem\n."), FD_E_UNSUPPORTED, "names 'os.sys?tem'");
    refuses(PICKLE("\x80\x04\x8c\x08" "builtins\x8c\x04" "eval\x93."), FD_E_UNSUPPORTED, "'builtins.eval'");
    ran r;
    run(&r, PICKLE("\x80\x04\x8c\x0b" "collections\x8c\x0bOrderedDict\x93."));      /* a name alone is no harm */
    assert_true(fd_pk_is(r.v, FD_PK_GLOBAL));
    done(&r);
}

static void refused_uses(void **state) {
    (void)state;
    refuses(PICKLE("\x80\x02" "cnumpy\nndarray\n)R."), FD_E_FORMAT, "numpy.ndarray is called, which makes no data");
    refuses(PICKLE("\x80\x02" "cnumpy\ndtype\n)\x81."), FD_E_FORMAT, "an instance of numpy.dtype is made by NEWOBJ");
    refuses(PICKLE("\x80\x02" "ccollections\nOrderedDict\nK\x01\x85R."), FD_E_FORMAT, "arguments that it does not take");
    refuses(PICKLE("\x80\x02]}b."), FD_E_FORMAT, "a list is given a dict as its state");
    refuses(PICKLE("\x80\x02" "ctorch.storage\n_load_from_bytes\nK\x01\x85R."), FD_E_FORMAT, "given an integer");
    refuses(PICKLE("\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n)R."), FD_E_FORMAT, "with 0 arguments");
    refuses(PICKLE("\x80\x02" "ctorch._utils\n_rebuild_parameter\n}\x89}\x87R."), FD_E_FORMAT, "around a dict");
    refuses(PICKLE("\x80\x02" "c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R."), FD_E_UNSUPPORTED, "another codec");
    refuses(PICKLE("\x80\x02" "c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86R."), FD_E_FORMAT,
            "a character that latin1 has not");
    refuses(PICKLE("\x80\x02" "cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R."), FD_E_UNSUPPORTED, "type 'O8'");
    refuses(PICKLE("\x80\x02K\x01Q."), FD_E_FORMAT, "a bare pickle");
    refuses(PICKLE("\x80\x02K\x01K\x01R."), FD_E_FORMAT, "an integer is called");
    refuses(PICKLE("\x80\x02" "ctorch_utils.persistence\n_reconstruct_persistent_obj\nK\x01\x85R."), FD_E_FORMAT,
            "described by an integer");
    refuses(PICKLE("(i"), FD_E_UNSUPPORTED, "the opcode INST");
    refuses(PICKLE("\x80\x05\x97."), FD_E_UNSUPPORTED, "the opcode NEXT_BUFFER");
}

static void damaged(void **state) {
    (void)state;
    refuses(PICKLE(""), FD_E_FORMAT, "byte 0: the pickle has no end");
    refuses(PICKLE("\x80\x06N."), FD_E_UNSUPPORTED, "pickle protocol 6");
    refuses(PICKLE("\x80\x02\xff."), FD_E_FORMAT, "byte 2: 0xff is no opcode");
    refuses(PICKLE("X\xff\xff\xff\xff" "abc"), FD_E_FORMAT, "4294967295 bytes are announced, 3 are left");
    refuses(PICKLE("X\x02\0\0\0\xff\xfe."), FD_E_FORMAT, "is not UTF-8");
    refuses(PICKLE("\x8b\xff\xff\xff\x7f"), FD_E_FORMAT, "an integer of 2147483647 bytes");
    refuses(PICKLE("h\x09."), FD_E_FORMAT, "memo slot 9 was never set");
    refuses(PICKLE("Nr\0\0\0\x10."), FD_E_FORMAT, "memo index 268435456 is beyond the limit");
    refuses(PICKLE("Np99999999999\n."), FD_E_FORMAT, "no sensible memo index");
    refuses(PICKLE("0."), FD_E_FORMAT, "too few values");
    refuses(PICKLE("N(0."), FD_E_FORMAT, "too few values");      /* the mark protects what is below it */
    refuses(PICKLE("t."), FD_E_FORMAT, "a mark is missing");
    refuses(PICKLE("NN."), FD_E_FORMAT, "2 values and 0 marks");
    refuses(PICKLE("N(."), FD_E_FORMAT, "1 values and 1 marks");
    refuses(PICKLE("}(Nu."), FD_E_FORMAT, "a key without a value");
    refuses(PICKLE("}]Ns."), FD_E_FORMAT, "a list as the key");
    refuses(PICKLE("NNa."), FD_E_FORMAT, "items are added to None");
    refuses(PICKLE("]NNs."), FD_E_FORMAT, "entries are added to a list");
    refuses(PICKLE("Iabc\n."), FD_E_FORMAT, "'abc' is no number");
    refuses(PICKLE("I99999999999999999999\n."), FD_E_FORMAT, "is no number");
    refuses(PICKLE("S'a\n."), FD_E_FORMAT, "without its quotes");
    refuses(PICKLE("S'\\n'\n."), FD_E_UNSUPPORTED, "escapes");
    refuses(PICKLE("\x95\xff\0\0\0\0\0\0\0N."), FD_E_FORMAT, "a frame of 255 bytes");
    refuses(PICKLE("K\x01K\x02\x93."), FD_E_FORMAT, "named by an integer and an integer");
}

/* n times a piece between a head and a tail. */
static fd_bytes repeated(const char *head, const char *piece, size_t n, const char *tail) {
    size_t a = strlen(head), b = strlen(piece), c = strlen(tail);
    uint8_t *p = malloc(a + n * b + c);
    memcpy(p, head, a);
    for (size_t i = 0; i < n; i++) memcpy(p + a + i * b, piece, b);
    memcpy(p + a + n * b, tail, c);
    return (fd_bytes){p, a + n * b + c};
}

static void limits(void **state) {
    (void)state;
    const struct { const char *head, *piece; size_t n; const char *tail, *message; } row[] = {
        {"", "(", 1001, ".", "more than 1000 open marks"},
        {")", "\x85", 300, ".", "nested more than 200 deep"},
        {"N", "2", 1100000, ".", "values on the pickle's stack"},
        {"", "]Na0", 600000, "N.", "more values than a checkpoint needs"},
        {"", "N0", 5000000, "N.", "opcodes"},
        {"X\5\1\1\1", "", 0, "", "announced"},
    };
    for (size_t i = 0; i < FD_COUNT(row); i++) {
        fd_bytes b = repeated(row[i].head, row[i].piece, row[i].n, row[i].tail);
        refuses(b, FD_E_FORMAT, row[i].message);
        free((void *)b.data);
    }
    /* The same storage decoded again and again: X = 'aaa…', then encode(X) and POP many times. */
    char head[1200] = "c_codecs\nencode\nq\1" "0X\350\3", *at = head + strlen(head);
    fd_bytes text = repeated("", "a", 1000, "");
    static const char args[] = "q\2" "0X\6", loop[] = "h\1h\2h\3\x86R0";
    size_t n = (size_t)(at - head), size;
    uint8_t *p = malloc(4000 + 300 * sizeof loop), *q = p;
    memcpy(q, head, n), q += n;
    memcpy(q, "\0\0", 2), q += 2;
    memcpy(q, text.data, 1000), q += 1000;
    memcpy(q, args, sizeof args - 1), q += sizeof args - 1;
    memcpy(q, "\0\0\0latin1q\3" "0", 12), q += 12;
    for (int i = 0; i < 300; i++) memcpy(q, loop, sizeof loop - 1), q += sizeof loop - 1;
    memcpy(q, "N.", 2), q += 2;
    size = (size_t)(q - p);
    refuses((fd_bytes){p, size}, FD_E_FORMAT, "decodes the same bytes again and again");
    free(p);
    free((void *)text.data);
}

static void every_truncation(void **state) {
    (void)state;
    static const char good[] = "\x80\x04\x95\x0f\0\0\0\0\0\0\0}\x94(\x8c\x01" "a\x94]\x94(K\x01M\x02\x03N" "eu.";
    for (size_t n = 0; n < sizeof good - 1; n++) {
        fd_ctx ctx = {0};
        fd_pk_session s;
        fd_pk *v;
        size_t used;
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, good, n);
        fd_pk_session_init(&s, "x", n);
        s.host = &plain;
        assert_int_equal(fd_pickle_run(&ctx, &s, (fd_bytes){copy, n}, &used, &v), FD_E_FORMAT);
        fd_pk_session_free(&s);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),  cmocka_unit_test(constructors), cmocka_unit_test(refused_names),
        cmocka_unit_test(refused_uses), cmocka_unit_test(damaged), cmocka_unit_test(limits),
        cmocka_unit_test(every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
