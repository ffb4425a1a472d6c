/* Softmax and LayerNormalization: operators over rows of neighbouring numbers. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

typedef struct Rows {
    size_t rows, n;
    float epsilon;
    float *mean, *inv; /* LayerNormalization: of each row */
    double *sums;      /* chunks × (2 × n): of the gradients of scale and bias */
} Rows;

typedef struct RowsArg {
    const Trainer *t;
    TrainStep *s;
    float *dx;
    bool accumulate;
} RowsArg;

static size_t grain(const Rows *r)
{
    return r->n > 8192 ? 1 : 8192 / r->n;
}

/* ---- Softmax ---- */

static void softmax_forward(Trainer *t, TrainStep *s)
{
    const Rows *r = s->state;
    ledge__vec_softmax(t->runner, s->in[0]->data, s->out->data, r->rows, r->n, 1, false);
}

static void softmax_back(void *arg, size_t begin, size_t end, int thread)
{
    const RowsArg *a = arg;
    const Rows *r = a->s->state;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *y = a->s->out->data + i * r->n, *dy = a->s->out->grad + i * r->n;
        float *dx = a->dx + i * r->n;
        double dot = 0;
        for (size_t j = 0; j < r->n; j++)
            dot += (double)y[j] * (double)dy[j];
        for (size_t j = 0; j < r->n; j++)
            dx[j] = (a->accumulate ? dx[j] : 0) + y[j] * (dy[j] - (float)dot);
    }
}

static void softmax_backward(Trainer *t, TrainStep *s)
{
    RowsArg a = {.t = t, .s = s};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    if (a.dx)
        ledge__pool_run(t->pool, ((Rows *)s->state)->rows, grain(s->state), softmax_back, &a);
}

static const TrainOp softmax_op = {"Softmax", TRAIN_BACK_Y, softmax_forward, softmax_backward};

LedgeStatus ledge__train_softmax(TrainBuild *b)
{
    TrainValue *x, *y;
    int64_t axis = ledge__node_int(b->node, "axis", b->node->opset < 13 ? 1 : -1);
    LEDGE_TRY(ledge__train_in_layout(b, 0, false, &x));
    axis += axis < 0 && x ? x->rank : 0;
    if (!x || axis != x->rank - 1)
        return ledge__train_refuse(b, "only the one over the last axis has a gradient here");
    LEDGE_TRY(ledge__train_output(b, x->rank, x->dims, false, &y));
    TrainStep *s = ledge__train_step(b, &softmax_op, &x, 1, y, sizeof(Rows));
    if (!s)
        return ledge__no_memory(b->err);
    Rows *r = s->state;
    r->n = (size_t)x->dims[axis];
    r->rows = x->count / r->n;
    return LEDGE_OK;
}

/* ---- LayerNormalization ---- */

static void layer_forward(Trainer *t, TrainStep *s)
{
    const Rows *r = s->state;
    const LedgeNorm n = {.x = s->in[0]->data,
                         .gamma = s->in[1]->data,
                         .beta = s->n_in > 2 ? s->in[2]->data : NULL,
                         .y = s->out->data,
                         .n = r->n,
                         .eps = r->epsilon,
                         .mean = r->mean,
                         .inv_std = r->inv};
    ledge__vec_norm(t->runner, &n, r->rows);
}

/* Rows of a chunk: their dx, and the chunk's sums for scale and bias. */
static void layer_chunk(const RowsArg *a, size_t first, size_t end, double *sums)
{
    const Rows *r = a->s->state;
    const float *gamma = a->s->in[1]->data;
    for (size_t i = first; i < end; i++) {
        const float *x = a->s->in[0]->data + i * r->n, *dy = a->s->out->grad + i * r->n;
        const float mean = r->mean[i], inv = r->inv[i];
        double g = 0, gx = 0;
        for (size_t j = 0; j < r->n; j++) {
            const float h = (x[j] - mean) * inv, d = dy[j] * gamma[j];
            g += (double)d;
            gx += (double)(d * h);
            sums[j] += (double)(dy[j] * h);
            sums[r->n + j] += (double)dy[j];
        }
        const float mg = (float)(g / (double)r->n), mgx = (float)(gx / (double)r->n);
        float *dx = a->dx ? a->dx + i * r->n : NULL;
        for (size_t j = 0; dx && j < r->n; j++) {
            const float d = inv * (dy[j] * gamma[j] - mg - (x[j] - mean) * inv * mgx);
            dx[j] = (a->accumulate ? dx[j] : 0) + d;
        }
    }
}

