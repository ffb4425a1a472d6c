/* Slice, CenterCropPad and Trilu: parts of a tensor. */
#include "engine/ops/shape/move.h"

typedef struct Range {
    int64_t start, step, count; /* count -1: not known */
} Range;

/* start, end and step as numpy clamps them. */
static LedgeStatus clamp_range(LedgeOpCtx *c, int64_t n, int64_t start, int64_t end, int64_t step,
                               Range *r)
{
    if (step == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a step is 0");
    if (step == INT64_MIN) /* so that -step exists */
        step++;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    if (start < 0)
        start += n;
    if (end < 0)
        end += n;
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    int64_t distance = step > 0 ? end - start : start - end, width = step > 0 ? step : -step;
    r->start = start;
    r->step = step;
    r->count = distance > 0 ? (distance - 1) / width + 1 : 0;
    return LEDGE_OK;
}

typedef struct SliceArgs {
    int64_t starts[LEDGE_MAX_RANK], ends[LEDGE_MAX_RANK], axes[LEDGE_MAX_RANK],
        steps[LEDGE_MAX_RANK];
    int n;             /* -1: unknown */
    bool known_values; /* starts, ends and steps */
} SliceArgs;

static LedgeStatus attr_list(LedgeOpCtx *c, const char *name, int64_t *to, int *n)
{
    size_t count = 0;
    const int64_t *v = ledge__node_ints(c->node, name, &count);
    *n = -1;
    if (!v)
        return LEDGE_OK;
    if (count > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "%s has %zu entries", name, count);
    memcpy(to, v, count * sizeof *v);
    *n = (int)count;
    return LEDGE_OK;
}

/* The four lists, from attributes before opset 10. Absent axes are 0, 1, …; absent steps 1. */
static LedgeStatus get_args(LedgeOpCtx *c, SliceArgs *a)
{
    int starts, ends, axes = -1, steps = -1;
    bool attrs = c->node->opset < 10;
    if (attrs) {
        LEDGE_TRY(attr_list(c, "starts", a->starts, &starts));
        LEDGE_TRY(attr_list(c, "ends", a->ends, &ends));
        LEDGE_TRY(attr_list(c, "axes", a->axes, &axes));
    } else {
        LEDGE_TRY(ledge__need_index(c, 1));
        LEDGE_TRY(ledge__need_index(c, 2));
        LEDGE_TRY(ledge__op_int_input(c, 1, a->starts, LEDGE_MAX_RANK, &starts));
        LEDGE_TRY(ledge__op_int_input(c, 2, a->ends, LEDGE_MAX_RANK, &ends));
        LEDGE_TRY(ledge__op_int_input(c, 3, a->axes, LEDGE_MAX_RANK, &axes));
        LEDGE_TRY(ledge__op_int_input(c, 4, a->steps, LEDGE_MAX_RANK, &steps));
    }
    bool axes_unknown = !attrs && ledge__op_in(c, 3) && axes < 0;
    a->known_values = starts >= 0 && ends >= 0 && !(!attrs && ledge__op_in(c, 4) && steps < 0);
    int n = starts >= 0 ? starts : ends >= 0 ? ends : axes;
    if (attrs && !a->known_values)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "starts or ends are missing");
    if ((starts >= 0 && starts != n) || (ends >= 0 && ends != n) || (axes >= 0 && axes != n) ||
        (steps >= 0 && steps != n))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "starts, ends, axes and steps differ in length");
    for (int i = 0; i < n && axes < 0; i++)
        a->axes[i] = i;
    for (int i = 0; i < n && steps < 0; i++)
        a->steps[i] = 1;
    a->n = axes_unknown ? -1 : n;
    return LEDGE_OK;
}

static LedgeStatus get_ranges(LedgeOpCtx *c, const LedgeTensor *in, Range *ranges)
{
    SliceArgs a;
    bool seen[LEDGE_MAX_RANK] = {false};
    LEDGE_TRY(get_args(c, &a));
    for (int32_t d = 0; d < in->rank; d++)
        ranges[d] = (Range){0, 1, a.n < 0 ? -1 : in->dims[d]};
    for (int i = 0; i < a.n; i++) {
        int32_t d;
        LEDGE_TRY(ledge__op_axis(c, a.axes[i], in->rank, &d));
        if (seen[d])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %d is given twice", d);
        seen[d] = true;
        if (a.known_values && in->dims[d] >= 0)
            LEDGE_TRY(clamp_range(c, in->dims[d], a.starts[i], a.ends[i], a.steps[i], &ranges[d]));
        else
            ranges[d].count = -1;
    }
    return LEDGE_OK;
}

