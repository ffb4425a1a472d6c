/* Control flow, sequences, optionals and strings through the whole engine: loops that never run or
 * stop early, branches inside loops that see outer values, sequences of strings, positions outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "one_op.h"

/* Bodies made by the tests below live until the model does. */
static TestModel *body_with(const char *const *inputs, const LedgeType *types, int n, int opset)
{
    TestModel *b = test_model_new(opset);
    for (int i = 0; i < n; i++)
        test_input(b, inputs[i], types[i], 0, NULL);
    return b;
}

static void run_model(TestModel *t, const LedgeTensor *in, size_t n_in, LedgeTensor *out,
                      size_t n_out, LedgeStatus status, LedgeModel **m, LedgeSession **s)
{
    LedgeError err = {0};
    *s = NULL;
    *m = test_load(t, true, &err);
    LedgeStatus got = *m ? LEDGE_OK : err.status;
    if (got == LEDGE_OK)
        got = ledge_session_create(*m, NULL, &err, s);
    for (int again = 0; again < 2 && got == LEDGE_OK; again++) { /* nothing may stay from a run */
        memset(out, 0, n_out * sizeof *out);
        got = ledge_session_run(*s, in, n_in, out, n_out, &err);
    }
    if (got != status)
        print_error("%s: %s\n", err.where, err.message);
    assert_int_equal(got, status);
}

static void end_model(TestModel *t, TestModel *body, LedgeModel *m, LedgeSession *s)
{
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
    test_model_free(body);
}

/* for (i = 0; i < trips && go_on; i++) { x = x + step; rows += x; go_on = i < last; } where step
 * and last are captured. */
static TestModel *counting_body(void)
{
    static const char *const names[] = {"i", "go_on", "x"};
    static const LedgeType types[] = {LEDGE_INT64, LEDGE_BOOL, LEDGE_INT64};
    TestModel *b = body_with(names, types, 3, 16);
    test_node(b, "Add", "x step", "x_out");
    test_node(b, "Less", "i last", "go_on_out");
    test_node(b, "Identity", "x_out", "row");
    test_output(b, "go_on_out");
    test_output(b, "x_out");
    test_output(b, "row");
    return b;
}

static void run_counting(LedgeTensor trips, bool go_on, int64_t last, int64_t rows)
{
    TestModel *b = counting_body(), *t = test_model_new(16);
    test_input(t, "trips", LEDGE_INT64, 0, NULL);
    test_input(t, "start", LEDGE_BOOL, 0, NULL);
    test_input(t, "x0", LEDGE_INT64, 0, NULL);
    test_input(t, "step", LEDGE_INT64, 0, NULL);
    test_input(t, "last", LEDGE_INT64, 0, NULL);
    test_attr_graph(t, test_node(t, "Loop", "trips start x0", "x rows"), "body", b);
    test_output(t, "x");
    test_output(t, "rows");
    LedgeTensor in[5] = {trips, shaped(LEDGE_BOOL, 0, NULL, &go_on), SCALAR(100), SCALAR(7),
                         shaped(LEDGE_INT64, 0, NULL, &last)};
    LedgeTensor out[2] = {{0}};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 5, out, 2, LEDGE_OK, &m, &s);
    assert_int_equal(*(int64_t *)out[0].data, 100 + 7 * rows);
    assert_int_equal(out[1].rank, 1);
    assert_int_equal(out[1].dims[0], rows);
    for (int64_t i = 0; i < rows; i++)
        assert_int_equal(((int64_t *)out[1].data)[i], 100 + 7 * (i + 1));
    end_model(t, b, m, s);
}

static void loop_runs_never_sometimes_and_stops_early(void **state)
{
    (void)state;
    run_counting(SCALAR(0), true, 100, 0);
    run_counting(SCALAR(-5), true, 100, 0);
    run_counting(SCALAR(9), false, 100, 0);
    run_counting(SCALAR(1), true, 100, 1);
    run_counting(SCALAR(9), true, 100, 9);
    run_counting(SCALAR(INT64_MAX), true, 20, 21); /* nothing is made for the trip count */
}

