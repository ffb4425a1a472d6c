/* See ed25519_verify.h. Facts and names are RFC 8032's: p = 2^255 - 19, the curve
 * -x^2 + y^2 = 1 + d x^2 y^2, the base point B of order L. All that is computed with is public, so
 * nothing here hides its timing. A number modulo p is five limbs of 51 bits. */
#include "trust/ed25519_verify.h"

#include <string.h>

/* ---- SHA-512 (FIPS 180-4) ---- */

static const uint64_t first[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint64_t k[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

typedef struct Sha512 {
    uint64_t state[8];
    uint8_t block[128];
    size_t size; /* bytes so far */
} Sha512;

static uint64_t turn(uint64_t v, unsigned n)
{
    return v >> n | v << (64 - n);
}

static void add_block(Sha512 *h)
{
    uint64_t w[80], s[8];
    for (int i = 0; i < 16; i++) {
        w[i] = 0;
        for (int b = 0; b < 8; b++)
            w[i] = w[i] << 8 | h->block[8 * i + b];
    }
    for (int i = 16; i < 80; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 1) ^ turn(w[i - 15], 8) ^ w[i - 15] >> 7) +
               (turn(w[i - 2], 19) ^ turn(w[i - 2], 61) ^ w[i - 2] >> 6);
    memcpy(s, h->state, sizeof s);
    /* The eight words stay where they are; their names move on by one each round. */
#define S(name) s[((name)-i) & 7]
    for (int i = 0; i < 80; i++) {
        const uint64_t one = S(7) + (turn(S(4), 14) ^ turn(S(4), 18) ^ turn(S(4), 41)) +
                             ((S(4) & S(5)) ^ (~S(4) & S(6))) + k[i] + w[i];
        const uint64_t two = (turn(S(0), 28) ^ turn(S(0), 34) ^ turn(S(0), 39)) +
                             ((S(0) & S(1)) ^ (S(0) & S(2)) ^ (S(1) & S(2)));
        S(3) += one;
        S(7) = one + two;
    }
#undef S
    for (int i = 0; i < 8; i++)
        h->state[i] += s[i];
}

static void hash_add(Sha512 *h, const uint8_t *p, size_t n)
{
    for (; n; n--) {
        h->block[h->size++ % sizeof h->block] = *p++;
        if (h->size % sizeof h->block == 0)
            add_block(h);
    }
}

static void hash_end(Sha512 *h, uint8_t out[64])
{
    static const uint8_t pad[128] = {0x80};
    uint8_t bits[16] = {0};
    for (int i = 0; i < 8; i++)
        bits[15 - i] = (uint8_t)((uint64_t)h->size << 3 >> 8 * i);
    bits[7] = (uint8_t)((uint64_t)h->size >> 61);
    hash_add(h, pad, 128 - (h->size + 16) % 128);
    hash_add(h, bits, sizeof bits);
    for (int i = 0; i < 64; i++)
        out[i] = (uint8_t)(h->state[i / 8] >> (56 - i % 8 * 8));
}

/* ---- numbers modulo p ---- */

typedef struct Fe {
    uint64_t v[5];
} Fe;

typedef unsigned __int128 Wide;
#define LOW51 (((uint64_t)1 << 51) - 1)

/* Limbs back to 51 bits and a little. */
static Fe carry(Fe a)
{
    for (int i = 0; i < 5; i++) {
        const uint64_t c = a.v[i] >> 51;
        a.v[i] &= LOW51;
        a.v[(i + 1) % 5] += i < 4 ? c : 19 * c;
    }
    return a;
}

static Fe fe_small(uint64_t n)
{
    return (Fe){{n}};
}

static Fe fe_add(Fe a, Fe b)
{
    for (int i = 0; i < 5; i++)
        a.v[i] += b.v[i];
    return carry(a);
}

/* 4 p is added, so that no limb goes below 0. */
static Fe fe_sub(Fe a, Fe b)
{
    for (int i = 0; i < 5; i++)
        a.v[i] += 4 * (i ? LOW51 : LOW51 - 18) - b.v[i];
    return carry(a);
}

static Fe fe_mul(Fe a, Fe b)
{
    Wide t[5] = {0};
    Fe out;
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) /* 2^255 is 19 */
            t[(i + j) % 5] += (Wide)a.v[i] * (i + j < 5 ? b.v[j] : 19 * b.v[j]);
    for (int i = 0; i < 4; i++) {
        t[i + 1] += t[i] >> 51;
        out.v[i] = (uint64_t)t[i] & LOW51;
    }
    out.v[4] = (uint64_t)t[4] & LOW51;
    const Wide top = (Wide)out.v[0] + 19 * (t[4] >> 51);
    out.v[0] = (uint64_t)top & LOW51;
    out.v[1] += (uint64_t)(top >> 51);
    return out;
}

