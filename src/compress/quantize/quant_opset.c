/* Raising a graph's opset: what changed its form between two versions is rewritten, what changed
 * its meaning is refused by name. After the ONNX operator changelog (docs/Changelog.md there),
 * versions 7 to 21. Operators that only gained types or attributes with harmless defaults need
 * nothing. */
#include "compress/quantize/quant_internal.h"

#include <string.h>

typedef struct Raise {
    LedgeGraph *g;
    LedgeNode *n;
    int from, to;
    LedgeError *err;
} Raise;

static LedgeStatus refuse(const Raise *r, const char *what)
{
    return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, r->n->name,
                       "%s: this form of %s (opset %d) has no equal in opset %d, which quantized "
                       "models need; export the model with opset %d or later",
                       what, r->n->op_type, r->from, r->to, r->to);
}

static bool crosses(const Raise *r, int version)
{
    return r->from < version && r->to >= version;
}

/* None of the operators here has bodies, so each input is its own. */
static bool append_input(const Raise *r, LedgeValue *v)
{
    const bool ok = ledge__node_add_input(r->g, r->n, v);
    r->n->n_explicit = r->n->n_in;
    return ok;
}

/* Puts `v` into slot `index`, with omitted inputs up to there. */
static LedgeStatus put_input(const Raise *r, uint32_t index, LedgeValue *v)
{
    while (r->n->n_in <= index)
        if (!append_input(r, NULL))
            return ledge__no_memory(r->err);
    ledge__node_set_input(r->n, index, v);
    return LEDGE_OK;
}

static LedgeStatus put_ints(const Raise *r, uint32_t index, const int64_t *v, size_t count)
{
    const LedgeTensor t = {.type = LEDGE_INT64, .rank = 1, .dims = {(int64_t)count},
                           .data = (void *)(uintptr_t)v};
    LedgeValue *made = ledge__value_constant(r->g, NULL, &t, true);
    return made ? put_input(r, index, made) : ledge__no_memory(r->err);
}

static LedgeStatus put_floats(const Raise *r, uint32_t index, const float *v, int32_t rank,
                              size_t count)
{
    const LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank, .dims = {(int64_t)count},
                           .data = (void *)(uintptr_t)v};
    LedgeValue *made = ledge__value_constant(r->g, NULL, &t, true);
    return made ? put_input(r, index, made) : ledge__no_memory(r->err);
}

/* Attribute of ints that became input `index`. */
static LedgeStatus ints_to_input(const Raise *r, const char *name, uint32_t index)
{
    size_t count;
    const int64_t *v = ledge__node_ints(r->n, name, &count);
    if (v)
        LEDGE_TRY(put_ints(r, index, v, count));
    ledge__node_drop_attr(r->n, name);
    return LEDGE_OK;
}

static LedgeStatus float_to_input(const Raise *r, const char *name, uint32_t index)
{
    if (ledge__node_attr(r->n, name)) {
        const float v = ledge__node_float(r->n, name, 0);
        LEDGE_TRY(put_floats(r, index, &v, 0, 1));
    }
    ledge__node_drop_attr(r->n, name);
    return LEDGE_OK;
}

/* ---- the operators ---- */

static LedgeStatus axes_input_13(const Raise *r)
{
    return crosses(r, 13) ? ints_to_input(r, "axes", 1) : LEDGE_OK;
}

static LedgeStatus axes_input_18(const Raise *r)
{
    return crosses(r, 18) ? ints_to_input(r, "axes", 1) : LEDGE_OK;
}

static LedgeStatus split(const Raise *r)
{
    if (crosses(r, 13))
        LEDGE_TRY(ints_to_input(r, "split", 1));
    if (crosses(r, 18) && !ledge__node_in(r->n, 1) &&
        !ledge__node_set_int(r->g, r->n, "num_outputs", r->n->n_out))
        return ledge__no_memory(r->err);
    return LEDGE_OK;
}

