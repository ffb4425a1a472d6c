/* Scatter, ScatterElements, ScatterND and TensorScatter: a copy of the data, then updates put
 * or added at checked indices, in the order in which they are given. */
#include "engine/ops/shape/move.h"

typedef enum Reduction { PUT, ADD, MUL, MAX, MIN } Reduction;

static LedgeStatus get_reduction(LedgeOpCtx *c, LedgeType type, Reduction *out)
{
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *name = ledge__node_string(c->node, "reduction", "none");
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (Reduction)i;
            if (i != PUT && (type == LEDGE_STRING || type == LEDGE_COMPLEX64 ||
                             type == LEDGE_COMPLEX128 || ledge_type_bits(type) < 8))
                return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "reduction %s of %s", name,
                                      ledge_type_name(type));
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "reduction %s", name);
}

#define INTEGER_TYPES(X)                                                                           \
    X(UINT8, uint8_t, uint8_t)                                                                     \
    X(INT8, int8_t, uint8_t)                                                                       \
    X(UINT16, uint16_t, uint16_t)                                                                  \
    X(INT16, int16_t, uint16_t)                                                                    \
    X(INT32, int32_t, uint32_t)                                                                    \
    X(UINT32, uint32_t, uint32_t)                                                                  \
    X(INT64, int64_t, uint64_t)                                                                    \
    X(UINT64, uint64_t, uint64_t)

/* Float types: computed in double, which rounds once to the type for one operation. */
static double reduce_double(Reduction how, double a, double b)
{
    switch (how) {
    case ADD:
        return a + b;
    case MUL:
        return a * b;
    case MAX:
        return a > b || a != a ? a : b;
    case MIN:
        return a < b || a != a ? a : b;
    case PUT:
        break;
    }
    return b;
}

/* to[0 … n-1] = to ∘ from. Integers wrap as two's complement. */
static void reduce_run(Reduction how, LedgeType type, void *to, const void *from, int64_t n)
{
    switch (type) {
#define REDUCE(NAME, T, U)                                                                         \
    case LEDGE_##NAME:                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T a, b;                                                                                \
            memcpy(&a, (char *)to + i * (int64_t)sizeof a, sizeof a);                              \
            memcpy(&b, (const char *)from + i * (int64_t)sizeof b, sizeof b);                      \
            if (how == ADD)                                                                        \
                a = (T)(U)((uint64_t)a + (uint64_t)b);                                             \
            else if (how == MUL)                                                                   \
                a = (T)(U)((uint64_t)a * (uint64_t)b);                                             \
            else if (how == MAX)                                                                   \
                a = a > b ? a : b;                                                                 \
            else                                                                                   \
                a = a < b ? a : b;                                                                 \
            memcpy((char *)to + i * (int64_t)sizeof a, &a, sizeof a);                              \
        }                                                                                          \
        return;
        INTEGER_TYPES(REDUCE)
#undef REDUCE
    case LEDGE_BOOL:
        for (int64_t i = 0; i < n; i++) {
            uint8_t *a = (uint8_t *)to + i, b = ((const uint8_t *)from)[i];
            *a = how == ADD || how == MAX ? *a | b : *a & b;
        }
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            ledge__number_set(
                type, to, i,
                reduce_double(how, ledge__number_at(type, to, i), ledge__number_at(type, from, i)));
    }
}

static void apply(Reduction how, LedgeType type, size_t size, void *to, const void *from, int64_t n)
{
    if (how == PUT)
        memcpy(to, from, (size_t)n * size);
    else
        reduce_run(how, type, to, from, n);
}

