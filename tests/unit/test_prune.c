/* Channel pruning on small models: what goes first, targets, what must stay, refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "prune_testing.h"

static const LedgePruneOptions by_two = {.round = 2, .layer_limit = 1};

/* ---- single structures ---- */

static const LedgeNode *node_called(const LedgeGraph *g, const char *output)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        if (strcmp(n->out[0]->name, output) == 0)
            return n;
    fail_msg("no node makes '%s'", output);
    return NULL;
}

static const int64_t *weight_dims(const LedgePruned *m, const char *output)
{
    return ledge__node_in(node_called(m->graph, output), 1)->t.dims;
}

/* conv(8) -> depthwise -> conv(12) -> pool -> Gemm; the last two filters of the first are zero. */
static TestModel *plain_model(void)
{
    static float w1[8 * 3 * 9], w3[12 * 8];
    TestModel *t = test_model_new(13);
    test_fill(w1, 8 * 27, 1);
    test_fill(w3, 12 * 8, 3);
    memset(w1 + 6 * 27, 0, 2 * 27 * sizeof *w1);
    for (int i = 0; i < 12; i++)
        w3[i * 8 + 6] = w3[i * 8 + 7] = 0;
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, PRUNE_SIDE, PRUNE_SIDE});
    test_floats(t, "w1", 4, (int64_t[]){8, 3, 3, 3}, w1);
    test_noise(t, "w2", 4, (int64_t[]){8, 1, 3, 3}, 2);
    test_floats(t, "w3", 4, (int64_t[]){12, 8, 1, 1}, w3);
    test_noise(t, "w4", 2, (int64_t[]){10, 12}, 4);
    test_node(t, "Conv", "x w1", "c1");
    OnnxNode *n = test_node(t, "Conv", "c1 w2", "c2");
    test_attr_int(t, n, "group", 8);
    test_node(t, "Relu", "c2", "r2");
    test_node(t, "Conv", "r2 w3", "c3");
    test_node(t, "GlobalAveragePool", "c3", "p");
    test_node(t, "Flatten", "p", "f");
    n = test_node(t, "Gemm", "f w4", "scores");
    test_attr_int(t, n, "transB", 1);
    test_output(t, "scores");
    test_metadata(t, "ledge.preprocess", "{\"x\":1}");
    return t;
}

static void the_channels_without_weights_go_first(void **state)
{
    (void)state;
    const LedgePruneImportance by[] = {LEDGE_PRUNE_L1, LEDGE_PRUNE_L2, LEDGE_PRUNE_BN};
    float whole[PRUNE_ANSWERS], pruned[PRUNE_ANSWERS];
    TestModel *t = plain_model();
    prune_answers(test_onnx(t), whole);
    for (size_t i = 0; i < 3; i++) {
        LedgePruneOptions o = by_two;
        o.importance = by[i];
        LedgePruner *p = prune_open(t, &o);
        ledge__pruner_take(p, 1);
        LedgePruned *m = prune_build(p);
        assert_int_equal(weight_dims(m, "c1")[0], 6);
        assert_int_equal(weight_dims(m, "c2")[0], 6);
        assert_int_equal(ledge__node_int(node_called(m->graph, "c2"), "group", 1), 6);
        assert_int_equal(weight_dims(m, "c3")[1], 6);
        assert_int_equal(weight_dims(m, "c3")[0], 12);
        prune_answers(&m->model, pruned);
        prune_assert_same(pruned, whole, 0);
        assert_int_equal(m->model.n_metadata, 1);
        assert_int_equal(m->model.graph.n_value_info, 0);
        ledge__pruned_free(m);
        ledge__pruner_free(p);
    }
    test_model_free(t);
}

static void counts_of_macs_follow_the_channels(void **state)
{
    (void)state;
    TestModel *t = plain_model();
    LedgePruner *p = prune_open(t, &by_two);
    const double c1 = 8 * 27 * 36, c2 = 8 * 9 * 16, c3 = 12 * 8 * 16, fc = 120;
    assert_true(fabs(ledge__pruner_macs(p) - (c1 + c2 + c3 + fc)) < 0.5);
    assert_int_equal(ledge__pruner_channels(p), 8 + 12);
    ledge__pruner_take(p, 1);
    assert_true(fabs(ledge__pruner_macs(p) - (0.75 * (c1 + c2 + c3) + fc)) < 0.5);
    assert_int_equal(ledge__pruner_channels(p), 6 + 12);
    ledge__pruner_free(p);
    test_model_free(t);
}

