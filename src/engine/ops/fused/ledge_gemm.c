/* ledge.Gemm: the product with a constant matrix, with everything fused that follows it.
 *
 * Inputs: 0 A [..., K]; 1 B [K, N], or [N, K] with transB; 2 bias [N] or omitted; 3 residual of
 * the output's shape, added before the activation, or omitted. Output [..., N]. Attributes:
 * transB, those of ledge__fused_act, and kept_rows, see fused_weights.h. */
#include "engine/kernels/conv_f32.h"
#include "engine/ops/fused/fused_act.h"
#include "engine/ops/fused/fused_weights.h"

#include <stdio.h>

enum { IN_A, IN_B, IN_BIAS, IN_R };

typedef struct GemmDims {
    int64_t rows, k, n; /* -1: not known yet */
    bool trans_b;
} GemmDims;

static LedgeStatus gemm_dims(LedgeOpCtx *c, GemmDims *d)
{
    LEDGE_TRY(ledge__op_need(c, IN_A, LEDGE_FLOAT));
    LEDGE_TRY(ledge__op_need(c, IN_B, LEDGE_FLOAT));
    const LedgeTensor *a = c->in[IN_A], *b = c->in[IN_B];
    if (a->rank == 0 || (b->rank >= 0 && b->rank != 2))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "B must be a matrix, and A at least a vector");
    d->trans_b = ledge__node_int(c->node, "transB", 0) != 0;
    d->k = b->rank == 2 ? b->dims[d->trans_b] : -1;
    d->n = b->rank == 2 ? b->dims[!d->trans_b] : -1;
    d->rows = a->rank > 0 ? 1 : -1;
    for (int32_t i = 0; i + 1 < a->rank; i++) {
        if (a->dims[i] < 0 || d->rows < 0)
            d->rows = -1;
        else if (__builtin_mul_overflow(d->rows, a->dims[i], &d->rows))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "A has too many rows");
    }
    const int64_t last = a->rank > 0 ? a->dims[a->rank - 1] : -1;
    if (last >= 0 && d->k >= 0 && last != d->k)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "rows of A have %lld elements, B takes %lld",
                              (long long)last, (long long)d->k);
    return LEDGE_OK;
}

static LedgeStatus gemm_infer(LedgeOpCtx *c)
{
    GemmDims d;
    LEDGE_TRY(gemm_dims(c, &d));
    const LedgeTensor *a = c->in[IN_A];
    int64_t dims[LEDGE_MAX_RANK];
    if (a->rank > 0) {
        memcpy(dims, a->dims, sizeof(dims));
        dims[a->rank - 1] = d.n;
    }
    ledge__op_set_out(c, 0, LEDGE_FLOAT, a->rank, dims);
    return LEDGE_OK;
}

static int64_t gemm_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *a = ledge__op_in(c, IN_A);
    return y && a && a->rank > 0 ? ledge_tensor_count(y) * a->dims[a->rank - 1] : 0;
}

typedef struct GemmState {
    LedgeConvPlan plan; /* a pointwise convolution over rows × 1 pixels */
    LedgeAct act;
    const float *packed, *bias; /* NULL: made at each run from inputs that are not constant */
    size_t packed_at, bias_at;  /* then here in scratch */
    bool trans_b;
} GemmState;

static LedgeStatus pack_b(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const GemmState *s = c->state;
    const size_t k = s->plan.s.c, n = s->plan.s.m;
    ledge__panels_pack(&s->plan.p, c->in[IN_B]->data, 1, k, s->trans_b ? k : 1, 0,
                       s->trans_b ? 1 : n, NULL, to);
    return LEDGE_OK;
}

