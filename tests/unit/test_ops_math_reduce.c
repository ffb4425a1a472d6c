/* Reductions, ArgMax, running sums and Det at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "op_case.h"

#define SIX NUMBERS(1, 2, 3, 4, 5, 6)

static OpCase *reduce(const char *op, LedgeType type, int rank, const int64_t *dims,
                      const double *x, int n_axes, const int64_t *axes)
{
    OpCase *t = op_case(op, 18);
    op_in(t, type, rank, dims, x);
    if (n_axes >= 0)
        op_in_raw(t, LEDGE_INT64, 1, DIMS(n_axes), axes);
    return t;
}

static void any_set_of_axes_may_be_reduced(void **state)
{
    (void)state;
    double x[24];
    for (int i = 0; i < 24; i++)
        x[i] = i;
    /* x[a][b][c] = 12 a + 4 b + c */
    OpCase *t = reduce("ReduceSum", LEDGE_FLOAT, 3, DIMS(2, 3, 4), x, 2, DIMS(0, 2));
    op_expect(t, 0, LEDGE_FLOAT, 3, DIMS(1, 3, 1), NUMBERS(60, 92, 124));
    op_done(t);
    t = reduce("ReduceSum", LEDGE_INT32, 3, DIMS(2, 3, 4), x, 1, DIMS(-2));
    op_int(t, "keepdims", 0);
    op_expect(t, 0, LEDGE_INT32, 2, DIMS(2, 4), NUMBERS(12, 15, 18, 21, 48, 51, 54, 57));
    op_done(t);
    t = reduce("ReduceMax", LEDGE_DOUBLE, 4, DIMS(2, 3, 4, 1), x, 2, DIMS(1, 3));
    op_expect(t, 0, LEDGE_DOUBLE, 4, DIMS(2, 1, 4, 1), NUMBERS(8, 9, 10, 11, 20, 21, 22, 23));
    op_done(t);
    t = reduce("ReduceMean", LEDGE_FLOAT16, 3, DIMS(2, 3, 4), x, -1, NULL);
    op_int(t, "keepdims", 0);
    op_expect(t, 0, LEDGE_FLOAT16, 0, NULL, NUMBERS(11.5));
    op_done(t);
}

static void axes_were_an_attribute_once(void **state)
{
    (void)state;
    OpCase *t = op_case("ReduceProd", 13);
    op_ints(t, "axes", 1, DIMS(-1));
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 3), SIX);
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 1), NUMBERS(6, 120));
    op_done(t);
}

static void nothing_to_reduce_gives_the_neutral_element(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        LedgeType type;
        double want;
    } all[] = {{"ReduceSum", LEDGE_FLOAT, 0},          {"ReduceProd", LEDGE_INT32, 1},
               {"ReduceMax", LEDGE_FLOAT, -INFINITY},  {"ReduceMin", LEDGE_FLOAT16, INFINITY},
               {"ReduceMax", LEDGE_INT8, -128},        {"ReduceMin", LEDGE_UINT8, 255},
               {"ReduceLogSum", LEDGE_FLOAT, -INFINITY}, {"ReduceL2", LEDGE_DOUBLE, 0},
               {"ReduceLogSumExp", LEDGE_FLOAT, -INFINITY}, {"ReduceMean", LEDGE_FLOAT, NAN},
               {"ReduceMean", LEDGE_INT32, 0}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        OpCase *t = reduce(all[i].op, all[i].type, 2, DIMS(2, 0), NUMBERS(0), 1, DIMS(1));
        op_expect(t, 0, all[i].type, 2, DIMS(2, 1), NUMBERS(all[i].want, all[i].want));
        op_done(t);
        t = reduce(all[i].op, all[i].type, 2, DIMS(0, 2), NUMBERS(0), 1, DIMS(0));
        op_int(t, "keepdims", 0);
        op_expect(t, 0, all[i].type, 1, DIMS(2), NUMBERS(all[i].want, all[i].want));
        op_done(t);
    }
}

