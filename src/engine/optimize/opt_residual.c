/* Add of a value of the same shape to what a convolution or product of the internal kind gives, or
 * the 8-bit ones where they give floats, becomes their residual input, added while the sum is still in
 * registers. */
#include "engine/optimize/pass.h"

/* Where the residual stands among the inputs. */
static uint32_t slot(const LedgeNode *n)
{
    return n->op_type[0] == 'Q' ? 4 : 3;
}

static bool takes_residual(const LedgeValue *v)
{
    const LedgeNode *n = ledge__opt_single_use(v) ? v->producer : NULL;
    if (n && (ledge__node_is_ledge(n, "QConv") || ledge__node_is_ledge(n, "QGemm")))
        return ledge__node_int(n, "to_float", 0) && !ledge__node_in(n, 4) &&
               !ledge__node_in(n, 5) &&
               strcmp(ledge__node_string(n, "act", "none"), "none") == 0;
    return n && (ledge__node_is_ledge(n, "Conv") || ledge__node_is_ledge(n, "Gemm") ||
                 ledge__node_is_ledge(n, "MatMulInteger") ||
                 ledge__node_is_ledge(n, "ConvInteger") ||
                 ledge__node_is_ledge(n, "MatMulBlocks")) &&
           strcmp(ledge__node_string(n, "act", "none"), "none") == 0 && !ledge__node_in(n, 3) &&
           !(ledge__node_is_ledge(n, "Conv") && ledge__node_in(n, 4));
}

LedgeStatus ledge__opt_residual(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!ledge__node_is(n, "Add") || n->n_in != 2 || !n->in[0].value || !n->in[1].value)
            continue;
        int side = takes_residual(n->in[0].value) ? 0 : takes_residual(n->in[1].value) ? 1 : -1;
        if (side < 0)
            continue;
        LedgeValue *sum = n->in[side].value, *other = n->in[1 - side].value;
        if (other->t.type != LEDGE_FLOAT || !ledge__opt_same_shape(sum, other))
            continue;
        LedgeNode *p = sum->producer;
        while (p->n_in <= slot(p)) {
            if (!ledge__node_add_input(g, p, NULL))
                return ledge__no_memory(c->err);
            p->n_explicit = p->n_in;
        }
        ledge__node_move_before(g, p, n); /* the residual may be computed after the node */
        ledge__node_set_input(p, slot(p), other);
        ledge__opt_bypass(g, n, sum);
        *changed = true;
    }
    return LEDGE_OK;
}
