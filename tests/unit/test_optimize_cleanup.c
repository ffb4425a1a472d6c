/* Passes that tidy up: dead code, no-ops, common subexpressions, static shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void dead_code_goes_with_all_that_only_it_read(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3]\n"
                                 "a = Relu(x)\n"
                                 "b = Exp(a)\n"
                                 "c = Neg(b)\n"
                                 "y = Sigmoid(x)\n"
                                 "output y\n";
    assert_pass("dead_code", before,
                "y:float32[2,3] = Sigmoid(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void dead_code_forgets_unread_pool_indices(void **state)
{
    (void)state;
    static const char before[] = "input x f32[1,2,4,4]\n"
                                 "y, i = MaxPool(x) {kernel_shape=[2,2]}\n"
                                 "output y\n";
    assert_pass("dead_code", before,
                "y:float32[1,2,3,3] = MaxPool(x) {kernel_shape=[2,2]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void noop_steps_over_nodes_that_change_nothing(void **state)
{
    (void)state;
    static const char before[] = "opset 12\n"
                                 "input x f32[?,6]\n"
                                 "const starts i64[1] = 0\n"
                                 "const ends i64[1] = 4294967296\n"
                                 "const pads i64[4] = 0,0,0,0\n"
                                 "const one f32[] = 1\n"
                                 "const zero f32[1] = 0\n"
                                 "const shape i64[2] = 0,6\n"
                                 "a = Identity(x)\n"
                                 "b = Dropout(a) {ratio=0.5}\n"
                                 "c = Cast(b) {to=1}\n"
                                 "d = Reshape(c, shape)\n"
                                 "e = Transpose(d) {perm=[0,1]}\n"
                                 "f = Slice(e, starts, ends)\n"
                                 "h = Pad(f, pads)\n"
                                 "i = Concat(h) {axis=1}\n"
                                 "j = Mul(i, one)\n"
                                 "k = Add(j, zero)\n"
                                 "l = Flatten(k) {axis=1}\n"
                                 "y = Relu(l)\n"
                                 "output y\n";
    assert_pass("noop", before,
                "y:float32[?,6] = Relu(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void noop_keeps_what_reshapes_or_broadcasts(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,6]\n"
                                 "const shape i64[2] = 3,4\n"
                                 "const one f32[1,1,1] = 1\n"
                                 "a = Reshape(x, shape)\n"
                                 "y = Mul(a, one)\n"
                                 "output y\n";
    assert_pass("noop", before, NULL);
    assert_outputs_agree(before);
}

static void noop_keeps_names_of_graph_inputs_and_outputs(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,6]\n"
                                 "y = Identity(x)\n"
                                 "output y\n";
    assert_pass("noop", before, NULL);
    assert_outputs_agree(before);
}

static void cse_merges_equal_nodes_and_equal_small_constants(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3]\n"
                                 "const k f32[] = 2\n"
                                 "const q f32[] = 2\n"
                                 "a = Mul(x, k)\n"
                                 "b = Mul(x, q)\n"
                                 "c = Softmax(a) {axis=1}\n"
                                 "d = Softmax(b) {axis=1}\n"
                                 "e = Softmax(b) {axis=0}\n"
                                 "f = Add(c, d)\n"
                                 "y = Add(f, e)\n"
                                 "output y\n";
    assert_pass("cse", before,
                "a:float32[2,3] = Mul(x, k)\n"
                "c:float32[2,3] = Softmax(a) {axis=1}\n"
                "e:float32[2,3] = Softmax(a) {axis=0}\n"
                "f:float32[2,3] = Add(c, c)\n"
                "y:float32[2,3] = Add(f, e)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void cse_leaves_random_numbers_apart(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,3]\n"
                                 "a = RandomNormalLike(x) {seed=1.0}\n"
                                 "b = RandomNormalLike(x) {seed=1.0}\n"
                                 "c = Sub(a, b)\n"
                                 "d = Mul(c, c)\n"
                                 "e = Sub(d, d)\n"
                                 "y = Add(e, x)\n"
                                 "output y\n";
    assert_pass("cse", before, NULL);
    assert_outputs_agree(before);
}

static void slice_concat_reads_the_part_that_it_takes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,2]\n"
                                 "input z f32[?,4,3]\n"
                                 "const zero i64[1] = 0\n"
                                 "const two i64[1] = 2\n"
                                 "const three i64[1] = 3\n"
                                 "const far i64[1] = 4294967296\n"
                                 "c = Concat(x, z) {axis=2}\n"
                                 "a = Slice(c, zero, two, two)\n"
                                 "b = Slice(c, two, far, two)\n"
                                 "d = Slice(c, zero, three, two)\n"
                                 "p = Relu(a)\n"
                                 "q = Relu(b)\n"
                                 "output p\n"
                                 "output q\n"
                                 "output d\n";
    assert_pass("slice_concat", before,
                "c:float32[?,4,5] = Concat(x, z) {axis=2}\n"
                "d:float32[?,4,3] = Slice(c, zero, three, two)\n"
                "p:float32[?,4,2] = Relu(x)\n"
                "q:float32[?,4,3] = Relu(z)\n"
                "output p\n"
                "output q\n"
                "output d\n");
    assert_outputs_agree(before);
}

static void scale_chain_becomes_one_factor(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,2]\n"
                                 "const k f32[] = 0.1\n"
                                 "const h f32[1,1] = 4\n"
                                 "const v f32[1,4,2]\n"
                                 "const two f32[] = 2\n"
                                 "m = Mul(k, x)\n"
                                 "n = Mul(m, v)\n"
                                 "y = Div(n, two)\n"
                                 "e = Relu(x)\n"
                                 "f = Mul(e, two)\n"
                                 "z = Mul(h, f)\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("scale_chain", before,
                "y:float32[?,4,2] = Mul(x, %0)\n"
                "e:float32[?,4,2] = Relu(x)\n"
                "z:float32[?,4,2] = Mul(e, %1)\n"
                "output y\n"
                "output z\n");
    assert_outputs_agree(before);
}

static void scale_chain_leaves_two_tensors_and_reversed_division(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,4,2]\n"
                                 "const v f32[4,1] positive\n"
                                 "const u f32[2] positive\n"
                                 "const two f32[] = 2\n"
                                 "m = Mul(x, v)\n"
                                 "y = Mul(m, u)\n"
                                 "e = Exp(x)\n"
                                 "f = Div(two, e)\n"
                                 "z = Mul(f, two)\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("scale_chain", before, NULL);
    assert_outputs_agree(before);
}

static void static_reshape_copies_computed_dims(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,4,?]\n"
                                 "const zero i64[] = 0\n"
                                 "const two i64[] = 2\n"
                                 "const axis i64[1] = 0\n"
                                 "const minus i64[1] = -1\n"
                                 "s = Shape(x)\n"
                                 "n = Gather(s, zero) {axis=0}\n"
                                 "m = Gather(s, two) {axis=0}\n"
                                 "un = Unsqueeze(n, axis)\n"
                                 "um = Unsqueeze(m, axis)\n"
                                 "shape = Concat(un, minus, um) {axis=0}\n"
                                 "y = Reshape(x, shape)\n"
                                 "output y\n";
    assert_pass("static_reshape", before,
                "s:int64[3] = Shape(x)\n"
                "n:int64[] = Gather(s, zero) {axis=0}\n"
                "m:int64[] = Gather(s, two) {axis=0}\n"
                "un:int64[1] = Unsqueeze(n, axis)\n"
                "um:int64[1] = Unsqueeze(m, axis)\n"
                "shape:int64[3] = Concat(un, minus, um) {axis=0}\n"
                "y:float32[?,4,?] = Reshape(x, %0)\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void reshape_chain_becomes_one_reshape(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,4,1]\n"
                                 "const s1 i64[3] = 0,12,1\n"
                                 "const axis i64[1] = 2\n"
                                 "a = Reshape(x, s1)\n"
                                 "b = Squeeze(a, axis)\n"
                                 "y = Unsqueeze(b, axis)\n"
                                 "z = Flatten(x) {axis=1}\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("reshape_chain", before,
                "y:float32[?,12,1] = Reshape(x, %0)\n"
                "z:float32[?,12] = Flatten(x) {axis=1}\n"
                "output y\n"
                "output z\n");
    assert_outputs_agree(before);
}

static void reshape_chain_that_comes_back_vanishes(void **state)
{
    (void)state;
    static const char before[] = "input x f32[?,3,4]\n"
                                 "const axis i64[1] = 1\n"
                                 "a = Unsqueeze(x, axis)\n"
                                 "b = Squeeze(a, axis)\n"
                                 "y = Relu(b)\n"
                                 "output y\n";
    assert_pass("reshape_chain", before,
                "y:float32[?,3,4] = Relu(x)\n"
                "output y\n");
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dead_code_goes_with_all_that_only_it_read),
        cmocka_unit_test(dead_code_forgets_unread_pool_indices),
        cmocka_unit_test(noop_steps_over_nodes_that_change_nothing),
        cmocka_unit_test(noop_keeps_what_reshapes_or_broadcasts),
        cmocka_unit_test(noop_keeps_names_of_graph_inputs_and_outputs),
        cmocka_unit_test(cse_merges_equal_nodes_and_equal_small_constants),
        cmocka_unit_test(cse_leaves_random_numbers_apart),
        cmocka_unit_test(slice_concat_reads_the_part_that_it_takes),
        cmocka_unit_test(scale_chain_becomes_one_factor),
        cmocka_unit_test(scale_chain_leaves_two_tensors_and_reversed_division),
        cmocka_unit_test(static_reshape_copies_computed_dims),
        cmocka_unit_test(reshape_chain_becomes_one_reshape),
        cmocka_unit_test(reshape_chain_that_comes_back_vanishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
