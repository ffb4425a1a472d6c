/* An NHWC image put into NCHW order, its pixels flattened and the channels put last again
 * ([N,C,H*W] turned to [N,H*W,C]) is the image itself under another shape: how vision
 * transformers make tokens of patches. */
#include "engine/optimize/pass.h"

static LedgeNode *transpose_by(const LedgeValue *v, const int32_t *wanted, int32_t wanted_rank)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    LedgeNode *n = ledge__opt_made_by(v, "Transpose");
    return n && ledge__opt_perm(n, perm, &rank) && rank == wanted_rank &&
                   memcmp(perm, wanted, (size_t)rank * sizeof *perm) == 0
               ? n
               : NULL;
}

/* The NHWC image of which `n` makes tokens. */
static LedgeValue *image_of(const LedgeNode *n)
{
    static const int32_t swap[] = {0, 2, 1}, to_nchw[] = {0, 3, 1, 2};
    const LedgeNode *turn = n->n_out ? transpose_by(n->out[0], swap, 3) : NULL;
    const LedgeNode *view =
        turn && turn->in[0].value && ledge__opt_is_view(turn->in[0].value->producer)
            ? turn->in[0].value->producer
            : NULL;
    const LedgeNode *up = view ? transpose_by(view->in[0].value, to_nchw, 4) : NULL;
    LedgeValue *x = up ? up->in[0].value : NULL;
    if (!x || x->t.rank != 4 || view->out[0]->t.rank != 3)
        return NULL;
    /* batch and channels stay, so the pixels are what was flattened */
    return x->t.dims[3] > 0 && view->out[0]->t.dims[1] == x->t.dims[3] &&
                   ledge__opt_same_dim(x, 0, view->out[0], 0)
               ? x
               : NULL;
}

LedgeStatus ledge__opt_flatten_space(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeValue *x = ledge__node_is(n, "Transpose") ? image_of(n) : NULL;
        if (!x)
            continue;
        const int64_t shape[] = {0, -1, x->t.dims[3]};
        LedgeNode *r = ledge__opt_reshape(g, x, shape, 3, &n->out[0]->t, n);
        if (!r)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, r, n);
        *changed = true;
    }
    return LEDGE_OK;
}
