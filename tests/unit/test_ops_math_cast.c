/* Element conversion: rounding, saturation, packed types, strings; and what casts refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kernels/ref/convert.h"
#include "op_case.h"

static void expect_cast(LedgeType from, LedgeType to, int64_t n, const double *x, const double *y)
{
    OpCase *t = op_case("Cast", 25);
    op_int(t, "to", to);
    op_in(t, from, 1, DIMS(n), x);
    op_expect(t, 0, to, 1, DIMS(n), y);
    op_done(t);
}

static void floats_become_integers_without_undefined_behaviour(void **state)
{
    (void)state;
    const double x[] = {NAN, INFINITY, -INFINITY, 3.9, -3.9, 300, -300, 1e20};
    expect_cast(LEDGE_FLOAT, LEDGE_INT8, 8, x, NUMBERS(0, 127, -128, 3, -3, 127, -128, 127));
    expect_cast(LEDGE_FLOAT, LEDGE_UINT8, 8, x, NUMBERS(0, 255, 0, 3, 0, 255, 0, 255));
    expect_cast(LEDGE_DOUBLE, LEDGE_INT32, 8, x,
                NUMBERS(0, INT32_MAX, INT32_MIN, 3, -3, 300, -300, INT32_MAX));
    expect_cast(LEDGE_DOUBLE, LEDGE_INT64, 8, x,
                NUMBERS(0, 0x1p63, -0x1p63, 3, -3, 300, -300, 0x1p63));
    expect_cast(LEDGE_DOUBLE, LEDGE_UINT64, 8, x, NUMBERS(0, 0x1p64, 0, 3, 0, 300, 0, 0x1p64));
    expect_cast(LEDGE_FLOAT16, LEDGE_BOOL, 8, x, NUMBERS(1, 1, 1, 1, 1, 1, 1, 1));
}

static void integers_keep_their_low_bits(void **state)
{
    (void)state;
    expect_cast(LEDGE_INT16, LEDGE_INT8, 3, NUMBERS(200, -129, 5), NUMBERS(-56, 127, 5));
    expect_cast(LEDGE_INT32, LEDGE_UINT4, 3, NUMBERS(17, -1, 15), NUMBERS(1, 15, 15));
    expect_cast(LEDGE_UINT64, LEDGE_FLOAT, 1, NUMBERS(18446744073709549568.0), NUMBERS(0x1p64));
    expect_cast(LEDGE_INT64, LEDGE_INT2, 5, NUMBERS(-2, -1, 0, 1, 2), NUMBERS(-2, -1, 0, 1, -2));
}

/* 2^60 + 2^36 + 1 lies just above the middle of two floats: rounding by way of double first would
 * lose the 1 and go down to even. */
static void large_integers_round_once(void **state)
{
    (void)state;
    const int64_t x[] = {((int64_t)1 << 60) + ((int64_t)1 << 36) + 1, INT64_MIN, -3};
    const float up = 0x1.000002p60f;
    assert_true(ledge__i64_to_f64_odd(x[0]) > 0x1.000001p60);
    OpCase *t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_FLOAT);
    op_in_raw(t, LEDGE_INT64, 1, DIMS(3), x);
    op_expect_raw(t, 0, LEDGE_FLOAT, 1, DIMS(3), (const float[]){up, -0x1p63f, -3});
    op_done(t);
    t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_BFLOAT16);
    op_in_raw(t, LEDGE_INT64, 1, DIMS(1),
              (const int64_t[]){((int64_t)1 << 60) + ((int64_t)1 << 52) + 1});
    op_expect(t, 0, LEDGE_BFLOAT16, 1, DIMS(1), NUMBERS(0x1.02p60));
    op_done(t);
}

