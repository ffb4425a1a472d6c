/* No-ops: nodes whose output is their first input, bit for bit, are stepped over. */
#include "engine/optimize/pass.h"

#include <math.h>

static bool is_same_shape_known(const LedgeNode *n)
{
    return ledge__opt_same_shape(n->in[0].value, n->out[0]);
}

static bool cast_is_noop(const LedgeNode *n)
{
    return n->in[0].value->t.type == (LedgeType)ledge__node_int(n, "to", 0);
}

/* Equal but for at most one free dimension, which the element count then settles. */
static bool reshape_is_noop(const LedgeNode *n)
{
    const LedgeTensor *x = &n->in[0].value->t, *y = &n->out[0]->t;
    if (x->rank < 0 || x->rank != y->rank)
        return false;
    int64_t shape[LEDGE_MAX_RANK];
    int count = ledge__opt_list(n, 1, NULL, shape, LEDGE_MAX_RANK), open = 0;
    bool zero_copies = ledge__node_is(n, "Reshape") && !ledge__node_int(n, "allowzero", 0);
    for (int32_t d = 0; d < x->rank; d++) {
        bool copied = zero_copies && d < count && shape[d] == 0;
        if (copied || (x->dims[d] >= 0 && x->dims[d] == y->dims[d]))
            continue;
        if (x->dims[d] >= 0 || y->dims[d] >= 0 || ++open > 1)
            return false;
    }
    for (int32_t d = 0; d < x->rank && open; d++)
        if (x->dims[d] == 0)
            return false;
    return true;
}

static bool transpose_is_noop(const LedgeNode *n)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    if (!ledge__opt_perm(n, perm, &rank))
        return false;
    for (int32_t d = 0; d < rank; d++)
        if (perm[d] != d)
            return false;
    return true;
}

static bool slice_is_noop(const LedgeNode *n)
{
    int64_t starts[LEDGE_MAX_RANK], ends[LEDGE_MAX_RANK], axes[LEDGE_MAX_RANK],
        steps[LEDGE_MAX_RANK];
    const LedgeTensor *x = &n->in[0].value->t;
    int ns = ledge__opt_list(n, 1, "starts", starts, LEDGE_MAX_RANK);
    int ne = ledge__opt_list(n, 2, "ends", ends, LEDGE_MAX_RANK);
    int na = ledge__opt_list(n, 3, "axes", axes, LEDGE_MAX_RANK);
    int nt = ledge__opt_list(n, 4, NULL, steps, LEDGE_MAX_RANK);
    if (ns < 0 || ne != ns || x->rank < 0 || (na != -2 && na != ns) || (nt != -2 && nt != ns))
        return false;
    for (int i = 0; i < ns; i++) {
        int32_t axis = ledge__opt_axis(na == -2 ? i : axes[i], x->rank);
        if (axis < 0 || starts[i] != 0 || (nt != -2 && steps[i] != 1))
            return false;
        bool to_end = ends[i] >= INT32_MAX || (x->dims[axis] >= 0 && ends[i] >= x->dims[axis]);
        if (!to_end)
            return false;
    }
    return true;
}

static bool pad_is_noop(const LedgeNode *n)
{
    int64_t pads[2 * LEDGE_MAX_RANK];
    int count = ledge__opt_list(n, 1, "pads", pads, 2 * LEDGE_MAX_RANK);
    for (int i = 0; i < count; i++)
        if (pads[i] != 0)
            return false;
    return count > 0;
}

static bool has_one_input(const LedgeNode *n)
{
    return n->n_in == 1;
}

static bool flatten_is_noop(const LedgeNode *n)
{
    return n->in[0].value->t.rank == 2 && ledge__node_int(n, "axis", 1) == 1;
}

static bool dropout_is_noop(const LedgeNode *n)
{
    const LedgeValue *training = ledge__node_in(n, 2);
    return !training ||
           (ledge__value_is_constant(training) && ledge__value_as_int(training, 0) == 0);
}

/* x + 0, x * 1 and so on: not for x + 0 with x = -0, whose sign nobody can rely on. */
static bool neutral_is_noop(const LedgeNode *n, double neutral)
{
    double v;
    const LedgeTensor *x = &n->in[0].value->t;
    return n->n_in == 2 && ledge__opt_scalar(n->in[1].value, &v) && v == neutral && x->rank >= 0 &&
           n->in[1].value->t.rank <= x->rank;
}

static bool zero_is_noop(const LedgeNode *n)
{
    return neutral_is_noop(n, 0);
}

static bool one_is_noop(const LedgeNode *n)
{
    return neutral_is_noop(n, 1);
}

static bool relu_is_noop(const LedgeNode *n)
{
    const LedgeValue *x = n->in[0].value;
    return ledge__opt_made_by(x, "Relu") || ledge__opt_made_by(x, "Sigmoid") ||
           ledge__opt_made_by(x, "HardSigmoid");
}

static bool clip_is_noop(const LedgeNode *n)
{
    return !ledge__node_in(n, 1) && !ledge__node_in(n, 2) && !ledge__node_attr(n, "min") &&
           !ledge__node_attr(n, "max") && n->opset >= 11;
}

/* A 1x1 window with stride 1 and no padding. */
static bool pool_is_noop(const LedgeNode *n)
{
    return (n->n_out < 2 || !n->out[1]) && ledge__opt_all_are(n, "kernel_shape", 1) &&
           ledge__opt_all_are(n, "strides", 1) && ledge__opt_all_are(n, "pads", 0);
}

static const struct {
    const char *op_type;
    bool (*is_noop)(const LedgeNode *n);
} rules[] = {{"Cast", cast_is_noop},
             {"Reshape", reshape_is_noop},
             {"Squeeze", reshape_is_noop},
             {"Unsqueeze", reshape_is_noop},
             {"Expand", is_same_shape_known},
             {"Transpose", transpose_is_noop},
             {"Slice", slice_is_noop},
             {"Pad", pad_is_noop},
             {"Concat", has_one_input},
             {"Sum", has_one_input},
             {"Max", has_one_input},
             {"Min", has_one_input},
             {"Mean", has_one_input},
             {"Flatten", flatten_is_noop},
             {"Dropout", dropout_is_noop},
             {"Identity", has_one_input},
             {"Add", zero_is_noop},
             {"Sub", zero_is_noop},
             {"Mul", one_is_noop},
             {"Div", one_is_noop},
             {"Pow", one_is_noop},
             {"Relu", relu_is_noop},
             {"Clip", clip_is_noop},
             {"MaxPool", pool_is_noop},
             {"AveragePool", pool_is_noop}};

LedgeStatus ledge__opt_noop(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    (void)c;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->domain[0] || n->n_in == 0 || !n->in[0].value || n->n_out == 0 || !n->out[0])
            continue;
        for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
            if (strcmp(n->op_type, rules[i].op_type) == 0 && rules[i].is_noop(n)) {
                *changed |= ledge__opt_bypass(g, n, n->in[0].value);
                break;
            }
    }
    return LEDGE_OK;
}
