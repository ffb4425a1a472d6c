/* Numbers of an array eight at a time, with AVX-512. Commas of a kilobyte are listed first;
 * then eight windows of 16 bytes, each with one number at its beginning, lie in two registers, and
 * the masks of commas, points and digits are worked on in words of 64 bits, 16 bits a number.
 * Digits stand to the left of 16 places, with zeros behind: such an integer is a double exactly,
 * and one division by a power of ten, exact as well, gives the nearest double. Of longer numbers
 * that become singles the first 14 digits do, but where a later one could matter. Numbers of up to
 * eight characters need half of that: one register, words of 8 bits a number, 8 places. */
#include <immintrin.h>

enum { LANES = 8, SHORT = 15 };

#include "base/json_quick_spans.h"

#define EACH(bits) (UINT64_C(0x0001000100010001) * (bits)) /* in every window */

static const double scales[16] = {1e16, 1e15, 1e14, 1e13, 1e12, 1e11, 1e10, 1e9,
                                  1e8,  1e7,  1e6,  1e5,  1e4,  1e3,  1e2,  1e1};

static inline __m128i window(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Whether the first number is a short one, which is asked before much is done. */
static inline bool begins_short(const char *p)
{
    return _mm_cmpeq_epi8_mask(window(p + (*p == ' ')), _mm_set1_epi8(',')) != 0;
}

static size_t list_commas(const char *p, size_t size, bool spaced, int32_t *at)
{
    const __m512i comma = _mm512_set1_epi8(','), space = _mm512_set1_epi8(' ');
    const __m512i sixteen = _mm512_set1_epi32(16);
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint64_t wrong = 0, before = 1;
    int32_t *to = at;
    *to++ = -1;
    for (size_t i = 0; i < size; i += BLOCK) {
        const __m512i v = _mm512_loadu_si512(p + i);
        uint64_t found = _mm512_cmpeq_epi8_mask(v, comma);
        wrong |= _mm512_cmpeq_epi8_mask(v, space) ^ (found << 1 | before);
        before = found >> 63;
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const __mmask16 some = (__mmask16)found;
            _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(some, place));
            to += __builtin_popcount(some);
            place = _mm512_add_epi32(place, sixteen);
            found >>= 16;
        }
    }
    return spaced && wrong ? 0 : (size_t)(to - at) - 1;
}

/* Four windows, with bits for what is in them. */
typedef struct Four {
    __m512i text;
    uint64_t keep, below; /* digits of the number; what is before its point, or all of it */
} Four;

/* In each window, all bits below the lowest that is set; *lowest becomes that one. Each must have
 * one. */
static inline uint64_t below_lowest(uint64_t set, uint64_t *lowest)
{
    const uint64_t with_it = set ^ (set - EACH(1)), below = (with_it ^ EACH(1)) >> 1;
    *lowest = with_it ^ below;
    return below;
}

static inline __m512i four_windows(const char *p, const int32_t *at)
{
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(window(p + at[2]), window(p + at[0]))),
        _mm256_set_m128i(window(p + at[6]), window(p + at[4])), 1);
}

static inline __m512i digits_of(__m512i text)
{
    return _mm512_sub_epi8(text, _mm512_set1_epi8('0'));
}

static inline uint64_t commas_in(__m512i text)
{
    return _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(','));
}

/* What stands behind SHORT characters: digits and a comma. `cut`: of windows that have no end. */
static inline uint64_t find_rests(const char *p, const int32_t *at, uint64_t cut)
{
    const __m512i t = four_windows(p + SHORT, at);
    const uint64_t commas = commas_in(t), all = (cut >> SHORT) * 0xFFFF;
    uint64_t end;
    const uint64_t inside = below_lowest(commas | EACH(1 << SHORT), &end);
    return ((end ^ (end & commas)) & all) |
           _mm512_mask_cmpgt_epu8_mask(inside & all, digits_of(t), _mm512_set1_epi8(9));
}

/* Every second number from the one behind at[0]. Bits come back for what is wrong. cut_too: of a
 * number with a point, SHORT characters will do. */
static ALWAYS_INLINE uint64_t find_parts(const char *p, const int32_t *at, bool cut_too, Four *out)
{
    const __m512i t = four_windows(p, at), v = digits_of(t);
    const uint64_t commas = commas_in(t);
    const uint64_t points = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('.'));
    const uint64_t minus = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('-')) & EACH(1);
    uint64_t end, stop; /* stop: the point, or the end */
    const uint64_t inside = below_lowest(commas | EACH(1 << SHORT), &end);
    const uint64_t below = below_lowest(points | end, &stop);
    const uint64_t point = stop & points, behind = point << 1, cut = end ^ (end & commas);
    const uint64_t first = EACH(1) + minus, keep = inside ^ minus ^ point;
    const uint64_t leading = (below & first << 1) >> 1; /* digits before others */
    out->text = t;
    out->keep = keep;
    out->below = below;
    return (cut_too ? (cut & stop) | find_rests(p, at, cut) : cut) |
           (first ^ (first & below))      /* no digit before the point */
           | (behind ^ (behind & inside)) /* nor behind it */
           | _mm512_mask_testn_epi8_mask(leading, v, v) |
           _mm512_mask_cmpgt_epu8_mask(keep, v, _mm512_set1_epi8(9));
}

