/* Passes that turn quantized graphs into operators on bytes: moves, maps, signs, borders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void dequantize_moves_behind_what_only_moves(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,4,6,6]\n"
                                 "const s f32[] = 0.5\n"
                                 "const z u8[] = 7\n"
                                 "const shape i64[2] = 0,-1\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "p = MaxPool(d) {kernel_shape=[2,2]}\n"
                                 "t = Transpose(p) {perm=[0,2,3,1]}\n"
                                 "r = Reshape(t, shape)\n"
                                 "output r\n";
    assert_pass("q8_move", before,
                "%0:uint8[1,4,5,5] = MaxPool(x) {kernel_shape=[2,2]}\n"
                "%1:uint8[1,5,5,4] = Transpose(%0) {perm=[0,2,3,1]}\n"
                "%2:uint8[1,100] = Reshape(%1, shape)\n"
                "r:float32[1,100] = DequantizeLinear(%2, %3, %4)\n"
                "output r\n");
    assert_outputs_within(before, 0);
}

static void quantize_rises_before_what_only_moves(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,6,6]\n"
                                 "input w f32[1,4,6,6]\n"
                                 "const s f32[] = 0.05\n"
                                 "const z u8[] = 90\n"
                                 "c = Concat(x, w) {axis=1}\n"
                                 "p = MaxPool(c) {kernel_shape=[2,2]}\n"
                                 "q = QuantizeLinear(p, s, z)\n"
                                 "output q\n";
    assert_pass("q8_move", before,
                "c:float32[1,8,6,6] = Concat(x, w) {axis=1}\n"
                "%0:uint8[1,8,6,6] = QuantizeLinear(c, %1, %2)\n"
                "q:uint8[1,8,5,5] = MaxPool(%0) {kernel_shape=[2,2]}\n"
                "output q\n");
    assert_outputs_within(before, 0);
}

static void concat_of_equal_parameters_joins_bytes(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,2,3]\n"
                                 "input w u8[1,2,3]\n"
                                 "const s f32[] = 0.5\n"
                                 "const z u8[] = 7\n"
                                 "a = DequantizeLinear(x, s, z)\n"
                                 "b = DequantizeLinear(w, s, z)\n"
                                 "c = Concat(a, b) {axis=1}\n"
                                 "output c\n";
    assert_pass("q8_move", before,
                "%0:uint8[1,4,3] = Concat(x, w) {axis=1}\n"
                "c:float32[1,4,3] = DequantizeLinear(%0, %1, %2)\n"
                "output c\n");
    assert_outputs_within(before, 0);
}

static void concat_of_other_parameters_is_requantized_by_tables(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,2,3]\n"
                                 "input w u8[1,2,3]\n"
                                 "const s f32[] = 0.5\n"
                                 "const z u8[] = 7\n"
                                 "const s2 f32[] = 0.3\n"
                                 "a = DequantizeLinear(x, s, z)\n"
                                 "b = DequantizeLinear(w, s2, z)\n"
                                 "c = Concat(a, b) {axis=1}\n"
                                 "q = QuantizeLinear(c, s, z)\n"
                                 "output q\n";
    assert_optimized(before, "%0:uint8[1,2,3] = ledge.QMap(w, %1) {to=2}\n"
                             "q:uint8[1,4,3] = Concat(x, %0) {axis=1}\n"
                             "output q\n");
    assert_outputs_within(before, 0);
}

static void pad_fills_with_the_byte_of_zero(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,2,3,3]\n"
                                 "const s f32[] = 0.5\n"
                                 "const z u8[] = 7\n"
                                 "const pads i64[8] = 0,0,1,1,0,0,1,2\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "p = Pad(d, pads)\n"
                                 "output p\n";
    assert_pass("q8_move", before,
                "%0:uint8[1,2,5,6] = Pad(x, pads, %1)\n"
                "p:float32[1,2,5,6] = DequantizeLinear(%0, %2, %3)\n"
                "output p\n");
    assert_outputs_within(before, 0);
}

static void numbers_mapped_to_numbers_become_a_table(void **state)
{
    (void)state;
    static const char before[] = "input x u8[?,3,4]\n"
                                 "const s f32[] = 0.04\n"
                                 "const z u8[] = 120\n"
                                 "const sy f32[] = 0.02\n"
                                 "const zy u8[] = 3\n"
                                 "const three f32[] = 3\n"
                                 "const six f32[1] = 6\n"
                                 "const zero f32[] = 0\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "a = Add(d, three)\n"
                                 "c = Clip(a, zero, six)\n"
                                 "m = Mul(d, c)\n"
                                 "v = Div(m, six)\n"
                                 "q = QuantizeLinear(v, sy, zy)\n"
                                 "output q\n";
    assert_pass("q8_map", before,
                "q:uint8[?,3,4] = ledge.QMap(x, %0) {to=2}\n"
                "output q\n");
    assert_outputs_within(before, 0);
}

static void every_unary_function_has_its_table(void **state)
{
    (void)state;
    static const char *const ops[] = {"Sigmoid",  "HardSwish", "HardSigmoid", "Tanh", "LeakyRelu",
                                      "Elu",      "Erf",       "Abs",         "Exp",  "Relu",
                                      "Softplus", "Softsign",  "Neg",         "Selu"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        char text[600], after[200];
        snprintf(text, sizeof text,
                 "opset 14\ninput x u8[2,300]\nconst s f32[] = 0.03\nconst z u8[] = 120\n"
                 "const sy f32[] = 0.015\nd = DequantizeLinear(x, s, z)\nv = %s(d)\n"
                 "q = QuantizeLinear(v, sy, z)\ne = DequantizeLinear(q, sy, z)\noutput e\n",
                 ops[i]);
        snprintf(after, sizeof after,
                 "q:uint8[2,300] = ledge.QMap(x, %%0) {to=2}\n"
                 "e:float32[2,300] = ledge.Dequantize(q) {scale=0.015, zero=120}\noutput e\n");
        assert_optimized(text, after);
        assert_outputs_within(text, 0);
    }
}

static void tables_in_a_row_become_one(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,40]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z u8[] = 120\n"
                                 "const sy f32[] = 0.02\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "v = Sigmoid(d)\n"
                                 "q = QuantizeLinear(v, s, z)\n"
                                 "d2 = DequantizeLinear(q, s, z)\n"
                                 "w = Tanh(d2)\n"
                                 "q2 = QuantizeLinear(w, sy, z)\n"
                                 "output q2\n";
    assert_optimized(before, "q2:uint8[2,40] = ledge.QMap(x, %0) {to=2}\n"
                             "output q2\n");
    assert_outputs_within(before, 0);
}

static void a_number_times_its_own_function_is_a_table(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,40]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z u8[] = 120\n"
                                 "const s1 f32[] = 0.004\n"
                                 "const z1 u8[] = 0\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "v = Sigmoid(d)\n"
                                 "q = QuantizeLinear(v, s1, z1)\n"
                                 "d2 = DequantizeLinear(q, s1, z1)\n"
                                 "w = Mul(d, d2)\n"
                                 "q2 = QuantizeLinear(w, s, z)\n"
                                 "output q2\n";
    assert_optimized(before, "q2:uint8[2,40] = ledge.QMap(x, %0) {to=2}\n"
                             "output q2\n");
    assert_outputs_within(before, 0);
}

static void equal_parameters_cancel(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,40]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z u8[] = 120\n"
                                 "const shape i64[2] = 4,20\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "r = Reshape(d, shape)\n"
                                 "q = QuantizeLinear(r, s, z)\n"
                                 "output q\n";
    assert_optimized(before, "q:uint8[4,20] = Reshape(x, shape)\n"
                             "output q\n");
    assert_outputs_within(before, 0);
}

static void int8_becomes_uint8_between_flips(void **state)
{
    (void)state;
    static const char before[] = "input x i8[2,40]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z i8[] = -5\n"
                                 "const shape i64[2] = 4,20\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "v = Sigmoid(d)\n"
                                 "q = QuantizeLinear(v, s, z)\n"
                                 "r = Reshape(q, shape)\n"
                                 "d2 = DequantizeLinear(r, s, z)\n"
                                 "a = Add(d2, d2)\n"
                                 "q2 = QuantizeLinear(a, s, z)\n"
                                 "output q2\n"
                                 "output d2\n";
    assert_optimized(before, "%0:uint8[2,40] = ledge.QMap(x, %1) {to=2}\n"
                             "%2:uint8[4,20] = Reshape(%0, shape)\n"
                             "d2:float32[4,20] = ledge.Dequantize(%2) {scale=0.03, zero=123}\n"
                             "q2:int8[4,20] = ledge.QMap(%2, %3) {to=3}\n"
                             "output q2\n"
                             "output d2\n");
    assert_outputs_within(before, 0);
}

static void sums_and_products_of_bytes(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,3,4,4]\n"
                                 "input w i8[1,3,4,4]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z u8[] = 120\n"
                                 "const s2 f32[] = 0.07\n"
                                 "const z2 i8[] = 4\n"
                                 "const k i8[3,1,1] = 10,-20,127\n"
                                 "a = DequantizeLinear(x, s, z)\n"
                                 "b = DequantizeLinear(w, s2, z2)\n"
                                 "kd = DequantizeLinear(k, s2, z2)\n"
                                 "c = Add(a, b)\n"
                                 "r = Relu(c)\n"
                                 "q = QuantizeLinear(r, s2, z)\n"
                                 "d = DequantizeLinear(q, s2, z)\n"
                                 "e = Mul(d, kd)\n"
                                 "q2 = QuantizeLinear(e, s2, z)\n"
                                 "output q2\n";
    assert_optimized(before,
                     "%0:uint8[1,3,4,4] = ledge.QMap(w, %1) {to=2}\n"
                     "q:uint8[1,3,4,4] = ledge.QAdd(x, %0) {a_zero=120, b_zero=132, "
                     "a_scale=0.428571, b_scale=1, y_zero=120, lo=120}\n"
                     "q2:uint8[1,3,4,4] = ledge.QMul(q, %2) {a_zero=120, b_zero=132, "
                     "scale=0.07, y_zero=120}\n"
                     "output q2\n");
    assert_outputs_within(before, 1);
}

static void odd_scales_stay_in_float(void **state)
{
    (void)state;
    static const char *const scales[] = {"0", "-1", "nan", "inf", "1e-42"};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        char text[600];
        snprintf(text, sizeof text,
                 "input x u8[2,4]\nconst s f32[] = %s\nconst z u8[] = 120\n"
                 "d = DequantizeLinear(x, s, z)\nv = Sigmoid(d)\nq = QuantizeLinear(v, s, z)\n"
                 "output q\n",
                 scales[i]);
        assert_pass("q8_map", text, NULL);
        assert_pass("q8_border", text, NULL);
    }
}

static void scales_that_are_not_one_constant_stay_in_float(void **state)
{
    (void)state;
    assert_pass("q8_map",
                "input x u8[2,4]\ninput s f32[]\nconst sy f32[] = 1\n"
                "d = DequantizeLinear(x, s)\nv = Sigmoid(d)\nq = QuantizeLinear(v, sy)\noutput q\n",
                NULL);
    assert_pass("q8_map",
                "input x u8[2,4]\nconst s f32[4] = 1,2,3,4\nconst sy f32[] = 1\n"
                "d = DequantizeLinear(x, s)\nv = Sigmoid(d)\nq = QuantizeLinear(v, sy)\noutput q\n",
                NULL);
    assert_pass("q8_map",
                "input x i32[2,4]\nconst s f32[] = 1\nconst sy f32[] = 1\n"
                "d = DequantizeLinear(x, s)\nv = Sigmoid(d)\nq = QuantizeLinear(v, sy)\noutput q\n",
                NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequantize_moves_behind_what_only_moves),
        cmocka_unit_test(quantize_rises_before_what_only_moves),
        cmocka_unit_test(concat_of_equal_parameters_joins_bytes),
        cmocka_unit_test(concat_of_other_parameters_is_requantized_by_tables),
        cmocka_unit_test(pad_fills_with_the_byte_of_zero),
        cmocka_unit_test(numbers_mapped_to_numbers_become_a_table),
        cmocka_unit_test(every_unary_function_has_its_table),
        cmocka_unit_test(tables_in_a_row_become_one),
        cmocka_unit_test(a_number_times_its_own_function_is_a_table),
        cmocka_unit_test(equal_parameters_cancel),
        cmocka_unit_test(int8_becomes_uint8_between_flips),
        cmocka_unit_test(sums_and_products_of_bytes),
        cmocka_unit_test(odd_scales_stay_in_float),
        cmocka_unit_test(scales_that_are_not_one_constant_stay_in_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
