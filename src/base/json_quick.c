/* Arrays of plain numbers: commas are found 64 bytes at a time, so that a number's place does not
 * wait for the one before it to be read; digits become values eight at a time, without a branch for
 * each. Where there are wide vectors, json_quick_lanes.h reads runs of them. */
#include "base/json_quick.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#ifdef __x86_64__
#include <emmintrin.h>
#endif

/* A number is read by one piece of code without calls. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { BLOCK = 64, AHEAD = 2 * BLOCK }; /* AHEAD: bytes that may be looked at without asking */

#ifdef __x86_64__
enum { SHORT = 16 }; /* characters of a number that are read at once */
#else
enum { SHORT = 8 };
#endif

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const double tenths[] = {1e0,   1e-1,  1e-2,  1e-3,  1e-4,  1e-5,  1e-6,
                                1e-7,  1e-8,  1e-9,  1e-10, 1e-11, 1e-12, 1e-13,
                                1e-14, 1e-15, 1e-16, 1e-17, 1e-18, 1e-19};
static const uint64_t whole_powers[] = {1,      10,      100,      1000,     10000,
                                        100000, 1000000, 10000000, 100000000};

/* ---- rounding ---- */

#ifdef __SIZEOF_INT128__

enum { MOST_FIVES = 27 }; /* 5^27 is the last that 64 bits hold */

static const uint64_t fives[MOST_FIVES + 1] = {UINT64_C(1),
                                               UINT64_C(5),
                                               UINT64_C(25),
                                               UINT64_C(125),
                                               UINT64_C(625),
                                               UINT64_C(3125),
                                               UINT64_C(15625),
                                               UINT64_C(78125),
                                               UINT64_C(390625),
                                               UINT64_C(1953125),
                                               UINT64_C(9765625),
                                               UINT64_C(48828125),
                                               UINT64_C(244140625),
                                               UINT64_C(1220703125),
                                               UINT64_C(6103515625),
                                               UINT64_C(30517578125),
                                               UINT64_C(152587890625),
                                               UINT64_C(762939453125),
                                               UINT64_C(3814697265625),
                                               UINT64_C(19073486328125),
                                               UINT64_C(95367431640625),
                                               UINT64_C(476837158203125),
                                               UINT64_C(2384185791015625),
                                               UINT64_C(11920928955078125),
                                               UINT64_C(59604644775390625),
                                               UINT64_C(298023223876953125),
                                               UINT64_C(1490116119384765625),
                                               UINT64_C(7450580596923828125)};

/* digits / (5^n * 2^n): 64 bits of the quotient by one long division, whose remainder says what
 * lies behind them. */
static double divided(uint64_t digits, unsigned n)
{
    const int up = __builtin_clzll(digits), down = __builtin_clzll(fives[n]);
    const uint64_t top = digits << up, by = fives[n] << down;
    const int half = top >= by; /* then the quotient has a bit more */
    const unsigned __int128 whole = (unsigned __int128)top << (64 - half);
    const uint64_t q = (uint64_t)(whole / by);
    const bool rest = q * by != (uint64_t)whole;
    const uint64_t kept = q >> 11, lost = q & 0x7FF;
    const bool more = lost > 0x400 || (lost == 0x400 && (rest || (kept & 1)));
    const uint64_t scale = (uint64_t)(1023 + 11 - 64 + half + down - up - (int)n) << 52;
    double power;
    memcpy(&power, &scale, sizeof power);
    return (double)(kept + more) * power; /* far from where numbers lose bits */
}

#endif

/* Up to 2^53 and 10^22 one exact product or quotient rounds right (Clinger, "How to read floating
 * point numbers accurately", 1990). */
