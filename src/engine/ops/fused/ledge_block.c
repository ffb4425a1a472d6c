/* ledge.InvertedBottleneck and ledge.QInvertedBottleneck: pointwise convolution, depthwise
 * convolution, pointwise convolution over NHWC in one go; the wide tensor between them never
 * exists.
 *
 * Inputs: 0 X [N,H,W,C]; 1 W1 [E,C,1,1], 2 B1 [E]: the expansion (all omitted: E is C and there
 * is none); 3 Wd [E,1,kH,kW], 4 Bd [E]; 5 W2 [M,E,1,1], 6 B2 [M]; 7 R, added before the last
 * activation, or omitted. Any bias may be omitted; all weights and biases are constants. Output
 * [N,OH,OW,M]. Attributes: strides and pads of the depthwise convolution; activations as in
 * ledge__fused_act, and w_scale as of ledge.Conv, with the prefixes expand_, dw_ and none.
 *
 * In 8 bits a scale follows each bias, so that R is input 10; types, scales and attributes (with
 * the same prefixes) are those of ledge.QConv. */
#include "engine/kernels/block_f32.h"
#include "engine/kernels/block_q8.h"
#include "engine/ops/fused/fused_act.h"
#include "engine/ops/fused/fused_q8.h"
#include "engine/ops/fused/fused_weights.h"

enum { IN_X, EXPAND = 0, DW, PROJECT, CONVS };

/* Of which inputs and types the operator is. */
typedef struct BlockForm {
    uint32_t each; /* inputs of a convolution: weights, bias and, in 8 bits, scale */
    LedgeType x, w, y;
} BlockForm;

static BlockForm form_of(const LedgeOpCtx *c)
{
    if (c->node->op_type[0] != 'Q')
        return (BlockForm){2, LEDGE_FLOAT, LEDGE_FLOAT, LEDGE_FLOAT};
    const bool to_float = ledge__node_int(c->node, "to_float", 0) != 0;
    return (BlockForm){3, LEDGE_UINT8, LEDGE_INT8, to_float ? LEDGE_FLOAT : LEDGE_UINT8};
}

/* Input index of a convolution's weights; of CONVS: of R. */
static uint32_t slot(const LedgeOpCtx *c, uint32_t conv)
{
    return 1 + conv * form_of(c).each;
}

typedef struct BlockDims {
    int64_t n, h, w, c, e, m, kh, kw, oh, ow;
    int64_t strides[2], pads[4];
} BlockDims;

static LedgeStatus weights_dims(LedgeOpCtx *c, uint32_t conv, const int64_t **dims)
{
    const uint32_t i = slot(c, conv);
    LEDGE_TRY(ledge__op_need(c, i, form_of(c).w));
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
    const uint32_t slots = slot(c, CONVS) + 1;
    if (c->n_in != slots)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the node has %u input slots, must have %u",
                              c->n_in, slots);
    LEDGE_TRY(ledge__op_need(c, IN_X, form_of(c).x));
    LEDGE_TRY(weights_dims(c, DW, &wd));
    LEDGE_TRY(weights_dims(c, PROJECT, &w2));
    if (c->in[slot(c, EXPAND)])
        LEDGE_TRY(weights_dims(c, EXPAND, &w1));
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
    ledge__op_set_out(c, 0, form_of(c).y, 4, dims);
    return LEDGE_OK;
}

static int64_t block_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *x = ledge__op_in(c, IN_X), *y = ledge__op_out(c, 0);
    const LedgeTensor *wd = ledge__op_in(c, slot(c, DW)), *w1 = ledge__op_in(c, slot(c, EXPAND));
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

/* Packs weights and bias of one of the three. */
static LedgeStatus block_constants(LedgeOpCtx *c, uint32_t conv, const char *scale,
                                   const LedgeConvPlan *p, LedgeConvArgs *a)
{
    const uint32_t i = slot(c, conv);
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
    const LedgeTensor *r = c->in[slot(c, CONVS)];
    if (!r)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, slot(c, CONVS), form_of(c).y));
    if (r->rank != 4 || r->dims[0] != d->n || r->dims[1] != d->oh || r->dims[2] != d->ow ||
        r->dims[3] != d->m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    return LEDGE_OK;
}

