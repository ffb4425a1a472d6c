/* The operators that the layout pass knows: what may change layout, and what in each of them
 * speaks of axes. */
#include "engine/optimize/opt_layout.h"

const int32_t ledge__to_nhwc[4] = {0, 2, 3, 1}, ledge__to_nchw[4] = {0, 3, 1, 2};

static bool is_in(const char *op_type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op_type, *list) == 0)
            return true;
    return false;
}

static bool is_pool(const LedgeNode *n)
{
    static const char *const list[] = {"MaxPool", "AveragePool", "GlobalAveragePool",
                                       "GlobalMaxPool", NULL};
    return is_in(n->op_type, list);
}

static bool is_reduction(const LedgeNode *n)
{
    static const char *const list[] = {
        "ReduceMean",      "ReduceSum",       "ReduceMax", "ReduceMin",
        "ReduceProd",      "ReduceL1",        "ReduceL2",  "ReduceLogSum",
        "ReduceLogSumExp", "ReduceSumSquare", NULL};
    return is_in(n->op_type, list);
}

/* Bytes to bytes, or to float and back, element by element: the axes do not matter. */
static bool is_bytewise(const LedgeNode *n)
{
    static const char *const list[] = {"QMap", "Quantize", "Dequantize", NULL};
    return strcmp(n->domain, "ledge") == 0 && is_in(n->op_type, list) &&
           !ledge__node_attr(n, "layout");
}

static bool is_byte_pair(const LedgeNode *n)
{
    return ledge__node_is_ledge(n, "QAdd") || ledge__node_is_ledge(n, "QMul");
}

static bool broadcasts(const LedgeNode *n)
{
    return ledge__opt_is_broadcasting(n) || is_byte_pair(n);
}

/* One `axis` attribute is all that there is to remap. */
static bool has_one_axis(const LedgeNode *n)
{
    static const char *const list[] = {"Concat",           "Split",  "Softmax", "LogSoftmax",
                                       "Hardmax",          "ArgMax", "ArgMin",  "QuantizeLinear",
                                       "DequantizeLinear", NULL};
    return is_in(n->op_type, list);
}

static int64_t default_axis(const LedgeNode *n)
{
    if (strcmp(n->op_type, "QuantizeLinear") == 0 || strcmp(n->op_type, "DequantizeLinear") == 0)
        return 1;
    return strstr(n->op_type, "max") && strncmp(n->op_type, "Arg", 3) != 0 ? -1 : 0;
}

bool ledge__layout_is_native(const LedgeOptCtx *c, const LedgeNode *n)
{
    if (!ledge__node_is(n, "Conv"))
        return false;
    const LedgeValue *x = ledge__node_in(n, 0), *w = ledge__node_in(n, 1),
                     *b = ledge__node_in(n, 2);
    return ledge__opt_has(c, "Conv") && x && x->t.rank == 4 && x->t.type == LEDGE_FLOAT &&
           ledge__opt_float_constant(w) && w->t.rank == 4 &&
           (!b || (ledge__opt_float_constant(b) && b->t.rank == 1)) && n->out[0];
}

bool ledge__layout_is_data(const LedgeNode *n, uint32_t i)
{
    if (broadcasts(n) || strcmp(n->op_type, "Concat") == 0 ||
        strcmp(n->op_type, "PRelu") == 0)
        return true;
    return i == 0;
}

/* Inputs that are permuted: rank 4, or constants and single numbers that broadcast. */
static bool data_fits(const LedgeNode *n)
{
    bool any = false, spread = broadcasts(n) || strcmp(n->op_type, "PRelu") == 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        if (!ledge__layout_is_data(n, i))
            continue;
        if (!v || v->t.rank < 0 || v->t.rank > 4 || ledge_type_bits(v->t.type) < 8)
            return false;
        bool constant = ledge__value_is_constant(v);
        any |= v->t.rank == 4 && !constant;
        if (v->t.rank < 4 && !(spread && (constant || ledge_tensor_count(&v->t) == 1)))
            return false;
    }
    return any;
}

static bool outputs_fit(const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!n->out[i] || n->out[i]->t.rank != 4)
            return false; /* unread optional outputs were dropped before */
    return n->n_out > 0;
}

