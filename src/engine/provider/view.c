/* Making the providers' view of a graph, see view.h. */
#include "engine/provider/view.h"

static bool plain(const LedgeTensor *t)
{
    return t->type < LEDGE_SEQUENCE && t->type != LEDGE_STRING && t->type != LEDGE_TYPE_NONE;
}

static bool known_attribute(const LedgeAttr *a)
{
    return a->type == ONNX_ATTR_FLOAT || a->type == ONNX_ATTR_INT || a->type == ONNX_ATTR_STRING ||
           a->type == ONNX_ATTR_TENSOR || a->type == ONNX_ATTR_FLOATS || a->type == ONNX_ATTR_INTS;
}

bool ledge__view_offers(const LedgeNode *n)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (!known_attribute(&n->attrs[i]))
            return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !plain(&n->in[i].value->t))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && !plain(&n->out[i]->t))
            return false;
    return n->n_explicit == n->n_in;
}

static const void *as_onnx(const LedgeProviderGraph *graph, size_t *size)
{
    ProviderView *v = (ProviderView *)(uintptr_t)graph;
    if (!v->bytes) {
        OnnxModel copy = *v->model;
        copy.arena = v->arena;
        memset(&copy.graph, 0, sizeof copy.graph);
        if (ledge__graph_export(v->source, &copy, NULL) ||
            ledge__onnx_write_memory(&copy, ledge__arena_allocator(v->arena), &v->bytes,
                                     &v->n_bytes, NULL))
            return NULL;
    }
    *size = v->n_bytes;
    return v->bytes;
}

static bool fill_attribute(LedgeProviderAttribute *to, const LedgeAttr *a)
{
    *to = (LedgeProviderAttribute){.name = a->name, .type = (LedgeAttributeType)a->type};
    if (!known_attribute(a))
        return false;
    to->f = a->f;
    to->i = a->i;
    to->s = a->s.data;
    to->tensor = a->tensors;
    to->floats = a->floats;
    to->ints = a->ints;
    to->count = a->count;
    return true;
}

static bool fill_node(ProviderView *v, const LedgeNode *n, LedgeProviderNode *to)
{
    int32_t *in = ledge__arena_alloc(v->arena, n->n_explicit, sizeof *in);
    int32_t *out = ledge__arena_alloc(v->arena, n->n_out, sizeof *out);
    LedgeProviderAttribute *attrs = ledge__arena_alloc(v->arena, n->n_attrs, sizeof *attrs);
    if (!in || !out || !attrs)
        return false;
    for (uint32_t i = 0; i < n->n_explicit; i++)
        in[i] = n->in[i].value ? (int32_t)n->in[i].value->id : -1;
    for (uint32_t i = 0; i < n->n_out; i++)
        out[i] = n->out[i] ? (int32_t)n->out[i]->id : -1;
    *to = (LedgeProviderNode){.name = n->name,
                              .domain = n->domain,
                              .op_type = n->op_type,
                              .opset = n->opset,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = n->n_explicit,
                              .n_outputs = n->n_out,
                              .attributes = attrs,
                              .offered = ledge__view_offers(n)};
    for (size_t i = 0; i < n->n_attrs; i++)
        to->n_attributes += fill_attribute(&attrs[to->n_attributes], &n->attrs[i]);
    return true;
}

static bool fill_ends(ProviderView *v, LedgeValue **values, uint32_t n, const int32_t **to,
                      size_t *count)
{
    int32_t *ids = ledge__arena_alloc(v->arena, n, sizeof *ids);
    for (uint32_t i = 0; ids && i < n; i++)
        ids[i] = (int32_t)values[i]->id;
    *to = ids;
    *count = n;
    return ids != NULL;
}

static bool fill(ProviderView *v, const int64_t *macs)
{
    const LedgeGraph *g = v->source;
    size_t n_nodes = 0;
    for (const LedgeNode *n = g->first; n; n = n->next)
        n_nodes++;
    LedgeProviderValue *values = ledge__arena_alloc(v->arena, g->n_values, sizeof *values);
    LedgeProviderNode *nodes = ledge__arena_alloc(v->arena, n_nodes, sizeof *nodes);
    if (!values || !nodes)
        return false;
    for (uint32_t i = 0; i < g->n_values; i++) {
        values[i].name = g->values[i]->name;
        values[i].tensor = g->values[i]->t;
        if (!ledge__value_is_constant(g->values[i]))
            values[i].tensor.data = NULL;
    }
    v->graph.values = values;
    v->graph.n_values = g->n_values;
    v->graph.nodes = nodes;
    for (const LedgeNode *n = g->first; n; n = n->next) {
        LedgeProviderNode *to = &nodes[v->graph.n_nodes];
        if (!fill_node(v, n, to))
            return false;
        to->macs = macs ? macs[v->graph.n_nodes] : 0;
        v->graph.n_nodes++;
    }
    return fill_ends(v, g->inputs, g->n_inputs, &v->graph.inputs, &v->graph.n_inputs) &&
           fill_ends(v, g->outputs, g->n_outputs, &v->graph.outputs, &v->graph.n_outputs);
}

LedgeStatus ledge__view_new(const LedgeAllocator *a, const LedgeGraph *g, const OnnxModel *model,
                            const int64_t *macs, LedgeError *err, ProviderView **out)
{
    LedgeArena *arena = ledge__arena_new(a);
    ProviderView *v = arena ? ledge__arena_alloc(arena, 1, sizeof *v) : NULL;
    if (!v || g->n_values > INT32_MAX) {
        ledge__arena_free(arena);
        return ledge__no_memory(err);
    }
    v->arena = arena;
    v->source = g;
    v->model = model;
    v->graph.model_path = model->path;
    v->graph.onnx = as_onnx;
    if (!fill(v, macs)) {
        ledge__view_free(v);
        return ledge__no_memory(err);
    }
    *out = v;
    return LEDGE_OK;
}

void ledge__view_free(ProviderView *v)
{
    if (!v)
        return;
    ledge__free(ledge__arena_allocator(v->arena), v->bytes);
    ledge__arena_free(v->arena);
}
