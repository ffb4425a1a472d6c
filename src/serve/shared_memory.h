/* Regions of POSIX shared memory that clients on this machine have registered, by name, to hand
 * tensors over without a socket. Source: Triton's system shared memory extension.
 *
 * The memory stays the client's: it may cut the object short or change it at any moment. So nobody
 * gets a pointer into a region: bytes are copied in and out here, which comes back with an error
 * where the memory is gone (the kernel's SIGBUS ends there), and all checks are made on the copy.
 * Objects are never removed. */
#ifndef LEDGE_SERVE_SHARED_MEMORY_H
#define LEDGE_SERVE_SHARED_MEMORY_H

#include <stdint.h>

#include "base/error.h"

enum { LEDGE_REGIONS = 64, LEDGE_REGION_NAME = 128, LEDGE_REGION_KEY = 256 };
#define LEDGE_REGION_BYTES ((uint64_t)256 << 20) /* of all regions together */

typedef struct LedgeRegions LedgeRegions; /* the table; threads: any */
typedef struct LedgeRegion LedgeRegion;   /* counted references */

typedef struct LedgeRegionInfo {
    char name[LEDGE_REGION_NAME], key[LEDGE_REGION_KEY];
    uint64_t offset, bytes; /* within the object */
} LedgeRegionInfo;

/* prefix: what the keys of objects must begin with, so that no client can have other programs'
 * objects opened; a slash before it does not count, "/" alone takes every key. Takes SIGBUS for the
 * process, while no other thread does, and hands on those that are not its own. Statuses: ARGUMENT,
 * MEMORY. */
LedgeStatus ledge__regions_new(const char *prefix, LedgeError *err, LedgeRegions **out);
void ledge__regions_free(LedgeRegions *r); /* no request is left; NULL is legal */

/* Maps the object and remembers it. Statuses: ARGUMENT (name, key, size, or the name is taken),
 * NOT_FOUND (no such object, or it is not ours to open), LIMIT, MEMORY. */
LedgeStatus ledge__regions_add(LedgeRegions *r, const LedgeRegionInfo *info, LedgeError *err);
/* Forgets it; requests that hold it end first. NULL: all. A name that is not there is fine. */
void ledge__regions_remove(LedgeRegions *r, const char *name);
/* false: there is none of that name. name NULL: all, which may be none. */
bool ledge__regions_visit(LedgeRegions *r, const char *name,
                          void (*visit)(void *arg, const LedgeRegionInfo *info), void *arg);

/* A reference to it, which holds `bytes` from `offset` on. Statuses: NOT_FOUND, ARGUMENT. */
LedgeStatus ledge__region_find(LedgeRegions *r, const char *name, uint64_t offset, uint64_t bytes,
                               bool to_write, LedgeError *err, LedgeRegion **out);
void ledge__region_unref(LedgeRegion *region); /* NULL is legal */
/* Copies from it, and to it; within what was found. Status: ARGUMENT: the memory is gone. */
LedgeStatus ledge__region_read(LedgeRegion *region, uint64_t offset, void *to, size_t n,
                               LedgeError *err);
LedgeStatus ledge__region_write(LedgeRegion *region, uint64_t offset, const void *from, size_t n,
                                LedgeError *err);

#endif
