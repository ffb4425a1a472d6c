/* Stands between a process and the C library: what it does to files below the root of powercut.h
 * is done under one lock, written down, and ended by a power cut or refused by a full disk where
 * that was asked for. Linked into a test, or loaded by LD_PRELOAD with LEDGE_POWERCUT naming the
 * control file.
 *
 * Syncs are written down and not done: nothing here needs the real disk to keep it. */
#undef _FILE_OFFSET_BITS /* with it, open would be another name of open64 */
#pragma GCC visibility push(default)
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "powercut.h"

enum { FDS = 4096 };

typedef struct Opened {
    uint64_t inode; /* 0: of no file below the root */
    bool appends;
} Opened;

static PowerControl *control;
static Opened opened[FDS];

/* The C library's own; looked up once each. */
#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (!real)                                                                                     \
    *(void **)(&real) = dlsym(RTLD_NEXT, name)

void power_on(PowerControl *c)
{
    control = c;
}

__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("LEDGE_POWERCUT");
    if (!file)
        return;
    PowerControl *c = power_open(file, NULL);
    if (!c) {
        fprintf(stderr, "powercut: %s cannot be used: %s\n", file, strerror(errno));
        abort();
    }
    control = c;
}

/* ---- an operation ---- */

static void die_if_cut(void)
{
    if (!control->is_cut)
        return;
    pthread_mutex_unlock(&control->lock);
    raise(SIGKILL);
}

/* Begins one; false: there is no room for it, and errno says so. */
static bool begin(bool takes_room)
{
    power_lock(control);
    die_if_cut();
    control->count++;
    control->is_cut = control->count == control->cut_at;
    die_if_cut();
    if (takes_room && control->count >= control->full_from && control->count < control->full_to) {
        control->refused++;
        pthread_mutex_unlock(&control->lock);
        errno = ENOSPC;
        return false;
    }
    return true;
}

static void end(void)
{
    const int e = errno;
    pthread_mutex_unlock(&control->lock);
    errno = e;
}

static void note(PowerKind kind, uint64_t inode, uint64_t offset, mode_t mode, const char *path,
                 const char *more)
{
    const PowerEntry e = {.kind = kind, .inode = inode, .offset = offset, .mode = mode & 07777};
    power_add(control, e, path, path ? strlen(path) + 1 : 0, more, more ? strlen(more) + 1 : 0);
}

/* The path below the root; NULL: it is not below. `room` holds it. */
static const char *below(int folder, const char *path, char room[2 * POWER_PATH])
{
    if (!control || !path)
        return NULL;
    if (path[0] == '/') {
        snprintf(room, 2 * POWER_PATH, "%s", path);
    } else {
        char self[40], at[POWER_PATH] = "";
        if (folder == AT_FDCWD)
            snprintf(self, sizeof self, "/proc/self/cwd");
        else
            snprintf(self, sizeof self, "/proc/self/fd/%d", folder);
        if (readlink(self, at, sizeof at - 1) <= 0)
            return NULL;
        snprintf(room, 2 * POWER_PATH, "%s/%s", at, path);
    }
    const size_t n = strlen(control->root);
    if (strncmp(room, control->root, n) != 0 || (room[n] != '/' && room[n] != '\0'))
        return NULL;
    return room[n] ? room + n + 1 : room + n;
}

/* Whether the descriptor is of a file below the root. Closing that the shim did not see leaves old
 * rows, so the inode is compared. */
static bool is_ours(int fd, struct stat *st)
{
    return control && fd >= 0 && fd < FDS && opened[fd].inode && fstat(fd, st) == 0 &&
           st->st_ino == opened[fd].inode;
}

/* ---- files ---- */

static int real_openat(int folder, const char *path, int flags, mode_t mode)
{
    REAL(int, "openat", int, const char *, int, ...);
    return real(folder, path, flags, mode);
}

