/* Adaptive rounding of one matrix of weights: up or down, whichever together disturb the layer's
 * output least (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization",
 * 2020).
 *
 * For a layer y = W x the squared error of rounded weights over all inputs seen is, per row,
 * d G d' with d the row's rounding error and G the sum of x x'. So inputs are summed up once into
 * G, in constant memory, and the optimisation never looks at them again. As in the paper, soft
 * choices between 0 and 1 are moved by Adam and pressed to either end; at last single weights
 * are turned over as long as that lowers the error. The result is never worse than rounding to
 * nearest. Plain C over arrays; rows are independent, so threads change nothing. */
#ifndef LEDGE_COMPRESS_QUANT_ROUNDING_H
#define LEDGE_COMPRESS_QUANT_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/pool.h"

typedef struct LedgeRounding {
    size_t rows, k;
    const float *w;            /* rows x k */
    const float *scale;        /* per row, > 0 */
    const float *gram;         /* k x k, symmetric */
    int iterations;            /* of Adam */
    int8_t *q;                 /* out: rows x k, -127 … 127 */
    double *nearest, *adapted; /* out: error per row, in units of gram; each may be NULL */
} LedgeRounding;

/* Adds x x' to the upper triangle of gram; x is k values. */
void ledge__gram_add(float *gram, const float *x, size_t k);
/* Copies the upper triangle down and adds `damping` times the mean of the diagonal to it, so that
 * directions without inputs do not run off. */
void ledge__gram_finish(float *gram, size_t k, double damping);
/* false: no memory. */
bool ledge__round_adaptively(const LedgeRounding *r, const LedgeAllocator *a, LedgePool *pool);

#endif
