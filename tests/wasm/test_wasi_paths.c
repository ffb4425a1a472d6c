/* Paths cannot leave the folder that they are given with: by the kernel's resolution (openat2) and
 * by ledge's own walk, over the same tree of traps. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "wasm/runner/wasi_state.h"

static char base[64];
static int root; /* base/root */

static void put(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* base/secret, and in base/root: file, a/b/deep, links of every kind. */
static int make_tree(void **state)
{
    (void)state;
    strcpy(base, "/tmp/ledge-paths-XXXXXX");
    if (!mkdtemp(base) || chdir(base) != 0)
        return 1;
    put("secret", "secret");
    if (mkdir("root", 0700) || mkdir("root/a", 0700) || mkdir("root/a/b", 0700) ||
        mkdir("beside", 0700))
        return 1;
    put("root/file", "file");
    put("root/a/b/deep", "deep");
    put("beside/other", "secret");
    char absolute[128];
    snprintf(absolute, sizeof absolute, "%s/secret", base);
    if (symlink("../secret", "root/out") || symlink(absolute, "root/absolute") ||
        symlink("..", "root/up") || symlink("/", "root/slash") || symlink("a/b", "root/inside") ||
        symlink("loop", "root/loop") || symlink("../../../secret", "root/a/b/far") ||
        symlink("/proc/self/root", "root/magic") || symlink("new-outside", "root/a/dangling"))
        return 1;
    root = open("root", O_RDONLY | O_DIRECTORY);
    return root < 0;
}

static int remove_tree(void **state)
{
    char command[128];
    (void)state;
    close(root);
    snprintf(command, sizeof command, "rm -rf %s", base);
    return chdir("/") != 0 || system(command) != 0;
}

static void paths_cannot_escape(void **state)
{
    (void)state;
    static const char *const bad[] = {"../secret",
                                      "..",
                                      "../root/file",
                                      "a/../../secret",
                                      "a/b/../../../secret",
                                      "/etc/passwd",
                                      "/",
                                      "//secret",
                                      "out",
                                      "absolute",
                                      "up/secret",
                                      "up",
                                      "slash/etc/passwd",
                                      "magic/etc/passwd",
                                      "a/b/far",
                                      "a/../up/secret",
                                      "./../secret",
                                      "a/b/../../../beside/other",
                                      "inside/../../../secret",
                                      "loop"};
    for (int walk = 0; walk < 2; walk++) {
        ledge__wasi_no_openat2 = walk;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            for (int follow = 0; follow < 2; follow++) {
                const int fd = ledge__wasi_open_beneath(root, bad[i], O_RDONLY, 0, follow);
                if (fd >= 0)
                    print_error("opened %s (walk %d, follow %d)\n", bad[i], walk, follow);
                assert_int_equal(fd, -1);
                assert_true(errno == EXDEV || errno == ELOOP || errno == ENOTDIR ||
                            errno == ENOENT);
            }
    }
    ledge__wasi_no_openat2 = false;
}

static void paths_inside_open(void **state)
{
    (void)state;
    static const char *const good[] = {"file",      "a/b/deep",      "./file",
                                       "a/../file", "a/b/../b/deep", "a/./b/.//deep",
                                       "a//b/deep", "a/b/../../file"};
    for (int walk = 0; walk < 2; walk++) {
        ledge__wasi_no_openat2 = walk;
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            char text[8] = "";
            const int fd = ledge__wasi_open_beneath(root, good[i], O_RDONLY, 0, true);
            assert_true(fd >= 0);
            assert_int_equal(read(fd, text, 7), 4);
            assert_true(strcmp(text, "file") == 0 || strcmp(text, "deep") == 0);
            close(fd);
        }
        const int fd = ledge__wasi_open_beneath(root, "a/..", O_RDONLY | O_DIRECTORY, 0, true);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(ledge__wasi_open_beneath(root, "file/x", O_RDONLY, 0, true), -1);
        assert_int_equal(ledge__wasi_open_beneath(root, "file/", O_RDONLY, 0, true), -1);
        assert_int_equal(ledge__wasi_open_beneath(root, "", O_RDONLY, 0, true), -1);
    }
    ledge__wasi_no_openat2 = false;
}

/* A link that stays inside works by the kernel and is refused by the walk, which takes none. */
static void links_inside_depend_on_the_kernel(void **state)
{
    (void)state;
    const int fd = ledge__wasi_open_beneath(root, "inside/deep", O_RDONLY, 0, true);
    if (fd < 0)
        assert_true(errno == ENOTDIR || errno == ELOOP); /* a kernel without openat2 */
    else
        close(fd);
    ledge__wasi_no_openat2 = true;
    assert_int_equal(ledge__wasi_open_beneath(root, "inside/deep", O_RDONLY, 0, true), -1);
    ledge__wasi_no_openat2 = false;
}

static void nothing_is_created_outside(void **state)
{
    (void)state;
    static const char *const bad[] = {"../new", "up/new", "slash/tmp/ledge-new", "a/dangling",
                                      "/tmp/ledge-new"};
    for (int walk = 0; walk < 2; walk++) {
        ledge__wasi_no_openat2 = walk;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            const int fd =
                ledge__wasi_open_beneath(root, bad[i], O_WRONLY | O_CREAT | O_EXCL, 0600, false);
            assert_int_equal(fd, -1);
        }
        const int fd = ledge__wasi_open_beneath(root, "a/made", O_WRONLY | O_CREAT, 0600, true);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(unlinkat(root, "a/made", 0), 0);
    }
    ledge__wasi_no_openat2 = false;
    assert_int_equal(access("new", F_OK), -1);
    assert_int_equal(access("/tmp/ledge-new", F_OK), -1);
}

static void parents_are_found_beneath(void **state)
{
    (void)state;
    static const char *const bad[] = {"..",   ".",  "a/..",           "../x",
                                      "up/x", "/x", "a/b/../../../x", "/"};
    for (int walk = 0; walk < 2; walk++) {
        char path[64];
        const char *last;
        ledge__wasi_no_openat2 = walk;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            strcpy(path, bad[i]);
            assert_int_equal(ledge__wasi_open_parent(root, path, &last), -1);
        }
        strcpy(path, "a/b/name/");
        const int fd = ledge__wasi_open_parent(root, path, &last);
        assert_true(fd >= 0);
        assert_string_equal(last, "name");
        assert_int_equal(faccessat(fd, "deep", F_OK, 0), 0);
        close(fd);
    }
    ledge__wasi_no_openat2 = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_cannot_escape),
        cmocka_unit_test(paths_inside_open),
        cmocka_unit_test(links_inside_depend_on_the_kernel),
        cmocka_unit_test(nothing_is_created_outside),
        cmocka_unit_test(parents_are_found_beneath),
    };
    return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
