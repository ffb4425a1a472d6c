/* MaxPool and AveragePool over NHWC, and means over axes. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

typedef struct Pool {
    TrainWindow w;
    size_t h, wd, c; /* of the input */
    bool max, count_pad;
    uint32_t *best; /* max: for each output the input element that gave it, in its image */
} Pool;

typedef struct PoolArg {
    const TrainStep *s;
    float *dx;
    bool accumulate;
} PoolArg;

static void clip_axis(const Pool *p, int axis, size_t at, size_t size, int64_t *first, int64_t *n,
                      int64_t *padded)
{
    const int64_t start = (int64_t)at * p->w.stride[axis] - p->w.pad[axis];
    const int64_t step = p->w.dilation[axis], k = p->w.kernel[axis];
    const int64_t skip = start < 0 ? (-start + step - 1) / step : 0;
    int64_t end = k; /* taps before this one are inside */
    while (end > skip && start + (end - 1) * step >= (int64_t)size)
        end--;
    int64_t all = k;
    while (all > 0 && start + (all - 1) * step >= (int64_t)size + p->w.pad[axis + 2])
        all--;
    *first = start + skip * step;
    *n = end > skip ? end - skip : 0;
    *padded = all;
}

static void pool_image(const Pool *p, const float *x, float *y, uint32_t *best)
{
    for (size_t oy = 0; oy < (size_t)p->w.out[0]; oy++)
        for (size_t ox = 0; ox < (size_t)p->w.out[1]; ox++, y += p->c) {
            int64_t y0, ny, py, x0, nx, px;
            clip_axis(p, 0, oy, p->h, &y0, &ny, &py);
            clip_axis(p, 1, ox, p->wd, &x0, &nx, &px);
            const float scale = 1.0f / (float)(p->count_pad ? py * px : ny * nx);
            for (size_t c = 0; c < p->c; c++)
                y[c] = p->max ? -INFINITY : 0;
            for (int64_t i = 0; i < ny; i++)
                for (int64_t j = 0; j < nx; j++) {
                    const size_t at = ((size_t)(y0 + i * p->w.dilation[0]) * p->wd +
                                       (size_t)(x0 + j * p->w.dilation[1])) *
                                      p->c;
                    for (size_t c = 0; c < p->c; c++) {
                        const float v = x[at + c];
                        if (!p->max) {
                            y[c] += v * scale;
                        } else if (v > y[c] || isnan(v) || (i == 0 && j == 0)) {
                            y[c] = v;
                            best[c] = (uint32_t)(at + c);
                        }
                    }
                }
            if (best)
                best += p->c;
        }
}

static void pool_images(void *arg, size_t begin, size_t end, int thread)
{
    const PoolArg *a = arg;
    const Pool *p = a->s->state;
    const size_t in = p->h * p->wd * p->c;
    const size_t out = (size_t)p->w.out[0] * (size_t)p->w.out[1] * p->c;
    (void)thread;
    for (size_t n = begin; n < end; n++)
        pool_image(p, a->s->in[0]->data + n * in, a->s->out->data + n * out,
                   p->max ? p->best + n * out : NULL);
}

static void average_back(const Pool *p, const float *dy, float *dx)
{
    for (size_t oy = 0; oy < (size_t)p->w.out[0]; oy++)
        for (size_t ox = 0; ox < (size_t)p->w.out[1]; ox++, dy += p->c) {
            int64_t y0, ny, py, x0, nx, px;
            clip_axis(p, 0, oy, p->h, &y0, &ny, &py);
            clip_axis(p, 1, ox, p->wd, &x0, &nx, &px);
            const float scale = 1.0f / (float)(p->count_pad ? py * px : ny * nx);
            for (int64_t i = 0; i < ny; i++)
                for (int64_t j = 0; j < nx; j++) {
                    float *to = dx + ((size_t)(y0 + i * p->w.dilation[0]) * p->wd +
                                      (size_t)(x0 + j * p->w.dilation[1])) *
                                         p->c;
                    for (size_t c = 0; c < p->c; c++)
                        to[c] += dy[c] * scale;
                }
        }
}

