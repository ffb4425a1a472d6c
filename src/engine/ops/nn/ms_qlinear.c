/* com.microsoft operators on 8-bit numbers: QLinearAdd, QLinearMul, QLinearConcat,
 * QLinearAveragePool, QLinearGlobalAveragePool, QLinearSigmoid, QLinearLeakyRelu,
 * QLinearSoftmax, on the kernels of ledge's own 8-bit operators. Each rounds half to even, once. */
#include "engine/ops/fused/fused_bytes.h"
#include "engine/ops/nn/matmul.h"

#include <math.h>

/* One quantised tensor: value = scale * (byte - zero). */
typedef struct Quant {
    uint32_t x, scale, zero; /* input indices; of an output x is unused */
} Quant;

static LedgeStatus check_scale(LedgeOpCtx *c, const Quant *q)
{
    LEDGE_TRY(ledge__op_need(c, q->scale, LEDGE_FLOAT));
    return ledge__nn_count(c, q->scale, 1);
}

static LedgeStatus check_in(LedgeOpCtx *c, const Quant *q)
{
    LEDGE_TRY(ledge__nn_need_byte(c, q->x));
    LEDGE_TRY(check_scale(c, q));
    if (ledge__op_in(c, q->zero))
        LEDGE_TRY(ledge__op_need(c, q->zero, c->in[q->x]->type));
    return ledge__nn_count(c, q->zero, 1);
}

/* The output's type is that of its zero point, else that of input `like`. */
static LedgeStatus check_out(LedgeOpCtx *c, const Quant *q, uint32_t like, LedgeType *type)
{
    LEDGE_TRY(check_scale(c, q));
    *type = c->in[like]->type;
    if (ledge__op_in(c, q->zero)) {
        LEDGE_TRY(ledge__nn_need_byte(c, q->zero));
        *type = c->in[q->zero]->type;
    }
    return ledge__nn_count(c, q->zero, 1);
}

static float scale_of(const LedgeOpCtx *c, const Quant *q)
{
    return ((const float *)c->in[q->scale]->data)[0];
}

static int32_t zero_of(const LedgeOpCtx *c, const Quant *q)
{
    const LedgeTensor *z = ledge__op_in(c, q->zero);
    return z ? (int32_t)ledge__nn_at(z, 0) : 0;
}

/* As the kernels take it: the zero point that goes with unsigned bytes. */
static LedgeByteScale byte_scale(const LedgeOpCtx *c, const Quant *q, LedgeType type)
{
    const uint8_t flip = type == LEDGE_INT8 ? 0x80 : 0;
    return (LedgeByteScale){scale_of(c, q), zero_of(c, q) + flip, flip};
}

/* Scales of which products and quotients stay numbers. */
static LedgeStatus check_ratio(LedgeOpCtx *c, float ratio)
{
    if (!(ratio > 0.0f && ratio <= 1e30f))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "scales give a factor of %g", (double)ratio);
    return LEDGE_OK;
}

/* All 256 values of a byte. */
static void value_table(const LedgeOpCtx *c, const Quant *q, LedgeType type, float *table)
{
    float scale = scale_of(c, q);
    int32_t zero = zero_of(c, q);
    for (int i = 0; i < 256; i++)
        table[i] = scale * (float)((type == LEDGE_INT8 ? (int8_t)i : i) - zero);
}

static const uint8_t *bytes_of(const LedgeTensor *t)
{
    return t->data;
}

static LedgeRunner runner(const LedgeOpCtx *c)
{
    return (LedgeRunner){c->pool, c->cpu};
}

/* ---- QLinearSigmoid, QLinearLeakyRelu ---- */

static const Quant unary_in = {0, 1, 2}, unary_out = {0, 3, 4};

