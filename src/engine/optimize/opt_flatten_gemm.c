/* An NHWC image that is put into NCHW order only to be flattened for a Gemm by constant weights
 * is flattened as it is; the weights' rows are put into its order instead. */
#include "engine/optimize/pass.h"

typedef struct Match {
    LedgeNode *transpose, *view;
    int64_t channels, pixels;
} Match;

static bool match(const LedgeNode *n, Match *m)
{
    static const int64_t to_nchw[] = {0, 3, 1, 2};
    LedgeValue *flat = n->in[0].value;
    m->view =
        ledge__opt_single_use(flat) && ledge__opt_is_view(flat->producer) ? flat->producer : NULL;
    m->transpose = m->view ? ledge__opt_made_only_by(m->view->in[0].value, "Transpose") : NULL;
    size_t count;
    const int64_t *perm = m->transpose ? ledge__node_ints(m->transpose, "perm", &count) : NULL;
    if (!perm || count != 4 || memcmp(perm, to_nchw, sizeof to_nchw) != 0)
        return false;
    const LedgeTensor *x = &m->transpose->in[0].value->t, *f = &flat->t;
    if (x->rank != 4 || f->rank != 2 || x->dims[1] <= 0 || x->dims[2] <= 0 || x->dims[3] <= 0)
        return false;
    m->channels = x->dims[3];
    m->pixels = x->dims[1] * x->dims[2];
    return f->dims[1] == m->channels * m->pixels && n->in[1].value->t.rank == 2;
}

/* Row c * pixels + p of the old weights is row p * channels + c of the new ones. */
static LedgeValue *reorder(LedgeGraph *g, const LedgeNode *n, const Match *m)
{
    LedgeValue *b = n->in[1].value;
    if (m->pixels == 1 || m->channels == 1)
        return b; /* the same order either way */
    bool trans_b = ledge__node_int(n, "transB", 0) != 0;
    LedgeTensor t = {.type = LEDGE_FLOAT, .data = b->t.data};
    int64_t other = b->t.dims[!trans_b];
    static const int32_t rows[] = {1, 0, 2}, columns[] = {0, 2, 1};
    t.rank = 3;
    t.dims[0] = trans_b ? other : m->channels;
    t.dims[1] = trans_b ? m->channels : m->pixels;
    t.dims[2] = trans_b ? m->pixels : other;
    LedgeValue *seen = ledge__value_constant(g, NULL, &t, false);
    LedgeValue *moved =
        seen ? ledge__opt_permuted_constant(g, seen, 3, trans_b ? columns : rows, true) : NULL;
    if (!moved)
        return NULL;
    t = b->t;
    t.data = moved->t.data;
    return ledge__value_constant(g, NULL, &t, false);
}

LedgeStatus ledge__opt_flatten_gemm(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        Match m;
        if (!ledge__node_is_ledge(n, "Gemm") || !n->in[0].value ||
            !ledge__opt_float_constant(n->in[1].value) || !match(n, &m))
            continue;
        LedgeValue *b = reorder(g, n, &m);
        if (!b)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 1, b);
        ledge__node_set_input(m.view, 0, m.transpose->in[0].value);
        ledge__opt_drop(g, m.transpose);
        *changed = true;
    }
    return LEDGE_OK;
}
