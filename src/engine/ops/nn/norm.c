/* Normalisation over channels: BatchNormalization (ONNX 7, 9, 14, 15), InstanceNormalization
 * (1, 6, 22), GroupNormalization (18, 21), MeanVarianceNormalization (9, 13),
 * LpNormalization (1, 22), LRN (1, 13). */
#include "engine/ops/nn/nn.h"

#include <math.h>

/* ---- BatchNormalization ---- */

static bool training(const LedgeOpCtx *c)
{
    return c->node->opset >= 14 && ledge__node_int(c->node, "training_mode", 0) != 0;
}

static LedgeStatus batch_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__nn_need(c, 5, 0x1f));
    const LedgeTensor *x = c->in[0];
    LEDGE_TRY(ledge__nn_rank(c, 0, 1, LEDGE_MAX_RANK));
    int64_t channels = x->rank > 1 ? x->dims[1] : x->rank == 1 ? 1 : -1;
    for (uint32_t i = 1; i < 5; i++)
        LEDGE_TRY(ledge__nn_count(c, i, channels));
    if (ledge__node_int(c->node, "spatial", 1) != 1)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "spatial=0 is not supported");
    for (uint32_t i = 1; i < c->n_out; i++)
        if (c->out[i] && !training(c))
            return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                                  "output %u exists in training only; drop it", i);
    ledge__nn_like(c, 0, x);
    ledge__op_set_out(c, 1, c->in[3]->type, 1, &channels);
    ledge__op_set_out(c, 2, c->in[4]->type, 1, &channels);
    return LEDGE_OK;
}

static LedgeBatchNorm batch_sizes(const LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    return (LedgeBatchNorm){
        .batch = (size_t)x->dims[0],
        .channels = x->rank > 1 ? (size_t)x->dims[1] : 1,
        .spatial = ledge__nn_product(x->dims, 2, x->rank),
        .epsilon = ledge__node_float(c->node, "epsilon", 1e-5f),
    };
}

static void *batch_layout(LedgeOpCtx *c, NnScratch *s, bool is_double)
{
    return ledge__nn_take(s, training(c) ? 2 * batch_sizes(c).channels : 0, is_double ? 8 : 4);
}

static LedgeStatus batch_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    batch_layout(c, &s, true);
    return ledge__nn_ask(c, &s);
}

#define BLEND(T)                                                                                   \
    for (size_t i = 0; i < n; i++)                                                                 \
    ((T *)to->data)[i] = ((const T *)old)[i] * (T)m + ((const T *)fresh)[i] * (T)(1 - m)

static void running(LedgeTensor *to, const void *old, const void *fresh, size_t n, double m)
{
    if (!to)
        return;
    if (to->type == LEDGE_DOUBLE)
        BLEND(double);
    else
        BLEND(float);
}

static LedgeStatus batch_body(LedgeOpCtx *c)
{
    LedgeType t = c->in[0]->type;
    LedgeBatchNorm p = batch_sizes(c);
    p.x = c->in[0]->data;
    p.scale = c->in[1]->data;
    p.bias = c->in[2]->data;
    p.mean = c->in[3]->data;
    p.var = c->in[4]->data;
    p.y = c->out[0]->data;
    if (training(c)) {
        NnScratch s = {.base = c->scratch};
        char *mean = batch_layout(c, &s, t == LEDGE_DOUBLE);
        LEDGE_TRY(ledge__nn_check_scratch(c, &s));
        void *var = mean + p.channels * (t == LEDGE_DOUBLE ? 8 : 4);
        double m = ledge__node_float(c->node, "momentum", 0.9f);
        NN_CALL(t, channel_moments, &p, mean, var, c->pool);
        running(ledge__op_out(c, 1), p.mean, mean, p.channels, m);
        running(ledge__op_out(c, 2), p.var, var, p.channels, m);
        p.mean = mean;
        p.var = var;
    }
    NN_CALL(t, batch_norm, &p, c->pool);
    return LEDGE_OK;
}

