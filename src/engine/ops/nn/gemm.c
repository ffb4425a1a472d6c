/* Gemm (ONNX 7, 9, 11, 13) and com.microsoft FusedGemm: alpha A' B' + beta C. */
#include <math.h>

#include "engine/ops/nn/activate.h"
#include "engine/ops/nn/matmul.h"

static LedgeStatus shapes(LedgeOpCtx *c, LedgeMatmulBatch *g, LedgeTensor *y)
{
    return ledge__nn_matmul_shape(c, c->in[0], c->in[1], ledge__node_int(c->node, "transA", 0) != 0,
                                  ledge__node_int(c->node, "transB", 0) != 0, g, y);
}

/* C broadcasts to the result one way only. */
static LedgeStatus check_c(LedgeOpCtx *c, const LedgeTensor *y)
{
    const LedgeTensor *t = ledge__op_in(c, 2);
    if (!t || t->rank < 0 || y->rank != 2)
        return LEDGE_OK;
    LEDGE_TRY(ledge__nn_rank(c, 2, 0, 2));
    for (int32_t d = 0; d < t->rank; d++)
        if (t->dims[d] != 1)
            LEDGE_TRY(ledge__nn_same(c, "C", t->dims[d], y->dims[2 - t->rank + d]));
    return LEDGE_OK;
}

static bool whole(float v)
{
    return v == rintf(v) && fabsf(v) < 1e6f;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_need(c, 2, 0));
    LedgeType t = c->in[0]->type;
    bool is_int = t == LEDGE_INT32 || t == LEDGE_UINT32 || t == LEDGE_INT64 || t == LEDGE_UINT64;
    if (t != LEDGE_TYPE_NONE && !is_int && !ledge__nn_is_float(t))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "has no product of %s", ledge_type_name(t));
    if (is_int && !(whole(ledge__node_float(c->node, "alpha", 1.0f)) &&
                    whole(ledge__node_float(c->node, "beta", 1.0f))))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                              "alpha and beta of an integer product must be whole numbers");
    LEDGE_TRY(ledge__op_need(c, 1, t));
    if (ledge__op_in(c, 2))
        LEDGE_TRY(ledge__op_need(c, 2, t));
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, 2));
    LEDGE_TRY(ledge__nn_rank(c, 1, 2, 2));
    LEDGE_TRY(shapes(c, &g, &y));
    LEDGE_TRY(check_c(c, &y));
    if (y.rank < 0) {
        y.rank = 2;
        y.dims[0] = y.dims[1] = -1;
    }
    NnActivation act;
    LEDGE_TRY(ledge__nn_activation(c, &act));
    ledge__op_set_out(c, 0, t, y.rank, y.dims);
    return LEDGE_OK;
}

#define COMBINE(T)                                                                        \
    for (size_t i = 0; i < m; i++)                                                        \
        for (size_t j = 0; j < n; j++) {                                                  \
            T *v = (T *)y->data + i * n + j;                                              \
            *v *= (T)alpha;                                                               \
            if (add)                                                                      \
                *v += (T)beta * ((const T *)add->data)[i * row + j * col];                \
        }

/* Integers multiply modulo 2^bits, negative factors included. */
static void combine(LedgeTensor *y, const LedgeTensor *add, double alpha, double beta)
{
    size_t m = (size_t)y->dims[0], n = (size_t)y->dims[1], row = 0, col = 0;
    if (add) {
        col = add->rank >= 1 && add->dims[add->rank - 1] != 1;
        row = add->rank == 2 && add->dims[0] != 1 ? (size_t)add->dims[1] : 0;
    }
    if (alpha == 1.0 && !add)
        return;
    if (y->type == LEDGE_DOUBLE) {
        COMBINE(double)
    } else if (y->type == LEDGE_FLOAT) {
        COMBINE(float)
    } else {
        int64_t a = (int64_t)alpha, b = (int64_t)beta;
        for (size_t i = 0; i < m * n; i++) {
            size_t from = i / n * row + i % n * col;
            if (ledge_type_bits(y->type) == 32) {
                uint32_t *v = (uint32_t *)y->data + i;
                *v = *v * (uint32_t)a +
                     (add ? (uint32_t)b * ((const uint32_t *)add->data)[from] : 0);
            } else {
                uint64_t *v = (uint64_t *)y->data + i;
                *v = *v * (uint64_t)a +
                     (add ? (uint64_t)b * ((const uint64_t *)add->data)[from] : 0);
            }
        }
    }
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

static LedgeStatus body(LedgeOpCtx *c)
{
    LedgeMatmulBatch g;
    LedgeTensor y;
    NnActivation act;
    LedgeType t = c->in[0]->type;
    LEDGE_TRY(shapes(c, &g, &y));
    LEDGE_TRY(ledge__nn_activation(c, &act));
    LEDGE_TRY(ledge__nn_matmul_product(c, &g));
    combine(c->out[0], ledge__op_in(c, 2), ledge__node_float(c->node, "alpha", 1.0f),
            ledge__node_float(c->node, "beta", 1.0f));
    if (act.kind != NN_ACT_NONE && ledge__nn_is_float(t))
        ledge__nn_activate(&act, t, c->out[0]->data, (size_t)ledge_tensor_count(c->out[0]));
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

const LedgeOp ledge__ops_nn_gemm[] = {
    {"", "Gemm", 7, 0, 0, infer, prepare, run, macs},
    {"com.microsoft", "FusedGemm", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
