/* Passes that make ledge.MatMulInteger of dynamically quantised products. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void product_takes_scales_bias_residual_and_activation(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,7,32]\n"
                                 "const w i8[32,24]\n"
                                 "const ws f32[] = 0.01\n"
                                 "const wz i8[] = 0\n"
                                 "const b f32[24]\n"
                                 "q, s, z = DynamicQuantizeLinear(x)\n"
                                 "m = MatMulInteger(q, w, z, wz)\n"
                                 "f = Cast(m) {to=1}\n"
                                 "k = Mul(s, ws)\n"
                                 "p = Mul(f, k)\n"
                                 "a = Add(p, b)\n"
                                 "y = Relu(a)\n"
                                 "output y\n";
    assert_optimized(before, "q:uint8[?,7,32], s:float32[], z:uint8[] = DynamicQuantizeLinear(x)\n"
                             "y:float32[?,7,24] = ledge.MatMulInteger(q, w, %0, _, s, z, ws, wz) "
                             "{act=\"relu\"}\n"
                             "output y\n");
    assert_outputs_within(before, 0);
}

static void zero_points_of_columns_come_off(void **state)
{
    (void)state;
    assert_outputs_within("opset 17\n"
                          "input x f32[?,7,37]\n"
                          "const w u8[37,21]\n"
                          "const ws f32[21] positive\n"
                          "const wz u8[21]\n"
                          "q, s, z = DynamicQuantizeLinear(x)\n"
                          "m = MatMulInteger(q, w, z, wz)\n"
                          "f = Cast(m) {to=1}\n"
                          "k = Mul(s, ws)\n"
                          "y = Mul(f, k)\n"
                          "output y\n",
                          0);
}

static void unsigned_weights_have_zero_point_zero_by_default(void **state)
{
    (void)state;
    assert_outputs_within("opset 17\n"
                          "input x f32[3,20]\n"
                          "const w u8[20,5]\n"
                          "q, s, z = DynamicQuantizeLinear(x)\n"
                          "m = MatMulInteger(q, w)\n"
                          "f = Cast(m) {to=1}\n"
                          "y = Mul(f, s)\n"
                          "output y\n",
                          0);
}

static void products_of_two_computed_tensors_stay(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[3,20]\n"
                                 "input v f32[20,4]\n"
                                 "q, s, z = DynamicQuantizeLinear(x)\n"
                                 "q2, s2, z2 = DynamicQuantizeLinear(v)\n"
                                 "m = MatMulInteger(q, q2, z, z2)\n"
                                 "f = Cast(m) {to=1}\n"
                                 "y = Mul(f, s)\n"
                                 "output y\n";
    assert_pass("dyn_int8", before, NULL);
}

static void a_scale_for_each_row_is_not_taken(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x u8[3,20]\n"
                                 "input s f32[3,1]\n"
                                 "const w i8[20,4]\n"
                                 "m = MatMulInteger(x, w)\n"
                                 "f = Cast(m) {to=1}\n"
                                 "y = Mul(f, s)\n"
                                 "output y\n";
    assert_pass("dyn_int8", before, NULL);
}

static void integer_to_float_of_microsoft_is_the_same_product(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[2,7,32]\n"
                                 "const w i8[32,24]\n"
                                 "const ws f32[24] positive\n"
                                 "const wz i8[24]\n"
                                 "const b f32[24]\n"
                                 "q, s, z = DynamicQuantizeLinear(x)\n"
                                 "y = com.microsoft.MatMulIntegerToFloat(q, w, s, ws, z, wz, b)\n"
                                 "output y\n";
    assert_optimized(before, "q:uint8[2,7,32], s:float32[], z:uint8[] = DynamicQuantizeLinear(x)\n"
                             "y:float32[2,7,24] = ledge.MatMulInteger(q, w, b, _, s, z, ws, wz)\n"
                             "output y\n");
    assert_outputs_within(before, 1e-3); /* it multiplies the scales in another order */
}

static void dynamic_products_of_one_input_share_its_bytes(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[2,7,32]\n"
                                 "const w i8[32,24]\n"
                                 "const v i8[32,8]\n"
                                 "const ws f32[] = 0.02\n"
                                 "y = com.microsoft.DynamicQuantizeMatMul(x, w, ws)\n"
                                 "u = com.microsoft.DynamicQuantizeMatMul(x, v, ws)\n"
                                 "output y\n"
                                 "output u\n";
    assert_optimized(before,
                     "%0:uint8[2,7,32], %1:float32[], %2:uint8[] = DynamicQuantizeLinear(x)\n"
                     "y:float32[2,7,24] = ledge.MatMulInteger(%0, w, _, _, %1, %2, ws, _)\n"
                     "u:float32[2,7,8] = ledge.MatMulInteger(%0, v, _, _, %1, %2, ws, _)\n"
                     "output y\n"
                     "output u\n");
    assert_outputs_within(before, 1e-3);
}

#define PRODUCT(name, bias)                                                                        \
    "m" name " = MatMulInteger(q, w" name ", z, wz" name ")\n"                                     \
    "f" name " = Cast(m" name ") {to=1}\n"                                                         \
    "k" name " = Mul(s, ws" name ")\n"                                                             \
    "p" name " = Mul(f" name ", k" name ")\n"                                                      \
    "a" name " = Add(p" name ", " bias ")\n"                                                       \
    "r" name " = Reshape(a" name ", split)\n"
#define WEIGHTS(name)                                                                              \
    "const w" name " i8[16,16]\n"                                                                  \
    "const ws" name " f32[] = 0.01\n"                                                              \
    "const wz" name " i8[] = 3\n"

