/* Model, planner and session through the public API: answers, memory reuse, refused inputs,
 * failing allocations, and compiled files that are damaged or for another machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/session/ledge_file.h"
#include "model_maker.h"

static LedgeTensor tensor(int rank, const int64_t *dims, float *data)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank, .data = data};
    for (int d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    t.bytes = ledge_tensor_bytes(&t);
    return t;
}

/* y = Relu(x·w + b) reshaped and added to itself: views, in-place and a reused input. */
static TestModel *small_model(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_noise(t, "w", 2, (int64_t[]){4, 6}, 1);
    test_noise(t, "b", 1, (int64_t[]){6}, 2);
    test_ints(t, "shape", 2, (int64_t[]){-1, 3});
    test_node(t, "MatMul", "x w", "m");
    test_node(t, "Add", "m b", "a");
    test_node(t, "Relu", "a", "r");
    test_node(t, "Reshape", "r shape", "v");
    test_node(t, "Neg", "v", "n");
    test_node(t, "Mul", "n v", "y");
    test_output(t, "y");
    return t;
}

static void expect_small(const float *x, size_t rows, const float *y)
{
    float w[24], b[6];
    test_fill(w, 24, 1);
    test_fill(b, 6, 2);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < 6; j++) {
            float sum = 0;
            for (size_t k = 0; k < 4; k++)
                sum += x[i * 4 + k] * w[k * 6 + j];
            float r = sum + b[j] > 0 ? sum + b[j] : 0;
            assert_float_equal(y[i * 6 + j], -r * r, 1e-5);
        }
}

static LedgeModel *load(TestModel *t, bool optimize)
{
    LedgeError err;
    LedgeModel *m = test_load(t, optimize, &err);
    if (!m)
        print_error("%s: %s\n", err.where, err.message);
    assert_non_null(m);
    return m;
}

static LedgeSession *session(LedgeModel *m)
{
    LedgeSession *s = NULL;
    LedgeSessionOptions o = {.threads = 1};
    assert_int_equal(ledge_session_create(m, &o, NULL, &s), LEDGE_OK);
    return s;
}

static void run_answers_for_every_batch_size(void **state)
{
    (void)state;
    TestModel *t = small_model();
    for (int optimize = 0; optimize < 2; optimize++) {
        LedgeModel *m = load(t, optimize);
        LedgeSession *s = session(m);
        for (int64_t n = 1; n < 20; n += 3) {
            float x[80];
            test_fill(x, (size_t)n * 4, (uint32_t)n);
            LedgeTensor in = tensor(2, (int64_t[]){n, 4}, x), out = {0};
            assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, NULL), LEDGE_OK);
            assert_int_equal(out.dims[0], 2 * n);
            assert_int_equal(out.dims[1], 3);
            expect_small(x, (size_t)n, out.data);
        }
        ledge_session_free(s);
        ledge_model_free(m);
    }
    test_model_free(t);
}

static void outputs_go_to_the_callers_buffer_or_say_its_size(void **state)
{
    (void)state;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    LedgeSession *s = session(m);
    LedgeError err;
    float x[8], y[12];
    test_fill(x, 8, 5);
    LedgeTensor in = tensor(2, (int64_t[]){2, 4}, x), out = {.data = y, .bytes = sizeof y};
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, NULL), LEDGE_OK);
    assert_ptr_equal(out.data, y);
    expect_small(x, 2, y);
    out = (LedgeTensor){.data = y, .bytes = 44};
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_LIMIT);
    assert_string_equal(err.where, "y");
    assert_non_null(strstr(err.message, "48 bytes"));
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void outputs_of_an_earlier_run_may_be_passed_in_again(void **state)
{
    (void)state;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    LedgeSession *s = session(m);
    LedgeTensor out = {0}; /* as the run before left it: smaller, larger, elsewhere */
    static const int64_t batches[] = {1, 40, 3, 200, 7};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        int64_t n = batches[i];
        float x[800];
        test_fill(x, (size_t)n * 4, (uint32_t)n);
        LedgeTensor in = tensor(2, (int64_t[]){n, 4}, x);
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, NULL), LEDGE_OK);
        assert_int_equal(out.dims[0], 2 * n);
        expect_small(x, (size_t)n, out.data);
    }
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void sessions_outlive_the_callers_model_and_share_it(void **state)
{
    (void)state;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    LedgeSession *a = session(m), *b = session(m);
    float x[4], y[4];
    test_fill(x, 4, 8);
    test_fill(y, 4, 9);
    ledge_model_free(m);
    LedgeTensor in_a = tensor(2, (int64_t[]){1, 4}, x), out_a = {0};
    LedgeTensor in_b = tensor(2, (int64_t[]){1, 4}, y), out_b = {0};
    assert_int_equal(ledge_session_run(a, &in_a, 1, &out_a, 1, NULL), LEDGE_OK);
    assert_int_equal(ledge_session_run(b, &in_b, 1, &out_b, 1, NULL), LEDGE_OK);
    expect_small(x, 1, out_a.data);
    expect_small(y, 1, out_b.data);
    ledge_session_free(a);
    ledge_session_free(b);
    test_model_free(t);
}

