/* Layers with weights: where channels begin and end. */
#include "compress/prune/prune_internal.h"

/* ---- Conv ---- */

typedef struct ConvShape {
    int64_t groups, in, out;   /* channels */
    int64_t in_each, out_each; /* per group */
    double macs;
} ConvShape;

static bool conv_shape(const LedgePruner *p, const LedgeNode *n, ConvShape *c)
{
    const LedgeTensor *w = ledge__prune_static(p, n, 1);
    const LedgeTensor *y = ledge__node_out(n, 0) ? ledge__prune_shape(p, n->out[0]) : NULL;
    const bool bias_known = !ledge__node_in(n, 2) || ledge__prune_static(p, n, 2);
    c->groups = ledge__node_int(n, "group", 1);
    if (!w || w->rank < 3 || !y || !bias_known || c->groups < 1 || w->dims[0] % c->groups ||
        w->dims[0] == 0 || w->dims[1] == 0)
        return false;
    c->out = w->dims[0];
    c->in_each = w->dims[1];
    c->in = c->in_each * c->groups;
    c->out_each = c->out / c->groups;
    c->macs = (double)ledge_tensor_count(w);
    for (int32_t d = 2; d < y->rank; d++)
        c->macs *= y->dims[d] > 0 ? (double)y->dims[d] : 1;
    return true;
}

/* Groups of one channel in or out go as wholes. */
static LedgeStatus join_whole_groups(LedgePruner *p, LedgeNode *n, const ConvShape *c, uint32_t in,
                                     uint32_t out)
{
    for (int64_t g = 0; g < c->groups; g++) {
        const uint32_t first = p->spans[in].atoms[g * c->in_each];
        for (int64_t i = 1; i < c->in_each; i++)
            ledge__prune_join(p, first, p->spans[in].atoms[g * c->in_each + i]);
        for (int64_t i = 0; i < c->out_each; i++)
            ledge__prune_join(p, first, p->spans[out].atoms[g * c->out_each + i]);
    }
    return ledge__prune_edit(
        p,
        (PruneEdit){.kind = PRUNE_GROUP, .node = n, .span = in, .at = c->groups, .to = c->in_each});
}

/* Groups that stay lose the same place in each, so that they remain equally large. */
static LedgeStatus join_places(LedgePruner *p, LedgeNode *n, const ConvShape *c, uint32_t in,
                               uint32_t out)
{
    uint32_t first_group;
    for (int64_t g = 1; g < c->groups; g++) {
        for (int64_t i = 0; i < c->in_each; i++)
            ledge__prune_join(p, p->spans[in].atoms[i], p->spans[in].atoms[g * c->in_each + i]);
        for (int64_t i = 0; i < c->out_each; i++)
            ledge__prune_join(p, p->spans[out].atoms[i], p->spans[out].atoms[g * c->out_each + i]);
    }
    LEDGE_TRY(ledge__prune_span_part(p, in, 0, c->in_each, &first_group));
    return ledge__prune_cut(p, n, 1, 1, first_group, PRUNE_READER);
}

static LedgeStatus trace_conv(LedgePruner *p, LedgeNode *n)
{
    ConvShape c;
    uint32_t out, in = PRUNE_NONE;
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    if (!conv_shape(p, n, &c))
        return ledge__prune_barrier(p, n, "has weights that are no constants");
    if (x && (x->axis != 1 || p->spans[x->span].n != c.in))
        return ledge__prune_barrier(p, n, "reads channels along another axis");
    const bool whole = c.groups > 1 && (c.in_each == 1 || c.out_each == 1);
    if (x)
        in = x->span;
    else if (c.groups > 1) /* nothing is known of what it reads, so that all of it stays */
        LEDGE_TRY(ledge__prune_span_fresh(p, c.in, &in));
    LEDGE_TRY(ledge__prune_span_fresh(p, c.out, &out));
    LEDGE_TRY(ledge__prune_layer_add(p, n, out, !(whole && c.in_each == 1)));
    LEDGE_TRY(ledge__prune_cut(p, n, 1, 0, out, PRUNE_FILTER));
    if (ledge__node_in(n, 2))
        LEDGE_TRY(ledge__prune_cut(p, n, 2, 0, out, PRUNE_OTHER));
    if (!x && in != PRUNE_NONE)
        LEDGE_TRY(ledge__prune_hold(p, n, in, "reads a tensor whose channels are fixed"));
    if (whole)
        LEDGE_TRY(join_whole_groups(p, n, &c, in, out));
    else if (c.groups > 1)
        LEDGE_TRY(join_places(p, n, &c, in, out));
    else if (x)
        LEDGE_TRY(ledge__prune_cut(p, n, 1, 1, in, PRUNE_READER));
    /* Whole groups: the weights lose rows alone. */
    LEDGE_TRY(ledge__prune_cost(p, c.macs, out, whole ? PRUNE_NONE : in));
    ledge__prune_set_out(p, n, 0, 1, out);
    return LEDGE_OK;
}

