/* ledge.MatMulInteger and ledge.ConvInteger: 8-bit products whose input was quantised at run time,
 * with everything that makes floats of them.
 *
 * y = act((A - a_zero)(B - b_zero) * (a_scale * b_scale) + bias + residual), the integer sum exact,
 * each float operation rounded on its own. Inputs: 0 A u8 [..., K]; 1 B s8 or u8 [K, N], constant;
 * 2 bias [N] or omitted; 3 residual of the output's shape or omitted; 4 a_scale, one float, or
 * omitted (1); 5 a_zero, one u8, or omitted (0); 6 b_scale [N] or one float; 7 b_zero of B's
 * type, [N] or one, or omitted (0); b_scale and b_zero are constants. Output [..., N].
 * Activation attributes. The convolution has A [N,H,W,C], B [M,C/group,kH,kW] with its scales and
 * zero points for each of the M channels, output [N,OH,OW,M], and the attributes of ledge.Conv for
 * shapes. */
#include "engine/kernels/conv_q8.h"
#include "engine/ops/fused/conv_dims.h"
#include "engine/ops/fused/fused_act.h"

#include <stdio.h>

enum { IN_A, IN_B, IN_BIAS, IN_R, IN_A_SCALE, IN_A_ZERO, IN_B_SCALE, IN_B_ZERO };

typedef struct Dims {
    int64_t rows, k, n; /* -1: not known yet */
} Dims;

static LedgeStatus need_bytes(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, IN_A, LEDGE_UINT8));
    LEDGE_TRY(ledge__op_need(c, IN_B, LEDGE_TYPE_NONE));
    const LedgeType t = c->in[IN_B]->type;
    if (t != LEDGE_INT8 && t != LEDGE_UINT8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "B is %s, must be int8 or uint8",
                              ledge_type_name(t));
    return LEDGE_OK;
}

static LedgeStatus dims_of(LedgeOpCtx *c, Dims *d)
{
    LEDGE_TRY(need_bytes(c));
    const LedgeTensor *a = c->in[IN_A], *b = c->in[IN_B];
    if (a->rank == 0 || (b->rank >= 0 && b->rank != 2))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "B must be a matrix, and A at least a vector");
    d->k = b->rank == 2 ? b->dims[0] : -1;
    d->n = b->rank == 2 ? b->dims[1] : -1;
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

static LedgeStatus infer(LedgeOpCtx *c)
{
    Dims d;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(dims_of(c, &d));
    const LedgeTensor *a = c->in[IN_A];
    if (a->rank > 0) {
        memcpy(dims, a->dims, sizeof(dims));
        dims[a->rank - 1] = d.n;
    }
    ledge__op_set_out(c, 0, LEDGE_FLOAT, a->rank, dims);
    return LEDGE_OK;
}

static bool is_conv(const LedgeOpCtx *c)
{
    return strcmp(c->node->op_type, "ConvInteger") == 0;
}

static LedgeStatus conv_dims(LedgeOpCtx *c, LedgeConvDims *d)
{
    LEDGE_TRY(need_bytes(c));
    LEDGE_TRY(ledge__conv_dims(c, LEDGE_UINT8, c->in[IN_B]->type, d));
    if (d->channels != d->m)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "writes all channels of its output");
    return LEDGE_OK;
}

static LedgeStatus conv_infer(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    const int64_t dims[4] = {d.n, d.oh, d.ow, d.m};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 4, dims);
    return LEDGE_OK;
}

static int64_t macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *a = ledge__op_in(c, IN_A);
    return y && a && a->rank > 0 ? ledge_tensor_count(y) * a->dims[a->rank - 1] : 0;
}

/* Input i, if present, is of `type` and has 1 or `n` elements. */
static LedgeStatus need_few(LedgeOpCtx *c, uint32_t i, LedgeType type, int64_t n)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (!t)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, i, type));
    const int64_t count = ledge_tensor_count(t);
    if (count != 1 && count != n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "input %u has %lld elements, must have 1 or %lld", i,
                              (long long)count, (long long)n);
    return LEDGE_OK;
}

