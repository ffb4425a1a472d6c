/* The seven-product scheme against the product in double, and against its stated error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/strassen_f32.h"

#include "guard_pages.h"

static uint32_t seed = 362436069u;

static Guarded random_floats(size_t n)
{
    Guarded g = guarded_new(n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        ((float *)g.p)[i] = test_uniform(&seed);
    return g;
}

static double reference(const float *a, const float *b, size_t k, size_t n, bool trans, size_t row,
                        size_t col)
{
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += (double)a[row * k + i] * (double)(trans ? b[col * k + i] : b[i * n + col]);
    return sum;
}

/* Normalised mean squared error of act(a b + bias). */
static double run(size_t m, size_t k, size_t n, bool trans, uint32_t cpu, int threads, LedgeAct act,
                  float *keep)
{
    LedgeStrassenPlan p;
    LedgePool *pool = NULL;
    assert_int_equal(ledge__pool_new(NULL, threads, &pool), LEDGE_OK);
    assert_true(ledge__strassen_f32_plan(m, k, n, cpu, threads, &p));
    seed = 362436069u;
    Guarded a = random_floats(m * k), b = random_floats(k * n), bias = random_floats(n);
    Guarded c = guarded_new(m * n * sizeof(float));
    Guarded packed = guarded_new(p.packed_floats * sizeof(float));
    void *scratch = aligned_alloc(64, p.scratch_bytes);
    assert_int_equal(ledge__strassen_f32_pack(&p, b.p, trans ? 1 : n, trans ? k : 1, packed.p),
                     LEDGE_OK);
    ledge__strassen_f32_run(&p, a.p, packed.p, bias.p, c.p, &act, scratch, pool);
    double error = 0, power = 0;
    for (size_t i = 0; i < m * n; i++) {
        double want = reference(a.p, b.p, k, n, trans, i / n, i % n) +
                      (double)((float *)bias.p)[i % n];
        want = act.kind == LEDGE_ACT_SIGMOID ? 1 / (1 + exp(-want))
                                             : fmax((double)act.lo, fmin((double)act.hi, want));
        const double d = (double)((float *)c.p)[i] - want;
        error += d * d;
        power += want * want;
    }
    if (keep)
        memcpy(keep, c.p, m * n * sizeof *keep);
    free(scratch);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&bias);
    guarded_free(&c);
    guarded_free(&packed);
    ledge__pool_free(pool);
    return error / power;
}

static const LedgeAct none = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0};

#define EACH_CPU(cpu)                                                                      \
    for (size_t k_ = 0; ledge__f32_kernels_at(k_); k_++)                                   \
        for (uint32_t cpu = ledge__f32_kernels_at(k_)->cpu, once_ = 1;                     \
             once_ && (cpu & ledge__cpu_flags_uncapped()) == cpu; once_ = 0)

static void product_holds_its_error_bound(void **state)
{
    static const size_t shapes[][3] = {{96, 192, 192}, {128, 256, 224}, {102, 194, 256}};
    const LedgeAct relu = {LEDGE_ACT_CLAMP, 0, INFINITY, 0, 0};
    const LedgeAct sigmoid = {LEDGE_ACT_SIGMOID, -INFINITY, INFINITY, 0, 0};
    (void)state;
    EACH_CPU(cpu)
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const size_t m = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
        assert_true(run(m, k, n, false, cpu, 1, none, NULL) < 1e-12);
        assert_true(run(m, k, n, true, cpu, 1, relu, NULL) < 1e-12);
        assert_true(run(m, k, n, false, cpu, 1, sigmoid, NULL) < 1e-10);
    }
}

static void thread_count_changes_no_bit(void **state)
{
    const size_t m = 128, k = 256, n = 256;
    float *one = malloc(m * n * sizeof *one), *three = malloc(m * n * sizeof *one);
    (void)state;
    run(m, k, n, false, ledge__cpu_flags_uncapped(), 1, none, one);
    run(m, k, n, false, ledge__cpu_flags_uncapped(), 3, none, three);
    assert_memory_equal(one, three, m * n * sizeof *one);
    free(one);
    free(three);
}

static void shapes_that_do_not_halve_are_left_to_others(void **state)
{
    LedgeStrassenPlan p;
    (void)state;
    assert_false(ledge__strassen_f32_plan(129, 256, 256, 0, 1, &p));
    assert_false(ledge__strassen_f32_plan(128, 255, 256, 0, 1, &p));
    assert_false(ledge__strassen_f32_plan(128, 256, 255, 0, 1, &p));
    assert_false(ledge__strassen_f32_plan(8, 256, 256, 0, 1, &p));
    assert_false(ledge__strassen_f32_plan(SIZE_MAX - 1, 256, 256, 0, 1, &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_holds_its_error_bound),
        cmocka_unit_test(thread_count_changes_no_bit),
        cmocka_unit_test(shapes_that_do_not_halve_are_left_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
