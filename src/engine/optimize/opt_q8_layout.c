/* A Transpose between NCHW floats and NHWC bytes, on either side of the conversion, is done by
 * ledge.Quantize and ledge.Dequantize themselves. */
#include "engine/optimize/opt_layout.h"

static bool turns(const LedgeNode *n, const int32_t *wanted)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    return n && ledge__node_is(n, "Transpose") && ledge__opt_perm(n, perm, &rank) && rank == 4 &&
           memcmp(perm, wanted, 4 * sizeof *perm) == 0;
}

static bool is_plain(const LedgeNode *n, const char *op_type)
{
    return n && ledge__node_is_ledge(n, op_type) && !ledge__node_attr(n, "layout") && n->out[0] &&
           n->in[0].value;
}

/* `n` reads what `t` turns. */
static LedgeStatus take_before(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, LedgeNode *t,
                               const char *layout)
{
    if (!ledge__node_set_string(g, n, "layout", layout))
        return ledge__no_memory(c->err);
    ledge__node_set_input(n, 0, t->in[0].value);
    ledge__opt_drop(g, t);
    return LEDGE_OK;
}

/* `t` turns what `n` makes, and nothing else reads that. */
static LedgeStatus take_behind(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, LedgeNode *t,
                               const char *layout)
{
    LedgeValue *y = t->out[0];
    if (!ledge__node_set_string(g, n, "layout", layout))
        return ledge__no_memory(c->err);
    ledge__node_set_output(t, 0, NULL);
    ledge__node_remove(g, t);
    ledge__node_set_output(n, 0, y);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_layout(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        bool quantize = is_plain(n, "Quantize");
        if (!quantize && !is_plain(n, "Dequantize"))
            continue;
        LedgeNode *before = n->in[0].value->producer;
        LedgeNode *behind = ledge__value_only_reader(n->out[0]);
        const char *layout = quantize ? "nhwc" : "nchw";
        const int32_t *wanted = quantize ? ledge__to_nhwc : ledge__to_nchw;
        if (turns(behind, wanted) && behind->out[0]) {
            if (next == behind)
                next = behind->next;
            LEDGE_TRY(take_behind(g, c, n, behind, layout));
        } else if (turns(before, wanted) && before->in[0].value) {
            LEDGE_TRY(take_before(g, c, n, before, layout));
        } else {
            continue;
        }
        *changed = true;
    }
    return LEDGE_OK;
}
