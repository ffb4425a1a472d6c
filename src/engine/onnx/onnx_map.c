/* Read-only mappings, see onnx_map.h.
 *
 * A file is mapped privately and read-only; where the file system cannot map it is read into
 * memory instead. External data is opened beneath the model's folder by openat2 with
 * RESOLVE_BENEATH, so that the kernel itself refuses links that lead out; older kernels get a
 * walk that follows no links at all. */
#include "engine/onnx/onnx_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined(__wasi__)
#include <sys/mman.h>
#endif
#if defined(__linux__)
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

/* O_NONBLOCK: a FIFO must not hold us; it is refused later as no regular file. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK)

static LedgeStatus read_all(int fd, OnnxMapping *m, LedgeError *err)
{
    uint8_t *p = ledge__alloc(m->allocator, m->size, 1);
    size_t done = 0;
    if (!p)
        return ledge__no_memory(err);
    while (done < m->size) {
        ssize_t n = pread(fd, p + done, m->size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ledge__free(m->allocator, p);
            return ledge__fail(err, LEDGE_ERROR_IO, m->name, "cannot read: %s",
                               n < 0 ? strerror(errno) : "the file shrank while it was read");
        }
        done += (size_t)n;
    }
    m->bytes = p;
    return LEDGE_OK;
}

static LedgeStatus fill(int fd, OnnxMapping *m, LedgeError *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ledge__fail(err, LEDGE_ERROR_IO, m->name, "cannot read: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ledge__fail(err, LEDGE_ERROR_IO, m->name, "not a regular file");
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        return ledge__fail(err, LEDGE_ERROR_IO, m->name, "too large for this machine's memory");
    m->size = (size_t)st.st_size;
    if (m->size == 0) {
        m->bytes = (const uint8_t *)"";
        return LEDGE_OK;
    }
#if !defined(__wasi__)
    void *p = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p != MAP_FAILED) {
        m->bytes = p;
        m->is_mapped = true;
        return LEDGE_OK;
    }
    if (errno == ENOMEM)
        return ledge__no_memory(err);
#endif
    return read_all(fd, m, err);
}

/* Closes fd. */
static LedgeStatus map_fd(LedgeArena *arena, int fd, const char *name, OnnxMapping **list,
                          LedgeError *err)
{
    OnnxMapping *m = ledge__arena_alloc(arena, 1, sizeof *m);
    char *copy = ledge__arena_str(arena, name);
    LedgeStatus status = m && copy ? LEDGE_OK : ledge__no_memory(err);
    if (!status) {
        m->allocator = ledge__arena_allocator(arena);
        m->name = copy;
        status = fill(fd, m, err);
    }
    close(fd);
    if (status)
        return status;
    m->next = *list;
    *list = m;
    return LEDGE_OK;
}

LedgeStatus ledge__onnx_map(LedgeArena *arena, const char *path, OnnxMapping **list,
                            LedgeError *err)
{
    int fd = open(path, OPEN_FLAGS);
    if (fd < 0)
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot open: %s", strerror(errno));
    return map_fd(arena, fd, path, list, err);
}

LedgeStatus ledge__onnx_folder_open(LedgeArena *arena, const char *path, LedgeError *err,
                                    OnnxFolder *out)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    char *folder =
        !slash ? ledge__arena_str(arena, ".") : ledge__arena_strn(arena, path, n ? n : 1);
    if (!folder)
        return ledge__no_memory(err);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ledge__fail(err, LEDGE_ERROR_IO, folder, "cannot open the folder: %s",
                           strerror(errno));
    *out = (OnnxFolder){fd, folder};
    return LEDGE_OK;
}

void ledge__onnx_folder_close(OnnxFolder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    folder->fd = -1;
}

/* Whether `name` is relative and free of "..". */
static bool is_plain(const char *name)
{
    if (!*name || *name == '/')
        return false;
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
            return false;
    }
    return true;
}

/* Without openat2: one component after the other, following no link. */
static int open_walk(int folder, const char *name)
{
    int at = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char *p = name; at >= 0;) {
        char part[256];
        const size_t n = strcspn(p, "/");
        const bool last = p[n] == '\0';
        if (n >= sizeof part) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, p, n);
        part[n] = '\0';
        int next = openat(at, n ? part : ".", OPEN_FLAGS | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
        const int saved = errno;
        close(at);
        errno = saved;
        if (last)
            return next;
        at = next;
        p += n + 1;
    }
    return -1;
}

static int open_beneath(int folder, const char *name)
{
#if defined(__linux__) && defined(SYS_openat2)
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
#endif
    return open_walk(folder, name);
}

LedgeStatus ledge__onnx_map_in(LedgeArena *arena, const OnnxFolder *folder, const char *name,
                               OnnxMapping **list, LedgeError *err, const OnnxMapping **out)
{
    if (!is_plain(name))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                           "external data must lie in the model's own folder; absolute paths and "
                           "\"..\" are refused");
    for (OnnxMapping *m = *list; m; m = m->next) {
        if (m->next && strcmp(m->name, name) == 0) { /* the last one is the model itself */
            *out = m;
            return LEDGE_OK;
        }
    }
    int fd = open_beneath(folder->fd, name);
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                           "external data must lie in the model's own folder; this link leads out "
                           "of it");
    if (fd < 0)
        return ledge__fail(err, LEDGE_ERROR_IO, name, "cannot open external data in %s: %s",
                           folder->path, strerror(errno));
    LEDGE_TRY(map_fd(arena, fd, name, list, err));
    *out = *list;
    return LEDGE_OK;
}

void ledge__onnx_unmap_all(OnnxMapping *list)
{
    for (OnnxMapping *m = list; m; m = m->next) {
#if !defined(__wasi__)
        if (m->is_mapped)
            munmap((void *)(uintptr_t)m->bytes, m->size);
#endif
        if (!m->is_mapped && m->size)
            ledge__free(m->allocator, (void *)(uintptr_t)m->bytes);
        m->bytes = NULL;
    }
}
