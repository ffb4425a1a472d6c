/* wasi-nn as a well-behaved guest sees it: the whole ABI, names, metadata, limits, counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_guest.h"

enum { MEMORY = 1 << 18 };
static const uint32_t row[] = {1, 4};
static const float x[4] = {0.5f, -1, 2, 0.25f};

static uint32_t put_x(Guest *g)
{
    return guest_tensor(g, 1, 2, row, x, 16);
}

static void check_y(const Guest *g, uint32_t buffer)
{
    float want[3], got[3];
    relu_expected(x, want);
    memcpy(got, g->memory + buffer, 12);
    for (int i = 0; i < 3; i++)
        assert_float_equal(got[i], want[i], 1e-5);
}

/* Sets the input, computes and checks the answer. */
static void run_context(Guest *g, uint32_t context)
{
    const uint32_t buffer = guest_put(g, NULL, 12), written = guest_put(g, NULL, 4);
    assert_int_equal(guest_call(g, "set_input", context, 0, put_x(g)), NN_SUCCESS);
    assert_int_equal(guest_call(g, "compute", context), NN_SUCCESS);
    assert_int_equal(guest_call(g, "get_output", context, 0, buffer, 12, written), NN_SUCCESS);
    assert_int_equal(guest_word(g, written), 12);
    check_y(g, buffer);
}

static void a_guest_gets_the_models_answer(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const uint32_t graph = guest_load(&g, t), context = guest_context(&g, graph);
    run_context(&g, context);
    run_context(&g, context);
    assert_int_equal(guest_call(&g, "finalize_execution_context", context), NN_SUCCESS);
    assert_int_equal(guest_call(&g, "unload", graph), NN_SUCCESS);
    const LedgeNnCounts c = ledge__nn_counts(g.nn);
    assert_int_equal(c.graphs + c.contexts, 0);
    assert_int_equal(c.host_bytes, 0);
    assert_int_equal(c.computes, 2);
    assert_int_equal(c.refused, 0);
    assert_true(c.peak_bytes > 0 && c.compute_ns > 0 && c.calls >= 10);
    guest_free(&g);
    test_model_free(t);
}

/* The guest's copy of the model may change once it is loaded. */
static void the_model_is_copied(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const uint32_t graph = guest_load(&g, t);
    memset(g.memory, 0xee, g.top);
    run_context(&g, guest_context(&g, graph));
    guest_free(&g);
    test_model_free(t);
}

static void contexts_go_on_after_unload(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const uint32_t graph = guest_load(&g, t), context = guest_context(&g, graph);
    assert_int_equal(guest_call(&g, "unload", graph), NN_SUCCESS);
    assert_int_equal(guest_call(&g, "unload", graph), NN_INVALID_ARGUMENT);
    run_context(&g, context);
    assert_int_equal(guest_call(&g, "init_execution_context", graph, 0), NN_INVALID_ARGUMENT);
    guest_free(&g); /* frees the context, and with it the model */
    test_model_free(t);
}

