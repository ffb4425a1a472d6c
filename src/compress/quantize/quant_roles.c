/* What each node could be on integers: its role, and why it has none. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

/* y = f(x) for each value: 256 possible answers. */
static const char *const unary[] = {
    "Relu",     "Clip",     "Sigmoid",  "HardSigmoid", "HardSwish", "LeakyRelu", "Tanh",
    "Elu",      "Selu",     "Celu",     "Softplus",    "Softsign",  "Mish",      "Gelu",
    "Abs",      "ThresholdedRelu"};

static const char *const moves[] = {"Reshape",  "Transpose", "Flatten", "Squeeze",
                                    "Unsqueeze", "Slice",    "Tile",    "Expand",
                                    "Split",    "Concat",    "Identity", "DepthToSpace",
                                    "SpaceToDepth", "Gather"};

static bool among(const char *op_type, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(op_type, list[i]) == 0)
            return true;
    return false;
}
#define AMONG(op_type, list) among(op_type, list, sizeof(list) / sizeof *(list))

static bool is_float(const LedgeValue *v)
{
    return v && v->t.type == LEDGE_FLOAT;
}

static bool is_float_constant(const LedgeValue *v)
{
    return is_float(v) && ledge__value_is_constant(v) && ledge_tensor_count(&v->t) > 0;
}

static void stay(LedgeQuantNode *q, const char *why)
{
    q->role = LEDGE_QUANT_FLOAT;
    q->why = why;
}

bool ledge__quantizer_layer(const LedgeQuantNode *q, LedgeQuantLayer *l)
{
    const LedgeNode *n = q->node;
    LedgeValue *w = ledge__node_in(n, 1);
    if (q->role != LEDGE_QUANT_WEIGHTED)
        return false;
    *l = (LedgeQuantLayer){.weight = w, .bias = ledge__node_in(n, 2),
                           .count = ledge_tensor_count(&w->t), .inner = 1};
    if (ledge__node_is(n, "Conv"))
        l->axis = 0;
    else if (ledge__node_is(n, "ConvTranspose"))
        l->axis = 1;
    else if (ledge__node_is(n, "Gemm"))
        l->axis = ledge__node_int(n, "transB", 0) ? 0 : 1;
    else
        l->axis = w->t.rank - 1;
    /* A stack of matrices gets one scale: runtimes want theirs shaped otherwise. The groups of a
     * transposed convolution share the scales of their channels, as the axis is within a group. */
    const bool one = ledge__node_is(n, "MatMul") && w->t.rank != 2;
    l->channels = one ? 1 : w->t.dims[l->axis];
    for (int32_t d = l->axis + 1; d < w->t.rank; d++)
        l->inner *= w->t.dims[d];
    return true;
}

int64_t ledge__quant_outputs(const LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    const LedgeTensor *w = &ledge__node_in(n, 1)->t;
    if (ledge__node_is(n, "ConvTranspose"))
        return w->dims[1] * ledge__node_int(n, "group", 1);
    if (ledge__node_is(n, "Gemm"))
        return w->dims[ledge__node_int(n, "transB", 0) ? 0 : 1];
    return w->dims[ledge__node_is(n, "Conv") ? 0 : w->rank - 1];
}

static bool has_row_bias(const LedgeQuantNode *q)
{
    const LedgeValue *b = ledge__node_in(q->node, 2);
    return !b || (is_float_constant(b) && b->t.rank == 1 &&
                  b->t.dims[0] == ledge__quant_outputs(q));
}

static void classify_weighted(LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    const LedgeValue *w = ledge__node_in(n, 1);
    if (!is_float_constant(w)) {
        stay(q, "its weights are no constant");
        return;
    }
    q->role = LEDGE_QUANT_WEIGHTED;
    if (!has_row_bias(q))
        stay(q, "its bias is not one constant number per output channel");
    else if (ledge__node_is(n, "Gemm") && (ledge__node_float(n, "alpha", 1) != 1 ||
                                           ledge__node_float(n, "beta", 1) != 1))
        stay(q, "its alpha or beta is not 1");
}

static void classify_matmul(const LedgeQuantizer *z, LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    const LedgeValue *a = ledge__node_in(n, 0), *b = ledge__node_in(n, 1);
    if (!is_float(a) || !is_float(b)) {
        stay(q, "it does not work on float32");
        return;
    }
    if (is_float_constant(b) && b->t.rank >= 2) {
        q->role = LEDGE_QUANT_WEIGHTED;
        return;
    }
    q->role = LEDGE_QUANT_PRODUCT;
    if (z->o.mode != LEDGE_QUANT_STATIC)
        stay(q, "it has no constant weights");
}

/* Add, Mul: a scalar is exact in 8 bits; many values of a constant are not. */
static void classify_binary(LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    q->role = LEDGE_QUANT_OWN;
    for (uint32_t i = 0; i < 2; i++) {
        const LedgeValue *v = ledge__node_in(n, i);
        if (!is_float(v))
            stay(q, "it does not work on float32");
        else if (ledge__value_is_constant(v) && ledge_tensor_count(&v->t) != 1)
            stay(q, "8 bits would blur its constant");
    }
}

static void classify_clip(LedgeQuantNode *q)
{
    double lo, hi;
    q->role = LEDGE_QUANT_OWN;
    if (!ledge__quant_bounds(q->node, &lo, &hi))
        stay(q, "its bounds are no constants");
}

