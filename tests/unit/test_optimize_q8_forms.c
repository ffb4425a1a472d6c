/* ConvTranspose and Conv over three dimensions in quantized graphs: as convolutions of bytes over
 * two they give the bytes that the plain loop in floats gives. All scales are powers of two, so
 * that neither rounds anywhere but at the end, and outputs must be equal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/optimize/optimize.h"
#include "graph_from_text.h"

enum { TEXT = 1400 };

typedef struct Case {
    const char *op, *x, *w; /* and shapes */
    int m;                  /* channels of a bias */
    const char *attrs;
    bool by_bytes; /* whether it is served */
} Case;

static const Case cases[] = {
    {"ConvTranspose", "1,8,5,4", "8,4,2,2", 4, "strides=[2,2]", true},
    {"ConvTranspose", "2,3,5,4", "3,5,4,4", 5, "strides=[2,2], pads=[1,1,1,1]", true},
    {"ConvTranspose", "1,4,5,7", "4,6,3,3", 6,
     "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]", true},
    {"ConvTranspose", "1,4,5,7", "4,6,3,3", 6, "strides=[2,1], pads=[0,2,1,0]", true},
    {"ConvTranspose", "1,4,3,2", "4,2,5,4", 2, "strides=[3,2], pads=[4,0,2,3]", true},
    {"ConvTranspose", "1,4,5,4", "4,3,2,1", 3, "strides=[3,4]", true}, /* holes: the bias alone */
    {"ConvTranspose", "1,4,5,4", "4,1,3,3", 1, "pads=[1,0,2,1]", true},
    {"ConvTranspose", "1,4,6,5", "4,3,3,2", 3, "dilations=[2,3], pads=[2,1,1,0]", true},
    {"ConvTranspose", "1,6,5,4", "6,2,4,3", 4, "strides=[2,2], pads=[1,0,1,1], group=2", true},
    {"ConvTranspose", "1,5,5,4", "5,1,4,4", 5, "strides=[2,2], pads=[1,1,1,1], group=5", true},
    {"ConvTranspose", "2,5,5,4", "5,1,3,2", 5, "strides=[1,2], pads=[1,0,0,1], group=5", true},
    {"ConvTranspose", "1,4,9", "4,3,4", 3, "strides=[2], pads=[1,1]", true},
    {"ConvTranspose", "2,4,9", "4,3,5", 3, "strides=[3], pads=[3,1], output_padding=[2]", true},
    {"ConvTranspose", "1,4,5,4", "4,3,3,3", 3, "strides=[2,2], output_shape=[10,8]", false},
    {"ConvTranspose", "1,4,5,4", "4,3,3,3", 3, "strides=[2,2], auto_pad=\"SAME_UPPER\"", false},
    {"ConvTranspose", "1,4,5,4", "4,3,3,3", 3, "strides=[2,2], dilations=[2,2]", false},
    {"ConvTranspose", "1,4,5,4", "4,3,2,2", 3, "strides=[2,2], pads=[2,0,0,0]",
     false}, /* a row is not read */
    {"ConvTranspose", "1,4,3,5,4", "4,3,2,2,2", 3, "strides=[2,2,2]", false},
    {"Conv", "1,4,5,6,4", "3,4,3,3,3", 3, "pads=[1,1,1,1,1,1]", true},
    {"Conv", "2,3,7,5,6", "5,3,3,2,1", 5, "strides=[2,1,3], pads=[1,0,0,0,1,0]", true},
    {"Conv", "1,2,9,5,6", "4,2,3,2,2", 4, "dilations=[3,2,1], pads=[2,0,1,1,1,0]", true},
    {"Conv", "1,8,5,5,6", "4,8,1,1,1", 4, "strides=[2,2,1]", true},
    {"Conv", "1,4,3,5,6", "4,2,1,3,3", 4, "group=2", false},
    {"Conv", "1,4,3,5,6", "4,4,2,3,3", 4, "auto_pad=\"SAME_LOWER\"", false},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* A graph of it: activations u8 or i8, weights i8 or u8, with a bias and a Relu or not, to bytes or
 * to floats. */
static void write_text(const Case *u, const char *act, const char *weights, bool bias, bool bytes,
                       char text[TEXT])
{
    const bool plain = weights[0] == 'i', u8 = act[0] == 'u';
    snprintf(text, TEXT,
             "input x %s[%s]\nconst w %s[%s]\nconst s f32[] = 0.0625\nconst z %s[] = %d\n"
             "const sw f32[] = 0.015625\nconst zw %s[] = %d\nconst b0 i32[%d]\n"
             "const sb f32[] = 0.0009765625\nconst sy f32[] = 0.25\nconst zy %s[] = %d\n"
             "d = DequantizeLinear(x, s, z)\nwd = DequantizeLinear(w, sw, zw)\n"
             "bd = DequantizeLinear(b0, sb)\n"
             "c = %s(d, wd%s) {%s}\n%soutput y\n",
             act, u->x, weights, u->w, act, u8 ? 120 : -7, weights, plain ? 0 : 3, u->m, act,
             u8 ? 100 : 5, u->op, bias ? ", bd" : "", u->attrs,
             !bytes ? "y = Neg(c)\n"
             : bias ? "r = Relu(c)\ny = QuantizeLinear(r, sy, zy)\n"
                    : "y = QuantizeLinear(c, sy, zy)\n");
}

static void check(const Case *u, const char *text)
{
    LedgeOptOptions o = {.fold_limit = 1 << 20};
    LedgeError err = {0};
    LedgeGraph *g = graph_from_text(text);
    g->keeps_dequantize = true;
    assert_int_equal(ledge__graph_optimize(g, &o, &err), LEDGE_OK);
    char *after = text_of_graph(g);
    if ((strstr(after, "ledge.QConv") != NULL) != u->by_bytes)
        fail_msg("%s became %s", text, after);
    ledge__free(NULL, after);
    ledge__graph_free(g);
    assert_outputs_within(text, 0);
}

static void bytes_are_those_of_the_plain_loop(void **state)
{
    (void)state;
    static const char *const acts[] = {"u8", "i8"}, *const weights[] = {"i8", "u8"};
    char text[TEXT];
    for (size_t i = 0; i < CASES; i++)
        for (int k = 0; k < 8; k++) {
            write_text(&cases[i], acts[k & 1], weights[k >> 1 & 1], k & 4, true, text);
            check(&cases[i], text);
        }
}

static void floats_are_those_of_the_plain_loop(void **state)
{
    (void)state;
    char text[TEXT];
    for (size_t i = 0; i < CASES; i++) {
        write_text(&cases[i], "u8", "i8", i % 2, false, text);
        check(&cases[i], text);
    }
}

/* Of a bias: 0.0625 times the scales of three channels. */
#define FEW "0.0009765625,0.00390625,0.000244140625"

/* Scales along axis 1, which groups share. */
static void each_channel_may_have_its_scale(void **state)
{
    (void)state;
    for (int group = 1; group <= 2; group++) {
        char text[TEXT];
        snprintf(text, sizeof text,
                 "input x u8[1,4,5,7]\nconst w u8[4,3,3,3]\nconst s f32[] = 0.0625\n"
                 "const z u8[] = 120\nconst sw f32[3] = 0.015625,0.0625,0.00390625\n"
                 "const zw u8[3] = 128,3,250\n"
                 "const b0 i32[%d]\nconst sb f32[%d] = %s\nconst sy f32[] = 0.25\n"
                 "const zy u8[] = 100\nbd = DequantizeLinear(b0, sb) {axis=0}\n"
                 "d = DequantizeLinear(x, s, z)\nwd = DequantizeLinear(w, sw, zw) {axis=1}\n"
                 "c = ConvTranspose(d, wd, bd) {strides=[2,2], pads=[1,1,0,0], group=%d}\n"
                 "y = QuantizeLinear(c, sy, zy)\noutput y\n",
                 3 * group, 3 * group, group == 1 ? FEW : FEW "," FEW, group);
        check(&(Case){.op = "ConvTranspose", .by_bytes = true}, text);
    }
}

static void an_input_of_unknown_size_stays_in_float(void **state)
{
    (void)state;
    static const char numbers[] = "input x u8[1,4,?,7]\nconst w i8[4,3,3,3]\n"
                                  "const s f32[] = 0.0625\nconst z u8[] = 120\n"
                                  "const sw f32[] = 0.015625\nconst zw i8[] = 0\n"
                                  "const sy f32[] = 0.25\nconst zy u8[] = 100\n"
                                  "d = DequantizeLinear(x, s, z)\n"
                                  "wd = DequantizeLinear(w, sw, zw)\n"
                                  "c = ConvTranspose(d, wd) {strides=[2,2]}\n"
                                  "y = QuantizeLinear(c, sy, zy)\noutput y\n";
    check(&(Case){.op = "ConvTranspose", .by_bytes = false}, numbers);
}

static void what_is_made_for_a_stride_of_two(void **state)
{
    (void)state;
    static const char before[] = "input x u8[1,4,5,7]\nconst w i8[4,3,3,3]\n"
                                 "const s f32[] = 0.0625\nconst z u8[] = 120\n"
                                 "const sw f32[] = 0.015625\nconst zw i8[] = 0\n"
                                 "const sy f32[] = 0.25\nconst zy u8[] = 100\n"
                                 "d = DequantizeLinear(x, s, z)\n"
                                 "wd = DequantizeLinear(w, sw, zw)\n"
                                 "c = ConvTranspose(d, wd) {strides=[2,2], pads=[1,1,1,1]}\n"
                                 "y = QuantizeLinear(c, sy, zy)\noutput y\n";
    assert_pass("q8_conv", before,
                "%0:uint8[1,5,7,4] = Transpose(x) {perm=[0,2,3,1]}\n"
                "%1:uint8[1,5,7,12] = ledge.QConv(%0, %2, _, %3, _, _) {kernel_shape=[2,2], "
                "dilations=[1,1], pads=[1,1,0,0], group=1, x_zero=120, y_zero=100}\n"
                "%4:uint8[5,7,1,2,2,3] = Reshape(%1, %5)\n"
                "%6:uint8[5,2,7,2,1,3] = Transpose(%4) {perm=[0,3,1,4,2,5]}\n"
                "%7:uint8[1,10,14,3] = Reshape(%6, %8)\n"
                "%9:uint8[1,9,13,3] = Slice(%7, %10, %11, %12)\n"
                "y:uint8[1,3,9,13] = Transpose(%9) {perm=[0,3,1,2]}\n"
                "output y\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_the_plain_loop),
        cmocka_unit_test(floats_are_those_of_the_plain_loop),
        cmocka_unit_test(each_channel_may_have_its_scale),
        cmocka_unit_test(an_input_of_unknown_size_stays_in_float),
        cmocka_unit_test(what_is_made_for_a_stride_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