static LedgeStatus unary_infer(LedgeOpCtx *c)
{
    LedgeType t;
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &unary_in));
    LEDGE_TRY(check_out(c, &unary_out, 0, &t));
    ledge__op_set_out(c, 0, t, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus unary_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeTensor *y = c->out[0];
    float values[256], alpha = ledge__node_float(c->node, "alpha", 0.01f);
    float scale = scale_of(c, &unary_out);
    uint8_t table[256];
    value_table(c, &unary_in, x->type, values);
    for (int i = 0; i < 256; i++) {
        float v = values[i];
        v = c->node->op_type[7] == 'S' ? 1 / (1 + expf(-v)) : v < 0 ? alpha * v : v;
        table[i] = ledge__nn_quantize(v / scale, zero_of(c, &unary_out), y->type == LEDGE_INT8);
    }
    ledge__bytes_map(runner(c), x->data, y->data, (size_t)ledge_tensor_count(x), table);
    return LEDGE_OK;
}

/* ---- QLinearAdd, QLinearMul ---- */

static const Quant left = {0, 1, 2}, right = {3, 4, 5}, result = {0, 6, 7};

static LedgeStatus binary_infer(LedgeOpCtx *c)
{
    LedgeType t;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &left));
    LEDGE_TRY(check_in(c, &right));
    LEDGE_TRY(check_out(c, &result, 0, &t));
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], c->in[3], &rank, dims));
    ledge__op_set_out(c, 0, t, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus binary_run(LedgeOpCtx *c)
{
    const LedgeTensor *a = c->in[0], *b = c->in[3];
    LedgeTensor *y = c->out[0];
    const LedgeByteScale to = byte_scale(c, &result, y->type);
    LedgeByteMix m = {byte_scale(c, &left, a->type), byte_scale(c, &right, b->type), to.zero,
                      to.flip, 0, 255};
    LedgeBytePair shape;
    ledge__byte_pair_shape(a, b, y, &shape);
    if (c->node->op_type[7] == 'A') {
        m.a.scale /= to.scale;
        m.b.scale /= to.scale;
        LEDGE_TRY(check_ratio(c, m.a.scale));
        LEDGE_TRY(check_ratio(c, m.b.scale));
        ledge__bytes_add(runner(c), &shape, &m, a->data, b->data, y->data);
    } else {
        m.a.scale = m.a.scale * m.b.scale / to.scale;
        LEDGE_TRY(check_ratio(c, m.a.scale));
        ledge__bytes_mul(runner(c), &shape, &m, a->data, b->data, y->data);
    }
    return LEDGE_OK;
}

/* ---- QLinearConcat: scale and zero of the output, then triples ---- */

static const Quant concat_out = {0, 0, 1};

static LedgeStatus concat_infer(LedgeOpCtx *c)
{
    LedgeType t;
    int32_t axis = 0, rank = -1;
    int64_t dims[LEDGE_MAX_RANK], sum = 0;
    if (c->n_in < 5 || (c->n_in - 2) % 3)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "has %u inputs, must have 2 and triples",
                              c->n_in);
    for (uint32_t i = 2; i < c->n_in; i += 3) {
        Quant q = {i, i + 1, i + 2};
        LEDGE_TRY(check_in(c, &q));
        const LedgeTensor *x = c->in[i];
        if (x->rank < 0) {
            rank = -1;
            break;
        }
        if (i == 2) {
            rank = x->rank;
            memcpy(dims, x->dims, sizeof dims);
            LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), rank, &axis));
        }
        LEDGE_TRY(ledge__nn_same(c, "ranks", x->rank, rank));
        for (int32_t d = 0; d < rank; d++)
            if (d != axis)
                LEDGE_TRY(ledge__nn_same(c, "dimensions", x->dims[d], dims[d]));
        if (x->dims[axis] < 0)
            sum = -1;
        else if (sum >= 0 && __builtin_add_overflow(sum, x->dims[axis], &sum))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the sum of dimensions is too large");
    }
    LEDGE_TRY(check_out(c, &concat_out, 2, &t));
    if (rank > 0)
        dims[axis] = sum;
    ledge__op_set_out(c, 0, t, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus concat_run(LedgeOpCtx *c)
{
    LedgeTensor *y = c->out[0];
    int32_t axis, zero = zero_of(c, &concat_out);
    float scale = scale_of(c, &concat_out), values[256];
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), y->rank, &axis));
    size_t outer = ledge__nn_product(y->dims, 0, axis), at = 0;
    size_t row = ledge__nn_product(y->dims, axis, y->rank);
    for (uint32_t i = 2; i < c->n_in; i += 3) {
        Quant q = {i, i + 1, i + 2};
        const LedgeTensor *x = c->in[i];
        uint8_t table[256];
        size_t n = ledge__nn_product(x->dims, axis, x->rank);
        value_table(c, &q, x->type, values);
        for (int k = 0; k < 256; k++)
            table[k] = ledge__nn_quantize(values[k] / scale, zero, y->type == LEDGE_INT8);
        for (size_t o = 0; o < outer; o++)
            ledge__bytes_map(runner(c), bytes_of(x) + o * n, (uint8_t *)y->data + o * row + at, n,
                             table);
        at += n;
    }
    return LEDGE_OK;
}

