/* WASI preview 1: what is done by path. Every path is resolved below the folder that it is given
 * with (wasi_beneath.c). Guests cannot make links: a symbolic one could mislead other programs. */
#include "wasm/runner/wasi_state.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { LOOKUP_FOLLOW = 1 };
enum { OFLAG_CREAT = 1, OFLAG_DIRECTORY = 2, OFLAG_EXCL = 4, OFLAG_TRUNC = 8 };
enum {
    FDFLAG_APPEND = 1,
    FDFLAG_DSYNC = 2,
    FDFLAG_NONBLOCK = 4,
    FDFLAG_RSYNC = 8,
    FDFLAG_SYNC = 16
};
enum { RIGHT_READ = 1 << 1, RIGHT_WRITE = 1 << 6, RIGHT_READDIR = 1 << 14 };

static WasiErrno result(bool ok)
{
    return ok ? WASI_SUCCESS : ledge__wasi_errno(errno);
}

/* A folder, and the path as a string of the host's. */
static WasiErrno take(LedgeGuest *g, uint64_t fd, uint64_t address, uint64_t size,
                      const WasiFd **dir, char path[WASI_MOST_PATH + 1])
{
    const uint32_t n = (uint32_t)size;
    const uint8_t *p = ledge__wasi_at(g, address, n, 1);
    *dir = ledge__wasi_fd(g, fd);
    if (!*dir)
        return WASI_BADF;
    if ((*dir)->kind != WASI_DIR)
        return WASI_NOTDIR;
    if (!p)
        return WASI_FAULT;
    if (n > WASI_MOST_PATH)
        return WASI_NAMETOOLONG;
    memcpy(path, p, n);
    path[n] = '\0';
    if (strlen(path) != n)
        return WASI_INVAL;
    return n ? WASI_SUCCESS : WASI_NOENT;
}

/* The same for calls that change something: the folder must not be read-only. */
static WasiErrno take_to_change(LedgeGuest *g, uint64_t fd, uint64_t address, uint64_t size,
                                const WasiFd **dir, char path[WASI_MOST_PATH + 1])
{
    const WasiErrno e = take(g, fd, address, size, dir, path);
    return !e && (*dir)->read_only ? WASI_ROFS : e;
}

/* ---- opening ---- */

static int flags_of(const WasiFd *dir, uint32_t oflags, uint64_t rights, uint32_t fdflags,
                    WasiErrno *e)
{
    const bool read = rights & (RIGHT_READ | RIGHT_READDIR), write = rights & RIGHT_WRITE;
    int flags = 0;
    const bool changes = oflags & (OFLAG_CREAT | OFLAG_TRUNC);
    *e = WASI_SUCCESS;
    if (oflags > 15 || fdflags > 31)
        *e = WASI_INVAL;
    else if (dir->read_only && changes)
        *e = WASI_ROFS;
    if (*e)
        return 0;
    if (oflags & OFLAG_CREAT)
        flags |= O_CREAT;
    if (oflags & OFLAG_EXCL)
        flags |= O_EXCL;
    if (oflags & OFLAG_TRUNC)
        flags |= O_TRUNC;
    if (fdflags & FDFLAG_APPEND)
        flags |= O_APPEND;
    if (fdflags & FDFLAG_NONBLOCK)
        flags |= O_NONBLOCK;
    if (fdflags & (FDFLAG_DSYNC | FDFLAG_RSYNC | FDFLAG_SYNC))
        flags |= fdflags & FDFLAG_DSYNC ? O_DSYNC : O_SYNC;
    if (oflags & OFLAG_DIRECTORY)
        return flags | O_DIRECTORY | O_RDONLY;
    /* Rights are a wish: C libraries ask for all. What may not be written is opened for reading. */
    if (!write || dir->read_only)
        return flags | O_RDONLY;
    return flags | (read ? O_RDWR : O_WRONLY);
}

