/* Atomic file writing, see out_file.h. */
#include "base/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)1 << 16)
#define NAME_TRIES 100

struct LedgeOutFile {
    const LedgeAllocator *allocator;
    char *path, *temp; /* one block; temp begins behind path */
    int fd;
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

/* O_EXCL and the user's umask, which mkstemp would not honour. */
static int open_temp(LedgeOutFile *f, size_t temp_size)
{
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        snprintf(f->temp, temp_size, "%s.%ld-%u.tmp", f->path, (long)getpid(), i);
        f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0 || errno != EEXIST)
            return f->fd;
    }
    return -1;
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
    memcpy(f->path, path, n);
    if (open_temp(f, temp_size) < 0) {
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

/* The rename itself must survive a power cut. A folder that cannot be opened or synced (some
 * network file systems) is no reason to fail: the file is complete. */
static void sync_folder(LedgeOutFile *f)
{
    char *slash = strrchr(f->temp, '/');
    if (slash)
        slash[slash == f->temp] = '\0';
    int fd = open(slash ? f->temp : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

LedgeStatus ledge__out_file_commit(LedgeOutFile *f, LedgeError *err)
{
    LedgeStatus status = ledge__out_file_sync(f, err);
    if (!status && close(f->fd) != 0)
        status = fail(f, err, "write");
    else if (!status)
        f->fd = -1;
    if (!status && rename(f->temp, f->path) != 0)
        status = fail(f, err, "rename the finished file into place");
    if (status) {
        ledge__out_file_abort(f);
        return status;
    }
    sync_folder(f);
    ledge__free(f->allocator, f);
    return LEDGE_OK;
}

void ledge__out_file_abort(LedgeOutFile *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    unlink(f->temp);
    ledge__free(f->allocator, f);
}
