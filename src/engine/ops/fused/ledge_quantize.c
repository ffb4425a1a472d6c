/* ledge.Quantize, ledge.Dequantize and ledge.QMap: into bytes, out of them, from bytes to bytes.
 *
 * Quantize: x float32 -> bytes, clamp(rne(x / scale) + zero, 0, 255); NaN gives zero. Attributes
 * scale, zero (0 … 255), layout "" or "nhwc": x is [N,C,H,W] and the result [N,H,W,C].
 * Dequantize: bytes -> float32, (x - zero) * scale; layout "" or "nchw": from [N,H,W,C].
 * QMap: x of any shape, uint8 or int8; table of 256 bytes, a constant: y = table[x], x taken as
 * an unsigned byte. Attribute to: the result's type, x's where absent. */
#include "engine/kernels/bytes.h"
#include "engine/ops/fused/fused_bytes.h"

#include <string.h>

typedef struct ScaleState {
    LedgeByteScale s;
    bool turns; /* the layout changes */
} ScaleState;

static LedgeStatus read_layout(LedgeOpCtx *c, const char *other, bool *turns)
{
    const char *layout = ledge__node_string(c->node, "layout", "");
    const LedgeTensor *x = c->in[0];
    *turns = strcmp(layout, other) == 0;
    if (!*turns && layout[0] != '\0')
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "layout is \"%s\", must be \"\" or \"%s\"",
                              layout, other);
    if (*turns && x->rank >= 0 && x->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has %d dimensions, must have 4",
                              x->rank);
    return LEDGE_OK;
}

static LedgeStatus read_scale(LedgeOpCtx *c, LedgeByteScale *s)
{
    uint8_t zero;
    LEDGE_TRY(ledge__byte_scale_attr(c, "scale", &s->scale));
    LEDGE_TRY(ledge__byte_attr(c, "zero", 0, &zero));
    s->zero = zero;
    s->flip = 0;
    return LEDGE_OK;
}

/* The result has x's dimensions, in the order that `order` names when the layout changes. */
static void set_shape(LedgeOpCtx *c, LedgeType type, bool turns, const int order[4])
{
    const LedgeTensor *x = c->in[0];
    int64_t dims[LEDGE_MAX_RANK];
    for (int32_t d = 0; d < x->rank; d++)
        dims[d] = x->dims[turns ? order[d] : d];
    ledge__op_set_out(c, 0, type, x->rank, dims);
}

static LedgeStatus scale_prepare(LedgeOpCtx *c, const char *other)
{
    ScaleState *s = ledge__op_alloc(c, sizeof *s);
    if (!s)
        return ledge__no_memory(c->err);
    c->state = s;
    LEDGE_TRY(read_layout(c, other, &s->turns));
    return read_scale(c, &s->s);
}

/* ---- Quantize ---- */

static LedgeStatus quantize_infer(LedgeOpCtx *c)
{
    static const int nhwc[4] = {0, 2, 3, 1};
    bool turns;
    LedgeByteScale s;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_FLOAT));
    LEDGE_TRY(read_layout(c, "nhwc", &turns));
    LEDGE_TRY(read_scale(c, &s));
    set_shape(c, LEDGE_UINT8, turns, nhwc);
    return LEDGE_OK;
}

static LedgeStatus quantize_prepare(LedgeOpCtx *c)
{
    return scale_prepare(c, "nhwc");
}

static LedgeStatus quantize_run(LedgeOpCtx *c)
{
    const ScaleState *s = c->state;
    const LedgeTensor *x = c->in[0];
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t n = (size_t)ledge_tensor_count(x);
    if (n == 0)
        return LEDGE_OK;
    if (s->turns)
        ledge__bytes_quantize_nhwc(r, x->data, c->out[0]->data, (size_t)x->dims[0],
                                   (size_t)x->dims[1], (size_t)(x->dims[2] * x->dims[3]), s->s);
    else
        ledge__bytes_quantize(r, x->data, c->out[0]->data, n, s->s);
    return LEDGE_OK;
}

/* ---- Dequantize ---- */

static LedgeStatus dequantize_infer(LedgeOpCtx *c)
{
    static const int nchw[4] = {0, 3, 1, 2};
    bool turns;
    LedgeByteScale s;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_UINT8));
    LEDGE_TRY(read_layout(c, "nchw", &turns));
    LEDGE_TRY(read_scale(c, &s));
    set_shape(c, LEDGE_FLOAT, turns, nchw);
    return LEDGE_OK;
}

static LedgeStatus dequantize_prepare(LedgeOpCtx *c)
{
    return scale_prepare(c, "nchw");
}

static LedgeStatus dequantize_run(LedgeOpCtx *c)
{
    const ScaleState *s = c->state;
    const LedgeTensor *x = c->in[0];
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t n = (size_t)ledge_tensor_count(x);
    if (n == 0)
        return LEDGE_OK;
    if (s->turns)
        ledge__bytes_dequantize_nchw(r, x->data, c->out[0]->data, (size_t)x->dims[0],
                                     (size_t)x->dims[3], (size_t)(x->dims[1] * x->dims[2]), s->s);
    else
        ledge__bytes_dequantize(r, x->data, c->out[0]->data, n, s->s);
    return LEDGE_OK;
}

/* ---- QMap ---- */

static LedgeStatus map_infer(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(ledge__byte_need(c, 0));
    LEDGE_TRY(ledge__byte_need(c, 1));
    const LedgeTensor *x = c->in[0];
    const int64_t n = ledge_tensor_count(c->in[1]);
    if (n >= 0 && n != 256)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the table has %lld bytes, must have 256",
                              (long long)n);
    LEDGE_TRY(ledge__byte_type_attr(c, x->type == LEDGE_INT8 ? LEDGE_INT8 : LEDGE_UINT8, &type));
    ledge__op_set_out(c, 0, type, x->rank, x->dims);
    return LEDGE_OK;
}

static LedgeStatus map_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    ledge__bytes_map((LedgeRunner){c->pool, c->cpu}, x->data, c->out[0]->data,
                     (size_t)ledge_tensor_count(x), c->in[1]->data);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_quantize[] = {
    {"ledge", "Quantize", 1, 0, 0, quantize_infer, quantize_prepare, quantize_run, NULL},
    {"ledge", "Dequantize", 1, 0, 0, dequantize_infer, dequantize_prepare, dequantize_run, NULL},
    {"ledge", "QMap", 1, 0, LEDGE_OP_INPLACE, map_infer, NULL, map_run, NULL},
    {0},
};
