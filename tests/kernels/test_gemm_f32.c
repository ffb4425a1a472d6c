/* Every fp32 micro-kernel of kernels.def that this CPU can run, against a double-precision
 * reference, over all tile sizes, with guard pages behind every buffer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/kernels/kernels.h"
#include "guard.h"

/* Calls `check` with each set that this CPU can run; at least one must be there. */
static void each_set(void (*check)(const LedgeF32Kernels *k))
{
    const uint32_t cpu = ledge__cpu_flags_uncapped();
    int ran = 0;
    for (size_t i = 0; ledge__f32_kernels_at(i); i++)
        if ((ledge__f32_kernels_at(i)->cpu & cpu) == ledge__f32_kernels_at(i)->cpu) {
            check(ledge__f32_kernels_at(i));
            ran++;
        }
    assert_true(ran >= 1);
}

typedef struct TileCase {
    uint32_t mr, nv, n;
    size_t taps, kc;
    int residual, accumulate;
    float lo, hi;
} TileCase;

static double tile_error(const LedgeF32Kernels *k, const TileCase *q)
{
    const size_t columns = q->nv * k->lanes, depth = q->taps * q->kc;
    const size_t ldc = q->n + 3, ldr = q->n + 1;
    Guarded b = guarded(depth * columns, 1), bias = guarded(columns, 2);
    Guarded c = guarded((q->mr - 1) * ldc + q->n, 3), r = guarded((q->mr - 1) * ldr + q->n, 4);
    Guarded a[64];
    const float *rows[64];
    assert_true(q->taps * q->mr <= 64);
    for (size_t i = 0; i < q->taps * q->mr; i++) {
        a[i] = guarded(q->kc, (unsigned)i + 10);
        rows[i] = a[i].p;
    }
    double *ref = malloc(sizeof(double) * q->mr * q->n), error;
    double *size = malloc(sizeof(double) * q->mr * q->n);
    float *got = malloc(sizeof(float) * q->mr * q->n);
    for (uint32_t i = 0; i < q->mr; i++)
        for (uint32_t j = 0; j < q->n; j++) {
            double s = q->accumulate ? c.p[i * ldc + j] : bias.p[j], sum = fabs(s);
            for (size_t t = 0; t < q->taps; t++)
                for (size_t x = 0; x < q->kc; x++) {
                    const double ab =
                        (double)rows[t * q->mr + i][x] * b.p[(t * q->kc + x) * columns + j];
                    s += ab;
                    sum += fabs(ab);
                }
            size[i * q->n + j] = sum;
            s += q->residual ? r.p[i * ldr + j] : 0;
            ref[i * q->n + j] = s < q->lo ? q->lo : s > q->hi ? q->hi : s;
        }
    const LedgeGemmTile t = {.a = rows, .taps = q->taps, .kc = q->kc, .b = b.p,
                             .bias = q->accumulate ? NULL : bias.p, .c = c.p, .ldc = ldc,
                             .r = q->residual ? r.p : NULL, .ldr = ldr, .lo = q->lo, .hi = q->hi,
                             .mr = q->mr, .nv = q->nv, .n = q->n};
    const float between = q->mr > 1 ? c.p[q->n] : 0;
    k->gemm(&t);
    if (q->mr > 1)
        assert_true(c.p[q->n] == between); /* nothing between the rows is written */
    for (uint32_t i = 0; i < q->mr; i++)
        for (uint32_t j = 0; j < q->n; j++)
            got[i * q->n + j] = c.p[i * ldc + j];
    error = nmse(got, ref, size, (size_t)q->mr * q->n);
    for (size_t i = 0; i < q->taps * q->mr; i++)
        guarded_free(&a[i]);
    guarded_free(&b), guarded_free(&bias), guarded_free(&c), guarded_free(&r);
    free(ref), free(size), free(got);
    return error;
}

static void check_tiles(const LedgeF32Kernels *k)
{
    static const size_t depths[][2] = {{1, 0}, {1, 1}, {1, 2}, {1, 17}, {3, 5}, {7, 33}};
    for (uint32_t nv = 1; nv <= k->nv; nv++)
        for (uint32_t mr = 1; mr <= k->mr[nv - 1]; mr++)
            for (uint32_t n = (nv - 1) * k->lanes + 1; n <= nv * k->lanes; n++)
                for (size_t d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
                    TileCase q = {mr, nv, n, depths[d][0], depths[d][1], (int)(n + d) % 2,
                                  (int)(n + mr) % 3 == 0, -INFINITY, INFINITY};
                    if (d % 2)
                        q.lo = -0.25f, q.hi = 0.5f;
                    const double e = tile_error(k, &q);
                    if (!(e <= 1e-14))
                        fail_msg("%s %ux%u n=%u depth %zu x %zu: NMSE %g", k->isa, mr, nv, n,
                                 depths[d][0], depths[d][1], e);
                }
}

static void gemm_tiles_equal_the_reference(void **state)
{
    (void)state;
    each_set(check_tiles);
}

