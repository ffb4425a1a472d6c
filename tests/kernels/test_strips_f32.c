/* Products with weights packed in strips: on every instruction set that has them against sums in
 * double precision, with guard pages behind every buffer, for one and several threads, which must
 * agree bit for bit; and packed numbers that are damaged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/kernels/conv_f32.h"
#include "engine/kernels/strips_f32.h"
#include "guard.h"

typedef struct Case {
    size_t rows, k, n;
    unsigned zeros;  /* per cent of the blocks */
    bool residual, columns; /* columns: B lies [n][k] */
    float lo, hi;
} Case;

static const Case cases[] = {
    {1, 64, 16, 50, false, true, -INFINITY, INFINITY},
    {1, 1280, 1000, 45, false, false, -INFINITY, INFINITY},
    {7, 100, 17, 60, true, true, -0.2f, 0.3f},
    {8, 37, 50, 70, false, false, 0, 6},
    {13, 192, 33, 90, true, false, -INFINITY, INFINITY},
    {197, 64, 130, 50, false, true, 0, INFINITY},
    {70, 33, 5, 50, true, true, -INFINITY, INFINITY},
    {300, 48, 96, 0, true, false, -1, 1},
    {9, 40, 48, 100, true, true, -INFINITY, INFINITY},
};

/* Block (k, strip) is cleared; the last strip of all cases but the densest is empty. */
static bool is_cleared(const Case *q, size_t k, size_t strip)
{
    const size_t last = (q->n - 1) / LEDGE_STRIP_COLUMNS;
    if (q->zeros && last && strip == last)
        return true;
    const uint32_t h = ((uint32_t)k * 2654435761u ^ (uint32_t)strip * 2246822519u) * 3266489917u;
    return (h >> 8) % 100 < q->zeros;
}

static float *at(const Case *q, float *w, size_t k, size_t n)
{
    return q->columns ? &w[n * q->k + k] : &w[k * q->n + n];
}

static size_t clear_blocks(const Case *q, float *w)
{
    size_t kept = 0;
    for (size_t s = 0; s * LEDGE_STRIP_COLUMNS < q->n; s++)
        for (size_t k = 0; k < q->k; k++) {
            kept += !is_cleared(q, k, s);
            for (size_t n = s * LEDGE_STRIP_COLUMNS; n < q->n && n < (s + 1) * LEDGE_STRIP_COLUMNS; n++)
                if (is_cleared(q, k, s))
                    *at(q, w, k, n) = n % 2 ? 0.0f : -0.0f;
        }
    return kept;
}

static double *reference(const Case *q, const float *x, float *w, const float *bias, const float *r)
{
    double *y = malloc(sizeof(double) * q->rows * q->n);
    for (size_t i = 0; i < q->rows; i++)
        for (size_t n = 0; n < q->n; n++) {
            double v = (double)bias[n] + (q->residual ? (double)r[i * q->n + n] : 0);
            for (size_t k = 0; k < q->k; k++)
                v += (double)x[i * q->k + k] * (double)*at(q, w, k, n);
            y[i * q->n + n] = v < (double)q->lo ? (double)q->lo : v > (double)q->hi ? (double)q->hi : v;
        }
    return y;
}

static void check_case(const Case *q, uint32_t cpu, LedgePool *pool)
{
    LedgeConvShape s = {.n = 1, .h = q->rows, .w = 1, .c = q->k, .oh = q->rows, .ow = 1, .m = q->n,
                        .ldc = q->n, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1,
                        .group = 1, .strips = true};
    Guarded x = guarded(q->rows * q->k, 1), w = guarded(q->k * q->n, 2), bias = guarded(q->n, 3);
    Guarded r = guarded(q->rows * q->n, 4), y = guarded(q->rows * q->n, 5);
    LedgeConvPlan plan;
    s.kept = clear_blocks(q, w.p);
    assert_true(ledge__conv_f32_plan(&s, cpu, ledge__pool_threads(pool), LEDGE_CONV_POINTWISE, &plan));
    assert_true(plan.p.strips);
    Guarded packed = guarded(plan.packed_floats, 6), padded = guarded(plan.bias_floats, 7);
    Guarded scratch = guarded((plan.scratch_bytes + 63) / 64 * 16, 8);
    const LedgeStripsView v = {w.p, q->n, q->k, q->columns ? q->k : 1, q->columns ? 1 : q->n};
    assert_true(ledge__strips_pack(&plan.p, &v, NULL, packed.p));
    assert_true(ledge__strips_check(&plan.p, packed.p));
    ledge__conv_f32_pack_bias(&plan, bias.p, padded.p);
    const LedgeConvArgs a = {.x = x.p, .packed = packed.p, .bias = padded.p,
                             .r = q->residual ? r.p : NULL, .ldr = q->n, .y = y.p,
                             .act = {LEDGE_ACT_CLAMP, q->lo, q->hi, 0, 0}, .scratch = scratch.p};
    const size_t bytes = sizeof(float) * q->rows * q->n;
    float *once = malloc(bytes);
    double *ref = reference(q, x.p, w.p, bias.p, r.p);
    ledge__conv_f32_run(&plan, &a, NULL);
    memcpy(once, y.p, bytes);
    ledge__conv_f32_run(&plan, &a, pool);
    assert_memory_equal(once, y.p, bytes);
    const double e = nmse(y.p, ref, NULL, q->rows * q->n);
    if (!(e <= 1e-12))
        fail_msg("%s %zux%zu -> %zu: NMSE %g", plan.k->isa, q->rows, q->k, q->n, e);
    free(once), free(ref);
    guarded_free(&x), guarded_free(&w), guarded_free(&bias), guarded_free(&r), guarded_free(&y);
    guarded_free(&packed), guarded_free(&padded), guarded_free(&scratch);
}

