/* Pad in every mode, and Tile and Expand, which repeat.
 *
 * Pad first crops (negative pads), then each position of the result is mapped back to a
 * position of the cropped input, dimension by dimension. Rows whose outer positions all map
 * are copied as one run with mapped edges. */
#include "engine/ops/shape/move.h"

typedef enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } PadMode;

typedef struct PadPlan {
    PadMode mode;
    int64_t begin[LEDGE_MAX_RANK], end[LEDGE_MAX_RANK]; /* as given */
    bool known;
} PadPlan;

static LedgeStatus get_mode(LedgeOpCtx *c, PadMode *mode)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *name = ledge__node_string(c->node, "mode", "constant");
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *mode = (PadMode)i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "mode %s", name);
}

/* The pads before and after each named axis, from attribute or input. */
static LedgeStatus get_pads(LedgeOpCtx *c, int32_t rank, PadPlan *p)
{
    int64_t pads[2 * LEDGE_MAX_RANK], axes[LEDGE_MAX_RANK];
    int n = -1, n_axes = -1;
    size_t count = 0;
    const int64_t *attr = ledge__node_ints(c->node, "pads", &count);
    memset(p, 0, sizeof *p);
    LEDGE_TRY(get_mode(c, &p->mode));
    if (c->node->opset < 11) {
        if (!attr || count > 2 * LEDGE_MAX_RANK)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "pads are missing or too many");
        memcpy(pads, attr, count * sizeof *pads);
        n = (int)count;
    } else {
        LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
        LEDGE_TRY(ledge__op_int_input(c, 1, pads, 2 * LEDGE_MAX_RANK, &n));
        LEDGE_TRY(ledge__op_int_input(c, 3, axes, LEDGE_MAX_RANK, &n_axes));
        if (ledge__op_in(c, 3) && n_axes < 0)
            return LEDGE_OK;
    }
    if (n < 0)
        return LEDGE_OK;
    int32_t wanted = n_axes >= 0 ? n_axes : rank;
    if (n != 2 * wanted)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%d pads for %d dimensions", n, wanted);
    for (int32_t i = 0; i < wanted; i++) {
        int32_t d;
        LEDGE_TRY(ledge__op_axis(c, n_axes >= 0 ? axes[i] : i, rank, &d));
        p->begin[d] = pads[i];
        p->end[d] = pads[wanted + i];
    }
    p->known = true;
    return LEDGE_OK;
}

