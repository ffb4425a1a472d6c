/* Operators on quantized tensors (QLinearConv, QLinearMatMul, and those that ONNX Runtime's tools
 * write) become what they stand for: DequantizeLinear, the operator on floats, QuantizeLinear. So
 * there is one set of rewrites for both ways to write a quantized graph. */
#include "engine/optimize/opt_q8.h"

enum { NONE = -1 };

typedef struct Operand {
    int x, scale, zero; /* input indices */
} Operand;

typedef struct Form {
    const char *domain, *op_type, *float_op;
    int n; /* operands; 0: as many triples as there are, from input 2 on */
    Operand in[2];
    int y_scale, y_zero, bias;
    bool weights; /* operand 1 must be constant */
} Form;

static const Form forms[] = {
    {"", "QLinearConv", "Conv", 2, {{0, 1, 2}, {3, 4, 5}}, 6, 7, 8, true},
    {"", "QLinearMatMul", "MatMul", 2, {{0, 1, 2}, {3, 4, 5}}, 6, 7, NONE, false},
    {"com.microsoft", "QGemm", "Gemm", 2, {{0, 1, 2}, {3, 4, 5}}, 7, 8, 6, true},
    {"com.microsoft", "QLinearAdd", "Add", 2, {{0, 1, 2}, {3, 4, 5}}, 6, 7, NONE, false},
    {"com.microsoft", "QLinearMul", "Mul", 2, {{0, 1, 2}, {3, 4, 5}}, 6, 7, NONE, false},
    {"com.microsoft", "QLinearSigmoid", "Sigmoid", 1, {{0, 1, 2}}, 3, 4, NONE, false},
    {"com.microsoft", "QLinearLeakyRelu", "LeakyRelu", 1, {{0, 1, 2}}, 3, 4, NONE, false},
    {"com.microsoft", "QLinearAveragePool", "AveragePool", 1, {{0, 1, 2}}, 3, 4, NONE, false},
    {"com.microsoft", "QLinearGlobalAveragePool", "GlobalAveragePool", 1, {{0, 1, 2}}, 3, 4, NONE,
     false},
    {"com.microsoft", "QLinearConcat", "Concat", 0, {{0, 0, 0}}, 0, 1, NONE, false},
};

static const Form *form_of(const LedgeNode *n)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (strcmp(n->op_type, forms[i].op_type) == 0 && strcmp(n->domain, forms[i].domain) == 0)
            return &forms[i];
    return NULL;
}

static uint32_t count_of(const Form *f, const LedgeNode *n)
{
    return f->n ? (uint32_t)f->n : (n->n_in - 2) / 3;
}

static Operand operand_of(const Form *f, uint32_t i)
{
    int at = 2 + 3 * (int)i;
    return f->n ? f->in[i] : (Operand){at, at + 1, at + 2};
}

static LedgeValue *in(const LedgeNode *n, int i)
{
    return i < 0 ? NULL : ledge__node_in(n, (uint32_t)i);
}

static bool is_byte(const LedgeValue *v)
{
    return v && (v->t.type == LEDGE_UINT8 || v->t.type == LEDGE_INT8);
}

/* Scale and zero point are constants that fit each other, one for all unless `many`. */
static bool is_known(const LedgeValue *scale, const LedgeValue *zero, LedgeType type, bool many)
{
    if (!ledge__opt_float_constant(scale) || scale->t.rank > 1 ||
        (zero && (!ledge__value_is_constant(zero) || zero->t.type != type)))
        return false;
    int64_t n = ledge_tensor_count(&scale->t), zeros = zero ? ledge_tensor_count(&zero->t) : 1;
    for (int64_t i = 0; i < n; i++)
        if (!ledge__q8_scale_is_sound((float)ledge__value_as_double(scale, i)))
            return false;
    return (n == 1 || (many && n > 1)) && (zeros == 1 || zeros == n);
}

static bool fits(const Form *f, const LedgeNode *n)
{
    if (ledge__node_int(n, "channels_last", 0) || !n->out[0] ||
        (f->n == 0 && (n->n_in < 5 || (n->n_in - 2) % 3)))
        return false;
    for (uint32_t i = 0; i < count_of(f, n); i++) {
        Operand o = operand_of(f, i);
        const LedgeValue *x = in(n, o.x);
        bool weights = f->n == 2 && i == 1 && ledge__value_is_constant(x);
        if (!is_byte(x) || (i == 1 && f->weights && !weights) ||
            !is_known(in(n, o.scale), in(n, o.zero), x->t.type, weights))
            return false;
    }
    const LedgeValue *y = in(n, f->y_scale), *zero = in(n, f->y_zero), *bias = in(n, f->bias);
    if (bias && (!ledge__value_is_constant(bias) || bias->t.type != LEDGE_INT32))
        return false;
    if (!y)
        return strcmp(f->op_type, "QGemm") == 0;
    return (!zero || is_byte(zero)) && is_known(y, zero, zero ? zero->t.type : 0, false);
}

/* ---- making ---- */