/* Before 13 all axes from `axis` on were one; the same where all behind it are 1. */
static LedgeStatus softmax(const Raise *r)
{
    const LedgeTensor *x = &r->n->in[0].value->t;
    if (!crosses(r, 13))
        return LEDGE_OK;
    int64_t axis = ledge__node_int(r->n, "axis", 1);
    if (x->rank < 0)
        return refuse(r, "the rank of its input is not known");
    axis = axis < 0 ? axis + x->rank : axis;
    for (int64_t d = axis + 1; d < x->rank; d++)
        if (x->dims[d] != 1)
            return refuse(r, "it works on several axes at once");
    if (axis >= x->rank)
        return refuse(r, "its axis lies outside the input");
    return ledge__node_set_int(r->g, r->n, "axis", axis) ? LEDGE_OK : ledge__no_memory(r->err);
}

static LedgeStatus clip(const Raise *r)
{
    if (!crosses(r, 11))
        return LEDGE_OK;
    LEDGE_TRY(float_to_input(r, "min", 1));
    return float_to_input(r, "max", 2);
}

static LedgeStatus pad(const Raise *r)
{
    if (!crosses(r, 11))
        return LEDGE_OK;
    LEDGE_TRY(ints_to_input(r, "pads", 1));
    return float_to_input(r, "value", 2);
}

static LedgeStatus slice(const Raise *r)
{
    if (!crosses(r, 10))
        return LEDGE_OK;
    LEDGE_TRY(ints_to_input(r, "starts", 1));
    LEDGE_TRY(ints_to_input(r, "ends", 2));
    return ints_to_input(r, "axes", 3);
}

static LedgeStatus topk(const Raise *r)
{
    if (!crosses(r, 10))
        return LEDGE_OK;
    const int64_t k = ledge__node_int(r->n, "k", 1);
    ledge__node_drop_attr(r->n, "k");
    return put_ints(r, 1, &k, 1);
}

/* Scales of a Resize move from slot 1 to 2; the way to count pixels was fixed before 11. */
static LedgeStatus resize_11(const Raise *r, LedgeValue *scales)
{
    ledge__node_set_input(r->n, 1, NULL);
    LEDGE_TRY(put_input(r, 1, NULL));
    LEDGE_TRY(put_input(r, 2, scales));
    if (!ledge__node_set_string(r->g, r->n, "coordinate_transformation_mode", "asymmetric") ||
        (strcmp(ledge__node_string(r->n, "mode", "nearest"), "nearest") == 0 &&
         !ledge__node_set_string(r->g, r->n, "nearest_mode", "floor")))
        return ledge__no_memory(r->err);
    return LEDGE_OK;
}

static LedgeStatus resize(const Raise *r)
{
    if (crosses(r, 11))
        return resize_11(r, ledge__node_in(r->n, 1));
    if (crosses(r, 13) && strcmp(ledge__node_string(r->n, "coordinate_transformation_mode", ""),
                                 "tf_half_pixel_for_nn") == 0)
        return refuse(r, "tf_half_pixel_for_nn was removed");
    return LEDGE_OK;
}

static LedgeStatus upsample(const Raise *r)
{
    size_t count;
    const float *v = ledge__node_floats(r->n, "scales", &count);
    if (r->to < 10)
        return LEDGE_OK;
    if (v)
        LEDGE_TRY(put_floats(r, 1, v, 1, count));
    ledge__node_drop_attr(r->n, "scales");
    r->n->op_type = "Resize";
    return r->to < 11 ? LEDGE_OK : resize_11(r, ledge__node_in(r->n, 1));
}

static LedgeStatus batch_norm(const Raise *r)
{
    if (crosses(r, 9) && !ledge__node_int(r->n, "spatial", 1))
        return refuse(r, "spatial = 0");
    if (crosses(r, 9))
        ledge__node_drop_attr(r->n, "spatial");
    for (uint32_t i = 1; i < r->n->n_out && crosses(r, 14); i++)
        if (r->n->out[i])
            return refuse(r, "it has more than one output");
    return LEDGE_OK;
}

