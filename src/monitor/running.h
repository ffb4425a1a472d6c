/* Mean and spread of a stream (Welford's recurrence), and an even sample of it (Vitter's
 * algorithm R), both in constant memory. */
#ifndef LEDGE_MONITOR_RUNNING_H
#define LEDGE_MONITOR_RUNNING_H

#include <math.h>
#include <stdint.h>

typedef struct LedgeRunning {
    uint64_t n;
    double mean, m2;
} LedgeRunning;

static inline void ledge__running_add(LedgeRunning *r, double value)
{
    const double gap = value - r->mean;
    r->mean += gap / (double)++r->n;
    r->m2 += gap * (value - r->mean);
}

/* Standard deviation of the sample; 0 for fewer than two values. */
static inline double ledge__running_std(const LedgeRunning *r)
{
    return r->n > 1 ? sqrt(r->m2 / (double)(r->n - 1)) : 0;
}

/* Where the n-th value (n from 1) goes among `kept` places; one past the last: nowhere. */
static inline uint64_t ledge__sample_place(uint64_t *random, uint64_t n, uint64_t kept)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const uint64_t place = n <= kept ? n - 1 : (*random >> 16) % n;
    return place < kept ? place : kept;
}

#endif