/* The zero point, or zero, as many times as there are scales. */
static LedgeValue *zeros_like(LedgeGraph *g, LedgeValue *zero, LedgeType type,
                              const LedgeValue *scale)
{
    if (zero && ledge_tensor_count(&zero->t) == ledge_tensor_count(&scale->t))
        return zero;
    LedgeTensor t = scale->t;
    t.type = type;
    t.data = NULL;
    t.bytes = 0;
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    int64_t n = v && zero ? ledge_tensor_count(&t) : 0;
    for (int64_t i = 0; i < n; i++)
        ((uint8_t *)v->t.data)[i] = (uint8_t)ledge__value_as_int(zero, 0);
    return v;
}

static LedgeNode *linear(LedgeGraph *g, const char *op_type, LedgeValue *x, LedgeValue *scale,
                         LedgeValue *zero, const LedgeTensor *like, LedgeNode *before)
{
    LedgeNode *n = ledge__opt_onnx(g, op_type, 13, 3, like, before);
    if (!n)
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, scale);
    ledge__node_set_input(n, 2, zero);
    return n;
}

/* Operand `i` as floats. */
static LedgeValue *opened(LedgeGraph *g, const Form *f, LedgeNode *n, uint32_t i)
{
    Operand o = operand_of(f, i);
    LedgeValue *x = in(n, o.x), *scale = in(n, o.scale);
    LedgeValue *zero = zeros_like(g, in(n, o.zero), x->t.type, scale);
    LedgeTensor like = x->t;
    like.type = LEDGE_FLOAT;
    LedgeNode *dq = zero ? linear(g, "DequantizeLinear", x, scale, zero, &like, n) : NULL;
    int64_t axis = strcmp(f->float_op, "Conv") == 0   ? 0
                   : ledge__node_int(n, "transB", 0) ? 0
                                                     : x->t.rank - 1;
    if (!dq || (ledge_tensor_count(&scale->t) > 1 && !ledge__node_set_int(g, dq, "axis", axis)))
        return NULL;
    return dq->out[0];
}

/* A bias in units of the operands' scales (and alpha, of a QGemm). */
static LedgeValue *opened_bias(LedgeGraph *g, const Form *f, LedgeNode *n)
{
    LedgeValue *b = in(n, f->bias), *w = in(n, f->in[1].scale);
    double x_scale = ledge__value_as_double(in(n, f->in[0].scale), 0) *
                     (double)ledge__node_float(n, "alpha", 1);
    float *scale;
    LedgeValue *s = ledge__opt_floats(g, NULL, w->t.rank, w->t.dims, &scale);
    for (int64_t i = 0; s && i < ledge_tensor_count(&w->t); i++)
        scale[i] = (float)(x_scale * ledge__value_as_double(w, i));
    LedgeTensor like = b->t;
    like.type = LEDGE_FLOAT;
    LedgeNode *dq = s ? ledge__opt_onnx(g, "DequantizeLinear", 13, 2, &like, n) : NULL;
    if (!dq || !ledge__node_set_int(g, dq, "axis", b->t.rank - 1))
        return NULL;
    ledge__node_set_input(dq, 0, b);
    ledge__node_set_input(dq, 1, s);
    return dq->out[0];
}

/* The operator on floats, reading them. */
static LedgeNode *float_node(LedgeGraph *g, const Form *f, LedgeNode *n)
{
    uint32_t count = count_of(f, n);
    bool bias = in(n, f->bias) != NULL;
    LedgeTensor like = n->out[0]->t;
    like.type = LEDGE_FLOAT;
    LedgeValue *last = bias ? opened_bias(g, f, n) : NULL;
    LedgeNode *made = ledge__opt_onnx(g, f->float_op, 13, count + bias, &like, n);
    if (!made || (bias && !last) || !ledge__node_copy_attrs(g, made, n))
        return NULL;
    made->name = n->name;
    for (uint32_t i = 0; i < count; i++) {
        LedgeValue *v = opened(g, f, n, i);
        if (!v)
            return NULL;
        ledge__node_move_before(g, v->producer, made);
        ledge__node_set_input(made, i, v);
    }
    if (bias)
        ledge__node_set_input(made, count, last);
    return made;
}

static LedgeStatus expand(LedgeGraph *g, LedgeOptCtx *c, const Form *f, LedgeNode *n)
{
    LedgeNode *made = float_node(g, f, n);
    LedgeValue *scale = in(n, f->y_scale), *zero = in(n, f->y_zero);
    if (!made)
        return ledge__no_memory(c->err);
    if (scale) {
        LedgeTensor like = n->out[0]->t;
        zero = zeros_like(g, zero, like.type, scale);
        made = zero ? linear(g, "QuantizeLinear", made->out[0], scale, zero, &like, n) : NULL;
        if (!made)
            return ledge__no_memory(c->err);
    }
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_q8_expand(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QConv") || !ledge__opt_has(c, "QMap"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        const Form *f = form_of(n);
        if (!f || !fits(f, n))
            continue;
        LEDGE_TRY(expand(g, c, f, n));
        *changed = true;
    }
    return LEDGE_OK;
}
