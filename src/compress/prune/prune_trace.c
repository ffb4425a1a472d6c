/* Follows channels through the graph, node by node in topological order.
 *
 * A value's channels are either followed along one axis or not at all. A node without a function
 * here, or one used in a way that its function cannot follow exactly, is a barrier: what it reads
 * stays whole. */
#include "compress/prune/prune_internal.h"

#include <stdio.h>

/* ---- helpers ---- */

const LedgeTensor *ledge__prune_static(const LedgePruner *p, const LedgeNode *n, uint32_t i)
{
    const LedgeValue *v = ledge__node_in(n, i);
    const LedgeTensor *t = v && p->is_static[v->id] ? ledge__prune_shape(p, v) : NULL;
    return t && t->data && t->rank >= 0 ? t : NULL;
}

const PruneTrack *ledge__prune_in(const LedgePruner *p, const LedgeNode *n, uint32_t i)
{
    const LedgeValue *v = ledge__node_in(n, i);
    return v && p->track[v->id].span != PRUNE_NONE ? &p->track[v->id] : NULL;
}

void ledge__prune_set_out(LedgePruner *p, const LedgeNode *n, uint32_t i, int32_t axis,
                          uint32_t span)
{
    const LedgeValue *v = ledge__node_out(n, i);
    if (v)
        p->track[v->id] = (PruneTrack){axis, span};
}

static LedgeStatus note(LedgePruner *p, const LedgeNode *n, const char *why)
{
    LedgePruneBarrier *grown =
        ledge__arena_append(p->arena, p->barriers, p->n_barriers, sizeof *grown);
    if (!grown)
        return ledge__no_memory(p->err);
    p->barriers = grown;
    p->barriers[p->n_barriers++] = (LedgePruneBarrier){n->name, n->op_type, why};
    return LEDGE_OK;
}

LedgeStatus ledge__prune_hold(LedgePruner *p, const LedgeNode *n, uint32_t span, const char *why)
{
    LEDGE_TRY(note(p, n, why));
    ledge__prune_pin(p, span);
    return LEDGE_OK;
}

LedgeStatus ledge__prune_barrier(LedgePruner *p, const LedgeNode *n, const char *why)
{
    bool noted = false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        if (t && !noted)
            LEDGE_TRY(note(p, n, why));
        noted |= t != NULL;
        if (t)
            ledge__prune_pin(p, t->span);
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        ledge__prune_set_out(p, n, i, 0, PRUNE_NONE);
    return LEDGE_OK;
}

LedgeStatus ledge__prune_edit(LedgePruner *p, PruneEdit e)
{
    PruneEdit *grown = ledge__arena_append(p->arena, p->edits, p->n_edits, sizeof *grown);
    if (!grown)
        return ledge__no_memory(p->err);
    p->edits = grown;
    p->edits[p->n_edits++] = e;
    return LEDGE_OK;
}

LedgeStatus ledge__prune_cut(LedgePruner *p, LedgeNode *n, uint32_t slot, int32_t axis,
                             uint32_t span, PruneRole role)
{
    return ledge__prune_edit(
        p,
        (PruneEdit){
            .kind = PRUNE_CUT, .role = role, .node = n, .slot = slot, .axis = axis, .span = span});
}

LedgeStatus ledge__prune_cost(LedgePruner *p, double macs, uint32_t out, uint32_t in)
{
    PruneCost *grown = ledge__arena_append(p->arena, p->costs, p->n_costs, sizeof *grown);
    if (!grown)
        return ledge__no_memory(p->err);
    p->costs = grown;
    p->costs[p->n_costs++] = (PruneCost){macs, out, in};
    return LEDGE_OK;
}

LedgeStatus ledge__prune_layer_add(LedgePruner *p, LedgeNode *n, uint32_t span, bool counts)
{
    PruneLayer *grown = ledge__arena_append(p->arena, p->layers, p->n_layers, sizeof *grown);
    if (!grown)
        return ledge__no_memory(p->err);
    p->layers = grown;
    p->layers[p->n_layers] = (PruneLayer){n, span, counts};
    p->spans[span].layer = (uint32_t)p->n_layers++;
    return ledge__prune_is_kept(n, p->o.keep, p->o.n_keep)
               ? ledge__prune_hold(p, n, span, "was asked to be kept")
               : LEDGE_OK;
}

bool ledge__prune_ints(const LedgePruner *p, const LedgeNode *n, uint32_t i, int64_t *values,
                       int most, int *count)
{
    const LedgeTensor *t = ledge__prune_static(p, n, i);
    const int64_t size = t ? ledge_tensor_count(t) : -1;
    if (size < 0 || size > most || (t->type != LEDGE_INT64 && t->type != LEDGE_INT32))
        return false;
    const LedgeValue view = {.t = *t};
    for (int64_t k = 0; k < size; k++)
        values[k] = ledge__value_as_int(&view, k);
    *count = (int)size;
    return true;
}

/* ---- element by element ---- */

static bool is_elementwise(const LedgeNode *n)
{
    static const char *const ops[] = {"Relu",
                                      "LeakyRelu",
                                      "Clip",
                                      "Sigmoid",
                                      "HardSigmoid",
                                      "HardSwish",
                                      "Tanh",
                                      "Elu",
                                      "Selu",
                                      "Celu",
                                      "Softplus",
                                      "Softsign",
                                      "Erf",
                                      "Exp",
                                      "Log",
                                      "Sqrt",
                                      "Neg",
                                      "Abs",
                                      "Identity",
                                      "Dropout",
                                      "Cast",
                                      "Gelu",
                                      "Mish",
                                      "Swish",
                                      "Floor",
                                      "Ceil",
                                      "Round",
                                      "Reciprocal",
                                      "Sign",
                                      "Sin",
                                      "Cos",
                                      "PRelu",
                                      "Add",
                                      "Sub",
                                      "Mul",
                                      "Div",
                                      "Pow",
                                      "Min",
                                      "Max",
                                      "Sum",
                                      "Mean",
                                      "Where",
                                      "Greater",
                                      "Less",
                                      "Equal",
                                      "And",
                                      "Or",
                                      "Not",
                                      "Xor",
                                      "Atan",
                                      "ThresholdedRelu",
                                      "GreaterOrEqual",
                                      "LessOrEqual"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(n->op_type, ops[i]) == 0)
            return true;
    return false;
}

