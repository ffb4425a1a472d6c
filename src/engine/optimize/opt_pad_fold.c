/* Pad with zeros over the spatial dims, folded into the pads of the Conv, MaxPool (whose data
 * is not negative) or AveragePool (that counts padding) behind it. Between a Pad of bytes and a
 * Conv may stand the DequantizeLinear that makes them numbers. */
#include "engine/optimize/opt_q8.h"

/* Numbers of the Pad over all axes: begins, then ends; false if not constant. */
static bool full_pads(const LedgeNode *pad, int32_t rank, int64_t *full)
{
    int64_t pads[2 * LEDGE_MAX_RANK], axes[LEDGE_MAX_RANK];
    int n = ledge__opt_list(pad, 1, "pads", pads, 2 * LEDGE_MAX_RANK);
    int n_axes = ledge__opt_list(pad, 3, NULL, axes, LEDGE_MAX_RANK);
    if (n < 0 || n_axes == -1)
        return false;
    if (n_axes == -2) {
        n_axes = rank;
        for (int32_t d = 0; d < rank; d++)
            axes[d] = d;
    }
    if (n != 2 * n_axes)
        return false;
    memset(full, 0, 2 * (size_t)rank * sizeof *full);
    for (int i = 0; i < n_axes; i++) {
        int32_t axis = ledge__opt_axis(axes[i], rank);
        if (axis < 0)
            return false;
        full[axis] = pads[i];
        full[axis + rank] = pads[i + n_axes];
    }
    return true;
}

static bool pads_with_zero(const LedgeNode *pad)
{
    const LedgeValue *value = ledge__node_in(pad, 2);
    double v = (double)ledge__node_float(pad, "value", 0);
    if (strcmp(ledge__node_string(pad, "mode", "constant"), "constant") != 0 ||
        (value && !ledge__opt_scalar(value, &v)))
        return false;
    return v == 0;
}

static bool is_never_negative(const LedgeValue *v)
{
    double low;
    const LedgeNode *clip = ledge__opt_made_by(v, "Clip");
    if (clip && ledge__opt_scalar(ledge__node_in(clip, 1), &low))
        return low >= 0;
    return ledge__opt_made_by(v, "Relu") || ledge__opt_made_by(v, "Sigmoid");
}

/* Whether zeros around the input mean to `n` what its own padding means. */
static bool takes_zeros(const LedgeNode *n, const LedgeNode *pad, const int64_t *own, size_t count)
{
    bool pads_already = false;
    for (size_t i = 0; i < count; i++)
        pads_already |= own[i] != 0;
    if (ledge__node_is(n, "Conv"))
        return true;
    if (ledge__node_int(n, "ceil_mode", 0)) /* rounding could start a window in the padding */
        return false;
    if (ledge__node_is(n, "MaxPool")) /* its own padding counts as minus infinity */
        return !(n->n_out > 1 && n->out[1]) && is_never_negative(pad->in[0].value);
    return ledge__node_is(n, "AveragePool") &&
           (ledge__node_int(n, "count_include_pad", 0) || !pads_already);
}

/* No window of a pool may lie in the padding alone. */
static bool fits_window(const LedgeNode *n, const int64_t *pads, int32_t spatial)
{
    size_t n_kernel, n_dilations;
    const int64_t *kernel = ledge__node_ints(n, "kernel_shape", &n_kernel);
    const int64_t *dilations = ledge__node_ints(n, "dilations", &n_dilations);
    if (ledge__node_is(n, "Conv"))
        return true;
    for (int32_t d = 0; d < spatial; d++)
        if (n_kernel != (size_t)spatial || pads[d] >= kernel[d] || pads[spatial + d] >= kernel[d] ||
            (dilations && (n_dilations != (size_t)spatial || dilations[d] != 1)))
            return false;
    return true;
}

static bool fold(LedgeGraph *g, LedgeNode *n, LedgeNode *pad)
{
    int32_t rank = pad->in[0].value->t.rank, spatial = rank - 2;
    int64_t full[2 * LEDGE_MAX_RANK], sum[2 * LEDGE_MAX_RANK];
    size_t count;
    const int64_t *own = ledge__node_ints(n, "pads", &count);
    if (rank < 3 || !full_pads(pad, rank, full) || full[0] || full[1] || full[rank] ||
        full[rank + 1] || (own && count != 2 * (size_t)spatial) || !takes_zeros(n, pad, own, count))
        return false;
    for (int32_t d = 0; d < spatial; d++) {
        sum[d] = full[2 + d] + (own ? own[d] : 0);
        sum[spatial + d] = full[rank + 2 + d] + (own ? own[spatial + d] : 0);
        if (full[2 + d] < 0 || full[rank + 2 + d] < 0)
            return false;
    }
    if (!fits_window(n, sum, spatial))
        return false;
    if (ledge__node_is(n, "AveragePool") && !ledge__node_set_int(g, n, "count_include_pad", 1))
        return false;
    return ledge__node_set_string(g, n, "auto_pad", "NOTSET") &&
           ledge__node_set_ints(g, n, "pads", sum, 2 * (size_t)spatial);
}

/* Pad of bytes by the one that stands for 0, read as floats by a Conv. */
static LedgeNode *byte_pad(const LedgeNode *n, LedgeQ8 *q)
{
    double fill = 0;
    if (!ledge__node_is(n, "Conv") || !ledge__q8_read(n->in[0].value, q))
        return NULL;
    LedgeNode *pad = ledge__opt_made_by(q->v, "Pad");
    const LedgeValue *v = pad ? ledge__node_in(pad, 2) : NULL;
    return pad && strcmp(ledge__node_string(pad, "mode", "constant"), "constant") == 0 &&
                   (!v || ledge__opt_scalar(v, &fill)) && fill == q->zero
               ? pad
               : NULL;
}

/* What `n` reads without its Pad. NULL: no memory. */
static LedgeValue *unpadded(LedgeGraph *g, LedgeNode *n, LedgeNode *pad, bool bytes, LedgeQ8 *q)
{
    if (!bytes)
        return pad->in[0].value;
    LedgeNode *dq =
        ledge__q8_linear(g, "DequantizeLinear", pad->in[0].value, LEDGE_UINT8, q, n);
    return dq ? dq->out[0] : NULL;
}

LedgeStatus ledge__opt_pad_fold(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        LedgeQ8 q;
        LedgeNode *pad =
            n->domain[0] || n->n_in == 0 ? NULL : ledge__opt_made_by(n->in[0].value, "Pad");
        LedgeNode *own = pad && pads_with_zero(pad) ? pad : NULL;
        pad = own || n->domain[0] || n->n_in == 0 ? own : byte_pad(n, &q);
        const char *auto_pad = pad ? ledge__node_string(n, "auto_pad", "NOTSET") : "";
        if (!pad || !pad->in[0].value ||
            (strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0) || !fold(g, n, pad))
            continue;
        LedgeNode *before = n->in[0].value->producer;
        LedgeValue *x = unpadded(g, n, pad, !own, &q);
        if (!x)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 0, x);
        ledge__opt_drop(g, before);
        *changed = true;
    }
    return LEDGE_OK;
}
