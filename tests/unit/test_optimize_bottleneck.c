/* The inverted bottleneck: what the pass fuses, what it leaves, and that answers stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

/* An expansion from 8 to 96 channels, so that 40 × 40 pixels are wide. */
#define BLOCK(size, stride, pads, depthwise_act, residual)                                     \
    "input x f32[?,8," size "," size "]\n"                                                     \
    "const w1 f32[96,8,1,1]\n"                                                                 \
    "const b1 f32[96]\n"                                                                       \
    "const wd f32[96,1,3,3]\n"                                                                 \
    "const w2 f32[8,96,1,1]\n"                                                                 \
    "const b2 f32[8]\n"                                                                        \
    "a = Conv(x, w1, b1)\n"                                                                    \
    "b = Relu(a)\n"                                                                            \
    "c = Conv(b, wd) {strides=[" stride "], pads=[" pads "], group=96}\n"                      \
    "d = " depthwise_act "(c)\n"                                                               \
    "e = Conv(d, w2, b2)\n"                                                                    \
    "f = " residual "\n"                                                                       \
    "output f\n"

static void a_block_is_fused(void **state)
{
    (void)state;
    assert_pass("bottleneck",
                "input x f32[?,40,40,8]\n"
                "const w1 f32[96,8,1,1]\n"
                "const b1 f32[96]\n"
                "const wd f32[96,1,3,3]\n"
                "const w2 f32[8,96,1,1]\n"
                "a = ledge.Conv(x, w1, b1, _, _) {act=\"relu\"}\n"
                "b = ledge.Conv(a, wd, _, _, _) {group=96, strides=[1,1], pads=[1,1,1,1], "
                "act=\"clip\", act_min=0.5, act_max=6.5}\n"
                "y = ledge.Conv(b, w2, _, x, _)\n"
                "output y\n",
                "y:float32[?,40,40,8] = ledge.InvertedBottleneck(x, w1, b1, wd, _, w2, _, x) "
                "{expand_act=\"relu\", dw_act=\"clip\", dw_act_min=0.5, dw_act_max=6.5, act=\"none\", "
                "strides=[1,1], pads=[1,1,1,1]}\n"
                "output y\n");
}

static void a_depthwise_and_a_pointwise_are_fused(void **state)
{
    (void)state;
    assert_pass("bottleneck",
                "input x f32[1,100,100,16]\n"
                "const wd f32[16,1,5,5]\n"
                "const w2 f32[8,16,1,1]\n"
                "b = ledge.Conv(x, wd, _, _, _) {group=16, strides=[2,2], pads=[1,2,2,1]}\n"
                "y = ledge.Conv(b, w2, _, _, _) {act=\"relu\"}\n"
                "output y\n",
                "y:float32[1,50,50,8] = ledge.InvertedBottleneck(x, _, _, wd, _, w2, _, _) "
                "{dw_act=\"none\", act=\"relu\", strides=[2,2], pads=[1,2,2,1]}\n"
                "output y\n");
}

static void a_small_block_is_left(void **state)
{
    (void)state;
    assert_pass("bottleneck",
                "input x f32[1,10,10,16]\n"
                "const wd f32[16,1,3,3]\n"
                "const w2 f32[8,16,1,1]\n"
                "b = ledge.Conv(x, wd, _, _, _) {group=16}\n"
                "y = ledge.Conv(b, w2, _, _, _)\n"
                "output y\n",
                NULL);
}

static void a_wide_tensor_that_others_read_is_left(void **state)
{
    (void)state;
    assert_pass("bottleneck",
                "input x f32[1,100,100,16]\n"
                "const wd f32[16,1,3,3]\n"
                "const w2 f32[8,16,1,1]\n"
                "b = ledge.Conv(x, wd, _, _, _) {group=16}\n"
                "y = ledge.Conv(b, w2, _, _, _)\n"
                "output y\n"
                "output b\n",
                NULL);
}