/* ---- pools: on pixels, which NCHW is turned into and back from ---- */

/* The input's dimensions with channels first, which the window's attributes speak of. */
static LedgeTensor channels_first(const LedgeOpCtx *c)
{
    LedgeTensor x = *c->in[0];
    if (!ledge__node_int(c->node, "channels_last", 0) || x.rank < 3)
        return x;
    x.dims[1] = c->in[0]->dims[x.rank - 1];
    for (int32_t d = 2; d < x.rank; d++)
        x.dims[d] = c->in[0]->dims[d - 1];
    return x;
}

static bool is_global(const LedgeOpCtx *c)
{
    return strcmp(c->node->op_type, "QLinearGlobalAveragePool") == 0;
}

static LedgeStatus window(LedgeOpCtx *c, LedgeWindow *w)
{
    const LedgeTensor x = channels_first(c);
    if (x.rank < 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input has rank %d, must be at least 3",
                              x.rank);
    if (!is_global(c))
        return ledge__nn_window(c, &x, NULL, ledge__node_int(c->node, "ceil_mode", 0) != 0, w);
    *w = (LedgeWindow){.nd = x.rank - 2};
    for (int d = 0; d < w->nd; d++) {
        w->out[d] = 1;
        if (x.dims[2 + d] == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "has nothing to pool");
    }
    return LEDGE_OK;
}

static LedgeStatus pool_infer(LedgeOpCtx *c)
{
    LedgeType t;
    LedgeWindow w;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LEDGE_TRY(check_in(c, &unary_in));
    LEDGE_TRY(check_out(c, &unary_out, 0, &t));
    const LedgeTensor *x = c->in[0];
    memcpy(dims, x->dims, sizeof dims);
    if (x->rank >= 0) {
        LEDGE_TRY(window(c, &w));
        const bool last = ledge__node_int(c->node, "channels_last", 0) != 0;
        memcpy(dims + (last ? 1 : 2), w.out, (size_t)w.nd * sizeof dims[0]);
    }
    ledge__op_set_out(c, 0, t, x->rank, dims);
    return LEDGE_OK;
}

/* One byte of a pool over three dimensions, in plain C: rare, and never large. */
static uint8_t volume_mean(const LedgeWindow *w, const int64_t *at, size_t channels,
                           const uint8_t *x, const LedgeByteMean *m, bool count_pads)
{
    int64_t taps = 0, all = 1, sum = 0;
    for (int d = 0; d < 3; d++) { /* what lies on the image or its padding */
        int64_t n = w->kernel[d];
        while (n > 0 && at[d] + (n - 1) * w->dilation[d] >= w->in[d] + w->pad_end[d])
            n--;
        all *= n;
    }
    for (int64_t k = 0; k < w->kernel[0] * w->kernel[1] * w->kernel[2]; k++) {
        const int64_t a = at[0] + k / w->kernel[2] / w->kernel[1] * w->dilation[0];
        const int64_t b = at[1] + k / w->kernel[2] % w->kernel[1] * w->dilation[1];
        const int64_t e = at[2] + k % w->kernel[2] * w->dilation[2];
        if (a < 0 || b < 0 || e < 0 || a >= w->in[0] || b >= w->in[1] || e >= w->in[2])
            continue;
        sum += x[(size_t)((a * w->in[1] + b) * w->in[2] + e) * channels] - m->x_zero;
        taps++;
    }
    const int64_t count = count_pads ? all : taps;
    return ledge__nn_quantize((float)sum * (m->scale / (float)(count ? count : 1)), m->y_zero,
                              false);
}

