/* Chains of Reshape, Flatten, Squeeze and Unsqueeze become one Reshape, or nothing where the
 * shape comes out as it went in. */
#include "engine/optimize/pass.h"

/* Target of a Reshape from `x` straight to the shape of `out`. */
static bool target(const LedgeValue *x, const LedgeValue *out, int64_t *shape)
{
    int open = 0;
    if (out->t.rank < 0)
        return false;
    for (int32_t d = 0; d < out->t.rank; d++) {
        shape[d] = out->t.dims[d];
        if (shape[d] == 0)
            return false; /* would be read as "copy" */
        if (shape[d] > 0)
            continue;
        bool copied = d < x->t.rank && ledge__opt_same_dim(x, d, out, d);
        shape[d] = copied ? 0 : -1;
        open += !copied;
    }
    return open <= 1;
}

/* Equal shapes, where one free dimension follows from the equal element counts. */
static bool is_back_again(const LedgeValue *x, const LedgeValue *out)
{
    int open = 0;
    if (x->t.rank < 0 || x->t.rank != out->t.rank)
        return false;
    for (int32_t d = 0; d < x->t.rank; d++) {
        if (x->t.dims[d] == 0)
            return false;
        if (!ledge__opt_same_dim(x, d, out, d)) {
            if (x->t.dims[d] >= 0 || out->t.dims[d] >= 0)
                return false;
            open++;
        }
    }
    return open <= 1;
}

LedgeStatus ledge__opt_reshape_chain(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!ledge__opt_is_view(n) || !n->in[0].value)
            continue;
        LedgeValue *x = n->in[0].value;
        while (ledge__opt_is_view(x->producer) && x->producer->in[0].value)
            x = x->producer->in[0].value;
        int64_t shape[LEDGE_MAX_RANK];
        if (x == n->in[0].value)
            continue;
        if (is_back_again(x, n->out[0]) && ledge__opt_bypass(g, n, x)) {
            *changed = true;
        } else if (target(x, n->out[0], shape)) {
            LedgeNode *r = ledge__opt_reshape(g, x, shape, n->out[0]->t.rank, &n->out[0]->t, n);
            if (!r)
                return ledge__no_memory(c->err);
            ledge__opt_take_over(g, r, n);
            *changed = true;
        }
    }
    return LEDGE_OK;
}
