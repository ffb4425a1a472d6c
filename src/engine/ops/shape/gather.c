/* Gather, GatherElements, GatherND, Compress and ReverseSequence: elements picked by index.
 * Indices are checked before anything is read with them. */
#include "engine/ops/shape/move.h"

typedef struct GatherWork {
    const LedgeTensor *indices;
    const char *from;
    char *to;
    int64_t n, count; /* elements of the axis; indices */
    size_t run;       /* bytes of one picked slice */
} GatherWork;

static LedgeStatus infer_gather(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    int32_t axis, rank = 0;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__need_index(c, 1));
    const LedgeTensor *in = c->in[0], *at = c->in[1];
    if (in->rank < 0 || at->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    LEDGE_TRY(ledge__out_rank(c, 0, in->type, in->rank - 1 + at->rank));
    for (int32_t d = 0; d < axis; d++)
        dims[rank++] = in->dims[d];
    for (int32_t d = 0; d < at->rank; d++)
        dims[rank++] = at->dims[d];
    for (int32_t d = axis + 1; d < in->rank; d++)
        dims[rank++] = in->dims[d];
    LEDGE_TRY(ledge__check_dims(c, rank, dims));
    ledge__op_set_out(c, 0, in->type, rank, dims);
    return LEDGE_OK;
}

static void gather_items(void *arg, size_t begin, size_t end, int thread)
{
    const GatherWork *w = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        int64_t outer = (int64_t)i / w->count;
        int64_t v = ledge__index_at(w->indices, (int64_t)i % w->count);
        v += v < 0 ? w->n : 0;
        memcpy(w->to + i * w->run, w->from + (size_t)(outer * w->n + v) * w->run, w->run);
    }
}

static LedgeStatus run_gather(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int32_t axis;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    LEDGE_TRY(ledge__check_indices(c, 1, in->dims[axis]));
    if (ledge_tensor_count(c->out[0]) == 0)
        return LEDGE_OK;
    GatherWork w = {.indices = c->in[1], .from = in->data, .to = c->out[0]->data};
    w.n = in->dims[axis];
    w.count = ledge_tensor_count(c->in[1]);
    w.run = (size_t)ledge__dims_product(in->dims, axis + 1, in->rank) * size;
    size_t items = (size_t)(ledge__dims_product(in->dims, 0, axis) * w.count);
    size_t grain = 65536 / w.run + 1;
    ledge__pool_run(items > grain ? c->pool : NULL, items, grain, gather_items, &w);
    return LEDGE_OK;
}

static LedgeStatus infer_gather_elements(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__need_index(c, 1));
    const LedgeTensor *in = c->in[0], *at = c->in[1];
    int32_t axis;
    ledge__op_set_out(c, 0, in->type, at->rank, at->dims);
    if (in->rank < 0 || at->rank < 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    if (in->rank != at->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "data has %d dimensions, indices %d", in->rank,
                              at->rank);
    for (int32_t d = 0; d < in->rank; d++)
        if (d != axis && in->dims[d] >= 0 && at->dims[d] > in->dims[d])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "dimension %d of indices is %lld, of data only %lld", d,
                                  (long long)at->dims[d], (long long)in->dims[d]);
    return LEDGE_OK;
}

typedef struct ElementsWork {
    const LedgeTensor *indices;
    const char *from;
    char *to;
    size_t size;
    int32_t rank, axis;
    int64_t n, stride[LEDGE_MAX_RANK]; /* of data */
} ElementsWork;

/* A line of 4-byte elements by int64 indices, which is most of what models ask for. */
static void pick_4(char *to, const char *from, const int64_t *index, int64_t cols, int64_t n,
                   int64_t step, int64_t along)
{
    for (int64_t k = 0; k < cols; k++) {
        int64_t v = index[k] + (index[k] < 0 ? n : 0);
        memcpy(to + 4 * k, from + 4 * (v * step + k * along), 4);
    }
}

