/* Sessions with providers through the C API: placement, buffers, failing allocations, threads.
 *   test_backend FAKE_ORT.so ODD_PROVIDER.so PROVIDER_BLAS.so */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "ledge/provider.h"
#include "ledge/report.h"
#include "model_maker.h"

static const char *odd, *blas;

/* x [N,3,6,6] -> Conv -> Relu -> Conv -> y */
static TestModel *convs(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){-1, 3, 6, 6});
    test_noise(t, "w", 4, (int64_t[]){4, 3, 3, 3}, 1);
    test_noise(t, "v", 4, (int64_t[]){2, 4, 1, 1}, 2);
    test_node(t, "Conv", "x w", "a");
    test_node(t, "Relu", "a", "b");
    test_node(t, "Conv", "b v", "y");
    test_output(t, "y");
    return t;
}

static TestModel *relu(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_node(t, "Relu", "x", "y");
    test_output(t, "y");
    return t;
}

static LedgeStatus open_with(TestModel *t, const LedgeSessionOptions *o, LedgeError *err,
                             LedgeSession **out)
{
    size_t size;
    const void *bytes = test_bytes(t, &size);
    const LedgeModelOptions mo = {.allocator = o->allocator, .for_providers = true};
    LedgeModel *m = NULL;
    LedgeStatus s = ledge_model_load_memory(bytes, size, &mo, err, &m);
    if (s == LEDGE_OK)
        s = ledge_session_create(m, o, err, out);
    ledge_model_free(m); /* the session holds it */
    return s;
}

#define OUT 96

/* Output of the convolutions for `n` pictures. */
static LedgeStatus run_convs(LedgeSession *s, int64_t n, float *y, LedgeError *err)
{
    float x[3 * 108];
    test_fill(x, (size_t)n * 108, 5);
    LedgeTensor in = {LEDGE_FLOAT, 4, {n, 3, 6, 6}, x, (size_t)n * 108 * sizeof *x};
    LedgeTensor out = {.data = y, .bytes = OUT * sizeof *y};
    return ledge_session_run(s, &in, 1, &out, 1, err);
}

static void parts_and_whole_models_answer_alike_for_any_batch(void **state)
{
    (void)state;
    TestModel *t = convs();
    LedgeError err = {0};
    char list[3][600];
    snprintf(list[0], sizeof list[0], "cpu");
    snprintf(list[1], sizeof list[1], "%s", blas);
    snprintf(list[2], sizeof list[2], "%s,%s", odd, blas);
    static const char *const got[] = {"cpu", "blas+cpu", "blas+odd"};
    float want[OUT] = {0}, y[OUT];
    for (int k = 0; k < 3; k++) {
        const LedgeSessionOptions o = {.threads = 1, .providers = list[k]};
        LedgeSession *s = NULL;
        assert_int_equal(open_with(t, &o, &err, &s), LEDGE_OK);
        const LedgePlacement *p = ledge_session_placement(s);
        assert_string_equal(p->got, got[k]);
        assert_string_equal(p->asked, list[k]);
        assert_int_equal(p->n_nodes, 3);
        assert_int_equal(p->macs, 4 * 16 * 27 + 2 * 16 * 4);
        assert_int_equal(p->fell_back, k > 0);
        for (int64_t n = 1; n <= 3; n++)
            assert_int_equal(run_convs(s, n, y, &err), LEDGE_OK);
        for (int i = 0; i < OUT; i++) {
            want[i] = k ? want[i] : y[i];
            assert_float_equal(y[i], want[i], 1e-5);
        }
        ledge_session_free(s);
    }
    test_model_free(t);
}

static void a_session_without_providers_has_a_placement_too(void **state)
{
    (void)state;
    TestModel *t = relu();
    LedgeError err = {0};
    LedgeModel *m = test_load(t, true, &err);
    LedgeSession *s = NULL;
    assert_int_equal(ledge_session_create(m, NULL, &err, &s), LEDGE_OK);
    const LedgePlacement *p = ledge_session_placement(s);
    assert_string_equal(p->got, "cpu");
    assert_true(p->settled && !p->fell_back && p->n_providers == 1);
    assert_int_equal(p->n_nodes, 1);
    ledge_session_free(s);
    /* A model that was loaded for the CPU may be given to providers all the same. */
    const LedgeSessionOptions o = {.threads = 1, .providers = odd, .strict = true};
    assert_int_equal(ledge_session_create(m, &o, &err, &s), LEDGE_OK);
    assert_string_equal(ledge_session_placement(s)->got, "odd");
    ledge_session_free(s);
    ledge_model_free(m);
    test_model_free(t);
}