static void answers_stay(void **state)
{
    (void)state;
    assert_outputs_agree(BLOCK("40", "1,1", "1,1,1,1", "Relu", "Add(e, x)"));
    assert_outputs_agree(BLOCK("41", "2,2", "0,0,1,1", "Relu", "Relu(e)"));
    assert_outputs_agree(BLOCK("39", "1,2", "1,0,0,1", "Sigmoid", "LeakyRelu(e)"));
    assert_outputs_agree(BLOCK("40", "1,1", "2,2,2,2", "HardSwish", "Tanh(e)"));
    assert_outputs_agree("input x f32[1,8,40,40]\n" /* factors that BatchNormalization left */
                         "const w1 f32[96,8,1,1]\n"
                         "const wd f32[96,1,3,3]\n"
                         "const w2 f32[8,96,1,1]\n"
                         "const s f32[96] positive\n"
                         "const t f32[96]\n"
                         "const v f32[96] positive\n"
                         "const s2 f32[8] positive\n"
                         "const t2 f32[8]\n"
                         "const v2 f32[8] positive\n"
                         "a = Conv(x, w1)\n"
                         "b = BatchNormalization(a, s, t, t, v)\n"
                         "c = Conv(b, wd) {group=96}\n"
                         "d = BatchNormalization(c, s, t, t, v)\n"
                         "e = Relu(d)\n"
                         "f = Conv(e, w2)\n"
                         "y = BatchNormalization(f, s2, t2, t2, v2)\n"
                         "output y\n");
    assert_outputs_agree("input x f32[1,37,100,60]\n"
                         "const wd f32[37,1,3,3]\n"
                         "const bd f32[37]\n"
                         "const w2 f32[19,37,1,1]\n"
                         "a = Conv(x, wd, bd) {group=37, pads=[1,1,1,1]}\n"
                         "y = Conv(a, w2)\n"
                         "output y\n");
}

static void convolutions_keep_their_answers(void **state)
{
    (void)state;
    assert_outputs_agree("input x f32[?,5,9,11]\n" /* first layer, grouped, dilated, framed */
                         "const a f32[20,5,3,3]\n"
                         "const b f32[20]\n"
                         "const c f32[40,5,3,3]\n"
                         "const d f32[12,40,1,1]\n"
                         "const e f32[8,12,3,2]\n"
                         "p = Conv(x, a, b) {pads=[1,1,1,1]}\n"
                         "q = Elu(p)\n"
                         "r = Conv(q, c) {group=4, strides=[2,1], auto_pad=\"SAME_LOWER\"}\n"
                         "s = Conv(r, d) {pads=[1,2,1,0]}\n"
                         "t = Relu(s)\n"
                         "y = Conv(t, e) {dilations=[2,3], pads=[1,1,1,1]}\n"
                         "output y\n");
    assert_outputs_agree("input x f32[2,16,30,30]\n" /* Winograd with residual and activation */
                         "const a f32[16,16,3,3]\n"
                         "const b f32[16]\n"
                         "p = Conv(x, a, b) {pads=[1,1,1,1]}\n"
                         "q = Add(p, x)\n"
                         "r = Relu(q)\n"
                         "s = Conv(r, a) {pads=[1,1,1,1]}\n"
                         "y = Tanh(s)\n"
                         "output y\n");
}

static void products_keep_their_answers(void **state)
{
    (void)state;
    assert_outputs_agree("input a f32[2,3,7,20]\n"
                         "input b f32[2,3,9,20]\n"
                         "input v f32[2,1,9,33]\n"
                         "const h f32[] = 0.25\n"
                         "t = Transpose(b) {perm=[0,1,3,2]}\n"
                         "s = MatMul(a, t)\n"
                         "u = Mul(s, h)\n"
                         "y = MatMul(u, v)\n"
                         "output y\n");
    assert_outputs_agree("input a f32[20,7]\n"
                         "input b f32[20,90]\n"
                         "t = Transpose(a) {perm=[1,0]}\n"
                         "y = MatMul(t, b)\n"
                         "output y\n");
    assert_outputs_agree("input a f32[?,50]\n"
                         "const w f32[50,70]\n"
                         "const b f32[70]\n"
                         "const v f32[3,70]\n"
                         "p = Gemm(a, w, b)\n"
                         "q = Relu(p)\n"
                         "y = Gemm(q, v) {transB=1, alpha=0.5}\n"
                         "output y\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_fused),
        cmocka_unit_test(a_depthwise_and_a_pointwise_are_fused),
        cmocka_unit_test(a_small_block_is_left),
        cmocka_unit_test(a_wide_tensor_that_others_read_is_left),
        cmocka_unit_test(answers_stay),
        cmocka_unit_test(convolutions_keep_their_answers),
        cmocka_unit_test(products_keep_their_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
