/* Streaming histograms and the ranges that calibrators pick from them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compress/quantize/observer.h"

enum { N = 20000 };

/* Bell-shaped noise around `mean`, the same at each call. */
static void bell(float *x, size_t n, float mean, float width, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++) {
            seed = seed * 1664525u + 1013904223u;
            sum += (float)(seed >> 8) / 16777216.0f;
        }
        x[i] = mean + (sum - 6) * width;
    }
}

static uint64_t total(const LedgeObserver *o)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < LEDGE_OBSERVER_BINS; i++)
        sum += o->bins[i];
    return sum;
}

static void histogram_does_not_depend_on_the_order(void **state)
{
    static float x[N];
    static LedgeObserver whole, parts, backwards;
    (void)state;
    bell(x, N, 0.3f, 1, 1);
    x[17] = 900; /* widens the bins late or early */
    x[N - 3] = -77;
    ledge__observer_start(&whole, true);
    ledge__observer_start(&parts, true);
    ledge__observer_start(&backwards, true);
    ledge__observer_add(&whole, x, N);
    for (size_t i = 0; i < N; i += 100)
        ledge__observer_add(&parts, x + i, 100);
    for (size_t i = N; i > 0; i -= 500)
        ledge__observer_add(&backwards, x + i - 500, 500);
    assert_int_equal(total(&whole), N);
    assert_memory_equal(&whole, &parts, sizeof whole);
    assert_memory_equal(&whole, &backwards, sizeof whole);
}

static void every_value_lies_in_its_bin(void **state)
{
    static float x[N];
    static LedgeObserver o;
    uint64_t expected[LEDGE_OBSERVER_BINS] = {0};
    (void)state;
    bell(x, N, -2, 3, 2);
    for (size_t i = 0; i < N; i += 3)
        x[i] = 0;
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, N);
    for (size_t i = 0; i < N; i++) {
        const double width = ldexp(1, o.exponent);
        expected[(int64_t)floor((double)x[i] / width) - o.first]++;
    }
    assert_memory_equal(expected, o.bins, sizeof expected);
    assert_int_equal(o.zeros, (N + 2) / 3);
    assert_int_equal(o.count, N);
}

static void bins_hold_the_smallest_and_the_largest_numbers(void **state)
{
    static LedgeObserver o;
    const float x[] = {3e38f, -3e38f, 1e-30f, 0, 1};
    (void)state;
    ledge__observer_start(&o, true);
    for (size_t i = 0; i < 5; i++)
        ledge__observer_add(&o, &x[4 - i], 1);
    assert_int_equal(total(&o), 5);
    assert_float_equal(o.min, -3e38f, 1e30);
    assert_float_equal(o.max, 3e38f, 1e30);
}

static void odd_values_are_counted(void **state)
{
    static LedgeObserver o;
    const float x[] = {1, NAN, INFINITY, -INFINITY};
    (void)state;
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, 4);
    assert_int_equal(o.nan, 1);
    assert_int_equal(o.infinite, 2);
    assert_int_equal(o.count, 0);
}

static void range_of(const LedgeObserver *o, LedgeCalibrator how, float *lo, float *hi)
{
    ledge__observer_range(o, how, 99.0, false, lo, hi);
    assert_true(*lo <= 0 && *hi >= 0);
}

static void every_range_lies_within_what_was_seen(void **state)
{
    static float x[N];
    static LedgeObserver o;
    (void)state;
    bell(x, N, 0.5f, 1, 3);
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, N);
    for (int how = 0; how <= LEDGE_CALIBRATE_MSE; how++) {
        float lo, hi;
        range_of(&o, (LedgeCalibrator)how, &lo, &hi);
        assert_true(lo >= o.min && hi <= o.max);
        assert_true(lo < -1 && hi > 2); /* and keeps the bulk */
    }
}

static void minmax_holds_everything(void **state)
{
    static LedgeObserver o;
    const float x[] = {2, 5, 3};
    float lo, hi;
    (void)state;
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, 3);
    range_of(&o, LEDGE_CALIBRATE_MINMAX, &lo, &hi);
    assert_float_equal(lo, 0, 0); /* a range always holds 0 */
    assert_float_equal(hi, 5, 0);
}

