/* What to expect of activations without any data: BatchNormalization says what mean and spread
 * it gives each channel. Taken down before it is folded away, and carried on through activations,
 * sums and pools as normal distributions, this gives the mean input of most layers (Nagel et al.,
 * "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, appendix on
 * clipped normals). */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

/* Mean and variance of each channel of a value; n 0: nothing is known. */
typedef struct Expected {
    int64_t n;
    double *mean, *variance;
} Expected;

struct LedgeQuantExpect {
    LedgeNode *layer; /* whose output is normalised */
    const LedgeNode *norm;
    Expected out;
    struct LedgeQuantExpect *next;
};

static bool new_expected(LedgeQuantizer *q, int64_t n, Expected *e)
{
    e->n = n;
    e->mean = ledge__arena_alloc(q->arena, (size_t)n, 2 * sizeof *e->mean);
    e->variance = e->mean ? e->mean + n : NULL;
    return e->mean != NULL;
}

static bool is_layer(const LedgeNode *n)
{
    return n && (ledge__node_is(n, "Conv") || ledge__node_is(n, "ConvTranspose") ||
                 ledge__node_is(n, "Gemm"));
}

/* ---- before folding ---- */

LedgeStatus ledge__quant_note_norms(LedgeQuantizer *q, LedgeError *err)
{
    for (LedgeNode *n = q->graph->first; n; n = n->next) {
        const LedgeValue *x = ledge__node_is(n, "BatchNormalization") ? n->in[0].value : NULL;
        const LedgeValue *gamma = x ? ledge__node_in(n, 1) : NULL, *beta = ledge__node_in(n, 2);
        if (!gamma || !x->producer || !is_layer(x->producer) || x->n_uses != 1 || x->n_outputs ||
            !ledge__value_is_constant(gamma) || !ledge__value_is_constant(beta) ||
            ledge_tensor_count(&gamma->t) != ledge_tensor_count(&beta->t))
            continue;
        struct LedgeQuantExpect *e = ledge__arena_alloc(q->arena, 1, sizeof *e);
        if (!e || !new_expected(q, ledge_tensor_count(&gamma->t), &e->out))
            return ledge__no_memory(err);
        e->layer = x->producer;
        e->norm = n;
        for (int64_t c = 0; c < e->out.n; c++) {
            const double g = ledge__value_as_double(gamma, c);
            e->out.mean[c] = ledge__value_as_double(beta, c);
            e->out.variance[c] = g * g;
        }
        e->next = q->expect;
        q->expect = e;
    }
    return LEDGE_OK;
}

/* ---- after folding ---- */

/* Mean and variance of a normal variable that is cut off at both ends. */
static void clip_normal(double mean, double variance, double lo, double hi, double *m, double *v)
{
    const double s = sqrt(variance);
    if (!(s > 0)) {
        *m = fmin(fmax(mean, lo), hi);
        *v = 0;
        return;
    }
    const double a = (lo - mean) / s, b = (hi - mean) / s, root = 0.3989422804014327;
    const double pa = isinf(a) ? 0 : root * exp(-a * a / 2), pb = isinf(b) ? 0 : root * exp(-b * b / 2);
    const double ca = 0.5 * erfc(-a * M_SQRT1_2), cb = 0.5 * erfc(-b * M_SQRT1_2);
    const double inside = cb - ca, below = isinf(lo) ? 0 : lo * ca, above = isinf(hi) ? 0 : hi * (1 - cb);
    const double first = mean * inside + s * (pa - pb) + below + above;
    const double tails = (isinf(lo) ? 0 : lo * lo * ca) + (isinf(hi) ? 0 : hi * hi * (1 - cb));
    const double second = (mean * mean + variance) * inside + 2 * mean * s * (pa - pb) +
                          variance * ((isinf(a) ? 0 : a * pa) - (isinf(b) ? 0 : b * pb)) + tails;
    *m = first;
    *v = fmax(second - first * first, 0);
}

typedef struct Carry {
    LedgeQuantizer *q;
    Expected *of; /* by value id */
} Carry;

static Expected *expected_of(const Carry *c, const LedgeValue *v)
{
    return v && v->id < c->q->n_tensors && c->of[v->id].n ? &c->of[v->id] : NULL;
}