static void wrong_inputs_are_refused_by_name(void **state)
{
    (void)state;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    LedgeSession *s = session(m);
    LedgeError err;
    float x[8] = {0};
    LedgeTensor out = {0}, in = tensor(2, (int64_t[]){2, 3}, x);
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_SHAPE);
    assert_string_equal(err.where, "x");
    assert_string_equal(err.message, "the input has shape [2,3], the model takes [?,4]");
    in = tensor(1, (int64_t[]){8}, x);
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_SHAPE);
    in = tensor(2, (int64_t[]){2, 4}, x);
    in.type = LEDGE_INT32;
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_TYPE);
    in.type = LEDGE_FLOAT;
    in.bytes = 31;
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge_session_run(s, &in, 0, &out, 1, &err), LEDGE_ERROR_ARGUMENT);
    in = tensor(2, (int64_t[]){INT64_MAX / 2, 4}, x);
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_ARGUMENT);
    in = tensor(2, (int64_t[]){0, 4}, x);
    in.bytes = 0;
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_OK);
    assert_int_equal(out.dims[0], 0);
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void an_output_that_is_an_input_or_a_constant_is_a_copy(void **state)
{
    (void)state;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){4});
    test_noise(t, "k", 1, (int64_t[]){4}, 4);
    test_node(t, "Identity", "x", "same");
    test_output(t, "same");
    test_output(t, "k");
    test_output(t, "x");
    LedgeModel *m = load(t, true);
    LedgeSession *s = session(m);
    float x[4], k[4];
    test_fill(x, 4, 3);
    test_fill(k, 4, 4);
    LedgeTensor in = tensor(1, (int64_t[]){4}, x), out[3] = {{0}};
    assert_int_equal(ledge_session_run(s, &in, 1, out, 3, NULL), LEDGE_OK);
    assert_memory_equal(out[0].data, x, sizeof x);
    assert_memory_equal(out[1].data, k, sizeof k);
    assert_memory_equal(out[2].data, x, sizeof x);
    assert_ptr_not_equal(out[0].data, x);
    assert_ptr_not_equal(out[2].data, x);
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void the_arena_limit_is_kept(void **state)
{
    (void)state;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    LedgeError err;
    LedgeSession *s = NULL;
    LedgeSessionOptions o = {.threads = 1, .arena_limit = 4096};
    assert_int_equal(ledge_session_create(m, &o, &err, &s), LEDGE_OK);
    float *x = calloc(4000, sizeof *x);
    LedgeTensor in = tensor(2, (int64_t[]){1000, 4}, x), out = {0};
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_LIMIT);
    in = tensor(2, (int64_t[]){2, 4}, x);
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_OK);
    free(x);
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void an_unknown_operator_is_named(void **state)
{
    (void)state;
    LedgeError err;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 1, (int64_t[]){4});
    test_node(t, "Frobnicate", "x", "y");
    test_output(t, "y");
    assert_null(test_load(t, true, &err));
    assert_int_equal(err.status, LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Frobnicate"));
    test_model_free(t);
}

/* ---- failing allocations ---- */

typedef struct Failing {
    long left; /* allocations until one fails */
    long live;
} Failing;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    if (f->left-- == 0)
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

static LedgeStatus load_and_run(const void *bytes, size_t size, const LedgeAllocator *a)
{
    LedgeModelOptions mo = {.allocator = a};
    LedgeSessionOptions so = {.allocator = a, .threads = 1};
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    float x[8];
    test_fill(x, 8, 3);
    LedgeTensor in = tensor(2, (int64_t[]){2, 4}, x), out = {0};
    LedgeStatus status = ledge_model_load_memory(bytes, size, &mo, NULL, &m);
    if (status == LEDGE_OK)
        status = ledge_session_create(m, &so, NULL, &s);
    if (status == LEDGE_OK)
        status = ledge_session_run(s, &in, 1, &out, 1, NULL);
    if (status == LEDGE_OK)
        expect_small(x, 2, out.data);
    ledge_session_free(s);
    ledge_model_free(m);
    return status;
}

static void every_failed_allocation_is_told_and_leaks_nothing(void **state)
{
    (void)state;
    TestModel *t = small_model();
    size_t size;
    const void *bytes = test_bytes(t, &size);
    LedgeStatus status = LEDGE_ERROR_MEMORY;
    long n = 0;
    for (; status != LEDGE_OK && n < 100000; n++) {
        Failing f = {.left = n};
        LedgeAllocator a = {failing_alloc, failing_free, &f};
        status = load_and_run(bytes, size, &a);
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        assert_int_equal(f.live, 0);
    }
    assert_true(n > 10 && status == LEDGE_OK);
    test_model_free(t);
}