/* All but A and the residual, for a product of n columns. */
static LedgeStatus check_numbers(LedgeOpCtx *c, int64_t n)
{
    const LedgeTensor *bias = ledge__op_in(c, IN_BIAS);
    if (bias) {
        LEDGE_TRY(ledge__op_need(c, IN_BIAS, LEDGE_FLOAT));
        if (ledge_tensor_count(bias) != n)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the bias must have %lld elements",
                                  (long long)n);
    }
    LEDGE_TRY(need_few(c, IN_A_SCALE, LEDGE_FLOAT, 1));
    LEDGE_TRY(need_few(c, IN_A_ZERO, LEDGE_UINT8, 1));
    LEDGE_TRY(ledge__op_need(c, IN_B_SCALE, LEDGE_FLOAT));
    LEDGE_TRY(need_few(c, IN_B_SCALE, LEDGE_FLOAT, n));
    LEDGE_TRY(need_few(c, IN_B_ZERO, c->in[IN_B]->type, n));
    if (!c->in_constant[IN_B] || !c->in_constant[IN_B_SCALE] ||
        (ledge__op_in(c, IN_B_ZERO) && !c->in_constant[IN_B_ZERO]))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                              "B, its scales and its zero points must be constants");
    return LEDGE_OK;
}

static LedgeStatus check_residual(LedgeOpCtx *c, const Dims *d)
{
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    if (!r)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
    if (r->rank < 1 || r->dims[r->rank - 1] != d->n || ledge_tensor_count(r) != d->rows * d->n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    return LEDGE_OK;
}

typedef struct State {
    LedgeConvQ8Plan plan; /* a pointwise convolution over rows × 1 pixels */
    LedgeAct act;
    const int8_t *packed;
    const int32_t *sums;    /* of the columns of B */
    const int32_t *b_zeros; /* int8 ones, NULL: all are 0 … */
    size_t n_b_zeros;
    const int32_t *b_zero; /* … and in the kernels' order */
    float *b_scales;
    size_t n_b_scales;
    const float *fbias; /* in the kernels' order, NULL: none; made at each run if bias_at */
    size_t init_at, scale_at, border_at, bias_at; /* in scratch; bias_at 0: constant */
    uint8_t flip;                                 /* of the bytes of B */
} State;

/* Weights of a convolution as int8; the caller frees. NULL: no memory. */
static int8_t *signed_weights(const LedgeOpCtx *c)
{
    const State *s = c->state;
    const size_t count = (size_t)ledge_tensor_count(c->in[IN_B]);
    uint8_t *to = ledge__alloc(NULL, count, 1);
    for (size_t i = 0; to && i < count; i++)
        to[i] = ((const uint8_t *)c->in[IN_B]->data)[i] ^ s->flip;
    return (int8_t *)to;
}

static LedgeStatus pack_b(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const State *s = c->state;
    if (is_conv(c)) {
        int8_t *flipped = signed_weights(c);
        if (!flipped)
            return ledge__no_memory(c->err);
        ledge__conv_q8_pack(&s->plan, flipped, to);
        ledge__free(NULL, flipped);
        return LEDGE_OK;
    }
    ledge__conv_q8_pack_matrix(&s->plan, c->in[IN_B]->data, 1, s->plan.s.m, s->flip, to);
    return LEDGE_OK;
}

static LedgeStatus sum_b(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const State *s = c->state;
    if (is_conv(c)) {
        int8_t *flipped = signed_weights(c);
        if (!flipped)
            return ledge__no_memory(c->err);
        ledge__conv_q8_sums(&s->plan, flipped, to);
        ledge__free(NULL, flipped);
        return LEDGE_OK;
    }
    ledge__conv_q8_sums_matrix(&s->plan, c->in[IN_B]->data, 1, s->plan.s.m, s->flip, to);
    return LEDGE_OK;
}

/* An aligned copy of input i. */
static LedgeStatus read_floats(LedgeOpCtx *c, uint32_t i, float **out, size_t *count)
{
    *count = (size_t)ledge_tensor_count(c->in[i]);
    *out = ledge__op_alloc(c, (*count + 1) * sizeof **out);
    if (!*out)
        return ledge__no_memory(c->err);
    if (*count)
        memcpy(*out, c->in[i]->data, *count * sizeof **out);
    return LEDGE_OK;
}

/* Zero points of B as those of int8; none where all are 0. */
static LedgeStatus read_b_zeros(LedgeOpCtx *c, State *s)
{
    const LedgeTensor *z = ledge__op_in(c, IN_B_ZERO);
    const bool is_signed = c->in[IN_B]->type == LEDGE_INT8;
    const size_t count = z ? (size_t)ledge_tensor_count(z) : 1;
    int32_t *to = ledge__op_alloc(c, count * sizeof *to);
    bool any = false;
    if (!to)
        return ledge__no_memory(c->err);
    for (size_t i = 0; i < count; i++) {
        const uint8_t byte = z ? ((const uint8_t *)z->data)[i] : 0;
        to[i] = is_signed ? (int8_t)byte : (int32_t)byte - 128;
        any |= to[i] != 0;
    }
    s->b_zeros = any ? to : NULL;
    s->n_b_zeros = count;
    return LEDGE_OK;
}

static LedgeStatus constants(LedgeOpCtx *c, State *s)
{
    const LedgeConvQ8Plan *p = &s->plan;
    const LedgeTensor *bias = ledge__op_in(c, IN_BIAS);
    const size_t row = ledge__round_up(p->columns * sizeof(float) + 1, LEDGE_ALIGN);
    char key[96];
    const void *made;
    snprintf(key, sizeof(key), "integer %s %s lanes=%u nv=%u group=%zu flip=%u",
             ledge__conv_f32_path_name(p->path), p->k->isa, p->k->lanes, p->p.most, p->s.group,
             s->flip);
    LEDGE_TRY(c->host->packed(c, IN_B, key, p->packed_bytes, pack_b, c, &made));
    s->packed = made;
    snprintf(key, sizeof(key), "integer sums conv=%d flip=%u", (int)is_conv(c), s->flip);
    LEDGE_TRY(c->host->packed(c, IN_B, key, p->s.m * sizeof(int32_t), sum_b, c, &made));
    s->sums = made;
    if (s->b_zeros) {
        int32_t *to = ledge__op_alloc(c, row);
        if (!to)
            return ledge__no_memory(c->err);
        ledge__conv_q8_pack_ints(p, s->b_zeros, s->n_b_zeros, to);
        s->b_zero = to;
    }
    s->init_at = ledge__round_up(p->scratch_bytes, LEDGE_ALIGN);
    s->scale_at = s->init_at + row;
    s->border_at = s->scale_at + row;
    c->scratch_bytes = s->border_at + ledge__round_up(p->border_bytes + 1, LEDGE_ALIGN);
    if (bias && !c->in_constant[IN_BIAS]) {
        s->bias_at = c->scratch_bytes;
        c->scratch_bytes += row;
    } else if (bias) {
        float *to = ledge__op_alloc(c, row), *copy;
        size_t count;
        if (!to)
            return ledge__no_memory(c->err);
        LEDGE_TRY(read_floats(c, IN_BIAS, &copy, &count));
        ledge__conv_q8_pack_floats(p, copy, count, 1.0f, to);
        s->fbias = to;
    }
    return LEDGE_OK;
}

/* After the dimensions were checked. */
static LedgeStatus prepare_shape(LedgeOpCtx *c, const LedgeConvShape *shape, LedgeConvPath path)
{
    State *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (State){.flip = c->in[IN_B]->type == LEDGE_UINT8 ? 0x80 : 0};
    c->state = s;
    LEDGE_TRY(ledge__fused_act(c, &s->act));
    LEDGE_TRY(read_b_zeros(c, s));
    LEDGE_TRY(read_floats(c, IN_B_SCALE, &s->b_scales, &s->n_b_scales));
    if (!ledge__conv_q8_plan(shape, c->cpu, ledge__pool_threads(c->pool), path, s->b_zeros != NULL,
                             &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    return constants(c, s);
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    Dims d;
    LEDGE_TRY(dims_of(c, &d));
    LEDGE_TRY(check_numbers(c, d.n));
    LEDGE_TRY(check_residual(c, &d));
    const LedgeConvShape shape = {.n = 1,
                                  .h = (size_t)d.rows,
                                  .w = 1,
                                  .c = (size_t)d.k,
                                  .oh = (size_t)d.rows,
                                  .ow = 1,
                                  .m = (size_t)d.n,
                                  .ldc = (size_t)d.n,
                                  .kh = 1,
                                  .kw = 1,
                                  .sh = 1,
                                  .sw = 1,
                                  .dh = 1,
                                  .dw = 1,
                                  .group = 1};
    return prepare_shape(c, &shape, LEDGE_CONV_POINTWISE);
}

static LedgeStatus conv_prepare(LedgeOpCtx *c)
{
    LedgeConvDims d;
    LEDGE_TRY(conv_dims(c, &d));
    size_t ldr = 0, offset;
    LEDGE_TRY(check_numbers(c, d.m));
    if (ledge__op_in(c, IN_R)) {
        LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
        LEDGE_TRY(ledge__conv_residual(c, &d, c->in[IN_R], &ldr, &offset));
    }
    const LedgeConvShape shape = ledge__conv_shape(&d);
    return prepare_shape(c, &shape, LEDGE_CONV_PATHS);
}

/* The number that input i holds, which may be a misaligned constant. */
static float float_of(const LedgeOpCtx *c, uint32_t i, float absent)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    float v = absent;
    if (t)
        memcpy(&v, t->data, sizeof(v));
    return v;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    const State *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R), *zero = ledge__op_in(c, IN_A_ZERO);
    char *scratch = c->scratch;
    int32_t *init = (int32_t *)(void *)(scratch + s->init_at);
    float *scales = (float *)(void *)(scratch + s->scale_at), *fbias;
    const uint8_t a_zero = zero ? *(const uint8_t *)zero->data : 0;
    memset(scratch + s->border_at, a_zero, s->plan.border_bytes);
    ledge__conv_q8_pack_init(&s->plan, NULL, s->sums, a_zero, s->b_zeros, s->n_b_zeros, init);
    ledge__conv_q8_pack_floats(&s->plan, s->b_scales, s->n_b_scales, float_of(c, IN_A_SCALE, 1.0f),
                               scales);
    LedgeConvQ8Args a = {.x = c->in[IN_A]->data,
                         .packed = s->packed,
                         .init = init,
                         .b_zero = s->b_zero,
                         .scale = scales,
                         .fbias = s->fbias,
                         .border = (const uint8_t *)scratch + s->border_at,
                         .r = r ? r->data : NULL,
                         .ldr = s->plan.s.m,
                         .y = c->out[0]->data,
                         .out = {.kind = LEDGE_Q8_FLOAT, .lo = s->act.lo, .hi = s->act.hi},
                         .act = s->act,
                         .scratch = scratch};
    if (s->bias_at) {
        fbias = (float *)(void *)(scratch + s->bias_at);
        ledge__conv_q8_pack_floats(&s->plan, c->in[IN_BIAS]->data, s->plan.s.m, 1.0f, fbias);
        a.fbias = fbias;
    }
    ledge__conv_q8_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_integer[] = {
    {"ledge", "MatMulInteger", 1, 0, LEDGE_OP_ANY_ALIGN, infer, prepare, run, macs},
    {"ledge", "ConvInteger", 1, 0, LEDGE_OP_ANY_ALIGN, conv_infer, conv_prepare, run,
     ledge__conv_macs},
    {0},
};
