/* See conv_dims.h. */
#include "engine/ops/fused/conv_dims.h"

#include "engine/ops/fused/fused_act.h"

enum { IN_X, IN_W };

/* pads from auto_pad in direction i (0: rows, 1: columns), as ONNX defines it. */
static void auto_pads(const char *mode, LedgeConvDims *d, int i)
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

static LedgeStatus conv_channels(LedgeOpCtx *c, const LedgeTensor *w, LedgeConvDims *d)
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

LedgeStatus ledge__conv_dims(LedgeOpCtx *c, LedgeType x_type, LedgeType w_type, LedgeConvDims *d)
{
    LEDGE_TRY(ledge__op_need(c, IN_X, x_type));
    LEDGE_TRY(ledge__op_need(c, IN_W, w_type));
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
    if (d->planes && (d->group != 1 || x_type != LEDGE_FLOAT))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "NCHW input of %s in %lld groups",
                              ledge_type_name(x_type), (long long)d->group);
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

LedgeConvShape ledge__conv_shape(const LedgeConvDims *d)
{
    return (LedgeConvShape){
        .n = (size_t)d->n, .h = (size_t)d->h, .w = (size_t)d->w, .c = (size_t)d->c,
        .oh = (size_t)d->oh, .ow = (size_t)d->ow, .m = (size_t)d->m, .ldc = (size_t)d->channels,
        .kh = (size_t)d->kh, .kw = (size_t)d->kw, .sh = (size_t)d->strides[0],
        .sw = (size_t)d->strides[1], .dh = (size_t)d->dilations[0], .dw = (size_t)d->dilations[1],
        .pt = (size_t)d->pads[0], .pl = (size_t)d->pads[1], .group = (size_t)d->group,
        .planes = d->planes};
}

LedgeStatus ledge__conv_residual(LedgeOpCtx *c, const LedgeConvDims *d, const LedgeTensor *r,
                                 size_t *ldr, size_t *offset)
{
    const int64_t last = r->rank == 4 ? r->dims[3] : -1;
    if (r->rank != 4 || r->dims[0] != d->n || r->dims[1] != d->oh || r->dims[2] != d->ow ||
        (last != d->m && last != d->channels))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    *ldr = (size_t)last;
    *offset = last == d->m ? 0 : (size_t)d->offset;
    return LEDGE_OK;
}

int64_t ledge__conv_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *w = ledge__op_in(c, IN_W);
    if (!y || !w || y->rank != 4 || w->rank != 4)
        return 0;
    const int64_t pixels = y->dims[0] * y->dims[1] * y->dims[2];
    return pixels * w->dims[0] * w->dims[1] * w->dims[2] * w->dims[3];
}
