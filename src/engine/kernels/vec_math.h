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

#ifdef VF_LOOKUP_32
/* x Φ(x) = x / 2 + |x| h(|x|), h = Φ - 1/2 by cubics around the multiples of 11/64, from 31 of
 * which on h is 1/2. Half the work of the quotient below. */
static inline vf vf_gelu(vf x)
{
    static const float h[4][32] = {
        {0.000000000e+00f, 6.823204458e-02f, 1.344827414e-01f, 1.969416887e-01f,
         2.541159987e-01f, 3.049330115e-01f, 3.487880528e-01f, 3.855359256e-01f,
         4.154342115e-01f, 4.390532672e-01f, 4.571700394e-01f, 4.706628025e-01f,
         4.804199636e-01f, 4.872708321e-01f, 4.919414222e-01f, 4.950331450e-01f,
         4.970202744e-01f, 4.982603788e-01f, 4.990117848e-01f, 4.994539022e-01f,
         4.997064471e-01f, 4.998465478e-01f, 4.999219775e-01f, 4.999614358e-01f,
         4.999814630e-01f, 4.999913275e-01f, 4.999960661e-01f, 4.999982715e-01f,
         4.999992549e-01f, 4.999997020e-01f, 4.999998808e-01f, 5.000000000e-01f},
        {3.989421725e-01f, 3.930929303e-01f, 3.760547042e-01f, 3.492828608e-01f,
         3.149735332e-01f, 2.757664025e-01f, 2.344116122e-01f, 1.934583187e-01f,
         1.550123096e-01f, 1.205911562e-01f, 9.108255804e-02f, 6.679215282e-02f,
         4.755390435e-02f, 3.287133574e-02f, 2.206068672e-02f, 1.437444612e-02f,
         9.093554690e-03f, 5.585302599e-03f, 3.330658656e-03f, 1.928341691e-03f,
         1.083947602e-03f, 5.915656802e-04f, 3.134498256e-04f, 1.612514025e-04f,
         8.053957572e-05f, 3.905579797e-05f, 1.838789649e-05f, 8.405217159e-06f,
         3.730234539e-06f, 1.607287686e-06f, 6.723902288e-07f, 0.000000000e+00f},
        {0.000000000e+00f, -3.371974081e-02f, -6.451988965e-02f, -8.989811689e-02f,
         -1.081038937e-01f, -1.183285713e-01f, -1.207245067e-01f, -1.162660941e-01f,
         -1.064981669e-01f, -9.323479980e-02f, -7.827177644e-02f, -6.316169351e-02f,
         -4.907773435e-02f, -3.676842526e-02f, -2.658730745e-02f, -1.857113652e-02f,
         -1.253875252e-02f, -8.187599480e-03f, -5.172967445e-03f, -3.163490910e-03f,
         -1.873160247e-03f, -1.074193162e-03f, -5.967467441e-04f, -3.212075098e-04f,
         -1.675505046e-04f, -8.471050387e-05f, -4.151638132e-05f, -1.972626706e-05f,
         -9.087831131e-06f, -4.059826097e-06f, -1.758830308e-06f, 0.000000000e+00f},
        {-6.640905887e-02f, -6.351184845e-02f, -5.521645397e-02f, -4.270485416e-02f,
         -2.767570131e-02f, -1.203265600e-02f, 2.447520150e-03f, 1.438637730e-02f,
         2.296416834e-02f, 2.795189433e-02f, 2.963047288e-02f, 2.863567136e-02f,
         2.577635087e-02f, 2.186863869e-02f, 1.761433668e-02f, 1.353455056e-02f,
         9.954367764e-03f, 7.024881896e-03f, 4.765635356e-03f, 3.112282371e-03f,
         1.958863344e-03f, 1.189301489e-03f, 6.970543764e-04f, 3.946368815e-04f,
         2.159292490e-04f, 1.142353431e-04f, 5.845609849e-05f, 2.894290628e-05f,
         1.386953227e-05f, 6.434248462e-06f, 2.890323003e-06f, 0.000000000e+00f},
    };
    const float magic = 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the nearest integer */
    const vf size = vf_abs(x), a = vf_min(size, vf_set(31 * 0.171875f));
    const vf near = vf_fma(a, vf_set(64.0f / 11.0f), vf_set(magic));
    const vf u = vf_fnma(vf_sub(near, vf_set(magic)), vf_set(0.171875f), a);
    const vi i = vi_of(near);
    vf p = VF_LOOKUP_32(i, h[3]);
    p = vf_fma(p, u, VF_LOOKUP_32(i, h[2]));
    p = vf_fma(p, u, VF_LOOKUP_32(i, h[1]));
    p = vf_fma(p, u, VF_LOOKUP_32(i, h[0]));
    const vf y = vf_fma(size, p, vf_mul(x, vf_set(0.5f)));
    return vf_sel(vf_lt(x, vf_set(-5.55f)), vf_set(-0.0f), y);
}
#else
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

#endif

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
