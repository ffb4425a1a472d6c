/* The three ledge.Gemm or ledge.MatMulInteger that make Q, K and V of one input become one by
 * their weights side by side, whose output ledge.Attention reads as it is. */
#include "engine/optimize/pass.h"

enum {
    IN_B = 1,
    IN_BIAS,
    IN_R,
    IN_A_SCALE,
    IN_A_ZERO,
    IN_B_SCALE,
    IN_B_ZERO
}; /* from 4 on: bytes */

typedef struct Match {
    LedgeNode *gemm[3];
    int64_t k, n; /* of each */
    bool trans_b;
} Match;

static bool is_constant_or_absent(const LedgeValue *v, LedgeType type)
{
    return !v || (ledge__value_is_constant(v) && v->t.type == type);
}

static bool is_plain(const LedgeNode *n)
{
    const LedgeValue *b = n->in[IN_B].value, *scale = ledge__node_in(n, IN_B_SCALE);
    return !ledge__node_in(n, IN_R) && strcmp(ledge__node_string(n, "act", "none"), "none") == 0 &&
           ledge__value_is_constant(b) && b->t.rank == 2 &&
           is_constant_or_absent(ledge__node_in(n, IN_BIAS), LEDGE_FLOAT) &&
           is_constant_or_absent(scale, LEDGE_FLOAT) &&
           is_constant_or_absent(ledge__node_in(n, IN_B_ZERO), b->t.type);
}

/* The same input, type and size, so that the weights may lie side by side. */
static bool fits(const LedgeNode *n, const LedgeNode *first, bool trans_b)
{
    const LedgeTensor *b = &n->in[IN_B].value->t, *e = &first->in[IN_B].value->t;
    return n->in[0].value == first->in[0].value && b->type == e->type && b->dims[0] == e->dims[0] &&
           b->dims[1] == e->dims[1] && ledge__node_int(n, "transB", 0) == trans_b &&
           strcmp(n->op_type, first->op_type) == 0 &&
           !ledge__node_in(n, IN_BIAS) == !ledge__node_in(first, IN_BIAS) &&
           ledge__node_in(n, IN_A_SCALE) == ledge__node_in(first, IN_A_SCALE) &&
           ledge__node_in(n, IN_A_ZERO) == ledge__node_in(first, IN_A_ZERO) &&
           !ledge__node_in(n, IN_B_SCALE) == !ledge__node_in(first, IN_B_SCALE) &&
           !ledge__node_in(n, IN_B_ZERO) == !ledge__node_in(first, IN_B_ZERO);
}

static bool match(const LedgeNode *attention, Match *m)
{
    for (uint32_t i = 0; i < 3; i++) {
        const LedgeValue *v = ledge__node_in(attention, i);
        LedgeNode *n = ledge__opt_made_only_by_ledge(v, "Gemm");
        n = n ? n : ledge__opt_made_only_by_ledge(v, "MatMulInteger");
        if (!n || !is_plain(n))
            return false;
        m->gemm[i] = n;
        m->trans_b = ledge__node_int(m->gemm[0], "transB", 0) != 0;
        if (!fits(n, m->gemm[0], m->trans_b))
            return false;
        const int64_t *d = n->in[IN_B].value->t.dims;
        m->k = d[m->trans_b ? 1 : 0];
        m->n = d[m->trans_b ? 0 : 1];
    }
    return true;
}

static LedgeValue *join_weights(LedgeGraph *g, const Match *m)
{
    LedgeTensor t = m->gemm[0]->in[IN_B].value->t;
    const size_t bytes = ledge_type_bits(t.type) / 8;
    const int64_t rows = m->trans_b ? 1 : m->k, piece = m->trans_b ? m->n * m->k : m->n;
    t.dims[m->trans_b ? 0 : 1] = 3 * m->n;
    t.data = NULL;
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    for (int64_t r = 0; v && r < rows; r++)
        for (int i = 0; i < 3; i++)
            memcpy((char *)v->t.data + (size_t)((3 * r + i) * piece) * bytes,
                   (const char *)m->gemm[i]->in[IN_B].value->t.data + (size_t)(r * piece) * bytes,
                   (size_t)piece * bytes);
    return v;
}

/* Input `index` of the three, each with one number or one for each column, as one vector. */
static LedgeValue *join_vectors(LedgeGraph *g, const Match *m, uint32_t index)
{
    const LedgeType type = m->gemm[0]->in[index].value->t.type;
    const size_t bytes = ledge_type_bits(type) / 8;
    LedgeTensor t = {.type = type, .rank = 1, .dims = {3 * m->n}};
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    for (int i = 0; v && i < 3; i++) {
        const LedgeTensor *from = &m->gemm[i]->in[index].value->t;
        const int64_t step = ledge_tensor_count(from) == 1 ? 0 : 1;
        for (int64_t k = 0; k < m->n; k++)
            memcpy((char *)v->t.data + (size_t)(i * m->n + k) * bytes,
                   (const char *)from->data + (size_t)(step * k) * bytes, bytes);
    }
    return v;
}

static LedgeNode *build(LedgeGraph *g, LedgeNode *attention, const Match *m)
{
    static const uint32_t vectors[] = {IN_BIAS, IN_B_SCALE, IN_B_ZERO};
    const LedgeNode *first = m->gemm[0];
    LedgeTensor like = first->out[0]->t;
    like.dims[like.rank - 1] = 3 * m->n;
    LedgeNode *made = ledge__opt_internal(g, first->op_type, first->n_in, &like, attention);
    LedgeValue *b = made ? join_weights(g, m) : NULL;
    if (!b || (m->trans_b && !ledge__node_set_int(g, made, "transB", 1)))
        return NULL;
    ledge__node_set_input(made, 0, first->in[0].value);
    ledge__node_set_input(made, IN_B, b);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        LedgeValue *v = ledge__node_in(first, vectors[i]) ? join_vectors(g, m, vectors[i]) : NULL;
        if (!v && ledge__node_in(first, vectors[i]))
            return NULL;
        if (v)
            ledge__node_set_input(made, vectors[i], v);
    }
    for (uint32_t i = IN_A_SCALE; i <= IN_A_ZERO && i < first->n_in; i++)
        ledge__node_set_input(made, i, first->in[i].value);
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
