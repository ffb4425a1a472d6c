/* Template: kernels over 8-bit numbers (see bytes.h), over the vocabulary of the byte_<isa>.h
 * included before.
 *
 * Bounds of results are whole numbers apart from the zero point, so that the upper one may be
 * applied before rounding, in float; below, conversion and vb_pack saturate. */
#include <math.h>
#include <string.h>

#include "engine/kernels/unroll.h"

/* ---- quantise ----
 *
 * The quotient x / s lies between the products of x with the two floats next to 1 / s, and so do
 * all three once rounded, to float and then to a whole number. Where both products round to one
 * whole number, that is the quotient's as well, and no division is needed. Rarely they do not;
 * then that block divides. */
typedef struct Quantizer {
    vf scale, below, above, most; /* most: x from which on the result is the upper bound */
    bool fast;
    int32_t zero;
    vb flip;
} Quantizer;

static float float_step(float v, int up)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = up ? bits + 1 : bits - 1;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static Quantizer make_quantizer(const LedgeByteScale *s)
{
    const float inverse = 1.0f / s->scale;
    const double one = (double)inverse * (double)s->scale; /* exact: 24 bits times 24 */
    Quantizer q = {.scale = vf_set(s->scale), .most = vf_set(1024.0f * s->scale)};
    q.fast = VB_LANES > 1 && s->scale > 1e-30f && s->scale < 1e30f;
    q.below = vf_set(q.fast && one > 1.0 ? float_step(inverse, 0) : inverse);
    q.above = vf_set(q.fast && one < 1.0 ? float_step(inverse, 1) : inverse);
    q.zero = s->zero;
    q.flip = vb_set(s->flip);
    return q;
}

static inline vb quantize_slowly(const vf x[VB_PARTS], const Quantizer *q)
{
    vi i[VB_PARTS];
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++) {
        vf v = vf_div(x[k], q->scale);
        v = vf_sel(vf_nan(v), vf_set(0.0f), v);
        i[k] = vi_cvt(vf_min(v, vf_set(1024.0f)));
    }
    return vb_pack(i, q->zero);
}

#if VB_LANES > 1

static inline vb quantize_block(const float *p, const Quantizer *q)
{
    vf x[VB_PARTS], t[VB_PARTS];
    vi a[VB_PARTS], b[VB_PARTS];
    vb y;
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++) {
        x[k] = vf_load(p + k * VF_LANES);
        t[k] = vf_min(q->most, x[k]);
        a[k] = vi_cvt(vf_mul(t[k], q->below));
        b[k] = vi_cvt(vf_mul(t[k], q->above));
    }
    if (__builtin_expect(q->fast && vb_settled(a, b, t), 1))
        y = vb_pack(a, q->zero);
    else
        y = quantize_slowly(x, q);
    return vb_xor(vb_gather(y), q->flip);
}

static void vec_quantize(const float *x, uint8_t *y, size_t n, const LedgeByteScale *s)
{
    const Quantizer q = make_quantizer(s);
    float last[VB_LANES] = {0};
    size_t i = 0;
    for (; i + VB_LANES <= n; i += VB_LANES)
        vb_store(y + i, quantize_block(x + i, &q));
    if (i < n) {
        memcpy(last, x + i, (n - i) * sizeof *x);
        vb_store_n(y + i, quantize_block(last, &q), n - i);
    }
}

#else

static void vec_quantize(const float *x, uint8_t *y, size_t n, const LedgeByteScale *s)
{
    const Quantizer q = make_quantizer(s);
    for (size_t i = 0; i < n; i++)
        y[i] = quantize_slowly(x + i, &q) ^ q.flip;
}

#endif

/* ---- dequantise ---- */

static inline void dequantize_block(vb x, float *y, vf offset, vf scale)
{
    vf v[VB_PARTS];
    vb_floats(vb_spread(x), v);
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        vf_store(y + k * VF_LANES, vf_mul(vf_sub(v[k], offset), scale));
}