static LedgeStatus batch_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, batch_body);
}

/* ---- InstanceNormalization, GroupNormalization ---- */

static bool is_group(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'G';
}

static LedgeStatus group_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__nn_need(c, 3, 7));
    LEDGE_TRY(ledge__nn_rank(c, 0, is_group(c) ? 2 : 3, LEDGE_MAX_RANK));
    const LedgeTensor *x = c->in[0];
    int64_t channels = x->rank > 1 ? x->dims[1] : -1, each = channels;
    if (is_group(c)) {
        int64_t groups = ledge__node_int(c->node, "num_groups", 0);
        if (groups < 1 || (channels >= 0 && channels % groups))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "num_groups is %lld, must divide the %lld channels",
                                  (long long)groups, (long long)channels);
        each = c->node->opset < 21 ? groups : channels;
    }
    LEDGE_TRY(ledge__nn_count(c, 1, each));
    LEDGE_TRY(ledge__nn_count(c, 2, each));
    ledge__nn_like(c, 0, x);
    return LEDGE_OK;
}

static LedgeStatus group_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeGroupNorm p = {.batch = (size_t)x->dims[0],
                        .channels = (size_t)x->dims[1],
                        .per = 1,
                        .spatial = ledge__nn_product(x->dims, 2, x->rank),
                        .x = x->data,
                        .scale = c->in[1]->data,
                        .bias = c->in[2]->data,
                        .y = c->out[0]->data,
                        .epsilon = ledge__node_float(c->node, "epsilon", 1e-5f)};
    if (ledge_tensor_count(x) == 0)
        return LEDGE_OK;
    if (is_group(c)) {
        p.per = p.channels / (size_t)ledge__node_int(c->node, "num_groups", 1);
        p.by_group = c->node->opset < 21;
    }
    NN_CALL(x->type, group_norm, &p, c->pool);
    return LEDGE_OK;
}

static LedgeStatus group_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, group_body);
}

/* ---- MeanVarianceNormalization ---- */

static LedgeStatus mvn_axes(LedgeOpCtx *c, bool *reduced)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t n;
    const int64_t *axes = ledge__node_ints(c->node, "axes", &n);
    int32_t rank = c->in[0]->rank, a;
    memset(reduced, 0, LEDGE_MAX_RANK * sizeof *reduced);
    if (!axes) {
        axes = usual;
        n = 3;
    }
    for (size_t i = 0; i < n; i++) {
        LEDGE_TRY(ledge__op_axis(c, axes[i], rank, &a));
        reduced[a] = true;
    }
    return LEDGE_OK;
}

static LedgeStatus mvn_infer(LedgeOpCtx *c)
{
    bool reduced[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 1, 1));
    if (c->in[0]->rank >= 0)
        LEDGE_TRY(mvn_axes(c, reduced));
    ledge__nn_like(c, 0, c->in[0]);
    return LEDGE_OK;
}

/* Offset of the index-th element when only dimensions with flag `want` move. */
static size_t partial_offset(const LedgeTensor *x, const bool *reduced, bool want, size_t index)
{
    size_t at = 0, stride = 1;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        if (reduced[d] == want) {
            at += index % (size_t)x->dims[d] * stride;
            index /= (size_t)x->dims[d];
        }
        stride *= (size_t)x->dims[d];
    }
    return at;
}

