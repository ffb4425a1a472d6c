/* Passes that fuse quantized graphs into the 8-bit operators: convolutions, products, pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "graph_from_text.h"

/* Scales and zero points that the graphs below share. */
#define NUMBERS                                                                                    \
    "const s f32[] = 0.03\nconst z u8[] = 120\nconst s2 f32[] = 0.05\nconst z2 u8[] = 100\n"       \
    "const s4 f32[4] = 0.01,0.02,0.005,0.015\nconst z4 i8[4] = 0,0,0,0\nconst sw f32[] = 0.01\n"   \
    "const sb4 f32[4] = 0.0003,0.0006,0.00015,0.00045\n"

static void conv_takes_clamps_and_quantize(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,3,7,6]\n"
                                         "const w i8[4,3,3,3]\n"
                                         "const b i32[4]\n"
                                         "const low f32[] = -1.5\n"
                                         "const high f32[] = 2\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "bd = DequantizeLinear(b, sb4) {axis=0}\n"
                                         "c = Conv(d, wd, bd) {pads=[1,1,1,1], strides=[2,1]}\n"
                                         "r = Clip(c, low, high)\n"
                                         "q = QuantizeLinear(r, s2, z2)\n"
                                         "output q\n";
    assert_pass("q8_conv", before,
                "%0:uint8[1,7,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:uint8[1,4,6,4] = ledge.QConv(%0, w, %2, %3, _, _) {kernel_shape=[3,3], "
                "strides=[2,1], dilations=[1,1], group=1, pads=[1,1,1,1], x_zero=120, y_zero=100, "
                "y_lo=70, y_hi=140}\n"
                "q:uint8[1,4,4,6] = Transpose(%1) {perm=[0,3,1,2]}\n"
                "output q\n");
    assert_outputs_within(before, 1);
}

static void conv_of_int8_is_the_same_as_of_uint8(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,4,7,6]\n"
                                 "const s f32[] = 0.03\n"
                                 "const z i8[] = -8\n"
                                 "const w i8[4,1,3,3]\n"
                                 "const sw f32[] = 0.01\n"
                                 "q0 = QuantizeLinear(x, s, z)\n"
                                 "d = DequantizeLinear(q0, s, z)\n"
                                 "wd = DequantizeLinear(w, sw)\n"
                                 "c = Conv(d, wd) {auto_pad=\"SAME_UPPER\", group=4}\n"
                                 "r = Relu(c)\n"
                                 "q = QuantizeLinear(r, s, z)\n"
                                 "y = DequantizeLinear(q, s, z)\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:uint8[1,7,6,4] = ledge.Quantize(x) {scale=0.03, zero=120, "
                     "layout=\"nhwc\"}\n"
                     "%1:uint8[1,7,6,4] = ledge.QConv(%0, w, _, %2, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=4, pads=[1,1,1,1], x_zero=120, "
                     "y_zero=120, y_lo=120}\n"
                     "y:float32[1,4,7,6] = ledge.Dequantize(%1) {scale=0.03, zero=120, "
                     "layout=\"nchw\"}\n"
                     "output y\n");
    assert_outputs_within(before, 0.0301);
}

static void conv_without_quantize_gives_floats_and_takes_what_follows(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,3,7,6]\n"
                                         "const w i8[4,3,1,1]\n"
                                         "const v i8[4,3,1,1]\n"
                                         "const b f32[4]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "vd = DequantizeLinear(v, sw)\n"
                                         "e = Conv(d, vd)\n"
                                         "c = Conv(d, wd, b)\n"
                                         "a = Add(c, e)\n"
                                         "r = Sigmoid(a)\n"
                                         "output r\n";
    assert_optimized(before,
                     "%0:uint8[1,7,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:float32[1,7,6,4] = ledge.QConv(%0, v, _, %2, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "to_float=1}\n"
                     "%3:float32[1,7,6,4] = ledge.QConv(%0, w, %4, %5, %1, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "to_float=1, act=\"sigmoid\"}\n"
                     "r:float32[1,4,7,6] = Transpose(%3) {perm=[0,3,1,2]}\n"
                     "output r\n");
    assert_outputs_within(before, 3e-4); /* the bias is rounded to the sums' unit */
}