static bool slice_fits(const LedgeNode *n)
{
    int64_t list[4];
    int axes = ledge__opt_list(n, 3, "axes", list, 4);
    for (int i = 0; i < axes; i++)
        if (ledge__opt_axis(list[i], 4) < 0)
            return false;
    return axes != -1 && ledge__opt_list(n, 1, "starts", list, 4) >= 0;
}

static bool pad_fits(const LedgeNode *n)
{
    int64_t pads[8], axes[4];
    int n_pads = ledge__opt_list(n, 1, "pads", pads, 8),
        n_axes = ledge__opt_list(n, 3, NULL, axes, 4);
    for (int i = 0; i < n_axes; i++)
        if (ledge__opt_axis(axes[i], 4) < 0)
            return false;
    return n_axes >= 0 || (n_axes == -2 && n_pads == 8);
}

static bool reduction_fits(const LedgeNode *n)
{
    int64_t axes[4];
    int count = ledge__opt_list(n, 1, "axes", axes, 4);
    for (int i = 0; i < count; i++)
        if (ledge__opt_axis(axes[i], 4) < 0)
            return false;
    return count != -1 && ledge__node_int(n, "keepdims", 1) == 1;
}

static bool one_axis_fits(const LedgeNode *n)
{
    bool soft = strstr(n->op_type, "max") && strncmp(n->op_type, "Arg", 3) != 0;
    if (soft && n->opset < 13) /* flattens all dims from the axis on */
        return false;
    if (strncmp(n->op_type, "Arg", 3) == 0 && ledge__node_int(n, "keepdims", 1) != 1)
        return false;
    if (strstr(n->op_type, "Linear") && n->n_in > 1 &&
        (!n->in[1].value || n->in[1].value->t.rank > 1 || n->in[1].value->t.rank < 0))
        return false; /* blocked: the scale has the data's axes */
    return ledge__opt_axis(ledge__node_int(n, "axis", default_axis(n)), 4) >= 0;
}

/* Where scales or sizes stand among the inputs; -1: in no form that can be remapped. */
static int resize_list_input(const LedgeNode *n)
{
    const LedgeValue *roi = n->opset >= 11 ? ledge__node_in(n, 1) : NULL;
    if (roi && ledge_tensor_count(&roi->t) != 0)
        return -1;
    int first = n->opset >= 11 ? 2 : 1;
    for (int i = first; i < (int)n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        if (v && ledge_tensor_count(&v->t) != 0)
            return ledge__value_is_constant(v) && v->t.rank == 1 ? i : -1;
    }
    return -1;
}

static bool resize_fits(const LedgeNode *n)
{
    int at = resize_list_input(n);
    size_t count;
    if (ledge__node_ints(n, "axes", &count))
        return count <= 4;
    return at > 0 && n->in[at].value->t.dims[0] == 4;
}

bool ledge__layout_is_flexible(const LedgeOptCtx *c, const LedgeNode *n)
{
    bool bytes = is_bytewise(n) || is_byte_pair(n);
    if ((n->domain[0] && !bytes) || n->n_explicit != n->n_in || !outputs_fit(n) || !data_fits(n))
        return false;
    if (bytes)
        return true;
    if (ledge__opt_is_unary(n) || ledge__opt_is_broadcasting(n) ||
        (strcmp(n->op_type, "PRelu") == 0 && ledge__value_is_constant(n->in[1].value)))
        return true;
    if (is_pool(n))
        return n->n_out == 1 && ledge__opt_has(c, n->op_type) &&
               (n->in[0].value->t.type == LEDGE_FLOAT ||
                (n->in[0].value->t.type == LEDGE_UINT8 && strcmp(n->op_type, "MaxPool") == 0));
    if (has_one_axis(n))
        return one_axis_fits(n);
    if (is_reduction(n))
        return reduction_fits(n);
    if (strcmp(n->op_type, "Slice") == 0)
        return slice_fits(n);
    if (strcmp(n->op_type, "Pad") == 0)
        return pad_fits(n);
    return (strcmp(n->op_type, "Resize") == 0 || strcmp(n->op_type, "Upsample") == 0) &&
           resize_fits(n);
}

/* ---- remapping ---- */

static int64_t moved_axis(int64_t axis)
{
    return ledge__to_nchw[ledge__opt_axis(axis, 4)]; /* where NCHW axis `axis` stands in NHWC */
}