static void pool_back(void *arg, size_t begin, size_t end, int thread)
{
    const PoolArg *a = arg;
    const Pool *p = a->s->state;
    const size_t in = p->h * p->wd * p->c;
    const size_t out = (size_t)p->w.out[0] * (size_t)p->w.out[1] * p->c;
    (void)thread;
    for (size_t n = begin; n < end; n++) {
        const float *dy = a->s->out->grad + n * out;
        float *dx = a->dx + n * in;
        if (!a->accumulate)
            memset(dx, 0, in * sizeof(float));
        if (!p->max)
            average_back(p, dy, dx);
        else
            for (size_t i = 0; i < out; i++)
                dx[p->best[n * out + i]] += dy[i];
    }
}

static void pool_forward(Trainer *t, TrainStep *s)
{
    PoolArg a = {.s = s};
    ledge__pool_run(t->pool, (size_t)s->out->dims[0], 1, pool_images, &a);
}

static void pool_backward(Trainer *t, TrainStep *s)
{
    PoolArg a = {.s = s};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    if (a.dx)
        ledge__pool_run(t->pool, (size_t)s->out->dims[0], 1, pool_back, &a);
}

static const TrainOp pool_op = {"pool", 0, pool_forward, pool_backward};

LedgeStatus ledge__train_pool(TrainBuild *b)
{
    TrainValue *x, *y;
    TrainWindow w = {{0}};
    size_t n;
    const int64_t *k = ledge__node_ints(b->node, "kernel_shape", &n);
    const bool max = ledge__node_is(b->node, "MaxPool");
    LEDGE_TRY(ledge__train_in_layout(b, 0, true, &x));
    if (!x || x->rank != 4 || !x->nhwc || n != 2 ||
        (size_t)x->dims[1] * (size_t)x->dims[2] * (size_t)x->dims[3] > UINT32_MAX)
        return ledge__train_refuse(b, "only pools over [N,C,H,W] have a gradient here");
    w.kernel[0] = k[0];
    w.kernel[1] = k[1];
    LEDGE_TRY(ledge__train_window(b, &x->dims[2], &w));
    if (w.pad[0] >= w.kernel[0] || w.pad[1] >= w.kernel[1])
        return ledge__train_refuse(b, "a window would see nothing but padding");
    const int64_t dims[] = {x->dims[0], x->dims[1], w.out[0], w.out[1]};
    LEDGE_TRY(ledge__train_output(b, 4, dims, true, &y));
    TrainStep *s = ledge__train_step(b, &pool_op, &x, 1, y, sizeof(Pool));
    if (!s)
        return ledge__no_memory(b->err);
    Pool *p = s->state;
    *p = (Pool){.w = w,
                .h = (size_t)x->dims[2],
                .wd = (size_t)x->dims[3],
                .c = (size_t)x->dims[1],
                .max = max,
                .count_pad = ledge__node_int(b->node, "count_include_pad", 0) != 0};
    if (max)
        p->best = ledge__arena_aligned(b->t->arena, y->count * sizeof *p->best);
    return max && !p->best ? ledge__no_memory(b->err) : LEDGE_OK;
}

/* ---- means ---- */

typedef struct Mean {
    size_t outer, n, inner;
} Mean;

typedef struct MeanArg {
    const Mean *m;
    const float *dy;
    float *dx;
    bool accumulate;
} MeanArg;

static void mean_forward(Trainer *t, TrainStep *s)
{
    const Mean *m = s->state;
    ledge__vec_reduce(t->runner, LEDGE_R_MEAN, s->in[0]->data, s->out->data, m->outer, m->n,
                      m->inner);
}

