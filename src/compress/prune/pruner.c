/* Opening a model for pruning, and building what comes out. */
#include "compress/prune/prune_internal.h"
#include "engine/graph/op.h"

#define FOLD_LIMIT ((size_t)32 << 20)

/* ---- opening ---- */

static LedgeStatus refuse_quantized(const LedgeGraph *g, LedgeError *err)
{
    for (const LedgeNode *n = g->first; n; n = n->next)
        if (strstr(n->op_type, "QuantizeLinear") || strncmp(n->op_type, "QLinear", 7) == 0 ||
            strstr(n->op_type, "Integer"))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, n->name,
                               "the model is quantized already (%s); prune the float model that "
                               "it was made from and quantize the result",
                               n->op_type);
    return LEDGE_OK;
}

LedgeStatus ledge__prune_check_keep(const LedgeGraph *g, const char *const *keep, size_t n_keep,
                                    LedgeError *err)
{
    for (size_t i = 0; i < n_keep; i++) {
        const LedgeNode *n = g->first;
        while (n && strcmp(n->name, keep[i]) != 0)
            n = n->next;
        if (!n)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, keep[i],
                               "no node of the model has this name; 'ledge inspect' with --graph "
                               "lists them");
    }
    return LEDGE_OK;
}

bool ledge__prune_is_kept(const LedgeNode *n, const char *const *keep, size_t n_keep)
{
    for (size_t i = 0; i < n_keep; i++)
        if (strcmp(n->name, keep[i]) == 0)
            return true;
    return false;
}

/* Free dimensions are filled in: 1 for the first, else a size that pictures and texts have, so
 * that every shape is known. */
static void fill_inputs(LedgeGraph *g)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        LedgeTensor *t = &g->inputs[i]->t;
        for (int32_t d = 0; d < t->rank; d++)
            if (t->dims[d] < 0)
                t->dims[d] = d == 0 ? 1 : t->rank == 4 ? 224 : 64;
    }
}

static LedgeStatus build_graphs(LedgePruner *p, LedgeError *err)
{
    LEDGE_TRY(ledge__graph_build(p->allocator, p->onnx, err, &p->graph));
    LEDGE_TRY(refuse_quantized(p->graph, err));
    LEDGE_TRY(ledge__prune_check_keep(p->graph, p->o.keep, p->o.n_keep, err));
    LEDGE_TRY(ledge__graph_build(p->allocator, p->onnx, err, &p->shapes));
    fill_inputs(p->shapes);
    LEDGE_TRY(ledge__ops_bind(p->shapes, err));
    LEDGE_TRY(ledge__graph_infer(p->shapes, FOLD_LIMIT, err));
    for (LedgeNode *n = p->graph->first; n; n = n->next)
        n->mark = p->n_nodes++;
    p->track = ledge__arena_alloc(p->arena, p->graph->n_values, sizeof *p->track);
    p->is_static = ledge__arena_alloc(p->arena, p->graph->n_values, sizeof *p->is_static);
    return p->track && p->is_static ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus needs_something(const LedgePruner *p, LedgeError *err)
{
    if (p->prunable)
        return LEDGE_OK;
    if (p->n_barriers)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, p->barriers[0].node,
                           "no channel of the model can be removed: its %s %s",
                           p->barriers[0].op_type, p->barriers[0].why);
    return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, p->onnx->path,
                       "the model has no layer with constant weights whose channels could be "
                       "removed");
}

static LedgeStatus open_all(LedgePruner *p, const char *path, const void *bytes, size_t size,
                            LedgeError *err)
{
    LEDGE_TRY(path ? ledge__onnx_read_file(p->allocator, path, err, &p->onnx)
                   : ledge__onnx_read_memory(p->allocator, bytes, size, err, &p->onnx));
    LEDGE_TRY(ledge__onnx_check_versions(p->onnx, err));
    LEDGE_TRY(build_graphs(p, err));
    LEDGE_TRY(ledge__prune_trace(p));
    LEDGE_TRY(ledge__prune_classify(p));
    LEDGE_TRY(needs_something(p, err));
    p->steps = ledge__arena_append(p->arena, NULL, 0, sizeof *p->steps);
    if (!p->steps)
        return ledge__no_memory(err);
    p->n_steps = 1;
    ledge__pruner_take(p, 0);
    return LEDGE_OK;
}

LedgeStatus ledge__pruner_open(const char *path, const void *bytes, size_t size,
                               const LedgePruneOptions *o, LedgeError *err, LedgePruner **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    LedgePruner *p = ledge__calloc(a, 1, sizeof *p);
    if (!p)
        return ledge__no_memory(err);
    p->o = *o;
    p->o.round = o->round > 0 ? o->round : 1;
    p->allocator = a;
    p->err = err;
    p->arena = ledge__arena_new(a);
    const LedgeStatus s = p->arena ? open_all(p, path, bytes, size, err) : ledge__no_memory(err);
    p->err = NULL;
    if (s) {
        ledge__pruner_free(p);
        return s;
    }
    *out = p;
    return LEDGE_OK;
}

void ledge__pruner_free(LedgePruner *p)
{
    if (!p)
        return;
    ledge__free(p->allocator, p->parent);
    ledge__free(p->allocator, p->pinned);
    ledge__graph_free(p->graph);
    ledge__graph_free(p->shapes);
    ledge__onnx_free(p->onnx);
    ledge__arena_free(p->arena);
    ledge__free(p->allocator, p);
}

/* ---- what is known ---- */

size_t ledge__pruner_layers(const LedgePruner *p)
{
    return p->n_layers;
}

LedgePruneLayer ledge__pruner_layer(const LedgePruner *p, size_t i)
{
    const PruneLayer *l = &p->layers[i];
    const PruneSpan *s = &p->spans[l->span];
    LedgePruneLayer out = {.name = l->node->name,
                           .op_type = l->node->op_type,
                           .channels = s->n,
                           .kept = (uint32_t)ledge__prune_count(p, l->span, 0, s->n),
                           .fixed = true};
    for (uint32_t k = 0; k < s->n && out.fixed; k++)
        out.fixed = p->classes[p->class_of[s->atoms[k]]].family == PRUNE_NONE;
    uint32_t root = s->n ? s->atoms[0] : 0;
    while (s->n && p->parent[root] != root)
        root = p->parent[root];
    if (out.fixed && s->n && p->pinned[root])
        out.barrier = &p->barriers[p->pinned[root] - 1];
    return out;
}

size_t ledge__pruner_barriers(const LedgePruner *p)
{
    return p->n_barriers;
}

LedgePruneBarrier ledge__pruner_barrier(const LedgePruner *p, size_t i)
{
    return p->barriers[i];
}

/* ---- building ---- */

LedgeStatus ledge__pruner_build(const LedgePruner *p, LedgeError *err, LedgePruned **out)
{
    LedgePruned *m = ledge__calloc(p->allocator, 1, sizeof *m);
    if (!m)
        return ledge__no_memory(err);
    m->allocator = p->allocator;
    LedgeStatus s = ledge__graph_build(p->allocator, p->onnx, err, &m->graph);
    if (!s)
        s = ledge__prune_apply(p, m->graph, err);
    if (!s) {
        m->model = *p->onnx;
        m->model.arena = m->graph->arena;
        s = ledge__graph_export(m->graph, &m->model, err);
    }
    if (s) {
        ledge__pruned_free(m);
        return s;
    }
    *out = m;
    return LEDGE_OK;
}

void ledge__pruned_free(LedgePruned *m)
{
    if (!m)
        return;
    ledge__graph_free(m->graph);
    ledge__free(m->allocator, m);
}
