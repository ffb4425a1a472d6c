/* Arrays of bytes as numbers, 64 characters at a time. At every place is worked out what a number
 * that ends before it would be, and then kept where there is a comma. */
#include "base/json_quick.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { LANES = 16, BLOCK = 64, MOST = BLOCK / 2 };

/* Characters, numbers, or what holds of each: all bits or none. */
typedef uint8_t V __attribute__((vector_size(LANES)));

static inline V load(const char *p)
{
    V v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* A bit for each lane. */
static inline uint64_t bits_of(V mask)
{
#ifdef __SSE2__
    return (uint64_t)(unsigned)_mm_movemask_epi8((__m128i)mask);
#else
    uint64_t half[2];
    memcpy(half, &mask, sizeof(half));
    for (int i = 0; i < 2; i++)
        half[i] = (half[i] & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
    return half[0] | half[1] << 8;
#endif
}

/* The numbers before the 16 places from p on, the commas among these, and what cannot be read. */
static inline V numbers_before(const char *p, uint64_t *commas, uint64_t *bad)
{
    const V text = load(p), before = load(p - 1);
    const V d1 = before - '0', d2 = load(p - 2) - '0', d3 = load(p - 3) - '0',
            d4 = load(p - 4) - '0';
    const V is1 = (V)(d1 <= 9), is2 = is1 & (V)(d2 <= 9), is3 = is2 & (V)(d3 <= 9);
    const V tens = d2 & is2, hundreds = d3 & is3, twice = tens + tens;
    const V below = (d1 & is1) + twice + 4 * twice;
    const V one = (V)(hundreds == 1), two = (V)(hundreds == 2);
    const V comma = (V)(text == ',');
    const V large = (is3 & ((V)(d4 <= 9) | (V)(hundreds > 2))) | (two & (V)(below > 55));
    const V padded = (is2 & ~is3 & (V)(tens == 0)) | (is3 & (V)(hundreds == 0));
    const V other = ~(V)(text - '0' <= 9) & ~comma & ~((V)(text == ' ') & (V)(before == ','));
    *commas = bits_of(comma);
    *bad = bits_of(other | (comma & (~is1 | large | padded)));
    return below + (one & 100) + (two & 200);
}

size_t ledge__quick_bytes(const char **p, const char *end, uint8_t *out, size_t room)
{
    const char *q = *p;
    size_t n = 0;
    uint64_t bad = 0;
    for (; !bad && end - q > BLOCK && room - n >= MOST; q += BLOCK) {
        uint8_t number[BLOCK];
        uint64_t commas = 0;
        for (int i = 0; i < BLOCK / LANES; i++) {
            uint64_t some, wrong;
            const V v = numbers_before(q + i * LANES, &some, &wrong);
            memcpy(number + i * LANES, &v, sizeof(v));
            commas |= some << (i * LANES);
            bad |= wrong << (i * LANES);
        }
        if (bad)
            commas &= (bad & -bad) - 1;
        if (commas)
            *p = q + BLOCK - __builtin_clzll(commas);
        for (; commas; commas &= commas - 1)
            out[n++] = number[__builtin_ctzll(commas)];
    }
    return n;
}
