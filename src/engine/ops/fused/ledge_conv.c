/* ledge.Conv: convolution over NHWC with everything fused that follows it.
 *
 * Inputs: 0 X [N,H,W,C]; 1 W [M, C/group, kH, kW], ONNX's order; 2 B [M] or omitted; 3 R, added
 * before the activation, [N,OH,OW,M], or omitted; 4 dest or omitted. Output Y [N,OH,OW,M].
 * Attributes: strides, dilations, pads [top, left, bottom, right] or auto_pad, group, and those
 * of ledge__fused_act; w_scale: M factors, one for each output channel of W, so that a folded
 * scale need not copy the weights before they are packed. With out_channels and out_offset the
 * output has out_channels channels and this node writes only those from out_offset on; dest is
 * the same tensor with the others already in it, so that several convolutions write one
 * concatenation in place. x_layout="nchw": X is [N,C,H,W], with group 1. kept_rows: see
 * fused_weights.h. The node has five slots whether or not they are used, since dest must
 * be the last. */
#include "engine/kernels/conv_f32.h"
#include "engine/ops/fused/conv_dims.h"
#include "engine/ops/fused/fused_act.h"
#include "engine/ops/fused/fused_weights.h"

enum { IN_X, IN_W, IN_B, IN_R, IN_DEST, IN_SLOTS };

static LedgeStatus conv_dims(LedgeOpCtx *c, LedgeConvDims *d)
{
    if (c->n_in != IN_SLOTS)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the node has %u input slots, must have %d",
                              c->n_in, IN_SLOTS);
    return ledge__conv_dims(c, LEDGE_FLOAT, LEDGE_FLOAT, d);
}

static LedgeStatus conv_infer(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    const int64_t dims[4] = {d.n, d.oh, d.ow, d.channels};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 4, dims);
    return LEDGE_OK;
}

typedef struct ConvState {
    LedgeConvPlan plan;
    LedgeAct act;
    const float *packed, *bias; /* NULL: made at each run from inputs that are not constant */
    float *zeros;
    size_t packed_at, bias_at;  /* then here in scratch */
    size_t offset, r_offset, ldr;
} ConvState;

static LedgeStatus conv_residual(LedgeOpCtx *c, const LedgeConvDims *d, ConvState *s)
{
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    if (!r)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
    return ledge__conv_residual(c, d, r, &s->ldr, &s->r_offset);
}

/* Weights and bias: packed now where they are constant, else room for them in scratch. */
static LedgeStatus conv_constants(LedgeOpCtx *c, ConvState *s)
{
    const LedgeConvPlan *p = &s->plan;
    size_t scratch = p->scratch_bytes;
    const LedgeTensor *b = ledge__op_in(c, IN_B);
    if (c->in_constant[IN_W]) {
        LEDGE_TRY(ledge__fused_weights(c, IN_W, "w_scale", p, &s->packed));
    } else {
        s->packed_at = scratch;
        scratch += ledge__round_up(p->packed_floats * sizeof(float), LEDGE_ALIGN);
    }
    if (!b || c->in_constant[IN_B]) {
        float *bias = ledge__op_alloc(c, (p->bias_floats + 1) * sizeof(float));
        if (!bias)
            return ledge__no_memory(c->err);
        ledge__conv_f32_pack_bias(p, b ? b->data : NULL, bias);
        s->bias = bias;
    } else {
        s->bias_at = scratch;
        scratch += ledge__round_up(p->bias_floats * sizeof(float), LEDGE_ALIGN);
    }
    c->scratch_bytes = scratch;
    return LEDGE_OK;
}

static LedgeStatus conv_prepare(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    const LedgeTensor *b = ledge__op_in(c, IN_B);
    if (b)
        LEDGE_TRY(ledge__op_need(c, IN_B, LEDGE_FLOAT));
    if (b && ledge_tensor_count(b) != d.m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the bias must have %lld elements",
                              (long long)d.m);
    LedgeConvShape shape = ledge__conv_shape(&d);
    ConvState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (ConvState){.offset = (size_t)d.offset, .ldr = (size_t)d.m};
    c->state = s;
    LEDGE_TRY(ledge__fused_act(c, &s->act));
    LEDGE_TRY(conv_residual(c, &d, s));
    if (ledge__node_attr(c->node, "w_scale") && !c->in_constant[IN_W])
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "w_scale needs constant weights");
    LEDGE_TRY(ledge__fused_strips(c, IN_W, &shape));
    if (!ledge__conv_f32_plan(&shape, c->cpu, ledge__pool_threads(c->pool), LEDGE_CONV_PATHS,
                              &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the convolution is too large");
    const size_t zeros = (s->plan.zeros_floats + 1) * sizeof(float);
    s->zeros = ledge__op_alloc(c, zeros);
    if (!s->zeros)
        return ledge__no_memory(c->err);
    memset(s->zeros, 0, zeros);
    return conv_constants(c, s);
}

static LedgeStatus conv_run(LedgeOpCtx *c)
{
    const ConvState *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R), *b = ledge__op_in(c, IN_B);
    char *scratch = c->scratch;
    LedgeConvArgs a = {.x = c->in[IN_X]->data,
                       .packed = s->packed,
                       .bias = s->bias,
                       .zeros = s->zeros,
                       .r = r ? (const float *)r->data + s->r_offset : NULL,
                       .ldr = s->ldr,
                       .y = (float *)c->out[0]->data + s->offset,
                       .act = s->act,
                       .scratch = scratch};
    if (!s->packed) {
        float *to = (float *)(void *)(scratch + s->packed_at);
        ledge__conv_f32_pack(&s->plan, c->in[IN_W]->data, NULL, to);
        a.packed = to;
    }
    if (!s->bias) {
        float *to = (float *)(void *)(scratch + s->bias_at);
        ledge__conv_f32_pack_bias(&s->plan, b->data, to);
        a.bias = to;
    }
    ledge__conv_f32_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_conv[] = {
    {"ledge", "Conv", 1, 0, LEDGE_OP_ANY_ALIGN | LEDGE_OP_INPLACE_LAST, conv_infer, conv_prepare,
     conv_run, ledge__conv_macs},
    {0},
};