static void float16_rounds_to_even_at_every_edge(void **state)
{
    (void)state;
    static const struct {
        float f;
        uint16_t h;
    } all[] = {{0.0f, 0},           {-0.0f, 0x8000},     {1.0f, 0x3c00},       {65504, 0x7bff},
               {65519.99f, 0x7bff}, {65520, 0x7c00},     {INFINITY, 0x7c00},   {-INFINITY, 0xfc00},
               {0x1p-24f, 1},       {0x1p-25f, 0},       {0x1.8p-25f, 1},      {0x1.8p-24f, 2},
               {0x1.ff8p-15f, 0x3ff}, {0x1p-14f, 0x400}, {1 + 0x1p-11f, 0x3c00},
               {1 + 0x1.8p-10f, 0x3c02}, {0x1.ffep-15f, 0x400}, {1e-30f, 0}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        double wide = (double)all[i].f;
        uint16_t by_double;
        assert_int_equal(ledge__f32_to_f16(all[i].f), all[i].h);
        ledge__store_f64(LEDGE_FLOAT16, &by_double, 0, 1, &wide);
        assert_int_equal(by_double, all[i].h);
    }
    assert_true((ledge__f32_to_f16(NAN) & 0x7fff) > 0x7c00);
}

static void every_float16_and_bfloat16_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = ledge__f16_to_f32((uint16_t)h), b = ledge__bf16_to_f32((uint16_t)h);
        if (f == f)
            assert_int_equal(ledge__f32_to_f16(f), h);
        else
            assert_true((h & 0x7fff) > 0x7c00);
        if (b == b)
            assert_int_equal(ledge__f32_to_bf16(b), h);
    }
}

/* Both ways to float16 and bfloat16 agree on every exponent and many mantissas. */
static void short_and_general_ways_to_narrow_agree(void **state)
{
    (void)state;
    uint32_t u = 1;
    for (int i = 0; i < 200000; i++) {
        u = u * 1664525u + 1013904223u;
        float f;
        uint16_t h, b;
        memcpy(&f, &u, 4);
        if (f != f)
            continue;
        double wide = (double)f;
        ledge__store_f64(LEDGE_FLOAT16, &h, 0, 1, &wide);
        ledge__store_f64(LEDGE_BFLOAT16, &b, 0, 1, &wide);
        assert_int_equal(ledge__f32_to_f16(f), h);
        assert_int_equal(ledge__f32_to_bf16(f), b);
    }
}

static void every_float8_survives_a_round_trip(void **state)
{
    (void)state;
    static const LedgeType types[] = {LEDGE_FLOAT8E4M3FN, LEDGE_FLOAT8E4M3FNUZ, LEDGE_FLOAT8E5M2,
                                      LEDGE_FLOAT8E5M2FNUZ, LEDGE_FLOAT8E8M0};
    static const double most[] = {448, 240, 57344, 57344, 0x1p127};
    for (int k = 0; k < 5; k++) {
        double largest = 0;
        for (int code = 0; code < 256; code++) {
            uint8_t from = (uint8_t)code, to;
            double v;
            ledge__load_f64(types[k], &from, 0, 1, &v);
            if (v != v || isinf(v))
                continue;
            largest = v > largest ? v : largest;
            ledge__store_f64(types[k], &to, 0, 1, &v);
            assert_int_equal(to, from);
        }
        assert_true(largest == most[k]);
        assert_true(ledge__type_max_float(types[k]) == most[k]);
    }
}

static void float8_saturates_unless_asked_not_to(void **state)
{
    (void)state;
    const double x[] = {1e9, -INFINITY, NAN};
    static const struct {
        LedgeType type;
        double saturated[2], plain[2];
    } all[] = {{LEDGE_FLOAT8E4M3FN, {448, -448}, {NAN, NAN}},
               {LEDGE_FLOAT8E4M3FNUZ, {240, -240}, {NAN, NAN}},
               {LEDGE_FLOAT8E5M2, {57344, -57344}, {INFINITY, -INFINITY}},
               {LEDGE_FLOAT8E5M2FNUZ, {57344, -57344}, {NAN, NAN}}};
    for (int i = 0; i < 4; i++)
        for (int saturate = 0; saturate < 2; saturate++) {
            const double *want = saturate ? all[i].saturated : all[i].plain;
            OpCase *t = op_case("Cast", 25);
            op_int(t, "to", all[i].type);
            op_int(t, "saturate", saturate);
            op_in(t, LEDGE_FLOAT, 1, DIMS(3), x);
            op_expect(t, 0, all[i].type, 1, DIMS(3), NUMBERS(want[0], want[1], NAN));
            op_done(t);
        }
}

