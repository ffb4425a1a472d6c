/* ledge.QConv: convolution over NHWC in 8 bits, with everything fused that follows it.
 *
 * Inputs: 0 X uint8 [N,H,W,C]; 1 W int8 [M, C/group, kH, kW], ONNX's order; 2 B int32 [M] or
 * omitted; 3 scale float [M] or [1], x's times w's over y's; 4 R uint8, summed after requantising,
 * [N,OH,OW,M], or omitted; 5 dest or omitted. Output uint8 [N,OH,OW,M], or float with to_float
 * (R is then float too). Attributes: those of ledge.Conv for shapes (strides, dilations, pads,
 * auto_pad, group, out_channels, out_offset), x_zero, w_zero (one or M), y_zero, y_lo, y_hi;
 * small_sums (weights for which ledge__conv_q8_wino_exact holds); with R y_scale, r_scale (each
 * over z's), r_zero, z_zero, z_lo, z_hi; with to_float those of ledge__fused_act. See
 * kernels/q8.h for the arithmetic. The node has six slots whether or not they are used, since dest
 * must be the last. */
#include "engine/ops/fused/conv_dims.h"
#include "engine/ops/fused/fused_q8.h"

enum { IN_X, IN_W, IN_B, IN_SCALE, IN_R, IN_DEST, IN_SLOTS };

static LedgeType out_type(const LedgeOpCtx *c)
{
    return ledge__node_int(c->node, "to_float", 0) != 0 ? LEDGE_FLOAT : LEDGE_UINT8;
}

static LedgeStatus qconv_dims(LedgeOpCtx *c, LedgeConvDims *d)
{
    if (c->n_in != IN_SLOTS)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the node has %u input slots, must have %d",
                              c->n_in, IN_SLOTS);
    return ledge__conv_dims(c, LEDGE_UINT8, LEDGE_INT8, d);
}

static LedgeStatus qconv_infer(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(qconv_dims(c, &d));
    const int64_t dims[4] = {d.n, d.oh, d.ow, d.channels};
    ledge__op_set_out(c, 0, out_type(c), 4, dims);
    return LEDGE_OK;
}

typedef struct QConvState {
    LedgeFusedQ8 f;
    size_t offset, r_offset, ldr;
} QConvState;

static LedgeConvPath choose(const LedgeOpCtx *c, const LedgeConvShape *s, const QConvState *q)
{
    if (s->group == s->c && s->c == s->m && s->c > 1)
        return LEDGE_CONV_DEPTHWISE;
    const bool fixed = c->in_constant[IN_W] && c->in_constant[IN_SCALE] &&
                       (!ledge__op_in(c, IN_B) || c->in_constant[IN_B]);
    const bool exact = ledge__node_int(c->node, "small_sums", 0) != 0 && !q->f.w_zero;
    return fixed && exact && ledge__conv_q8_wino_pays(s, c->cpu) ? LEDGE_CONV_WINOGRAD
                                                                 : LEDGE_CONV_PATHS;
}

static LedgeStatus qconv_prepare(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(qconv_dims(c, &d));
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    QConvState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (QConvState){.offset = (size_t)d.offset,
                      .f = {.in_w = IN_W, .in_bias = IN_B, .in_scale = IN_SCALE}};
    c->state = s;
    LEDGE_TRY(ledge__fused_q8_attrs(c, "x_zero", "w_zero", r != NULL, &s->f));
    if (r) {
        LEDGE_TRY(ledge__op_need(c, IN_R, out_type(c)));
        LEDGE_TRY(ledge__conv_residual(c, &d, r, &s->ldr, &s->r_offset));
    }
    const LedgeConvShape shape = ledge__conv_shape(&d);
    if (!ledge__conv_q8_plan(&shape, c->cpu, ledge__pool_threads(c->pool), choose(c, &shape, s),
                             s->f.w_zero != NULL, &s->f.plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the convolution is too large");
    return ledge__fused_q8_prepare(c, &s->f, false);
}

static LedgeStatus qconv_run(LedgeOpCtx *c)
{
    QConvState *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    const size_t element = s->f.out.kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    LedgeConvQ8Args a;
    LEDGE_TRY(ledge__fused_q8_args(c, &s->f, c->in[IN_W]->data, &a));
    a.x = c->in[IN_X]->data;
    a.r = r ? (const char *)r->data + s->r_offset * element : NULL;
    a.ldr = s->ldr;
    a.y = (char *)c->out[0]->data + s->offset * element;
    ledge__conv_q8_run(&s->f.plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_qconv[] = {
    {"ledge", "QConv", 1, 0, LEDGE_OP_ANY_ALIGN | LEDGE_OP_INPLACE_LAST, qconv_infer,
     qconv_prepare, qconv_run, ledge__conv_macs},
    {0},
};
