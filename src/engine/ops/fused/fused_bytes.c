/* Attributes of the operators over 8-bit numbers; see fused_bytes.h. */
#include "engine/ops/fused/fused_bytes.h"

#include <math.h>

LedgeStatus ledge__byte_attr(LedgeOpCtx *c, const char *name, int64_t absent, uint8_t *out)
{
    const int64_t v = ledge__node_int(c->node, name, absent);
    if (v < 0 || v > 255)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s is %lld, must be 0 to 255", name,
                              (long long)v);
    *out = (uint8_t)v;
    return LEDGE_OK;
}

LedgeStatus ledge__byte_scale_attr(LedgeOpCtx *c, const char *name, float *out)
{
    const float v = ledge__node_float(c->node, name, NAN);
    if (!(v > 0.0f && v <= 1e30f)) /* so that no sum of products is NaN */
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s must be above 0 and at most 1e30", name);
    *out = v;
    return LEDGE_OK;
}

LedgeStatus ledge__byte_result_attrs(LedgeOpCtx *c, int32_t *y_zero, uint8_t *lo, uint8_t *hi)
{
    uint8_t zero = 0;
    LEDGE_TRY(ledge__byte_attr(c, "y_zero", 0, &zero));
    LEDGE_TRY(ledge__byte_attr(c, "lo", 0, lo));
    LEDGE_TRY(ledge__byte_attr(c, "hi", 255, hi));
    if (*lo > *hi)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "lo is %d, above hi, %d", *lo, *hi);
    *y_zero = zero;
    return LEDGE_OK;
}

LedgeStatus ledge__byte_need(LedgeOpCtx *c, uint32_t i)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    const LedgeType t = c->in[i]->type;
    if (t != LEDGE_UINT8 && t != LEDGE_INT8 && t != LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be uint8 or int8", i,
                              ledge_type_name(t));
    return LEDGE_OK;
}

LedgeStatus ledge__byte_type_attr(LedgeOpCtx *c, LedgeType absent, LedgeType *out)
{
    const int64_t to = ledge__node_int(c->node, "to", absent);
    if (to != LEDGE_UINT8 && to != LEDGE_INT8)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "to is %lld, must be %d (uint8) or %d (int8)",
                              (long long)to, LEDGE_UINT8, LEDGE_INT8);
    *out = (LedgeType)to;
    return LEDGE_OK;
}

static void strides_of(const LedgeTensor *t, const LedgeTensor *y, size_t *stride)
{
    size_t next = 1;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
        const int32_t own = d - (y->rank - t->rank);
        const size_t n = own < 0 ? 1 : (size_t)t->dims[own];
        stride[d] = n == 1 ? 0 : next;
        next *= n;
    }
}

void ledge__byte_pair_shape(const LedgeTensor *a, const LedgeTensor *b, const LedgeTensor *y,
                            LedgeBytePair *out)
{
    out->rank = y->rank;
    for (int32_t d = 0; d < y->rank; d++)
        out->dims[d] = (size_t)y->dims[d];
    strides_of(a, y, out->a_stride);
    strides_of(b, y, out->b_stride);
}

LedgePoolWindow ledge__byte_pool_window(const LedgeWindow *w, const int64_t *dims, bool count_pad)
{
    const int v = w->nd - 1;
#define OF(field, absent) (v == 0 ? (absent) : (size_t)w->field[0])
    const LedgePoolWindow p = {.batch = (size_t)dims[0],
                               .channels = (size_t)dims[1],
                               .h = v == 0 ? 1 : (size_t)dims[2],
                               .w = (size_t)dims[2 + v],
                               .out_h = OF(out, 1),
                               .out_w = (size_t)w->out[v],
                               .kernel_h = OF(kernel, 1),
                               .kernel_w = (size_t)w->kernel[v],
                               .stride_h = OF(stride, 1),
                               .stride_w = (size_t)w->stride[v],
                               .dilation_h = OF(dilation, 1),
                               .dilation_w = (size_t)w->dilation[v],
                               .pad_top = OF(pad, 0),
                               .pad_left = (size_t)w->pad[v],
                               .pad_bottom = OF(pad_end, 0),
                               .pad_right = (size_t)w->pad_end[v],
                               .count_pad = count_pad};
#undef OF
    return p;
}