static void conv_that_is_read_twice_runs_once(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,3,7,6]\n"
                                         "const w i8[4,3,1,1]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "c = Conv(d, wd)\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "output q\n"
                                         "output c\n";
    assert_pass("q8_conv", before,
                "%0:uint8[1,7,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:float32[1,7,6,4] = ledge.QConv(%0, w, _, %2, _, _) {kernel_shape=[1,1], "
                "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                "to_float=1}\n"
                "c:float32[1,4,7,6] = Transpose(%1) {perm=[0,3,1,2]}\n"
                "q:uint8[1,4,7,6] = QuantizeLinear(c, s2, z2)\n"
                "output q\n"
                "output c\n");
    assert_outputs_within(before, 1);
}

static void conv_of_one_dimension_has_height_1(void **state)
{
    (void)state;
    static const char before[] =
        NUMBERS "input x u8[2,3,17]\n"
                "const w i8[4,3,5]\n"
                "d = DequantizeLinear(x, s, z)\n"
                "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                "c = Conv(d, wd) {pads=[2,1], strides=[2], dilations=[2]}\n"
                "q = QuantizeLinear(c, s2, z2)\n"
                "output q\n";
    assert_pass("q8_conv", before,
                "%0:uint8[2,3,1,17] = Reshape(x, %1)\n"
                "%2:uint8[2,1,17,3] = Transpose(%0) {perm=[0,2,3,1]}\n"
                "%3:uint8[2,1,6,4] = ledge.QConv(%2, %4, _, %5, _, _) {kernel_shape=[1,5], "
                "strides=[1,2], dilations=[1,2], group=1, pads=[0,2,0,1], x_zero=120, "
                "y_zero=100}\n"
                "%6:uint8[2,4,1,6] = Transpose(%3) {perm=[0,3,1,2]}\n"
                "q:uint8[2,4,6] = Reshape(%6, %7)\n"
                "output q\n");
    assert_outputs_within(before, 1);
}

