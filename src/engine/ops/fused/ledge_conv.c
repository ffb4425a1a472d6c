/* ledge.Conv: convolution over NHWC with everything fused that follows it.
 *
 * Inputs: 0 X [N,H,W,C]; 1 W [M, C/group, kH, kW], ONNX's order; 2 B [M] or omitted; 3 R, added
 * before the activation, [N,OH,OW,M], or omitted; 4 dest or omitted. Output Y [N,OH,OW,M].
 * Attributes: strides, dilations, pads [top, left, bottom, right] or auto_pad, group, and those
 * of ledge__fused_act; w_scale: M factors, one for each output channel of W, so that a folded
 * scale need not copy the weights before they are packed. With out_channels and out_offset the
 * output has out_channels channels and this node writes only those from out_offset on; dest is
 * the same tensor with the others already in it, so that several convolutions write one
 * concatenation in place. x_layout="nchw": X is [N,C,H,W], with group 1. The node has five slots whether or not they are used, since dest must
 * be the last. */
#include "engine/kernels/conv_f32.h"
#include "engine/ops/fused/fused_act.h"
#include "engine/ops/fused/fused_weights.h"

enum { IN_X, IN_W, IN_B, IN_R, IN_DEST, IN_SLOTS };

typedef struct ConvDims {
    int64_t strides[2], dilations[2], pads[4], group;
    int64_t n, h, w, c, m, kh, kw, oh, ow; /* -1: not known yet */
    int64_t channels, offset;              /* of the output */
    bool planes;                           /* X is NCHW */
} ConvDims;

/* pads from auto_pad in direction i (0: rows, 1: columns), as ONNX defines it. */
static void auto_pads(const char *mode, ConvDims *d, int i)
{
    const int64_t in = i ? d->w : d->h, k = i ? d->kw : d->kh;
    if (strncmp(mode, "SAME_", 5) != 0 || in < 0 || k < 1)
        return;
    const int64_t out = (in + d->strides[i] - 1) / d->strides[i];
    int64_t total = (out - 1) * d->strides[i] + d->dilations[i] * (k - 1) + 1 - in;
    total = total > 0 ? total : 0;
    const int64_t less = total / 2;
    d->pads[i] = strcmp(mode, "SAME_LOWER") == 0 ? total - less : less;
    d->pads[2 + i] = total - d->pads[i];
}

/* Output size of one direction; -1 when the input's is not known. */
static LedgeStatus conv_size(LedgeOpCtx *c, int64_t in, int64_t pads, int64_t k, int64_t dilation,
                             int64_t stride, int64_t *out)
{
    *out = -1;
    if (in < 0 || k < 0)
        return LEDGE_OK;
    if (k < 1 || k > INT32_MAX || in > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a filter of size %lld over an image of %lld",
                              (long long)k, (long long)in);
    const int64_t covered = dilation * (k - 1) + 1, padded = in + pads;
    if (padded < covered)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the filter covers %lld pixels, the padded image has %lld",
                              (long long)covered, (long long)padded);
    *out = (padded - covered) / stride + 1;
    return LEDGE_OK;
}

static LedgeStatus conv_channels(LedgeOpCtx *c, const LedgeTensor *w, ConvDims *d)
{
    if (d->m >= 0 && d->m % d->group != 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%lld output channels in %lld groups",
                              (long long)d->m, (long long)d->group);
    if (d->c >= 0 && w->rank == 4 && w->dims[1] >= 0 && d->c != w->dims[1] * d->group)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the input has %lld channels, the weights are for %lld",
                              (long long)d->c, (long long)(w->dims[1] * d->group));
    if (d->channels >= 0 && d->m >= 0 && (d->offset < 0 || d->offset > d->channels - d->m))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "%lld channels from %lld on do not fit into %lld",
                              (long long)d->m, (long long)d->offset, (long long)d->channels);
    return LEDGE_OK;
}

