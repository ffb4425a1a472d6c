/* ledge.QAdd of what ledge.QConv or ledge.QGemm gives and another tensor of that shape becomes
 * their residual input. The sum is requantized by itself first, as it was before, so that the
 * bytes are the same. */
#include "engine/optimize/opt_q8.h"

static LedgeNode *maker(const LedgeValue *v)
{
    LedgeNode *n = ledge__opt_made_only_by_ledge(v, "QConv");
    n = n ? n : ledge__opt_made_only_by_ledge(v, "QGemm");
    return n && !ledge__node_in(n, 4) && !ledge__node_in(n, 5) &&
                   !ledge__node_int(n, "to_float", 0)
               ? n
               : NULL;
}

static bool set(LedgeGraph *g, LedgeNode *p, const LedgeNode *add, int side)
{
    const char *own = side ? "b_scale" : "a_scale", *other = side ? "a_scale" : "b_scale";
    const char *zero = side ? "a_zero" : "b_zero";
    return ledge__node_set_float(g, p, "y_scale", ledge__node_float(add, own, 1)) &&
           ledge__node_set_float(g, p, "r_scale", ledge__node_float(add, other, 1)) &&
           ledge__node_set_int(g, p, "r_zero", ledge__node_int(add, zero, 0)) &&
           ledge__node_set_int(g, p, "z_zero", ledge__node_int(add, "y_zero", 0)) &&
           ledge__node_set_int(g, p, "z_lo", ledge__node_int(add, "lo", 0)) &&
           ledge__node_set_int(g, p, "z_hi", ledge__node_int(add, "hi", 255));
}

static bool agrees(const LedgeNode *p, const LedgeNode *add, int side)
{
    return ledge__node_int(p, "y_zero", 0) ==
           ledge__node_int(add, side ? "b_zero" : "a_zero", 0);
}

LedgeStatus ledge__opt_q8_residual(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!ledge__node_is_ledge(n, "QAdd") || n->n_in != 2 || !n->in[0].value ||
            !n->in[1].value)
            continue;
        int side = maker(n->in[0].value) ? 0 : 1;
        LedgeNode *p = maker(n->in[side].value);
        if (!p || !agrees(p, n, side) ||
            !ledge__opt_same_shape(n->in[side].value, n->in[1 - side].value))
            continue;
        LedgeValue *sum = n->in[side].value, *other = n->in[1 - side].value;
        while (p->n_in < 5) {
            if (!ledge__node_add_input(g, p, NULL))
                return ledge__no_memory(c->err);
            p->n_explicit = p->n_in;
        }
        if (!set(g, p, n, side))
            return ledge__no_memory(c->err);
        ledge__node_move_before(g, p, n); /* the residual may be computed after the node */
        ledge__node_set_input(p, 4, other);
        *changed |= ledge__opt_bypass(g, n, sum);
    }
    return LEDGE_OK;
}
