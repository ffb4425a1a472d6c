/* Template: the kernels for blocked weights (see nbits.h), over the vocabulary of the simd_<isa>.h
 * included before and
 *   nb_dot(acc, codes, a)  to each lane the sum of four products of bytes: codes 0 … NB_DOT_MOST
 *                          (15 or 255), a -127 … 127
 *   NB_LOOKUP(x, table)    optional: the table's element that the low 4 bits of each lane name
 * Float operations that make sums of bytes into floats are never fused, so that every instruction
 * set gives the same. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/nbits.h"
#include "engine/kernels/unroll.h"

/* Vectors of a group that are worked on together. */
#define NB_V (LEDGE_NBITS_GROUP / VF_LANES < 2 ? 1 : 2)

static inline vi nb_load(const uint8_t *p)
{
    vi x;
    memcpy(&x, p, sizeof(x));
    return x;
}

/* Four neighbouring bytes in every lane. */
static inline vi nb_four(const int8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return vi_set(x);
}

static inline vi nb_xor(vi a, int32_t b)
{
    return vi_of(vf_xor(vf_of(a), vf_of(vi_set(b))));
}

/* The zero points of the lanes from column h on of block b. */
static inline vf nb_zero(const LedgeNbitsGroup *g, LedgeNbitsZeros kind, uint32_t bits, size_t b,
                         size_t h)
{
    const size_t at = b * LEDGE_NBITS_GROUP + h;
    if (kind == LEDGE_NBITS_BYTES)
        return vf_load_u8((const uint8_t *)g->zeros + at);
    if (kind == LEDGE_NBITS_FLOATS)
        return vf_load((const float *)g->zeros + at);
    return vf_set((float)(1 << (bits - 1)));
}

/* ---- A as int8 ---- */

/* Adds the products of field j of every byte of the words x. */
#define NB_BYTES(j, field)                                                                         \
    {                                                                                              \
        vi u[NB_V];                                                                                \
        VX_EACH(v, NB_V) u[v] = vi_and(field, mask);                                               \
        VX_EACH(i, mr)                                                                             \
        {                                                                                          \
            const vi q = nb_four(a + (size_t)i * lda + 4 * (j));                                   \
            VX_EACH(v, NB_V) acc[i][v] = nb_dot(acc[i][v], u[v], q);                               \
        }                                                                                          \
    }

/* Codes that the dot product takes only by halves. */
#define NB_HALVES                                                                                  \
    {                                                                                              \
        vi low[NB_V], high[NB_V];                                                                  \
        const vi half = vi_set(0x0f0f0f0f);                                                        \
        VX_EACH(v, NB_V)                                                                           \
        {                                                                                          \
            low[v] = vi_and(x[v], half);                                                           \
            high[v] = vi_and(vi_sar(x[v], 4), half);                                               \
        }                                                                                          \
        VX_EACH(i, mr)                                                                             \
        {                                                                                          \
            const vi q = nb_four(a + (size_t)i * lda);                                             \
            VX_EACH(v, NB_V)                                                                       \
            {                                                                                      \
                const vi top = nb_dot(vi_set(0), high[v], q);                                      \
                acc[i][v] = nb_dot(vi_add(acc[i][v], vi_shl(top, 4)), low[v], q);                  \
            }                                                                                      \
        }                                                                                          \
    }

