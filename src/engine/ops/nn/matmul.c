/* MatMul (ONNX 1, 9, 13) and com.microsoft FusedMatMul: numpy's matrix product over a
 * broadcast batch, for every number type that the operator allows. */
#include "engine/ops/nn/matmul.h"

/* A vector counts as a row on the left and as a column on the right. */
static void promote(const LedgeTensor *t, bool right, int32_t *rank, int64_t *dims)
{
    *rank = t->rank;
    memcpy(dims, t->dims, sizeof t->dims);
    if (t->rank == 1) {
        *rank = 2;
        dims[right ? 1 : 0] = 1;
        dims[right ? 0 : 1] = t->dims[0];
    }
}

static LedgeStatus batch_dims(LedgeOpCtx *c, const int64_t *a, int32_t ra, const int64_t *b,
                              int32_t rb, LedgeMatmulBatch *g)
{
    int32_t rank = (ra > rb ? ra : rb) - 2;
    size_t sa = (size_t)a[ra - 1] * (size_t)a[ra - 2], sb = (size_t)b[rb - 1] * (size_t)b[rb - 2];
    g->rank = rank;
    for (int32_t d = rank - 1; d >= 0; d--) {
        int32_t ia = d - (rank - (ra - 2)), ib = d - (rank - (rb - 2));
        int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
        if (da != db && da != 1 && db != 1)
            LEDGE_TRY(ledge__nn_same(c, "batch dimensions", da, db));
        g->dims[d] = da == 1 ? db : db == 1 || da >= 0 ? da : db;
        g->a_stride[d] = da == 1 ? 0 : sa;
        g->b_stride[d] = db == 1 ? 0 : sb;
        sa *= (size_t)da;
        sb *= (size_t)db;
    }
    return LEDGE_OK;
}

static void strides(size_t rows, size_t cols, bool transposed, size_t *row, size_t *col)
{
    (void)rows;
    *row = transposed ? 1 : cols;
    *col = transposed ? cols : 1;
}

LedgeStatus ledge__nn_matmul_shape(LedgeOpCtx *c, const LedgeTensor *ta, const LedgeTensor *tb,
                                   bool trans_a, bool trans_b, LedgeMatmulBatch *g, LedgeTensor *y)
{
    int32_t ra, rb;
    int64_t a[LEDGE_MAX_RANK], b[LEDGE_MAX_RANK];
    y->rank = -1;
    *g = (LedgeMatmulBatch){0};
    if (ta->rank < 0 || tb->rank < 0)
        return LEDGE_OK;
    if (ta->rank == 0 || tb->rank == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a scalar has no matrix product");
    promote(ta, false, &ra, a);
    promote(tb, true, &rb, b);
    trans_a &= ta->rank > 1;
    trans_b &= tb->rank > 1;
    int64_t m = a[ra - (trans_a ? 1 : 2)], ka = a[ra - (trans_a ? 2 : 1)];
    int64_t kb = b[rb - (trans_b ? 1 : 2)], n = b[rb - (trans_b ? 2 : 1)];
    LEDGE_TRY(ledge__nn_same(c, "inner dimensions of the product", ka, kb));
    LEDGE_TRY(batch_dims(c, a, ra, b, rb, g));
    g->one.m = (size_t)m;
    g->one.n = (size_t)n;
    g->one.k = (size_t)ka;
    g->one.c_row = (size_t)n;
    strides((size_t)a[ra - 2], (size_t)a[ra - 1], trans_a, &g->one.a_row, &g->one.a_col);
    strides((size_t)b[rb - 2], (size_t)b[rb - 1], trans_b, &g->one.b_row, &g->one.b_col);
    y->rank = g->rank;
    memcpy(y->dims, g->dims, sizeof y->dims);
    if (ta->rank > 1)
        y->dims[y->rank++] = m;
    if (tb->rank > 1)
        y->dims[y->rank++] = n;
    return LEDGE_OK;
}

int64_t ledge__nn_matmul_macs(const LedgeMatmulBatch *g)
{
    double n = (double)g->one.m * (double)g->one.n * (double)g->one.k;
    for (int d = 0; d < g->rank; d++)
        n *= (double)g->dims[d];
    return ledge__nn_macs(n);
}

/* ---- MatMul ---- */

static bool is_int(LedgeType t)
{
    return t == LEDGE_INT32 || t == LEDGE_UINT32 || t == LEDGE_INT64 || t == LEDGE_UINT64;
}

static LedgeStatus shapes(LedgeOpCtx *c, LedgeMatmulBatch *g, LedgeTensor *y)
{
    if (ledge__node_int(c->node, "transBatchA", 0) || ledge__node_int(c->node, "transBatchB", 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "transBatchA and transBatchB are not");
    return ledge__nn_matmul_shape(c, c->in[0], c->in[1], ledge__node_int(c->node, "transA", 0) != 0,
                                  ledge__node_int(c->node, "transB", 0) != 0, g, y);
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LedgeType t = c->in[0]->type;
    if (t != LEDGE_TYPE_NONE && !ledge__nn_is_float(t) && !is_int(t))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "has no product of %s", ledge_type_name(t));
    LEDGE_TRY(ledge__op_need(c, 1, t));
    LEDGE_TRY(shapes(c, &g, &y));
    ledge__op_set_out(c, 0, t, y.rank, y.dims);
    return LEDGE_OK;
}

static void scale_all(LedgeTensor *y, double alpha)
{
    size_t n = (size_t)ledge_tensor_count(y);
    if (y->type == LEDGE_DOUBLE)
        for (size_t i = 0; i < n; i++)
            ((double *)y->data)[i] *= alpha;
    else
        for (size_t i = 0; i < n; i++)
            ((float *)y->data)[i] *= (float)alpha;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    LedgeMatmulBatch g;
    LedgeTensor y;
    NnMatmulMemory m;
    LEDGE_TRY(shapes(c, &g, &y));
    ledge__nn_matmul_layout(c, c->in[0]->type, &g, &s, &m);
    return ledge__nn_ask(c, &s);
}

LedgeStatus ledge__nn_matmul_product(LedgeOpCtx *c, LedgeMatmulBatch *g)
{
    NnScratch s = {.base = c->scratch};
    NnMatmulMemory m;
    const LedgeType t = c->in[0]->type;
    g->one.a = c->in[0]->data;
    g->one.b = c->in[1]->data;
    g->one.c = c->out[0]->data;
    bool fast = ledge__nn_matmul_layout(c, t, g, &s, &m);
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    if (fast)
        ledge__nn_matmul_fast(c, g, &m);
    else if (t == LEDGE_INT32 || t == LEDGE_UINT32)
        ledge__matmul_batch_u32_ref(g, c->pool);
    else if (is_int(t))
        ledge__matmul_batch_u64_ref(g, c->pool);
    else
        NN_CALL(t, matmul_batch, g, c->pool);
    return LEDGE_OK;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(shapes(c, &g, &y));
    LEDGE_TRY(ledge__nn_matmul_product(c, &g));
    float alpha = ledge__node_float(c->node, "alpha", 1.0f);
    if (alpha != 1.0f && ledge__nn_is_float(c->in[0]->type))
        scale_all(c->out[0], alpha);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(c->in[0]) || !ledge__nn_known(c->in[1]) || shapes(&quiet, &g, &y))
        return 0;
    return ledge__nn_matmul_macs(&g);
}

const LedgeOp ledge__ops_nn_matmul[] = {
    {"", "MatMul", 1, 0, 0, infer, prepare, run, macs},
    {"com.microsoft", "FusedMatMul", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