static void three_products_before_attention_become_one(void **state)
{
    (void)state;
    static const char before[] =
        "opset 17\n"
        "input x f32[2,6,16]\n" WEIGHTS("q") WEIGHTS("k")
            WEIGHTS("v") "const b f32[16]\n"
                         "const split i64[4] = 0,0,2,8\n"
                         "const merge i64[3] = 0,0,16\n"
                         "const c f32[] = 0.35\n"
                         "q, s, z = DynamicQuantizeLinear(x)\n" PRODUCT("q", "b") PRODUCT("k", "b")
                             PRODUCT("v", "b") "tq = Transpose(rq) {perm=[0,2,1,3]}\n"
                                               "tk = Transpose(rk) {perm=[0,2,3,1]}\n"
                                               "tv = Transpose(rv) {perm=[0,2,1,3]}\n"
                                               "d = MatMul(tq, tk)\n"
                                               "e = Mul(d, c)\n"
                                               "g = Softmax(e) {axis=-1}\n"
                                               "h = MatMul(g, tv)\n"
                                               "i = Transpose(h) {perm=[0,2,1,3]}\n"
                                               "y = Reshape(i, merge)\n"
                                               "output y\n";
    assert_optimized(before,
                     "q:uint8[2,6,16], s:float32[], z:uint8[] = DynamicQuantizeLinear(x)\n"
                     "%0:float32[2,6,48] = ledge.MatMulInteger(q, %1, %2, _, s, z, %3, %4)\n"
                     "y:float32[2,6,16] = ledge.Attention(%0, _, _) {heads=2, scale=0.35}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void convolution_runs_on_pixels_with_bias_and_activation(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[1,4,6,5]\n"
                                 "const w i8[8,4,3,3]\n"
                                 "const ws f32[] = 0.01\n"
                                 "const wz i8[] = 0\n"
                                 "const b f32[1,8,1,1]\n"
                                 "q, s, z = DynamicQuantizeLinear(x)\n"
                                 "m = ConvInteger(q, w, z, wz) {pads=[1,1,1,1], strides=[2,2]}\n"
                                 "f = Cast(m) {to=1}\n"
                                 "k = Mul(s, ws)\n"
                                 "p = Mul(f, k)\n"
                                 "a = Add(p, b)\n"
                                 "y = Relu(a)\n"
                                 "output y\n";
    assert_optimized(
        before, "%0:float32[1,6,5,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:uint8[1,6,5,4], %2:float32[], %3:uint8[] = DynamicQuantizeLinear(%0)\n"
                "%4:float32[1,3,3,8] = ledge.ConvInteger(%1, w, %5, _, %2, %3, %6, wz) "
                "{kernel_shape=[3,3], strides=[2,2], dilations=[1,1], group=1, pads=[1,1,1,1], "
                "act=\"relu\"}\n"
                "y:float32[1,8,3,3] = Transpose(%4) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_within(before, 0);
}

#define CONV(weights, zero, attrs)                                                                 \
    "opset 17\ninput x f32[2,4,7,6]\n" weights zero "const ws f32[] = 0.01\n"                      \
    "q, s, z = DynamicQuantizeLinear(x)\n"                                                         \
    "m = ConvInteger(q, w, z, wz) {pads=[1,0,1,2]" attrs "}\n"                                     \
    "f = Cast(m) {to=1}\nk = Mul(ws, s)\ny = Mul(k, f)\noutput y\n"

static void convolutions_of_every_kind_are_the_same_bits(void **state)
{
    (void)state;
    assert_outputs_within(CONV("const w u8[6,4,3,3]\n", "const wz u8[] = 117\n", ""), 0);
    assert_outputs_within(CONV("const w u8[6,4,1,1]\n", "const wz u8[6]\n", ""), 0);
    assert_outputs_within(CONV("const w i8[4,1,3,3]\n", "const wz i8[] = 0\n", ", group=4"), 0);
    assert_outputs_within(CONV("const w u8[4,1,3,3]\n", "const wz u8[4]\n", ", group=4"), 0);
    assert_outputs_within(
        CONV("const w i8[8,2,2,3]\n", "const wz i8[8]\n", ", group=2, dilations=[2,1]"), 0);
}

static void attention_over_bytes_is_one_product_before_it(void **state)
{
    (void)state;
    static const char before[] =
        "opset 17\n"
        "input x f32[2,6,16]\n"
        "const w i8[16,48]\n"
        "const b f32[48]\n"
        "const ws f32[] = 0.01\n"
        "const wz i8[] = 3\n"
        "q, s, z = DynamicQuantizeLinear(x)\n"
        "y = com.microsoft.QAttention(q, w, b, s, ws, _, z, wz) {num_heads=2}\n"
        "output y\n";
    assert_optimized(before, "q:uint8[2,6,16], s:float32[], z:uint8[] = DynamicQuantizeLinear(x)\n"
                             "%0:float32[2,6,48] = ledge.MatMulInteger(q, w, b, _, s, z, ws, wz)\n"
                             "y:float32[2,6,16] = ledge.Attention(%0, _, _) {heads=2}\n"
                             "output y\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_takes_scales_bias_residual_and_activation),
        cmocka_unit_test(zero_points_of_columns_come_off),
        cmocka_unit_test(unsigned_weights_have_zero_point_zero_by_default),
        cmocka_unit_test(products_of_two_computed_tensors_stay),
        cmocka_unit_test(a_scale_for_each_row_is_not_taken),
        cmocka_unit_test(integer_to_float_of_microsoft_is_the_same_product),
        cmocka_unit_test(dynamic_products_of_one_input_share_its_bytes),
        cmocka_unit_test(three_products_before_attention_become_one),
        cmocka_unit_test(convolution_runs_on_pixels_with_bias_and_activation),
        cmocka_unit_test(convolutions_of_every_kind_are_the_same_bits),
        cmocka_unit_test(attention_over_bytes_is_one_product_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