/* An item is a line of indices along the last dimension. */
static void gather_element_lines(void *arg, size_t begin, size_t end, int thread)
{
    const ElementsWork *w = arg;
    const int64_t *dims = w->indices->dims;
    int32_t last = w->rank - 1;
    int64_t cols = dims[last];
    (void)thread;
    for (size_t line = begin; line < end; line++) {
        int64_t rest = (int64_t)line, base = 0;
        for (int32_t d = last - 1; d >= 0; d--) {
            base += d == w->axis ? 0 : rest % dims[d] * w->stride[d];
            rest /= dims[d];
        }
        int64_t along = w->axis == last ? 0 : 1, step = w->stride[w->axis];
        char *to = w->to + line * (size_t)cols * w->size;
        if (w->indices->type == LEDGE_INT64 && w->size == 4) {
            pick_4(to, w->from + base * 4, (const int64_t *)w->indices->data + (int64_t)line * cols,
                   cols, w->n, step, along);
            continue;
        }
        for (int64_t k = 0; k < cols; k++) {
            int64_t v = ledge__index_at(w->indices, (int64_t)line * cols + k);
            int64_t at = base + (v < 0 ? v + w->n : v) * step + k * along;
            memcpy(to + (size_t)k * w->size, w->from + (size_t)at * w->size, w->size);
        }
    }
}

static LedgeStatus run_gather_elements(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    ElementsWork w = {.indices = c->in[1], .from = in->data, .to = c->out[0]->data,
                      .rank = in->rank};
    LEDGE_TRY(ledge__element_size(c, in, &w.size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &w.axis));
    w.n = in->dims[w.axis];
    LEDGE_TRY(ledge__check_indices(c, 1, w.n));
    ledge__strides(in->rank, in->dims, w.stride);
    int64_t total = ledge_tensor_count(c->in[1]);
    if (total == 0)
        return LEDGE_OK;
    int64_t cols = c->in[1]->dims[in->rank - 1];
    size_t grain = (size_t)(8192 / cols + 1);
    ledge__pool_run(total > 16384 ? c->pool : NULL, (size_t)(total / cols), grain,
                    gather_element_lines, &w);
    return LEDGE_OK;
}

/* batch_dims, and how many dimensions of data an index tuple names (-1: not known). */
static LedgeStatus nd_shape(LedgeOpCtx *c, const LedgeTensor *in, const LedgeTensor *at,
                            int64_t *batch, int64_t *tuple)
{
    *batch = ledge__node_int(c->node, "batch_dims", 0);
    if (in->rank < 1 || at->rank < 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "data and indices need a dimension");
    if (*batch < 0 || *batch >= in->rank || *batch >= at->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "batch_dims is %lld", (long long)*batch);
    *tuple = at->dims[at->rank - 1];
    if (*tuple > in->rank - *batch)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "indices name %lld dimensions, data has %d", (long long)*tuple,
                              in->rank);
    for (int64_t d = 0; d < *batch; d++)
        if (in->dims[d] >= 0 && at->dims[d] >= 0 && in->dims[d] != at->dims[d])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "batch dimension %lld differs",
                                  (long long)d);
    return LEDGE_OK;
}

static LedgeStatus infer_gather_nd(LedgeOpCtx *c)
{
    int64_t dims[2 * LEDGE_MAX_RANK], batch, tuple;
    int32_t rank = 0;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *in = c->in[0], *at = c->in[1];
    if (in->rank < 0 || at->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(nd_shape(c, in, at, &batch, &tuple));
    if (tuple < 0)
        return ledge__out_unknown(c, 0, in->type);
    for (int32_t d = 0; d < at->rank - 1; d++)
        dims[rank++] = at->dims[d];
    for (int32_t d = (int32_t)(batch + tuple); d < in->rank; d++)
        dims[rank++] = in->dims[d];
    LEDGE_TRY(ledge__check_dims(c, rank, dims));
    ledge__op_set_out(c, 0, in->type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_gather_nd(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *at = c->in[1];
    int64_t batch, tuple, stride[LEDGE_MAX_RANK];
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(nd_shape(c, in, at, &batch, &tuple));
    if (ledge_tensor_count(c->out[0]) == 0)
        return LEDGE_OK;
    ledge__strides(in->rank, in->dims, stride);
    int64_t batches = ledge__dims_product(in->dims, 0, (int32_t)batch);
    int64_t per_batch = ledge__dims_product(at->dims, (int32_t)batch, at->rank - 1);
    int64_t slice = ledge__dims_product(in->dims, (int32_t)(batch + tuple), in->rank);
    int64_t whole = ledge__dims_product(in->dims, (int32_t)batch, in->rank);
    size_t run = (size_t)slice * size;
    for (int64_t i = 0; i < batches * per_batch; i++) {
        int64_t from = i / per_batch * whole;
        for (int64_t k = 0; k < tuple; k++) {
            int64_t v = ledge__index_at(at, i * tuple + k), n = in->dims[batch + k];
            if (v < -n || v >= n)
                return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                      "index %lld is outside a dimension of %lld elements",
                                      (long long)v, (long long)n);
            from += (v < 0 ? v + n : v) * stride[batch + k];
        }
        memcpy((char *)c->out[0]->data + (size_t)i * run,
               (const char *)in->data + (size_t)from * size, run);
    }
    return LEDGE_OK;
}

static LedgeStatus infer_compress(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    int32_t axis;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_BOOL));
    const LedgeTensor *in = c->in[0];
    if (!ledge__node_attr(c->node, "axis"))
        return ledge__out_rank(c, 0, in->type, 1);
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    memcpy(dims, in->dims, sizeof dims);
    dims[axis] = -1;
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_compress(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    const uint8_t *keep = c->in[1]->data;
    int64_t outer = 1, n = ledge_tensor_count(in), inner = 1, kept = 0;
    int64_t given = ledge_tensor_count(c->in[1]);
    int64_t dims[LEDGE_MAX_RANK];
    int32_t axis = 0, rank = 1;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    if (ledge__node_attr(c->node, "axis")) {
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
        rank = in->rank;
        outer = ledge__dims_product(in->dims, 0, axis);
        inner = ledge__dims_product(in->dims, axis + 1, rank);
        n = in->dims[axis];
        memcpy(dims, in->dims, sizeof dims);
    }
    n = given < n ? given : n;
    for (int64_t i = 0; i < n; i++)
        kept += keep[i] != 0;
    dims[axis] = kept;
    ledge__op_set_out(c, 0, in->type, rank, dims);
    LEDGE_TRY(ledge__op_output(c, 0));
    char *to = c->out[0]->data;
    size_t run = (size_t)inner * size;
    int64_t stride = rank == 1 && outer == 1 ? n : in->dims[axis];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++)
            if (keep[i] && run) {
                memcpy(to, (const char *)in->data + (size_t)(o * stride + i) * run, run);
                to += run;
            }
    return LEDGE_OK;
}

