/* Products of bytes that were quantised at run time become ledge.MatMulInteger, which makes their
 * sums floats on the way out:
 *
 *   DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by the scales (-> Add of a bias)
 *
 * as ONNX Runtime's dynamic quantiser writes it, with ConvInteger likewise, and the com.microsoft
 * operators that its optimiser makes of that. The quantisation stays a node of its own, so that
 * all products of one input share it. */
#include "engine/optimize/opt_layout.h"

enum { IN_A, IN_B, IN_BIAS, IN_R, IN_A_SCALE, IN_A_ZERO, IN_B_SCALE, IN_B_ZERO, IN_SLOTS };

typedef struct Match {
    LedgeValue *in[IN_SLOTS];
} Match;

/* A constant with one number, or one for each of `n` columns. */
static bool is_few(const LedgeValue *v, LedgeType type, int64_t n)
{
    if (!ledge__value_is_constant(v) || v->t.type != type)
        return false;
    const int64_t count = ledge_tensor_count(&v->t);
    return count == 1 || (count == n && v->t.rank >= 1 && v->t.dims[v->t.rank - 1] == n);
}

static bool is_number(const LedgeValue *v, LedgeType type)
{
    return v && v->t.type == type && (v->t.rank == 0 || (v->t.rank == 1 && v->t.dims[0] == 1));
}

/* A, B and zero points (a_zero and b_zero may be NULL) are such that the kernel takes them. */
static bool set_product(Match *m, LedgeValue *a, LedgeValue *b, LedgeValue *a_zero,
                        LedgeValue *b_zero)
{
    if (!a || a->t.rank < 2 || a->t.type != LEDGE_UINT8 || !ledge__value_is_constant(b) ||
        (b->t.type != LEDGE_INT8 && b->t.type != LEDGE_UINT8) || b->t.rank != 2 ||
        b->t.dims[0] <= 0 || b->t.dims[1] <= 0 || (a_zero && !is_number(a_zero, LEDGE_UINT8)) ||
        (b_zero && !is_few(b_zero, b->t.type, b->t.dims[1])))
        return false;
    m->in[IN_A] = a;
    m->in[IN_B] = b;
    m->in[IN_A_ZERO] = a_zero;
    m->in[IN_B_ZERO] = b_zero;
    return true;
}

/* `scale` is a_scale * b_scale, in either order, or one of them. */
static bool set_scale(LedgeGraph *g, Match *m, LedgeValue *scale)
{
    const int64_t n = m->in[IN_B]->t.dims[1];
    const LedgeNode *mul = ledge__opt_made_by(scale, "Mul");
    if (is_few(scale, LEDGE_FLOAT, n)) {
        m->in[IN_B_SCALE] = scale;
        return true;
    }
    for (uint32_t i = 0; mul && i < 2; i++) {
        LedgeValue *a = mul->in[i].value, *b = mul->in[1 - i].value;
        if (is_number(a, LEDGE_FLOAT) && is_few(b, LEDGE_FLOAT, n)) {
            m->in[IN_A_SCALE] = a;
            m->in[IN_B_SCALE] = b;
            return true;
        }
    }
    if (!is_number(scale, LEDGE_FLOAT))
        return false;
    float *one;
    m->in[IN_A_SCALE] = scale;
    m->in[IN_B_SCALE] = ledge__opt_floats(g, NULL, 0, NULL, &one);
    if (m->in[IN_B_SCALE])
        *one = 1.0f;
    return m->in[IN_B_SCALE] != NULL;
}

/* n: Mul of the product, cast to float, by the scales. */
static bool match_scaled(LedgeGraph *g, const LedgeNode *n, Match *m)
{
    for (uint32_t i = 0; i < 2; i++) {
        const LedgeNode *cast = ledge__opt_made_only_by(n->in[i].value, "Cast");
        const LedgeNode *mul = cast && ledge__node_int(cast, "to", 0) == LEDGE_FLOAT
                                   ? ledge__opt_made_only_by(cast->in[0].value, "MatMulInteger")
                                   : NULL;
        *m = (Match){{0}};
        if (mul && n->in[1 - i].value && n->in[1 - i].value->t.rank <= mul->out[0]->t.rank &&
            set_product(m, mul->in[0].value, mul->in[1].value, ledge__node_in(mul, 2),
                        ledge__node_in(mul, 3)) &&
            set_scale(g, m, n->in[1 - i].value))
            return true;
    }
    return false;
}