static void layer_back(void *arg, size_t begin, size_t end, int thread)
{
    const RowsArg *a = arg;
    const Rows *r = a->s->state;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        double *sums = r->sums + i * 2 * r->n;
        memset(sums, 0, 2 * r->n * sizeof *sums);
        layer_chunk(a, r->rows * i / TRAIN_CHUNKS, r->rows * (i + 1) / TRAIN_CHUNKS, sums);
    }
}

static void layer_backward(Trainer *t, TrainStep *s)
{
    const Rows *r = s->state;
    RowsArg a = {.t = t, .s = s};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    ledge__pool_run(t->pool, TRAIN_CHUNKS, 1, layer_back, &a);
    for (size_t j = 0; j < r->n; j++)
        for (size_t i = 0; i < TRAIN_CHUNKS; i++) {
            if (s->in[1]->grad)
                s->in[1]->grad[j] += (float)r->sums[i * 2 * r->n + j];
            if (s->n_in > 2 && s->in[2]->grad)
                s->in[2]->grad[j] += (float)r->sums[i * 2 * r->n + r->n + j];
        }
}

static const TrainOp layer_op = {"LayerNormalization", TRAIN_BACK_X0, layer_forward,
                                 layer_backward};

LedgeStatus ledge__train_layer_norm(TrainBuild *b)
{
    TrainValue *in[3], *y;
    int64_t axis = ledge__node_int(b->node, "axis", -1);
    size_t n = 1;
    LEDGE_TRY(ledge__train_in_layout(b, 0, false, &in[0]));
    for (uint32_t i = 1; i < 3; i++)
        LEDGE_TRY(ledge__train_in(b, i, &in[i]));
    axis += axis < 0 && in[0] ? in[0]->rank : 0;
    if (!in[0] || axis < 1 || axis >= in[0]->rank || b->node->n_out > 1)
        return ledge__train_refuse(b, "its axis does not fit its input, or more than its result "
                                      "is wanted");
    for (int32_t d = (int32_t)axis; d < in[0]->rank; d++)
        n *= (size_t)in[0]->dims[d];
    for (uint32_t i = 1; i < 3; i++) {
        if ((i == 1 && !in[i]) || (in[i] && (!in[i]->fixed || in[i]->count != n)))
            return ledge__train_refuse(b, "its scale and bias must be constants of the "
                                          "normalised shape");
        LEDGE_TRY(ledge__train_param(b, in[i], false));
    }
    LEDGE_TRY(ledge__train_output(b, in[0]->rank, in[0]->dims, false, &y));
    TrainStep *s = ledge__train_step(b, &layer_op, in, in[2] ? 3 : 2, y, sizeof(Rows));
    Rows *r = s ? s->state : NULL;
    if (!r)
        return ledge__no_memory(b->err);
    *r = (Rows){
        .rows = in[0]->count / n, .n = n, .epsilon = ledge__node_float(b->node, "epsilon", 1e-5f)};
    r->mean = ledge__arena_alloc(b->t->arena, r->rows, sizeof(float));
    r->inv = ledge__arena_alloc(b->t->arena, r->rows, sizeof(float));
    r->sums = ledge__arena_alloc(b->t->arena, TRAIN_CHUNKS * 2 * n, sizeof(double));
    return r->mean && r->inv && r->sums ? LEDGE_OK : ledge__no_memory(b->err);
}