/* One model per element type, Identity: bytes come back as they went in. */
static void every_element_type_goes_through(void **state)
{
    (void)state;
    static const struct {
        LedgeType type;
        uint8_t code, size;
    } types[] = {{LEDGE_FLOAT16, 0, 2}, {LEDGE_FLOAT, 1, 4},  {LEDGE_DOUBLE, 2, 8},
                 {LEDGE_UINT8, 3, 1},   {LEDGE_INT8, 3, 1},   {LEDGE_BOOL, 3, 1},
                 {LEDGE_INT32, 4, 4},   {LEDGE_UINT32, 4, 4}, {LEDGE_INT64, 5, 8},
                 {LEDGE_UINT64, 5, 8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Guest g;
        uint8_t data[24];
        TestModel *t = test_model_new(17);
        test_input(t, "x", types[i].type, 1, (int64_t[]){3});
        test_node(t, "Identity", "x", "y");
        test_output(t, "y");
        guest_new(&g, MEMORY, NULL);
        for (int k = 0; k < 24; k++)
            data[k] = types[i].type == LEDGE_BOOL ? (uint8_t)(k & 1) : (uint8_t)(k * 5 + 1);
        const uint32_t context = guest_context(&g, guest_load(&g, t));
        const uint32_t n = 3u * types[i].size, out = guest_put(&g, NULL, 24);
        const uint32_t written = guest_put(&g, NULL, 4);
        for (uint8_t code = 0; code < 6; code++) {
            const uint32_t tensor = guest_tensor(&g, code, 1, (uint32_t[]){3}, data, n);
            assert_int_equal(guest_call(&g, "set_input", context, 0, tensor),
                             code == types[i].code ? NN_SUCCESS : NN_INVALID_ARGUMENT);
        }
        assert_int_equal(guest_call(&g, "compute", context), NN_SUCCESS);
        assert_int_equal(guest_call(&g, "get_output", context, 0, out, n, written), NN_SUCCESS);
        assert_memory_equal(g.memory + out, data, n);
        guest_free(&g);
        test_model_free(t);
    }
}

static void types_that_wasi_nn_lacks_are_refused(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_STRING, 1, (int64_t[]){1});
    test_node(t, "Identity", "x", "y");
    test_output(t, "y");
    guest_new(&g, MEMORY, NULL);
    const uint32_t context = guest_context(&g, guest_load(&g, t));
    const uint32_t tensor = guest_tensor(&g, 3, 1, (uint32_t[]){1}, "abcdefghabcdefgh", 16);
    assert_int_equal(guest_call(&g, "set_input", context, 0, tensor), NN_UNSUPPORTED_OPERATION);
    assert_non_null(strstr(guest_error(&g), "string"));
    guest_free(&g);
    test_model_free(t);
}

/* ---- names ---- */

static char *write_model(void)
{
    static char path[] = "/tmp/ledge-wasi-nn-XXXXXX";
    size_t n;
    TestModel *t = relu_model();
    const void *bytes = test_bytes(t, &n);
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    test_model_free(t);
    return path;
}

static void names_are_read_in_both_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        LedgeStatus want;
    } words[] = {{"a=/x/y:z=1", LEDGE_OK},
                 {"b:ONNX:CPU:/x/y", LEDGE_OK},
                 {"c:onnx:GPU:p", LEDGE_OK},
                 {"d:autodetect:auto:p", LEDGE_OK},
                 {"a=/other", LEDGE_ERROR_FORMAT},
                 {"e:GGML:AUTO:p", LEDGE_ERROR_UNSUPPORTED},
                 {"f:ONNX:NPU:p", LEDGE_ERROR_FORMAT},
                 {"g", LEDGE_ERROR_FORMAT},
                 {"g:onnx:cpu", LEDGE_ERROR_FORMAT},
                 {"g=", LEDGE_ERROR_FORMAT},
                 {"=p", LEDGE_ERROR_FORMAT}};
    LedgeNnNames *names;
    assert_int_equal(ledge__nn_names_new(NULL, &names), LEDGE_OK);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        LedgeError err = {0};
        assert_int_equal(ledge__nn_names_add(names, words[i].word, &err), words[i].want);
        assert_int_equal(err.message[0] == '\0', words[i].want == LEDGE_OK);
    }
    assert_int_equal(ledge__nn_names_count(names), 4);
    assert_string_equal(ledge__nn_name(names, 1), "b");
    ledge__nn_names_free(names);
}

static void named_models_are_loaded_once_and_shared(void **state)
{
    (void)state;
    char word[64];
    const char *path = write_model();
    Guest a, b;
    LedgeNnNames *names;
    LedgeError err = {0};
    snprintf(word, sizeof word, "relu=%s", path);
    assert_int_equal(ledge__nn_names_new(NULL, &names), LEDGE_OK);
    assert_int_equal(ledge__nn_names_add(names, word, &err), LEDGE_OK);
    const LedgeNnOptions o = {.names = names, .threads = 1};
    guest_new(&a, MEMORY, &o);
    guest_new(&b, MEMORY, &o);
    const uint32_t name = guest_put(&a, "relu", 4), out = guest_put(&a, NULL, 4);
    assert_int_equal(guest_put(&b, "relu", 4), name);
    (void)guest_put(&b, NULL, 4);
    assert_int_equal(guest_call(&a, "load_by_name", name, 4, out), NN_SUCCESS);
    run_context(&a, guest_context(&a, guest_word(&a, out)));
    unlink(path); /* the second guest gets the model that the first one had loaded */
    assert_int_equal(guest_call(&b, "load_by_name", name, 4, out), NN_SUCCESS);
    run_context(&b, guest_context(&b, guest_word(&b, out)));
    assert_int_equal(guest_call(&a, "load_by_name", name, 3, out), NN_NOT_FOUND);
    assert_non_null(strstr(guest_error(&a), "no model is called 'rel'"));
    guest_free(&a);
    guest_free(&b);
    ledge__nn_names_free(names);
}

