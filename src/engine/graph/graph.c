/* Making and changing graphs: values, nodes, use lists, order. */
#include "engine/graph/graph.h"

LedgeStatus ledge__graph_new(const LedgeAllocator *a, LedgeGraph **out)
{
    LedgeArena *arena = ledge__arena_new(a);
    if (!arena)
        return LEDGE_ERROR_MEMORY;
    LedgeGraph *g = ledge__arena_alloc(arena, 1, sizeof *g);
    if (!g) {
        ledge__arena_free(arena);
        return LEDGE_ERROR_MEMORY;
    }
    g->arena = arena;
    g->name = "";
    g->opset = ONNX_MAX_OPSET;
    *out = g;
    return LEDGE_OK;
}

void ledge__graph_free(LedgeGraph *graph)
{
    if (graph)
        ledge__arena_free(graph->arena);
}

/* Arrays of a graph grow inside its arena: the old copy stays until the arena goes. */
static bool arena_grow(LedgeArena *arena, void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    size_t wanted = *cap ? *cap * 2 : 16;
    void *p = ledge__arena_alloc(arena, wanted, size);
    if (!p)
        return false;
    if (count)
        memcpy(p, *items, count * size);
    *items = p;
    *cap = wanted;
    return true;
}

static size_t name_slot(const LedgeGraph *g, const char *name)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 1099511628211u;
    return (size_t)(h ^ (h >> 32)) & (g->cap_names - 1);
}

LedgeValue *ledge__value_find(const LedgeGraph *g, const char *name)
{
    if (!g->cap_names)
        return NULL;
    for (size_t i = name_slot(g, name); g->by_name[i]; i = (i + 1) & (g->cap_names - 1))
        if (strcmp(g->by_name[i]->name, name) == 0)
            return g->by_name[i];
    return NULL;
}

static void insert_name(LedgeGraph *g, LedgeValue *v)
{
    size_t i = name_slot(g, v->name);
    while (g->by_name[i] && g->by_name[i] != v)
        i = (i + 1) & (g->cap_names - 1);
    g->n_names += !g->by_name[i];
    g->by_name[i] = v;
}

/* Room for two more names, so that swapping those of two values afterwards cannot fail. */
static bool reserve_names(LedgeGraph *g)
{
    if (2 * (g->n_names + 2) < g->cap_names)
        return true;
    size_t cap = g->cap_names ? 2 * g->cap_names : 64;
    LedgeValue **slots = ledge__arena_alloc(g->arena, cap, sizeof *slots);
    if (!slots)
        return false;
    g->by_name = slots;
    g->cap_names = cap;
    g->n_names = 0;
    for (uint32_t i = 0; i < g->n_values; i++)
        insert_name(g, g->values[i]);
    return true;
}

static const char *unique_value_name(LedgeGraph *g, const char *name)
{
    const bool given = name && name[0];
    const char *made = given ? ledge__arena_str(g->arena, name)
                             : ledge__arena_printf(g->arena, "ledge_v%u", g->n_values);
    for (uint32_t k = g->n_values; made && ledge__value_find(g, made); k++)
        made = ledge__arena_printf(g->arena, "%s__%u", given ? name : "ledge_v", k);
    return made;
}

LedgeValue *ledge__value_new_unchecked(LedgeGraph *g, const char *name)
{
    void *values = g->values;
    if (g->n_values == UINT32_MAX ||
        !arena_grow(g->arena, &values, g->n_values, &g->cap_values, sizeof *g->values))
        return NULL;
    g->values = values;
    LedgeValue *v = ledge__arena_alloc(g->arena, 1, sizeof *v);
    if (!v || !name || !reserve_names(g))
        return NULL;
    v->name = name;
    v->t.rank = -1;
    v->id = g->n_values;
    g->values[g->n_values++] = v;
    insert_name(g, v);
    return v;
}

LedgeValue *ledge__value_new(LedgeGraph *g, const char *name)
{
    return ledge__value_new_unchecked(g, unique_value_name(g, name));
}

LedgeValue *ledge__value_constant(LedgeGraph *g, const char *name, const LedgeTensor *t, bool copy)
{
    size_t bytes = ledge_tensor_bytes(t);
    LedgeValue *v = bytes == SIZE_MAX ? NULL : ledge__value_new(g, name);
    if (!v)
        return NULL;
    v->t = *t;
    v->t.bytes = bytes;
    if (copy || !t->data) {
        v->t.data = ledge__arena_alloc(g->arena, bytes, 1);
        if (!v->t.data)
            return NULL;
        if (bytes && t->data)
            memcpy(v->t.data, t->data, bytes);
    }
    return v;
}

/* Lists of inputs and outputs are short; a copy a step keeps them plain arrays. */
static bool append_value(LedgeArena *arena, LedgeValue ***list, uint32_t *count, LedgeValue *v)
{
    LedgeValue **p = ledge__arena_append(arena, *list, *count, sizeof *p);
    if (!p)
        return false;
    p[(*count)++] = v;
    *list = p;
    return true;
}

bool ledge__graph_add_input(LedgeGraph *g, LedgeValue *v)
{
    v->is_input = true;
    return append_value(g->arena, &g->inputs, &g->n_inputs, v);
}

bool ledge__graph_add_output(LedgeGraph *g, LedgeValue *v)
{
    v->n_outputs++;
    return append_value(g->arena, &g->outputs, &g->n_outputs, v);
}

