/* Takes the channels out: weights lose rows and columns, settings that count channels change. */
#include "compress/prune/prune_internal.h"

typedef struct Editing {
    const LedgePruner *p;
    LedgeGraph *g;
    LedgeNode **nodes; /* of g, by mark in p->graph */
    LedgeError *err;
} Editing;

static bool is_whole(const LedgePruner *p, uint32_t span)
{
    return ledge__prune_count(p, span, 0, p->spans[span].n) == p->spans[span].n;
}

/* The constant as it is by now: an edit before may have replaced it. */
static const LedgeTensor *current(const Editing *e, const LedgeValue *v)
{
    return ledge__value_is_constant(v) ? &v->t : ledge__prune_shape(e->p, v);
}

/* Gives input `slot` the tensor t, whose data lives in the arena. A constant that only this node
 * reads keeps its name. */
static LedgeStatus replace(Editing *e, LedgeNode *n, uint32_t slot, LedgeTensor t)
{
    LedgeValue *v = n->in[slot].value;
    t.bytes = ledge_tensor_bytes(&t);
    if (ledge__value_is_constant(v) && v->n_uses == 1 && !v->n_outputs) {
        v->t = t;
        return LEDGE_OK;
    }
    LedgeValue *made = ledge__value_constant(e->g, v->name, &t, false);
    if (!made)
        return ledge__no_memory(e->err);
    ledge__node_set_input(n, slot, made);
    return LEDGE_OK;
}

static LedgeStatus cut(Editing *e, const PruneEdit *edit, LedgeNode *n)
{
    const PruneSpan *span = &e->p->spans[edit->span];
    LedgeTensor t = *current(e, n->in[edit->slot].value);
    const size_t bits = ledge_type_bits(t.type);
    size_t outer = 1, inner = bits / 8;
    if (t.type == LEDGE_STRING || bits % 8 || bits == 0)
        return ledge__fail(e->err, LEDGE_ERROR_UNSUPPORTED, n->name,
                           "weights of type %s cannot be cut", ledge_type_name(t.type));
    for (int32_t d = 0; d < t.rank; d++)
        *(d < edit->axis ? &outer : &inner) *= d == edit->axis ? 1 : (size_t)t.dims[d];
    const char *from = t.data;
    t.dims[edit->axis] = ledge__prune_count(e->p, edit->span, 0, span->n);
    char *to = ledge__arena_alloc(e->g->arena, ledge_tensor_bytes(&t), 1);
    t.data = to;
    if (!to)
        return ledge__no_memory(e->err);
    for (size_t o = 0; o < outer; o++)
        for (uint32_t i = 0; i < span->n; i++, from += inner)
            if (ledge__prune_stays(e->p, span->atoms[i])) {
                memcpy(to, from, inner);
                to += inner;
            }
    return replace(e, n, edit->slot, t);
}

/* Entry `at` of an integer constant or of the attribute that it was before. */
static LedgeStatus set_entry(Editing *e, LedgeNode *n, const char *attr, uint32_t slot, int64_t at,
                             int64_t value)
{
    size_t count;
    const int64_t *ints = attr ? ledge__node_ints(n, attr, &count) : NULL;
    if (ints) {
        int64_t *copy = ledge__arena_alloc(e->g->arena, count, sizeof *copy);
        if (!copy)
            return ledge__no_memory(e->err);
        memcpy(copy, ints, count * sizeof *copy);
        copy[at] = value;
        return ledge__node_set_ints(e->g, n, attr, copy, count) ? LEDGE_OK
                                                                : ledge__no_memory(e->err);
    }
    LedgeTensor t = *current(e, n->in[slot].value);
    const LedgeValue view = {.t = t};
    const int64_t size = ledge_tensor_count(&t);
    int64_t *wide = ledge__arena_alloc(e->g->arena, (size_t)size, sizeof *wide);
    if (!wide)
        return ledge__no_memory(e->err);
    for (int64_t i = 0; i < size; i++)
        wide[i] = i == at ? value : ledge__value_as_int(&view, i);
    int32_t *narrow = (int32_t *)wide; /* each is read before it is overwritten */
    for (int64_t i = 0; i < size && t.type == LEDGE_INT32; i++) {
        const int32_t x = (int32_t)wide[i];
        memcpy(&narrow[i], &x, sizeof x);
    }
    t.data = wide;
    return replace(e, n, slot, t);
}

static LedgeStatus edit_pads(Editing *e, const PruneEdit *edit, LedgeNode *n)
{
    const LedgePruner *p = e->p;
    const int64_t total = p->spans[edit->span].n;
    size_t count;
    if (!ledge__node_ints(n, "pads", &count))
        count = (size_t)ledge_tensor_count(current(e, n->in[edit->slot].value));
    LEDGE_TRY(set_entry(e, n, "pads", edit->slot, edit->axis,
                        ledge__prune_count(p, edit->span, 0, edit->at)));
    return set_entry(e, n, "pads", edit->slot, edit->axis + (int64_t)count / 2,
                     ledge__prune_count(p, edit->span, total - edit->to, total));
}

