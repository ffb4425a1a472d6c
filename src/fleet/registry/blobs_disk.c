/* Blobs in a folder: HH/HASH, HH being the hash's first two digits; files on their way in lie in
 * incoming/. A blob is synced before it gets its name, and its folder after it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/out_file.h"
#include "fleet/protocol/wire_names.h"
#include "fleet/registry/blobs_impl.h"
#include "trust/sha256.h"

#define PATH_SIZE 512
#define STALE_S   86400

typedef struct Disk {
    LedgeBlobs base;
    char root[400];
} Disk;

static LedgeStatus fail(LedgeError *err, const char *path, const char *what)
{
    return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                       "cannot be %s: %s", what, strerror(errno));
}

static void path_of(const LedgeBlobs *b, const char *sha256, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%.2s/%s", ((const Disk *)(const void *)b)->root, sha256, sha256);
}

static bool sync_path(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* A folder, new or not; the folder that a new one is in is to keep its name. */
static bool make_folder(const char *path, mode_t mode)
{
    return mkdir(path, mode) == 0 ? ledge__sync_folder_of(path) : errno == EEXIST;
}

static LedgeStatus put(LedgeBlobs *b, const char *sha256, const char *file, LedgeError *err)
{
    const Disk *d = (const Disk *)(const void *)b;
    char path[PATH_SIZE], folder[PATH_SIZE];
    path_of(b, sha256, path);
    snprintf(folder, sizeof folder, "%s/%.2s", d->root, sha256);
    if (!sync_path(file))
        return fail(err, file, "synced");
    if (!make_folder(folder, 0777))
        return fail(err, folder, "made");
    if (rename(file, path) != 0)
        return fail(err, path, "put in place");
    return ledge__sync_folder(folder) ? LEDGE_OK : fail(err, folder, "synced");
}

static LedgeStatus open_blob(LedgeBlobs *b, const char *sha256, LedgeError *err, int *out,
                             uint64_t *size)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(b, sha256, path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, sha256, "opened");
    if (fstat(fd, &st) != 0) {
        LedgeStatus status = fail(err, sha256, "read");
        (void)close(fd);
        return status;
    }
    *out = fd;
    *size = (uint64_t)st.st_size;
    return LEDGE_OK;
}

static LedgeStatus read_all(int fd, const char *sha256, size_t size, LedgeError *err, char *to)
{
    char hash[LEDGE_SHA256_HEX];
    for (size_t got = 0; got < size;) {
        const ssize_t n = read(fd, to + got, size - got);
        if (n <= 0)
            return ledge__fail(err, LEDGE_ERROR_IO, sha256, "cannot be read: %s",
                               n ? strerror(errno) : "it ends too early");
        got += (size_t)n;
    }
    to[size] = '\0';
    LEDGE_TRY(ledge__sha256_of(to, size, hash));
    return strcmp(hash, sha256) == 0
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_MISMATCH, sha256, "the file on the disk is damaged");
}

static LedgeStatus read_blob(LedgeBlobs *b, const char *sha256, size_t max, LedgeError *err,
                             char **out, size_t *size)
{
    int fd;
    uint64_t n;
    LEDGE_TRY(open_blob(b, sha256, err, &fd, &n));
    LedgeStatus status = LEDGE_OK;
    if (n > max)
        status = ledge__fail(err, LEDGE_ERROR_LIMIT, sha256, "is larger than %zu bytes", max);
    char *text = status ? NULL : malloc((size_t)n + 1);
    if (!status)
        status = text ? read_all(fd, sha256, (size_t)n, err, text) : ledge__no_memory(err);
    (void)close(fd);
    if (status) {
        free(text);
        return status;
    }
    *out = text;
    *size = (size_t)n;
    return LEDGE_OK;
}

static LedgeStatus no_address(LedgeBlobs *b, const char *sha256, int64_t now, LedgeError *err,
                              char **out)
{
    (void)b, (void)sha256, (void)now, (void)err;
    *out = NULL;
    return LEDGE_OK;
}

static LedgeStatus remove_blob(LedgeBlobs *b, const char *sha256, LedgeError *err)
{
    char path[PATH_SIZE];
    path_of(b, sha256, path);
    return unlink(path) == 0 || errno == ENOENT ? LEDGE_OK : fail(err, path, "removed");
}

