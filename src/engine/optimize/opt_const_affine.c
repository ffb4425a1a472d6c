/* Add, Sub, Mul or Div by a constant per channel, folded into weights and bias of the Conv,
 * ConvTranspose or Gemm (or internal Conv, Gemm) before it. A Conv that is to become ledge.Conv
 * waits for that: its factors need no copy of the weights. */
#include "engine/optimize/opt_layout.h"

#include <math.h>

/* x + v, x - v, x * v, x / v; not v - x or v / x. */
static bool is_affine(const LedgeNode *n, int constant)
{
    return ledge__node_is(n, "Add") || ledge__node_is(n, "Mul") ||
           (constant == 1 && (ledge__node_is(n, "Sub") || ledge__node_is(n, "Div")));
}

static int constant_side(const LedgeNode *n)
{
    if (n->n_in != 2 || !n->in[0].value || !n->in[1].value || !n->out[0])
        return -1;
    return ledge__opt_float_constant(n->in[1].value)   ? 1
           : ledge__opt_float_constant(n->in[0].value) ? 0
                                                       : -1;
}

/* The constant's numbers turned into a factor or addend per channel. */
static bool numbers(const LedgeNode *n, int side, const LedgeOptWeighted *w, int32_t rank,
                    double *out)
{
    if (!ledge__opt_per_channel(n->in[side].value, rank, w->axis, w->channels, out))
        return false;
    for (int64_t i = 0; i < w->channels; i++) {
        if (ledge__node_is(n, "Div"))
            out[i] = 1 / out[i];
        if (ledge__node_is(n, "Sub"))
            out[i] = -out[i];
        if (!isfinite(out[i]))
            return false;
    }
    return true;
}

LedgeStatus ledge__opt_const_affine(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeOptWeighted w;
        int side = constant_side(n);
        if (n->domain[0] || side < 0 || !is_affine(n, side))
            continue;
        LedgeValue *x = n->in[1 - side].value;
        if (!ledge__opt_single_use(x) || !x->producer || x->t.rank < 2 ||
            ledge__layout_is_native(c, x->producer) || !ledge__opt_weighted(x->producer, &w))
            continue;
        double *v = ledge__arena_alloc(g->arena, (size_t)w.channels, sizeof *v);
        if (!v)
            return ledge__no_memory(c->err);
        if (!numbers(n, side, &w, x->t.rank, v))
            continue;
        bool scales = ledge__node_is(n, "Mul") || ledge__node_is(n, "Div");
        LEDGE_TRY(
            ledge__opt_fold_affine(g, c, x->producer, &w, scales ? v : NULL, scales ? NULL : v));
        *changed |= ledge__opt_bypass(g, n, x);
    }
    return LEDGE_OK;
}
