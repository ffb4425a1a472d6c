/* MatMul of two computed matrices becomes ledge.MatMul, which reads either operand transposed
 * and scales the result, so that Transpose and Mul around it go. */
#include "engine/optimize/pass.h"

/* A Transpose that swaps the last two axes only, read by nothing else. */
static LedgeNode *swap_of(const LedgeValue *v)
{
    LedgeNode *n = ledge__opt_made_only_by(v, "Transpose");
    int32_t perm[LEDGE_MAX_RANK], rank;
    if (!n || !ledge__opt_perm(n, perm, &rank) || rank < 2)
        return NULL;
    for (int32_t d = 0; d < rank - 2; d++)
        if (perm[d] != d)
            return NULL;
    return perm[rank - 1] == rank - 2 ? n : NULL;
}

static bool is_operand(const LedgeValue *v)
{
    return v && v->t.type == LEDGE_FLOAT && v->t.rank >= 2;
}

static LedgeStatus convert(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n)
{
    static const char *const flags[] = {"transA", "transB"};
    LedgeNode *made = ledge__opt_internal(g, "MatMul", 2, &n->out[0]->t, n);
    if (!made)
        return ledge__no_memory(c->err);
    for (uint32_t i = 0; i < 2; i++) {
        LedgeValue *v = n->in[i].value;
        LedgeNode *t = swap_of(v);
        if (t && !ledge__node_set_int(g, made, flags[i], 1))
            return ledge__no_memory(c->err);
        ledge__node_set_input(made, i, t ? t->in[0].value : v);
    }
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

/* Mul or Div by a number behind ledge.MatMul. */
static LedgeStatus take_scale(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    double k;
    int side = ledge__opt_scalar_side(n, &k);
    bool div = ledge__node_is(n, "Div");
    if (side < 0 || (div && (side == 0 || k == 0)) || n->in[side].value->t.rank > 1)
        return LEDGE_OK;
    LedgeValue *x = n->in[1 - side].value;
    LedgeNode *mul = ledge__opt_made_only_by_ledge(x, "MatMul");
    if (!mul)
        return LEDGE_OK;
    double alpha = (double)ledge__node_float(mul, "alpha", 1);
    if (!ledge__node_set_float(g, mul, "alpha", (float)(div ? alpha / k : alpha * k)))
        return ledge__no_memory(c->err);
    *changed |= ledge__opt_bypass(g, n, x);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_matmul(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "MatMul"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (ledge__node_is(n, "MatMul") && is_operand(n->in[0].value) &&
            is_operand(n->in[1].value)) {
            LEDGE_TRY(convert(g, c, n));
            *changed = true;
        } else if (ledge__node_is(n, "Mul") || ledge__node_is(n, "Div")) {
            LEDGE_TRY(take_scale(g, c, n, changed));
        }
    }
    return LEDGE_OK;
}
