/* Template of train_vec.h's loops: plain C that the compiler vectorises for whatever instruction
 * set the including file is compiled for. TRAIN_VEC names the table, TRAIN_VEC_CPU its flags. */
#include "compress/train/train_vec.h"

#ifndef TRAIN_VEC /* for tools that look at this header alone */
#define TRAIN_VEC     ledge__train_vec_scalar
#define TRAIN_VEC_CPU 0
#endif

/* The loop's elements depend on no others, even where its arrays are one. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* without optimisation loops stay as they are */
#define TRAIN_SAFE _Pragma("clang loop vectorize(assume_safety)")
#else
#define TRAIN_SAFE _Pragma("GCC ivdep")
#endif

enum { SUM_ROWS = 64, SUM_COLS = 128 }; /* of floats added up before they become doubles */

static void sums_piece(const float *restrict x, size_t rows, size_t ld, size_t c,
                       const float *restrict pivot, double *sum, double *square)
{
    float s[SUM_COLS] = {0}, q[SUM_COLS] = {0};
    if (square)
        for (size_t i = 0; i < rows; i++, x += ld)
            for (size_t j = 0; j < c; j++) {
                const float v = x[j] - pivot[j];
                s[j] += v;
                q[j] += v * v;
            }
    else
        for (size_t i = 0; i < rows; i++, x += ld)
            for (size_t j = 0; j < c; j++)
                s[j] += x[j];
    for (size_t j = 0; j < c; j++)
        sum[j] += (double)s[j];
    for (size_t j = 0; square && j < c; j++)
        square[j] += (double)q[j];
}

static void sums(const float *x, size_t rows, size_t c, const float *pivot, double *sum,
                 double *square)
{
    for (size_t i = 0; i < rows; i += SUM_ROWS)
        for (size_t j = 0; j < c; j += SUM_COLS)
            sums_piece(x + i * c + j, rows - i < SUM_ROWS ? rows - i : SUM_ROWS, c,
                       c - j < SUM_COLS ? c - j : SUM_COLS, pivot ? pivot + j : NULL, sum + j,
                       square ? square + j : NULL);
}

static inline float clamp(float v, float lo, float hi)
{
    v = v < lo ? lo : v; /* NaN stays */
    return v > hi ? hi : v;
}

static void norm(const TrainNorm *n)
{
    const float *restrict x = n->x, *restrict r = n->r;
    const float *restrict a = n->a, *restrict b = n->b;
    float *restrict y = n->y;
    const float lo = n->lo, hi = n->hi;
    const size_t c = n->c;
    for (size_t i = 0; i < n->rows; i++, x += c, y += c) {
        if (r) {
            for (size_t j = 0; j < c; j++)
                y[j] = clamp(x[j] * a[j] + b[j] + r[j], lo, hi);
            r += c;
        } else {
            for (size_t j = 0; j < c; j++)
                y[j] = clamp(x[j] * a[j] + b[j], lo, hi);
        }
    }
}

static void norm_sums_piece(const TrainNorm *n, size_t at, size_t rows, size_t c,
                            const float *restrict pivot, double *sum, double *dot)
{
    float s[SUM_COLS] = {0}, d[SUM_COLS] = {0};
    const float *restrict x = n->x + at, *restrict y = n->out ? n->out + at : NULL;
    float *restrict g = n->y + at;
    const float lo = n->lo, hi = n->hi;
    for (size_t i = 0; i < rows; i++, x += n->c, g += n->c) {
        if (y) {
            for (size_t j = 0; j < c; j++) {
                const float v = y[j] > lo && y[j] < hi ? g[j] : 0.0f;
                g[j] = v;
                s[j] += v;
                d[j] += v * (x[j] - pivot[j]);
            }
            y += n->c;
        } else {
            for (size_t j = 0; j < c; j++) {
                s[j] += g[j];
                d[j] += g[j] * (x[j] - pivot[j]);
            }
        }
    }
    for (size_t j = 0; j < c; j++) {
        sum[j] += (double)s[j];
        dot[j] += (double)d[j];
    }
}

static void norm_sums(const TrainNorm *n, const float *pivot, double *sum, double *dot)
{
    for (size_t i = 0; i < n->rows; i += SUM_ROWS)
        for (size_t j = 0; j < n->c; j += SUM_COLS)
            norm_sums_piece(n, i * n->c + j, n->rows - i < SUM_ROWS ? n->rows - i : SUM_ROWS,
                            n->c - j < SUM_COLS ? n->c - j : SUM_COLS, pivot + j, sum + j, dot + j);
}

/* dx may be g itself. */
static void norm_back(const TrainNorm *n)
{
    const float *x = n->x, *g = n->y, *p = n->p, *q = n->q, *s = n->s;
    float *dx = n->dx;
    const size_t c = n->c;
    for (size_t i = 0; i < n->rows; i++, x += c, g += c, dx += c)
        if (n->accumulate) {
            TRAIN_SAFE
            for (size_t j = 0; j < c; j++)
                dx[j] += p[j] * g[j] + q[j] * x[j] + s[j];
        } else {
            TRAIN_SAFE
            for (size_t j = 0; j < c; j++)
                dx[j] = p[j] * g[j] + q[j] * x[j] + s[j];
        }
}

static void clamp_back(const float *dy, const float *y, float *dx, size_t n, float lo, float hi,
                       int accumulate)
{
    if (accumulate) {
        TRAIN_SAFE
        for (size_t i = 0; i < n; i++)
            dx[i] += y[i] > lo && y[i] < hi ? dy[i] : 0.0f;
    } else { /* perhaps in place */
        TRAIN_SAFE
        for (size_t i = 0; i < n; i++)
            dx[i] = y[i] > lo && y[i] < hi ? dy[i] : 0.0f;
    }
}

static void add(const float *restrict x, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void dw(const TrainDw *d)
{
    const float *restrict g = d->g, *restrict x = d->x;
    float *restrict w = d->w;
    const size_t c = d->c;
    for (size_t i = 0; i < d->n; i++, g += d->step_g, x += d->step_x)
        for (size_t j = 0; j < c; j++)
            w[j] += g[j] * x[j];
}

extern const TrainVec TRAIN_VEC;
const TrainVec TRAIN_VEC = {TRAIN_VEC_CPU, sums, norm, norm_sums, norm_back, clamp_back, add, dw};
