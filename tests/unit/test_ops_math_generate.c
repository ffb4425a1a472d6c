/* Operators that make tensors from few numbers or at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "op_case.h"

static OpCase *range(LedgeType type, double start, double limit, double delta)
{
    OpCase *t = op_case("Range", 11);
    op_in(t, type, 0, NULL, NUMBERS(start));
    op_in(t, type, 0, NULL, NUMBERS(limit));
    op_in(t, type, 0, NULL, NUMBERS(delta));
    return t;
}

static void ranges_end_before_their_limit(void **state)
{
    (void)state;
    OpCase *t = range(LEDGE_INT32, 10, 4, -2);
    op_expect(t, 0, LEDGE_INT32, 1, DIMS(3), NUMBERS(10, 8, 6));
    op_done(t);
    t = range(LEDGE_FLOAT, 0, 1, 0.25);
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(0, 0.25, 0.5, 0.75));
    op_done(t);
    t = range(LEDGE_INT64, 5, 5, 1);
    op_expect(t, 0, LEDGE_INT64, 1, DIMS(0), NUMBERS(0));
    op_done(t);
    t = range(LEDGE_INT64, (double)INT64_MIN, 0x1p63,
              0x1p62); /* the way is longer than INT64_MAX */
    op_expect(t, 0, LEDGE_INT64, 1, DIMS(4), NUMBERS(-0x1p63, -0x1p62, 0, 0x1p62));
    op_done(t);
}

static void ranges_without_end_are_refused(void **state)
{
    (void)state;
    op_refused(range(LEDGE_INT64, 0, 5, 0), LEDGE_ERROR_RUNTIME);
    op_refused(range(LEDGE_FLOAT, 0, INFINITY, 1), LEDGE_ERROR_LIMIT);
    op_refused(range(LEDGE_FLOAT, 0, NAN, 1), LEDGE_ERROR_LIMIT);
}

static void constant_of_shape_takes_scalars_and_zeros(void **state)
{
    (void)state;
    OpCase *t = op_case("ConstantOfShape", 9);
    op_in(t, LEDGE_INT64, 1, DIMS(0), NUMBERS(0));
    op_expect(t, 0, LEDGE_FLOAT, 0, NULL, NUMBERS(0));
    op_done(t);
    t = op_case("ConstantOfShape", 9);
    op_in(t, LEDGE_INT64, 1, DIMS(2), NUMBERS(3, 0));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(3, 0), NUMBERS(0));
    op_done(t);
    t = op_case("ConstantOfShape", 9);
    op_in(t, LEDGE_INT64, 1, DIMS(1), NUMBERS(-1));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("ConstantOfShape", 9);
    op_in(t, LEDGE_INT64, 1, DIMS(9), NUMBERS(1, 1, 1, 1, 1, 1, 1, 1, 1));
    op_refused(t, LEDGE_ERROR_LIMIT);
}

static void the_diagonal_may_lie_off_the_matrix(void **state)
{
    (void)state;
    OpCase *t = op_case("EyeLike", 22);
    op_int(t, "k", -1);
    op_int(t, "dtype", LEDGE_DOUBLE);
    op_in(t, LEDGE_INT32, 2, DIMS(2, 3), NUMBERS(0, 0, 0, 0, 0, 0));
    op_expect(t, 0, LEDGE_DOUBLE, 2, DIMS(2, 3), NUMBERS(0, 0, 0, 1, 0, 0));
    op_done(t);
    t = op_case("EyeLike", 22);
    op_int(t, "k", INT64_MAX);
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 2), NUMBERS(9, 9, 9, 9));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 2), NUMBERS(0, 0, 0, 0));
    op_done(t);
}

static void windows_of_one_sample_are_their_peak(void **state)
{
    (void)state;
    static const char *const ops[] = {"HannWindow", "HammingWindow", "BlackmanWindow"};
    for (int i = 0; i < 3; i++) {
        OpCase *t = op_case(ops[i], 17);
        op_int(t, "periodic", 0);
        op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(1));
        op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
        op_done(t);
        t = op_case(ops[i], 17);
        op_in(t, LEDGE_INT64, 0, NULL, NUMBERS(-1));
        op_refused(t, LEDGE_ERROR_SHAPE);
    }
}

