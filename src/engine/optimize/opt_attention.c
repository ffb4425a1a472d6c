/* Multi-head attention written out becomes ledge.Attention: heads split by Reshape and Transpose,
 * Q K^T, a scale, a mask that is added, Softmax, times V, heads joined again. Where Q, K and V
 * lie side by side in one tensor, as the thirds of one Split or one Reshape, it is taken as it is.
 */
#include "engine/optimize/pass.h"

typedef struct Match {
    LedgeValue *q, *k, *v, *mask;
    LedgeValue *packed; /* Q, K and V side by side, instead of the three */
    int64_t heads;
    double scale;
} Match;

static LedgeNode *transpose_by(const LedgeValue *v, int a, int b, int c, int d)
{
    LedgeNode *n = ledge__opt_made_only_by(v, "Transpose");
    const int32_t wanted[4] = {a, b, c, d};
    int32_t perm[LEDGE_MAX_RANK], rank;
    return n && ledge__opt_perm(n, perm, &rank) && rank == 4 &&
                   memcmp(perm, wanted, sizeof wanted) == 0
               ? n
               : NULL;
}

static LedgeNode *only_view(const LedgeValue *v)
{
    return ledge__opt_single_use(v) && ledge__opt_is_view(v->producer) ? v->producer : NULL;
}

/* x [B,S,H*D] seen as y [B,S,H,D]. */
static bool splits_heads(const LedgeValue *x, const LedgeValue *y)
{
    if (x->t.rank != 3 || y->t.rank != 4 || y->t.dims[2] <= 0 || y->t.dims[3] <= 0 ||
        x->t.dims[2] != y->t.dims[2] * y->t.dims[3])
        return false;
    return ledge__opt_same_dim(x, 0, y, 0) || ledge__opt_same_dim(x, 1, y, 1);
}

/* What was split into heads to give `t`'s input; agrees with m->heads, or sets it. */
static LedgeValue *before_split(const LedgeNode *t, Match *m)
{
    const LedgeNode *view = t ? only_view(t->in[0].value) : NULL;
    if (!view || !splits_heads(view->in[0].value, view->out[0]))
        return NULL;
    int64_t heads = view->out[0]->t.dims[2];
    if (m->heads && m->heads != heads)
        return NULL;
    m->heads = heads;
    return view->in[0].value;
}

/* x [B,S,3*H*D] seen as [B,S,3,H,D], turned to [3,B,H,S,D], of which `v` takes part `index`: how
 * vision transformers take their heads apart. Agrees with what m holds, or sets it. */
static bool is_packed_part(const LedgeValue *v, int64_t index, Match *m)
{
    static const int32_t wanted[] = {2, 0, 3, 1, 4};
    int32_t perm[LEDGE_MAX_RANK], rank;
    const LedgeNode *gather = ledge__opt_made_only_by(v, "Gather");
    const LedgeValue *at = gather ? ledge__node_in(gather, 1) : NULL;
    if (!ledge__value_is_constant(at) || at->t.rank != 0 || ledge__value_as_int(at, 0) != index ||
        ledge__node_int(gather, "axis", 0) != 0)
        return false;
    const LedgeNode *t = ledge__opt_made_by(gather->in[0].value, "Transpose");
    const LedgeNode *view =
        t && ledge__opt_is_view(t->in[0].value->producer) ? t->in[0].value->producer : NULL;
    if (!view || !ledge__opt_perm(t, perm, &rank) || rank != 5 ||
        memcmp(perm, wanted, sizeof wanted) != 0)
        return false;
    LedgeValue *x = view->in[0].value, *y = view->out[0];
    if (x->t.rank != 3 || y->t.rank != 5 || y->t.dims[2] != 3 || y->t.dims[3] <= 0 ||
        y->t.dims[4] <= 0 || x->t.dims[2] != 3 * y->t.dims[3] * y->t.dims[4] ||
        !(ledge__opt_same_dim(x, 0, y, 0) || ledge__opt_same_dim(x, 1, y, 1)) ||
        (m->packed && m->packed != x))
        return false;
    m->packed = x;
    m->heads = y->t.dims[3];
    return true;
}

/* Steps over Mul and Div by a number, which goes into the scale. */
static LedgeValue *unscaled(LedgeValue *v, Match *m)
{
    for (int i = 0; i < 2; i++) {
        double k;
        LedgeNode *mul = ledge__opt_made_only_by(v, "Mul"),
                  *div = ledge__opt_made_only_by(v, "Div");
        int side = mul ? ledge__opt_scalar_side(mul, &k) : -1;
        if (side >= 0) {
            m->scale *= k;
            v = mul->in[1 - side].value;
        } else if (div && ledge__opt_scalar(div->in[1].value, &k) && k != 0) {
            m->scale /= k;
            v = div->in[0].value;
        }
    }
    return v;
}

