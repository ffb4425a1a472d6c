/* Passes that fuse into the internal operators. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void activation_joins_conv(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "const low f32[] = -1\n"
                                 "const high f32[] = 2\n"
                                 "const a f32[] = 0.25\n"
                                 "c0 = ledge.Conv(x, w, _, _, _)\n"
                                 "y0 = Relu(c0)\n"
                                 "c1 = ledge.Conv(x, w, _, _, _) {group=1}\n"
                                 "y1 = Clip(c1, low, high)\n"
                                 "c2 = ledge.Conv(y0, w, _, _, _)\n"
                                 "y2 = LeakyRelu(c2) {alpha=0.1}\n"
                                 "c3 = ledge.Conv(y1, w, _, _, _)\n"
                                 "y3 = PRelu(c3, a)\n"
                                 "c4 = ledge.Conv(y2, w, _, _, _)\n"
                                 "y4 = HardSigmoid(c4) {alpha=0.2, beta=0.4}\n"
                                 "c5 = ledge.Conv(y3, w, _, _, _)\n"
                                 "y5 = Tanh(c5)\n"
                                 "c6 = ledge.Conv(y4, w, _, _, _)\n"
                                 "y6 = Sigmoid(c6)\n"
                                 "output y5\n"
                                 "output y6\n";
    assert_pass(
        "activation", before,
        "c0:float32[?,6,6,4] = ledge.Conv(x, w, _, _, _) {act=\"relu\"}\n"
        "c1:float32[?,6,6,4] = ledge.Conv(x, w, _, _, _) {group=1, act=\"clip\", act_min=-1, "
        "act_max=2}\n"
        "c2:float32[?,6,6,4] = ledge.Conv(c0, w, _, _, _) {act=\"leakyrelu\", act_alpha=0.1}\n"
        "c3:float32[?,6,6,4] = ledge.Conv(c1, w, _, _, _) {act=\"leakyrelu\", act_alpha=0.25}\n"
        "c4:float32[?,6,6,4] = ledge.Conv(c2, w, _, _, _) {act=\"hardsigmoid\", act_alpha=0.2, "
        "act_beta=0.4}\n"
        "y5:float32[?,6,6,4] = ledge.Conv(c3, w, _, _, _) {act=\"tanh\"}\n"
        "y6:float32[?,6,6,4] = ledge.Conv(c4, w, _, _, _) {act=\"sigmoid\"}\n"
        "output y5\n"
        "output y6\n");
    assert_outputs_agree(before);
}

static void activation_joins_but_once_and_not_what_is_read_twice(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "c0 = ledge.Conv(x, w, _, _, _) {act=\"relu\"}\n"
                                 "y0 = Tanh(c0)\n"
                                 "c1 = ledge.Conv(x, w, _, _, _)\n"
                                 "y1 = Relu(c1)\n"
                                 "y2 = Add(y1, c1)\n"
                                 "output y0\n"
                                 "output y2\n";
    assert_pass("activation", before, NULL);
    assert_outputs_agree(before);
}

static void activation_elu_and_gelu_by_tanh_join_gemm(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4]\n"
                                 "const w f32[4,4]\n"
                                 "g = ledge.Gemm(x, w, _, _)\n"
                                 "e = Elu(g) {alpha=0.5}\n"
                                 "h = ledge.Gemm(e, w, _, _)\n"
                                 "opset 20\n"
                                 "y = Gelu(h) {approximate=\"tanh\"}\n"
                                 "output y\n";
    assert_pass("activation", before,
                "g:float32[?,4] = ledge.Gemm(x, w, _, _) {act=\"elu\", act_alpha=0.5}\n"
                "y:float32[?,4] = ledge.Gemm(g, w, _, _) {act=\"gelu_tanh\"}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void residual_joins_conv_whichever_side_it_is(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "c0 = ledge.Conv(x, w, _, _, _)\n"
                                 "r = Relu(x)\n"
                                 "a = Add(r, c0)\n"
                                 "c1 = ledge.Conv(a, w, _, _, _)\n"
                                 "y = Add(c1, a)\n"
                                 "output y\n";
    assert_pass("residual", before,
                "r:float32[?,6,6,4] = Relu(x)\n"
                "c0:float32[?,6,6,4] = ledge.Conv(x, w, _, r, _)\n"
                "y:float32[?,6,6,4] = ledge.Conv(c0, w, _, c0, _)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void residual_of_another_shape_is_left(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "input z f32[?,6,6,4]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "const k f32[1,6,6,4]\n"
                                 "c0 = ledge.Conv(x, w, _, _, _)\n"
                                 "a = Add(c0, z)\n"
                                 "c1 = ledge.Conv(a, w, _, _, _)\n"
                                 "y = Add(c1, k)\n"
                                 "output y\n";
    assert_pass("residual", before, NULL);
    assert_outputs_agree(before);
}

static void residual_through_a_strided_shortcut_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const w f32[8,4,1,1]\n"
                                 "const starts i64[2] = 0,0\n"
                                 "const ends i64[2] = 6,6\n"
                                 "const axes i64[2] = 1,2\n"
                                 "const steps i64[2] = 2,2\n"
                                 "const pads i64[8] = 0,0,0,2,0,0,0,2\n"
                                 "c = ledge.Conv(x, w, _, _, _) {strides=[2,2]}\n"
                                 "s = Slice(x, starts, ends, axes, steps)\n"
                                 "p = Pad(s, pads)\n"
                                 "y = Add(c, p)\n"
                                 "output y\n";
    assert_pass("residual", before,
                "s:float32[?,3,3,4] = Slice(x, starts, ends, axes, steps)\n"
                "p:float32[?,3,3,8] = Pad(s, pads)\n"
                "y:float32[?,3,3,8] = ledge.Conv(x, w, _, p, _) {strides=[2,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void concat_of_convs_is_written_in_place(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const w f32[3,4,1,1]\n"
                                 "const v f32[2,4,3,3]\n"
                                 "c0 = ledge.Conv(x, w, _, _, _) {act=\"relu\"}\n"
                                 "c1 = ledge.Conv(x, v, _, _, _) {pads=[1,1,1,1]}\n"
                                 "y = Concat(c1, c0) {axis=3}\n"
                                 "output y\n";
    assert_pass("concat", before,
                "c0:float32[?,6,6,5] = ledge.Conv(x, w, _, _, _) {act=\"relu\", out_channels=5, "
                "out_offset=2}\n"
                "y:float32[?,6,6,5] = ledge.Conv(x, v, _, _, c0) {pads=[1,1,1,1], out_channels=5, "
                "out_offset=0}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void concat_along_another_axis_or_of_shared_values_is_left(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,6,6,4]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "c0 = ledge.Conv(x, w, _, _, _)\n"
                                 "c1 = ledge.Conv(x, w, _, _, _) {act=\"relu\"}\n"
                                 "a = Concat(c0, c1) {axis=1}\n"
                                 "c2 = ledge.Conv(x, w, _, _, _) {act=\"tanh\"}\n"
                                 "c3 = ledge.Conv(x, w, _, _, _) {act=\"sigmoid\"}\n"
                                 "b = Concat(c2, c3) {axis=3}\n"
                                 "z = Add(c2, c2)\n"
                                 "output a\n"
                                 "output b\n"
                                 "output z\n";
    assert_pass("concat", before, NULL);
    assert_outputs_agree(before);
}

static void affine_is_made_of_mul_and_add(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,4]\n"
                                 "const k f32[4]\n"
                                 "const a f32[1,1,4]\n"
                                 "m = Mul(k, x)\n"
                                 "y = Add(m, a)\n"
                                 "output y\n";
    assert_pass("affine", before,
                "y:float32[?,6,4] = ledge.Affine(x, %0, %1)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void affine_takes_the_activation(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,4]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "const w f32[4,4,3,3]\n"
                                 "t = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "n = BatchNormalization(t, s, b, m, v)\n"
                                 "r = Relu(n)\n"
                                 "c = Conv(r, w) {pads=[1,1,1,1]}\n"
                                 "d = Add(c, t)\n"
                                 "y = Transpose(d) {perm=[0,2,3,1]}\n"
                                 "output y\n";
    assert_optimized(before, "%0:float32[?,6,6,4] = ledge.Affine(x, %1, %2) {act=\"relu\"}\n"
                             "y:float32[?,6,6,4] = ledge.Conv(%0, w, _, x, _) {kernel_shape=[3,3], "
                             "strides=[1,1], dilations=[1,1], group=1, pads=[1,1,1,1]}\n"
                             "output y\n");
    assert_outputs_agree(before);
}

static void affine_leaves_constants_over_other_axes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,6,4]\n"
                                 "const k f32[6,1]\n"
                                 "const a f32[4]\n"
                                 "m = Mul(x, k)\n"
                                 "y = Add(m, a)\n"
                                 "output y\n";
    assert_pass("affine", before, NULL);
    assert_outputs_agree(before);
}

static void skip_layer_norm_takes_the_sum(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,5,8]\n"
                                 "const g f32[8]\n"
                                 "const b f32[8]\n"
                                 "r = Relu(x)\n"
                                 "s = Add(x, r)\n"
                                 "n = LayerNormalization(s, g, b) {epsilon=1e-6}\n"
                                 "y = Add(n, s)\n"
                                 "output y\n";
    assert_pass(
        "skip_layer_norm", before,
        "r:float32[?,5,8] = Relu(x)\n"
        "n:float32[?,5,8], s:float32[?,5,8] = ledge.SkipLayerNorm(x, r, g, b) {epsilon=1e-06}\n"
        "y:float32[?,5,8] = Add(n, s)\n"
        "output y\n");
    assert_outputs_agree(before);
}

static void skip_layer_norm_needs_equal_shapes(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,5,8]\n"
                                 "input p f32[1,5,8]\n"
                                 "const g f32[8]\n"
                                 "s = Add(x, p)\n"
                                 "y = LayerNormalization(s, g)\n"
                                 "output y\n";
    assert_pass("skip_layer_norm", before, NULL);
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activation_joins_conv),
        cmocka_unit_test(activation_joins_but_once_and_not_what_is_read_twice),
        cmocka_unit_test(activation_elu_and_gelu_by_tanh_join_gemm),
        cmocka_unit_test(residual_joins_conv_whichever_side_it_is),
        cmocka_unit_test(residual_of_another_shape_is_left),
        cmocka_unit_test(residual_through_a_strided_shortcut_is_found),
        cmocka_unit_test(concat_of_convs_is_written_in_place),
        cmocka_unit_test(concat_along_another_axis_or_of_shared_values_is_left),
        cmocka_unit_test(affine_is_made_of_mul_and_add),
        cmocka_unit_test(affine_takes_the_activation),
        cmocka_unit_test(affine_leaves_constants_over_other_axes),
        cmocka_unit_test(skip_layer_norm_takes_the_sum),
        cmocka_unit_test(skip_layer_norm_needs_equal_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