/* a to the power of 2^bits - less, of which the low 8 bits are 256 - less. */
static Fe fe_power(Fe a, int bits, unsigned less)
{
    Fe r = a;
    for (int i = bits - 2; i >= 0; i--) {
        r = fe_mul(r, r);
        if (i >= 8 || (256 - less) >> i & 1)
            r = fe_mul(r, a);
    }
    return r;
}

static Fe fe_inverse(Fe a)
{
    return fe_power(a, 255, 21); /* p - 2 */
}

static void fe_bytes(Fe a, uint8_t out[32])
{
    a = carry(carry(a));
    for (int turn_back = 0; turn_back < 2; turn_back++) { /* below p: subtract it where it fits */
        Fe less = a;
        less.v[0] += 19;
        for (int i = 0; i < 4; i++) {
            less.v[i + 1] += less.v[i] >> 51;
            less.v[i] &= LOW51;
        }
        if (less.v[4] >> 51) {
            less.v[4] &= LOW51;
            a = less;
        }
    }
    for (int i = 0; i < 32; i++) {
        const int bit = 8 * i, limb = bit / 51, shift = bit % 51;
        uint64_t v = a.v[limb] >> shift;
        if (shift > 43 && limb < 4)
            v |= a.v[limb + 1] << (51 - shift);
        out[i] = (uint8_t)v;
    }
}

/* false: it is not below p. The top bit is not part of it. */
static bool fe_read(const uint8_t in[32], Fe *out)
{
    uint8_t again[32];
    Fe a = {{0}};
    for (int bit = 0; bit < 255; bit++)
        a.v[bit / 51] |= (uint64_t)(in[bit / 8] >> bit % 8 & 1) << bit % 51;
    fe_bytes(a, again);
    again[31] |= in[31] & 0x80;
    *out = a;
    return memcmp(again, in, 32) == 0;
}

static bool fe_equal(Fe a, Fe b)
{
    uint8_t x[32], y[32];
    fe_bytes(a, x);
    fe_bytes(b, y);
    return memcmp(x, y, 32) == 0;
}

/* ---- points ---- */

typedef struct Point { /* x = X / Z, y = Y / Z, x y = T / Z */
    Fe x, y, z, t;
} Point;

typedef struct Curve {
    Fe d, root; /* root: of -1 */
} Curve;

static Curve curve(void)
{
    const Fe zero = fe_small(0);
    return (Curve){fe_mul(fe_sub(zero, fe_small(121665)), fe_inverse(fe_small(121666))),
                   fe_power(fe_small(2), 253, 5)}; /* (p - 1) / 4 */
}

/* Section 5.1.4; holds for any two points. */
static Point add(const Curve *c, Point p, Point q)
{
    const Fe a = fe_mul(fe_sub(p.y, p.x), fe_sub(q.y, q.x));
    const Fe b = fe_mul(fe_add(p.y, p.x), fe_add(q.y, q.x));
    const Fe t = fe_mul(fe_mul(p.t, fe_add(q.t, q.t)), c->d);
    const Fe z = fe_mul(p.z, fe_add(q.z, q.z));
    const Fe e = fe_sub(b, a), f = fe_sub(z, t), g = fe_add(z, t), h = fe_add(b, a);
    return (Point){fe_mul(e, f), fe_mul(g, h), fe_mul(f, g), fe_mul(e, h)};
}

