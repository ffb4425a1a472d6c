/* ledge.QGemm: the matrix product in 8 bits, with everything fused that follows it.
 *
 * Inputs: 0 A uint8 [..., K]; 1 B int8 [K, N], or [N, K] with trans_b; or, one matrix for each of
 * A's [M, K], int8 or uint8 [..., K, N] with A's leading dimensions; 2 bias int32 [N] or omitted;
 * 3 scale float [N] or [1], a's times b's over y's; 4 R of the output's shape, summed after
 * requantising, or omitted. Output uint8 [..., N], or float with to_float (R is then float too).
 * Attributes: trans_b, a_zero, b_zero (one or N) in B's own type, and y_zero … as in ledge.QConv. */
#include "engine/ops/fused/fused_q8.h"

enum { IN_A, IN_B, IN_BIAS, IN_SCALE, IN_R };

typedef struct QGemmDims {
    int64_t batch, rows, k, n; /* -1: not known yet; rows of one product */
    bool trans_b;
} QGemmDims;

static LedgeType out_type(const LedgeOpCtx *c)
{
    return ledge__node_int(c->node, "to_float", 0) != 0 ? LEDGE_FLOAT : LEDGE_UINT8;
}

/* The product of dims[0 … n - 1]; -1 where one is not known. */
static LedgeStatus count_of(LedgeOpCtx *c, const int64_t *dims, int32_t n, int64_t *out)
{
    *out = 1;
    for (int32_t i = 0; i < n; i++) {
        if (dims[i] < 0 || *out < 0)
            *out = -1;
        else if (__builtin_mul_overflow(*out, dims[i], out))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "A has too many rows");
    }
    return LEDGE_OK;
}

static LedgeStatus batch_dims(LedgeOpCtx *c, const LedgeTensor *a, const LedgeTensor *b,
                              QGemmDims *d)
{
    if (b->rank <= 2)
        return count_of(c, a->dims, a->rank - 1, &d->rows);
    if (a->rank != b->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "A has %d dimensions, B %d", a->rank, b->rank);
    for (int32_t i = 0; i + 2 < a->rank; i++)
        if (a->dims[i] >= 0 && b->dims[i] >= 0 && a->dims[i] != b->dims[i])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d of A is %lld, of B %lld", i,
                                  (long long)a->dims[i], (long long)b->dims[i]);
    d->rows = a->dims[a->rank - 2];
    return count_of(c, a->dims, a->rank - 2, &d->batch);
}

static LedgeStatus qgemm_dims(LedgeOpCtx *c, QGemmDims *d)
{
    LEDGE_TRY(ledge__op_need(c, IN_A, LEDGE_UINT8));
    LEDGE_TRY(ledge__op_need(c, IN_B, LEDGE_TYPE_NONE));
    const LedgeTensor *a = c->in[IN_A], *b = c->in[IN_B];
    if (b->type != LEDGE_INT8 && b->type != LEDGE_UINT8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "B must be int8 or uint8");
    if (a->rank == 0 || (b->rank >= 0 && b->rank < 2))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "B must be a matrix, and A at least a vector");
    *d = (QGemmDims){1, -1, -1, -1, ledge__node_int(c->node, "trans_b", 0) != 0};
    if (b->rank >= 2) {
        d->k = b->dims[b->rank - 2 + d->trans_b];
        d->n = b->dims[b->rank - 1 - d->trans_b];
    }
    if (a->rank < 1 || b->rank < 0)
        return LEDGE_OK;
    const int64_t last = a->dims[a->rank - 1];
    if (last >= 0 && d->k >= 0 && last != d->k)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "rows of A have %lld elements, B takes %lld",
                              (long long)last, (long long)d->k);
    return batch_dims(c, a, b, d);
}

static LedgeStatus qgemm_infer(LedgeOpCtx *c)
{
    QGemmDims d;
    LEDGE_TRY(qgemm_dims(c, &d));
    const LedgeTensor *a = c->in[IN_A];
    int64_t dims[LEDGE_MAX_RANK];
    if (a->rank > 0) {
        memcpy(dims, a->dims, sizeof(dims));
        dims[a->rank - 1] = d.n;
    }
    ledge__op_set_out(c, 0, out_type(c), a->rank, dims);
    return LEDGE_OK;
}