static void check_nan(const LedgeF32Kernels *k)
{
    float a[2] = {NAN, 1}, b[32] = {0}, bias[16] = {0}, c[16] = {0};
    const float *rows[1] = {a};
    b[0] = 1;
    const LedgeGemmTile t = {.a = rows, .taps = 1, .kc = 1, .b = b, .bias = bias, .c = c, .ldc = 1,
                             .lo = 0, .hi = 6, .mr = 1, .nv = 1, .n = 1};
    k->gemm(&t);
    assert_true(isnan(c[0])); /* a clamp hides no NaN */
    a[0] = INFINITY;
    k->gemm(&t);
    assert_true(c[0] == 6);
}

static void clamp_keeps_nan(void **state)
{
    (void)state;
    each_set(check_nan);
}

static double act_reference(LedgeActKind kind, double x, double alpha, double beta)
{
    switch (kind) {
    case LEDGE_ACT_LEAKYRELU: return x < 0 ? alpha * x : x;
    case LEDGE_ACT_ELU: return x < 0 ? alpha * (exp(x) - 1) : x;
    case LEDGE_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case LEDGE_ACT_SILU: return x / (1 + exp(-x));
    case LEDGE_ACT_TANH: return tanh(x);
    case LEDGE_ACT_HARDSIGMOID: return fmin(1, fmax(0, alpha * x + beta));
    case LEDGE_ACT_HARDSWISH: return x * fmin(1, fmax(0, x / 6 + 0.5));
    case LEDGE_ACT_GELU: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case LEDGE_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    default: return x;
    }
}

static void check_acts(const LedgeF32Kernels *k)
{
    static const float spans[] = {1e-3f, 1, 10, 200};
    for (LedgeActKind kind = LEDGE_ACT_LEAKYRELU; kind <= LEDGE_ACT_GELU_TANH; kind++)
        for (size_t s = 0; s < sizeof(spans) / sizeof(spans[0]); s++)
            for (size_t n = 1; n <= 2 * k->lanes + 1; n++) {
                enum { ROWS = 3 };
                const size_t ld = n + 2;
                const LedgeAct act = {kind, -INFINITY, INFINITY, 0.3f, 0.6f};
                Guarded y = guarded((ROWS - 1) * ld + n, (unsigned)n);
                double ref[ROWS * 40];
                float got[ROWS * 40];
                assert_true(n < 40);
                for (size_t i = 0; i < (ROWS - 1) * ld + n; i++)
                    y.p[i] *= spans[s];
                for (size_t i = 0; i < ROWS * n; i++)
                    ref[i] = act_reference(kind, (double)y.p[i / n * ld + i % n], (double)act.alpha,
                                           (double)act.beta);
                ledge__act_f32(k, y.p, ROWS, ld, n, &act);
                for (size_t i = 0; i < ROWS * n; i++)
                    got[i] = y.p[i / n * ld + i % n];
                const double e = nmse(got, ref, NULL, ROWS * n);
                if (!(e <= 1e-11))
                    fail_msg("%s activation %d over %g: NMSE %g", k->isa, (int)kind,
                             (double)spans[s], e);
                guarded_free(&y);
            }
}

static void activations_equal_libm(void **state)
{
    (void)state;
    each_set(check_acts);
}

static void check_interleave(const LedgeF32Kernels *k)
{
    for (size_t c = 1; c <= 4; c++)
        for (size_t n = 0; n <= 70; n++) {
            const size_t ld = n + 3;
            Guarded x = guarded((c - 1) * ld + n, (unsigned)(n + c)), y = guarded(n * c, 9);
            k->interleave(x.p, ld, c, n, y.p);
            for (size_t i = 0; i < n * c; i++)
                assert_true(y.p[i] == x.p[i % c * ld + i / c]);
            guarded_free(&x), guarded_free(&y);
        }
}

static void planes_become_pixels(void **state)
{
    (void)state;
    each_set(check_interleave);
}

static void the_set_obeys_the_flags(void **state)
{
    (void)state;
    assert_string_equal(ledge__f32_kernels(0)->isa, "scalar");
    for (size_t i = 0; ledge__f32_kernels_at(i); i++) {
        const LedgeF32Kernels *k = ledge__f32_kernels_at(i);
        assert_int_equal(ledge__f32_kernels(k->cpu)->cpu, k->cpu);
        for (uint32_t nv = 1; nv <= k->nv; nv++)
            assert_in_range(k->mr[nv - 1], 1, LEDGE_GEMM_MR_MAX);
    }
#if defined(__x86_64__)
    assert_string_equal(ledge__f32_kernels(ledge__cpu_flags_from_name("avx2"))->isa, "avx2");
    assert_string_equal(ledge__f32_kernels(ledge__cpu_flags_from_name("sse41"))->isa, "sse41");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_tiles_equal_the_reference),
        cmocka_unit_test(clamp_keeps_nan),
        cmocka_unit_test(activations_equal_libm),
        cmocka_unit_test(planes_become_pixels),
        cmocka_unit_test(the_set_obeys_the_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
