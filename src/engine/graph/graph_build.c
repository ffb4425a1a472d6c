/* Building a graph from ONNX structures: scopes, nodes, functions inlined, captures made
 * explicit. Every name must be defined, once; nodes end in topological order. */
#include "engine/graph/graph_build.h"

/* ---- scopes ---- */

static uint64_t hash_str(LedgeStr s)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (uint8_t)s.p[i]) * 1099511628211u;
    return h ^ (h >> 32);
}

static bool same(LedgeStr a, LedgeStr b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

LedgeValue *ledge__scope_get(const GraphScope *s, LedgeStr key)
{
    if (s->cap == 0)
        return NULL;
    for (size_t i = (size_t)hash_str(key) & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
        if (!s->slots[i].value)
            return NULL;
        if (same(s->slots[i].key, key))
            return s->slots[i].value;
    }
}

static void scope_insert(GraphScope *s, LedgeStr key, LedgeValue *v)
{
    size_t i = (size_t)hash_str(key) & (s->cap - 1);
    while (s->slots[i].value)
        i = (i + 1) & (s->cap - 1);
    s->slots[i].key = key;
    s->slots[i].value = v;
}

bool ledge__scope_put(GraphBuild *b, GraphScope *s, LedgeStr key, LedgeValue *v)
{
    if (2 * s->count >= s->cap) {
        GraphScope old = *s;
        s->cap = s->cap ? s->cap * 2 : 64;
        s->slots = ledge__arena_alloc(b->arena, s->cap, sizeof *s->slots);
        if (!s->slots) {
            *s = old;
            return false;
        }
        for (size_t i = 0; i < old.cap; i++)
            if (old.slots[i].value)
                scope_insert(s, old.slots[i].key, old.slots[i].value);
    }
    scope_insert(s, key, v);
    s->count++;
    return true;
}

static const char *to_text(GraphBuild *b, LedgeStr s)
{
    const char *p = ledge__arena_strn(b->arena, s.p, s.n);
    return p ? p : "";
}

/* Defines a new name in a scope. */
static LedgeStatus define(GraphBuild *b, GraphScope *s, LedgeStr name, LedgeValue **out)
{
    if (ledge__scope_get(s, name))
        return ledge__fail(b->err, LEDGE_ERROR_FORMAT, to_text(b, name),
                           "this name is defined twice in one graph");
    const char *text = s->prefix
                           ? ledge__arena_printf(b->arena, "%s/%s", s->prefix, to_text(b, name))
                           : ledge__arena_strn(b->arena, name.p, name.n);
    /* A function's inner name may meet one of the file's own. */
    LedgeValue *v = s->prefix ? (text ? ledge__value_new(s->graph, text) : NULL)
                              : ledge__value_new_unchecked(s->graph, text);
    if (!v || !ledge__scope_put(b, s, name, v))
        return ledge__no_memory(b->err);
    *out = v;
    return LEDGE_OK;
}

static bool captures_grow(LedgeGraph *g, uint32_t slot)
{
    uint32_t *slots =
        ledge__arena_append(g->arena, g->captured_slot, g->n_captured, sizeof *slots);
    if (!slots)
        return false;
    slots[g->n_captured++] = slot;
    g->captured_slot = slots;
    return true;
}

/* A value of an outer scope, seen from `s`: constants are shared, others become inputs of the
 * owner node and of its subgraph. NULL with *status OK: no such name. */
static LedgeValue *lookup(GraphBuild *b, GraphScope *s, LedgeStr name, LedgeStatus *status)
{
    LedgeValue *v = ledge__scope_get(s, name);
    if (v || !s->parent)
        return v;
    LedgeValue *outer = lookup(b, s->parent, name, status);
    if (!outer)
        return NULL;
    v = ledge__value_new_unchecked(s->graph, outer->name);
    if (!v || !ledge__scope_put(b, s, name, v))
        goto fail;
    v->t = outer->t;
    if (ledge__value_is_constant(outer))
        return v;
    uint32_t slot = s->owner->n_in;
    if (!ledge__node_add_input(s->parent->graph, s->owner, outer) ||
        !captures_grow(s->graph, slot) || !ledge__graph_add_input(s->graph, v))
        goto fail;
    return v;
fail:
    *status = ledge__no_memory(b->err);
    return NULL;
}

/* ---- nodes ---- */

static int opset_of(const OnnxOpset *opsets, size_t n, LedgeStr domain)
{
    bool onnx = domain.n == 0 || ledge__str_eq(domain, "ai.onnx");
    for (size_t i = 0; i < n; i++) {
        bool other = opsets[i].domain.n && !ledge__str_eq(opsets[i].domain, "ai.onnx");
        if (onnx ? !other : same(opsets[i].domain, domain))
            return opsets[i].version > 0 && opsets[i].version < 1000 ? (int)opsets[i].version : 1;
    }
    return 1;
}

static const OnnxFunction *find_function(const OnnxModel *m, const OnnxNode *n)
{
    for (size_t i = 0; i < m->n_functions; i++)
        if (same(m->functions[i].name, n->op_type) && same(m->functions[i].domain, n->domain) &&
            same(m->functions[i].overload, n->overload))
            return &m->functions[i];
    return NULL;
}

static LedgeStatus add_nodes(GraphBuild *b, GraphScope *s, const GraphCall *call,
                             const OnnxNode *nodes, size_t n, const OnnxOpset *opsets,
                             size_t n_opsets);

/* A function's output that is its own input or a constant still needs a node of its own. */
static LedgeStatus add_identity(GraphBuild *b, GraphScope *s, LedgeValue *from, LedgeValue *to)
{
    LedgeNode *n = ledge__node_new(s->graph, "", "Identity", NULL, 1, 1, NULL);
    if (!n)
        return ledge__no_memory(b->err);
    ledge__node_set_input(n, 0, from);
    ledge__node_set_output(n, 0, to);
    return LEDGE_OK;
}

static LedgeStatus bind_formals(GraphBuild *b, GraphScope *s, GraphScope *inner,
                                const OnnxFunction *f, const OnnxNode *from)
{
    LedgeStatus status = LEDGE_OK;
    if (from->n_inputs > f->n_inputs || from->n_outputs > f->n_outputs)
        return ledge__fail(b->err, LEDGE_ERROR_FORMAT, to_text(b, from->name),
                           "function %s is called with more inputs or outputs than it has",
                           to_text(b, f->name));
    for (size_t i = 0; i < from->n_inputs; i++) {
        if (from->inputs[i].n == 0)
            continue;
        LedgeValue *v = lookup(b, s, from->inputs[i], &status);
        LEDGE_TRY(status);
        if (!v)
            return ledge__fail(b->err, LEDGE_ERROR_FORMAT, to_text(b, from->name),
                               "input '%s' is not defined", to_text(b, from->inputs[i]));
        if (!ledge__scope_put(b, inner, f->inputs[i], v))
            return ledge__no_memory(b->err);
    }
    return LEDGE_OK;
}

static LedgeStatus inline_function(GraphBuild *b, GraphScope *s, const GraphCall *outer,
                                   const OnnxFunction *f, const OnnxNode *from)
{
    GraphCall call = {outer, f, from, outer ? outer->depth + 1 : 1};
    GraphScope inner = {.graph = s->graph};
    const char *label = from->name.n ? to_text(b, from->name) : to_text(b, f->name);
    if (call.depth > ONNX_MAX_NESTING)
        return ledge__fail(b->err, LEDGE_ERROR_LIMIT, label,
                           "functions call each other more than %d deep", ONNX_MAX_NESTING);
    inner.prefix = ledge__arena_printf(b->arena, "%s%s%s.%u", s->prefix ? s->prefix : "",
                                       s->prefix ? "/" : "", label, b->n_nodes);
    if (!inner.prefix)
        return ledge__no_memory(b->err);
    LEDGE_TRY(bind_formals(b, s, &inner, f, from));
    LEDGE_TRY(add_nodes(b, &inner, &call, f->nodes, f->n_nodes, f->opsets, f->n_opsets));
    for (size_t i = 0; i < from->n_outputs; i++) {
        LedgeValue *to = from->outputs[i].n ? ledge__scope_get(s, from->outputs[i]) : NULL;
        LedgeValue *v = ledge__scope_get(&inner, f->outputs[i]);
        if (to && !v)
            return ledge__fail(b->err, LEDGE_ERROR_FORMAT, label,
                               "function %s does not define its output '%s'", to_text(b, f->name),
                               to_text(b, f->outputs[i]));
        if (to)
            LEDGE_TRY(add_identity(b, s, v, to));
    }
    return LEDGE_OK;
}

/* A function's formal input that the caller left out is an omitted input inside. */
static bool is_formal(const GraphCall *call, LedgeStr name)
{
    for (size_t i = 0; call && i < call->function->n_inputs; i++)
        if (same(call->function->inputs[i], name))
            return true;
    return false;
}

static LedgeStatus link_inputs(GraphBuild *b, GraphScope *s, const GraphCall *call,
                               const OnnxNode *from, LedgeNode *n)
{
    LedgeStatus status = LEDGE_OK;
    for (uint32_t i = 0; i < n->n_explicit; i++) {
        if (from->inputs[i].n == 0)
            continue;
        LedgeValue *v = lookup(b, s, from->inputs[i], &status);
        LEDGE_TRY(status);
        if (!v && !is_formal(call, from->inputs[i]))
            return ledge__fail(b->err, LEDGE_ERROR_FORMAT, n->name, "input '%s' is not defined",
                               to_text(b, from->inputs[i]));
        ledge__node_set_input(n, i, v);
    }
    return LEDGE_OK;
}

/* Operators write their first output without asking whether it is wanted; only the recurrent
 * ones, where it is large and often left out, do ask. */
static LedgeStatus give_first_output(GraphBuild *b, LedgeGraph *g, LedgeNode *n)
{
    static const char *const asking[] = {"RNN", "GRU", "LSTM"};
    for (size_t k = 0; k < sizeof asking / sizeof asking[0]; k++)
        if (strcmp(n->op_type, asking[k]) == 0)
            return LEDGE_OK;
    if (n->n_out < 2 || n->out[0])
        return LEDGE_OK;
    LedgeValue *v = ledge__value_new(g, NULL);
    if (!v)
        return ledge__no_memory(b->err);
    ledge__node_set_output(n, 0, v);
    return LEDGE_OK;
}

/* ONNX's own under another name, as ONNX Runtime's tools write them where the model's version of
 * ONNX lacks a type (int16 and 4 bits before 21). */
static bool is_linear_of_microsoft(const OnnxNode *n)
{
    return ledge__str_eq(n->domain, "com.microsoft") &&
           (ledge__str_eq(n->op_type, "QuantizeLinear") ||
            ledge__str_eq(n->op_type, "DequantizeLinear"));
}

static LedgeStatus add_node(GraphBuild *b, GraphScope *s, const GraphCall *call,
                            const OnnxNode *from, const OnnxOpset *opsets, size_t n_opsets)
{
    if (++b->n_nodes > GRAPH_MAX_NODES)
        return ledge__fail(b->err, LEDGE_ERROR_LIMIT, to_text(b, from->name),
                           "the model has more than %u nodes once its functions are inlined",
                           GRAPH_MAX_NODES);
    const OnnxFunction *f = find_function(b->model, from);
    if (f)
        return inline_function(b, s, call, f, from);
    const bool linear = is_linear_of_microsoft(from);
    const bool plain = linear || ledge__str_eq(from->domain, "ai.onnx");
    const char *domain = plain ? "" : ledge__arena_strn(b->arena, from->domain.p, from->domain.n);
    const char *op_type = ledge__arena_strn(b->arena, from->op_type.p, from->op_type.n);
    const char *name = ledge__arena_strn(b->arena, from->name.p, from->name.n);
    if (s->prefix && name && name[0])
        name = ledge__arena_printf(b->arena, "%s/%s", s->prefix, name);
    if (!domain || !op_type || !name)
        return ledge__no_memory(b->err);
    LedgeNode *n = ledge__node_new(s->graph, domain, op_type, name, (uint32_t)from->n_inputs,
                                   (uint32_t)from->n_outputs, NULL);
    if (!n)
        return ledge__no_memory(b->err);
    n->opset = linear ? 21 : opset_of(opsets, n_opsets, from->domain);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (from->outputs[i].n)
            ledge__node_set_output(n, i, ledge__scope_get(s, from->outputs[i]));
    LEDGE_TRY(give_first_output(b, s->graph, n));
    LEDGE_TRY(link_inputs(b, s, call, from, n));
    return ledge__build_attrs(b, s, call, from, n);
}

/* All outputs are defined before any node is linked, so that order in the file is free. */
static LedgeStatus add_nodes(GraphBuild *b, GraphScope *s, const GraphCall *call,
                             const OnnxNode *nodes, size_t n, const OnnxOpset *opsets,
                             size_t n_opsets)
{
    LedgeValue *v;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < nodes[i].n_outputs; k++)
            if (nodes[i].outputs[k].n)
                LEDGE_TRY(define(b, s, nodes[i].outputs[k], &v));
    for (size_t i = 0; i < n; i++)
        LEDGE_TRY(add_node(b, s, call, &nodes[i], opsets, n_opsets));
    return LEDGE_OK;
}

