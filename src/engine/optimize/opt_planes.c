/* A ledge.Conv of a few channels that a Transpose from NCHW feeds reads the planes itself: the
 * image that a network begins with is not turned first. */
#include "engine/optimize/opt_layout.h"

/* More channels fill a vector, and pixels are read better then; one channel is no Transpose. */
#define MOST_PLANES 4

static LedgeNode *turned_image(const LedgeNode *n)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    const LedgeValue *x = ledge__node_in(n, 0);
    LedgeNode *t = x && x->t.rank == 4 ? ledge__opt_made_only_by(x, "Transpose") : NULL;
    if (!t || !ledge__opt_perm(t, perm, &rank) || rank != 4 ||
        memcmp(perm, ledge__to_nhwc, sizeof ledge__to_nhwc) != 0)
        return NULL;
    return x->t.dims[3] > 1 && x->t.dims[3] <= MOST_PLANES ? t : NULL;
}

LedgeStatus ledge__opt_planes(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        if (!ledge__node_is_ledge(n, "Conv") || ledge__node_int(n, "group", 1) != 1 ||
            ledge__node_attr(n, "x_layout"))
            continue;
        LedgeNode *t = turned_image(n);
        if (!t)
            continue;
        if (!ledge__node_set_string(g, n, "x_layout", "nchw"))
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 0, t->in[0].value);
        ledge__opt_drop(g, t);
        *changed = true;
    }
    return LEDGE_OK;
}
