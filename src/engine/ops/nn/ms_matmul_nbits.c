/* com.microsoft MatMulNBits: weights of 2, 4 or 8 bits in blocks along k, each block with a
 * scale and a zero point. Columns are widened a few at a time and multiplied as floats. */
#include "engine/ops/nn/nn.h"

#define COLUMNS 32 /* widened together */

typedef struct Sizes {
    int64_t k, n, bits, block, blocks;
} Sizes;

static LedgeStatus sizes(LedgeOpCtx *c, Sizes *s)
{
    s->k = ledge__node_int(c->node, "K", 0);
    s->n = ledge__node_int(c->node, "N", 0);
    s->bits = ledge__node_int(c->node, "bits", 4);
    s->block = ledge__node_int(c->node, "block_size", 0);
    if (s->bits != 2 && s->bits != 4 && s->bits != 8)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "bits is %lld, must be 2, 4 or 8",
                              (long long)s->bits);
    if (s->k < 1 || s->n < 1 || s->k > INT32_MAX || s->n > INT32_MAX || s->block < 8 ||
        s->block > 1 << 20 || s->block % 8)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attributes K, N and block_size do not fit");
    s->blocks = (s->k + s->block - 1) / s->block;
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Sizes s;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 3, 0x25));
    LEDGE_TRY(sizes(c, &s));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_UINT8));
    LEDGE_TRY(ledge__nn_rank(c, 0, 1, LEDGE_MAX_RANK));
    const LedgeTensor *a = c->in[0], *zero = ledge__op_in(c, 3);
    if (a->rank > 0)
        LEDGE_TRY(ledge__nn_same(c, "K and the input's last dimension", s.k, a->dims[a->rank - 1]));
    LEDGE_TRY(ledge__nn_count(c, 1, s.n * s.blocks * (s.block * s.bits / 8)));
    LEDGE_TRY(ledge__nn_count(c, 2, s.n * s.blocks));
    if (zero && zero->type == LEDGE_UINT8)
        LEDGE_TRY(ledge__nn_count(c, 3, s.n * ((s.blocks * s.bits + 7) / 8)));
    else if (zero && ledge__nn_is_float(zero->type))
        LEDGE_TRY(ledge__nn_count(c, 3, s.n * s.blocks));
    else if (zero && zero->type != LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "zero points of %s are not supported",
                              ledge_type_name(zero->type));
    if (ledge__op_in(c, 4))
        LEDGE_TRY(ledge__op_need(c, 4, LEDGE_INT32));
    LEDGE_TRY(ledge__nn_count(c, 4, s.k));
    LEDGE_TRY(ledge__nn_count(c, 5, s.n));
    for (int32_t d = 0; d < a->rank; d++)
        dims[d] = d == a->rank - 1 ? s.n : a->dims[d];
    ledge__op_set_out(c, 0, a->type, a->rank, dims);
    return LEDGE_OK;
}

typedef struct Work {
    const LedgeOpCtx *c;
    Sizes s;
    size_t rows;
    float *wide; /* COLUMNS x k for each thread */
} Work;

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *scratch, Work *w)
{
    w->c = c;
    LEDGE_TRY(sizes(c, &w->s));
    w->rows = (size_t)ledge_tensor_count(c->in[0]) / (size_t)w->s.k;
    w->wide =
        ledge__nn_take(scratch, (size_t)w->s.k * COLUMNS, 4 * (size_t)ledge__pool_threads(c->pool));
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Work w;
    LEDGE_TRY(layout(c, &s, &w));
    return ledge__nn_ask(c, &s);
}

static uint32_t packed(const uint8_t *p, int64_t i, int64_t bits)
{
    int64_t per = 8 / bits;
    return (uint32_t)(p[i / per] >> (i % per * bits)) & ((1u << bits) - 1);
}

static float zero_point(const Work *w, int64_t n, int64_t block)
{
    const LedgeTensor *z = ledge__op_in(w->c, 3);
    const Sizes *s = &w->s;
    if (!z)
        return (float)(1 << (s->bits - 1));
    if (z->type != LEDGE_UINT8)
        return (float)ledge__nn_at(z, n * s->blocks + block);
    const uint8_t *row = (const uint8_t *)z->data + n * ((s->blocks * s->bits + 7) / 8);
    return (float)packed(row, block, s->bits);
}

static void widen(const Work *w, int64_t n, float *to)
{
    const Sizes *s = &w->s;
    const uint8_t *row =
        (const uint8_t *)w->c->in[1]->data + n * s->blocks * s->block * s->bits / 8;
    const LedgeTensor *scales = w->c->in[2], *groups = ledge__op_in(w->c, 4);
    for (int64_t b = 0; b < s->blocks; b++) {
        float scale = (float)ledge__nn_at(scales, n * s->blocks + b), zero = zero_point(w, n, b);
        int64_t end = (b + 1) * s->block < s->k ? (b + 1) * s->block : s->k;
        for (int64_t k = b * s->block; k < end; k++) {
            if (groups) { /* each k names its own block */
                int64_t g = ((const int32_t *)groups->data)[k];
                scale = (float)ledge__nn_at(scales, n * s->blocks + g);
                zero = zero_point(w, n, g);
            }
            to[k] = ((float)packed(row, k, s->bits) - zero) * scale;
        }
    }
}

static void items(void *arg, size_t begin, size_t end, int thread)
{
    const Work *w = arg;
    const LedgeTensor *bias = ledge__op_in(w->c, 5);
    size_t k = (size_t)w->s.k, n = (size_t)w->s.n;
    float *wide = w->wide + (size_t)thread * COLUMNS * k;
    for (size_t i = begin; i < end; i++) {
        size_t n0 = i * COLUMNS, cols = n - n0 < COLUMNS ? n - n0 : COLUMNS;
        for (size_t j = 0; j < cols; j++)
            widen(w, (int64_t)(n0 + j), wide + j * k);
        float *y = (float *)w->c->out[0]->data + n0;
        LedgeMatmul g = {.m = w->rows,
                         .n = cols,
                         .k = k,
                         .a = w->c->in[0]->data,
                         .b = wide,
                         .c = y,
                         .a_row = k,
                         .a_col = 1,
                         .b_row = 1,
                         .b_col = k,
                         .c_row = n};
        ledge__matmul_f32_ref(&g);
        for (size_t e = 0; bias && e < w->rows * cols; e++)
            y[e / cols * n + e % cols] += ((const float *)bias->data)[n0 + e % cols];
    }
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Work w;
    const LedgeTensor *groups = ledge__op_in(c, 4);
    LEDGE_TRY(layout(c, &s, &w));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    if (c->in[0]->type != LEDGE_FLOAT)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "is not supported in double");
    for (int64_t k = 0; groups && k < w.s.k; k++) {
        int32_t g = ((const int32_t *)groups->data)[k];
        if (g < 0 || g >= w.s.blocks)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "g_idx holds %d, there are %lld blocks",
                                  g, (long long)w.s.blocks);
    }
    ledge__pool_run(c->pool, ((size_t)w.s.n + COLUMNS - 1) / COLUMNS, 1, items, &w);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    int64_t n = ledge_tensor_count(c->in[0]);
    return n < 0 ? 0 : ledge__nn_macs((double)n * (double)ledge__node_int(c->node, "N", 0));
}

const LedgeOp ledge__ops_nn_ms_matmul_nbits[] = {
    {"com.microsoft", "MatMulNBits", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