/* ---- graphs ---- */

static LedgeStatus add_constants(GraphBuild *b, GraphScope *s, const OnnxGraph *from)
{
    LedgeValue *v;
    for (size_t i = 0; i < from->n_initializers; i++) {
        LEDGE_TRY(define(b, s, from->initializers[i].name, &v));
        LEDGE_TRY(ledge__build_tensor(b, &from->initializers[i], &v->t));
    }
    for (size_t i = 0; i < from->n_sparse_initializers; i++) {
        LEDGE_TRY(define(b, s, from->sparse_initializers[i].values.name, &v));
        LEDGE_TRY(ledge__build_sparse(b, &from->sparse_initializers[i], &v->t));
    }
    return LEDGE_OK;
}

/* Inputs that initializers already define (IR 3 lists them twice) are constants, not inputs. */
static LedgeStatus add_inputs(GraphBuild *b, GraphScope *s, const OnnxGraph *from)
{
    for (size_t i = 0; i < from->n_inputs; i++) {
        const OnnxValueInfo *info = &from->inputs[i];
        LedgeValue *v = ledge__scope_get(s, info->name);
        if (ledge__value_is_constant(v))
            continue;
        LEDGE_TRY(define(b, s, info->name, &v));
        LEDGE_TRY(ledge__build_type(b, info->name, &info->type, &v->t, &v->dim_names));
        if (!ledge__graph_add_input(s->graph, v))
            return ledge__no_memory(b->err);
    }
    return LEDGE_OK;
}