static bool is_bias(const LedgeValue *v, const Match *m)
{
    return !v ||
           (v->t.type == LEDGE_FLOAT && v->t.rank == 1 && v->t.dims[0] == m->in[IN_B]->t.dims[1]);
}

/* com.microsoft MatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero, b_zero, bias. */
static bool match_to_float(const LedgeNode *n, Match *m)
{
    *m = (Match){{0}};
    if (n->n_in < 4 ||
        !set_product(m, n->in[0].value, n->in[1].value, ledge__node_in(n, 4), ledge__node_in(n, 5)))
        return false;
    m->in[IN_A_SCALE] = n->in[2].value;
    m->in[IN_B_SCALE] = n->in[3].value;
    m->in[IN_BIAS] = ledge__node_in(n, 6);
    return is_number(m->in[IN_A_SCALE], LEDGE_FLOAT) &&
           is_few(m->in[IN_B_SCALE], LEDGE_FLOAT, m->in[IN_B]->t.dims[1]) &&
           is_bias(m->in[IN_BIAS], m);
}

/* DynamicQuantizeLinear of x before `before`; equal ones are merged later. NULL: no memory. */
static LedgeNode *quantized(LedgeGraph *g, LedgeValue *x, LedgeNode *before)
{
    static const LedgeType types[3] = {LEDGE_UINT8, LEDGE_FLOAT, LEDGE_UINT8};
    LedgeNode *q = ledge__node_new(g, "", "DynamicQuantizeLinear", NULL, 1, 3, before);
    for (uint32_t i = 0; q && i < 3; i++) {
        LedgeValue *v = ledge__value_new(g, NULL);
        if (!v)
            return NULL;
        v->t = (LedgeTensor){.type = types[i]};
        if (i == 0) {
            v->t = x->t;
            v->t.type = types[i];
        }
        ledge__node_set_output(q, i, v);
    }
    if (!q)
        return NULL;
    q->opset = g->opset > 11 ? g->opset : 11;
    q->op = ledge__op_find("", "DynamicQuantizeLinear", q->opset);
    ledge__node_set_input(q, 0, x);
    return q;
}

/* com.microsoft DynamicQuantizeMatMul: A, B, b_scale, b_zero, bias. */
static LedgeStatus match_dynamic(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, Match *m, bool *ok)
{
    LedgeValue *x = n->in[0].value;
    LedgeValue bytes = {0};
    *m = (Match){{0}};
    *ok = false;
    if (n->n_in < 3 || !x || x->t.type != LEDGE_FLOAT)
        return LEDGE_OK;
    bytes.t = x->t;
    bytes.t.type = LEDGE_UINT8;
    if (!set_product(m, &bytes, n->in[1].value, NULL, ledge__node_in(n, 3)) ||
        !is_few(n->in[2].value, LEDGE_FLOAT, m->in[IN_B]->t.dims[1]) ||
        !is_bias(ledge__node_in(n, 4), m))
        return LEDGE_OK;
    LedgeNode *q = quantized(g, x, n);
    if (!q)
        return ledge__no_memory(c->err);
    m->in[IN_A] = q->out[0];
    m->in[IN_A_SCALE] = q->out[1];
    m->in[IN_A_ZERO] = q->out[2];
    m->in[IN_B_SCALE] = n->in[2].value;
    m->in[IN_BIAS] = ledge__node_in(n, 4);
    *ok = true;
    return LEDGE_OK;
}

static LedgeStatus build(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const Match *m, bool *changed)
{
    LedgeTensor like = m->in[IN_A]->t;
    like.type = LEDGE_FLOAT;
    like.dims[like.rank - 1] = m->in[IN_B]->t.dims[1];
    LedgeNode *made = ledge__opt_internal(g, "MatMulInteger", IN_SLOTS, &like, n);
    if (!made)
        return ledge__no_memory(c->err);
    for (uint32_t i = 0; i < IN_SLOTS; i++)
        ledge__node_set_input(made, i, m->in[i]);
    ledge__opt_take_over(g, made, n);
    *changed = true;
    return LEDGE_OK;
}

/* ---- ConvInteger ---- */

typedef struct ConvMatch {
    const LedgeNode *conv;
    LedgeNode *last; /* what the new node stands for: the Mul, or the Add of a bias behind it */
    LedgeValue *x;   /* before it was quantised */
    LedgeValue *w_scale, *w_zero, *bias;
} ConvMatch;

