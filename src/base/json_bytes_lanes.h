/* Template: arrays of bytes as numbers, 64 characters at a time, which the file of each vector unit
 * includes behind its own words (json_bytes_avx2.c). At every place is worked out what a number
 * that ends before it would be, and then kept where there is a comma.
 *
 * What the including file gives: LANES; bits_of(mask), a bit for each lane of a V; ROOM, and
 *   keep(number, commas, out)  those of 64 numbers that have their bit, in order; returns how many.
 *     May write up to ROOM bytes. */
#ifndef LEDGE_BASE_JSON_BYTES_LANES_H
#define LEDGE_BASE_JSON_BYTES_LANES_H

static inline V load(const char *p)
{
    V v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* The numbers before LANES places from p on, the commas among these, and what cannot be read. */
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

static inline size_t read_bytes(const char **p, const char *end, uint8_t *out, size_t room)
{
    const char *q = *p;
    size_t n = 0;
    uint64_t bad = 0;
    for (; !bad && end - q > BLOCK && room - n >= ROOM; q += BLOCK) {
        uint8_t number[BLOCK];
        uint64_t commas = 0;
        for (int i = 0; i < BLOCK; i += LANES) {
            uint64_t some, wrong;
            const V v = numbers_before(q + i, &some, &wrong);
            memcpy(number + i, &v, sizeof(v));
            commas |= some << i;
            bad |= wrong << i;
        }
        if (bad)
            commas &= (bad & -bad) - 1;
        if (commas)
            *p = q + BLOCK - __builtin_clzll(commas);
        n += keep(number, commas, out + n);
    }
    return n;
}

#endif