static int open_path(const WasiFd *dir, const char *path, int flags, bool follow)
{
    int fd = ledge__wasi_open_beneath(dir->host, path, flags, 0666, follow);
    /* A folder asked for with all rights is opened as what it is. */
    if (fd < 0 && errno == EISDIR && !(flags & (O_CREAT | O_TRUNC)))
        fd = ledge__wasi_open_beneath(dir->host, path, O_RDONLY | O_DIRECTORY, 0, follow);
    return fd;
}

/* path_open(dir, lookup flags, path, its bytes, oflags, rights, inherited rights, fdflags, fd) */
WasiErrno ledge__wasi_path_open(LedgeGuest *g, const uint64_t *v)
{
    char path[WASI_MOST_PATH + 1];
    const WasiFd *dir;
    struct stat s;
    WasiErrno e = take(g, v[0], v[2], v[3], &dir, path);
    uint8_t *out = ledge__wasi_at(g, v[8], 1, 4);
    if (!e && !out)
        e = WASI_FAULT;
    if (e)
        return e;
    const int flags = flags_of(dir, (uint32_t)v[4], v[5], (uint32_t)v[7], &e);
    const int slot = ledge__wasi_new_fd(g);
    if (e || slot < 0)
        return e ? e : WASI_MFILE;
    const int fd = open_path(dir, path, flags, v[1] & LOOKUP_FOLLOW);
    if (fd < 0)
        return ledge__wasi_errno(errno);
    if (fstat(fd, &s) != 0 || S_ISSOCK(s.st_mode) || S_ISBLK(s.st_mode)) {
        close(fd);
        return WASI_ACCES;
    }
    const int access = flags & O_ACCMODE;
    g->wasi->fds[slot] = (WasiFd){.kind = S_ISDIR(s.st_mode) ? WASI_DIR : WASI_FILE,
                                  .host = fd,
                                  .owned = true,
                                  .read_only = dir->read_only,
                                  .may_read = access != O_WRONLY,
                                  .may_write = access != O_RDONLY && !S_ISDIR(s.st_mode),
                                  .flags = (uint16_t)v[7]};
    wasi_put(out, (uint64_t)slot, 4);
    return WASI_SUCCESS;
}

/* ---- looking ---- */

/* path_filestat_get(dir, lookup flags, path, its bytes, stat) */
WasiErrno ledge__wasi_path_filestat_get(LedgeGuest *g, const uint64_t *v)
{
    char path[WASI_MOST_PATH + 1];
    const WasiFd *dir;
    struct stat s;
    const WasiErrno e = take(g, v[0], v[2], v[3], &dir, path);
    uint8_t *to = ledge__wasi_at(g, v[4], 1, 64);
    if (e || !to)
        return e ? e : WASI_FAULT;
    const int fd = ledge__wasi_open_beneath(dir->host, path, O_PATH, 0, v[1] & LOOKUP_FOLLOW);
    if (fd < 0)
        return ledge__wasi_errno(errno);
    const bool ok = fstat(fd, &s) == 0;
    const WasiErrno failed = result(ok);
    close(fd);
    if (ok)
        ledge__wasi_put_stat(to, &s);
    return failed;
}

/* path_readlink(dir, path, its bytes, buffer, its size, bytes written) */
WasiErrno ledge__wasi_path_readlink(LedgeGuest *g, const uint64_t *v)
{
    char path[WASI_MOST_PATH + 1], text[WASI_MOST_PATH];
    const WasiFd *dir;
    const char *last;
    const WasiErrno e = take(g, v[0], v[1], v[2], &dir, path);
    uint8_t *to = ledge__wasi_at(g, v[3], (uint32_t)v[4], 1), *used = ledge__wasi_at(g, v[5], 1, 4);
    if (e || !to || !used)
        return e ? e : WASI_FAULT;
    const int parent = ledge__wasi_open_parent(dir->host, path, &last);
    if (parent < 0)
        return ledge__wasi_errno(errno);
    const ssize_t n = readlinkat(parent, last, text, sizeof text);
    const WasiErrno failed = result(n >= 0);
    close(parent);
    if (failed)
        return failed;
    const size_t size = (size_t)n < (uint32_t)v[4] ? (size_t)n : (uint32_t)v[4];
    memcpy(to, text, size);
    wasi_put(used, size, 4);
    return WASI_SUCCESS;
}

