/* The byte vocabulary of the kernel templates, in AVX-512, on top of simd_avx512.h.
 *
 * Every byte_<isa>.h defines the same names. vb: VB_LANES unsigned bytes. A vb is worked on as
 * VB_PARTS vectors of floats or int32, whose elements stand in lane order: part p holds what the
 * unpack instructions leave there, and vb_pack puts it back. vb_spread turns memory order into
 * lane order and vb_gather turns it back, for data whose other side are floats in memory.
 * vs: VB_LANES sums of 16 bits, in lane order. */
#ifndef LEDGE_KERNELS_BYTE_AVX512_H
#define LEDGE_KERNELS_BYTE_AVX512_H

#include "engine/kernels/x86/simd_avx512.h"
#include "engine/kernels/unroll.h"

#define VB_LANES 64
#define VB_PARTS 4

typedef __m512i vb;
typedef struct vs {
    __m512i lo, hi;
} vs;

static inline __mmask64 vb_mask(size_t n)
{
    return ((__mmask64)1 << n) - 1;
}
static inline vb vb_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline vb vb_load_n(const uint8_t *p, size_t n) /* n < VB_LANES; the others are 0 */
{
    return _mm512_maskz_loadu_epi8(vb_mask(n), p);
}
static inline void vb_store(uint8_t *p, vb a)
{
    _mm512_storeu_si512(p, a);
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    _mm512_mask_storeu_epi8(p, vb_mask(n), a);
}
static inline vb vb_set(uint8_t x)
{
    return _mm512_set1_epi8((char)x);
}
static inline vb vb_xor(vb a, vb b)
{
    return _mm512_xor_si512(a, b);
}
static inline vb vb_max(vb a, vb b)
{
    return _mm512_max_epu8(a, b);
}
/* Four lanes of four dwords, turned; the same forth and back. */
static inline vb vb_spread(vb a)
{
    const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(turn, a);
}
static inline vb vb_gather(vb a)
{
    return vb_spread(a);
}
/* 2^23 + x for each byte x: the exponent of 2^23 goes on top of the byte. */
static inline void vb_floats(vb a, vf out[VB_PARTS])
{
    const __m512i zero = _mm512_setzero_si512(), top = _mm512_set1_epi16(0x4b00);
    const __m512i lo = _mm512_unpacklo_epi8(a, zero), hi = _mm512_unpackhi_epi8(a, zero);
    out[0] = vf_of(_mm512_unpacklo_epi16(lo, top));
    out[1] = vf_of(_mm512_unpackhi_epi16(lo, top));
    out[2] = vf_of(_mm512_unpacklo_epi16(hi, top));
    out[3] = vf_of(_mm512_unpackhi_epi16(hi, top));
}
/* Each number saturated to 16 bits, `zero` added, saturated to a byte. */
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const __m512i z = _mm512_set1_epi16((int16_t)zero);
    const __m512i lo = _mm512_adds_epi16(_mm512_packs_epi32(in[0], in[1]), z);
    const __m512i hi = _mm512_adds_epi16(_mm512_packs_epi32(in[2], in[3]), z);
    return _mm512_packus_epi16(lo, hi);
}
/* All pairs are equal, and no x is NaN. */
static inline bool vb_settled(const vi a[VB_PARTS], const vi b[VB_PARTS], const vf x[VB_PARTS])
{
    const __mmask16 nan =
        _mm512_cmp_ps_mask(x[0], x[1], _CMP_UNORD_Q) | _mm512_cmp_ps_mask(x[2], x[3], _CMP_UNORD_Q);
    __m512i d = _mm512_xor_si512(a[0], b[0]);
    VX_UNROLL
    for (int i = 1; i < VB_PARTS; i++)
        d = _mm512_ternarylogic_epi32(d, a[i], b[i], 0xf6); /* d | (a ^ b) */
    return (nan | _mm512_test_epi32_mask(d, d)) == 0;
}
static inline vf vf_least(vf a, vf b) /* b where a is NaN */
{
    return vf_min(a, b);
}
static inline vf vf_most(vf a, vf b)
{
    return vf_max(a, b);
}
static inline vs vs_zero(void)
{
    const vs s = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    return s;
}
static inline vs vs_add(vs s, vb a)
{
    const __m512i zero = _mm512_setzero_si512();
    s.lo = _mm512_add_epi16(s.lo, _mm512_unpacklo_epi8(a, zero));
    s.hi = _mm512_add_epi16(s.hi, _mm512_unpackhi_epi8(a, zero));
    return s;
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    const __m512i zero = _mm512_setzero_si512();
    sum[0] = vi_add(sum[0], _mm512_unpacklo_epi16(s.lo, zero));
    sum[1] = vi_add(sum[1], _mm512_unpackhi_epi16(s.lo, zero));
    sum[2] = vi_add(sum[2], _mm512_unpacklo_epi16(s.hi, zero));
    sum[3] = vi_add(sum[3], _mm512_unpackhi_epi16(s.hi, zero));
}

/* Pairs of table entries are words: 64 of them one permutation looks up. */
typedef struct vb_table {
    __m512i words[4];
} vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    vb_table v;
    VX_UNROLL
    for (int i = 0; i < 4; i++)
        v.words[i] = _mm512_loadu_si512(t + 64 * i);
    return v;
}
/* The pair that holds entry i, for words i < 256. */
static inline __m512i vb_pair_of(const vb_table *t, __m512i i)
{
    const __m512i at = _mm512_srli_epi16(i, 1);
    const __mmask32 upper = _mm512_test_epi16_mask(i, _mm512_set1_epi16(0x80));
    const __m512i low = _mm512_permutex2var_epi16(t->words[0], at, t->words[1]);
    return _mm512_mask_mov_epi16(low, upper,
                                 _mm512_permutex2var_epi16(t->words[2], at, t->words[3]));
}
static inline vb vb_lookup(const vb_table *t, vb x)
{
    const __m512i low = _mm512_set1_epi16(0xff), eight = _mm512_set1_epi16(8);
    const __m512i even = _mm512_and_si512(x, low), odd = _mm512_srli_epi16(x, 8);
    /* 8 for an entry in its pair's upper byte */
    const __m512i even_up = _mm512_and_si512(_mm512_slli_epi16(x, 3), eight);
    const __m512i odd_up = _mm512_and_si512(_mm512_srli_epi16(x, 5), eight);
    const __m512i a = _mm512_srlv_epi16(vb_pair_of(t, even), even_up);
    const __m512i b = _mm512_sllv_epi16(vb_pair_of(t, odd), _mm512_xor_si512(odd_up, eight));
    return _mm512_ternarylogic_epi32(low, a, b, 0xca); /* low ? a : b */
}

#endif
