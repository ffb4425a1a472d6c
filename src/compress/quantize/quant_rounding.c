/* Adaptive rounding of a matrix, see quant_rounding.h. */
#include "compress/quantize/quant_rounding.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define BLOCK  8 /* rows worked on together, so that each row of G is loaded once for them */
#define PASSES 20

/* The paper's stretched sigmoid, and its constants. */
#define ZETA    1.1f
#define GAMMA   (-0.1f)
#define LAMBDA  0.02f
#define RATE    0.03f
#define WARM_UP 0.2f /* part of the iterations before choices are pressed */

void ledge__gram_add(float *gram, const float *x, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        const float v = x[i];
        float *row = gram + i * k;
        if (v == 0)
            continue;
        for (size_t j = i; j < k; j++)
            row[j] += v * x[j];
    }
}

void ledge__gram_finish(float *gram, size_t k, double damping)
{
    double trace = 0;
    for (size_t i = 0; i < k; i++) {
        trace += (double)gram[i * k + i];
        for (size_t j = 0; j < i; j++)
            gram[i * k + j] = gram[j * k + i];
    }
    for (size_t i = 0; i < k; i++)
        gram[i * k + i] += (float)(damping * trace / (double)k);
}

/* One block's state; arrays of BLOCK x k. */
typedef struct Block {
    const LedgeRounding *r;
    size_t first, rows;
    float unit;   /* 1 / mean of the diagonal of G */
    float *exact; /* w / scale */
    float *low;   /* its floor, such that low and low + 1 are in -127 … 127 */
    float *v, *m1, *m2;
    float *soft; /* 0 … 1 */
    float *d;    /* low + choice - exact */
    float *dg;   /* d G */
} Block;

static void start_block(Block *b)
{
    const size_t k = b->r->k;
    for (size_t i = 0; i < b->rows * k; i++) {
        const size_t row = b->first + i / k;
        b->exact[i] = b->r->w[row * k + i % k] / b->r->scale[row];
        b->low[i] = fmaxf(-127, fminf(126, floorf(b->exact[i])));
        const float part = fmaxf(0.01f, fminf(0.99f, b->exact[i] - b->low[i]));
        b->v[i] = -logf((ZETA - GAMMA) / (part - GAMMA) - 1);
        b->m1[i] = b->m2[i] = 0;
    }
}

static void multiply_gram(const Block *b)
{
    const size_t k = b->r->k;
    memset(b->dg, 0, b->rows * k * sizeof *b->dg);
    for (size_t i = 0; i < k; i++) {
        const float *g = b->r->gram + i * k;
        for (size_t row = 0; row < b->rows; row++) {
            const float d = b->d[row * k + i];
            float *to = b->dg + row * k;
            for (size_t j = 0; j < k; j++)
                to[j] += d * g[j];
        }
    }
}

static void soften(const Block *b)
{
    for (size_t i = 0; i < b->rows * b->r->k; i++) {
        const float sigmoid = 1 / (1 + expf(-b->v[i]));
        b->soft[i] = fmaxf(0, fminf(1, sigmoid * (ZETA - GAMMA) + GAMMA));
        b->d[i] = b->low[i] + b->soft[i] - b->exact[i];
    }
}

/* d/dh of 1 - |2h - 1|^beta */
static float press(float h, float beta)
{
    const float x = 2 * h - 1;
    return -2 * beta * powf(fabsf(x), beta - 1) * (x < 0 ? -1 : 1);
}

static void adam_step(const Block *b, int step, float lambda, float beta)
{
    const float c1 = 1 - powf(0.9f, (float)step), c2 = 1 - powf(0.999f, (float)step);
    for (size_t i = 0; i < b->rows * b->r->k; i++) {
        const float h = b->soft[i];
        if (h <= 0 || h >= 1)
            continue; /* the stretched sigmoid is flat there: decided */
        const float s = (h - GAMMA) / (ZETA - GAMMA);
        float g = 2 * b->dg[i] * b->unit;
        if (lambda > 0)
            g += lambda * press(h, beta);
        g *= s * (1 - s) * (ZETA - GAMMA);
        b->m1[i] = 0.9f * b->m1[i] + 0.1f * g;
        b->m2[i] = 0.999f * b->m2[i] + 0.001f * g * g;
        b->v[i] -= RATE * (b->m1[i] / c1) / (sqrtf(b->m2[i] / c2) + 1e-8f);
    }
}

static void optimise(const Block *b)
{
    const int n = b->r->iterations;
    for (int step = 1; step <= n; step++) {
        const float t = (float)step / (float)n;
        const float pressed = (t - WARM_UP) / (1 - WARM_UP);
        soften(b);
        multiply_gram(b);
        adam_step(b, step, t > WARM_UP ? LAMBDA : 0, 20 - 18 * fmaxf(0, pressed));
    }
    soften(b);
}

