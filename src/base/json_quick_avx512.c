/* Short numbers of an array eight at a time, with AVX-512. Commas of a kilobyte are listed first;
 * then eight windows of 16 bytes, each with one number at its beginning, lie in two registers, and
 * the masks of commas, points and digits are worked on in words of 64 bits, 16 bits a number.
 * Digits stand to the left of 16 places, with zeros behind: such an integer is a double exactly,
 * and one division by a power of ten, exact as well, gives the nearest double. */
#include "base/json_quick.h"

#include <immintrin.h>

enum { BLOCK = 64, SPAN = 16 * BLOCK, GROUP = 8 };

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

/* Every second number from the one behind at[0]. Bits come back for what is wrong. */
static inline uint64_t find_parts(const char *p, const int32_t *at, Four *out)
{
    const __m512i t = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_set_m128i(window(p + at[2]), window(p + at[0]))),
        _mm256_set_m128i(window(p + at[6]), window(p + at[4])), 1);
    const __m512i v = _mm512_sub_epi8(t, _mm512_set1_epi8('0'));
    const uint64_t commas = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8(','));
    const uint64_t points = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('.'));
    const uint64_t minus = _mm512_cmpeq_epi8_mask(t, _mm512_set1_epi8('-')) & EACH(1);
    uint64_t end, stop; /* stop: the point, or the end */
    const uint64_t inside = below_lowest(commas | EACH(0x8000), &end);
    const uint64_t below = below_lowest(points | end, &stop);
    const uint64_t point = stop & points, behind = point << 1;
    const uint64_t first = EACH(1) + minus, keep = inside ^ minus ^ point;
    const uint64_t leading = (below & first << 1) >> 1; /* digits before others */
    out->text = t;
    out->keep = keep;
    out->below = below;
    return (end ^ (end & commas))         /* longer than a window */
           | (first ^ (first & below))    /* no digit before the point */
           | (behind ^ (behind & inside)) /* nor behind it */
           | _mm512_mask_testn_epi8_mask(leading, v, v) |
           _mm512_mask_cmpgt_epu8_mask(keep, v, _mm512_set1_epi8(9));
}

/* The digits in pairs of bytes, then four to a place of 32 bits. */
static inline __m512i fours(const Four *f)
{
    const __m512i v = _mm512_maskz_sub_epi8(f->keep, f->text, _mm512_set1_epi8('0'));
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
static inline bool find_eight(const char *p, const int32_t *at, Eight *out)
{
    return (find_parts(p, at, &out->a) | find_parts(p, at + 1, &out->b)) == 0;
}

static inline __m512d values(const Eight *e)
{
    const __m512i v = _mm512_madd_epi16(_mm512_packus_epi32(fours(&e->a), fours(&e->b)),
                                        _mm512_set1_epi32(1 << 16 | 10000));
    const __m512i value = _mm512_add_epi64(_mm512_mul_epu32(v, _mm512_set1_epi64(100000000)),
                                           _mm512_srli_epi64(v, 32));
    const __m512i x = count_below(&e->a), y = count_below(&e->b);
    const __m512i places =
        _mm512_add_epi64(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    const __m512d scale =
        _mm512_permutex2var_pd(_mm512_loadu_pd(scales), places, _mm512_loadu_pd(scales + 8));
    const __m512d size = _mm512_div_pd(_mm512_cvtepi64_pd(value), scale);
    /* Bit 4 is set in digits and not in a minus. */
    const __m512i sign = _mm512_slli_epi64(_mm512_unpacklo_epi64(e->a.text, e->b.text), 59);
    return _mm512_castsi512_pd(_mm512_or_si512(
        _mm512_castpd_si512(size), _mm512_andnot_si512(sign, _mm512_set1_epi64(INT64_MIN))));
}

/* Those of `size` bytes, in whole groups; returns how many, and in *used what they take. The next
 * group is found before the one at hand is worked out: that is a long way with few at once. */
static size_t of_span(const char *p, size_t size, LedgeType type, void *out, size_t room,
                      size_t *used)
{
    int32_t at[1 + SPAN + 16]; /* commas are stored 16 at a time */
    const bool spaced = *p == ' ';
    const char *first = p + 1 + spaced;
    const size_t commas = list_commas(p, size, spaced, at);
    const size_t most = commas < room ? commas : room;
    size_t n = 0;
    Eight now, next;
    bool more = GROUP <= most && find_eight(first, at, &next);
    while (more) {
        now = next;
        more = n + 2 * GROUP <= most && find_eight(first, at + n + GROUP, &next);
        const __m512d v = values(&now);
        if (type == LEDGE_FLOAT)
            _mm256_storeu_ps((float *)out + n, _mm512_cvtpd_ps(v));
        else
            _mm512_storeu_pd((double *)out + n, v);
        n += GROUP;
    }
    *used = (size_t)(at[n] + 1);
    return n;
}

size_t ledge__quick_numbers_avx512(const char **p, const char *end, LedgeType type, void *out,
                                   size_t room)
{
    const size_t each = type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    size_t n = 0, some = 1;
    while (some && end - *p > 2 * BLOCK && begins_short(*p)) {
        const size_t left = (size_t)(end - *p) - BLOCK; /* windows reach 17 bytes beyond a span */
        const size_t size = left < SPAN ? left / BLOCK * BLOCK : SPAN;
        size_t used;
        some = of_span(*p, size, type, (char *)out + n * each, room - n, &used);
        *p += used;
        n += some;
    }
    return n;
}
