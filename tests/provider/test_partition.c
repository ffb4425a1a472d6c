/* Cutting graphs into parts: random graphs with random owners answer as before, whatever is cut.
 * The provider here is ledge itself, fed with the ONNX bytes of each part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "engine/optimize/optimize.h"
#include "engine/plan/plan.h"
#include "engine/provider/partition.h"
#include "model_maker.h"

/* ---- ledge as a provider ---- */

typedef struct Inner {
    LedgeModel *model;
    LedgeSession *session;
    size_t n_in, n_out;
} Inner;

static LedgeStatus inner_compile(void *instance, const LedgeProviderGraph *part, LedgeError *error,
                                 void **program)
{
    size_t size = 0;
    const void *bytes = part->onnx(part, &size);
    (void)instance;
    assert_non_null(bytes);
    assert_ptr_equal(part->onnx(part, &size), bytes); /* made once */
    Inner *p = calloc(1, sizeof *p);
    p->n_in = part->n_inputs;
    p->n_out = part->n_outputs;
    LedgeStatus s = ledge_model_load_memory(bytes, size, NULL, error, &p->model);
    if (s == LEDGE_OK)
        s = ledge_session_create(p->model, &(LedgeSessionOptions){.threads = 1}, error,
                                 &p->session);
    if (s)
        print_error("%s: %s\n", error->where, error->message);
    assert_int_equal(s, LEDGE_OK);
    *program = p;
    return s;
}

static LedgeStatus inner_run(void *program, const LedgeTensor *in, LedgeTensor *out,
                             LedgeError *error)
{
    Inner *p = program;
    return ledge_session_run(p->session, in, p->n_in, out, p->n_out, error);
}

static void inner_free(void *program)
{
    Inner *p = program;
    ledge_session_free(p->session);
    ledge_model_free(p->model);
    free(p);
}

static const LedgeProvider inner = {
    .name = "inner", .compile = inner_compile, .run = inner_run, .program_free = inner_free};

/* ---- graphs ---- */

static uint32_t seed;

static uint32_t below(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

#define NODES 24

/* Element-wise nodes over earlier values at random; the last few values are outputs. */
static TestModel *random_model(bool free_batch)
{
    static const char *const unary[] = {"Relu", "Sigmoid", "Neg", "Tanh"};
    static const char *const binary[] = {"Add", "Mul", "Sub"};
    TestModel *t = test_model_new(17);
    test_input(t, "v0", LEDGE_FLOAT, 2, (int64_t[]){free_batch ? -1 : 3, 5});
    test_input(t, "v1", LEDGE_FLOAT, 2, (int64_t[]){free_batch ? -1 : 3, 5});
    test_noise(t, "k", 2, (int64_t[]){1, 5}, 7);
    for (uint32_t i = 2; i < NODES + 2; i++) {
        char in[40], out[16];
        snprintf(out, sizeof out, "v%u", i);
        if (below(3) == 0) {
            snprintf(in, sizeof in, "v%u", below(i));
            test_node(t, unary[below(4)], in, out);
        } else {
            const uint32_t b = below(i + 1);
            snprintf(in, sizeof in, b == i ? "v%u k" : "v%u v%u", below(i), b);
            test_node(t, binary[below(3)], in, out);
        }
    }
    for (uint32_t i = NODES - 1; i < NODES + 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%u", i);
        test_output(t, name);
    }
    return t;
}

static LedgeGraph *build(TestModel *t)
{
    LedgeGraph *g = NULL;
    LedgeError err = {0};
    assert_int_equal(ledge__graph_build(NULL, test_onnx(t), &err, &g), LEDGE_OK);
    assert_int_equal(ledge__ops_bind(g, &err), LEDGE_OK);
    assert_int_equal(ledge__graph_infer(g, 1 << 20, &err), LEDGE_OK);
    return g;
}

#define MOST 64

/* Runs the graph on two inputs of `rows` rows; all outputs in one array. */
static void answer(LedgeGraph *g, int64_t rows, bool optimize, float *to)
{
    LedgeError err = {0};
    LedgePlan *p = NULL;
    LedgeWeights *w = ledge__weights_new(NULL);
    float x[2][MOST];
    LedgeTensor in[2];
    if (optimize)
        assert_int_equal(
            ledge__graph_optimize(g, &(LedgeOptOptions){.cpu = ledge__cpu_flags()}, &err),
            LEDGE_OK);
    for (int i = 0; i < 2; i++) {
        test_fill(x[i], MOST, (uint32_t)i + 3);
        in[i] = (LedgeTensor){LEDGE_FLOAT, 2, {rows, 5}, x[i], (size_t)rows * 20};
    }
    const LedgePlanOptions o = {.weights = w, .cpu = optimize ? ledge__cpu_flags() : 0};
    const LedgeStatus s = ledge__plan_new(g, &o, in, &err, &p);
    if (s)
        print_error("%s: %s\n", err.where, err.message);
    assert_int_equal(s, LEDGE_OK);
    void *arena = ledge__alloc(NULL, ledge__plan_arena_bytes(p) + 1, 1);
    ledge__plan_bind(p, arena);
    for (int k = 0; k < 2; k++) /* twice: nothing of the first run lingers */
        assert_int_equal(ledge__plan_run(p, in, &err), LEDGE_OK);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        memcpy(to + i * MOST, ledge__plan_output(p, i)->data, (size_t)rows * 20);
    ledge__plan_free(p);
    ledge__free(NULL, arena);
    ledge__weights_free(w);
}

static void compile_all(PartList *list, const LedgeProvider *api)
{
    LedgeError err = {0};
    for (size_t i = 0; i < list->n; i++) {
        list->items[i]->api = api;
        assert_int_equal(
            api->compile(NULL, &list->items[i]->view->graph, &err, &list->items[i]->program),
            LEDGE_OK);
    }
}

static void cut_graphs_answer_as_before(void **state)
{
    (void)state;
    size_t parts = 0;
    for (uint32_t round = 0; round < 150; round++) {
        seed = round;
        const bool free_batch = round % 2;
        TestModel *t = random_model(free_batch);
        uint8_t owners[NODES];
        float before[3 * MOST] = {0}, after[3 * MOST] = {0};
        LedgeError err = {0};
        PartList list;
        for (int i = 0; i < NODES; i++)
            owners[i] = below(4) == 0 ? 1 : below(2) ? 0 : OWNER_CPU;
        LedgeGraph *plain = build(t), *g = build(t);
        answer(plain, 3, false, before);
        assert_int_equal(ledge__partition_plan(NULL, g, test_onnx(t), owners, NULL, &err, &list),
                         LEDGE_OK);
        compile_all(&list, &inner);
        assert_int_equal(ledge__partition_apply(g, &list, &err), LEDGE_OK);
        assert_null(ledge__graph_check(g));
        assert_int_equal(ledge__graph_infer(g, 1 << 20, &err), LEDGE_OK);
        answer(g, 3, round % 3 == 0, after);
        for (int i = 0; i < 3 * MOST; i++)
            assert_float_equal(before[i], after[i], 1e-5);
        if (free_batch) { /* another batch makes another plan over the same parts */
            answer(plain, 7, false, before);
            answer(g, 7, false, after);
            for (int i = 0; i < 3 * MOST; i++)
                assert_float_equal(before[i], after[i], 1e-5);
        }
        parts += list.n;
        ledge__partition_free(&list);
        ledge__graph_free(g);
        ledge__graph_free(plain);
        test_model_free(t);
    }
    assert_true(parts > 300);
}

/* a -> b -> c with b elsewhere: a and c cannot be one part, for it would wait for itself. */
static void a_part_never_waits_for_itself(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){2, 2});
    test_node(t, "Relu", "x", "a");
    test_node(t, "Sigmoid", "a", "b");
    test_node(t, "Add", "a b", "c");
    test_node(t, "Relu", "x", "d"); /* independent: joins a's part */
    test_output(t, "c");
    test_output(t, "d");
    LedgeGraph *g = build(t);
    PartList list;
    LedgeError err = {0};
    const uint8_t owners[] = {0, OWNER_CPU, 0, 0};
    const int64_t macs[] = {1, 10, 100, 1000};
    assert_int_equal(ledge__partition_plan(NULL, g, test_onnx(t), owners, macs, &err, &list),
                     LEDGE_OK);
    assert_int_equal(list.n, 2);
    assert_int_equal(list.items[0]->n_nodes, 2);
    assert_int_equal(list.items[0]->external.macs, 1001);
    assert_int_equal(list.items[1]->external.macs, 100);
    assert_int_equal(list.items[0]->graph->n_inputs, 1);
    assert_int_equal(list.items[0]->graph->n_outputs, 2);
    assert_int_equal(list.items[1]->graph->n_inputs, 2);
    ledge__partition_free(&list);
    ledge__graph_free(g);
    test_model_free(t);
}