bool ledge__quick_nearest(uint64_t digits, int64_t exponent, double *out)
{
    if (digits <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22) {
        *out = exponent < 0 ? (double)digits / powers_of_ten[-exponent]
                            : (double)digits * powers_of_ten[exponent];
        return true;
    }
#ifdef __SIZEOF_INT128__
    if (exponent <= 0 && exponent >= -MOST_FIVES && digits) {
        *out = divided(digits, (unsigned)-exponent);
        return true;
    }
#endif
    return false;
}

/* ---- digits ---- */

/* Eight characters, the first one lowest, with '0' as 0. */
static inline uint64_t eight(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v ^ EACH('0');
}

/* The high bit of each byte that is no digit; bytes above such a one may be marked by mistake. */
static inline uint64_t others(uint64_t v)
{
    return ((v + EACH(0x76)) | v) & EACH(0x80);
}

/* The value of eight digits: each step joins neighbours (two digits to a hundred, two hundreds to
 * ten thousand) in all lanes at once. */
static inline uint64_t value_of_eight(uint64_t v)
{
    v = (v * 10 + (v >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    v = (v * 100 + (v >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    return (v * 10000 + (v >> 32)) & UINT64_C(0x00000000FFFFFFFF);
}

/* The first n of eight characters, 1 to 8, behind as many zeros as there is room for. */
static inline uint64_t first_of(uint64_t v, unsigned n)
{
    return v << (64 - 8 * n);
}

typedef struct Plain {
    uint64_t digits;
    unsigned places; /* behind the point */
} Plain;

#ifdef __x86_64__

/* One to 16 characters before `end` with at most one point among them. */
static ALWAYS_INLINE bool short_number(const char *p, const char *end, Plain *out)
{
    /* From a place in the middle: as many zeros as wanted, then ones. */
    static const unsigned char edge[2 * SHORT] = {
        0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const unsigned n = (unsigned)(end - p);
    const __m128i inside = _mm_loadu_si128((const __m128i *)(const void *)(edge + n));
    const __m128i text = _mm_loadu_si128((const __m128i *)(const void *)(end - SHORT));
    __m128i v = _mm_and_si128(_mm_sub_epi8(text, _mm_set1_epi8('0')), inside);
    const int point = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('.' - '0')));
    out->places = 0;
    if (point) { /* what stands before it moves up */
        const unsigned at = (unsigned)__builtin_ctz((unsigned)point);
        const __m128i behind =
            _mm_loadu_si128((const __m128i *)(const void *)(edge + SHORT - 1 - at));
        out->places = SHORT - 1 - at;
        v = _mm_or_si128(_mm_and_si128(behind, v), _mm_andnot_si128(behind, _mm_slli_si128(v, 1)));
        if (out->places - 1 >= n - 2) /* first or last: in unsigned numbers one question */
            return false;
    }
    if (p[0] == '0' && p[1] != '.' && n > 1)
        return false;
    if (_mm_movemask_epi8(_mm_adds_epu8(v, _mm_set1_epi8(0x76)))) /* no digit, or a second point */
        return false;
    v = _mm_add_epi16(_mm_mullo_epi16(_mm_and_si128(v, _mm_set1_epi16(255)), _mm_set1_epi16(10)),
                      _mm_srli_epi16(v, 8));
    v = _mm_madd_epi16(v, _mm_set1_epi32(1 << 16 | 100));
    v = _mm_packs_epi32(v, v);
    v = _mm_madd_epi16(v, _mm_set1_epi32(1 << 16 | 10000));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(v);
    out->digits = (both & 0xFFFFFFFF) * 100000000 + (both >> 32);
    return true;
}

#else

/* One to eight characters with at most one point among them. */
static ALWAYS_INLINE bool short_number(const char *p, const char *end, Plain *out)
{
    const unsigned n = (unsigned)(end - p);
    uint64_t v = first_of(eight(p), n);
    const uint64_t other = others(v);
    out->places = 0;
    if ((unsigned char)(p[0] - '0') > 9 || (p[0] == '0' && n > 1 && p[1] != '.'))
        return false;
    if (other) {
        const unsigned at = (unsigned)__builtin_ctzll(other) & ~7u; /* of the point, in bits */
        if ((other & (other - 1)) || (v >> at & 0xFF) != ('.' ^ '0') || at == 56)
            return false;
        out->places = 7 - at / 8;
        v = (v >> at >> 8 << 8 << at) | (v & ((UINT64_C(1) << at) - 1)) << 8;
    }
    out->digits = value_of_eight(v);
    return true;
}

#endif

/* "d." and seven to 18 digits, where 63 bits hold them. */
static bool long_number(const char *p, size_t n, Plain *out)
{
    uint64_t digits = (uint64_t)(unsigned char)(p[0] - '0');
    const unsigned left = (unsigned)n - 2, odd = left > 16 ? left - 16 : left > 8 ? left - 8 : left;
    if (n < 9 || n > 20 || digits > (n == 20 ? 8 : 9) || p[1] != '.')
        return false;
    uint64_t next = first_of(eight(p + 2), odd);
    digits = digits * whole_powers[odd] + value_of_eight(next);
    uint64_t wrong = others(next);
    if (left > 16) {
        next = eight(p + left - 14);
        digits = digits * 100000000 + value_of_eight(next);
        wrong |= others(next);
    }
    if (left > 8) {
        next = eight(p + left - 6);
        digits = digits * 100000000 + value_of_eight(next);
        wrong |= others(next);
    }
    out->places = left;
    out->digits = digits;
    return !wrong;
}

/* Nearest double first and nearest single of that then, as JSON's readers have it. A product with
 * the rounded 1 / 10^places is at most two units off a double's last place, which cannot be seen in
 * a single but near the middle between two of them. */
static ALWAYS_INLINE bool single_of(const Plain *n, uint64_t sign, float *out)
{
    double v = (double)(int64_t)n->digits * tenths[n->places]; /* signed: a conversion of its own */
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint64_t from_middle = (bits & 0x1FFFFFFF) - 0x0FFFFFF8;
    if (__builtin_expect(from_middle <= 16, 0) &&
        !ledge__quick_nearest(n->digits, -(int64_t)n->places, &v))
        return false;
    memcpy(&bits, &v, sizeof bits);
    bits |= sign; /* signs come at random, and a branch would be guessed wrong */
    memcpy(&v, &bits, sizeof v);
    *out = (float)v;
    return true;
}

static ALWAYS_INLINE bool double_of(const Plain *n, uint64_t sign, double *out)
{
    uint64_t bits;
    if (!ledge__quick_nearest(n->digits, -(int64_t)n->places, out))
        return false;
    memcpy(&bits, out, sizeof bits);
    bits |= sign;
    memcpy(out, &bits, sizeof bits);
    return true;
}

/* The number from p to the comma at `end`, with a space before it at most, as out[i]. false: it is
 * not so plain. */
static ALWAYS_INLINE bool between_commas(const char *p, const char *end, LedgeType type, void *out,
                                         size_t i)
{
    Plain n;
    if (*p == ' ') /* guessed, as all are written alike */
        p++;
    const uint64_t negative = *p == '-';
    p += negative;
    const size_t size = (size_t)(end - p);
    if (size - 1 < SHORT ? !short_number(p, end, &n) : !long_number(p, size, &n))
        return false;
    return type == LEDGE_FLOAT ? single_of(&n, negative << 63, (float *)out + i)
                               : double_of(&n, negative << 63, (double *)out + i);
}

/* ---- other numbers ---- */

/* How many of the next eight bytes are digits before another comes, and their value. */
static inline unsigned some_digits(const char *p, uint64_t *value)
{
    const uint64_t v = eight(p), other = others(v);
    const unsigned n = other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
    *value = n ? value_of_eight(first_of(v, n)) : 0;
    return n;
}

/* Up to 15 digits behind those in *digits; 0: none, or too many. */
static inline unsigned more_digits(const char *p, uint64_t *digits)
{
    uint64_t next;
    unsigned n = some_digits(p, &next);
    if (*digits >= UINT64_C(100000000000))
        return 0;
    *digits = *digits * whole_powers[n] + next;
    if (n < 8)
        return n;
    n = some_digits(p + 8, &next);
    if (n == 8 || *digits >= UINT64_C(100000000000))
        return 0;
    *digits = *digits * whole_powers[n] + next;
    return 8 + n;
}

/* "e-05" and the like, two digits at most. NULL: more, or none. */
static inline const char *small_exponent(const char *p, int *exponent)
{
    const bool down = p[1] == '-';
    uint64_t e = 0;
    p += 1 + (down || p[1] == '+');
    const unsigned n = more_digits(p, &e);
    *exponent += down ? -(int)e : (int)e;
    return n == 0 || n > 2 ? NULL : p + n;
}

/* A number of other shape, its end unknown, and with an exponent perhaps. NULL: it has many digits,
 * or is none; the slow way then says which. */
static inline const char *other_number(const char *p, double *out)
{
    uint64_t digits = 0, bits;
    int exponent = 0;
    double v;
    const uint64_t negative = *p == '-';
    p += negative;
    unsigned n = 1;
    if (p[1] == '.') /* as most do: this way the next step need not wait for the count */
        digits = (uint64_t)(unsigned char)*p - '0';
    else
        n = more_digits(p, &digits);
    if (n == 0 || (unsigned char)(*p - '0') > 9 || (*p == '0' && n > 1) ||
        digits >= UINT64_C(100000000000))
        return NULL;
    p += n;
    if (*p == '.') {
        n = more_digits(++p, &digits);
        if (n == 0)
            return NULL;
        p += n;
        exponent = -(int)n;
    }
    if ((*p | 32) == 'e' && !(p = small_exponent(p, &exponent)))
        return NULL;
    if (!ledge__quick_nearest(digits, exponent, &v))
        return NULL;
    memcpy(&bits, &v, sizeof bits);
    bits ^= negative << 63;
    memcpy(out, &bits, sizeof bits);
    return p;
}

/* ---- commas ---- */

/* A bit for each of 64 bytes that is a comma. */
static inline uint64_t commas_of(const char *p)
{
    uint64_t found = 0;
#ifdef __x86_64__
    const __m128i comma = _mm_set1_epi8(',');
    for (int i = 0; i < 4; i++) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        found |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, comma)) << (16 * i);
    }
#else
    for (int i = 0; i < 8; i++) {
        const uint64_t v = eight(p + 8 * i) ^ EACH(',' ^ '0');
        const uint64_t zero = ~(((v & EACH(0x7F)) + EACH(0x7F)) | v | EACH(0x7F)) >> 7;
        found |= (zero * UINT64_C(0x0102040810204080) >> 56) << (8 * i);
    }
#endif
    return found;
}