/* Runtimes do not know dilations in pools of integers. */
static bool is_dilated(const LedgeNode *n)
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, "dilations", &count);
    for (size_t i = 0; i < count; i++)
        if (v[i] != 1)
            return true;
    return false;
}

static bool pads_zero(const LedgeNode *n)
{
    const LedgeValue *v = ledge__node_in(n, 2);
    if (strcmp(ledge__node_string(n, "mode", "constant"), "constant") != 0)
        return true;
    return v ? ledge__value_is_constant(v) && ledge__value_as_double(v, 0) == 0
             : ledge__node_float(n, "value", 0) == 0;
}

static void classify_move(LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    q->role = LEDGE_QUANT_MOVE;
    if (ledge__node_is(n, "Gather") && ledge__value_is_constant(ledge__node_in(n, 0)))
        stay(q, "it reads a table of constants");
}

/* Of the default domain, with a float input 0. */
static void classify_plain(const LedgeQuantizer *z, LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    const char *op = n->op_type;
    stay(q, "it has no integer form");
    if (strcmp(op, "Conv") == 0 || strcmp(op, "ConvTranspose") == 0 || strcmp(op, "Gemm") == 0)
        classify_weighted(q);
    else if (strcmp(op, "MatMul") == 0)
        classify_matmul(z, q);
    else if (strcmp(op, "Add") == 0 || strcmp(op, "Mul") == 0)
        classify_binary(q);
    else if (strcmp(op, "AveragePool") == 0 || strcmp(op, "GlobalAveragePool") == 0)
        q->role = is_dilated(n) ? LEDGE_QUANT_FLOAT : LEDGE_QUANT_OWN;
    else if (strcmp(op, "MaxPool") == 0)
        q->role = n->n_out > 1 && n->out[1] ? LEDGE_QUANT_FLOAT : LEDGE_QUANT_MOVE;
    else if (strcmp(op, "Resize") == 0)
        q->role = strcmp(ledge__node_string(n, "mode", "nearest"), "cubic") == 0
                      ? LEDGE_QUANT_FLOAT
                      : LEDGE_QUANT_MOVE;
    else if (strcmp(op, "Pad") == 0)
        q->role = pads_zero(n) ? LEDGE_QUANT_MOVE : LEDGE_QUANT_FLOAT;
    else if (strcmp(op, "Clip") == 0)
        classify_clip(q);
    else if (AMONG(op, unary))
        q->role = LEDGE_QUANT_OWN;
    else if (AMONG(op, moves))
        classify_move(q);
    if (q->role != LEDGE_QUANT_FLOAT)
        q->why = NULL;
}

void ledge__quant_classify(const LedgeQuantizer *z, LedgeQuantNode *q)
{
    const LedgeNode *n = q->node;
    q->role = LEDGE_QUANT_FLOAT;
    q->why = NULL;
    if (ledge__node_has_bodies(n))
        stay(q, "what is inside its bodies stays in float");
    else if (n->domain[0] != '\0')
        stay(q, "it is no standard operator");
    else if (!is_float(ledge__node_in(n, 0)) || !is_float(ledge__node_out(n, 0)))
        stay(q, "it does not work on float32");
    else
        classify_plain(z, q);
    if (z->o.mode == LEDGE_QUANT_STATIC)
        return;
    if (q->role != LEDGE_QUANT_WEIGHTED && q->role != LEDGE_QUANT_FLOAT)
        stay(q, "it has no constant weights");
    if (q->role == LEDGE_QUANT_WEIGHTED && z->o.mode == LEDGE_QUANT_INT4) {
        if (!ledge__node_is(n, "MatMul") && !ledge__node_is(n, "Gemm"))
            stay(q, "4 bits are for MatMul and Gemm");
        else if (ledge__node_in(n, 1)->t.rank != 2)
            stay(q, "its weights are no matrix");
    }
}

uint32_t ledge__quant_data_inputs(const LedgeQuantNode *n)
{
    if (n->role == LEDGE_QUANT_FLOAT)
        return 0;
    if (n->role == LEDGE_QUANT_PRODUCT || ledge__node_is(n->node, "Add") ||
        ledge__node_is(n->node, "Mul"))
        return 2;
    return ledge__node_is(n->node, "Concat") ? n->node->n_in : 1;
}

LedgeValue *ledge__quant_output(const LedgeQuantNode *n, uint32_t i)
{
    return n->absorbs ? n->absorbs->out[0] : ledge__node_out(n->node, i);
}

/* Input `i`, or before opset 11 the attribute; infinite where absent. */
static bool bound(const LedgeNode *n, uint32_t i, const char *attr, double absent, double *out)
{
    const LedgeValue *v = ledge__node_in(n, i);
    *out = absent;
    if (v && !ledge__value_is_constant(v))
        return false;
    if (v)
        *out = ledge__value_as_double(v, 0);
    else if (ledge__node_attr(n, attr))
        *out = (double)ledge__node_float(n, attr, 0);
    return !isnan(*out);
}

bool ledge__quant_bounds(const LedgeNode *n, double *lo, double *hi)
{
    *lo = 0;
    *hi = INFINITY;
    if (ledge__node_is(n, "Relu"))
        return true;
    return ledge__node_is(n, "Clip") && bound(n, 1, "min", -INFINITY, lo) &&
           bound(n, 2, "max", INFINITY, hi);
}

bool ledge__quant_captured(const LedgeValue *v)
{
    for (const LedgeUse *u = v->uses; u; u = u->next)
        if ((uint32_t)(u - u->node->in) >= u->node->n_explicit)
            return true;
    return false;
}
