/* Guests that lie: pointers past memory, wrapped lengths, guessed and stale handles, too much of
 * everything, computations without end, and calls on an object that another thread uses. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_guest.h"

enum { MEMORY = 1 << 16 };
static const float x[4] = {1, 2, 3, 4};

typedef struct Fixture {
    Guest g;
    TestModel *t;
    uint32_t builder, model, size, graph, context, tensor, out, buffer;
} Fixture;

static void ready(Fixture *f, const LedgeNnOptions *o)
{
    size_t n;
    f->t = relu_model();
    guest_new(&f->g, MEMORY, o);
    const void *bytes = test_bytes(f->t, &n);
    f->size = (uint32_t)n;
    f->model = guest_put(&f->g, bytes, f->size);
    f->builder = guest_put(&f->g, (uint32_t[]){f->model, f->size}, 8);
    f->out = guest_put(&f->g, NULL, 4);
    f->buffer = guest_put(&f->g, NULL, 64);
    f->tensor = guest_tensor(&f->g, 1, 2, (uint32_t[]){1, 4}, x, 16);
    f->graph = guest_load(&f->g, f->t);
    f->context = guest_context(&f->g, f->graph);
    assert_int_equal(guest_call(&f->g, "set_input", f->context, 0, f->tensor), NN_SUCCESS);
    assert_int_equal(guest_call(&f->g, "compute", f->context), NN_SUCCESS);
}

static void done(Fixture *f)
{
    guest_free(&f->g);
    test_model_free(f->t);
}

static const uint32_t beyond[] = {MEMORY - 3,  MEMORY,      MEMORY + 1,
                                  0x80000000u, 0xfffffffcu, 0xffffffffu};
#define EACH_BEYOND(i) for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)

static void pointers_past_memory_are_refused(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    const uint32_t graph = f.graph, context = f.context;
    EACH_BEYOND(i)
    {
        const uint32_t p = beyond[i];
        Guest *g = &f.g;
        assert_int_equal(guest_call(g, "load", p, 1, 1, 0, f.out), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "load", f.builder, 1, 1, 0, p), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "load_by_name", p, 4, f.out), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "load_by_name", f.model, 4, p), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "load_by_name_with_config", f.model, 4, p, 4, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "init_execution_context", graph, p), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "set_input", context, 0, p), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "get_output", context, 0, p, 12, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "get_output", context, 0, f.buffer, 12, p),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.tensor_count", graph, 0, p), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.tensor_name", graph, 0, 0, p, 4, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.tensor_shape", graph, 0, 0, p, 2, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.output_shape", context, 0, p, 2, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.metadata", graph, p, 4, f.buffer, 4, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(g, "ledge_nn.last_error", f.buffer, 64, p),
                         NN_INVALID_ARGUMENT);
    }
    assert_non_null(strstr(guest_error(&f.g), "do not lie in the guest's 65536 bytes"));
    assert_int_equal(ledge__nn_counts(f.g.nn).graphs, 1); /* nothing was made on the way */
    assert_int_equal(ledge__nn_counts(f.g.nn).contexts, 1);
    done(&f);
}

/* address + length, or count * size, over 32 bits */
static void lengths_that_wrap_are_refused(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    static const uint32_t lengths[] = {MEMORY, 0x7fffffffu, 0x80000000u, 0xfffffff0u, 0xffffffffu};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const uint32_t n = lengths[i];
        guest_poke(&f.g, f.builder + 4, n); /* the model's length */
        assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.builder + 4, f.size);
        assert_int_equal(guest_call(&f.g, "load_by_name", f.model, n, f.out), NN_INVALID_ARGUMENT);
        assert_int_equal(guest_call(&f.g, "get_output", f.context, 0, f.buffer, n, f.out),
                         NN_INVALID_ARGUMENT);
        assert_int_equal(
            guest_call(&f.g, "ledge_nn.output_shape", f.context, 0, f.buffer, n, f.out),
            NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.tensor + 4, n); /* how many dimensions */
        assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor),
                         NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.tensor + 4, 2);
        guest_poke(&f.g, f.tensor + 16, n); /* how many bytes */
        assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor),
                         NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.tensor + 16, 16);
    }
    assert_int_equal(guest_call(&f.g, "load", f.builder, 0x20000001u, 1, 0, f.out),
                     NN_INVALID_ARGUMENT); /* 8 times that is 8 in 32 bits */
    done(&f);
}

