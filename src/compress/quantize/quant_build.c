/* The quantized model: the float graph's nodes one by one, each as its mode wants it. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces ---- */

static LedgeStr print(LedgeArena *arena, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *text = n < 0 ? NULL : ledge__arena_alloc(arena, (size_t)n + 1, 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, args);
    return (LedgeStr){text, text ? (size_t)n : 0};
}

LedgeStr ledge__quant_str(LedgeQuantBuild *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    LedgeStr s = print(b->arena, fmt, args);
    va_end(args);
    /* The same name comes out for the same words, so readers and makers still meet. */
    while (s.p && ledge__value_find(b->q->graph, s.p)) {
        char *longer = ledge__arena_printf(b->arena, "%s_q", s.p);
        s = (LedgeStr){longer, longer ? strlen(longer) : 0};
    }
    return s;
}

static OnnxNode *append_node(LedgeQuantBuild *b)
{
    OnnxNode *nodes = ledge__arena_append(b->arena, b->nodes, b->n_nodes, sizeof *nodes);
    if (!nodes)
        return NULL;
    b->nodes = nodes;
    return memset(&nodes[b->n_nodes++], 0, sizeof *nodes);
}

OnnxNode *ledge__quant_add_node(LedgeQuantBuild *b, const char *op_type, LedgeStr name,
                                const LedgeStr *inputs, size_t n_inputs, LedgeStr output)
{
    LedgeStr *in = ledge__arena_alloc(b->arena, n_inputs + 1, sizeof *in);
    LedgeStr *out = ledge__arena_alloc(b->arena, 1, sizeof *out);
    bool named = output.p != NULL; /* no memory for a name: it would be an omitted input */
    for (size_t i = 0; i < n_inputs; i++)
        named &= inputs[i].p != NULL;
    OnnxNode *n = in && out && named ? append_node(b) : NULL;
    if (!n)
        return NULL;
    memcpy(in, inputs, n_inputs * sizeof *in);
    *out = output;
    n->name = name;
    n->op_type = (LedgeStr){op_type, strlen(op_type)};
    n->domain = (LedgeStr){"", 0};
    n->inputs = in;
    n->n_inputs = n_inputs;
    n->outputs = out;
    n->n_outputs = 1;
    return n;
}

bool ledge__quant_attr_int(LedgeQuantBuild *b, OnnxNode *n, const char *name, int64_t v)
{
    OnnxAttr *attrs = ledge__arena_alloc(b->arena, n->n_attrs + 1, sizeof *attrs);
    if (!attrs)
        return false;
    if (n->n_attrs)
        memcpy(attrs, n->attrs, n->n_attrs * sizeof *attrs);
    attrs[n->n_attrs++] = (OnnxAttr){
        .name = {name, strlen(name)}, .type = ONNX_ATTR_INT, .i = v, .count = 1};
    n->attrs = attrs;
    return true;
}