static bool is_conv(const LedgeNode *n, ConvMatch *m)
{
    const LedgeValue *q = ledge__node_in(n, 0), *w = ledge__node_in(n, 1);
    LedgeNode *dql = ledge__opt_made_by(q, "DynamicQuantizeLinear");
    m->conv = n;
    m->w_zero = ledge__node_in(n, 3);
    if (!dql || dql->n_out != 3 || !ledge__value_is_constant(w) || w->t.rank != 4 ||
        (w->t.type != LEDGE_INT8 && w->t.type != LEDGE_UINT8) || w->t.dims[0] < 1 ||
        ledge_tensor_count(&w->t) < 1 || ledge__node_in(n, 2) != dql->out[2] ||
        (m->w_zero && !is_few(m->w_zero, w->t.type, w->t.dims[0])))
        return false;
    m->x = dql->in[0].value;
    return m->x && m->x->t.rank == 4 && m->x->t.type == LEDGE_FLOAT;
}

/* One number for all channels, or one for each along axis 1. */
static LedgeValue *channel_vector(LedgeGraph *g, const LedgeValue *v, int64_t channels)
{
    float *data;
    double *room = ledge__arena_alloc(g->arena, (size_t)channels, sizeof *room);
    if (!room || !ledge__opt_float_constant(v) || !ledge__opt_per_channel(v, 4, 1, channels, room))
        return NULL;
    LedgeValue *out = ledge__opt_floats(g, NULL, 1, &channels, &data);
    for (int64_t i = 0; out && i < channels; i++)
        data[i] = (float)room[i];
    return out;
}

/* n: Mul of the convolution, cast to float, by the input's scale times a constant. */
static bool match_conv(LedgeGraph *g, LedgeNode *n, ConvMatch *m)
{
    for (uint32_t i = 0; i < 2; i++) {
        const LedgeNode *cast = ledge__opt_made_only_by(n->in[i].value, "Cast");
        const LedgeNode *conv = cast && ledge__node_int(cast, "to", 0) == LEDGE_FLOAT
                                    ? ledge__opt_made_only_by(cast->in[0].value, "ConvInteger")
                                    : NULL;
        const LedgeNode *mul = ledge__opt_made_by(n->in[1 - i].value, "Mul");
        *m = (ConvMatch){.last = n};
        if (!conv || !mul || !is_conv(conv, m))
            continue;
        const LedgeValue *x_scale = conv->in[0].value->producer->out[1];
        for (uint32_t k = 0; k < 2; k++)
            if (mul->in[k].value == x_scale)
                m->w_scale = channel_vector(g, mul->in[1 - k].value, conv->in[1].value->t.dims[0]);
        if (m->w_scale)
            return true;
    }
    return false;
}

/* An Add of one constant a channel that alone reads the result is the bias. */
static void match_bias(LedgeGraph *g, ConvMatch *m)
{
    LedgeNode *add = ledge__value_only_reader(m->last->out[0]);
    if (!add || !ledge__node_is(add, "Add") || add->n_in != 2 || !add->out[0])
        return;
    const uint32_t side = add->in[0].value == m->last->out[0] ? 0 : 1;
    m->bias = channel_vector(g, add->in[1 - side].value, m->conv->in[1].value->t.dims[0]);
    if (m->bias)
        m->last = add;
}

/* In NHWC, between Transposes that the layout pass takes away. */
static LedgeStatus build_conv(LedgeGraph *g, LedgeOptCtx *c, const ConvMatch *m)
{
    LedgeNode *before = m->last;
    LedgeNode *turn = ledge__opt_transpose(g, m->x, ledge__to_nhwc, before);
    LedgeNode *q = turn ? quantized(g, turn->out[0], before) : NULL;
    LedgeTensor like = {.type = LEDGE_FLOAT, .rank = 4};
    for (int d = 0; d < 4; d++)
        like.dims[d] =
            m->last->out[0]->t.rank == 4 ? m->last->out[0]->t.dims[ledge__to_nhwc[d]] : -1;
    like.dims[3] = m->conv->in[1].value->t.dims[0];
    LedgeNode *made = q ? ledge__opt_internal(g, "ConvInteger", IN_SLOTS, &like, before) : NULL;
    if (!made || !ledge__layout_conv_attrs(g, m->conv, made))
        return ledge__no_memory(c->err);
    made->name = m->conv->name;
    ledge__node_set_input(made, IN_A, q->out[0]);
    ledge__node_set_input(made, IN_B, m->conv->in[1].value);
    ledge__node_set_input(made, IN_BIAS, m->bias);
    ledge__node_set_input(made, IN_A_SCALE, q->out[1]);
    ledge__node_set_input(made, IN_A_ZERO, q->out[2]);
    ledge__node_set_input(made, IN_B_SCALE, m->w_scale);
    ledge__node_set_input(made, IN_B_ZERO, m->w_zero);
    LedgeNode *back = ledge__opt_transpose(g, made->out[0], ledge__to_nchw, before);
    if (!back)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, back, m->last);
    return LEDGE_OK;
}

