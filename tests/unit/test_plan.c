/* The planner under odd graphs: memory shared in place, shapes that depend on data, loops,
 * arenas that cannot grow, large graphs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/session/session.h"
#include "model_maker.h"

typedef struct Failing {
    long left;   /* allocations until one fails */
    size_t most; /* bytes that one may ask for; 0: any */
    long live;
} Failing;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    if (f->left-- == 0 || (f->most && size > f->most))
        return NULL;
    f->live++;
    return aligned_alloc(align, ledge__round_up(size, align));
}

static void failing_free(void *context, void *p)
{
    Failing *f = context;
    f->live -= p != NULL;
    free(p);
}

static LedgeTensor floats(int rank, const int64_t *dims, float *data)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank, .data = data};
    for (int d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    t.bytes = ledge_tensor_bytes(&t);
    return t;
}

static LedgeModel *load(TestModel *t, bool optimize)
{
    LedgeError err = {0};
    LedgeModel *m = test_load(t, optimize, &err);
    if (!m)
        print_error("%s: %s\n", err.where, err.message);
    assert_non_null(m);
    return m;
}

static LedgeStatus run_once(LedgeModel *m, LedgeTensor *in, LedgeTensor *out, size_t n_out,
                            LedgeSession **s)
{
    LedgeError err = {0};
    LedgeSessionOptions o = {.threads = 1};
    assert_int_equal(ledge_session_create(m, &o, &err, s), LEDGE_OK);
    LedgeStatus status = ledge_session_run(*s, in, 1, out, n_out, &err);
    if (status != LEDGE_OK)
        print_message("%s: %s\n", err.where, err.message);
    return status;
}

/* ScatterElements may work in its first input's memory, but not when the updates are there too. */
static void in_place_is_not_chosen_when_another_input_reads_the_memory(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){4});
    test_ints(t, "reverse", 4, (int64_t[]){3, 2, 1, 0});
    test_ints(t, "shape", 1, (int64_t[]){4});
    test_node(t, "Neg", "x", "n");
    test_node(t, "Reshape", "n shape", "v");
    test_node(t, "ScatterElements", "n reverse v", "y");
    test_output(t, "y");
    float x[4] = {1, 2, 3, 4};
    LedgeTensor in = floats(1, (int64_t[]){4}, x), out = {0};
    LedgeModel *m = load(t, false);
    LedgeSession *s = NULL;
    assert_int_equal(run_once(m, &in, &out, 1, &s), LEDGE_OK);
    for (int i = 0; i < 4; i++)
        assert_float_equal(((float *)out.data)[i], i - 4, 0);
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

/* The trip count is the number of non-zero elements; each round adds x to the sum and to a
 * sequence; the body reads x from outside. */
static TestModel *loop_body(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "round", LEDGE_INT64, 0, NULL);
    test_input(t, "go", LEDGE_BOOL, 0, NULL);
    test_input(t, "sum", LEDGE_FLOAT, 1, (int64_t[]){-1});
    test_node(t, "Identity", "go", "go_on");
    test_node(t, "Add", "sum x", "more");
    test_node(t, "Identity", "more", "row");
    test_output(t, "go_on");
    test_output(t, "more");
    test_output(t, "row");
    return t;
}

static TestModel *dynamic_model(TestModel *body)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){-1});
    test_ints(t, "flat", 1, (int64_t[]){-1});
    test_ints(t, "zero", 1, (int64_t[]){0});
    test_node(t, "NonZero", "x", "where");
    test_node(t, "Reshape", "where flat", "list");
    test_node(t, "Add", "list list", "twice");
    test_node(t, "Size", "twice", "trips");
    OnnxNode *loop = test_node(t, "Loop", "trips _ x", "sum rows");
    test_attr_graph(t, loop, "body", body);
    test_node(t, "SequenceConstruct", "sum rows", "seq");
    test_node(t, "SequenceAt", "seq zero", "first");
    test_node(t, "Relu", "first", "y");
    test_output(t, "y");
    test_output(t, "rows");
    test_output(t, "twice");
    return t;
}