static void percentile_cuts_equal_shares_off_both_ends(void **state)
{
    static float x[N];
    static LedgeObserver o;
    float lo, hi;
    (void)state;
    for (size_t i = 0; i < N; i++)
        x[i] = (float)i / (N / 2) - 1; /* even from -1 to 1 */
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, N);
    range_of(&o, LEDGE_CALIBRATE_PERCENTILE, &lo, &hi);
    assert_float_equal(lo, -0.99, 2e-3);
    assert_float_equal(hi, 0.99, 2e-3);
}

static void a_lone_outlier_does_not_decide(void **state)
{
    static const LedgeCalibrator robust[] = {LEDGE_CALIBRATE_PERCENTILE, LEDGE_CALIBRATE_ENTROPY};
    static float x[N];
    static LedgeObserver o;
    (void)state;
    bell(x, N, 0, 1, 4);
    x[5] = 50;
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, N);
    for (size_t i = 0; i < 2; i++) {
        float lo, hi;
        range_of(&o, robust[i], &lo, &hi);
        assert_true(hi < 25);
        assert_true(hi > 2 && lo < -2);
    }
}

/* Squared error of rounding x to 256 steps of a range. */
static double error_of(const float *x, size_t n, double lo, double hi)
{
    const double step = (hi - lo) / 255, zero = nearbyint(-lo / step);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double q = nearbyint((double)x[i] / step) + zero;
        q = q < 0 ? 0 : q > 255 ? 255 : q;
        sum += ((double)x[i] - (q - zero) * step) * ((double)x[i] - (q - zero) * step);
    }
    return sum;
}

static void mse_has_less_error_than_minmax(void **state)
{
    static float x[N];
    static LedgeObserver o;
    (void)state;
    for (uint32_t seed = 1; seed < 6; seed++) {
        float lo, hi;
        bell(x, N, (float)seed - 3, 1, seed);
        for (size_t i = 0; i < N; i++)
            x[i] = x[i] * x[i] * x[i]; /* long tails */
        ledge__observer_start(&o, true);
        ledge__observer_add(&o, x, N);
        range_of(&o, LEDGE_CALIBRATE_MSE, &lo, &hi);
        assert_true(error_of(x, N, lo, hi) < error_of(x, N, o.min, o.max));
    }
}

static void symmetric_ranges_cover_the_larger_side(void **state)
{
    static float x[N];
    static LedgeObserver o;
    (void)state;
    bell(x, N, -4, 1, 7);
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, N);
    for (int how = 0; how <= LEDGE_CALIBRATE_MSE; how++) {
        float lo, hi;
        ledge__observer_range(&o, (LedgeCalibrator)how, 99.9, true, &lo, &hi);
        assert_true(fmaxf(-lo, hi) > 5);
    }
}

static void nothing_but_zeros_has_no_range(void **state)
{
    static LedgeObserver o;
    const float x[4] = {0};
    (void)state;
    ledge__observer_start(&o, true);
    ledge__observer_add(&o, x, 4);
    for (int how = 0; how <= LEDGE_CALIBRATE_MSE; how++) {
        float lo, hi;
        range_of(&o, (LedgeCalibrator)how, &lo, &hi);
        assert_float_equal(lo, 0, 0);
        assert_float_equal(hi, 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_does_not_depend_on_the_order),
        cmocka_unit_test(every_value_lies_in_its_bin),
        cmocka_unit_test(bins_hold_the_smallest_and_the_largest_numbers),
        cmocka_unit_test(odd_values_are_counted),
        cmocka_unit_test(every_range_lies_within_what_was_seen),
        cmocka_unit_test(minmax_holds_everything),
        cmocka_unit_test(percentile_cuts_equal_shares_off_both_ends),
        cmocka_unit_test(a_lone_outlier_does_not_decide),
        cmocka_unit_test(mse_has_less_error_than_minmax),
        cmocka_unit_test(symmetric_ranges_cover_the_larger_side),
        cmocka_unit_test(nothing_but_zeros_has_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