static LedgeStatus add_outputs(GraphBuild *b, GraphScope *s, const OnnxGraph *from)
{
    LedgeStatus status = LEDGE_OK;
    for (size_t i = 0; i < from->n_outputs; i++) {
        const OnnxValueInfo *info = &from->outputs[i];
        LedgeValue *v = lookup(b, s, info->name, &status);
        LEDGE_TRY(status);
        if (!v)
            return ledge__fail(b->err, LEDGE_ERROR_FORMAT, to_text(b, info->name),
                               "the graph's output is not defined by any node");
        if (v->producer)
            LEDGE_TRY(ledge__build_type(b, info->name, &info->type, &v->t, &v->dim_names));
        if (!ledge__graph_add_output(s->graph, v))
            return ledge__no_memory(b->err);
    }
    return LEDGE_OK;
}

static LedgeStatus add_value_info(GraphBuild *b, GraphScope *s, const OnnxGraph *from)
{
    for (size_t i = 0; i < from->n_value_info; i++) {
        LedgeValue *v = ledge__scope_get(s, from->value_info[i].name);
        if (v && v->producer && v->t.type == LEDGE_TYPE_NONE)
            LEDGE_TRY(ledge__build_type(b, v->name[0] ? from->value_info[i].name : (LedgeStr){0},
                                        &from->value_info[i].type, &v->t, NULL));
    }
    return LEDGE_OK;
}

