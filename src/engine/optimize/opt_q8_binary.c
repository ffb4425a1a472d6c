/* Add, Sub and Mul of bytes: DequantizeLinear twice, the operator, clamps and QuantizeLinear become
 * ledge.QAdd or ledge.QMul. One side may be a constant. */
#include "engine/optimize/opt_q8.h"

/* -b for b: the byte counted from the other end, and the zero point too. A constant is turned
 * now, a tensor by ledge.QMap. False: no memory. */
static bool negate(LedgeGraph *g, LedgeQ8 *q, LedgeNode *before)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(255 - i);
    q->zero = 255 - q->zero;
    if (!ledge__value_is_constant(q->v)) {
        LedgeNode *map = ledge__q8_map(g, q->v, table, LEDGE_UINT8, before);
        q->v = map ? map->out[0] : NULL;
        return map != NULL;
    }
    const LedgeValue *old = q->v;
    LedgeTensor t = old->t;
    t.data = NULL;
    q->v = ledge__value_constant(g, NULL, &t, false);
    for (int64_t i = 0; q->v && i < ledge_tensor_count(&t); i++)
        ((uint8_t *)q->v->t.data)[i] = table[((const uint8_t *)old->t.data)[i]];
    return q->v != NULL;
}

static bool set_scales(LedgeGraph *g, LedgeNode *n, const LedgeQ8 *a, const LedgeQ8 *b,
                       const LedgeQ8 *y, bool add)
{
    return add ? ledge__node_set_float(g, n, "a_scale", a->scale / y->scale) &&
                     ledge__node_set_float(g, n, "b_scale", b->scale / y->scale)
               : ledge__node_set_float(g, n, "scale", a->scale * b->scale / y->scale);
}

static bool scales_are_sound(const LedgeQ8 *a, const LedgeQ8 *b, const LedgeQ8 *y, bool add)
{
    return add ? ledge__q8_scale_is_sound(a->scale / y->scale) &&
                     ledge__q8_scale_is_sound(b->scale / y->scale)
               : ledge__q8_scale_is_sound(a->scale * b->scale / y->scale);
}

static LedgeStatus convert(LedgeGraph *g, LedgeOptCtx *c, const LedgeQ8Tail *t, bool *changed)
{
    LedgeNode *n = t->x->producer, *q = t->quantize;
    LedgeQ8 a, b;
    bool sub = ledge__node_is(n, "Sub"), add = sub || ledge__node_is(n, "Add"), no_memory = false;
    bool fits = n->n_in == 2 && ledge__q8_operand(g, n->in[0].value, &a, &no_memory) &&
                ledge__q8_operand(g, n->in[1].value, &b, &no_memory);
    if (no_memory)
        return ledge__no_memory(c->err);
    if (!fits || !scales_are_sound(&a, &b, &t->y, add))
        return LEDGE_OK;
    if (sub && !negate(g, &b, q))
        return ledge__no_memory(c->err);
    LedgeNode *made = ledge__opt_internal(g, add ? "QAdd" : "QMul", 2, &q->out[0]->t, q);
    if (!made || !ledge__node_set_int(g, made, "a_zero", a.zero) ||
        !ledge__node_set_int(g, made, "b_zero", b.zero) ||
        !set_scales(g, made, &a, &b, &t->y, add) ||
        !ledge__node_set_int(g, made, "y_zero", t->y.zero) ||
        (t->lo != 0 && !ledge__node_set_int(g, made, "lo", t->lo)) ||
        (t->hi != 255 && !ledge__node_set_int(g, made, "hi", t->hi)))
        return ledge__no_memory(c->err);
    ledge__node_set_input(made, 0, a.v);
    ledge__node_set_input(made, 1, b.v);
    ledge__opt_take_over(g, made, q);
    *changed = true;
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_binary(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QAdd") || !ledge__opt_has(c, "QMul"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeQ8Tail t;
        if (ledge__node_is(n, "QuantizeLinear") && ledge__q8_tail(n, &t) && t.x->t.rank >= 0 &&
            (ledge__opt_made_by(t.x, "Add") || ledge__opt_made_by(t.x, "Sub") ||
             ledge__opt_made_by(t.x, "Mul")))
            LEDGE_TRY(convert(g, c, &t, changed));
    }
    return LEDGE_OK;
}
