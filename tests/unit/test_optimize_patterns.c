/* Passes that find activations and norms that were written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void layer_norm_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,5,8]\n"
                                 "const two f32[] = 2.0\n"
                                 "const eps f32[] = 1e-5\n"
                                 "const g f32[8]\n"
                                 "const b f32[8]\n"
                                 "m = ReduceMean(x) {axes=[-1]}\n"
                                 "d = Sub(x, m)\n"
                                 "p = Pow(d, two)\n"
                                 "v = ReduceMean(p) {axes=[-1]}\n"
                                 "e = Add(v, eps)\n"
                                 "s = Sqrt(e)\n"
                                 "n = Div(d, s)\n"
                                 "h = Mul(n, g)\n"
                                 "y = Add(h, b)\n"
                                 "output y\n";
    assert_pass("layer_norm", before,
                "y:float32[?,5,8] = LayerNormalization(x, g, b) {axis=-1, epsilon=1e-05}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layer_norm_without_parameters_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,5,8]\n"
                                 "const eps f32[] = 1e-5\n"
                                 "m = ReduceMean(x) {axes=[2]}\n"
                                 "d = Sub(x, m)\n"
                                 "p = Mul(d, d)\n"
                                 "v = ReduceMean(p) {axes=[2]}\n"
                                 "e = Add(eps, v)\n"
                                 "s = Sqrt(e)\n"
                                 "r = Reciprocal(s)\n"
                                 "n = Mul(r, d)\n"
                                 "y = Relu(n)\n"
                                 "output y\n";
    assert_pass("layer_norm", before,
                "n:float32[?,5,8] = LayerNormalization(x, %0, _) {axis=-1, epsilon=1e-05}\n"
                "y:float32[?,5,8] = Relu(n)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void layer_norm_over_another_axis_is_left(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,5,8]\n"
                                 "const eps f32[] = 1e-5\n"
                                 "m = ReduceMean(x) {axes=[1]}\n"
                                 "d = Sub(x, m)\n"
                                 "p = Mul(d, d)\n"
                                 "v = ReduceMean(p) {axes=[1]}\n"
                                 "e = Add(eps, v)\n"
                                 "s = Sqrt(e)\n"
                                 "y = Div(d, s)\n"
                                 "output y\n";
    assert_pass("layer_norm", before, NULL);
    assert_outputs_agree(before);
}

static void gelu_by_erf_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8]\n"
                                 "const r f32[] = 1.4142135\n"
                                 "const one f32[] = 1\n"
                                 "const half f32[] = 0.5\n"
                                 "d = Div(x, r)\n"
                                 "e = Erf(d)\n"
                                 "a = Add(e, one)\n"
                                 "m = Mul(x, a)\n"
                                 "y = Mul(m, half)\n"
                                 "output y\n";
    assert_pass("gelu", before,
                "y:float32[?,8] = Gelu(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gelu_by_erf_is_found_in_another_order(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8]\n"
                                 "const r f32[] = 0.70710678\n"
                                 "const one f32[] = 1\n"
                                 "const half f32[] = 0.5\n"
                                 "h = Mul(half, x)\n"
                                 "d = Mul(x, r)\n"
                                 "e = Erf(d)\n"
                                 "a = Add(one, e)\n"
                                 "y = Mul(a, h)\n"
                                 "output y\n";
    assert_pass("gelu", before,
                "y:float32[?,8] = Gelu(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gelu_by_tanh_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8]\n"
                                 "const three f32[] = 3.0\n"
                                 "const c f32[] = 0.044715\n"
                                 "const k f32[] = 0.7978846\n"
                                 "const one f32[] = 1\n"
                                 "const half f32[] = 0.5\n"
                                 "p = Pow(x, three)\n"
                                 "q = Mul(p, c)\n"
                                 "s = Add(x, q)\n"
                                 "u = Mul(s, k)\n"
                                 "t = Tanh(u)\n"
                                 "a = Add(t, one)\n"
                                 "h = Mul(x, half)\n"
                                 "y = Mul(h, a)\n"
                                 "output y\n";
    assert_pass("gelu", before,
                "y:float32[?,8] = Gelu(x) {approximate=\"tanh\"}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gelu_with_a_wrong_constant_is_left(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8]\n"
                                 "const r f32[] = 1.5\n"
                                 "const one f32[] = 1\n"
                                 "const half f32[] = 0.5\n"
                                 "d = Div(x, r)\n"
                                 "e = Erf(d)\n"
                                 "a = Add(e, one)\n"
                                 "m = Mul(x, a)\n"
                                 "y = Mul(m, half)\n"
                                 "output y\n";
    assert_pass("gelu", before, NULL);
    assert_outputs_agree(before);
}

static void hard_swish_is_found(void **state)
{
    (void)state;
    static const char before[] = "opset 12\n"
                                 "input x f32[?,8]\n"
                                 "const three f32[] = 3\n"
                                 "const zero f32[] = 0\n"
                                 "const six f32[] = 6\n"
                                 "a = Add(x, three)\n"
                                 "c = Clip(a, zero, six)\n"
                                 "m = Mul(x, c)\n"
                                 "y = Div(m, six)\n"
                                 "d = Div(c, six)\n"
                                 "z = Mul(x, d)\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("swish", before,
                "y:float32[?,8] = HardSwish(x)\n"
                "z:float32[?,8] = HardSwish(x)\n"
                "output y\n"
                "output z\n");
    assert_outputs_agree(before);
}

static void hard_sigmoid_is_found(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,8]\n"
                                 "const three f32[] = 3\n"
                                 "const zero f32[] = 0\n"
                                 "const six f32[] = 6\n"
                                 "a = Add(x, three)\n"
                                 "c = Clip(a, zero, six)\n"
                                 "y = Div(c, six)\n"
                                 "output y\n";
    assert_pass("swish", before,
                "y:float32[?,8] = HardSigmoid(x) {alpha=0.166667, beta=0.5}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void fused_operators_of_onnx_runtime_are_taken_apart(void **state)
{
    (void)state;
    static const char before[] =
        "input x f32[1,4,6,6]\n"
        "input a f32[2,5,8]\n"
        "const w f32[4,4,3,3]\n"
        "const b f32[4]\n"
        "const m f32[2,6,8]\n"
        "const k f32[36,3]\n"
        "y = com.microsoft.FusedConv(x, w, b, x) {pads=[1,1,1,1], activation=\"Relu\"}\n"
        "z = com.microsoft.FusedMatMul(a, m) {transB=1, alpha=0.5}\n"
        "const s i64[2] = 4,36\n"
        "f = Reshape(y, s)\n"
        "g = com.microsoft.FusedGemm(f, k) {activation=\"LeakyRelu\", activation_alpha=0.2}\n"
        "output z\n"
        "output g\n";
    assert_pass("ms_fused", before,
                "%0:float32[1,4,6,6] = Conv(x, w, b) {pads=[1,1,1,1]}\n"
                "%1:float32[1,4,6,6] = Add(%0, x)\n"
                "y:float32[1,4,6,6] = Relu(%1)\n"
                "%2:float32[2,8,6] = Transpose(m) {perm=[0,2,1]}\n"
                "%3:float32[2,5,6] = MatMul(a, %2)\n"
                "z:float32[2,5,6] = Mul(%3, %4)\n"
                "f:float32[4,36] = Reshape(y, s)\n"
                "%5:float32[4,3] = Gemm(f, k)\n"
                "g:float32[4,3] = LeakyRelu(%5) {alpha=0.2}\n"
                "output z\n"
                "output g\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_is_found),
        cmocka_unit_test(layer_norm_without_parameters_is_found),
        cmocka_unit_test(layer_norm_over_another_axis_is_left),
        cmocka_unit_test(gelu_by_erf_is_found),
        cmocka_unit_test(gelu_by_erf_is_found_in_another_order),
        cmocka_unit_test(gelu_by_tanh_is_found),
        cmocka_unit_test(gelu_with_a_wrong_constant_is_left),
        cmocka_unit_test(hard_swish_is_found),
        cmocka_unit_test(hard_sigmoid_is_found),
        cmocka_unit_test(fused_operators_of_onnx_runtime_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