static void float8e8m0_rounds_as_asked(void **state)
{
    (void)state;
    static const char *const modes[] = {"up", "down", "nearest"};
    static const double want[3][4] = {{2, 2, 4, 0x1p127}, {1, 1, 2, 0x1p127}, {1, 2, 4, 0x1p127}};
    for (int m = 0; m < 3; m++) {
        OpCase *t = op_case("Cast", 25);
        op_int(t, "to", LEDGE_FLOAT8E8M0);
        op_text(t, "round_mode", modes[m]);
        op_in(t, LEDGE_FLOAT, 1, DIMS(4), NUMBERS(1.25, 1.5, 3, INFINITY));
        op_expect(t, 0, LEDGE_FLOAT8E8M0, 1, DIMS(4), want[m]);
        op_done(t);
    }
}

static void packed_types_fill_odd_counts(void **state)
{
    (void)state;
    OpCase *t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_INT4);
    op_in(t, LEDGE_INT8, 1, DIMS(3), NUMBERS(-8, 7, -1));
    op_expect_raw(t, 0, LEDGE_INT4, 1, DIMS(3), (const uint8_t[]){0x78, 0x0f});
    op_done(t);
    expect_cast(LEDGE_FLOAT4E2M1, LEDGE_FLOAT, 5, NUMBERS(0.5, -6, 3, 1.5, -0.5),
                NUMBERS(0.5, -6, 3, 1.5, -0.5));
    expect_cast(LEDGE_UINT2, LEDGE_UINT8, 5, NUMBERS(0, 1, 2, 3, 1), NUMBERS(0, 1, 2, 3, 1));
}

static void writing_packed_elements_leaves_their_neighbours(void **state)
{
    (void)state;
    uint8_t bytes[2] = {0xff, 0xff};
    const int64_t zero = 0;
    ledge__store_i64(LEDGE_UINT4, bytes, 1, 1, &zero);
    ledge__store_i64(LEDGE_UINT2, bytes + 1, 2, 1, &zero);
    assert_int_equal(bytes[0], 0x0f);
    assert_int_equal(bytes[1], 0xcf);
}

/* ---- strings ---- */

static void expect_text(LedgeType from, int64_t n, const double *x, const char *const *want)
{
    OpCase *t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_STRING);
    op_in(t, from, 1, DIMS(n), x);
    const LedgeTensor *y = op_output(t, 0);
    assert_int_equal(y->type, LEDGE_STRING);
    for (int64_t i = 0; i < n; i++) {
        const LedgeString *s = (const LedgeString *)y->data + i;
        assert_int_equal(s->size, strlen(want[i]));
        assert_memory_equal(s->data, want[i], s->size);
    }
    op_done(t);
}

static void numbers_are_written_as_shortly_as_they_read_back(void **state)
{
    (void)state;
    expect_text(LEDGE_FLOAT, 8,
                NUMBERS((double)0.1f, 1e6, (double)1e-7f, NAN, -INFINITY, 314.15625, 0, -2),
                (const char *const[]){"0.1", "1000000.0", "1e-07", "NaN", "-INF", "314.15625",
                                      "0.0", "-2.0"});
    expect_text(LEDGE_DOUBLE, 2, NUMBERS(0.1, 1e300), (const char *const[]){"0.1", "1e+300"});
    expect_text(LEDGE_FLOAT16, 1, NUMBERS(0.0999755859375), (const char *const[]){"0.1"});
    expect_text(LEDGE_INT64, 1, NUMBERS(-0x1p63), (const char *const[]){"-9223372036854775808"});
    expect_text(LEDGE_BOOL, 2, NUMBERS(1, 0), (const char *const[]){"True", "False"});
}