static void unsigned_weights_lose_or_keep_their_zero_point(void **state)
{
    (void)state;
    static const char *const zeros[] = {"128", "120", "3"};
    static const char *const attr[] = {"", ", w_zero=[-8]", ", w_zero=[-125]"};
    for (int i = 0; i < 3; i++) {
        char text[900], after[600];
        snprintf(text, sizeof text,
                 NUMBERS "input x u8[1,3,7,6]\nconst w u8[4,3,3,2]\nconst zw u8[] = %s\n"
                         "d = DequantizeLinear(x, s, z)\nwd = DequantizeLinear(w, sw, zw)\n"
                         "c = Conv(d, wd)\nq = QuantizeLinear(c, s2, z2)\noutput q\n",
                 zeros[i]);
        snprintf(after, sizeof after,
                 "%%0:uint8[1,7,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                 "%%1:uint8[1,5,5,4] = ledge.QConv(%%0, %%2, _, %%3, _, _) {kernel_shape=[3,2], "
                 "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120%s, "
                 "y_zero=100}\n"
                 "q:uint8[1,4,5,5] = Transpose(%%1) {perm=[0,3,1,2]}\noutput q\n",
                 attr[i]);
        assert_pass("q8_conv", text, after);
        assert_outputs_within(text, 1);
    }
}

static void bias_of_other_units_is_converted(void **state)
{
    (void)state;
    static const char *const biases[] = {
        "const b f32[4]\n",
        "const b0 i32[4]\nconst sb f32[] = 0.002\nb = DequantizeLinear(b0, sb)\n",
        "const b0 i8[4]\nconst sb f32[] = 0.02\nb = DequantizeLinear(b0, sb)\n"};
    for (size_t i = 0; i < sizeof biases / sizeof biases[0]; i++) {
        char text[900];
        snprintf(text, sizeof text,
                 NUMBERS "input x u8[1,3,5,5]\nconst w i8[4,3,1,1]\n%s"
                         "d = DequantizeLinear(x, s, z)\nwd = DequantizeLinear(w, s4) {axis=0}\n"
                         "c = Conv(d, wd, b)\nq = QuantizeLinear(c, s2, z2)\noutput q\n",
                 biases[i]);
        assert_optimized(
            text, "%0:uint8[1,5,5,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                  "%1:uint8[1,5,5,4] = ledge.QConv(%0, w, %2, %3, _, _) {kernel_shape=[1,1], "
                  "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                  "y_zero=100}\n"
                  "q:uint8[1,4,5,5] = Transpose(%1) {perm=[0,3,1,2]}\n"
                  "output q\n");
        assert_outputs_within(text, 1);
    }
}

static void what_is_no_sound_convolution_of_bytes_stays(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "input w i8[4,4,1,1]\nwd = DequantizeLinear(w, sw)\nc = Conv(d, wd)\n", /* made at run time
                                                                                 */
        "const w i8[4,4,1,1]\nwd = DequantizeLinear(w, s4) {axis=1}\nc = Conv(d, wd)\n",
        "const w i8[4,4,1,1]\nconst n f32[] = -0.1\nwd = DequantizeLinear(w, n)\n"
        "c = Conv(d, wd)\n",
        "const w i8[4,4,1,1]\nconst n f32[4] = 1,1,0,1\nwd = DequantizeLinear(w, n) {axis=0}\n"
        "c = Conv(d, wd)\n",
        "const w i8[4,4,1,1]\nconst n f32[] = 1e38\nwd = DequantizeLinear(w, n)\n" /* over s: inf */
        "c0 = Conv(d, wd)\nc = Mul(c0, s)\n",
        "const w i8[4,4,1,1]\nconst b f32[4] = 1e9,0,0,0\nwd = DequantizeLinear(w, sw)\n"
        "c = Conv(d, wd, b)\n", /* no int32 in that unit */
        "const w i8[4,4,1,1]\ninput b f32[4]\nwd = DequantizeLinear(w, sw)\nc = Conv(d, wd, b)\n",
        "const w i8[4,4,1,1]\nconst zw f32[] = nan\nwd = DequantizeLinear(w, zw)\n"
        "c = Conv(d, wd)\n",
        "const w i16[4,4,1,1]\nwd = DequantizeLinear(w, sw)\nc = Conv(d, wd)\n",
        "const wd f32[4,4,1,1]\nc = Conv(d, wd)\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char text[900];
        snprintf(text, sizeof text,
                 NUMBERS "const big f32[] = 100\ninput x u8[1,4,5,5]\n"
                         "d = DequantizeLinear(x, %s, z)\n%sq = QuantizeLinear(c, s2, z2)\n"
                         "output q\n",
                 i == 4 ? "big" : "s", parts[i]);
        assert_pass("q8_conv", text, NULL);
    }
}

static void residual_sum_joins_conv_with_its_own_rounding(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,4,6,6]\n"
                                         "const w i8[4,4,1,1]\n"
                                         "const v i8[4,4,1,1]\n"
                                         "d0 = DequantizeLinear(x, s, z)\n"
                                         "vd = DequantizeLinear(v, sw)\n"
                                         "c0 = Conv(d0, vd)\n"
                                         "q0 = QuantizeLinear(c0, s, z)\n"
                                         "d = DequantizeLinear(q0, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "c = Conv(d, wd)\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "cd = DequantizeLinear(q, s2, z2)\n"
                                         "a = Add(cd, d)\n"
                                         "r = Relu(a)\n"
                                         "q2 = QuantizeLinear(r, s, z)\n"
                                         "output q2\n";
    assert_optimized(before,
                     "%0:uint8[1,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:uint8[1,6,6,4] = ledge.QConv(%0, v, _, %2, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=120}\n"
                     "%3:uint8[1,6,6,4] = ledge.QConv(%1, w, _, %4, %1, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=100, y_scale=1.66667, r_scale=1, r_zero=120, z_zero=120, z_lo=120, "
                     "z_hi=255}\n"
                     "q2:uint8[1,4,6,6] = Transpose(%3) {perm=[0,3,1,2]}\n"
                     "output q2\n");
    assert_outputs_within(before, 4); /* a step of q0 and of q, carried on */
}

