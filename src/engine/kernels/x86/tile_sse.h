/* Transposition of 4×4 tiles of 32-bit elements in SSE, for every x86 level. */
#ifndef LEDGE_KERNELS_TILE_SSE_H
#define LEDGE_KERNELS_TILE_SSE_H

#include <smmintrin.h>
#include <stddef.h>
#include <stdint.h>

/* y[c][r] = x[r][c] for c < 4; rows of x are read whole, `rows` (1 … 4) of them, the rest of the
 * tile repeats the last one. */
static inline void tile4(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows)
{
    const __m128 a = _mm_loadu_ps((const float *)x);
    const __m128 b = _mm_loadu_ps((const float *)(x + (rows > 1 ? ldx : 0)));
    const __m128 c = _mm_loadu_ps((const float *)(x + (rows > 2 ? 2 * ldx : 0)));
    const __m128 d = _mm_loadu_ps((const float *)(x + (rows > 3 ? 3 * ldx : 0)));
    const __m128 ab0 = _mm_unpacklo_ps(a, b), ab1 = _mm_unpackhi_ps(a, b);
    const __m128 cd0 = _mm_unpacklo_ps(c, d), cd1 = _mm_unpackhi_ps(c, d);
    _mm_storeu_ps((float *)y, _mm_movelh_ps(ab0, cd0));
    _mm_storeu_ps((float *)(y + ldy), _mm_movehl_ps(cd0, ab0));
    _mm_storeu_ps((float *)(y + 2 * ldy), _mm_movelh_ps(ab1, cd1));
    _mm_storeu_ps((float *)(y + 3 * ldy), _mm_movehl_ps(cd1, ab1));
}

#endif
