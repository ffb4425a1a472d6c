/* Add and Mul of bytes: DequantizeLinear twice, Add or Mul, clamps and QuantizeLinear become
 * ledge.QAdd or ledge.QMul. One side may be a constant. */
#include "engine/optimize/opt_q8.h"

/* An operand, constants of int8 included. */
static bool operand(LedgeGraph *g, const LedgeValue *v, LedgeQ8 *q, bool *no_memory)
{
    const LedgeNode *dq = ledge__opt_made_by(v, "DequantizeLinear");
    LedgeValue *x = dq ? ledge__node_in(dq, 0) : NULL;
    if (ledge__q8_read(v, q))
        return true;
    if (!x || !ledge__value_is_constant(x) || x->t.type != LEDGE_INT8 ||
        v->t.type != LEDGE_FLOAT || !ledge__q8_params(dq, LEDGE_INT8, q))
        return false;
    LedgeTensor t = x->t;
    t.type = LEDGE_UINT8;
    t.data = NULL;
    q->zero += 128;
    q->v = ledge__value_constant(g, NULL, &t, false);
    *no_memory = q->v == NULL;
    for (int64_t i = 0; q->v && i < ledge_tensor_count(&t); i++)
        ((uint8_t *)q->v->t.data)[i] = ((const uint8_t *)x->t.data)[i] ^ 0x80;
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
    bool add = ledge__node_is(n, "Add"), no_memory = false;
    bool fits = n->n_in == 2 && operand(g, n->in[0].value, &a, &no_memory) &&
                operand(g, n->in[1].value, &b, &no_memory);
    if (no_memory)
        return ledge__no_memory(c->err);
    if (!fits || !scales_are_sound(&a, &b, &t->y, add))
        return LEDGE_OK;
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
            (ledge__opt_made_by(t.x, "Add") || ledge__opt_made_by(t.x, "Mul")))
            LEDGE_TRY(convert(g, c, &t, changed));
    }
    return LEDGE_OK;
}
