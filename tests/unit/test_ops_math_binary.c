/* Element-wise operators at their edges: broadcasting, NaN, integers that overflow or are
 * divided by zero, empty tensors, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "op_case.h"

/* op(a, b) of two vectors of n elements. */
static void expect_pairs(const char *op, int opset, LedgeType type, int64_t n, const double *a,
                         const double *b, LedgeType result, const double *want)
{
    OpCase *t = op_case(op, opset);
    op_in(t, type, 1, DIMS(n), a);
    op_in(t, type, 1, DIMS(n), b);
    op_expect(t, 0, result, 1, DIMS(n), want);
    op_done(t);
}

static void both_sides_broadcast(void **state)
{
    (void)state;
    OpCase *t = op_case("Sub", 14);
    op_in(t, LEDGE_FLOAT, 3, DIMS(2, 1, 2), NUMBERS(10, 20, 30, 40));
    op_in(t, LEDGE_FLOAT, 2, DIMS(3, 1), NUMBERS(1, 2, 3));
    op_expect(t, 0, LEDGE_FLOAT, 3, DIMS(2, 3, 2),
              NUMBERS(9, 19, 8, 18, 7, 17, 29, 39, 28, 38, 27, 37));
    op_done(t);
}

static void scalars_broadcast_to_scalars_and_tensors(void **state)
{
    (void)state;
    OpCase *t = op_case("Mul", 14);
    op_in(t, LEDGE_FLOAT16, 0, NULL, NUMBERS(3));
    op_in(t, LEDGE_FLOAT16, 0, NULL, NUMBERS(-0.5));
    op_expect(t, 0, LEDGE_FLOAT16, 0, NULL, NUMBERS(-1.5));
    op_done(t);
    t = op_case("Div", 14);
    op_in(t, LEDGE_DOUBLE, 0, NULL, NUMBERS(1));
    op_in(t, LEDGE_DOUBLE, 1, DIMS(3), NUMBERS(2, 0, -4));
    op_expect(t, 0, LEDGE_DOUBLE, 1, DIMS(3), NUMBERS(0.5, INFINITY, -0.25));
    op_done(t);
}

static void empty_tensors_give_empty_tensors(void **state)
{
    (void)state;
    OpCase *t = op_case("Add", 14);
    op_in(t, LEDGE_FLOAT, 2, DIMS(0, 3), NUMBERS(0));
    op_in(t, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(0, 3), NUMBERS(0));
    op_done(t);
    t = op_case("Relu", 14);
    op_in(t, LEDGE_FLOAT, 1, DIMS(0), NUMBERS(0));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(0), NUMBERS(0));
    op_done(t);
}

static void eight_dimensions_are_walked(void **state)
{
    (void)state;
    OpCase *t = op_case("Add", 14);
    op_in(t, LEDGE_INT32, 8, DIMS(2, 1, 2, 1, 1, 1, 1, 1), NUMBERS(0, 1, 2, 3));
    op_in(t, LEDGE_INT32, 8, DIMS(1, 2, 1, 1, 1, 1, 1, 2), NUMBERS(0, 10, 20, 30));
    op_expect(t, 0, LEDGE_INT32, 8, DIMS(2, 2, 2, 1, 1, 1, 1, 2),
              NUMBERS(0, 10, 1, 11, 20, 30, 21, 31, 2, 12, 3, 13, 22, 32, 23, 33));
    op_done(t);
}

static void integer_division_never_traps(void **state)
{
    (void)state;
    static const struct {
        LedgeType type;
        double lowest;
    } types[] = {{LEDGE_INT8, INT8_MIN}, {LEDGE_INT16, INT16_MIN}, {LEDGE_INT32, INT32_MIN},
                 {LEDGE_INT64, (double)INT64_MIN}};
    for (size_t i = 0; i < 4; i++) {
        double low = types[i].lowest;
        expect_pairs("Div", 14, types[i].type, 4, NUMBERS(7, low, -7, 0), NUMBERS(0, -1, 2, 0),
                     types[i].type, NUMBERS(0, low, -3, 0));
        expect_pairs("Mod", 13, types[i].type, 4, NUMBERS(7, low, -7, 7), NUMBERS(0, -1, 2, -4),
                     types[i].type, NUMBERS(0, 0, 1, -1));
    }
    expect_pairs("Div", 14, LEDGE_UINT64, 2, NUMBERS(7, 7), NUMBERS(0, 2), LEDGE_UINT64,
                 NUMBERS(0, 3));
    expect_pairs("Mod", 13, LEDGE_UINT32, 2, NUMBERS(7, 4294967295.0), NUMBERS(0, 10), LEDGE_UINT32,
                 NUMBERS(0, 5));
}

