/* Topological order: most files have it already; those that do not are sorted here. */
#include "engine/graph/graph_build.h"

static bool in_order(const LedgeGraph *g, uint8_t *placed)
{
    for (const LedgeNode *n = g->first; n; n = n->next) {
        for (uint32_t i = 0; i < n->n_in; i++) {
            const LedgeValue *v = n->in[i].value;
            if (v && v->producer && !placed[v->id])
                return false;
        }
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i])
                placed[n->out[i]->id] = 1;
    }
    return true;
}

/* Numbers the nodes in file order and counts the inputs of each that a node produces. */
static uint32_t count_waiting(LedgeGraph *g, uint32_t *waiting)
{
    uint32_t k = 0;
    for (LedgeNode *n = g->first; n; n = n->next, k++) {
        n->mark = k;
        for (uint32_t i = 0; i < n->n_in; i++)
            waiting[k] += n->in[i].value && n->in[i].value->producer;
    }
    return k;
}

static void relink(LedgeGraph *g, LedgeNode **nodes, uint32_t count)
{
    g->first = g->last = NULL;
    for (uint32_t k = 0; k < count; k++) {
        nodes[k]->prev = g->last;
        nodes[k]->next = NULL;
        if (g->last)
            g->last->next = nodes[k];
        else
            g->first = nodes[k];
        g->last = nodes[k];
    }
}

/* Kahn's algorithm; the queue is first in, first out, which stays near the file's order. */
static LedgeStatus kahn(LedgeGraph *g, LedgeNode **queue, uint32_t *waiting, LedgeError *err)
{
    uint32_t head = 0, tail = 0, count = count_waiting(g, waiting);
    for (LedgeNode *n = g->first; n; n = n->next)
        if (waiting[n->mark] == 0)
            queue[tail++] = n;
    while (head < tail) {
        const LedgeNode *n = queue[head++];
        for (uint32_t i = 0; i < n->n_out; i++)
            for (LedgeUse *u = n->out[i] ? n->out[i]->uses : NULL; u; u = u->next)
                if (--waiting[u->node->mark] == 0)
                    queue[tail++] = u->node;
    }
    if (tail < count)
        for (LedgeNode *n = g->first; n; n = n->next)
            if (waiting[n->mark])
                return ledge__fail(err, LEDGE_ERROR_FORMAT, n->name,
                                   "this node is part of a cycle; a model's graph must be acyclic");
    relink(g, queue, count);
    return LEDGE_OK;
}

LedgeStatus ledge__graph_sort(LedgeGraph *g, LedgeError *err)
{
    const LedgeAllocator *a = ledge__arena_allocator(g->arena);
    uint8_t *placed = ledge__calloc(a, (size_t)g->n_values + 1, 1);
    LedgeNode **queue = ledge__alloc(a, (size_t)g->n_nodes + 1, sizeof *queue);
    uint32_t *waiting = ledge__calloc(a, (size_t)g->n_nodes + 1, sizeof *waiting);
    LedgeStatus s = LEDGE_OK;
    if (!placed || !queue || !waiting)
        s = ledge__no_memory(err);
    else if (!in_order(g, placed))
        s = kahn(g, queue, waiting, err);
    ledge__free(a, placed);
    ledge__free(a, queue);
    ledge__free(a, waiting);
    return s;
}
