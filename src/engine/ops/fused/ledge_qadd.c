/* ledge.QAdd and ledge.QMul: sum and product of two uint8 tensors, broadcast as in ONNX.
 *
 * QAdd: y = clamp(rne((a - a_zero) * a_scale + (b - b_zero) * b_scale) + y_zero, lo, hi), where
 * a_scale and b_scale are those of a and b over that of y. QMul: y = clamp(rne((a - a_zero) *
 * (b - b_zero) * scale) + y_zero, lo, hi) with scale = sa * sb / sy. Zero points 0 … 255. */
#include "engine/kernels/bytes.h"
#include "engine/ops/fused/fused_bytes.h"

static bool is_add(const LedgeOpCtx *c)
{
    return c->node->op_type[1] == 'A';
}

static LedgeStatus read_mix(LedgeOpCtx *c, LedgeByteMix *m)
{
    uint8_t a, b;
    *m = (LedgeByteMix){.lo = 0};
    LEDGE_TRY(ledge__byte_attr(c, "a_zero", 0, &a));
    LEDGE_TRY(ledge__byte_attr(c, "b_zero", 0, &b));
    m->a.zero = a;
    m->b.zero = b;
    if (is_add(c)) {
        LEDGE_TRY(ledge__byte_scale_attr(c, "a_scale", &m->a.scale));
        LEDGE_TRY(ledge__byte_scale_attr(c, "b_scale", &m->b.scale));
    } else {
        LEDGE_TRY(ledge__byte_scale_attr(c, "scale", &m->a.scale));
    }
    return ledge__byte_result_attrs(c, &m->y_zero, &m->lo, &m->hi);
}

static LedgeStatus pair_infer(LedgeOpCtx *c)
{
    LedgeByteMix m;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_UINT8));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_UINT8));
    LEDGE_TRY(read_mix(c, &m));
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], c->in[1], &rank, dims));
    ledge__op_set_out(c, 0, LEDGE_UINT8, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus pair_prepare(LedgeOpCtx *c)
{
    LedgeByteMix *m = ledge__op_alloc(c, sizeof *m);
    if (!m)
        return ledge__no_memory(c->err);
    c->state = m;
    return read_mix(c, m);
}

static LedgeStatus pair_run(LedgeOpCtx *c)
{
    const LedgeByteMix *m = c->state;
    const LedgeTensor *a = c->in[0], *b = c->in[1];
    const LedgeRunner r = {c->pool, c->cpu};
    LedgeBytePair shape;
    ledge__byte_pair_shape(a, b, c->out[0], &shape);
    if (is_add(c))
        ledge__bytes_add(r, &shape, m, a->data, b->data, c->out[0]->data);
    else
        ledge__bytes_mul(r, &shape, m, a->data, b->data, c->out[0]->data);
    return LEDGE_OK;
}

enum { ANY_INPUT = LEDGE_OP_INPLACE | LEDGE_OP_INPLACE_1 };

const LedgeOp ledge__ops_ledge_qadd[] = {
    {"ledge", "QAdd", 1, 0, ANY_INPUT, pair_infer, pair_prepare, pair_run, NULL},
    {"ledge", "QMul", 1, 0, ANY_INPUT, pair_infer, pair_prepare, pair_run, NULL},
    {0},
};