static void expect_dynamic(const float *x, const LedgeTensor *out)
{
    const int64_t *twice = out[2].data;
    int64_t count = 0;
    for (int64_t i = 0; i < 4; i++)
        if (x[i] != 0)
            assert_int_equal(twice[count++], 2 * i);
    assert_int_equal(out[2].dims[0], count);
    assert_int_equal(out[1].dims[0], count);
    for (int64_t i = 0; i < 4; i++) {
        float sum = x[i] * (float)(count + 1);
        assert_float_equal(((float *)out[0].data)[i], sum > 0 ? sum : 0, 1e-5);
        for (int64_t r = 0; r < count; r++)
            assert_float_equal(((float *)out[1].data)[r * 4 + i], x[i] * (float)(r + 2), 1e-5);
    }
}

static LedgeStatus load_and_run_dynamic(const void *bytes, size_t size, const LedgeAllocator *a,
                                        bool optimize)
{
    LedgeModelOptions mo = {.allocator = a, .no_optimize = !optimize};
    LedgeSessionOptions so = {.allocator = a, .threads = 1};
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    float data[3][4] = {{1, 0, 2, -3}, {0, 0, 0, 0}, {1, 2, 3, 4}};
    LedgeStatus status = ledge_model_load_memory(bytes, size, &mo, NULL, &m);
    if (status == LEDGE_OK)
        status = ledge_session_create(m, &so, NULL, &s);
    for (int k = 0; k < 3 && status == LEDGE_OK; k++) {
        LedgeTensor in = floats(1, (int64_t[]){4}, data[k]), out[3] = {{0}};
        status = ledge_session_run(s, &in, 1, out, 3, NULL);
        if (status == LEDGE_OK)
            expect_dynamic(data[k], out);
    }
    ledge_session_free(s);
    ledge_model_free(m);
    return status;
}

static void loops_and_sequences_follow_the_data_from_run_to_run(void **state)
{
    (void)state;
    size_t size;
    TestModel *body = loop_body(), *t = dynamic_model(body);
    const void *bytes = test_bytes(t, &size);
    assert_int_equal(load_and_run_dynamic(bytes, size, NULL, true), LEDGE_OK);
    assert_int_equal(load_and_run_dynamic(bytes, size, NULL, false), LEDGE_OK);
    test_model_free(t);
    test_model_free(body);
}

static void every_failed_allocation_of_a_dynamic_graph_is_told(void **state)
{
    (void)state;
    size_t size;
    TestModel *body = loop_body(), *t = dynamic_model(body);
    const void *bytes = test_bytes(t, &size);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    long n = 0;
    for (; status != LEDGE_OK && n < 100000; n++) {
        Failing f = {.left = n};
        LedgeAllocator a = {failing_alloc, failing_free, &f};
        status = load_and_run_dynamic(bytes, size, &a, true);
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        assert_int_equal(f.live, 0);
    }
    assert_true(n > 50 && status == LEDGE_OK);
    test_model_free(t);
    test_model_free(body);
}

static TestModel *product(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 16});
    test_noise(t, "w", 2, (int64_t[]){16, 8}, 1);
    test_node(t, "MatMul", "x w", "m");
    test_node(t, "Relu", "m", "y");
    test_output(t, "y");
    return t;
}

