/* A Transpose of a Transpose is one Transpose; one that undoes the other is none. */
#include "engine/optimize/pass.h"

LedgeStatus ledge__opt_transpose_chain(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeNode *up = ledge__node_is(n, "Transpose") && n->n_in
                            ? ledge__opt_made_by(n->in[0].value, "Transpose")
                            : NULL;
        int32_t p[LEDGE_MAX_RANK], q[LEDGE_MAX_RANK], rank, up_rank;
        if (!up || !n->out[0] || !ledge__opt_perm(n, p, &rank) ||
            !ledge__opt_perm(up, q, &up_rank) || rank != up_rank)
            continue;
        int64_t both[LEDGE_MAX_RANK];
        bool identity = true;
        for (int32_t d = 0; d < rank; d++) {
            both[d] = q[p[d]];
            identity &= both[d] == d;
        }
        LedgeValue *x = up->in[0].value;
        if (identity && ledge__opt_bypass(g, n, x)) {
            *changed = true;
            continue;
        }
        if (!ledge__node_set_ints(g, n, "perm", both, (size_t)rank))
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 0, x);
        ledge__opt_drop(g, up);
        *changed = true;
    }
    return LEDGE_OK;
}
