/* See guard.h. */
#include "guard.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static Guarded guarded_map(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (bytes + page - 1) / page * page;
    Guarded g = {.map_bytes = body + page};
    g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect((char *)g.map + body, page, PROT_NONE), 0);
    g.p = (float *)(void *)((char *)g.map + body - bytes);
    return g;
}

Guarded guarded(size_t floats, unsigned seed)
{
    Guarded g = guarded_map(floats * sizeof(float));
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; seed && i < floats; i++) {
        x = x * 1664525u + 1013904223u;
        g.p[i] = (float)(int32_t)x * (1.0f / 2147483648.0f);
    }
    return g;
}

Guarded guarded_bytes(size_t bytes, unsigned seed)
{
    Guarded g = guarded_map(bytes);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; seed && i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        ((uint8_t *)g.p)[i] = (uint8_t)(x >> 24);
    }
    return g;
}

void guarded_free(Guarded *g)
{
    if (g->map)
        munmap(g->map, g->map_bytes);
    *g = (Guarded){0};
}

double nmse(const float *a, const double *ref, const double *size, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(ref[i]) != isnan((double)a[i]))
            return INFINITY;
        if (isnan(ref[i]))
            continue;
        error += (a[i] - ref[i]) * (a[i] - ref[i]);
        power += size ? size[i] * size[i] : ref[i] * ref[i];
    }
    return power > 0 ? error / power : error;
}
