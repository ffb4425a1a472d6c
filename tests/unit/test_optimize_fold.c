/* Passes that fold scales, shifts and pads into weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void bn_folds_into_conv_without_a_copy_of_the_weights(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8,6,6]\n"
                                 "const w f32[4,8,3,3]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = Conv(x, w) {pads=[1,1,1,1]}\n"
                                 "y = BatchNormalization(c, s, b, m, v) {epsilon=0.001}\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[?,6,6,8] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:float32[?,6,6,4] = ledge.Conv(%0, w, %2, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[1,1,1,1], w_scale=<4>}\n"
                     "y:float32[?,4,6,6] = Transpose(%1) {perm=[0,3,1,2]}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void bn_folds_into_conv_in_plain_onnx(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8,6,6]\n"
                                 "const w f32[4,8,3,3]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = Conv(x, w) {pads=[1,1,1,1]}\n"
                                 "n = BatchNormalization(c, s, b, m, v) {epsilon=0.001}\n"
                                 "y = Relu(n)\n"
                                 "output y\n";
    assert_optimized_portable(before, "c:float32[?,4,6,6] = Conv(x, %0, %1) {pads=[1,1,1,1]}\n"
                                      "y:float32[?,4,6,6] = Relu(c)\n"
                                      "output y\n");
    assert_outputs_agree(before);
}

static void bn_folds_into_depthwise_and_grouped_convs(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,6,6]\n"
                                 "const w f32[4,1,3,3]\n"
                                 "const u f32[4,2,1,1]\n"
                                 "const ub f32[4]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = Conv(x, w) {group=4}\n"
                                 "n = BatchNormalization(c, s, b, m, v)\n"
                                 "d = Conv(n, u, ub) {group=2}\n"
                                 "y = BatchNormalization(d, v, m, b, v)\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[1,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:float32[1,4,4,4] = ledge.Conv(%0, w, %2, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=4, pads=[0,0,0,0], w_scale=<4>}\n"
                     "%3:float32[1,4,4,4] = ledge.Conv(%1, u, %4, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=2, pads=[0,0,0,0], w_scale=<4>}\n"
                     "y:float32[1,4,4,4] = Transpose(%3) {perm=[0,3,1,2]}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void bn_folds_into_grouped_conv_transpose(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,6,5,5]\n"
                                 "const w f32[6,2,3,3]\n"
                                 "const cb f32[4]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = ConvTranspose(x, w, cb) {group=2}\n"
                                 "y = BatchNormalization(c, s, b, m, v)\n"
                                 "output y\n";
    assert_pass("bn_fold", before,
                "y:float32[1,4,7,7] = ConvTranspose(x, %0, %1) {group=2}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void bn_folds_into_gemm(void **state)
{
    (void)state;
    static const char before[] = "input x f32[3,5]\n"
                                 "const w f32[5,4]\n"
                                 "const cb f32[4]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = Gemm(x, w, cb) {alpha=0.5}\n"
                                 "y = BatchNormalization(c, s, b, m, v)\n"
                                 "output y\n";
    assert_pass("bn_fold", before,
                "y:float32[3,4] = Gemm(x, %0, %1) {alpha=0.5}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void bn_folds_into_the_conv_behind_it(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,6,6]\n"
                                 "const w f32[6,2,3,3]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "n = BatchNormalization(x, s, b, m, v)\n"
                                 "y = Conv(n, w) {group=2}\n"
                                 "output y\n";
    assert_pass("bn_fold", before,
                "y:float32[1,6,4,4] = Conv(x, %0, %1) {group=2}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void bn_stays_before_a_conv_that_pads(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,6,6]\n"
                                 "const w f32[6,4,3,3]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "n = BatchNormalization(x, s, b, m, v)\n"
                                 "y = Conv(n, w) {pads=[1,1,1,1]}\n"
                                 "output y\n";
    assert_pass("bn_fold", before, NULL);
    assert_outputs_agree(before);
}

static void bn_stays_behind_a_conv_that_is_read_twice(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,8,6,6]\n"
                                 "const w f32[4,8,1,1]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "c = Conv(x, w)\n"
                                 "n = BatchNormalization(c, s, b, m, v)\n"
                                 "y = Add(n, c)\n"
                                 "output y\n";
    assert_pass("bn_fold", before, NULL);
    assert_outputs_agree(before);
}

static void bn_alone_splits_into_mul_and_add(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,6,6]\n"
                                 "const s f32[4]\n"
                                 "const b f32[4]\n"
                                 "const m f32[4]\n"
                                 "const v f32[4] positive\n"
                                 "y = BatchNormalization(x, s, b, m, v)\n"
                                 "output y\n";
    assert_pass("bn_split", before,
                "%0:float32[?,4,6,6] = Mul(x, %1)\n"
                "y:float32[?,4,6,6] = Add(%0, %2)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void const_affine_folds_factors_and_addends(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,8]\n"
                                 "const w f32[4,8,3,3]\n"
                                 "const a f32[4]\n"
                                 "const k f32[1,1,1,4] positive\n"
                                 "const h f32[] = 0.5\n"
                                 "c = ledge.Conv(x, w, _, _, _)\n"
                                 "d = Add(c, a)\n"
                                 "e = Div(d, k)\n"
                                 "f = Sub(e, h)\n"
                                 "y = Mul(h, f)\n"
                                 "output y\n";
    assert_pass("const_affine", before,
                "y:float32[?,4,4,4] = ledge.Conv(x, w, %0, _, _) {w_scale=<4>}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void const_affine_folds_into_gemm_and_conv_transpose(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,6]\n"
                                 "input z f32[?,5]\n"
                                 "const w f32[6,2,3,3]\n"
                                 "const a f32[4,1,1]\n"
                                 "const u f32[5,4]\n"
                                 "const k f32[4]\n"
                                 "c = ConvTranspose(x, w) {group=2}\n"
                                 "d = Add(c, a)\n"
                                 "y = Mul(d, a)\n"
                                 "g = ledge.Gemm(z, u, k, _)\n"
                                 "h = Mul(k, g)\n"
                                 "i = Sub(h, k)\n"
                                 "output y\n"
                                 "output i\n";
    assert_pass("const_affine", before,
                "y:float32[?,4,8,8] = ConvTranspose(x, %0, %1) {group=2}\n"
                "i:float32[?,4] = ledge.Gemm(z, %2, %3, _)\n"
                "output y\n"
                "output i\n");
    assert_outputs_agree(before);
}

static void const_affine_leaves_other_shapes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,8]\n"
                                 "const w f32[6,8,1,1]\n"
                                 "const a f32[6,1,1]\n"
                                 "c = ledge.Conv(x, w, _, _, _)\n"
                                 "y = Add(c, a)\n"
                                 "output y\n";
    assert_pass("const_affine", before, NULL);
    assert_outputs_agree(before);
}

static void const_affine_leaves_reversed_operands(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,6,6,8]\n"
                                 "const w f32[6,8,1,1]\n"
                                 "const h f32[] = 0.5\n"
                                 "c = ledge.Conv(x, w, _, _, _)\n"
                                 "y = Sub(h, c)\n"
                                 "output y\n";
    assert_pass("const_affine", before, NULL);
    assert_outputs_agree(before);
}

static void pad_folds_into_conv_and_pools(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,6,6]\n"
                                 "const w f32[4,3,3,3]\n"
                                 "const pads i64[8] = 0,0,0,1,0,0,1,1\n"
                                 "p = Pad(x, pads)\n"
                                 "c = Conv(p, w) {pads=[1,0,1,0], strides=[2,2]}\n"
                                 "r = Relu(x)\n"
                                 "q = Pad(r, pads)\n"
                                 "m = MaxPool(q) {kernel_shape=[2,2]}\n"
                                 "s = Pad(x, pads)\n"
                                 "a = AveragePool(s) {kernel_shape=[2,2]}\n"
                                 "output c\n"
                                 "output m\n"
                                 "output a\n";
    assert_pass(
        "pad_fold", before,
        "c:float32[?,4,4,3] = Conv(x, w) {pads=[1,1,2,1], strides=[2,2], auto_pad=\"NOTSET\"}\n"
        "r:float32[?,3,6,6] = Relu(x)\n"
        "m:float32[?,3,6,7] = MaxPool(r) {kernel_shape=[2,2], auto_pad=\"NOTSET\", "
        "pads=[0,1,1,1]}\n"
        "a:float32[?,3,6,7] = AveragePool(x) {kernel_shape=[2,2], count_include_pad=1, "
        "auto_pad=\"NOTSET\", pads=[0,1,1,1]}\n"
        "output c\n"
        "output m\n"
        "output a\n");
    assert_outputs_agree(before);
}

static void pad_stays_before_a_max_pool_of_signed_data(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,6,6]\n"
                                 "const pads i64[8] = 0,0,0,1,0,0,2,1\n"
                                 "p = Pad(x, pads)\n"
                                 "y = MaxPool(p) {kernel_shape=[2,2]}\n"
                                 "output y\n";
    assert_pass("pad_fold", before, NULL);
    assert_outputs_agree(before);
}

static void pad_stays_where_a_pool_would_see_nothing_else(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,6,6]\n"
                                 "const pads i64[8] = 0,0,0,1,0,0,2,1\n"
                                 "s = Pad(x, pads)\n"
                                 "y = AveragePool(s) {kernel_shape=[2,2]}\n"
                                 "output y\n";
    assert_pass("pad_fold", before, NULL);
    assert_outputs_agree(before);
}

static void pad_stays_when_it_widens_channels_or_is_not_zero(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,2,6,6]\n"
                                 "const w f32[4,3,3,3]\n"
                                 "const pads i64[8] = 0,1,0,0,0,0,0,0\n"
                                 "const spatial i64[8] = 0,0,1,1,0,0,1,1\n"
                                 "const one f32[] = 1\n"
                                 "p = Pad(x, pads)\n"
                                 "c = Conv(p, w)\n"
                                 "const w2 f32[4,2,3,3]\n"
                                 "q = Pad(x, spatial, one)\n"
                                 "d = Conv(q, w2)\n"
                                 "output c\n"
                                 "output d\n";
    assert_pass("pad_fold", before, NULL);
    assert_outputs_agree(before);
}

static void reduce_mean_over_space_is_a_pool(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,6,6]\n"
                                 "a = ReduceMean(x) {axes=[2,3], keepdims=1}\n"
                                 "b = ReduceMean(x) {axes=[-1,-2], keepdims=0}\n"
                                 "c = ReduceMean(x) {axes=[1,2]}\n"
                                 "output a\n"
                                 "output b\n"
                                 "output c\n";
    assert_pass("reduce_mean_pool", before,
                "a:float32[?,3,1,1] = GlobalAveragePool(x)\n"
                "%0:float32[?,3,1,1] = GlobalAveragePool(x)\n"
                "b:float32[?,3] = Reshape(%0, %1)\n"
                "c:float32[?,1,1,6] = ReduceMean(x) {axes=[1,2]}\n"
                "output a\n"
                "output b\n"
                "output c\n");
    assert_outputs_agree(before);
}

static void conv1d_becomes_2d(void **state)
{
    (void)state;
    static const char before[] =
        "input x f32[?,4,9]\n"
        "const w f32[6,4,3]\n"
        "const b f32[6]\n"
        "y = Conv(x, w, b) {kernel_shape=[3], strides=[2], pads=[1,0], dilations=[1]}\n"
        "output y\n";
    assert_pass("conv1d", before,
                "%0:float32[?,4,1,9] = Reshape(x, %1)\n"
                "%2:float32[?,6,1,4] = Conv(%0, %3, b) {kernel_shape=[1,3], strides=[1,2], "
                "pads=[0,1,0,0], dilations=[1,1]}\n"
                "y:float32[?,6,4] = Reshape(%2, %4)\n"
                "output y\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bn_folds_into_conv_without_a_copy_of_the_weights),
        cmocka_unit_test(bn_folds_into_conv_in_plain_onnx),
        cmocka_unit_test(bn_folds_into_depthwise_and_grouped_convs),
        cmocka_unit_test(bn_folds_into_grouped_conv_transpose),
        cmocka_unit_test(bn_folds_into_gemm),
        cmocka_unit_test(bn_folds_into_the_conv_behind_it),
        cmocka_unit_test(bn_stays_before_a_conv_that_pads),
        cmocka_unit_test(bn_stays_behind_a_conv_that_is_read_twice),
        cmocka_unit_test(bn_alone_splits_into_mul_and_add),
        cmocka_unit_test(const_affine_folds_factors_and_addends),
        cmocka_unit_test(const_affine_folds_into_gemm_and_conv_transpose),
        cmocka_unit_test(const_affine_leaves_other_shapes),
        cmocka_unit_test(const_affine_leaves_reversed_operands),
        cmocka_unit_test(pad_folds_into_conv_and_pools),
        cmocka_unit_test(pad_stays_before_a_max_pool_of_signed_data),
        cmocka_unit_test(pad_stays_where_a_pool_would_see_nothing_else),
        cmocka_unit_test(pad_stays_when_it_widens_channels_or_is_not_zero),
        cmocka_unit_test(reduce_mean_over_space_is_a_pool),
        cmocka_unit_test(conv1d_becomes_2d),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