static void fmod_takes_the_sign_of_the_dividend(void **state)
{
    (void)state;
    OpCase *t = op_case("Mod", 13);
    op_int(t, "fmod", 1);
    op_in(t, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(-7.5, 7.5, 1, INFINITY));
    op_in(t, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(2, -2, 0, 2));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(-1.5, 1.5, NAN, NAN));
    op_done(t);
    t = op_case("Mod", 13);
    op_int(t, "fmod", 1);
    op_in(t, LEDGE_INT8, 1, DIMS(3), NUMBERS(-7, 7, -128));
    op_in(t, LEDGE_INT8, 1, DIMS(3), NUMBERS(2, -4, -1));
    op_expect(t, 0, LEDGE_INT8, 1, DIMS(3), NUMBERS(-1, 3, 0));
    op_done(t);
}

static void integers_wrap(void **state)
{
    (void)state;
    expect_pairs("Add", 14, LEDGE_UINT8, 2, NUMBERS(200, 255), NUMBERS(100, 1), LEDGE_UINT8,
                 NUMBERS(44, 0));
    expect_pairs("Mul", 14, LEDGE_INT8, 2, NUMBERS(100, -128), NUMBERS(3, -1), LEDGE_INT8,
                 NUMBERS(44, -128));
    expect_pairs("Sub", 14, LEDGE_INT32, 1, NUMBERS(INT32_MIN), NUMBERS(1), LEDGE_INT32,
                 NUMBERS(INT32_MAX));
    expect_pairs("Add", 14, LEDGE_INT64, 1, NUMBERS((double)INT64_MIN), NUMBERS((double)INT64_MIN),
                 LEDGE_INT64, NUMBERS(0));
}

static void shifts_by_the_width_or_more_give_zero(void **state)
{
    (void)state;
    static const LedgeType types[] = {LEDGE_UINT8, LEDGE_UINT16, LEDGE_UINT32, LEDGE_UINT64};
    for (int i = 0; i < 4; i++)
        for (int left = 0; left < 2; left++) {
            double width = ledge_type_bits(types[i]);
            OpCase *t = op_case("BitShift", 11);
            op_text(t, "direction", left ? "LEFT" : "RIGHT");
            op_in(t, types[i], 1, DIMS(4), NUMBERS(3, 3, 3, 4));
            op_in(t, types[i], 1, DIMS(4), NUMBERS(width, 200, 0, 1));
            op_expect(t, 0, types[i], 1, DIMS(4), NUMBERS(0, 0, 3, left ? 8 : 2));
            op_done(t);
        }
    OpCase *t = op_case("BitShift", 11);
    op_text(t, "direction", "UP");
    op_in(t, LEDGE_UINT8, 0, NULL, NUMBERS(1));
    op_in(t, LEDGE_UINT8, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_FORMAT);
}

static void powers_of_integers_are_exact(void **state)
{
    (void)state;
    expect_pairs("Pow", 15, LEDGE_INT64, 6, NUMBERS(3, -2, 0, -1, 7, 2),
                 NUMBERS(4, 3, 0, -3, -1, 64), LEDGE_INT64, NUMBERS(81, -8, 1, -1, 0, 0));
    OpCase *t = op_case("Pow", 15);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(2, 9, -2));
    op_in(t, LEDGE_INT32, 1, DIMS(3), NUMBERS(-1, 2, 3));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(0.5, 81, -8));
    op_done(t);
    t = op_case("Pow", 15);
    op_in(t, LEDGE_INT32, 1, DIMS(2), NUMBERS(4, -1));
    op_in(t, LEDGE_DOUBLE, 1, DIMS(1), NUMBERS(0.5));
    op_expect(t, 0, LEDGE_INT32, 1, DIMS(2), NUMBERS(2, 0)); /* NaN has no integer: 0 */
    op_done(t);
}

static void nan_wins_in_max_and_min(void **state)
{
    (void)state;
    static const char *const ops[] = {"Max", "Min"};
    static const LedgeType types[] = {LEDGE_FLOAT, LEDGE_DOUBLE, LEDGE_FLOAT16};
    for (int o = 0; o < 2; o++)
        for (int i = 0; i < 3; i++) {
            OpCase *t = op_case(ops[o], 13);
            op_in(t, types[i], 1, DIMS(3), NUMBERS(NAN, 1, 1));
            op_in(t, types[i], 1, DIMS(3), NUMBERS(2, NAN, 2));
            op_in(t, types[i], 0, NULL, NUMBERS(o ? 3 : 0));
            op_expect(t, 0, types[i], 1, DIMS(3), NUMBERS(NAN, NAN, o ? 1 : 2));
            op_done(t);
        }
}

