/* ledge.InvertedBottleneck: pointwise convolution, depthwise convolution, pointwise convolution
 * over NHWC in one go; the wide tensor between them never exists.
 *
 * Inputs: 0 X [N,H,W,C]; 1 W1 [E,C,1,1], 2 B1 [E]: the expansion (both omitted: E is C and there
 * is none); 3 Wd [E,1,kH,kW], 4 Bd [E]; 5 W2 [M,E,1,1], 6 B2 [M]; 7 R, added before the last
 * activation, or omitted. Any bias may be omitted; weights and biases are constants. Output
 * [N,OH,OW,M]. Attributes: strides and pads of the depthwise convolution; activations as in
 * ledge__fused_act, and w_scale as of ledge.Conv, with the prefixes expand_, dw_ and none. */
#include "engine/kernels/block_f32.h"
#include "engine/ops/fused/fused_act.h"
#include "engine/ops/fused/fused_weights.h"

enum { IN_X, IN_W1, IN_B1, IN_WD, IN_BD, IN_W2, IN_B2, IN_R, IN_SLOTS };

typedef struct BlockDims {
    int64_t n, h, w, c, e, m, kh, kw, oh, ow;
    int64_t strides[2], pads[4];
} BlockDims;

static LedgeStatus weights_dims(LedgeOpCtx *c, uint32_t i, const int64_t **dims)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_FLOAT));
    if (c->in[i]->rank != 4 || ledge_tensor_count(c->in[i]) <= 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u must be weights of 4 dimensions", i);
    *dims = c->in[i]->dims;
    return LEDGE_OK;
}

static LedgeStatus out_size(LedgeOpCtx *c, int64_t in, int64_t pads, int64_t k, int64_t stride,
                            int64_t *out)
{
    *out = -1;
    if (in < 0)
        return LEDGE_OK;
    if (in > INT32_MAX || k > INT32_MAX || in + pads < k)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a filter of %lld over an image of %lld",
                              (long long)k, (long long)in);
    *out = (in + pads - k) / stride + 1;
    return LEDGE_OK;
}

static LedgeStatus block_dims(LedgeOpCtx *c, BlockDims *d)
{
    const int64_t *wd = NULL, *w2 = NULL, *w1 = NULL;
    if (c->n_in != IN_SLOTS)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the node has %u input slots, must have %d",
                              c->n_in, IN_SLOTS);
    LEDGE_TRY(ledge__op_need(c, IN_X, LEDGE_FLOAT));
    LEDGE_TRY(weights_dims(c, IN_WD, &wd));
    LEDGE_TRY(weights_dims(c, IN_W2, &w2));
    if (c->in[IN_W1])
        LEDGE_TRY(weights_dims(c, IN_W1, &w1));
    LEDGE_TRY(ledge__fused_ints(c, "strides", 2, 1, 1, d->strides));
    LEDGE_TRY(ledge__fused_ints(c, "pads", 4, 0, 0, d->pads));
    const LedgeTensor *x = c->in[IN_X];
    if (x->rank >= 0 && x->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the input must have 4 dimensions");
    d->n = x->rank == 4 ? x->dims[0] : -1;
    d->h = x->rank == 4 ? x->dims[1] : -1;
    d->w = x->rank == 4 ? x->dims[2] : -1;
    d->c = x->rank == 4 ? x->dims[3] : -1;
    d->e = wd[0];
    d->m = w2[0];
    d->kh = wd[2];
    d->kw = wd[3];
    const int64_t narrow = w1 ? w1[1] : d->e;
    if (wd[1] != 1 || w2[1] != d->e || (w1 && w1[0] != d->e) || w2[2] * w2[3] != 1 ||
        (w1 && w1[2] * w1[3] != 1) || (d->c >= 0 && d->c != narrow))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the weights do not fit each other or the input");
    LEDGE_TRY(out_size(c, d->h, d->pads[0] + d->pads[2], d->kh, d->strides[0], &d->oh));
    return out_size(c, d->w, d->pads[1] + d->pads[3], d->kw, d->strides[1], &d->ow);
}

static LedgeStatus block_infer(LedgeOpCtx *c)
{
    BlockDims d;
    LEDGE_TRY(block_dims(c, &d));
    const int64_t dims[4] = {d.n, d.oh, d.ow, d.m};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 4, dims);
    return LEDGE_OK;
}

static int64_t block_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *x = ledge__op_in(c, IN_X), *y = ledge__op_out(c, 0);
    const LedgeTensor *wd = ledge__op_in(c, IN_WD), *w1 = ledge__op_in(c, IN_W1);
    if (!x || !y || !wd || x->rank != 4 || y->rank != 4 || wd->rank != 4)
        return 0;
    const int64_t e = wd->dims[0], out = y->dims[0] * y->dims[1] * y->dims[2];
    const int64_t expand = w1 ? ledge_tensor_count(x) * e : 0;
    return expand + out * e * (wd->dims[2] * wd->dims[3] + y->dims[3]);
}

