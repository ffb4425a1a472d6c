/* Dead code: removes nodes whose outputs nobody reads, and forgets optional outputs that
 * nobody reads, so that operators need not compute them. */
#include "engine/optimize/pass.h"

static bool is_wanted(const LedgeValue *v)
{
    return v && (v->n_uses || v->n_outputs);
}

static bool drop_unread_outputs(LedgeNode *n)
{
    bool changed = false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i] && !is_wanted(n->out[i])) {
            ledge__node_set_output(n, i, NULL);
            changed = true;
        }
    while (n->n_out > 1 && !n->out[n->n_out - 1])
        n->n_out--;
    return changed;
}

LedgeStatus ledge__opt_dead_code(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    (void)c;
    for (LedgeNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        bool wanted = false;
        for (uint32_t i = 0; i < n->n_out; i++)
            wanted |= is_wanted(n->out[i]);
        if (!wanted) {
            ledge__node_remove(g, n);
            *changed = true;
        } else if (is_wanted(n->out[0])) {
            /* Variadic operators (Split, If, Loop) count their outputs: only what is known to
             * be optional goes. */
            static const char *const optional[] = {
                "Dropout", "MaxPool", "BatchNormalization", "LayerNormalization", "LSTM",
                "GRU",     "RNN"};
            for (size_t k = 0; k < sizeof optional / sizeof optional[0]; k++)
                if (ledge__node_is(n, optional[k]))
                    *changed |= drop_unread_outputs(n);
        }
    }
    return LEDGE_OK;
}
