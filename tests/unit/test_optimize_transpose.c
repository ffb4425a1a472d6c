/* Passes that move and cancel Transposes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void transpose_chain_composes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3,4,5]\n"
                                 "a = Transpose(x) {perm=[0,2,3,1]}\n"
                                 "y = Transpose(a) {perm=[0,2,1,3]}\n"
                                 "output y\n";
    assert_pass("transpose_chain", before,
                "y:float32[2,5,4,3] = Transpose(x) {perm=[0,3,2,1]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void transpose_chain_cancels(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3,4,5]\n"
                                 "a = Transpose(x) {perm=[0,2,3,1]}\n"
                                 "b = Transpose(a) {perm=[0,3,1,2]}\n"
                                 "y = Relu(b)\n"
                                 "output y\n";
    assert_pass("transpose_chain", before,
                "y:float32[2,3,4,5] = Relu(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void transpose_sinks_to_the_one_that_undoes_it(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3,4,5]\n"
                                 "const k f32[5,1]\n"
                                 "a = Transpose(x) {perm=[0,2,3,1]}\n"
                                 "b = Relu(a)\n"
                                 "c = Mul(b, k)\n"
                                 "y = Transpose(c) {perm=[0,3,1,2]}\n"
                                 "output y\n";
    assert_pass("transpose_sink", before,
                "%0:float32[2,3,4,5] = Relu(x)\n"
                "%1:float32[2,3,4,5] = Mul(%0, %2)\n"
                "c:float32[2,4,5,3] = Transpose(%1) {perm=[0,2,3,1]}\n"
                "y:float32[2,3,4,5] = Transpose(c) {perm=[0,3,1,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void transpose_sinks_below_a_sum_of_equal_ones(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3,4]\n"
                                 "input z f32[2,3,4]\n"
                                 "a = Transpose(x) {perm=[0,2,1]}\n"
                                 "b = Transpose(z) {perm=[0,2,1]}\n"
                                 "y = Add(a, b)\n"
                                 "output y\n";
    assert_pass("transpose_sink", before,
                "%0:float32[2,3,4] = Add(x, z)\n"
                "y:float32[2,4,3] = Transpose(%0) {perm=[0,2,1]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void transpose_stays_where_nothing_would_cancel(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3,4]\n"
                                 "a = Transpose(x) {perm=[0,2,1]}\n"
                                 "y = Relu(a)\n"
                                 "output y\n";
    assert_pass("transpose_sink", before, NULL);
    assert_outputs_agree(before);
}

static void transpose_view_becomes_reshape(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,1,1,7]\n"
                                 "a = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "y = Relu(a)\n"
                                 "output y\n";
    assert_pass("transpose_view", before,
                "a:float32[?,7,1,1] = Reshape(x, %0)\n"
                "y:float32[?,7,1,1] = Relu(a)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void transpose_view_leaves_real_moves(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,2,1,7]\n"
                                 "y = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "output y\n";
    assert_pass("transpose_view", before, NULL);
    assert_outputs_agree(before);
}

static void flatten_space_keeps_an_nhwc_image_as_it_is(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,2,3,4]\n"
                                 "const s i64[3] = 0,4,-1\n"
                                 "const q i64[3] = 0,2,-1\n"
                                 "t = Transpose(x) {perm=[0,3,1,2]}\n"
                                 "f = Reshape(t, s)\n"
                                 "y = Transpose(f) {perm=[0,2,1]}\n"
                                 "h = Reshape(t, q)\n"
                                 "z = Transpose(h) {perm=[0,2,1]}\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("flatten_space", before,
                "t:float32[?,4,2,3] = Transpose(x) {perm=[0,3,1,2]}\n"
                "y:float32[?,6,4] = Reshape(x, %0)\n"
                "h:float32[?,2,12] = Reshape(t, q)\n"
                "z:float32[?,12,2] = Transpose(h) {perm=[0,2,1]}\n"
                "output y\n"
                "output z\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transpose_chain_composes),
        cmocka_unit_test(transpose_chain_cancels),
        cmocka_unit_test(transpose_sinks_to_the_one_that_undoes_it),
        cmocka_unit_test(transpose_sinks_below_a_sum_of_equal_ones),
        cmocka_unit_test(transpose_stays_where_nothing_would_cancel),
        cmocka_unit_test(transpose_view_becomes_reshape),
        cmocka_unit_test(transpose_view_leaves_real_moves),
        cmocka_unit_test(flatten_space_keeps_an_nhwc_image_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
