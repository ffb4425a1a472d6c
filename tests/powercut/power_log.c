/* The control block and the log of a boot, and what lies below the root when it begins. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "powercut.h"

PowerControl *power_open(const char *file, const char *root)
{
    const int fd = open(file, O_RDWR | O_CLOEXEC | (root ? O_CREAT | O_TRUNC : 0), 0600);
    if (fd < 0)
        return NULL;
    void *p = MAP_FAILED;
    if (!root || ftruncate(fd, POWER_FILE_SIZE) == 0)
        p = mmap(NULL, POWER_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    PowerControl *c = p;
    if (p == MAP_FAILED || !root)
        return p == MAP_FAILED ? NULL : c;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&c->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    snprintf(c->root, sizeof c->root, "%s", root);
    return c;
}

void power_close(PowerControl *c)
{
    if (c)
        munmap(c, POWER_FILE_SIZE);
}

void power_lock(PowerControl *c)
{
    /* Who held it was killed from outside, between operations or in one. */
    if (pthread_mutex_lock(&c->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&c->lock);
}

bool power_add(PowerControl *c, PowerEntry e, const void *bytes, size_t size, const void *more,
               size_t more_size)
{
    const size_t all = sizeof e + ((size + more_size + 7) & ~(size_t)7);
    if (all > POWER_FILE_SIZE - sizeof *c - c->used) {
        fprintf(stderr, "powercut: the log of this boot is full\n");
        abort();
    }
    char *to = c->log + c->used;
    e.size = size + more_size;
    memcpy(to, &e, sizeof e);
    if (size)
        memcpy(to + sizeof e, bytes, size);
    if (more_size)
        memcpy(to + sizeof e + size, more, more_size);
    c->used += all;
    return true;
}

/* ---- the beginning of a boot ---- */

static uint64_t *seen;
static size_t n_seen;

static bool saw(uint64_t inode)
{
    for (size_t i = 0; i < n_seen; i++)
        if (seen[i] == inode)
            return true;
    uint64_t *more = realloc(seen, (n_seen + 1) * sizeof *seen);
    if (!more)
        abort();
    seen = more;
    seen[n_seen++] = inode;
    return false;
}

static bool add_bytes(PowerControl *c, const char *path, const struct stat *st)
{
    char *bytes = malloc((size_t)st->st_size + 1);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    while (bytes && fd >= 0 && n < (size_t)st->st_size) {
        const ssize_t got = read(fd, bytes + n, (size_t)st->st_size - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    const bool ok =
        bytes && n == (size_t)st->st_size &&
        power_add(c, (PowerEntry){.kind = POWER_WRITE, .inode = st->st_ino}, bytes, n, NULL, 0);
    free(bytes);
    return ok;
}

static bool add_tree(PowerControl *c, const char *name);

static bool add_one(PowerControl *c, const char *name)
{
    char path[2 * POWER_PATH], target[POWER_PATH] = "";
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", c->root, name);
    if (lstat(path, &st) != 0)
        return false;
    PowerEntry e = {.inode = st.st_ino, .mode = st.st_mode & 07777};
    const size_t n = strlen(name) + 1;
    if (S_ISDIR(st.st_mode)) {
        e.kind = POWER_MKDIR;
        return power_add(c, e, name, n, NULL, 0) && add_tree(c, name);
    }
    if (S_ISLNK(st.st_mode)) {
        e.kind = POWER_SYMLINK;
        return readlink(path, target, sizeof target - 1) > 0 &&
               power_add(c, e, name, n, target, strlen(target) + 1);
    }
    e.kind = st.st_nlink > 1 && saw(st.st_ino) ? POWER_LINK : POWER_CREATE;
    return power_add(c, e, name, n, NULL, 0) && (e.kind == POWER_LINK || add_bytes(c, path, &st));
}

static bool add_tree(PowerControl *c, const char *name)
{
    char path[2 * POWER_PATH], child[POWER_PATH];
    bool ok = true;
    snprintf(path, sizeof path, "%s/%s", c->root, name);
    DIR *d = opendir(path);
    for (struct dirent *e; d && ok && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        const int n = snprintf(child, sizeof child, "%s%s%s", name, *name ? "/" : "", e->d_name);
        ok = n < (int)sizeof child && add_one(c, child);
    }
    if (d)
        closedir(d);
    return d && ok;
}

bool power_begin(PowerControl *c, uint64_t cut_at, uint64_t full_from, uint64_t full_to)
{
    struct stat st;
    c->used = c->count = c->refused = 0;
    c->is_cut = false;
    c->cut_at = cut_at;
    c->full_from = full_from;
    c->full_to = full_to;
    n_seen = 0;
    if (stat(c->root, &st) != 0)
        return false;
    const PowerEntry root = {.kind = POWER_MKDIR, .inode = st.st_ino, .mode = st.st_mode & 07777};
    return power_add(c, root, "", 1, NULL, 0) && add_tree(c, "") &&
           power_add(c, (PowerEntry){.kind = POWER_START}, NULL, 0, NULL, 0);
}

void power_cut(PowerControl *c)
{
    power_lock(c);
    c->is_cut = true;
    pthread_mutex_unlock(&c->lock);
}
