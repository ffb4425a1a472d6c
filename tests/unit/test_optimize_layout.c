/* The layout pass and what it makes of whole networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void layout_wraps_a_lone_conv(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,6,6]\n"
                                 "const w f32[4,3,3,3]\n"
                                 "y = Conv(x, w) {auto_pad=\"SAME_UPPER\", strides=[2,2]}\n"
                                 "output y\n";
    assert_pass("layout", before,
                "%0:float32[?,6,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:float32[?,3,3,4] = ledge.Conv(%0, w, _, _, _) {kernel_shape=[3,3], "
                "strides=[2,2], dilations=[1,1], group=1, pads=[0,0,1,1]}\n"
                "y:float32[?,4,3,3] = Transpose(%1) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layout_converts_a_region_between_convs(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,6,6]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "const k f32[4,1,1]\n"
                                 "const full f32[1,4,6,6]\n"
                                 "const h f32[] = 0.5\n"
                                 "a = Conv(x, w)\n"
                                 "b = Mul(a, k)\n"
                                 "c = Add(full, b)\n"
                                 "d = Sub(c, h)\n"
                                 "e = Sigmoid(d)\n"
                                 "f = Mul(d, e)\n"
                                 "y = Conv(f, w)\n"
                                 "output y\n";
    assert_pass("layout", before,
                "%0:float32[?,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:float32[?,6,6,4] = ledge.Conv(%0, w, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "%2:float32[?,6,6,4] = Mul(%1, %3)\n"
                "%4:float32[?,6,6,4] = Add(%5, %2)\n"
                "%6:float32[?,6,6,4] = Sub(%4, h)\n"
                "%7:float32[?,6,6,4] = Sigmoid(%6)\n"
                "%8:float32[?,6,6,4] = Mul(%6, %7)\n"
                "%9:float32[?,6,6,4] = ledge.Conv(%8, w, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "y:float32[?,4,6,6] = Transpose(%9) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layout_remaps_axes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,6,6]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "const v f32[4,6,1,1]\n"
                                 "const starts i64[2] = 0,1\n"
                                 "const ends i64[2] = 2,6\n"
                                 "const axes i64[2] = 1,3\n"
                                 "const pads i64[8] = 0,1,0,1,0,1,0,0\n"
                                 "a = Conv(x, w)\n"
                                 "b = Slice(a, starts, ends, axes)\n"
                                 "c = Pad(b, pads)\n"
                                 "d = Softmax(c) {axis=1}\n"
                                 "e = ReduceMax(d) {axes=[1], keepdims=1}\n"
                                 "f, g = Split(c) {axis=1}\n"
                                 "h = Concat(d, f, g) {axis=1}\n"
                                 "i = Mul(h, e)\n"
                                 "const u f32[3,8,1,1]\n"
                                 "y = Conv(i, u)\n"
                                 "output y\n";
    assert_pass("layout", before,
                "%0:float32[?,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:float32[?,6,6,4] = ledge.Conv(%0, w, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "%2:float32[?,6,5,2] = Slice(%1, starts, ends, %3)\n"
                "%4:float32[?,6,6,4] = Pad(%2, %5)\n"
                "%6:float32[?,6,6,4] = Softmax(%4) {axis=3}\n"
                "%7:float32[?,6,6,1] = ReduceMax(%6) {axes=[3], keepdims=1}\n"
                "%8:float32[?,6,6,2], %9:float32[?,6,6,2] = Split(%4) {axis=3}\n"
                "%10:float32[?,6,6,8] = Concat(%6, %8, %9) {axis=3}\n"
                "%11:float32[?,6,6,8] = Mul(%10, %7)\n"
                "%12:float32[?,6,6,3] = ledge.Conv(%11, u, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "y:float32[?,3,6,6] = Transpose(%12) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layout_leaves_a_region_that_gains_nothing(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,4,6,6]\n"
                                 "const axes i64[1] = 2\n"
                                 "a = Relu(x)\n"
                                 "b = Sigmoid(a)\n"
                                 "y = Mul(a, b)\n"
                                 "output y\n";
    assert_pass("layout", before, NULL);
    assert_outputs_agree(before);
}

static void layout_drops_the_transposes_of_an_nhwc_model(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,6,6,3]\n"
                                 "const w f32[4,3,3,3]\n"
                                 "const v f32[4,4,3,3]\n"
                                 "const b f32[4]\n"
                                 "t = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "c = Conv(t, w)\n"
                                 "u = Transpose(c) {perm=[0,2,3,1]}\n"
                                 "a = Add(u, b)\n"
                                 "r = Relu(a)\n"
                                 "p = Transpose(r) {perm=[0,3,1,2]}\n"
                                 "d = Conv(p, v)\n"
                                 "y = Transpose(d) {perm=[0,2,3,1]}\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[1,4,4,4] = ledge.Conv(x, w, %1, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], act=\"relu\"}\n"
                     "y:float32[1,2,2,4] = ledge.Conv(%0, v, _, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void layout_keeps_one_conversion_at_each_border(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,8,8]\n"
                                 "const w f32[8,3,3,3]\n"
                                 "const d f32[8,1,3,3]\n"
                                 "const p f32[8,8,1,1]\n"
                                 "const zero f32[] = 0\n"
                                 "const six f32[] = 6\n"
                                 "a = Conv(x, w) {pads=[0,0,1,1], strides=[2,2]}\n"
                                 "b = Clip(a, zero, six)\n"
                                 "c = Conv(b, d) {group=8, pads=[1,1,1,1]}\n"
                                 "e = Clip(c, zero, six)\n"
                                 "f = Conv(e, p)\n"
                                 "y = Add(f, b)\n"
                                 "output y\n";
    assert_optimized(
        before,
        "%0:float32[?,4,4,8] = ledge.Conv(x, w, _, _, _) {kernel_shape=[3,3], strides=[2,2], "
        "dilations=[1,1], group=1, pads=[0,0,1,1], act=\"clip\", act_min=0, act_max=6, "
        "x_layout=\"nchw\"}\n"
        "%1:float32[?,4,4,8] = ledge.Conv(%0, d, _, _, _) {kernel_shape=[3,3], strides=[1,1], "
        "dilations=[1,1], group=8, pads=[1,1,1,1], act=\"clip\", act_min=0, act_max=6}\n"
        "%2:float32[?,4,4,8] = ledge.Conv(%1, p, _, %0, _) {kernel_shape=[1,1], strides=[1,1], "
        "dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
        "y:float32[?,8,4,4] = Transpose(%2) {perm=[0,3,1,2]}\n"
        "output y\n");
    assert_outputs_agree(before);
}

static void layout_keeps_flattened_pools_free_of_transposes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,8,8]\n"
                                 "const w f32[8,3,3,3]\n"
                                 "const v f32[8,5]\n"
                                 "a = Conv(x, w)\n"
                                 "r = Relu(a)\n"
                                 "g = GlobalAveragePool(r)\n"
                                 "f = Flatten(g)\n"
                                 "y = MatMul(f, v)\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[?,6,6,8] = ledge.Conv(x, w, _, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], act=\"relu\", "
                     "x_layout=\"nchw\"}\n"
                     "%1:float32[?,1,1,8] = ledge.GlobalAveragePool(%0)\n"
                     "f:float32[?,8] = Flatten(%1)\n"
                     "y:float32[?,5] = ledge.Gemm(f, v, _, _)\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void layout_resizes_in_nhwc(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,5,5]\n"
                                 "const w f32[4,4,1,1]\n"
                                 "const scales f32[4] = 1,1,2,2\n"
                                 "a = Conv(x, w)\n"
                                 "b = Resize(a, _, scales) {mode=\"linear\"}\n"
                                 "y = Conv(b, w)\n"
                                 "output y\n";
    assert_pass("layout", before,
                "%0:float32[1,5,5,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:float32[1,5,5,4] = ledge.Conv(%0, w, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "%2:float32[1,10,10,4] = ledge.Resize(%1, _, %3) {mode=\"linear\"}\n"
                "%4:float32[1,10,10,4] = ledge.Conv(%2, w, _, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0]}\n"
                "y:float32[1,4,10,10] = Transpose(%4) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layout_serves_squeeze_and_excite_of_any_image_size(void **state)
{
    (void)state;
    static const char before[] = "opset 14\n"
                                 "input x f32[?,3,?,?]\n"
                                 "const w0 f32[16,3,3,3]\n"
                                 "const s f32[16]\n"
                                 "const b f32[16]\n"
                                 "const m f32[16]\n"
                                 "const v f32[16] positive\n"
                                 "const wd f32[16,1,3,3]\n"
                                 "const f1 f32[8,16,1,1]\n"
                                 "const fb1 f32[8]\n"
                                 "const f2 f32[16,8,1,1]\n"
                                 "const fb2 f32[16]\n"
                                 "const pw f32[16,16,1,1]\n"
                                 "const cls f32[10,16]\n"
                                 "const cb f32[10]\n"
                                 "c0 = Conv(x, w0) {pads=[1,1,1,1], strides=[1,1]}\n"
                                 "n0 = BatchNormalization(c0, s, b, m, v)\n"
                                 "h0 = HardSwish(n0)\n"
                                 "c1 = Conv(h0, wd) {pads=[1,1,1,1], group=16}\n"
                                 "n1 = BatchNormalization(c1, s, b, m, v)\n"
                                 "r1 = Relu(n1)\n"
                                 "g = GlobalAveragePool(r1)\n"
                                 "e1 = Conv(g, f1, fb1)\n"
                                 "e2 = Relu(e1)\n"
                                 "e3 = Conv(e2, f2, fb2)\n"
                                 "e4 = HardSigmoid(e3) {alpha=0.1666667, beta=0.5}\n"
                                 "se = Mul(e4, r1)\n"
                                 "c2 = Conv(se, pw)\n"
                                 "n2 = BatchNormalization(c2, s, b, m, v)\n"
                                 "a = Add(n2, h0)\n"
                                 "p = ReduceMean(a) {axes=[2,3], keepdims=0}\n"
                                 "y = Gemm(p, cls, cb) {transB=1}\n"
                                 "output y\n";
    assert_optimized(
        before,
        "%0:float32[?,?,?,16] = ledge.Conv(x, w0, %1, _, _) {kernel_shape=[3,3], strides=[1,1], "
        "dilations=[1,1], group=1, pads=[1,1,1,1], w_scale=<16>, act=\"hardswish\", "
        "x_layout=\"nchw\"}\n"
        "%2:float32[?,?,?,16] = ledge.Conv(%0, wd, %3, _, _) {kernel_shape=[3,3], strides=[1,1], "
        "dilations=[1,1], group=16, pads=[1,1,1,1], w_scale=<16>, act=\"relu\"}\n"
        "%4:float32[?,1,1,16] = ledge.GlobalAveragePool(%2)\n"
        "%5:float32[?,1,1,8] = ledge.Conv(%4, f1, fb1, _, _) {kernel_shape=[1,1], strides=[1,1], "
        "dilations=[1,1], group=1, pads=[0,0,0,0], act=\"relu\"}\n"
        "%6:float32[?,1,1,16] = ledge.Conv(%5, f2, fb2, _, _) {kernel_shape=[1,1], strides=[1,1], "
        "dilations=[1,1], group=1, pads=[0,0,0,0], act=\"hardsigmoid\", act_alpha=0.166667, "
        "act_beta=0.5}\n"
        "%7:float32[?,?,?,16] = Mul(%6, %2)\n"
        "%8:float32[?,?,?,16] = ledge.Conv(%7, pw, %9, %0, _) {kernel_shape=[1,1], strides=[1,1], "
        "dilations=[1,1], group=1, pads=[0,0,0,0], w_scale=<16>}\n"
        "%10:float32[?,1,1,16] = ledge.GlobalAveragePool(%8)\n"
        "p:float32[?,16] = Reshape(%10, %11)\n"
        "y:float32[?,10] = ledge.Gemm(p, cls, %12, _) {transB=1}\n"
        "output y\n");
    assert_outputs_agree(before);
}

static void planes_are_read_by_the_first_conv(void **state)
{
    (void)state;
    assert_pass("planes",
                "input x f32[?,3,6,6]\n"
                "const w f32[4,3,3,3]\n"
                "a = Transpose(x) {perm=[0,2,3,1]}\n"
                "y = ledge.Conv(a, w, _, _, _) {strides=[2,2]}\n"
                "output y\n",
                "y:float32[?,2,2,4] = ledge.Conv(x, w, _, _, _) {strides=[2,2], "
                "x_layout=\"nchw\"}\n"
                "output y\n");
    assert_outputs_agree("input x f32[?,3,19,37]\n"
                         "const w f32[40,3,5,3]\n"
                         "const b f32[40]\n"
                         "y = Conv(x, w, b) {strides=[2,2], pads=[1,2,3,0]}\n"
                         "output y\n");
}

/* Another reader needs the pixels anyway, and many channels are read better as pixels. */
static void planes_stay_turned_where_that_saves_nothing(void **state)
{
    (void)state;
    assert_pass("planes",
                "input x f32[1,3,6,6]\n"
                "const w f32[4,3,3,3]\n"
                "a = Transpose(x) {perm=[0,2,3,1]}\n"
                "y = ledge.Conv(a, w, _, _, _)\n"
                "z = Relu(a)\n"
                "output y\n"
                "output z\n",
                NULL);
    assert_pass("planes",
                "input x f32[1,8,6,6]\n"
                "const w f32[4,8,3,3]\n"
                "a = Transpose(x) {perm=[0,2,3,1]}\n"
                "y = ledge.Conv(a, w, _, _, _)\n"
                "output y\n",
                NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_wraps_a_lone_conv),
        cmocka_unit_test(layout_converts_a_region_between_convs),
        cmocka_unit_test(layout_remaps_axes),
        cmocka_unit_test(layout_leaves_a_region_that_gains_nothing),
        cmocka_unit_test(layout_drops_the_transposes_of_an_nhwc_model),
        cmocka_unit_test(layout_keeps_one_conversion_at_each_border),
        cmocka_unit_test(layout_keeps_flattened_pools_free_of_transposes),
        cmocka_unit_test(layout_resizes_in_nhwc),
        cmocka_unit_test(layout_serves_squeeze_and_excite_of_any_image_size),
        cmocka_unit_test(planes_are_read_by_the_first_conv),
        cmocka_unit_test(planes_stay_turned_where_that_saves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