/* ---- hard choices ---- */

/* d G d' of one row, with dg = d G made on the way. */
static double row_error(const float *gram, size_t k, const float *d, float *dg)
{
    double sum = 0;
    memset(dg, 0, k * sizeof *dg);
    for (size_t i = 0; i < k; i++) {
        const float *g = gram + i * k;
        if (d[i] != 0)
            for (size_t j = 0; j < k; j++)
                dg[j] += d[i] * g[j];
    }
    for (size_t i = 0; i < k; i++)
        sum += (double)d[i] * (double)dg[i];
    return sum;
}

/* Turns single choices over while that lowers the error. */
static void polish(const Block *b, const float *low, const float *exact, float *d, float *dg)
{
    const size_t k = b->r->k;
    const float *gram = b->r->gram;
    for (int pass = 0; pass < PASSES; pass++) {
        size_t turned = 0;
        for (size_t i = 0; i < k; i++) {
            const bool up = d[i] + exact[i] - low[i] > 0.5f;
            const float by = up ? -1 : 1;
            const float change = 2 * by * dg[i] + gram[i * k + i];
            if (!(change < -1e-5f * gram[i * k + i]))
                continue;
            d[i] = low[i] + (up ? 0 : 1) - exact[i];
            for (size_t j = 0; j < k; j++)
                dg[j] += by * gram[i * k + j];
            turned++;
        }
        if (!turned)
            break;
    }
}

/* From `d` as it is to the nearest valley; gives its error, exactly. */
static double descend(const Block *b, size_t row, float *d, float *dg)
{
    const size_t k = b->r->k;
    (void)row_error(b->r->gram, k, d, dg);
    polish(b, b->low + row * k, b->exact + row * k, d, dg);
    return row_error(b->r->gram, k, d, dg);
}

static void finish_row(const Block *b, size_t row)
{
    const size_t k = b->r->k, at = row * k, index = b->first + row;
    float *soft = b->d + at, *near = b->v + at, *dg = b->dg + at;
    for (size_t i = 0; i < k; i++) {
        soft[i] = b->low[at + i] + (b->soft[at + i] >= 0.5f) - b->exact[at + i];
        near[i] = b->low[at + i] + (b->exact[at + i] - b->low[at + i] > 0.5f) - b->exact[at + i];
    }
    const double before = row_error(b->r->gram, k, near, dg);
    const double by_adam = descend(b, row, soft, dg), by_near = descend(b, row, near, dg);
    const float *best = by_adam <= by_near ? soft : near;
    for (size_t i = 0; i < k; i++)
        b->r->q[index * k + i] = (int8_t)lrintf(best[i] + b->exact[at + i]);
    if (b->r->nearest)
        b->r->nearest[index] = before;
    if (b->r->adapted)
        b->r->adapted[index] = by_adam <= by_near ? by_adam : by_near;
}

typedef struct Job {
    const LedgeRounding *r;
    const LedgeAllocator *allocator;
    float unit;
    atomic_bool failed;
} Job;

static void round_block(void *arg, size_t begin, size_t end, int thread)
{
    Job *j = arg;
    const size_t n = BLOCK * j->r->k;
    float *memory = ledge__alloc(j->allocator, 8 * n, sizeof *memory);
    (void)thread;
    if (!memory) {
        atomic_store(&j->failed, true);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        const size_t left = j->r->rows - i * BLOCK;
        Block b = {.r = j->r,
                   .first = i * BLOCK,
                   .rows = left < BLOCK ? left : BLOCK,
                   .unit = j->unit,
                   .exact = memory,
                   .low = memory + n,
                   .v = memory + 2 * n,
                   .m1 = memory + 3 * n,
                   .m2 = memory + 4 * n,
                   .soft = memory + 5 * n,
                   .d = memory + 6 * n,
                   .dg = memory + 7 * n};
        start_block(&b);
        optimise(&b);
        for (size_t row = 0; row < b.rows; row++)
            finish_row(&b, row);
    }
    ledge__free(j->allocator, memory);
}

bool ledge__round_adaptively(const LedgeRounding *r, const LedgeAllocator *a, LedgePool *pool)
{
    double trace = 0;
    for (size_t i = 0; i < r->k; i++)
        trace += (double)r->gram[i * r->k + i];
    Job j = {.r = r, .allocator = a, .unit = trace > 0 ? (float)((double)r->k / trace) : 0};
    ledge__pool_run(pool, (r->rows + BLOCK - 1) / BLOCK, 1, round_block, &j);
    return !atomic_load(&j.failed);
}
