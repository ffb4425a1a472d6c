/* Memory that ends at a page that must not be touched, so that a kernel that reads or writes
 * one byte past its arrays dies at once. */
#ifndef LEDGE_TESTS_GUARD_PAGES_H
#define LEDGE_TESTS_GUARD_PAGES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Guarded {
    void *p; /* `size` bytes, the last one before the guard */
    void *map;
    size_t map_size;
} Guarded;

static inline Guarded guarded_new(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (size + page - 1) / page * page + page;
    Guarded g = {NULL, NULL, body + page};
    g.map = mmap(NULL, g.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect((char *)g.map + body, page, PROT_NONE) != 0)
        abort();
    g.p = (char *)g.map + body - size;
    return g;
}

static inline Guarded guarded_copy(const void *from, size_t size)
{
    Guarded g = guarded_new(size);
    if (size > 0)
        memcpy(g.p, from, size);
    return g;
}

static inline void guarded_free(Guarded *g)
{
    munmap(g->map, g->map_size);
}

/* A small generator, the same on every machine. */
static inline uint32_t test_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Uniform in -1 … 1. */
static inline float test_uniform(uint32_t *state)
{
    return (float)((int32_t)test_random(state) >> 8) * (1.0f / 8388608.0f);
}

#endif
