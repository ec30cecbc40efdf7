/* json.h — bounded reading of JSON through jansson, clear errors for missing and mistyped values, exact numbers out.
 *
 * Values are jansson's json_t; release roots with json_decref. `what` in every call is the name a message starts with
 * (a file, or file + section).
 */
#ifndef FD_IO_JSON_H
#define FD_IO_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/file.h"

/* Parses one value. Refuses duplicate keys, NUL in strings, invalid UTF-8, nesting beyond jansson's 2048 levels and
 * anything after the value. FORMAT with line, column and jansson's text. A tree can be thirty times as large as its text:
 * one beyond FD_JSON_MEMORY and the size of the text is refused. Owner: the caller (json_decref). */
#define FD_JSON_MEMORY ((size_t)32 << 20)
fd_status fd_json_parse(fd_ctx *ctx, fd_bytes text, const char *what, json_t **out);
/* The same with a tree of at most `memory` bytes. */
fd_status fd_json_parse_within(fd_ctx *ctx, fd_bytes text, const char *what, size_t memory, json_t **out);
/* A whole file, at most 512 MiB. */
fd_status fd_json_load(fd_ctx *ctx, const char *path, json_t **out);

/* Getters. FD_REQUIRED: an absent key (or null) is an error; FD_OPTIONAL: it leaves *out as it was. A value of
 * another type or outside [lo, hi] is an error in both cases: "what: key 'x' …". Integers are accepted as numbers. */
typedef enum { FD_REQUIRED, FD_OPTIONAL } fd_json_need;
fd_status fd_json_int(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                      int64_t lo, int64_t hi, int64_t *out);
fd_status fd_json_number(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                         double *out);
fd_status fd_json_bool(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       bool *out);
/* *out points into the object. */
fd_status fd_json_text(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       const char **out);
fd_status fd_json_object(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                         json_t **out);
fd_status fd_json_array(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                        json_t **out);
/* List of integers into out[0 … *n-1], at most `most`. */
fd_status fd_json_ints(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       int64_t lo, int64_t hi, int most, int64_t *out, int *n);

/* A new number value; null when it is not finite, because JSON has no NaN. */
json_t *fd_json_real(double v);
/* Text of a value in the arena: keys in insertion order, each real number with the fewest digits that read back to
 * the same double. indent 0: one line, no newline at the end; else pretty with a final newline. NULL and NOMEM on
 * failure. */
char *fd_json_dump(fd_ctx *ctx, fd_arena *arena, const json_t *value, int indent);
/* Pretty dump to a file, atomically. */
fd_status fd_json_save(fd_ctx *ctx, const char *path, const json_t *value);

#endif