/* What the inputs of a broadcasting node say of its output. */
typedef struct Joined {
    int32_t rank, axis;
    uint32_t span; /* PRUNE_NONE: nothing followed */
} Joined;

static LedgeStatus join_tracked(LedgePruner *p, const LedgeNode *n, Joined *j)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        if (!t)
            continue;
        const int32_t axis = j->rank - ledge__prune_shape(p, n->in[i].value)->rank + t->axis;
        if (p->spans[t->span].n == 1) { /* stretched over the others' channels, or the only one */
            LEDGE_TRY(ledge__prune_hold(p, n, t->span, "stretches a single channel"));
            continue;
        }
        if (j->span != PRUNE_NONE &&
            (j->axis != axis || p->spans[j->span].n != p->spans[t->span].n)) {
            j->span = PRUNE_NONE;
            return ledge__prune_barrier(p, n, "combines channels of different axes");
        }
        if (j->span != PRUNE_NONE)
            ledge__prune_join_spans(p, j->span, t->span);
        j->axis = axis;
        j->span = t->span;
    }
    return LEDGE_OK;
}

/* Inputs that are not followed: constants lose the same channels, others must be stretched. */
static LedgeStatus join_rest(LedgePruner *p, LedgeNode *n, const Joined *j)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        if (!n->in[i].value || (t && p->spans[t->span].n > 1))
            continue;
        const LedgeTensor *shape = ledge__prune_shape(p, n->in[i].value);
        const int32_t axis = j->axis - (j->rank - shape->rank);
        if (shape->rank >= 0 && (axis < 0 || shape->dims[axis] == 1))
            continue;
        if (ledge__prune_static(p, n, i))
            LEDGE_TRY(ledge__prune_cut(p, n, i, axis, j->span, PRUNE_OTHER));
        else
            LEDGE_TRY(ledge__prune_hold(p, n, j->span,
                                        "combines them with a tensor whose channels are fixed"));
    }
    return LEDGE_OK;
}

static LedgeStatus trace_elementwise(LedgePruner *p, LedgeNode *n)
{
    const LedgeValue *out = ledge__node_out(n, 0);
    Joined j = {.rank = out ? ledge__prune_shape(p, out)->rank : -1, .span = PRUNE_NONE};
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && ledge__prune_shape(p, n->in[i].value)->rank < 0)
            j.rank = -1;
    if (j.rank < 0)
        return ledge__prune_barrier(p, n, "has tensors of unknown shape");
    LEDGE_TRY(join_tracked(p, n, &j));
    if (j.span == PRUNE_NONE)
        return LEDGE_OK;
    LEDGE_TRY(join_rest(p, n, &j));
    for (uint32_t i = 0; i < n->n_out; i++)
        ledge__prune_set_out(p, n, i, j.axis, j.span);
    return LEDGE_OK;
}

/* ---- the walk ---- */

/* Whether the outputs follow from constants alone. */
static bool node_is_static(const LedgePruner *p, const LedgeNode *n)
{
    if (ledge__node_has_bodies(n) || strncmp(n->op_type, "Random", 6) == 0 ||
        ledge__node_is(n, "Bernoulli") || ledge__node_is(n, "Multinomial"))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !p->is_static[n->in[i].value->id])
            return false;
    return true;
}

static LedgeStatus trace_node(LedgePruner *p, LedgeNode *n)
{
    bool any = false;
    for (uint32_t i = 0; i < n->n_in; i++)
        any |= ledge__prune_in(p, n, i) != NULL;
    if (n->domain[0] != '\0' || ledge__node_has_bodies(n))
        return ledge__prune_barrier(p, n, "is no operator whose channels can be followed");
    PruneTraceFn fn = ledge__prune_layer_fn(n);
    if (fn)
        return fn(p, n);
    if (!any)
        return LEDGE_OK;
    fn = ledge__prune_shape_fn(n);
    if (!fn && is_elementwise(n))
        fn = trace_elementwise;
    return fn ? fn(p, n)
              : ledge__prune_barrier(p, n, "is no operator whose channels can be followed");
}

LedgeStatus ledge__prune_trace(LedgePruner *p)
{
    for (uint32_t i = 0; i < p->graph->n_values; i++) {
        p->track[i] = (PruneTrack){0, PRUNE_NONE};
        p->is_static[i] = ledge__value_is_constant(p->graph->values[i]);
    }
    for (LedgeNode *n = p->graph->first; n; n = n->next) {
        if (node_is_static(p, n)) {
            for (uint32_t i = 0; i < n->n_out; i++)
                if (n->out[i])
                    p->is_static[n->out[i]->id] = true;
            continue;
        }
        LEDGE_TRY(trace_node(p, n));
    }
    for (uint32_t i = 0; i < p->graph->n_outputs; i++) {
        const PruneTrack *t = &p->track[p->graph->outputs[i]->id];
        if (t->span != PRUNE_NONE)
            LEDGE_TRY(ledge__prune_hold(p, p->graph->outputs[i]->producer, t->span,
                                        "gives the model's answer"));
    }
    return LEDGE_OK;
}
