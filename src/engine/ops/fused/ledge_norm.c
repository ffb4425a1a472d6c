/* ledge.SkipLayerNorm and ledge.Affine.
 *
 * SkipLayerNorm: inputs 0 x, 1 skip of x's shape, 2 gamma, 3 beta or omitted, 4 bias or omitted,
 * each [C]; outputs 0 y = LayerNorm(x + skip + bias) over the last axis, 1 that sum, if wanted.
 * Attribute epsilon.
 * Affine: inputs 0 x [..., C], 1 scale [C], 2 shift [C] or omitted; y = act(x * scale + shift),
 * with the attributes of ledge__fused_act. */
#include "engine/kernels/vec.h"
#include "engine/ops/fused/fused_act.h"

#include <math.h>

enum { IN_X, IN_SKIP, IN_GAMMA, IN_BETA, IN_BIAS };

/* Input i must be one float for each element of x's last axis. */
static LedgeStatus need_vector(LedgeOpCtx *c, uint32_t i, bool required)
{
    const LedgeTensor *t = ledge__op_in(c, i), *x = c->in[IN_X];
    if (!t && !required)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_FLOAT));
    const int64_t n = ledge_tensor_count(t), last = x->rank > 0 ? x->dims[x->rank - 1] : -1;
    if (t->rank >= 0 && n >= 0 && last >= 0 && n != last)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %lld elements, must have %lld", i,
                              (long long)n, (long long)last);
    return LEDGE_OK;
}

static LedgeStatus need_rows(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, IN_X, LEDGE_FLOAT));
    if (c->in[IN_X]->rank == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input must have at least one dimension");
    return LEDGE_OK;
}

static LedgeStatus norm_infer(LedgeOpCtx *c)
{
    LEDGE_TRY(need_rows(c));
    LEDGE_TRY(ledge__op_need(c, IN_SKIP, LEDGE_FLOAT));
    const LedgeTensor *x = c->in[IN_X], *skip = c->in[IN_SKIP];
    LEDGE_TRY(need_vector(c, IN_GAMMA, true));
    LEDGE_TRY(need_vector(c, IN_BETA, false));
    LEDGE_TRY(need_vector(c, IN_BIAS, false));
    for (int32_t d = 0; x->rank >= 0 && skip->rank >= 0 && d < x->rank; d++)
        if (skip->rank != x->rank ||
            (x->dims[d] >= 0 && skip->dims[d] >= 0 && x->dims[d] != skip->dims[d]))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "skip must have the input's shape");
    ledge__op_set_out(c, 0, LEDGE_FLOAT, x->rank, x->dims);
    ledge__op_set_out(c, 1, LEDGE_FLOAT, x->rank, x->dims);
    return LEDGE_OK;
}

static const float *floats(const LedgeOpCtx *c, uint32_t i)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    return t ? t->data : NULL;
}

static LedgeStatus norm_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[IN_X];
    const LedgeTensor *sum = ledge__op_out(c, 1);
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t count = (size_t)ledge_tensor_count(x), n = (size_t)x->dims[x->rank - 1];
    const LedgeNorm p = {.x = x->data,
                         .skip = floats(c, IN_SKIP),
                         .bias = floats(c, IN_BIAS),
                         .gamma = floats(c, IN_GAMMA),
                         .beta = floats(c, IN_BETA),
                         .sum = sum ? sum->data : NULL,
                         .y = c->out[0]->data,
                         .n = n,
                         .eps = ledge__node_float(c->node, "epsilon", 1e-5f)};
    if (count > 0)
        ledge__vec_norm(r, &p, count / n);
    return LEDGE_OK;
}

static LedgeStatus affine_infer(LedgeOpCtx *c)
{
    LedgeAct act;
    LEDGE_TRY(need_rows(c));
    LEDGE_TRY(need_vector(c, 1, true));
    LEDGE_TRY(need_vector(c, 2, false));
    LEDGE_TRY(ledge__fused_act(c, &act));
    ledge__op_set_out(c, 0, LEDGE_FLOAT, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus affine_run(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0];
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t count = (size_t)ledge_tensor_count(x), n = (size_t)x->dims[x->rank - 1];
    LedgeAct act;
    LEDGE_TRY(ledge__fused_act(c, &act));
    if (count > 0)
        ledge__vec_affine(r, x->data, floats(c, 1), floats(c, 2), c->out[0]->data, count / n, n,
                          act);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_norm[] = {
    {"ledge", "SkipLayerNorm", 1, 0, LEDGE_OP_INPLACE, norm_infer, NULL, norm_run, NULL},
    {"ledge", "Affine", 1, 0, LEDGE_OP_INPLACE, affine_infer, NULL, affine_run, NULL},
    {0},
};
