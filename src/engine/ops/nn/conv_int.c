/* ConvInteger and QLinearConv (ONNX 10): exact 32-bit sums; requantisation rounds half to
 * even, so the answer is the same bit for bit on every machine. */
#include "engine/ops/nn/conv.h"
#include "engine/ops/nn/matmul.h"

/* Input indices; ~0u: none. */
typedef struct Slots {
    uint32_t x, w, x_zero, w_zero, x_scale, w_scale, y_scale, y_zero, bias;
} Slots;

static const Slots integer = {0, 1, 2, 3, ~0u, ~0u, ~0u, ~0u, ~0u};
static const Slots linear = {0, 3, 2, 5, 1, 4, 6, 7, 8};

static const Slots *slots_of(const LedgeOpCtx *c)
{
    return strcmp(c->node->op_type, "ConvInteger") == 0 ? &integer : &linear;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    const Slots *s = slots_of(c);
    LedgeConvRef p;
    LedgeTensor y;
    LedgeType type = LEDGE_INT32;
    LEDGE_TRY(ledge__nn_need(c, s == &linear ? 8 : 2, 0));
    LEDGE_TRY(ledge__nn_need_byte(c, s->x));
    LEDGE_TRY(ledge__nn_need_byte(c, s->w));
    LEDGE_TRY(ledge__nn_conv_shape(c, c->in[s->x], c->in[s->w], &p, &y));
    int64_t m = y.rank > 1 ? y.dims[1] : -1;
    LEDGE_TRY(ledge__nn_need_quant(c, s->x_zero, c->in[s->x]->type, 1, 1));
    LEDGE_TRY(ledge__nn_need_quant(c, s->w_zero, c->in[s->w]->type, m, m));
    if (s == &linear) {
        LEDGE_TRY(ledge__nn_need_byte(c, s->y_zero));
        type = c->in[s->y_zero]->type;
        LEDGE_TRY(ledge__nn_need_quant(c, s->x_scale, LEDGE_TYPE_NONE, 1, 1));
        LEDGE_TRY(ledge__nn_need_quant(c, s->w_scale, LEDGE_TYPE_NONE, m, m));
        LEDGE_TRY(ledge__nn_need_quant(c, s->y_scale, LEDGE_TYPE_NONE, 1, 1));
        LEDGE_TRY(ledge__nn_need_quant(c, s->y_zero, type, 1, 1));
        if (ledge__op_in(c, s->bias))
            LEDGE_TRY(ledge__op_need(c, s->bias, LEDGE_INT32));
        LEDGE_TRY(ledge__nn_count(c, s->bias, m));
    }
    ledge__op_set_out(c, 0, type, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus layout(LedgeOpCtx *c, const Slots *slots, NnScratch *s, LedgeConvRef *p,
                          int16_t **weights, int32_t **sums)
{
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_conv_shape(c, c->in[slots->x], c->in[slots->w], p, &y));
    p->scratch = ledge__nn_take(s, ledge__conv_ref_scratch(p, ledge__pool_threads(c->pool)), 2);
    *weights = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[slots->w]), 2);
    *sums = NULL;
    if (slots == &linear)
        *sums = ledge__nn_take(s, (size_t)ledge_tensor_count(&y), 4);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    LedgeConvRef p;
    int16_t *weights;
    int32_t *sums;
    LEDGE_TRY(layout(c, slots_of(c), &s, &p, &weights, &sums));
    if (s.overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

static float value_at(const LedgeTensor *t, size_t i)
{
    return (float)ledge__nn_at(t, ledge_tensor_count(t) == 1 ? 0 : (int64_t)i);
}

static void requantize(LedgeOpCtx *c, const Slots *s, const int32_t *sums)
{
    LedgeTensor *y = c->out[0];
    size_t total = (size_t)ledge_tensor_count(y), m = (size_t)y->dims[1];
    size_t space = total ? total / ((size_t)y->dims[0] * m) : 0;
    const LedgeTensor *bias = ledge__op_in(c, s->bias);
    int32_t zero = (int32_t)value_at(c->in[s->y_zero], 0);
    bool is_signed = y->type == LEDGE_INT8;
    for (size_t row = 0; space && row < total / space; row++) {
        float scale = value_at(c->in[s->x_scale], 0) * value_at(c->in[s->w_scale], row % m) /
                      value_at(c->in[s->y_scale], 0);
        uint32_t b = bias ? ((const uint32_t *)bias->data)[row % m] : 0;
        for (size_t i = row * space; i < (row + 1) * space; i++)
            ((uint8_t *)y->data)[i] = ledge__nn_quantize(
                (float)(int32_t)((uint32_t)sums[i] + b) * scale, zero, is_signed);
    }
}

static LedgeStatus run(LedgeOpCtx *c)
{
    const Slots *slots = slots_of(c);
    NnScratch s = {.base = c->scratch};
    LedgeConvRef p;
    int16_t *weights;
    int32_t *sums;
    LEDGE_TRY(layout(c, slots, &s, &p, &weights, &sums));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    const LedgeTensor *w = c->in[slots->w], *xz = ledge__op_in(c, slots->x_zero);
    NnBytes bytes = {w, ledge__op_in(c, slots->w_zero), 1, 1, (size_t)w->dims[0], 0};
    bytes.inner = ledge__nn_product(w->dims, 1, w->rank);
    ledge__nn_widen(&bytes, weights);
    p.x = c->in[slots->x]->data;
    p.x_signed = c->in[slots->x]->type == LEDGE_INT8;
    p.x_zero = xz ? (int32_t)value_at(xz, 0) : 0;
    p.weights = weights;
    p.y = sums ? sums : c->out[0]->data;
    ledge__conv_s16_ref(&p, c->pool);
    if (sums)
        requantize(c, slots, sums);
    return LEDGE_OK;
}

static int64_t macs(const LedgeOpCtx *c)
{
    const Slots *s = slots_of(c);
    LedgeConvRef p;
    LedgeTensor y;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(ledge__op_in(c, s->x)) || !ledge__nn_known(ledge__op_in(c, s->w)) ||
        ledge__nn_conv_shape(&quiet, c->in[s->x], c->in[s->w], &p, &y))
        return 0;
    return ledge__nn_conv_macs(&p);
}

const LedgeOp ledge__ops_nn_conv_int[] = {
    {"", "ConvInteger", 10, 0, 0, infer, prepare, run, macs},
    {"", "QLinearConv", 10, 0, 0, infer, prepare, run, macs},
    {0},
};