static LedgeStatus reverse_axes(LedgeOpCtx *c, int64_t *batch, int64_t *time)
{
    *batch = ledge__node_int(c->node, "batch_axis", 1);
    *time = ledge__node_int(c->node, "time_axis", 0);
    if ((*batch != 0 || *time != 1) && (*batch != 1 || *time != 0))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "batch_axis and time_axis must be 0 and 1");
    return LEDGE_OK;
}

static LedgeStatus infer_reverse_sequence(LedgeOpCtx *c)
{
    int64_t batch, time;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    LEDGE_TRY(reverse_axes(c, &batch, &time));
    const LedgeTensor *in = c->in[0], *lens = c->in[1];
    if (in->rank >= 0 && in->rank < 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions, needs 2", in->rank);
    if (in->rank >= 0 && lens->rank >= 0 &&
        (lens->rank != 1 ||
         (lens->dims[0] >= 0 && in->dims[batch] >= 0 && lens->dims[0] != in->dims[batch])))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "sequence_lens must have one entry per batch");
    ledge__op_set_out(c, 0, in->type, in->rank, in->dims);
    return LEDGE_OK;
}

static LedgeStatus run_reverse_sequence(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int64_t batch, time, stride[LEDGE_MAX_RANK];
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(reverse_axes(c, &batch, &time));
    ledge__strides(in->rank, in->dims, stride);
    size_t run = (size_t)ledge__dims_product(in->dims, 2, in->rank) * size;
    for (int64_t b = 0; b < in->dims[batch]; b++) {
        int64_t n = ledge__index_at(c->in[1], b);
        if (n < 0 || n > in->dims[time])
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "a sequence of length %lld in %lld steps",
                                  (long long)n, (long long)in->dims[time]);
        for (int64_t t = 0; t < in->dims[time]; t++) {
            int64_t from = b * stride[batch] + (t < n ? n - 1 - t : t) * stride[time];
            int64_t to = b * stride[batch] + t * stride[time];
            ledge__move_bytes((char *)c->out[0]->data + (size_t)to * size,
                              (const char *)in->data + (size_t)from * size, run);
        }
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_gather[] = {
    {.domain = "", .op_type = "Gather", .since = 1, .infer = infer_gather, .run = run_gather},
    {.domain = "", .op_type = "GatherElements", .since = 11, .infer = infer_gather_elements,
     .run = run_gather_elements},
    {.domain = "", .op_type = "GatherND", .since = 11, .infer = infer_gather_nd,
     .run = run_gather_nd},
    {.domain = "", .op_type = "Compress", .since = 9, .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_compress, .run = run_compress},
    {.domain = "", .op_type = "ReverseSequence", .since = 10, .infer = infer_reverse_sequence,
     .run = run_reverse_sequence},
    {0},
};
