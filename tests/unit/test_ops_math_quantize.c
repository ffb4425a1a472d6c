/* QuantizeLinear and DequantizeLinear: saturation, NaN, axes, blocks, packed types, and what they
 * refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "op_case.h"

static void values_round_to_even_and_saturate(void **state)
{
    (void)state;
    OpCase *t = op_case("QuantizeLinear", 21);
    op_in(t, LEDGE_FLOAT, 1, DIMS(8), NUMBERS(1, 3, 5, -1, 1e30, -INFINITY, NAN, 254));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(2));
    op_in(t, LEDGE_INT8, 0, NULL, NUMBERS(1));
    op_expect(t, 0, LEDGE_INT8, 1, DIMS(8), NUMBERS(1, 3, 3, 1, 127, -128, 1, 127));
    op_done(t);
    t = op_case("QuantizeLinear", 21);
    op_int(t, "output_dtype", LEDGE_UINT16);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(70000, -1, 65534.5));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_expect(t, 0, LEDGE_UINT16, 1, DIMS(3), NUMBERS(65535, 0, 65534));
    op_done(t);
}

static void each_index_of_the_axis_has_its_scale(void **state)
{
    (void)state;
    static const int64_t last[] = {2, 3};
    OpCase *t = op_case("QuantizeLinear", 13); /* the innermost axis */
    op_int(t, "axis", -1);
    op_in(t, LEDGE_FLOAT, 2, last, NUMBERS(2, 4, 8, 20, 40, 80));
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(1, 2, 4));
    op_in(t, LEDGE_UINT8, 1, DIMS(3), NUMBERS(0, 10, 20));
    op_expect(t, 0, LEDGE_UINT8, 2, last, NUMBERS(2, 12, 22, 20, 30, 40));
    op_done(t);
    t = op_case("DequantizeLinear", 13); /* an axis with elements behind it */
    op_int(t, "axis", 0);
    op_in(t, LEDGE_UINT8, 2, last, NUMBERS(1, 2, 3, 4, 5, 6));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 10));
    op_in(t, LEDGE_UINT8, 1, DIMS(2), NUMBERS(1, 5));
    op_expect(t, 0, LEDGE_FLOAT, 2, last, NUMBERS(0, 1, 2, -10, 0, 10));
    op_done(t);
}

static void the_last_block_may_be_short(void **state)
{
    (void)state;
    OpCase *t = op_case("DequantizeLinear", 21); /* blocks of 2 along 3 rows */
    op_int(t, "axis", 0);
    op_int(t, "block_size", 2);
    op_in(t, LEDGE_INT8, 2, DIMS(3, 2), NUMBERS(1, 2, 3, 4, 5, 6));
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 2), NUMBERS(1, 10, 100, 1000));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(3, 2), NUMBERS(1, 20, 3, 40, 500, 6000));
    op_done(t);
    t = op_case("DequantizeLinear", 21); /* the innermost axis: 5 = 2 + 2 + 1 */
    op_int(t, "axis", 1);
    op_int(t, "block_size", 2);
    op_in(t, LEDGE_INT4, 2, DIMS(2, 5), NUMBERS(1, 2, 3, 4, 5, -1, -2, -3, -4, -5));
    op_in(t, LEDGE_FLOAT, 2, DIMS(2, 3), NUMBERS(1, 2, 3, 4, 5, 6));
    op_in(t, LEDGE_INT4, 2, DIMS(2, 3), NUMBERS(0, 1, 0, 0, 0, 1));
    op_expect(t, 0, LEDGE_FLOAT, 2, DIMS(2, 5), NUMBERS(1, 2, 4, 6, 15, -4, -8, -15, -20, -36));
    op_done(t);
}