static void tensors_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    const uint32_t dims = guest_word(&f.g, f.tensor);
    static const uint32_t shapes[][2] = {
        {0xffffffffu, 4}, {0x40000000u, 4}, {1, 5}, {2, 4}, {0, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        guest_poke(&f.g, dims, shapes[i][0]);
        guest_poke(&f.g, dims + 4, shapes[i][1]);
        assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor),
                         NN_INVALID_ARGUMENT);
    }
    guest_poke(&f.g, dims, 1);
    guest_poke(&f.g, dims + 4, 4);
    EACH_BEYOND(i)
    {
        guest_poke(&f.g, f.tensor + 12, beyond[i]); /* the data */
        assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor),
                         NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.tensor + 12, dims);
        guest_poke(&f.g, f.tensor, beyond[i]); /* the dimensions */
        assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor),
                         NN_INVALID_ARGUMENT);
        guest_poke(&f.g, f.tensor, dims);
    }
    f.g.memory[f.tensor + 8] = 6; /* no such type */
    assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor), NN_INVALID_ARGUMENT);
    f.g.memory[f.tensor + 8] = 1;
    assert_int_equal(guest_call(&f.g, "set_input", f.context, 1, f.tensor), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(&f.g, "set_input", f.context, 0, f.tensor), NN_SUCCESS);
    done(&f);
}

static void small_buffers_stay_untouched(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    memset(f.g.memory + f.buffer, 0x5a, 64);
    guest_poke(&f.g, f.out, 77);
    for (uint32_t n = 0; n < 12; n++)
        assert_int_equal(guest_call(&f.g, "get_output", f.context, 0, f.buffer, n, f.out),
                         NN_TOO_LARGE);
    assert_int_equal(guest_word(&f.g, f.out), 77);
    for (int i = 0; i < 64; i++)
        assert_int_equal(f.g.memory[f.buffer + i], 0x5a);
    assert_int_equal(guest_call(&f.g, "get_output", f.context, 1, f.buffer, 64, f.out),
                     NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(&f.g, "get_output", f.context, 0, f.buffer, 64, f.out), NN_SUCCESS);
    assert_int_equal(guest_word(&f.g, f.out), 12);
    assert_int_equal(f.g.memory[f.buffer + 12], 0x5a);
    done(&f);
}

static void handles_cannot_be_guessed_or_kept(void **state)
{
    (void)state;
    Fixture f, other;
    ready(&f, NULL);
    ready(&other, NULL);
    Guest *g = &f.g;
    /* Those of another kind, of another instance, and neighbours. */
    assert_int_equal(guest_call(g, "compute", f.graph), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(g, "unload", f.context), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(g, "compute", other.context), NN_INVALID_ARGUMENT);
    for (uint32_t i = 0; i < 4096; i++) {
        assert_int_equal(guest_call(g, "compute", i), NN_INVALID_ARGUMENT);
        if (i)
            assert_int_equal(guest_call(g, "compute", f.context ^ i), NN_INVALID_ARGUMENT);
    }
    /* A stale one does not name what came into its place. */
    const uint32_t stale = f.context;
    assert_int_equal(guest_call(g, "finalize_execution_context", stale), NN_SUCCESS);
    assert_int_equal(guest_call(g, "finalize_execution_context", stale), NN_INVALID_ARGUMENT);
    f.context = guest_context(g, f.graph);
    assert_int_not_equal(f.context, stale);
    assert_int_equal(guest_call(g, "compute", stale), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(g, "get_output", stale, 0, f.buffer, 64, f.out),
                     NN_INVALID_ARGUMENT);
    done(&f);
    done(&other);
}

static void a_guest_without_memory_is_told_so(void **state)
{
    (void)state;
    Guest g;
    guest_new(&g, 1 << 10, NULL);
    for (const LedgeNnFunction *f = ledge__nn_functions; f->name; f++) {
        const uint32_t args[8] = {0, 1, 1, 0, 0};
        const NnErrno e = ledge__nn_call(g.nn, f, (LedgeNnMemory){NULL, 0}, args);
        if (strcmp(f->name, "load") == 0 || strcmp(f->name, "load_by_name") == 0)
            assert_int_equal(e, NN_MISSING_MEMORY);
        else
            assert_int_not_equal(e, NN_SUCCESS);
    }
    guest_free(&g);
}

