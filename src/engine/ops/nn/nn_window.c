/* Sliding-window attributes of convolution and pooling: kernel_shape, strides, dilations,
 * pads, auto_pad and ceil_mode, checked, and the output size that follows from them. */
#include "engine/ops/nn/nn.h"

LedgeStatus ledge__nn_ints(LedgeOpCtx *c, const char *name, int n, int64_t min, int64_t absent,
                           int64_t *out)
{
    size_t count;
    const int64_t *v = ledge__node_ints(c->node, name, &count);
    if (!v || count == 0) {
        for (int i = 0; i < n; i++)
            out[i] = absent;
        return LEDGE_OK;
    }
    if (count != (size_t)n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "attribute %s has %zu values, must have %d",
                              name, count, n);
    for (int i = 0; i < n; i++) {
        if (v[i] < min || v[i] > INT32_MAX)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "attribute %s holds %lld, must be at least %lld", name,
                                  (long long)v[i], (long long)min);
        out[i] = v[i];
    }
    return LEDGE_OK;
}

LedgeStatus ledge__nn_auto_pad(LedgeOpCtx *c, NnAutoPad *out)
{
    const char *s = ledge__node_string(c->node, "auto_pad", "NOTSET");
    if (strcmp(s, "NOTSET") == 0 || s[0] == 0)
        *out = NN_PAD_NOTSET;
    else if (strcmp(s, "VALID") == 0)
        *out = NN_PAD_VALID;
    else if (strcmp(s, "SAME_UPPER") == 0)
        *out = NN_PAD_UPPER;
    else if (strcmp(s, "SAME_LOWER") == 0)
        *out = NN_PAD_LOWER;
    else
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "auto_pad is \"%.40s\", must be NOTSET, VALID, SAME_UPPER or "
                              "SAME_LOWER",
                              s);
    return LEDGE_OK;
}

LedgeStatus ledge__nn_window_attrs(LedgeOpCtx *c, int nd, const int64_t *kernel, LedgeWindow *w)
{
    w->nd = nd;
    LEDGE_TRY(ledge__nn_ints(c, "kernel_shape", nd, 1, -1, w->kernel));
    LEDGE_TRY(ledge__nn_ints(c, "strides", nd, 1, 1, w->stride));
    LEDGE_TRY(ledge__nn_ints(c, "dilations", nd, 1, 1, w->dilation));
    for (int d = 0; d < nd; d++) {
        if (kernel && w->kernel[d] >= 0)
            LEDGE_TRY(ledge__nn_same(c, "kernel_shape and weights", w->kernel[d], kernel[d]));
        if (kernel)
            w->kernel[d] = kernel[d];
        else if (w->kernel[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute kernel_shape is missing");
        if (w->kernel[d] == 0 || w->kernel[d] > INT32_MAX)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "kernel size %lld is not usable",
                                  (long long)w->kernel[d]);
    }
    return LEDGE_OK;
}

static LedgeStatus explicit_size(LedgeOpCtx *c, LedgeWindow *w, int d, bool ceil)
{
    int64_t eff = (w->kernel[d] - 1) * w->dilation[d] + 1;
    int64_t padded = w->in[d] + w->pad[d] + w->pad_end[d];
    if (padded < eff)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "window of %lld is larger than the padded input of %lld in spatial "
                              "dimension %d",
                              (long long)eff, (long long)padded, d);
    int64_t room = padded - eff, s = w->stride[d];
    w->out[d] = (ceil ? (room + s - 1) / s : room / s) + 1;
    /* A window that would begin in the end padding does not count. */
    if (ceil && (w->out[d] - 1) * s >= w->in[d] + w->pad[d] && w->out[d] > 1)
        w->out[d]--;
    return LEDGE_OK;
}

static void same_size(LedgeWindow *w, int d, bool lower)
{
    int64_t eff = (w->kernel[d] - 1) * w->dilation[d] + 1;
    w->out[d] = (w->in[d] + w->stride[d] - 1) / w->stride[d];
    int64_t total = (w->out[d] - 1) * w->stride[d] + eff - w->in[d];
    if (total < 0 || w->out[d] == 0)
        total = 0;
    w->pad[d] = lower ? (total + 1) / 2 : total / 2;
    w->pad_end[d] = total - w->pad[d];
}

LedgeStatus ledge__nn_window(LedgeOpCtx *c, const LedgeTensor *x, const int64_t *kernel, bool ceil,
                             LedgeWindow *w)
{
    NnAutoPad mode;
    int nd = x->rank - 2;
    int64_t pads[2 * NN_MAX_SPATIAL];
    if (nd < 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "input has rank %d, must have batch, channels and at least one more",
                              x->rank);
    LEDGE_TRY(ledge__nn_window_attrs(c, nd, kernel, w));
    LEDGE_TRY(ledge__nn_auto_pad(c, &mode));
    if (mode == NN_PAD_NOTSET)
        LEDGE_TRY(ledge__nn_ints(c, "pads", 2 * nd, 0, 0, pads));
    for (int d = 0; d < nd; d++) {
        w->in[d] = x->dims[2 + d];
        w->pad[d] = mode == NN_PAD_NOTSET ? pads[d] : 0;
        w->pad_end[d] = mode == NN_PAD_NOTSET ? pads[nd + d] : 0;
        w->out[d] = -1;
        if (w->in[d] < 0 || w->kernel[d] < 0)
            continue;
        if (w->in[d] > INT64_MAX / 8)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "input dimension %lld is too large",
                                  (long long)w->in[d]);
        if (mode == NN_PAD_NOTSET || mode == NN_PAD_VALID)
            LEDGE_TRY(explicit_size(c, w, d, ceil));
        else
            same_size(w, d, mode == NN_PAD_LOWER);
    }
    return LEDGE_OK;
}