static bool set_list_input(LedgeGraph *g, LedgeNode *n, uint32_t i, const int64_t *v, int count)
{
    LedgeValue *list = ledge__opt_ints(g, NULL, v, count);
    while (list && n->n_in <= i) {
        if (!ledge__node_add_input(g, n, NULL))
            return false;
        n->n_explicit = n->n_in;
    }
    if (list)
        ledge__node_set_input(n, i, list);
    return list != NULL;
}

/* A list of axes that is attribute `attr` in older opsets and input `i` in newer ones. */
static bool remap_axes(LedgeGraph *g, LedgeNode *n, uint32_t i, const char *attr)
{
    int64_t axes[4];
    int count = ledge__opt_list(n, i, attr, axes, 4);
    for (int k = 0; k < count; k++)
        axes[k] = moved_axis(axes[k]);
    if (count <= 0)
        return true;
    if (attr && ledge__node_attr(n, attr))
        return ledge__node_set_ints(g, n, attr, axes, (size_t)count);
    return set_list_input(g, n, i, axes, count);
}

static bool remap_slice(LedgeGraph *g, LedgeNode *n)
{
    int64_t starts[4], axes[4];
    if (ledge__opt_list(n, 3, "axes", axes, 4) != -2)
        return remap_axes(g, n, 3, "axes");
    int count = ledge__opt_list(n, 1, "starts", starts, 4);
    for (int k = 0; k < count; k++)
        axes[k] = moved_axis(k);
    if (n->opset < 10)
        return ledge__node_set_ints(g, n, "axes", axes, (size_t)count);
    return set_list_input(g, n, 3, axes, count);
}

static bool remap_pad(LedgeGraph *g, LedgeNode *n)
{
    int64_t pads[8], moved[8];
    if (ledge__node_in(n, 3))
        return remap_axes(g, n, 3, NULL);
    ledge__opt_list(n, 1, "pads", pads, 8);
    for (int d = 0; d < 4; d++) {
        moved[d] = pads[ledge__to_nhwc[d]];
        moved[d + 4] = pads[ledge__to_nhwc[d] + 4];
    }
    if (ledge__node_attr(n, "pads"))
        return ledge__node_set_ints(g, n, "pads", moved, 8);
    return set_list_input(g, n, 1, moved, 8);
}

static void become_internal(LedgeNode *n)
{
    n->domain = "ledge";
    n->opset = 1;
    n->op = ledge__op_find("ledge", n->op_type, 1);
}

static bool remap_resize(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n)
{
    size_t count;
    const int64_t *axes = ledge__node_ints(n, "axes", &count);
    int at = resize_list_input(n);
    if (axes) {
        int64_t moved[4];
        for (size_t i = 0; i < count; i++)
            moved[i] = moved_axis(axes[i]);
        if (!ledge__node_set_ints(g, n, "axes", moved, count))
            return false;
    } else {
        /* scales or sizes, a number an axis: permuted as the columns of a 4 x 1 constant */
        const LedgeValue *v = n->in[at].value;
        LedgeTensor t = v->t;
        t.data = NULL;
        LedgeValue *moved = ledge__value_constant(g, NULL, &t, false);
        if (!moved)
            return false;
        size_t size = ledge_type_bits(t.type) / 8;
        for (int d = 0; d < 4; d++)
            memcpy((char *)moved->t.data + (size_t)d * size,
                   (const char *)v->t.data + (size_t)ledge__to_nhwc[d] * size, size);
        ledge__node_set_input(n, (uint32_t)at, moved);
    }
    if (n->opset >= 11 && strcmp(n->op_type, "Resize") == 0 && ledge__opt_has(c, "Resize"))
        become_internal(n);
    return true;
}

LedgeStatus ledge__layout_remap(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n)
{
    bool ok = true;
    if (is_pool(n))
        become_internal(n);
    else if (has_one_axis(n))
        ok = ledge__node_set_int(g, n, "axis",
                                 moved_axis(ledge__node_int(n, "axis", default_axis(n))));
    else if (is_reduction(n))
        ok = remap_axes(g, n, 1, "axes");
    else if (strcmp(n->op_type, "Slice") == 0)
        ok = remap_slice(g, n);
    else if (strcmp(n->op_type, "Pad") == 0)
        ok = remap_pad(g, n);
    else if (strcmp(n->op_type, "Resize") == 0 || strcmp(n->op_type, "Upsample") == 0)
        ok = remap_resize(g, c, n);
    return ok ? LEDGE_OK : ledge__no_memory(c->err);
}