static void models_and_contexts_are_bounded(void **state)
{
    (void)state;
    Fixture f;
    const LedgeNnOptions o = {.limits = {.graphs = 3, .contexts = 2}, .threads = 1};
    ready(&f, &o);
    assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_SUCCESS);
    assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_SUCCESS);
    const uint32_t last = guest_word(&f.g, f.out);
    assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_TOO_LARGE);
    assert_int_equal(guest_call(&f.g, "init_execution_context", f.graph, f.out), NN_SUCCESS);
    assert_int_equal(guest_call(&f.g, "init_execution_context", f.graph, f.out), NN_TOO_LARGE);
    /* Unloading a model that a context holds frees no room: its memory is still in use. */
    assert_int_equal(guest_call(&f.g, "unload", f.graph), NN_SUCCESS);
    assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_TOO_LARGE);
    assert_int_equal(guest_call(&f.g, "unload", last), NN_SUCCESS);
    assert_int_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_SUCCESS);
    done(&f);
}

static void host_memory_is_bounded(void **state)
{
    (void)state;
    Guest g;
    const LedgeNnOptions o = {.limits = {.host_bytes = 1 << 20}, .threads = 1};
    TestModel *t = test_model_new(17); /* x [N] tiled: an output as large as the guest wishes */
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){-1});
    test_input(t, "n", LEDGE_INT64, 1, (int64_t[]){1});
    test_node(t, "Tile", "x n", "y");
    test_output(t, "y");
    guest_new(&g, MEMORY, &o);
    const uint32_t context = guest_context(&g, guest_load(&g, t));
    const uint32_t in = guest_tensor(&g, 1, 1, (uint32_t[]){4}, x, 16);
    assert_int_equal(guest_call(&g, "set_input", context, 0, in), NN_SUCCESS);
    static const int64_t times[] = {10, 1 << 20, 1ll << 40, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const uint32_t n = guest_tensor(&g, 5, 1, (uint32_t[]){1}, &times[i], 8);
        assert_int_equal(guest_call(&g, "set_input", context, 1, n), NN_SUCCESS);
        const NnErrno e = guest_call(&g, "compute", context);
        if (i == 0)
            assert_int_equal(e, NN_SUCCESS);
        else
            assert_true(e == NN_TOO_LARGE || e == NN_INVALID_ARGUMENT);
    }
    assert_true(ledge__nn_counts(g.nn).peak_bytes <= 1 << 20);
    guest_free(&g);
    test_model_free(t);
}

/* Loop without a trip count whose condition stays true. */
static TestModel *endless_model(TestModel **body)
{
    TestModel *t = test_model_new(17), *b = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){1});
    test_tensor(t, "yes", LEDGE_BOOL, 0, NULL, (uint8_t[]){1});
    test_input(b, "i", LEDGE_INT64, 0, NULL);
    test_input(b, "c", LEDGE_BOOL, 0, NULL);
    test_input(b, "v", LEDGE_FLOAT, 1, (int64_t[]){1});
    test_node(b, "Identity", "c", "go");
    test_node(b, "Add", "v v", "w");
    test_output(b, "go");
    test_output(b, "w");
    test_attr_graph(t, test_node(t, "Loop", "_ yes x", "y"), "body", b);
    test_output(t, "y");
    *body = b;
    return t;
}

static void an_endless_model_is_stopped(void **state)
{
    (void)state;
    Guest g;
    TestModel *body, *t = endless_model(&body);
    const LedgeNnOptions o = {.limits = {.compute_ns = 50 * 1000 * 1000}, .threads = 1};
    guest_new(&g, MEMORY, &o);
    const uint32_t context = guest_context(&g, guest_load(&g, t));
    const uint32_t in = guest_tensor(&g, 1, 1, (uint32_t[]){1}, x, 4);
    assert_int_equal(guest_call(&g, "set_input", context, 0, in), NN_SUCCESS);
    assert_int_equal(guest_call(&g, "compute", context), NN_RUNTIME_ERROR);
    assert_non_null(strstr(guest_error(&g), "time is used up"));
    assert_true(ledge__nn_counts(g.nn).compute_ns >= 50 * 1000 * 1000);
    /* Nothing is left for another one. */
    assert_int_equal(guest_call(&g, "compute", context), NN_RUNTIME_ERROR);
    assert_int_equal(ledge__nn_counts(g.nn).computes, 1);
    guest_free(&g);
    test_model_free(t);
    test_model_free(body);
}

