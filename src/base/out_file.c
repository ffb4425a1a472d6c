/* Atomic file writing, see out_file.h.
 *
 * Where the file system can (O_TMPFILE), the new file has no name at all until it is complete,
 * so that even a killed process leaves nothing behind; elsewhere it has a temporary one. */
#include "base/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)1 << 16)
#define NAME_TRIES  100

struct LedgeOutFile {
    const LedgeAllocator *allocator;
    char *path, *temp; /* one block; temp begins behind path */
    size_t temp_size;
    int fd;
    bool is_named; /* temp exists */
    LedgeStatus status;
    uint64_t size;
    size_t used;
    uint8_t buffer[];
};

static LedgeStatus fail(LedgeOutFile *f, LedgeError *err, const char *what)
{
    f->status = ledge__fail(err, LEDGE_ERROR_IO, f->path, "cannot %s: %s", what, strerror(errno));
    return f->status;
}

/* Makes temp the folder of path, for calls that want it; the name is made by next_name. */
static void folder_name(LedgeOutFile *f)
{
    const char *slash = strrchr(f->path, '/');
    const size_t n = slash ? (size_t)(slash - f->path) : 0;
    memcpy(f->temp, slash ? f->path : ".", n ? n : 1);
    f->temp[n ? n : 1] = '\0';
}

static void next_name(LedgeOutFile *f, unsigned i)
{
    snprintf(f->temp, f->temp_size, "%s.%ld-%u.tmp", f->path, (long)getpid(), i);
}

/* O_EXCL and the user's umask, which mkstemp would not honour. */
static int open_temp(LedgeOutFile *f)
{
#if defined(O_TMPFILE)
    folder_name(f);
    if (access("/proc/self/fd", F_OK) == 0) /* give_name needs it */
        f->fd = open(f->temp, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    if (f->fd >= 0)
        return f->fd;
#endif
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        next_name(f, i);
        f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        f->is_named = f->fd >= 0;
        if (f->fd >= 0 || errno != EEXIST)
            return f->fd;
    }
    return -1;
}

/* Gives the complete file its temporary name, if it has none: a link cannot replace a file, a
 * rename can. */
static bool give_name(LedgeOutFile *f)
{
#if defined(O_TMPFILE)
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    for (unsigned i = 0; i < NAME_TRIES && !f->is_named; i++) {
        next_name(f, i);
        f->is_named = linkat(AT_FDCWD, self, AT_FDCWD, f->temp, AT_SYMLINK_FOLLOW) == 0;
        if (!f->is_named && errno != EEXIST)
            return false;
    }
#endif
    return f->is_named;
}

LedgeStatus ledge__out_file_open(const LedgeAllocator *a, const char *path, LedgeError *err,
                                 LedgeOutFile **out)
{
    const size_t n = strlen(path) + 1, temp_size = n + 40;
    struct stat there;
    /* A rename over /dev/null would put a file in its place, for everybody. */
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return ledge__fail(err, LEDGE_ERROR_IO, path,
                           "is no regular file and is not replaced; give a file's name");
    LedgeOutFile *f = ledge__alloc(a, sizeof *f + BUFFER_SIZE + n + temp_size, 1);
    if (!f)
        return ledge__no_memory(err);
    *f = (LedgeOutFile){.allocator = a, .fd = -1};
    f->path = (char *)f->buffer + BUFFER_SIZE;
    f->temp = f->path + n;
    f->temp_size = temp_size;
    memcpy(f->path, path, n);
    if (open_temp(f) < 0) {
        LedgeStatus status = fail(f, err, "create the file");
        ledge__free(a, f);
        return status;
    }
    *out = f;
    return LEDGE_OK;
}

