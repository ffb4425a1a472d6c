/* Transposes move down through elementwise nodes where that lets them meet and cancel: when
 * another Transpose follows, or when both operands come from equal ones. */
#include "engine/optimize/pass.h"

enum { FAR = 64 };

static LedgeNode *transpose_of(const LedgeValue *v)
{
    return ledge__opt_made_only_by(v, "Transpose");
}

/* Through single readers, a Transpose follows. */
static bool leads_to_transpose(const LedgeValue *v)
{
    for (int i = 0; i < FAR; i++) {
        const LedgeNode *n = ledge__value_only_reader(v);
        if (!n || n->n_out == 0 || !n->out[0])
            return false;
        if (ledge__node_is(n, "Transpose"))
            return true;
        if (!ledge__opt_is_unary(n) && !ledge__opt_is_broadcasting(n))
            return false;
        v = n->out[0];
    }
    return false;
}

static bool is_same_perm(const LedgeNode *a, const LedgeNode *b, int32_t *perm, int32_t *rank)
{
    int32_t other[LEDGE_MAX_RANK], other_rank;
    return ledge__opt_perm(a, perm, rank) && ledge__opt_perm(b, other, &other_rank) &&
           *rank == other_rank && memcmp(perm, other, (size_t)*rank * sizeof *perm) == 0;
}

/* All inputs are equal Transposes or constants; *first is one of the Transposes. */
static bool inputs_agree(const LedgeNode *n, LedgeNode **first, int *transposes, int32_t *perm,
                         int32_t *rank)
{
    *first = NULL;
    *transposes = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *x = n->in[i].value;
        LedgeNode *t = transpose_of(x);
        if (t) {
            if (!is_same_perm(t, *first ? *first : t, perm, rank))
                return false;
            *first = t;
            ++*transposes;
        } else if (!x || !ledge__value_is_constant(x) || ledge_type_bits(x->t.type) < 8 ||
                   x->t.rank < 0) {
            return false;
        }
    }
    if (!*first || n->out[0]->t.rank != *rank)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value->t.rank > *rank)
            return false;
    return true;
}

static LedgeStatus sink(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const int32_t *perm,
                        int32_t rank)
{
    int32_t inverse[LEDGE_MAX_RANK];
    ledge__opt_invert(perm, rank, inverse);
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *x = n->in[i].value;
        LedgeNode *t = transpose_of(x);
        LedgeValue *v =
            t ? t->in[0].value : ledge__opt_permuted_constant(g, x, rank, inverse, false);
        if (!v)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, i, v);
        if (t)
            ledge__opt_drop(g, t);
    }
    return ledge__opt_transpose_after(g, n, perm) ? LEDGE_OK : ledge__no_memory(c->err);
}

LedgeStatus ledge__opt_transpose_sink(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        LedgeNode *t = NULL;
        int32_t perm[LEDGE_MAX_RANK], rank = 0;
        int transposes = 0;
        if (ledge__opt_is_unary(n)) {
            t = transpose_of(n->in[0].value);
            if (!t || !ledge__opt_perm(t, perm, &rank) || n->out[0]->t.rank != rank ||
                !leads_to_transpose(n->out[0]))
                continue;
            ledge__node_set_input(n, 0, t->in[0].value);
            ledge__opt_drop(g, t);
            if (!ledge__opt_transpose_after(g, n, perm))
                return ledge__no_memory(c->err);
        } else if (ledge__opt_is_broadcasting(n) && inputs_agree(n, &t, &transposes, perm, &rank) &&
                   (transposes > 1 || leads_to_transpose(n->out[0]))) {
            LEDGE_TRY(sink(g, c, n, perm, rank));
        } else {
            continue;
        }
        *changed = true;
    }
    return LEDGE_OK;
}