static bool now_cancelled(void *arg)
{
    return ++*(int *)arg > 1000;
}

static void the_embedder_can_end_a_computation(void **state)
{
    (void)state;
    Guest g;
    int asked = 0;
    TestModel *body, *t = endless_model(&body);
    const LedgeNnOptions o = {.cancelled = now_cancelled, .cancel_arg = &asked, .threads = 1};
    guest_new(&g, MEMORY, &o);
    const uint32_t context = guest_context(&g, guest_load(&g, t));
    const uint32_t in = guest_tensor(&g, 1, 1, (uint32_t[]){1}, x, 4);
    assert_int_equal(guest_call(&g, "set_input", context, 0, in), NN_SUCCESS);
    assert_int_equal(guest_call(&g, "compute", context), NN_RUNTIME_ERROR);
    assert_int_equal(asked, 1001);
    guest_free(&g);
    test_model_free(t);
    test_model_free(body);
}

static void nothing_is_computed_without_all_inputs(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    const uint32_t fresh = guest_context(&f.g, f.graph);
    assert_int_equal(guest_call(&f.g, "compute", fresh), NN_INVALID_ARGUMENT);
    assert_non_null(strstr(guest_error(&f.g), "x: the input was not set"));
    assert_int_equal(guest_call(&f.g, "get_output", fresh, 0, f.buffer, 64, f.out),
                     NN_RUNTIME_ERROR);
    done(&f);
}

static void damaged_models_are_refused(void **state)
{
    (void)state;
    Fixture f;
    ready(&f, NULL);
    for (uint32_t n = 0; n < f.size; n += 7) {
        guest_poke(&f.g, f.builder + 4, n);
        assert_int_not_equal(guest_call(&f.g, "load", f.builder, 1, 1, 0, f.out), NN_SUCCESS);
        assert_true(guest_error(&f.g)[0] != '\0');
    }
    assert_int_equal(ledge__nn_counts(f.g.nn).graphs, 1);
    done(&f);
}

/* A model may name another file for its weights: not one from a guest's memory. */
static void models_cannot_reach_the_hosts_files(void **state)
{
    (void)state;
    Guest g;
    LedgeError err = {0};
    TestModel *t = relu_model();
    OnnxModel *m = test_onnx(t);
    for (size_t i = 0; i < m->graph.n_initializers; i++) {
        m->graph.initializers[i].external = true;
        m->graph.initializers[i].location = (LedgeStr){"hostname", 8};
    }
    char path[] = "/tmp/ledge-external-XXXXXX";
    assert_non_null(mkdtemp(path));
    char file[64];
    snprintf(file, sizeof file, "%s/m.onnx", path);
    assert_int_equal(ledge__onnx_write_file(m, file, true, &err), LEDGE_OK);
    FILE *in = fopen(file, "rb");
    assert_non_null(in);
    guest_new(&g, MEMORY, NULL);
    const uint32_t model = guest_put(&g, NULL, 4096);
    const uint32_t size = (uint32_t)fread(g.memory + model, 1, 4096, in);
    fclose(in);
    const uint32_t builder = guest_put(&g, (uint32_t[]){model, size}, 8);
    const uint32_t out = guest_put(&g, NULL, 4);
    assert_int_equal(guest_call(&g, "load", builder, 1, 1, 0, out), NN_INVALID_ARGUMENT);
    assert_non_null(strstr(guest_error(&g), "another file"));
    remove(file);
    snprintf(file, sizeof file, "%s/hostname", path);
    remove(file);
    remove(path);
    guest_free(&g);
    test_model_free(t);
}

/* ---- threads ---- */