static LedgeStatus edit_slice(Editing *e, const PruneEdit *edit, LedgeNode *n)
{
    const int64_t begin = ledge__prune_count(e->p, edit->span, 0, edit->at);
    const int64_t size = ledge__prune_count(e->p, edit->span, edit->at, edit->to);
    LEDGE_TRY(set_entry(e, n, "starts", 1, edit->axis, begin));
    return set_entry(e, n, "ends", 2, edit->axis, begin + size);
}

static LedgeStatus edit_split(Editing *e, const PruneEdit *edit, LedgeNode *n)
{
    const int64_t parts = edit->to;
    int64_t *sizes = ledge__arena_alloc(e->g->arena, (size_t)parts, sizeof *sizes);
    if (!sizes)
        return ledge__no_memory(e->err);
    for (int64_t i = 0; i < parts; i++) {
        const uint32_t span = edit->span + (uint32_t)i;
        sizes[i] = ledge__prune_count(e->p, span, 0, e->p->spans[span].n);
    }
    if (n->opset < 13)
        return ledge__node_set_ints(e->g, n, "split", sizes, (size_t)parts)
                   ? LEDGE_OK
                   : ledge__no_memory(e->err);
    const LedgeTensor t = {.type = LEDGE_INT64, .rank = 1, .dims = {parts}, .data = sizes};
    LedgeValue *v = ledge__value_constant(e->g, "split_sizes", &t, false);
    if (!v || (n->n_in < 2 && !ledge__node_add_input(e->g, n, v)))
        return ledge__no_memory(e->err);
    n->n_explicit = n->n_in;
    ledge__node_set_input(n, 1, v);
    ledge__node_drop_attr(n, "num_outputs");
    return LEDGE_OK;
}

/* Indices that remain, counted among the channels that remain. */
static LedgeStatus edit_index(Editing *e, const PruneEdit *edit, LedgeNode *n)
{
    const LedgePruner *p = e->p;
    const PruneSpan *from = &p->spans[edit->span];
    const LedgeTensor *old = current(e, n->in[edit->slot].value);
    const LedgeValue view = {.t = *old};
    const int64_t count = ledge_tensor_count(old);
    int64_t *place = ledge__arena_alloc(e->g->arena, from->n, sizeof *place);
    int64_t *made = ledge__arena_alloc(e->g->arena, (size_t)count, sizeof *made);
    LedgeTensor t = {.type = LEDGE_INT64, .rank = 1, .data = made};
    if (!place || !made)
        return ledge__no_memory(e->err);
    for (int64_t i = 0, k = 0; i < from->n; i++)
        place[i] = ledge__prune_stays(p, from->atoms[i]) ? k++ : -1;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = ledge__value_as_int(&view, i);
        const int64_t kept = place[at < 0 ? at + from->n : at];
        if (kept >= 0)
            made[t.dims[0]++] = kept;
    }
    return replace(e, n, edit->slot, t);
}

static LedgeStatus edit_one(Editing *e, const PruneEdit *edit)
{
    const LedgePruner *p = e->p;
    LedgeNode *n = e->nodes[edit->node->mark];
    if (edit->kind == PRUNE_SPLIT) {
        bool whole = true;
        for (int64_t i = 0; i < edit->to; i++)
            whole &= is_whole(p, edit->span + (uint32_t)i);
        return whole ? LEDGE_OK : edit_split(e, edit, n);
    }
    if (is_whole(p, edit->span))
        return LEDGE_OK;
    switch (edit->kind) {
    case PRUNE_CUT:
        return cut(e, edit, n);
    case PRUNE_GROUP:
        return ledge__node_set_int(e->g, n, "group",
                                   ledge__prune_count(p, edit->span, 0, p->spans[edit->span].n) /
                                       edit->to)
                   ? LEDGE_OK
                   : ledge__no_memory(e->err);
    case PRUNE_PADS:
        return edit_pads(e, edit, n);
    case PRUNE_SLICE:
        return edit_slice(e, edit, n);
    case PRUNE_SHAPE:
        return set_entry(e, n, NULL, edit->slot, edit->at,
                         ledge__prune_count(p, edit->span, 0, p->spans[edit->span].n));
    default:
        return edit_index(e, edit, n);
    }
}

/* Nodes that only made constants which nobody reads any more. */
static void drop_unread(Editing *e)
{
    for (LedgeNode *n = e->g->last, *before; n; n = before) {
        bool read = n->n_out == 0;
        before = n->prev;
        for (uint32_t i = 0; i < n->n_out; i++)
            read |= n->out[i] &&
                    (n->out[i]->n_uses || n->out[i]->n_outputs || !e->p->is_static[n->out[i]->id]);
        if (!read)
            ledge__node_remove(e->g, n);
    }
}

LedgeStatus ledge__prune_apply(const LedgePruner *p, LedgeGraph *g, LedgeError *err)
{
    Editing e = {.p = p, .g = g, .err = err};
    e.nodes = ledge__arena_alloc(g->arena, p->n_nodes, sizeof *e.nodes);
    if (!e.nodes)
        return ledge__no_memory(err);
    uint32_t i = 0;
    for (LedgeNode *n = g->first; n && i < p->n_nodes; n = n->next)
        e.nodes[i++] = n;
    for (size_t k = 0; k < p->n_edits; k++)
        LEDGE_TRY(edit_one(&e, &p->edits[k]));
    drop_unread(&e);
    return LEDGE_OK;
}