static void relu_of_bytes_becomes_bounds(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,4,6,6]\n"
                                         "const w i8[4,4,1,1]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "c = Conv(d, wd)\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "cd = DequantizeLinear(q, s2, z2)\n"
                                         "r = Relu(cd)\n"
                                         "q2 = QuantizeLinear(r, s2, z2)\n"
                                         "output q2\n";
    assert_optimized(before,
                     "%0:uint8[1,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:uint8[1,6,6,4] = ledge.QConv(%0, w, _, %2, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=100, y_lo=100, y_hi=255}\n"
                     "q2:uint8[1,4,6,6] = Transpose(%1) {perm=[0,3,1,2]}\n"
                     "output q2\n");
    assert_outputs_within(before, 1);
}

static void concat_of_convs_is_written_in_place(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,4,6,6]\n"
                                         "const w i8[4,4,1,1]\n"
                                         "const v i8[8,4,1,1]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "vd = DequantizeLinear(v, sw)\n"
                                         "c = Conv(d, wd)\n"
                                         "e = Conv(d, vd)\n"
                                         "k = Concat(c, e) {axis=1}\n"
                                         "q = QuantizeLinear(k, s2, z2)\n"
                                         "output q\n";
    assert_optimized(before,
                     "%0:uint8[1,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:uint8[1,6,6,12] = ledge.QConv(%0, w, _, %2, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=100, out_channels=12, out_offset=0}\n"
                     "%3:uint8[1,6,6,12] = ledge.QConv(%0, v, _, %4, _, %1) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=100, out_channels=12, out_offset=4}\n"
                     "q:uint8[1,12,6,6] = Transpose(%3) {perm=[0,3,1,2]}\n"
                     "output q\n");
    assert_outputs_within(before, 1);
}

static void pad_before_conv_becomes_its_padding(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[1,4,6,6]\n"
                                         "const w i8[4,4,3,3]\n"
                                         "const p i64[8] = 0,0,1,0,0,0,1,2\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "e = Pad(d, p)\n"
                                         "pq = QuantizeLinear(e, s, z)\n"
                                         "pd = DequantizeLinear(pq, s, z)\n"
                                         "c = Conv(pd, wd)\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "output q\n";
    assert_optimized(before,
                     "%0:uint8[1,6,6,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:uint8[1,6,6,4] = ledge.QConv(%0, w, _, %2, _, _) {kernel_shape=[3,3], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[1,0,1,2], x_zero=120, "
                     "small_sums=1, y_zero=100}\n"
                     "q:uint8[1,4,6,6] = Transpose(%1) {perm=[0,3,1,2]}\n"
                     "output q\n");
    assert_outputs_within(before, 1);
}

/* A filter of 9 × 116 weights `w`. */
static void assert_small_sums(int w, const char *attr)
{
    char before[8192], after[1024];
    size_t n = (size_t)snprintf(before, sizeof(before),
                                NUMBERS "input x u8[1,116,6,6]\nconst w i8[1,116,3,3] = ");
    for (int i = 0; i < 9 * 116; i++)
        n += (size_t)snprintf(before + n, sizeof(before) - n, "%d,", w);
    snprintf(before + n, sizeof(before) - n,
             "\nd = DequantizeLinear(x, s, z)\nwd = DequantizeLinear(w, s2)\nc = Conv(d, wd)\n"
             "q = QuantizeLinear(c, s2, z2)\noutput q\n");
    snprintf(after, sizeof(after),
             "%%0:uint8[1,6,6,116] = Transpose(x) {perm=[0,2,3,1]}\n"
             "%%1:uint8[1,4,4,1] = ledge.QConv(%%0, w, _, %%2, _, _) {kernel_shape=[3,3], "
             "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, %sy_zero=100}\n"
             "q:uint8[1,1,4,4] = Transpose(%%1) {perm=[0,3,1,2]}\noutput q\n",
             attr);
    assert_pass("q8_conv", before, after);
}

