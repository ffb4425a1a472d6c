/* A graph back into ONNX structures, for writing models. */
#include "engine/graph/graph.h"

typedef struct Export {
    LedgeArena *arena;
    LedgeError *err;
} Export;

static LedgeStr str(const char *s)
{
    return (LedgeStr){s, strlen(s)};
}

static LedgeStatus export_graph(Export *x, const LedgeGraph *g, OnnxGraph *to);

static LedgeStatus export_tensor(Export *x, const char *name, const LedgeTensor *t, OnnxTensor *to)
{
    memset(to, 0, sizeof *to);
    to->name = str(name);
    to->data_type = (int32_t)t->type;
    to->n_dims = (size_t)t->rank;
    to->offset = to->length = -1;
    to->dims = ledge__arena_alloc(x->arena, to->n_dims, sizeof *to->dims);
    if (!to->dims)
        return ledge__no_memory(x->err);
    for (size_t d = 0; d < to->n_dims; d++)
        to->dims[d] = t->dims[d];
    if (t->type != LEDGE_STRING) {
        to->data = t->data;
        to->data_size = ledge_tensor_bytes(t);
        return LEDGE_OK;
    }
    const LedgeString *s = t->data;
    to->n_strings = (size_t)ledge_tensor_count(t);
    to->strings = ledge__arena_alloc(x->arena, to->n_strings, sizeof *to->strings);
    if (!to->strings)
        return ledge__no_memory(x->err);
    for (size_t i = 0; i < to->n_strings; i++)
        to->strings[i] = (LedgeStr){s[i].data, s[i].size};
    return LEDGE_OK;
}

static LedgeStatus export_type(Export *x, const LedgeTensor *t, const char **dim_names, OnnxType *to)
{
    memset(to, 0, sizeof *to);
    if (t->type >= LEDGE_SEQUENCE) {
        LedgeTensor element = {.type = (LedgeType)t->dims[1], .rank = -1};
        to->kind = t->type == LEDGE_SEQUENCE ? ONNX_TYPE_SEQUENCE : ONNX_TYPE_OPTIONAL;
        to->element = ledge__arena_alloc(x->arena, 1, sizeof *to->element);
        return to->element ? export_type(x, &element, NULL, to->element) : ledge__no_memory(x->err);
    }
    to->kind = ONNX_TYPE_TENSOR;
    to->elem_type = (int32_t)t->type;
    to->has_shape = t->rank >= 0;
    to->n_dims = t->rank > 0 ? (size_t)t->rank : 0;
    to->dims = ledge__arena_alloc(x->arena, to->n_dims, sizeof *to->dims);
    if (!to->dims)
        return ledge__no_memory(x->err);
    for (size_t d = 0; d < to->n_dims; d++) {
        to->dims[d].value = t->dims[d];
        if (t->dims[d] < 0 && dim_names && dim_names[d])
            to->dims[d].param = str(dim_names[d]);
    }
    return LEDGE_OK;
}

static LedgeStatus export_infos(Export *x, LedgeValue **values, size_t n, OnnxValueInfo **to,
                                size_t *count)
{
    OnnxValueInfo *infos = ledge__arena_alloc(x->arena, n, sizeof *infos);
    if (!infos)
        return ledge__no_memory(x->err);
    for (size_t i = 0; i < n; i++) {
        infos[i].name = str(values[i]->name);
        LEDGE_TRY(export_type(x, &values[i]->t, values[i]->dim_names, &infos[i].type));
    }
    *to = infos;
    *count = n;
    return LEDGE_OK;
}

static LedgeStatus export_attr(Export *x, const LedgeAttr *a, OnnxAttr *to)
{
    *to = (OnnxAttr){.name = str(a->name), .type = a->type, .f = a->f, .i = a->i,
                     .s = {a->s.data, a->s.size}, .floats = a->floats, .ints = a->ints,
                     .count = a->count};
    if (a->strings) {
        to->strings = ledge__arena_alloc(x->arena, a->count, sizeof *to->strings);
        for (size_t i = 0; to->strings && i < a->count; i++)
            to->strings[i] = (LedgeStr){a->strings[i].data, a->strings[i].size};
        return to->strings ? LEDGE_OK : ledge__no_memory(x->err);
    }
    if (a->tensors) {
        /* A sparse tensor was made dense when the graph was built. */
        to->type = a->type == ONNX_ATTR_SPARSE_TENSOR    ? ONNX_ATTR_TENSOR
                   : a->type == ONNX_ATTR_SPARSE_TENSORS ? ONNX_ATTR_TENSORS
                                                         : a->type;
        to->tensors = ledge__arena_alloc(x->arena, a->count, sizeof *to->tensors);
        for (size_t i = 0; to->tensors && i < a->count; i++)
            LEDGE_TRY(export_tensor(x, "", &a->tensors[i], &to->tensors[i]));
        return to->tensors ? LEDGE_OK : ledge__no_memory(x->err);
    }
    if (a->graphs) {
        to->graphs = ledge__arena_alloc(x->arena, a->count, sizeof *to->graphs);
        for (size_t i = 0; to->graphs && i < a->count; i++)
            LEDGE_TRY(export_graph(x, a->graphs[i], &to->graphs[i]));
        return to->graphs ? LEDGE_OK : ledge__no_memory(x->err);
    }
    if (a->type == ONNX_ATTR_TYPE_PROTO) {
        to->types = ledge__arena_alloc(x->arena, 1, sizeof *to->types);
        return to->types ? export_type(x, &a->type_proto, NULL, to->types)
                         : ledge__no_memory(x->err);
    }
    return LEDGE_OK;
}

