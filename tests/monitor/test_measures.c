/* Distances and sketches against SciPy's figures. The vectors were made by scipy 1.x: entropy(a, b)
 * + entropy(b, a) and jensenshannon(base=2) over proportions plus 1e-6, chi2_contingency without
 * correction, chi2.sf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "monitor/measures.h"
#include "monitor/sketch.h"

typedef struct Vector {
    size_t n;
    uint64_t p[20], q[20];
    double psi, js, ks, chi, tail;
} Vector;

static const Vector vectors[] = {
    {7,
     {120, 80, 60, 40, 10, 0, 3},
     {100, 90, 30, 60, 20, 5, 0},
     0.3775063604511838,
     0.19020636951937395,
     0.10935945110773582,
     27.640822419729378,
     0.00010978296566407655},
    {4,
     {1, 0, 0, 1000},
     {500, 200, 300, 1},
     16.208345079543196,
     0.99452127621864417,
     0.99800199800199807,
     1994.0119800359321,
     0},
    {20,
     {472, 312, 342, 448, 289, 387, 416, 112, 27, 150,
      142, 436, 456, 2,   249, 410, 65,  398, 59, 233},
     {40, 15, 17, 13, 35, 12, 49, 22, 23, 25, 29, 27, 25, 49, 40, 39, 35, 31, 17, 49},
     0.93469396300896768,
     0.35010956709230939,
     0.19330824811860892,
     721.74604455165377,
     8.8320090691773027e-141},
    {2, {10, 10}, {10, 10}, 0, 0, 0, 0, 1},
};

static void near(double got, double want)
{
    if (fabs(got - want) > 1e-9 * fmax(1, fabs(want)))
        fail_msg("%.17g, must be %.17g", got, want);
}

static void distances_equal_scipy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const Vector *v = &vectors[i];
        double df;
        near(ledge__measure_psi(v->p, v->q, v->n), v->psi);
        near(ledge__measure_js(v->p, v->q, v->n), v->js);
        near(ledge__measure_ks(v->p, v->q, v->n), v->ks);
        const double chi = ledge__measure_chi_square(v->p, v->q, v->n, &df);
        near(chi, v->chi);
        near(ledge__chi_square_tail(chi, df), v->tail);
    }
}

static void chi_square_tail_equals_scipy(void **state)
{
    (void)state;
    static const struct {
        double x, df, tail;
    } at[] = {{0.5, 1, 0.47950012218695337},
              {3, 2, 0.22313016014842982},
              {20, 19, 0.39457818208600098},
              {50, 19, 0.00013106116479316289},
              {1000, 999, 0.48513148927490146},
              {1200, 999, 1.112935044825893e-05},
              {0.001, 9, 1}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        near(ledge__chi_square_tail(at[i].x, at[i].df), at[i].tail);
    /* Far out the share itself must be right, not only its distance from zero. */
    assert_true(fabs(ledge__chi_square_tail(100, 3) / 1.5541594313896026e-21 - 1) < 1e-9);
    near(ledge__chi_square_tail(0, 3), 1);
    near(ledge__chi_square_tail(NAN, 3), 1);
}

static void empty_histograms_are_no_distance(void **state)
{
    (void)state;
    const uint64_t none[3] = {0}, some[3] = {1, 2, 3};
    double df;
    near(ledge__measure_psi(none, some, 3), 0);
    near(ledge__measure_js(some, none, 3), 0);
    near(ledge__measure_ks(none, none, 3), 0);
    near(ledge__measure_chi_square(none, some, 3, &df), 0);
    near(df, 0);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_right_to_one_percent(void **state)
{
    (void)state;
    enum { N = 20000 };
    static double values[N];
    LedgeSketch all, halves[2];
    ledge__sketch_clear(&all);
    ledge__sketch_clear(&halves[0]);
    ledge__sketch_clear(&halves[1]);
    uint64_t random = 12345;
    for (int i = 0; i < N; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = 1e-6 * exp((double)(random >> 40) / (1 << 24) * 16); /* 1 us to 9 s */
        ledge__sketch_add(&all, values[i]);
        ledge__sketch_add(&halves[i % 2], values[i]);
    }
    ledge__sketch_merge(&halves[0], &halves[1]);
    qsort(values, N, sizeof *values, by_size);
    for (double q = 0; q <= 1; q += 0.05) {
        const double want = values[(int)(q * (N - 1))], got = ledge__sketch_quantile(&all, q);
        assert_true(fabs(got / want - 1) <= LEDGE_SKETCH_ERROR * 1.001);
        near(ledge__sketch_quantile(&halves[0], q), got);
    }
    assert_int_equal(halves[0].count, N);
}

static void sketch_takes_any_number(void **state)
{
    (void)state;
    LedgeSketch s;
    ledge__sketch_clear(&s);
    near(ledge__sketch_quantile(&s, 0.5), 0);
    near(ledge__sketch_mean(&s), 0);
    ledge__sketch_add(&s, NAN);
    assert_int_equal(s.count, 0);
    ledge__sketch_add(&s, -1);
    ledge__sketch_add(&s, 0);
    ledge__sketch_add(&s, INFINITY);
    assert_int_equal(s.count, 3);
    assert_true(ledge__sketch_quantile(&s, 0) <= LEDGE_SKETCH_LOWEST * 1.02);
    assert_true(ledge__sketch_quantile(&s, 1) > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_equal_scipy),
        cmocka_unit_test(chi_square_tail_equals_scipy),
        cmocka_unit_test(empty_histograms_are_no_distance),
        cmocka_unit_test(quantiles_are_right_to_one_percent),
        cmocka_unit_test(sketch_takes_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
