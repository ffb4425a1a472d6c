/* Nodes that only move elements work on bytes: DequantizeLinear moves behind them, QuantizeLinear
 * before them, also across Concat and, since rounding is monotone, MaxPool. */
#include "engine/optimize/opt_q8.h"

/* ---- DequantizeLinear sinks ---- */

static bool works_on_bytes(const LedgeNode *n)
{
    return !ledge__node_is(n, "Pad") || n->opset >= 11; /* before, of floats only */
}

static LedgeStatus sink(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeQ8 *q)
{
    LedgeNode *after = n->next;
    for (uint32_t i = 0; i < n->n_out; i++) {
        LedgeValue *old = n->out[i], *made = old ? ledge__q8_byte_output(g, n, i) : NULL;
        if (!old)
            continue;
        LedgeNode *dq =
            made ? ledge__q8_linear(g, "DequantizeLinear", made, LEDGE_UINT8, q, after) : NULL;
        if (!dq)
            return ledge__no_memory(c->err);
        ledge__node_set_output(dq, 0, old);
    }
    return LEDGE_OK;
}

static LedgeStatus sink_mover(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeQ8 *q)
{
    LedgeNode *dq = n->in[0].value->producer;
    if (!ledge__q8_fill_pad(g, n, q->zero))
        return ledge__no_memory(c->err);
    ledge__node_set_input(n, 0, q->v);
    ledge__opt_drop(g, dq);
    return sink(g, c, n, q);
}

/* All inputs of a Concat are bytes of one meaning. */
static bool concat_agrees(const LedgeNode *n, LedgeQ8 *q)
{
    LedgeQ8 other;
    if (!ledge__node_is(n, "Concat") || n->n_in == 0 || !ledge__q8_read(n->in[0].value, q))
        return false;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (!ledge__q8_read(n->in[i].value, &other) || !ledge__q8_equal(q, &other))
            return false;
    return true;
}

static LedgeStatus sink_concat(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeQ8 *q)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeNode *dq = n->in[i].value->producer;
        ledge__node_set_input(n, i, ledge__node_in(dq, 0));
        ledge__opt_drop(g, dq);
    }
    return sink(g, c, n, q);
}

/* ---- QuantizeLinear rises ---- */

/* The node before a QuantizeLinear, read by nothing else, that gives as many elements as it
 * takes, or fewer by MaxPool. */
static LedgeNode *risable(const LedgeNode *quantize)
{
    static const char *const list[] = {"Reshape",   "Flatten",      "Squeeze",      "Unsqueeze",
                                       "Transpose", "DepthToSpace", "SpaceToDepth", "MaxPool"};
    LedgeValue *v = quantize->in[0].value;
    LedgeNode *n = ledge__opt_single_use(v) ? v->producer : NULL;
    if (!n || !n->in || n->n_in == 0 || !n->in[0].value || n->in[0].value->t.rank < 0 ||
        n->in[0].value->t.type != LEDGE_FLOAT)
        return NULL;
    if (ledge__node_is(n, "Concat"))
        return n;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (strcmp(n->op_type, list[i]) == 0 && ledge__q8_moves(n))
            return n;
    return NULL;
}

static bool all_known(const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!n->in[i].value || n->in[i].value->t.rank < 0 ||
            n->in[i].value->t.type != LEDGE_FLOAT)
            return false;
    return true;
}

/* `quantize` goes; each tensor that its maker `n` takes is quantized instead. */
static LedgeStatus rise(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *quantize, LedgeNode *n,
                        const LedgeQ8 *q)
{
    uint32_t data = ledge__node_is(n, "Concat") ? n->n_in : 1;
    for (uint32_t i = 0; i < data; i++) {
        LedgeNode *made =
            ledge__q8_linear(g, "QuantizeLinear", n->in[i].value, LEDGE_UINT8, q, n);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, i, made->out[0]);
    }
    LedgeValue *y = quantize->out[0];
    ledge__node_set_output(quantize, 0, NULL);
    ledge__node_remove(g, quantize);
    ledge__node_set_output(n, 0, y);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_move(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QMap"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeQ8 q;
        LedgeNode *maker;
        if (n->n_in == 0 || n->n_out == 0 || !n->out[0])
            continue;
        if (ledge__q8_moves(n) && works_on_bytes(n) && ledge__q8_read(n->in[0].value, &q))
            LEDGE_TRY(sink_mover(g, c, n, &q));
        else if (concat_agrees(n, &q))
            LEDGE_TRY(sink_concat(g, c, n, &q));
        else if (ledge__q8_write(n, &q) && (maker = risable(n)) &&
                 (!ledge__node_is(maker, "Concat") || all_known(maker)))
            LEDGE_TRY(rise(g, c, n, maker, &q));
        else
            continue;
        *changed = true;
    }
    return LEDGE_OK;
}