static void outputs_go_to_the_callers_buffer_or_say_its_size(void **state)
{
    (void)state;
    TestModel *t = relu();
    LedgeError err = {0};
    float x[8] = {-1, 2, -3, 4, 5, -6, 7, -8}, y[8];
    const char *lists[] = {"ort", odd};
    for (int k = 0; k < 2; k++) {
        const LedgeSessionOptions o = {.threads = 1, .providers = lists[k], .strict = true};
        LedgeSession *s = NULL;
        assert_int_equal(open_with(t, &o, &err, &s), LEDGE_OK);
        LedgeTensor in = {LEDGE_FLOAT, 2, {2, 4}, x, sizeof x};
        LedgeTensor out = {.data = y, .bytes = sizeof y};
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_OK);
        assert_ptr_equal(out.data, y);
        assert_float_equal(y[3], 4, 0);
        assert_float_equal(y[0], 0, 0);
        out = (LedgeTensor){.data = y, .bytes = 28};
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_LIMIT);
        out = (LedgeTensor){0};
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_OK);
        x[0] = 9; /* the same memory, other numbers */
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_OK);
        assert_float_equal(((float *)out.data)[0], 9, 0);
        x[0] = -1;
        in.dims[1] = 3;
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), LEDGE_ERROR_SHAPE);
        ledge_session_free(s);
    }
    test_model_free(t);
}

/* ---- failing allocations ---- */

typedef struct Failing {
    long left, live;
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

static void failed_allocations(TestModel *t, const char *list, const char *got, bool convolutions)
{
    long n = 0;
    bool all_well = false;
    float y[OUT] = {0};
    for (; !all_well && n < 100000; n++) {
        Failing f = {.left = n};
        const LedgeAllocator a = {failing_alloc, failing_free, &f};
        const LedgeSessionOptions o = {.threads = 1, .providers = list, .allocator = &a};
        LedgeSession *s = NULL;
        LedgeStatus status = open_with(t, &o, NULL, &s);
        if (status == LEDGE_OK && convolutions)
            status = run_convs(s, 2, y, NULL);
        assert_true(status == LEDGE_OK || status == LEDGE_ERROR_MEMORY);
        /* A provider that finds no memory for itself is passed over, and said to be. */
        if (status == LEDGE_OK && f.left >= 0) {
            assert_string_equal(ledge_session_placement(s)->got, got);
            all_well = true;
        }
        ledge_session_free(s);
        assert_int_equal(f.live, 0);
    }
    assert_true(n > 10 && all_well);
}

static void every_failed_allocation_is_told_and_leaks_nothing(void **state)
{
    (void)state;
    TestModel *t = convs(), *r = relu();
    failed_allocations(t, blas, "blas+cpu", true);
    failed_allocations(r, odd, "odd", false);
    failed_allocations(r, "cuda,ort", "cuda", false);
    test_model_free(t);
    test_model_free(r);
}

/* ---- threads ---- */

static void *open_and_run(void *model)
{
    const LedgeSessionOptions o = {.threads = 1, .providers = blas};
    LedgeSession *s = NULL;
    float y[OUT];
    void *result = model;
    if (ledge_session_create(model, &o, NULL, &s))
        return NULL;
    for (int i = 0; i < 20; i++)
        if (run_convs(s, 1 + i % 3, y, NULL))
            result = NULL;
    ledge_session_free(s);
    return result;
}

static void sessions_of_several_threads_share_a_model(void **state)
{
    (void)state;
    TestModel *t = convs();
    size_t size;
    LedgeModel *m = NULL;
    pthread_t threads[4];
    const void *bytes = test_bytes(t, &size);
    const LedgeModelOptions mo = {.for_providers = true};
    assert_int_equal(ledge_model_load_memory(bytes, size, &mo, NULL, &m), LEDGE_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_run, m), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, m);
    }
    ledge_model_free(m);
    test_model_free(t);
}

static void providers_are_listed_and_probed_by_name(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeProviderInfo info;
    assert_true(ledge_provider_count() >= 13);
    assert_string_equal(ledge_provider_name(0), "cpu");
    assert_null(ledge_provider_name(ledge_provider_count()));
    for (size_t i = 0; i < ledge_provider_count(); i++) {
        assert_int_equal(ledge_provider_probe(ledge_provider_name(i), &err, &info), LEDGE_OK);
        assert_true(info.status == LEDGE_OK || info.reason[0]);
    }
    assert_int_equal(ledge_provider_probe(odd, &err, &info), LEDGE_OK);
    assert_int_equal(info.status, LEDGE_OK);
    assert_int_equal(ledge_provider_probe("opnvino", &err, &info), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "'openvino'"));
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    odd = argv[2];
    blas = argv[3];
    setenv("LEDGE_ORT", argv[1], 1);
    setenv("FAKE_ORT", "plain", 1);
    unsetenv("ODD_PROVIDER");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_and_whole_models_answer_alike_for_any_batch),
        cmocka_unit_test(a_session_without_providers_has_a_placement_too),
        cmocka_unit_test(outputs_go_to_the_callers_buffer_or_say_its_size),
        cmocka_unit_test(every_failed_allocation_is_told_and_leaks_nothing),
        cmocka_unit_test(sessions_of_several_threads_share_a_model),
        cmocka_unit_test(providers_are_listed_and_probed_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