void *ledge__quant_add_tensor(LedgeQuantBuild *b, LedgeStr name, LedgeType type, int rank,
                              const int64_t *dims)
{
    LedgeTensor t = {.type = type, .rank = rank};
    for (int d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    const size_t bytes = ledge_tensor_bytes(&t);
    OnnxTensor *all = ledge__arena_append(b->arena, b->tensors, b->n_tensors, sizeof *all);
    int64_t *own = ledge__arena_alloc(b->arena, (size_t)rank + 1, sizeof *own);
    void *data = bytes == SIZE_MAX ? NULL : ledge__arena_aligned(b->arena, bytes + 1);
    if (!all || !own || !data || !name.p)
        return NULL;
    for (int d = 0; d < rank; d++)
        own[d] = dims[d];
    b->tensors = all;
    all[b->n_tensors++] = (OnnxTensor){.name = name, .data_type = (int32_t)type, .dims = own,
                                       .n_dims = (size_t)rank, .data = data, .data_size = bytes,
                                       .offset = -1, .length = -1};
    return data;
}

OnnxNode *ledge__quant_copy_node(LedgeQuantBuild *b, const OnnxNode *from)
{
    LedgeStr *in = ledge__arena_alloc(b->arena, from->n_inputs + 1, sizeof *in);
    LedgeStr *out = ledge__arena_alloc(b->arena, from->n_outputs + 1, sizeof *out);
    OnnxNode *n = in && out ? append_node(b) : NULL;
    if (!n)
        return NULL;
    *n = *from;
    memcpy(in, from->inputs, from->n_inputs * sizeof *in);
    memcpy(out, from->outputs, from->n_outputs * sizeof *out);
    n->inputs = in;
    n->outputs = out;
    return n;
}

/* ---- int8 weights ---- */

static bool same_weights(const LedgeQuantBuild *b, uint32_t index, const LedgeQuantLayer *l,
                         const float *scales)
{
    LedgeQuantLayer other;
    const LedgeQuantNode *n = &b->q->nodes[index];
    return b->weight_name[index].p && !n->weight_q && ledge__quantizer_layer(n, &other) &&
           other.weight == l->weight && other.axis == l->axis && other.channels == l->channels &&
           memcmp(scales, b->weight_scales[index], (size_t)l->channels * sizeof *scales) == 0;
}

/* A bias is int32 in steps of (input scale * weight scale): it must fit,
 * with room in the 32 bits for what is added to it, and where a channel has no weights but a bias
 * the steps must be fine enough for it. */
LedgeStatus ledge__quant_fit_bias(const LedgeQuantizer *q, uint32_t index,
                                  const LedgeQuantLayer *l, float in_scale, float *scales,
                                  LedgeError *err)
{
    int64_t n_bias;
    float *bias;
    LEDGE_TRY(ledge__quant_bias(q, index, err, &bias, &n_bias));
    float *weights = n_bias ? ledge__quant_floats(q->allocator, l->weight) : NULL;
    bool *filled = ledge__calloc(q->allocator, (size_t)l->channels, sizeof *filled);
    const bool ok = filled && (weights || !n_bias);
    for (int64_t i = 0; ok && n_bias && i < l->count; i++)
        filled[i / l->inner % l->channels] |= weights[i] != 0;
    for (int64_t i = 0; ok && i < n_bias; i++) {
        const int64_t c = i % l->channels;
        const double step = fabs((double)bias[i]) / (double)in_scale;
        const double least = fmax(step * 0x1p-28, 0x1p-100);
        if ((double)scales[c] < least)
            scales[c] = (float)least;
        if (!filled[c] && l->channels > 1)
            scales[c] = (float)fmax(step * 0x1p-24, 0x1p-100);
    }
    ledge__free(q->allocator, bias);
    ledge__free(q->allocator, weights);
    ledge__free(q->allocator, filled);
    return ok ? LEDGE_OK : ledge__no_memory(err);
}

/* Zero points of symmetric weights: layers of as many channels share one list of zeros. */
static LedgeStatus weight_zeros(LedgeQuantBuild *b, int64_t channels, LedgeStr *out)
{
    *out = ledge__quant_str(b, "z%lld", (long long)channels);
    for (size_t i = 0; i < b->n_zeros; i++)
        if (b->zeros[i] == channels)
            return LEDGE_OK;
    int64_t *zeros = ledge__arena_append(b->arena, b->zeros, b->n_zeros, sizeof *zeros);
    if (!zeros || !ledge__quant_add_tensor(b, *out, LEDGE_INT8, channels > 1 ? 1 : 0, &channels))
        return ledge__no_memory(b->err);
    b->zeros = zeros;
    zeros[b->n_zeros++] = channels;
    return LEDGE_OK;
}

static LedgeStatus make_weights(LedgeQuantBuild *b, uint32_t index, const LedgeQuantLayer *l,
                                const float *chosen)
{
    const LedgeQuantNode *n = &b->q->nodes[index];
    /* Short names: there are as many as bytes in a small layer. */
    const LedgeStr name = ledge__quant_str(b, "w%u", index);
    const int rank = l->channels > 1 ? 1 : 0;
    float *scales = ledge__quant_add_tensor(b, ledge__quant_str(b, "%s_s", name.p),
                                            LEDGE_FLOAT, rank, &l->channels);
    int8_t *data = ledge__quant_add_tensor(b, ledge__quant_str(b, "%s_q", name.p),
                                           LEDGE_INT8, l->weight->t.rank, l->weight->t.dims);
    if (!scales || !data)
        return ledge__no_memory(b->err);
    memcpy(scales, chosen, (size_t)l->channels * sizeof *scales);
    if (n->weight_q)
        memcpy(data, n->weight_q, (size_t)l->count);
    else
        ledge__quantizer_round(l, scales, data);
    b->weight_name[index] = name;
    b->weight_scales[index] = scales;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_weights(LedgeQuantBuild *b, uint32_t index, const LedgeQuantLayer *l,
                                 float in_scale)
{
    const LedgeQuantNode *n = &b->q->nodes[index];
    float *scales = ledge__arena_alloc(b->arena, (size_t)l->channels, sizeof *scales);
    if (!scales)
        return ledge__no_memory(b->err);
    if (n->weight_scale)
        memcpy(scales, n->weight_scale, (size_t)l->channels * sizeof *scales);
    else
        ledge__quantizer_weight_scales(b->q, l, scales);
    if (in_scale > 0 && !n->weight_q)
        LEDGE_TRY(ledge__quant_fit_bias(b->q, index, l, in_scale, scales, b->err));
    for (uint32_t i = 0; i < index && !n->weight_q; i++)
        if (same_weights(b, i, l, scales)) {
            b->weight_name[index] = b->weight_name[i];
            b->weight_scales[index] = b->weight_scales[i];
            return LEDGE_OK;
        }
    return make_weights(b, index, l, scales);
}

LedgeStatus ledge__quant_weight_dq(LedgeQuantBuild *b, uint32_t index, float in_scale,
                                   LedgeStr *out)
{
    LedgeQuantLayer l;
    if (!ledge__quantizer_layer(&b->q->nodes[index], &l))
        return ledge__fail(b->err, LEDGE_ERROR_ARGUMENT, b->q->nodes[index].node->name,
                           "this node has no weights");
    LEDGE_TRY(ledge__quant_weights(b, index, &l, in_scale));
    const char *name = b->weight_name[index].p;
    LedgeStr in[3] = {ledge__quant_str(b, "%s_q", name), ledge__quant_str(b, "%s_s", name)};
    LEDGE_TRY(weight_zeros(b, l.channels, &in[2]));
    *out = ledge__quant_str(b, "%s_dq%u", name, index);
    OnnxNode *n = ledge__quant_add_node(b, "DequantizeLinear", NO_NAME, in, 3, *out);
    if (!n || (l.channels > 1 && !ledge__quant_attr_int(b, n, "axis", l.axis)))
        return ledge__no_memory(b->err);
    return LEDGE_OK;
}

/* ---- the whole ---- */

static LedgeStatus build_node(LedgeQuantBuild *b, uint32_t index, const OnnxNode *from)
{
    const bool integer = b->q->nodes[index].integer;
    switch (b->q->o.mode) {
    case LEDGE_QUANT_STATIC:
        return ledge__quant_build_static(b, index, from);
    case LEDGE_QUANT_DYNAMIC:
        if (integer)
            return ledge__quant_build_dynamic(b, index, from);
        break;
    case LEDGE_QUANT_WEIGHTS:
        if (integer)
            return ledge__quant_build_weights(b, index, from);
        break;
    case LEDGE_QUANT_INT4:
        if (integer)
            return ledge__quant_build_int4(b, index, from);
        break;
    }
    return ledge__quant_copy_node(b, from) ? LEDGE_OK : ledge__no_memory(b->err);
}

static int compare_strings(LedgeStr a, LedgeStr b)
{
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare_names(const void *a, const void *b)
{
    return compare_strings(*(const LedgeStr *)a, *(const LedgeStr *)b);
}

static size_t count_names(const OnnxGraph *g)
{
    size_t n = g->n_outputs;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].n_inputs;
    return n;
}

static size_t gather_names(const OnnxGraph *g, LedgeStr *names)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i].n_inputs; k++)
            if (g->nodes[i].inputs[k].p)
                names[n++] = g->nodes[i].inputs[k];
    for (size_t i = 0; i < g->n_outputs; i++)
        names[n++] = g->outputs[i].name;
    return n;
}

