/* Bias correction, see quant_bias.h. */
#include "compress/quantize/quant_bias.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/quantize/quant_internal.h"

/* Twins whose outputs are alive at once, in elements of one sample. */
#define BATCH_ELEMENTS ((int64_t)8 << 20)

typedef struct Twin {
    uint32_t node;
    LedgeQuantLayer layer;
    size_t channels; /* of the output */
    double *sum;
    double count; /* values a channel that were summed */
} Twin;

typedef struct Twins {
    LedgeQuantizer *q;
    Twin *items;
    size_t n;
} Twins;

/* ---- which layers ---- */

static size_t output_channels(const LedgeNode *n, const LedgeQuantLayer *l)
{
    if (ledge__node_is(n, "ConvTranspose"))
        return (size_t)(l->weight->t.dims[1] * ledge__node_int(n, "group", 1));
    return (size_t)l->channels;
}

static bool has_bias_slot(const LedgeNode *n)
{
    return ledge__node_is(n, "Conv") || ledge__node_is(n, "ConvTranspose") ||
           ledge__node_is(n, "Gemm");
}

static LedgeStatus list_twins(Twins *t, LedgeArena *arena, LedgeError *err, size_t *without)
{
    LedgeQuantizer *q = t->q;
    t->items = ledge__arena_alloc(arena, (size_t)q->n_nodes + 1, sizeof *t->items);
    if (!t->items)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        Twin *w = &t->items[t->n];
        if (!q->nodes[i].integer || !ledge__quantizer_layer(&q->nodes[i], &w->layer))
            continue;
        if (!has_bias_slot(q->nodes[i].node)) {
            ++*without;
            continue;
        }
        w->node = i;
        w->channels = output_channels(q->nodes[i].node, &w->layer);
        w->sum = ledge__arena_alloc(arena, w->channels + 1, sizeof *w->sum);
        if (!w->sum)
            return ledge__no_memory(err);
        t->n++;
    }
    return LEDGE_OK;
}

static int64_t output_elements(const LedgeQuantizer *q, const Twin *w)
{
    const LedgeTensor *t = &q->nodes[w->node].node->out[0]->t;
    int64_t n = 1;
    for (int32_t d = 0; d < t->rank; d++)
        n *= t->dims[d] > 0 ? t->dims[d] : 1;
    return n;
}

/* ---- the model with twins ---- */

/* w - scale * q(w), as the weights lie. */
static LedgeStatus rounding_error(const LedgeQuantizer *q, const Twin *w, LedgeArena *arena,
                                  LedgeError *err, float **out)
{
    const LedgeQuantLayer *l = &w->layer;
    const LedgeQuantNode *n = &q->nodes[w->node];
    float *scales = ledge__arena_alloc(arena, (size_t)l->channels + 1, sizeof *scales);
    int8_t *rounded = ledge__arena_alloc(arena, (size_t)l->count + 1, 1);
    float *error = ledge__arena_aligned(arena, (size_t)l->count * sizeof *error);
    if (!scales || !rounded || !error)
        return ledge__no_memory(err);
    if (n->weight_scale)
        memcpy(scales, n->weight_scale, (size_t)l->channels * sizeof *scales);
    else
        ledge__quantizer_weight_scales(q, l, scales);
    if (n->weight_q)
        memcpy(rounded, n->weight_q, (size_t)l->count);
    else
        ledge__quantizer_round(l, scales, rounded);
    memcpy(error, l->weight->t.data, (size_t)l->count * sizeof *error);
    for (int64_t e = 0; e < l->count; e++)
        error[e] -= (float)rounded[e] * scales[e / l->inner % l->channels];
    *out = error;
    return LEDGE_OK;
}

static LedgeStr text(LedgeArena *arena, const char *what, uint32_t node)
{
    char *s = ledge__arena_printf(arena, "ledge_twin_%s_%u", what, node);
    return (LedgeStr){s, s ? strlen(s) : 0};
}

