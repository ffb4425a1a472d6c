/* Passes that make and merge ledge.Gemm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void gemm_takes_alpha_beta_and_transposes(void **state)
{
    (void)state;
    static const char before[] = "input a f32[5,?]\n"
                                 "const w f32[6,5]\n"
                                 "const c f32[1,6]\n"
                                 "y = Gemm(a, w, c) {alpha=0.5, beta=2.0, transA=1, transB=1}\n"
                                 "output y\n";
    assert_pass("gemm", before,
                "%0:float32[?,5] = Transpose(a) {perm=[1,0]}\n"
                "y:float32[?,6] = ledge.Gemm(%0, %1, %2, _) {transB=1}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gemm_takes_a_full_addend_as_residual(void **state)
{
    (void)state;
    static const char before[] = "input a f32[3,5]\n"
                                 "input c f32[3,6]\n"
                                 "const w f32[5,6]\n"
                                 "y = Gemm(a, w, c)\n"
                                 "output y\n";
    assert_pass("gemm", before,
                "y:float32[3,6] = ledge.Gemm(a, w, _, c)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gemm_is_made_of_matmul_by_a_constant(void **state)
{
    (void)state;
    static const char before[] = "input a f32[?,7,5]\n"
                                 "const w f32[5,6]\n"
                                 "y = MatMul(a, w)\n"
                                 "output y\n";
    assert_pass("gemm", before,
                "y:float32[?,7,6] = ledge.Gemm(a, w, _, _)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void gemm_leaves_products_of_computed_matrices(void **state)
{
    (void)state;
    static const char before[] = "input a f32[3,5]\n"
                                 "input b f32[5,6]\n"
                                 "y = MatMul(a, b)\n"
                                 "output y\n";
    assert_pass("gemm", before, NULL);
    assert_outputs_agree(before);
}

static void gemm_takes_bias_activation_and_residual(void **state)
{
    (void)state;
    static const char before[] = "input a f32[?,7,5]\n"
                                 "const w f32[5,6]\n"
                                 "const c f32[6]\n"
                                 "const v f32[6,5]\n"
                                 "m = MatMul(a, w)\n"
                                 "n = Add(c, m)\n"
                                 "r = Relu(n)\n"
                                 "p = MatMul(r, v)\n"
                                 "y = Add(a, p)\n"
                                 "output y\n";
    assert_optimized(before, "m:float32[?,7,6] = ledge.Gemm(a, w, %0, _) {act=\"relu\"}\n"
                             "y:float32[?,7,5] = ledge.Gemm(m, v, _, a)\n"
                             "output y\n");
    assert_outputs_agree(before);
}

static void flatten_gemm_reorders_weights(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,2,3,4]\n"
                                 "const w f32[24,5]\n"
                                 "t = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "f = Flatten(t)\n"
                                 "y = ledge.Gemm(f, w, _, _)\n"
                                 "output y\n";
    assert_pass("flatten_gemm", before,
                "f:float32[?,24] = Flatten(x)\n"
                "y:float32[?,5] = ledge.Gemm(f, %0, _, _)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void flatten_gemm_reorders_transposed_weights(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,2,3,4]\n"
                                 "const w f32[5,24]\n"
                                 "const s i64[2] = 1,24\n"
                                 "t = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "f = Reshape(t, s)\n"
                                 "y = ledge.Gemm(f, w, _, _) {transB=1}\n"
                                 "output y\n";
    assert_pass("flatten_gemm", before,
                "f:float32[1,24] = Reshape(x, s)\n"
                "y:float32[1,5] = ledge.Gemm(f, %0, _, _) {transB=1}\n"
                "output y\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_takes_alpha_beta_and_transposes),
        cmocka_unit_test(gemm_takes_a_full_addend_as_residual),
        cmocka_unit_test(gemm_is_made_of_matmul_by_a_constant),
        cmocka_unit_test(gemm_leaves_products_of_computed_matrices),
        cmocka_unit_test(gemm_takes_bias_activation_and_residual),
        cmocka_unit_test(flatten_gemm_reorders_weights),
        cmocka_unit_test(flatten_gemm_reorders_transposed_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
