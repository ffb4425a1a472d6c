/* Conv (ONNX 1, 11, 22) and com.microsoft FusedConv, any number of spatial dimensions. */
#include "engine/ops/nn/activate.h"
#include "engine/ops/nn/conv.h"
#include "engine/ops/nn/matmul.h"

static LedgeStatus channels(LedgeOpCtx *c, const LedgeTensor *x, const LedgeTensor *w,
                            LedgeConvRef *p)
{
    int64_t group = ledge__node_int(c->node, "group", 1);
    if (group < 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "group is %lld, must be at least 1",
                              (long long)group);
    LEDGE_TRY(ledge__nn_same(c, "weights' rank and input's rank", w->rank, x->rank));
    if (w->dims[1] >= 0 && x->dims[1] >= 0) {
        int64_t want;
        if (__builtin_mul_overflow(w->dims[1], group, &want) || want != x->dims[1])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "input has %lld channels, weights and group want %lld * %lld",
                                  (long long)x->dims[1], (long long)w->dims[1], (long long)group);
    }
    if (w->dims[0] >= 0 && w->dims[0] % group)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "%lld output channels do not divide into %lld groups",
                              (long long)w->dims[0], (long long)group);
    p->groups = group;
    p->batch = x->dims[0];
    p->in_c = w->dims[1];
    p->out_c = w->dims[0] < 0 ? -1 : w->dims[0] / group;
    return LEDGE_OK;
}

LedgeStatus ledge__nn_conv_shape(LedgeOpCtx *c, const LedgeTensor *x, const LedgeTensor *w,
                                 LedgeConvRef *p, LedgeTensor *y)
{
    *p = (LedgeConvRef){0};
    y->rank = -1;
    if (x->rank < 0)
        return LEDGE_OK;
    y->rank = x->rank;
    for (int32_t d = 0; d < x->rank; d++)
        y->dims[d] = -1;
    if (x->rank < 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "input has rank %d, must have batch, channels and at least one more",
                              x->rank);
    y->dims[0] = x->dims[0];
    if (w->rank < 0)
        return LEDGE_OK;
    LEDGE_TRY(channels(c, x, w, p));
    LEDGE_TRY(ledge__nn_window(c, x, w->dims + 2, false, &p->w));
    y->dims[1] = w->dims[0];
    memcpy(y->dims + 2, p->w.out, sizeof p->w.out[0] * (size_t)p->w.nd);
    return LEDGE_OK;
}

int64_t ledge__nn_conv_macs(const LedgeConvRef *p)
{
    double n = (double)p->batch * (double)p->groups * (double)p->in_c * (double)p->out_c;
    for (int d = 0; d < p->w.nd; d++)
        n *= (double)p->w.out[d] * (double)p->w.kernel[d];
    return ledge__nn_macs(n);
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LedgeConvRef p;
    LedgeTensor y;
    NnActivation act;
    LEDGE_TRY(ledge__nn_need(c, 2, 0xf));
    LEDGE_TRY(ledge__op_need(c, 1, c->in[0]->type));
    LEDGE_TRY(ledge__nn_conv_shape(c, c->in[0], c->in[1], &p, &y));
    LEDGE_TRY(ledge__nn_count(c, 2, c->in[1]->rank > 0 ? c->in[1]->dims[0] : -1));
    LEDGE_TRY(ledge__nn_activation(c, &act));
    if (ledge__op_in(c, 3) && y.rank >= 0)
        LEDGE_TRY(ledge__nn_count(c, 3, ledge_tensor_count(&y)));
    ledge__op_set_out(c, 0, c->in[0]->type, y.rank, y.dims);
    return LEDGE_OK;
}

/* Tiles are multiplied on the packed kernels where that pays; m then is their memory. */
static LedgeStatus layout(LedgeOpCtx *c, NnScratch *s, LedgeConvRef *p, NnMatmulMemory *m)
{
    LedgeTensor y;
    LEDGE_TRY(ledge__nn_conv_shape(c, c->in[0], c->in[1], p, &y));
    p->scratch = ledge__nn_take(s, ledge__conv_ref_scratch(p, ledge__pool_threads(c->pool)),
                                c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
    size_t k = (size_t)p->in_c * ledge__nn_product(p->w.kernel, 0, p->w.nd);
    if (ledge__nn_tile_layout(c, c->in[0]->type, (size_t)p->out_c, ledge__conv_ref_tile(p), k, s,
                              m)) {
        p->product = ledge__nn_tile_product;
        p->product_arg = m;
    }
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    LedgeConvRef p;
    NnMatmulMemory m;
    LEDGE_TRY(layout(c, &s, &p, &m));
    return ledge__nn_ask(c, &s);
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    LedgeConvRef p;
    NnActivation act;
    LedgeType t = c->in[0]->type;
    const LedgeTensor *bias = ledge__op_in(c, 2), *z = ledge__op_in(c, 3);
    NnMatmulMemory m;
    LEDGE_TRY(layout(c, &s, &p, &m));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    LEDGE_TRY(ledge__nn_activation(c, &act));
    if (p.product)
        ledge__nn_tile_begin(&m);
    p.x = c->in[0]->data;
    p.weights = c->in[1]->data;
    p.bias = bias ? bias->data : NULL;
    p.y = c->out[0]->data;
    NN_CALL(t, conv, &p, c->pool);
    size_t n = (size_t)ledge_tensor_count(c->out[0]);
    for (size_t i = 0; z && i < n; i++)
        if (t == LEDGE_DOUBLE)
            ((double *)p.y)[i] += ((const double *)z->data)[i];
        else
            ((float *)p.y)[i] += ((const float *)z->data)[i];
    if (act.kind != NN_ACT_NONE)
        ledge__nn_activate(&act, t, p.y, n);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    LedgeConvRef p;
    LedgeTensor y;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(c->in[0]) || !ledge__nn_known(c->in[1]) ||
        ledge__nn_conv_shape(&quiet, c->in[0], c->in[1], &p, &y))
        return 0;
    return ledge__nn_conv_macs(&p);
}

const LedgeOp ledge__ops_nn_conv[] = {
    {"", "Conv", 1, 0, 0, infer, prepare, run, macs},
    {"com.microsoft", "FusedConv", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
