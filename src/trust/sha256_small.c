/* SHA-256 (FIPS 180-4) without libcrypto, for the program that devices run guests by: there
 * libcrypto would be two thirds of all that must be on the device. By the CPU's own instructions
 * where it has them, else in plain C. Programs that have libcrypto use sha256.c, which is faster
 * where the CPU has none. */
#include "trust/sha256.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#endif

#include "base/error.h"

enum { BLOCK = 64 };

struct LedgeSha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t rest[BLOCK];
};

static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---- blocks, in plain C ---- */

static uint32_t turn(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

static uint32_t get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void one_block(uint32_t state[8], const uint8_t *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = get(p + 4 * i);
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof s);
    /* The eight words stay where they are; their names move on by one each round. */
#define S(name) s[((name)-i) & 7]
    for (int i = 0; i < 64; i++) {
        const uint32_t one = S(7) + (turn(S(4), 6) ^ turn(S(4), 11) ^ turn(S(4), 25)) +
                             ((S(4) & S(5)) ^ (~S(4) & S(6))) + k[i] + w[i];
        const uint32_t two = (turn(S(0), 2) ^ turn(S(0), 13) ^ turn(S(0), 22)) +
                             ((S(0) & S(1)) ^ (S(0) & S(2)) ^ (S(1) & S(2)));
        S(3) += one;
        S(7) = one + two;
    }
#undef S
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void plain(uint32_t state[8], const uint8_t *p, size_t blocks)
{
    for (; blocks; blocks--, p += BLOCK)
        one_block(state, p);
}

/* ---- by instructions of the CPU ---- */

#if defined(__x86_64__)

static bool has_own(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 29 & 1)) /* SHA */
        return false;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 9 & 1) && (c >> 19 & 1); /* SSSE3, SSE4.1 */
}

/* The instructions hold the state as (a b e f) and (c d g h). */
__attribute__((target("sha,ssse3,sse4.1"))) static void own(uint32_t state[8], const uint8_t *p,
                                                            size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks; blocks--, p += BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 16; i++) {
            __m128i *now = &w[i & 3];
            if (i < 4) {
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p + i), swap);
            } else {
                const __m128i before = w[(i + 3) & 3];
                const __m128i seven = _mm_alignr_epi8(before, w[(i + 2) & 3], 4);
                *now = _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) & 3]), seven);
                *now = _mm_sha256msg2_epu32(*now, before);
            }
            const __m128i sum = _mm_add_epi32(*now, _mm_load_si128((const __m128i *)k + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

#elif defined(__aarch64__)

static bool has_own(void)
{
    return getauxval(AT_HWCAP) >> 6 & 1; /* HWCAP_SHA2 */
}

__attribute__((target("arch=armv8-a+crypto"))) static void own(uint32_t state[8], const uint8_t *p,
                                                               size_t blocks)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; blocks; blocks--, p += BLOCK) {
        const uint32x4_t abcd_before = abcd, efgh_before = efgh;
        uint32x4_t w[4];
        for (int i = 0; i < 16; i++) {
            uint32x4_t *now = &w[i & 3];
            if (i < 4)
                *now = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p + 16 * i)));
            else
                *now = vsha256su1q_u32(vsha256su0q_u32(*now, w[(i + 1) & 3]), w[(i + 2) & 3],
                                       w[(i + 3) & 3]);
            const uint32x4_t sum = vaddq_u32(*now, vld1q_u32(k + 4 * i)), a = abcd;
            abcd = vsha256hq_u32(abcd, efgh, sum);
            efgh = vsha256h2q_u32(efgh, a, sum);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

#else

static bool has_own(void)
{
    return false;
}

static void own(uint32_t state[8], const uint8_t *p, size_t blocks)
{
    plain(state, p, blocks);
}

#endif

bool ledge__sha256_plain;

static void add_blocks(LedgeSha256 *s, const uint8_t *p, size_t blocks)
{
    static atomic_int known; /* 1: asked, 3: and it has them. Asking may be slow, in a machine that
                              * is emulated */
    if (!atomic_load_explicit(&known, memory_order_relaxed))
        atomic_store_explicit(&known, has_own() ? 3 : 1, memory_order_relaxed);
    if (!ledge__sha256_plain && known == 3)
        own(s->state, p, blocks);
    else
        plain(s->state, p, blocks);
}

/* ---- bytes ---- */

static void begin(LedgeSha256 *s)
{
    memcpy(s->state, first, sizeof first);
    s->size = 0;
}

LedgeSha256 *ledge__sha256_new(void)
{
    LedgeSha256 *s = calloc(1, sizeof *s);
    if (s)
        begin(s);
    return s;
}

void ledge__sha256_free(LedgeSha256 *s)
{
    free(s);
}

LedgeStatus ledge__sha256_add(LedgeSha256 *s, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    const size_t kept = s->size % BLOCK;
    s->size += n;
    if (kept) {
        const size_t more = n < BLOCK - kept ? n : BLOCK - kept;
        memcpy(s->rest + kept, p, more);
        p += more;
        n -= more;
        if (kept + more < BLOCK)
            return LEDGE_OK;
        add_blocks(s, s->rest, 1);
    }
    if (n / BLOCK)
        add_blocks(s, p, n / BLOCK);
    if (n % BLOCK)
        memcpy(s->rest, p + n / BLOCK * BLOCK, n % BLOCK);
    return LEDGE_OK;
}

LedgeStatus ledge__sha256_hex(LedgeSha256 *s, char out[LEDGE_SHA256_HEX])
{
    uint8_t end[2 * BLOCK] = {0}, digest[LEDGE_SHA256_BYTES];
    const size_t kept = s->size % BLOCK, n = kept < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    const uint64_t bits = s->size * 8;
    memcpy(end, s->rest, kept);
    end[kept] = 0x80;
    for (int i = 0; i < 8; i++)
        end[n - 1 - (size_t)i] = (uint8_t)(bits >> 8 * i);
    add_blocks(s, end, n / BLOCK);
    for (int i = 0; i < LEDGE_SHA256_BYTES; i++)
        digest[i] = (uint8_t)(s->state[i / 4] >> (24 - i % 4 * 8));
    ledge__hex(digest, sizeof digest, out);
    begin(s);
    return LEDGE_OK;
}

LedgeStatus ledge__sha256_of(const void *bytes, size_t size, char out[LEDGE_SHA256_HEX])
{
    LedgeSha256 s;
    begin(&s);
    LEDGE_TRY(ledge__sha256_add(&s, bytes, size));
    return ledge__sha256_hex(&s, out);
}
