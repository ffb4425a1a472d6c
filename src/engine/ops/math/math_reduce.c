/* Operators that reduce dimensions: Reduce*, ArgMax, ArgMin; those that accumulate along one:
 * CumSum, CumProd; and Det. Axes are an attribute in older versions, an input in newer ones. */
#include <math.h>

#include "engine/kernels/ref/convert.h"
#include "engine/kernels/ref/reduce.h"
#include "engine/kernels/vec.h"
#include "engine/ops/math/math_types.h"

#define REDUCIBLE (LEDGE_SET_NUMBERS | LEDGE_SET(BOOL))

/* ---- Reduce* ---- */

/* Bits of the reduced dimensions; *n how many axes were named, -1 while the axes are unknown. */
static LedgeStatus reduced_axes(LedgeOpCtx *c, uint32_t *axes, int *n)
{
    const LedgeTensor *x = c->in[0];
    int64_t values[LEDGE_MAX_RANK];
    *axes = 0;
    *n = 0;
    if (ledge__op_in(c, 1)) {
        LEDGE_TRY(ledge__op_int_input(c, 1, values, LEDGE_MAX_RANK, n));
    } else {
        size_t count;
        const int64_t *attr = ledge__node_ints(c->node, "axes", &count);
        if (count > LEDGE_MAX_RANK)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "%zu axes, at most %d fit", count,
                                  LEDGE_MAX_RANK);
        for (size_t i = 0; i < count; i++)
            values[i] = attr[i];
        *n = (int)count;
    }
    for (int i = 0; i < *n && x->rank >= 0; i++) {
        int32_t axis;
        LEDGE_TRY(ledge__op_axis(c, values[i], x->rank, &axis));
        if (*axes >> axis & 1)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %d is named twice", axis);
        *axes |= 1u << axis;
    }
    if (*n == 0 && x->rank >= 0 && ledge__node_int(c->node, "noop_with_empty_axes", 0) == 0)
        *axes = (1u << x->rank) - 1;
    return LEDGE_OK;
}

/* Number of elements in the axes input when its shape is known; else -1. */
static int64_t axes_named(const LedgeOpCtx *c)
{
    const LedgeTensor *t = ledge__op_in(c, 1);
    return t ? ledge_tensor_count(t) : 0;
}

static LedgeStatus infer_reduce(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, REDUCIBLE));
    const LedgeTensor *x = c->in[0];
    bool keep = ledge__node_int(c->node, "keepdims", 1) != 0;
    uint32_t axes;
    int n;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(reduced_axes(c, &axes, &n));
    int32_t rank = 0;
    if (x->rank < 0) {
        rank = -1;
    } else if (n < 0) { /* axes come later; their number may say the rank */
        int64_t named = axes_named(c);
        rank = keep ? x->rank : named > 0 && named <= x->rank ? x->rank - (int32_t)named : -1;
        for (int32_t d = 0; d < rank; d++)
            dims[d] = -1;
    } else {
        for (int32_t d = 0; d < x->rank; d++)
            if (!(axes >> d & 1))
                dims[rank++] = x->dims[d];
            else if (keep)
                dims[rank++] = 1;
    }
    ledge__op_set_out(c, 0, x->type, rank, dims);
    return LEDGE_OK;
}

/* Neighbouring axes of a float32 tensor, of which MIN and MAX (exact in any order) are taken by the
 * vector kernels; sums stay with the double accumulators. */
static bool reduce_by_vectors(LedgeOpCtx *c, LedgeReduce kind, uint32_t axes)
{
    const LedgeTensor *x = c->in[0];
    size_t part[3] = {1, 1, 1}; /* before, among and after the axes */
    int at = 0;
    if (x->type != LEDGE_FLOAT || (kind != LEDGE_REDUCE_MAX && kind != LEDGE_REDUCE_MIN))
        return false;
    for (int32_t d = 0; d < x->rank; d++) {
        bool reduced = axes >> d & 1;
        at += reduced != (at == 1);
        if (at > 2)
            return false;
        part[at] *= (size_t)x->dims[d];
    }
    if (part[0] * part[1] * part[2] == 0)
        return false;
    ledge__vec_reduce((LedgeRunner){c->pool, c->cpu},
                      kind == LEDGE_REDUCE_MAX ? LEDGE_R_MAX : LEDGE_R_MIN, x->data,
                      c->out[0]->data, part[0], part[1], part[2]);
    return true;
}

