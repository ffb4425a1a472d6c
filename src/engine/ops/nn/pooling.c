/* MaxPool (ONNX 1, 8, 10, 11, 12, 22), AveragePool (1, 7, 10, 11, 19, 22), LpPool (2, 11, 18,
 * 22), GlobalMaxPool, GlobalAveragePool and GlobalLpPool (1, 2, 22). */
#include "engine/ops/fused/fused_bytes.h"
#include "engine/ops/nn/nn.h"

typedef enum Kind { KIND_MAX, KIND_AVERAGE, KIND_LP } Kind;

static Kind kind_of(const LedgeOpCtx *c)
{
    const char *t = c->node->op_type;
    return strstr(t, "Max") ? KIND_MAX : strstr(t, "Average") ? KIND_AVERAGE : KIND_LP;
}

static bool is_global(const LedgeOpCtx *c)
{
    return strncmp(c->node->op_type, "Global", 6) == 0;
}

/* The whole plane as one window. */
static void global_window(const LedgeTensor *x, LedgeWindow *w)
{
    *w = (LedgeWindow){.nd = x->rank - 2};
    for (int d = 0; d < w->nd; d++) {
        w->in[d] = w->kernel[d] = x->dims[2 + d];
        w->stride[d] = w->dilation[d] = w->out[d] = 1;
    }
}

static LedgeStatus window(LedgeOpCtx *c, LedgeWindow *w)
{
    const LedgeTensor *x = c->in[0];
    if (!is_global(c))
        return ledge__nn_window(c, x, NULL, ledge__node_int(c->node, "ceil_mode", 0) != 0, w);
    if (x->rank < 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has rank %d, must be at least 2",
                              x->rank);
    global_window(x, w);
    for (int d = 0; d < w->nd; d++)
        if (w->in[d] == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "has nothing to pool in dimension %d",
                                  2 + d);
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    bool bytes = kind_of(c) == KIND_MAX && !is_global(c);
    LEDGE_TRY(ledge__nn_need(c, 1, 0));
    const LedgeTensor *x = c->in[0];
    if (x->type != LEDGE_TYPE_NONE && !ledge__nn_is_float(x->type) &&
        !(bytes && (x->type == LEDGE_INT8 || x->type == LEDGE_UINT8)))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "does not pool %s", ledge_type_name(x->type));
    if (kind_of(c) == KIND_LP && ledge__node_int(c->node, "p", 2) < 1)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "p must be at least 1");
    LedgeTensor y = {.rank = x->rank};
    if (x->rank >= 0) {
        LedgeWindow w;
        LEDGE_TRY(window(c, &w));
        y.dims[0] = x->dims[0];
        y.dims[1] = x->dims[1];
        memcpy(y.dims + 2, w.out, sizeof w.out[0] * (size_t)w.nd);
    }
    ledge__op_set_out(c, 0, x->type, y.rank, y.dims);
    ledge__op_set_out(c, 1, LEDGE_INT64, y.rank, y.dims);
    return LEDGE_OK;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgePoolRef p = {.planes = x->dims[0] * x->dims[1], .x = x->data, .y = c->out[0]->data};
    LEDGE_TRY(window(c, &p.w));
    p.column_major = ledge__node_int(c->node, "storage_order", 0) == 1;
    p.count_pads = ledge__node_int(c->node, "count_include_pad", 0) == 1;
    p.p = ledge__node_int(c->node, "p", 2);
    if (ledge__op_out(c, 1))
        p.indices = c->out[1]->data;
    if (p.w.nd == 0) { /* global pooling of N x C: each number alone */
        p.w = (LedgeWindow){.nd = 1, .kernel = {1}, .stride = {1}, .dilation = {1}, .in = {1},
                            .out = {1}};
    }
    if (x->type == LEDGE_UINT8)
        ledge__max_pool_u8_ref(&p, c->pool);
    else if (x->type == LEDGE_INT8)
        ledge__max_pool_s8_ref(&p, c->pool);
    else if (kind_of(c) == KIND_MAX)
        NN_CALL(x->type, max_pool, &p, c->pool);
    else if (kind_of(c) == KIND_AVERAGE)
        NN_CALL(x->type, average_pool, &p, c->pool);
    else
        NN_CALL(x->type, lp_pool, &p, c->pool);
    return LEDGE_OK;
}

/* ---- MaxPool of bytes over one or two dimensions, on pixels ---- */

static bool on_pixels(const LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    return (x->type == LEDGE_UINT8 || x->type == LEDGE_INT8) && x->rank >= 3 && x->rank <= 4 &&
           !ledge__op_out(c, 1);
}

typedef struct Pixels {
    uint8_t *x, *y;
} Pixels;

static LedgeStatus pixel_layout(LedgeOpCtx *c, NnScratch *s, Pixels *p)
{
    p->x = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[0]), 1);
    p->y = ledge__nn_take(s, (size_t)ledge_tensor_count(c->out[0]), 1);
    if (s->overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    return LEDGE_OK;
}

/* Signed bytes in the order of unsigned ones, or back. */
static void flip(LedgeRunner r, uint8_t *x, size_t n)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i ^ 0x80);
    ledge__bytes_map(r, x, x, n, table);
}