/* The carried value grows: concat(x, x) each time. */
static void loop_carries_values_that_change_shape(void **state)
{
    (void)state;
    static const char *const names[] = {"i", "go_on"};
    static const LedgeType types[] = {LEDGE_INT64, LEDGE_BOOL};
    TestModel *b = body_with(names, types, 2, 16), *t = test_model_new(16);
    test_input(b, "x", LEDGE_INT64, 1, (int64_t[]){-1});
    test_attr_int(b, test_node(b, "Concat", "x x", "x_out"), "axis", 0);
    test_node(b, "Identity", "go_on", "go_on_out");
    test_output(b, "go_on_out");
    test_output(b, "x_out");
    test_input(t, "trips", LEDGE_INT64, 0, NULL);
    test_input(t, "x0", LEDGE_INT64, 1, (int64_t[]){-1});
    test_attr_graph(t, test_node(t, "Loop", "trips _ x0", "x"), "body", b);
    test_output(t, "x");
    LedgeTensor in[2] = {SCALAR(5), INTS(1, 2)}, out = {0};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, &out, 1, LEDGE_OK, &m, &s);
    assert_int_equal(out.dims[0], 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(((int64_t *)out.data)[i], i % 2 + 1);
    end_model(t, b, m, s);
}

static void loop_refuses_rows_of_different_shape(void **state)
{
    (void)state;
    static const char *const names[] = {"i", "go_on"};
    static const LedgeType types[] = {LEDGE_INT64, LEDGE_BOOL};
    TestModel *b = body_with(names, types, 2, 16), *t = test_model_new(16);
    test_input(b, "x", LEDGE_INT64, 1, (int64_t[]){-1});
    test_attr_int(b, test_node(b, "Concat", "x x", "x_out"), "axis", 0);
    test_node(b, "Identity", "go_on", "go_on_out");
    test_node(b, "Identity", "x_out", "row");
    test_output(b, "go_on_out");
    test_output(b, "x_out");
    test_output(b, "row");
    test_input(t, "trips", LEDGE_INT64, 0, NULL);
    test_input(t, "x0", LEDGE_INT64, 1, (int64_t[]){-1});
    test_attr_graph(t, test_node(t, "Loop", "trips _ x0", "x rows"), "body", b);
    test_output(t, "rows");
    LedgeTensor in[2] = {SCALAR(2), INTS(1)}, out = {0};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, &out, 1, LEDGE_ERROR_SHAPE, &m, &s);
    end_model(t, b, m, s);
}

/* In a Loop: x = (i odd) ? x + outer : x * 2, with x and outer captured by both branches. */
static void branches_inside_a_loop_see_outer_values(void **state)
{
    (void)state;
    static const char *const names[] = {"i", "go_on", "x"};
    static const LedgeType types[] = {LEDGE_INT64, LEDGE_BOOL, LEDGE_INT64};
    TestModel *b = body_with(names, types, 3, 16), *t = test_model_new(16);
    TestModel *yes = test_model_new(16), *no = test_model_new(16);
    test_node(yes, "Add", "x outer", "sum");
    test_output(yes, "sum");
    test_node(no, "Add", "x x", "twice");
    test_output(no, "twice");
    test_tensor(b, "two", LEDGE_INT64, 0, NULL, (int64_t[]){2});
    test_tensor(b, "one", LEDGE_INT64, 0, NULL, (int64_t[]){1});
    test_node(b, "Mod", "i two", "rest");
    test_node(b, "Equal", "rest one", "odd");
    OnnxNode *n = test_node(b, "If", "odd", "x_out");
    test_attr_graph(b, n, "then_branch", yes);
    test_attr_graph(b, n, "else_branch", no);
    test_node(b, "Identity", "go_on", "go_on_out");
    test_output(b, "go_on_out");
    test_output(b, "x_out");
    test_input(t, "trips", LEDGE_INT64, 0, NULL);
    test_input(t, "x0", LEDGE_INT64, 0, NULL);
    test_input(t, "outer", LEDGE_INT64, 0, NULL);
    test_attr_graph(t, test_node(t, "Loop", "trips _ x0", "x"), "body", b);
    test_output(t, "x");
    LedgeTensor in[3] = {SCALAR(6), SCALAR(1), SCALAR(1000)}, out = {0};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 3, &out, 1, LEDGE_OK, &m, &s);
    int64_t want = 1;
    for (int i = 0; i < 6; i++)
        want = i % 2 ? want + 1000 : want * 2;
    assert_int_equal(*(int64_t *)out.data, want);
    end_model(t, b, m, s);
    test_model_free(yes);
    test_model_free(no);
}