static bool is_ms(const LedgeNode *n, const char *op_type)
{
    return strcmp(n->domain, "com.microsoft") == 0 && strcmp(n->op_type, op_type) == 0;
}

/* com.microsoft QAttention without mask or past: input, weights, bias, their scales, mask, zero
 * points, past. One product makes Q, K and V side by side, as ledge.Attention reads them. */
static LedgeStatus take_attention(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    Match m = {{0}};
    const LedgeAttr *scale = ledge__node_attr(n, "scale");
    const int64_t heads = ledge__node_int(n, "num_heads", 0);
    if (n->n_in < 5 || n->n_out != 1 || ledge__node_in(n, 5) || ledge__node_in(n, 8) || heads < 1 ||
        ledge__node_int(n, "unidirectional", 0) || ledge__node_int(n, "do_rotary", 0) ||
        !ledge__opt_has(c, "Attention") ||
        !set_product(&m, n->in[0].value, n->in[1].value, ledge__node_in(n, 6),
                     ledge__node_in(n, 7)) ||
        m.in[IN_A]->t.rank != 3)
        return LEDGE_OK;
    const int64_t columns = m.in[IN_B]->t.dims[1];
    m.in[IN_BIAS] = n->in[2].value;
    m.in[IN_A_SCALE] = n->in[3].value;
    m.in[IN_B_SCALE] = n->in[4].value;
    if (columns % (3 * heads) || !is_bias(m.in[IN_BIAS], &m) ||
        !is_number(m.in[IN_A_SCALE], LEDGE_FLOAT) ||
        !is_few(m.in[IN_B_SCALE], LEDGE_FLOAT, columns))
        return LEDGE_OK;
    LedgeTensor like = m.in[IN_A]->t;
    like.type = LEDGE_FLOAT;
    like.dims[2] = columns;
    LedgeNode *made = ledge__opt_internal(g, "MatMulInteger", IN_SLOTS, &like, n);
    like.dims[2] = columns / 3;
    LedgeNode *att = made ? ledge__opt_internal(g, "Attention", 3, &like, n) : NULL;
    if (!att || !ledge__node_set_int(g, att, "heads", heads) ||
        (scale && scale->f != 0 && !ledge__node_set_float(g, att, "scale", scale->f)))
        return ledge__no_memory(c->err);
    for (uint32_t i = 0; i < IN_SLOTS; i++)
        ledge__node_set_input(made, i, m.in[i]);
    ledge__node_set_input(att, 0, made->out[0]);
    ledge__opt_take_over(g, att, n);
    *changed = true;
    return LEDGE_OK;
}

LedgeStatus ledge__opt_dyn_int8(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "MatMulInteger"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        Match m;
        bool ok = false;
        next = n->next;
        if (n->n_in < 2 || !n->out[0])
            continue;
        if (ledge__node_is(n, "Mul"))
            ok = match_scaled(g, n, &m);
        else if (is_ms(n, "MatMulIntegerToFloat"))
            ok = match_to_float(n, &m);
        else if (is_ms(n, "DynamicQuantizeMatMul"))
            LEDGE_TRY(match_dynamic(g, c, n, &m, &ok));
        if (ok) {
            LEDGE_TRY(build(g, c, n, &m, changed));
            continue;
        }
        if (is_ms(n, "QAttention")) {
            LEDGE_TRY(take_attention(g, c, n, changed));
            continue;
        }
        ConvMatch conv;
        if (ledge__node_is(n, "Mul") && match_conv(g, n, &conv)) {
            match_bias(g, &conv);
            if (conv.last == next)
                next = next->next;
            LEDGE_TRY(build_conv(g, c, &conv));
            *changed = true;
        }
    }
    return LEDGE_OK;
}
