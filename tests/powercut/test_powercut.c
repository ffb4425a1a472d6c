/* The disk of powercut.h itself: what was confirmed is there after every cut, what was not is lost
 * after some, and a program that forgets a sync is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "powercut.h"

static char root[40], file[60];
static PowerControl *control;

static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/ledge-power-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(file, sizeof file, "%s.log", root);
    control = power_open(file, root);
    return control ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    power_close(control);
    unlink(file);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void path_of(const char *name, char out[100])
{
    snprintf(out, 100, "%s/%s", root, name);
}

static void sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY);
    if (fsync(fd) != 0 || close(fd) != 0)
        _exit(3);
}

/* A file by the book, or with one of its two syncs forgotten. */
static void save(const char *name, const char *text, bool sync_bytes, bool sync_name)
{
    char path[100], beside[110];
    path_of(name, path);
    snprintf(beside, sizeof beside, "%s.new", path);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        (sync_bytes && fsync(fd) != 0) || close(fd) != 0 || rename(beside, path) != 0)
        _exit(2);
    if (sync_name)
        sync_folder(root);
}

static bool has(const char *name, const char *text)
{
    char path[100], got[100] = "";
    path_of(name, path);
    const int fd = open(path, O_RDONLY);
    const ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got - 1);
    if (fd >= 0)
        close(fd);
    return n >= 0 && strcmp(got, text) == 0;
}

/* Runs it in a process of the boot that ends by itself, then cuts. */
static void boot(void (*run)(void), uint64_t cut_at, unsigned seed)
{
    assert_true(power_begin(control, cut_at, 0, 0));
    const pid_t pid = fork();
    if (pid == 0) {
        power_on(control);
        run();
        _exit(0);
    }
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true((WIFEXITED(how) && WEXITSTATUS(how) == 0) ||
                (cut_at && WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL));
    power_cut(control);
    assert_true(power_fail(control, seed, NULL));
}

static void by_the_book(void)
{
    save("state", "new", true, true);
}

static void without_bytes(void)
{
    save("state", "new", false, true);
}

static void without_name(void)
{
    save("state", "new", true, false);
}

static void what_is_synced_stays_and_what_is_not_is_lost_now_and_then(void **state)
{
    (void)state;
    static void (*const ways[])(void) = {by_the_book, without_bytes, without_name};
    for (int way = 0; way < 3; way++) {
        int kept = 0;
        for (unsigned seed = 0; seed < 200; seed++) {
            save("state", "old", true, true);
            boot(ways[way], 0, seed);
            kept += has("state", "new");
            assert_true(way == 1 || has("state", "new") || has("state", "old"));
        }
        if (way == 0)
            assert_int_equal(kept, 200);
        else
            assert_in_range(kept, 20, 180);
    }
}

static void a_cut_at_any_operation_leaves_old_or_new(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 8; at++)
        for (unsigned seed = 0; seed < 30; seed++) {
            save("state", "old", true, true);
            boot(by_the_book, at, seed);
            assert_true(has("state", "new") || has("state", "old"));
            /* create, write, sync, rename, sync of the folder, and none more */
            if (at > 5)
                assert_true(has("state", "new"));
        }
}

static void make_folder(void)
{
    char path[100];
    path_of("a", path);
    if (mkdir(path, 0755) != 0)
        _exit(4);
    save("a/state", "new", true, false);
    sync_folder(path);
}

static void a_folder_that_nobody_synced_may_be_lost_with_all_in_it(void **state)
{
    (void)state;
    int kept = 0;
    for (unsigned seed = 0; seed < 100; seed++) {
        char path[100];
        boot(make_folder, 0, seed);
        kept += has("a/state", "new");
        path_of("a/state", path);
        (void)unlink(path);
        path_of("a", path);
        (void)rmdir(path);
    }
    assert_in_range(kept, 10, 95);
}

static void append_twice(void)
{
    char path[100];
    path_of("log", path);
    const int fd = open(path, O_WRONLY | O_APPEND);
    if (write(fd, "second ", 7) != 7 || fdatasync(fd) != 0 || write(fd, "third", 5) != 5)
        _exit(5);
}

static void an_append_log_keeps_its_confirmed_head(void **state)
{
    (void)state;
    int whole = 0, cut = 0;
    for (unsigned seed = 0; seed < 100; seed++) {
        char path[100], got[40] = "";
        save("log", "first ", true, true);
        boot(append_twice, 0, seed);
        path_of("log", path);
        const int fd = open(path, O_RDONLY);
        assert_true(read(fd, got, sizeof got - 1) >= 13);
        close(fd);
        assert_memory_equal(got, "first second ", 13);
        whole += strcmp(got, "first second third") == 0;
        cut += strcmp(got, "first second ") == 0;
    }
    assert_true(whole > 10 && cut > 10);
}

static void fill_up(void)
{
    char path[100];
    path_of("big", path);
    const int fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (write(fd, "0123456789", 10) != 5) /* the last one takes half */
        _exit(6);
    if (write(fd, "56789", 5) != -1 || errno != ENOSPC)
        _exit(7);
    if (write(fd, "56789", 5) != 5 || fsync(fd) != 0) /* somebody made room */
        _exit(8);
}

static void a_full_disk_refuses_and_goes_on_when_there_is_room(void **state)
{
    (void)state;
    int how;
    assert_true(power_begin(control, 0, 3, 4));
    const pid_t pid = fork();
    if (pid == 0) {
        power_on(control);
        fill_up();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(control->refused, 1);
    assert_true(has("big", "0123456789"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_synced_stays_and_what_is_not_is_lost_now_and_then),
        TEST(a_cut_at_any_operation_leaves_old_or_new),
        TEST(a_folder_that_nobody_synced_may_be_lost_with_all_in_it),
        TEST(an_append_log_keeps_its_confirmed_head),
        TEST(a_full_disk_refuses_and_goes_on_when_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