static LedgeStatus dropout(const Raise *r)
{
    if (crosses(r, 12))
        ledge__node_drop_attr(r->n, "ratio"); /* nothing is dropped in inference */
    return LEDGE_OK;
}

static LedgeStatus scatter(const Raise *r)
{
    if (r->to >= 11)
        r->n->op_type = "ScatterElements";
    return LEDGE_OK;
}

static LedgeStatus scan(const Raise *r)
{
    return crosses(r, 9) ? refuse(r, "it has a batch axis of its own") : LEDGE_OK;
}

static LedgeStatus grid_sample(const Raise *r)
{
    const char *mode = ledge__node_string(r->n, "mode", "bilinear");
    if (!crosses(r, 20))
        return LEDGE_OK;
    mode = strcmp(mode, "bilinear") == 0 ? "linear" : strcmp(mode, "bicubic") == 0 ? "cubic" : mode;
    return ledge__node_set_string(r->g, r->n, "mode", mode) ? LEDGE_OK : ledge__no_memory(r->err);
}

static LedgeStatus roi_align(const Raise *r)
{
    if (!crosses(r, 16))
        return LEDGE_OK;
    return ledge__node_set_string(r->g, r->n, "coordinate_transformation_mode", "output_half_pixel")
               ? LEDGE_OK
               : ledge__no_memory(r->err);
}

static LedgeStatus dft(const Raise *r)
{
    return crosses(r, 20) ? refuse(r, "its axis became an input") : LEDGE_OK;
}

static LedgeStatus group_norm(const Raise *r)
{
    return crosses(r, 21) ? refuse(r, "its scale became one a channel") : LEDGE_OK;
}

static const struct {
    const char *op_type;
    LedgeStatus (*raise)(const Raise *r);
} rules[] = {
    {"Squeeze", axes_input_13},      {"Unsqueeze", axes_input_13},
    {"ReduceSum", axes_input_13},    {"ReduceMean", axes_input_18},
    {"ReduceMax", axes_input_18},    {"ReduceMin", axes_input_18},
    {"ReduceProd", axes_input_18},   {"ReduceL1", axes_input_18},
    {"ReduceL2", axes_input_18},     {"ReduceLogSum", axes_input_18},
    {"ReduceLogSumExp", axes_input_18}, {"ReduceSumSquare", axes_input_18},
    {"Split", split},                {"Softmax", softmax},
    {"LogSoftmax", softmax},         {"Hardmax", softmax},
    {"Clip", clip},                  {"Pad", pad},
    {"Slice", slice},                {"TopK", topk},
    {"Resize", resize},              {"Upsample", upsample},
    {"BatchNormalization", batch_norm}, {"Dropout", dropout},
    {"Scatter", scatter},            {"Scan", scan},
    {"GridSample", grid_sample},     {"RoiAlign", roi_align},
    {"DFT", dft},                    {"GroupNormalization", group_norm},
};

static LedgeStatus raise_node(LedgeGraph *g, LedgeNode *n, int to, LedgeError *err)
{
    const Raise r = {g, n, n->opset, to, err};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(n->op_type, rules[i].op_type) == 0)
            LEDGE_TRY(rules[i].raise(&r));
    n->opset = to;
    return LEDGE_OK;
}

LedgeStatus ledge__quant_raise_opset(LedgeGraph *g, int to, LedgeError *err)
{
    if (g->opset >= to)
        return LEDGE_OK;
    for (LedgeNode *n = g->first; n; n = n->next) {
        for (size_t a = 0; a < n->n_attrs; a++)
            for (size_t i = 0; n->attrs[a].graphs && i < n->attrs[a].count; i++)
                LEDGE_TRY(ledge__quant_raise_opset(n->attrs[a].graphs[i], to, err));
        if (n->domain[0] == '\0' && n->opset < to)
            LEDGE_TRY(raise_node(g, n, to, err));
    }
    g->opset = to;
    return LEDGE_OK;
}
