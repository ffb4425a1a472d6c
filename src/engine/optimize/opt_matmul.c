/* MatMul of two computed tensors becomes ledge.MatMul, which reads either operand permuted, scales
 * the result and writes it permuted, so that Transpose and Mul around it go. */
#include "engine/optimize/pass.h"

static bool swaps_last_two(const int32_t *perm, int32_t rank)
{
    for (int32_t d = 0; d < rank - 2; d++)
        if (perm[d] != d)
            return false;
    return perm[rank - 1] == rank - 2;
}

/* Input `i` of `made` reads what the Transpose before `v` reads, if nothing else needs that. */
static bool set_operand(LedgeGraph *g, LedgeNode *made, uint32_t i, LedgeValue *v)
{
    LedgeNode *t = ledge__opt_made_only_by(v, "Transpose");
    int32_t perm[LEDGE_MAX_RANK], rank;
    int64_t wide[LEDGE_MAX_RANK];
    bool ok = true;
    if (t && ledge__opt_perm(t, perm, &rank)) {
        for (int32_t d = 0; d < rank; d++)
            wide[d] = perm[d];
        ok = swaps_last_two(perm, rank)
                 ? ledge__node_set_int(g, made, i ? "transB" : "transA", 1)
                 : ledge__node_set_ints(g, made, i ? "perm_b" : "perm_a", wide, (size_t)rank);
        v = t->in[0].value;
    }
    ledge__node_set_input(made, i, v);
    return ok;
}

static bool is_operand(const LedgeValue *v)
{
    return v && v->t.type == LEDGE_FLOAT && v->t.rank >= 2;
}

static LedgeStatus convert(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n)
{
    LedgeNode *made = ledge__opt_internal(g, "MatMul", 2, &n->out[0]->t, n);
    if (!made || !set_operand(g, made, 0, n->in[0].value) ||
        !set_operand(g, made, 1, n->in[1].value))
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

/* A Transpose behind ledge.MatMul that leaves the last dimension last. */
static LedgeStatus take_transpose(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    int64_t wide[LEDGE_MAX_RANK];
    LedgeValue *x = n->in[0].value;
    LedgeNode *mul = ledge__opt_made_only_by_ledge(x, "MatMul");
    if (!mul || ledge__node_attr(mul, "perm_y") || !ledge__opt_perm(n, perm, &rank) || rank < 2 ||
        perm[rank - 1] != rank - 1 || x->t.rank != rank)
        return LEDGE_OK;
    for (int32_t d = 0; d < rank; d++)
        wide[d] = perm[d];
    if (!ledge__node_set_ints(g, mul, "perm_y", wide, (size_t)rank))
        return ledge__no_memory(c->err);
    LedgeValue *out = n->out[0];
    ledge__node_set_output(n, 0, NULL);
    ledge__node_remove(g, n);
    ledge__node_set_output(mul, 0, out);
    *changed = true;
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
        } else if (ledge__node_is(n, "Transpose") && n->in[0].value && n->out[0]) {
            LEDGE_TRY(take_transpose(g, c, n, changed));
        }
    }
    return LEDGE_OK;
}
