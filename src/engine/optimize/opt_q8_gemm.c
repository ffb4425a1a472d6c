/* Gemm and MatMul of bytes become ledge.QGemm: by constant 8-bit weights, with the bias that a Gemm
 * or an Add behind the MatMul brings, or (MatMul) of two tensors of bytes; with clamps and
 * QuantizeLinear behind it where there are any, else with a float result. */
#include "engine/optimize/opt_q8.h"

typedef struct Match {
    LedgeNode *product; /* Gemm or MatMul */
    LedgeQ8 a, b;       /* b.v NULL: constant weights */
    LedgeQ8Weights w;
    LedgeValue *scale, *bias;
    float alpha;
    bool trans_b;
} Match;

static bool is_product(const LedgeNode *n)
{
    return n && (ledge__node_is(n, "Gemm") || ledge__node_is(n, "MatMul")) && n->n_in >= 2 &&
           n->in[0].value && n->in[1].value && n->out[0] && n->out[0]->t.type == LEDGE_FLOAT;
}

/* One matrix for each of the other's, or one for all. */
static bool batches_agree(const LedgeValue *a, const LedgeValue *b)
{
    if (b->t.rank == 2)
        return true;
    for (int32_t d = 0; a->t.rank == b->t.rank && d < a->t.rank - 2; d++)
        if (!ledge__opt_same_dim(a, d, b, d))
            return false;
    return a->t.rank == b->t.rank;
}

/* Two tensors made at run time; one scale for all. */
static LedgeStatus match_tensors(LedgeGraph *g, LedgeOptCtx *c, float y_scale, Match *m, bool *ok)
{
    float scale = m->a.scale * m->b.scale / y_scale;
    *ok = ledge__node_is(m->product, "MatMul") && m->a.v->t.rank >= 2 && m->b.v->t.rank >= 2 &&
          batches_agree(m->a.v, m->b.v) && ledge__q8_scale_is_sound(scale);
    if (!*ok)
        return LEDGE_OK;
    float *data;
    m->scale = ledge__opt_floats(g, NULL, 1, (const int64_t[]){1}, &data);
    if (!m->scale)
        return ledge__no_memory(c->err);
    data[0] = scale;
    return LEDGE_OK;
}

static LedgeStatus match_weights(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *addend,
                                 float y_scale, Match *m, bool *ok)
{
    const LedgeNode *n = m->product;
    const LedgeTensor *b = &n->in[1].value->t;
    bool gemm = ledge__node_is(n, "Gemm");
    m->trans_b = gemm && ledge__node_int(n, "transB", 0) != 0;
    m->alpha = gemm ? ledge__node_float(n, "alpha", 1) : 1;
    *ok = b->rank == 2 && (!gemm || (m->a.v->t.rank == 2 && !ledge__node_int(n, "transA", 0))) &&
          m->a.v->t.rank >= 1 && ledge__q8_scale_is_sound(m->alpha);
    if (!*ok)
        return LEDGE_OK;
    int32_t axis = m->trans_b ? 0 : 1;
    float factor = m->a.scale * m->alpha;
    LEDGE_TRY(ledge__q8_weights(g, c, n->in[1].value, axis, b->dims[axis], &m->w, ok));
    if (*ok)
        LEDGE_TRY(ledge__q8_scales(g, c, &m->w, factor, y_scale, &m->scale, ok));
    double beta = gemm ? (double)ledge__node_float(n, "beta", 1) : 1;
    const LedgeValue *bias = gemm ? ledge__node_in(n, 2) : addend;
    if (*ok && bias && beta != 0)
        LEDGE_TRY(
            ledge__q8_bias(g, c, bias, beta, &m->w, factor, b->dims[axis], &m->bias, ok));
    return LEDGE_OK;
}

/* `addend`: what an Add behind the product adds, or NULL. */
static LedgeStatus match(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeValue *addend,
                         float y_scale, Match *m, bool *ok)
{
    *m = (Match){.product = n, .alpha = 1};
    *ok = is_product(n) && ledge__q8_read(n->in[0].value, &m->a) &&
          !ledge__value_is_constant(m->a.v) && !(addend && ledge__node_is(n, "Gemm"));
    if (!*ok)
        return LEDGE_OK;
    LedgeQ8 b;
    if (!addend && ledge__q8_read(n->in[1].value, &b) && !ledge__value_is_constant(b.v)) {
        m->b = b;
        return match_tensors(g, c, y_scale, m, ok);
    }
    return match_weights(g, c, addend, y_scale, m, ok);
}

