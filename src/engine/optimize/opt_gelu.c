/* GELU written out, by Erf or by its Tanh approximation, in any order of the factors:
 *   0.5 x (1 + erf(x / sqrt 2))      0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
#include "engine/optimize/pass.h"

#include "engine/optimize/opt_product.h"

/* v = w + 1; gives w */
static LedgeValue *less_one(const LedgeValue *v)
{
    double one;
    LedgeNode *add = ledge__opt_made_by(v, "Add");
    int side = add ? ledge__opt_scalar_side(add, &one) : -1;
    return side >= 0 && one == 1 ? add->in[1 - side].value : NULL;
}

static bool is_erf_arm(LedgeValue *w, const LedgeValue *x)
{
    LedgeNode *erf = ledge__opt_made_by(w, "Erf");
    LedgeProduct p;
    if (!erf)
        return false;
    ledge__opt_product(erf->in[0].value, &p);
    return p.n == 1 && p.v[0] == x && ledge__opt_near(p.constant, 0.70710678118654752);
}

static bool is_cubic(LedgeValue *v, const LedgeValue *x)
{
    LedgeProduct p;
    ledge__opt_product(v, &p);
    return p.n == 3 && p.v[0] == x && p.v[1] == x && p.v[2] == x &&
           ledge__opt_near(p.constant, 0.044715);
}

/* v = 1 + 0.044715 x^2 */
static bool is_cubic_over_x(LedgeValue *v, const LedgeValue *x)
{
    LedgeProduct p;
    LedgeValue *w = less_one(v);
    if (!w)
        return false;
    ledge__opt_product(w, &p);
    return p.n == 2 && p.v[0] == x && p.v[1] == x && ledge__opt_near(p.constant, 0.044715);
}

static bool is_tanh_arm(LedgeValue *w, const LedgeValue *x)
{
    LedgeNode *tanh = ledge__opt_made_by(w, "Tanh");
    LedgeProduct p;
    if (!tanh)
        return false;
    ledge__opt_product(tanh->in[0].value, &p);
    LedgeValue *inner = ledge__opt_cofactor(&p, 0.79788456080286536, x);
    if (inner)
        return is_cubic_over_x(inner, x);
    LedgeNode *add = p.n == 1 ? ledge__opt_made_by(p.v[0], "Add") : NULL;
    if (!add || !ledge__opt_near(p.constant, 0.79788456080286536))
        return false;
    LedgeValue *a = add->in[0].value, *b = add->in[1].value;
    return (a == x && is_cubic(b, x)) || (b == x && is_cubic(a, x));
}

/* The x of which `v` is the GELU, or NULL. */
static LedgeValue *match(LedgeValue *v, bool *is_tanh)
{
    LedgeProduct p;
    ledge__opt_product(v, &p);
    for (int i = 0; i < 2 && p.n == 2; i++) {
        LedgeValue *x = p.v[i], *arm = less_one(ledge__opt_cofactor(&p, 0.5, x));
        *is_tanh = arm && is_tanh_arm(arm, x);
        if (*is_tanh || (arm && is_erf_arm(arm, x)))
            return x;
    }
    return NULL;
}

LedgeStatus ledge__opt_gelu(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__op_find("", "Gelu", g->opset > 20 ? g->opset : 20))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        bool is_tanh;
        if ((!ledge__node_is(n, "Mul") && !ledge__node_is(n, "Div")) || !n->out[0])
            continue;
        LedgeValue *x = match(n->out[0], &is_tanh);
        if (!x || x->t.type != LEDGE_FLOAT)
            continue;
        LedgeNode *gelu = ledge__opt_onnx(g, "Gelu", 20, 1, &x->t, n);
        if (!gelu || (is_tanh && !ledge__node_set_string(g, gelu, "approximate", "tanh")))
            return ledge__no_memory(c->err);
        ledge__node_set_input(gelu, 0, x);
        ledge__opt_take_over(g, gelu, n);
        *changed = true;
    }
    return LEDGE_OK;
}
