/* Bias correction while data streams by: the mean shift that rounded weights bring, from channel
 * means of the layers' inputs alone, taken off the biases. */
#include "compress/quantize/quant_internal.h"

#include <string.h>

/* Share of output places for which tap `k` of a window lies inside the input, not in padding. */
static double share_inside(const LedgeNode *n, int32_t d, int64_t in, int64_t k)
{
    size_t count;
    const LedgeTensor *w = &n->in[1].value->t;
    const int64_t *strides = ledge__node_ints(n, "strides", &count);
    const int64_t *dilations = ledge__node_ints(n, "dilations", &count);
    const int64_t *pads = ledge__node_ints(n, "pads", &count);
    const char *automatic = ledge__node_string(n, "auto_pad", "NOTSET");
    const int64_t stride = strides ? strides[d] : 1, dilation = dilations ? dilations[d] : 1;
    const int64_t span = dilation * (w->dims[2 + d] - 1) + 1, spatial = w->rank - 2;
    int64_t begin = pads ? pads[d] : 0, total = pads ? pads[d] + pads[spatial + d] : 0;
    if (in <= 0 || stride <= 0)
        return 1;
    if (strncmp(automatic, "SAME", 4) == 0) {
        const int64_t out = (in + stride - 1) / stride, all = (out - 1) * stride + span - in;
        total = all > 0 ? all : 0;
        begin = strcmp(automatic, "SAME_LOWER") == 0 ? total - total / 2 : total / 2;
    }
    const int64_t out = (in + total - span) / stride + 1;
    int64_t inside = 0;
    for (int64_t o = 0; o < out; o++) {
        const int64_t at = o * stride - begin + k * dilation;
        inside += at >= 0 && at < in;
    }
    return out > 0 ? (double)inside / (double)out : 1;
}

typedef struct Correction {
    const LedgeQuantNode *node;
    LedgeQuantLayer layer;
    const LedgeQuantTensor *x;
    const float *weights, *scales;
    const int8_t *rounded;
    double *taps; /* of a Conv: share_inside of each position of the window */
} Correction;

static double error_at(const Correction *c, int64_t i)
{
    const float scale = c->scales[i / c->layer.inner % c->layer.channels];
    return (double)c->rounded[i] * (double)scale - (double)c->weights[i];
}

static double mean_at(const Correction *c, int64_t channel)
{
    return c->x->mean_sum[channel] / (double)c->x->mean_count;
}

static void correct_conv(const Correction *c, float *shift)
{
    const LedgeTensor *w = &c->layer.weight->t;
    const int64_t groups = ledge__node_int(c->node->node, "group", 1);
    const int64_t window = c->layer.inner / w->dims[1], per_group = w->dims[0] / groups;
    for (int64_t m = 0; m < w->dims[0]; m++) {
        double sum = 0;
        for (int64_t k = 0; k < c->layer.inner; k++)
            sum += error_at(c, m * c->layer.inner + k) * c->taps[k % window] *
                   mean_at(c, m / per_group * w->dims[1] + k / window);
        shift[m] = (float)-sum;
    }
}

static void correct_gemm(const Correction *c, float *shift)
{
    const LedgeTensor *w = &c->layer.weight->t;
    const bool rows = ledge__node_int(c->node->node, "transB", 0) != 0; /* [n, k] */
    const int64_t n = w->dims[rows ? 0 : 1], depth = w->dims[rows ? 1 : 0];
    for (int64_t m = 0; m < n; m++) {
        double sum = 0;
        for (int64_t k = 0; k < depth; k++)
            sum += error_at(c, rows ? m * depth + k : k * n + m) * mean_at(c, k);
        shift[m] = (float)-sum;
    }
}

static void fill_taps(Correction *c)
{
    const LedgeTensor *w = &c->layer.weight->t;
    const int64_t window = c->layer.inner / w->dims[1];
    for (int64_t k = 0; k < window; k++) {
        int64_t rest = k;
        c->taps[k] = 1;
        for (int32_t d = w->rank - 3; d >= 0; d--) {
            c->taps[k] *= share_inside(c->node->node, d, c->x->dims[2 + d], rest % w->dims[2 + d]);
            rest /= w->dims[2 + d];
        }
    }
}

/* Whether the means are those of the layer's input channels. */
static bool means_fit(const LedgeQuantNode *n, const LedgeQuantTensor *x)
{
    const LedgeTensor *w = &n->node->in[1].value->t;
    if (!x->mean_sum || !x->mean_count)
        return false;
    if (ledge__node_is(n->node, "Conv"))
        return w->rank >= 3 && w->dims[1] > 0 &&
               x->n_means == w->dims[1] * ledge__node_int(n->node, "group", 1);
    return ledge__node_is(n->node, "Gemm") && !ledge__node_int(n->node, "transA", 0) &&
           x->n_means == w->dims[ledge__node_int(n->node, "transB", 0) ? 1 : 0];
}

