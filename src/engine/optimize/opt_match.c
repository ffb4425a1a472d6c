/* Looking at nodes and constants, for all passes. */
#include "engine/optimize/pass.h"

#include <math.h>

LedgeNode *ledge__opt_made_by(const LedgeValue *v, const char *op_type)
{
    return v && v->producer && v->producer->out[0] == v && ledge__node_is(v->producer, op_type)
               ? v->producer
               : NULL;
}

LedgeNode *ledge__opt_made_only_by(const LedgeValue *v, const char *op_type)
{
    return ledge__opt_single_use(v) ? ledge__opt_made_by(v, op_type) : NULL;
}

bool ledge__opt_all_are(const LedgeNode *n, const char *name, int64_t value)
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, name, &count);
    for (size_t i = 0; v && i < count; i++)
        if (v[i] != value)
            return false;
    return true;
}

LedgeNode *ledge__opt_made_only_by_ledge(const LedgeValue *v, const char *op_type)
{
    return ledge__opt_single_use(v) && v->producer && v->producer->out[0] == v &&
                   ledge__node_is_ledge(v->producer, op_type)
               ? v->producer
               : NULL;
}

bool ledge__opt_scalar(const LedgeValue *v, double *out)
{
    if (!ledge__value_is_constant(v) || ledge_tensor_count(&v->t) != 1)
        return false;
    *out = ledge__value_as_double(v, 0);
    return true;
}

bool ledge__opt_is_scalar(const LedgeValue *v, double want)
{
    double x;
    return ledge__opt_scalar(v, &x) && fabs(x - want) <= 2e-6 * fabs(want);
}

int ledge__opt_scalar_side(const LedgeNode *n, double *out)
{
    if (n->n_in != 2)
        return -1;
    if (ledge__opt_scalar(n->in[1].value, out))
        return 1;
    return ledge__opt_scalar(n->in[0].value, out) ? 0 : -1;
}

int ledge__opt_list(const LedgeNode *n, uint32_t input, const char *attr, int64_t *out, int max)
{
    size_t count;
    const int64_t *ints = attr ? ledge__node_ints(n, attr, &count) : NULL;
    if (ints) {
        if (count > (size_t)max)
            return -1;
        memcpy(out, ints, count * sizeof *out);
        return (int)count;
    }
    const LedgeValue *v = ledge__node_in(n, input);
    if (!v)
        return -2;
    int64_t elements = ledge_tensor_count(&v->t);
    if (!ledge__value_is_constant(v) || elements < 0 || elements > max)
        return -1;
    for (int64_t i = 0; i < elements; i++)
        out[i] = ledge__value_as_int(v, i);
    return (int)elements;
}

bool ledge__opt_clip_bounds(const LedgeNode *clip, double *low, double *high)
{
    const LedgeAttr *min = ledge__node_attr(clip, "min"), *max = ledge__node_attr(clip, "max");
    const LedgeValue *vmin = ledge__node_in(clip, 1), *vmax = ledge__node_in(clip, 2);
    *low = min ? (double)min->f : -INFINITY;
    *high = max ? (double)max->f : INFINITY;
    return (!vmin || ledge__opt_scalar(vmin, low)) && (!vmax || ledge__opt_scalar(vmax, high));
}

bool ledge__opt_float_constant(const LedgeValue *v)
{
    return ledge__value_is_constant(v) && v->t.type == LEDGE_FLOAT &&
           ledge_tensor_count(&v->t) >= 0;
}

void ledge__opt_copy_floats(const LedgeValue *v, float *out)
{
    memcpy(out, v->t.data, (size_t)ledge_tensor_count(&v->t) * sizeof *out);
}

bool ledge__opt_perm(const LedgeNode *transpose, int32_t *perm, int32_t *rank)
{
    const LedgeValue *x = ledge__node_in(transpose, 0);
    size_t count;
    const int64_t *p = ledge__node_ints(transpose, "perm", &count);
    int32_t r = p ? (int32_t)count : x ? x->t.rank : -1;
    if (r < 0 || r > LEDGE_MAX_RANK || (x && x->t.rank >= 0 && x->t.rank != r))
        return false;
    unsigned seen = 0;
    for (int32_t d = 0; d < r; d++) {
        int64_t from = p ? p[d] : r - 1 - d;
        if (from < 0 || from >= r || (seen >> from & 1))
            return false;
        seen |= 1u << from;
        perm[d] = (int32_t)from;
    }
    *rank = r;
    return true;
}

/* ---- equal shapes although dims are free: both come from one dim of one value ---- */

typedef struct Dim {
    const LedgeValue *v;
    int32_t axis;
} Dim;

static bool is_one_of(const char *op_type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op_type, *list) == 0)
            return true;
    return false;
}

