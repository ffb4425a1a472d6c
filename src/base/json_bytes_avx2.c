/* Arrays of bytes as numbers with 32 lanes of AVX2: the words of json_bytes_lanes.h. */
#include "base/json_quick.h"

#include <immintrin.h>
#include <string.h>

enum { BLOCK = 64, LANES = 32, ROOM = BLOCK / 2 + 8 };

typedef uint8_t V __attribute__((vector_size(LANES)));

static inline uint64_t bits_of(V mask)
{
    return (uint32_t)_mm256_movemask_epi8((__m256i)mask);
}

/* The places of the bits in each number of eight, one in a byte, lowest first. */
#define BIT(m, i) (uint64_t)((m) >> (i)&1)
#define BELOW(m, i)                                                                                \
    (((i) > 0) * BIT(m, 0) + ((i) > 1) * BIT(m, 1) + ((i) > 2) * BIT(m, 2) +                       \
     ((i) > 3) * BIT(m, 3) + ((i) > 4) * BIT(m, 4) + ((i) > 5) * BIT(m, 5) +                       \
     ((i) > 6) * BIT(m, 6))
#define AT(m, i)   BIT(m, i) * (i) << 8 * BELOW(m, i)
#define PLACES(m)  (AT(m, 1) | AT(m, 2) | AT(m, 3) | AT(m, 4) | AT(m, 5) | AT(m, 6) | AT(m, 7))
#define FOUR(m)    PLACES(m), PLACES((m) + 1), PLACES((m) + 2), PLACES((m) + 3)
#define MANY(m)    FOUR(m), FOUR((m) + 4), FOUR((m) + 8), FOUR((m) + 12)
#define HUNDRED(m) MANY(m), MANY((m) + 16), MANY((m) + 32), MANY((m) + 48)
static const uint64_t places[256] = {HUNDRED(0), HUNDRED(64), HUNDRED(128), HUNDRED(192)};

static inline size_t keep(const uint8_t *number, uint64_t commas, uint8_t *out)
{
    size_t n = 0;
    for (int i = 0; i < BLOCK; i += 8) {
        const uint64_t some = commas >> i & 255;
        const __m128i all = _mm_loadl_epi64((const __m128i *)(const void *)(number + i));
        const __m128i which = _mm_loadl_epi64((const __m128i *)(const void *)(places + some));
        _mm_storel_epi64((__m128i *)(void *)(out + n), _mm_shuffle_epi8(all, which));
        n += (size_t)_mm_popcnt_u64(some);
    }
    return n;
}

#include "base/json_bytes_lanes.h"

size_t ledge__quick_bytes_avx2(const char **p, const char *end, uint8_t *out, size_t room)
{
    return read_bytes(p, end, out, room);
}
