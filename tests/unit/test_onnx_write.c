/* The ONNX writer: nothing is lost, nothing half-written is ever seen. */
#include "onnx_test_util.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ledge-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* Fails when a test has left a file, such as a temporary one. */
static int remove_folder(void **state)
{
    (void)state;
    const char *names[] = {"m.onnx", "external.data"};
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static OnnxModel *read_path(const char *path)
{
    LedgeError err = {0};
    OnnxModel *m = NULL;
    if (ledge__onnx_read_file(NULL, path, &err, &m))
        fail_msg("%s: %s: %s", path, err.where, err.message);
    return m;
}

static OnnxModel *read_data(const char *name)
{
    char path[1024];
    data_path(path, sizeof path, name);
    return read_path(path);
}

static void comes_out_byte_for_byte(const char *path)
{
    size_t size, written;
    void *bytes;
    OnnxModel *m = read_path(path);
    uint8_t *before = read_whole(path, &size);
    assert_int_equal(ledge__onnx_write_memory(m, NULL, &bytes, &written, NULL), LEDGE_OK);
    if (written != size || memcmp(bytes, before, size) != 0)
        fail_msg("%s: %zu bytes in, %zu other ones out", path, size, written);
    ledge__free(NULL, bytes);
    free(before);
    ledge__onnx_free(m);
}

static void own_files_come_out_byte_for_byte(void **state)
{
    (void)state;
    const char *names[] = {"everything.onnx", "function.onnx", "subgraph.onnx", "types_raw.onnx",
                           "types_typed.onnx"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024];
        data_path(path, sizeof path, names[i]);
        comes_out_byte_for_byte(path);
    }
}

/* Every model below `path`, at most two folders deep. Returns how many. */
static int walk(const char *path, int depth)
{
    int count = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[2048];
        const size_t n = strlen(e->d_name);
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name)
            continue;
        if (n > 5 && strcmp(e->d_name + n - 5, ".onnx") == 0) {
            comes_out_byte_for_byte(name);
            count++;
        } else if (e->d_name[0] != '.' && depth > 0) {
            count += walk(name, depth - 1);
        }
    }
    if (d)
        closedir(d);
    return count;
}

static void shared_models_come_out_byte_for_byte(void **state)
{
    (void)state;
    char path[1100];
    const char *root = assets();
    if (!root)
        skip();
    snprintf(path, sizeof path, "%s/models", root);
    assert_true(walk(path, 0) >= 7);
}

static void backend_test_models_come_out_byte_for_byte(void **state)
{
    (void)state;
    const char *root = getenv("LEDGE_NODE_TESTS");
    if (!root) {
        printf("skipped: LEDGE_NODE_TESTS names no folder of unpacked ONNX backend tests\n");
        skip();
    }
    int n = walk(root, 2);
    printf("%d backend test models\n", n);
    assert_true(n > 0);
}

static void unknown_fields_are_kept_in_place(void **state)
{
    (void)state;
    Bytes t = tensor_head("w", LEDGE_FLOAT, 0, NULL), model = {.n = 0};
    put_len(&t, 9, "1234", 4);
    put_text(&t, 15, "from the future");
    put_int(&t, 2000, 7);
    model = model_around(&t);
    put_text(&model, 20, "training");
    put_text(&model, 26, "devices");
    OnnxModel *m = NULL;
    void *bytes;
    size_t n;
    assert_int_equal(ledge__onnx_read_memory(NULL, model.p, model.n, NULL, &m), LEDGE_OK);
    assert_int_equal(ledge__onnx_write_memory(m, NULL, &bytes, &n, NULL), LEDGE_OK);
    assert_int_equal(n, model.n);
    assert_memory_equal(bytes, model.p, n);
    ledge__free(NULL, bytes);
    ledge__onnx_free(m);
}