static void empty_axes_mean_all_or_none(void **state)
{
    (void)state;
    OpCase *t = reduce("ReduceSumSquare", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 0, NULL);
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(1, 1), NUMBERS(91));
    op_done(t);
    t = reduce("ReduceSumSquare", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 0, NULL);
    op_int(t, "noop_with_empty_axes", 1);
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 3), NUMBERS(1, 4, 9, 16, 25, 36));
    op_done(t);
    t = reduce("ReduceSum", LEDGE_FLOAT, 0, NULL, NUMBERS(7), -1, NULL);
    op_expect(t, 0, LEDGE_FLOAT, 0, NULL, NUMBERS(7));
    op_done(t);
}

static void nan_wins_in_reduce_max(void **state)
{
    (void)state;
    double x[40];
    for (int i = 0; i < 40; i++)
        x[i] = i == 13 ? NAN : i;
    OpCase *t = reduce("ReduceMax", LEDGE_FLOAT, 2, DIMS(2, 20), x, 1, DIMS(1));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 1), NUMBERS(NAN, 39));
    op_done(t);
    t = reduce("ReduceMin", LEDGE_FLOAT, 2, DIMS(20, 2), x, 1, DIMS(0));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(1, 2), NUMBERS(0, NAN));
    op_done(t);
}

static void log_sum_exp_does_not_overflow(void **state)
{
    (void)state;
    OpCase *t = reduce("ReduceLogSumExp", LEDGE_FLOAT, 2, DIMS(3, 2),
                       NUMBERS(1000, 1000, -INFINITY, -INFINITY, INFINITY, 0), 1, DIMS(1));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(3, 1), NUMBERS(1000.6931471805599, -INFINITY, INFINITY));
    op_done(t);
}

static void sums_of_integers_wrap_and_are_exact(void **state)
{
    (void)state;
    const int64_t x[] = {INT64_MAX, 1, 9007199254740993, 0};
    OpCase *t = op_case("ReduceSum", 13);
    op_in_raw(t, LEDGE_INT64, 2, DIMS(2, 2), x);
    op_in_raw(t, LEDGE_INT64, 1, DIMS(1), DIMS(1));
    op_expect_raw(t, 0, LEDGE_INT64, 2, DIMS(2, 1), (const int64_t[]){INT64_MIN, 9007199254740993});
    op_done(t);
    t = reduce("ReduceL1", LEDGE_INT32, 1, DIMS(3), NUMBERS(-3, 4, -5), 1, DIMS(0));
    op_expect(t, 0, LEDGE_INT32, 1, DIMS(1), NUMBERS(12));
    op_done(t);
}

/* 16 Mi is where adding 1 to a float is lost; a long mean must not notice. */
static void long_sums_keep_their_precision(void **state)
{
    (void)state;
    enum { N = 100003 };
    static double x[N];
    for (int i = 0; i < N; i++)
        x[i] = i ? 1 : 16777216;
    for (int threads = 1; threads < 3; threads++) {
        OpCase *t = reduce("ReduceSum", LEDGE_FLOAT, 1, DIMS(N), x, 1, DIMS(0));
        op_threads(t, threads);
        op_expect_raw(t, 0, LEDGE_FLOAT, 1, DIMS(1), (const float[]){16777216 + N - 1});
        op_done(t);
        t = reduce("ReduceSum", LEDGE_FLOAT, 2, DIMS(N, 1), x, 1, DIMS(1));
        op_threads(t, threads);
        op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(N, 1), x);
        op_done(t);
    }
}

static void bad_axes_are_refused(void **state)
{
    (void)state;
    op_refused(reduce("ReduceSum", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 1, DIMS(2)), LEDGE_ERROR_SHAPE);
    op_refused(reduce("ReduceSum", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 1, DIMS(-3)),
               LEDGE_ERROR_SHAPE);
    op_refused(reduce("ReduceSum", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 2, DIMS(1, -1)),
               LEDGE_ERROR_SHAPE);
    op_refused(
        reduce("ReduceSum", LEDGE_FLOAT, 2, DIMS(2, 3), SIX, 9, DIMS(0, 0, 0, 0, 0, 0, 0, 0, 0)),
        LEDGE_ERROR_LIMIT);
}

static void expect_arg(const char *op, LedgeType type, int64_t axis, bool last, int keep,
                       const double *x, int rank, const int64_t *dims, const double *want)
{
    OpCase *t = op_case(op, 13);
    op_int(t, "axis", axis);
    op_int(t, "keepdims", keep);
    op_int(t, "select_last_index", last);
    op_in(t, type, 2, DIMS(2, 3), x);
    op_expect(t, 0, LEDGE_INT64, rank, dims, want);
    op_done(t);
}

