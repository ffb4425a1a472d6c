/* ConvTranspose (ONNX 1, 11, 22) and DeformConv (19, 22). */
#include "engine/ops/nn/nn.h"

/* ---- ConvTranspose ---- */

/* Pads and output size of one dimension; see the operator's text for output_shape. */
static LedgeStatus transposed_size(LedgeOpCtx *c, LedgeWindow *w, int d, NnAutoPad mode,
                                   int64_t extra, int64_t wanted)
{
    int64_t eff = (w->kernel[d] - 1) * w->dilation[d] + 1, full;
    if (w->in[d] < 0 || w->kernel[d] < 0) {
        w->out[d] = wanted;
        return LEDGE_OK;
    }
    if (w->in[d] == 0 || w->in[d] > INT64_MAX / 4 / w->stride[d])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input dimension %lld is not usable",
                              (long long)w->in[d]);
    full = (w->in[d] - 1) * w->stride[d] + eff + extra;
    if (wanted < 0 && (mode == NN_PAD_UPPER || mode == NN_PAD_LOWER))
        wanted = w->in[d] * w->stride[d];
    if (wanted >= 0) {
        int64_t total = full - wanted;
        total = total < 0 ? 0 : total;
        w->pad[d] = mode == NN_PAD_LOWER ? total - total / 2 : total / 2;
        /* With output_shape and no auto_pad, the larger half is at the beginning. */
        if (mode != NN_PAD_UPPER)
            w->pad[d] = total - total / 2;
        w->pad_end[d] = total - w->pad[d];
        w->out[d] = wanted;
    } else {
        w->out[d] = full - w->pad[d] - w->pad_end[d];
    }
    if (w->out[d] <= 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "pads leave an output of %lld in spatial dimension %d",
                              (long long)w->out[d], d);
    return LEDGE_OK;
}

static LedgeStatus transposed_window(LedgeOpCtx *c, const LedgeTensor *x, const LedgeTensor *wt,
                                     LedgeWindow *w)
{
    int nd = x->rank - 2;
    int64_t pads[2 * NN_MAX_SPATIAL], extra[NN_MAX_SPATIAL], wanted[2 + NN_MAX_SPATIAL];
    NnAutoPad mode;
    size_t n;
    LEDGE_TRY(ledge__nn_window_attrs(c, nd, wt->dims + 2, w));
    LEDGE_TRY(ledge__nn_auto_pad(c, &mode));
    LEDGE_TRY(ledge__nn_ints(c, "pads", 2 * nd, 0, 0, pads));
    LEDGE_TRY(ledge__nn_ints(c, "output_padding", nd, 0, 0, extra));
    /* Some exporters write batch and channels into output_shape too. */
    ledge__node_ints(c->node, "output_shape", &n);
    int skip = n == (size_t)nd + 2 ? 2 : 0;
    LEDGE_TRY(ledge__nn_ints(c, "output_shape", nd + skip, 1, -1, wanted));
    for (int d = 0; d < nd; d++) {
        w->in[d] = x->dims[2 + d];
        w->pad[d] = mode == NN_PAD_NOTSET ? pads[d] : 0;
        w->pad_end[d] = mode == NN_PAD_NOTSET ? pads[nd + d] : 0;
        LEDGE_TRY(transposed_size(c, w, d, mode, extra[d], n ? wanted[skip + d] : -1));
    }
    return LEDGE_OK;
}