static bool has_name(const LedgeStr *names, size_t n, LedgeStr name)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const int c = compare_strings(names[mid], name);
        if (c == 0)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

/* Float constants that something (perhaps a body) still reads, and the new ones. */
static LedgeStatus join_tensors(LedgeQuantBuild *b, OnnxGraph *g)
{
    const size_t most = count_names(g);
    LedgeStr *names = ledge__alloc(b->q->allocator, most, sizeof *names);
    OnnxTensor *all =
        ledge__arena_alloc(b->arena, g->n_initializers + b->n_tensors + 1, sizeof *all);
    size_t n = 0;
    if (!names || !all) {
        ledge__free(b->q->allocator, names);
        return ledge__no_memory(b->err);
    }
    const size_t n_names = gather_names(g, names);
    qsort(names, n_names, sizeof *names, compare_names);
    for (size_t i = 0; i < g->n_initializers; i++) {
        const LedgeValue *v = ledge__value_find(b->q->graph, g->initializers[i].name.p);
        if (has_name(names, n_names, g->initializers[i].name) || (v && ledge__quant_captured(v)))
            all[n++] = g->initializers[i];
    }
    if (b->n_tensors)
        memcpy(all + n, b->tensors, b->n_tensors * sizeof *all);
    g->initializers = all;
    g->n_initializers = n + b->n_tensors;
    ledge__free(b->q->allocator, names);
    return LEDGE_OK;
}