static void arg_max_picks_the_first_or_the_last_of_equals(void **state)
{
    (void)state;
    const double x[] = {5, 1, 5, 2, 2, 2};
    static const LedgeType types[] = {LEDGE_FLOAT, LEDGE_INT8, LEDGE_UINT64, LEDGE_BFLOAT16};
    for (int i = 0; i < 4; i++) {
        expect_arg("ArgMax", types[i], 1, false, 1, x, 2, DIMS(2, 1), NUMBERS(0, 0));
        expect_arg("ArgMax", types[i], -1, true, 0, x, 1, DIMS(2), NUMBERS(2, 2));
        expect_arg("ArgMin", types[i], 0, false, 0, x, 1, DIMS(3), NUMBERS(1, 0, 1));
    }
    expect_arg("ArgMin", LEDGE_UINT64, 1, false, 0, NUMBERS(18446744073709549568.0, 3, 4, 1, 1, 0),
               1, DIMS(2), NUMBERS(1, 2));
}

static void arg_max_counts_nan_as_largest(void **state)
{
    (void)state;
    const double x[] = {1, NAN, 3, NAN, 9, NAN};
    expect_arg("ArgMax", LEDGE_FLOAT, 1, false, 0, x, 1, DIMS(2), NUMBERS(1, 0));
    expect_arg("ArgMin", LEDGE_FLOAT, 1, true, 0, x, 1, DIMS(2), NUMBERS(1, 2));
}

static void arg_max_of_nothing_is_refused(void **state)
{
    (void)state;
    OpCase *t = op_case("ArgMax", 13);
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 0), NUMBERS(0));
    op_int(t, "axis", 1);
    op_refused(t, LEDGE_ERROR_SHAPE);
}

static void running_sums_go_both_ways(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        static const double want[4][6] = {{1, 2, 3, 5, 7, 9},
                                          {0, 0, 0, 1, 2, 3},
                                          {5, 7, 9, 4, 5, 6},
                                          {4, 5, 6, 0, 0, 0}};
        OpCase *t = op_case("CumSum", 14);
        op_int(t, "exclusive", way & 1);
        op_int(t, "reverse", way >> 1);
        op_in(t, LEDGE_FLOAT, 2, DIMS(2, 3), SIX);
        op_in(t, LEDGE_INT64, 0, NULL, NUMBERS(-2));
        op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 3), want[way]);
        op_done(t);
    }
    OpCase *t = op_case("CumProd", 26);
    op_int(t, "exclusive", 1);
    op_in(t, LEDGE_INT32, 1, DIMS(3), NUMBERS(65536, 65536, 2));
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(0));
    op_expect(t, 0, LEDGE_INT32, 1, DIMS(3), NUMBERS(1, 65536, 0));
    op_done(t);
    t = op_case("CumSum", 14);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(1, 2, 3));
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_SHAPE);
}

static void determinants_pivot(void **state)
{
    (void)state;
    OpCase *t = op_case("Det", 22);
    op_in(t, LEDGE_FLOAT, 3, DIMS(3, 2, 2), NUMBERS(0, 1, 1, 0, 1, 2, 2, 4, 3, 1, 2, 5));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(-1, 0, 13));
    op_done(t);
    t = op_case("Det", 22);
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 3), SIX);
    op_refused(t, LEDGE_ERROR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_set_of_axes_may_be_reduced),
        cmocka_unit_test(axes_were_an_attribute_once),
        cmocka_unit_test(nothing_to_reduce_gives_the_neutral_element),
        cmocka_unit_test(empty_axes_mean_all_or_none),
        cmocka_unit_test(nan_wins_in_reduce_max),
        cmocka_unit_test(log_sum_exp_does_not_overflow),
        cmocka_unit_test(sums_of_integers_wrap_and_are_exact),
        cmocka_unit_test(long_sums_keep_their_precision),
        cmocka_unit_test(bad_axes_are_refused),
        cmocka_unit_test(arg_max_picks_the_first_or_the_last_of_equals),
        cmocka_unit_test(arg_max_counts_nan_as_largest),
        cmocka_unit_test(arg_max_of_nothing_is_refused),
        cmocka_unit_test(running_sums_go_both_ways),
        cmocka_unit_test(determinants_pivot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