static LedgeStatus average_volume(LedgeOpCtx *c, const LedgeByteMean *m, const uint8_t *x,
                                  uint8_t *y)
{
    const LedgeTensor t = channels_first(c);
    const size_t channels = (size_t)t.dims[1], image = ledge__nn_product(t.dims, 1, 5);
    const bool count_pads = ledge__node_int(c->node, "count_include_pad", 0) != 0;
    LedgeWindow w;
    LEDGE_TRY(window(c, &w));
    for (int64_t i = 0; i < t.dims[0] * w.out[0] * w.out[1] * w.out[2]; i++) {
        const int64_t o[3] = {i / w.out[2] / w.out[1] % w.out[0], i / w.out[2] % w.out[1],
                              i % w.out[2]};
        const size_t b = (size_t)(i / w.out[2] / w.out[1] / w.out[0]);
        int64_t at[3];
        for (int d = 0; d < 3; d++)
            at[d] = o[d] * w.stride[d] - w.pad[d];
        for (size_t k = 0; k < channels; k++)
            *y++ = volume_mean(&w, at, channels, x + b * image + k, m, count_pads);
    }
    return LEDGE_OK;
}

typedef struct PoolBytes {
    uint8_t *x, *y; /* as pixels */
} PoolBytes;

static LedgeStatus pool_layout(LedgeOpCtx *c, NnScratch *s, PoolBytes *p)
{
    p->x = ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[0]), 1);
    p->y = ledge__nn_take(s, (size_t)ledge_tensor_count(c->out[0]), 1);
    if (s->overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    return LEDGE_OK;
}

static LedgeStatus pool_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    PoolBytes p;
    LEDGE_TRY(pool_layout(c, &s, &p));
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

/* Signed bytes to unsigned ones, or back. */
static void flip(LedgeOpCtx *c, uint8_t *x, size_t n)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i ^ 0x80);
    ledge__bytes_map(runner(c), x, x, n, table);
}

static LedgeStatus average(LedgeOpCtx *c, const LedgeByteMean *m, const uint8_t *x, uint8_t *y)
{
    const LedgeTensor t = channels_first(c);
    LedgeWindow w;
    if (is_global(c)) {
        const size_t pixels = ledge__nn_product(t.dims, 2, t.rank);
        if (pixels > LEDGE_BYTE_SUM_MOST)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the window is too large");
        ledge__bytes_global_average(runner(c), (size_t)t.dims[0], pixels, (size_t)t.dims[1], m, x,
                                    y);
        return LEDGE_OK;
    }
    if (t.rank == 5)
        return average_volume(c, m, x, y);
    if (t.rank > 5)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "pools at most three dimensions");
    LEDGE_TRY(window(c, &w));
    const LedgePoolWindow p =
        ledge__byte_pool_window(&w, t.dims, ledge__node_int(c->node, "count_include_pad", 0) != 0);
    if (p.kernel_h > LEDGE_BYTE_SUM_MOST || p.kernel_w > LEDGE_BYTE_SUM_MOST / p.kernel_h)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the window is too large");
    ledge__bytes_average_pool(runner(c), &p, m, x, y);
    return LEDGE_OK;
}