static LedgeStatus run_pixels(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = c->out[0];
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t n = (size_t)ledge_tensor_count(x), n_out = (size_t)ledge_tensor_count(y);
    const size_t batch = (size_t)x->dims[0], channels = (size_t)x->dims[1];
    NnScratch s = {.base = c->scratch};
    Pixels p;
    LedgeWindow w;
    LEDGE_TRY(window(c, &w));
    LEDGE_TRY(pixel_layout(c, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    if (n_out == 0)
        return LEDGE_OK;
    const LedgePoolWindow pool = ledge__byte_pool_window(&w, x->dims, false);
    ledge__vec_transpose(r, x->data, p.x, batch, channels, n / batch / channels, 1);
    if (x->type == LEDGE_INT8)
        flip(r, p.x, n);
    ledge__bytes_max_pool(r, &pool, p.x, p.y);
    if (x->type == LEDGE_INT8)
        flip(r, p.y, n_out);
    ledge__vec_transpose(r, p.y, y->data, batch, n_out / batch / channels, channels, 1);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Pixels p;
    if (!on_pixels(c) || !ledge__op_out(c, 0))
        return ledge__nn_prepare_float(c);
    LEDGE_TRY(pixel_layout(c, &s, &p));
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

/* Outputs may be not wanted: MaxPool used for its indices alone has none to write to. */
static LedgeStatus run(LedgeOpCtx *c)
{
    if (!ledge__op_out(c, 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "must have its first output");
    return on_pixels(c) ? run_pixels(c) : ledge__nn_run_float(c, body);
}

/* ---- MaxUnpool ---- */

/* The shape that indices count in: what pooling with these attributes would have come from. */
static LedgeStatus unpool_dims(LedgeOpCtx *c, int64_t *dims)
{
    const LedgeTensor *x = c->in[0];
    LedgeWindow w = {0};
    int64_t pads[2 * NN_MAX_SPATIAL];
    int nd = x->rank - 2;
    LEDGE_TRY(ledge__nn_window_attrs(c, nd, NULL, &w));
    LEDGE_TRY(ledge__nn_ints(c, "pads", 2 * nd, 0, 0, pads));
    for (int32_t d = 0; d < x->rank; d++) {
        dims[d] = x->dims[d];
        if (d < 2 || dims[d] < 0)
            continue;
        if (dims[d] > INT32_MAX)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "input dimension %d is too large", d);
        dims[d] = (dims[d] - 1) * w.stride[d - 2] - pads[d - 2] - pads[nd + d - 2] +
                  w.kernel[d - 2];
        if (dims[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "output dimension %d would be %lld", d,
                                  (long long)dims[d]);
    }
    return LEDGE_OK;
}

static LedgeStatus unpool_infer(LedgeOpCtx *c)
{
    int64_t given[LEDGE_MAX_RANK], dims[LEDGE_MAX_RANK];
    int n;
    LEDGE_TRY(ledge__nn_need(c, 2, 1));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *x = c->in[0];
    LEDGE_TRY(ledge__nn_rank(c, 0, 3, LEDGE_MAX_RANK));
    LEDGE_TRY(ledge__nn_count(c, 1, ledge_tensor_count(x)));
    LEDGE_TRY(ledge__op_int_input(c, 2, given, LEDGE_MAX_RANK, &n));
    if (x->rank < 0) {
        ledge__op_set_out(c, 0, x->type, n >= 0 ? n : -1, given);
        return LEDGE_OK;
    }
    LEDGE_TRY(unpool_dims(c, dims));
    if (n >= 0)
        LEDGE_TRY(ledge__nn_same(c, "output_shape's length and the rank", n, x->rank));
    for (int32_t d = 0; d < x->rank && ledge__op_in(c, 2); d++) {
        dims[d] = n >= 0 ? given[d] : -1;
        if (n >= 0 && dims[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "output_shape holds %lld",
                                  (long long)dims[d]);
    }
    ledge__op_set_out(c, 0, x->type, x->rank, dims);
    return LEDGE_OK;
}

/* Where flat index `at` into a tensor of `dims` lies in y; -1 outside. */
static int64_t move_index(const LedgeTensor *y, int64_t at, const int64_t *dims)
{
    int64_t r = 0, scale = 1;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
        if (dims[d] <= 0 || at % dims[d] >= y->dims[d])
            return -1;
        r += at % dims[d] * scale;
        at /= dims[d];
        scale *= y->dims[d];
    }
    return at ? -1 : r;
}

static LedgeStatus unpool_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeTensor *y = c->out[0];
    const int64_t *index = c->in[1]->data;
    int64_t n = ledge_tensor_count(x), dims[LEDGE_MAX_RANK];
    size_t size = x->type == LEDGE_DOUBLE ? 8 : 4;
    LEDGE_TRY(unpool_dims(c, dims));
    memset(y->data, 0, (size_t)ledge_tensor_count(y) * size);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index[i] < 0 ? -1 : move_index(y, index[i], dims);
        if (at < 0)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "index %lld lies outside the output",
                                  (long long)index[i]);
        memcpy((char *)y->data + (size_t)at * size, (const char *)x->data + (size_t)i * size, size);
    }
    return LEDGE_OK;
}

static LedgeStatus unpool_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, unpool_body);
}

const LedgeOp ledge__ops_nn_pool[] = {
    {"", "MaxPool", 1, 0, 0, infer, prepare, run, NULL},
    {"", "AveragePool", 1, 0, 0, infer, ledge__nn_prepare_float, run, NULL},
    {"", "LpPool", 2, 0, 0, infer, ledge__nn_prepare_float, run, NULL},
    {"", "GlobalMaxPool", 1, 0, 0, infer, ledge__nn_prepare_float, run, NULL},
    {"", "GlobalAveragePool", 1, 0, 0, infer, ledge__nn_prepare_float, run, NULL},
    {"", "GlobalLpPool", 2, 0, 0, infer, ledge__nn_prepare_float, run, NULL},
    {"", "MaxUnpool", 9, 0, 0, unpool_infer, ledge__nn_prepare_float, unpool_run, NULL},
    {0},
};