static LedgeStatus conv_dims(LedgeOpCtx *c, ConvDims *d)
{
    if (c->n_in != IN_SLOTS)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the node has %u input slots, must have %d",
                              c->n_in, IN_SLOTS);
    LEDGE_TRY(ledge__op_need(c, IN_X, LEDGE_FLOAT));
    LEDGE_TRY(ledge__op_need(c, IN_W, LEDGE_FLOAT));
    const LedgeTensor *x = c->in[IN_X], *w = c->in[IN_W];
    if ((x->rank >= 0 && x->rank != 4) || (w->rank >= 0 && w->rank != 4))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input and weights must have 4 dimensions");
    LEDGE_TRY(ledge__fused_ints(c, "strides", 2, 1, 1, d->strides));
    LEDGE_TRY(ledge__fused_ints(c, "dilations", 2, 1, 1, d->dilations));
    LEDGE_TRY(ledge__fused_ints(c, "pads", 4, 0, 0, d->pads));
    d->group = ledge__node_int(c->node, "group", 1);
    if (d->group < 1)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute group is %lld",
                              (long long)d->group);
    d->planes = strcmp(ledge__node_string(c->node, "x_layout", ""), "nchw") == 0;
    if (d->planes && d->group != 1)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "NCHW input in %lld groups",
                              (long long)d->group);
    d->n = x->rank == 4 ? x->dims[0] : -1;
    d->h = x->rank == 4 ? x->dims[d->planes ? 2 : 1] : -1;
    d->w = x->rank == 4 ? x->dims[d->planes ? 3 : 2] : -1;
    d->c = x->rank == 4 ? x->dims[d->planes ? 1 : 3] : -1;
    d->m = w->rank == 4 ? w->dims[0] : -1;
    d->kh = w->rank == 4 ? w->dims[2] : -1;
    d->kw = w->rank == 4 ? w->dims[3] : -1;
    d->channels = ledge__node_int(c->node, "out_channels", d->m);
    d->offset = ledge__node_int(c->node, "out_offset", 0);
    LEDGE_TRY(conv_channels(c, w, d));
    const char *mode = ledge__node_string(c->node, "auto_pad", "NOTSET");
    auto_pads(mode, d, 0);
    auto_pads(mode, d, 1);
    LEDGE_TRY(conv_size(c, d->h, d->pads[0] + d->pads[2], d->kh, d->dilations[0], d->strides[0],
                        &d->oh));
    return conv_size(c, d->w, d->pads[1] + d->pads[3], d->kw, d->dilations[1], d->strides[1],
                     &d->ow);
}

static LedgeStatus conv_infer(LedgeOpCtx *c)
{
    ConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    const int64_t dims[4] = {d.n, d.oh, d.ow, d.channels};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 4, dims);
    return LEDGE_OK;
}

static int64_t conv_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *w = ledge__op_in(c, IN_W);
    if (!y || !w || y->rank != 4 || w->rank != 4)
        return 0;
    const int64_t pixels = y->dims[0] * y->dims[1] * y->dims[2];
    return pixels * w->dims[0] * w->dims[1] * w->dims[2] * w->dims[3];
}

typedef struct ConvState {
    LedgeConvPlan plan;
    LedgeAct act;
    const float *packed, *bias; /* NULL: made at each run from inputs that are not constant */
    float *zeros;
    size_t packed_at, bias_at;  /* then here in scratch */
    size_t offset, r_offset, ldr;
} ConvState;

static LedgeStatus conv_residual(LedgeOpCtx *c, const ConvDims *d, ConvState *s)
{
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    if (!r)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
    const int64_t last = r->rank == 4 ? r->dims[3] : -1;
    if (r->rank != 4 || r->dims[0] != d->n || r->dims[1] != d->oh || r->dims[2] != d->ow ||
        (last != d->m && last != d->channels))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    s->ldr = (size_t)last;
    s->r_offset = last == d->m ? 0 : (size_t)d->offset;
    return LEDGE_OK;
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
    ConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    const LedgeTensor *b = ledge__op_in(c, IN_B);
    if (b)
        LEDGE_TRY(ledge__op_need(c, IN_B, LEDGE_FLOAT));
    if (b && ledge_tensor_count(b) != d.m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the bias must have %lld elements",
                              (long long)d.m);
    const LedgeConvShape shape = {
        .n = (size_t)d.n, .h = (size_t)d.h, .w = (size_t)d.w, .c = (size_t)d.c,
        .oh = (size_t)d.oh, .ow = (size_t)d.ow, .m = (size_t)d.m, .ldc = (size_t)d.channels,
        .kh = (size_t)d.kh, .kw = (size_t)d.kw, .sh = (size_t)d.strides[0],
        .sw = (size_t)d.strides[1], .dh = (size_t)d.dilations[0], .dw = (size_t)d.dilations[1],
        .pt = (size_t)d.pads[0], .pl = (size_t)d.pads[1], .group = (size_t)d.group,
        .planes = d.planes};
    ConvState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (ConvState){.offset = (size_t)d.offset, .ldr = (size_t)d.m};
    c->state = s;
    LEDGE_TRY(ledge__fused_act(c, &s->act));
    LEDGE_TRY(conv_residual(c, &d, s));
    if (ledge__node_attr(c->node, "w_scale") && !c->in_constant[IN_W])
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "w_scale needs constant weights");
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
     conv_run, conv_macs},
    {0},
};