/* The distribution that BatchNormalization gave the layer's output, if it is folded into it. */
static const Expected *noted(const LedgeQuantizer *q, const LedgeNode *n)
{
    for (const struct LedgeQuantExpect *e = q->expect; e; e = e->next)
        if (e->layer == n && e->norm->removed)
            return &e->out;
    return NULL;
}

/* A convolution without normalisation: channels taken for independent. */
static bool through_conv(Carry *c, const LedgeNode *n, const Expected *x, Expected *y)
{
    const LedgeValue *w = n->in[1].value, *b = ledge__node_in(n, 2);
    const int64_t groups = ledge__node_int(n, "group", 1);
    if (!ledge__value_is_constant(w) || w->t.rank < 3 || w->t.type != LEDGE_FLOAT ||
        w->t.dims[1] * groups != x->n || !new_expected(c->q, w->t.dims[0], y))
        return false;
    const int64_t inner = ledge_tensor_count(&w->t) / w->t.dims[0], window = inner / w->t.dims[1];
    for (int64_t m = 0; m < y->n; m++) {
        y->mean[m] = b && ledge__value_is_constant(b) ? ledge__value_as_double(b, m) : 0;
        y->variance[m] = 0;
        for (int64_t k = 0; k < inner; k++) {
            const double v = ledge__value_as_double(w, m * inner + k);
            const int64_t in = m / (y->n / groups) * w->t.dims[1] + k / window;
            y->mean[m] += v * x->mean[in];
            y->variance[m] += v * v * x->variance[in];
        }
    }
    return true;
}

static bool through_clip(Carry *c, const LedgeNode *n, const Expected *x, Expected *y)
{
    double lo, hi;
    if (!ledge__quant_bounds(n, &lo, &hi) || !new_expected(c->q, x->n, y))
        return false;
    for (int64_t i = 0; i < x->n; i++)
        clip_normal(x->mean[i], x->variance[i], lo, hi, &y->mean[i], &y->variance[i]);
    return true;
}

static bool through_add(Carry *c, const Expected *a, const Expected *b, Expected *y)
{
    if (!b || a->n != b->n || !new_expected(c->q, a->n, y))
        return false;
    for (int64_t i = 0; i < a->n; i++) {
        y->mean[i] = a->mean[i] + b->mean[i];
        y->variance[i] = a->variance[i] + b->variance[i];
    }
    return true;
}

static bool keeps_channels(const LedgeNode *n)
{
    static const char *const ops[] = {"MaxPool",  "AveragePool", "GlobalAveragePool", "Resize",
                                      "Identity", "Dropout",     "Flatten"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (ledge__node_is(n, ops[i]))
            return true;
    return false;
}

/* As many numbers as the value has channels: else it was flattened with its places. */
static bool fits(const LedgeValue *v, const Expected *e)
{
    return v->t.rank >= 2 && v->t.dims[1] == e->n;
}

static bool carry(Carry *c, const LedgeNode *n, Expected *y)
{
    const Expected *from = noted(c->q, n), *x = expected_of(c, ledge__node_in(n, 0));
    if (from) {
        *y = *from;
        return true;
    }
    if (!x)
        return false;
    if (ledge__node_is(n, "Conv"))
        return through_conv(c, n, x, y);
    if (ledge__node_is(n, "Relu") || ledge__node_is(n, "Clip"))
        return through_clip(c, n, x, y);
    if (ledge__node_is(n, "Add"))
        return through_add(c, x, expected_of(c, ledge__node_in(n, 1)), y);
    *y = *x;
    return keeps_channels(n);
}

LedgeStatus ledge__quant_expect_means(LedgeQuantizer *q, LedgeError *err)
{
    Carry c = {q, ledge__calloc(q->allocator, (size_t)q->n_tensors + 1, sizeof *c.of)};
    if (!c.of)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        const LedgeNode *n = q->nodes[i].node;
        const LedgeValue *v = ledge__node_out(n, 0);
        Expected y = {0};
        if (!v || !carry(&c, n, &y) || !fits(v, &y))
            continue;
        c.of[v->id] = y;
        LedgeQuantTensor *t = &q->tensors[v->id];
        t->mean_sum = y.mean;
        t->mean_count = 1;
        t->n_means = y.n;
        memcpy(t->dims, v->t.dims, sizeof t->dims);
    }
    ledge__free(q->allocator, c.of);
    return LEDGE_OK;
}