size_t ledge__json_commas(const char *p, size_t size)
{
    size_t n = 0, i = 0;
#ifdef __x86_64__
    const __m128i comma = _mm_set1_epi8(','), zero = _mm_setzero_si128();
    while (size - i >= BLOCK) { /* counted in bytes, which hold 255 at most */
        const size_t until = i + (size - i < 255 * 16 ? (size - i) / 16 * 16 : 255 * 16);
        __m128i sum = zero;
        for (; i < until; i += 16)
            sum = _mm_sub_epi8(
                sum,
                _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i)), comma));
        sum = _mm_sad_epu8(sum, zero);
        n += (size_t)(_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4));
    }
#else
    for (; size - i >= BLOCK; i += BLOCK)
        n += (size_t)__builtin_popcountll(commas_of(p + i));
#endif
    for (; i < size; i++)
        n += p[i] == ',';
    return n;
}

/* ---- arrays ---- */

/* The number at *p, which is not so plain; a comma is at `end`, NULL: none is near. Leaves *done
 * behind the number and *p where the next one begins. nested: an array may end behind it and one
 * like it begin. false: there is none that is read here, or none follows. */
static bool hard_number(bool nested, const char **p, const char **done, const char *end,
                        LedgeType type, void *out, size_t *n)
{
    double v;
    if (end && nested && end > *p && end[-1] == ']') {
        const char *next = end + 1 + (end[1] == ' ');
        if (*next == '[' && between_commas(*p, end - 1, type, out, *n)) {
            (*n)++;
            *done = end - 1;
            *p = next + 1;
            return true;
        }
    }
    const char *stop = other_number(*p + (**p == ' '), &v);
    if (!stop || (type == LEDGE_FLOAT && fabs(v) > (double)FLT_MAX))
        return false;
    if (type == LEDGE_FLOAT)
        ((float *)out)[(*n)++] = (float)v;
    else
        ((double *)out)[(*n)++] = v;
    *done = stop;
    *p = stop + 1;
    return *stop == ',' && (!end || stop == end);
}

