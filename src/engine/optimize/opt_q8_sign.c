/* int8 activations become uint8: the byte's top bit flips and the zero point moves by 128, so
 * that models quantized either way run on the same kernels at the same speed. Where an int8
 * tensor meets the caller or a node that wants int8, one ledge.QMap flips it. */
#include "engine/optimize/opt_q8.h"

static LedgeNode *flip(LedgeGraph *g, LedgeValue *x, LedgeType to, LedgeNode *before)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i ^ 0x80);
    return ledge__q8_map(g, x, table, to, before);
}

/* ledge.QMap from uint8 that only flips; the value that it flips. */
static LedgeValue *flipped(const LedgeValue *v)
{
    const LedgeNode *n = v ? v->producer : NULL;
    if (!n || !ledge__node_is_ledge(n, "QMap") || v->t.type != LEDGE_INT8 ||
        n->in[0].value->t.type != LEDGE_UINT8)
        return NULL;
    const uint8_t *table = ledge__q8_table(n);
    for (int i = 0; table && i < 256; i++)
        if (table[i] != (i ^ 0x80))
            return NULL;
    return table ? n->in[0].value : NULL;
}

/* QuantizeLinear to int8: to uint8, then back for whoever reads it. */
static LedgeStatus convert_quantize(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeQ8 *q)
{
    LedgeQ8 to = {.scale = q->scale, .zero = q->zero + 128};
    LedgeNode *made = ledge__q8_linear(g, "QuantizeLinear", n->in[0].value, LEDGE_UINT8, &to, n);
    LedgeNode *back = made ? flip(g, made->out[0], LEDGE_INT8, n) : NULL;
    if (!back)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, back, n);
    return LEDGE_OK;
}

/* DequantizeLinear of int8: of the flipped bytes, or of what was flipped to get them. */
static LedgeStatus convert_dequantize(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n,
                                      const LedgeQ8 *q)
{
    LedgeValue *x = n->in[0].value, *bytes = flipped(x);
    LedgeQ8 to = {.scale = q->scale, .zero = q->zero + 128};
    LedgeNode *map = bytes ? NULL : flip(g, x, LEDGE_UINT8, n);
    bytes = map ? map->out[0] : bytes;
    LedgeNode *made =
        bytes ? ledge__q8_linear(g, "DequantizeLinear", bytes, LEDGE_UINT8, &to, n) : NULL;
    if (!made)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

static bool can_move_int8(const LedgeNode *n)
{
    if (n->n_in == 0 || !n->in[0].value || n->in[0].value->t.type != LEDGE_INT8)
        return false;
    if (ledge__node_is(n, "Pad")) { /* any constant will do here */
        const LedgeValue *fill = ledge__node_in(n, 2);
        return n->opset >= 11 && (!fill || ledge_tensor_count(&fill->t) == 1) &&
               (!fill || ledge__value_is_constant(fill));
    }
    return ledge__q8_moves(n);
}

/* A flip moves down through nodes that only move bytes. */
static LedgeStatus sink_flip(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, LedgeValue *bytes)
{
    const LedgeValue *fill = ledge__node_is(n, "Pad") ? ledge__node_in(n, 2) : NULL;
    if (!ledge__q8_fill_pad(g, n, 128 + (fill ? (int32_t)ledge__value_as_int(fill, 0) : 0)))
        return ledge__no_memory(c->err);
    ledge__node_set_input(n, 0, bytes);
    LedgeNode *after = n->next;
    for (uint32_t i = 0; i < n->n_out; i++) {
        LedgeValue *old = n->out[i], *made = old ? ledge__q8_byte_output(g, n, i) : NULL;
        if (!old)
            continue;
        LedgeNode *back = made ? flip(g, made, LEDGE_INT8, after) : NULL;
        if (!back)
            return ledge__no_memory(c->err);
        ledge__node_set_output(back, 0, old);
    }
    return LEDGE_OK;
}

/* Concat whose inputs are all flipped. */
static bool all_flipped(const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!flipped(n->in[i].value))
            return false;
    return ledge__node_is(n, "Concat") && n->n_in > 0;
}

static LedgeStatus sink_concat(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n)
{
    for (uint32_t i = 1; i < n->n_in; i++)
        ledge__node_set_input(n, i, flipped(n->in[i].value));
    return sink_flip(g, c, n, flipped(n->in[0].value));
}

LedgeStatus ledge__opt_q8_sign(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QMap"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeQ8 q;
        LedgeValue *x = ledge__node_in(n, 0), *y = n->n_out ? n->out[0] : NULL;
        if (!x || !y || ledge__value_is_constant(x))
            continue;
        if (ledge__node_is(n, "QuantizeLinear") && y->t.type == LEDGE_INT8 &&
            x->t.type == LEDGE_FLOAT && ledge__q8_params(n, LEDGE_INT8, &q))
            LEDGE_TRY(convert_quantize(g, c, n, &q));
        else if (ledge__node_is(n, "DequantizeLinear") && x->t.type == LEDGE_INT8 &&
                 y->t.type == LEDGE_FLOAT && ledge__q8_params(n, LEDGE_INT8, &q))
            LEDGE_TRY(convert_dequantize(g, c, n, &q));
        else if (flipped(x) && can_move_int8(n))
            LEDGE_TRY(sink_flip(g, c, n, flipped(x)));
        else if (all_flipped(n))
            LEDGE_TRY(sink_concat(g, c, n));
        else
            continue;
        *changed = true;
    }
    return LEDGE_OK;
}