static LedgeStatus correct(LedgeQuantizer *q, LedgeQuantNode *n, LedgeError *err)
{
    Correction c = {.node = n, .x = &q->tensors[n->node->in[0].value->id]};
    if (!ledge__quantizer_layer(n, &c.layer) || !means_fit(n, c.x))
        return LEDGE_OK;
    const size_t count = (size_t)c.layer.count;
    float *weights = ledge__quant_floats(q->allocator, c.layer.weight);
    float *scales = ledge__alloc(q->allocator, (size_t)c.layer.channels, sizeof *scales);
    int8_t *rounded = ledge__alloc(q->allocator, count, 1);
    float *shift = ledge__arena_alloc(q->arena, (size_t)ledge__quant_outputs(n), sizeof *shift);
    c.taps = ledge__alloc(q->allocator, (size_t)c.layer.inner, sizeof *c.taps);
    const bool ok = weights && scales && rounded && shift && c.taps;
    if (ok) {
        ledge__quantizer_weight_scales(q, &c.layer, scales);
        ledge__quantizer_round(&c.layer, scales, rounded);
        c.weights = weights;
        c.scales = n->weight_scale ? n->weight_scale : scales;
        c.rounded = n->weight_q ? n->weight_q : rounded;
        if (ledge__node_is(n->node, "Conv")) {
            fill_taps(&c);
            correct_conv(&c, shift);
        } else {
            correct_gemm(&c, shift);
        }
        n->bias_shift = shift;
    }
    ledge__free(q->allocator, weights);
    ledge__free(q->allocator, scales);
    ledge__free(q->allocator, rounded);
    ledge__free(q->allocator, c.taps);
    return ok ? LEDGE_OK : ledge__no_memory(err);
}

LedgeStatus ledge__quantizer_correct_bias(LedgeQuantizer *q, LedgeError *err)
{
    if (q->finetuned)
        return LEDGE_OK;
    /* 4-bit blocks have other rounding errors than those known here. */
    for (uint32_t i = 0; i < q->n_nodes && q->o.mode != LEDGE_QUANT_INT4; i++)
        if (q->nodes[i].integer && q->nodes[i].role == LEDGE_QUANT_WEIGHTED)
            LEDGE_TRY(correct(q, &q->nodes[i], err));
    return LEDGE_OK;
}

/* ---- for building ---- */

LedgeStatus ledge__quant_bias(const LedgeQuantizer *q, uint32_t index, LedgeError *err,
                              float **out, int64_t *n)
{
    LedgeQuantLayer l;
    const LedgeQuantNode *node = &q->nodes[index];
    *out = NULL;
    *n = 0;
    if (!ledge__quantizer_layer(node, &l) || (!l.bias && !node->bias_shift))
        return LEDGE_OK;
    const int64_t count = ledge__quant_outputs(node);
    float *sum = ledge__alloc(q->allocator, (size_t)count, sizeof *sum);
    if (!sum)
        return ledge__no_memory(err);
    for (int64_t i = 0; i < count; i++)
        sum[i] = (l.bias ? (float)ledge__value_as_double(l.bias, i) : 0) +
                 (node->bias_shift ? node->bias_shift[i] : 0);
    *out = sum;
    *n = count;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_float_bias(LedgeQuantBuild *b, uint32_t index, LedgeStr *out)
{
    LedgeQuantLayer l;
    const LedgeQuantNode *n = &b->q->nodes[index];
    float *sum;
    int64_t count;
    *out = (LedgeStr){0};
    if (!ledge__quantizer_layer(n, &l))
        return LEDGE_OK;
    if (!n->bias_shift) {
        if (l.bias)
            *out = (LedgeStr){l.bias->name, strlen(l.bias->name)};
        return LEDGE_OK;
    }
    LEDGE_TRY(ledge__quant_bias(b->q, index, b->err, &sum, &count));
    *out = ledge__quant_str(b, "%s_corrected_bias", n->node->name);
    float *data = ledge__quant_add_tensor(b, *out, LEDGE_FLOAT, 1, &count);
    if (data && count)
        memcpy(data, sum, (size_t)count * sizeof *data);
    ledge__free(b->q->allocator, sum);
    return data ? LEDGE_OK : ledge__no_memory(b->err);
}
