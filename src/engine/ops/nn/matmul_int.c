/* Integer matrix products: MatMulInteger (ONNX 10), QLinearMatMul (10, 21) and com.microsoft
 * QGemm, MatMulIntegerToFloat, DynamicQuantizeMatMul. Sums are exact in 32 bits (wrapping),
 * so every machine gives the same answer; requantisation rounds half to even as
 * QuantizeLinear does. */
#include "engine/ops/nn/matmul.h"

#include <math.h>

LedgeStatus ledge__nn_need_byte(LedgeOpCtx *c, uint32_t i)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    LedgeType t = c->in[i]->type;
    if (t != LEDGE_TYPE_NONE && t != LEDGE_INT8 && t != LEDGE_UINT8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be int8 or uint8", i,
                              ledge_type_name(t));
    return LEDGE_OK;
}

LedgeStatus ledge__nn_need_quant(LedgeOpCtx *c, uint32_t i, LedgeType type, int64_t axis,
                                 int64_t all)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (!t)
        return LEDGE_OK;
    if (type == LEDGE_TYPE_NONE) {
        if (t->type != LEDGE_TYPE_NONE && !ledge__nn_is_float(t->type))
            return ledge__op_fail(c, LEDGE_ERROR_TYPE, "scale (input %u) is %s, must be floating",
                                  i, ledge_type_name(t->type));
    } else {
        LEDGE_TRY(ledge__op_need(c, i, type));
    }
    int64_t n = ledge_tensor_count(t);
    if (n >= 0 && n != 1 && axis >= 0 && all >= 0 && n != axis && n != all)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "scale or zero point (input %u) has %lld values, must have 1 or %lld",
                              i, (long long)n, (long long)axis);
    return LEDGE_OK;
}

void ledge__nn_widen(const NnBytes *b, int16_t *to)
{
    size_t zeros = b->zero ? (size_t)ledge_tensor_count(b->zero) : 0;
    bool sx = b->x->type == LEDGE_INT8;
    const uint8_t *from = b->x->data;
    for (size_t o = 0; o < b->outer; o++)
        for (size_t m = 0; m < b->mid; m++)
            for (size_t a = 0; a < b->axis; a++) {
                size_t at = zeros == 1 ? 0 : zeros == b->axis ? a : o * b->axis + a;
                int16_t z = zeros ? (int16_t)ledge__nn_at(b->zero, (int64_t)at) : 0;
                for (size_t i = 0; i < b->inner; i++, from++, to++)
                    *to = (int16_t)((sx ? (int8_t)*from : *from) - z);
            }
}

uint8_t ledge__nn_quantize(float v, int32_t zero, bool is_signed)
{
    float lo = is_signed ? -128.0f : 0.0f, hi = is_signed ? 127.0f : 255.0f;
    v = rintf(v) + (float)zero;
    v = v < lo ? lo : v > hi ? hi : v; /* a NaN stays one */
    int32_t q = v == v ? (int32_t)v : zero;
    return (uint8_t)(is_signed ? (int8_t)q : q);
}

/* ---- the product behind all of them ---- */

typedef struct Quant {
    uint32_t a, a_zero, b, b_zero; /* input indices; zero points may be absent */
    bool trans_a, trans_b;
} Quant;

typedef struct Product {
    LedgeMatmulBatch g;
    LedgeTensor y; /* shape */
    int16_t *a, *b;
    int32_t *sums;
} Product;

static LedgeStatus layout(LedgeOpCtx *c, const Quant *q, bool own_sums, NnScratch *s, Product *p)
{
    LEDGE_TRY(
        ledge__nn_matmul_shape(c, c->in[q->a], c->in[q->b], q->trans_a, q->trans_b, &p->g, &p->y));
    p->a = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[q->a]), 2);
    p->b = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[q->b]), 2);
    if (own_sums)
        p->sums = ledge__nn_take(s, (size_t)ledge_tensor_count(&p->y), 4);
    return LEDGE_OK;
}

static int64_t last(const LedgeTensor *t, int32_t back)
{
    return t->rank >= back ? t->dims[t->rank - back] : 1;
}

