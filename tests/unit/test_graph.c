/* The graph: what building refuses, how it sorts, captures, inlines, changes and exports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/graph/graph.h"
#include "model_maker.h"

static LedgeGraph *build(TestModel *t, LedgeStatus wanted, LedgeError *err)
{
    LedgeGraph *g = NULL;
    LedgeError local;
    LedgeStatus s = ledge__graph_build(NULL, test_onnx(t), err ? err : &local, &g);
    assert_int_equal(s, wanted);
    return g;
}

static char *text_of(const LedgeGraph *g)
{
    char *text = ledge__graph_text(g, NULL);
    assert_non_null(text);
    return text;
}

static const int64_t two_by_four[] = {2, 4};

static void build_keeps_order_types_and_attributes(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    OnnxNode *n = test_node(t, "LeakyRelu", "x", "y");
    test_attr_float(t, n, "alpha", 0.5f);
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    char *text = text_of(g);
    assert_string_equal(text, "input x:float32[?,4]\n"
                              "y:?[*] = LeakyRelu(x) {alpha=0.5}\n"
                              "output y\n");
    assert_null(ledge__graph_check(g));
    assert_int_equal(g->first->opset, 17);
    ledge__free(NULL, text);
    ledge__graph_free(g);
    test_model_free(t);
}

/* As ONNX Runtime's tools write int16 and 4 bits in models older than opset 21. */
static void linear_operators_of_microsoft_are_onnx_own(void **state)
{
    (void)state;
    TestModel *t = test_model_new(13);
    static const float scale = 0.5f;
    static const int16_t zero = 3;
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_tensor(t, "s", LEDGE_FLOAT, 0, NULL, &scale);
    test_tensor(t, "z", LEDGE_INT16, 0, NULL, &zero);
    test_node(t, "QuantizeLinear", "x s z", "q")->domain = (LedgeStr){"com.microsoft", 13};
    test_node(t, "DequantizeLinear", "q s z", "d")->domain = (LedgeStr){"com.microsoft", 13};
    test_node(t, "Gelu", "d", "y")->domain = (LedgeStr){"com.microsoft", 13};
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    assert_string_equal(g->first->domain, "");
    assert_string_equal(g->first->next->domain, "");
    assert_int_equal(g->first->opset, 21);
    assert_string_equal(g->last->domain, "com.microsoft");
    ledge__graph_free(g);
    test_model_free(t);
}

static void build_sorts_nodes_that_stand_in_the_wrong_order(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Neg", "b", "c");
    test_node(t, "Abs", "a", "b");
    test_node(t, "Relu", "x", "a");
    test_output(t, "c");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    assert_string_equal(g->first->op_type, "Relu");
    assert_string_equal(g->last->op_type, "Neg");
    assert_null(ledge__graph_check(g));
    ledge__graph_free(g);
    test_model_free(t);
}

static void build_refuses_a_cycle_by_node_name(void **state)
{
    (void)state;
    LedgeError err;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Add", "x b", "a");
    test_node(t, "Neg", "a", "b");
    test_output(t, "b");
    build(t, LEDGE_ERROR_FORMAT, &err);
    assert_string_equal(err.where, "a");
    assert_non_null(strstr(err.message, "cycle"));
    test_model_free(t);
}

static void build_refuses_undefined_and_doubly_defined_names(void **state)
{
    (void)state;
    LedgeError err;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Add", "x nowhere", "y");
    test_output(t, "y");
    build(t, LEDGE_ERROR_FORMAT, &err);
    assert_non_null(strstr(err.message, "'nowhere'"));
    test_model_free(t);

    t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Relu", "x", "y");
    test_node(t, "Neg", "x", "y");
    test_output(t, "y");
    build(t, LEDGE_ERROR_FORMAT, &err);
    assert_string_equal(err.where, "y");
    test_model_free(t);

    t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_output(t, "y");
    build(t, LEDGE_ERROR_FORMAT, &err);
    assert_string_equal(err.where, "y");
    test_model_free(t);
}

static void build_takes_initializers_listed_as_inputs_as_constants(void **state)
{
    (void)state;
    TestModel *t = test_model_new(8);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_input(t, "w", LEDGE_FLOAT, 2, two_by_four);
    test_noise(t, "w", 2, two_by_four, 1);
    test_node(t, "Add", "x w", "y");
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    assert_int_equal(g->n_inputs, 1);
    assert_true(ledge__value_is_constant(ledge__node_in(g->first, 1)));
    ledge__graph_free(g);
    test_model_free(t);
}

static void subgraph_captures_become_inputs_of_the_node(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17), *then = test_model_new(17), *other = test_model_new(17);
    test_input(t, "c", LEDGE_BOOL, 0, NULL);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_noise(t, "k", 2, two_by_four, 3);
    test_node(then, "Add", "x k", "r");
    test_output(then, "r");
    test_node(other, "Neg", "x", "s");
    test_output(other, "s");
    OnnxNode *n = test_node(t, "If", "c", "y");
    test_attr_graph(t, n, "then_branch", then);
    test_attr_graph(t, n, "else_branch", other);
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    assert_int_equal(g->first->n_explicit, 1);
    assert_int_equal(g->first->n_in, 3); /* x once for each body; k is a shared constant */
    LedgeGraph *body = ledge__node_attr(g->first, "then_branch")->graphs[0];
    assert_int_equal(body->n_captured, 1);
    assert_ptr_equal(ledge__node_in(g->first, body->captured_slot[0]), g->inputs[1]);
    assert_true(ledge__value_is_constant(ledge__node_in(body->first, 1)));
    assert_null(ledge__graph_check(g));
    assert_null(ledge__graph_check(body));
    ledge__graph_free(g);
    test_model_free(t);
    test_model_free(then);
    test_model_free(other);
}