typedef struct BlockState {
    LedgeBlockPlan plan;
    LedgeBlockArgs args; /* all but x, r, y and scratch */
} BlockState;

/* Packs weights (input i) and bias (i + 1) of one of the three. */
static LedgeStatus block_constants(LedgeOpCtx *c, uint32_t i, const char *scale,
                                   const LedgeConvPlan *p, LedgeConvArgs *a)
{
    const LedgeTensor *b = c->in[i + 1];
    if (b)
        LEDGE_TRY(ledge__op_need(c, i + 1, LEDGE_FLOAT));
    if (!c->in_constant[i] || (b && !c->in_constant[i + 1]))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "weights and bias must be constants");
    if (b && ledge_tensor_count(b) != (int64_t)p->s.m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "bias %u must have %zu elements", i + 1,
                              p->s.m);
    LEDGE_TRY(ledge__fused_weights(c, i, scale, p, &a->packed));
    float *bias = ledge__op_alloc(c, (p->bias_floats + 1) * sizeof(float));
    if (!bias)
        return ledge__no_memory(c->err);
    ledge__conv_f32_pack_bias(p, b ? b->data : NULL, bias);
    a->bias = bias;
    return LEDGE_OK;
}

static LedgeStatus block_residual(LedgeOpCtx *c, const BlockDims *d)
{
    const LedgeTensor *r = c->in[IN_R];
    if (!r)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
    if (r->rank != 4 || r->dims[0] != d->n || r->dims[1] != d->oh || r->dims[2] != d->ow ||
        r->dims[3] != d->m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    return LEDGE_OK;
}

static LedgeStatus block_prepare(LedgeOpCtx *c)
{
    BlockDims d;
    LEDGE_TRY(block_dims(c, &d));
    LEDGE_TRY(block_residual(c, &d));
    BlockState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    memset(s, 0, sizeof(*s));
    c->state = s;
    const LedgeConvShape dw = {
        .n = (size_t)d.n, .h = (size_t)d.h, .w = (size_t)d.w, .c = (size_t)d.e,
        .oh = (size_t)d.oh, .ow = (size_t)d.ow, .m = (size_t)d.e, .ldc = (size_t)d.e,
        .kh = (size_t)d.kh, .kw = (size_t)d.kw, .sh = (size_t)d.strides[0],
        .sw = (size_t)d.strides[1], .dh = 1, .dw = 1, .pt = (size_t)d.pads[0],
        .pl = (size_t)d.pads[1], .group = (size_t)d.e};
    if (!ledge__block_f32_plan(&dw, c->in[IN_W1] ? (size_t)d.c : 0, (size_t)d.m, c->cpu,
                               ledge__pool_threads(c->pool), &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the block is too large");
    LedgeBlockArgs *a = &s->args;
    LEDGE_TRY(ledge__fused_act_of(c, "expand_", &a->expand.act));
    LEDGE_TRY(ledge__fused_act_of(c, "dw_", &a->dw.act));
    LEDGE_TRY(ledge__fused_act(c, &a->project.act));
    if (c->in[IN_W1])
        LEDGE_TRY(block_constants(c, IN_W1, "expand_w_scale", &s->plan.expand, &a->expand));
    LEDGE_TRY(block_constants(c, IN_WD, "dw_w_scale", &s->plan.dw, &a->dw));
    LEDGE_TRY(block_constants(c, IN_W2, "w_scale", &s->plan.project, &a->project));
    const size_t zeros = (s->plan.dw.zeros_floats + 1) * sizeof(float);
    float *z = ledge__op_alloc(c, zeros);
    if (!z)
        return ledge__no_memory(c->err);
    memset(z, 0, zeros);
    a->dw.zeros = z;
    c->scratch_bytes = s->plan.scratch_bytes;
    return LEDGE_OK;
}

static LedgeStatus block_run(LedgeOpCtx *c)
{
    const BlockState *s = c->state;
    LedgeBlockArgs a = s->args;
    a.expand.x = a.dw.x = c->in[IN_X]->data;
    a.project.r = c->in[IN_R] ? c->in[IN_R]->data : NULL;
    a.project.ldr = s->plan.project.s.m;
    a.project.y = c->out[0]->data;
    a.scratch = c->scratch;
    ledge__block_f32_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_block[] = {
    {"ledge", "InvertedBottleneck", 1, 0, LEDGE_OP_ANY_ALIGN, block_infer, block_prepare, block_run,
     block_macs},
    {0},
};
