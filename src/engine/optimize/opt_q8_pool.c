/* AveragePool and GlobalAveragePool between bytes become ledge.QAveragePool and
 * ledge.QGlobalAveragePool, which work in NHWC: a Transpose stands on either side until the
 * layout pass takes it away. */
#include "engine/optimize/opt_layout.h"
#include "engine/optimize/opt_q8.h"

static bool fits(const LedgeOptCtx *c, const LedgeQ8Tail *t, LedgeQ8 *x)
{
    const LedgeNode *n = t->x->producer;
    bool global = n && ledge__opt_made_by(t->x, "GlobalAveragePool");
    if (!n || (!global && !ledge__opt_made_by(t->x, "AveragePool")) ||
        !ledge__q8_read(n->in[0].value, x) || x->v->t.rank != 4 ||
        !ledge__q8_scale_is_sound(x->scale / t->y.scale))
        return false;
    return ledge__opt_has(c, global ? "QGlobalAveragePool" : "QAveragePool");
}

static LedgeStatus convert(LedgeGraph *g, LedgeOptCtx *c, const LedgeQ8Tail *t, const LedgeQ8 *x)
{
    LedgeNode *n = t->x->producer, *q = t->quantize;
    bool global = n->op_type[0] == 'G';
    LedgeTensor like = {.type = LEDGE_UINT8, .rank = 4, .dims = {-1, -1, -1, -1}};
    for (int d = 0; d < 4 && t->x->t.rank == 4; d++)
        like.dims[d] = t->x->t.dims[ledge__to_nhwc[d]];
    LedgeNode *in = ledge__opt_transpose(g, x->v, ledge__to_nhwc, q);
    LedgeNode *made =
        in ? ledge__opt_internal(g, global ? "QGlobalAveragePool" : "QAveragePool", 1, &like, q)
           : NULL;
    if (!made || !ledge__node_copy_attrs(g, made, n) ||
        !ledge__node_set_int(g, made, "x_zero", x->zero) ||
        !ledge__node_set_float(g, made, "scale", x->scale / t->y.scale) ||
        !ledge__node_set_int(g, made, "y_zero", t->y.zero) ||
        (t->lo != 0 && !ledge__node_set_int(g, made, "lo", t->lo)) ||
        (t->hi != 255 && !ledge__node_set_int(g, made, "hi", t->hi)))
        return ledge__no_memory(c->err);
    ledge__node_set_input(made, 0, in->out[0]);
    LedgeNode *out = ledge__opt_transpose(g, made->out[0], ledge__to_nchw, q);
    if (!out)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, out, q);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_pool(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeQ8Tail t;
        LedgeQ8 x;
        if (!ledge__node_is(n, "QuantizeLinear") || !ledge__q8_tail(n, &t) || !fits(c, &t, &x))
            continue;
        LEDGE_TRY(convert(g, c, &t, &x));
        *changed = true;
    }
    return LEDGE_OK;
}
