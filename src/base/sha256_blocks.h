/* sha256_blocks.h — the inner loop of SHA-256, plain and with the SHA instructions of x86 (all AMD Zen, Intel from Ice
 * Lake and Goldmont on), which are several times as fast. */
#ifndef FD_BASE_SHA256_BLOCKS_H
#define FD_BASE_SHA256_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t fd_sha256_k[64];

/* h takes in `blocks` blocks of 64 bytes. */
void fd_sha256_blocks_plain(uint32_t h[8], const uint8_t *block, size_t blocks);
void fd_sha256_blocks_x86(uint32_t h[8], const uint8_t *block, size_t blocks);      /* only where usable */
bool fd_sha256_x86_usable(void);

#endif