static LedgeStatus pool_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], t = channels_first(c);
    LedgeTensor *y = c->out[0];
    NnScratch s = {.base = c->scratch};
    PoolBytes p;
    const LedgeByteScale from = byte_scale(c, &unary_in, x->type);
    const LedgeByteScale to = byte_scale(c, &unary_out, y->type);
    const LedgeByteMean m = {from.zero, to.zero, from.scale / to.scale, 0, 255};
    const size_t n = (size_t)ledge_tensor_count(x), batch = (size_t)t.dims[0];
    const size_t channels = (size_t)t.dims[1], n_out = (size_t)ledge_tensor_count(y);
    LEDGE_TRY(check_ratio(c, m.scale));
    LEDGE_TRY(pool_layout(c, &s, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    if (n_out == 0)
        return LEDGE_OK;
    const bool last = ledge__node_int(c->node, "channels_last", 0) != 0;
    const size_t plane = n / batch / channels;
    if (is_global(c) && !last && plane <= LEDGE_BYTE_SUM_MOST) {
        ledge__bytes_plane_average(runner(c), batch * channels, plane, &m, from.flip, to.flip,
                                   x->data, y->data);
        return LEDGE_OK;
    }
    if (last)
        memcpy(p.x, x->data, n);
    else
        ledge__vec_transpose(runner(c), x->data, p.x, batch, channels, plane, 1);
    if (from.flip)
        flip(c, p.x, n);
    LEDGE_TRY(average(c, &m, p.x, p.y));
    if (to.flip)
        flip(c, p.y, n_out);
    if (last)
        memcpy(y->data, p.y, n_out);
    else
        ledge__vec_transpose(runner(c), p.y, y->data, batch, n_out / batch / channels, channels, 1);
    return LEDGE_OK;
}

/* ---- QLinearSoftmax: through float ---- */

static LedgeStatus softmax_infer(LedgeOpCtx *c)
{
    int32_t axis;
    LEDGE_TRY(unary_infer(c));
    if (c->in[0]->rank >= 0)
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), c->in[0]->rank, &axis));
    return LEDGE_OK;
}

static LedgeStatus softmax_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    ledge__nn_take(&s, (size_t)ledge_tensor_count(c->in[0]), sizeof(float));
    if (s.overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

static LedgeStatus softmax_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    NnScratch s = {.base = c->scratch};
    const size_t n = (size_t)ledge_tensor_count(x);
    float *v = ledge__nn_take(&s, n, sizeof *v);
    const bool flat = ledge__node_int(c->node, "opset", 13) < 13;
    int32_t axis;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), x->rank, &axis));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    const size_t size =
        flat ? ledge__nn_product(x->dims, axis, x->rank) : (size_t)x->dims[axis];
    const size_t inner = flat ? 1 : ledge__nn_product(x->dims, axis + 1, x->rank);
    ledge__bytes_dequantize(runner(c), x->data, v, n, byte_scale(c, &unary_in, x->type));
    ledge__vec_softmax(runner(c), v, v, ledge__nn_product(x->dims, 0, axis), size, inner, false);
    ledge__bytes_quantize(runner(c), v, c->out[0]->data, n,
                          byte_scale(c, &unary_out, c->out[0]->type));
    return LEDGE_OK;
}

#define MS(name, infer, prepare, run)                                                              \
    {                                                                                              \
        "com.microsoft", name, 1, 0, 0, infer, prepare, run, NULL                                  \
    }
const LedgeOp ledge__ops_nn_ms_qlinear[] = {
    MS("QLinearSigmoid", unary_infer, NULL, unary_run),
    MS("QLinearLeakyRelu", unary_infer, NULL, unary_run),
    MS("QLinearAdd", binary_infer, NULL, binary_run),
    MS("QLinearMul", binary_infer, NULL, binary_run),
    MS("QLinearConcat", concat_infer, NULL, concat_run),
    MS("QLinearAveragePool", pool_infer, pool_prepare, pool_run),
    MS("QLinearGlobalAveragePool", pool_infer, pool_prepare, pool_run),
    MS("QLinearSoftmax", softmax_infer, softmax_prepare, softmax_run),
    {0},
};
