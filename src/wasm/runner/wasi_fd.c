/* WASI preview 1: what is done with open descriptors. */
#include "wasm/runner/wasi_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RIGHT_SEEK = 1 << 2, RIGHT_TELL = 1 << 5, RIGHT_WRITE = 1 << 6, RIGHT_READ = 1 << 1 };
#define ALL_RIGHTS 0x3fffffffu

/* ---- the table ---- */

WasiFd *ledge__wasi_fd(LedgeGuest *g, uint64_t fd)
{
    const uint32_t i = (uint32_t)fd;
    return i < WASI_MOST_FDS && g->wasi->fds[i].kind != WASI_FREE ? &g->wasi->fds[i] : NULL;
}

int ledge__wasi_new_fd(LedgeGuest *g)
{
    for (int i = 3; i < WASI_MOST_FDS; i++)
        if (g->wasi->fds[i].kind == WASI_FREE)
            return i;
    return -1;
}

static WasiErrno result(bool ok)
{
    return ok ? WASI_SUCCESS : ledge__wasi_errno(errno);
}

/* A file or stream that may be used so; else *e says why not. */
static WasiFd *usable(LedgeGuest *g, uint64_t fd, bool write, WasiErrno *e)
{
    WasiFd *f = ledge__wasi_fd(g, fd);
    *e = WASI_BADF;
    if (f && f->kind == WASI_DIR)
        *e = WASI_ISDIR;
    else if (f && (write ? f->may_write : f->may_read))
        return f;
    return NULL;
}

static WasiFd *file(LedgeGuest *g, uint64_t fd, WasiErrno *e)
{
    WasiFd *f = ledge__wasi_fd(g, fd);
    *e = !f ? WASI_BADF : f->kind == WASI_DIR ? WASI_ISDIR : WASI_SPIPE;
    return f && f->kind == WASI_FILE ? f : NULL;
}

/* The same, and it may be written. */
static WasiFd *writable(LedgeGuest *g, uint64_t fd, WasiErrno *e)
{
    WasiFd *f = file(g, fd, e);
    if (f && !f->may_write)
        *e = f->read_only ? WASI_ROFS : WASI_BADF;
    return f && f->may_write ? f : NULL;
}

static void close_fd(WasiFd *f)
{
    if (f->owned)
        close(f->host);
    *f = (WasiFd){.kind = WASI_FREE};
}

WasiErrno ledge__wasi_fd_close(LedgeGuest *g, const uint64_t *v)
{
    WasiFd *f = ledge__wasi_fd(g, v[0]);
    if (!f)
        return WASI_BADF;
    close_fd(f);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_renumber(LedgeGuest *g, const uint64_t *v)
{
    WasiFd *from = ledge__wasi_fd(g, v[0]), *to = ledge__wasi_fd(g, v[1]);
    if (!from || !to)
        return WASI_BADF;
    if (from == to)
        return WASI_SUCCESS;
    close_fd(to);
    *to = *from;
    *from = (WasiFd){.kind = WASI_FREE};
    return WASI_SUCCESS;
}

/* ---- reading and writing ---- */

/* The guest's list of buffers as the host's, in one call at most IOV_MAX of them. */
static WasiErrno gather(LedgeGuest *g, uint64_t address, uint64_t count, struct iovec *iov)
{
    const uint32_t n = (uint32_t)count;
    uint64_t total = 0;
    if (n > WASI_MOST_IOVS)
        return WASI_INVAL;
    const uint8_t *p = ledge__wasi_at(g, address, n, 8);
    if (!p)
        return WASI_FAULT;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t at = wasi_get(p + 8 * i, 4), size = wasi_get(p + 8 * i + 4, 4);
        iov[i].iov_base = ledge__wasi_at(g, at, size, 1);
        iov[i].iov_len = (size_t)size;
        total += size;
        if (!iov[i].iov_base)
            return WASI_FAULT;
    }
    return total <= INT32_MAX ? WASI_SUCCESS : WASI_INVAL;
}

typedef ssize_t Transfer(int fd, const struct iovec *iov, int n, off_t offset);

