/* Convex parts by levels: a node's level is that of the latest node before it, and one more where
 * the owner changes on the way. Nodes of one owner and one level form a part: whatever leaves it
 * and comes back has changed owner twice, so it comes back to a later level, and no part waits for
 * itself. */
#include "engine/provider/partition.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Cut {
    LedgeGraph *g;
    const OnnxModel *model;
    const uint8_t *owners;
    const int64_t *macs;
    LedgeError *err;
    PartList *list;
    uint32_t *level;   /* by node in order */
    uint32_t *made_by; /* by value: index of its node, UINT32_MAX: none */
    LedgeNode **nodes;
    uint32_t n_nodes;
    LedgeValue **inner; /* by value, of the part being made: its copy */
} Cut;

static bool set_up(Cut *c)
{
    LedgeArena *arena = c->list->arena;
    for (LedgeNode *n = c->g->first; n; n = n->next)
        c->n_nodes++;
    c->level = ledge__arena_alloc(arena, c->n_nodes, sizeof *c->level);
    c->nodes = ledge__arena_alloc(arena, c->n_nodes, sizeof(LedgeNode *));
    c->made_by = ledge__arena_alloc(arena, c->g->n_values, sizeof *c->made_by);
    c->inner = ledge__arena_alloc(arena, c->g->n_values, sizeof(LedgeValue *));
    if (!c->level || !c->nodes || !c->made_by || !c->inner)
        return false;
    if (c->g->n_values)
        memset(c->made_by, 0xff, c->g->n_values * sizeof *c->made_by);
    uint32_t k = 0;
    for (LedgeNode *n = c->g->first; n; n = n->next, k++) {
        c->nodes[k] = n;
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i])
                c->made_by[n->out[i]->id] = k;
    }
    return true;
}

static void set_levels(Cut *c)
{
    for (uint32_t k = 0; k < c->n_nodes; k++)
        for (uint32_t i = 0; i < c->nodes[k]->n_in; i++) {
            const LedgeValue *v = c->nodes[k]->in[i].value;
            const uint32_t from = v ? c->made_by[v->id] : UINT32_MAX;
            if (from == UINT32_MAX)
                continue;
            const uint32_t least = c->level[from] + (c->owners[from] != c->owners[k]);
            c->level[k] = least > c->level[k] ? least : c->level[k];
        }
}

/* ---- one part's graph ---- */

static LedgeValue *inner_input(Cut *c, Part *p, LedgeValue *v)
{
    if (c->inner[v->id])
        return c->inner[v->id];
    LedgeValue *to = ledge__value_is_constant(v)
                         ? ledge__value_constant(p->graph, v->name, &v->t, false)
                         : ledge__value_new(p->graph, v->name);
    if (!to)
        return NULL;
    if (!ledge__value_is_constant(v)) {
        const uint32_t n = p->graph->n_inputs;
        LedgeValue **outer =
            ledge__arena_append(c->list->arena, p->outer_in, n, sizeof(LedgeValue *));
        if (!outer || !ledge__graph_add_input(p->graph, to))
            return NULL;
        p->outer_in = outer;
        outer[n] = v;
        to->t = v->t;
        to->t.data = NULL;
    }
    return c->inner[v->id] = to;
}

static bool copy_node(Cut *c, Part *p, LedgeNode *n)
{
    LedgeNode *to =
        ledge__node_new(p->graph, n->domain, n->op_type, n->name, n->n_in, n->n_out, NULL);
    if (!to)
        return false;
    to->opset = n->opset;
    to->op = n->op;
    to->n_explicit = n->n_explicit;
    to->attrs = n->attrs;
    to->n_attrs = n->n_attrs;
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *v = n->in[i].value ? inner_input(c, p, n->in[i].value) : NULL;
        if (n->in[i].value && !v)
            return false;
        ledge__node_set_input(to, i, v);
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        LedgeValue *v = n->out[i] ? ledge__value_new(p->graph, n->out[i]->name) : NULL;
        if (n->out[i] && !v)
            return false;
        if (v) {
            v->t = n->out[i]->t;
            c->inner[n->out[i]->id] = v;
        }
        ledge__node_set_output(to, i, v);
    }
    return true;
}

/* Whether anybody outside the part reads v. */
static bool leaves(const LedgeValue *v, const uint32_t *part_of, uint32_t part)
{
    for (const LedgeUse *u = v->uses; u; u = u->next)
        if (part_of[u->node->mark] != part)
            return true;
    return v->n_outputs > 0;
}

static bool add_outputs(Cut *c, Part *p, const uint32_t *part_of, uint32_t part)
{
    for (size_t k = 0; k < p->n_nodes; k++)
        for (uint32_t i = 0; i < p->nodes[k]->n_out; i++) {
            LedgeValue *v = p->nodes[k]->out[i];
            if (!v || !leaves(v, part_of, part))
                continue;
            const uint32_t n = p->graph->n_outputs;
            LedgeValue **outer =
                ledge__arena_append(c->list->arena, p->outer_out, n, sizeof(LedgeValue *));
            if (!outer || !ledge__graph_add_output(p->graph, c->inner[v->id]))
                return false;
            p->outer_out = outer;
            outer[n] = v;
        }
    return true;
}

