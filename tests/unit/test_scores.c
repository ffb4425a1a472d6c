/* Scores of classifiers: which tensors are some, their best classes, their probabilities. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/scores.h"

static LedgeTensor row(float *values, int64_t n)
{
    return (LedgeTensor){.type = LEDGE_FLOAT, .rank = 2, .dims = {1, n}, .data = values};
}

static void top_gives_the_best_first_and_ties_by_index(void **state)
{
    (void)state;
    float v[] = {1, 5, 3, 5, -2};
    int64_t best[8];
    LedgeTensor t = row(v, 5);
    assert_int_equal(ledge__scores_top(&t, 0, 3, best), 3);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[1], 3);
    assert_int_equal(best[2], 2);
    assert_int_equal(ledge__scores_top(&t, 0, 8, best), 5);
    assert_int_equal(best[4], 4);
    v[0] = NAN;
    assert_int_equal(ledge__scores_top(&t, 0, 5, best), 5);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[4], 0); /* NaN ranks last */
}

static void probabilities_are_softmax_unless_they_sum_to_one(void **state)
{
    (void)state;
    float logits[] = {1000, 1000, 0}, sums[] = {0.75f, 0.25f, 0};
    int64_t index[] = {0, 2};
    double p[2];
    LedgeTensor t = row(logits, 3);
    ledge__scores_probabilities(&t, 0, index, 2, p);
    assert_true(fabs(p[0] - 0.5) < 1e-12 && p[1] >= 0 && p[1] < 1e-12);
    t = row(sums, 3);
    ledge__scores_probabilities(&t, 0, index, 2, p);
    assert_true(p[0] == 0.75 && p[1] == 0);
}

static void scores_are_one_row_of_floats(void **state)
{
    (void)state;
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 4, .dims = {1, 10, 1, 1}};
    assert_true(ledge__scores_row(&t));
    t.dims[0] = 2;
    assert_false(ledge__scores_row(&t));
    t = (LedgeTensor){.type = LEDGE_INT64, .rank = 2, .dims = {1, 10}};
    assert_false(ledge__scores_row(&t));
    t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 1, .dims = {1}};
    assert_false(ledge__scores_row(&t));
}

static void small_floats_are_widened(void **state)
{
    (void)state;
    uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7c00}, brain[] = {0x3f80, 0xc000};
    LedgeTensor t = {.type = LEDGE_FLOAT16, .rank = 1, .dims = {4}, .data = half};
    assert_true(ledge__tensor_number(&t, 0) == 1 && ledge__tensor_number(&t, 1) == -2);
    assert_true(ledge__tensor_number(&t, 2) == ldexp(1, -24) && isinf(ledge__tensor_number(&t, 3)));
    t = (LedgeTensor){.type = LEDGE_BFLOAT16, .rank = 1, .dims = {2}, .data = brain};
    assert_true(ledge__tensor_number(&t, 0) == 1 && ledge__tensor_number(&t, 1) == -2);
}

static void each_row_has_its_own_best(void **state)
{
    (void)state;
    float v[] = {1, 5, 3, NAN, -1, -2, 0, 0, 8};
    int64_t best[3], rows, classes;
    double p;
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 2, .dims = {3, 3}, .data = v};
    assert_true(ledge__scores_of(&t, &rows, &classes) && rows == 3 && classes == 3);
    assert_false(ledge__scores_row(&t));
    assert_int_equal(ledge__scores_top(&t, 1, 3, best), 3);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[2], 0); /* NaN */
    assert_int_equal(ledge__scores_top(&t, 2, 1, best), 1);
    assert_int_equal(best[0], 2);
    ledge__scores_probabilities(&t, 2, best, 1, &p);
    assert_true(fabs(p - exp(8) / (2 + exp(8))) < 1e-12);
    assert_int_equal(ledge__scores_top(&t, 3, 1, best), 0);
    t.dims[0] = 9;
    t.dims[1] = 1;
    assert_false(ledge__scores_of(&t, &rows, &classes)); /* one class is no choice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_gives_the_best_first_and_ties_by_index),
        cmocka_unit_test(probabilities_are_softmax_unless_they_sum_to_one),
        cmocka_unit_test(scores_are_one_row_of_floats),
        cmocka_unit_test(small_floats_are_widened),
        cmocka_unit_test(each_row_has_its_own_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
