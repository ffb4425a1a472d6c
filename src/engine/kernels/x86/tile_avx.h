/* Transposition of 8×8 tiles of 32-bit elements in AVX, for AVX2 and AVX-512. */
#ifndef LEDGE_KERNELS_TILE_AVX_H
#define LEDGE_KERNELS_TILE_AVX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* Rows i and i + 4 side by side: the halves then never have to cross. */
static inline __m256 tile8_row(const uint32_t *x, size_t ldx, int i, int half)
{
    const __m128 lo = _mm_loadu_ps((const float *)(x + (size_t)i * ldx + 4 * half));
    const __m128 hi = _mm_loadu_ps((const float *)(x + (size_t)(i + 4) * ldx + 4 * half));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(lo), hi, 1);
}

static inline void tile8(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy)
{
    for (int half = 0; half < 2; half++, y += 4 * ldy) {
        const __m256 a = tile8_row(x, ldx, 0, half), b = tile8_row(x, ldx, 1, half);
        const __m256 c = tile8_row(x, ldx, 2, half), d = tile8_row(x, ldx, 3, half);
        const __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
        const __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
        _mm256_storeu_ps((float *)y, _mm256_shuffle_ps(ab0, cd0, 0x44));
        _mm256_storeu_ps((float *)(y + ldy), _mm256_shuffle_ps(ab0, cd0, 0xee));
        _mm256_storeu_ps((float *)(y + 2 * ldy), _mm256_shuffle_ps(ab1, cd1, 0x44));
        _mm256_storeu_ps((float *)(y + 3 * ldy), _mm256_shuffle_ps(ab1, cd1, 0xee));
    }
}

#endif
