/* The byte vocabulary of the kernel templates, in SSE4.1; see byte_avx512.h, and byte_avx2.h for
 * the table. */
#ifndef LEDGE_KERNELS_BYTE_SSE41_H
#define LEDGE_KERNELS_BYTE_SSE41_H

#include "engine/kernels/x86/simd_sse41.h"
#include "engine/kernels/unroll.h"

#define VB_LANES 16
#define VB_PARTS 4

typedef __m128i vb;
typedef struct vs {
    __m128i lo, hi;
} vs;

static inline vb vb_load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}
static inline vb vb_load_n(const uint8_t *p, size_t n)
{
    uint8_t t[VB_LANES] = {0};
    memcpy(t, p, n);
    return vb_load(t);
}
static inline void vb_store(uint8_t *p, vb a)
{
    _mm_storeu_si128((__m128i *)p, a);
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    uint8_t t[VB_LANES];
    vb_store(t, a);
    memcpy(p, t, n);
}
static inline vb vb_set(uint8_t x)
{
    return _mm_set1_epi8((char)x);
}
static inline vb vb_xor(vb a, vb b)
{
    return _mm_xor_si128(a, b);
}
static inline vb vb_max(vb a, vb b)
{
    return _mm_max_epu8(a, b);
}
static inline vb vb_spread(vb a)
{
    return a;
}
static inline vb vb_gather(vb a)
{
    return a;
}
static inline void vb_floats(vb a, vf out[VB_PARTS])
{
    const __m128i zero = _mm_setzero_si128(), top = _mm_set1_epi16(0x4b00);
    const __m128i lo = _mm_unpacklo_epi8(a, zero), hi = _mm_unpackhi_epi8(a, zero);
    out[0] = vf_of(_mm_unpacklo_epi16(lo, top));
    out[1] = vf_of(_mm_unpackhi_epi16(lo, top));
    out[2] = vf_of(_mm_unpacklo_epi16(hi, top));
    out[3] = vf_of(_mm_unpackhi_epi16(hi, top));
}
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const __m128i z = _mm_set1_epi16((int16_t)zero);
    const __m128i lo = _mm_adds_epi16(_mm_packs_epi32(in[0], in[1]), z);
    const __m128i hi = _mm_adds_epi16(_mm_packs_epi32(in[2], in[3]), z);
    return _mm_packus_epi16(lo, hi);
}
static inline bool vb_settled(const vi a[VB_PARTS], const vi b[VB_PARTS], const vf x[VB_PARTS])
{
    const __m128 nan = _mm_or_ps(_mm_cmpunord_ps(x[0], x[1]), _mm_cmpunord_ps(x[2], x[3]));
    __m128i d = _mm_castps_si128(nan);
    VX_UNROLL
    for (int i = 0; i < VB_PARTS; i++)
        d = _mm_or_si128(d, _mm_xor_si128(a[i], b[i]));
    return _mm_testz_si128(d, d) != 0;
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
    const vs s = {_mm_setzero_si128(), _mm_setzero_si128()};
    return s;
}
static inline vs vs_add(vs s, vb a)
{
    const __m128i zero = _mm_setzero_si128();
    s.lo = _mm_add_epi16(s.lo, _mm_unpacklo_epi8(a, zero));
    s.hi = _mm_add_epi16(s.hi, _mm_unpackhi_epi8(a, zero));
    return s;
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    const __m128i zero = _mm_setzero_si128();
    sum[0] = vi_add(sum[0], _mm_unpacklo_epi16(s.lo, zero));
    sum[1] = vi_add(sum[1], _mm_unpackhi_epi16(s.lo, zero));
    sum[2] = vi_add(sum[2], _mm_unpacklo_epi16(s.hi, zero));
    sum[3] = vi_add(sum[3], _mm_unpackhi_epi16(s.hi, zero));
}

typedef struct vb_table {
    __m128i rows[16];
} vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    vb_table v;
    __m128i before = _mm_setzero_si128();
    VX_UNROLL
    for (int i = 0; i < 16; i++) {
        const __m128i row = vb_load(t + 16 * i);
        v.rows[i] = i % 8 ? vb_xor(row, before) : row;
        before = row;
    }
    return v;
}
static inline vb vb_lookup(const vb_table *t, vb x)
{
    const __m128i step = _mm_set1_epi8(16);
    __m128i a = x, b = vb_xor(x, vb_set(0x80));
    __m128i y = vb_xor(_mm_shuffle_epi8(t->rows[0], a), _mm_shuffle_epi8(t->rows[8], b));
    VX_UNROLL
    for (int i = 1; i < 8; i++) {
        a = _mm_subs_epi8(a, step);
        b = _mm_subs_epi8(b, step);
        y = vb_xor(y, _mm_shuffle_epi8(t->rows[i], a));
        y = vb_xor(y, _mm_shuffle_epi8(t->rows[8 + i], b));
    }
    return y;
}

#endif