static void conditions_of_several_elements_are_refused(void **state)
{
    (void)state;
    TestModel *t = test_model_new(16), *yes = test_model_new(16);
    test_node(yes, "Identity", "x", "same");
    test_output(yes, "same");
    test_input(t, "c", LEDGE_BOOL, 1, (int64_t[]){-1});
    test_input(t, "x", LEDGE_INT64, 0, NULL);
    OnnxNode *n = test_node(t, "If", "c", "y");
    test_attr_graph(t, n, "then_branch", yes);
    test_attr_graph(t, n, "else_branch", yes);
    test_output(t, "y");
    uint8_t flags[2] = {1, 0};
    LedgeTensor in[2] = {shaped(LEDGE_BOOL, DIMS(2), flags), SCALAR(3)}, out = {0};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, &out, 1, LEDGE_ERROR_SHAPE, &m, &s);
    end_model(t, yes, m, s);
}

/* Scan over columns backwards: running sums of the rows of a 2x3 matrix, right to left. */
static void scan_walks_a_chosen_axis_backwards(void **state)
{
    (void)state;
    TestModel *b = test_model_new(16), *t = test_model_new(16);
    test_input(b, "sum", LEDGE_INT64, 1, (int64_t[]){2});
    test_input(b, "column", LEDGE_INT64, 1, (int64_t[]){2});
    test_node(b, "Add", "sum column", "sum_out");
    test_node(b, "Identity", "sum_out", "seen");
    test_output(b, "sum_out");
    test_output(b, "seen");
    test_input(t, "start", LEDGE_INT64, 1, (int64_t[]){-1});
    test_input(t, "x", LEDGE_INT64, 2, (int64_t[]){-1, -1});
    OnnxNode *n = test_node(t, "Scan", "start x", "sum all");
    test_attr_graph(t, n, "body", b);
    test_attr_int(t, n, "num_scan_inputs", 1);
    test_attr_ints(t, n, "scan_input_axes", 1, (int64_t[]){-1});
    test_attr_ints(t, n, "scan_input_directions", 1, (int64_t[]){1});
    test_attr_ints(t, n, "scan_output_axes", 1, (int64_t[]){1});
    test_attr_ints(t, n, "scan_output_directions", 1, (int64_t[]){1});
    test_output(t, "sum");
    test_output(t, "all");
    int64_t x[6] = {1, 2, 3, 10, 20, 30};
    LedgeTensor in[2] = {INTS(0, 0), shaped(LEDGE_INT64, DIMS(2, 3), x)}, out[2] = {{0}};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, out, 2, LEDGE_OK, &m, &s);
    assert_memory_equal(out[0].data, ((int64_t[]){6, 60}), 16);
    assert_int_equal(out[1].dims[0], 2);
    assert_int_equal(out[1].dims[1], 3);
    assert_memory_equal(out[1].data, ((int64_t[]){6, 5, 3, 60, 50, 30}), 48);
    end_model(t, b, m, s);
}

/* Builds [a, b], inserts, erases and looks; strings throughout. */
static void sequences_of_strings_keep_their_bytes(void **state)
{
    (void)state;
    TestModel *t = test_model_new(16);
    test_input(t, "a", LEDGE_STRING, 1, (int64_t[]){-1});
    test_input(t, "b", LEDGE_STRING, 1, (int64_t[]){-1});
    test_tensor(t, "zero", LEDGE_INT64, 0, NULL, (int64_t[]){0});
    test_tensor(t, "last", LEDGE_INT64, 0, NULL, (int64_t[]){-1});
    test_node(t, "SequenceConstruct", "a b", "ab");
    test_node(t, "SequenceInsert", "ab b zero", "bab");
    test_node(t, "SequenceErase", "bab last", "ba");
    test_node(t, "SequenceLength", "ba", "n");
    test_node(t, "SequenceAt", "ba last", "back");
    test_attr_int(t, test_node(t, "ConcatFromSequence", "bab", "joined"), "axis", 0);
    test_output(t, "n");
    test_output(t, "back");
    test_output(t, "joined");
    LedgeTensor in[2] = {TEXTS(TEXT("x"), TEXT("")), TEXTS(TEXT("a longer string"))};
    LedgeTensor out[3] = {{0}};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, out, 3, LEDGE_OK, &m, &s);
    assert_int_equal(*(int64_t *)out[0].data, 2);
    assert_int_equal(out[1].dims[0], 2);
    const LedgeString *joined = out[2].data;
    assert_int_equal(out[2].dims[0], 4);
    assert_int_equal(joined[0].size, 15);
    assert_memory_equal(joined[0].data, "a longer string", 15);
    assert_memory_equal(joined[1].data, "x", 1);
    assert_int_equal(joined[2].size, 0);
    assert_memory_equal(joined[3].data, "a longer string", 15);
    end_model(t, NULL, m, s);
}