static void a_named_file_that_is_gone_is_not_found(void **state)
{
    (void)state;
    Guest g;
    LedgeNnNames *names;
    LedgeError err = {0};
    assert_int_equal(ledge__nn_names_new(NULL, &names), LEDGE_OK);
    assert_int_equal(ledge__nn_names_add(names, "m=/nowhere/m.onnx", &err), LEDGE_OK);
    assert_int_not_equal(ledge__nn_names_load(names, 0, &err), LEDGE_OK);
    const LedgeNnOptions o = {.names = names};
    guest_new(&g, MEMORY, &o);
    const uint32_t name = guest_put(&g, "m", 1), out = guest_put(&g, NULL, 4);
    assert_int_not_equal(guest_call(&g, "load_by_name", name, 1, out), NN_SUCCESS);
    assert_non_null(strstr(guest_error(&g), "/nowhere/m.onnx"));
    guest_free(&g);
    ledge__nn_names_free(names);
}

static void configs_are_read_and_checked(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        NnErrno want;
    } configs[] = {{"", NN_SUCCESS},
                   {"{}", NN_SUCCESS},
                   {"{\"target\":\"cpu\",\"threads\":2}", NN_SUCCESS},
                   {"{\"target\":\"tpu\"}", NN_UNSUPPORTED_OPERATION},
                   {"{\"target\":\"disk\"}", NN_INVALID_ARGUMENT},
                   {"{\"threads\":0}", NN_INVALID_ARGUMENT},
                   {"{\"threads\":1.5}", NN_INVALID_ARGUMENT},
                   {"{\"speed\":1}", NN_INVALID_ARGUMENT},
                   {"[]", NN_INVALID_ARGUMENT},
                   {"{", NN_INVALID_ARGUMENT}};
    char word[64];
    const char *path = write_model();
    Guest g;
    LedgeNnNames *names;
    LedgeError err = {0};
    snprintf(word, sizeof word, "m=%s", path);
    assert_int_equal(ledge__nn_names_new(NULL, &names), LEDGE_OK);
    assert_int_equal(ledge__nn_names_add(names, word, &err), LEDGE_OK);
    const LedgeNnOptions o = {.names = names, .limits = {.graphs = 100}};
    guest_new(&g, MEMORY, &o);
    const uint32_t name = guest_put(&g, "m", 1), out = guest_put(&g, NULL, 4);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const uint32_t n = (uint32_t)strlen(configs[i].json);
        const uint32_t config = guest_put(&g, configs[i].json, n);
        assert_int_equal(guest_call(&g, "load_by_name_with_config", name, 1, config, n, out),
                         configs[i].want);
    }
    guest_free(&g);
    ledge__nn_names_free(names);
    unlink(path);
}

/* ---- what wasi-nn lacks ---- */