static LedgeString text(const char *s)
{
    return (LedgeString){s, strlen(s)};
}

static void strings_are_read_as_numbers(void **state)
{
    (void)state;
    const LedgeString x[] = {text("3.5"), text("-1e2"), text("INF"), text("-inf"), text("nan"),
                             text(" 7 ")};
    OpCase *t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_FLOAT);
    op_in_raw(t, LEDGE_STRING, 1, DIMS(6), x);
    op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(6), NUMBERS(3.5, -100, INFINITY, -INFINITY, NAN, 7));
    op_done(t);
    const LedgeString whole[] = {text("9007199254740993"), text("2.9")};
    t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_INT64);
    op_in_raw(t, LEDGE_STRING, 1, DIMS(2), whole);
    op_expect_raw(t, 0, LEDGE_INT64, 1, DIMS(2), (const int64_t[]){9007199254740993, 2});
    op_done(t);
    const LedgeString word[] = {text("seven")};
    t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_INT64);
    op_in_raw(t, LEDGE_STRING, 1, DIMS(1), word);
    op_refused(t, LEDGE_ERROR_RUNTIME);
}

static void cast_like_takes_the_other_inputs_type(void **state)
{
    (void)state;
    OpCase *t = op_case("CastLike", 21);
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1.5, -2.5));
    op_in(t, LEDGE_INT32, 0, NULL, NUMBERS(0));
    op_expect(t, 0, LEDGE_INT32, 1, DIMS(2), NUMBERS(1, -2));
    op_done(t);
}

static void bit_cast_wants_one_width(void **state)
{
    (void)state;
    OpCase *t = op_case("BitCast", 26);
    op_int(t, "to", LEDGE_UINT32);
    op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, -0.0));
    op_expect(t, 0, LEDGE_UINT32, 1, DIMS(2), NUMBERS(0x3f800000, 2147483648.0));
    op_done(t);
    t = op_case("BitCast", 26);
    op_int(t, "to", LEDGE_INT64);
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
}

static void casts_to_nothing_are_refused(void **state)
{
    (void)state;
    OpCase *t = op_case("Cast", 25);
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_FORMAT);
    t = op_case("Cast", 25);
    op_int(t, "to", 99);
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_TYPE);
    t = op_case("Cast", 25);
    op_int(t, "to", LEDGE_FLOAT8E8M0);
    op_text(t, "round_mode", "sideways");
    op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(1));
    op_refused(t, LEDGE_ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_become_integers_without_undefined_behaviour),
        cmocka_unit_test(integers_keep_their_low_bits),
        cmocka_unit_test(large_integers_round_once),
        cmocka_unit_test(float16_rounds_to_even_at_every_edge),
        cmocka_unit_test(every_float16_and_bfloat16_survives_a_round_trip),
        cmocka_unit_test(short_and_general_ways_to_narrow_agree),
        cmocka_unit_test(every_float8_survives_a_round_trip),
        cmocka_unit_test(float8_saturates_unless_asked_not_to),
        cmocka_unit_test(float8e8m0_rounds_as_asked),
        cmocka_unit_test(packed_types_fill_odd_counts),
        cmocka_unit_test(writing_packed_elements_leaves_their_neighbours),
        cmocka_unit_test(numbers_are_written_as_shortly_as_they_read_back),
        cmocka_unit_test(strings_are_read_as_numbers),
        cmocka_unit_test(cast_like_takes_the_other_inputs_type),
        cmocka_unit_test(bit_cast_wants_one_width),
        cmocka_unit_test(casts_to_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
