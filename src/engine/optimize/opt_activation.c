/* An activation behind a convolution or product of the internal kind, or behind ledge.Affine, becomes
 * its `act` attribute; behind the 8-bit ones where they give floats. */
#include "engine/optimize/pass.h"

#include <math.h>

typedef struct Act {
    const char *name;
    double min, max, alpha, beta; /* NAN: not an attribute of this one */
} Act;

static bool from_clip(const LedgeNode *n, Act *a)
{
    if (!ledge__opt_clip_bounds(n, &a->min, &a->max) || !(a->min <= a->max))
        return false;
    a->name = "clip";
    if (a->min == 0 && a->max >= (double)3.4028234663852886e38f) {
        *a = (Act){"relu", NAN, NAN, NAN, NAN};
    } else { /* attributes are finite */
        a->min = fmax(a->min, (double)-3.4028234663852886e38f);
        a->max = fmin(a->max, (double)3.4028234663852886e38f);
    }
    return true;
}

static bool describe(const LedgeNode *n, Act *a)
{
    static const struct {
        const char *op_type, *act;
    } plain[] = {
        {"Relu", "relu"}, {"HardSwish", "hardswish"}, {"Sigmoid", "sigmoid"}, {"Tanh", "tanh"}};
    *a = (Act){NULL, NAN, NAN, NAN, NAN};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (ledge__node_is(n, plain[i].op_type))
            a->name = plain[i].act;
    if (ledge__node_is(n, "Clip"))
        return from_clip(n, a);
    if (ledge__node_is(n, "LeakyRelu")) {
        a->name = "leakyrelu";
        a->alpha = (double)ledge__node_float(n, "alpha", 0.01f);
    } else if (ledge__node_is(n, "PRelu") && ledge__opt_scalar(ledge__node_in(n, 1), &a->alpha)) {
        a->name = "leakyrelu";
    } else if (ledge__node_is(n, "HardSigmoid")) {
        a->name = "hardsigmoid";
        a->alpha = (double)ledge__node_float(n, "alpha", 0.2f);
        a->beta = (double)ledge__node_float(n, "beta", 0.5f);
    } else if (ledge__node_is(n, "Swish") && ledge__node_float(n, "alpha", 1) == 1) {
        a->name = "silu";
    } else if (ledge__node_is(n, "Elu")) {
        a->name = "elu";
        a->alpha = (double)ledge__node_float(n, "alpha", 1);
    } else if (ledge__node_is(n, "Gelu")) {
        bool is_erf = strcmp(ledge__node_string(n, "approximate", "none"), "none") == 0;
        a->name = is_erf ? "gelu" : "gelu_tanh";
    }
    return a->name != NULL;
}

static bool takes_activation(const LedgeNode *n)
{
    if ((ledge__node_is_ledge(n, "QConv") || ledge__node_is_ledge(n, "QGemm")) &&
        ledge__node_int(n, "to_float", 0) && !ledge__node_in(n, 5))
        return strcmp(ledge__node_string(n, "act", "none"), "none") == 0;
    return (ledge__node_is_ledge(n, "Conv") || ledge__node_is_ledge(n, "Gemm") ||
            ledge__node_is_ledge(n, "Affine") || ledge__node_is_ledge(n, "MatMulInteger") ||
            ledge__node_is_ledge(n, "ConvInteger") ||
            ledge__node_is_ledge(n, "MatMulBlocks")) &&
           strcmp(ledge__node_string(n, "act", "none"), "none") == 0 &&
           !(ledge__node_is_ledge(n, "Conv") && ledge__node_in(n, 4));
}

static bool set(LedgeGraph *g, LedgeNode *n, const char *name, double v)
{
    return isnan(v) || ledge__node_set_float(g, n, name, (float)v);
}

LedgeStatus ledge__opt_activation(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeValue *x = ledge__node_in(n, 0);
        Act a;
        if (!ledge__opt_single_use(x) || !x->producer || !takes_activation(x->producer) ||
            !describe(n, &a) || !n->out[0] || x->t.rank != n->out[0]->t.rank)
            continue;
        LedgeNode *p = x->producer;
        if (!ledge__node_set_string(g, p, "act", a.name) || !set(g, p, "act_min", a.min) ||
            !set(g, p, "act_max", a.max) || !set(g, p, "act_alpha", a.alpha) ||
            !set(g, p, "act_beta", a.beta))
            return ledge__no_memory(c->err);
        *changed |= ledge__opt_bypass(g, n, x);
    }
    return LEDGE_OK;
}
