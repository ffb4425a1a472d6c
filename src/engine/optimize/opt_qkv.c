/* The three ledge.Gemm that make Q, K and V of one input become one by their weights side by
 * side, whose output ledge.Attention reads as it is. */
#include "engine/optimize/pass.h"

typedef struct Match {
    LedgeNode *gemm[3];
    int64_t k, n; /* of each */
    bool trans_b;
} Match;

static bool is_plain(const LedgeNode *n)
{
    const LedgeValue *bias = ledge__node_in(n, 2);
    return !ledge__node_in(n, 3) && strcmp(ledge__node_string(n, "act", "none"), "none") == 0 &&
           ledge__opt_float_constant(n->in[1].value) && n->in[1].value->t.rank == 2 &&
           (!bias || ledge__opt_float_constant(bias));
}

static bool match(const LedgeNode *attention, Match *m)
{
    for (uint32_t i = 0; i < 3; i++) {
        LedgeNode *n = ledge__opt_made_only_by_ledge(ledge__node_in(attention, i), "Gemm");
        if (!n || !is_plain(n))
            return false;
        m->gemm[i] = n;
        const LedgeNode *first = m->gemm[0];
        const int64_t *d = n->in[1].value->t.dims, *e = first->in[1].value->t.dims;
        m->trans_b = ledge__node_int(first, "transB", 0) != 0;
        if (n->in[0].value != first->in[0].value || d[0] != e[0] || d[1] != e[1] ||
            ledge__node_int(n, "transB", 0) != m->trans_b ||
            !ledge__node_in(n, 2) != !ledge__node_in(first, 2))
            return false;
        m->k = d[m->trans_b ? 1 : 0];
        m->n = d[m->trans_b ? 0 : 1];
    }
    return true;
}

static LedgeValue *join_weights(LedgeGraph *g, const Match *m)
{
    int64_t dims[2] = {m->trans_b ? 3 * m->n : m->k, m->trans_b ? m->k : 3 * m->n};
    int64_t rows = m->trans_b ? 1 : m->k, piece = m->trans_b ? m->n * m->k : m->n;
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, 2, dims, &data);
    for (int64_t r = 0; v && r < rows; r++)
        for (int i = 0; i < 3; i++)
            memcpy(data + (3 * r + i) * piece,
                   (const char *)m->gemm[i]->in[1].value->t.data + (size_t)(r * piece) * 4,
                   (size_t)piece * 4);
    return v;
}

static LedgeValue *join_biases(LedgeGraph *g, const Match *m)
{
    int64_t size = 3 * m->n;
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, 1, &size, &data);
    for (int i = 0; v && i < 3; i++)
        for (int64_t k = 0; k < m->n; k++)
            data[i * m->n + k] = (float)ledge__value_as_double(m->gemm[i]->in[2].value, k);
    return v;
}

static LedgeNode *build(LedgeGraph *g, LedgeNode *attention, const Match *m)
{
    LedgeTensor like = m->gemm[0]->out[0]->t;
    like.dims[like.rank - 1] = 3 * m->n;
    LedgeNode *made = ledge__opt_internal(g, "Gemm", 4, &like, attention);
    LedgeValue *b = made ? join_weights(g, m) : NULL;
    LedgeValue *bias = b && ledge__node_in(m->gemm[0], 2) ? join_biases(g, m) : NULL;
    if (!b || (ledge__node_in(m->gemm[0], 2) && !bias) ||
        (m->trans_b && !ledge__node_set_int(g, made, "transB", 1)))
        return NULL;
    ledge__node_set_input(made, 0, m->gemm[0]->in[0].value);
    ledge__node_set_input(made, 1, b);
    ledge__node_set_input(made, 2, bias);
    return made;
}

LedgeStatus ledge__opt_qkv(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        Match m;
        if (!ledge__node_is_ledge(n, "Attention") || n->n_in < 3 || !match(n, &m))
            continue;
        LedgeNode *made = build(g, n, &m);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 0, made->out[0]);
        ledge__node_set_input(n, 1, NULL);
        ledge__node_set_input(n, 2, NULL);
        for (int i = 0; i < 3; i++)
            ledge__opt_drop(g, m.gemm[i]);
        *changed = true;
    }
    return LEDGE_OK;
}