static void mean_back(void *arg, size_t begin, size_t end, int thread)
{
    const MeanArg *a = arg;
    const Mean *m = a->m;
    const float scale = 1.0f / (float)m->n;
    (void)thread;
    for (size_t o = begin; o < end; o++)
        for (size_t i = 0; i < m->n; i++) {
            const float *dy = a->dy + o * m->inner;
            float *dx = a->dx + (o * m->n + i) * m->inner;
            for (size_t j = 0; j < m->inner; j++)
                dx[j] = (a->accumulate ? dx[j] : 0) + dy[j] * scale;
        }
}

static void mean_backward(Trainer *t, TrainStep *s)
{
    MeanArg a = {.m = s->state, .dy = s->out->grad};
    a.dx = ledge__train_grad(s, 0, &a.accumulate);
    if (a.dx)
        ledge__pool_run(t->pool, a.m->outer, 1, mean_back, &a);
}

static const TrainOp mean_op = {"mean", 0, mean_forward, mean_backward};

/* The mean over neighbouring axes first … last, in ONNX's order. */
static LedgeStatus new_mean(TrainBuild *b, TrainValue *x, int32_t first, int32_t last, bool keep)
{
    TrainValue *y;
    int64_t dims[LEDGE_MAX_RANK], lies[LEDGE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t d = 0; d < x->rank; d++)
        if (d < first || d > last)
            dims[rank++] = x->dims[d];
        else if (keep)
            dims[rank++] = 1;
    LEDGE_TRY(ledge__train_output(b, rank, dims, x->nhwc && rank == 4, &y));
    TrainStep *s = ledge__train_step(b, &mean_op, &x, 1, y, sizeof(Mean));
    if (!s)
        return ledge__no_memory(b->err);
    Mean *m = s->state;
    *m = (Mean){1, 1, 1};
    ledge__train_lies(x, lies);
    const int32_t shift = x->nhwc ? 1 : 0; /* height and width come before the channels */
    for (int32_t d = 0; d < x->rank; d++)
        *(d < first - shift ? &m->outer : d > last - shift ? &m->inner : &m->n) *= (size_t)lies[d];
    return LEDGE_OK;
}

LedgeStatus ledge__train_global_pool(TrainBuild *b)
{
    TrainValue *x;
    LEDGE_TRY(ledge__train_in_layout(b, 0, true, &x));
    if (!x || x->rank < 3)
        return ledge__train_refuse(b, "its input must be [N,C,H,W]");
    return new_mean(b, x, 2, x->rank - 1, true);
}

LedgeStatus ledge__train_reduce_mean(TrainBuild *b)
{
    TrainValue *x;
    const LedgeValue *v = ledge__node_in(b->node, 1);
    bool over[LEDGE_MAX_RANK] = {0};
    int32_t first = LEDGE_MAX_RANK, last = -1;
    size_t n;
    const int64_t *axes = ledge__node_ints(b->node, "axes", &n);
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    if (v && !ledge__value_is_constant(v))
        return ledge__train_refuse(b, "its axes must be constant");
    n = v ? (size_t)ledge_tensor_count(&v->t) : n;
    for (size_t i = 0; i < n; i++) {
        int64_t d = v ? ledge__value_as_int(v, (int64_t)i) : axes[i];
        d += d < 0 ? x->rank : 0;
        if (d <= 0 || d >= x->rank)
            return ledge__train_refuse(b, "it takes the mean over the batch");
        over[d] = true;
        first = d < first ? (int32_t)d : first;
        last = d > last ? (int32_t)d : last;
    }
    for (int32_t d = first; d < last; d++)
        if (!over[d])
            last = -1;
    if (last < 0)
        return ledge__train_refuse(b, "only means over neighbouring axes have a gradient here");
    LEDGE_TRY(ledge__train_layout(b, x, first == 2 && last == 3, &x));
    return new_mean(b, x, first, last, ledge__node_int(b->node, "keepdims", 1) != 0);
}