static void a_mel_matrix_beyond_the_spectrum_stays_inside(void **state)
{
    (void)state;
    OpCase *t = op_case("MelWeightMatrix", 17);
    op_in(t, LEDGE_INT64, 0, NULL, NUMBERS(4));
    op_in(t, LEDGE_INT64, 0, NULL, NUMBERS(8));
    op_in(t, LEDGE_INT64, 0, NULL, NUMBERS(100));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(0));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(8000)); /* far above 50 Hz */
    const LedgeTensor *y = op_output(t, 0);
    assert_int_equal(y->dims[0], 5);
    assert_int_equal(y->dims[1], 4);
    op_done(t);
}

/* The first numbers of MT19937 for seed 0, as every other program that uses it draws them. */
static void a_seed_gives_the_numbers_of_the_mersenne_twister(void **state)
{
    (void)state;
    OpCase *t = op_case("RandomUniform", 22);
    op_float(t, "seed", 0);
    op_int(t, "dtype", LEDGE_DOUBLE);
    op_ints(t, "shape", 1, DIMS(3));
    op_expect(t, 0, LEDGE_DOUBLE, 1, DIMS(3), NUMBERS(0.5488135039, 0.7151893664, 0.6027633761));
    op_done(t);
    t = op_case("RandomNormal", 22);
    op_float(t, "seed", 0);
    op_float(t, "mean", 10);
    op_float(t, "scale", 2);
    op_ints(t, "shape", 1, DIMS(3));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3),
              NUMBERS(10 + 2 * 1.764052346, 10 + 2 * 0.400157208, 10 + 2 * 0.978737984));
    op_done(t);
}

static void without_a_seed_every_run_draws_anew(void **state)
{
    (void)state;
    float first[4];
    for (int i = 0; i < 2; i++) {
        OpCase *t = op_case("RandomNormal", 22);
        op_random(t);
        op_ints(t, "shape", 1, DIMS(4));
        const LedgeTensor *y = op_output(t, 0);
        if (i == 0)
            memcpy(first, y->data, sizeof first);
        else
            assert_memory_not_equal(first, y->data, sizeof first);
        op_done(t);
    }
}

static void multinomial_draws_what_is_likely(void **state)
{
    (void)state;
    OpCase *t = op_case("Multinomial", 22);
    op_float(t, "seed", 3);
    op_int(t, "sample_size", 5);
    op_int(t, "dtype", LEDGE_INT64);
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 3), NUMBERS(-1000, 1000, -1000, 5, -INFINITY, -INFINITY));
    op_expect(t, 0, LEDGE_INT64, 2, DIMS(2, 5), NUMBERS(1, 1, 1, 1, 1, 0, 0, 0, 0, 0));
    op_done(t);
}

static void dropout_hands_its_input_on_in_inference(void **state)
{
    (void)state;
    OpCase *t = op_case("Dropout", 22);
    op_outputs(t, 2);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(1, 2, 3));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(0.9));
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(1, 2, 3));
    op_expect(t, 1, LEDGE_BOOL, 1, DIMS(3), NUMBERS(1, 1, 1));
    op_done(t);
    t = op_case("Dropout", 22);
    op_int(t, "seed", 1);
    op_in(t, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_in(t, LEDGE_BOOL, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_RUNTIME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_end_before_their_limit),
        cmocka_unit_test(ranges_without_end_are_refused),
        cmocka_unit_test(constant_of_shape_takes_scalars_and_zeros),
        cmocka_unit_test(the_diagonal_may_lie_off_the_matrix),
        cmocka_unit_test(windows_of_one_sample_are_their_peak),
        cmocka_unit_test(a_mel_matrix_beyond_the_spectrum_stays_inside),
        cmocka_unit_test(a_seed_gives_the_numbers_of_the_mersenne_twister),
        cmocka_unit_test(without_a_seed_every_run_draws_anew),
        cmocka_unit_test(multinomial_draws_what_is_likely),
        cmocka_unit_test(dropout_hands_its_input_on_in_inference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
