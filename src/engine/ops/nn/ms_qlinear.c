/* com.microsoft operators on 8-bit numbers: QLinearAdd, QLinearMul, QLinearConcat,
 * QLinearAveragePool, QLinearGlobalAveragePool, QLinearSigmoid, QLinearLeakyRelu,
 * QLinearSoftmax. Each computes in float and rounds half to even at the end. */
#include "engine/ops/nn/matmul.h"

#include <math.h>

/* One quantised tensor: value = scale * (byte - zero). */
typedef struct Quant {
    uint32_t x, scale, zero; /* input indices; of an output x is unused */
} Quant;

static LedgeStatus check_scale(LedgeOpCtx *c, const Quant *q)
{
    LEDGE_TRY(ledge__op_need(c, q->scale, LEDGE_FLOAT));
    return ledge__nn_count(c, q->scale, 1);
}

static LedgeStatus check_in(LedgeOpCtx *c, const Quant *q)
{
    LEDGE_TRY(ledge__nn_need_byte(c, q->x));
    LEDGE_TRY(check_scale(c, q));
    if (ledge__op_in(c, q->zero))
        LEDGE_TRY(ledge__op_need(c, q->zero, c->in[q->x]->type));
    return ledge__nn_count(c, q->zero, 1);
}

/* The output's type is that of its zero point, else that of input `like`. */
static LedgeStatus check_out(LedgeOpCtx *c, const Quant *q, uint32_t like, LedgeType *type)
{
    LEDGE_TRY(check_scale(c, q));
    *type = c->in[like]->type;
    if (ledge__op_in(c, q->zero)) {
        LEDGE_TRY(ledge__nn_need_byte(c, q->zero));
        *type = c->in[q->zero]->type;
    }
    return ledge__nn_count(c, q->zero, 1);
}

static float scale_of(const LedgeOpCtx *c, const Quant *q)
{
    return ((const float *)c->in[q->scale]->data)[0];
}

static int32_t zero_of(const LedgeOpCtx *c, const Quant *q)
{
    const LedgeTensor *z = ledge__op_in(c, q->zero);
    return z ? (int32_t)ledge__nn_at(z, 0) : 0;
}

/* All 256 values of a byte. */
static void value_table(const LedgeOpCtx *c, const Quant *q, LedgeType type, float *table)
{
    float scale = scale_of(c, q);
    int32_t zero = zero_of(c, q);
    for (int i = 0; i < 256; i++)
        table[i] = scale * (float)((type == LEDGE_INT8 ? (int8_t)i : i) - zero);
}

static const uint8_t *bytes_of(const LedgeTensor *t)
{
    return t->data;
}

static LedgeStatus refuse_channels_last(LedgeOpCtx *c)
{
    if (ledge__node_int(c->node, "channels_last", 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "channels_last is not supported");
    return LEDGE_OK;
}

/* ---- QLinearSigmoid, QLinearLeakyRelu ---- */

static const Quant unary_in = {0, 1, 2}, unary_out = {0, 3, 4};

static LedgeStatus unary_infer(LedgeOpCtx *c)
{
    LedgeType t;
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &unary_in));
    LEDGE_TRY(check_out(c, &unary_out, 0, &t));
    ledge__op_set_out(c, 0, t, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus unary_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeTensor *y = c->out[0];
    float values[256], alpha = ledge__node_float(c->node, "alpha", 0.01f);
    float scale = scale_of(c, &unary_out);
    uint8_t table[256];
    value_table(c, &unary_in, x->type, values);
    for (int i = 0; i < 256; i++) {
        float v = values[i];
        v = c->node->op_type[7] == 'S' ? 1 / (1 + expf(-v)) : v < 0 ? alpha * v : v;
        table[i] = ledge__nn_quantize(v / scale, zero_of(c, &unary_out), y->type == LEDGE_INT8);
    }
    size_t n = (size_t)ledge_tensor_count(x);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)y->data)[i] = table[bytes_of(x)[i]];
    return LEDGE_OK;
}

/* ---- QLinearAdd, QLinearMul ---- */

static const Quant left = {0, 1, 2}, right = {3, 4, 5}, result = {0, 6, 7};

static LedgeStatus binary_infer(LedgeOpCtx *c)
{
    LedgeType t;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &left));
    LEDGE_TRY(check_in(c, &right));
    LEDGE_TRY(check_out(c, &result, 0, &t));
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], c->in[3], &rank, dims));
    ledge__op_set_out(c, 0, t, rank, dims);
    return LEDGE_OK;
}

/* Strides of t along y's dimensions, 0 where it is broadcast. */
static void broadcast_strides(const LedgeTensor *t, const LedgeTensor *y, size_t *strides)
{
    size_t stride = 1;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
        int32_t td = d - (y->rank - t->rank);
        strides[d] = td < 0 || t->dims[td] == 1 ? 0 : stride;
        stride *= td < 0 ? 1 : (size_t)t->dims[td];
    }
}

