/* com.microsoft element-wise operators that graph tools write: Gelu, BiasGelu, FastGelu,
 * QuickGelu. */
#include "engine/kernels/vec.h"
#include "engine/ops/nn/nn.h"

#include <math.h>

typedef enum Kind { ERF, TANH, QUICK } Kind;

static Kind kind_of(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'F' ? TANH : c->node->op_type[0] == 'Q' ? QUICK : ERF;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    const bool needs_bias = strcmp(c->node->op_type, "BiasGelu") == 0;
    LEDGE_TRY(ledge__nn_need(c, needs_bias ? 2 : 1, 3));
    const LedgeTensor *x = c->in[0];
    if (ledge__op_in(c, 1)) {
        LEDGE_TRY(ledge__nn_rank(c, 0, 1, LEDGE_MAX_RANK));
        LEDGE_TRY(ledge__nn_count(c, 1, x->rank > 0 ? x->dims[x->rank - 1] : -1));
    }
    ledge__nn_like(c, 0, x);
    return LEDGE_OK;
}

static double gelu(Kind kind, double v, double alpha)
{
    switch (kind) {
    case ERF:
        return 0.5 * v * (1 + erf(v * 0.70710678118654752440));
    case TANH:
        return 0.5 * v * (1 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
    case QUICK:
        break;
    }
    return v / (1 + exp(-alpha * v));
}

static float gelu_float(Kind kind, float v, float alpha)
{
    switch (kind) {
    case ERF:
        return 0.5f * v * (1 + erff(v * 0.70710678f));
    case TANH:
        return 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
    case QUICK:
        break;
    }
    return v / (1 + expf(-alpha * v));
}

typedef struct Work {
    const LedgeTensor *x, *bias;
    LedgeTensor *y;
    Kind kind;
    float alpha;
} Work;

static void items(void *arg, size_t begin, size_t end, int thread)
{
    const Work *w = arg;
    size_t n = w->bias ? (size_t)ledge_tensor_count(w->bias) : 1;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        if (w->x->type == LEDGE_DOUBLE) {
            double b = w->bias ? ((const double *)w->bias->data)[i % n] : 0;
            ((double *)w->y->data)[i] =
                gelu(w->kind, ((const double *)w->x->data)[i] + b, w->alpha);
        } else {
            float b = w->bias ? ((const float *)w->bias->data)[i % n] : 0;
            ((float *)w->y->data)[i] =
                gelu_float(w->kind, ((const float *)w->x->data)[i] + b, w->alpha);
        }
}

static LedgeStatus body(LedgeOpCtx *c)
{
    Work w = {c->in[0], ledge__op_in(c, 1), c->out[0], kind_of(c),
              ledge__node_float(c->node, "alpha", 1.702f)};
    size_t n = (size_t)ledge_tensor_count(c->in[0]);
    if (w.x->type == LEDGE_FLOAT && w.kind != QUICK) {
        LedgeRunner r = {c->pool, c->cpu};
        const LedgeAct act = {.kind = w.kind == TANH ? LEDGE_ACT_GELU_TANH : LEDGE_ACT_GELU,
                              .lo = -INFINITY,
                              .hi = INFINITY};
        size_t inner = w.bias ? (size_t)ledge_tensor_count(w.bias) : 1;
        if (!w.bias)
            ledge__vec_unary(r, w.kind == TANH ? LEDGE_U_GELU_TANH : LEDGE_U_GELU, w.x->data,
                             w.y->data, n, 0, 0);
        else if (n)
            ledge__vec_binary_2d(r, LEDGE_B_ADD, w.x->data, inner, 1, w.bias->data, 0, 1, w.y->data,
                                 n / inner, inner, act);
        return LEDGE_OK;
    }
    ledge__pool_run(c->pool, n, 4096, items, &w);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

const LedgeOp ledge__ops_nn_ms_gelu[] = {
    {"com.microsoft", "Gelu", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run, NULL},
    {"com.microsoft", "BiasGelu", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run,
     NULL},
    {"com.microsoft", "FastGelu", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run,
     NULL},
    {"com.microsoft", "QuickGelu", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run,
     NULL},
    {0},
};