static void written_file_equals_the_one_read(void **state)
{
    (void)state;
    char path[1024];
    size_t size, written;
    OnnxModel *m = read_data("everything.onnx");
    assert_int_equal(ledge__onnx_write_file(m, in_folder("m.onnx"), false, NULL), LEDGE_OK);
    data_path(path, sizeof path, "everything.onnx");
    uint8_t *before = read_whole(path, &size), *after = read_whole(in_folder("m.onnx"), &written);
    assert_int_equal(size, written);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
    ledge__onnx_free(m);
}

static void expect_same_external_tensors(const OnnxModel *a, const OnnxModel *b, bool external)
{
    assert_int_equal(b->graph.n_initializers, a->graph.n_initializers);
    for (size_t i = 0; i < a->graph.n_initializers; i++) {
        const OnnxTensor *x = &a->graph.initializers[i], *y = &b->graph.initializers[i];
        assert_int_equal(y->external, external);
        assert_int_equal(y->data_size, x->data_size);
        assert_memory_equal(y->data, x->data, x->data_size);
    }
}

static void external_tensors_are_kept_outside_or_brought_in(void **state)
{
    (void)state;
    OnnxModel *m = read_data("external.onnx");
    assert_true(m->graph.initializers[0].external);
    assert_int_equal(ledge__onnx_write_file(m, in_folder("m.onnx"), true, NULL), LEDGE_OK);
    OnnxModel *kept = read_path(in_folder("m.onnx"));
    expect_same_external_tensors(m, kept, true);
    assert_int_equal(kept->graph.initializers[1].offset % 4096, 0);

    /* over the very file that is mapped */
    assert_int_equal(ledge__onnx_write_file(kept, in_folder("m.onnx"), true, NULL), LEDGE_OK);
    OnnxModel *again = read_path(in_folder("m.onnx"));
    expect_same_external_tensors(m, again, true);

    assert_int_equal(ledge__onnx_write_file(again, in_folder("m.onnx"), false, NULL), LEDGE_OK);
    OnnxModel *inside = read_path(in_folder("m.onnx"));
    expect_same_external_tensors(m, inside, false);
    ledge__onnx_free(inside);
    ledge__onnx_free(again);
    ledge__onnx_free(kept);
    ledge__onnx_free(m);
}

static void external_location_outside_the_folder_is_not_written(void **state)
{
    (void)state;
    const char *bad[] = {"../x", "/tmp/x", "a/b", "..", "", "m.onnx"};
    OnnxModel *m = read_data("external.onnx");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeError err = {0};
        m->graph.initializers[0].location = (LedgeStr){bad[i], strlen(bad[i])};
        assert_int_equal(ledge__onnx_write_file(m, in_folder("m.onnx"), true, &err),
                         LEDGE_ERROR_UNSUPPORTED);
        assert_int_not_equal(access(in_folder("m.onnx"), F_OK), 0);
    }
    ledge__onnx_free(m);
}

/* The limit on file sizes stands for a full disk: write() fails midway. */
static void full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    LedgeError err = {0};
    struct rlimit old, small;
    OnnxModel *m = read_data("external.onnx");
    FILE *f = fopen(in_folder("m.onnx"), "w");
    assert_non_null(f);
    fputs("old", f);
    fclose(f);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 1000;
    setrlimit(RLIMIT_FSIZE, &small);
    LedgeStatus inside = ledge__onnx_write_file(m, in_folder("m.onnx"), false, &err);
    LedgeStatus outside = ledge__onnx_write_file(m, in_folder("m.onnx"), true, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(inside, LEDGE_ERROR_IO);
    assert_int_equal(outside, LEDGE_ERROR_IO);
    assert_non_null(strstr(err.message, "cannot write"));
    size_t n;
    uint8_t *bytes = read_whole(in_folder("m.onnx"), &n);
    assert_int_equal(n, 3);
    free(bytes);
    assert_int_not_equal(access(in_folder("external.data"), F_OK), 0);
    ledge__onnx_free(m);
}

static void folder_that_is_not_there_is_an_io_error(void **state)
{
    (void)state;
    LedgeError err = {0};
    OnnxModel *m = read_data("subgraph.onnx");
    assert_int_equal(ledge__onnx_write_file(m, "/nonexistent/m.onnx", false, &err), LEDGE_ERROR_IO);
    assert_string_equal(err.where, "/nonexistent/m.onnx");
    ledge__onnx_free(m);
}