VX_INLINE void nb_bytes(const LedgeNbitsTile *t, const int8_t *rows, const float *a_scale,
                        const float *a_sum, float *c, const int mr, const uint32_t bits)
{
    const size_t lda = t->lda, blocks = t->blocks, steps = t->block * bits / 32;
    const vi mask = vi_set(bits == 2 ? 0x03030303 : bits == 4 ? 0x0f0f0f0f : -1);
    for (size_t h = 0; h < LEDGE_NBITS_GROUP; h += NB_V * VF_LANES) {
        const uint8_t *w = t->g.codes + 4 * h;
        const int8_t *a = rows;
        vf y[LEDGE_NBITS_MR][NB_V];
        VX_EACH(i, mr) VX_EACH(v, NB_V) y[i][v] = vf_set(0.0f);
        for (size_t b = 0; b < blocks; b++) {
            vi acc[LEDGE_NBITS_MR][NB_V];
            VX_EACH(i, mr) VX_EACH(v, NB_V) acc[i][v] = vi_set(0);
            for (size_t step = 0; step < steps; step++) {
                vi x[NB_V];
                VX_EACH(v, NB_V) x[v] = nb_load(w + v * VF_LANES * 4);
                if (bits == 8 && NB_DOT_MOST < 255) {
                    NB_HALVES
                } else {
                    NB_BYTES(0, x[v])
                    if (bits == 4)
                        NB_BYTES(1, vi_sar(x[v], 4))
                    if (bits == 2) {
                        NB_BYTES(1, vi_sar(x[v], 2))
                        NB_BYTES(2, vi_sar(x[v], 4))
                        NB_BYTES(3, vi_sar(x[v], 6))
                    }
                }
                w += 4 * LEDGE_NBITS_GROUP;
                a += 32 / bits;
            }
            VX_EACH(v, NB_V)
            {
                const size_t col = h + (size_t)v * VF_LANES;
                const vf z = nb_zero(&t->g, t->zero_kind, bits, b, col);
                const vf s = vf_load(t->g.scales + b * LEDGE_NBITS_GROUP + col);
                VX_EACH(i, mr)
                {
                    const size_t at = (size_t)i * t->ld_a + b;
                    const vf sum = vf_sub(vf_cvt(acc[i][v]), vf_mul(z, vf_set(a_sum[at])));
                    y[i][v] = vf_add(y[i][v], vf_mul(sum, vf_mul(s, vf_set(a_scale[at]))));
                }
            }
        }
        VX_EACH(i, mr)
        VX_EACH(v, NB_V) vf_store(c + (size_t)i * t->ldc + h + (size_t)v * VF_LANES, y[i][v]);
    }
}

/* ---- A as float ---- */

/* The signed field of `bits` at bit s of each word, less 1 << (bits - 1) when looked up. */
#define NB_SIGNED(x, s) vf_cvt(vi_sar(vi_shl(x, 32 - NB_BITS - (s)), 32 - NB_BITS))
#ifdef NB_LOOKUP
#define NB_FIELD(x, s) (NB_BITS == 4 ? NB_LOOKUP(vi_sar(x, s), table) : NB_SIGNED(x, s))
#else
#define NB_FIELD(x, s) NB_SIGNED(x, s)
#endif

#define NB_FLOATS(k, s)                                                                            \
    {                                                                                              \
        vf u[NB_V];                                                                                \
        VX_EACH(v, NB_V) u[v] = NB_FIELD(x[v], s);                                                 \
        VX_EACH(i, mr)                                                                             \
        {                                                                                          \
            const vf q = vf_set(a[(size_t)i * lda + (k)]);                                         \
            VX_EACH(v, NB_V) acc[i][v][(k) & 1] = vf_fma(q, u[v], acc[i][v][(k) & 1]);             \
        }                                                                                          \
    }

#define NB_BITS 2
#include "engine/kernels/nbits_tile.h"
#define NB_BITS 4
#include "engine/kernels/nbits_tile.h"
#define NB_BITS 8
#include "engine/kernels/nbits_tile.h"

/* Calls f(…, mr, bits) with both constant. */
#define NB_ROWS(f, type, bits)                                                                     \
    for (uint32_t m = 0, n; m < t->mr; m += n) {                                                   \
        const type *a = (const type *)t->a + m * t->lda;                                           \
        const float *s = t->a_scale ? t->a_scale + m * t->ld_a : NULL;                           \
        const float *sum = t->a_sum + m * t->ld_a;                                               \
        float *c = t->c + m * t->ldc;                                                              \
        n = t->mr - m >= 4 ? 4 : t->mr - m >= 2 ? 2 : 1;                                           \
        if (n == 4)                                                                                \
            f(t, a, s, sum, c, 4, bits);                                                           \
        else if (n == 2)                                                                           \
            f(t, a, s, sum, c, 2, bits);                                                           \
        else                                                                                       \
            f(t, a, s, sum, c, 1, bits);                                                           \
    }