static void remember(int fd, uint64_t inode, int flags)
{
    if (fd < FDS)
        opened[fd] = (Opened){inode, (flags & O_APPEND) != 0};
}

static int open_any(int folder, const char *path, int flags, mode_t mode)
{
    char room[2 * POWER_PATH];
    struct stat st;
    const char *name = below(folder, path, room);
    if (!name)
        return real_openat(folder, path, flags, mode);
    const bool is_nameless = (flags & O_TMPFILE) == O_TMPFILE;
    const bool changes = is_nameless || (flags & (O_CREAT | O_TRUNC));
    if (changes && !begin(is_nameless || (flags & O_CREAT)))
        return -1;
    const bool was_there = changes && !is_nameless && lstat(room, &st) == 0;
    const int fd = real_openat(folder, path, flags, mode);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        remember(fd, st.st_ino, flags);
        if (is_nameless)
            note(POWER_FILE, st.st_ino, 0, st.st_mode, NULL, NULL);
        else if (changes && !was_there)
            note(POWER_CREATE, st.st_ino, 0, st.st_mode, name, NULL);
        else if (changes && (flags & O_TRUNC))
            note(POWER_TRUNCATE, st.st_ino, 0, 0, NULL, NULL);
    }
    if (changes)
        end();
    return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name, ...)                                                                            \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        const mode_t mode = mode_of(flags, ap);                                                    \
        va_end(ap);                                                                                \
        return open_any(__VA_ARGS__, flags, mode);                                                 \
    }

int open(const char *path, int flags, ...)
    OPEN(open, AT_FDCWD, path) int open64(const char *path, int flags, ...)
        OPEN(open64, AT_FDCWD, path) int openat(int folder, const char *path, int flags, ...)
            OPEN(openat, folder, path) int openat64(int folder, const char *path, int flags, ...)
                OPEN(openat64, folder, path) int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}
int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < FDS)
        opened[fd].inode = 0;
    return real(fd);
}

static ssize_t real_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return real(fd, bytes, n, at);
}

static ssize_t real_write(int fd, const void *bytes, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, bytes, n);
}

