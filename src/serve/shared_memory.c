/* The table of regions, and copies that outlive what they copy from. */
#include "serve/shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct LedgeRegion {
    LedgeRegion *next;
    atomic_int refs;
    LedgeRegionInfo info;
    bool writable;
    char *map; /* begins at a page, `lead` bytes before the region */
    size_t lead, map_bytes;
};

struct LedgeRegions {
    pthread_mutex_t lock;
    LedgeRegion *first;
    size_t n;
    uint64_t bytes;
    char prefix[LEDGE_REGION_KEY]; /* without a slash */
};

/* ---- copies ---- */

typedef struct Copy {
    sigjmp_buf back;
    const LedgeRegion *region;
} Copy;

static _Thread_local Copy *volatile copying; /* NULL: this thread is at something else */
static struct sigaction before;

/* A page of the region that this thread copies is gone: the copy ends. Other faults are not ours.
 */
static void on_bus(int signal, siginfo_t *info, void *context)
{
    Copy *c = copying;
    if (c && (uintptr_t)info->si_addr - (uintptr_t)c->region->map < c->region->map_bytes) {
        copying = NULL;
        siglongjmp(c->back, 1);
    }
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(signal, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(signal);
    else
        sigaction(signal, &before, NULL); /* it comes again */
}

static void take_signal(void)
{
    struct sigaction mine = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    sigemptyset(&mine.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction != on_bus) {
        before = now;
        sigaction(SIGBUS, &mine, NULL);
    }
}

static bool copy(const LedgeRegion *region, void *to, const void *from, size_t n)
{
    Copy c = {.region = region};
    if (sigsetjmp(c.back, 0)) {
        sigset_t bus; /* the handler was left without returning */
        sigemptyset(&bus);
        sigaddset(&bus, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
        return false;
    }
    copying = &c;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, from, n);
    atomic_signal_fence(memory_order_seq_cst);
    copying = NULL;
    return true;
}

static LedgeStatus is_gone(const LedgeRegion *region, LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, region->info.name,
                       "the memory of the region is gone: its object was cut short, or the system "
                       "has no room for it");
}

LedgeStatus ledge__region_read(LedgeRegion *region, uint64_t offset, void *to, size_t n,
                               LedgeError *err)
{
    const char *from = region->map + region->lead + offset;
    return copy(region, to, from, n) ? LEDGE_OK : is_gone(region, err);
}

LedgeStatus ledge__region_write(LedgeRegion *region, uint64_t offset, const void *from, size_t n,
                                LedgeError *err)
{
    char *to = region->map + region->lead + offset;
    return copy(region, to, from, n) ? LEDGE_OK : is_gone(region, err);
}

/* ---- registering ---- */

static const char *without_slash(const char *key)
{
    return key[0] == '/' ? key + 1 : key;
}

/* The kernel's names of objects are those of files in one folder. */
static bool key_ok(const char *key)
{
    const size_t n = strlen(key);
    return n > 0 && n < LEDGE_REGION_KEY - 1 && !strchr(key, '/') && strcmp(key, ".") != 0 &&
           strcmp(key, "..") != 0;
}

static bool name_ok(const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            return false;
    return n > 0 && n < LEDGE_REGION_NAME;
}

LedgeStatus ledge__regions_new(const char *prefix, LedgeError *err, LedgeRegions **out)
{
    const char *bare = without_slash(prefix);
    if (bare[0] && !key_ok(bare))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, prefix,
                           "the beginning of keys of shared memory has no slash but the first");
    LedgeRegions *r = calloc(1, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    strcpy(r->prefix, bare);
    pthread_mutex_init(&r->lock, NULL);
    take_signal();
    *out = r;
    return LEDGE_OK;
}

void ledge__regions_free(LedgeRegions *r)
{
    if (!r)
        return;
    ledge__regions_remove(r, NULL);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static LedgeStatus check(const LedgeRegions *r, const LedgeRegionInfo *info, LedgeError *err)
{
    const char *key = without_slash(info->key);
    if (!name_ok(info->name))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "region",
                           "a region's name has 1 to %d bytes and no control characters",
                           LEDGE_REGION_NAME - 1);
    if (!key_ok(key))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, info->name,
                           "\"key\" names an object of shared memory, without folders");
    if (strncmp(key, r->prefix, strlen(r->prefix)) != 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, info->name,
                           "keys must begin with \"%s\" on this server", r->prefix);
    if (info->bytes == 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, info->name, "\"byte_size\" must be above 0");
    if (info->bytes > LEDGE_REGION_BYTES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, info->name,
                           "all regions together may have %llu MiB",
                           (unsigned long long)(LEDGE_REGION_BYTES >> 20));
    return LEDGE_OK;
}

/* Maps what the descriptor holds of it. */
static LedgeStatus map_it(LedgeRegion *region, int fd, LedgeError *err)
{
    const LedgeRegionInfo *i = &region->info;
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, i->name, "the key is of no shared memory");
    if (i->offset > (uint64_t)s.st_size || i->bytes > (uint64_t)s.st_size - i->offset)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, i->name,
                           "\"offset\" and \"byte_size\" reach beyond the object's %lld bytes",
                           (long long)s.st_size);
    region->lead = (size_t)(i->offset % (uint64_t)sysconf(_SC_PAGESIZE));
    region->map_bytes = region->lead + (size_t)i->bytes;
    void *map = mmap(NULL, region->map_bytes, region->writable ? PROT_READ | PROT_WRITE : PROT_READ,
                     MAP_SHARED, fd, (off_t)(i->offset - region->lead));
    if (map == MAP_FAILED)
        return ledge__fail(err, LEDGE_ERROR_MEMORY, i->name, "the system cannot map the object");
    region->map = map;
    return LEDGE_OK;
}

