/* Constant weights of products of which whole blocks of one row and 16 columns are zeros, as block
 * pruning leaves them, are marked for the kernels that skip those: the attribute kept_rows. */
#include "engine/kernels/strips_f32.h"
#include "engine/optimize/pass.h"

static bool all_are(const LedgeNode *n, const char *name, int64_t want)
{
    size_t count = 0;
    const int64_t *v = ledge__node_ints(n, name, &count);
    for (size_t i = 0; i < count; i++)
        if (v[i] != want)
            return false;
    return true;
}

/* How the weights of ledge.Gemm, or of a pointwise ledge.Conv, lie. */
static bool view_of(const LedgeNode *n, LedgeStripsView *v)
{
    const LedgeValue *w = ledge__node_in(n, 1);
    if (!ledge__opt_float_constant(w))
        return false;
    const int64_t *d = w->t.dims;
    if (ledge__node_is_ledge(n, "Gemm") && w->t.rank == 2) {
        const bool turned = ledge__node_int(n, "transB", 0) != 0;
        const size_t rows = (size_t)d[0], columns = (size_t)d[1];
        *v = turned ? (LedgeStripsView){w->t.data, rows, columns, columns, 1}
                    : (LedgeStripsView){w->t.data, columns, rows, 1, columns};
        return true;
    }
    if (!ledge__node_is_ledge(n, "Conv") || !all_are(n, "strides", 1) || !all_are(n, "pads", 0) ||
        w->t.rank != 4 || d[2] != 1 || d[3] != 1 || ledge__node_int(n, "group", 1) != 1 ||
        ledge__node_attr(n, "x_layout"))
        return false;
    *v = (LedgeStripsView){w->t.data, (size_t)d[0], (size_t)d[1], (size_t)d[1], 1};
    return true;
}

LedgeStatus ledge__opt_strips(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        LedgeStripsView v;
        size_t kept;
        if (ledge__node_attr(n, "kept_rows") || !view_of(n, &v) || !ledge__strips_pay(&v, &kept))
            continue;
        if (!ledge__node_set_int(g, n, "kept_rows", (int64_t)kept))
            return ledge__no_memory(c->err);
        *changed = true;
    }
    return LEDGE_OK;
}
