/* The maps of one number against the C library in double, over all of float's range: error
 * bounds in units in the last place, exact infinities, NaN and signs, in every instruction
 * set that this CPU has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/vec.h"

#include "guard_pages.h"

static double exact(LedgeMap kind, double x, double a, double b)
{
    switch (kind) {
    case LEDGE_U_COPY:
        return x;
    case LEDGE_U_EXP:
        return exp(x);
    case LEDGE_U_LOG:
        return log(x);
    case LEDGE_U_TANH:
        return tanh(x);
    case LEDGE_U_SIGMOID:
        return 1 / (1 + exp(-x));
    case LEDGE_U_ERF:
        return erf(x);
    case LEDGE_U_GELU:
        return x == -INFINITY ? 0 : x * 0.5 * erfc(-x * 0.70710678118654752440);
    case LEDGE_U_GELU_TANH:
        return x == -INFINITY ? 0
                              : x / (1 + exp(-1.5957691216057307118 * (x + 0.044715 * x * x * x)));
    case LEDGE_U_SILU:
        return x == -INFINITY ? 0 : x / (1 + exp(-x));
    case LEDGE_U_HARD_SWISH:
        return x <= -3 ? 0 : x >= 3 ? x : x * (x / 6 + 0.5);
    case LEDGE_U_HARD_SIGMOID:
        return isnan(x) ? x : fmin(1, fmax(0, a * x + b));
    case LEDGE_U_ELU:
        return x < 0 ? a * expm1(x) : x;
    case LEDGE_U_LEAKY_RELU:
        return x < 0 ? a * x : x;
    case LEDGE_U_RELU:
        return isnan(x) ? x : fmax(0, x);
    case LEDGE_U_CLIP:
        return isnan(x) ? x : fmin(b, fmax(a, x));
    case LEDGE_U_SQRT:
        return sqrt(x);
    case LEDGE_U_RSQRT:
        return 1 / sqrt(x);
    case LEDGE_U_RECIPROCAL:
        return 1 / x;
    case LEDGE_U_ABS:
        return fabs(x);
    case LEDGE_U_NEG:
        return -x;
    case LEDGE_U_FLOOR:
        return floor(x);
    case LEDGE_U_CEIL:
        return ceil(x);
    case LEDGE_U_ROUND:
        return rint(x);
    case LEDGE_U_SOFTPLUS:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case LEDGE_U_MISH:
        return x == -INFINITY ? 0 : x * tanh(x > 30 ? x : log1p(exp(x)));
    case LEDGE_U_LINEAR:
        return a * x + b;
    case LEDGE_U_COUNT:
        break;
    }
    return NAN;
}

/* What one ulp is measured at: the result, or where that vanishes, what vec.def says. */
static double ulp_scale(LedgeMap kind, double y, double x, double a, double b)
{
    double at = fabs(y);
    if (kind == LEDGE_U_GELU || kind == LEDGE_U_GELU_TANH || kind == LEDGE_U_HARD_SWISH)
        at = fmax(at, fabs(x));
    if (kind == LEDGE_U_SILU || kind == LEDGE_U_MISH)
        at = fmax(at, fabs(x) * FLT_MIN);
    if (kind == LEDGE_U_HARD_SIGMOID)
        at = 1;
    if (kind == LEDGE_U_LINEAR)
        at = fmax(fabs(a * x), fabs(b));
    int e;
    frexp(fmax(at, FLT_MIN), &e);
    return ldexp(1.0, e - 24);
}

static const struct {
    const char *name;
    double ulp;
} bounds[] = {
#define VEC_UNARY(NAME, name, ulp) {#name, ulp},
#include "engine/kernels/vec.def"
};

static double error_ulp(LedgeMap kind, float got, double x, double a, double b)
{
    const double want = exact(kind, x, a, b);
    if (isnan(want))
        return isnan(got) ? 0 : INFINITY;
    if (isinf((float)want) && fabs(want) >= FLT_MAX * (1 + 1e-7))
        return got == (float)want ? 0 : INFINITY;
    return fabs((double)got - want) / ulp_scale(kind, want, x, a, b);
}

static double worst_over_range(const LedgeVec *v, LedgeMap kind, float a, float b, float *worst_at)
{
    enum { N = 4096 };
    static float x[N], y[N];
    double worst = 0;
    uint64_t bits = 0;
    while (bits < (1ull << 32)) {
        int n = 0;
        for (; n < N && bits < (1ull << 32); n++, bits += 4051) { /* prime: all mantissas come up */
            const uint32_t u = (uint32_t)bits;
            memcpy(&x[n], &u, sizeof u);
        }
        v->unary(kind, x, y, (size_t)n, a, b);
        for (int i = 0; i < n; i++) {
            const double e = error_ulp(kind, y[i], x[i], a, b);
            if (e > worst) {
                worst = e;
                *worst_at = x[i];
            }
        }
    }
    return worst;
}

