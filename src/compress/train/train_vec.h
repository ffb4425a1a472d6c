/* The inner loops of training that the engine has no kernel for, once per instruction set.
 *
 * All work on rows of `c` neighbouring floats, as NHWC pixels are; sums over rows go to doubles
 * after every few rows, in an order that depends on nothing but the row count. */
#ifndef LEDGE_COMPRESS_TRAIN_VEC_H
#define LEDGE_COMPRESS_TRAIN_VEC_H

#include <stddef.h>
#include <stdint.h>

/* A rows × c piece of BatchNormalization, forward or backward; per-channel arrays of c. */
typedef struct TrainNorm {
    size_t rows, c;
    const float *x;
    float *y;           /* forward: result; backward: the gradient, masked in place by the clamp */
    const float *r;     /* residual added before the clamp, or NULL */
    const float *a, *b; /* forward: y = clamp(x * a + b + r) */
    const float *out;   /* backward: the result, whose bounds tell where the clamp cut; or NULL */
    float lo, hi;
    const float *p, *q, *s; /* backward: dx = p * g + q * x + s */
    float *dx;
    int accumulate;
} TrainNorm;

/* One depthwise filter tap's sums: w[c] += sum over n of g[c] * x[c], pixel to pixel by steps. */
typedef struct TrainDw {
    const float *g, *x;
    size_t n, c, step_g, step_x;
    float *w;
} TrainDw;

typedef struct TrainVec {
    uint32_t cpu; /* flags that it needs */
    /* sum[i] += Σ (x - pivot), square[i] += Σ (x - pivot)²; square may be NULL, then pivot too. */
    void (*sums)(const float *x, size_t rows, size_t c, const float *pivot, double *sum,
                 double *square);
    void (*norm)(const TrainNorm *n);
    /* Masks the gradient, then sum[i] += Σ g, dot[i] += Σ g * (x - pivot[i]). */
    void (*norm_sums)(const TrainNorm *n, const float *pivot, double *sum, double *dot);
    void (*norm_back)(const TrainNorm *n);
    /* dx (+)= lo < y < hi ? dy : 0 */
    void (*clamp_back)(const float *dy, const float *y, float *dx, size_t n, float lo, float hi,
                       int accumulate);
    void (*add)(const float *x, float *y, size_t n); /* y += x */
    void (*dw)(const TrainDw *d);
} TrainVec;

/* The best for these CPU flags; never NULL. */
const TrainVec *ledge__train_vec(uint32_t cpu);

#endif