static int64_t qgemm_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *a = ledge__op_in(c, IN_A);
    return y && a && a->rank > 0 ? ledge_tensor_count(y) * a->dims[a->rank - 1] : 0;
}

typedef struct QGemmState {
    LedgeFusedQ8 f; /* a pointwise convolution over rows × 1 pixels */
    size_t batch;
} QGemmState;

/* uint8 B is computed with as B - 128, and so are its zero points. */
static LedgeStatus signed_zeros(LedgeOpCtx *c, LedgeFusedQ8 *f)
{
    const LedgeAttr *a = ledge__node_attr(c->node, "b_zero");
    const size_t n = a && a->ints ? a->count : 1;
    int64_t *zeros = ledge__op_alloc(c, (n + 1) * sizeof(*zeros));
    if (!zeros)
        return ledge__no_memory(c->err);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const int64_t z = a ? a->ints ? a->ints[i] : a->i : 0;
        if (z < 0 || z > 255)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute b_zero holds %lld, must be "
                                  "0 to 255", (long long)z);
        zeros[i] = z - 128;
        any |= z != 128;
    }
    f->flip = 0x80;
    f->w_zero = any ? zeros : NULL;
    f->w_zeros = n;
    return LEDGE_OK;
}

static LedgeStatus qgemm_prepare(LedgeOpCtx *c)
{
    QGemmDims d;
    LEDGE_TRY(qgemm_dims(c, &d));
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    QGemmState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (QGemmState){.batch = (size_t)d.batch,
                      .f = {.in_w = IN_B, .in_bias = IN_BIAS, .in_scale = IN_SCALE, .matrix = true,
                            .sn = d.trans_b ? (size_t)d.k : 1, .sk = d.trans_b ? 1 : (size_t)d.n}};
    c->state = s;
    const bool is_unsigned = c->in[IN_B]->type == LEDGE_UINT8;
    LEDGE_TRY(ledge__fused_q8_attrs(c, "a_zero", is_unsigned ? "" : "b_zero", r != NULL, &s->f));
    if (is_unsigned)
        LEDGE_TRY(signed_zeros(c, &s->f));
    if (r)
        LEDGE_TRY(ledge__op_need(c, IN_R, out_type(c)));
    if (r && (r->rank < 1 || r->dims[r->rank - 1] != d.n ||
              ledge_tensor_count(r) != d.batch * d.rows * d.n))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    const LedgeConvShape shape = {.n = 1, .h = (size_t)d.rows, .w = 1, .c = (size_t)d.k,
                                  .oh = (size_t)d.rows, .ow = 1, .m = (size_t)d.n,
                                  .ldc = (size_t)d.n, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1,
                                  .dw = 1, .group = 1};
    if (!ledge__conv_q8_plan(&shape, c->cpu, ledge__pool_threads(c->pool), LEDGE_CONV_POINTWISE,
                             true, &s->f.plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    return ledge__fused_q8_prepare(c, &s->f, d.batch != 1);
}

static LedgeStatus qgemm_run(LedgeOpCtx *c)
{
    QGemmState *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    const LedgeConvShape *shape = &s->f.plan.s;
    const size_t element = s->f.out.kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const size_t rows = shape->h, out = rows * shape->m * element;
    for (size_t i = 0; i < s->batch; i++) {
        LedgeConvQ8Args a;
        LEDGE_TRY(ledge__fused_q8_args(
            c, &s->f, (const char *)c->in[IN_B]->data + i * shape->c * shape->m, &a));
        a.x = (const uint8_t *)c->in[IN_A]->data + i * rows * shape->c;
        a.r = r ? (const char *)r->data + i * out : NULL;
        a.ldr = shape->m;
        a.y = (char *)c->out[0]->data + i * out;
        ledge__conv_q8_run(&s->f.plan, &a, c->pool);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_qgemm[] = {
    {"ledge", "QGemm", 1, 0, LEDGE_OP_ANY_ALIGN, qgemm_infer, qgemm_prepare, qgemm_run,
     qgemm_macs},
    {0},
};