static void comparisons_with_nan_are_false(void **state)
{
    (void)state;
    static const char *const ops[] = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"};
    static const double equal_sides[] = {0, 1, 0, 1, 1};
    for (int o = 0; o < 5; o++)
        expect_pairs(ops[o], 16, LEDGE_FLOAT, 3, NUMBERS(NAN, 1, 5), NUMBERS(1, NAN, 5), LEDGE_BOOL,
                     NUMBERS(0, 0, equal_sides[o]));
    expect_pairs("Greater", 16, LEDGE_UINT64, 1, NUMBERS(18446744073709549568.0), NUMBERS(1),
                 LEDGE_BOOL, NUMBERS(1));
}

static void sum_and_mean_take_any_number_of_inputs(void **state)
{
    (void)state;
    OpCase *t = op_case("Mean", 13);
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 1), NUMBERS(1, 2));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(3, 6));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(5));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 2), NUMBERS(3, 4, 10.0 / 3, 13.0 / 3));
    op_done(t);
    t = op_case("Sum", 13);
    op_in(t, LEDGE_BFLOAT16, 1, DIMS(1), NUMBERS(5));
    op_expect(t, 0, LEDGE_BFLOAT16, 1, DIMS(1), NUMBERS(5));
    op_done(t);
}

static void where_broadcasts_three_inputs(void **state)
{
    (void)state;
    OpCase *t = op_case("Where", 16);
    op_in(t, LEDGE_BOOL, 2, DIMS(2, 1), NUMBERS(1, 0));
    op_in(t, LEDGE_INT16, 1, DIMS(3), NUMBERS(1, 2, 3));
    op_in(t, LEDGE_INT16, 0, NULL, NUMBERS(-1));
    op_expect(t, 0, LEDGE_INT16, 2, DIMS(2, 3), NUMBERS(1, 2, 3, -1, -1, -1));
    op_done(t);
}

static void clip_keeps_nan_and_prefers_the_upper_bound(void **state)
{
    (void)state;
    OpCase *t = op_case("Clip", 13);
    op_in(t, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(NAN, -9, 2, 9));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(5));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(NAN, 1, 1, 1));
    op_done(t);
    t = op_case("Clip", 13);
    op_in(t, LEDGE_UINT64, 1, DIMS(2), NUMBERS(9223372036854775808.0, 3));
    op_in(t, LEDGE_UINT64, 0, NULL, NUMBERS(4));
    op_expect(t, 0, LEDGE_UINT64, 1, DIMS(2), NUMBERS(9223372036854775808.0, 4));
    op_done(t);
    t = op_case("Clip", 13);
    op_in(t, LEDGE_INT8, 1, DIMS(2), NUMBERS(-100, 100));
    op_omit(t);
    op_in(t, LEDGE_INT8, 0, NULL, NUMBERS(7));
    op_expect(t, 0, LEDGE_INT8, 1, DIMS(2), NUMBERS(-100, 7));
    op_done(t);
}

static void clip_6_takes_its_bounds_from_attributes(void **state)
{
    (void)state;
    OpCase *t = op_case("Clip", 7);
    op_float(t, "max", 6);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(-INFINITY, 5, 7));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(-INFINITY, 5, 6));
    op_done(t);
}

static void logic_takes_any_nonzero_byte_as_true(void **state)
{
    (void)state;
    const uint8_t a[] = {2, 0, 4, 0}, b[] = {1, 0, 0, 8}, both[] = {1, 0, 0, 0};
    OpCase *t = op_case("And", 7);
    op_in_raw(t, LEDGE_BOOL, 1, DIMS(4), a);
    op_in_raw(t, LEDGE_BOOL, 1, DIMS(4), b);
    op_expect_raw(t, 0, LEDGE_BOOL, 1, DIMS(4), both);
    op_done(t);
}

static void unlike_inputs_are_refused(void **state)
{
    (void)state;
    OpCase *t = op_case("Add", 14);
    op_in(t, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
    op_in(t, LEDGE_INT64, 1, DIMS(1), NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
    t = op_case("Add", 14);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(1, 2, 3));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("PRelu", 16);
    op_in(t, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("And", 7);
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(1));
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
    t = op_case("Sin", 22);
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
    t = op_case("Add", 14);
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_FORMAT);
}

static void activations_hold_at_the_ends(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        double low, high, nan; /* of -1e30, 1e30 and NaN */
    } all[] = {{"Sigmoid", 0, 1, NAN},       {"Tanh", -1, 1, NAN},
               {"Softplus", 0, 1e30, NAN},   {"Softsign", -1, 1, NAN},
               {"Mish", 0, 1e30, NAN},       {"Elu", -1, 1e30, NAN},
               {"HardSigmoid", 0, 1, NAN},   {"HardSwish", 0, 1e30, NAN},
               {"Erf", -1, 1, NAN},          {"Relu", 0, 1e30, NAN},
               {"Sign", -1, 1, NAN},         {"ThresholdedRelu", 0, 1e30, NAN}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        OpCase *t = op_case(all[i].op, 22);
        op_in(t, LEDGE_DOUBLE, 1, DIMS(3), NUMBERS(-1e30, 1e30, NAN));
        op_expect(t, 0, LEDGE_DOUBLE, 1, DIMS(3), NUMBERS(all[i].low, all[i].high, all[i].nan));
        op_done(t);
        t = op_case(all[i].op, 22);
        op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(-1e30, 1e30, NAN));
        op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(all[i].low, all[i].high, all[i].nan));
        op_done(t);
    }
}

