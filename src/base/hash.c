/* XXH64: four lanes of 8 bytes a round, then the tail, then the avalanche. And the checksum of
 * compiled models, see hash.h. */
#include "base/hash.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

enum { AHEAD = 2048 };

static uint64_t rotl(uint64_t x, int r)
{
    return (x << r) | (x >> (64 - r));
}

static uint64_t read64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static uint64_t lane(uint64_t acc, uint64_t x)
{
    return rotl(acc + x * P2, 31) * P1;
}

static uint64_t merge_lane(uint64_t h, uint64_t acc)
{
    return (h ^ lane(0, acc)) * P1 + P4;
}

static uint64_t stripes(const uint8_t **p, size_t *size, uint64_t seed)
{
    uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
    const uint8_t *q = *p;
    for (; *size >= 32; *size -= 32, q += 32) {
        a = lane(a, read64(q));
        b = lane(b, read64(q + 8));
        c = lane(c, read64(q + 16));
        d = lane(d, read64(q + 24));
    }
    *p = q;
    uint64_t h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
    return merge_lane(merge_lane(merge_lane(merge_lane(h, a), b), c), d);
}

static uint64_t tail(uint64_t h, const uint8_t *p, size_t size)
{
    for (; size >= 8; size -= 8, p += 8)
        h = rotl(h ^ lane(0, read64(p)), 27) * P1 + P4;
    if (size >= 4) {
        uint32_t x;
        memcpy(&x, p, 4);
        h = rotl(h ^ (uint64_t)x * P1, 23) * P2 + P3;
        p += 4;
        size -= 4;
    }
    for (; size; size--, p++)
        h = rotl(h ^ *p * P5, 11) * P1;
    return h;
}

uint64_t ledge__hash64(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    size_t total = size;
    uint64_t h = size >= 32 ? stripes(&p, &size, seed) : seed + P5;
    h = tail(h + total, p, size);
    h = (h ^ (h >> 33)) * P2;
    h = (h ^ (h >> 29)) * P3;
    return h ^ (h >> 32);
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 Wide;
    const Wide product = (Wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word(const uint8_t *p)
{
    uint64_t x = read64(p);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline void stripe(const uint8_t *p, uint64_t v[4])
{
    static const uint64_t key[4] = {P1, P2, P3, P4};
    for (int i = 0; i < 4; i++) {
        const uint64_t x = word(p + 16 * i);
        v[i] = fold(x ^ key[i], word(p + 16 * i + 8) ^ v[i]) + x;
    }
}

uint64_t ledge__checksum(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t v[4] = {P1, P2, P3, P4};
    size_t left = size;
    for (; left >= 64; left -= 64, p += 64) {
        if (left > AHEAD) /* the CPU's own fetching ahead ends with each page */
            __builtin_prefetch(p + AHEAD);
        stripe(p, v);
    }
    if (left) {
        uint8_t last[64] = {0};
        memcpy(last, p, left);
        stripe(last, v);
    }
    return fold(fold(v[0] ^ P5, v[1] + size) ^ P1, fold(v[2] ^ P4, v[3] + P5) + size);
}
