/* Mul and Add by constants along the last axis become one ledge.Affine. */
#include "engine/optimize/pass.h"

/* Of a two-input node: the side of its float constant; -1 if none or both. */
static int constant_side(const LedgeNode *n)
{
    if (n->n_in != 2)
        return -1;
    bool a = ledge__opt_float_constant(n->in[0].value),
         b = ledge__opt_float_constant(n->in[1].value);
    return a == b ? -1 : b ? 1 : 0;
}

static LedgeValue *vector(LedgeGraph *g, const LedgeValue *v, int32_t rank, int64_t channels,
                          double *room)
{
    float *data;
    if (!ledge__opt_per_channel(v, rank, rank - 1, channels, room))
        return NULL;
    LedgeValue *out = ledge__opt_floats(g, NULL, 1, &channels, &data);
    for (int64_t i = 0; out && i < channels; i++)
        data[i] = (float)room[i];
    return out;
}

/* The Mul before an Add, where both have constants that fit. */
static LedgeNode *multiplication(const LedgeNode *add, int *side, int *mul_side)
{
    *side = ledge__node_is(add, "Add") ? constant_side(add) : -1;
    LedgeNode *mul = *side >= 0 ? ledge__opt_made_only_by(add->in[1 - *side].value, "Mul") : NULL;
    *mul_side = mul ? constant_side(mul) : -1;
    return *mul_side >= 0 ? mul : NULL;
}

LedgeStatus ledge__opt_affine(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "Affine"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        int side, mul_side;
        LedgeNode *mul = multiplication(n, &side, &mul_side);
        LedgeValue *x = mul ? mul->in[1 - mul_side].value : NULL;
        if (!x || x->t.type != LEDGE_FLOAT || x->t.rank < 2 || x->t.dims[x->t.rank - 1] <= 1)
            continue;
        int64_t channels = x->t.dims[x->t.rank - 1];
        double *room = ledge__arena_alloc(g->arena, (size_t)channels, sizeof *room);
        if (!room)
            return ledge__no_memory(c->err);
        LedgeValue *scale = vector(g, mul->in[mul_side].value, x->t.rank, channels, room);
        LedgeValue *shift = scale ? vector(g, n->in[side].value, x->t.rank, channels, room) : NULL;
        if (!shift)
            continue;
        LedgeNode *made = ledge__opt_internal(g, "Affine", 3, &x->t, n);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__node_set_input(made, 0, x);
        ledge__node_set_input(made, 1, scale);
        ledge__node_set_input(made, 2, shift);
        ledge__opt_take_over(g, made, n);
        *changed = true;
    }
    return LEDGE_OK;
}