static void packed_results_fill_odd_counts(void **state)
{
    (void)state;
    OpCase *t = op_case("QuantizeLinear", 25);
    op_int(t, "output_dtype", LEDGE_INT4);
    op_in(t, LEDGE_FLOAT, 1, DIMS(3), NUMBERS(-100, 100, -1));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_expect_raw(t, 0, LEDGE_INT4, 1, DIMS(3), (const uint8_t[]){0x78, 0x0f});
    op_done(t);
}

static void int32_is_dequantized_without_losing_digits(void **state)
{
    (void)state;
    OpCase *t = op_case("DequantizeLinear", 13);
    op_in(t, LEDGE_INT32, 1, DIMS(2), NUMBERS(16777217, -2147483648.0));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(3));
    op_expect_raw(t, 0, LEDGE_FLOAT, 1, DIMS(2), (const float[]){50331651.0f, -6442450944.0f});
    op_done(t);
}

static void half_precision_is_rounded_where_the_scale_says(void **state)
{
    (void)state;
    OpCase *t = op_case("DequantizeLinear", 19);
    op_in(t, LEDGE_INT8, 1, DIMS(2), NUMBERS(127, -128));
    op_in(t, LEDGE_FLOAT16, 0, NULL, NUMBERS(1000));
    op_expect(t, 0, LEDGE_FLOAT16, 1, DIMS(2), NUMBERS(INFINITY, -INFINITY));
    op_done(t);
}

static void dynamic_quantization_covers_zero(void **state)
{
    (void)state;
    OpCase *t = op_case("DynamicQuantizeLinear", 11);
    op_outputs(t, 3);
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(255, 510));
    op_expect(t, 1, LEDGE_FLOAT, 0, NULL, NUMBERS(2));
    op_expect(t, 2, LEDGE_UINT8, 0, NULL, NUMBERS(0));
    op_expect(t, 0, LEDGE_UINT8, 1, DIMS(2), NUMBERS(128, 255));
    op_done(t);
    t = op_case("DynamicQuantizeLinear", 11);
    op_outputs(t, 3);
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(0, 0));
    op_expect(t, 0, LEDGE_UINT8, 1, DIMS(2), NUMBERS(0, 0));
    op_done(t);
}