static void each_layer_loses_the_same_share(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 0;
    TestModel *t = plain_model();
    LedgePruneOptions o = by_two;
    o.per_layer = true;
    LedgePruner *p = prune_open(t, &o);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.5, &err, &step), LEDGE_OK);
    ledge__pruner_take(p, step);
    LedgePruned *m = prune_build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 4);
    assert_int_equal(weight_dims(m, "c3")[0], 6);
    ledge__pruned_free(m);
    ledge__pruner_free(p);
    test_model_free(t);
}

static void a_target_of_macs_is_met_with_the_fewest_steps(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 0;
    TestModel *t = plain_model();
    LedgePruner *p = prune_open(t, &by_two);
    const double all = ledge__pruner_macs(p);
    assert_int_equal(ledge__pruner_pick_macs(p, 0.5 * all, &err, &step), LEDGE_OK);
    ledge__pruner_take(p, step);
    assert_true(ledge__pruner_macs(p) <= 0.5 * all);
    ledge__pruner_take(p, step - 1);
    assert_true(ledge__pruner_macs(p) > 0.5 * all);
    assert_int_equal(ledge__pruner_pick_macs(p, 0.001 * all, &err, &step), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "cannot be reached"));
    ledge__pruner_free(p);
    test_model_free(t);
}

static void kept_nodes_stay_whole(void **state)
{
    (void)state;
    TestModel *t = plain_model();
    const char *keep[] = {"Conv_c3"};
    OnnxModel *onnx = test_onnx(t);
    for (size_t i = 0; i < onnx->graph.n_nodes; i++)
        if (ledge__str_eq(onnx->graph.nodes[i].outputs[0], "c3"))
            onnx->graph.nodes[i].name = (LedgeStr){"Conv_c3", 7};
    LedgePruneOptions o = by_two;
    o.keep = keep;
    o.n_keep = 1;
    LedgePruner *p = prune_open(t, &o);
    ledge__pruner_take(p, ledge__pruner_steps(p) - 1);
    LedgePruned *m = prune_build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 2);
    assert_int_equal(weight_dims(m, "c3")[0], 12);
    ledge__pruned_free(m);
    bool told = false;
    for (size_t i = 0; i < ledge__pruner_layers(p); i++) {
        const LedgePruneLayer l = ledge__pruner_layer(p, i);
        told |= strcmp(l.name, "Conv_c3") == 0 && l.fixed && strstr(l.barrier->why, "asked");
    }
    assert_true(told);
    ledge__pruner_free(p);
    test_model_free(t);
}

/* Grouped convolutions keep as many channels in each group. */
static void groups_stay_equally_large(void **state)
{
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, PRUNE_SIDE, PRUNE_SIDE});
    test_noise(t, "w1", 4, (int64_t[]){16, 3, 1, 1}, 1);
    test_noise(t, "w2", 4, (int64_t[]){8, 4, 3, 3}, 2);
    test_noise(t, "w3", 4, (int64_t[]){10, 8, 6, 6}, 3);
    test_node(t, "Conv", "x w1", "c1");
    test_attr_int(t, test_node(t, "Conv", "c1 w2", "c2"), "group", 4);
    test_node(t, "Conv", "c2 w3", "scores");
    test_output(t, "scores");
    LedgePruneOptions o = by_two;
    o.round = 8; /* two in each of the four groups; the second has too few for that */
    LedgePruner *p = prune_open(t, &o);
    assert_int_equal(ledge__pruner_steps(p), 2);
    ledge__pruner_take(p, 1);
    LedgePruned *m = prune_build(p);
    assert_int_equal(weight_dims(m, "c1")[0], 8);
    assert_int_equal(weight_dims(m, "c2")[0], 8);
    assert_int_equal(weight_dims(m, "c2")[1], 2);
    assert_int_equal(ledge__node_int(node_called(m->graph, "c2"), "group", 1), 4);
    ledge__pruned_free(m);
    ledge__pruner_free(p);
    test_model_free(t);
}

/* ---- refusals ---- */

static void expect_refusal(TestModel *t, const LedgePruneOptions *o, LedgeStatus status,
                           const char *text)
{
    LedgeError err = {0};
    LedgePruner *p = NULL;
    size_t size;
    const void *bytes = test_bytes(t, &size);
    assert_int_equal(ledge__pruner_open(NULL, bytes, size, o, &err, &p), status);
    assert_null(p);
    if (!strstr(err.message, text))
        fail_msg("'%s' is not in: %s", text, err.message);
}