static LedgeStatus write_through(LedgeOutFile *f, const uint8_t *p, size_t n, LedgeError *err)
{
    while (n) {
        ssize_t done = write(f->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(f, err, "write");
        p += done;
        n -= (size_t)done;
    }
    return LEDGE_OK;
}

static LedgeStatus flush(LedgeOutFile *f, LedgeError *err)
{
    LEDGE_TRY(write_through(f, f->buffer, f->used, err));
    f->used = 0;
    return LEDGE_OK;
}

LedgeStatus ledge__out_file_write(LedgeOutFile *f, const void *bytes, size_t size, LedgeError *err)
{
    if (f->status)
        return f->status;
    if (size > BUFFER_SIZE - f->used)
        LEDGE_TRY(flush(f, err));
    f->size += size;
    if (size >= BUFFER_SIZE)
        return write_through(f, bytes, size, err);
    if (size)
        memcpy(f->buffer + f->used, bytes, size);
    f->used += size;
    return LEDGE_OK;
}

LedgeStatus ledge__out_file_pad(LedgeOutFile *f, size_t align, LedgeError *err)
{
    static const uint8_t zeros[256];
    while (f->size % align) {
        size_t n = align - (size_t)(f->size % align);
        LEDGE_TRY(ledge__out_file_write(f, zeros, n < sizeof zeros ? n : sizeof zeros, err));
    }
    return LEDGE_OK;
}

uint64_t ledge__out_file_size(const LedgeOutFile *f)
{
    return f->size;
}

LedgeStatus ledge__out_file_sync(LedgeOutFile *f, LedgeError *err)
{
    if (f->status)
        return f->status;
    LEDGE_TRY(flush(f, err));
    return fsync(f->fd) == 0 ? LEDGE_OK : fail(f, err, "write to the disk");
}

bool ledge__sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP);
    const int e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return ok;
}

bool ledge__sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    const bool ok = folder && ledge__sync_folder(*folder ? folder : slash ? "/" : ".");
    const int e = errno;
    free(folder);
    errno = e;
    return ok;
}

static LedgeStatus finish(LedgeOutFile *f, LedgeError *err)
{
    LEDGE_TRY(ledge__out_file_sync(f, err));
    if (!give_name(f))
        return fail(f, err, "name the finished file");
    const int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0)
        return fail(f, err, "write");
    if (rename(f->temp, f->path) != 0)
        return fail(f, err, "rename the finished file into place");
    f->is_named = false;
    return LEDGE_OK;
}

LedgeStatus ledge__out_file_commit(LedgeOutFile *f, LedgeError *err)
{
    LedgeStatus status = finish(f, err);
    /* The rename itself must survive a power cut. A folder that cannot be opened or synced is no
     * reason to fail: the file is complete. */
    if (!status)
        (void)ledge__sync_folder_of(f->path);
    ledge__out_file_abort(f);
    return status;
}

void ledge__out_file_abort(LedgeOutFile *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    if (f->is_named)
        unlink(f->temp);
    ledge__free(f->allocator, f);
}

LedgeStatus ledge__out_file_whole(const LedgeAllocator *a, const char *path, const void *bytes,
                                  size_t size, LedgeError *err)
{
    LedgeOutFile *f = NULL;
    LEDGE_TRY(ledge__out_file_open(a, path, err, &f));
    const LedgeStatus status = ledge__out_file_write(f, bytes, size, err);
    if (status == LEDGE_OK)
        return ledge__out_file_commit(f, err);
    ledge__out_file_abort(f);
    return status;
}

LedgeStatus ledge__out_file_try(const LedgeAllocator *a, const char *path, LedgeError *err)
{
    LedgeOutFile *f = NULL;
    LEDGE_TRY(ledge__out_file_open(a, path, err, &f));
    ledge__out_file_abort(f);
    return LEDGE_OK;
}

/* "….123-0.tmp" */
bool ledge__out_file_is_unfinished(const char *name)
{
    const size_t n = strlen(name);
    size_t i = n - (n > 4 ? 4 : n);
    if (!i || strcmp(name + i, ".tmp") != 0)
        return false;
    for (const char *until = "-."; *until; until++) {
        const size_t end = i;
        while (i && name[i - 1] >= '0' && name[i - 1] <= '9')
            i--;
        if (i == end || !i || name[--i] != *until)
            return false;
    }
    return true;
}
