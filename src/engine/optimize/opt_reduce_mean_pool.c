/* ReduceMean over all spatial dims is GlobalAveragePool, for which there is a fast kernel. */
#include "engine/optimize/pass.h"

static bool is_over_spatial(const LedgeNode *n, int32_t rank)
{
    int64_t axes[LEDGE_MAX_RANK];
    int count = ledge__opt_list(n, 1, "axes", axes, LEDGE_MAX_RANK);
    unsigned seen = 0;
    for (int i = 0; i < count; i++) {
        int32_t axis = ledge__opt_axis(axes[i], rank);
        if (axis < 2)
            return false;
        seen |= 1u << axis;
    }
    return count == rank - 2 && seen == (1u << rank) - 4u;
}

LedgeStatus ledge__opt_reduce_mean_pool(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        const LedgeValue *x = ledge__node_is(n, "ReduceMean") ? n->in[0].value : NULL;
        if (!x || x->t.type != LEDGE_FLOAT || x->t.rank != 4 || !is_over_spatial(n, x->t.rank))
            continue;
        LedgeTensor like = x->t;
        like.dims[2] = like.dims[3] = 1;
        LedgeNode *pool = ledge__opt_onnx(g, "GlobalAveragePool", 7, 1, &like, n), *last = pool;
        if (!pool)
            return ledge__no_memory(c->err);
        ledge__node_set_input(pool, 0, n->in[0].value);
        if (!ledge__node_int(n, "keepdims", 1)) {
            int64_t shape[2] = {0, x->t.dims[1] > 0 ? x->t.dims[1] : -1};
            like.rank = 2;
            last = ledge__opt_reshape(g, pool->out[0], shape, 2, &like, n);
            if (!last)
                return ledge__no_memory(c->err);
        }
        ledge__opt_take_over(g, last, n);
        *changed = true;
    }
    return LEDGE_OK;
}
