/* Template: exp, log, tanh and their kin for the vector vocabulary of a simd_<isa>.h, which is
 * included first. Polynomials are minimax fits made for this file by Lawson iteration in
 * 40-digit arithmetic; the bounds in vec.def hold without fused multiply-add, too.
 *
 * Everything is branch-free, so that lanes never influence one another. */
#ifndef LEDGE_KERNELS_VEC_MATH_H
#define LEDGE_KERNELS_VEC_MATH_H

#include <math.h>

static inline vf vf_bits(uint32_t b)
{
    return vf_of(vi_set((int32_t)b));
}
static inline vf vf_abs(vf x)
{
    return vf_and(x, vf_bits(0x7fffffffu));
}
static inline vf vf_neg(vf x)
{
    return vf_xor(x, vf_bits(0x80000000u));
}
/* |magnitude| with the sign of x; magnitude must not be negative. */
static inline vf vf_with_sign(vf magnitude, vf x)
{
    return vf_or(magnitude, vf_and(x, vf_bits(0x80000000u)));
}
/* lo … hi; NaN stays NaN because the second operand wins. */
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return vf_min(hi, vf_max(lo, x));
}

/* x = n ln2 + r, |r| ≤ ln2 / 2; ln2 in three parts whose first two have trailing zeros, so that
 * n times them is exact. */
static inline vf vf_reduce_exp(vf x, vf *n)
{
    *n = vf_round(vf_mul(x, vf_set(1.44269504f)));
    vf r = vf_fnma(*n, vf_set(0.693359375f), x);
    return vf_fnma(*n, vf_set(-2.12194440e-4f), r);
}

/* exp(r) - 1 - r = r² P(r), relative error of exp below 4e-9. */
static inline vf vf_exp_tail(vf r)
{
    vf p = vf_set(1.395059051e-03f);
    p = vf_fma(p, r, vf_set(8.368954994e-03f));
    p = vf_fma(p, r, vf_set(4.166620597e-02f));
    p = vf_fma(p, r, vf_set(1.666651815e-01f));
    p = vf_fma(p, r, vf_set(0.5f));
    return vf_mul(vf_mul(r, r), p);
}

static inline vf vf_exp(vf x)
{
    vf n;
    const vf c = vf_clamp(x, vf_set(-105.0f), vf_set(90.0f)); /* beyond: 0 and infinity */
    const vf r = vf_reduce_exp(c, &n);
    return vf_scale2(vf_add(vf_add(vf_exp_tail(r), r), vf_set(1.0f)), n);
}

/* exp(x) - 1 for x ≤ 80, exact to a few ulp near 0, too. */
static inline vf vf_expm1(vf x)
{
    vf n;
    const vf c = vf_max(vf_set(-30.0f), x);
    const vf r = vf_reduce_exp(c, &n);
    const vf two_n = vf_scale2(vf_set(1.0f), n);
    return vf_fma(vf_add(vf_exp_tail(r), r), two_n, vf_sub(two_n, vf_set(1.0f)));
}

/* log(1 + f) for f in sqrt(1/2) - 1 … sqrt(2) - 1, plus e ln2. */
static inline vf vf_log_core(vf f, vf e)
{
    vf p = vf_set(-7.634107023e-02f);
    p = vf_fma(p, f, vf_set(1.276142001e-01f));
    p = vf_fma(p, f, vf_set(-1.316025555e-01f));
    p = vf_fma(p, f, vf_set(1.420178413e-01f));
    p = vf_fma(p, f, vf_set(-1.662335247e-01f));
    p = vf_fma(p, f, vf_set(2.000122517e-01f));
    p = vf_fma(p, f, vf_set(-2.500082254e-01f));
    p = vf_fma(p, f, vf_set(3.333333135e-01f));
    const vf ff = vf_mul(f, f);
    vf t = vf_mul(vf_mul(p, f), ff);
    t = vf_fma(e, vf_set(-2.12194440e-4f), t);
    t = vf_fnma(vf_set(0.5f), ff, t);
    return vf_fma(e, vf_set(0.693359375f), vf_add(f, t));
}

static inline vf vf_log(vf x)
{
    const vm tiny = vf_lt(x, vf_set(1.17549435e-38f));
    const vf s = vf_sel(tiny, vf_mul(x, vf_set(8388608.0f)), x);
    /* e so that s / 2^e lies in sqrt(1/2) … sqrt(2) */
    const vi off = vi_sub(vi_of(s), vi_set(0x3f3504f3));
    const vi exponent = vi_sar(off, 23);
    const vf m = vf_of(vi_sub(vi_of(s), vi_shl(exponent, 23)));
    const vf e = vf_sub(vf_cvt(exponent), vf_sel(tiny, vf_set(23.0f), vf_set(0.0f)));
    vf y = vf_log_core(vf_sub(m, vf_set(1.0f)), e);
    y = vf_sel(vf_lt(vf_set(3.40282347e38f), x), x, y); /* infinity */
    y = vf_sel(vf_eq(x, vf_set(0.0f)), vf_set(-INFINITY), y);
    y = vf_sel(vf_lt(x, vf_set(0.0f)), vf_bits(0x7fc00000u), y);
    return vf_sel(vf_nan(x), x, y);
}

/* log(1 + x) for x in 0 … 1. */
static inline vf vf_log1p_unit(vf x)
{
    const vm big = vf_lt(vf_set(0.41421354f), x); /* halve 1 + x, which is exact there */
    const vf f = vf_sel(big, vf_sub(vf_mul(x, vf_set(0.5f)), vf_set(0.5f)), x);
    return vf_log_core(f, vf_sel(big, vf_set(1.0f), vf_set(0.0f)));
}