/* ---- changing ---- */

static WasiErrno change(LedgeGuest *g, const uint64_t *v, int (*act)(int parent, const char *name))
{
    char path[WASI_MOST_PATH + 1];
    const WasiFd *dir;
    const char *last;
    const WasiErrno e = take_to_change(g, v[0], v[1], v[2], &dir, path);
    if (e)
        return e;
    const int parent = ledge__wasi_open_parent(dir->host, path, &last);
    if (parent < 0)
        return ledge__wasi_errno(errno);
    const WasiErrno failed = result(act(parent, last) == 0);
    close(parent);
    return failed;
}

static int make_dir(int parent, const char *name)
{
    return mkdirat(parent, name, 0777);
}

static int remove_dir(int parent, const char *name)
{
    return unlinkat(parent, name, AT_REMOVEDIR);
}

static int remove_file(int parent, const char *name)
{
    return unlinkat(parent, name, 0);
}

WasiErrno ledge__wasi_path_create_directory(LedgeGuest *g, const uint64_t *v)
{
    return change(g, v, make_dir);
}

WasiErrno ledge__wasi_path_remove_directory(LedgeGuest *g, const uint64_t *v)
{
    return change(g, v, remove_dir);
}

WasiErrno ledge__wasi_path_unlink_file(LedgeGuest *g, const uint64_t *v)
{
    return change(g, v, remove_file);
}

/* path_rename(dir, path, its bytes, new dir, new path, its bytes) */
WasiErrno ledge__wasi_path_rename(LedgeGuest *g, const uint64_t *v)
{
    char from[WASI_MOST_PATH + 1], to[WASI_MOST_PATH + 1];
    const WasiFd *from_dir, *to_dir;
    const char *from_last, *to_last;
    WasiErrno e = take_to_change(g, v[0], v[1], v[2], &from_dir, from);
    if (!e)
        e = take_to_change(g, v[3], v[4], v[5], &to_dir, to);
    if (e)
        return e;
    const int a = ledge__wasi_open_parent(from_dir->host, from, &from_last);
    if (a < 0)
        return ledge__wasi_errno(errno);
    const int b = ledge__wasi_open_parent(to_dir->host, to, &to_last);
    e = b < 0 ? ledge__wasi_errno(errno) : result(renameat(a, from_last, b, to_last) == 0);
    close(a);
    if (b >= 0)
        close(b);
    return e;
}

/* path_filestat_set_times(dir, lookup flags, path, its bytes, atim, mtim, fstflags) */
WasiErrno ledge__wasi_path_filestat_set_times(LedgeGuest *g, const uint64_t *v)
{
    char path[WASI_MOST_PATH + 1];
    const WasiFd *dir;
    const char *last;
    struct timespec times[2];
    const WasiErrno e = take_to_change(g, v[0], v[2], v[3], &dir, path);
    if (e)
        return e;
    if (!ledge__wasi_times(v[4], v[5], v[6], times))
        return WASI_INVAL;
    const int parent = ledge__wasi_open_parent(dir->host, path, &last);
    if (parent < 0)
        return ledge__wasi_errno(errno);
    /* A link's own times, whatever the flag says: following it could lead out. */
    const WasiErrno failed = result(utimensat(parent, last, times, AT_SYMLINK_NOFOLLOW) == 0);
    close(parent);
    return failed;
}

static WasiErrno no_links(LedgeGuest *g, uint64_t fd)
{
    const WasiFd *f = ledge__wasi_fd(g, fd);
    return !f ? WASI_BADF : f->read_only ? WASI_ROFS : WASI_NOTSUP;
}

WasiErrno ledge__wasi_path_link(LedgeGuest *g, const uint64_t *v)
{
    return no_links(g, v[4]);
}

WasiErrno ledge__wasi_path_symlink(LedgeGuest *g, const uint64_t *v)
{
    return no_links(g, v[2]);
}