typedef struct Race {
    Guest *g;
    uint32_t context;
    _Atomic uint32_t seen[9];
    _Atomic bool stop;
} Race;

static void *compute_again(void *arg)
{
    Race *r = arg;
    const LedgeNnFunction *f = ledge__nn_functions;
    while (strcmp(f->name, "compute") != 0)
        f++;
    while (!r->stop)
        r->seen[ledge__nn_call(r->g->nn, f, (LedgeNnMemory){r->g->memory, MEMORY}, &r->context)]++;
    return NULL;
}

/* Two threads on one context and a third that unloads its model: each call succeeds or says BUSY,
 * and nothing is freed under a running computation (ASan and TSan would see it). */
static void concurrent_calls_are_safe(void **state)
{
    (void)state;
    Fixture f;
    pthread_t threads[2];
    const LedgeNnOptions o = {.threads = 1};
    ready(&f, &o);
    Race r[2] = {{.g = &f.g, .context = f.context}, {.g = &f.g, .context = f.context}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compute_again, &r[i]), 0);
    for (int i = 0; i < 2000 && !r[0].seen[NN_SUCCESS]; i++) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, NULL);
    }
    assert_int_equal(guest_call(&f.g, "unload", f.graph), NN_SUCCESS);
    NnErrno e;
    do
        e = guest_call(&f.g, "finalize_execution_context", f.context);
    while (e == NN_BUSY);
    assert_int_equal(e, NN_SUCCESS);
    for (int i = 0; i < 2; i++)
        while (!r[i].seen[NN_INVALID_ARGUMENT])
            ;
    r[0].stop = r[1].stop = true;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        for (int k = 0; k < 9; k++)
            if (k != NN_SUCCESS && k != NN_BUSY && k != NN_INVALID_ARGUMENT)
                assert_int_equal(r[i].seen[k], 0);
    }
    assert_int_equal(ledge__nn_counts(f.g.nn).host_bytes, 0);
    done(&f);
}

/* Threads that load, use and unload each other's objects, each with a memory of its own. */
enum { CROWD = 4, SHARED = 4, TURNS = 1500 };

typedef struct Crowd {
    const Fixture *f;
    _Atomic uint32_t graph[SHARED], context[SHARED], answers, wrong, strange;
} Crowd;

typedef struct Member {
    Crowd *all;
    unsigned seed;
    pthread_t thread;
} Member;

/* One call that a guest could make, on whatever objects are there just now. */
static void do_anything(Crowd *c, Guest *mine, unsigned *seed)
{
    const Fixture *f = c->f;
    _Atomic uint32_t *graph = &c->graph[(unsigned)rand_r(seed) % SHARED];
    _Atomic uint32_t *context = &c->context[(unsigned)rand_r(seed) % SHARED];
    float want[3];
    NnErrno e = NN_SUCCESS;
    switch (rand_r(seed) % 8) {
    case 0:
        if (!(e = guest_call(mine, "load", f->builder, 1, 1, 0, f->out)))
            *graph = guest_word(mine, f->out);
        break;
    case 1:
        if (!(e = guest_call(mine, "init_execution_context", *graph, f->out)))
            *context = guest_word(mine, f->out);
        break;
    case 2:
        e = guest_call(mine, "set_input", *context, 0, f->tensor);
        break;
    case 3:
        e = guest_call(mine, "get_output", *context, 0, f->buffer, 64, f->out);
        relu_expected(x, want);
        if (!e)
            c->answers++;
        if (!e && memcmp(mine->memory + f->buffer, want, sizeof want) != 0)
            c->wrong++;
        break;
    case 4:
        e = guest_call(mine, "unload", *graph);
        break;
    case 5:
        e = guest_call(mine, "finalize_execution_context", *context);
        break;
    default:
        e = guest_call(mine, "compute", *context);
        break;
    }
    if (e != NN_SUCCESS && e != NN_INVALID_ARGUMENT && e != NN_BUSY && e != NN_RUNTIME_ERROR &&
        e != NN_TOO_LARGE)
        c->strange++;
}