static void nbits_bytes(const LedgeNbitsTile *t)
{
    if (t->bits == 4)
        NB_ROWS(nb_bytes, int8_t, 4)
    else if (t->bits == 8)
        NB_ROWS(nb_bytes, int8_t, 8)
    else
        NB_ROWS(nb_bytes, int8_t, 2)
}

static void nbits_floats(const LedgeNbitsTile *t)
{
    if (t->bits == 4)
        NB_ROWS(nb_floats_4, float, 4)
    else if (t->bits == 8)
        NB_ROWS(nb_floats_8, float, 8)
    else
        NB_ROWS(nb_floats_2, float, 2)
}

static void nbits_widen(const LedgeNbitsWiden *w)
{
    if (w->bits == 4)
        nb_widen_4(w);
    else if (w->bits == 8)
        nb_widen_8(w);
    else
        nb_widen_2(w);
}

/* ---- rounding A ---- */

/* Symmetric: the largest magnitude becomes 127. A block with a number that is not finite gets the
 * scale NaN, so that the product shows it. */
static float nbits_round_block(const float *x, size_t n, size_t block, int8_t *q, float *scale)
{
    vf most = vf_set(0.0f), bad = most;
    for (size_t i = 0; i < n; i += VF_LANES) {
        const vf v = n - i < VF_LANES ? vf_load_n(x + i, n - i) : vf_load(x + i);
        most = vf_max(vf_max(v, vf_sub(vf_set(0.0f), v)), most);
        bad = vf_add(bad, vf_sub(v, v));
    }
    const float top = vf_hmax(most), nan = vf_hsum(bad);
    float inverse = 127.0f / top;
    *scale = top / 127.0f + nan;
    if (!(inverse < INFINITY)) { /* nothing, or too small to tell from it */
        inverse = 0.0f;
        *scale = nan;
    }
    const vf f = vf_set(inverse), lo = vf_set(-127.0f), hi = vf_set(127.0f);
    int32_t sum = 0;
    for (size_t i = 0; i < n; i += VF_LANES) {
        int32_t lanes[VF_LANES];
        const size_t left = n - i < VF_LANES ? n - i : VF_LANES;
        const vf v = left < VF_LANES ? vf_load_n(x + i, left) : vf_load(x + i);
        const vi r = vi_cvt(vf_min(vf_max(vf_mul(v, f), lo), hi));
        memcpy(lanes, &r, sizeof(lanes));
        for (size_t k = 0; k < left; k++) {
            q[i + k] = (int8_t)lanes[k];
            sum += lanes[k];
        }
    }
    memset(q + n, 0, block - n);
    return (float)sum;
}

static float nbits_sum_block(const float *x, size_t n)
{
    vf s = vf_set(0.0f);
    for (size_t i = 0; i < n; i += VF_LANES)
        s = vf_add(s, vf_load(x + i));
    return vf_hsum(s);
}

#define NB_JOIN_(a, b) a##b
#define NB_JOIN(a, b)  NB_JOIN_(a, b)
#define NB_TEXT_(a)    #a
#define NB_TEXT(a)     NB_TEXT_(a)

extern const LedgeNbitsKernels NB_JOIN(ledge__nbits_, NB_ISA);
const LedgeNbitsKernels NB_JOIN(ledge__nbits_, NB_ISA) = {
    .isa = NB_TEXT(NB_ISA),
    .needs = NB_NEEDS,
    .lanes = VF_LANES,
    .bytes = nbits_bytes,
    .floats = nbits_floats,
    .widen = nbits_widen,
    .round_block = nbits_round_block,
    .sum_block = nbits_sum_block,
};