/* The node again, on the rounding error alone, with an output of its own. */
static LedgeStatus add_twin(OnnxModel *m, const LedgeQuantizer *q, const Twin *w, LedgeError *err)
{
    OnnxGraph *g = &m->graph;
    OnnxNode *node = &g->nodes[g->n_nodes];
    OnnxTensor *tensor = &g->initializers[g->n_initializers];
    OnnxValueInfo *output = &g->outputs[g->n_outputs];
    float *error = NULL;
    const LedgeTensor *wt = &w->layer.weight->t;
    int64_t *dims = ledge__arena_alloc(m->arena, (size_t)wt->rank + 1, sizeof *dims);
    LedgeStr *names = ledge__arena_alloc(m->arena, 3, sizeof *names);
    if (!dims || !names)
        return ledge__no_memory(err);
    LEDGE_TRY(rounding_error(q, w, m->arena, err, &error));
    for (int32_t d = 0; d < wt->rank; d++)
        dims[d] = wt->dims[d];
    *node = g->nodes[w->node];
    names[0] = node->inputs[0];
    names[1] = text(m->arena, "weights", w->node);
    names[2] = text(m->arena, "output", w->node);
    node->name = text(m->arena, "node", w->node);
    node->inputs = names;
    node->n_inputs = 2;
    node->outputs = names + 2;
    node->n_outputs = 1;
    *tensor = (OnnxTensor){.name = names[1],
                           .data_type = LEDGE_FLOAT,
                           .dims = dims,
                           .n_dims = (size_t)wt->rank,
                           .data = (const void *)error,
                           .data_size = (size_t)w->layer.count * sizeof *error,
                           .offset = -1,
                           .length = -1};
    memset(output, 0, sizeof *output);
    output->name = names[2];
    output->type.kind = ONNX_TYPE_TENSOR;
    output->type.elem_type = LEDGE_FLOAT;
    if (!names[1].p || !names[2].p || !node->name.p)
        return ledge__no_memory(err);
    g->n_nodes++;
    g->n_initializers++;
    g->n_outputs++;
    return LEDGE_OK;
}

static void *wider(LedgeArena *arena, const void *items, size_t n, size_t more, size_t size)
{
    char *all = ledge__arena_alloc(arena, n + more, size);
    if (all && n)
        memcpy(all, items, n * size);
    return all;
}

static LedgeStatus make_model(Twins *t, const Twin *batch, size_t n, const void *plain, size_t size,
                              LedgeError *err, void **bytes, size_t *out_size)
{
    OnnxModel *m = NULL;
    const LedgeAllocator *a = t->q->allocator;
    LEDGE_TRY(ledge__onnx_read_memory(a, plain, size, err, &m));
    OnnxGraph *g = &m->graph;
    g->nodes = wider(m->arena, g->nodes, g->n_nodes, n, sizeof *g->nodes);
    g->initializers =
        wider(m->arena, g->initializers, g->n_initializers, n, sizeof *g->initializers);
    g->outputs = wider(m->arena, g->outputs, g->n_outputs, n, sizeof *g->outputs);
    LedgeStatus status =
        g->nodes && g->initializers && g->outputs ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++)
        status = add_twin(m, t->q, &batch[i], err);
    if (!status)
        status = ledge__onnx_write_memory(m, a, bytes, out_size, err);
    ledge__onnx_free(m);
    return status;
}

/* ---- means ---- */

static void add_means(Twin *w, const LedgeNode *n, const LedgeTensor *t)
{
    const float *x = t->data;
    const int64_t count = ledge_tensor_count(t), channels = (int64_t)w->channels;
    int64_t inner = 1;
    for (int32_t d = 2; d < t->rank && !ledge__node_is(n, "Gemm"); d++)
        inner *= t->dims[d];
    if (t->type != LEDGE_FLOAT || !count || count % (channels * inner))
        return;
    for (int64_t at = 0; at < count; at += inner) {
        double sum = 0;
        for (int64_t i = 0; i < inner; i++)
            sum += (double)x[at + i];
        w->sum[at / inner % channels] += sum;
    }
    w->count += (double)(count / channels);
}

typedef struct Run {
    const LedgeJudge *j;
    LedgeModel *model;
    LedgeSession *session;
    LedgeTensor *outputs;
    size_t n_outputs;
} Run;

static LedgeStatus run_samples(Run *r, Twins *t, Twin *batch, size_t n, size_t most,
                               LedgeError *err)
{
    const size_t samples = most && most < r->j->n ? most : r->j->n;
    const size_t first = r->n_outputs - n;
    for (size_t i = 0; i < samples; i++) {
        LEDGE_TRY(ledge_session_run(r->session, r->j->samples[i].inputs, r->j->n_inputs, r->outputs,
                                    r->n_outputs, err));
        for (size_t k = 0; k < n; k++)
            add_means(&batch[k], t->q->nodes[batch[k].node].node, &r->outputs[first + k]);
    }
    return LEDGE_OK;
}