static void note_write(const struct stat *st, off_t at, const void *bytes, ssize_t n)
{
    const PowerEntry e = {.kind = POWER_WRITE, .inode = st->st_ino, .offset = (uint64_t)at};
    if (n > 0)
        power_add(control, e, bytes, (size_t)n, NULL, 0);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    struct stat st;
    if (!is_ours(fd, &st))
        return real_write(fd, bytes, n);
    if (!begin(true))
        return -1;
    (void)fstat(fd, &st);
    const off_t at = opened[fd].appends ? st.st_size : lseek(fd, 0, SEEK_CUR);
    /* The last one before the disk is full takes half. */
    const bool half = control->count + 1 == control->full_from && n > 1;
    const ssize_t done = real_write(fd, bytes, half ? n / 2 : n);
    note_write(&st, at, bytes, done);
    end();
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    struct stat st;
    if (!is_ours(fd, &st))
        return real_pwrite(fd, bytes, n, at);
    if (!begin(true))
        return -1;
    const ssize_t done = real_pwrite(fd, bytes, n, at);
    note_write(&st, at, bytes, done);
    end();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    return pwrite(fd, bytes, n, at);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    struct stat st;
    if (!is_ours(fd, &st))
        return real(fd, size);
    if (!begin(size > st.st_size))
        return -1;
    const int code = real(fd, size);
    if (code == 0)
        note(POWER_TRUNCATE, st.st_ino, (uint64_t)size, 0, NULL, NULL);
    end();
    return code;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

static int sync_file(int fd, int (*real)(int))
{
    struct stat st;
    if (!is_ours(fd, &st))
        return real(fd);
    (void)begin(false);
    note(POWER_SYNC, st.st_ino, 0, 0, NULL, NULL);
    end();
    return 0;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return sync_file(fd, real);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return sync_file(fd, real);
}

int fchmod(int fd, mode_t mode)
{
    REAL(int, "fchmod", int, mode_t);
    struct stat st;
    if (!is_ours(fd, &st))
        return real(fd, mode);
    (void)begin(false);
    const int code = real(fd, mode);
    if (code == 0)
        note(POWER_MODE, st.st_ino, 0, mode, NULL, NULL);
    end();
    return code;
}

/* Ways of writing that the log does not know: who uses one is to be seen. */
#define UNKNOWN(fd, name)                                                                          \
    do {                                                                                           \
        struct stat st_;                                                                           \
        if (is_ours(fd, &st_)) {                                                                   \
            fprintf(stderr, "powercut: %s is not known to the log\n", name);                       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

ssize_t writev(int fd, const struct iovec *v, int n)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    UNKNOWN(fd, "writev");
    return real(fd, v, n);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    REAL(int, "fallocate", int, int, off_t, off_t);
    UNKNOWN(fd, "fallocate");
    return real(fd, mode, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    REAL(int, "posix_fallocate", int, off_t, off_t);
    UNKNOWN(fd, "posix_fallocate");
    return real(fd, at, n);
}

/* ---- names ---- */

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *);
    char a[2 * POWER_PATH], b[2 * POWER_PATH];
    const char *x = below(from_folder, from, a), *y = below(to_folder, to, b);
    if (!x != !y) {
        fprintf(stderr, "powercut: %s is renamed to %s, over the root's border\n", from, to);
        abort();
    }
    if (!x)
        return real(from_folder, from, to_folder, to);
    if (!begin(true))
        return -1;
    const int code = real(from_folder, from, to_folder, to);
    if (code == 0)
        note(POWER_RENAME, 0, 0, 0, x, y);
    end();
    return code;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    REAL(int, "linkat", int, const char *, int, const char *, int);
    char b[2 * POWER_PATH];
    struct stat st;
    const char *y = below(to_folder, to, b);
    if (!y)
        return real(from_folder, from, to_folder, to, flags);
    if (!begin(true))
        return -1;
    const int code = real(from_folder, from, to_folder, to, flags);
    if (code == 0 && lstat(b, &st) == 0)
        note(POWER_LINK, st.st_ino, 0, 0, y, NULL);
    end();
    return code;
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int symlinkat(const char *target, int folder, const char *path)
{
    REAL(int, "symlinkat", const char *, int, const char *);
    char room[2 * POWER_PATH];
    struct stat st;
    const char *name = below(folder, path, room);
    if (!name)
        return real(target, folder, path);
    if (!begin(true))
        return -1;
    const int code = real(target, folder, path);
    if (code == 0 && lstat(room, &st) == 0)
        note(POWER_SYMLINK, st.st_ino, 0, 0777, name, target);
    end();
    return code;
}

int symlink(const char *target, const char *path)
{
    return symlinkat(target, AT_FDCWD, path);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    REAL(int, "mkdirat", int, const char *, mode_t);
    char room[2 * POWER_PATH];
    struct stat st;
    const char *name = below(folder, path, room);
    if (!name || lstat(room, &st) == 0) /* that one is there changes nothing */
        return real(folder, path, mode);
    if (!begin(true))
        return -1;
    const int code = real(folder, path, mode);
    if (code == 0 && lstat(room, &st) == 0)
        note(POWER_MKDIR, st.st_ino, 0, st.st_mode, name, NULL);
    end();
    return code;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    char room[2 * POWER_PATH];
    const char *name = below(folder, path, room);
    if (!name)
        return real(folder, path, flags);
    (void)begin(false);
    const int code = real(folder, path, flags);
    if (code == 0)
        note(POWER_REMOVE, 0, 0, 0, name, NULL);
    end();
    return code;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    const int code = unlink(path);
    return code && (errno == EISDIR || errno == EPERM) ? rmdir(path) : code;
}