/* a and b widened less their zero points, and multiplied into p->sums. */
static void multiply(LedgeOpCtx *c, const Quant *q, Product *p)
{
    const LedgeTensor *a = c->in[q->a], *b = c->in[q->b];
    size_t ac = (size_t)ledge_tensor_count(a), bc = (size_t)ledge_tensor_count(b);
    if (ac && bc) {
        NnBytes na = {a, ledge__op_in(c, q->a_zero), 1, 1, 1, 1};
        NnBytes nb = {b, ledge__op_in(c, q->b_zero), 1, 1, 1, 1};
        na.axis = a->rank > 1 ? (size_t)last(a, 2) : 1;
        na.inner = (size_t)last(a, 1);
        na.outer = ac / (na.axis * na.inner);
        nb.axis = b->rank > 1 ? (size_t)last(b, 1) : 1;
        nb.mid = b->rank > 1 ? (size_t)last(b, 2) : (size_t)last(b, 1);
        nb.outer = bc / (nb.axis * nb.mid);
        if (q->trans_a) { /* one zero point only; QGemm's A */
            na.axis = 1;
            na.inner = ac;
            na.outer = 1;
        }
        if (q->trans_b) {
            nb.inner = nb.axis;
            nb.axis = nb.mid;
            nb.mid = 1;
        }
        ledge__nn_widen(&na, p->a);
        ledge__nn_widen(&nb, p->b);
    }
    p->g.one.a = p->a;
    p->g.one.b = p->b;
    p->g.one.c = p->sums;
    ledge__matmul_batch_s16_ref(&p->g, c->pool);
}

static int64_t product_macs(const LedgeOpCtx *c, const Quant *q)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(ledge__op_in(c, q->a)) || !ledge__nn_known(ledge__op_in(c, q->b)) ||
        ledge__nn_matmul_shape(&quiet, c->in[q->a], c->in[q->b], q->trans_a, q->trans_b, &g, &y))
        return 0;
    return ledge__nn_matmul_macs(&g);
}

static int64_t count_of(const LedgeTensor *t)
{
    return t ? ledge_tensor_count(t) : -1;
}

/* Zero point or scale of a (rows) and b (columns): value of result element (row, col). */
static float side(const LedgeTensor *t, size_t batch, size_t at, size_t axis)
{
    int64_t n = ledge_tensor_count(t);
    return (float)ledge__nn_at(t, n == 1               ? 0
                                  : n == (int64_t)axis ? (int64_t)at
                                                       : (int64_t)(batch * axis + at));
}

/* ---- MatMulInteger ---- */

/* Scales or zero points a (of rows) and b (of columns): one number, one each, or one each
 * for every matrix of a batch that is not broadcast. */
static LedgeStatus check_sides(LedgeOpCtx *c, const Quant *q, uint32_t a, uint32_t b, LedgeType ta,
                               LedgeType tb)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_matmul_shape(c, c->in[q->a], c->in[q->b], q->trans_a, q->trans_b, &g, &y));
    if (!ledge__nn_known(&y))
        return LEDGE_OK;
    int64_t m = q->trans_a ? 1 : (int64_t)g.one.m, n = (int64_t)g.one.n, batch = 1;
    for (int d = 0; d < g.rank; d++)
        batch = ledge__nn_times(batch, g.dims[d]);
    int64_t k = (int64_t)g.one.k, rows = ledge__nn_times(batch, m),
            cols = ledge__nn_times(batch, n);
    bool whole_a = count_of(c->in[q->a]) == ledge__nn_times(rows, k) && !q->trans_a;
    bool whole_b = count_of(c->in[q->b]) == ledge__nn_times(cols, k);
    LEDGE_TRY(ledge__nn_need_quant(c, a, ta, m, whole_a ? rows : m));
    return ledge__nn_need_quant(c, b, tb, n, whole_b ? cols : n);
}

static const Quant matmul_integer = {0, 2, 1, 3, false, false};

static LedgeStatus integer_infer(LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, 1));
    LEDGE_TRY(check_sides(c, &matmul_integer, 2, 3, c->in[0]->type, c->in[1]->type));
    LEDGE_TRY(ledge__nn_matmul_shape(c, c->in[0], c->in[1], false, false, &g, &y));
    ledge__op_set_out(c, 0, LEDGE_INT32, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus integer_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Product p;
    LEDGE_TRY(layout(c, &matmul_integer, false, &s, &p));
    return ledge__nn_ask(c, &s);
}