static LedgeStatus run_model(Twins *t, const LedgeJudge *j, Twin *batch, size_t n, size_t most,
                             const void *bytes, size_t size, LedgeError *err)
{
    Run r = {.j = j};
    const LedgeModelOptions mo = {.allocator = j->allocator};
    const LedgeSessionOptions so = {.threads = j->threads, .allocator = j->allocator};
    LedgeStatus status = ledge_model_load_memory(bytes, size, &mo, err, &r.model);
    if (!status)
        status = ledge_session_create(r.model, &so, err, &r.session);
    if (!status) {
        r.n_outputs = ledge_model_output_count(r.model);
        r.outputs = ledge__calloc(j->allocator, r.n_outputs + 1, sizeof *r.outputs);
        status = r.outputs ? run_samples(&r, t, batch, n, most, err) : ledge__no_memory(err);
    }
    ledge__free(j->allocator, r.outputs);
    ledge_session_free(r.session);
    ledge_model_free(r.model);
    return status;
}

static LedgeStatus measure_batch(Twins *t, const LedgeJudge *j, Twin *batch, size_t n, size_t most,
                                 const void *plain, size_t size, LedgeError *err)
{
    void *bytes = NULL;
    size_t with = 0;
    LEDGE_TRY(make_model(t, batch, n, plain, size, err, &bytes, &with));
    const LedgeStatus status = run_model(t, j, batch, n, most, bytes, with, err);
    ledge__free(t->q->allocator, bytes);
    return status;
}

static LedgeStatus measure(Twins *t, const LedgeJudge *j, size_t most, const LedgeQuantTick *tick,
                           LedgeError *err)
{
    void *plain = NULL;
    size_t size = 0;
    LedgeStatus status = ledge__quantizer_float_model(t->q, NULL, 0, err, &plain, &size);
    for (size_t at = 0; at < t->n && !status;) {
        size_t n = 0;
        int64_t elements = 0;
        while (at + n < t->n && (!n || elements < BATCH_ELEMENTS))
            elements += output_elements(t->q, &t->items[at + n++]);
        status = measure_batch(t, j, &t->items[at], n, most, plain, size, err);
        at += n;
        if (!status)
            status = ledge__quant_tick(tick, "bias correction", at, t->n, err);
    }
    ledge__free(t->q->allocator, plain);
    return status;
}

/* ---- correcting ---- */

static LedgeStatus correct(LedgeQuantizer *q, const Twin *w, LedgeError *err, bool *grew)
{
    LedgeGraph *g = q->graph;
    LedgeNode *n = q->nodes[w->node].node;
    LedgeValue *old = ledge__node_in(n, 2);
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 1, .dims = {(int64_t)w->channels}};
    float *bias = ledge__arena_aligned(g->arena, w->channels * sizeof *bias);
    if (!bias)
        return ledge__no_memory(err);
    for (size_t c = 0; c < w->channels; c++)
        bias[c] =
            (float)((old ? ledge__value_as_double(old, (int64_t)c) : 0) + w->sum[c] / w->count);
    t.data = bias;
    t.bytes = w->channels * sizeof *bias;
    char *name = ledge__arena_printf(g->arena, "%s_corrected", old ? old->name : n->name);
    LedgeValue *v = name ? ledge__value_constant(g, name, &t, false) : NULL;
    if (!v)
        return ledge__no_memory(err);
    *grew = true;
    if (n->n_in > 2)
        ledge__node_set_input(n, 2, v);
    else if (!ledge__node_add_input(g, n, v))
        return ledge__no_memory(err);
    return LEDGE_OK;
}

static LedgeStatus correct_all(Twins *t, const LedgeJudge *j, size_t most,
                               const LedgeQuantTick *tick, LedgeArena *arena, LedgeError *err,
                               LedgeBiasCorrected *out)
{
    bool grew = false;
    LedgeQuantizer *q = t->q;
    LEDGE_TRY(list_twins(t, arena, err, &out->without));
    LEDGE_TRY(measure(t, j, most, tick, err));
    for (size_t i = 0; i < t->n; i++) {
        if (!(t->items[i].count > 0))
            continue;
        LEDGE_TRY(correct(q, &t->items[i], err, &grew));
        out->layers++;
    }
    if (!grew)
        return LEDGE_OK;
    LEDGE_TRY(ledge__quantizer_describe(q, err));
    LEDGE_TRY(ledge__quantizer_decide(q, err));
    return q->o.mode == LEDGE_QUANT_STATIC ? ledge__quantizer_ranges(q, err) : LEDGE_OK;
}

LedgeStatus ledge__quant_correct_bias(LedgeQuantizer *q, const LedgeJudge *j, size_t most,
                                      const LedgeQuantTick *tick, LedgeError *err,
                                      LedgeBiasCorrected *out)
{
    LedgeBiasCorrected result = {0};
    Twins t = {.q = q};
    LedgeArena *arena = ledge__arena_new(q->allocator);
    if (!arena)
        return ledge__no_memory(err);
    const LedgeStatus status = correct_all(&t, j, most, tick, arena, err, &result);
    ledge__arena_free(arena);
    if (!status)
        *out = result;
    return status;
}