/* The depthwise convolution. */
static LedgeConvShape dw_shape(const BlockDims *d)
{
    return (LedgeConvShape){
        .n = (size_t)d->n, .h = (size_t)d->h, .w = (size_t)d->w, .c = (size_t)d->e,
        .oh = (size_t)d->oh, .ow = (size_t)d->ow, .m = (size_t)d->e, .ldc = (size_t)d->e,
        .kh = (size_t)d->kh, .kw = (size_t)d->kw, .sh = (size_t)d->strides[0],
        .sw = (size_t)d->strides[1], .dh = 1, .dw = 1, .pt = (size_t)d->pads[0],
        .pl = (size_t)d->pads[1], .group = (size_t)d->e};
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
    const LedgeConvShape dw = dw_shape(&d);
    const bool expands = c->in[slot(c, EXPAND)] != NULL;
    if (!ledge__block_f32_plan(&dw, expands ? (size_t)d.c : 0, (size_t)d.m, c->cpu,
                               ledge__pool_threads(c->pool), &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the block is too large");
    LedgeBlockArgs *a = &s->args;
    LEDGE_TRY(ledge__fused_act_of(c, "expand_", &a->expand.act));
    LEDGE_TRY(ledge__fused_act_of(c, "dw_", &a->dw.act));
    LEDGE_TRY(ledge__fused_act(c, &a->project.act));
    if (expands)
        LEDGE_TRY(block_constants(c, EXPAND, "expand_w_scale", &s->plan.expand, &a->expand));
    LEDGE_TRY(block_constants(c, DW, "dw_w_scale", &s->plan.dw, &a->dw));
    LEDGE_TRY(block_constants(c, PROJECT, "w_scale", &s->plan.project, &a->project));
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
    a.project.r = c->in[slot(c, CONVS)] ? c->in[slot(c, CONVS)]->data : NULL;
    a.project.ldr = s->plan.project.s.m;
    a.project.y = c->out[0]->data;
    a.scratch = c->scratch;
    ledge__block_f32_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

/* ---- in 8 bits ---- */

typedef struct QBlockState {
    LedgeFusedQ8 f[CONVS]; /* of EXPAND nothing but where there is one */
    LedgeBlockQ8Plan plan;
} QBlockState;

/* One of the three. */
static LedgeStatus qblock_conv(LedgeOpCtx *c, uint32_t conv, const LedgeConvShape *shape,
                               LedgeFusedQ8 *f)
{
    static const char *const prefix[CONVS] = {"expand_", "dw_", NULL};
    const uint32_t i = slot(c, conv);
    *f = (LedgeFusedQ8){.prefix = prefix[conv], .in_w = i, .in_bias = i + 1, .in_scale = i + 2};
    LEDGE_TRY(ledge__fused_q8_attrs(c, "x_zero", "w_zero",
                                    conv == PROJECT && c->in[slot(c, CONVS)], f));
    if (conv != PROJECT && f->out.kind != LEDGE_Q8_BYTES)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "only the last convolution may give floats");
    if (!ledge__conv_q8_plan(shape, c->cpu, 1,
                             conv == DW ? LEDGE_CONV_DEPTHWISE : LEDGE_CONV_POINTWISE,
                             f->w_zero != NULL, &f->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the block is too large");
    LEDGE_TRY(ledge__fused_q8_prepare(c, f, false));
    if (!f->fixed)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "weights and bias must be constants");
    return LEDGE_OK;
}

static LedgeConvShape pointwise(int64_t n, int64_t h, int64_t w, int64_t c, int64_t m)
{
    return (LedgeConvShape){.n = (size_t)n, .h = (size_t)h, .w = (size_t)w, .c = (size_t)c,
                            .oh = (size_t)h, .ow = (size_t)w, .m = (size_t)m, .ldc = (size_t)m,
                            .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .group = 1};
}

static LedgeStatus qblock_prepare(LedgeOpCtx *c)
{
    BlockDims d;
    LEDGE_TRY(block_dims(c, &d));
    LEDGE_TRY(block_residual(c, &d));
    QBlockState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    c->state = s;
    const bool expands = c->in[slot(c, EXPAND)] != NULL;
    const LedgeConvShape shapes[CONVS] = {pointwise(d.n, d.h, d.w, d.c, d.e), dw_shape(&d),
                                          pointwise(d.n, d.oh, d.ow, d.e, d.m)};
    for (uint32_t i = expands ? EXPAND : DW; i < CONVS; i++)
        LEDGE_TRY(qblock_conv(c, i, &shapes[i], &s->f[i]));
    if (!ledge__block_q8_plan(expands ? &s->f[EXPAND].plan : NULL, &s->f[DW].plan,
                              &s->f[PROJECT].plan, ledge__pool_threads(c->pool), &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the block is too large");
    c->scratch_bytes = s->plan.scratch_bytes;
    return LEDGE_OK;
}

static LedgeStatus qblock_run(LedgeOpCtx *c)
{
    QBlockState *s = c->state;
    const LedgeTensor *r = c->in[slot(c, CONVS)];
    LedgeBlockQ8Args a = {.scratch = c->scratch};
    if (s->plan.expand)
        LEDGE_TRY(ledge__fused_q8_args(c, &s->f[EXPAND], NULL, &a.expand));
    LEDGE_TRY(ledge__fused_q8_args(c, &s->f[DW], NULL, &a.dw));
    LEDGE_TRY(ledge__fused_q8_args(c, &s->f[PROJECT], NULL, &a.project));
    a.expand.x = a.dw.x = c->in[IN_X]->data;
    a.project.r = r ? r->data : NULL;
    a.project.ldr = s->plan.project->s.m;
    a.project.y = c->out[0]->data;
    ledge__block_q8_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_block[] = {
    {"ledge", "InvertedBottleneck", 1, 0, LEDGE_OP_ANY_ALIGN, block_infer, block_prepare, block_run,
     block_macs},
    {"ledge", "QInvertedBottleneck", 1, 0, LEDGE_OP_ANY_ALIGN, block_infer, qblock_prepare,
     qblock_run, block_macs},
    {0},
};