static bool keeps_all_dims(const LedgeNode *n)
{
    static const char *const list[] = {"Relu",
                                       "Clip",
                                       "Sigmoid",
                                       "Tanh",
                                       "LeakyRelu",
                                       "HardSwish",
                                       "HardSigmoid",
                                       "Gelu",
                                       "Elu",
                                       "Selu",
                                       "Erf",
                                       "Exp",
                                       "Log",
                                       "Sqrt",
                                       "Neg",
                                       "Abs",
                                       "Reciprocal",
                                       "Softplus",
                                       "Softsign",
                                       "Mish",
                                       "Identity",
                                       "Cast",
                                       "Softmax",
                                       "LogSoftmax",
                                       "BatchNormalization",
                                       "Affine",
                                       "LayerNormalization",
                                       "SkipLayerNorm",
                                       "InstanceNormalization",
                                       "LRN",
                                       "Dropout",
                                       "QuantizeLinear",
                                       "DequantizeLinear",
                                       "QMap",
                                       "Quantize",
                                       "Dequantize",
                                       "DynamicQuantizeLinear",
                                       NULL};
    return is_one_of(n->op_type, list) && !ledge__node_attr(n, "layout");
}

static bool keeps_batch(const LedgeNode *n)
{
    static const char *const list[] = {"Conv",
                                       "ConvTranspose",
                                       "MaxPool",
                                       "AveragePool",
                                       "GlobalAveragePool",
                                       "GlobalMaxPool",
                                       "Flatten",
                                       "InvertedBottleneck",
                                       "DepthToSpace",
                                       "SpaceToDepth",
                                       "QConv",
                                       "QInvertedBottleneck",
                                       "QAveragePool",
                                       "QGlobalAveragePool",
                                       NULL};
    return is_one_of(n->op_type, list) &&
           (strcmp(n->op_type, "Flatten") != 0 || ledge__node_int(n, "axis", 1) == 1);
}

static Dim origin(const LedgeValue *v, int32_t axis, int depth);

/* Of a node that broadcasts: the input that gives a free dim; where several do, they must have
 * one origin. */
static bool through_broadcast(const LedgeNode *n, Dim *d, int depth)
{
    int32_t rank = d->v->t.rank;
    Dim found = {NULL, 0};
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *x = n->in[i].value;
        if (!x || x->t.rank < 0)
            return false;
        int32_t axis = d->axis - (rank - x->t.rank);
        if (axis < 0 || x->t.dims[axis] >= 0)
            continue;
        Dim from = depth > 0 ? origin(x, axis, depth - 1) : (Dim){x, axis};
        if (found.v && (found.v != from.v || found.axis != from.axis || depth == 0))
            return false;
        found = from;
    }
    if (found.v)
        *d = found;
    return found.v != NULL;
}

/* A window that moves by 1 over as much padding as it covers: as many places as pixels. */
static bool keeps_size(const LedgeNode *n, const Dim *d)
{
    bool internal = n->domain[0] != 0;
    int32_t i = d->axis - (internal ? 1 : 2);
    const LedgeValue *w = ledge__node_in(n, 1);
    size_t n_pads, n_strides, n_dilations;
    const int64_t *pads = ledge__node_ints(n, "pads", &n_pads);
    const int64_t *strides = ledge__node_ints(n, "strides", &n_strides);
    const int64_t *dilations = ledge__node_ints(n, "dilations", &n_dilations);
    bool conv = strcmp(n->op_type, "Conv") == 0 || strcmp(n->op_type, "QConv") == 0;
    if (!conv || d->v->t.rank != 4 || i < 0 || i > 1 || !w || w->t.rank != 4 ||
        ledge__node_attr(n, "auto_pad") || (pads && n_pads != 4) ||
        (strides && (n_strides != 2 || strides[i] != 1)) || (dilations && n_dilations != 2))
        return false;
    int64_t reach = (w->t.dims[2 + i] - 1) * (dilations ? dilations[i] : 1);
    return w->t.dims[2 + i] > 0 && (pads ? pads[i] + pads[i + 2] : 0) == reach;
}

/* Gather by one index takes an axis away. */
static bool through_gather(const LedgeNode *n, Dim *d)
{
    const LedgeValue *x = n->in[0].value, *index = ledge__node_in(n, 1);
    int32_t axis = ledge__opt_axis(ledge__node_int(n, "axis", 0), x->t.rank);
    if (!index || index->t.rank != 0 || axis < 0)
        return false;
    *d = (Dim){x, d->axis < axis ? d->axis : d->axis + 1};
    return true;
}

static bool through_reshape(const LedgeNode *n, Dim *d)
{
    int64_t shape[LEDGE_MAX_RANK];
    int count = ledge__opt_list(n, 1, NULL, shape, LEDGE_MAX_RANK);
    if (d->axis >= count || shape[d->axis] != 0 || ledge__node_int(n, "allowzero", 0))
        return false;
    d->v = n->in[0].value;
    return true;
}