static bool finish_part(Cut *c, Part *p)
{
    LedgeArena *arena = c->list->arena;
    p->known = ledge__arena_alloc(arena, p->graph->n_values, sizeof *p->known);
    p->in = ledge__arena_alloc(arena, p->graph->n_inputs, sizeof *p->in);
    p->out = ledge__arena_alloc(arena, p->graph->n_outputs, sizeof *p->out);
    for (uint32_t i = 0; p->known && i < p->graph->n_values; i++)
        p->known[i] = p->graph->values[i]->t;
    return p->known && p->in && p->out;
}

static LedgeStatus make_graph(Cut *c, Part *p, const uint32_t *part_of, uint32_t part)
{
    const LedgeAllocator *a = ledge__arena_allocator(c->list->arena);
    if (ledge__graph_new(a, &p->graph))
        return ledge__no_memory(c->err);
    p->graph->opset = c->g->opset;
    p->graph->onnx = c->g->onnx;
    if (c->g->n_values)
        memset(c->inner, 0, c->g->n_values * sizeof *c->inner);
    for (size_t k = 0; k < p->n_nodes; k++)
        if (!copy_node(c, p, p->nodes[k]))
            return ledge__no_memory(c->err);
    if (!add_outputs(c, p, part_of, part) || !finish_part(c, p))
        return ledge__no_memory(c->err);
    int64_t *macs = ledge__arena_alloc(c->list->arena, p->n_nodes, sizeof *macs);
    if (!macs)
        return ledge__no_memory(c->err);
    for (size_t k = 0; k < p->n_nodes; k++) {
        macs[k] = c->macs ? c->macs[p->nodes[k]->mark] : 0;
        p->external.macs += macs[k];
    }
    return ledge__view_new(a, p->graph, c->model, macs, c->err, &p->view);
}

/* ---- all parts ---- */

typedef struct Key {
    uint32_t level, node;
    uint8_t owner;
} Key;

static int by_level(const void *a, const void *b)
{
    const Key *x = a, *y = b;
    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    if (x->owner != y->owner)
        return x->owner < y->owner ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static LedgeStatus new_part(Cut *c, const Key *keys, uint32_t n, uint32_t *part_of)
{
    PartList *list = c->list;
    Part **items = ledge__arena_append(list->arena, list->items, list->n, sizeof(Part *));
    Part *p = ledge__arena_alloc(list->arena, 1, sizeof *p);
    LedgeNode **nodes = ledge__arena_alloc(list->arena, n, sizeof(LedgeNode *));
    if (!items || !p || !nodes)
        return ledge__no_memory(c->err);
    list->items = items;
    p->owner = keys[0].owner;
    p->nodes = nodes;
    for (uint32_t i = 0; i < n; i++) {
        nodes[p->n_nodes++] = c->nodes[keys[i].node];
        part_of[keys[i].node] = (uint32_t)list->n;
    }
    items[list->n++] = p;
    return LEDGE_OK;
}

static LedgeStatus cut(Cut *c)
{
    Key *keys = ledge__arena_alloc(c->list->arena, c->n_nodes, sizeof *keys);
    uint32_t *part_of = ledge__arena_alloc(c->list->arena, c->n_nodes, sizeof *part_of);
    if (!keys || !part_of)
        return ledge__no_memory(c->err);
    for (uint32_t k = 0; k < c->n_nodes; k++) {
        keys[k] = (Key){c->level[k], k, c->owners[k]};
        part_of[k] = UINT32_MAX;
        c->nodes[k]->mark = k;
    }
    if (c->n_nodes)
        qsort(keys, c->n_nodes, sizeof *keys, by_level);
    for (uint32_t k = 0, end; k < c->n_nodes; k = end) {
        end = k + 1;
        while (end < c->n_nodes && keys[end].level == keys[k].level &&
               keys[end].owner == keys[k].owner)
            end++;
        if (keys[k].owner != OWNER_CPU)
            LEDGE_TRY(new_part(c, &keys[k], end - k, part_of));
    }
    for (size_t i = 0; i < c->list->n; i++)
        LEDGE_TRY(make_graph(c, c->list->items[i], part_of, (uint32_t)i));
    /* Level by level is topological too, and puts each part's nodes side by side. */
    for (uint32_t k = 0; k < c->n_nodes; k++)
        ledge__node_move_before(c->g, c->nodes[keys[k].node], NULL);
    return LEDGE_OK;
}

LedgeStatus ledge__partition_plan(const LedgeAllocator *a, LedgeGraph *g, const OnnxModel *model,
                                  const uint8_t *owners, const int64_t *macs, LedgeError *err,
                                  PartList *list)
{
    *list = (PartList){.arena = ledge__arena_new(a)};
    Cut c = {.g = g, .model = model, .owners = owners, .macs = macs, .err = err, .list = list};
    if (!list->arena || !set_up(&c))
        return ledge__no_memory(err);
    set_levels(&c);
    return cut(&c);
}

/* ---- the external node ---- */

static LedgeStatus infer_part(void *self, LedgeOpCtx *c)
{
    Part *p = self;
    for (uint32_t i = 0; i < p->graph->n_values; i++)
        p->graph->values[i]->t = p->known[i];
    for (uint32_t i = 0; i < p->graph->n_inputs; i++) {
        const LedgeTensor *t = ledge__op_in(c, i);
        LedgeTensor *to = &p->graph->inputs[i]->t;
        if (!t || t->rank < 0)
            continue;
        *to = *t;
        to->data = NULL;
    }
    /* What inference allocates is of this call alone; a dynamic step comes here at every run. */
    LedgeArena *own = p->graph->arena;
    p->graph->arena = ledge__arena_new(ledge__arena_allocator(own));
    const LedgeStatus status = p->graph->arena ? ledge__graph_infer(p->graph, 0, c->err)
                                               : ledge__no_memory(c->err);
    ledge__arena_free(p->graph->arena);
    p->graph->arena = own;
    LEDGE_TRY(status);
    for (uint32_t i = 0; i < p->graph->n_outputs; i++) {
        const LedgeTensor *t = &p->graph->outputs[i]->t;
        ledge__op_set_out(c, i, t->type, t->rank, t->dims);
    }
    return LEDGE_OK;
}

static LedgeStatus take_output(LedgeOpCtx *c, uint32_t i, const LedgeTensor *made)
{
    LedgeTensor *t = ledge__op_out(c, i);
    if (!t || t->data == made->data)
        return LEDGE_OK;
    const size_t bytes = ledge_tensor_bytes(made);
    if (bytes == SIZE_MAX || (bytes && !made->data))
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the provider gave no output %u", i);
    if (!t->data) {
        t->type = made->type;
        t->rank = made->rank;
        memcpy(t->dims, made->dims, sizeof t->dims);
        LEDGE_TRY(ledge__op_output(c, i));
    }
    if (ledge_tensor_bytes(t) != bytes)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                              "the provider gave output %u in another size than its shape has", i);
    if (bytes)
        memcpy(t->data, made->data, bytes);
    return LEDGE_OK;
}