/* What vb_floats gives for the zero point. */
static inline vf offset_of(int32_t zero)
{
    return vf_set(8388608.0f + (float)zero);
}

static void vec_dequantize(const uint8_t *x, float *y, size_t n, const LedgeByteScale *s)
{
    const vf offset = offset_of(s->zero), scale = vf_set(s->scale);
    const vb flip = vb_set(s->flip);
    float last[VB_LANES];
    size_t i = 0;
    for (; i + VB_LANES <= n; i += VB_LANES)
        dequantize_block(vb_xor(vb_load(x + i), flip), y + i, offset, scale);
    if (i < n) {
        dequantize_block(vb_xor(vb_load_n(x + i, n - i), flip), last, offset, scale);
        memcpy(y + i, last, (n - i) * sizeof *y);
    }
}

/* ---- a scale and a zero point for each element; zero NULL: 0, or 128 when flipped ---- */

/* Zero points as whole numbers, in the places of the floats beside them. */
static inline void zeros_at(vb zero, vi out[VB_PARTS])
{
    vf z[VB_PARTS];
    vb_floats(vb_spread(zero), z);
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        out[k] = vi_and(vi_of(z[k]), vi_set(0xff));
}

static inline vb quantize_each_block(const float *x, const float *scale, vb zero)
{
    vi i[VB_PARTS], z[VB_PARTS];
    zeros_at(zero, z);
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++) {
        vf v = vf_div(vf_load(x + k * VF_LANES), vf_load(scale + k * VF_LANES));
        v = vf_sel(vf_nan(v), vf_set(0.0f), v);
        i[k] = vi_add(vi_cvt(vf_min(v, vf_set(1024.0f))), z[k]);
    }
    return vb_gather(vb_pack(i, 0));
}

static inline void dequantize_each_block(vb x, const float *scale, vb zero, float *y)
{
    vf v[VB_PARTS], z[VB_PARTS];
    vb_floats(vb_spread(x), v);
    vb_floats(vb_spread(zero), z);
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        vf_store(y + k * VF_LANES, vf_mul(vf_sub(v[k], z[k]), vf_load(scale + k * VF_LANES)));
}

static void vec_quantize_each(const float *x, uint8_t *y, size_t n, const float *scale,
                              const uint8_t *zero, uint8_t flip)
{
    const vb f = vb_set(flip);
    float last[VB_LANES] = {0}, last_scale[VB_LANES] = {0};
    size_t i = 0;
    for (; i + VB_LANES <= n; i += VB_LANES) {
        const vb z = vb_xor(zero ? vb_load(zero + i) : vb_set(0), f);
        vb_store(y + i, vb_xor(quantize_each_block(x + i, scale + i, z), f));
    }
    if (i < n) {
        const vb z = vb_xor(zero ? vb_load_n(zero + i, n - i) : vb_set(0), f);
        memcpy(last, x + i, (n - i) * sizeof *x);
        memcpy(last_scale, scale + i, (n - i) * sizeof *scale);
        vb_store_n(y + i, vb_xor(quantize_each_block(last, last_scale, z), f), n - i);
    }
}

static void vec_dequantize_each(const uint8_t *x, float *y, size_t n, const float *scale,
                                const uint8_t *zero, uint8_t flip)
{
    const vb f = vb_set(flip);
    float last[VB_LANES], last_scale[VB_LANES] = {0};
    size_t i = 0;
    for (; i + VB_LANES <= n; i += VB_LANES)
        dequantize_each_block(vb_xor(vb_load(x + i), f), scale + i,
                              vb_xor(zero ? vb_load(zero + i) : vb_set(0), f), y + i);
    if (i < n) {
        memcpy(last_scale, scale + i, (n - i) * sizeof *scale);
        dequantize_each_block(vb_xor(vb_load_n(x + i, n - i), f), last_scale,
                              vb_xor(zero ? vb_load_n(zero + i, n - i) : vb_set(0), f), last);
        memcpy(y + i, last, (n - i) * sizeof *y);
    }
}