static void run_allocates_nothing_for_shapes_seen_before(void **state)
{
    (void)state;
    TestModel *t = small_model();
    size_t size;
    const void *bytes = test_bytes(t, &size);
    Failing f = {.left = -1}; /* never fails: counts down from below zero */
    LedgeAllocator a = {failing_alloc, failing_free, &f};
    LedgeModelOptions mo = {.allocator = &a};
    LedgeSessionOptions so = {.allocator = &a, .threads = 1};
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    float x[8];
    test_fill(x, 8, 3);
    LedgeTensor in = tensor(2, (int64_t[]){2, 4}, x), out = {0};
    assert_int_equal(ledge_model_load_memory(bytes, size, &mo, NULL, &m), LEDGE_OK);
    assert_int_equal(ledge_session_create(m, &so, NULL, &s), LEDGE_OK);
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, NULL), LEDGE_OK);
    long before = f.left;
    assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, NULL), LEDGE_OK);
    assert_int_equal(f.left, before);
    ledge_session_free(s);
    ledge_model_free(m);
    assert_int_equal(f.live, 0);
    test_model_free(t);
}

/* ---- compiled files ---- */

static char path[64];

static uint8_t *compiled(size_t *size)
{
    LedgeError err;
    TestModel *t = small_model();
    LedgeModel *m = load(t, true);
    snprintf(path, sizeof path, "/tmp/ledge-test-%d.ledge", (int)getpid());
    LedgeStatus s = ledge_model_compile(m, NULL, 0, path, &err);
    if (s != LEDGE_OK)
        print_error("%s: %s\n", err.where, err.message);
    assert_int_equal(s, LEDGE_OK);
    ledge_model_free(m);
    test_model_free(t);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = aligned_alloc(4096, ledge__round_up(*size, 4096));
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static void a_compiled_model_answers_like_its_source(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = compiled(&size);
    assert_int_equal(load_and_run(bytes, size, NULL), LEDGE_OK);
    LedgeModel *m = NULL;
    assert_int_equal(ledge_model_load(path, NULL, NULL, &m), LEDGE_OK);
    assert_string_equal(ledge_model_input(m, 0)->name, "x");
    LedgeError err;
    assert_int_equal(ledge_model_compile(m, NULL, 0, path, &err), LEDGE_ERROR_UNSUPPORTED);
    ledge_model_free(m);
    unlink(path);
    free(bytes);
}

static void any_damaged_byte_of_a_compiled_model_is_noticed(void **state)
{
    (void)state;
    size_t size, harmless = 0;
    uint8_t *bytes = compiled(&size);
    for (size_t i = 0; i < size; i++) {
        LedgeModel *m = NULL;
        bytes[i] ^= 0x40;
        if (ledge_model_load_memory(bytes, size, NULL, NULL, &m) == LEDGE_OK) {
            assert_int_equal(load_and_run(bytes, size, NULL), LEDGE_OK); /* padding */
            harmless++;
        }
        ledge_model_free(m);
        bytes[i] ^= 0x40;
    }
    assert_true(harmless < size);
    for (size_t n = 0; n < size; n += 1 + n / 16) {
        LedgeModel *m = NULL;
        assert_int_not_equal(ledge_model_load_memory(bytes, n, NULL, NULL, &m), LEDGE_OK);
    }
    unlink(path);
    free(bytes);
}

static void reseal(uint8_t *bytes)
{
    LedgeFileHeader h;
    memcpy(&h, bytes, sizeof h);
    h.hash = ledge__checksum(&h, offsetof(LedgeFileHeader, hash));
    memcpy(bytes, &h, sizeof h);
}

static void a_compiled_model_for_another_cpu_or_version_is_refused(void **state)
{
    (void)state;
    size_t size;
    LedgeError err;
    LedgeModel *m = NULL;
    uint8_t *bytes = compiled(&size);
    LedgeFileHeader h;
    memcpy(&h, bytes, sizeof h);
    h.cpu = 1u << 30; /* no CPU has this */
    memcpy(bytes, &h, sizeof h);
    reseal(bytes);
    assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &m), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "compile"));
    h.cpu = 0;
    h.packing++;
    memcpy(bytes, &h, sizeof h);
    reseal(bytes);
    assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &m), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "version"));
    unlink(path);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_answers_for_every_batch_size),
        cmocka_unit_test(outputs_go_to_the_callers_buffer_or_say_its_size),
        cmocka_unit_test(outputs_of_an_earlier_run_may_be_passed_in_again),
        cmocka_unit_test(sessions_outlive_the_callers_model_and_share_it),
        cmocka_unit_test(wrong_inputs_are_refused_by_name),
        cmocka_unit_test(an_output_that_is_an_input_or_a_constant_is_a_copy),
        cmocka_unit_test(the_arena_limit_is_kept),
        cmocka_unit_test(an_unknown_operator_is_named),
        cmocka_unit_test(every_failed_allocation_is_told_and_leaks_nothing),
        cmocka_unit_test(run_allocates_nothing_for_shapes_seen_before),
        cmocka_unit_test(a_compiled_model_answers_like_its_source),
        cmocka_unit_test(any_damaged_byte_of_a_compiled_model_is_noticed),
        cmocka_unit_test(a_compiled_model_for_another_cpu_or_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
