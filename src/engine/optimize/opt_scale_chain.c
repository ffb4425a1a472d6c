/* (x * a) * b by float constants, one of them a single number, is x * (a b); Div by such counts as
 * Mul by the inverse. Box decoders write such chains. */
#include "engine/optimize/pass.h"

#include <math.h>

/* The constant of a Mul, or of a Div by it; NULL if there is none or both are. */
static LedgeValue *factor(const LedgeNode *n, LedgeValue **x)
{
    if (n->n_in != 2 || !n->in[0].value || !n->in[1].value)
        return NULL;
    bool a = ledge__opt_float_constant(n->in[0].value),
         b = ledge__opt_float_constant(n->in[1].value);
    if (a == b || (ledge__node_is(n, "Div") && a))
        return NULL;
    if (!ledge__node_is(n, "Mul") && !ledge__node_is(n, "Div"))
        return NULL;
    *x = n->in[b ? 0 : 1].value;
    return n->in[b ? 1 : 0].value;
}

static double element(const LedgeNode *n, const LedgeValue *v, int64_t i)
{
    double d = ledge__value_as_double(v, i);
    return ledge__node_is(n, "Div") ? 1 / d : d;
}

/* The product of a constant of any shape and a single number, in the former's shape. */
static LedgeValue *product(LedgeGraph *g, const LedgeNode *n, const LedgeValue *a,
                           const LedgeNode *up, const LedgeValue *b)
{
    bool a_single = ledge_tensor_count(&a->t) == 1;
    const LedgeValue *wide = a_single ? b : a;
    const LedgeValue *rank_giver = a->t.rank > b->t.rank ? a : b;
    const LedgeTensor *t = ledge_tensor_count(&wide->t) == 1 ? &rank_giver->t : &wide->t;
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, t->rank, t->dims, &data);
    for (int64_t i = 0; v && i < ledge_tensor_count(t); i++) {
        double x = element(n, a, a_single ? 0 : i);
        data[i] = (float)(x * element(up, b, ledge_tensor_count(&b->t) == 1 ? 0 : i));
    }
    return v;
}

static bool fits(const LedgeValue *a, const LedgeValue *b)
{
    int64_t na = ledge_tensor_count(&a->t), nb = ledge_tensor_count(&b->t);
    /* the single number must not add dimensions to the other */
    return na > 0 && nb > 0 &&
           ((na == 1 && a->t.rank <= b->t.rank) || (nb == 1 && b->t.rank <= a->t.rank));
}

static bool is_finite(const LedgeValue *v)
{
    for (int64_t i = 0; i < ledge_tensor_count(&v->t); i++)
        if (!isfinite(ledge__value_as_double(v, i)))
            return false;
    return true;
}

LedgeStatus ledge__opt_scale_chain(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeValue *x = NULL, *y = NULL, *a = factor(n, &x);
        LedgeNode *up = a && ledge__opt_single_use(x) && !n->domain[0] ? x->producer : NULL;
        LedgeValue *b = up && !up->domain[0] ? factor(up, &y) : NULL;
        if (!b || !fits(a, b))
            continue;
        LedgeValue *v = product(g, n, a, up, b);
        LedgeNode *made = v ? ledge__opt_onnx(g, "Mul", 7, 2, &n->out[0]->t, n) : NULL;
        if (!made)
            return ledge__no_memory(c->err);
        ledge__node_set_input(made, 0, y);
        ledge__node_set_input(made, 1, v);
        if (is_finite(v)) {
            ledge__opt_take_over(g, made, n);
            *changed = true;
        } else {
            ledge__opt_drop(g, made);
        }
    }
    return LEDGE_OK;
}
