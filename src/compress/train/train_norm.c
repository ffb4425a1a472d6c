/* BatchNormalization with what follows it (a residual's Add, Relu or Clip) in one step.
 *
 * Training takes mean and variance of the batch (Ioffe and Szegedy, 2015) and moves the running
 * ones: running = momentum * running + (1 - momentum) * batch, the variance unbiased. Evaluation,
 * and training with keep_norms, takes the running ones. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"
#include "compress/train/train_norm.h"

enum { WIDE = 64 };

static size_t chunk_start(size_t n, size_t i)
{
    return n / TRAIN_CHUNKS * i + (n % TRAIN_CHUNKS * i) / TRAIN_CHUNKS;
}

typedef struct NormArg {
    const Trainer *t;
    const TrainNormState *n;
    TrainNorm job; /* of all rows */
    const float *pivot;
} NormArg;

static TrainNorm rows_of(const NormArg *a, size_t first, size_t rows)
{
    TrainNorm j = a->job;
    const size_t at = first * j.c;
    j.rows = rows;
    j.x += at;
    j.y = j.y ? j.y + at : NULL;
    j.r = j.r ? j.r + at : NULL;
    j.out = j.out ? j.out + at : NULL;
    j.dx = j.dx ? j.dx + at : NULL;
    return j;
}

static void sum_chunks(void *arg, size_t begin, size_t end, int thread)
{
    const NormArg *a = arg;
    const size_t w = a->job.c;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t first = chunk_start(a->job.rows, i);
        const TrainNorm j = rows_of(a, first, chunk_start(a->job.rows, i + 1) - first);
        double *sum = a->n->sums + i * 2 * w, *second = sum + w;
        memset(sum, 0, 2 * w * sizeof *sum);
        if (a->job.y)
            a->t->tv->norm_sums(&j, a->pivot, sum, second);
        else
            a->t->tv->sums(j.x, j.rows, w, a->pivot, sum, second);
    }
}

/* Both sums of channel c over all chunks. */
static void fold(const TrainNormState *n, size_t c, double *first, double *second)
{
    const size_t w = n->c * n->repeat;
    *first = *second = 0;
    for (size_t i = 0; i < TRAIN_CHUNKS; i++)
        for (size_t k = c; k < w; k += n->c) {
            *first += n->sums[i * 2 * w + k];
            *second += n->sums[i * 2 * w + w + k];
        }
}

/* A per-channel array repeated so that rows of several pixels can be handled at once. */
static void spread(const TrainNormState *n, float *a)
{
    for (size_t k = n->c; k < n->c * n->repeat; k++)
        a[k] = a[k - n->c];
}

static void batch_statistics(Trainer *t, TrainStep *s, TrainNormState *n)
{
    NormArg a = {.t = t,
                 .n = n,
                 .job = {.rows = n->rows, .c = n->c * n->repeat, .x = s->in[0]->data},
                 .pivot = n->pivot};
    const double count = (double)(n->rows * n->repeat);
    memcpy(n->pivot, s->in[0]->data, n->c * sizeof(float));
    spread(n, n->pivot);
    ledge__pool_run(t->pool, TRAIN_CHUNKS, 1, sum_chunks, &a);
    for (size_t c = 0; c < n->c; c++) {
        double sum, square;
        fold(n, c, &sum, &square);
        const double shift = sum / count;
        const double var = square / count - shift * shift;
        n->mean[c] = (float)((double)n->pivot[c] + shift);
        n->inv[c] = (float)(1.0 / sqrt((var > 0 || isnan(var) ? var : 0) + (double)n->epsilon));
        if (!t->learning)
            continue;
        const float keep = n->momentum, unbiased = (float)(count > 1 ? count / (count - 1) : 1);
        float *mean = s->in[3]->data + c, *running = s->in[4]->data + c;
        *mean = keep * *mean + (1 - keep) * n->mean[c];
        *running = keep * *running + (1 - keep) * (float)(var > 0 ? var : 0) * unbiased;
    }
}

static void running_statistics(const TrainStep *s, TrainNormState *n)
{
    for (size_t c = 0; c < n->c; c++) {
        n->mean[c] = s->in[3]->data[c];
        n->inv[c] = (float)(1.0 / sqrt((double)s->in[4]->data[c] + (double)n->epsilon));
    }
}

