/* The vocabulary of the 8-bit kernel templates in SSE4.1, 4 lanes; see ref/vq_scalar.h for what
 * each name does. A product goes by pairs of int16, which are exact. */
#ifndef LEDGE_KERNELS_VQ_SSE41_H
#define LEDGE_KERNELS_VQ_SSE41_H

#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VQ_ISA sse41
#define VQ_LANES 4
#define VQ_REGISTERS 12 /* products need the others */

typedef __m128i vqi;
typedef __m128 vqf;
typedef __m128i vqb;
typedef __m128i vqa;
typedef struct vqx {
    __m128i even, odd; /* int16 */
} vqx;
typedef vqx vqw;
typedef struct VqPack {
    __m128i zero, lo, hi;
} VqPack;

static inline vqi vq_load_i(const int32_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    _mm_storeu_si128((__m128i *)(void *)p, a);
}
static inline vqi vq_set_i(int32_t x)
{
    return _mm_set1_epi32(x);
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    return _mm_sub_epi32(a, b);
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    return _mm_mullo_epi32(a, b);
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(x));
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n)
{
    uint8_t x[4] = {0};
    memcpy(x, p, n);
    return vq_load_bytes(x);
}
static inline vqf vq_load_f(const float *p)
{
    return _mm_loadu_ps(p);
}
static inline vqf vq_load_f_n(const float *p, size_t n)
{
    float x[4] = {0};
    memcpy(x, p, n * sizeof(float));
    return vq_load_f(x);
}
static inline void vq_store_f(float *p, vqf a)
{
    _mm_storeu_ps(p, a);
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    float x[4];
    vq_store_f(x, a);
    memcpy(p, x, n * sizeof(float));
}
static inline vqf vq_set_f(float x)
{
    return _mm_set1_ps(x);
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    return _mm_add_ps(a, b);
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    return _mm_mul_ps(a, b);
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    return _mm_min_ps(a, b);
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    return _mm_max_ps(a, b);
}
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi)
{
    return _mm_min_ps(hi, _mm_max_ps(lo, x));
}
static inline vqf vq_float(vqi a)
{
    return _mm_cvtepi32_ps(a);
}
static inline vqf vq_nearest(vqf x)
{
    return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vqi vq_round(vqf x) /* far below: the lowest int32 */
{
    return _mm_cvtps_epi32(x);
}

static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){_mm_set1_epi16((int16_t)zero), _mm_set1_epi8((char)lo),
                    _mm_set1_epi8((char)hi)};
}
static inline __m128i vq_words(vqi a, vqi b, const VqPack *f, const bool bare)
{
    const __m128i x = _mm_packs_epi32(a, b);
    return bare ? x : _mm_adds_epi16(x, f->zero);
}
/* `bare`: there is no zero point and no bound but a byte's own. */
static inline __m128i vq_packed(const vqi *a, const int nv, const VqPack *f, const bool bare)
{
    const __m128i ab = vq_words(a[0], a[nv > 1 ? 1 : 0], f, bare);
    const __m128i cd = nv > 2 ? vq_words(a[nv > 2 ? 2 : 0], a[nv > 3 ? 3 : 0], f, bare) : ab;
    const __m128i x = _mm_packus_epi16(ab, cd);
    return bare ? x : _mm_min_epu8(_mm_max_epu8(x, f->lo), f->hi);
}
static inline void vq_store_bytes(uint8_t *p, const vqi *a, const int nv, const VqPack *f,
                                  const bool bare)
{
    uint8_t x[16];
    _mm_storeu_si128((__m128i *)(void *)x, vq_packed(a, nv, f, bare));
    memcpy(p, x, (size_t)nv * 4);
}
static inline void vq_store_bytes_n(uint8_t *p, vqi a, size_t n, const VqPack *f)
{
    uint8_t x[4];
    vq_store_bytes(x, &a, 1, f, false);
    memcpy(p, x, n);
}
static inline void vq_store_block(uint8_t *p, const vqi *a, const VqPack *f, const bool bare)
{
    vq_store_bytes(p, a, 4, f, bare);
}

static inline vqa vq_begin(vqi init)
{
    return init;
}
static inline vqi vq_end(vqa sum)
{
    return sum;
}
static inline vqx vq_split(__m128i four)
{
    return (vqx){_mm_and_si128(four, _mm_set1_epi16(0xff)), _mm_srli_epi16(four, 8)};
}
static inline vqw vq_weights(const int8_t *p)
{
    const __m128i w = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vqw){_mm_srai_epi16(_mm_slli_epi16(w, 8), 8), _mm_srai_epi16(w, 8)};
}
static inline vqx vq_four(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return vq_split(_mm_set1_epi32(x));
}
#define VQ_WINO 2
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    return _mm_add_epi32(sum, _mm_madd_epi16(x, w));
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    sum = _mm_add_epi32(sum, _mm_madd_epi16(x.even, w.even));
    return _mm_add_epi32(sum, _mm_madd_epi16(x.odd, w.odd));
}

static inline vqb vq_zero_b(void)
{
    return _mm_setzero_si128();
}
static inline vqb vq_load_b(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n)
{
    uint8_t x[16] = {0};
    memcpy(x, p, n);
    return vq_load_b(x);
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    const __m128i a = _mm_unpacklo_epi8(r[0], r[1]), b = _mm_unpackhi_epi8(r[0], r[1]);
    const __m128i c = _mm_unpacklo_epi8(r[2], r[3]), d = _mm_unpackhi_epi8(r[2], r[3]);
    x[0] = vq_split(_mm_unpacklo_epi16(a, c));
    x[1] = vq_split(_mm_unpackhi_epi16(a, c));
    x[2] = vq_split(_mm_unpacklo_epi16(b, d));
    x[3] = vq_split(_mm_unpackhi_epi16(b, d));
}

#endif