static void a_session_still_runs_small_shapes_after_a_large_one_found_no_memory(void **state)
{
    (void)state;
    TestModel *t = product();
    LedgeModel *m = load(t, true);
    Failing f = {.left = -1, .most = 1 << 20};
    LedgeAllocator a = {failing_alloc, failing_free, &f};
    LedgeSessionOptions o = {.allocator = &a, .threads = 1};
    LedgeSession *s = NULL;
    float *x = calloc(16 * 65536, sizeof *x);
    assert_non_null(x);
    LedgeTensor small = floats(2, (int64_t[]){2, 16}, x);
    LedgeTensor large = floats(2, (int64_t[]){65536, 16}, x), out = {0};
    assert_int_equal(ledge_session_create(m, &o, NULL, &s), LEDGE_OK);
    assert_int_equal(ledge_session_run(s, &small, 1, &out, 1, NULL), LEDGE_OK);
    out = (LedgeTensor){0};
    assert_int_equal(ledge_session_run(s, &large, 1, &out, 1, NULL), LEDGE_ERROR_MEMORY);
    assert_int_equal(ledge_session_run(s, &small, 1, &out, 1, NULL), LEDGE_OK);
    assert_float_equal(((float *)out.data)[15], 0, 0);
    ledge_session_free(s);
    assert_int_equal(f.live, 0);
    free(x);
    ledge_model_free(m);
    test_model_free(t);
}

static void every_failed_allocation_of_a_compiled_model_is_told(void **state)
{
    (void)state;
    char path[64];
    LedgeError err;
    TestModel *t = product();
    LedgeModel *m = load(t, true);
    snprintf(path, sizeof path, "/tmp/ledge-test-plan-%d.ledge", (int)getpid());
    assert_int_equal(ledge_model_compile(m, NULL, 0, path, &err), LEDGE_OK);
    ledge_model_free(m);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    long n = 0;
    for (; status != LEDGE_OK && n < 100000; n++) {
        Failing f = {.left = n};
        LedgeAllocator a = {failing_alloc, failing_free, &f};
        LedgeModelOptions mo = {.allocator = &a};
        m = NULL;
        status = ledge_model_load(path, &mo, NULL, &m);
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        ledge_model_free(m);
        assert_int_equal(f.live, 0);
    }
    assert_true(n > 5 && status == LEDGE_OK);
    unlink(path);
    test_model_free(t);
}

static void a_compiled_model_in_memory_may_begin_at_any_address(void **state)
{
    (void)state;
    char path[64];
    LedgeError err;
    TestModel *t = product();
    LedgeModel *m = load(t, true);
    snprintf(path, sizeof path, "/tmp/ledge-test-plan-%d.ledge", (int)getpid());
    assert_int_equal(ledge_model_compile(m, NULL, 0, path, &err), LEDGE_OK);
    float x[32], y[16];
    test_fill(x, 32, 7);
    LedgeTensor in = floats(2, (int64_t[]){2, 16}, x), out = {.data = y, .bytes = sizeof y};
    LedgeSession *s = NULL;
    assert_int_equal(run_once(m, &in, &out, 1, &s), LEDGE_OK);
    ledge_session_free(s);
    ledge_model_free(m);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = malloc(1 << 16);
    assert_non_null(bytes);
    size_t size = fread(bytes + 4, 1, (1 << 16) - 4, f);
    fclose(f);
    assert_int_equal(ledge_model_load_memory(bytes + 4, size, NULL, &err, &m), LEDGE_OK);
    out = (LedgeTensor){0};
    assert_int_equal(run_once(m, &in, &out, 1, &s), LEDGE_OK);
    assert_memory_equal(out.data, y, sizeof y);
    ledge_session_free(s);
    ledge_model_free(m);
    free(bytes);
    unlink(path);
    test_model_free(t);
}

static void a_node_without_wanted_outputs_does_no_harm(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){4});
    test_ints(t, "shape", 2, (int64_t[]){2, 2});
    test_ints(t, "two", 1, (int64_t[]){2});
    test_noise(t, "k", 1, (int64_t[]){4}, 1);
    test_node(t, "Reshape", "k shape", "_");
    test_node(t, "Reshape", "x shape", "_");
    test_node(t, "TopK", "x two", "_ where");
    test_output(t, "where");
    float x[4] = {1, 4, 2, 3};
    for (int optimize = 0; optimize < 2; optimize++) {
        LedgeTensor in = floats(1, (int64_t[]){4}, x), out = {0};
        LedgeModel *m = load(t, optimize);
        LedgeSession *s = NULL;
        assert_int_equal(run_once(m, &in, &out, 1, &s), LEDGE_OK);
        assert_int_equal(((int64_t *)out.data)[0], 1);
        assert_int_equal(((int64_t *)out.data)[1], 3);
        ledge_session_free(s);
        ledge_model_free(m);
    }
    test_model_free(t);
}