static void integers_have_signs_without_overflow(void **state)
{
    (void)state;
    OpCase *t = op_case("Abs", 13);
    op_in(t, LEDGE_INT8, 1, DIMS(3), NUMBERS(-128, -5, 5));
    op_expect(t, 0, LEDGE_INT8, 1, DIMS(3), NUMBERS(-128, 5, 5));
    op_done(t);
    t = op_case("Neg", 13);
    op_in(t, LEDGE_INT64, 1, DIMS(2), NUMBERS((double)INT64_MIN, 3));
    op_expect(t, 0, LEDGE_INT64, 1, DIMS(2), NUMBERS((double)INT64_MIN, -3));
    op_done(t);
    t = op_case("Sign", 13);
    op_in(t, LEDGE_UINT64, 1, DIMS(2), NUMBERS(18446744073709549568.0, 0));
    op_expect(t, 0, LEDGE_UINT64, 1, DIMS(2), NUMBERS(1, 0));
    op_done(t);
}

static void round_goes_to_even(void **state)
{
    (void)state;
    OpCase *t = op_case("Round", 22);
    op_in(t, LEDGE_FLOAT, 1, DIMS(6), NUMBERS(0.5, 1.5, 2.5, -0.5, -1.5, 2.4));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(6), NUMBERS(0, 2, 2, 0, -2, 2));
    op_done(t);
}

/* More than one work item, and an inner dimension that items cut in the middle. */
static void threads_do_not_change_the_answer(void **state)
{
    (void)state;
    enum { ROWS = 7, COLUMNS = 9001 };
    static double big[ROWS * COLUMNS], row[COLUMNS], column[ROWS];
    static double want[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        big[i] = i % 1013 - 500;
        row[i % COLUMNS] = i % COLUMNS % 17;
        column[i / COLUMNS] = i / COLUMNS;
    }
    for (int i = 0; i < ROWS * COLUMNS; i++)
        want[i] = big[i] + row[i % COLUMNS];
    for (int threads = 1; threads < 4; threads++) {
        OpCase *t = op_case("Add", 14);
        op_threads(t, threads);
        op_in(t, LEDGE_FLOAT, 2, DIMS(ROWS, COLUMNS), big);
        op_in(t, LEDGE_FLOAT, 1, DIMS(COLUMNS), row);
        op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(ROWS, COLUMNS), want);
        op_done(t);
    }
    for (int i = 0; i < ROWS * COLUMNS; i++)
        want[i] = big[i] * column[i / COLUMNS];
    OpCase *t = op_case("Mul", 14);
    op_threads(t, 2);
    op_in(t, LEDGE_INT16, 2, DIMS(ROWS, 1), column);
    op_in(t, LEDGE_INT16, 2, DIMS(ROWS, COLUMNS), big);
    op_expect(t, 0, LEDGE_INT16, 2, DIMS(ROWS, COLUMNS), want);
    op_done(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_broadcast),
        cmocka_unit_test(scalars_broadcast_to_scalars_and_tensors),
        cmocka_unit_test(empty_tensors_give_empty_tensors),
        cmocka_unit_test(eight_dimensions_are_walked),
        cmocka_unit_test(integer_division_never_traps),
        cmocka_unit_test(fmod_takes_the_sign_of_the_dividend),
        cmocka_unit_test(integers_wrap),
        cmocka_unit_test(shifts_by_the_width_or_more_give_zero),
        cmocka_unit_test(powers_of_integers_are_exact),
        cmocka_unit_test(nan_wins_in_max_and_min),
        cmocka_unit_test(comparisons_with_nan_are_false),
        cmocka_unit_test(sum_and_mean_take_any_number_of_inputs),
        cmocka_unit_test(where_broadcasts_three_inputs),
        cmocka_unit_test(clip_keeps_nan_and_prefers_the_upper_bound),
        cmocka_unit_test(clip_6_takes_its_bounds_from_attributes),
        cmocka_unit_test(logic_takes_any_nonzero_byte_as_true),
        cmocka_unit_test(unlike_inputs_are_refused),
        cmocka_unit_test(activations_hold_at_the_ends),
        cmocka_unit_test(integers_have_signs_without_overflow),
        cmocka_unit_test(round_goes_to_even),
        cmocka_unit_test(threads_do_not_change_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
