/* Where ledge.Conv can read NCHW (x_layout), the conversion of the model's input goes too. */
#include "engine/optimize/pass.h"

enum { FEW_CHANNELS = 4 };

LedgeStatus ledge__opt_nchw_first(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    static const int64_t to_nhwc[] = {0, 2, 3, 1};
    for (LedgeNode *n = g->first; n && c->options->nchw_first_conv; n = n->next) {
        LedgeValue *x = ledge__node_is_ledge(n, "Conv") ? n->in[0].value : NULL;
        LedgeNode *t = ledge__opt_made_only_by(x, "Transpose");
        size_t count;
        const int64_t *perm = t ? ledge__node_ints(t, "perm", &count) : NULL;
        if (!perm || count != 4 || memcmp(perm, to_nhwc, sizeof to_nhwc) != 0 || x->t.dims[3] < 1 ||
            x->t.dims[3] > FEW_CHANNELS)
            continue;
        if (!ledge__node_set_string(g, n, "x_layout", "nchw"))
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 0, t->in[0].value);
        ledge__opt_drop(g, t);
        *changed = true;
    }
    return LEDGE_OK;
}
