/* The ladder's decisions, on made-up runs: thresholds, budgets, hysteresis, where to begin. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ledge/adaptive.h"

static LedgeAdaptive *new_ladder(uint32_t rungs, const LedgeAdaptiveOptions *o)
{
    LedgeAdaptive *a = NULL;
    assert_int_equal(ledge_adaptive_create(rungs, o, NULL, &a), LEDGE_OK);
    return a;
}

/* One request on models that take `seconds[rung]` and are `sure[rung]`. Gives the rung. */
static uint32_t ask(LedgeAdaptive *a, const double *seconds, const double *sure, double waited,
                    double *took, LedgeAdaptiveStep *why)
{
    uint32_t rung = ledge_adaptive_first(a);
    for (*took = waited;; rung++) {
        *took += seconds[rung];
        *why = ledge_adaptive_step(a, rung, sure[rung], seconds[rung], *took);
        if (*why != LEDGE_ADAPTIVE_CLIMB)
            return rung;
    }
}

static void options_are_checked(void **state)
{
    (void)state;
    LedgeAdaptive *a = NULL;
    LedgeError err = {0};
    assert_int_equal(ledge_adaptive_create(1, NULL, &err, &a), LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge_adaptive_create(9, NULL, &err, &a), LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge_adaptive_create(2, &(LedgeAdaptiveOptions){.threshold = 1.1}, &err, &a),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge_adaptive_create(2, &(LedgeAdaptiveOptions){.budget = -1}, &err, &a),
                     LEDGE_ERROR_ARGUMENT);
    assert_null(a);
    assert_true(err.message[0]);
}

static void unsure_answers_climb_to_the_top(void **state)
{
    (void)state;
    LedgeAdaptive *a = new_ladder(3, NULL);
    const double seconds[] = {0.001, 0.002, 0.004};
    LedgeAdaptiveStep why;
    double took;
    assert_int_equal(ask(a, seconds, (double[]){0.9, 0, 0}, 0, &took, &why), 0);
    assert_int_equal(why, LEDGE_ADAPTIVE_SURE);
    assert_int_equal(ask(a, seconds, (double[]){0.79, 0.8, 0}, 0, &took, &why), 1);
    assert_int_equal(why, LEDGE_ADAPTIVE_SURE);
    assert_int_equal(ask(a, seconds, (double[]){0.1, NAN, 0.1}, 0, &took, &why), 2);
    assert_int_equal(why, LEDGE_ADAPTIVE_TOP);
    ledge_adaptive_free(a);
}

static void confidence_is_that_of_the_least_sure_row(void **state)
{
    (void)state;
    float v[] = {0.7f, 0.2f, 0.1f, 0.5f, 0.4f, 0.1f};
    const LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 2, .dims = {2, 3}, .data = v};
    LedgeAdaptive *top = new_ladder(2, NULL);
    LedgeAdaptive *margin =
        new_ladder(2, &(LedgeAdaptiveOptions){.confidence = LEDGE_CONFIDENCE_MARGIN});
    v[5] += 1 - (v[3] + v[4] + v[5]);
    /* Two rows of three; each sums to 1, so that they are probabilities as they are. */
    assert_true(fabs(ledge_adaptive_confidence(top, &t) - 0.5) < 1e-6);
    assert_true(fabs(ledge_adaptive_confidence(margin, &t) - 0.1) < 1e-6);
    v[4] = NAN;
    assert_true(ledge_adaptive_confidence(top, &t) == 0);
    const LedgeTensor none = {.type = LEDGE_INT64, .rank = 1, .dims = {3}, .data = v};
    assert_true(ledge_adaptive_confidence(top, &none) == 0);
    ledge_adaptive_free(top);
    ledge_adaptive_free(margin);
}

static void a_climb_that_breaks_the_budget_is_not_begun(void **state)
{
    (void)state;
    LedgeAdaptive *a = new_ladder(2, &(LedgeAdaptiveOptions){.budget = 0.010, .down_after = 1000});
    const double seconds[] = {0.001, 0.006}, sure[] = {0.1, 0.9};
    LedgeAdaptiveStep why;
    double took;
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(a, seconds, sure, 0, &took, &why), 1); /* 7 ms of 10 */
    assert_int_equal(ask(a, seconds, sure, 0.005, &took, &why), 0); /* it waited: would be 12 */
    assert_int_equal(why, LEDGE_ADAPTIVE_BUDGET);
    assert_int_equal(ask(a, seconds, sure, 0, &took, &why), 1);
    ledge_adaptive_free(a);
}

/* A machine that is busy for a while: the top closes, does not flutter, and opens again. */
static void a_late_top_closes_and_opens_again_once(void **state)
{
    (void)state;
    LedgeAdaptive *a = new_ladder(2, &(LedgeAdaptiveOptions){.budget = 0.010});
    LedgeAdaptiveStats s;
    LedgeAdaptiveStep why;
    double took;
    const double quiet[] = {0.001, 0.006}, busy[] = {0.003, 0.018}, sure[] = {0.1, 0.9};
    for (int i = 0; i < 100; i++)
        (void)ask(a, quiet, sure, 0, &took, &why);
    ledge_adaptive_stats(a, &s);
    assert_true(s.closed == 0 && s.highest == 1);
    int late = 0;
    for (int i = 0; i < 400; i++) {
        (void)ask(a, busy, sure, 0, &took, &why);
        late += took > 0.010;
    }
    ledge_adaptive_stats(a, &s);
    assert_true(s.closed >= 1 && s.closed <= 3);
    assert_true(late <= 8); /* of 400; without a ladder all are */
    for (int i = 0; i < 2000; i++)
        (void)ask(a, quiet, sure, 0, &took, &why);
    ledge_adaptive_stats(a, &s);
    assert_int_equal(s.highest, 1);
    assert_int_equal(s.closed, s.opened);
    assert_int_equal(ask(a, quiet, sure, 0, &took, &why), 1);
    ledge_adaptive_free(a);
}

static void a_rung_that_is_never_sure_is_left_out(void **state)
{
    (void)state;
    LedgeAdaptive *a = new_ladder(2, NULL);
    LedgeAdaptiveStats s;
    LedgeAdaptiveStep why;
    double took, cost = 0;
    const double seconds[] = {0.004, 0.006};
    for (int i = 0; i < 300; i++)
        (void)ask(a, seconds, (double[]){0.1, 0.9}, 0, &took, &why);
    for (int i = 0; i < 160; i++) {
        (void)ask(a, seconds, (double[]){0.1, 0.9}, 0, &took, &why);
        cost += took / 160;
    }
    ledge_adaptive_stats(a, &s);
    assert_int_equal(s.first, 1);
    assert_true(fabs(cost - (0.006 + 0.004 / 16)) < 1e-6); /* one in 16 still tries */
    for (int i = 0; i < 3000; i++)                         /* inputs got easy */
        (void)ask(a, seconds, (double[]){0.9, 0.9}, 0, &took, &why);
    ledge_adaptive_stats(a, &s);
    assert_int_equal(s.first, 0);
    assert_true(s.rung[0].sure > 0.9 && fabs(s.rung[0].seconds - 0.004) < 1e-9);
    ledge_adaptive_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(unsure_answers_climb_to_the_top),
        cmocka_unit_test(confidence_is_that_of_the_least_sure_row),
        cmocka_unit_test(a_climb_that_breaks_the_budget_is_not_begun),
        cmocka_unit_test(a_late_top_closes_and_opens_again_once),
        cmocka_unit_test(a_rung_that_is_never_sure_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
