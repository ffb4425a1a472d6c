/* Softmax, LogSoftmax and Hardmax (ONNX 1, 11, 13): before opset 13 everything from `axis` on
 * is one row, from 13 on the rows run along `axis` alone. */
#include "engine/kernels/vec.h"
#include "engine/ops/nn/nn.h"

static LedgeStatus rows(LedgeOpCtx *c, LedgeRows *r)
{
    const LedgeTensor *x = c->in[0];
    bool flat = c->node->opset < 13 && c->node->domain[0] == 0;
    int64_t axis = ledge__node_int(c->node, "axis", flat ? 1 : -1);
    int32_t a;
    if (flat && axis == x->rank) /* legal there: rows of one element */
        a = x->rank;
    else if (x->rank == 0 && (axis == 0 || axis == -1))
        a = 0;
    else
        LEDGE_TRY(ledge__op_axis(c, axis, x->rank, &a));
    *r = (LedgeRows){.outer = ledge__nn_product(x->dims, 0, a), .size = 1, .inner = 1};
    if (flat)
        r->size = ledge__nn_product(x->dims, a, x->rank);
    else if (x->rank > 0) {
        r->size = (size_t)x->dims[a];
        r->inner = ledge__nn_product(x->dims, a + 1, x->rank);
    }
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LedgeRows r;
    LEDGE_TRY(ledge__nn_need(c, 1, 1));
    if (c->in[0]->rank >= 0)
        LEDGE_TRY(rows(c, &r));
    ledge__nn_like(c, 0, c->in[0]);
    return LEDGE_OK;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    LedgeRows r;
    LedgeType t = c->in[0]->type;
    LEDGE_TRY(rows(c, &r));
    r.x = c->in[0]->data;
    r.y = c->out[0]->data;
    if (t == LEDGE_FLOAT && c->node->op_type[0] != 'H')
        ledge__vec_softmax((LedgeRunner){c->pool, c->cpu}, r.x, r.y, r.outer, r.size, r.inner,
                           c->node->op_type[0] == 'L');
    else if (c->node->op_type[0] == 'S')
        NN_CALL(t, softmax, &r, c->pool);
    else if (c->node->op_type[0] == 'L')
        NN_CALL(t, log_softmax, &r, c->pool);
    else
        NN_CALL(t, hardmax, &r, c->pool);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

const LedgeOp ledge__ops_nn_softmax[] = {
    {"", "Softmax", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run, NULL},
    {"", "LogSoftmax", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run, NULL},
    {"", "Hardmax", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run, NULL},
    {0},
};
