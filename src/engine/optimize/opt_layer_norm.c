/* LayerNormalization written out: (x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the last
 * axis, then Mul and Add by constants; as older exporters do. */
#include "engine/optimize/pass.h"

typedef struct Match {
    LedgeValue *x;
    double epsilon;
    LedgeValue *gamma, *beta; /* NULL: absent */
    LedgeNode *last;
} Match;

static LedgeNode *mean_over_last(const LedgeValue *v)
{
    LedgeNode *n = ledge__opt_made_by(v, "ReduceMean");
    int64_t axis;
    if (!n || !n->in[0].value || n->in[0].value->t.rank < 1 || !ledge__node_int(n, "keepdims", 1) ||
        ledge__opt_list(n, 1, "axes", &axis, 1) != 1)
        return NULL;
    int32_t rank = n->in[0].value->t.rank;
    return ledge__opt_axis(axis, rank) == rank - 1 ? n : NULL;
}

/* v = d * d */
static bool is_square(const LedgeValue *v, const LedgeValue *d)
{
    const LedgeNode *pow = ledge__opt_made_by(v, "Pow"), *mul = ledge__opt_made_by(v, "Mul");
    if (pow)
        return pow->in[0].value == d && ledge__opt_is_scalar(pow->in[1].value, 2);
    return mul && mul->in[0].value == d && mul->in[1].value == d;
}

/* v = sqrt(mean(d^2) + epsilon) */
static bool is_deviation(const LedgeValue *v, const LedgeValue *d, double *epsilon)
{
    const LedgeNode *root = ledge__opt_made_by(v, "Sqrt");
    const LedgeNode *add = root ? ledge__opt_made_by(root->in[0].value, "Add") : NULL;
    int side = add ? ledge__opt_scalar_side(add, epsilon) : -1;
    const LedgeNode *mean = side >= 0 ? mean_over_last(add->in[1 - side].value) : NULL;
    return mean && is_square(mean->in[0].value, d);
}

/* n = d / deviation, in one of its spellings; gives d. */
static LedgeValue *normalised(const LedgeNode *n, double *epsilon)
{
    if (n->n_in != 2)
        return NULL;
    if (ledge__node_is(n, "Div"))
        return is_deviation(n->in[1].value, n->in[0].value, epsilon) ? n->in[0].value : NULL;
    for (int side = 0; side < 2 && ledge__node_is(n, "Mul"); side++) {
        const LedgeNode *r = ledge__opt_made_by(n->in[side].value, "Reciprocal");
        LedgeValue *d = n->in[1 - side].value;
        if (r && is_deviation(r->in[0].value, d, epsilon))
            return d;
    }
    return NULL;
}

/* The constant over the last axis that `op` applies next to m->last, which then moves on. */
static LedgeValue *next_parameter(Match *m, const char *op, int64_t size)
{
    LedgeValue *v = m->last->out[0];
    LedgeNode *n = ledge__value_only_reader(v);
    if (!ledge__node_is(n, op) || n->n_in != 2)
        return NULL;
    LedgeValue *p = n->in[n->in[0].value == v].value;
    if (!ledge__opt_float_constant(p) || p->t.rank != 1 || p->t.dims[0] != size)
        return NULL;
    m->last = n;
    return p;
}

static bool match(LedgeNode *n, Match *m)
{
    *m = (Match){.last = n};
    LedgeValue *d = normalised(n, &m->epsilon);
    LedgeNode *sub = d ? ledge__opt_made_by(d, "Sub") : NULL;
    LedgeNode *mean = sub ? mean_over_last(sub->in[1].value) : NULL;
    if (!mean || mean->in[0].value != sub->in[0].value)
        return false;
    m->x = sub->in[0].value;
    int64_t size = m->x->t.dims[m->x->t.rank - 1];
    if (m->x->t.type != LEDGE_FLOAT || size <= 0 || m->epsilon <= 0)
        return false;
    m->gamma = next_parameter(m, "Mul", size);
    m->beta = m->gamma ? next_parameter(m, "Add", size) : NULL;
    return true;
}

static LedgeNode *build(LedgeGraph *g, Match *m)
{
    LedgeNode *n = ledge__opt_onnx(g, "LayerNormalization", 17, 3, &m->x->t, m->last);
    if (n && !m->gamma) {
        float *ones;
        int64_t size = m->x->t.dims[m->x->t.rank - 1];
        m->gamma = ledge__opt_floats(g, NULL, 1, &size, &ones);
        for (int64_t i = 0; m->gamma && i < size; i++)
            ones[i] = 1;
    }
    if (!n || !m->gamma || !ledge__node_set_int(g, n, "axis", -1) ||
        !ledge__node_set_float(g, n, "epsilon", (float)m->epsilon))
        return NULL;
    ledge__node_set_input(n, 0, m->x);
    ledge__node_set_input(n, 1, m->gamma);
    ledge__node_set_input(n, 2, m->beta);
    return n;
}

LedgeStatus ledge__opt_layer_norm(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__op_find("", "LayerNormalization", g->opset > 17 ? g->opset : 17))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        Match m;
        if (n->domain[0] || !match(n, &m))
            continue;
        LedgeNode *made = build(g, &m);
        if (!made)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, made, m.last);
        next = made->next; /* nodes behind `n` may have gone */
        *changed = true;
    }
    return LEDGE_OK;
}