static LedgeStatus open_it(LedgeRegion *region, LedgeError *err)
{
    char path[LEDGE_REGION_KEY + 1];
    snprintf(path, sizeof path, "/%s", without_slash(region->info.key));
    region->writable = true;
    int fd = shm_open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0); /* no waiting for pipes */
    if (fd < 0 && errno == EACCES) {
        region->writable = false; /* another user's: good enough for inputs */
        fd = shm_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    }
    if (fd < 0)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, region->info.name,
                           "the object \"%s\" cannot be opened: %s", region->info.key,
                           strerror(errno));
    const LedgeStatus s = map_it(region, fd, err);
    (void)close(fd);
    return s;
}

static LedgeRegion **find(LedgeRegions *r, const char *name)
{
    LedgeRegion **at = &r->first;
    while (*at && strcmp((*at)->info.name, name) != 0)
        at = &(*at)->next;
    return at;
}

/* Into the table, if it has room. */
static LedgeStatus put(LedgeRegions *r, LedgeRegion *region, LedgeError *err)
{
    LedgeStatus s = LEDGE_OK;
    const char *name = region->info.name;
    pthread_mutex_lock(&r->lock);
    if (*find(r, name))
        s = ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                        "a region of that name is registered already; unregister it first");
    else if (r->n == LEDGE_REGIONS)
        s = ledge__fail(err, LEDGE_ERROR_LIMIT, name, "%d regions are registered already",
                        LEDGE_REGIONS);
    else if (region->info.bytes > LEDGE_REGION_BYTES - r->bytes)
        s = ledge__fail(err, LEDGE_ERROR_LIMIT, name,
                        "all regions together may have %llu MiB; %llu bytes are left",
                        (unsigned long long)(LEDGE_REGION_BYTES >> 20),
                        (unsigned long long)(LEDGE_REGION_BYTES - r->bytes));
    if (s == LEDGE_OK) {
        region->next = r->first;
        r->first = region;
        r->n++;
        r->bytes += region->info.bytes;
    }
    pthread_mutex_unlock(&r->lock);
    return s;
}

LedgeStatus ledge__regions_add(LedgeRegions *r, const LedgeRegionInfo *info, LedgeError *err)
{
    LEDGE_TRY(check(r, info, err));
    LedgeRegion *region = calloc(1, sizeof *region);
    if (!region)
        return ledge__no_memory(err);
    region->info = *info;
    atomic_init(&region->refs, 1);
    LedgeStatus s = open_it(region, err);
    if (s == LEDGE_OK)
        s = put(r, region, err);
    if (s != LEDGE_OK)
        ledge__region_unref(region);
    return s;
}

void ledge__regions_remove(LedgeRegions *r, const char *name)
{
    LedgeRegion *gone = NULL;
    pthread_mutex_lock(&r->lock);
    for (LedgeRegion **at; *(at = name ? find(r, name) : &r->first);) {
        LedgeRegion *one = *at;
        *at = one->next;
        r->n--;
        r->bytes -= one->info.bytes;
        one->next = gone;
        gone = one;
    }
    pthread_mutex_unlock(&r->lock);
    while (gone) {
        LedgeRegion *one = gone;
        gone = one->next;
        ledge__region_unref(one);
    }
}

bool ledge__regions_visit(LedgeRegions *r, const char *name,
                          void (*visit)(void *arg, const LedgeRegionInfo *info), void *arg)
{
    bool any = !name;
    pthread_mutex_lock(&r->lock);
    for (const LedgeRegion *one = name ? *find(r, name) : r->first; one;
         one = name ? NULL : one->next) {
        visit(arg, &one->info);
        any = true;
    }
    pthread_mutex_unlock(&r->lock);
    return any;
}

/* ---- using ---- */

LedgeStatus ledge__region_find(LedgeRegions *r, const char *name, uint64_t offset, uint64_t bytes,
                               bool to_write, LedgeError *err, LedgeRegion **out)
{
    pthread_mutex_lock(&r->lock);
    LedgeRegion *one = *find(r, name);
    if (one)
        atomic_fetch_add(&one->refs, 1);
    pthread_mutex_unlock(&r->lock);
    if (!one)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, "request",
                           "no region of shared memory is registered as \"%s\"", name);
    LedgeStatus s = LEDGE_OK;
    if (offset > one->info.bytes || bytes > one->info.bytes - offset)
        s = ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                        "shared_memory_offset and shared_memory_byte_size reach beyond the "
                        "region's %llu bytes",
                        (unsigned long long)one->info.bytes);
    else if (to_write && !one->writable)
        s = ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                        "the server may only read the region's object");
    if (s == LEDGE_OK)
        *out = one;
    else
        ledge__region_unref(one);
    return s;
}

void ledge__region_unref(LedgeRegion *region)
{
    if (!region || atomic_fetch_sub(&region->refs, 1) != 1)
        return;
    if (region->map)
        (void)munmap(region->map, region->map_bytes);
    free(region);
}