/* ---- Conv ---- */

/* Height and width of a window; a 1-D convolution is one of height 1. */
static void pair_or(const LedgeNode *n, const char *name, int64_t absent, int64_t *out)
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, name, &count);
    bool one = n->in[0].value->t.rank == 3;
    out[0] = v && count == 2 && !one ? v[0] : absent;
    out[1] = v && count == 2 && !one ? v[1] : v && count == 1 && one ? v[0] : absent;
}

/* pads for auto_pad where the input's size decides nothing or is known; false: it stays. */
static bool resolve_pads(const LedgeNode *n, const int64_t *kernel, const int64_t *strides,
                         const int64_t *dilations, int64_t *pads)
{
    const char *mode = ledge__node_string(n, "auto_pad", "NOTSET");
    size_t count;
    const int64_t *own = ledge__node_ints(n, "pads", &count);
    const LedgeTensor *x = &n->in[0].value->t;
    bool one = x->rank == 3;
    memset(pads, 0, 4 * sizeof *pads);
    if (strncmp(mode, "SAME_", 5) != 0) {
        if (own && count == (one ? 2 : 4) && strcmp(mode, "VALID") != 0)
            for (size_t i = 0; i < count; i++)
                pads[one ? 2 * i + 1 : i] = own[i];
        return true;
    }
    for (int d = 0; d < 2; d++) {
        int64_t size = one && d == 0 ? 1 : x->dims[one ? 2 : 2 + d];
        int64_t reach = (kernel[d] - 1) * dilations[d];
        if (size <= 0 && strides[d] != 1)
            return false;
        int64_t total = reach;
        if (strides[d] != 1)
            total =
                (size + strides[d] - 1) / strides[d] * strides[d] - strides[d] + reach + 1 - size;
        total = total < 0 ? 0 : total;
        int64_t less = total / 2, more = total - less;
        bool upper = strcmp(mode, "SAME_UPPER") == 0;
        pads[d] = upper ? less : more;
        pads[d + 2] = upper ? more : less;
    }
    return true;
}

bool ledge__layout_conv_attrs(LedgeGraph *g, const LedgeNode *n, LedgeNode *made)
{
    const LedgeTensor *w = &n->in[1].value->t;
    int64_t strides[2], dilations[2], pads[4], kernel[2] = {1, w->dims[w->rank - 1]};
    if (w->rank == 4)
        kernel[0] = w->dims[2];
    pair_or(n, "strides", 1, strides);
    pair_or(n, "dilations", 1, dilations);
    if (!ledge__node_set_ints(g, made, "kernel_shape", kernel, 2) ||
        !ledge__node_set_ints(g, made, "strides", strides, 2) ||
        !ledge__node_set_ints(g, made, "dilations", dilations, 2) ||
        !ledge__node_set_int(g, made, "group", ledge__node_int(n, "group", 1)))
        return false;
    if (resolve_pads(n, kernel, strides, dilations, pads))
        return ledge__node_set_ints(g, made, "pads", pads, 4);
    return ledge__node_set_string(g, made, "auto_pad", ledge__node_string(n, "auto_pad", ""));
}

LedgeNode *ledge__layout_conv(LedgeGraph *g, LedgeNode *n)
{
    const LedgeTensor *w = &n->in[1].value->t;
    LedgeTensor like = {.type = LEDGE_FLOAT, .rank = 4};
    for (int d = 0; d < 4; d++)
        like.dims[d] = n->out[0]->t.rank == 4 ? n->out[0]->t.dims[ledge__to_nhwc[d]] : -1;
    like.dims[3] = w->dims[0];
    LedgeNode *made = ledge__opt_internal(g, "Conv", 5, &like, n);
    if (!made || !ledge__layout_conv_attrs(g, n, made))
        return NULL;
    made->name = n->name;
    ledge__node_set_input(made, 1, n->in[1].value);
    ledge__node_set_input(made, 2, ledge__node_in(n, 2));
    return made;
}
