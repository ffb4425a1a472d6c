/* What measurements share. */
#ifndef LEDGE_TESTS_BENCH_TIMING_H
#define LEDGE_TESTS_BENCH_TIMING_H

#include <stdlib.h>
#include <time.h>

static inline double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double now_ms(void)
{
    return now_s() * 1e3;
}

/* For qsort: doubles, the least first. */
static inline int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