static LedgeStatus run_part(void *self, LedgeOpCtx *c)
{
    Part *p = self;
    LedgeError said = {0};
    for (uint32_t i = 0; i < p->graph->n_inputs; i++) {
        p->in[i] = *c->in[i];
        p->in[i].bytes = ledge_tensor_bytes(c->in[i]);
    }
    for (uint32_t i = 0; i < p->graph->n_outputs; i++) {
        p->out[i] = c->out[i] ? *c->out[i] : (LedgeTensor){.rank = -1};
        p->out[i].bytes = p->out[i].data ? ledge_tensor_bytes(&p->out[i]) : 0;
    }
    p->failed = p->api->run(p->program, p->in, p->out, &said);
    if (p->failed)
        return ledge__op_fail(c, p->failed, "provider %s: %s", p->api->name,
                              said.message[0] ? said.message : ledge_status_text(p->failed));
    for (uint32_t i = 0; i < p->graph->n_outputs; i++)
        LEDGE_TRY(take_output(c, i, &p->out[i]));
    return LEDGE_OK;
}

static LedgeStatus replace(LedgeGraph *g, Part *p, size_t index, LedgeError *err)
{
    char name[80];
    snprintf(name, sizeof name, "%s_part_%zu", p->api->name, index);
    LedgeNode *n = ledge__node_new(g, "ledge", "External", name, p->graph->n_inputs,
                                   p->graph->n_outputs, p->nodes[0]);
    if (!n)
        return ledge__no_memory(err);
    p->external.self = p;
    p->external.infer = infer_part;
    p->external.run = run_part;
    n->op = ledge__op_find("ledge", "External", 1);
    n->external = &p->external;
    for (size_t k = 0; k < p->n_nodes; k++)
        ledge__node_remove(g, p->nodes[k]);
    for (uint32_t i = 0; i < p->graph->n_inputs; i++)
        ledge__node_set_input(n, i, p->outer_in[i]);
    for (uint32_t i = 0; i < p->graph->n_outputs; i++)
        ledge__node_set_output(n, i, p->outer_out[i]);
    return LEDGE_OK;
}

LedgeStatus ledge__partition_apply(LedgeGraph *g, PartList *list, LedgeError *err)
{
    for (size_t i = 0; i < list->n; i++)
        LEDGE_TRY(replace(g, list->items[i], i, err));
    return LEDGE_OK;
}

void ledge__partition_free(PartList *list)
{
    for (size_t i = 0; i < list->n; i++) {
        Part *p = list->items[i];
        if (p->program)
            p->api->program_free(p->program);
        ledge__view_free(p->view);
        ledge__graph_free(p->graph);
    }
    ledge__arena_free(list->arena);
    *list = (PartList){0};
}