static void apply(void *arg, size_t begin, size_t end, int thread)
{
    const NormArg *a = arg;
    const TrainNorm j = rows_of(a, begin, end - begin);
    (void)thread;
    if (j.dx)
        a->t->tv->norm_back(&j);
    else
        a->t->tv->norm(&j);
}

static size_t grain(const TrainNormState *n)
{
    const size_t w = n->c * n->repeat;
    return w > 16384 ? 1 : 16384 / w;
}

static bool uses_batch(const Trainer *t)
{
    return t->training && !t->o.keep_norms;
}

static void forward(Trainer *t, TrainStep *s)
{
    TrainNormState *n = s->state;
    NormArg a = {.t = t, .n = n};
    if (uses_batch(t))
        batch_statistics(t, s, n);
    else
        running_statistics(s, n);
    for (size_t c = 0; c < n->c; c++) {
        n->a[c] = s->in[1]->data[c] * n->inv[c];
        n->b[c] = s->in[2]->data[c] - n->mean[c] * n->a[c];
    }
    spread(n, n->a);
    spread(n, n->b);
    a.job = (TrainNorm){.rows = n->rows,
                        .c = n->c * n->repeat,
                        .x = s->in[0]->data,
                        .y = s->out->data,
                        .r = n->residual ? s->in[5]->data : NULL,
                        .a = n->a,
                        .b = n->b,
                        .lo = n->lo,
                        .hi = n->hi};
    ledge__pool_run(t->pool, n->rows, grain(n), apply, &a);
}

/* Gradients of scale and bias, and the coefficients of dx = p * g + q * x + s. */
static void coefficients(const Trainer *t, TrainStep *s, TrainNormState *n)
{
    const double count = (double)(n->rows * n->repeat);
    for (size_t c = 0; c < n->c; c++) {
        double sum, dot;
        fold(n, c, &sum, &dot);
        const double inv = (double)n->inv[c], p = (double)s->in[1]->data[c] * inv;
        const double q = uses_batch(t) ? -p * dot * inv * inv / count : 0;
        if (s->in[1]->grad)
            s->in[1]->grad[c] += (float)(dot * inv);
        if (s->in[2]->grad)
            s->in[2]->grad[c] += (float)sum;
        n->a[c] = (float)p;
        n->b[c] = (float)q;
        n->shift[c] = uses_batch(t) ? (float)(-p * sum / count - q * (double)n->mean[c]) : 0.0f;
    }
    spread(n, n->a);
    spread(n, n->b);
    spread(n, n->shift);
}

static void backward(Trainer *t, TrainStep *s)
{
    TrainNormState *n = s->state;
    NormArg a = {.t = t, .n = n, .pivot = n->mean};
    bool accumulate;
    spread(n, n->mean);
    a.job = (TrainNorm){.rows = n->rows,
                        .c = n->c * n->repeat,
                        .x = s->in[0]->data,
                        .y = s->out->grad,
                        .lo = n->lo,
                        .hi = n->hi,
                        .out = n->lo > -INFINITY || n->hi < INFINITY ? s->out->data : NULL};
    ledge__pool_run(t->pool, TRAIN_CHUNKS, 1, sum_chunks, &a);
    coefficients(t, s, n);
    a.job.dx = ledge__train_grad(s, 0, &accumulate);
    a.job.accumulate = accumulate;
    a.job.p = n->a;
    a.job.q = n->b;
    a.job.s = n->shift;
    if (a.job.dx)
        ledge__pool_run(t->pool, n->rows, grain(n), apply, &a);
    float *dr = n->residual ? ledge__train_grad(s, 5, &accumulate) : NULL;
    if (dr && !s->stolen)
        ledge__train_pass(t, s->out->grad, dr, s->out->count, accumulate);
}

const TrainOp ledge__train_norm_op = {"BatchNormalization",
                                      TRAIN_BACK_X0 | TRAIN_STEAL | TRAIN_SPOIL, forward, backward};

