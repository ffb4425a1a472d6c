/* Buffers that end (or start) at a page that may not be touched, so that a kernel that reads
 * or writes one float too far dies at once. */
#ifndef LEDGE_TESTS_GUARD_H
#define LEDGE_TESTS_GUARD_H

#include <stddef.h>

typedef struct Guarded {
    void *map;
    size_t map_bytes;
    float *p;
} Guarded;

/* `floats` floats whose end is the end of the readable pages; filled with small numbers that
 * depend on `seed`, or with zeros for seed 0. Fails the test on lack of memory. */
Guarded guarded(size_t floats, unsigned seed);
void guarded_free(Guarded *g);
/* The same for bytes, seed 0 giving zeros; `p` is then to be taken as bytes. */
Guarded guarded_bytes(size_t bytes, unsigned seed);

/* Sum of squared differences over sum of squared `size`s: the reference values, or for sums
 * that may cancel the sums of their terms' magnitudes (NULL: the reference values). 0 for
 * equal zeros; NaN on one side only gives infinity. */
double nmse(const float *a, const double *ref, const double *size, size_t n);

#endif