/* The blobs of one HH. */
static LedgeStatus list_folder(const char *folder, const char *hh, int64_t before,
                               LedgeBlobFound found, void *arg, LedgeError *err)
{
    LedgeStatus status = LEDGE_OK;
    DIR *d = opendir(folder);
    if (!d)
        return fail(err, folder, "read");
    for (struct dirent *e; !status && (e = readdir(d));) {
        char path[PATH_SIZE];
        struct stat st;
        if (ledge__fleet_is_sha256(e->d_name) && strncmp(e->d_name, hh, 2) == 0 &&
            (size_t)snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < sizeof path &&
            lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mtime < before &&
            !found(arg, e->d_name, st.st_size))
            status = ledge__no_memory(err);
    }
    (void)closedir(d);
    return status;
}

static LedgeStatus list(LedgeBlobs *b, int64_t before, LedgeBlobFound found, void *arg,
                        LedgeError *err)
{
    const Disk *d = (const Disk *)(const void *)b;
    LedgeStatus status = LEDGE_OK;
    DIR *dir = opendir(d->root);
    if (!dir)
        return fail(err, d->root, "read");
    for (struct dirent *e; !status && (e = readdir(dir));) {
        char folder[PATH_SIZE];
        if (strlen(e->d_name) == 2 && strspn(e->d_name, "0123456789abcdef") == 2 &&
            (size_t)snprintf(folder, sizeof folder, "%s/%s", d->root, e->d_name) < sizeof folder)
            status = list_folder(folder, e->d_name, before, found, arg, err);
    }
    (void)closedir(dir);
    return status;
}

static void free_disk(LedgeBlobs *b)
{
    free(b);
}

LedgeStatus ledge__blobs_disk_open(const char *folder, LedgeError *err, LedgeBlobs **out)
{
    Disk *d = calloc(1, sizeof *d);
    if (!d)
        return ledge__no_memory(err);
    d->base = (LedgeBlobs){.free = free_disk,
                           .put = put,
                           .read = read_blob,
                           .file = open_blob,
                           .address = no_address,
                           .remove = remove_blob,
                           .list = list};
    const int n = snprintf(d->root, sizeof d->root, "%s", folder);
    const int m = snprintf(d->base.folder, sizeof d->base.folder, "%s/incoming", folder);
    LedgeStatus status = LEDGE_OK;
    if (n >= (int)sizeof d->root || m >= (int)sizeof d->base.folder)
        status = ledge__fail(err, LEDGE_ERROR_LIMIT, folder, "the path is too long");
    else if (!make_folder(folder, 0777) || !make_folder(d->base.folder, 0700))
        status = fail(err, folder, "made");
    if (status)
        free(d);
    else
        *out = &d->base;
    return status;
}

/* ---- either place ---- */

/* Uploads that a kill or a power cut ended. */
static void sweep_folder(const char *folder, int64_t before)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH_SIZE];
        struct stat st;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < sizeof path &&
            lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mtime < before)
            (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
}

LedgeStatus ledge__blobs_open(const char *where, LedgeError *err, LedgeBlobs **out)
{
    LEDGE_TRY(strncmp(where, "s3://", 5) == 0 ? ledge__blobs_s3_open(where, err, out)
                                              : ledge__blobs_disk_open(where, err, out));
    sweep_folder((*out)->folder, (int64_t)time(NULL) - STALE_S);
    return LEDGE_OK;
}

void ledge__blobs_free(LedgeBlobs *b)
{
    if (b)
        b->free(b);
}

LedgeStatus ledge__blobs_put(LedgeBlobs *b, const char *sha256, const char *file, LedgeError *err)
{
    return b->put(b, sha256, file, err);
}

const char *ledge__blobs_folder(const LedgeBlobs *b)
{
    return b->folder;
}

LedgeStatus ledge__blobs_read(LedgeBlobs *b, const char *sha256, size_t max, LedgeError *err,
                              char **out, size_t *size)
{
    return b->read(b, sha256, max, err, out, size);
}

LedgeStatus ledge__blobs_file(LedgeBlobs *b, const char *sha256, LedgeError *err, int *fd,
                              uint64_t *size)
{
    return b->file(b, sha256, err, fd, size);
}

LedgeStatus ledge__blobs_address(LedgeBlobs *b, const char *sha256, int64_t now, LedgeError *err,
                                 char **out)
{
    return b->address(b, sha256, now, err, out);
}

LedgeStatus ledge__blobs_remove(LedgeBlobs *b, const char *sha256, LedgeError *err)
{
    return b->remove(b, sha256, err);
}

LedgeStatus ledge__blobs_list(LedgeBlobs *b, int64_t before, LedgeBlobFound found, void *arg,
                              LedgeError *err)
{
    return b->list(b, before, found, arg, err);
}

void ledge__blobs_tidy(LedgeBlobs *b, int64_t before)
{
    sweep_folder(b->folder, before);
    if (b->tidy)
        b->tidy(b, before);
}