/* The digits in pairs of bytes, then four to a place of 32 bits. */
static inline __m512i fours(const Four *f)
{
    const __m512i v = _mm512_maskz_mov_epi8(f->keep, digits_of(f->text));
    const __m512i w = _mm512_mask_mov_epi8(_mm512_bsrli_epi128(v, 1), f->below, v);
    return _mm512_madd_epi16(_mm512_maddubs_epi16(w, _mm512_set1_epi16(1 << 8 | 10)),
                             _mm512_set1_epi32(1 << 16 | 100));
}

static inline __m512i count_below(const Four *f)
{
    return _mm512_sad_epu8(_mm512_maskz_set1_epi8(f->below, 1), _mm512_setzero_si512());
}

typedef struct Eight {
    Four a, b;
} Eight;

/* The eight that begin behind at[0] to at[7]; false: one of them is not so plain. */
static ALWAYS_INLINE bool find_eight(const char *p, const int32_t *at, bool cut_too, Eight *out)
{
    return (find_parts(p, at, cut_too, &out->a) | find_parts(p, at + 1, cut_too, &out->b)) == 0;
}

/* Digits as integers of 16 places. */
static inline __m512i integers(const Eight *e)
{
    const __m512i v = _mm512_madd_epi16(_mm512_packus_epi32(fours(&e->a), fours(&e->b)),
                                        _mm512_set1_epi32(1 << 16 | 10000));
    return _mm512_add_epi64(_mm512_mul_epu32(v, _mm512_set1_epi64(100000000)),
                            _mm512_srli_epi64(v, 32));
}

/* What they are to be divided by. */
static inline __m512d divisors(const Eight *e)
{
    const __m512i x = count_below(&e->a), y = count_below(&e->b);
    const __m512i places =
        _mm512_add_epi64(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    return _mm512_permutex2var_pd(_mm512_loadu_pd(scales), places, _mm512_loadu_pd(scales + 8));
}

static inline __m512d with_signs(__m512d v, const Eight *e)
{
    /* Bit 4 is set in digits and not in a minus. */
    const __m512i sign = _mm512_slli_epi64(_mm512_unpacklo_epi64(e->a.text, e->b.text), 59);
    return _mm512_castsi512_pd(_mm512_or_si512(
        _mm512_castpd_si512(v), _mm512_andnot_si512(sign, _mm512_set1_epi64(INT64_MIN))));
}

static inline __m512d values(const Eight *e)
{
    return with_signs(_mm512_div_pd(_mm512_cvtepi64_pd(integers(e)), divisors(e)), e);
}

/* Singles of numbers that may have been cut behind 14 digits: right where one in the last of these
 * makes no other single, as the number itself lies between both. false: somewhere it does. */
static inline bool singles_of_cut(const Eight *e, __m256 *out)
{
    const __m512i low = integers(e), high = _mm512_add_epi64(low, _mm512_set1_epi64(100));
    const __m512d by = divisors(e);
    const __m256 v = _mm512_cvtpd_ps(_mm512_div_pd(_mm512_cvtepi64_pd(low), by));
    const __m256 w = _mm512_cvtpd_ps(_mm512_div_pd(_mm512_cvtepi64_pd(high), by));
    *out = _mm512_cvtpd_ps(with_signs(_mm512_cvtps_pd(v), e));
    return _mm256_cmp_ps_mask(v, w, _CMP_NEQ_UQ) == 0;
}

/* ---- eight characters each ---- */

#define EVERY(bits) (UINT64_C(0x0101010101010101) * (bits))

/* In each byte, all bits below the lowest that is set, or all eight; *lowest becomes that one. */
static inline uint64_t below_lowest_of_8(uint64_t set, uint64_t *lowest)
{
    const uint64_t some = set | EVERY(0x80), with_it = some ^ (some - EVERY(1));
    const uint64_t below = (with_it ^ EVERY(1)) >> 1;
    *lowest = (with_it ^ below) & set;
    return with_it ^ *lowest;
}

static inline __m128i two_of_8(const char *p, const int32_t *at)
{
    const __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)(p + at[0]));
    return _mm_castpd_si128(
        _mm_loadh_pd(_mm_castsi128_pd(low), (const double *)(const void *)(p + at[1])));
}

static inline __m512i eight_of_8(const char *p, const int32_t *at)
{
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(two_of_8(p, at + 2), two_of_8(p, at))),
        _mm256_set_m128i(two_of_8(p, at + 6), two_of_8(p, at + 4)), 1);
}

/* Bits for those with more characters than `most` and a comma. */
static inline uint64_t longer(const int32_t *at, int most)
{
    const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)at);
    const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(at + 1));
    return _mm256_cmpgt_epi32_mask(_mm256_sub_epi32(b, a), _mm256_set1_epi32(most));
}

