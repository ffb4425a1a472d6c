/* Pooling over NHWC: ledge.MaxPool, ledge.AveragePool, ledge.GlobalMaxPool and
 * ledge.GlobalAveragePool. Attributes are those of the ONNX operators (version 22); MaxPool
 * gives no indices. Input [N,H,W,C] float32 (uint8 too where the maximum is taken), output
 * [N,OH,OW,C].
 *
 * ledge.QAveragePool and ledge.QGlobalAveragePool: the average of uint8, with attributes scale
 * (that of x over that of y), x_zero, y_zero, lo, hi: clamp(rne((sum - taps * x_zero) * (scale /
 * count)) + y_zero, lo, hi). */
#include "engine/ops/fused/fused_bytes.h"
#include "engine/ops/nn/nn.h"

static bool is_max(const LedgeOpCtx *c)
{
    return strstr(c->node->op_type, "Max") != NULL;
}

static bool is_global(const LedgeOpCtx *c)
{
    return strncmp(c->node->op_type + (c->node->op_type[0] == 'Q'), "Global", 6) == 0;
}

static bool is_quantized(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'Q';
}

static LedgeStatus read_mean(LedgeOpCtx *c, LedgeByteMean *m)
{
    uint8_t zero;
    LEDGE_TRY(ledge__byte_scale_attr(c, "scale", &m->scale));
    LEDGE_TRY(ledge__byte_attr(c, "x_zero", 0, &zero));
    m->x_zero = zero;
    return ledge__byte_result_attrs(c, &m->y_zero, &m->lo, &m->hi);
}

static LedgeStatus need_type(LedgeOpCtx *c, LedgeType *type)
{
    LedgeByteMean m;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    *type = is_quantized(c) || (is_max(c) && c->in[0]->type == LEDGE_UINT8) ? LEDGE_UINT8
                                                                            : LEDGE_FLOAT;
    if (is_quantized(c))
        LEDGE_TRY(read_mean(c, &m));
    return ledge__op_need(c, 0, *type);
}

static LedgeStatus get_window(LedgeOpCtx *c, LedgeWindow *w)
{
    const LedgeTensor *x = c->in[0];
    LedgeTensor nchw = *x; /* whose order the window's attributes speak of */
    nchw.dims[1] = x->dims[3];
    nchw.dims[2] = x->dims[1];
    nchw.dims[3] = x->dims[2];
    if (is_global(c)) {
        *w = (LedgeWindow){.nd = 2, .out = {1, 1}};
        return LEDGE_OK;
    }
    return ledge__nn_window(c, &nchw, NULL, ledge__node_int(c->node, "ceil_mode", 0) != 0, w);
}

static LedgeStatus pool_infer(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(need_type(c, &type));
    const LedgeTensor *x = c->in[0];
    if (ledge__op_out(c, 1))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "does not give indices");
    if (x->rank >= 0 && x->rank != 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has %d dimensions, must have 4",
                              x->rank);
    LedgeWindow w;
    int64_t dims[4] = {-1, -1, -1, -1};
    if (x->rank == 4) {
        LEDGE_TRY(get_window(c, &w));
        dims[0] = x->dims[0];
        dims[1] = w.out[0];
        dims[2] = w.out[1];
        dims[3] = x->dims[3];
    }
    ledge__op_set_out(c, 0, type, 4, dims);
    return LEDGE_OK;
}

typedef struct PoolState {
    LedgePoolWindow w;
    LedgeByteMean mean; /* of the quantized ones */
    int threads;
} PoolState;

/* Sums of bytes are kept in an int32. */
static LedgeStatus check_sum(LedgeOpCtx *c, int64_t a, int64_t b)
{
    if (is_quantized(c) && (a > LEDGE_BYTE_SUM_MOST || b > LEDGE_BYTE_SUM_MOST / (a + 1)))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the window is too large");
    return LEDGE_OK;
}

static LedgeStatus pool_prepare(LedgeOpCtx *c)
{
    LedgeWindow w;
    const LedgeTensor *x = c->in[0];
    PoolState *s = ledge__op_alloc(c, sizeof *s);
    if (!s)
        return ledge__no_memory(c->err);
    c->state = s;
    s->threads = ledge__pool_threads(c->pool);
    if (is_quantized(c))
        LEDGE_TRY(read_mean(c, &s->mean));
    if (is_global(c)) {
        LEDGE_TRY(check_sum(c, x->dims[1], x->dims[2]));
        if (x->dims[1] == 0 || x->dims[2] == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "has nothing to pool");
        return LEDGE_OK;
    }
    LEDGE_TRY(get_window(c, &w));
    LEDGE_TRY(check_sum(c, w.kernel[0], w.kernel[1]));
    const int64_t nchw[4] = {x->dims[0], x->dims[3], x->dims[1], x->dims[2]};
    s->w =
        ledge__byte_pool_window(&w, nchw, ledge__node_int(c->node, "count_include_pad", 0) == 1);
    if (x->type == LEDGE_UINT8)
        return LEDGE_OK;
    c->scratch_bytes = ledge__vec_pool_scratch(&s->w, s->threads);
    if (c->scratch_bytes == SIZE_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the window is too large");
    return LEDGE_OK;
}

static void run_bytes(LedgeOpCtx *c)
{
    const PoolState *s = c->state;
    const LedgeTensor *x = c->in[0];
    uint8_t *y = c->out[0]->data;
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t batch = (size_t)x->dims[0], pixels = (size_t)(x->dims[1] * x->dims[2]);
    if (!is_global(c) && is_max(c))
        ledge__bytes_max_pool(r, &s->w, x->data, y);
    else if (!is_global(c))
        ledge__bytes_average_pool(r, &s->w, &s->mean, x->data, y);
    else if (is_max(c))
        ledge__bytes_global_max(r, batch, pixels, (size_t)x->dims[3], x->data, y);
    else
        ledge__bytes_global_average(r, batch, pixels, (size_t)x->dims[3], &s->mean, x->data, y);
}

static LedgeStatus pool_run(LedgeOpCtx *c)
{
    const PoolState *s = c->state;
    const LedgeTensor *x = c->in[0];
    LedgeTensor *y = c->out[0];
    LedgeRunner r = {c->pool, c->cpu};
    if (ledge_tensor_count(y) == 0)
        return LEDGE_OK;
    if (x->type == LEDGE_UINT8) {
        run_bytes(c);
        return LEDGE_OK;
    }
    if (is_global(c)) {
        ledge__vec_reduce(r, is_max(c) ? LEDGE_R_MAX : LEDGE_R_MEAN, x->data, y->data,
                          (size_t)x->dims[0], (size_t)(x->dims[1] * x->dims[2]),
                          (size_t)x->dims[3]);
        return LEDGE_OK;
    }
    if (ledge__pool_threads(c->pool) > s->threads)
        r.pool = NULL; /* scratch was sized for fewer */
    if (is_max(c))
        ledge__vec_max_pool(r, &s->w, x->data, y->data, c->scratch);
    else
        ledge__vec_average_pool(r, &s->w, x->data, y->data, c->scratch);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_pool[] = {
    {"ledge", "MaxPool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {"ledge", "AveragePool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {"ledge", "GlobalMaxPool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {"ledge", "GlobalAveragePool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {"ledge", "QAveragePool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {"ledge", "QGlobalAveragePool", 1, 0, 0, pool_infer, pool_prepare, pool_run, NULL},
    {0},
};
