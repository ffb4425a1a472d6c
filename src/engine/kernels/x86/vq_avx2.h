/* The vocabulary of the 8-bit kernel templates in AVX2, 8 lanes; see ref/vq_scalar.h for what each
 * name does. Without VNNI a product goes by pairs of int16, which are exact. With AVX-512's or
 * AVX's VNNI (VQ_VNNI) it is one instruction. */
#ifndef LEDGE_KERNELS_VQ_AVX2_H
#define LEDGE_KERNELS_VQ_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VQ_LANES 8
#ifndef VQ_VNNI
#define VQ_REGISTERS 12 /* products need the others */
#elif !defined(VQ_REGISTERS)
#define VQ_REGISTERS 16
#endif

typedef __m256i vqi;
typedef __m256 vqf;
typedef __m256i vqb;
typedef __m256i vqa;
typedef struct VqPack {
    __m256i zero, lo, hi;
} VqPack;

static inline __m256i vq_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vqi vq_load_i(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}
static inline vqi vq_set_i(int32_t x)
{
    return _mm256_set1_epi32(x);
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    return _mm256_sub_epi32(a, b);
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    return _mm256_mullo_epi32(a, b);
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n)
{
    uint8_t x[8] = {0};
    memcpy(x, p, n);
    return vq_load_bytes(x);
}
static inline vqf vq_load_f(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline vqf vq_load_f_n(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, vq_mask(n));
}
static inline void vq_store_f(float *p, vqf a)
{
    _mm256_storeu_ps(p, a);
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    _mm256_maskstore_ps(p, vq_mask(n), a);
}
static inline vqf vq_set_f(float x)
{
    return _mm256_set1_ps(x);
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    return _mm256_add_ps(a, b);
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    return _mm256_mul_ps(a, b);
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    return _mm256_min_ps(a, b);
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    return _mm256_max_ps(a, b);
}
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi)
{
    return _mm256_min_ps(hi, _mm256_max_ps(lo, x));
}
static inline vqf vq_float(vqi a)
{
    return _mm256_cvtepi32_ps(a);
}
static inline vqf vq_nearest(vqf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vqi vq_round(vqf x) /* far below: the lowest int32 */
{
    return _mm256_cvtps_epi32(x);
}

static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){_mm256_set1_epi16((int16_t)zero), _mm256_set1_epi8((char)lo),
                    _mm256_set1_epi8((char)hi)};
}
/* Two vectors to words with the zero point, in 128-bit pieces: a0 b0 a1 b1. `bare`: there is no
 * zero point and no bound but a byte's own. */
static inline __m256i vq_words(vqi a, vqi b, const VqPack *f, const bool bare)
{
    const __m256i x = _mm256_packs_epi32(a, b);
    return bare ? x : _mm256_adds_epi16(x, f->zero);
}
static inline __m256i vq_bytes(__m256i ab, __m256i cd, const VqPack *f, const bool bare)
{
    const __m256i x = _mm256_packus_epi16(ab, cd);
    return bare ? x : _mm256_min_epu8(_mm256_max_epu8(x, f->lo), f->hi);
}
static inline void vq_store_block(uint8_t *p, const vqi *a, const VqPack *f, const bool bare)
{
    const __m256i ab = vq_words(a[0], a[1], f, bare), cd = vq_words(a[2], a[3], f, bare);
    _mm256_storeu_si256((__m256i *)(void *)p, vq_bytes(ab, cd, f, bare));
}
static inline __m256i vq_in_order(const vqi *a, const int nv, const VqPack *f, const bool bare)
{
    const __m256i ab = vq_words(a[0], a[nv > 1 ? 1 : 0], f, bare);
    const __m256i cd = nv > 2 ? vq_words(a[nv > 2 ? 2 : 0], a[nv > 3 ? 3 : 0], f, bare) : ab;
    return _mm256_permutevar8x32_epi32(vq_bytes(ab, cd, f, bare),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
static inline void vq_store_bytes(uint8_t *p, const vqi *a, const int nv, const VqPack *f,
                                  const bool bare)
{
    const __m256i x = vq_in_order(a, nv, f, bare);
    if (nv == 4) {
        _mm256_storeu_si256((__m256i *)(void *)p, x);
        return;
    }
    if (nv == 1) {
        _mm_storel_epi64((__m128i *)(void *)p, _mm256_castsi256_si128(x));
        return;
    }
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(x));
    if (nv == 3)
        _mm_storel_epi64((__m128i *)(void *)(p + 16), _mm256_extracti128_si256(x, 1));
}
static inline void vq_store_bytes_n(uint8_t *p, vqi a, size_t n, const VqPack *f)
{
    uint8_t x[8];
    vq_store_bytes(x, &a, 1, f, false);
    memcpy(p, x, n);
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
    return _mm256_setzero_si256();
}
static inline vqb vq_load_b(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n) /* n < 32 */
{
#ifdef __AVX512VL__
    return _mm256_maskz_loadu_epi8(((__mmask32)1 << n) - 1, p);
#else
    uint8_t x[32] = {0};
    memcpy(x, p, n);
    return vq_load_b(x);
#endif
}
static inline __m256i vq_four_all(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return _mm256_set1_epi32(x);
}
/* The four interleaved vectors of bytes. */
static inline void vq_fours(const vqb r[4], __m256i out[4])
{
    const __m256i a = _mm256_unpacklo_epi8(r[0], r[1]), b = _mm256_unpackhi_epi8(r[0], r[1]);
    const __m256i c = _mm256_unpacklo_epi8(r[2], r[3]), d = _mm256_unpackhi_epi8(r[2], r[3]);
    out[0] = _mm256_unpacklo_epi16(a, c);
    out[1] = _mm256_unpackhi_epi16(a, c);
    out[2] = _mm256_unpacklo_epi16(b, d);
    out[3] = _mm256_unpackhi_epi16(b, d);
}

#ifdef VQ_VNNI

typedef __m256i vqx;
typedef __m256i vqw;

static inline vqw vq_weights(const int8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline vqx vq_four(const uint8_t *p)
{
    return vq_four_all(p);
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    return VQ_VNNI(sum, x, w);
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    vq_fours(r, x);
}

#ifdef VQ_VNNI16 /* pairs of int16 */
#define VQ_WINO 2
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    return VQ_VNNI16(sum, x, w);
}
#endif

#else

#define VQ_ISA avx2
#define VQ_WINO 2
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}
typedef struct vqx {
    __m256i even, odd; /* int16 */
} vqx;
typedef vqx vqw;

static inline vqx vq_split(__m256i four)
{
    return (vqx){_mm256_and_si256(four, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(four, 8)};
}
static inline vqw vq_weights(const int8_t *p)
{
    const __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return (vqw){_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
}
static inline vqx vq_four(const uint8_t *p)
{
    return vq_split(vq_four_all(p));
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x.even, w.even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x.odd, w.odd));
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    __m256i four[4];
    vq_fours(r, four);
    for (int v = 0; v < 4; v++)
        x[v] = vq_split(four[v]);
}

#endif
#endif
