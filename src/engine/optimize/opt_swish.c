/* Activations written out: x * Sigmoid(x) is Swish, Clip(x + 3, 0, 6) / 6 is HardSigmoid, and
 * x times that is HardSwish. */
#include "engine/optimize/pass.h"

#include "engine/optimize/opt_product.h"

/* v = Clip(x + 3, 0, 6); gives x */
static LedgeValue *hard_step(const LedgeValue *v)
{
    double low, high, three;
    const LedgeNode *clip = ledge__opt_made_by(v, "Clip");
    if (!clip || !ledge__opt_clip_bounds(clip, &low, &high) || low != 0 || high != 6)
        return NULL;
    const LedgeNode *add = ledge__opt_made_by(clip->in[0].value, "Add");
    int side = add ? ledge__opt_scalar_side(add, &three) : -1;
    return side >= 0 && three == 3 ? add->in[1 - side].value : NULL;
}

static bool is_hard_sigmoid_of(const LedgeValue *v, const LedgeValue *x)
{
    const LedgeNode *n = ledge__opt_made_by(v, "HardSigmoid");
    return n && n->in[0].value == x &&
           ledge__opt_near((double)ledge__node_float(n, "alpha", 0.2f), 1.0 / 6) &&
           ledge__opt_near((double)ledge__node_float(n, "beta", 0.5f), 0.5);
}

typedef struct Match {
    LedgeValue *x;
    const char *op_type;
    int since;
} Match;

static bool match(LedgeValue *v, Match *m)
{
    LedgeProduct p;
    ledge__opt_product(v, &p);
    if (p.n == 1 && ledge__opt_near(p.constant, 1.0 / 6)) {
        *m = (Match){hard_step(p.v[0]), "HardSigmoid", 7};
        return m->x != NULL;
    }
    for (int i = 0; i < 2 && p.n == 2; i++) {
        LedgeValue *x = p.v[i], *other = p.v[1 - i];
        const LedgeNode *sigmoid = ledge__opt_made_by(other, "Sigmoid");
        *m = (Match){x, "Swish", 24};
        if (p.constant == 1 && sigmoid && sigmoid->in[0].value == x)
            return true;
        *m = (Match){x, "HardSwish", 14};
        if ((p.constant == 1 && is_hard_sigmoid_of(other, x)) ||
            (ledge__opt_near(p.constant, 1.0 / 6) && hard_step(other) == x))
            return true;
    }
    return false;
}

LedgeStatus ledge__opt_swish(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        Match m;
        if ((!ledge__node_is(n, "Mul") && !ledge__node_is(n, "Div")) || !n->out[0] ||
            !match(n->out[0], &m) || m.x->t.type != LEDGE_FLOAT ||
            !ledge__op_find("", m.op_type, g->opset > m.since ? g->opset : m.since))
            continue;
        LedgeNode *made = ledge__opt_onnx(g, m.op_type, m.since, 1, &m.x->t, n);
        if (!made)
            return ledge__no_memory(c->err);
        if (m.since == 7 && (!ledge__node_set_float(g, made, "alpha", 1.0f / 6) ||
                             !ledge__node_set_float(g, made, "beta", 0.5f)))
            return ledge__no_memory(c->err);
        ledge__node_set_input(made, 0, m.x);
        ledge__opt_take_over(g, made, n);
        *changed = true;
    }
    return LEDGE_OK;
}
