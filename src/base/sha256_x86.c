#include "base/sha256_blocks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

bool fd_sha256_x86_usable(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA;
}

/* The instructions keep the eight words as (A B E F) and (C D G H), first word highest, and do two rounds at a time: what
 * was A B E F becomes C D G H. */
__attribute__((target("sha,sse4.1,ssse3"))) void fd_sha256_blocks_x86(uint32_t h[8], const uint8_t *block, size_t blocks) {
    const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i ab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i ef = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(ab, ef, 8), cdgh = _mm_blend_epi16(ef, ab, 0xf0);
    for (; blocks; blocks--, block += 64) {
        const __m128i abef0 = abef, cdgh0 = cdgh;
        __m128i w[4];             /* the last sixteen words of the schedule, four to a vector */
        for (int g = 0; g < 16; g++) {
            if (g < 4)
                w[g] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + g), big_endian);
            else {
                const __m128i w1 = w[(g + 3) & 3], w2 = w[(g + 2) & 3], w3 = w[(g + 1) & 3], w4 = w[g & 3];
                w[g & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w4, w3), _mm_alignr_epi8(w1, w2, 4)), w1);
            }
            const __m128i wk = _mm_add_epi32(w[g & 3], _mm_loadu_si128((const __m128i *)fd_sha256_k + g));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    ab = _mm_shuffle_epi32(abef, 0x1b);
    ef = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(ab, ef, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(ef, ab, 8));
}
#else
bool fd_sha256_x86_usable(void) { return false; }
void fd_sha256_blocks_x86(uint32_t h[8], const uint8_t *block, size_t blocks) { fd_sha256_blocks_plain(h, block, blocks); }
#endif