static LedgeStatus run_reduce(LedgeOpCtx *c, LedgeReduce kind)
{
    uint32_t axes;
    int n;
    LEDGE_TRY(reduced_axes(c, &axes, &n));
    if (reduce_by_vectors(c, kind, axes))
        return LEDGE_OK;
    ledge__reduce(kind, c->in[0], axes, c->out[0], c->pool);
    return LEDGE_OK;
}

#define REDUCE_OPS(X)                                                                              \
    X(ReduceSum, SUM)                                                                              \
    X(ReduceMean, MEAN)                                                                            \
    X(ReduceProd, PROD)                                                                            \
    X(ReduceMin, MIN)                                                                              \
    X(ReduceMax, MAX)                                                                              \
    X(ReduceL1, L1)                                                                                \
    X(ReduceL2, L2)                                                                                \
    X(ReduceSumSquare, SUM_SQUARE)                                                                 \
    X(ReduceLogSum, LOG_SUM)                                                                       \
    X(ReduceLogSumExp, LOG_SUM_EXP)

#define REDUCE_FUNCTION(name, kind)                                                                \
    static LedgeStatus run_##name(LedgeOpCtx *c)                                                   \
    {                                                                                              \
        return run_reduce(c, LEDGE_REDUCE_##kind);                                                 \
    }
REDUCE_OPS(REDUCE_FUNCTION)

/* ---- ArgMax, ArgMin ---- */

static LedgeStatus arg_axis(LedgeOpCtx *c, int32_t *axis)
{
    int64_t a = ledge__node_int(c->node, "axis", 0);
    if (c->in[0]->rank == 0 && (a == 0 || a == -1)) {
        *axis = 0;
        return LEDGE_OK;
    }
    return ledge__op_axis(c, a, c->in[0]->rank, axis);
}

static LedgeStatus infer_arg(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_NUMBERS));
    const LedgeTensor *x = c->in[0];
    bool keep = ledge__node_int(c->node, "keepdims", 1) != 0;
    int64_t dims[LEDGE_MAX_RANK];
    int32_t axis, rank = 0;
    if (x->rank < 0) {
        ledge__op_set_out(c, 0, LEDGE_INT64, -1, NULL);
        return LEDGE_OK;
    }
    LEDGE_TRY(arg_axis(c, &axis));
    if (x->rank > 0 && x->dims[axis] == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %d is empty, so nothing is largest",
                              axis);
    for (int32_t d = 0; d < x->rank; d++)
        if (d != axis)
            dims[rank++] = x->dims[d];
        else if (keep)
            dims[rank++] = 1;
    ledge__op_set_out(c, 0, LEDGE_INT64, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_arg(LedgeOpCtx *c, bool smallest)
{
    int32_t axis;
    LEDGE_TRY(arg_axis(c, &axis));
    ledge__arg_extreme(c->in[0], axis, smallest,
                       ledge__node_int(c->node, "select_last_index", 0) != 0, c->out[0]->data,
                       c->pool);
    return LEDGE_OK;
}

static LedgeStatus run_arg_max(LedgeOpCtx *c)
{
    return run_arg(c, false);
}

static LedgeStatus run_arg_min(LedgeOpCtx *c)
{
    return run_arg(c, true);
}

/* ---- CumSum, CumProd ---- */

static LedgeStatus infer_cumulate(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 1, LEDGE_SET_INDICES));
    return ledge__math_infer_like_input(c, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE);
}

