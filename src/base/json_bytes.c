/* Arrays of bytes as numbers with 16 lanes: the words of json_bytes_lanes.h. */
#include "base/cpu.h"
#include "base/json_quick.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BLOCK = 64, LANES = 16, ROOM = BLOCK / 2 };

/* Characters, numbers, or what holds of each: all bits or none. */
typedef uint8_t V __attribute__((vector_size(LANES)));

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

static inline size_t keep(const uint8_t *number, uint64_t commas, uint8_t *out)
{
    size_t n = 0;
    for (; commas; commas &= commas - 1)
        out[n++] = number[__builtin_ctzll(commas)];
    return n;
}

#include "base/json_bytes_lanes.h"

size_t ledge__quick_bytes(const char **p, const char *end, uint8_t *out, size_t room, uint32_t cpu)
{
#ifdef __x86_64__
    if (cpu & LEDGE_CPU_AVX2)
        return ledge__quick_bytes_avx2(p, end, out, room);
#endif
    (void)cpu;
    return read_bytes(p, end, out, room);
}
