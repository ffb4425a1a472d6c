/* Reports on model files, and changing their metadata. */
#include "onnx_test_util.h"

#include <unistd.h>

#include "ledge/report.h"

static LedgeReport *report_of(const char *name)
{
    char path[1024];
    LedgeError err = {0};
    LedgeReport *r = NULL;
    data_path(path, sizeof path, name);
    if (ledge_report_create(path, NULL, &err, &r))
        fail_msg("%s: %s: %s", path, err.where, err.message);
    return r;
}

static void runnable_model_has_steps_and_work(void **state)
{
    (void)state;
    LedgeReport *r = report_of("classifier.onnx");
    assert_int_equal(r->runnable, LEDGE_OK);
    assert_int_equal(r->n_inputs, 1);
    assert_string_equal(r->inputs[0].name, "picture");
    assert_string_equal(r->inputs[0].dim_names[0], "N");
    assert_int_equal(r->parameters, 16);
    assert_int_equal(r->n_ops, 3);
    assert_true(r->n_steps > 0);
    assert_true(r->macs >= 12);
    assert_non_null(r->cpu);
    ledge_report_free(r);
}

static void external_files_are_named_once(void **state)
{
    (void)state;
    LedgeReport *r = report_of("external.onnx");
    assert_int_equal(r->n_external_files, 1);
    assert_string_equal(r->external_files[0], "external.data");
    ledge_report_free(r);
    r = report_of("classifier.onnx");
    assert_int_equal(r->n_external_files, 0);
    ledge_report_free(r);
}

static void model_that_cannot_run_is_described_with_the_reason(void **state)
{
    (void)state;
    LedgeReport *r = report_of("unsupported.onnx");
    assert_int_equal(r->runnable, LEDGE_ERROR_UNSUPPORTED);
    assert_true(*r->problem.message);
    assert_int_equal(r->n_steps, 0);
    assert_false(r->ops[0].supported);
    assert_string_equal(r->inputs[0].name, "x");
    assert_int_equal(r->inputs[0].rank, 1);
    ledge_report_free(r);
    r = report_of("everything.onnx");
    assert_int_equal(r->n_inputs, 6);
    assert_int_equal(r->inputs[1].type, LEDGE_SEQUENCE);
    assert_int_equal(r->inputs[0].dims[1], -1);
    ledge_report_free(r);
}

static void quantized_operators_are_told_from_float_ones(void **state)
{
    (void)state;
    LedgeReport *r = report_of("qdq.onnx");
    assert_int_equal(r->n_weighted, 1);
    assert_int_equal(r->n_weighted_quantized, 1);
    assert_int_equal(r->n_quantize, 1);
    assert_int_equal(r->n_dequantize, 2);
    ledge_report_free(r);
    r = report_of("classifier.onnx");
    assert_int_equal(r->n_weighted, 1);
    assert_int_equal(r->n_weighted_quantized, 0);
    ledge_report_free(r);
}

static void metadata_is_added_replaced_and_removed(void **state)
{
    (void)state;
    char path[1024], copy[] = "/tmp/ledge-test-XXXXXX";
    LedgeReport *r = NULL;
    close(mkstemp(copy));
    data_path(path, sizeof path, "types_raw.onnx");
    assert_int_equal(ledge_file_set_metadata(path, copy, "new", "1", NULL), LEDGE_OK);
    assert_int_equal(ledge_file_set_metadata(copy, copy, "ledge.labels", "x", NULL), LEDGE_OK);
    assert_int_equal(ledge_file_set_metadata(copy, copy, "empty", NULL, NULL), LEDGE_OK);
    assert_int_equal(ledge_report_create(copy, NULL, NULL, &r), LEDGE_OK);
    assert_int_equal(r->n_metadata, 2);
    assert_string_equal(r->metadata[0].key, "ledge.labels");
    assert_string_equal(r->metadata[0].value, "x");
    assert_string_equal(r->metadata[1].key, "new");
    ledge_report_free(r);
    unlink(copy);
}

static void each_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    const char *names[] = {"classifier.onnx", "unsupported.onnx", "everything.onnx"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[1024];
        data_path(path, sizeof path, names[k]);
        for (long n = 0;; n++) {
            Failing f = {n, 0, false};
            LedgeAllocator a = failing_allocator(&f);
            LedgeModelOptions o = {.allocator = &a};
            LedgeReport *r = NULL;
            LedgeStatus status = ledge_report_create(path, &o, NULL, &r);
            ledge_report_free(r);
            assert_int_equal(f.live, 0);
            if (!f.refused) {
                assert_int_equal(status, LEDGE_OK);
                break;
            }
            assert_int_equal(status, LEDGE_ERROR_MEMORY);
        }
    }
}

static void *counting_alloc(void *context, size_t size, size_t align)
{
    *(size_t *)context += size;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void counting_free(void *context, void *pointer)
{
    (void)context;
    free(pointer);
}

/* 20,000 inputs in 300 kB of file once took 1.6 GB. */
static void many_inputs_take_memory_in_proportion(void **state)
{
    (void)state;
    enum { INPUTS = 20000 };
    const size_t room = INPUTS * 16;
    size_t taken = 0;
    LedgeAllocator a = {counting_alloc, counting_free, &taken};
    LedgeModelOptions o = {.allocator = &a};
    LedgeModel *m = NULL;
    uint8_t *graph = malloc(room), *file = malloc(room + 32);
    size_t n = 0;
    Bytes head = {.n = 0}, opset = {.n = 0};
    for (int i = 0; i < INPUTS; i++) {
        char name[16];
        Bytes info = {.n = 0}, field = {.n = 0};
        snprintf(name, sizeof name, "i%d", i);
        put_text(&info, 1, name);
        put_sub(&field, 11, &info);
        memcpy(graph + n, field.p, field.n);
        n += field.n;
    }
    put_int(&head, 1, 8);
    put_int(&opset, 2, 13);
    put_sub(&head, 8, &opset);
    put_varint(&head, 7 << 3 | 2);
    put_varint(&head, n);
    memcpy(file, head.p, head.n);
    memcpy(file + head.n, graph, n);
    (void)!ledge_model_load_memory(file, head.n + n, &o, NULL, &m);
    ledge_model_free(m);
    assert_true(taken > n);
    assert_true(taken < (size_t)64 << 20);
    free(file);
    free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(external_files_are_named_once),
        cmocka_unit_test(runnable_model_has_steps_and_work),
        cmocka_unit_test(model_that_cannot_run_is_described_with_the_reason),
        cmocka_unit_test(quantized_operators_are_told_from_float_ones),
        cmocka_unit_test(metadata_is_added_replaced_and_removed),
        cmocka_unit_test(many_inputs_take_memory_in_proportion),
        cmocka_unit_test(each_failed_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