static LedgeStatus integer_run(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Product p;
    LEDGE_TRY(layout(c, &matmul_integer, false, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    p.sums = c->out[0]->data;
    multiply(c, &matmul_integer, &p);
    return LEDGE_OK;
}

static int64_t integer_macs(const LedgeOpCtx *c)
{
    return product_macs(c, &matmul_integer);
}

/* ---- QLinearMatMul and QGemm ---- */

typedef struct Linear {
    Quant q;
    uint32_t a_scale, b_scale, bias, y_scale, y_zero; /* bias ~0u: none */
    float alpha;
} Linear;

static Linear linear_of(const LedgeOpCtx *c)
{
    if (strcmp(c->node->op_type, "QGemm") == 0)
        return (Linear){{0, 2, 3, 5, ledge__node_int(c->node, "transA", 0) != 0,
                         ledge__node_int(c->node, "transB", 0) != 0},
                        1,
                        4,
                        6,
                        7,
                        8,
                        ledge__node_float(c->node, "alpha", 1.0f)};
    return (Linear){{0, 2, 3, 5, false, false}, 1, 4, ~0u, 6, 7, 1.0f};
}

static LedgeStatus linear_infer(LedgeOpCtx *c)
{
    Linear l = linear_of(c);
    bool gemm = l.bias != ~0u;
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, gemm ? 6 : 8, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, 3));
    LEDGE_TRY(check_sides(c, &l.q, 2, 5, c->in[0]->type, c->in[3]->type));
    LEDGE_TRY(check_sides(c, &l.q, 1, 4, LEDGE_TYPE_NONE, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__nn_matmul_shape(c, c->in[0], c->in[3], l.q.trans_a, l.q.trans_b, &g, &y));
    if (gemm && ledge__op_in(c, 6)) {
        LEDGE_TRY(ledge__op_need(c, 6, LEDGE_INT32));
        LEDGE_TRY(ledge__nn_rank(c, 6, 0, 2));
        for (int32_t d = 0; d < c->in[6]->rank && y.rank == 2; d++)
            if (c->in[6]->dims[d] != 1)
                LEDGE_TRY(
                    ledge__nn_same(c, "C", c->in[6]->dims[d], y.dims[2 - c->in[6]->rank + d]));
    }
    LedgeType type = LEDGE_FLOAT;
    if (ledge__op_in(c, l.y_scale)) {
        LEDGE_TRY(ledge__nn_need_byte(c, l.y_zero));
        type = c->in[l.y_zero]->type;
        LEDGE_TRY(ledge__nn_need_quant(c, l.y_zero, type, gemm || y.rank < 2 ? 1 : last(&y, 2), 1));
        LEDGE_TRY(ledge__nn_need_quant(c, l.y_scale, LEDGE_TYPE_NONE,
                                       gemm || y.rank < 2 ? 1 : last(&y, 2), 1));
    } else if (!gemm) {
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "input %u (y_scale) is missing", l.y_scale);
    }
    ledge__op_set_out(c, 0, type, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus linear_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Product p;
    Linear l = linear_of(c);
    LEDGE_TRY(layout(c, &l.q, true, &s, &p));
    if (s.overflow)
        return ledge__nn_ask(c, &s);
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

static int32_t bias_at(const LedgeTensor *t, size_t i, size_t j)
{
    size_t col = t->rank >= 1 && t->dims[t->rank - 1] != 1;
    size_t row = t->rank == 2 && t->dims[0] != 1 ? (size_t)t->dims[1] : 0;
    return ((const int32_t *)t->data)[i * row + j * col];
}

static LedgeStatus linear_run(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Product p;
    Linear l = linear_of(c);
    LEDGE_TRY(layout(c, &l.q, true, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    multiply(c, &l.q, &p);
    const LedgeTensor *ys = ledge__op_in(c, l.y_scale), *yz = ledge__op_in(c, l.y_zero);
    const LedgeTensor *bias = ledge__op_in(c, l.bias);
    LedgeTensor *y = c->out[0];
    size_t m = p.g.one.m, n = p.g.one.n, total = (size_t)ledge_tensor_count(y);
    for (size_t e = 0; e < total; e++) {
        size_t batch = e / (m * n), i = e / n % m, j = e % n;
        uint32_t sum = (uint32_t)p.sums[e] + (bias ? (uint32_t)bias_at(bias, i, j) : 0);
        float as = side(c->in[l.a_scale], batch, i, m), bs = side(c->in[l.b_scale], batch, j, n);
        float scale = l.alpha * as * bs;
        if (ys)
            ((uint8_t *)y->data)[e] =
                ledge__nn_quantize((float)(int32_t)sum * (scale / side(ys, batch, i, m)),
                                   (int32_t)side(yz, batch, i, m), yz->type == LEDGE_INT8);
        else
            ((float *)y->data)[e] = (float)(int32_t)sum * scale;
    }
    return LEDGE_OK;
}

static int64_t linear_macs(const LedgeOpCtx *c)
{
    Linear l = linear_of(c);
    return product_macs(c, &l.q);
}

/* ---- MatMulIntegerToFloat, DynamicQuantizeMatMul ---- */

typedef struct ToFloat {
    Quant q;
    bool dynamic; /* A is float and quantised to uint8 here */
    uint32_t a_scale, b_scale, bias;
} ToFloat;

static ToFloat to_float_of(const LedgeOpCtx *c)
{
    if (strcmp(c->node->op_type, "DynamicQuantizeMatMul") == 0)
        return (ToFloat){{0, ~0u, 1, 3, false, false}, true, ~0u, 2, 4};
    return (ToFloat){{0, 4, 1, 5, false, false}, false, 2, 3, 6};
}

static LedgeStatus to_float_infer(LedgeOpCtx *c)
{
    ToFloat f = to_float_of(c);
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, f.dynamic ? 3 : 4, 0));
    if (f.dynamic)
        LEDGE_TRY(ledge__op_need(c, 0, LEDGE_FLOAT));
    else
        LEDGE_TRY(ledge__nn_need_byte(c, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, 1));
    LEDGE_TRY(check_sides(c, &f.q, f.a_scale, f.b_scale, LEDGE_TYPE_NONE, LEDGE_TYPE_NONE));
    LEDGE_TRY(check_sides(c, &f.q, f.q.a_zero, f.q.b_zero, c->in[0]->type, c->in[1]->type));
    LEDGE_TRY(ledge__nn_matmul_shape(c, c->in[0], c->in[1], false, false, &g, &y));
    if (ledge__op_in(c, f.bias)) {
        LEDGE_TRY(ledge__op_need(c, f.bias, LEDGE_FLOAT));
        LEDGE_TRY(ledge__nn_count(c, f.bias, y.rank > 0 ? y.dims[y.rank - 1] : -1));
    }
    ledge__op_set_out(c, 0, LEDGE_FLOAT, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus to_float_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Product p;
    ToFloat f = to_float_of(c);
    LEDGE_TRY(layout(c, &f.q, true, &s, &p));
    ledge__nn_take(&s, f.dynamic ? (size_t)ledge_tensor_count(c->in[0]) : 0, 1);
    if (s.overflow)
        return ledge__nn_ask(c, &s);
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

/* As DynamicQuantizeLinear: the range is widened to hold 0. */
static float quantize_dynamic(const float *x, size_t n, uint8_t *q, uint8_t *zero)
{
    float lo = 0, hi = 0;
    for (size_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    float scale = (hi - lo) / 255.0f;
    if (scale == 0)
        scale = 1.0f;
    *zero = ledge__nn_quantize(-lo / scale, 0, false);
    for (size_t i = 0; i < n; i++)
        q[i] = ledge__nn_quantize(x[i] / scale, *zero, false);
    return scale;
}

static LedgeStatus to_float_run(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Product p;
    ToFloat f = to_float_of(c);
    LEDGE_TRY(layout(c, &f.q, true, &s, &p));
    size_t na = (size_t)ledge_tensor_count(c->in[0]);
    uint8_t zero = 0, *bytes = ledge__nn_take(&s, f.dynamic ? na : 0, 1);
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    float dynamic_scale = 1.0f;
    LedgeOpCtx inner = *c;
    const LedgeTensor *in[8] = {0};
    LedgeTensor a = *c->in[0], z = {.type = LEDGE_UINT8, .data = &zero};
    for (uint32_t i = 0; i < c->n_in && i < 7; i++)
        in[i] = c->in[i];
    if (f.dynamic) {
        dynamic_scale = quantize_dynamic(a.data, na, bytes, &zero);
        a.type = LEDGE_UINT8;
        a.data = bytes;
        in[0] = &a;
        in[7] = &z;
        f.q.a_zero = 7;
    }
    inner.in = in;
    inner.n_in = 8;
    multiply(&inner, &f.q, &p);
    const LedgeTensor *bias = ledge__op_in(c, f.bias), *as = ledge__op_in(c, f.a_scale);
    size_t m = p.g.one.m, n = p.g.one.n, total = (size_t)ledge_tensor_count(c->out[0]);
    for (size_t e = 0; e < total; e++) {
        size_t batch = e / (m * n), i = e / n % m, j = e % n;
        float scale =
            (as ? side(as, batch, i, m) : dynamic_scale) * side(c->in[f.b_scale], batch, j, n);
        float v = (float)p.sums[e] * scale;
        ((float *)c->out[0]->data)[e] = bias ? v + ((const float *)bias->data)[j] : v;
    }
    return LEDGE_OK;
}

static int64_t to_float_macs(const LedgeOpCtx *c)
{
    ToFloat f = to_float_of(c);
    return product_macs(c, &f.q);
}

const LedgeOp ledge__ops_nn_matmul_int[] = {
    {"", "MatMulInteger", 10, 0, 0, integer_infer, integer_prepare, integer_run, integer_macs},
    {"", "QLinearMatMul", 10, 0, 0, linear_infer, linear_prepare, linear_run, linear_macs},
    {"com.microsoft", "QGemm", 1, 0, 0, linear_infer, linear_prepare, linear_run, linear_macs},
    {"com.microsoft", "MatMulIntegerToFloat", 1, 0, 0, to_float_infer, to_float_prepare,
     to_float_run, to_float_macs},
    {"com.microsoft", "DynamicQuantizeMatMul", 1, 0, 0, to_float_infer, to_float_prepare,
     to_float_run, to_float_macs},
    {0},
};
