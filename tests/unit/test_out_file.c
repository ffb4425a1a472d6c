/* Atomic files: whole or not there, whatever happens in between. */
#include "onnx_test_util.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/out_file.h"

static char folder[64], path[100];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ledge-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

/* Fails when anything but the file itself is left. */
static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static LedgeOutFile *open_file(void)
{
    LedgeOutFile *f = NULL;
    LedgeError err = {0};
    if (ledge__out_file_open(NULL, path, &err, &f))
        fail_msg("%s: %s", err.where, err.message);
    return f;
}

static void expect_content(const char *text)
{
    size_t n;
    uint8_t *bytes = read_whole(path, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(bytes, text, n);
    free(bytes);
}

static void put(LedgeOutFile *f, const char *text)
{
    assert_int_equal(ledge__out_file_write(f, text, strlen(text), NULL), LEDGE_OK);
}

static void file_appears_at_commit_and_replaces_the_old_one(void **state)
{
    (void)state;
    LedgeOutFile *f = open_file();
    put(f, "one");
    assert_int_equal(ledge__out_file_sync(f, NULL), LEDGE_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(ledge__out_file_commit(f, NULL), LEDGE_OK);
    expect_content("one");
    f = open_file();
    put(f, "two, and longer");
    expect_content("one");
    assert_int_equal(ledge__out_file_commit(f, NULL), LEDGE_OK);
    expect_content("two, and longer");
}

static void abort_leaves_the_old_file(void **state)
{
    (void)state;
    LedgeOutFile *f = open_file();
    put(f, "old");
    assert_int_equal(ledge__out_file_commit(f, NULL), LEDGE_OK);
    f = open_file();
    put(f, "new");
    ledge__out_file_abort(f);
    expect_content("old");
    ledge__out_file_abort(NULL);
}

static void killed_writer_leaves_no_file(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        LedgeOutFile *f = open_file();
        put(f, "half");
        (void)!ledge__out_file_sync(f, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    assert_int_not_equal(access(path, F_OK), 0);
    /* remove_folder sees whether anything else was left */
}

static void large_and_padded_content_is_kept(void **state)
{
    (void)state;
    static uint8_t big[200001];
    LedgeOutFile *f = open_file();
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    put(f, "x");
    assert_int_equal(ledge__out_file_pad(f, 4096, NULL), LEDGE_OK);
    assert_int_equal(ledge__out_file_size(f), 4096);
    assert_int_equal(ledge__out_file_write(f, big, sizeof big, NULL), LEDGE_OK);
    put(f, "end");
    assert_int_equal(ledge__out_file_commit(f, NULL), LEDGE_OK);
    size_t n;
    uint8_t *bytes = read_whole(path, &n);
    assert_int_equal(n, 4096 + sizeof big + 3);
    assert_int_equal(bytes[1], 0);
    assert_memory_equal(bytes + 4096, big, sizeof big);
    assert_memory_equal(bytes + n - 3, "end", 3);
    free(bytes);
}

static void mode_follows_the_umask(void **state)
{
    (void)state;
    struct stat st;
    const mode_t old = umask(027);
    LedgeOutFile *f = open_file();
    assert_int_equal(ledge__out_file_commit(f, NULL), LEDGE_OK);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(file_appears_at_commit_and_replaces_the_old_one),
        IN_FOLDER(abort_leaves_the_old_file),
        IN_FOLDER(killed_writer_leaves_no_file),
        IN_FOLDER(large_and_padded_content_is_kept),
        IN_FOLDER(mode_follows_the_umask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
