/* The vocabulary of the 8-bit kernel templates in AVX-512, 16 lanes; see ref/vq_scalar.h for what
 * each name does. A product is one vpdpbusd. */
#ifndef LEDGE_KERNELS_VQ_AVX512_H
#define LEDGE_KERNELS_VQ_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/unroll.h"

#define VQ_LANES 16
#define VQ_REGISTERS 32

typedef __m512i vqi;
typedef __m512 vqf;
typedef __m512i vqb;
typedef __m512i vqa;
typedef struct VqPack {
    __m512i zero, lo, hi;
} VqPack;

static inline __mmask16 vq_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
static inline __mmask64 vq_mask_b(size_t n) /* n < 64 */
{
    return ((__mmask64)1 << n) - 1;
}
static inline vqi vq_load_i(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    _mm512_storeu_si512(p, a);
}
static inline vqi vq_set_i(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    return _mm512_sub_epi32(a, b);
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    return _mm512_mullo_epi32(a, b);
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n)
{
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(vq_mask(n), p));
}
static inline vqf vq_load_f(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline vqf vq_load_f_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vq_mask(n), p);
}
static inline void vq_store_f(float *p, vqf a)
{
    _mm512_storeu_ps(p, a);
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    _mm512_mask_storeu_ps(p, vq_mask(n), a);
}
static inline vqf vq_set_f(float x)
{
    return _mm512_set1_ps(x);
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    return _mm512_add_ps(a, b);
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    return _mm512_min_ps(a, b);
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    return _mm512_max_ps(a, b);
}
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi)
{
    return _mm512_min_ps(hi, _mm512_max_ps(lo, x));
}
static inline vqf vq_float(vqi a)
{
    return _mm512_cvtepi32_ps(a);
}
static inline vqf vq_nearest(vqf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vqi vq_round(vqf x) /* far below: the lowest int32 */
{
    return _mm512_cvt_roundps_epi32(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){_mm512_set1_epi16((int16_t)zero), _mm512_set1_epi8((char)lo),
                    _mm512_set1_epi8((char)hi)};
}
/* Two vectors to words with the zero point, in 128-bit pieces: a0 b0 a1 b1 … `bare`: there is no
 * zero point and no bound but a byte's own. */
static inline __m512i vq_words(vqi a, vqi b, const VqPack *f, const bool bare)
{
    const __m512i x = _mm512_packs_epi32(a, b);
    return bare ? x : _mm512_adds_epi16(x, f->zero);
}
static inline __m512i vq_bytes(const vqi a[4], const VqPack *f, const bool bare)
{
    const __m512i x =
        _mm512_packus_epi16(vq_words(a[0], a[1], f, bare), vq_words(a[2], a[3], f, bare));
    return bare ? x : _mm512_min_epu8(_mm512_max_epu8(x, f->lo), f->hi);
}
static inline __m512i vq_in_order(const vqi a[4], const VqPack *f, const bool bare)
{
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        vq_bytes(a, f, bare));
}
static inline void vq_store_block(uint8_t *p, const vqi *a, const VqPack *f, const bool bare)
{
    _mm512_storeu_si512(p, vq_bytes(a, f, bare));
}
static inline void vq_store_128(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i *)(void *)p, x);
}
static inline void vq_store_256(uint8_t *p, __m256i x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}
static inline void vq_store_bytes_n(uint8_t *p, vqi a, size_t n, const VqPack *f)
{
    const vqi four[4] = {a, a, a, a};
    _mm_mask_storeu_epi8(p, vq_mask(n), _mm512_castsi512_si128(vq_in_order(four, f, false)));
}
/* rows × nv vectors, four at a time, whichever rows they are of. */
#define VQ_STORE_ROWS
static inline void vq_store_rows(uint8_t *p, size_t ld, const vqi *a, const int rows, const int nv,
                                 const VqPack *f, const bool bare)
{
    const int at_once = nv == 1 ? 4 : nv == 2 ? 2 : 1, count = rows * nv;
    VX_UNROLL
    for (int i = 0; i < rows; i += at_once, p += (size_t)at_once * ld) {
        vqi four[4];
        VX_EACH(j, 4)
        four[j] = a[i * nv + (j < at_once * nv && i * nv + j < count ? j : 0)];
        const __m512i x = vq_in_order(four, f, bare);
        if (nv == 4) {
            _mm512_storeu_si512(p, x);
        } else if (nv == 3) {
            vq_store_256(p, _mm512_castsi512_si256(x));
            vq_store_128(p + 32, _mm512_extracti32x4_epi32(x, 2));
        } else if (nv == 2) {
            vq_store_256(p, _mm512_castsi512_si256(x));
            if (i + 1 < rows)
                vq_store_256(p + ld, _mm512_extracti64x4_epi64(x, 1));
        } else {
            vq_store_128(p, _mm512_castsi512_si128(x));
            if (i + 1 < rows)
                vq_store_128(p + ld, _mm512_extracti32x4_epi32(x, 1));
            if (i + 2 < rows)
                vq_store_128(p + 2 * ld, _mm512_extracti32x4_epi32(x, 2));
            if (i + 3 < rows)
                vq_store_128(p + 3 * ld, _mm512_extracti32x4_epi32(x, 3));
        }
    }
}

static inline vqa vq_begin(vqi init)
{
    return init;
}
static inline vqi vq_end(vqa sum)
{
    return sum;
}
static inline vqb vq_zero_b(void)
{
    return _mm512_setzero_si512();
}
static inline vqb vq_load_b(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n)
{
    return _mm512_maskz_loadu_epi8(vq_mask_b(n), p);
}
static inline __m512i vq_four_all(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return _mm512_set1_epi32(x);
}
/* The four interleaved vectors of bytes. */
static inline void vq_fours(const vqb r[4], __m512i out[4])
{
    const __m512i a = _mm512_unpacklo_epi8(r[0], r[1]), b = _mm512_unpackhi_epi8(r[0], r[1]);
    const __m512i c = _mm512_unpacklo_epi8(r[2], r[3]), d = _mm512_unpackhi_epi8(r[2], r[3]);
    out[0] = _mm512_unpacklo_epi16(a, c);
    out[1] = _mm512_unpackhi_epi16(a, c);
    out[2] = _mm512_unpacklo_epi16(b, d);
    out[3] = _mm512_unpackhi_epi16(b, d);
}

#define VQ_ISA avx512vnni
typedef __m512i vqx;
typedef __m512i vqw;

static inline vqw vq_weights(const int8_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline vqx vq_four(const uint8_t *p)
{
    return vq_four_all(p);
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    return _mm512_dpbusd_epi32(sum, x, w);
}
/* Pairs of int16. */
#define VQ_WINO 4
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    return _mm512_dpwssd_epi32(sum, x, w);
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    vq_fours(r, x);
}

#endif