static void scales_of_another_shape_are_refused(void **state)
{
    (void)state;
    OpCase *t = op_case("QuantizeLinear", 21);
    op_in(t, LEDGE_FLOAT, 2, DIMS(1, 3), NUMBERS(1, 2, 3));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("QuantizeLinear", 21);
    op_in(t, LEDGE_FLOAT, 2, DIMS(1, 2), NUMBERS(1, 2));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
    op_in(t, LEDGE_UINT8, 1, DIMS(1), NUMBERS(1));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("DequantizeLinear", 21);
    op_int(t, "block_size", 2);
    op_int(t, "axis", 0);
    op_in(t, LEDGE_INT8, 1, DIMS(5), NUMBERS(1, 2, 3, 4, 5));
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
    op_refused(t, LEDGE_ERROR_SHAPE);
    t = op_case("QuantizeLinear", 21);
    op_int(t, "output_dtype", LEDGE_INT8);
    op_in(t, LEDGE_FLOAT, 1, DIMS(1), NUMBERS(1));
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_in(t, LEDGE_UINT8, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
}

static void empty_tensors_are_quantized(void **state)
{
    (void)state;
    OpCase *t = op_case("QuantizeLinear", 21);
    op_int(t, "axis", 0);
    op_in(t, LEDGE_FLOAT, 2, DIMS(0, 3), NUMBERS(0));
    op_in(t, LEDGE_FLOAT, 1, DIMS(0), NUMBERS(0));
    op_expect(t, 0, LEDGE_UINT8, 2, DIMS(0, 3), NUMBERS(0));
    op_done(t);
}

/* ---- every integer type in every arrangement of scales ---- */

enum { A = 3, B = 50, C = 37, ALL = A * B * C };

typedef struct Arrangement {
    int rank, axis, block;
    int64_t dims[3]; /* of the scales */
} Arrangement;

static const Arrangement arrangements[] = {
    {0, 1, 0, {1}},        {1, 0, 0, {A}},        {1, 1, 0, {B}},         {1, 2, 0, {C}},
    {3, 1, 16, {A, 4, C}}, {3, 2, 16, {A, B, 3}}, {3, 0, 2, {2, B, C}},
};

static const struct {
    LedgeType type;
    int low, high;
} integers[] = {
    {LEDGE_UINT8, 0, 255},        {LEDGE_INT8, -128, 127}, {LEDGE_UINT16, 0, 65535},
    {LEDGE_INT16, -32768, 32767}, {LEDGE_UINT4, 0, 15},    {LEDGE_INT4, -8, 7},
};

static double random_in(double low, double high)
{
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return low + (high - low) * (double)(seed >> 8) / (1 << 24);
}

/* Which scale element i of [A, B, C] has. */
static int scale_of(const Arrangement *a, int i)
{
    int at[3] = {i / (B * C), i / C % B, i % C}, k = 0;
    if (a->rank == 1)
        return at[a->axis];
    for (int d = 0; d < a->rank; d++)
        k = k * (int)a->dims[d] + (d == a->axis ? at[d] / a->block : at[d]);
    return k;
}

static void check_both(size_t type, const Arrangement *a, bool has_zero)
{
    static double x[ALL], q[ALL], back[ALL], scale[ALL], zero[ALL];
    const LedgeType t = integers[type].type;
    for (int i = 0; i < ALL; i++) {
        scale[i] = (double)(float)random_in(0.01, 0.1);
        zero[i] = has_zero ? rint(random_in(integers[type].low, integers[type].high)) : 0;
    }
    for (int i = 0; i < ALL; i++) {
        const int k = scale_of(a, i);
        const double span = integers[type].high - integers[type].low;
        x[i] = (double)(float)(random_in(-span, span) * 0.05);
        q[i] = rint((double)((float)x[i] / (float)scale[k])) + zero[k];
        q[i] = fmin(fmax(q[i], integers[type].low), integers[type].high);
        back[i] = (double)((float)(q[i] - zero[k]) * (float)scale[k]);
    }
    for (int quantize = 0; quantize < 2; quantize++) {
        OpCase *o = op_case(quantize ? "QuantizeLinear" : "DequantizeLinear", 21);
        op_int(o, "axis", a->axis);
        op_int(o, "block_size", a->block);
        op_in(o, quantize ? LEDGE_FLOAT : t, 3, DIMS(A, B, C), quantize ? x : q);
        op_in(o, LEDGE_FLOAT, a->rank, a->dims, scale);
        if (has_zero)
            op_in(o, t, a->rank, a->dims, zero);
        else if (quantize)
            op_int(o, "output_dtype", t);
        op_expect(o, 0, quantize ? t : LEDGE_FLOAT, 3, DIMS(A, B, C), quantize ? q : back);
        op_done(o);
    }
}

static void every_type_in_every_arrangement(void **state)
{
    (void)state;
    for (size_t type = 0; type < sizeof integers / sizeof integers[0]; type++)
        for (size_t k = 0; k < sizeof arrangements / sizeof arrangements[0]; k++)
            for (int has_zero = 0; has_zero < 2; has_zero++)
                check_both(type, &arrangements[k], has_zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_round_to_even_and_saturate),
        cmocka_unit_test(each_index_of_the_axis_has_its_scale),
        cmocka_unit_test(the_last_block_may_be_short),
        cmocka_unit_test(packed_results_fill_odd_counts),
        cmocka_unit_test(int32_is_dequantized_without_losing_digits),
        cmocka_unit_test(half_precision_is_rounded_where_the_scale_says),
        cmocka_unit_test(dynamic_quantization_covers_zero),
        cmocka_unit_test(scales_of_another_shape_are_refused),
        cmocka_unit_test(empty_tensors_are_quantized),
        cmocka_unit_test(every_type_in_every_arrangement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
