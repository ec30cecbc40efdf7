/* fuzz.h — what the targets share. A target is one file with LLVMFuzzerTestOneInput: with clang (FD_FUZZ) libFuzzer
 * calls it, otherwise replay.c does. Whatever the bytes are, it must return, lose no memory and touch only its own.
 */
#ifndef FD_TESTS_FUZZ_H
#define FD_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A context for one input: one thread, no progress bar. */
static inline fd_ctx fuzz_ctx(void) { return (fd_ctx){.threads = 1, .quiet = true}; }
/* The bytes as a file that exists in memory only; its path. NULL when the system gives no such file. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* A failure must have words, and success none. Ends the program otherwise. */
void fuzz_judge(const fd_ctx *ctx, fd_status s);
/* Reads every byte, so that a sanitizer sees whether they are really there. */
void fuzz_touch(const void *data, size_t bytes);

#endif
