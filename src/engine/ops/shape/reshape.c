/* Reshape, Flatten, Squeeze, Unsqueeze: the same bytes under another shape, and Shape and Size,
 * which are known as soon as the dimensions are. */
#include "engine/ops/shape/move.h"

/* For callers that want the view in memory of its own. */
static LedgeStatus run_copy(LedgeOpCtx *c)
{
    ledge__move_bytes(c->out[0]->data, c->in[0]->data, ledge_tensor_bytes(c->in[0]));
    return LEDGE_OK;
}

/* What -1 stands for: the elements of `in` that the other dimensions do not account for.
 * Dimensions copied by 0 cancel out even where they are unknown. Unknown: -1. */
static LedgeStatus rest_of(LedgeOpCtx *c, const LedgeTensor *in, const int64_t *shape, int n,
                           bool zero_copies, int64_t *rest)
{
    int64_t have = 1, used = 1;
    *rest = -1;
    if (in->rank < 0)
        return LEDGE_OK;
    for (int d = 0; d < in->rank; d++) {
        if (zero_copies && d < n && shape[d] == 0)
            continue;
        if (in->dims[d] < 0)
            return LEDGE_OK;
        have *= in->dims[d];
    }
    for (int d = 0; d < n; d++) {
        if (shape[d] == -1 || (zero_copies && shape[d] == 0))
            continue;
        if (__builtin_mul_overflow(used, shape[d], &used))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the new shape has too many elements");
    }
    if (used == 0 || have % used)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "-1 cannot be found: %lld elements do not divide by %lld",
                              (long long)have, (long long)used);
    *rest = have / used;
    return LEDGE_OK;
}

static LedgeStatus reshape_dims(LedgeOpCtx *c, const int64_t *shape, int n, int64_t *dims)
{
    const LedgeTensor *in = c->in[0];
    bool zero_copies = ledge__node_int(c->node, "allowzero", 0) == 0;
    int inferred = -1;
    for (int d = 0; d < n; d++) {
        dims[d] = shape[d];
        if (shape[d] < -1)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d of the new shape is %lld", d,
                                  (long long)shape[d]);
        if (shape[d] == -1 && inferred >= 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the new shape has more than one -1");
        if (shape[d] == -1)
            inferred = d;
        if (shape[d] == 0 && zero_copies) {
            if (in->rank >= 0 && d >= in->rank)
                return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                      "0 at position %d copies a dimension that the input lacks",
                                      d);
            dims[d] = in->rank < 0 ? -1 : in->dims[d];
        }
    }
    if (inferred >= 0)
        LEDGE_TRY(rest_of(c, in, shape, n, zero_copies, &dims[inferred]));
    return ledge__check_dims(c, n, dims);
}

static LedgeStatus check_same_count(LedgeOpCtx *c)
{
    int64_t a = ledge_tensor_count(c->in[0]), b = ledge_tensor_count(c->out[0]);
    if (a >= 0 && b >= 0 && a != b)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "%lld elements do not fit a shape of %lld elements", (long long)a,
                              (long long)b);
    return LEDGE_OK;
}

static LedgeStatus infer_reshape(LedgeOpCtx *c)
{
    int64_t shape[LEDGE_MAX_RANK], dims[LEDGE_MAX_RANK];
    int n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    if (!ledge__op_out(c, 0))
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_int_input(c, 1, shape, LEDGE_MAX_RANK, &n));
    if (n < 0) {
        const LedgeTensor *s = c->in[1];
        return ledge__out_rank(
            c, 0, c->in[0]->type,
            s->rank == 1 && s->dims[0] >= 0 && s->dims[0] < 1000 ? (int32_t)s->dims[0] : -1);
    }
    LEDGE_TRY(reshape_dims(c, shape, n, dims));
    ledge__op_set_out(c, 0, c->in[0]->type, n, dims);
    return check_same_count(c);
}

static int64_t product_or_unknown(const int64_t *dims, int32_t begin, int32_t end)
{
    for (int32_t d = begin; d < end; d++)
        if (dims[d] < 0)
            return -1;
    return ledge__dims_product(dims, begin, end);
}

static LedgeStatus infer_flatten(LedgeOpCtx *c)
{
    int64_t axis = ledge__node_int(c->node, "axis", 1), dims[2];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_rank(c, 0, in->type, 2);
    if (axis < -in->rank || axis > in->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %lld is outside a tensor of rank %d",
                              (long long)axis, in->rank);
    int32_t at = (int32_t)(axis < 0 ? axis + in->rank : axis);
    dims[0] = product_or_unknown(in->dims, 0, at);
    dims[1] = product_or_unknown(in->dims, at, in->rank);
    ledge__op_set_out(c, 0, in->type, 2, dims);
    return LEDGE_OK;
}

/* The axes of Squeeze and Unsqueeze: an attribute before opset 13, then input 1. *n -1: not
 * known; *given false: there are none. */
static LedgeStatus get_axes(LedgeOpCtx *c, int64_t *axes, int *n, bool *given)
{
    size_t count = 0;
    const int64_t *attr = ledge__node_ints(c->node, "axes", &count);
    const LedgeTensor *in = ledge__op_in(c, 1);
    *given = in || attr;
    *n = 0;
    if (in)
        return ledge__op_int_input(c, 1, axes, LEDGE_MAX_RANK, n);
    if (count > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "%zu axes, at most %d fit", count,
                              LEDGE_MAX_RANK);
    for (size_t i = 0; i < count; i++)
        axes[i] = attr[i];
    *n = (int)count;
    return LEDGE_OK;
}