static ALWAYS_INLINE size_t read_numbers(LedgeJson *j, bool nested, LedgeType type, void *out,
                                         size_t room)
{
    const char *p = j->p, *done = j->p;
    size_t n = 0;
    bool more = true;
    while (more && n < room && j->end - p > AHEAD) {
        const char *block = p;
        uint64_t commas = p - j->start < SHORT ? 0 : commas_of(p); /* some look back */
        if (!commas)
            more = hard_number(nested, &p, &done, NULL, type, out, &n);
        for (; more && commas && n < room; commas &= commas - 1) {
            const char *end = block + __builtin_ctzll(commas);
            if (between_commas(p, end, type, out, n)) {
                n++;
                done = end;
                p = end + 1;
            } else { /* of copies, so that the others may stay in registers */
                const char *next = p, *behind = done;
                size_t many = n;
                more = hard_number(nested, &next, &behind, end, type, out, &many);
                p = next;
                done = behind;
                n = many;
            }
        }
    }
    j->p = done;
    return n;
}

static size_t one_by_one(LedgeJson *j, bool nested, LedgeType type, void *out, size_t room)
{
    return type == LEDGE_FLOAT ? read_numbers(j, nested, LEDGE_FLOAT, out, room)
                               : read_numbers(j, nested, LEDGE_DOUBLE, out, room);
}

