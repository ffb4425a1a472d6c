/* Adaptive rounding of a model's layers, see quant_adaptive.h. */
#include "compress/quantize/quant_adaptive.h"

#include <math.h>
#include <string.h>

#include "compress/quantize/quant_internal.h"
#include "compress/quantize/quant_rounding.h"

/* A layer's G is k x k: above this it would not fit. */
#define MOST_K       2304
#define BATCH_FLOATS ((size_t)16 << 20) /* of G, in one batch of layers */
#define PLACES       64                 /* of one sample's convolution, per group */
#define DAMPING      0.01

typedef struct Layer {
    uint32_t node;
    LedgeQuantLayer l;
    bool is_conv;
    bool by_columns;                                   /* weights [k, rows] */
    size_t groups, rows, k;                            /* rows and k of one group */
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* pads at the beginning */
    int64_t out[2]; /* output's height and width; 0: found with the sample */
    float *gram;    /* groups x k x k */
    size_t tap;     /* index of its input among the batch's taps */
} Layer;

typedef struct Adapt {
    LedgeQuantizer *q;
    const LedgeJudge *j;
    const LedgeAdaptiveOptions *o;
    Layer *batch;
    size_t n;
    LedgePool *pool;
    float *patch;
} Adapt;

/* ---- which layers ---- */

static int64_t int_at(const LedgeNode *n, const char *name, size_t i, int64_t absent)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    return a && a->ints && i < a->count ? a->ints[i] : absent;
}

static bool describe_conv(const LedgeNode *n, Layer *y)
{
    const LedgeTensor *w = &y->l.weight->t;
    const char *auto_pad = ledge__node_string(n, "auto_pad", "NOTSET");
    const size_t groups = (size_t)ledge__node_int(n, "group", 1);
    if (w->rank != 4 || (strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0) ||
        groups < 1 || (size_t)w->dims[0] % groups)
        return false;
    y->is_conv = true;
    y->groups = groups;
    y->rows = (size_t)w->dims[0] / groups;
    y->k = (size_t)(w->dims[1] * w->dims[2] * w->dims[3]);
    for (size_t d = 0; d < 2; d++) {
        y->kernel[d] = w->dims[2 + d];
        y->stride[d] = int_at(n, "strides", d, 1);
        y->dilation[d] = int_at(n, "dilations", d, 1);
        y->pad[d] = int_at(n, "pads", d, 0);
        if (y->stride[d] < 1 || y->dilation[d] < 1)
            return false;
    }
    return true;
}

static bool describe_product(const LedgeNode *n, Layer *y)
{
    const LedgeTensor *w = &y->l.weight->t;
    const bool gemm = ledge__node_is(n, "Gemm");
    if (w->rank != 2 || (!gemm && !ledge__node_is(n, "MatMul")) ||
        (gemm && ledge__node_int(n, "transA", 0)))
        return false;
    y->by_columns = !(gemm && ledge__node_int(n, "transB", 0));
    y->groups = 1;
    y->rows = (size_t)w->dims[y->by_columns];
    y->k = (size_t)w->dims[!y->by_columns];
    return true;
}

/* One scale a row is needed, or one for all. */
static bool describe_layer(const LedgeQuantizer *q, uint32_t node, Layer *y)
{
    const LedgeNode *n = q->nodes[node].node;
    *y = (Layer){.node = node};
    if (!ledge__quantizer_layer(&q->nodes[node], &y->l))
        return false;
    return (ledge__node_is(n, "Conv") ? describe_conv(n, y) : describe_product(n, y)) && y->k > 0 &&
           y->k <= MOST_K && (y->l.channels == 1 || (size_t)y->l.channels == y->groups * y->rows);
}

static size_t gram_floats(const Layer *y)
{
    return y->groups * y->k * y->k;
}

/* ---- looking at inputs ---- */

