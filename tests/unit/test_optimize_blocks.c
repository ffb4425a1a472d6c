/* Passes that make ledge.MatMulBlocks of products with weights of a few bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void nbits_product_keeps_its_codes(void **state)
{
    (void)state;
    static const char before[] =
        "opset 21\n"
        "input x f32[2,7,80]\n"
        "const w u8[20,3,16]\n"
        "const s f32[60] positive\n"
        "const z u8[40]\n"
        "const b f32[20]\n"
        "m = com.microsoft.MatMulNBits(x, w, s, z, _, b) {K=80, N=20, bits=4, block_size=32}\n"
        "y = Relu(m)\n"
        "output y\n";
    assert_optimized(before,
                     "y:float32[2,7,20] = ledge.MatMulBlocks(x, w, %0, _, s, z) {K=80, N=20, "
                     "bits=4, block_size=32, form=\"packed\", act=\"relu\"}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void every_width_agrees_for_few_and_many_rows(void **state)
{
    (void)state;
    static const char *const widths[] = {"const w u8[9,5,4]\nconst z u8[18]\n",  "2",
                                         "const w u8[9,5,8]\nconst z u8[27]\n",  "4",
                                         "const w u8[9,5,16]\nconst z u8[45]\n", "8"};
    char text[512];
    for (int i = 0; i < 6; i += 2)
        for (int rows = 1; rows <= 33; rows += 16) {
            snprintf(
                text, sizeof text,
                "opset 21\ninput x f32[%d,70]\n%sconst s f32[45] positive\n"
                "y = com.microsoft.MatMulNBits(x, w, s, z) {K=70, N=9, bits=%s, block_size=16}\n"
                "output y\n",
                rows, widths[i], widths[i + 1]);
            assert_outputs_agree(text);
        }
}

static void float_zero_points_agree(void **state)
{
    (void)state;
    assert_outputs_agree(
        "opset 21\ninput x f32[3,70]\nconst w u8[9,5,8]\nconst s f32[45] positive\nconst z "
        "f32[45]\n"
        "y = com.microsoft.MatMulNBits(x, w, s, z) {K=70, N=9, bits=4, block_size=16}\noutput y\n");
}

static void order_of_blocks_by_index_stays_with_the_plain_operator(void **state)
{
    (void)state;
    assert_pass("blocks",
                "opset 21\ninput x f32[3,32]\nconst w u8[4,1,16]\nconst s f32[4] positive\n"
                "const g i32[32] positive\n"
                "y = com.microsoft.MatMulNBits(x, w, s, _, g) {K=32, N=4, bits=4, block_size=32}\n"
                "output y\n",
                NULL);
}

static void blocks_of_rows_are_taken_from_dequantize(void **state)
{
    (void)state;
    static const char before[] = "opset 21\n"
                                 "input x f32[?,80]\n"
                                 "const w i4[80,20]\n"
                                 "const s f32[3,20] positive\n"
                                 "const b f32[20]\n"
                                 "d = DequantizeLinear(w, s) {axis=0, block_size=32}\n"
                                 "m = MatMul(x, d)\n"
                                 "y = Add(m, b)\n"
                                 "output y\n";
    assert_pass("blocks", before,
                "m:float32[?,20] = ledge.MatMulBlocks(x, w, _, _, s, _) {K=80, N=20, bits=4, "
                "block_size=32, form=\"rows\"}\n"
                "y:float32[?,20] = Add(m, b)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void blocks_of_columns_are_taken_by_gemm(void **state)
{
    (void)state;
    static const char before[] = "opset 21\n"
                                 "input x f32[6,80]\n"
                                 "const w u4[20,80]\n"
                                 "const s f32[20,5] positive\n"
                                 "const z u4[20,5]\n"
                                 "const b f32[20]\n"
                                 "d = DequantizeLinear(w, s, z) {axis=1, block_size=16}\n"
                                 "y = Gemm(x, d, b) {transB=1}\n"
                                 "output y\n";
    assert_pass("blocks", before,
                "y:float32[6,20] = ledge.MatMulBlocks(x, w, %0, _, s, z) {K=80, N=20, bits=4, "
                "block_size=16, form=\"columns\"}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void unsigned_codes_without_zero_points_mean_zero(void **state)
{
    (void)state;
    assert_outputs_agree("opset 21\ninput x f32[3,40]\nconst w u4[40,9]\nconst s f32[9] positive\n"
                         "d = DequantizeLinear(w, s) {axis=1}\ny = MatMul(x, d)\noutput y\n");
}

static void bytes_with_a_scale_for_each_column_agree(void **state)
{
    (void)state;
    assert_outputs_agree("opset 21\ninput x f32[30,40]\nconst w i8[40,9]\nconst s f32[9] positive\n"
                         "const z i8[9]\n"
                         "d = DequantizeLinear(w, s, z) {axis=1}\ny = MatMul(x, d)\noutput y\n");
    assert_outputs_agree("opset 21\ninput x f32[2,40]\nconst w u8[9,40]\nconst s f32[1] positive\n"
                         "const z u8[1]\n"
                         "d = DequantizeLinear(w, s, z) {axis=1}\n"
                         "y = Gemm(x, d) {transB=1}\noutput y\n");
}

static void blocks_across_columns_are_left_to_float(void **state)
{
    (void)state;
    static const char before[] = "opset 21\ninput x f32[3,40]\nconst w i4[40,32]\n"
                                 "const s f32[40,2] positive\n"
                                 "d = DequantizeLinear(w, s) {axis=1, block_size=16}\n"
                                 "y = MatMul(x, d)\noutput y\n";
    assert_pass("blocks", before, NULL);
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nbits_product_keeps_its_codes),
        cmocka_unit_test(every_width_agrees_for_few_and_many_rows),
        cmocka_unit_test(float_zero_points_agree),
        cmocka_unit_test(order_of_blocks_by_index_stays_with_the_plain_operator),
        cmocka_unit_test(blocks_of_rows_are_taken_from_dequantize),
        cmocka_unit_test(blocks_of_columns_are_taken_by_gemm),
        cmocka_unit_test(unsigned_codes_without_zero_points_mean_zero),
        cmocka_unit_test(bytes_with_a_scale_for_each_column_agree),
        cmocka_unit_test(blocks_across_columns_are_left_to_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