static LedgeStatus shape(LedgeOpCtx *c, LedgeConvRef *p, LedgeTensor *y)
{
    const LedgeTensor *x = c->in[0], *w = c->in[1];
    int64_t group = ledge__node_int(c->node, "group", 1);
    *p = (LedgeConvRef){.groups = group};
    y->rank = x->rank;
    if (x->rank < 0)
        return LEDGE_OK;
    for (int32_t d = 0; d < LEDGE_MAX_RANK; d++)
        y->dims[d] = d ? -1 : x->dims[0];
    if (x->rank < 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "input has rank %d, must have batch, channels and at least one more",
                              x->rank);
    if (w->rank < 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__nn_same(c, "weights' rank and input's rank", w->rank, x->rank));
    LEDGE_TRY(ledge__nn_same(c, "input channels of data and weights", x->dims[1], w->dims[0]));
    if (group < 1 || (w->dims[0] >= 0 && w->dims[0] % group))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%lld channels do not divide into %lld groups",
                              (long long)w->dims[0], (long long)group);
    LEDGE_TRY(transposed_window(c, x, w, &p->w));
    p->batch = x->dims[0];
    p->in_c = w->dims[0] / group;
    p->out_c = w->dims[1];
    if (w->dims[1] >= 0 && __builtin_mul_overflow(w->dims[1], group, &y->dims[1]))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "too many output channels");
    memcpy(y->dims + 2, p->w.out, sizeof p->w.out[0] * (size_t)p->w.nd);
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LedgeConvRef p;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, 2, 7));
    LEDGE_TRY(ledge__op_need(c, 1, c->in[0]->type));
    LEDGE_TRY(shape(c, &p, &y));
    LEDGE_TRY(ledge__nn_count(c, 2, y.rank > 1 ? y.dims[1] : -1));
    ledge__op_set_out(c, 0, c->in[0]->type, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *s, LedgeConvRef *p)
{
    LedgeTensor y;
    LEDGE_TRY(shape(c, p, &y));
    p->scratch = ledge__nn_take(
        s, ledge__conv_transpose_ref_scratch(p, ledge__pool_threads(c->pool)),
        c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    LedgeConvRef p;
    LEDGE_TRY(layout(c, &s, &p));
    return ledge__nn_ask(c, &s);
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    LedgeConvRef p;
    const LedgeTensor *bias = ledge__op_in(c, 2);
    LEDGE_TRY(layout(c, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    p.x = c->in[0]->data;
    p.weights = c->in[1]->data;
    p.bias = bias ? bias->data : NULL;
    p.y = c->out[0]->data;
    NN_CALL(c->in[0]->type, conv_transpose, &p, c->pool);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    LedgeConvRef p;
    LedgeTensor y;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(c->in[0]) || !ledge__nn_known(c->in[1]) || shape(&quiet, &p, &y))
        return 0;
    double n = (double)p.batch * (double)p.groups * (double)p.in_c * (double)p.out_c;
    for (int d = 0; d < p.w.nd; d++)
        n *= (double)p.w.in[d] * (double)p.w.kernel[d];
    return ledge__nn_macs(n);
}

/* ---- DeformConv ---- */

static LedgeStatus deform_shape(LedgeOpCtx *c, LedgeDeformRef *p, LedgeTensor *y)
{
    const LedgeTensor *x = c->in[0], *w = c->in[1], *off = c->in[2], *mask = ledge__op_in(c, 4);
    int64_t group = ledge__node_int(c->node, "group", 1);
    int64_t og = ledge__node_int(c->node, "offset_group", 1);
    *p = (LedgeDeformRef){.conv = {.groups = group}, .offset_groups = og};
    y->rank = 4;
    for (int d = 0; d < 4; d++)
        y->dims[d] = -1;
    if (x->rank < 0 || w->rank < 0)
        return LEDGE_OK;
    if (x->rank != 4 || w->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                              "is supported for two spatial dimensions, not %d", x->rank - 2);
    if (group < 1 || og < 1 || (w->dims[0] >= 0 && w->dims[0] % group) ||
        (x->dims[1] >= 0 && (x->dims[1] % og || x->dims[1] % group)))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "channels do not divide into the groups");
    if (x->dims[1] >= 0)
        LEDGE_TRY(ledge__nn_same(c, "input channels of data and weights", x->dims[1] / group,
                                 w->dims[1]));
    LEDGE_TRY(ledge__nn_window(c, x, w->dims + 2, false, &p->conv.w));
    p->conv.batch = x->dims[0];
    p->conv.in_c = w->dims[1];
    p->conv.out_c = w->dims[0] / group;
    y->dims[0] = x->dims[0];
    y->dims[1] = w->dims[0];
    y->dims[2] = p->conv.w.out[0];
    y->dims[3] = p->conv.w.out[1];
    if (!ledge__nn_known(y) || !ledge__nn_known(w))
        return LEDGE_OK;
    int64_t one = ledge__nn_times(og, w->dims[2] * w->dims[3]);
    int64_t space = ledge__nn_times(ledge__nn_times(x->dims[0], y->dims[2]), y->dims[3]);
    if (ledge__nn_known(off))
        LEDGE_TRY(ledge__nn_same(c, "offset's size", ledge_tensor_count(off),
                                 ledge__nn_times(2, ledge__nn_times(one, space))));
    if (ledge__nn_known(mask))
        LEDGE_TRY(ledge__nn_same(c, "mask's size", ledge_tensor_count(mask),
                                 ledge__nn_times(one, space)));
    return LEDGE_OK;
}

static LedgeStatus deform_infer(LedgeOpCtx *c)
{
    LedgeDeformRef p;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, 3, 0x1f));
    LEDGE_TRY(deform_shape(c, &p, &y));
    LEDGE_TRY(ledge__nn_count(c, 3, y.dims[1]));
    ledge__op_set_out(c, 0, c->in[0]->type, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus deform_layout(LedgeOpCtx *c, NnScratch *s, LedgeDeformRef *p)
{
    LedgeTensor y;
    LEDGE_TRY(deform_shape(c, p, &y));
    p->conv.scratch =
        ledge__nn_take(s, ledge__conv_ref_scratch(&p->conv, ledge__pool_threads(c->pool)),
                       c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
    return LEDGE_OK;
}

static LedgeStatus deform_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    LedgeDeformRef p;
    LEDGE_TRY(deform_layout(c, &s, &p));
    return ledge__nn_ask(c, &s);
}

static LedgeStatus deform_body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    LedgeDeformRef p;
    const LedgeTensor *bias = ledge__op_in(c, 3), *mask = ledge__op_in(c, 4);
    LEDGE_TRY(deform_layout(c, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    p.conv.x = c->in[0]->data;
    p.conv.weights = c->in[1]->data;
    p.offset = c->in[2]->data;
    p.conv.bias = bias ? bias->data : NULL;
    p.mask = mask ? mask->data : NULL;
    p.conv.y = c->out[0]->data;
    NN_CALL(c->in[0]->type, deform_conv, &p, c->pool);
    return LEDGE_OK;
}

static LedgeStatus deform_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, deform_body);
}

const LedgeOp ledge__ops_nn_conv_transpose[] = {
    {"", "ConvTranspose", 1, 0, 0, infer, prepare, run, macs},
    {"", "DeformConv", 19, 0, 0, deform_infer, deform_prepare, deform_run, NULL},
    {0},
};