static LedgeStatus trace_conv_transpose(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeTensor *w = ledge__prune_static(p, n, 1);
    const LedgeValue *data = ledge__node_in(n, 0);
    uint32_t out;
    if (!w || w->rank < 3 || !data || (ledge__node_in(n, 2) && !ledge__prune_static(p, n, 2)))
        return ledge__prune_barrier(p, n, "has weights that are no constants");
    if (ledge__node_int(n, "group", 1) != 1)
        return ledge__prune_barrier(p, n, "has groups");
    if (x && (x->axis != 1 || p->spans[x->span].n != w->dims[0]))
        return ledge__prune_barrier(p, n, "reads channels along another axis");
    double macs = (double)ledge_tensor_count(w);
    const LedgeTensor *shape = ledge__prune_shape(p, data);
    for (int32_t d = 2; d < shape->rank; d++)
        macs *= shape->dims[d] > 0 ? (double)shape->dims[d] : 1;
    LEDGE_TRY(ledge__prune_span_fresh(p, w->dims[1], &out));
    LEDGE_TRY(ledge__prune_layer_add(p, n, out, true));
    LEDGE_TRY(ledge__prune_cut(p, n, 1, 1, out, PRUNE_FILTER));
    if (x)
        LEDGE_TRY(ledge__prune_cut(p, n, 1, 0, x->span, PRUNE_READER));
    if (ledge__node_in(n, 2))
        LEDGE_TRY(ledge__prune_cut(p, n, 2, 0, out, PRUNE_OTHER));
    LEDGE_TRY(ledge__prune_cost(p, macs, out, x ? x->span : PRUNE_NONE));
    ledge__prune_set_out(p, n, 0, 1, out);
    return LEDGE_OK;
}

/* ---- Gemm, MatMul ---- */

/* The term C of Gemm loses the columns that the product loses. */
static LedgeStatus gemm_term(LedgePruner *p, LedgeNode *n, uint32_t out)
{
    const LedgeValue *c = ledge__node_in(n, 2);
    const LedgeTensor *t = c ? ledge__prune_shape(p, c) : NULL;
    if (!c || (t->rank >= 0 && (t->rank == 0 || t->dims[t->rank - 1] == 1)))
        return LEDGE_OK;
    if (ledge__prune_static(p, n, 2))
        return ledge__prune_cut(p, n, 2, t->rank - 1, out, PRUNE_OTHER);
    const PruneTrack *k = ledge__prune_in(p, n, 2);
    LEDGE_TRY(ledge__prune_hold(p, n, out, "adds a tensor whose channels are fixed"));
    if (k)
        ledge__prune_pin(p, k->span);
    return LEDGE_OK;
}

static LedgeStatus trace_gemm(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeTensor *w = ledge__prune_static(p, n, 1);
    const LedgeTensor *y = ledge__node_out(n, 0) ? ledge__prune_shape(p, n->out[0]) : NULL;
    const int32_t columns = ledge__node_int(n, "transB", 0) ? 0 : 1;
    uint32_t out;
    if (!w || w->rank != 2 || !y || y->rank != 2)
        return ledge__prune_barrier(p, n, "multiplies two tensors that are no constants");
    if (x && (x->axis != 1 || ledge__node_int(n, "transA", 0) ||
              p->spans[x->span].n != w->dims[1 - columns]))
        return ledge__prune_barrier(p, n, "reads channels along another axis");
    LEDGE_TRY(ledge__prune_span_fresh(p, w->dims[columns], &out));
    LEDGE_TRY(ledge__prune_layer_add(p, n, out, true));
    LEDGE_TRY(ledge__prune_cut(p, n, 1, columns, out, PRUNE_FILTER));
    if (x)
        LEDGE_TRY(ledge__prune_cut(p, n, 1, 1 - columns, x->span, PRUNE_READER));
    LEDGE_TRY(gemm_term(p, n, out));
    LEDGE_TRY(ledge__prune_cost(
        p, (double)ledge_tensor_count(w) * (y->dims[0] > 0 ? (double)y->dims[0] : 1), out,
        x ? x->span : PRUNE_NONE));
    ledge__prune_set_out(p, n, 0, 1, out);
    return LEDGE_OK;
}