/* Dynamic shapes: the part's output is known only when it ran. */
static LedgeStatus grow_run(void *program, const LedgeTensor *in, LedgeTensor *out, LedgeError *e)
{
    static float memory[16];
    (void)program, (void)e;
    assert_null(out->data);
    *out = *in;
    out->dims[0] = 2;
    out->data = memory;
    for (int i = 0; i < 10; i++)
        memory[i] = (float)i;
    return LEDGE_OK;
}
static LedgeStatus no_compile(void *i, const LedgeProviderGraph *g, LedgeError *e, void **program)
{
    (void)i, (void)g, (void)e;
    *program = (void *)1;
    return LEDGE_OK;
}
static void no_free(void *program)
{
    (void)program;
}

static void a_shape_that_only_the_provider_knows_is_taken_from_it(void **state)
{
    (void)state;
    static const LedgeProvider grow = {
        .name = "grow", .compile = no_compile, .run = grow_run, .program_free = no_free};
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){3, 5});
    test_input(t, "unused", LEDGE_FLOAT, 2, (int64_t[]){3, 5});
    test_node(t, "Frobnicate", "x", "h"); /* nobody can infer it */
    test_node(t, "Neg", "h", "y");
    test_output(t, "y");
    LedgeGraph *g = NULL;
    LedgeError err = {0};
    PartList list;
    const uint8_t owners[] = {0, OWNER_CPU};
    float y[MOST] = {0};
    assert_int_equal(ledge__graph_build(NULL, test_onnx(t), &err, &g), LEDGE_OK);
    assert_int_equal(ledge__ops_bind(g, NULL), LEDGE_OK);
    assert_int_equal(ledge__partition_plan(NULL, g, test_onnx(t), owners, NULL, &err, &list),
                     LEDGE_OK);
    compile_all(&list, &grow);
    assert_int_equal(ledge__partition_apply(g, &list, &err), LEDGE_OK);
    assert_int_equal(ledge__ops_bind(g, &err), LEDGE_OK);
    answer(g, 3, false, y);
    for (int i = 0; i < 10; i++)
        assert_float_equal(y[i], -(float)i, 0);
    ledge__partition_free(&list);
    ledge__graph_free(g);
    test_model_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_graphs_answer_as_before),
        cmocka_unit_test(a_part_never_waits_for_itself),
        cmocka_unit_test(a_shape_that_only_the_provider_knows_is_taken_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