static void a_request_that_empties_a_layer_is_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t step = 99;
    TestModel *t = plain_model();
    for (int per_layer = 0; per_layer < 2; per_layer++) {
        LedgePruneOptions o = by_two;
        o.per_layer = per_layer;
        LedgePruner *p = prune_open(t, &o);
        assert_int_equal(ledge__pruner_pick_amount(p, 0.99, &err, &step), LEDGE_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "would empty the layer; at most 0.937"));
        assert_int_equal(ledge__pruner_pick_amount(p, 0.01, &err, &step), LEDGE_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "rounds to none"));
        assert_int_equal(step, 99);
        ledge__pruner_free(p);
    }
    LedgePruneOptions o = by_two;
    o.layer_limit = 0.5;
    LedgePruner *p = prune_open(t, &o);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.8, &err, &step), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "at most 0.5 can"));
    ledge__pruner_free(p);
    /* one of several stages: nothing is fine, and the limit is of what was there first */
    const uint32_t first[] = {8, 8, 24, 10};
    o.staged = true;
    o.first = first;
    o.n_first = 4;
    p = prune_open(t, &o);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.01, &err, &step), LEDGE_OK);
    assert_int_equal(step, 0);
    assert_int_equal(ledge__pruner_pick_amount(p, 0.8, &err, &step), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "at most 0.2 can"));
    ledge__pruner_free(p);
    test_model_free(t);
}

static void models_without_channels_to_remove_are_refused(void **state)
{
    (void)state;
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, PRUNE_SIDE, PRUNE_SIDE});
    test_noise(t, "w1", 4, (int64_t[]){16, 3, 1, 1}, 1);
    test_node(t, "Conv", "x w1", "c");
    test_attr_int(t, test_node(t, "Softmax", "c", "y"), "axis", 1);
    test_output(t, "y");
    expect_refusal(t, &by_two, LEDGE_ERROR_UNSUPPORTED, "its Softmax normalises over the channels");
    const char *keep[] = {"nobody"};
    LedgePruneOptions o = by_two;
    o.keep = keep;
    o.n_keep = 1;
    expect_refusal(t, &o, LEDGE_ERROR_ARGUMENT, "no node of the model has this name");
    test_model_free(t);

    t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 3});
    const float scale = 1;
    test_floats(t, "s", 0, NULL, &scale);
    test_tensor(t, "z", LEDGE_INT8, 0, NULL, &(int8_t){0});
    test_node(t, "QuantizeLinear", "x s z", "q");
    test_node(t, "DequantizeLinear", "q s z", "y");
    test_output(t, "y");
    expect_refusal(t, &by_two, LEDGE_ERROR_FORMAT, "quantized already");
    test_model_free(t);
}

static size_t allocations, fail_at;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    (void)context;
    return allocations++ == fail_at ? NULL
                                    : aligned_alloc(align, (size + align - 1) / align * align);
}

static void failing_free(void *context, void *p)
{
    (void)context;
    free(p);
}

static void lack_of_memory_is_an_error_everywhere(void **state)
{
    (void)state;
    static const LedgeAllocator failing = {failing_alloc, failing_free, NULL};
    TestModel *t = plain_model();
    size_t size;
    const void *bytes = test_bytes(t, &size);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    for (fail_at = 0; status != LEDGE_OK; fail_at++) {
        LedgePruneOptions o = by_two;
        LedgeError err = {0};
        LedgePruner *p = NULL;
        LedgePruned *m = NULL;
        o.allocator = &failing;
        allocations = 0;
        status = ledge__pruner_open(NULL, bytes, size, &o, &err, &p);
        if (!status)
            status = ledge__pruner_score(p, NULL, NULL, &err);
        if (!status)
            status = ledge__pruner_plan(p, &err);
        if (!status) {
            ledge__pruner_take(p, ledge__pruner_steps(p) - 1);
            status = ledge__pruner_build(p, &err, &m);
        }
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        ledge__pruned_free(m);
        ledge__pruner_free(p);
    }
    assert_true(fail_at > 10);
    test_model_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_channels_without_weights_go_first),
        cmocka_unit_test(counts_of_macs_follow_the_channels),
        cmocka_unit_test(each_layer_loses_the_same_share),
        cmocka_unit_test(a_target_of_macs_is_met_with_the_fewest_steps),
        cmocka_unit_test(kept_nodes_stay_whole),
        cmocka_unit_test(groups_stay_equally_large),
        cmocka_unit_test(a_request_that_empties_a_layer_is_refused),
        cmocka_unit_test(models_without_channels_to_remove_are_refused),
        cmocka_unit_test(lack_of_memory_is_an_error_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
