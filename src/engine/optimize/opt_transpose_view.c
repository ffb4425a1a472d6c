/* A Transpose that only moves dimensions of size 1 keeps its elements' order: it becomes a
 * Reshape, which costs nothing. */
#include "engine/optimize/pass.h"

static bool only_moves_ones(const LedgeNode *n, const int32_t *perm, int32_t rank)
{
    const LedgeTensor *x = &n->in[0].value->t;
    int32_t last = -1;
    for (int32_t d = 0; d < rank; d++) {
        if (x->dims[perm[d]] == 1)
            continue;
        if (perm[d] < last)
            return false;
        last = perm[d];
    }
    return true;
}

LedgeStatus ledge__opt_transpose_view(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        int32_t perm[LEDGE_MAX_RANK], rank, open = 0;
        if (!ledge__node_is(n, "Transpose") || !n->in[0].value || !n->out[0] ||
            n->in[0].value->t.rank < 0 || !ledge__opt_perm(n, perm, &rank) ||
            !only_moves_ones(n, perm, rank))
            continue;
        const LedgeTensor *x = &n->in[0].value->t;
        int64_t shape[LEDGE_MAX_RANK];
        bool empty = false;
        for (int32_t d = 0; d < rank; d++) {
            int64_t size = x->dims[perm[d]];
            empty |= size == 0;
            shape[d] = size >= 0 ? size : perm[d] == d ? 0 : -1;
            open += shape[d] == -1;
        }
        if (open > 1 || empty)
            continue;
        LedgeNode *r = ledge__opt_reshape(g, n->in[0].value, shape, rank, &n->out[0]->t, n);
        if (!r)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, r, n);
        *changed = true;
    }
    return LEDGE_OK;
}