static LedgeStatus run_cumulate(LedgeOpCtx *c, bool product)
{
    int64_t value;
    bool known;
    int32_t axis;
    LEDGE_TRY(ledge__math_scalar_int(c, 1, &value, &known));
    LEDGE_TRY(ledge__op_axis(c, value, c->in[0]->rank, &axis));
    ledge__accumulate(c->in[0], axis, product, ledge__node_int(c->node, "exclusive", 0) != 0,
                      ledge__node_int(c->node, "reverse", 0) != 0, c->out[0], c->pool);
    return LEDGE_OK;
}

static LedgeStatus run_cum_sum(LedgeOpCtx *c)
{
    return run_cumulate(c, false);
}

static LedgeStatus run_cum_prod(LedgeOpCtx *c)
{
    return run_cumulate(c, true);
}

/* ---- Det ---- */

static LedgeStatus infer_det(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_FLOATS));
    const LedgeTensor *x = c->in[0];
    if (x->rank >= 0 && x->rank < 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has rank %d, must be at least 2",
                              x->rank);
    if (x->rank >= 2 && x->dims[x->rank - 1] >= 0 && x->dims[x->rank - 2] >= 0 &&
        x->dims[x->rank - 1] != x->dims[x->rank - 2])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "matrices of %lld by %lld have no determinant",
                              (long long)x->dims[x->rank - 2], (long long)x->dims[x->rank - 1]);
    ledge__op_set_out(c, 0, x->type, x->rank < 0 ? -1 : x->rank - 2, x->dims);
    return LEDGE_OK;
}

static LedgeStatus prepare_det(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    size_t n = (size_t)x->dims[x->rank - 1];
    if (!ledge__mul(n, n, &n) || !ledge__mul(n, sizeof(double), &c->scratch_bytes))
        return ledge__no_memory(c->err);
    return LEDGE_OK;
}

static void swap_rows(double *m, size_t n, size_t a, size_t b)
{
    for (size_t k = 0; k < n; k++) {
        double t = m[a * n + k];
        m[a * n + k] = m[b * n + k];
        m[b * n + k] = t;
    }
}

/* Elimination with partial pivoting; m is used up. */
static double determinant(double *m, size_t n)
{
    double det = 1;
    for (size_t i = 0; i < n; i++) {
        size_t pivot = i;
        for (size_t r = i + 1; r < n; r++)
            if (fabs(m[r * n + i]) > fabs(m[pivot * n + i]))
                pivot = r;
        if (m[pivot * n + i] == 0)
            return 0;
        if (pivot != i) {
            swap_rows(m, n, pivot, i);
            det = -det;
        }
        det *= m[i * n + i];
        for (size_t r = i + 1; r < n; r++) {
            double f = m[r * n + i] / m[i * n + i];
            for (size_t k = i; k < n; k++)
                m[r * n + k] -= f * m[i * n + k];
        }
    }
    return det;
}

static LedgeStatus run_det(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = c->out[0];
    size_t n = (size_t)x->dims[x->rank - 1], count = (size_t)ledge_tensor_count(y);
    for (size_t i = 0; i < count; i++) {
        ledge__load_f64(x->type, x->data, i * n * n, n * n, c->scratch);
        double det = determinant(c->scratch, n);
        ledge__store_f64(y->type, y->data, i, 1, &det);
    }
    return LEDGE_OK;
}

#define REDUCE_ENTRY(name, kind) {"", #name, 1, 0, 0, infer_reduce, NULL, run_##name, NULL},

const LedgeOp ledge__ops_math_reduce[] = {
    REDUCE_OPS(REDUCE_ENTRY)
    {"", "ArgMax", 1, 0, 0, infer_arg, NULL, run_arg_max, NULL},
    {"", "ArgMin", 1, 0, 0, infer_arg, NULL, run_arg_min, NULL},
    {"", "CumSum", 11, 0, LEDGE_OP_INPLACE, infer_cumulate, NULL, run_cum_sum, NULL},
    {"", "CumProd", 26, 0, LEDGE_OP_INPLACE, infer_cumulate, NULL, run_cum_prod, NULL},
    {"", "Det", 11, 0, 0, infer_det, prepare_det, run_det, NULL},
    {0}};
