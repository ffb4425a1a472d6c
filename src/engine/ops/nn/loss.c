/* NegativeLogLikelihoodLoss (ONNX 12, 13, 22) and SoftmaxCrossEntropyLoss (12, 13). */
#include "engine/ops/nn/nn.h"

#include <math.h>

typedef enum Reduction { REDUCE_NONE, REDUCE_SUM, REDUCE_MEAN } Reduction;

static bool is_softmax(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'S';
}

static LedgeStatus reduction(LedgeOpCtx *c, Reduction *r)
{
    const char *s = ledge__node_string(c->node, "reduction", "mean");
    if (strcmp(s, "none") == 0)
        *r = REDUCE_NONE;
    else if (strcmp(s, "sum") == 0)
        *r = REDUCE_SUM;
    else if (strcmp(s, "mean") == 0)
        *r = REDUCE_MEAN;
    else
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "reduction \"%.40s\" is not known", s);
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Reduction r = REDUCE_MEAN;
    LEDGE_TRY(ledge__nn_need(c, 2, 5));
    LEDGE_TRY(reduction(c, &r));
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, LEDGE_MAX_RANK));
    const LedgeTensor *x = c->in[0], *t = c->in[1];
    if (t->type != LEDGE_TYPE_NONE && t->type != LEDGE_INT32 && t->type != LEDGE_INT64)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "targets are %s, must be int32 or int64",
                              ledge_type_name(t->type));
    if (x->rank >= 0 && t->rank >= 0) {
        LEDGE_TRY(ledge__nn_same(c, "rank of the targets", t->rank, x->rank - 1));
        for (int32_t d = 0; d < t->rank; d++)
            LEDGE_TRY(ledge__nn_same(c, "dimensions of the targets", t->dims[d],
                                     x->dims[d ? d + 1 : 0]));
    }
    LEDGE_TRY(ledge__nn_count(c, 2, x->rank >= 0 ? x->dims[1] : -1));
    if (r == REDUCE_NONE)
        ledge__op_set_out(c, 0, x->type, t->rank, t->dims);
    else
        ledge__op_set_out(c, 0, x->type, 0, t->dims);
    ledge__op_set_out(c, 1, x->type, x->rank, x->dims);
    return LEDGE_OK;
}

static void *log_probabilities(LedgeOpCtx *c, NnScratch *s)
{
    LedgeTensor *own = ledge__op_out(c, 1);
    if (!is_softmax(c))
        return c->in[0]->data;
    if (own)
        return own->data;
    return ledge__nn_take(s, (size_t)ledge_tensor_count(c->in[0]),
                          c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    log_probabilities(c, &s);
    return ledge__nn_ask(c, &s);
}

static void put(LedgeTensor *y, size_t i, double v)
{
    if (!y)
        return;
    if (y->type == LEDGE_DOUBLE)
        ((double *)y->data)[i] = v;
    else
        ((float *)y->data)[i] = (float)v;
}

static LedgeStatus losses(LedgeOpCtx *c, const LedgeTensor *logs, Reduction r)
{
    const LedgeTensor *t = c->in[1], *w = ledge__op_in(c, 2);
    LedgeTensor *y = ledge__op_out(c, 0);
    const LedgeAttr *ignore = ledge__node_attr(c->node, "ignore_index");
    int64_t classes = logs->dims[1], n = ledge_tensor_count(t);
    int64_t inner = (int64_t)ledge__nn_product(logs->dims, 2, logs->rank);
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t target = t->type == LEDGE_INT64 ? ((const int64_t *)t->data)[i]
                                                : ((const int32_t *)t->data)[i];
        double v = 0, weight = 0;
        if (!(ignore && target == ignore->i)) {
            if (target < 0 || target >= classes)
                return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "target %lld is outside %lld classes",
                                      (long long)target, (long long)classes);
            weight = w ? ledge__nn_at(w, target) : 1.0;
            v = -weight * ledge__nn_at(logs, (i / inner * classes + target) * inner + i % inner);
        }
        sum += v;
        weights += weight;
        if (r == REDUCE_NONE)
            put(y, (size_t)i, v);
    }
    if (r == REDUCE_SUM)
        put(y, 0, sum);
    if (r == REDUCE_MEAN)
        put(y, 0, sum / weights);
    return LEDGE_OK;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Reduction r = REDUCE_MEAN;
    LedgeTensor logs = *c->in[0];
    LEDGE_TRY(reduction(c, &r));
    logs.data = log_probabilities(c, &s);
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    if (is_softmax(c)) {
        LedgeRows rows = {.outer = (size_t)logs.dims[0],
                          .size = (size_t)logs.dims[1],
                          .inner = ledge__nn_product(logs.dims, 2, logs.rank),
                          .x = c->in[0]->data,
                          .y = logs.data};
        NN_CALL(logs.type, log_softmax, &rows, c->pool);
    }
    return losses(c, &logs, r);
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

const LedgeOp ledge__ops_nn_loss[] = {
    {"", "NegativeLogLikelihoodLoss", 12, 0, 0, infer, prepare, run, NULL},
    {"", "SoftmaxCrossEntropyLoss", 12, 0, 0, infer, prepare, run, NULL},
    {0},
};