static ssize_t now_read(int fd, const struct iovec *iov, int n, off_t offset)
{
    (void)offset;
    return readv(fd, iov, n);
}

static ssize_t now_write(int fd, const struct iovec *iov, int n, off_t offset)
{
    (void)offset;
    return writev(fd, iov, n);
}

static WasiErrno transfer(LedgeGuest *g, const WasiFd *f, const uint64_t *v, off_t offset,
                          uint64_t done_at, Transfer *move)
{
    struct iovec iov[WASI_MOST_IOVS];
    uint8_t *done = ledge__wasi_at(g, done_at, 1, 4);
    const WasiErrno e = gather(g, v[1], v[2], iov);
    if (!done)
        return WASI_FAULT;
    if (e)
        return e;
    ssize_t n;
    do
        n = move(f->host, iov, (int)(uint32_t)v[2], offset);
    while (n < 0 && errno == EINTR && !g->host.pending);
    if (n < 0)
        return ledge__wasi_errno(errno);
    wasi_put(done, (uint64_t)n, 4);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_read(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = usable(g, v[0], false, &e);
    return f ? transfer(g, f, v, 0, v[3], now_read) : e;
}

WasiErrno ledge__wasi_fd_write(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = usable(g, v[0], true, &e);
    return f ? transfer(g, f, v, 0, v[3], now_write) : e;
}

WasiErrno ledge__wasi_fd_pread(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = file(g, v[0], &e);
    if (!f || v[3] > INT64_MAX)
        return f ? WASI_INVAL : e;
    return f->may_read ? transfer(g, f, v, (off_t)v[3], v[4], preadv) : WASI_BADF;
}

WasiErrno ledge__wasi_fd_pwrite(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = writable(g, v[0], &e);
    if (!f || v[3] > INT64_MAX)
        return f ? WASI_INVAL : e;
    return transfer(g, f, v, (off_t)v[3], v[4], pwritev);
}

static WasiErrno seek(LedgeGuest *g, const WasiFd *f, off_t offset, int whence, uint64_t address)
{
    uint8_t *to = ledge__wasi_at(g, address, 1, 8);
    if (!to)
        return WASI_FAULT;
    const off_t at = lseek(f->host, offset, whence);
    if (at < 0)
        return ledge__wasi_errno(errno);
    wasi_put(to, (uint64_t)at, 8);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_seek(LedgeGuest *g, const uint64_t *v)
{
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    WasiErrno e;
    const WasiFd *f = file(g, v[0], &e);
    if (!f)
        return e;
    if ((uint32_t)v[2] > 2)
        return WASI_INVAL;
    return seek(g, f, (off_t)v[1], whences[(uint32_t)v[2]], v[3]);
}

WasiErrno ledge__wasi_fd_tell(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = file(g, v[0], &e);
    return f ? seek(g, f, 0, SEEK_CUR, v[1]) : e;
}

/* ---- sizes, times, the disk ---- */

WasiErrno ledge__wasi_fd_advise(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    return !file(g, v[0], &e) ? e : (uint32_t)v[3] > 5 ? WASI_INVAL : WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_allocate(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = writable(g, v[0], &e);
    if (!f)
        return e;
    if (v[1] > INT64_MAX || v[2] > INT64_MAX)
        return WASI_INVAL;
    return ledge__wasi_errno(posix_fallocate(f->host, (off_t)v[1], (off_t)v[2]));
}

WasiErrno ledge__wasi_fd_filestat_set_size(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    const WasiFd *f = writable(g, v[0], &e);
    if (!f || v[1] > INT64_MAX)
        return f ? WASI_INVAL : e;
    return result(ftruncate(f->host, (off_t)v[1]) == 0);
}

bool ledge__wasi_times(uint64_t atim, uint64_t mtim, uint64_t flags, struct timespec out[2])
{
    const uint32_t f = (uint32_t)flags;
    const uint64_t at[2] = {atim, mtim};
    for (int i = 0; i < 2; i++) {
        const uint32_t set = f >> 2 * i & 1, current = f >> (2 * i + 1) & 1;
        if (set && current)
            return false;
        out[i] = (struct timespec){.tv_nsec = current ? UTIME_NOW : UTIME_OMIT};
        if (set)
            out[i] = (struct timespec){(time_t)(at[i] / 1000000000u), (long)(at[i] % 1000000000u)};
    }
    return f < 16;
}

WasiErrno ledge__wasi_fd_filestat_set_times(LedgeGuest *g, const uint64_t *v)
{
    struct timespec times[2];
    WasiErrno e;
    const WasiFd *f = writable(g, v[0], &e);
    if (!f)
        return e;
    if (!ledge__wasi_times(v[1], v[2], v[3], times))
        return WASI_INVAL;
    return result(futimens(f->host, times) == 0);
}

WasiErrno ledge__wasi_fd_sync(LedgeGuest *g, const uint64_t *v)
{
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    return !f ? WASI_BADF : f->kind == WASI_STREAM ? WASI_INVAL : result(fsync(f->host) == 0);
}

WasiErrno ledge__wasi_fd_datasync(LedgeGuest *g, const uint64_t *v)
{
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    return !f ? WASI_BADF : f->kind == WASI_STREAM ? WASI_INVAL : result(fdatasync(f->host) == 0);
}

static uint8_t filetype(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFBLK:
        return 1;
    case S_IFCHR:
        return 2;
    case S_IFDIR:
        return 3;
    case S_IFREG:
        return 4;
    case S_IFSOCK:
        return 6;
    case S_IFLNK:
        return 7;
    default:
        return 0;
    }
}

void ledge__wasi_put_stat(uint8_t *to, const struct stat *s)
{
    memset(to, 0, 64);
    wasi_put(to, s->st_dev, 8);
    wasi_put(to + 8, s->st_ino, 8);
    to[16] = filetype(s->st_mode);
    wasi_put(to + 24, s->st_nlink, 8);
    wasi_put(to + 32, (uint64_t)s->st_size, 8);
    wasi_put(to + 40, (uint64_t)s->st_atim.tv_sec * 1000000000u + (uint64_t)s->st_atim.tv_nsec, 8);
    wasi_put(to + 48, (uint64_t)s->st_mtim.tv_sec * 1000000000u + (uint64_t)s->st_mtim.tv_nsec, 8);
    wasi_put(to + 56, (uint64_t)s->st_ctim.tv_sec * 1000000000u + (uint64_t)s->st_ctim.tv_nsec, 8);
}

WasiErrno ledge__wasi_fd_filestat_get(LedgeGuest *g, const uint64_t *v)
{
    struct stat s;
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    uint8_t *to = ledge__wasi_at(g, v[1], 1, 64);
    if (!f || !to)
        return f ? WASI_FAULT : WASI_BADF;
    if (fstat(f->host, &s) != 0)
        return ledge__wasi_errno(errno);
    ledge__wasi_put_stat(to, &s);
    return WASI_SUCCESS;
}

/* ---- what a descriptor is ---- */

WasiErrno ledge__wasi_fd_fdstat_get(LedgeGuest *g, const uint64_t *v)
{
    struct stat s;
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    uint8_t *to = ledge__wasi_at(g, v[1], 1, 24);
    if (!f || !to)
        return f ? WASI_FAULT : WASI_BADF;
    if (fstat(f->host, &s) != 0)
        return ledge__wasi_errno(errno);
    uint64_t rights = ALL_RIGHTS;
    if (!f->may_write && f->kind != WASI_DIR)
        rights &= ~(uint64_t)RIGHT_WRITE;
    if (!f->may_read)
        rights &= ~(uint64_t)RIGHT_READ;
    if (f->kind == WASI_STREAM) /* by this C libraries know a terminal */
        rights &= ~(uint64_t)(RIGHT_SEEK | RIGHT_TELL);
    memset(to, 0, 24);
    to[0] = f->kind == WASI_STREAM && S_ISFIFO(s.st_mode) ? 0 : filetype(s.st_mode);
    wasi_put(to + 2, f->flags, 2);
    wasi_put(to + 8, rights, 8);
    wasi_put(to + 16, f->kind == WASI_DIR ? ALL_RIGHTS : 0, 8);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_fdstat_set_flags(LedgeGuest *g, const uint64_t *v)
{
    WasiErrno e;
    WasiFd *f = file(g, v[0], &e);
    const uint32_t flags = (uint32_t)v[1];
    if (!f)
        return e;
    if (flags & ~5u) /* append 1, nonblock 4: the others only at opening */
        return WASI_NOTSUP;
    const int host = (flags & 1 ? O_APPEND : 0) | (flags & 4 ? O_NONBLOCK : 0);
    if (fcntl(f->host, F_SETFL, host) != 0)
        return ledge__wasi_errno(errno);
    f->flags = (uint16_t)flags;
    return WASI_SUCCESS;
}

/* Rights only ever get fewer; what is asked to go is believed to be unused. */
WasiErrno ledge__wasi_fd_fdstat_set_rights(LedgeGuest *g, const uint64_t *v)
{
    WasiFd *f = ledge__wasi_fd(g, v[0]);
    if (!f)
        return WASI_BADF;
    f->may_write = f->may_write && v[1] & RIGHT_WRITE;
    f->may_read = f->may_read && (v[1] & RIGHT_READ || f->kind == WASI_DIR);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_prestat_get(LedgeGuest *g, const uint64_t *v)
{
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    uint8_t *to = ledge__wasi_at(g, v[1], 1, 8);
    if (!f || !f->preopen)
        return WASI_BADF;
    if (!to)
        return WASI_FAULT;
    wasi_put(to, 0, 4);
    wasi_put(to + 4, strlen(f->preopen), 4);
    return WASI_SUCCESS;
}

WasiErrno ledge__wasi_fd_prestat_dir_name(LedgeGuest *g, const uint64_t *v)
{
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    if (!f || !f->preopen)
        return WASI_BADF;
    const size_t n = strlen(f->preopen);
    uint8_t *to = ledge__wasi_at(g, v[1], n, 1);
    if ((uint32_t)v[2] < n)
        return WASI_NAMETOOLONG;
    if (!to)
        return WASI_FAULT;
    memcpy(to, f->preopen, n);
    return WASI_SUCCESS;
}

/* ---- folders ---- */

enum { DIRENT = 24 };

/* Fills the buffer as far as it goes; the last entry may be cut, which tells the guest to ask
 * again from that entry's cookie. A cookie is the host's own position. */
static uint32_t fill_entries(DIR *d, uint8_t *to, uint32_t room)
{
    uint32_t used = 0;
    for (struct dirent *e; used < room && (e = readdir(d));) {
        uint8_t head[DIRENT] = {0};
        struct stat s = {0};
        const size_t n = strlen(e->d_name);
        const bool known = fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0;
        wasi_put(head, (uint64_t)telldir(d), 8);
        wasi_put(head + 8, e->d_ino, 8);
        wasi_put(head + 16, n, 4);
        head[20] = known ? filetype(s.st_mode) : 0;
        const uint32_t first = room - used < DIRENT ? room - used : DIRENT;
        memcpy(to + used, head, first);
        used += first;
        const uint32_t rest = room - used < n ? room - used : (uint32_t)n;
        memcpy(to + used, e->d_name, rest);
        used += rest;
    }
    return used;
}

WasiErrno ledge__wasi_fd_readdir(LedgeGuest *g, const uint64_t *v)
{
    const WasiFd *f = ledge__wasi_fd(g, v[0]);
    uint8_t *to = ledge__wasi_at(g, v[1], (uint32_t)v[2], 1);
    uint8_t *used = ledge__wasi_at(g, v[4], 1, 4);
    if (!f || f->kind != WASI_DIR)
        return f ? WASI_NOTDIR : WASI_BADF;
    if (!to || !used)
        return WASI_FAULT;
    const int fd = openat(f->host, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        const WasiErrno e = ledge__wasi_errno(errno);
        if (fd >= 0)
            close(fd);
        return e;
    }
    if (v[3])
        seekdir(d, (long)v[3]);
    wasi_put(used, fill_entries(d, to, (uint32_t)v[2]), 4);
    closedir(d);
    return WASI_SUCCESS;
}