/* Every second node reads the one before the last too, so that few may work in place. */
static void a_chain_of_20000_nodes_is_planned_in_seconds(void **state)
{
    (void)state;
    char in[64], out[32];
    TestModel *t = test_model_new(17);
    test_input(t, "v0", LEDGE_FLOAT, 1, (int64_t[]){4});
    test_node(t, "Neg", "v0", "v1");
    for (int i = 2; i <= 20000; i++) {
        snprintf(in, sizeof in, i % 2 ? "v%d" : "v%d v%d", i - 1, i - 2);
        snprintf(out, sizeof out, "v%d", i);
        test_node(t, i % 2 ? "Tanh" : "Mul", in, out);
    }
    test_output(t, "v20000");
    for (int optimize = 0; optimize < 2; optimize++) {
        float x[4] = {0.5f, 1, 0, -1};
        LedgeTensor x_in = floats(1, (int64_t[]){4}, x), y = {0};
        LedgeSession *s = NULL;
        clock_t start = clock();
        LedgeModel *m = load(t, optimize);
        assert_int_equal(run_once(m, &x_in, &y, 1, &s), LEDGE_OK);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        assert_true(seconds < 20); /* with sanitizers, on a busy machine */
        assert_true(ledge_session_arena_bytes(s) < 4096);
        ledge_session_free(s);
        ledge_model_free(m);
    }
    test_model_free(t);
}

/* All alive at once: comparing every pair of them took 21 s. */
static void forty_thousand_values_alive_at_once_are_placed_in_seconds(void **state)
{
    (void)state;
    enum { WIDE = 40000 };
    char in[32], out[32], *all = calloc(WIDE, 8), *end = all;
    assert_non_null(all);
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){4});
    for (int i = 0; i < WIDE; i++) {
        float k = (float)i;
        snprintf(in, sizeof in, "k%d", i);
        test_floats(t, in, 1, (int64_t[]){1}, &k);
        snprintf(in, sizeof in, "x k%d", i);
        snprintf(out, sizeof out, "t%d", i);
        test_node(t, "Add", in, out);
        end += sprintf(end, "%st%d", i ? " " : "", i);
    }
    test_attr_int(t, test_node(t, "Concat", all, "y"), "axis", 0);
    test_output(t, "y");
    float x[4] = {0, 1, 2, 3};
    LedgeTensor x_in = floats(1, (int64_t[]){4}, x), y = {0};
    LedgeSession *s = NULL;
    clock_t start = clock();
    LedgeModel *m = load(t, true);
    assert_int_equal(run_once(m, &x_in, &y, 1, &s), LEDGE_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 15);
    for (int i = 0; i < 4 * WIDE; i++)
        assert_float_equal(((float *)y.data)[i], (float)(i / 4 + i % 4), 0);
    ledge_session_free(s);
    ledge_model_free(m);
    free(all);
    test_model_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_place_is_not_chosen_when_another_input_reads_the_memory),
        cmocka_unit_test(loops_and_sequences_follow_the_data_from_run_to_run),
        cmocka_unit_test(every_failed_allocation_of_a_dynamic_graph_is_told),
        cmocka_unit_test(a_session_still_runs_small_shapes_after_a_large_one_found_no_memory),
        cmocka_unit_test(every_failed_allocation_of_a_compiled_model_is_told),
        cmocka_unit_test(a_compiled_model_in_memory_may_begin_at_any_address),
        cmocka_unit_test(forty_thousand_values_alive_at_once_are_placed_in_seconds),
        cmocka_unit_test(a_chain_of_20000_nodes_is_planned_in_seconds),
        cmocka_unit_test(a_node_without_wanted_outputs_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