static LedgeNode *new_gemm(LedgeGraph *g, const Match *m, const LedgeTensor *out, LedgeType type,
                           LedgeNode *before)
{
    LedgeTensor like = *out;
    like.type = type;
    LedgeNode *made = ledge__opt_internal(g, "QGemm", 5, &like, before);
    if (!made || !ledge__node_set_int(g, made, "a_zero", m->a.zero) ||
        (m->b.v && !ledge__node_set_int(g, made, "b_zero", m->b.zero)) ||
        (m->w.zero && !ledge__node_set_ints(g, made, "b_zero", m->w.zero, (size_t)m->w.n)) ||
        (m->trans_b && !ledge__node_set_int(g, made, "trans_b", 1)))
        return NULL;
    made->name = m->product->name;
    ledge__node_set_input(made, 0, m->a.v);
    ledge__node_set_input(made, 1, m->b.v ? m->b.v : m->w.w);
    ledge__node_set_input(made, 2, m->bias);
    ledge__node_set_input(made, 3, m->scale);
    return made;
}

/* The MatMul that an Add adds to, read by nothing else, and what it adds. */
static LedgeNode *product_under(const LedgeNode *add, const LedgeValue **addend)
{
    for (uint32_t i = 0; i < 2 && add->n_in == 2; i++) {
        const LedgeValue *x = add->in[i].value;
        LedgeNode *n = ledge__opt_made_only_by(x, "MatMul");
        if (!n || x->t.rank != add->out[0]->t.rank || x->t.rank < 1)
            continue;
        *addend = add->in[1 - i].value;
        return n;
    }
    return NULL;
}

/* Of a value that nothing else reads. */
static LedgeNode *product_of(const LedgeValue *v, const LedgeValue **addend)
{
    LedgeNode *n = ledge__opt_single_use(v) ? v->producer : NULL;
    *addend = NULL;
    if (is_product(n))
        return n;
    return n && ledge__node_is(n, "Add") && n->out[0] == v ? product_under(n, addend) : NULL;
}

static LedgeStatus to_bytes(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *q, bool *changed)
{
    LedgeQ8Tail t;
    Match m;
    bool ok;
    const LedgeValue *addend;
    LedgeNode *n = ledge__q8_tail(q, &t) ? product_of(t.x, &addend) : NULL;
    if (!n)
        return LEDGE_OK;
    LEDGE_TRY(match(g, c, n, addend, t.y.scale, &m, &ok));
    if (!ok)
        return LEDGE_OK;
    LedgeNode *made = new_gemm(g, &m, &q->out[0]->t, LEDGE_UINT8, q);
    if (!made || !ledge__q8_set_output(g, made, &t))
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, made, q);
    *changed = true;
    return LEDGE_OK;
}

/* `n`: the product itself, or an Add behind it. */
static LedgeStatus to_float(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    Match m;
    bool ok, add = ledge__node_is(n, "Add");
    const LedgeValue *addend = NULL;
    LedgeNode *product = !add ? n : n->out[0] ? product_under(n, &addend) : NULL;
    if (!product)
        return LEDGE_OK;
    LEDGE_TRY(match(g, c, product, addend, 1, &m, &ok));
    if (!ok)
        return LEDGE_OK;
    LedgeNode *made = new_gemm(g, &m, &n->out[0]->t, LEDGE_FLOAT, n);
    if (!made || !ledge__node_set_int(g, made, "to_float", 1))
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, made, n);
    *changed = true;
    return LEDGE_OK;
}

typedef LedgeStatus Rule(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed);

static LedgeStatus each(LedgeGraph *g, LedgeOptCtx *c, const char *op_type, Rule *rule,
                        bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (ledge__node_is(n, op_type))
            LEDGE_TRY(rule(g, c, n, changed));
    }
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_gemm(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QGemm"))
        return LEDGE_OK;
    LEDGE_TRY(each(g, c, "QuantizeLinear", to_bytes, changed));
    LEDGE_TRY(each(g, c, "Add", to_float, changed)); /* with what it adds before without */
    LEDGE_TRY(each(g, c, "Gemm", to_float, changed));
    return each(g, c, "MatMul", to_float, changed);
}