static LedgeStatus binary_run(LedgeOpCtx *c)
{
    const LedgeTensor *a = c->in[0], *b = c->in[3];
    LedgeTensor *y = c->out[0];
    float va[256], vb[256], scale = scale_of(c, &result);
    size_t sa[LEDGE_MAX_RANK], sb[LEDGE_MAX_RANK], total = (size_t)ledge_tensor_count(y);
    int64_t index[LEDGE_MAX_RANK] = {0};
    int32_t zero = zero_of(c, &result);
    bool add = c->node->op_type[7] == 'A';
    value_table(c, &left, a->type, va);
    value_table(c, &right, b->type, vb);
    broadcast_strides(a, y, sa);
    broadcast_strides(b, y, sb);
    for (size_t e = 0, ia = 0, ib = 0; e < total; e++) {
        float p = va[bytes_of(a)[ia]], q = vb[bytes_of(b)[ib]];
        ((uint8_t *)y->data)[e] =
            ledge__nn_quantize((add ? p + q : p * q) / scale, zero, y->type == LEDGE_INT8);
        for (int32_t d = y->rank - 1; d >= 0; d--) {
            ia += sa[d];
            ib += sb[d];
            if (++index[d] < y->dims[d])
                break;
            ia -= sa[d] * (size_t)index[d];
            ib -= sb[d] * (size_t)index[d];
            index[d] = 0;
        }
    }
    return LEDGE_OK;
}

/* ---- QLinearConcat: scale and zero of the output, then triples ---- */

static const Quant concat_out = {0, 0, 1};

static LedgeStatus concat_infer(LedgeOpCtx *c)
{
    LedgeType t;
    int32_t axis = 0, rank = -1;
    int64_t dims[LEDGE_MAX_RANK], sum = 0;
    if (c->n_in < 5 || (c->n_in - 2) % 3)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "has %u inputs, must have 2 and triples",
                              c->n_in);
    for (uint32_t i = 2; i < c->n_in; i += 3) {
        Quant q = {i, i + 1, i + 2};
        LEDGE_TRY(check_in(c, &q));
        const LedgeTensor *x = c->in[i];
        if (x->rank < 0) {
            rank = -1;
            break;
        }
        if (i == 2) {
            rank = x->rank;
            memcpy(dims, x->dims, sizeof dims);
            LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), rank, &axis));
        }
        LEDGE_TRY(ledge__nn_same(c, "ranks", x->rank, rank));
        for (int32_t d = 0; d < rank; d++)
            if (d != axis)
                LEDGE_TRY(ledge__nn_same(c, "dimensions", x->dims[d], dims[d]));
        if (x->dims[axis] < 0)
            sum = -1;
        else if (sum >= 0 && __builtin_add_overflow(sum, x->dims[axis], &sum))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the sum of dimensions is too large");
    }
    LEDGE_TRY(check_out(c, &concat_out, 2, &t));
    if (rank > 0)
        dims[axis] = sum;
    ledge__op_set_out(c, 0, t, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus concat_run(LedgeOpCtx *c)
{
    LedgeTensor *y = c->out[0];
    int32_t axis, zero = zero_of(c, &concat_out);
    float scale = scale_of(c, &concat_out), values[256];
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), y->rank, &axis));
    size_t outer = ledge__nn_product(y->dims, 0, axis), at = 0;
    size_t row = ledge__nn_product(y->dims, axis, y->rank);
    for (uint32_t i = 2; i < c->n_in; i += 3) {
        Quant q = {i, i + 1, i + 2};
        const LedgeTensor *x = c->in[i];
        uint8_t table[256];
        size_t n = ledge__nn_product(x->dims, axis, x->rank);
        value_table(c, &q, x->type, values);
        for (int k = 0; k < 256; k++)
            table[k] = ledge__nn_quantize(values[k] / scale, zero, y->type == LEDGE_INT8);
        for (size_t o = 0; o < outer; o++)
            for (size_t e = 0; e < n; e++)
                ((uint8_t *)y->data)[o * row + at + e] = table[bytes_of(x)[o * n + e]];
        at += n;
    }
    return LEDGE_OK;
}

/* ---- through float: pooling and softmax ---- */

static LedgeStatus window(LedgeOpCtx *c, LedgeWindow *w)
{
    const LedgeTensor *x = c->in[0];
    if (strcmp(c->node->op_type, "QLinearAveragePool") == 0)
        return ledge__nn_window(c, x, NULL, ledge__node_int(c->node, "ceil_mode", 0) != 0, w);
    *w = (LedgeWindow){.nd = x->rank - 2};
    if (x->rank < 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has rank %d, must be at least 3",
                              x->rank);
    for (int d = 0; d < w->nd; d++) {
        w->in[d] = w->kernel[d] = x->dims[2 + d];
        w->stride[d] = w->dilation[d] = w->out[d] = 1;
        if (w->in[d] == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "has nothing to pool");
    }
    return LEDGE_OK;
}