static void each_set(LedgePool *pool)
{
    const uint32_t here = ledge__cpu_flags_uncapped();
    for (size_t i = 0; ledge__f32_kernels_at(i); i++) {
        const LedgeF32Kernels *k = ledge__f32_kernels_at(i);
        if ((k->cpu & here) != k->cpu || ledge__f32_kernels(k->cpu) != k)
            continue;
        for (size_t q = 0; q < sizeof(cases) / sizeof(cases[0]); q++)
            check_case(&cases[q], k->cpu, pool);
    }
}

static void strips_equal_the_reference(void **state)
{
    (void)state;
    each_set(NULL);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 4; threads += 2) {
        LedgePool *pool;
        assert_int_equal(ledge__pool_new(NULL, threads, &pool), 0);
        each_set(pool);
        ledge__pool_free(pool);
    }
}

static void strips_pay_from_two_fifths_of_zero_blocks(void **state)
{
    (void)state;
    Case q = {1, 256, 64, 0, false, true, 0, 0};
    float *w = malloc(sizeof(float) * q.k * q.n);
    size_t kept;
    const LedgeStripsView v = {w, q.n, q.k, q.k, 1};
    for (q.zeros = 1; q.zeros <= 100; q.zeros += 9) {
        for (size_t i = 0; i < q.k * q.n; i++)
            w[i] = 1;
        const size_t left = clear_blocks(&q, w), blocks = q.k * q.n / LEDGE_STRIP_COLUMNS;
        const bool pays = left * 5 <= blocks * 3 && left * 32 >= blocks;
        assert_int_equal(ledge__strips_pay(&v, &kept), pays);
        if (pays)
            assert_int_equal(kept, left);
    }
    memset(w, 0, sizeof(float) * q.k * q.n); /* a file may not stand for much more than it holds */
    assert_false(ledge__strips_pay(&v, &kept));
    free(w);
}

static void damaged_strips_are_noticed(void **state)
{
    (void)state;
    const Case *q = &cases[3];
    LedgePanels p;
    Guarded w = guarded(q->k * q->n, 2);
    const size_t kept = clear_blocks(q, w.p), strips = (q->n + 15) / 16;
    const LedgeStripsView v = {w.p, q->n, q->k, 1, q->n};
    assert_false(ledge__strips_init(&p, ledge__f32_kernels(0), q->n, q->k, strips * q->k + 1));
    assert_true(ledge__strips_init(&p, ledge__f32_kernels(0), q->n, q->k, kept));
    Guarded packed = guarded(ledge__strips_floats(&p), 6);
    uint32_t *head = (uint32_t *)(void *)packed.p;
    assert_true(ledge__strips_pack(&p, &v, NULL, packed.p));
    for (size_t i = 0; i < strips + 1 + kept; i++) {
        const uint32_t was = head[i];
        head[i] = i <= strips ? (uint32_t)kept + 1 : (uint32_t)q->k;
        assert_false(ledge__strips_check(&p, packed.p));
        head[i] = UINT32_MAX;
        assert_false(ledge__strips_check(&p, packed.p));
        head[i] = was;
    }
    assert_true(ledge__strips_check(&p, packed.p));
    head[1] = head[2] + 1; /* inside, but falling */
    assert_false(ledge__strips_check(&p, packed.p));
    guarded_free(&packed);
    /* weights of another number of rows than was said */
    for (int more = -1; more <= 1; more += 2) {
        assert_true(ledge__strips_init(&p, ledge__f32_kernels(0), q->n, q->k,
                                       more < 0 ? kept - 1 : kept + 1));
        packed = guarded(ledge__strips_floats(&p), 6);
        assert_false(ledge__strips_pack(&p, &v, NULL, packed.p));
        guarded_free(&packed);
    }
    guarded_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips_equal_the_reference),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(strips_pay_from_two_fifths_of_zero_blocks),
        cmocka_unit_test(damaged_strips_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