/* ---- 16 bits: plain loops over blocks of one size, which compilers turn into vectors ---- */

enum { BLOCK16 = 64 };

/* To even, zero added, saturated; NaN is zero. What is left after clamping is small enough for
 * 1.5 * 2^23 to push its fraction out. */
static inline void quantize_block16(const float *x, uint16_t *y, float scale, float zero,
                                    uint16_t flip)
{
    const float magic = 12582912.0f, low = -zero, high = 65535.0f - zero;
    for (size_t i = 0; i < BLOCK16; i++) {
        float v = x[i] / scale;
        v = v < low ? low : v;
        v = v > high ? high : v;
        v = v == v ? v : 0.0f;
        y[i] = (uint16_t)((int32_t)(v + magic - magic + zero) ^ flip);
    }
}

static inline void dequantize_block16(const uint16_t *x, float *y, float scale, float zero,
                                      uint16_t flip)
{
    for (size_t i = 0; i < BLOCK16; i++)
        y[i] = ((float)(int32_t)(uint16_t)(x[i] ^ flip) - zero) * scale;
}

static void vec_quantize_16(const float *x, uint16_t *y, size_t n, float scale, int32_t zero,
                            uint16_t flip)
{
    float last[BLOCK16] = {0};
    uint16_t got[BLOCK16];
    size_t i = 0;
    for (; i + BLOCK16 <= n; i += BLOCK16)
        quantize_block16(x + i, y + i, scale, (float)zero, flip);
    if (i < n) {
        memcpy(last, x + i, (n - i) * sizeof *x);
        quantize_block16(last, got, scale, (float)zero, flip);
        memcpy(y + i, got, (n - i) * sizeof *y);
    }
}

static void vec_dequantize_16(const uint16_t *x, float *y, size_t n, float scale, int32_t zero,
                              uint16_t flip)
{
    uint16_t last[BLOCK16] = {0};
    float got[BLOCK16];
    size_t i = 0;
    for (; i + BLOCK16 <= n; i += BLOCK16)
        dequantize_block16(x + i, y + i, scale, (float)zero, flip);
    if (i < n) {
        memcpy(last, x + i, (n - i) * sizeof *x);
        dequantize_block16(last, got, scale, (float)zero, flip);
        memcpy(y + i, got, (n - i) * sizeof *y);
    }
}

/* ---- tables ---- */

static void vec_byte_map(const uint8_t *x, uint8_t *y, size_t n, const uint8_t *table)
{
    size_t i = 0;
    if (n >= 4 * VB_LANES) {
        const vb_table t = vb_table_load(table);
        for (; i + VB_LANES <= n; i += VB_LANES)
            vb_store(y + i, vb_lookup(&t, vb_load(x + i)));
    }
    for (; i < n; i++)
        y[i] = table[x[i]];
}

/* ---- sums and products ---- */

typedef struct Mixer {
    vf a_offset, b_offset, a_scale, b_scale, high;
    vb a_flip, b_flip, y_flip, lo;
    int32_t zero;
} Mixer;

static Mixer make_mixer(const LedgeByteMix *m)
{
    const Mixer k = {.a_offset = offset_of(m->a.zero),
                     .b_offset = offset_of(m->b.zero),
                     .a_scale = vf_set(m->a.scale),
                     .b_scale = vf_set(m->b.scale),
                     .high = vf_set((float)(m->hi - m->y_zero)),
                     .a_flip = vb_set(m->a.flip),
                     .b_flip = vb_set(m->b.flip),
                     .y_flip = vb_set(m->y_flip),
                     .lo = vb_set(m->lo),
                     .zero = m->y_zero};
    return k;
}