static void positions_outside_a_sequence_are_refused(void **state)
{
    (void)state;
    static const char *const ops[] = {"SequenceAt", "SequenceErase", "SequenceInsert"};
    for (int k = 0; k < 3; k++)
        for (int64_t at = -3; at <= 3; at++) {
            TestModel *t = test_model_new(16);
            test_input(t, "a", LEDGE_INT64, 1, (int64_t[]){-1});
            test_input(t, "at", LEDGE_INT64, 0, NULL);
            test_node(t, "SequenceConstruct", "a a", "list");
            test_node(t, ops[k], k == 2 ? "list a at" : "list at", k ? "after" : "y");
            if (k)
                test_node(t, "SequenceLength", "after", "y");
            test_output(t, "y");
            LedgeTensor in[2] = {INTS(1, 2), SCALAR(at)}, out = {0};
            bool inside = k == 2 ? at >= -2 && at <= 2 : at >= -2 && at < 2;
            LedgeModel *m;
            LedgeSession *s;
            run_model(t, in, 2, &out, 1, inside ? LEDGE_OK : LEDGE_ERROR_RUNTIME, &m, &s);
            if (inside && k)
                assert_int_equal(*(int64_t *)out.data, k == 1 ? 1 : 3);
            end_model(t, NULL, m, s);
        }
}

static void split_to_sequence_gives_even_parts_and_a_rest(void **state)
{
    (void)state;
    TestModel *t = test_model_new(16);
    test_input(t, "x", LEDGE_INT64, 1, (int64_t[]){-1});
    test_input(t, "size", LEDGE_INT64, 0, NULL);
    test_tensor(t, "last", LEDGE_INT64, 0, NULL, (int64_t[]){-1});
    test_node(t, "SplitToSequence", "x size", "parts");
    test_node(t, "SequenceLength", "parts", "n");
    test_node(t, "SequenceAt", "parts last", "rest");
    test_output(t, "n");
    test_output(t, "rest");
    LedgeTensor in[2] = {INTS(1, 2, 3, 4, 5), SCALAR(2)}, out[2] = {{0}};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, in, 2, out, 2, LEDGE_OK, &m, &s);
    assert_int_equal(*(int64_t *)out[0].data, 3);
    assert_int_equal(out[1].dims[0], 1);
    assert_int_equal(*(int64_t *)out[1].data, 5);
    end_model(t, NULL, m, s);
}

static void split_to_sequence_refuses_sizes_of_nothing(void **state)
{
    (void)state;
    for (int64_t size = -1; size <= 0; size++) {
        TestModel *t = test_model_new(16);
        test_input(t, "x", LEDGE_INT64, 1, (int64_t[]){-1});
        test_input(t, "size", LEDGE_INT64, 0, NULL);
        test_node(t, "SplitToSequence", "x size", "parts");
        test_node(t, "SequenceLength", "parts", "n");
        test_output(t, "n");
        LedgeTensor in[2] = {INTS(1, 2), SCALAR(size)}, out = {0};
        LedgeModel *m;
        LedgeSession *s;
        run_model(t, in, 2, &out, 1, LEDGE_ERROR_SHAPE, &m, &s);
        end_model(t, NULL, m, s);
    }
}

static void optionals_tell_whether_they_hold_something(void **state)
{
    (void)state;
    TestModel *t = test_model_new(18);
    test_input(t, "x", LEDGE_INT64, 1, (int64_t[]){-1});
    test_node(t, "Optional", "x", "some");
    test_node(t, "OptionalHasElement", "some", "has");
    test_node(t, "OptionalGetElement", "some", "back");
    test_output(t, "has");
    test_output(t, "back");
    LedgeTensor in = INTS(4, 5), out[2] = {{0}};
    LedgeModel *m;
    LedgeSession *s;
    run_model(t, &in, 1, out, 2, LEDGE_OK, &m, &s);
    assert_int_equal(*(uint8_t *)out[0].data, 1);
    assert_memory_equal(out[1].data, in.data, 16);
    end_model(t, NULL, m, s);
}

