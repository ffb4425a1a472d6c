/* Paths that cannot leave their folder.
 *
 * Linux 5.6's openat2 with RESOLVE_BENEATH does that in the kernel. Where it is missing or
 * forbidden the path is walked part by part with O_NOFOLLOW: links are then refused, and ".." goes
 * back to a folder that is still held open, so that nothing moved meanwhile can lead out. */
#include "wasm/runner/wasi_state.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_DEPTH = 64 };
bool ledge__wasi_no_openat2;

static int by_kernel(int dir, const char *path, int flags, mode_t mode, bool follow)
{
    /* openat2 refuses flags that mean nothing, as O_NOCTTY with O_PATH. */
    const struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC |
                                                     (flags & O_PATH ? 0 : O_NOCTTY) |
                                                     (follow ? 0 : O_NOFOLLOW)),
                                 .mode = flags & O_CREAT ? mode : 0,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd;
    do /* EAGAIN: something was renamed while the kernel looked */
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    return fd;
}

typedef struct Walk {
    int stack[MOST_DEPTH];
    int n; /* stack[0] is the given folder, which stays the caller's */
} Walk;

static void walk_end(Walk *w)
{
    const int kept = errno;
    while (w->n > 1)
        close(w->stack[--w->n]);
    errno = kept;
}

static bool walk_into(Walk *w, const char *part)
{
    if (strcmp(part, ".") == 0)
        return true;
    if (strcmp(part, "..") == 0) {
        if (w->n == 1) {
            errno = EXDEV;
            return false;
        }
        close(w->stack[--w->n]);
        return true;
    }
    if (w->n == MOST_DEPTH) {
        errno = ENAMETOOLONG;
        return false;
    }
    const int fd = openat(w->stack[w->n - 1], part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    w->stack[w->n++] = fd;
    return true;
}

static int open_last(Walk *w, const char *last, int flags, mode_t mode)
{
    if (strcmp(last, "..") == 0 || strcmp(last, ".") == 0) {
        if (!walk_into(w, last))
            return -1;
        last = ".";
    }
    return openat(w->stack[w->n - 1], last, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
}

static int by_walk(int dir, const char *path, int flags, mode_t mode)
{
    char text[WASI_MOST_PATH + 1];
    Walk w = {.stack = {dir}, .n = 1};
    char *save = NULL;
    if (path[0] == '/' || strlen(path) >= sizeof text) {
        errno = path[0] == '/' ? EXDEV : ENAMETOOLONG;
        return -1;
    }
    strcpy(text, path);
    const size_t n = strlen(text);
    if (n && text[n - 1] == '/')
        flags |= O_DIRECTORY;
    char *part = strtok_r(text, "/", &save);
    for (char *next; part && (next = strtok_r(NULL, "/", &save)); part = next)
        if (!walk_into(&w, part)) {
            walk_end(&w);
            return -1;
        }
    const int fd = open_last(&w, part ? part : ".", flags, mode);
    walk_end(&w);
    return fd;
}

int ledge__wasi_open_beneath(int dir, const char *path, int flags, mode_t mode, bool follow)
{
    static _Atomic bool missing;
    if (!path[0]) {
        errno = ENOENT;
        return -1;
    }
    if (!missing && !ledge__wasi_no_openat2) {
        const int fd = by_kernel(dir, path, flags, mode, follow);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
            return fd;
        /* EPERM: of a filter, or of this one file: the walk finds out which. */
        missing = errno == ENOSYS;
    }
    return by_walk(dir, path, flags, mode);
}

int ledge__wasi_open_parent(int dir, char *path, const char **last)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    char *slash = strrchr(path, '/');
    *last = slash ? slash + 1 : path;
    if (!**last || strcmp(*last, ".") == 0 || strcmp(*last, "..") == 0) {
        errno = **last ? EINVAL : ENOENT;
        return -1;
    }
    if (slash == path) {
        errno = EXDEV;
        return -1;
    }
    if (slash)
        *slash = '\0';
    return ledge__wasi_open_beneath(dir, slash ? path : ".", O_PATH | O_DIRECTORY, 0, true);
}
