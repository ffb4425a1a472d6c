/* One-dimensional Conv, MaxPool and AveragePool become two-dimensional ones of height 1, so that
 * the 2-D kernels and the layout pass serve them. */
#include "engine/optimize/pass.h"

static bool is_1d(const LedgeOptCtx *c, const LedgeNode *n)
{
    const LedgeValue *x = ledge__node_in(n, 0);
    if (!x || x->t.rank != 3 || x->t.type != LEDGE_FLOAT || !n->out[0])
        return false;
    if (ledge__node_is(n, "Conv"))
        return ledge__opt_has(c, "Conv") && ledge__opt_float_constant(ledge__node_in(n, 1)) &&
               n->in[1].value->t.rank == 3;
    bool pool = (ledge__node_is(n, "MaxPool") && n->n_out == 1) || ledge__node_is(n, "AveragePool");
    return pool && ledge__opt_has(c, n->op_type);
}

/* The attribute's numbers with `fill` put before each of them. */
static bool widen(LedgeGraph *g, LedgeNode *to, const LedgeNode *from, const char *name,
                  int64_t fill)
{
    size_t count;
    const int64_t *v = ledge__node_ints(from, name, &count);
    if (!v || count > 2)
        return true;
    int64_t wide[4];
    for (size_t i = 0; i < count; i++) {
        wide[2 * i] = fill;
        wide[2 * i + 1] = v[i];
    }
    return ledge__node_set_ints(g, to, name, wide, 2 * count);
}

static LedgeValue *widen_weights(LedgeGraph *g, const LedgeValue *w)
{
    LedgeTensor t = w->t;
    t.rank = 4;
    t.dims[3] = t.dims[2];
    t.dims[2] = 1;
    return ledge__value_constant(g, NULL, &t, false); /* the same bytes under another shape */
}

static LedgeTensor with_height(const LedgeTensor *t)
{
    LedgeTensor r = *t;
    r.rank = 4;
    r.dims[3] = t->dims[2];
    r.dims[2] = 1;
    return r;
}

static LedgeNode *convert(LedgeGraph *g, LedgeNode *n)
{
    static const int64_t up[] = {0, 0, 1, -1}, down[] = {0, 0, -1};
    LedgeTensor in = with_height(&n->in[0].value->t), out = n->out[0]->t;
    out.type = LEDGE_FLOAT;
    if (out.rank != 3) {
        out.rank = 3;
        out.dims[0] = out.dims[1] = out.dims[2] = -1;
    }
    LedgeTensor wide = with_height(&out);
    LedgeNode *r = ledge__opt_reshape(g, n->in[0].value, up, 4, &in, n);
    LedgeNode *w = r ? ledge__opt_onnx(g, n->op_type, n->opset, n->n_in, &wide, n) : NULL;
    if (!w || !ledge__node_copy_attrs(g, w, n) || !widen(g, w, n, "kernel_shape", 1) ||
        !widen(g, w, n, "strides", 1) || !widen(g, w, n, "dilations", 1) ||
        !widen(g, w, n, "pads", 0))
        return NULL;
    ledge__node_set_input(w, 0, r->out[0]);
    for (uint32_t i = 1; i < n->n_in; i++)
        ledge__node_set_input(w, i, i == 1 ? widen_weights(g, n->in[1].value) : n->in[i].value);
    if (n->n_in > 1 && !w->in[1].value)
        return NULL;
    return ledge__opt_reshape(g, w->out[0], down, 3, &out, n);
}

LedgeStatus ledge__opt_conv1d(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!is_1d(c, n))
            continue;
        LedgeNode *last = convert(g, n);
        if (!last)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, last, n);
        *changed = true;
    }
    return LEDGE_OK;
}