/* Marks each axis of a tensor of `rank`; the same one twice is an error. */
static LedgeStatus mark_axes(LedgeOpCtx *c, const int64_t *axes, int n, int32_t rank, bool *marked)
{
    memset(marked, 0, LEDGE_MAX_RANK * sizeof *marked);
    for (int i = 0; i < n; i++) {
        int32_t a;
        LEDGE_TRY(ledge__op_axis(c, axes[i], rank, &a));
        if (marked[a])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %d is given twice", a);
        marked[a] = true;
    }
    return LEDGE_OK;
}

static LedgeStatus infer_squeeze(LedgeOpCtx *c)
{
    int64_t axes[LEDGE_MAX_RANK], dims[LEDGE_MAX_RANK];
    bool marked[LEDGE_MAX_RANK], given;
    int n;
    int32_t rank = 0;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(get_axes(c, axes, &n, &given));
    if (in->rank < 0 || n < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(mark_axes(c, axes, n, in->rank, marked));
    for (int32_t d = 0; d < in->rank; d++) {
        if (!given && in->dims[d] < 0) /* it may be 1 */
            return ledge__out_unknown(c, 0, in->type);
        if (marked[d] && in->dims[d] >= 0 && in->dims[d] != 1)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d is %lld and cannot go", d,
                                  (long long)in->dims[d]);
        if (given ? !marked[d] : in->dims[d] != 1)
            dims[rank++] = in->dims[d];
    }
    ledge__op_set_out(c, 0, in->type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus infer_unsqueeze(LedgeOpCtx *c)
{
    int64_t axes[LEDGE_MAX_RANK], dims[LEDGE_MAX_RANK];
    bool marked[LEDGE_MAX_RANK], given;
    int n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(get_axes(c, axes, &n, &given));
    if (!given)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "axes are missing");
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    if (n < 0) {
        int64_t more = ledge_tensor_count(c->in[1]);
        return ledge__out_rank(c, 0, in->type,
                               more < 0 || more > 1000 ? -1 : in->rank + (int32_t)more);
    }
    LEDGE_TRY(ledge__out_rank(c, 0, in->type, in->rank + n));
    LEDGE_TRY(mark_axes(c, axes, n, in->rank + n, marked));
    for (int32_t d = 0, from = 0; d < in->rank + n; d++)
        dims[d] = marked[d] ? 1 : in->dims[from++];
    ledge__op_set_out(c, 0, in->type, in->rank + n, dims);
    return LEDGE_OK;
}

/* start and end of Shape, clamped to the rank. */
static void shape_range(const LedgeOpCtx *c, int32_t rank, int64_t *start, int64_t *end)
{
    int64_t s = ledge__node_int(c->node, "start", 0), e = ledge__node_int(c->node, "end", rank);
    s = s < 0 ? s + rank : s;
    e = e < 0 ? e + rank : e;
    *start = s < 0 ? 0 : s > rank ? rank : s;
    *end = e < 0 ? 0 : e > rank ? rank : e;
    if (*end < *start)
        *end = *start;
}

static LedgeStatus infer_shape(LedgeOpCtx *c)
{
    int64_t start, end, n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LedgeTensor *out = ledge__op_out(c, 0);
    if (!out)
        return LEDGE_OK;
    if (in->rank < 0)
        return ledge__out_rank(c, 0, LEDGE_INT64, 1);
    shape_range(c, in->rank, &start, &end);
    n = end - start;
    ledge__op_set_out(c, 0, LEDGE_INT64, 1, &n);
    for (int64_t d = start; d < end; d++)
        if (in->dims[d] < 0)
            return LEDGE_OK;
    int64_t *data = ledge__op_alloc(c, (size_t)n * 8 + 8);
    if (!data)
        return ledge__no_memory(c->err);
    for (int64_t d = 0; d < n; d++)
        data[d] = in->dims[start + d];
    out->data = data;
    out->bytes = (size_t)n * 8;
    return LEDGE_OK;
}

static LedgeStatus run_shape(LedgeOpCtx *c)
{
    int64_t start, end;
    shape_range(c, c->in[0]->rank, &start, &end);
    ledge__move_bytes(c->out[0]->data, c->in[0]->dims + start, (size_t)(end - start) * 8);
    return LEDGE_OK;
}

static LedgeStatus infer_size(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LedgeTensor *out = ledge__op_out(c, 0);
    int64_t n = ledge_tensor_count(c->in[0]);
    ledge__op_set_out(c, 0, LEDGE_INT64, 0, NULL);
    if (!out || n < 0)
        return LEDGE_OK;
    int64_t *data = ledge__op_alloc(c, 8);
    if (!data)
        return ledge__no_memory(c->err);
    *data = n;
    out->data = data;
    out->bytes = 8;
    return LEDGE_OK;
}

static LedgeStatus run_size(LedgeOpCtx *c)
{
    int64_t n = ledge_tensor_count(c->in[0]);
    memcpy(c->out[0]->data, &n, 8);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_reshape[] = {
    {.domain = "",
     .op_type = "Reshape",
     .since = 5,
     .flags = LEDGE_OP_VIEW,
     .infer = infer_reshape,
     .run = run_copy},
    {.domain = "",
     .op_type = "Flatten",
     .since = 1,
     .flags = LEDGE_OP_VIEW,
     .infer = infer_flatten,
     .run = run_copy},
    {.domain = "",
     .op_type = "Squeeze",
     .since = 1,
     .flags = LEDGE_OP_VIEW,
     .infer = infer_squeeze,
     .run = run_copy},
    {.domain = "",
     .op_type = "Unsqueeze",
     .since = 1,
     .flags = LEDGE_OP_VIEW,
     .infer = infer_unsqueeze,
     .run = run_copy},
    {.domain = "", .op_type = "Shape", .since = 1, .infer = infer_shape, .run = run_shape},
    {.domain = "", .op_type = "Size", .since = 1, .infer = infer_size, .run = run_size},
    {0},
};