static LedgeStatus padded_dim(LedgeOpCtx *c, const PadPlan *p, int32_t d, int64_t n, int64_t *out)
{
    int64_t sum;
    if (__builtin_add_overflow(n, p->begin[d], &sum) ||
        __builtin_add_overflow(sum, p->end[d], &sum) || p->begin[d] == INT64_MIN ||
        p->end[d] == INT64_MIN)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the pads of dimension %d are too large", d);
    int64_t cut = (p->begin[d] < 0 ? -p->begin[d] : 0) + (p->end[d] < 0 ? -p->end[d] : 0);
    if (sum < 0 || cut > n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the pads of dimension %d take away more than its %lld elements", d,
                              (long long)n);
    if (p->mode != PAD_CONSTANT && n - cut == 0 && sum > 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d is empty: nothing to repeat", d);
    *out = sum;
    return LEDGE_OK;
}

static LedgeStatus infer_pad(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    PadPlan p;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(get_pads(c, in->rank, &p));
    for (int32_t d = 0; d < in->rank; d++) {
        dims[d] = -1;
        if (p.known && in->dims[d] >= 0)
            LEDGE_TRY(padded_dim(c, &p, d, in->dims[d], &dims[d]));
    }
    LEDGE_TRY(ledge__check_dims(c, in->rank, dims));
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

/* Position in the input of position `o` of the result; -1: the constant. */
static int64_t source_of(const PadPlan *p, int32_t d, int64_t n, int64_t o)
{
    int64_t first = p->begin[d] < 0 ? -p->begin[d] : 0;
    int64_t m = n - first - (p->end[d] < 0 ? -p->end[d] : 0);
    int64_t i = o - (p->begin[d] > 0 ? p->begin[d] : 0);
    if (i >= 0 && i < m)
        return first + i;
    if (p->mode == PAD_CONSTANT)
        return -1;
    if (p->mode == PAD_EDGE)
        return first + (i < 0 ? 0 : m - 1);
    int64_t period = p->mode == PAD_WRAP ? m : m > 1 ? 2 * (m - 1) : 1;
    i %= period;
    i += i < 0 ? period : 0;
    return first + (i < m ? i : period - i);
}

typedef struct PadWork {
    const LedgeTensor *in, *out;
    const PadPlan *plan;
    size_t size;
    const void *value;
    int64_t stride[LEDGE_MAX_RANK]; /* of the input */
} PadWork;

/* Columns [begin, end) of a row, all of them padding. */
static void pad_edge(const PadWork *w, const char *from, char *to, int64_t begin, int64_t end)
{
    int32_t last = w->in->rank - 1;
    if (w->plan->mode == PAD_CONSTANT) {
        ledge__fill(to + (size_t)begin * w->size, w->value, w->size, end - begin);
        return;
    }
    for (int64_t k = begin; k < end; k++) {
        int64_t i = source_of(w->plan, last, w->in->dims[last], k);
        memcpy(to + (size_t)k * w->size, from + (size_t)i * w->size, w->size);
    }
}

static void pad_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PadWork *w = arg;
    const PadPlan *p = w->plan;
    int32_t last = w->in->rank - 1;
    int64_t cols = w->out->dims[last], n = w->in->dims[last];
    int64_t front = p->begin[last] > 0 ? p->begin[last] : 0;
    int64_t cut = p->begin[last] < 0 ? -p->begin[last] : 0;
    int64_t whole = n - cut - (p->end[last] < 0 ? -p->end[last] : 0);
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        int64_t rest = (int64_t)row, from = 0;
        for (int32_t d = last - 1; d >= 0 && from >= 0; d--) {
            int64_t i = source_of(p, d, w->in->dims[d], rest % w->out->dims[d]);
            rest /= w->out->dims[d];
            from = i < 0 ? -1 : from + i * w->stride[d];
        }
        char *to = (char *)w->out->data + row * (size_t)cols * w->size;
        if (from < 0) {
            ledge__fill(to, w->value, w->size, cols);
            continue;
        }
        const char *line = (const char *)w->in->data + (size_t)from * w->size;
        pad_edge(w, line, to, 0, front);
        ledge__move_bytes(to + (size_t)front * w->size, line + (size_t)cut * w->size,
                          (size_t)whole * w->size);
        pad_edge(w, line, to, front + whole, cols);
    }
}

/* 4-bit types go through a byte per element. */
static LedgeStatus pad_packed(LedgeOpCtx *c, const PadPlan *p, unsigned value)
{
    const LedgeTensor *in = c->in[0];
    LedgeTensor wide_in = *in, wide_out = *c->out[0];
    unsigned bits = ledge_type_bits(in->type);
    int64_t n = ledge_tensor_count(in), m = ledge_tensor_count(&wide_out);
    uint8_t v = (uint8_t)value, *work = ledge__work(c, (size_t)(n + m));
    if (!work)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < n; i++)
        work[i] = (uint8_t)ledge__packed_get(in->data, i, bits);
    wide_in.data = work;
    wide_out.data = work + n;
    PadWork w = {.in = &wide_in, .out = &wide_out, .plan = p, .size = 1, .value = &v};
    ledge__strides(in->rank, in->dims, w.stride);
    if (in->rank && m)
        pad_rows(&w, 0, (size_t)(m / wide_out.dims[in->rank - 1]), 0);
    else if (m)
        work[n] = work[0];
    memset(c->out[0]->data, 0, ledge_tensor_bytes(c->out[0]));
    for (int64_t i = 0; i < m; i++)
        ledge__packed_set(c->out[0]->data, i, bits, work[n + i]);
    return LEDGE_OK;
}

/* The padding element: input 2, the attribute of old opsets, or zero. */
static LedgeStatus get_value(LedgeOpCtx *c, size_t size, char *value)
{
    const LedgeTensor *v = ledge__op_in(c, 2);
    memset(value, 0, 16);
    if (v) {
        if (v->type != c->in[0]->type || ledge_tensor_count(v) < 1)
            return ledge__op_fail(c, LEDGE_ERROR_TYPE, "the constant is not one %s",
                                  ledge_type_name(c->in[0]->type));
        memcpy(value, v->data, size);
    } else if (c->node->opset < 11) {
        ledge__number_set(c->in[0]->type, value, 0, ledge__node_float(c->node, "value", 0));
    }
    return LEDGE_OK;
}