/* With t = exp(2|x|) - 1: tanh |x| = t / (t + 2). */
static inline vf vf_tanh(vf x)
{
    const vf t = vf_expm1(vf_min(vf_set(20.0f), vf_mul(vf_abs(x), vf_set(2.0f))));
    return vf_with_sign(vf_div(t, vf_add(t, vf_set(2.0f))), x);
}

/* 1 / (1 + exp(-x)), by e = exp(-|x|) so that nothing overflows and the left tail is exact. */
static inline vf vf_sigmoid(vf x)
{
    const vf e = vf_exp(vf_neg(vf_abs(x)));
    const vf top = vf_sel(vf_lt(x, vf_set(0.0f)), e, vf_set(1.0f));
    return vf_div(top, vf_add(vf_set(1.0f), e));
}

/* erf(x) = x p(x²) / q(x²) up to where it is 1. */
static inline vf vf_erf(vf x)
{
    const vf c = vf_clamp(x, vf_set(-3.925f), vf_set(3.925f)), t = vf_mul(c, c);
    vf p = vf_set(2.045909014e-06f), q = vf_set(3.804490552e-05f);
    p = vf_fma(p, t, vf_set(2.848122967e-04f));
    q = vf_fma(q, t, vf_set(1.163670095e-03f));
    p = vf_fma(p, t, vf_set(3.771907417e-03f));
    q = vf_fma(q, t, vf_set(1.498193387e-02f));
    p = vf_fma(p, t, vf_set(5.276728421e-02f));
    q = vf_fma(q, t, vf_set(1.141771749e-01f));
    p = vf_fma(p, t, vf_set(1.905810833e-01f));
    q = vf_fma(q, t, vf_set(5.022308230e-01f));
    p = vf_fma(p, t, vf_set(1.128379107e+00f));
    q = vf_fma(q, t, vf_set(1.0f));
    return vf_clamp(vf_div(vf_mul(c, p), q), vf_set(-1.0f), vf_set(1.0f));
}

/* x Φ(x) with Φ(x) = 1/2 + x p(x²) / q(x²), the fit of erf in another variable. */
static inline vf vf_gelu(vf x)
{
    const vf c = vf_clamp(x, vf_set(-5.55f), vf_set(5.55f)), t = vf_mul(c, c);
    vf p = vf_set(2.260431486e-08f), q = vf_set(1.188903298e-06f);
    p = vf_fma(p, t, vf_set(6.293521892e-06f));
    q = vf_fma(q, t, vf_set(7.272938092e-05f));
    p = vf_fma(p, t, vf_set(1.666963362e-04f));
    q = vf_fma(q, t, vf_set(1.872741734e-03f));
    p = vf_fma(p, t, vf_set(4.664013162e-03f));
    q = vf_fma(q, t, vf_set(2.854429372e-02f));
    p = vf_fma(p, t, vf_set(3.369029239e-02f));
    q = vf_fma(q, t, vf_set(2.511154115e-01f));
    p = vf_fma(p, t, vf_set(3.989422619e-01f));
    q = vf_fma(q, t, vf_set(1.000000000e+00f));
    const vf phi = vf_add(vf_div(vf_mul(c, p), q), vf_set(0.5f));
    const vf y = vf_mul(x, vf_clamp(phi, vf_set(0.0f), vf_set(1.0f)));
    return vf_sel(vf_lt(x, vf_set(-5.55f)), vf_set(-0.0f), y);
}

/* x / 2 (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2 / π) (x + 0.044715 x³) */
static inline vf vf_gelu_tanh(vf x)
{
    const vf xx = vf_mul(x, x);
    const vf k = vf_fma(xx, vf_set(-2.0f * 0.0356774081f), vf_set(-2.0f * 0.797884561f));
    const vf e = vf_exp(vf_min(vf_set(88.0f), vf_mul(x, k))); /* e stays finite: -inf / e */
    const vf y = vf_div(x, vf_add(e, vf_set(1.0f)));
    return vf_sel(vf_eq(x, vf_set(-INFINITY)), vf_set(-0.0f), y);
}

static inline vf vf_silu(vf x)
{
    const vf y = vf_mul(x, vf_sigmoid(x));
    return vf_sel(vf_eq(x, vf_set(-INFINITY)), vf_set(-0.0f), y);
}

static inline vf vf_hard_swish(vf x)
{
    const vf s = vf_fma(x, vf_set(1.0f / 6.0f), vf_set(0.5f));
    const vf y = vf_mul(x, vf_clamp(s, vf_set(0.0f), vf_set(1.0f)));
    return vf_sel(vf_eq(x, vf_set(-INFINITY)), vf_set(-0.0f), y);
}

static inline vf vf_softplus(vf x)
{
    const vf e = vf_exp(vf_neg(vf_abs(x)));
    return vf_add(vf_max(vf_set(0.0f), x), vf_log1p_unit(e));
}

/* x tanh(softplus(x)) = x w (w + 2) / (w (w + 2) + 2), w = exp(x); 20 on it is x. */
static inline vf vf_mish(vf x)
{
    const vf w = vf_exp(vf_min(vf_set(20.0f), x));
    const vf t = vf_mul(w, vf_add(w, vf_set(2.0f)));
    const vf y = vf_mul(x, vf_div(t, vf_add(t, vf_set(2.0f))));
    return vf_sel(vf_eq(x, vf_set(-INFINITY)), vf_set(-0.0f), y);
}

#endif