static LedgeStatus infer_slice(LedgeOpCtx *c)
{
    Range ranges[LEDGE_MAX_RANK];
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(get_ranges(c, in, ranges));
    for (int32_t d = 0; d < in->rank; d++)
        dims[d] = ranges[d].count;
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_slice(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    Range ranges[LEDGE_MAX_RANK];
    int64_t from[LEDGE_MAX_RANK], to[LEDGE_MAX_RANK];
    size_t size;
    LedgeMove m = {0};
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(get_ranges(c, in, ranges));
    ledge__strides(in->rank, in->dims, from);
    ledge__strides(out->rank, out->dims, to);
    m.bits = (unsigned)size * 8;
    for (int32_t d = 0; d < in->rank; d++) {
        if (ranges[d].count == 0)
            return LEDGE_OK;
        m.from_offset += ranges[d].start * from[d];
        /* A step that is never taken may be huge. */
        ledge__move_dim(&m, ranges[d].count, ranges[d].count > 1 ? from[d] * ranges[d].step : 0,
                        to[d]);
    }
    ledge__move(&m, in->data, out->data, c->pool);
    return LEDGE_OK;
}

/* For each dimension of CenterCropPad the wanted size, or -1 where it stays or is unknown. */
static LedgeStatus crop_sizes(LedgeOpCtx *c, const LedgeTensor *in, int64_t *dims, bool *known)
{
    int64_t shape[LEDGE_MAX_RANK];
    size_t n_axes = 0;
    const int64_t *axes = ledge__node_ints(c->node, "axes", &n_axes);
    int n;
    LEDGE_TRY(ledge__op_int_input(c, 1, shape, LEDGE_MAX_RANK, &n));
    *known = n >= 0;
    memcpy(dims, in->dims, (size_t)in->rank * sizeof *dims);
    size_t wanted = axes ? n_axes : (size_t)in->rank;
    if (n >= 0 && (size_t)n != wanted)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "shape has %d entries for %zu axes", n, wanted);
    for (size_t i = 0; i < wanted; i++) {
        int32_t d;
        LEDGE_TRY(ledge__op_axis(c, axes ? axes[i] : (int64_t)i, in->rank, &d));
        if (n >= 0 && shape[i] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a wanted size is %lld",
                                  (long long)shape[i]);
        dims[d] = n < 0 ? -1 : shape[i];
    }
    return ledge__check_dims(c, in->rank, dims);
}

static LedgeStatus infer_center_crop_pad(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    bool known;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__need_index(c, 1));
    if (c->in[0]->rank < 0)
        return ledge__out_unknown(c, 0, c->in[0]->type);
    LEDGE_TRY(crop_sizes(c, c->in[0], dims, &known));
    ledge__op_set_out(c, 0, c->in[0]->type, c->in[0]->rank, dims);
    return LEDGE_OK;
}

/* Odd differences: a crop begins at the smaller half, a pad puts the smaller half in front. */
static LedgeStatus run_center_crop_pad(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    int64_t from[LEDGE_MAX_RANK], to[LEDGE_MAX_RANK];
    LedgeMove m = {0};
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    if (ledge_tensor_bytes(out))
        memset(out->data, 0, ledge_tensor_bytes(out));
    ledge__strides(in->rank, in->dims, from);
    ledge__strides(out->rank, out->dims, to);
    m.bits = (unsigned)size * 8;
    for (int32_t d = 0; d < in->rank; d++) {
        int64_t have = in->dims[d], want = out->dims[d];
        if (have > want)
            m.from_offset += (have - want) / 2 * from[d];
        else
            m.to_offset += (want - have) / 2 * to[d];
        ledge__move_dim(&m, have < want ? have : want, from[d], to[d]);
    }
    ledge__move(&m, in->data, out->data, c->pool);
    return LEDGE_OK;
}

static LedgeStatus infer_trilu(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank >= 0 && in->rank < 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions, needs 2", in->rank);
    ledge__op_set_out(c, 0, in->type, in->rank, in->dims);
    return LEDGE_OK;
}

/* Row r keeps [0, keep) (lower) or [keep, cols) (upper); the rest becomes 0. */
static LedgeStatus run_trilu(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    bool upper = ledge__node_int(c->node, "upper", 1) != 0;
    int64_t k = 0;
    int n;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(ledge__op_int_input(c, 1, &k, 1, &n));
    int64_t rows = in->dims[in->rank - 2], cols = in->dims[in->rank - 1];
    int64_t total = ledge__dims_product(in->dims, 0, in->rank - 1);
    k = k > cols ? cols : k < -rows ? -rows : k;
    for (int64_t i = 0; i < total && cols; i++) {
        const char *from = (const char *)in->data + (size_t)(i * cols) * size;
        char *to = (char *)out->data + (size_t)(i * cols) * size;
        int64_t edge = i % rows + k + (upper ? 0 : 1);
        size_t keep = (size_t)(edge < 0 ? 0 : edge > cols ? cols : edge) * size;
        size_t row = (size_t)cols * size;
        ledge__move_bytes(to, from, row);
        if (upper)
            memset(to, 0, keep);
        else
            memset(to + keep, 0, row - keep);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_slice[] = {
    {.domain = "", .op_type = "Slice", .since = 1, .infer = infer_slice, .run = run_slice},
    {.domain = "",
     .op_type = "CenterCropPad",
     .since = 18,
     .infer = infer_center_crop_pad,
     .run = run_center_crop_pad},
    {.domain = "",
     .op_type = "Trilu",
     .since = 14,
     .flags = LEDGE_OP_INPLACE,
     .infer = infer_trilu,
     .run = run_trilu},
    {0},
};