static uint64_t mix(uint64_t x)
{
    /* splitmix64's finisher, by its published constants */
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The k inputs that output place (oy, ox) of group g sees. */
static void take_patch(const Layer *y, const LedgeTensor *x, size_t g, int64_t oy, int64_t ox,
                       float *patch)
{
    const int64_t channels = x->dims[1] / (int64_t)y->groups, h = x->dims[2], w = x->dims[3];
    const float *data = x->data;
    for (int64_t c = 0; c < channels; c++) {
        const float *plane = data + ((int64_t)g * channels + c) * h * w;
        for (int64_t i = 0; i < y->kernel[0]; i++) {
            const int64_t iy = oy * y->stride[0] - y->pad[0] + i * y->dilation[0];
            for (int64_t k = 0; k < y->kernel[1]; k++) {
                const int64_t ix = ox * y->stride[1] - y->pad[1] + k * y->dilation[1];
                const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
                *patch++ = inside ? plane[iy * w + ix] : 0;
            }
        }
    }
}

static void look_at_conv(const Adapt *a, const Layer *y, size_t sample, const LedgeTensor *x,
                         float *patch)
{
    const LedgeTensor *out = &a->q->nodes[y->node].node->out[0]->t;
    /* Without a known output the input's places stand in: patches are padded anyway. */
    const bool known = out->rank == 4 && out->dims[2] > 0 && out->dims[3] > 0;
    const int64_t h = known ? out->dims[2] : (x->dims[2] + y->stride[0] - 1) / y->stride[0];
    const int64_t w = known ? out->dims[3] : (x->dims[3] + y->stride[1] - 1) / y->stride[1];
    const uint64_t all = (uint64_t)(h * w), n = all < PLACES ? all : PLACES;
    if (x->rank != 4 || x->dims[0] < 1 || x->dims[1] % (int64_t)y->groups ||
        x->dims[1] / (int64_t)y->groups * y->kernel[0] * y->kernel[1] != (int64_t)y->k)
        return;
    for (uint64_t p = 0; p < n; p++) {
        const uint64_t draw = mix(a->o->seed ^ mix(y->node) ^ mix(sample << 20 | p));
        const uint64_t place = n == all ? p : draw % all;
        for (size_t g = 0; g < y->groups; g++) {
            take_patch(y, x, g, (int64_t)place / w, (int64_t)place % w, patch);
            ledge__gram_add(y->gram + g * y->k * y->k, patch, y->k);
        }
    }
}

static void look_at_product(const Adapt *a, const Layer *y, size_t sample, const LedgeTensor *x)
{
    const uint64_t all = (uint64_t)(ledge_tensor_count(x) / (int64_t)y->k);
    const uint64_t n = all < PLACES ? all : PLACES;
    if (x->rank < 1 || x->dims[x->rank - 1] != (int64_t)y->k)
        return;
    for (uint64_t p = 0; p < n; p++) {
        const uint64_t draw = mix(a->o->seed ^ mix(y->node) ^ mix(sample << 20 | p));
        ledge__gram_add(y->gram, (const float *)x->data + (n == all ? p : draw % all) * y->k, y->k);
    }
}

typedef struct Look {
    Adapt *a;
    size_t sample;
    const LedgeTensor *taps;
} Look;

static void look_at_some(void *arg, size_t begin, size_t end, int thread)
{
    const Look *look = arg;
    Adapt *a = look->a;
    for (size_t i = begin; i < end; i++) {
        const Layer *y = &a->batch[i];
        const LedgeTensor *x = &look->taps[y->tap];
        if (x->type != LEDGE_FLOAT)
            continue;
        if (y->is_conv)
            look_at_conv(a, y, look->sample, x, a->patch + (size_t)thread * MOST_K);
        else
            look_at_product(a, y, look->sample, x);
    }
}

static LedgeStatus look_at_sample(void *arg, size_t sample, const LedgeTensor *taps,
                                  LedgeError *err)
{
    Look look = {arg, sample, taps};
    (void)err;
    ledge__pool_run(look.a->pool, look.a->n, 1, look_at_some, &look);
    return LEDGE_OK;
}

static LedgeStatus look_at_batch(Adapt *a, LedgeError *err)
{
    const LedgeAllocator *m = a->q->allocator;
    size_t n_taps = 0;
    LedgeValue **taps = ledge__calloc(m, a->n + 1, sizeof *taps);
    if (!taps)
        return ledge__no_memory(err);
    for (size_t i = 0; i < a->n; i++) {
        LedgeValue *v = ledge__node_in(a->q->nodes[a->batch[i].node].node, 0);
        size_t t = 0;
        while (t < n_taps && taps[t] != v)
            t++;
        if (t == n_taps)
            taps[n_taps++] = v;
        a->batch[i].tap = t;
    }
    const LedgeStatus status =
        ledge__judge_tap(a->j, a->q, taps, n_taps, a->o->most, look_at_sample, a, err);
    ledge__free(m, taps);
    return status;
}

/* ---- rounding ---- */

typedef struct Part {
    float *w, *scale;
    int8_t *q;
    double *nearest, *adapted;
} Part;

static int64_t element(const Layer *y, size_t g, size_t row, size_t i)
{
    return y->by_columns ? (int64_t)(i * y->rows + row)
                         : (int64_t)(((g * y->rows) + row) * y->k + i);
}

static int iterations_for(const Adapt *a, const Layer *y)
{
    const double one = (double)y->groups * (double)y->rows * (double)y->k * (double)y->k;
    const double fit = a->o->work / one;
    return fit < 20 ? 20 : fit < a->o->iterations ? (int)fit : a->o->iterations;
}

static LedgeStatus round_group(const Adapt *a, const Layer *y, size_t g, const float *weights,
                               const float *scales, int8_t *rounded, Part *p, double error[2],
                               LedgeError *err)
{
    for (size_t r = 0; r < y->rows; r++) {
        p->scale[r] = scales[y->l.channels == 1 ? 0 : g * y->rows + r];
        for (size_t i = 0; i < y->k; i++)
            p->w[r * y->k + i] = weights[element(y, g, r, i)];
    }
    float *gram = y->gram + g * y->k * y->k;
    ledge__gram_finish(gram, y->k, DAMPING);
    const LedgeRounding job = {y->rows, y->k,       p->w,      p->scale, gram, iterations_for(a, y),
                               p->q,    p->nearest, p->adapted};
    if (!ledge__round_adaptively(&job, a->q->allocator, a->pool))
        return ledge__no_memory(err);
    for (size_t r = 0; r < y->rows; r++) {
        const double step = (double)p->scale[r] * (double)p->scale[r];
        error[0] += p->nearest[r] * step;
        error[1] += p->adapted[r] * step;
        for (size_t i = 0; i < y->k; i++)
            rounded[element(y, g, r, i)] = p->q[r * y->k + i];
    }
    return LEDGE_OK;
}

/* Scales stay those of rounding to nearest, so that the bias fits as it does there. */
static LedgeStatus round_layer(const Adapt *a, const Layer *y, LedgeError *err, double *gain)
{
    LedgeQuantizer *q = a->q;
    LedgeQuantNode *n = &q->nodes[y->node];
    const size_t cells = y->rows * y->k;
    double error[2] = {0};
    float *scales = ledge__arena_alloc(q->arena, (size_t)y->l.channels + 1, sizeof *scales);
    int8_t *rounded = ledge__arena_alloc(q->arena, (size_t)y->l.count + 1, 1);
    float *weights = ledge__quant_floats(q->allocator, y->l.weight);
    Part p = {.w = ledge__alloc(q->allocator, cells + y->rows, sizeof(float)),
              .q = ledge__alloc(q->allocator, cells, 1),
              .nearest = ledge__alloc(q->allocator, 2 * y->rows, sizeof(double))};
    LedgeStatus status = LEDGE_OK;
    if (!scales || !rounded || !weights || !p.w || !p.q || !p.nearest)
        status = ledge__no_memory(err);
    if (!status) {
        p.scale = p.w + cells;
        p.adapted = p.nearest + y->rows;
        ledge__quantizer_weight_scales(q, &y->l, scales);
    }
    for (size_t g = 0; g < y->groups && !status; g++)
        status = round_group(a, y, g, weights, scales, rounded, &p, error, err);
    if (!status) {
        n->weight_q = rounded;
        n->weight_scale = scales;
        *gain += error[1] > 0 && error[0] > 0 ? 10 * log10(error[0] / error[1]) : 0;
    }
    ledge__free(q->allocator, weights);
    ledge__free(q->allocator, p.w);
    ledge__free(q->allocator, p.q);
    ledge__free(q->allocator, p.nearest);
    return status;
}

/* ---- batches ---- */

static LedgeStatus adapt_batch(Adapt *a, size_t done, size_t total, const LedgeQuantTick *tick,
                               LedgeError *err, double *gain)
{
    size_t floats = 0;
    for (size_t i = 0; i < a->n; i++)
        floats += gram_floats(&a->batch[i]);
    float *grams = ledge__calloc(a->q->allocator, floats + 1, sizeof *grams);
    if (!grams)
        return ledge__no_memory(err);
    float *at = grams;
    for (size_t i = 0; i < a->n; i++) {
        a->batch[i].gram = at;
        at += gram_floats(&a->batch[i]);
    }
    LedgeStatus status = look_at_batch(a, err);
    for (size_t i = 0; i < a->n && !status; i++) {
        status = ledge__quant_tick(tick, "adaptive rounding", done + i, total + 1, err);
        if (!status)
            status = round_layer(a, &a->batch[i], err, gain);
    }
    ledge__free(a->q->allocator, grams);
    return status;
}

static LedgeStatus adapt_all(Adapt *a, Layer *layers, size_t n, const LedgeQuantTick *tick,
                             LedgeError *err, double *gain)
{
    for (size_t at = 0; at < n;) {
        size_t floats = 0, count = 0;
        while (at + count < n &&
               (!count || floats + gram_floats(&layers[at + count]) < BATCH_FLOATS))
            floats += gram_floats(&layers[at + count++]);
        a->batch = &layers[at];
        a->n = count;
        LEDGE_TRY(adapt_batch(a, at, n, tick, err, gain));
        at += count;
    }
    return ledge__quant_tick(tick, "adaptive rounding", n + 1, n + 1, err);
}

LedgeStatus ledge__quant_adapt(LedgeQuantizer *q, const LedgeJudge *j,
                               const LedgeAdaptiveOptions *o, const LedgeQuantTick *tick,
                               LedgeError *err, LedgeAdapted *out)
{
    LedgeAdapted result = {0};
    Adapt a = {.q = q, .j = j, .o = o};
    Layer *layers = ledge__calloc(q->allocator, (size_t)q->n_nodes + 1, sizeof *layers);
    LedgeStatus status =
        layers ? ledge__pool_new(q->allocator, j->threads, &a.pool) : ledge__no_memory(err);
    for (uint32_t i = 0; i < q->n_nodes && !status; i++) {
        if (q->nodes[i].role != LEDGE_QUANT_WEIGHTED || !q->nodes[i].integer)
            continue;
        if (describe_layer(q, i, &layers[result.layers]))
            result.layers++;
        else
            result.passed++;
    }
    if (!status) {
        a.patch = ledge__alloc(q->allocator, (size_t)ledge__pool_threads(a.pool) * MOST_K,
                               sizeof *a.patch);
        status = a.patch ? adapt_all(&a, layers, result.layers, tick, err, &result.gain_db)
                         : ledge__no_memory(err);
    }
    ledge__free(q->allocator, a.patch);
    ledge__free(q->allocator, layers);
    ledge__pool_free(a.pool);
    result.gain_db /= result.layers ? (double)result.layers : 1;
    if (!status)
        *out = result;
    return status;
}