static void conv_says_whether_filters_sum_up_to_little(void **state)
{
    (void)state;
    assert_small_sums(126, "small_sums=1, ");
    assert_small_sums(127, "");
    assert_small_sums(-126, "small_sums=1, ");
    assert_small_sums(-127, "");
}

static void gemm_takes_bias_and_factors(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[3,8]\n"
                                         "const w i8[4,8]\n"
                                         "const b f32[4]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "c = Gemm(d, wd, b) {transB=1, alpha=0.5, beta=2.0}\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "output q\n";
    assert_optimized(before, "q:uint8[3,4] = ledge.QGemm(x, w, %0, %1, _) {a_zero=120, trans_b=1, "
                             "y_zero=100}\n"
                             "output q\n");
    assert_outputs_within(before, 1);
}

static void matmul_takes_the_bias_behind_it(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[2,?,8]\n"
                                         "const w i8[8,4]\n"
                                         "const v i8[8,4]\n"
                                         "const b f32[4]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=1}\n"
                                         "c = MatMul(d, wd)\n"
                                         "a = Add(b, c)\n"
                                         "q = QuantizeLinear(a, s2, z2)\n"
                                         "vd = DequantizeLinear(v, s4, z4) {axis=1}\n"
                                         "m = MatMul(d, vd)\n"
                                         "e = Add(m, b)\n"
                                         "t = Tanh(e)\n"
                                         "output q\n"
                                         "output t\n";
    assert_optimized(before,
                     "q:uint8[2,?,4] = ledge.QGemm(x, w, %0, %1, _) {a_zero=120, y_zero=100}\n"
                     "t:float32[2,?,4] = ledge.QGemm(x, v, %2, %3, _) {a_zero=120, to_float=1, "
                     "act=\"tanh\"}\n"
                     "output q\n"
                     "output t\n");
    assert_outputs_within(before, 1);
}

static void matmul_of_two_tensors(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x u8[2,3,5,8]\n"
                                         "input w u8[2,3,8,4]\n"
                                         "d = DequantizeLinear(x, s, z)\n"
                                         "wd = DequantizeLinear(w, s2, z2)\n"
                                         "c = MatMul(d, wd)\n"
                                         "q = QuantizeLinear(c, s2, z2)\n"
                                         "output q\n";
    assert_optimized(before, "q:uint8[2,3,5,4] = ledge.QGemm(x, w, _, %0, _) {a_zero=120, "
                             "b_zero=100, y_zero=100}\n"
                             "output q\n");
    assert_outputs_within(before, 1);
}