/* Sums in double: elements of one set are far apart and few operators use this. */
static LedgeStatus mvn_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeTensor *y = c->out[0];
    bool reduced[LEDGE_MAX_RANK];
    LEDGE_TRY(mvn_axes(c, reduced));
    size_t total = (size_t)ledge_tensor_count(x), n = 1;
    for (int32_t d = 0; d < x->rank; d++)
        n *= reduced[d] ? (size_t)x->dims[d] : 1;
    for (size_t o = 0; total && o < total / n; o++) {
        size_t base = partial_offset(x, reduced, false, o);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            sum += ledge__nn_at(x, (int64_t)(base + partial_offset(x, reduced, true, i)));
        double mean = sum / (double)n;
        for (size_t i = 0; i < n; i++) {
            double v = ledge__nn_at(x, (int64_t)(base + partial_offset(x, reduced, true, i)));
            squares += (v - mean) * (v - mean);
        }
        double std = sqrt(squares / (double)n) + 1e-9;
        for (size_t i = 0; i < n; i++) {
            size_t at = base + partial_offset(x, reduced, true, i);
            double v = (ledge__nn_at(x, (int64_t)at) - mean) / std;
            if (y->type == LEDGE_DOUBLE)
                ((double *)y->data)[at] = v;
            else
                ((float *)y->data)[at] = (float)v;
        }
    }
    return LEDGE_OK;
}

static LedgeStatus mvn_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, mvn_body);
}

/* ---- LpNormalization, LRN ---- */

static LedgeStatus lp_infer(LedgeOpCtx *c)
{
    int32_t axis;
    int64_t p = ledge__node_int(c->node, "p", 2);
    LEDGE_TRY(ledge__nn_need(c, 1, 1));
    if (p != 1 && p != 2)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "p is %lld, must be 1 or 2",
                              (long long)p);
    if (c->in[0]->rank >= 0)
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), c->in[0]->rank, &axis));
    ledge__nn_like(c, 0, c->in[0]);
    return LEDGE_OK;
}

static LedgeStatus lp_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    int32_t axis;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), x->rank, &axis));
    LedgeRows r = {.outer = ledge__nn_product(x->dims, 0, axis),
                   .size = (size_t)x->dims[axis],
                   .inner = ledge__nn_product(x->dims, axis + 1, x->rank),
                   .x = x->data,
                   .y = c->out[0]->data};
    NN_CALL(x->type, lp_normalize, &r, (int)ledge__node_int(c->node, "p", 2), c->pool);
    return LEDGE_OK;
}

static LedgeStatus lp_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, lp_body);
}

static LedgeStatus lrn_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__nn_need(c, 1, 1));
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, LEDGE_MAX_RANK));
    if (ledge__node_int(c->node, "size", 0) < 1)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute size must be at least 1");
    ledge__nn_like(c, 0, c->in[0]);
    return LEDGE_OK;
}

static LedgeStatus lrn_body(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    LedgeLrn p = {.batch = (size_t)x->dims[0],
                  .channels = (size_t)x->dims[1],
                  .spatial = ledge__nn_product(x->dims, 2, x->rank),
                  .size = (size_t)ledge__node_int(c->node, "size", 1),
                  .x = x->data,
                  .y = c->out[0]->data,
                  .alpha = ledge__node_float(c->node, "alpha", 1e-4f),
                  .beta = ledge__node_float(c->node, "beta", 0.75f),
                  .bias = ledge__node_float(c->node, "bias", 1.0f)};
    NN_CALL(x->type, lrn, &p, c->pool);
    return LEDGE_OK;
}

static LedgeStatus lrn_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, lrn_body);
}

const LedgeOp ledge__ops_nn_norm[] = {
    {"", "BatchNormalization", 7, 0, LEDGE_OP_INPLACE, batch_infer, batch_prepare, batch_run, NULL},
    {"", "InstanceNormalization", 1, 0, LEDGE_OP_INPLACE, group_infer, ledge__nn_prepare_float,
     group_run, NULL},
    {"", "GroupNormalization", 18, 0, LEDGE_OP_INPLACE, group_infer, ledge__nn_prepare_float,
     group_run, NULL},
    {"", "MeanVarianceNormalization", 9, 0, LEDGE_OP_INPLACE, mvn_infer, ledge__nn_prepare_float,
     mvn_run, NULL},
    {"", "LpNormalization", 1, 0, LEDGE_OP_INPLACE, lp_infer, ledge__nn_prepare_float, lp_run,
     NULL},
    {"", "LRN", 1, 0, 0, lrn_infer, ledge__nn_prepare_float, lrn_run, NULL},
    {0},
};