/* Slice and Pad keep the dims that they do not name. */
static bool through_window(const LedgeNode *n, const Dim *d)
{
    int64_t list[2 * LEDGE_MAX_RANK];
    int32_t rank = d->v->t.rank;
    bool pad = strcmp(n->op_type, "Pad") == 0;
    int n_axes = ledge__opt_list(n, 3, "axes", list, LEDGE_MAX_RANK);
    for (int i = 0; i < n_axes; i++)
        if (ledge__opt_axis(list[i], rank) == d->axis)
            return false;
    if (n_axes >= 0)
        return true;
    int count = n_axes == -2 && pad ? ledge__opt_list(n, 1, "pads", list, 2 * LEDGE_MAX_RANK) : 0;
    return count == 2 * rank && list[d->axis] == 0 && list[d->axis + rank] == 0;
}

/* One step up; false where the origin is reached or the step is not understood. */
static bool step_up(Dim *d, int depth)
{
    static const char *const broadcast[] = {"Add",   "Sub", "Mul", "Div",  "Pow",  "Where",
                                            "PRelu", "Min", "Max", "QAdd", "QMul", NULL};
    const LedgeNode *n = d->v->producer;
    if (ledge__node_is(n, "Split") && n->in[0].value && d->axis < n->in[0].value->t.rank &&
        ledge__opt_axis(ledge__node_int(n, "axis", 0), d->v->t.rank) != d->axis) {
        d->v = n->in[0].value;
        return true;
    }
    if (n && ledge__node_is_ledge(n, "SkipLayerNorm") && n->in[0].value) {
        d->v = n->in[0].value; /* either output */
        return true;
    }
    if (!n || n->out[0] != d->v || n->n_in == 0 || !n->in[0].value)
        return false;
    const LedgeValue *x = n->in[0].value;
    bool internal = strcmp(n->domain, "ledge") == 0;
    bool is_product = strcmp(n->op_type, "MatMul") == 0 && !ledge__node_attr(n, "perm_a") &&
                      !ledge__node_attr(n, "perm_b") && !ledge__node_attr(n, "perm_y");
    if (is_one_of(n->op_type, broadcast) || (is_product && d->axis < d->v->t.rank - 2))
        return through_broadcast(n, d, depth);
    if (ledge__node_is(n, "Gather"))
        return through_gather(n, d);
    if (ledge__node_is(n, "Reshape"))
        return through_reshape(n, d);
    if (ledge__node_is(n, "Transpose")) {
        int32_t perm[LEDGE_MAX_RANK], rank;
        if (!ledge__opt_perm(n, perm, &rank) || d->axis >= rank)
            return false;
        *d = (Dim){x, perm[d->axis]};
        return true;
    }
    if (ledge__node_is(n, "Slice") || ledge__node_is(n, "Pad")) {
        if (!through_window(n, d))
            return false;
        d->v = x;
        return true;
    }
    bool is_gemm = internal && (strcmp(n->op_type, "Gemm") == 0 ||
                                strcmp(n->op_type, "MatMulInteger") == 0 ||
                                strcmp(n->op_type, "MatMulBlocks") == 0 ||
                                (strcmp(n->op_type, "QGemm") == 0 && n->n_in > 1 &&
                                 ledge__value_is_constant(n->in[1].value)));
    bool same = keeps_all_dims(n) || (keeps_batch(n) && d->axis == 0) || keeps_size(n, d) ||
                (ledge__node_is(n, "Concat") &&
                 ledge__opt_axis(ledge__node_int(n, "axis", 0), d->v->t.rank) != d->axis) ||
                (is_gemm && d->axis < d->v->t.rank - 1) ||
                (internal && strcmp(n->op_type, "Attention") == 0 && d->axis < 2);
    if (same)
        d->v = x;
    return same;
}

enum { MAX_STEPS = 10000, MAX_FORKS = 4 };

static Dim origin(const LedgeValue *v, int32_t axis, int depth)
{
    Dim d = {v, axis};
    for (int steps = 0; steps < MAX_STEPS && step_up(&d, depth); steps++)
        ;
    return d;
}

bool ledge__opt_same_dim(const LedgeValue *a, int32_t a_axis, const LedgeValue *b, int32_t b_axis)
{
    int64_t da = a->t.dims[a_axis], db = b->t.dims[b_axis];
    if (da >= 0 || db >= 0)
        return da == db;
    Dim oa = origin(a, a_axis, MAX_FORKS), ob = origin(b, b_axis, MAX_FORKS);
    return oa.v == ob.v && oa.axis == ob.axis;
}

bool ledge__opt_same_shape(const LedgeValue *a, const LedgeValue *b)
{
    if (a->t.rank < 0 || a->t.rank != b->t.rank)
        return false;
    for (int32_t i = 0; i < a->t.rank; i++)
        if (!ledge__opt_same_dim(a, i, b, i))
            return false;
    return true;
}
