/* Numbers of an array eight at a time, with AVX-512. Commas of a kilobyte are listed first;
 * then eight windows of 16 bytes, each with one number at its beginning, lie in two registers, and
 * the masks of commas, points and digits are worked on in words of 64 bits, 16 bits a number.
 * Digits stand to the left of 16 places, with zeros behind: such an integer is a double exactly,
 * and one division by a power of ten, exact as well, gives the nearest double. Of longer numbers
 * that become singles the first 14 digits do, but where a later one could matter. */
#include "base/json_quick.h"

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { BLOCK = 64, SPAN = 16 * BLOCK, GROUP = 8, SHORT = 15 };

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

/* Where the commas of `size` bytes are, behind a -1; returns how many. `spaced`: a space must stand
 * before the first number and behind each comma, and nowhere else; else 0. */
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

/* What is to be read: commas are where at[1] and on say. */
typedef struct Span {
    const char *p; /* where numbers begin behind at[] */
    size_t most;
    int32_t at[1 + SPAN + 16]; /* commas are stored 16 at a time */
} Span;

/* Whole groups; returns how many numbers. The next group is found before the one at hand is worked
 * out: that is a long way with few at once. */
static size_t read_short(const Span *s, LedgeType type, void *out)
{
    size_t n = 0;
    Eight now, next;
    bool more = GROUP <= s->most && find_eight(s->p, s->at, false, &next);
    while (more) {
        now = next;
        more = n + 2 * GROUP <= s->most && find_eight(s->p, s->at + n + GROUP, false, &next);
        const __m512d v = values(&now);
        if (type == LEDGE_FLOAT)
            _mm256_storeu_ps((float *)out + n, _mm512_cvtpd_ps(v));
        else
            _mm512_storeu_pd((double *)out + n, v);
        n += GROUP;
    }
    return n;
}

static size_t read_long(const Span *s, float *out)
{
    size_t n = 0;
    Eight e;
    __m256 v;
    while (n + GROUP <= s->most && find_eight(s->p, s->at + n, true, &e) &&
           singles_of_cut(&e, &v)) {
        _mm256_storeu_ps(out + n, v);
        n += GROUP;
    }
    return n;
}

size_t ledge__quick_numbers_avx512(const char **p, const char *end, LedgeType type, void *out,
                                   size_t room)
{
    const size_t each = type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    size_t n = 0, some = 1;
    Span s;
    while (some && end - *p > 2 * BLOCK) {
        char *to = (char *)out + n * each;
        const bool brief = begins_short(*p), spaced = **p == ' ';
        if (!brief && type != LEDGE_FLOAT)
            break;
        const size_t left = (size_t)(end - *p) - BLOCK; /* windows reach 33 bytes beyond a span */
        const size_t size = left < SPAN ? left / BLOCK * BLOCK : SPAN;
        const size_t commas = list_commas(*p, size, spaced, s.at);
        s.p = *p + 1 + spaced;
        s.most = commas < room - n ? commas : room - n;
        some = brief ? read_short(&s, type, to) : 0;
        if (!some && type == LEDGE_FLOAT)
            some = read_long(&s, (float *)to);
        *p += s.at[some] + 1;
        n += some;
    }
    return n;
}