static LedgeStatus pool_infer(LedgeOpCtx *c)
{
    LedgeType t;
    LedgeWindow w;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &unary_in));
    LEDGE_TRY(check_out(c, &unary_out, 0, &t));
    LEDGE_TRY(refuse_channels_last(c));
    const LedgeTensor *x = c->in[0];
    memcpy(dims, x->dims, sizeof dims);
    if (x->rank >= 0) {
        LEDGE_TRY(window(c, &w));
        memcpy(dims + 2, w.out, (size_t)w.nd * sizeof dims[0]);
    }
    ledge__op_set_out(c, 0, t, x->rank, dims);
    return LEDGE_OK;
}

static LedgeStatus softmax_infer(LedgeOpCtx *c)
{
    int32_t axis;
    LEDGE_TRY(unary_infer(c));
    if (c->in[0]->rank >= 0)
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), c->in[0]->rank, &axis));
    return LEDGE_OK;
}

typedef struct Floats {
    float *x, *y;
} Floats;

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *s, Floats *f)
{
    f->x = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[0]), 4);
    f->y = ledge__nn_take(s, (size_t)ledge_tensor_count(c->out[0]), 4);
    if (s->overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    return LEDGE_OK;
}

static LedgeStatus float_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Floats f;
    LEDGE_TRY(layout(c, &s, &f));
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

static LedgeStatus load(LedgeOpCtx *c, Floats *f)
{
    NnScratch s = {.base = c->scratch};
    float table[256];
    LEDGE_TRY(layout(c, &s, f));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    value_table(c, &unary_in, c->in[0]->type, table);
    size_t n = (size_t)ledge_tensor_count(c->in[0]);
    for (size_t i = 0; i < n; i++)
        f->x[i] = table[bytes_of(c->in[0])[i]];
    return LEDGE_OK;
}

static void store(LedgeOpCtx *c, const Floats *f)
{
    LedgeTensor *y = c->out[0];
    float scale = scale_of(c, &unary_out);
    int32_t zero = zero_of(c, &unary_out);
    size_t n = (size_t)ledge_tensor_count(y);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)y->data)[i] = ledge__nn_quantize(f->y[i] / scale, zero, y->type == LEDGE_INT8);
}

static LedgeStatus pool_run(LedgeOpCtx *c)
{
    Floats f;
    LedgePoolRef p = {.planes = c->in[0]->dims[0] * c->in[0]->dims[1]};
    LEDGE_TRY(load(c, &f));
    LEDGE_TRY(window(c, &p.w));
    p.count_pads = ledge__node_int(c->node, "count_include_pad", 0) != 0;
    p.x = f.x;
    p.y = f.y;
    ledge__average_pool_f32_ref(&p, c->pool);
    store(c, &f);
    return LEDGE_OK;
}

static LedgeStatus softmax_run(LedgeOpCtx *c)
{
    Floats f;
    const LedgeTensor *x = c->in[0];
    bool flat = ledge__node_int(c->node, "opset", 13) < 13;
    int32_t axis;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), x->rank, &axis));
    LEDGE_TRY(load(c, &f));
    LedgeRows r = {.outer = ledge__nn_product(x->dims, 0, axis),
                   .size = flat ? ledge__nn_product(x->dims, axis, x->rank) : (size_t)x->dims[axis],
                   .inner = flat ? 1 : ledge__nn_product(x->dims, axis + 1, x->rank),
                   .x = f.x,
                   .y = f.y};
    ledge__softmax_f32_ref(&r, c->pool);
    store(c, &f);
    return LEDGE_OK;
}

#define MS(name, infer, prepare, run)                                                              \
    {                                                                                              \
        "com.microsoft", name, 1, 0, 0, infer, prepare, run, NULL                                  \
    }
const LedgeOp ledge__ops_nn_ms_qlinear[] = {
    MS("QLinearSigmoid", unary_infer, NULL, unary_run),
    MS("QLinearLeakyRelu", unary_infer, NULL, unary_run),
    MS("QLinearAdd", binary_infer, NULL, binary_run),
    MS("QLinearMul", binary_infer, NULL, binary_run),
    MS("QLinearConcat", concat_infer, NULL, concat_run),
    MS("QLinearAveragePool", pool_infer, float_prepare, pool_run),
    MS("QLinearGlobalAveragePool", pool_infer, float_prepare, pool_run),
    MS("QLinearSoftmax", softmax_infer, float_prepare, softmax_run),
    {0},
};
