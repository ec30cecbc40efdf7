/* sha256.h — digests that identify networks and data sets in metadata (FIPS 180-4). */
#ifndef FD_BASE_SHA256_H
#define FD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t h[8]; uint64_t bytes; uint8_t block[64]; } fd_sha256;

void fd_sha256_init(fd_sha256 *s);
void fd_sha256_add(fd_sha256 *s, const void *data, size_t n);
void fd_sha256_hex(fd_sha256 *s, char out[65]);   /* finishes; 64 hex digits and NUL */

#endif