static LedgeStatus infer_like_data(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__need_index(c, 1));
    LEDGE_TRY(ledge__op_need(c, 2, c->in[0]->type));
    ledge__op_set_out(c, 0, c->in[0]->type, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus infer_scatter_elements(LedgeOpCtx *c)
{
    LEDGE_TRY(infer_like_data(c));
    const LedgeTensor *in = c->in[0], *at = c->in[1], *up = c->in[2];
    int32_t axis;
    if (in->rank < 0 || at->rank < 0 || up->rank < 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    if (at->rank != in->rank || up->rank != in->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "data, indices and updates differ in rank");
    for (int32_t d = 0; d < in->rank; d++) {
        if (at->dims[d] >= 0 && up->dims[d] >= 0 && at->dims[d] != up->dims[d])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "indices and updates differ in shape");
        if (d != axis && in->dims[d] >= 0 && at->dims[d] > in->dims[d])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "dimension %d of indices is %lld, of data only %lld", d,
                                  (long long)at->dims[d], (long long)in->dims[d]);
    }
    return LEDGE_OK;
}

static LedgeStatus run_scatter_elements(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *at = c->in[1], *up = c->in[2];
    char *to = c->out[0]->data;
    int64_t stride[LEDGE_MAX_RANK], index[LEDGE_MAX_RANK] = {0};
    int64_t total = ledge_tensor_count(at);
    int32_t axis;
    size_t size;
    Reduction how;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(get_reduction(c, in->type, &how));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    int64_t n = in->dims[axis], base = 0;
    LEDGE_TRY(ledge__check_indices(c, 1, n));
    ledge__move_bytes(to, in->data, ledge_tensor_bytes(in));
    ledge__strides(in->rank, in->dims, stride);
    for (int64_t i = 0; i < total; i++) {
        int64_t v = ledge__index_at(at, i);
        int64_t where = base + (v < 0 ? v + n : v) * stride[axis];
        apply(how, in->type, size, to + (size_t)where * size,
              (const char *)up->data + (size_t)i * size, 1);
        for (int32_t d = in->rank - 1; d >= 0; d--) {
            int64_t s = d == axis ? 0 : stride[d];
            base += s;
            if (++index[d] < at->dims[d])
                break;
            base -= s * at->dims[d];
            index[d] = 0;
        }
    }
    return LEDGE_OK;
}

static LedgeStatus infer_scatter_nd(LedgeOpCtx *c)
{
    LEDGE_TRY(infer_like_data(c));
    const LedgeTensor *in = c->in[0], *at = c->in[1], *up = c->in[2];
    if (in->rank < 0 || at->rank < 0)
        return LEDGE_OK;
    if (in->rank < 1 || at->rank < 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "data and indices need a dimension");
    int64_t tuple = at->dims[at->rank - 1];
    if (tuple < 0 || up->rank < 0)
        return LEDGE_OK;
    if (tuple > in->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "indices name %lld dimensions, data has %d",
                              (long long)tuple, in->rank);
    bool fits = up->rank == at->rank - 1 + in->rank - tuple;
    for (int32_t d = 0; d < up->rank && fits; d++) {
        int64_t want = d < at->rank - 1 ? at->dims[d] : in->dims[d - (at->rank - 1) + tuple];
        fits = want < 0 || up->dims[d] < 0 || want == up->dims[d];
    }
    if (!fits)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "updates do not fit indices and data");
    return LEDGE_OK;
}

static LedgeStatus run_scatter_nd(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *at = c->in[1], *up = c->in[2];
    int64_t stride[LEDGE_MAX_RANK], tuple = at->dims[at->rank - 1];
    size_t size;
    Reduction how;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(get_reduction(c, in->type, &how));
    ledge__move_bytes(c->out[0]->data, in->data, ledge_tensor_bytes(in));
    ledge__strides(in->rank, in->dims, stride);
    int64_t rows = ledge__dims_product(at->dims, 0, at->rank - 1);
    int64_t slice = ledge__dims_product(in->dims, (int32_t)tuple, in->rank);
    if (slice == 0)
        return LEDGE_OK;
    for (int64_t i = 0; i < rows; i++) {
        int64_t to = 0;
        for (int64_t k = 0; k < tuple; k++) {
            int64_t v = ledge__index_at(at, i * tuple + k), n = in->dims[k];
            if (v < -n || v >= n)
                return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                      "index %lld is outside a dimension of %lld elements",
                                      (long long)v, (long long)n);
            to += (v < 0 ? v + n : v) * stride[k];
        }
        apply(how, in->type, size, (char *)c->out[0]->data + (size_t)to * size,
              (const char *)up->data + (size_t)(i * slice) * size, slice);
    }
    return LEDGE_OK;
}

