/* Template: maps of one and two arrays, affine maps and conversions, over the vocabulary of
 * the simd_<isa>.h included before. Tails use the same instructions as whole vectors. */
#include <stdint.h>

/* A loop over n elements: `body` sees the index i and how many lanes count. */
#define MAP_LOOP(n, whole, part)                                                                   \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        for (; i + VF_LANES <= (n); i += VF_LANES) {                                               \
            whole;                                                                                 \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const size_t left = (n)-i;                                                             \
            part;                                                                                  \
        }                                                                                          \
    } while (0)

#define UNARY(name, expr)                                                                          \
    static inline vf one_##name(vf x, vf a, vf b)                                                  \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        return expr;                                                                               \
    }                                                                                              \
    static void map_##name(const float *px, float *py, size_t n, vf a, vf b)                       \
    {                                                                                              \
        MAP_LOOP(n, vf_store(py + i, one_##name(vf_load(px + i), a, b)),                           \
                 vf_store_n(py + i, one_##name(vf_load_n(px + i, left), a, b), left));             \
    }

UNARY(copy, x)
UNARY(exp, vf_exp(x))
UNARY(log, vf_log(x))
UNARY(tanh, vf_tanh(x))
UNARY(sigmoid, vf_sigmoid(x))
UNARY(erf, vf_erf(x))
UNARY(gelu, vf_gelu(x))
UNARY(gelu_tanh, vf_gelu_tanh(x))
UNARY(silu, vf_silu(x))
UNARY(hard_swish, vf_hard_swish(x))
UNARY(hard_sigmoid, vf_clamp(vf_fma(x, a, b), vf_set(0.0f), vf_set(1.0f)))
UNARY(elu, vf_sel(vf_lt(x, vf_set(0.0f)), vf_mul(a, vf_expm1(x)), x))
UNARY(leaky_relu, vf_sel(vf_lt(x, vf_set(0.0f)), vf_mul(a, x), x))
UNARY(relu, vf_max(vf_set(0.0f), x))
UNARY(clip, vf_clamp(x, a, b))
UNARY(sqrt, vf_sqrt(x))
UNARY(rsqrt, vf_div(vf_set(1.0f), vf_sqrt(x)))
UNARY(reciprocal, vf_div(vf_set(1.0f), x))
UNARY(abs, vf_abs(x))
UNARY(neg, vf_neg(x))
UNARY(floor, vf_floor(x))
UNARY(ceil, vf_ceil(x))
UNARY(round, vf_round(x))
UNARY(softplus, vf_softplus(x))
UNARY(mish, vf_mish(x))
UNARY(linear, vf_fma(x, a, b))
#undef UNARY

static void (*const maps[LEDGE_U_COUNT])(const float *, float *, size_t, vf, vf) = {
#define VEC_UNARY(NAME, name, ulp) map_##name,
#include "engine/kernels/vec.def"
};

static void vec_unary(LedgeMap kind, const float *x, float *y, size_t n, float a, float b)
{
    maps[kind](x, y, n, vf_set(a), vf_set(b));
}

/* In place over the rows of a tile. */
static void vec_unary_rows(LedgeMap kind, float *y, size_t rows, size_t ld, size_t n, float a,
                           float b)
{
    for (; rows > 0; rows--, y += ld)
        maps[kind](y, y, n, vf_set(a), vf_set(b));
}

/* NaN when either is: the first operand's by choice, the second's by vf_min itself. */
static inline vf both_min(vf a, vf b)
{
    return vf_sel(vf_nan(a), a, vf_min(a, b));
}
static inline vf both_max(vf a, vf b)
{
    return vf_sel(vf_nan(a), a, vf_max(a, b));
}

typedef struct BinaryArgs {
    const float *a, *b;
    float *y;
    size_t n;
    vf lo, hi;
} BinaryArgs;

#define BINARY_FORM(name, form, load_a, load_b, part_a, part_b, op)                                \
    static void map_##name##_##form(const BinaryArgs *p)                                           \
    {                                                                                              \
        const float *pa = p->a, *pb = p->b;                                                        \
        float *y = p->y;                                                                           \
        const size_t n = p->n;                                                                     \
        const vf lo = p->lo, hi = p->hi, sa = vf_set(*pa), sb = vf_set(*pb);                       \
        (void)sa;                                                                                  \
        (void)sb;                                                                                  \
        MAP_LOOP(n, vf_store(y + i, vf_clamp(op(load_a, load_b), lo, hi)),                         \
                 vf_store_n(y + i, vf_clamp(op(part_a, part_b), lo, hi), left));                   \
    }

#define BINARY(name, op)                                                                           \
    BINARY_FORM(name, vv, vf_load(pa + i), vf_load(pb + i), vf_load_n(pa + i, left),               \
                vf_load_n(pb + i, left), op)                                                       \
    BINARY_FORM(name, vs, vf_load(pa + i), sb, vf_load_n(pa + i, left), sb, op)                    \
    BINARY_FORM(name, sv, sa, vf_load(pb + i), sa, vf_load_n(pb + i, left), op)

BINARY(add, vf_add)
BINARY(sub, vf_sub)
BINARY(mul, vf_mul)
BINARY(div, vf_div)
BINARY(min, both_min)
BINARY(max, both_max)
#undef BINARY
#undef BINARY_FORM

static void vec_binary(LedgePairMap op, LedgeForm form, const float *a, const float *b, float *y,
                       size_t n, float lo, float hi)
{
#define FORMS(name)                                                                                \
    {                                                                                              \
        map_##name##_vv, map_##name##_vs, map_##name##_sv                                          \
    }
    static void (*const pair_maps[LEDGE_B_COUNT][3])(const BinaryArgs *) = {
        FORMS(add), FORMS(sub), FORMS(mul), FORMS(div), FORMS(min), FORMS(max)};
#undef FORMS
    const BinaryArgs p = {a, b, y, n, vf_set(lo), vf_set(hi)};
    if (n > 0)
        pair_maps[op][form](&p);
}

static void affine_row(const float *x, const float *a, const float *b, float *y, size_t n, vf lo,
                       vf hi)
{
    MAP_LOOP(
        n,
        vf_store(y + i, vf_clamp(vf_fma(vf_load(x + i), vf_load(a + i), vf_load(b + i)), lo, hi)),
        vf_store_n(
            y + i,
            vf_clamp(vf_fma(vf_load_n(x + i, left), vf_load_n(a + i, left), vf_load_n(b + i, left)),
                     lo, hi),
            left));
}

static void vec_affine(const float *x, const float *a, const float *b, float *y, size_t rows,
                       size_t channels, float lo, float hi)
{
    const vf l = vf_set(lo), h = vf_set(hi);
    for (size_t r = 0; r < rows; r++, x += channels, y += channels)
        affine_row(x, a, b, y, channels, l, h);
}

/* Bytes past a tail must not be read, so that one goes over a copy. */
static void vec_u8_affine(const uint8_t *x, const float *a, const float *b, float *y, size_t n)
{
    uint8_t last[VF_LANES] = {0};
    MAP_LOOP(n, vf_store(y + i, vf_fma(vf_load_u8(x + i), vf_load(a + i), vf_load(b + i))),
             memcpy(last, x + i, left);
             vf_store_n(y + i,
                        vf_fma(vf_load_u8(last), vf_load_n(a + i, left), vf_load_n(b + i, left)),
                        left));
}

#if VF_HAS_F16

static void vec_from_f16(const uint16_t *x, float *y, size_t n)
{
    uint16_t last[VF_LANES] = {0};
    MAP_LOOP(n, vf_store(y + i, vf_load_f16(x + i)), memcpy(last, x + i, left * sizeof *x);
             vf_store_n(y + i, vf_load_f16(last), left));
}

static void vec_to_f16(const float *x, uint16_t *y, size_t n)
{
    uint16_t last[VF_LANES];
    MAP_LOOP(n, vf_store_f16(y + i, vf_load(x + i)), vf_store_f16(last, vf_load_n(x + i, left));
             memcpy(y + i, last, left * sizeof *y));
}

#else

static float f16_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31, m = h & 0x3ffu;
    uint32_t bits;
    float f;
    if (e == 0) { /* zero and subnormal: m / 2^24, exact */
        f = (float)m * 5.9604644775390625e-8f;
        return sign ? -f : f;
    }
    bits = sign | (e == 31 ? 0x7f800000u | (m ? 0x400000u : 0) : (e + 112) << 23) | m << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t float_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t u = bits & 0x7fffffffu;
    if (u > 0x7f800000u)
        return sign | 0x7e00u | (uint16_t)(u >> 13 & 0x3ffu);
    if (u >= 0x477ff000u) /* 65520 rounds to infinity */
        return sign | 0x7c00u;
    if (u < 0x38800000u) { /* subnormal: adding 1/2 rounds to multiples of 2^-24 */
        float magnitude;
        uint32_t r;
        memcpy(&magnitude, &u, sizeof magnitude);
        magnitude += 0.5f;
        memcpy(&r, &magnitude, sizeof r);
        return sign | (uint16_t)(r - 0x3f000000u);
    }
    return sign | (uint16_t)((u - 0x38000000u + 0xfffu + (u >> 13 & 1)) >> 13);
}

static void vec_from_f16(const uint16_t *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f16_to_float(x[i]);
}

static void vec_to_f16(const float *x, uint16_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = float_to_f16(x[i]);
}

#endif