static LedgeStatus new_state(TrainBuild *b, TrainStep *s)
{
    TrainNormState *n = s->state;
    LedgeArena *arena = b->t->arena;
    const size_t c = (size_t)s->out->dims[1];
    size_t rows = s->out->count / c;
    n->c = c;
    n->repeat = 1;
    for (; rows % 2 == 0 && n->repeat * 2 * c <= WIDE; rows /= 2)
        n->repeat *= 2;
    n->rows = rows;
    const size_t w = c * n->repeat;
    n->epsilon = ledge__node_float(b->node, "epsilon", 1e-5f);
    n->momentum = ledge__node_float(b->node, "momentum", 0.9f);
    n->lo = -INFINITY;
    n->hi = INFINITY;
    n->sums = ledge__arena_alloc(arena, TRAIN_CHUNKS * 2 * w, sizeof(double));
    float **const arrays[] = {&n->pivot, &n->mean, &n->inv, &n->a, &n->b, &n->shift};
    bool ok = n->sums != NULL;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        ok &= (*arrays[i] = ledge__arena_aligned(arena, w * sizeof(float))) != NULL;
    return ok ? LEDGE_OK : ledge__no_memory(b->err);
}

LedgeStatus ledge__train_batch_norm(TrainBuild *b)
{
    TrainValue *in[5], *y;
    LEDGE_TRY(ledge__train_in_layout(b, 0, true, &in[0]));
    for (uint32_t i = 1; i < 5; i++) {
        LEDGE_TRY(ledge__train_in(b, i, &in[i]));
        if (!in[0] || !in[i] || !in[i]->fixed || in[0]->rank < 2 ||
            (int64_t)in[i]->count != in[0]->dims[1])
            return ledge__train_refuse(b, "its scale, bias, mean and variance must be constants, "
                                          "one number for each channel");
    }
    if (in[0]->rank != 2 && !in[0]->nhwc)
        return ledge__train_refuse(b, "its input must be [N,C] or [N,C,H,W]");
    for (uint32_t i = 1; i < 3; i++)
        LEDGE_TRY(ledge__train_param(b, in[i], false));
    for (uint32_t i = 3; i < 5; i++)
        LEDGE_TRY(ledge__train_buffer(b, in[i]));
    LEDGE_TRY(ledge__train_output(b, in[0]->rank, in[0]->dims, in[0]->nhwc, &y));
    TrainStep *s = ledge__train_step(b, &ledge__train_norm_op, in, 5, y, sizeof(TrainNormState));
    return s ? new_state(b, s) : ledge__no_memory(b->err);
}

/* ---- what is taken in ---- */

static TrainStep *open_norm(const TrainBuild *b, const TrainValue *x)
{
    TrainStep *s = x->producer;
    if (!s || s->dead || s->op != &ledge__train_norm_op || s->out != x || !x->source ||
        x->source->n_uses != 1 || x->source->n_outputs || ledge__train_is_feature(b, x))
        return NULL;
    const TrainNormState *n = s->state;
    return n->lo == -INFINITY && n->hi == INFINITY ? s : NULL;
}

bool ledge__train_norm_clamp(TrainBuild *b, TrainValue *x, float lo, float hi)
{
    TrainStep *s = open_norm(b, x);
    LedgeValue *out = ledge__node_out(b->node, 0);
    if (!s)
        return false;
    TrainNormState *n = s->state;
    n->lo = lo;
    n->hi = hi;
    s->flags |= TRAIN_BACK_Y;
    x->source = out;
    x->name = out->name;
    b->by_id[out->id] = x;
    return true;
}

LedgeStatus ledge__train_norm_add(TrainBuild *b, TrainValue *x, TrainValue *r, bool *done)
{
    TrainStep *old = open_norm(b, x);
    TrainValue *y;
    *done = false;
    if (!old || ((TrainNormState *)old->state)->residual || r->fixed || r == x ||
        r->rank != x->rank || r->nhwc != x->nhwc || memcmp(r->dims, x->dims, sizeof r->dims) != 0)
        return LEDGE_OK;
    TrainValue *in[6];
    memcpy(in, old->in, 5 * sizeof(TrainValue *));
    in[5] = r;
    LEDGE_TRY(ledge__train_output(b, x->rank, x->dims, x->nhwc, &y));
    TrainStep *s = ledge__train_step(b, &ledge__train_norm_op, in, 6, y, 0);
    if (!s)
        return ledge__no_memory(b->err);
    s->state = old->state;
    s->name = old->name; /* what an error names: the layer with the weights */
    s->kind = old->kind;
    s->steal = 5;
    ((TrainNormState *)s->state)->residual = true;
    old->dead = true;
    *done = true;
    return LEDGE_OK;
}