static LedgeStatus set_opsets(LedgeQuantBuild *b, OnnxModel *m)
{
    OnnxOpset *opsets = ledge__arena_alloc(b->arena, m->n_opsets + 1, sizeof *opsets);
    if (!opsets)
        return ledge__no_memory(b->err);
    memcpy(opsets, m->opsets, m->n_opsets * sizeof *opsets);
    for (size_t i = 0; i < m->n_opsets; i++)
        if (opsets[i].domain.n == 0 || ledge__str_eq(opsets[i].domain, "ai.onnx"))
            opsets[i].version = b->q->opset;
    if (b->uses_microsoft && !ledge__onnx_opset(m, "com.microsoft"))
        opsets[m->n_opsets++] = (OnnxOpset){.domain = {"com.microsoft", 13}, .version = 1};
    m->opsets = opsets;
    m->ir_version = b->q->ir_version;
    return LEDGE_OK;
}

static LedgeStatus build_graph(LedgeQuantBuild *b, OnnxModel *m)
{
    const LedgeQuantizer *q = b->q;
    const size_t n_values = q->n_tensors + (size_t)1, n_nodes = q->n_nodes + (size_t)1;
    b->scale_name = ledge__arena_alloc(b->arena, n_values, sizeof *b->scale_name);
    b->zero_name = ledge__arena_alloc(b->arena, n_values, sizeof *b->zero_name);
    b->quantized_name = ledge__arena_alloc(b->arena, n_values, sizeof *b->quantized_name);
    b->n_readers = ledge__arena_alloc(b->arena, n_values, sizeof *b->n_readers);
    b->weight_name = ledge__arena_alloc(b->arena, n_nodes, sizeof *b->weight_name);
    b->weight_scales = ledge__arena_alloc(b->arena, n_nodes, sizeof *b->weight_scales);
    if (!b->scale_name || !b->zero_name || !b->quantized_name || !b->n_readers ||
        !b->weight_name || !b->weight_scales)
        return ledge__no_memory(b->err);
    LEDGE_TRY(ledge__graph_export(q->graph, m, b->err));
    if (q->o.mode == LEDGE_QUANT_STATIC)
        LEDGE_TRY(ledge__quant_build_inputs(b));
    for (uint32_t i = 0; i < q->n_nodes; i++)
        LEDGE_TRY(build_node(b, i, &m->graph.nodes[i]));
    m->graph.nodes = b->nodes;
    m->graph.n_nodes = b->n_nodes;
    return join_tensors(b, &m->graph);
}

LedgeStatus ledge__quantizer_build(const LedgeQuantizer *q, LedgeArena *arena, LedgeError *err,
                                   OnnxModel **out)
{
    LedgeQuantBuild b = {.q = q, .arena = arena, .err = err};
    OnnxModel *m = ledge__arena_alloc(arena, 1, sizeof *m);
    if (!m)
        return ledge__no_memory(err);
    if (q->o.mode == LEDGE_QUANT_STATIC && !q->has_ranges)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "ranges are chosen before a static model is built");
    *m = *q->onnx;
    m->arena = arena;
    m->mappings = NULL;
    m->producer_name = (LedgeStr){"ledge", 5};
    m->producer_version = (LedgeStr){ledge_version(), strlen(ledge_version())};
    LEDGE_TRY(build_graph(&b, m));
    LEDGE_TRY(set_opsets(&b, m));
    *out = m;
    return LEDGE_OK;
}
