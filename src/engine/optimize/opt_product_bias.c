/* Add of one constant a column behind ledge.MatMulInteger or ledge.MatMulBlocks is their bias. That
 * of ledge.Gemm is folded with its weights, see opt_weights.c. */
#include "engine/optimize/pass.h"

enum { IN_BIAS = 2, IN_R = 3 };

static LedgeNode *takes_bias(const LedgeValue *sum)
{
    LedgeNode *p = ledge__opt_made_only_by_ledge(sum, "MatMulInteger");
    p = p ? p : ledge__opt_made_only_by_ledge(sum, "MatMulBlocks");
    return p && !ledge__node_in(p, IN_BIAS) && !ledge__node_in(p, IN_R) && sum->t.rank > 0 &&
                   sum->t.dims[sum->t.rank - 1] > 0 &&
                   strcmp(ledge__node_string(p, "act", "none"), "none") == 0
               ? p
               : NULL;
}

static LedgeStatus take_bias(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, LedgeNode *p,
                             uint32_t side, bool *changed)
{
    LedgeValue *sum = n->in[side].value;
    const LedgeValue *bias = n->in[1 - side].value;
    const int64_t columns = sum->t.dims[sum->t.rank - 1];
    double *numbers = ledge__arena_alloc(g->arena, (size_t)columns, sizeof *numbers);
    float *data;
    if (!numbers)
        return ledge__no_memory(c->err);
    if (!ledge__opt_per_channel(bias, sum->t.rank, sum->t.rank - 1, columns, numbers))
        return LEDGE_OK;
    LedgeValue *v = ledge__opt_floats(g, NULL, 1, &columns, &data);
    if (!v)
        return ledge__no_memory(c->err);
    for (int64_t k = 0; k < columns; k++)
        data[k] = (float)numbers[k];
    if (ledge__opt_bypass(g, n, sum)) {
        ledge__node_set_input(p, IN_BIAS, v);
        *changed = true;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__opt_product_bias(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!ledge__node_is(n, "Add") || n->n_in != 2 || !n->out[0])
            continue;
        for (uint32_t side = 0; side < 2; side++) {
            LedgeNode *p = takes_bias(n->in[side].value);
            if (!p || !ledge__opt_float_constant(n->in[1 - side].value))
                continue;
            LEDGE_TRY(take_bias(g, c, n, p, side, changed));
            break;
        }
    }
    return LEDGE_OK;
}