static bool match_scores(LedgeValue *scores, Match *m)
{
    LedgeNode *mul = ledge__opt_made_only_by(unscaled(scores, m), "MatMul");
    if (!mul)
        return false;
    if (m->packed) {
        LedgeValue *q = unscaled(mul->in[0].value, m), *k = unscaled(mul->in[1].value, m);
        LedgeNode *t = transpose_by(k, 0, 1, 3, 2);
        return t && is_packed_part(q, 0, m) && is_packed_part(unscaled(t->in[0].value, m), 1, m);
    }
    m->q = before_split(transpose_by(unscaled(mul->in[0].value, m), 0, 2, 1, 3), m);
    m->k = before_split(transpose_by(unscaled(mul->in[1].value, m), 0, 2, 3, 1), m);
    return m->q && m->k;
}

static bool is_mask(const LedgeValue *v)
{
    return v->t.type == LEDGE_FLOAT && v->t.rank >= 0 && v->t.rank <= 4;
}

static bool match_masked(LedgeValue *scores, Match *m)
{
    LedgeNode *add = ledge__opt_made_only_by(scores, "Add");
    Match start = *m;
    if (!add)
        return match_scores(scores, m);
    for (int side = 0; side < 2; side++) {
        *m = start;
        m->mask = add->in[1 - side].value;
        if (is_mask(m->mask) && match_scores(add->in[side].value, m))
            return true;
    }
    return false;
}

static bool is_last_axis_softmax(const LedgeNode *n)
{
    int32_t rank = n->in[0].value->t.rank;
    int64_t absent = n->opset >= 13 ? -1 : 1;
    return rank == 4 && ledge__opt_axis(ledge__node_int(n, "axis", absent), rank) == 3;
}

/* n joins the heads: Reshape of Transpose of the weighted sum. */
static bool match(const LedgeNode *n, Match *m)
{
    *m = (Match){.scale = 1};
    if (!ledge__opt_is_view(n) || !n->in[0].value)
        return false;
    LedgeNode *t = transpose_by(n->in[0].value, 0, 2, 1, 3);
    LedgeNode *sum = t ? ledge__opt_made_only_by(t->in[0].value, "MatMul") : NULL;
    LedgeNode *softmax = sum ? ledge__opt_made_only_by(sum->in[0].value, "Softmax") : NULL;
    if (!softmax || !is_last_axis_softmax(softmax))
        return false;
    if (!is_packed_part(sum->in[1].value, 2, m))
        m->v = before_split(transpose_by(sum->in[1].value, 0, 2, 1, 3), m);
    if ((!m->v && !m->packed) || !match_masked(softmax->in[0].value, m) ||
        !splits_heads(n->out[0], t->out[0]))
        return false;
    if (m->packed)
        return m->packed->t.type == LEDGE_FLOAT;
    return m->v->t.type == LEDGE_FLOAT && ledge__opt_same_dim(m->q, 0, m->k, 0) &&
           ledge__opt_same_dim(m->k, 0, m->v, 0) && ledge__opt_same_dim(m->k, 1, m->v, 1);
}

/* The Split of which q, k and v are the first, second and third third. */
static LedgeNode *common_split(const Match *m)
{
    LedgeNode *n = m->q->producer;
    if (!ledge__node_is(n, "Split") || n->n_out != 3 || n->out[0] != m->q || n->out[1] != m->k ||
        n->out[2] != m->v || m->q->t.dims[2] != m->k->t.dims[2] ||
        m->k->t.dims[2] != m->v->t.dims[2])
        return NULL;
    int32_t rank = n->in[0].value->t.rank;
    return rank == 3 && ledge__opt_axis(ledge__node_int(n, "axis", 0), rank) == 2 ? n : NULL;
}

static LedgeNode *build(LedgeGraph *g, LedgeNode *n, const Match *m)
{
    LedgeTensor like = m->packed ? m->packed->t : m->q->t;
    like.dims[2] = m->packed ? m->packed->t.dims[2] / 3 : m->v->t.dims[2];
    LedgeNode *made = ledge__opt_internal(g, "Attention", m->mask ? 4 : 3, &like, n);
    LedgeNode *split = m->packed ? NULL : common_split(m);
    LedgeValue *packed = split ? split->in[0].value : m->packed;
    if (!made || !ledge__node_set_int(g, made, "heads", m->heads) ||
        !ledge__node_set_float(g, made, "scale", (float)m->scale))
        return NULL;
    ledge__node_set_input(made, 0, packed ? packed : m->q);
    ledge__node_set_input(made, 1, packed ? NULL : m->k);
    ledge__node_set_input(made, 2, packed ? NULL : m->v);
    if (m->mask)
        ledge__node_set_input(made, 3, m->mask);
    return made;
}

LedgeStatus ledge__opt_attention(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "Attention"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        Match m;
        if (!match(n, &m))
            continue;
        LedgeNode *made = build(g, n, &m);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, made, n);
        *changed = true;
    }
    return LEDGE_OK;
}