/* Section 5.1.3. false: no point is written so. */
static bool point_read(const Curve *c, const uint8_t in[32], Point *out)
{
    const Fe one = fe_small(1);
    uint8_t bytes[32];
    Fe y;
    if (!fe_read(in, &y))
        return false;
    const Fe yy = fe_mul(y, y), u = fe_sub(yy, one), v = fe_add(fe_mul(c->d, yy), one);
    const Fe v3 = fe_mul(fe_mul(v, v), v), uv3 = fe_mul(u, v3);
    const Fe uv7 = fe_mul(uv3, fe_mul(v3, v));
    Fe x = fe_mul(uv3, fe_power(uv7, 252, 3)); /* (p - 5) / 8 */
    const Fe vxx = fe_mul(v, fe_mul(x, x));
    if (!fe_equal(vxx, u)) {
        if (!fe_equal(vxx, fe_sub(fe_small(0), u)))
            return false;
        x = fe_mul(x, c->root);
    }
    fe_bytes(x, bytes);
    const bool odd = bytes[0] & 1, wanted = in[31] >> 7;
    if (wanted && fe_equal(x, fe_small(0)))
        return false;
    if (odd != wanted)
        x = fe_sub(fe_small(0), x);
    *out = (Point){x, y, one, fe_mul(x, y)};
    return true;
}

static void point_bytes(Point p, uint8_t out[32])
{
    uint8_t x[32];
    const Fe inverse = fe_inverse(p.z);
    fe_bytes(fe_mul(p.x, inverse), x);
    fe_bytes(fe_mul(p.y, inverse), out);
    out[31] |= (uint8_t)((x[0] & 1) << 7);
}

/* ---- numbers modulo L ---- */

static const uint64_t order[4] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000};

/* *a -= L if that leaves it at 0 or more. */
static bool subtract_order(uint64_t a[4])
{
    uint64_t r[4], borrow = 0;
    for (int i = 0; i < 4; i++) {
        const Wide t = (Wide)a[i] - order[i] - borrow;
        r[i] = (uint64_t)t;
        borrow = (uint64_t)(t >> 64) & 1;
    }
    if (!borrow)
        memcpy(a, r, sizeof r);
    return !borrow;
}

static void reduce(const uint8_t in[64], uint64_t out[4])
{
    memset(out, 0, 4 * sizeof *out);
    for (int bit = 511; bit >= 0; bit--) {
        for (int i = 3; i > 0; i--)
            out[i] = out[i] << 1 | out[i - 1] >> 63;
        out[0] = out[0] << 1 | (in[bit / 8] >> bit % 8 & 1);
        (void)subtract_order(out);
    }
}

/* ---- */

bool ledge__ed25519_verify(const uint8_t public_key[32], const void *bytes, size_t size,
                           const uint8_t signature[64])
{
    const Curve c = curve();
    uint8_t base[32], hash[64], again[32];
    uint64_t s[4] = {0}, h[4], copy[4];
    Point a, b;
    for (int i = 0; i < 32; i++)
        s[i / 8] |= (uint64_t)signature[32 + i] << i % 8 * 8;
    memcpy(copy, s, sizeof s);
    memset(base, 0x66, sizeof base); /* y is 4 / 5 */
    base[0] = 0x58;
    if (subtract_order(copy) || !point_read(&c, public_key, &a) || !point_read(&c, base, &b))
        return false;
    Sha512 sha = {.size = 0};
    memcpy(sha.state, first, sizeof first);
    hash_add(&sha, signature, 32);
    hash_add(&sha, public_key, 32);
    hash_add(&sha, bytes, size);
    hash_end(&sha, hash);
    reduce(hash, h);
    /* R = s B - h A, bit by bit of both. */
    a.x = fe_sub(fe_small(0), a.x);
    a.t = fe_sub(fe_small(0), a.t);
    const Point both = add(&c, a, b);
    Point r = {fe_small(0), fe_small(1), fe_small(1), fe_small(0)};
    for (int bit = 255; bit >= 0; bit--) {
        const bool in_s = s[bit / 64] >> bit % 64 & 1, in_h = h[bit / 64] >> bit % 64 & 1;
        r = add(&c, r, r);
        if (in_s || in_h)
            r = add(&c, r, in_s && in_h ? both : in_s ? b : a);
    }
    point_bytes(r, again);
    return memcmp(again, signature, 32) == 0;
}