/* Some at once where that goes, and where it does not, a few by themselves; many, where it did not
 * go at all. */
static size_t by_lanes(LedgeJson *j, bool nested, LedgeType type, void *out, size_t room,
                       LedgeQuickLanes *lanes)
{
    enum { FEW = 8, MANY = 512 };
    const size_t each = type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    size_t n = 0, some, others;
    do {
        const char *p = j->p + (n > 0); /* behind the comma */
        some = lanes(&p, j->end, type, (char *)out + n * each, room - n);
        n += some;
        const size_t left = room - n, most = some ? FEW : MANY;
        const char *last = p - 1;
        if (n > 0)
            j->p = p;
        others = one_by_one(j, nested, type, (char *)out + n * each, left < most ? left : most);
        if (n > 0 && others == 0)
            j->p = last;
        n += others;
    } while (others && *j->p == ',' && n < room);
    return n;
}

static LedgeQuickLanes *lanes_of(uint32_t cpu)
{
#ifdef __x86_64__
    if (cpu & LEDGE_CPU_AVX512)
        return ledge__quick_numbers_avx512;
    if (cpu & LEDGE_CPU_AVX2)
        return ledge__quick_numbers_avx2;
#endif
    (void)cpu;
    return NULL;
}

size_t ledge__quick_numbers(LedgeJson *j, bool nested, LedgeType type, void *out, size_t room,
                            uint32_t cpu)
{
    LedgeQuickLanes *lanes = lanes_of(cpu);
    return lanes ? by_lanes(j, nested, type, out, room, lanes)
                 : one_by_one(j, nested, type, out, room);
}