static LedgeStatus gemm_constants(LedgeOpCtx *c, GemmState *s)
{
    const LedgeConvPlan *p = &s->plan;
    const LedgeTensor *bias = ledge__op_in(c, IN_BIAS);
    size_t scratch = p->scratch_bytes;
    const size_t k = p->s.c, n = p->s.m;
    const LedgeStripsView view = {c->in[IN_B]->data, n, k, s->trans_b ? k : 1, s->trans_b ? 1 : n};
    if (p->p.strips) {
        LEDGE_TRY(ledge__fused_strip_weights(c, IN_B, &view, NULL, 0, p, &s->packed));
    } else if (c->in_constant[IN_B]) {
        char key[96];
        const void *packed;
        snprintf(key, sizeof(key), "gemm_f32%s lanes=%u nv=%u transB=%d",
                 p->p.strassen ? " strassen" : "", p->k->lanes, p->p.nv, (int)s->trans_b);
        LEDGE_TRY(c->host->packed(c, IN_B, key, p->packed_floats * sizeof(float), pack_b, c,
                                  &packed));
        s->packed = packed;
    } else {
        s->packed_at = scratch;
        scratch += ledge__round_up(p->packed_floats * sizeof(float), LEDGE_ALIGN);
    }
    if (!bias || c->in_constant[IN_BIAS]) {
        float *to = ledge__op_alloc(c, (p->bias_floats + 1) * sizeof(float));
        if (!to)
            return ledge__no_memory(c->err);
        ledge__conv_f32_pack_bias(p, bias ? bias->data : NULL, to);
        s->bias = to;
    } else {
        s->bias_at = scratch;
        scratch += ledge__round_up(p->bias_floats * sizeof(float), LEDGE_ALIGN);
    }
    c->scratch_bytes = scratch;
    return LEDGE_OK;
}

static LedgeStatus gemm_check(LedgeOpCtx *c, const GemmDims *d)
{
    const LedgeTensor *bias = ledge__op_in(c, IN_BIAS), *r = ledge__op_in(c, IN_R);
    if (bias)
        LEDGE_TRY(ledge__op_need(c, IN_BIAS, LEDGE_FLOAT));
    if (bias && ledge_tensor_count(bias) != d->n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the bias must have %lld elements",
                              (long long)d->n);
    if (r)
        LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
    if (r && (r->rank < 1 || r->dims[r->rank - 1] != d->n ||
              ledge_tensor_count(r) != d->rows * d->n))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    return LEDGE_OK;
}

static LedgeStatus gemm_prepare(LedgeOpCtx *c)
{
    GemmDims d;
    LEDGE_TRY(gemm_dims(c, &d));
    LEDGE_TRY(gemm_check(c, &d));
    GemmState *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (GemmState){.trans_b = d.trans_b};
    c->state = s;
    LEDGE_TRY(ledge__fused_act(c, &s->act));
    LedgeConvShape shape = {.n = 1, .h = (size_t)d.rows, .w = 1, .c = (size_t)d.k,
                                  .oh = (size_t)d.rows, .ow = 1, .m = (size_t)d.n,
                                  .ldc = (size_t)d.n, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1,
                                  .dw = 1, .group = 1};
    LEDGE_TRY(ledge__fused_strips(c, IN_B, &shape));
    if (!ledge__conv_f32_plan(&shape, c->cpu, ledge__pool_threads(c->pool), LEDGE_CONV_POINTWISE,
                              &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    return gemm_constants(c, s);
}

static LedgeStatus gemm_run(LedgeOpCtx *c)
{
    const GemmState *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    char *scratch = c->scratch;
    LedgeConvArgs a = {.x = c->in[IN_A]->data,
                       .packed = s->packed,
                       .bias = s->bias,
                       .r = r ? r->data : NULL,
                       .ldr = s->plan.s.m,
                       .y = c->out[0]->data,
                       .act = s->act,
                       .scratch = scratch};
    if (!s->packed) {
        float *to = (float *)(void *)(scratch + s->packed_at);
        LEDGE_TRY(pack_b(c, to));
        a.packed = to;
    }
    if (!s->bias) {
        float *to = (float *)(void *)(scratch + s->bias_at);
        ledge__conv_f32_pack_bias(&s->plan, c->in[IN_BIAS]->data, to);
        a.bias = to;
    }
    ledge__conv_f32_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_gemm[] = {
    {"ledge", "Gemm", 1, 0, LEDGE_OP_ANY_ALIGN, gemm_infer, gemm_prepare, gemm_run, gemm_macs},
    {0},
};