/* As find_parts, of all eight. gap: bytes from a number to the next. */
static ALWAYS_INLINE bool find_brief(const char *p, const int32_t *at, int gap, Four *out)
{
    const __m512i t = eight_of_8(p, at), v = digits_of(t);
    const uint64_t commas = commas_in(t);
    const uint64_t points = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('.'));
    const uint64_t minus = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('-')) & EVERY(1);
    uint64_t end, stop;
    const uint64_t inside = below_lowest_of_8(commas, &end);
    const uint64_t below = below_lowest_of_8(points | commas, &stop);
    const uint64_t point = stop & points, behind = point << 1;
    const uint64_t first = EVERY(1) + minus, keep = inside ^ minus ^ point;
    const uint64_t leading = (below & first << 1) >> 1;
    out->text = t;
    out->keep = keep;
    out->below = below;
    return (longer(at, 8 + gap) | (point & EVERY(0x80)) | (first ^ (first & below)) |
            (behind ^ (behind & inside)) | _mm512_mask_testn_epi8_mask(leading, v, v) |
            _mm512_mask_cmpgt_epu8_mask(keep, v, _mm512_set1_epi8(9))) == 0;
}

static inline __m512d brief_values(const Four *f)
{
    const __m512d by = _mm512_setr_pd(1e0, 1e7, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1); /* first: of 8 */
    const __m512i digits = _mm512_maskz_mov_epi8(f->keep, digits_of(f->text));
    __m512i v = _mm512_mask_mov_epi8(_mm512_srli_epi64(digits, 8), f->below, digits);
    v = _mm512_madd_epi16(_mm512_maddubs_epi16(v, _mm512_set1_epi16(1 << 8 | 10)),
                          _mm512_set1_epi32(1 << 16 | 100));
    v = _mm512_add_epi64(_mm512_mul_epu32(v, _mm512_set1_epi64(10000)), _mm512_srli_epi64(v, 32));
    const __m512d d =
        _mm512_div_pd(_mm512_cvtepi64_pd(v), _mm512_permutexvar_pd(count_below(f), by));
    const __m512i sign = _mm512_slli_epi64(f->text, 59); /* as in with_signs */
    return _mm512_castsi512_pd(_mm512_or_si512(
        _mm512_castpd_si512(d), _mm512_andnot_si512(sign, _mm512_set1_epi64(INT64_MIN))));
}

/* ---- spans ---- */

static ALWAYS_INLINE void store(const Span *s, size_t i, __m512d v, void *out)
{
    if (s->type == LEDGE_FLOAT)
        _mm256_storeu_ps((float *)out + i, _mm512_cvtpd_ps(v));
    else
        _mm512_storeu_pd((double *)out + i, v);
}

/* Whole groups from number n on; where the first of others begins. */
static __attribute__((noinline)) size_t read_brief(const Span *s, size_t n, void *out)
{
    Four now, next;
    bool more = n + LANES <= s->most && find_brief(s->p, s->at + n, s->gap, &next);
    while (more) {
        now = next;
        more = n + 2 * LANES <= s->most && find_brief(s->p, s->at + n + LANES, s->gap, &next);
        store(s, n, brief_values(&now), out);
        n += LANES;
    }
    return n;
}

/* The same. The next group is found before the one at hand is worked out: that is a long way with
 * few at once. */
static __attribute__((noinline)) size_t read_short(const Span *s, size_t n, size_t most, void *out)
{
    Eight now, next;
    bool more = n + LANES <= most && find_eight(s->p, s->at + n, false, &next);
    while (more) {
        now = next;
        more = n + 2 * LANES <= most && find_eight(s->p, s->at + n + LANES, false, &next);
        store(s, n, values(&now), out);
        n += LANES;
    }
    return n;
}

static size_t read_long(const Span *s, float *out)
{
    size_t n = 0;
    Eight e;
    __m256 v;
    while (n + LANES <= s->most && find_eight(s->p, s->at + n, true, &e) &&
           singles_of_cut(&e, &v)) {
        _mm256_storeu_ps(out + n, v);
        n += LANES;
    }
    return n;
}

/* All that are about as long as the first one; among brief ones a group that is not. */
static size_t read_span(const Span *s, char *out)
{
    const int first = s->at[1] - s->at[0] - s->gap;
    size_t n = 0, before;
    do {
        before = n;
        if (first <= 8)
            n = read_brief(s, n, out);
        if (first <= SHORT)
            n = read_short(s, n, first <= 8 && n + LANES < s->most ? n + LANES : s->most, out);
    } while (n > before);
    return n == 0 && s->type == LEDGE_FLOAT ? read_long(s, (float *)(void *)out) : n;
}

size_t ledge__quick_numbers_avx512(const char **p, const char *end, LedgeType type, void *out,
                                   size_t room)
{
    if (type != LEDGE_FLOAT && end - *p > 2 * BLOCK && !begins_short(*p))
        return 0; /* nothing is done for long ones that are to be doubles */
    return read_spans(p, end, type, out, room);
}