static LedgeStatus run_pad(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    PadPlan p;
    char value[16];
    unsigned bits = ledge_type_bits(in->type);
    LEDGE_TRY(get_pads(c, in->rank, &p));
    LEDGE_TRY(get_value(c, bits < 8 ? 1 : bits / 8, value));
    if (bits < 8)
        return pad_packed(c, &p, (unsigned char)value[0] & ((1u << bits) - 1));
    PadWork w = {.in = in, .out = out, .plan = &p, .size = bits / 8, .value = value};
    int64_t total = ledge_tensor_count(out);
    if (total == 0)
        return LEDGE_OK;
    if (in->rank == 0) {
        ledge__move_bytes(out->data, in->data, w.size);
        return LEDGE_OK;
    }
    ledge__strides(in->rank, in->dims, w.stride);
    int64_t cols = out->dims[in->rank - 1];
    size_t grain = 32768 / ((size_t)cols * w.size) + 1;
    ledge__pool_run(ledge_tensor_bytes(out) > 131072 ? c->pool : NULL, (size_t)(total / cols),
                    grain, pad_rows, &w);
    return LEDGE_OK;
}

static LedgeStatus infer_tile(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK], repeats[LEDGE_MAX_RANK];
    int n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(ledge__op_int_input(c, 1, repeats, LEDGE_MAX_RANK, &n));
    if (in->rank < 0)
        return ledge__out_rank(c, 0, in->type, n);
    if (n >= 0 && n != in->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%d repeats for %d dimensions", n, in->rank);
    for (int32_t d = 0; d < in->rank; d++) {
        if (n >= 0 && repeats[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a repeat is %lld", (long long)repeats[d]);
        dims[d] = -1;
        if (n >= 0 && in->dims[d] >= 0 && __builtin_mul_overflow(in->dims[d], repeats[d], &dims[d]))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result would have too many elements");
    }
    LEDGE_TRY(ledge__check_dims(c, in->rank, dims));
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_tile(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    int64_t from[LEDGE_MAX_RANK], to[LEDGE_MAX_RANK];
    LedgeMove m = {0};
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    m.bits = (unsigned)size * 8;
    if (ledge_tensor_count(out) == 0)
        return LEDGE_OK;
    ledge__strides(in->rank, in->dims, from);
    ledge__strides(out->rank, out->dims, to);
    for (int32_t d = 0; d < in->rank; d++) {
        ledge__move_dim(&m, out->dims[d] / in->dims[d], 0, in->dims[d] * to[d]);
        ledge__move_dim(&m, in->dims[d], from[d], to[d]);
    }
    ledge__move(&m, in->data, out->data, c->pool);
    return LEDGE_OK;
}

static LedgeStatus infer_expand(LedgeOpCtx *c)
{
    LedgeTensor shape = {0};
    int64_t dims[LEDGE_MAX_RANK];
    int32_t rank;
    int n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *in = c->in[0], *s = c->in[1];
    LEDGE_TRY(ledge__op_int_input(c, 1, shape.dims, LEDGE_MAX_RANK, &n));
    if (n < 0) {
        rank = s->rank == 1 && s->dims[0] >= 0 && s->dims[0] < 1000 ? (int32_t)s->dims[0] : -1;
        return ledge__out_rank(c, 0, in->type,
                               rank < 0 || in->rank < 0 ? -1
                               : rank > in->rank        ? rank
                                                        : in->rank);
    }
    for (int i = 0; i < n; i++)
        if (shape.dims[i] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a dimension of the shape is %lld",
                                  (long long)shape.dims[i]);
    shape.rank = n;
    LEDGE_TRY(ledge__op_broadcast(c, in, &shape, &rank, dims));
    if (rank >= 0)
        LEDGE_TRY(ledge__check_dims(c, rank, dims));
    ledge__op_set_out(c, 0, in->type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_expand(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *out = c->out[0];
    int64_t from[LEDGE_MAX_RANK], to[LEDGE_MAX_RANK];
    LedgeMove m = {0};
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    m.bits = (unsigned)size * 8;
    ledge__strides(in->rank, in->dims, from);
    ledge__strides(out->rank, out->dims, to);
    for (int32_t d = 0; d < out->rank; d++) {
        int32_t k = d - (out->rank - in->rank);
        ledge__move_dim(&m, out->dims[d], k < 0 || in->dims[k] == 1 ? 0 : from[k], to[d]);
    }
    ledge__move(&m, in->data, out->data, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_pad[] = {
    {.domain = "", .op_type = "Pad", .since = 2, .infer = infer_pad, .run = run_pad},
    {.domain = "", .op_type = "Tile", .since = 6, .infer = infer_tile, .run = run_tile},
    {.domain = "", .op_type = "Expand", .since = 8, .infer = infer_expand, .run = run_expand},
    {0},
};