static OnnxFunction make_function(TestModel *inner, const char *name, const char *in,
                                  const char *out)
{
    OnnxFunction f = {.name = {name, strlen(name)}, .domain = {"own", 3}};
    OnnxModel *m = test_onnx(inner);
    f.inputs = ledge__arena_alloc(m->arena, 1, sizeof *f.inputs);
    f.outputs = ledge__arena_alloc(m->arena, 1, sizeof *f.outputs);
    f.inputs[0] = (LedgeStr){in, strlen(in)};
    f.outputs[0] = (LedgeStr){out, strlen(out)};
    f.n_inputs = f.n_outputs = 1;
    f.nodes = m->graph.nodes;
    f.n_nodes = m->graph.n_nodes;
    f.opsets = m->opsets;
    f.n_opsets = 1;
    return f;
}

static void functions_are_inlined_with_the_callers_attributes(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17), *inner = test_model_new(17);
    OnnxNode *n = test_node(inner, "LeakyRelu", "a", "b");
    test_attr_float(inner, n, "alpha", 0);
    n->attrs[0].ref_attr_name = (LedgeStr){"slope", 5};
    test_node(inner, "Neg", "b", "c");
    OnnxFunction f = make_function(inner, "Twice", "a", "c");
    test_onnx(t)->functions = &f;
    test_onnx(t)->n_functions = 1;
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    OnnxNode *call = test_node(t, "Twice", "x", "y");
    call->domain = f.domain;
    test_attr_float(t, call, "slope", 0.25f);
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    assert_string_equal(g->first->op_type, "LeakyRelu");
    assert_true(ledge__node_float(g->first, "alpha", 0) == 0.25f);
    assert_string_equal(g->outputs[0]->name, "y");
    assert_null(ledge__graph_check(g));
    ledge__graph_free(g);
    test_model_free(t);
    test_model_free(inner);
}

static void a_function_that_calls_itself_is_refused(void **state)
{
    (void)state;
    LedgeError err;
    TestModel *t = test_model_new(17), *inner = test_model_new(17);
    OnnxNode *n = test_node(inner, "Again", "a", "b");
    n->domain = (LedgeStr){"own", 3};
    OnnxFunction f = make_function(inner, "Again", "a", "b");
    test_onnx(t)->functions = &f;
    test_onnx(t)->n_functions = 1;
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Again", "x", "y")->domain = f.domain;
    test_output(t, "y");
    build(t, LEDGE_ERROR_LIMIT, &err);
    assert_non_null(strstr(err.message, "deep"));
    test_model_free(t);
    test_model_free(inner);
}

static void replacing_a_value_moves_uses_and_output_names(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, two_by_four);
    test_node(t, "Relu", "x", "a");
    test_node(t, "Identity", "a", "y");
    test_output(t, "y");
    LedgeGraph *g = build(t, LEDGE_OK, NULL);
    LedgeNode *identity = g->last;
    ledge__value_replace(g, identity->out[0], ledge__node_in(identity, 0));
    ledge__node_remove(g, identity);
    char *text = text_of(g);
    assert_non_null(strstr(text, "y:?[*] = Relu(x)\noutput y\n"));
    assert_null(ledge__graph_check(g));
    ledge__free(NULL, text);
    ledge__graph_free(g);
    test_model_free(t);
}

static void export_gives_back_what_was_built(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17), *then = test_model_new(17), *other = test_model_new(17);
    test_input(t, "c", LEDGE_BOOL, 0, NULL);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_noise(t, "k", 1, (int64_t[]){4}, 3);
    test_node(then, "Add", "x k", "r");
    test_output(then, "r");
    test_node(other, "Neg", "x", "s");
    test_output(other, "s");
    OnnxNode *n = test_node(t, "If", "c", "y");
    test_attr_graph(t, n, "then_branch", then);
    test_attr_graph(t, n, "else_branch", other);
    test_node(t, "Mul", "y k", "z");
    test_output(t, "z");
    LedgeGraph *g = build(t, LEDGE_OK, NULL), *again = NULL;
    LedgeError err;
    assert_int_equal(ledge__graph_export(g, test_onnx(t), &err), LEDGE_OK);
    assert_int_equal(ledge__graph_build(NULL, test_onnx(t), &err, &again), LEDGE_OK);
    char *a = text_of(g), *b = text_of(again);
    assert_string_equal(a, b);
    assert_int_equal(test_onnx(t)->graph.n_initializers, 1);
    ledge__free(NULL, a);
    ledge__free(NULL, b);
    ledge__graph_free(again);
    ledge__graph_free(g);
    test_model_free(t);
    test_model_free(then);
    test_model_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(build_keeps_order_types_and_attributes),
        cmocka_unit_test(linear_operators_of_microsoft_are_onnx_own),
        cmocka_unit_test(build_sorts_nodes_that_stand_in_the_wrong_order),
        cmocka_unit_test(build_refuses_a_cycle_by_node_name),
        cmocka_unit_test(build_refuses_undefined_and_doubly_defined_names),
        cmocka_unit_test(build_takes_initializers_listed_as_inputs_as_constants),
        cmocka_unit_test(subgraph_captures_become_inputs_of_the_node),
        cmocka_unit_test(functions_are_inlined_with_the_callers_attributes),
        cmocka_unit_test(a_function_that_calls_itself_is_refused),
        cmocka_unit_test(replacing_a_value_moves_uses_and_output_names),
        cmocka_unit_test(export_gives_back_what_was_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