static void metadata_tells_names_shapes_and_types(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const uint32_t graph = guest_load(&g, t), out = guest_put(&g, NULL, 4);
    const uint32_t text = guest_put(&g, NULL, 64);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_count", graph, 0, out), NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 1);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_name", graph, 1, 0, text, 64, out),
                     NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 1);
    assert_int_equal(g.memory[text], 'y');
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_type", graph, 0, 0, out), NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 1);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_onnx_type", graph, 0, 0, out), NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), LEDGE_FLOAT);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_shape", graph, 0, 0, text, 8, out),
                     NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 2);
    assert_int_equal(guest_word(&g, text), UINT32_MAX); /* the free dimension */
    assert_int_equal(guest_word(&g, text + 4), 4);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_shape", graph, 0, 0, text, 1, out),
                     NN_TOO_LARGE);
    const uint32_t key = guest_put(&g, "ledge.labels", 12);
    assert_int_equal(guest_call(&g, "ledge_nn.metadata", graph, key, 12, text, 64, out),
                     NN_SUCCESS);
    assert_memory_equal(g.memory + text, "one\ntwo\nthree", 13);
    assert_int_equal(guest_call(&g, "ledge_nn.metadata", graph, key, 12, text, 12, out),
                     NN_TOO_LARGE);
    assert_int_equal(guest_word(&g, out), 13); /* how much room it takes */
    assert_int_equal(guest_call(&g, "ledge_nn.metadata", graph, key, 5, text, 64, out),
                     NN_NOT_FOUND);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_count", graph, 2, out), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(&g, "ledge_nn.tensor_type", graph, 0, 1, out), NN_INVALID_ARGUMENT);
    guest_free(&g);
    test_model_free(t);
}

static void outputs_tell_their_shape_and_place(void **state)
{
    (void)state;
    Guest g;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const uint32_t context = guest_context(&g, guest_load(&g, t));
    const uint32_t dims = guest_put(&g, NULL, 32), out = guest_put(&g, NULL, 4);
    assert_int_equal(guest_call(&g, "ledge_nn.output_shape", context, 0, dims, 8, out),
                     NN_RUNTIME_ERROR);
    run_context(&g, context);
    assert_int_equal(guest_call(&g, "ledge_nn.output_shape", context, 0, dims, 8, out), NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 2);
    assert_int_equal(guest_word(&g, dims), 1);
    assert_int_equal(guest_word(&g, dims + 4), 3);
    assert_int_equal(guest_call(&g, "ledge_nn.placement", context, dims, 32, out), NN_SUCCESS);
    assert_int_equal(guest_word(&g, out), 3);
    assert_memory_equal(g.memory + dims, "cpu", 3);
    guest_free(&g);
    test_model_free(t);
}

static void targets_without_a_provider_are_refused(void **state)
{
    (void)state;
    Guest g;
    size_t n;
    TestModel *t = relu_model();
    guest_new(&g, MEMORY, NULL);
    const void *bytes = test_bytes(t, &n);
    const uint32_t model = guest_put(&g, bytes, (uint32_t)n);
    const uint32_t builder = guest_put(&g, (uint32_t[]){model, (uint32_t)n}, 8);
    const uint32_t out = guest_put(&g, NULL, 4);
    assert_int_equal(guest_call(&g, "load", builder, 1, 1, 2, out), NN_UNSUPPORTED_OPERATION);
    assert_non_null(strstr(guest_error(&g), "tpu"));
    assert_int_equal(guest_call(&g, "load", builder, 1, 1, 3, out), NN_INVALID_ARGUMENT);
    assert_int_equal(guest_call(&g, "load", builder, 1, 5, 0, out), NN_SUCCESS);
    for (uint32_t encoding = 0; encoding < 8; encoding++)
        if (encoding != 1 && encoding != 5)
            assert_int_equal(guest_call(&g, "load", builder, 1, encoding, 0, out),
                             NN_INVALID_ENCODING);
    guest_free(&g);
    test_model_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_gets_the_models_answer),
        cmocka_unit_test(the_model_is_copied),
        cmocka_unit_test(contexts_go_on_after_unload),
        cmocka_unit_test(every_element_type_goes_through),
        cmocka_unit_test(types_that_wasi_nn_lacks_are_refused),
        cmocka_unit_test(names_are_read_in_both_spellings),
        cmocka_unit_test(named_models_are_loaded_once_and_shared),
        cmocka_unit_test(a_named_file_that_is_gone_is_not_found),
        cmocka_unit_test(configs_are_read_and_checked),
        cmocka_unit_test(metadata_tells_names_shapes_and_types),
        cmocka_unit_test(outputs_tell_their_shape_and_place),
        cmocka_unit_test(targets_without_a_provider_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