static void more_than_two_gigabytes_inline_is_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    void *bytes = NULL;
    size_t n;
    char byte = 0;
    OnnxModel *m = read_data("external.onnx");
    m->graph.initializers[0].data = &byte; /* refused by counting; never read */
    m->graph.initializers[0].data_size = (size_t)3 << 30;
    assert_int_equal(ledge__onnx_write_memory(m, NULL, &bytes, &n, &err), LEDGE_ERROR_LIMIT);
    assert_int_equal(ledge__onnx_write_file(m, in_folder("m.onnx"), false, &err),
                     LEDGE_ERROR_LIMIT);
    assert_non_null(strstr(err.message, "external data file"));
    ledge__onnx_free(m);
}

/* What a tool builds needs no `present` bits and no entries. */
static void built_structures_read_back(void **state)
{
    (void)state;
    void *bytes;
    size_t n;
    OnnxModel *m = read_data("subgraph.onnx"), *back = NULL;
    OnnxAttr attrs[3] = {{.name = {"i", 1}, .type = ONNX_ATTR_INT, .count = 1},
                         {.name = {"s", 1}, .type = ONNX_ATTR_STRING, .count = 1},
                         {.name = {"f", 1}, .type = ONNX_ATTR_FLOATS}};
    OnnxNode node = {.op_type = {"Made", 4}, .attrs = attrs, .n_attrs = 3};
    m->graph.nodes = &node;
    m->graph.n_nodes = 1;
    assert_int_equal(ledge__onnx_write_memory(m, NULL, &bytes, &n, NULL), LEDGE_OK);
    assert_int_equal(ledge__onnx_read_memory(NULL, bytes, n, NULL, &back), LEDGE_OK);
    assert_int_equal(back->graph.nodes->n_attrs, 3);
    assert_int_equal(back->graph.nodes->attrs[0].count, 1);
    assert_non_null(back->graph.nodes->attrs[1].s.p);
    assert_int_equal(back->graph.nodes->attrs[2].type, ONNX_ATTR_FLOATS);
    ledge__onnx_free(back);
    ledge__free(NULL, bytes);
    ledge__onnx_free(m);
}

static void each_failed_allocation_leaves_no_file(void **state)
{
    (void)state;
    char path[1024];
    LedgeStatus status;
    data_path(path, sizeof path, "external.onnx");
    for (long n = 0;; n++) {
        Failing f = {-1, 0, false};
        LedgeAllocator a = failing_allocator(&f);
        LedgeError err = {0};
        OnnxModel *m = NULL;
        assert_int_equal(ledge__onnx_read_file(&a, path, &err, &m), LEDGE_OK);
        f.until_failure = n;
        status = ledge__onnx_write_file(m, in_folder("m.onnx"), true, &err);
        f.until_failure = -1;
        ledge__onnx_free(m);
        assert_int_equal(f.live, 0);
        if (!f.refused) {
            assert_int_equal(status, LEDGE_OK);
            break;
        }
        assert_int_equal(status, LEDGE_ERROR_MEMORY);
        assert_int_not_equal(access(in_folder("m.onnx"), F_OK), 0);
    }
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_files_come_out_byte_for_byte),
        cmocka_unit_test(shared_models_come_out_byte_for_byte),
        cmocka_unit_test(backend_test_models_come_out_byte_for_byte),
        cmocka_unit_test(unknown_fields_are_kept_in_place),
        IN_FOLDER(written_file_equals_the_one_read),
        IN_FOLDER(external_tensors_are_kept_outside_or_brought_in),
        IN_FOLDER(external_location_outside_the_folder_is_not_written),
        IN_FOLDER(full_disk_leaves_the_old_file),
        cmocka_unit_test(folder_that_is_not_there_is_an_io_error),
        IN_FOLDER(more_than_two_gigabytes_inline_is_refused),
        cmocka_unit_test(built_structures_read_back),
        IN_FOLDER(each_failed_allocation_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
