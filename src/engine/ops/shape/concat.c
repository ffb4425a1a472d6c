/* Concat and Split: for each part one strided copy of [outer, part × inner] rows. */
#include "engine/ops/shape/move.h"

/* Joins the dims of one more input into `dims`; on the axis they add up. */
static LedgeStatus join(LedgeOpCtx *c, const LedgeTensor *t, int32_t rank, int32_t axis,
                        int64_t *dims)
{
    for (int32_t d = 0; d < rank; d++) {
        if (d == axis) {
            if (dims[d] < 0 || t->dims[d] < 0)
                dims[d] = -1;
            else if (__builtin_add_overflow(dims[d], t->dims[d], &dims[d]))
                return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has too many elements");
        } else if (dims[d] < 0) {
            dims[d] = t->dims[d];
        } else if (t->dims[d] >= 0 && t->dims[d] != dims[d]) {
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "dimension %d is %lld in one input and %lld in another", d,
                                  (long long)dims[d], (long long)t->dims[d]);
        }
    }
    return LEDGE_OK;
}

static LedgeStatus infer_concat(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    int32_t rank = -1, axis = 0;
    bool all = true;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LedgeType type = c->in[0]->type;
    for (uint32_t i = 0; i < c->n_in; i++) {
        LEDGE_TRY(ledge__op_need(c, i, type));
        const LedgeTensor *t = c->in[i];
        if (t->rank < 0) {
            all = false;
            continue;
        }
        if (rank < 0) {
            rank = t->rank;
            memcpy(dims, t->dims, sizeof dims);
            LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 1), rank, &axis));
            continue;
        }
        if (t->rank != rank)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %d dimensions, others %d", i,
                                  t->rank, rank);
        LEDGE_TRY(join(c, t, rank, axis, dims));
    }
    if (rank < 0)
        return ledge__out_unknown(c, 0, type);
    if (!all)
        dims[axis] = -1;
    LEDGE_TRY(ledge__check_dims(c, rank, dims));
    ledge__op_set_out(c, 0, type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_concat(LedgeOpCtx *c)
{
    const LedgeTensor *out = c->out[0];
    int32_t axis;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, out, &size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 1), out->rank, &axis));
    int64_t outer = ledge__dims_product(out->dims, 0, axis);
    int64_t row = ledge__dims_product(out->dims, axis, out->rank), at = 0;
    for (uint32_t i = 0; i < c->n_in; i++) {
        int64_t n = ledge__dims_product(c->in[i]->dims, axis, out->rank);
        LedgeMove m = {.bits = (unsigned)size * 8, .to_offset = at};
        ledge__move_dim(&m, outer, n, row);
        ledge__move_dim(&m, n, 1, 1);
        ledge__move(&m, c->in[i]->data, out->data, c->pool);
        at += n;
    }
    return LEDGE_OK;
}

/* Size of part `i`: from the values of `split`, or equal parts of which the last is smaller. */
static LedgeStatus part_size(LedgeOpCtx *c, int64_t n, uint32_t i, int64_t *out)
{
    size_t count = 0;
    const int64_t *attr = ledge__node_ints(c->node, "split", &count);
    const LedgeTensor *in = ledge__op_in(c, 1);
    int64_t parts = ledge__node_int(c->node, "num_outputs", c->n_out);
    *out = -1;
    if (in && in->data) {
        int64_t given = ledge_tensor_count(in);
        if (given != c->n_out)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "split has %lld entries for %u outputs",
                                  (long long)given, c->n_out);
        *out = ledge__index_at(in, i);
    } else if (attr) {
        if (count != c->n_out)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "split has %zu entries for %u outputs",
                                  count, c->n_out);
        *out = attr[i];
    } else if (!in && n >= 0) {
        if (parts < 1)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "num_outputs is %lld", (long long)parts);
        int64_t each = n / parts + (n % parts != 0), left = n - each * i;
        *out = left < 0 ? 0 : left < each ? left : each;
    }
    if (*out < -1 || (*out == -1 && n >= 0 && ((in && in->data) || attr)))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "part %u has a negative size", i);
    return LEDGE_OK;
}

static LedgeStatus infer_split(LedgeOpCtx *c)
{
    int32_t axis;
    int64_t sum = 0;
    bool known = true;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (ledge__op_in(c, 1))
        LEDGE_TRY(ledge__need_index(c, 1));
    if (in->rank < 0) {
        for (uint32_t i = 0; i < c->n_out; i++)
            ledge__op_set_out(c, i, in->type, -1, NULL);
        return LEDGE_OK;
    }
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    for (uint32_t i = 0; i < c->n_out; i++) {
        int64_t dims[LEDGE_MAX_RANK];
        memcpy(dims, in->dims, sizeof dims);
        LEDGE_TRY(part_size(c, in->dims[axis], i, &dims[axis]));
        ledge__op_set_out(c, i, in->type, in->rank, dims);
        known = known && dims[axis] >= 0 && !__builtin_add_overflow(sum, dims[axis], &sum);
    }
    if (known && in->dims[axis] >= 0 && sum != in->dims[axis])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the parts add up to %lld, the dimension is %lld", (long long)sum,
                              (long long)in->dims[axis]);
    return LEDGE_OK;
}

static LedgeStatus run_split(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int32_t axis;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    int64_t outer = ledge__dims_product(in->dims, 0, axis);
    int64_t inner = ledge__dims_product(in->dims, axis + 1, in->rank);
    int64_t row = in->dims[axis] * inner, at = 0;
    for (uint32_t i = 0; i < c->n_out; i++) {
        int64_t part;
        LEDGE_TRY(part_size(c, in->dims[axis], i, &part));
        LedgeMove m = {.bits = (unsigned)size * 8, .from_offset = at};
        ledge__move_dim(&m, outer, row, part * inner);
        ledge__move_dim(&m, part * inner, 1, 1);
        if (c->out[i])
            ledge__move(&m, in->data, c->out[i]->data, c->pool);
        at += part * inner;
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_concat[] = {
    {.domain = "", .op_type = "Concat", .since = 4, .infer = infer_concat, .run = run_concat},
    {.domain = "", .op_type = "Split", .since = 2, .infer = infer_split, .run = run_split},
    {0},
};
