/* Numbers of an array four at a time, with AVX2: the words of json_quick_lanes.h. */
#include <immintrin.h>

enum { LANES = 4 };

#include "base/json_quick_spans.h"

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

typedef __m256i V;
typedef __m256d D;

static inline V v_all(uint64_t v)
{
    return _mm256_set1_epi64x((int64_t)v);
}

static inline D d_all(double v)
{
    return _mm256_set1_pd(v);
}

static inline __m128i two(const char *p, const int32_t *at)
{
    const __m128d low =
        _mm_castsi128_pd(_mm_loadl_epi64((const __m128i *)(const void *)(p + at[0])));
    return _mm_castpd_si128(_mm_loadh_pd(low, (const double *)(const void *)(p + at[1])));
}

static inline V v_load(const char *p, const int32_t *at)
{
    return _mm256_set_m128i(two(p, at + 2), two(p, at));
}

static inline V v_and(V a, V b)
{
    return _mm256_and_si256(a, b);
}

static inline V v_or(V a, V b)
{
    return _mm256_or_si256(a, b);
}

static inline V v_but(V a, V b)
{
    return _mm256_andnot_si256(b, a);
}

static inline V v_pick(V m, V a, V b)
{
    return _mm256_blendv_epi8(b, a, m);
}

static inline V v_plus(V a, V b)
{
    return _mm256_add_epi64(a, b);
}

static inline V v_minus(V a, V b)
{
    return _mm256_sub_epi64(a, b);
}

static inline V v_minus8(V a, V b)
{
    return _mm256_sub_epi8(a, b);
}

static inline V v_over8(V a, V b)
{
    return _mm256_subs_epu8(a, b);
}

static inline V v_up(V a, int n)
{
    return _mm256_slli_epi64(a, n);
}

static inline V v_down(V a, int n)
{
    return _mm256_srli_epi64(a, n);
}

static inline V v_down_by(V a, V n)
{
    return _mm256_srlv_epi64(a, n);
}

static inline V v_same8(V a, V b)
{
    return _mm256_cmpeq_epi8(a, b);
}

static inline V v_none(V a)
{
    return _mm256_cmpeq_epi64(a, _mm256_setzero_si256());
}

static inline V v_swap(V a)
{
    const __m128i order = _mm_set_epi64x((int64_t)UINT64_C(0x8080808080800809),
                                         (int64_t)UINT64_C(0x8080808080800001));
    return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order));
}

static inline V v_count(V ones)
{
    return _mm256_sad_epu8(ones, _mm256_setzero_si256());
}

static inline V v_number(V v)
{
    v = _mm256_maddubs_epi16(v, _mm256_set1_epi16(1 << 8 | 10));
    v = _mm256_madd_epi16(v, _mm256_set1_epi32(1 << 16 | 100));
    return _mm256_add_epi64(_mm256_mul_epu32(v, v_all(10000)), v_down(v, 32));
}

static inline V v_far(const int32_t *at, int most)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)at);
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(at + 1));
    return _mm256_cvtepi32_epi64(_mm_cmpgt_epi32(_mm_sub_epi32(b, a), _mm_set1_epi32(most)));
}

static inline bool v_any(V a)
{
    return !_mm256_testz_si256(a, a);
}

/* Below 2^52 they are what follows the first bit of a double of 2^52 and more. */
static inline D d_of(V v)
{
    const D base = d_all(4503599627370496.0);
    return _mm256_sub_pd(_mm256_castsi256_pd(v_or(v, _mm256_castpd_si256(base))), base);
}

static inline D d_plus(D a, D b)
{
    return _mm256_add_pd(a, b);
}

static inline D d_times(D a, D b)
{
    return _mm256_mul_pd(a, b);
}

static inline D d_over(D a, D b)
{
    return _mm256_div_pd(a, b);
}

static inline D d_sign(D d, V v)
{
    return _mm256_or_pd(d, _mm256_castsi256_pd(v_up(v, 63)));
}

/* Singles hold these powers exactly; the lowest three bits of 1 to 8, and of 9 to 15, choose. */
static inline D d_scale8(V v)
{
    const __m256 powers = _mm256_setr_ps(1e0F, 1e7F, 1e6F, 1e5F, 1e4F, 1e3F, 1e2F, 1e1F);
    const __m256i low = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m256i lanes = _mm256_permutevar8x32_epi32(v, low);
    return _mm256_cvtps_pd(_mm256_castps256_ps128(_mm256_permutevar8x32_ps(powers, lanes)));
}

static inline D d_scale16(V v)
{
    const D few = _mm256_castsi256_pd(_mm256_cmpgt_epi64(v_all(9), v));
    return d_times(d_scale8(v), _mm256_blendv_pd(d_all(1), d_all(1e8), few));
}

static inline void d_store(void *out, D v)
{
    _mm256_storeu_pd(out, v);
}

static inline void d_store_singles(void *out, D v)
{
    _mm_storeu_ps(out, _mm256_cvtpd_ps(v));
}

static inline bool d_same_singles(D a, D b)
{
    return _mm_movemask_ps(_mm_cmpneq_ps(_mm256_cvtpd_ps(a), _mm256_cvtpd_ps(b))) == 0;
}

static inline uint64_t where(const char *p, char c)
{
    const V a = _mm256_loadu_si256((const V *)(const void *)p);
    const V b = _mm256_loadu_si256((const V *)(const void *)(p + 32));
    const V same = _mm256_set1_epi8(c);
    const unsigned low = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, same));
    const unsigned high = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, same));
    return (uint64_t)high << 32 | low;
}

static size_t list_commas(const char *p, size_t size, bool spaced, int32_t *at)
{
    const uint64_t top = UINT64_C(1) << 63; /* none is left: any place will do */
    uint64_t wrong = 0, before = 1;
    int32_t *to = at;
    *to++ = -1;
    for (size_t i = 0; i < size; i += BLOCK) {
        uint64_t found = where(p + i, ',');
        const int many = __builtin_popcountll(found);
        wrong |= where(p + i, ' ') ^ (found << 1 | before);
        before = found >> 63;
        for (int k = 0; k < many; k += 8)
#pragma GCC unroll 8
            for (int m = 0; m < 8; m++) {
                to[k + m] = (int32_t)i + __builtin_ctzll(found | top);
                found &= found - 1;
            }
        to += many;
    }
    return spaced && wrong ? 0 : (size_t)(to - at) - 1;
}

#include "base/json_quick_lanes.h"

size_t ledge__quick_numbers_avx2(const char **p, const char *end, LedgeType type, void *out,
                                 size_t room)
{
    return read_spans(p, end, type, out, room);
}