static void string_concat_broadcasts(void **state)
{
    (void)state;
    LedgeTensor a = TEXTS(TEXT("x"), TEXT("")), want = TEXTS(TEXT("x!"), TEXT("!"));
    OneOp o = one_op(20, "StringConcat", 2, (LedgeTensor[]){a, TEXTS(TEXT("!"))}, 1);
    one_op_gives(&o, &want);
}

static void string_split_counts_and_pads(void **state)
{
    (void)state;
    OneOp o = one_op(20, "StringSplit", 1,
                     (LedgeTensor[]){TEXTS(TEXT(" a  b "), TEXT(""), TEXT("c"))}, 2);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    assert_int_equal(o.out[0].dims[1], 2);
    assert_memory_equal(o.out[1].data, ((int64_t[]){2, 0, 1}), 24);
    one_op_end(&o);
    LedgeTensor want =
        shaped(LEDGE_STRING, DIMS(1, 3), ((LedgeString[]){TEXT(""), TEXT("b"), TEXT("--c--d")}));
    o = one_op(20, "StringSplit", 1, (LedgeTensor[]){TEXTS(TEXT("--b----c--d"))}, 2);
    test_attr_string(o.t, o.n, "delimiter", "--");
    test_attr_int(o.t, o.n, "maxsplit", 2);
    one_op_gives(&o, &want);
}

static void regex_patterns_are_refused_when_loading(void **state)
{
    (void)state;
    OneOp o = one_op(20, "RegexFullMatch", 1, (LedgeTensor[]){TEXTS(TEXT("a"))}, 1);
    test_attr_string(o.t, o.n, "pattern", "(a");
    assert_int_equal(one_op_run(&o), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(o.err.message, "a ) is missing"));
    one_op_end(&o);
    uint8_t yes = 1;
    LedgeTensor want = shaped(LEDGE_BOOL, DIMS(1), &yes);
    o = one_op(20, "RegexFullMatch", 1, (LedgeTensor[]){TEXTS(TEXT("a"))}, 1);
    test_attr_string(o.t, o.n, "pattern", "[a-c]");
    one_op_gives(&o, &want);
}

static void stop_words_leave_one_empty_string(void **state)
{
    (void)state;
    LedgeTensor want = TEXTS(TEXT("")), in = TEXTS(TEXT("a"), TEXT("A"));
    OneOp o = one_op(10, "StringNormalizer", 1, &in, 1);
    OnnxAttr *stop = ledge__arena_alloc(test_onnx(o.t)->arena, 1, sizeof *stop);
    LedgeStr *word = ledge__arena_alloc(test_onnx(o.t)->arena, 1, sizeof *word);
    *word = (LedgeStr){"a", 1};
    *stop = (OnnxAttr){
        .name = {"stopwords", 9}, .type = ONNX_ATTR_STRINGS, .strings = word, .count = 1};
    o.n->attrs = stop;
    o.n->n_attrs = 1;
    one_op_gives(&o, &want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_runs_never_sometimes_and_stops_early),
        cmocka_unit_test(loop_carries_values_that_change_shape),
        cmocka_unit_test(loop_refuses_rows_of_different_shape),
        cmocka_unit_test(branches_inside_a_loop_see_outer_values),
        cmocka_unit_test(conditions_of_several_elements_are_refused),
        cmocka_unit_test(scan_walks_a_chosen_axis_backwards),
        cmocka_unit_test(sequences_of_strings_keep_their_bytes),
        cmocka_unit_test(positions_outside_a_sequence_are_refused),
        cmocka_unit_test(split_to_sequence_gives_even_parts_and_a_rest),
        cmocka_unit_test(split_to_sequence_refuses_sizes_of_nothing),
        cmocka_unit_test(optionals_tell_whether_they_hold_something),
        cmocka_unit_test(string_concat_broadcasts),
        cmocka_unit_test(string_split_counts_and_pads),
        cmocka_unit_test(regex_patterns_are_refused_when_loading),
        cmocka_unit_test(stop_words_leave_one_empty_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