#define EACH_TABLE(v)                                                                              \
    for (size_t v##_i = 0; ledge__vec_at(v##_i); v##_i++)                                          \
        for (const LedgeVec *v = ledge__vec_at(v##_i);                                             \
             v && (v->needs & ledge__cpu_flags_uncapped()) == v->needs; v = NULL)

static void maps_hold_their_ulp_bounds(void **state)
{
    int failed = 0;
    (void)state;
    EACH_TABLE(v)
    for (int k = 0; k < LEDGE_U_COUNT; k++) {
        float at = 0;
        const float a = k == LEDGE_U_CLIP ? -1.5f : 0.2f, b = k == LEDGE_U_CLIP ? 6.0f : 0.5f;
        const double worst = worst_over_range(v, (LedgeMap)k, a, b, &at);
        if (worst > bounds[k].ulp + 0.001) {
            print_error("%s %s: %.3f ulp at %.9g, bound %g\n", v->isa, bounds[k].name, worst,
                        (double)at, bounds[k].ulp);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void special_numbers_come_out_as_libm_says(void **state)
{
    static const float x[] = {0.0f,     -0.0f,      INFINITY, -INFINITY, NAN,     FLT_MAX, -FLT_MAX,
                              FLT_MIN,  -FLT_MIN,   1e-45f,   -1e-45f,   88.72f,  88.73f,  -87.33f,
                              -103.97f, -104.0f,    1.0f,     -1.0f,     0.5f,    -0.5f,   1.5f,
                              2.5f,     8388607.5f, -2.5f,    3.925f,    -3.925f, 9.01f,   -9.01f};
    enum { N = sizeof x / sizeof x[0] };
    (void)state;
    EACH_TABLE(v)
    for (int k = 0; k < LEDGE_U_COUNT; k++) {
        float y[N];
        v->unary((LedgeMap)k, x, y, N, 0.25f, 0.5f);
        for (int i = 0; i < N; i++)
            if (error_ulp((LedgeMap)k, y[i], x[i], 0.25f, 0.5f) > bounds[k].ulp)
                fail_msg("%s %s(%g) = %g", v->isa, bounds[k].name, (double)x[i], (double)y[i]);
    }
}

static void signed_zero_survives_odd_functions(void **state)
{
    static const LedgeMap odd[] = {LEDGE_U_TANH,  LEDGE_U_ERF,   LEDGE_U_SQRT, LEDGE_U_CEIL,
                                   LEDGE_U_FLOOR, LEDGE_U_ROUND, LEDGE_U_COPY};
    const float x = -0.0f;
    (void)state;
    EACH_TABLE(v)
    for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++) {
        float y = 1;
        v->unary(odd[k], &x, &y, 1, 0, 0);
        assert_true(y == 0 && signbit(y));
    }
}

/* Sizes up to several vectors, at the end of readable memory, in place too: the same element
 * has the same value wherever it stands. */
static void position_and_tail_do_not_matter(void **state)
{
    float x[70], whole[70];
    uint32_t seed = 7;
    (void)state;
    for (int i = 0; i < 70; i++)
        x[i] = 8.0f * test_uniform(&seed);
    EACH_TABLE(v)
    for (int k = 0; k < LEDGE_U_COUNT; k++) {
        v->unary((LedgeMap)k, x, whole, 70, 0.1f, 0.7f);
        for (size_t n = 0; n <= 2 * v->lanes + 1 && n <= 66; n++)
            for (size_t from = 0; from < 4; from++) {
                Guarded in = guarded_copy(x + from, n * sizeof *x);
                Guarded out = guarded_new(n * sizeof *x);
                v->unary((LedgeMap)k, in.p, out.p, n, 0.1f, 0.7f);
                assert_memory_equal(out.p, whole + from, n * sizeof *x);
                v->unary((LedgeMap)k, in.p, in.p, n, 0.1f, 0.7f);
                assert_memory_equal(in.p, whole + from, n * sizeof *x);
                guarded_free(&in);
                guarded_free(&out);
            }
    }
}

static void half_floats_convert_exactly(void **state)
{
    static uint16_t all[65536], back[65536];
    static float y[65536];
    (void)state;
    for (uint32_t i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    EACH_TABLE(v)
    {
        v->from_f16(all, y, 65536);
        for (uint32_t i = 0; i < 65536; i++) {
            const uint32_t e = i >> 10 & 31, m = i & 1023;
            const double mag = e == 31 ? (m ? NAN : INFINITY)
                               : e     ? ldexp(1024 + m, (int)e - 25)
                                       : ldexp(m, -24);
            if (isnan(mag))
                assert_true(isnan(y[i]));
            else
                assert_true((double)y[i] == (i & 0x8000 ? -mag : mag));
        }
        v->to_f16(y, back, 65536);
        for (uint32_t i = 0; i < 65536; i++)
            if (isnan(y[i]))
                assert_true((back[i] & 0x7c00) == 0x7c00 && (back[i] & 0x3ff));
            else
                assert_int_equal(back[i], i);
    }
}

static void half_floats_round_to_nearest_even(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (uint32_t h = 0; h < 0x7bff; h++) { /* every pair of neighbours and what lies between */
        const uint16_t pair[2] = {(uint16_t)h, (uint16_t)(h + 1)};
        float y[2], x[3];
        uint16_t got[3];
        v->from_f16(pair, y, 2);
        x[1] = 0.5f * (y[0] + y[1]);
        x[0] = nextafterf(x[1], 0.0f);
        x[2] = nextafterf(x[1], INFINITY);
        v->to_f16(x, got, 3);
        assert_int_equal(got[0], h);
        assert_int_equal(got[1], h & 1 ? h + 1 : h);
        assert_int_equal(got[2], h + 1);
    }
    EACH_TABLE(v)
    {
        const float x[3] = {65519.996f, 65520.0f, -1e30f};
        uint16_t got[3];
        v->to_f16(x, got, 3);
        assert_int_equal(got[0], 0x7bff);
        assert_int_equal(got[1], 0x7c00);
        assert_int_equal(got[2], 0xfc00);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_hold_their_ulp_bounds),
        cmocka_unit_test(special_numbers_come_out_as_libm_says),
        cmocka_unit_test(signed_zero_survives_odd_functions),
        cmocka_unit_test(position_and_tail_do_not_matter),
        cmocka_unit_test(half_floats_convert_exactly),
        cmocka_unit_test(half_floats_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