static void pools_of_bytes(void **state)
{
    (void)state;
    static const char before[] =
        NUMBERS "input x u8[1,4,6,7]\n"
                "d = DequantizeLinear(x, s, z)\n"
                "a = AveragePool(d) {kernel_shape=[3,2], pads=[1,0,1,1], strides=[2,2]}\n"
                "q = QuantizeLinear(a, s2, z2)\n"
                "e = DequantizeLinear(q, s2, z2)\n"
                "m = ReduceMean(e) {axes=[2,3]}\n"
                "q2 = QuantizeLinear(m, s, z)\n"
                "output q2\n";
    assert_optimized(before, "%0:uint8[1,6,7,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                             "%1:uint8[1,3,4,4] = ledge.QAveragePool(%0) {kernel_shape=[3,2], "
                             "pads=[1,0,1,1], strides=[2,2], x_zero=120, scale=0.6, y_zero=100}\n"
                             "%2:uint8[1,1,1,4] = ledge.QGlobalAveragePool(%1) {x_zero=100, "
                             "scale=1.66667, y_zero=120}\n"
                             "q2:uint8[1,4,1,1] = Reshape(%2, %3)\n"
                             "output q2\n");
    assert_outputs_within(before, 1);
}

static void qlinear_operators_become_the_same(void **state)
{
    (void)state;
    static const char before[] =
        NUMBERS "input x u8[1,3,6,6]\n"
                "const w i8[4,3,1,1]\n"
                "const b i32[4]\n"
                "const v i8[4,5]\n"
                "const zv i8[] = 0\n"
                "c = QLinearConv(x, s, z, w, s4, z4, s2, z2, b)\n"
                "l = com.microsoft.QLinearLeakyRelu(c, s2, z2, s2, z2) {alpha=0.3}\n"
                "a = com.microsoft.QLinearAdd(c, s2, z2, l, s2, z2, s, z)\n"
                "p = com.microsoft.QLinearGlobalAveragePool(a, s, z, s2, z2)\n"
                "f = Flatten(p)\n"
                "m = QLinearMatMul(f, s2, z2, v, sw, zv, s, z)\n"
                "output m\n";
    assert_optimized(before,
                     "%0:uint8[1,6,6,3] = Transpose(x) {perm=[0,2,3,1]}\n"
                     "%1:uint8[1,6,6,4] = ledge.QConv(%0, w, %2, %3, _, _) {kernel_shape=[1,1], "
                     "strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_zero=120, "
                     "y_zero=100}\n"
                     "%4:uint8[1,6,6,4] = ledge.QMap(%1, %5) {to=2}\n"
                     "%6:uint8[1,1,1,4] = ledge.QGlobalAveragePool(%4) {x_zero=120, scale=0.6, "
                     "y_zero=100}\n"
                     "f:uint8[1,4] = Reshape(%6, %7)\n"
                     "m:uint8[1,5] = ledge.QGemm(f, v, _, %8, _) {a_zero=100, y_zero=120}\n"
                     "output m\n");
    assert_outputs_within(before, 1);
}

static void weights_of_floats_become_floats(void **state)
{
    (void)state;
    static const char before[] = NUMBERS "input x f32[1,3,6,6]\n"
                                         "const w i8[4,3,3,3]\n"
                                         "wd = DequantizeLinear(w, s4, z4) {axis=0}\n"
                                         "c = Conv(x, wd)\n"
                                         "output c\n";
    assert_optimized(before,
                     "%0:float32[1,4,4,4] = ledge.Conv(x, wd, _, _, _) {kernel_shape=[3,3], strides=[1,1], dilations=[1,1], group=1, pads=[0,0,0,0], x_layout=\"nchw\"}\n"
                     "c:float32[1,4,4,4] = Transpose(%0) {perm=[0,3,1,2]}\n"
                     "output c\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_takes_clamps_and_quantize),
        cmocka_unit_test(conv_of_int8_is_the_same_as_of_uint8),
        cmocka_unit_test(conv_without_quantize_gives_floats_and_takes_what_follows),
        cmocka_unit_test(conv_that_is_read_twice_runs_once),
        cmocka_unit_test(conv_of_one_dimension_has_height_1),
        cmocka_unit_test(unsigned_weights_lose_or_keep_their_zero_point),
        cmocka_unit_test(bias_of_other_units_is_converted),
        cmocka_unit_test(what_is_no_sound_convolution_of_bytes_stays),
        cmocka_unit_test(residual_sum_joins_conv_with_its_own_rounding),
        cmocka_unit_test(relu_of_bytes_becomes_bounds),
        cmocka_unit_test(concat_of_convs_is_written_in_place),
        cmocka_unit_test(pad_before_conv_becomes_its_padding),
        cmocka_unit_test(conv_says_whether_filters_sum_up_to_little),
        cmocka_unit_test(gemm_takes_bias_and_factors),
        cmocka_unit_test(matmul_takes_the_bias_behind_it),
        cmocka_unit_test(matmul_of_two_tensors),
        cmocka_unit_test(pools_of_bytes),
        cmocka_unit_test(qlinear_operators_become_the_same),
        cmocka_unit_test(weights_of_floats_become_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