static void link_before(LedgeGraph *g, LedgeNode *n, LedgeNode *before)
{
    n->next = before;
    n->prev = before ? before->prev : g->last;
    if (n->prev)
        n->prev->next = n;
    else
        g->first = n;
    if (before)
        before->prev = n;
    else
        g->last = n;
}

static void unlink_node(LedgeGraph *g, LedgeNode *n)
{
    if (n->prev)
        n->prev->next = n->next;
    else
        g->first = n->next;
    if (n->next)
        n->next->prev = n->prev;
    else
        g->last = n->prev;
    n->next = n->prev = NULL;
}

LedgeNode *ledge__node_new(LedgeGraph *g, const char *domain, const char *op_type, const char *name,
                           uint32_t n_in, uint32_t n_out, LedgeNode *before)
{
    LedgeNode *n = ledge__arena_alloc(g->arena, 1, sizeof *n);
    if (!n)
        return NULL;
    g->n_nodes++;
    n->name = name && name[0] ? ledge__arena_str(g->arena, name)
                              : ledge__arena_printf(g->arena, "%s_%u", op_type, g->n_nodes);
    n->op_type = ledge__arena_str(g->arena, op_type);
    n->domain = ledge__arena_str(g->arena, domain);
    n->opset = domain[0] ? 1 : g->opset;
    n->n_in = n->n_explicit = n->cap_in = n_in;
    n->n_out = n_out;
    n->in = ledge__arena_alloc(g->arena, n_in, sizeof *n->in);
    n->out = ledge__arena_alloc(g->arena, n_out, sizeof *n->out);
    if (!n->name || !n->op_type || !n->domain || !n->in || !n->out)
        return NULL;
    for (uint32_t i = 0; i < n_in; i++)
        n->in[i].node = n;
    link_before(g, n, before);
    return n;
}

static void unlink_use(LedgeUse *u)
{
    if (!u->value)
        return;
    if (u->prev)
        u->prev->next = u->next;
    else
        u->value->uses = u->next;
    if (u->next)
        u->next->prev = u->prev;
    u->value->n_uses--;
    u->value = NULL;
    u->next = u->prev = NULL;
}

static void link_use(LedgeUse *u, LedgeValue *v)
{
    u->value = v;
    u->prev = NULL;
    u->next = v->uses;
    if (v->uses)
        v->uses->prev = u;
    v->uses = u;
    v->n_uses++;
}

void ledge__node_set_input(LedgeNode *n, uint32_t index, LedgeValue *v)
{
    LedgeUse *u = &n->in[index];
    unlink_use(u);
    u->node = n;
    if (v)
        link_use(u, v);
}

/* Uses are linked by their addresses, so each is unlinked and linked anew. */
static bool grow_inputs(LedgeGraph *g, LedgeNode *n)
{
    const uint32_t cap = n->n_in < 4 ? 4 : 2 * n->n_in;
    LedgeUse *old = n->in;
    LedgeUse *in = ledge__arena_alloc(g->arena, cap, sizeof *in);
    if (!in)
        return false;
    n->in = in;
    n->cap_in = cap;
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *value = old[i].value;
        unlink_use(&old[i]);
        ledge__node_set_input(n, i, value);
    }
    return true;
}

bool ledge__node_add_input(LedgeGraph *g, LedgeNode *n, LedgeValue *v)
{
    if (n->n_in == n->cap_in && !grow_inputs(g, n))
        return false;
    ledge__node_set_input(n, n->n_in++, v);
    return true;
}

void ledge__node_set_output(LedgeNode *n, uint32_t index, LedgeValue *v)
{
    if (n->out[index] && n->out[index]->producer == n)
        n->out[index]->producer = NULL;
    n->out[index] = v;
    if (v)
        v->producer = n;
}

/* A graph output keeps its name whichever value carries it. */
static void take_over_outputs(LedgeGraph *g, LedgeValue *from, LedgeValue *to)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    bool rename = from->n_outputs && !to->n_outputs && !to->is_input;
    to->n_outputs += from->n_outputs;
    from->n_outputs = 0;
    if (rename) {
        const char *name = to->name;
        to->name = from->name;
        from->name = name;
        to->dim_names = from->dim_names;
        if (reserve_names(g)) { /* else a new name may miss these: told when the model is read */
            insert_name(g, to);
            insert_name(g, from);
        }
    }
}

void ledge__value_replace(LedgeGraph *g, LedgeValue *from, LedgeValue *to)
{
    if (from == to)
        return;
    while (from->uses) {
        LedgeUse *u = from->uses;
        unlink_use(u);
        link_use(u, to);
    }
    take_over_outputs(g, from, to);
}

void ledge__node_remove(LedgeGraph *g, LedgeNode *n)
{
    if (n->removed)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        unlink_use(&n->in[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && n->out[i]->producer == n)
            n->out[i]->producer = NULL;
    unlink_node(g, n);
    n->removed = true;
}

void ledge__node_move_before(LedgeGraph *g, LedgeNode *n, LedgeNode *before)
{
    if (n == before)
        return;
    unlink_node(g, n);
    link_before(g, n, before);
}

LedgeNode *ledge__value_only_reader(const LedgeValue *v)
{
    return v->n_uses == 1 && v->n_outputs == 0 ? v->uses->node : NULL;
}