static void *join_the_crowd(void *arg)
{
    Member *m = arg;
    Guest mine = m->all->f->g;
    mine.memory = malloc(mine.size);
    if (!mine.memory)
        return NULL;
    memcpy(mine.memory, m->all->f->g.memory, mine.size);
    for (int i = 0; i < TURNS; i++)
        do_anything(m->all, &mine, &m->seed);
    free(mine.memory);
    return NULL;
}

static void a_crowd_that_unloads_what_others_use_is_safe(void **state)
{
    (void)state;
    Fixture f;
    Member crowd[CROWD];
    Crowd c = {.f = &f};
    const LedgeNnOptions o = {.threads = 1, .limits = {.graphs = 8, .contexts = 8}};
    ready(&f, &o);
    c.graph[0] = f.graph;
    c.context[0] = f.context;
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (Member){.all = &c, .seed = i + 1};
        assert_int_equal(pthread_create(&crowd[i].thread, NULL, join_the_crowd, &crowd[i]), 0);
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(crowd[i].thread, NULL);
    assert_int_equal(c.strange, 0);
    assert_int_equal(c.wrong, 0);
    assert_true(c.answers > 0);
    const LedgeNnCounts n = ledge__nn_counts(f.g.nn);
    assert_true(n.graphs <= 8 && n.contexts <= 8 && n.refused > 0 && n.computes > 0);
    done(&f); /* frees what nobody took back */
}

/* ---- no memory ---- */

typedef struct Failing {
    size_t left;
} Failing;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    void *p = NULL;
    if (!f->left)
        return NULL;
    f->left--;
    return posix_memalign(&p, align < sizeof p ? sizeof p : align, size) ? NULL : p;
}

static void failing_free(void *context, void *p)
{
    (void)context;
    free(p);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    bool ended = false;
    for (size_t n = 0; !ended && n < 100000; n++) {
        Failing failing = {SIZE_MAX};
        const LedgeAllocator a = {failing_alloc, failing_free, &failing};
        const LedgeNnOptions o = {.allocator = &a, .threads = 1};
        LedgeNn *nn = NULL;
        Guest g;
        failing.left = n;
        if (ledge__nn_new(&o, &nn)) {
            assert_null(nn);
            continue;
        }
        ledge__nn_free(nn);
        failing.left = SIZE_MAX;
        guest_new(&g, MEMORY, &o);
        failing.left = n;
        TestModel *t = relu_model();
        size_t size;
        const void *bytes = test_bytes(t, &size);
        const uint32_t model = guest_put(&g, bytes, (uint32_t)size);
        const uint32_t builder = guest_put(&g, (uint32_t[]){model, (uint32_t)size}, 8);
        const uint32_t out = guest_put(&g, NULL, 4);
        const uint32_t in = guest_tensor(&g, 1, 2, (uint32_t[]){1, 4}, x, 16);
        NnErrno e = guest_call(&g, "load", builder, 1, 1, 0, out);
        if (!e)
            e = guest_call(&g, "init_execution_context", guest_word(&g, out), out);
        if (!e)
            e = guest_call(&g, "set_input", guest_word(&g, out), 0, in);
        if (!e)
            e = guest_call(&g, "compute", guest_word(&g, out));
        assert_true(e == NN_SUCCESS || e == NN_TOO_LARGE);
        ended = e == NN_SUCCESS;
        guest_free(&g);
        test_model_free(t);
    }
    assert_true(ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointers_past_memory_are_refused),
        cmocka_unit_test(lengths_that_wrap_are_refused),
        cmocka_unit_test(tensors_that_do_not_fit_are_refused),
        cmocka_unit_test(small_buffers_stay_untouched),
        cmocka_unit_test(handles_cannot_be_guessed_or_kept),
        cmocka_unit_test(a_guest_without_memory_is_told_so),
        cmocka_unit_test(models_and_contexts_are_bounded),
        cmocka_unit_test(host_memory_is_bounded),
        cmocka_unit_test(an_endless_model_is_stopped),
        cmocka_unit_test(the_embedder_can_end_a_computation),
        cmocka_unit_test(nothing_is_computed_without_all_inputs),
        cmocka_unit_test(damaged_models_are_refused),
        cmocka_unit_test(models_cannot_reach_the_hosts_files),
        cmocka_unit_test(concurrent_calls_are_safe),
        cmocka_unit_test(a_crowd_that_unloads_what_others_use_is_safe),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
