/* What is left of QuantizeLinear to uint8 and DequantizeLinear of it becomes ledge.Quantize and
 * ledge.Dequantize, the borders between float and bytes. */
#include "engine/optimize/opt_q8.h"

static LedgeStatus convert(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const char *op_type,
                           LedgeValue *x, const LedgeQ8 *q)
{
    LedgeNode *made = ledge__opt_internal(g, op_type, 1, &n->out[0]->t, n);
    if (!made || !ledge__node_set_float(g, made, "scale", q->scale) ||
        !ledge__node_set_int(g, made, "zero", q->zero))
        return ledge__no_memory(c->err);
    ledge__node_set_input(made, 0, x);
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_border(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (g->keeps_dequantize && !g->parent) { /* weights of what stays in float: now or never */
        g->keeps_dequantize = false;
        *changed = true;
    }
    if (!ledge__opt_has(c, "Quantize") || !ledge__opt_has(c, "Dequantize"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeQ8 q;
        LedgeValue *x = ledge__node_in(n, 0);
        if (!x || ledge__value_is_constant(x) || n->n_out == 0 || !n->out[0])
            continue;
        if (ledge__q8_write(n, &q))
            LEDGE_TRY(convert(g, c, n, "Quantize", x, &q));
        else if (ledge__q8_read(n->out[0], &q))
            LEDGE_TRY(convert(g, c, n, "Dequantize", x, &q));
        else
            continue;
        *changed = true;
    }
    return LEDGE_OK;
}