static LedgeStatus fill_graph(GraphBuild *b, GraphScope *s, const GraphCall *call,
                              const OnnxGraph *from, const OnnxOpset *opsets, size_t n_opsets)
{
    LedgeGraph *g = s->graph;
    g->onnx = b->model;
    g->name = to_text(b, from->name);
    g->opset = opset_of(opsets, n_opsets, (LedgeStr){0});
    LEDGE_TRY(add_constants(b, s, from));
    LEDGE_TRY(add_inputs(b, s, from));
    /* Formal inputs stand before captured ones, so outputs and nodes come after. */
    LEDGE_TRY(add_nodes(b, s, call, from->nodes, from->n_nodes, opsets, n_opsets));
    LEDGE_TRY(add_outputs(b, s, from));
    LEDGE_TRY(add_value_info(b, s, from));
    return ledge__graph_sort(g, b->err);
}

LedgeStatus ledge__build_subgraph(GraphBuild *b, GraphScope *parent, LedgeNode *owner,
                                  const GraphCall *call, const OnnxGraph *from, LedgeGraph **out)
{
    int depth = 0; /* functions add to what nests in the file */
    for (const LedgeGraph *outer = parent->graph; outer; outer = outer->parent)
        depth++;
    if (depth > ONNX_MAX_NESTING)
        return ledge__fail(b->err, LEDGE_ERROR_LIMIT, owner->name,
                           "subgraphs lie more than %d deep inside each other", ONNX_MAX_NESTING);
    LedgeGraph *g = ledge__arena_alloc(b->arena, 1, sizeof *g);
    if (!g)
        return ledge__no_memory(b->err);
    g->arena = b->arena;
    g->parent = parent->graph;
    g->owner = owner;
    GraphScope s = {.parent = parent, .graph = g, .owner = owner};
    const OnnxOpset *opsets = call ? call->function->opsets : b->model->opsets;
    size_t n_opsets = call ? call->function->n_opsets : b->model->n_opsets;
    LEDGE_TRY(fill_graph(b, &s, call, from, opsets, n_opsets));
    *out = g;
    return LEDGE_OK;
}

LedgeStatus ledge__graph_build(const LedgeAllocator *a, const OnnxModel *model, LedgeError *err,
                               LedgeGraph **out)
{
    LedgeGraph *g;
    if (ledge__graph_new(a, &g) != LEDGE_OK)
        return ledge__no_memory(err);
    GraphBuild b = {.model = model, .arena = g->arena, .err = err};
    GraphScope s = {.graph = g};
    LedgeStatus status = fill_graph(&b, &s, NULL, &model->graph, model->opsets, model->n_opsets);
    if (status != LEDGE_OK) {
        ledge__graph_free(g);
        return status;
    }
    *out = g;
    return LEDGE_OK;
}
