/* The byte vocabulary of the kernel templates, in AVX2; see byte_avx512.h. */
#ifndef LEDGE_KERNELS_BYTE_AVX2_H
#define LEDGE_KERNELS_BYTE_AVX2_H

#include "engine/kernels/x86/simd_avx2.h"
#include "engine/kernels/unroll.h"

#define VB_LANES 32
#define VB_PARTS 4

typedef __m256i vb;
typedef struct vs {
    __m256i lo, hi;
} vs;

static inline vb vb_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline vb vb_load_n(const uint8_t *p, size_t n)
{
    uint8_t t[VB_LANES] = {0};
    memcpy(t, p, n);
    return vb_load(t);
}
static inline void vb_store(uint8_t *p, vb a)
{
    _mm256_storeu_si256((__m256i *)p, a);
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    uint8_t t[VB_LANES];
    vb_store(t, a);
    memcpy(p, t, n);
}
static inline vb vb_set(uint8_t x)
{
    return _mm256_set1_epi8((char)x);
}
static inline vb vb_xor(vb a, vb b)
{
    return _mm256_xor_si256(a, b);
}
static inline vb vb_max(vb a, vb b)
{
    return _mm256_max_epu8(a, b);
}
static inline vb vb_spread(vb a)
{
    return _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}
static inline vb vb_gather(vb a)
{
    return _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
static inline void vb_floats(vb a, vf out[VB_PARTS])
{
    const __m256i zero = _mm256_setzero_si256(), top = _mm256_set1_epi16(0x4b00);
    const __m256i lo = _mm256_unpacklo_epi8(a, zero), hi = _mm256_unpackhi_epi8(a, zero);
    out[0] = vf_of(_mm256_unpacklo_epi16(lo, top));
    out[1] = vf_of(_mm256_unpackhi_epi16(lo, top));
    out[2] = vf_of(_mm256_unpacklo_epi16(hi, top));
    out[3] = vf_of(_mm256_unpackhi_epi16(hi, top));
}
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const __m256i z = _mm256_set1_epi16((int16_t)zero);
    const __m256i lo = _mm256_adds_epi16(_mm256_packs_epi32(in[0], in[1]), z);
    const __m256i hi = _mm256_adds_epi16(_mm256_packs_epi32(in[2], in[3]), z);
    return _mm256_packus_epi16(lo, hi);
}
static inline bool vb_settled(const vi a[VB_PARTS], const vi b[VB_PARTS], const vf x[VB_PARTS])
{
    const __m256 nan = _mm256_or_ps(_mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q),
                                    _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q));
    __m256i d = _mm256_castps_si256(nan);
    VX_UNROLL
    for (int i = 0; i < VB_PARTS; i++)
        d = _mm256_or_si256(d, _mm256_xor_si256(a[i], b[i]));
    return _mm256_testz_si256(d, d) != 0;
}
static inline vf vf_least(vf a, vf b)
{
    return vf_min(a, b);
}
static inline vf vf_most(vf a, vf b)
{
    return vf_max(a, b);
}
static inline vs vs_zero(void)
{
    const vs s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return s;
}
static inline vs vs_add(vs s, vb a)
{
    const __m256i zero = _mm256_setzero_si256();
    s.lo = _mm256_add_epi16(s.lo, _mm256_unpacklo_epi8(a, zero));
    s.hi = _mm256_add_epi16(s.hi, _mm256_unpackhi_epi8(a, zero));
    return s;
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    const __m256i zero = _mm256_setzero_si256();
    sum[0] = vi_add(sum[0], _mm256_unpacklo_epi16(s.lo, zero));
    sum[1] = vi_add(sum[1], _mm256_unpackhi_epi16(s.lo, zero));
    sum[2] = vi_add(sum[2], _mm256_unpacklo_epi16(s.hi, zero));
    sum[3] = vi_add(sum[3], _mm256_unpackhi_epi16(s.hi, zero));
}

/* Rows of 16 entries, each but the first of a half as its difference (xor) from the one before:
 * row i adds its difference wherever the index is 16 i or more, since a shuffle gives 0 for
 * negative places and else minds the low four bits alone. */
typedef struct vb_table {
    __m256i rows[16];
} vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    vb_table v;
    __m256i before = _mm256_setzero_si256();
    VX_UNROLL
    for (int i = 0; i < 16; i++) {
        const __m256i row =
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(t + 16 * i)));
        v.rows[i] = i % 8 ? _mm256_xor_si256(row, before) : row;
        before = row;
    }
    return v;
}
static inline vb vb_lookup(const vb_table *t, vb x)
{
    const __m256i step = _mm256_set1_epi8(16);
    __m256i a = x, b = vb_xor(x, vb_set(0x80));
    __m256i y = vb_xor(_mm256_shuffle_epi8(t->rows[0], a), _mm256_shuffle_epi8(t->rows[8], b));
    VX_UNROLL
    for (int i = 1; i < 8; i++) {
        a = _mm256_subs_epi8(a, step);
        b = _mm256_subs_epi8(b, step);
        y = vb_xor(y, _mm256_shuffle_epi8(t->rows[i], a));
        y = vb_xor(y, _mm256_shuffle_epi8(t->rows[8 + i], b));
    }
    return y;
}

#endif
