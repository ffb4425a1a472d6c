/* Template of the activations that a clamp cannot express, in place over rows that were just
 * written. The exponential is 2^n times a Taylor polynomial of degree 7 on ±ln2/2 (relative
 * error below 2e-7); erf is Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). */

VF_INLINE vf act_exp(vf x)
{
    x = vf_clamp(x, vf_set(-87.0f), vf_set(88.0f)); /* 2^n stays a normal number */
    const vf n = vf_round(vf_mul(x, vf_set(1.44269504f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), x); /* ln2 in two parts: the first is exact */
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.0f / 5040);
    p = vf_fma(p, r, vf_set(1.0f / 720));
    p = vf_fma(p, r, vf_set(1.0f / 120));
    p = vf_fma(p, r, vf_set(1.0f / 24));
    p = vf_fma(p, r, vf_set(1.0f / 6));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    return vf_scale2(p, n);
}

/* e^x - 1, which near 0 must not be made by subtracting. */
VF_INLINE vf act_expm1(vf x)
{
    const vf one = vf_set(1.0f);
    vf p = vf_set(1.0f / 5040);
    p = vf_fma(p, x, vf_set(1.0f / 720));
    p = vf_fma(p, x, vf_set(1.0f / 120));
    p = vf_fma(p, x, vf_set(1.0f / 24));
    p = vf_fma(p, x, vf_set(1.0f / 6));
    p = vf_fma(p, x, vf_set(0.5f));
    p = vf_fma(vf_mul(p, x), x, x);
    return vf_if_less(vf_abs(x), vf_set(0.35f), p, vf_sub(act_exp(x), one));
}

VF_INLINE vf act_sigmoid(vf x)
{
    const vf one = vf_set(1.0f);
    return vf_div(one, vf_add(one, act_exp(vf_sub(vf_set(0.0f), x))));
}

/* Near 0 the odd Taylor series, since 1 - 2 / (e^2x + 1) cancels there. */
VF_INLINE vf act_tanh(vf x)
{
    const vf one = vf_set(1.0f), s = vf_mul(x, x);
    const vf far = vf_sub(one, vf_div(vf_set(2.0f), vf_add(one, act_exp(vf_add(x, x)))));
    vf p = vf_set(-1382.0f / 155925);
    p = vf_fma(p, s, vf_set(62.0f / 2835));
    p = vf_fma(p, s, vf_set(-17.0f / 315));
    p = vf_fma(p, s, vf_set(2.0f / 15));
    p = vf_fma(p, s, vf_set(-1.0f / 3));
    p = vf_fma(vf_mul(p, s), x, x);
    return vf_if_less(vf_abs(x), vf_set(0.35f), p, far);
}

VF_INLINE vf act_erf(vf x)
{
    const vf one = vf_set(1.0f), a = vf_abs(x);
    const vf u = vf_div(one, vf_fma(vf_set(0.3275911f), a, one));
    vf p = vf_set(1.061405429f);
    p = vf_fma(p, u, vf_set(-1.453152027f));
    p = vf_fma(p, u, vf_set(1.421413741f));
    p = vf_fma(p, u, vf_set(-0.284496736f));
    p = vf_fma(p, u, vf_set(0.254829592f));
    const vf zero = vf_set(0.0f);
    const vf y = vf_sub(one, vf_mul(vf_mul(p, u), act_exp(vf_sub(zero, vf_mul(a, a)))));
    return vf_if_less(x, zero, vf_sub(zero, y), y);
}

VF_INLINE vf act_one(vf x, const LedgeActKind kind, const vf alpha, const vf beta)
{
    const vf zero = vf_set(0.0f), one = vf_set(1.0f), half = vf_set(0.5f);
    switch (kind) {
    case LEDGE_ACT_LEAKYRELU:
        return vf_if_less(x, zero, vf_mul(x, alpha), x);
    case LEDGE_ACT_ELU:
        return vf_if_less(x, zero, vf_mul(alpha, act_expm1(x)), x);
    case LEDGE_ACT_SIGMOID:
        return act_sigmoid(x);
    case LEDGE_ACT_SILU:
        return vf_mul(x, act_sigmoid(x));
    case LEDGE_ACT_TANH:
        return act_tanh(x);
    case LEDGE_ACT_HARDSIGMOID:
        return vf_clamp(vf_fma(alpha, x, beta), zero, one);
    case LEDGE_ACT_HARDSWISH:
        return vf_mul(x, vf_clamp(vf_fma(vf_set(1.0f / 6), x, half), zero, one));
    case LEDGE_ACT_GELU:
        return vf_mul(vf_mul(half, x), vf_add(one, act_erf(vf_mul(x, vf_set(0.70710678f)))));
    case LEDGE_ACT_GELU_TANH: {
        const vf cube = vf_mul(vf_mul(x, x), vf_mul(x, vf_set(0.044715f)));
        const vf u = vf_mul(vf_set(0.79788456f), vf_add(x, cube));
        return vf_mul(vf_mul(half, x), vf_add(one, act_tanh(u)));
    }
    default:
        return x;
    }
}

VF_INLINE void act_rows(float *y, size_t rows, size_t ld, size_t n, const LedgeAct *act,
                        const LedgeActKind kind)
{
    const vf alpha = vf_set(act->alpha), beta = vf_set(act->beta);
    for (; rows > 0; rows--, y += ld) {
        size_t i = 0;
        for (; i + VF_LANES <= n; i += VF_LANES)
            vf_store(y + i, act_one(vf_load(y + i), kind, alpha, beta));
        if (i < n)
            vf_store_n(y + i, act_one(vf_load_n(y + i, n - i), kind, alpha, beta), n - i);
    }
}

void VF_CAT2(ledge__act_f32_, VF_ISA)(float *y, size_t rows, size_t ld, size_t n,
                                      const LedgeAct *act);
void VF_CAT2(ledge__act_f32_, VF_ISA)(float *y, size_t rows, size_t ld, size_t n,
                                      const LedgeAct *act)
{
    switch (act->kind) {
#define ACT_CASE(NAME, name)                                                               \
    case LEDGE_ACT_##NAME:                                                                 \
        act_rows(y, rows, ld, n, act, LEDGE_ACT_##NAME);                                   \
        break;
        LEDGE_ACT_LIST(ACT_CASE)
#undef ACT_CASE
    case LEDGE_ACT_CLAMP:
        break;
    }
}