#define MIX_BLOCK(name, result)                                                                    \
    static inline vb name##_block(vb a, vb b, const Mixer *k)                                      \
    {                                                                                              \
        vf p[VB_PARTS], q[VB_PARTS];                                                               \
        vi v[VB_PARTS];                                                                            \
        vb_floats(vb_xor(a, k->a_flip), p);                                                        \
        vb_floats(vb_xor(b, k->b_flip), q);                                                        \
        VX_UNROLL                                                                                  \
        for (int i = 0; i < VB_PARTS; i++) {                                                       \
            const vf s = vf_sub(p[i], k->a_offset), t = vf_sub(q[i], k->b_offset);                 \
            v[i] = vi_cvt(vf_min(result, k->high));                                                \
        }                                                                                          \
        return vb_xor(vb_max(vb_pack(v, k->zero), k->lo), k->y_flip);                              \
    }

MIX_BLOCK(add, vf_add(vf_mul(s, k->a_scale), vf_mul(t, k->b_scale)))
MIX_BLOCK(mul, vf_mul(vf_mul(s, t), k->a_scale)) /* the first product is exact */
#undef MIX_BLOCK

#define MIX_FORM(name, form, load_a, load_b, part_a, part_b)                                       \
    static void name##_##form(const uint8_t *a, const uint8_t *b, uint8_t *y, size_t n,            \
                              const Mixer *k)                                                      \
    {                                                                                              \
        const vb sa = vb_set(*a), sb = vb_set(*b);                                                 \
        const Mixer m = *k;                                                                        \
        size_t i = 0;                                                                              \
        (void)sa;                                                                                  \
        (void)sb;                                                                                  \
        for (; i + VB_LANES <= n; i += VB_LANES)                                                   \
            vb_store(y + i, name##_block(load_a, load_b, &m));                                     \
        if (i < n)                                                                                 \
            vb_store_n(y + i, name##_block(part_a, part_b, &m), n - i);                            \
    }

#define MIX(name)                                                                                  \
    MIX_FORM(name, vv, vb_load(a + i), vb_load(b + i), vb_load_n(a + i, n - i),                    \
             vb_load_n(b + i, n - i))                                                              \
    MIX_FORM(name, vs, vb_load(a + i), sb, vb_load_n(a + i, n - i), sb)                            \
    MIX_FORM(name, sv, sa, vb_load(b + i), sa, vb_load_n(b + i, n - i))                            \
    static void vec_byte_##name(LedgeForm form, const uint8_t *a, const uint8_t *b, uint8_t *y,    \
                                size_t n, const LedgeByteMix *m)                                   \
    {                                                                                              \
        const Mixer k = make_mixer(m);                                                             \
        if (n == 0)                                                                                \
            return;                                                                                \
        (form == LEDGE_VV ? name##_vv : form == LEDGE_VS ? name##_vs : name##_sv)(a, b, y, n, &k); \
    }

MIX(add)
MIX(mul)
#undef MIX
#undef MIX_FORM

/* ---- pools ---- */

static inline vb load_bytes(const uint8_t *p, size_t n)
{
    return n < VB_LANES ? vb_load_n(p, n) : vb_load(p);
}

static inline void store_bytes(uint8_t *p, vb a, size_t n)
{
    if (n < VB_LANES)
        vb_store_n(p, a, n);
    else
        vb_store(p, a);
}

static inline vb max_of(const LedgeByteTaps *t, size_t c, size_t n)
{
    vb m = load_bytes(t->x + c, n);
    for (size_t i = 0; i < t->rows; i++) {
        const uint8_t *x = t->x + i * t->row_step + c;
        for (size_t k = 0; k < t->cols; k++, x += t->col_step)
            m = vb_max(m, load_bytes(x, n));
    }
    return m;
}

static void vec_byte_max(const LedgeByteTaps *t, uint8_t *y, size_t channels)
{
    size_t c = 0;
    for (; c + VB_LANES <= channels; c += VB_LANES)
        vb_store(y + c, max_of(t, c, VB_LANES));
    if (c < channels)
        store_bytes(y + c, max_of(t, c, channels - c), channels - c);
}

enum { SUM_TAPS = 256 }; /* bytes whose sum fits 16 bits */

/* Adds up the taps of VB_LANES channels from c on. */
static inline void sum_of(const LedgeByteTaps *t, size_t c, size_t n, vi sum[VB_PARTS])
{
    vs s = vs_zero();
    size_t room = SUM_TAPS;
    for (size_t i = 0; i < t->rows; i++) {
        const uint8_t *x = t->x + i * t->row_step + c;
        for (size_t k = 0; k < t->cols; k++, x += t->col_step) {
            s = vs_add(s, load_bytes(x, n));
            if (--room == 0) {
                vs_add_to(s, sum);
                s = vs_zero();
                room = SUM_TAPS;
            }
        }
    }
    vs_add_to(s, sum);
}

static inline vb mean_of(const LedgeByteTaps *t, const LedgeByteMean *m, vf scale, size_t c,
                         size_t n)
{
    const vf high = vf_set((float)(m->hi - m->y_zero));
    const int32_t zeros = (int32_t)(t->rows * t->cols) * m->x_zero;
    vi sum[VB_PARTS];
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        sum[k] = vi_set(-zeros);
    sum_of(t, c, n, sum);
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        sum[k] = vi_cvt(vf_min(vf_mul(vf_cvt(sum[k]), scale), high));
    return vb_max(vb_pack(sum, m->y_zero), vb_set(m->lo));
}

static void vec_byte_mean(const LedgeByteTaps *t, const LedgeByteMean *m, float scale, uint8_t *y,
                          size_t channels)
{
    const vf s = vf_set(scale);
    size_t c = 0;
    for (; c + VB_LANES <= channels; c += VB_LANES)
        vb_store(y + c, mean_of(t, m, s, c, VB_LANES));
    if (c < channels)
        store_bytes(y + c, mean_of(t, m, s, c, channels - c), channels - c);
}

/* The tail's zeros, flipped, count as well, and are taken off again. */
static int32_t vec_byte_sum(const uint8_t *x, size_t n, uint8_t flip)
{
    const vb f = vb_set(flip);
    vs s = vs_zero();
    vi sum[VB_PARTS];
    size_t room = SUM_TAPS, i = 0;
    int32_t lanes[VB_LANES], total = 0;
    VX_UNROLL
    for (int k = 0; k < VB_PARTS; k++)
        sum[k] = vi_set(0);
    for (; i < n; i += VB_LANES) {
        s = vs_add(s, vb_xor(load_bytes(x + i, n - i), f));
        if (--room == 0) {
            vs_add_to(s, sum);
            s = vs_zero();
            room = SUM_TAPS;
        }
    }
    vs_add_to(s, sum);
    memcpy(lanes, sum, sizeof lanes);
    for (size_t k = 0; k < VB_LANES; k++)
        total += lanes[k];
    return total - (int32_t)(i - n) * flip;
}

/* ---- the range of floats ---- */

static void vec_range(const float *x, size_t n, float *low, float *high)
{
    vf lo[4], hi[4];
    size_t i = 0;
    VX_UNROLL
    for (int k = 0; k < 4; k++)
        lo[k] = hi[k] = vf_set(0.0f);
    for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES)
        VX_UNROLL
    for (int k = 0; k < 4; k++) {
        const vf v = vf_load(x + i + (size_t)k * VF_LANES);
        lo[k] = vf_least(v, lo[k]);
        hi[k] = vf_most(v, hi[k]);
    }
    for (; i < n; i += VF_LANES) {
        const vf v = n - i < VF_LANES ? vf_load_n(x + i, n - i) : vf_load(x + i);
        lo[0] = vf_least(v, lo[0]);
        hi[0] = vf_most(v, hi[0]);
    }
    VX_UNROLL
    for (int k = 1; k < 4; k++) {
        lo[0] = vf_least(lo[k], lo[0]);
        hi[0] = vf_most(hi[k], hi[0]);
    }
    *low = vf_hmin(lo[0]) + 0.0f; /* never -0 */
    *high = vf_hmax(hi[0]) + 0.0f;
}