static LedgeStatus export_node(Export *x, const LedgeNode *n, OnnxNode *to)
{
    to->name = str(n->name);
    to->op_type = str(n->op_type);
    to->domain = str(n->domain);
    to->n_inputs = n->n_explicit;
    to->n_outputs = n->n_out;
    to->n_attrs = n->n_attrs;
    to->inputs = ledge__arena_alloc(x->arena, to->n_inputs, sizeof *to->inputs);
    to->outputs = ledge__arena_alloc(x->arena, to->n_outputs, sizeof *to->outputs);
    to->attrs = ledge__arena_alloc(x->arena, to->n_attrs, sizeof *to->attrs);
    if (!to->inputs || !to->outputs || !to->attrs)
        return ledge__no_memory(x->err);
    for (size_t i = 0; i < to->n_inputs; i++)
        if (n->in[i].value)
            to->inputs[i] = str(n->in[i].value->name);
    for (size_t i = 0; i < to->n_outputs; i++)
        if (n->out[i])
            to->outputs[i] = str(n->out[i]->name);
    for (size_t i = 0; i < to->n_attrs; i++)
        LEDGE_TRY(export_attr(x, &n->attrs[i], &to->attrs[i]));
    return LEDGE_OK;
}

/* A captured value bears the name that its source has now. */
static void follow_captures(const LedgeGraph *g)
{
    for (uint32_t i = 0; g->owner && i < g->n_captured; i++) {
        const LedgeValue *outer = ledge__node_in(g->owner, g->captured_slot[i]);
        if (outer)
            g->inputs[g->n_inputs - g->n_captured + i]->name = outer->name;
    }
}

/* A constant of an outer graph that a subgraph shares is written once, outside. */
static bool in_outer_graph(const LedgeGraph *g, const LedgeValue *v)
{
    for (g = g->parent; g; g = g->parent) {
        const LedgeValue *outer = ledge__value_find(g, v->name);
        if (outer && outer->t.data == v->t.data && outer->n_uses)
            return true;
    }
    return false;
}

static LedgeStatus export_constants(Export *x, const LedgeGraph *g, OnnxGraph *to)
{
    size_t count = 0;
    to->initializers = ledge__arena_alloc(x->arena, g->n_values, sizeof *to->initializers);
    if (!to->initializers)
        return ledge__no_memory(x->err);
    for (uint32_t i = 0; i < g->n_values; i++) {
        const LedgeValue *v = g->values[i];
        if (!ledge__value_is_constant(v) || (!v->n_uses && !v->n_outputs) || in_outer_graph(g, v))
            continue;
        LEDGE_TRY(export_tensor(x, v->name, &v->t, &to->initializers[count++]));
    }
    to->n_initializers = count;
    return LEDGE_OK;
}

static LedgeStatus export_graph(Export *x, const LedgeGraph *g, OnnxGraph *to)
{
    size_t n = 0;
    memset(to, 0, sizeof *to);
    follow_captures(g);
    to->name = str(g->name[0] ? g->name : "graph");
    for (const LedgeNode *node = g->first; node; node = node->next)
        n++;
    to->nodes = ledge__arena_alloc(x->arena, n, sizeof *to->nodes);
    if (!to->nodes)
        return ledge__no_memory(x->err);
    for (const LedgeNode *node = g->first; node; node = node->next)
        LEDGE_TRY(export_node(x, node, &to->nodes[to->n_nodes++]));
    LEDGE_TRY(export_constants(x, g, to));
    LEDGE_TRY(export_infos(x, g->inputs, g->n_inputs - g->n_captured, &to->inputs, &to->n_inputs));
    return export_infos(x, g->outputs, g->n_outputs, &to->outputs, &to->n_outputs);
}

static bool has_ledge_nodes(const LedgeGraph *g)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        if (strcmp(n->domain, "ledge") == 0)
            return true;
    return false;
}

static LedgeStatus import_ledge(Export *x, OnnxModel *model)
{
    OnnxOpset *opsets = ledge__arena_alloc(x->arena, model->n_opsets + 1, sizeof *opsets);
    if (!opsets)
        return ledge__no_memory(x->err);
    if (model->n_opsets)
        memcpy(opsets, model->opsets, model->n_opsets * sizeof *opsets);
    opsets[model->n_opsets++] = (OnnxOpset){.domain = str("ledge"), .version = 1};
    model->opsets = opsets;
    return LEDGE_OK;
}

LedgeStatus ledge__graph_export(const LedgeGraph *graph, OnnxModel *model, LedgeError *err)
{
    Export x = {model->arena, err};
    OnnxGraph made;
    LEDGE_TRY(export_graph(&x, graph, &made));
    made.doc_string = model->graph.doc_string;
    made.metadata = model->graph.metadata;
    made.n_metadata = model->graph.n_metadata;
    model->graph = made;
    model->functions = NULL; /* inlined when the graph was built */
    model->n_functions = 0;
    if (has_ledge_nodes(graph) && ledge__onnx_opset(model, "ledge") == 0)
        return import_ledge(&x, model);
    return LEDGE_OK;
}