static LedgeStatus infer_tensor_scatter(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, c->in[0]->type));
    const LedgeTensor *in = c->in[0], *up = c->in[1], *at = ledge__op_in(c, 2);
    int32_t axis;
    ledge__op_set_out(c, 0, in->type, in->rank, in->dims);
    if (at)
        LEDGE_TRY(ledge__op_need(c, 2, LEDGE_INT64));
    if (in->rank < 0 || up->rank < 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -2), in->rank, &axis));
    if (up->rank != in->rank || axis == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "update must have the rank of the cache, and "
                              "the axis cannot be the batch");
    for (int32_t d = 0; d < in->rank; d++)
        if (in->dims[d] >= 0 && up->dims[d] >= 0 &&
            (d == axis ? up->dims[d] > in->dims[d] : up->dims[d] != in->dims[d]))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "dimension %d of update is %lld, of the "
                                  "cache %lld",
                                  d, (long long)up->dims[d], (long long)in->dims[d]);
    if (at && (at->rank > 1 || (at->rank == 1 && at->dims[0] >= 0 && in->dims[0] >= 0 &&
                                at->dims[0] != in->dims[0])))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "write_indices must have one entry per batch");
    return LEDGE_OK;
}

static LedgeStatus run_tensor_scatter(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *up = c->in[1], *at = ledge__op_in(c, 2);
    bool circular = strcmp(ledge__node_string(c->node, "mode", "linear"), "circular") == 0;
    int32_t axis;
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -2), in->rank, &axis));
    ledge__move_bytes(c->out[0]->data, in->data, ledge_tensor_bytes(in));
    int64_t outer = ledge__dims_product(in->dims, 0, axis), n = in->dims[axis];
    int64_t steps = up->dims[axis], per_batch = in->dims[0] ? outer / in->dims[0] : 1;
    size_t run = (size_t)ledge__dims_product(in->dims, axis + 1, in->rank) * size;
    if (run == 0 || n == 0)
        return LEDGE_OK;
    for (int64_t o = 0; o < outer; o++) {
        int64_t first = at ? ledge__index_at(at, at->rank ? o / per_batch : 0) : 0;
        if (first < 0 || (!circular && first > n - steps) || first > INT64_MAX - steps)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "%lld steps from position %lld do not fit a cache of %lld",
                                  (long long)steps, (long long)first, (long long)n);
        for (int64_t s = 0; s < steps; s++)
            memcpy((char *)c->out[0]->data + (size_t)(o * n + (first + s) % n) * run,
                   (const char *)up->data + (size_t)(o * steps + s) * run, run);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_scatter[] = {
    {.domain = "",
     .op_type = "Scatter",
     .since = 9,
     .flags = LEDGE_OP_INPLACE,
     .infer = infer_scatter_elements,
     .run = run_scatter_elements},
    {.domain = "",
     .op_type = "ScatterElements",
     .since = 11,
     .flags = LEDGE_OP_INPLACE,
     .infer = infer_scatter_elements,
     .run = run_scatter_elements},
    {.domain = "",
     .op_type = "ScatterND",
     .since = 11,
     .flags = LEDGE_OP_INPLACE,
     .infer = infer_scatter_nd,
     .run = run_scatter_nd},
    {.domain = "",
     .op_type = "TensorScatter",
     .since = 24,
     .flags = LEDGE_OP_INPLACE,
     .infer = infer_tensor_scatter,
     .run = run_tensor_scatter},
    {0},
};