static LedgeStatus trace_matmul(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeTensor *w = ledge__prune_static(p, n, 1);
    const LedgeTensor *y = ledge__node_out(n, 0) ? ledge__prune_shape(p, n->out[0]) : NULL;
    const LedgeTensor *a = ledge__node_in(n, 0) ? ledge__prune_shape(p, n->in[0].value) : NULL;
    uint32_t out;
    if (!w || w->rank != 2 || !a || a->rank < 2 || !y || y->rank != a->rank)
        return ledge__prune_barrier(p, n, "multiplies two tensors that are no constants");
    double macs = (double)ledge_tensor_count(w);
    for (int32_t d = 0; d + 1 < y->rank; d++)
        macs *= y->dims[d] > 0 ? (double)y->dims[d] : 1;
    if (x && x->axis != a->rank - 1) { /* rows go through */
        LEDGE_TRY(ledge__prune_cost(p, macs, x->span, PRUNE_NONE));
        ledge__prune_set_out(p, n, 0, x->axis, x->span);
        return LEDGE_OK;
    }
    if (x && p->spans[x->span].n != w->dims[0])
        return ledge__prune_barrier(p, n, "reads channels along another axis");
    LEDGE_TRY(ledge__prune_span_fresh(p, w->dims[1], &out));
    LEDGE_TRY(ledge__prune_layer_add(p, n, out, true));
    LEDGE_TRY(ledge__prune_cut(p, n, 1, 1, out, PRUNE_FILTER));
    if (x)
        LEDGE_TRY(ledge__prune_cut(p, n, 1, 0, x->span, PRUNE_READER));
    LEDGE_TRY(ledge__prune_cost(p, macs, out, x ? x->span : PRUNE_NONE));
    ledge__prune_set_out(p, n, 0, y->rank - 1, out);
    return LEDGE_OK;
}

/* ---- one number per channel ---- */

static LedgeStatus trace_norm(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const uint32_t params = ledge__node_is(n, "BatchNormalization") ? 4 : 2;
    if (!x)
        return LEDGE_OK;
    for (uint32_t i = 1; i <= params; i++) {
        const LedgeTensor *t = ledge__prune_static(p, n, i);
        if (!t || t->rank != 1 || t->dims[0] != p->spans[x->span].n)
            return ledge__prune_barrier(p, n, "has parameters that are no constants");
    }
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->n_outputs))
            return ledge__prune_barrier(p, n, "is in training mode");
    if (x->axis != 1)
        return ledge__prune_barrier(p, n, "reads channels along another axis");
    for (uint32_t i = 1; i <= params; i++)
        LEDGE_TRY(ledge__prune_cut(p, n, i, 0, x->span, i == 1 ? PRUNE_NORM : PRUNE_OTHER));
    ledge__prune_set_out(p, n, 0, 1, x->span);
    return LEDGE_OK;
}

/* Normalises over the axes from `axis` on: those before it go through. */
static LedgeStatus trace_layer_norm(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    int64_t axis = ledge__node_int(n, "axis", -1);
    if (!x)
        return LEDGE_OK;
    if (axis < 0)
        axis += ledge__prune_shape(p, n->in[0].value)->rank;
    if (x->axis >= axis)
        return ledge__prune_barrier(p, n, "normalises over the channels");
    for (uint32_t i = 0; i < n->n_out; i++)
        ledge__prune_set_out(p, n, i, x->axis, x->span);
    return LEDGE_OK;
}

/* ---- over places, channel by channel ---- */

static LedgeStatus trace_pool(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeValue *indices = ledge__node_out(n, 1);
    if (!x)
        return LEDGE_OK;
    if (x->axis > 1)
        return ledge__prune_barrier(p, n, "pools over the channels");
    if (indices && (indices->n_uses || indices->n_outputs))
        return ledge__prune_barrier(p, n, "gives places that count channels");
    ledge__prune_set_out(p, n, 0, x->axis, x->span);
    return LEDGE_OK;
}

PruneTraceFn ledge__prune_layer_fn(const LedgeNode *n)
{
    static const struct {
        const char *op;
        PruneTraceFn fn;
    } table[] = {{"Conv", trace_conv},
                 {"ConvTranspose", trace_conv_transpose},
                 {"Gemm", trace_gemm},
                 {"MatMul", trace_matmul},
                 {"BatchNormalization", trace_norm},
                 {"InstanceNormalization", trace_norm},
                 {"LayerNormalization", trace_layer_norm},
                 {"MaxPool", trace_pool},
                 {"AveragePool", trace_pool},
                 {"LpPool", trace_pool},
                 {"GlobalAveragePool", trace_pool},
                 {"GlobalMaxPool", trace_pool},
                 {"GlobalLpPool", trace_pool}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(n->op_type, table[i].op) == 0)
            return table[i].fn;
    return NULL;
}
