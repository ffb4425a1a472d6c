/* Shared services of the neural-network operators: scratch, checks, and the float bridge. */
#include "engine/ops/nn/nn.h"

#include <math.h>

void *ledge__nn_take(NnScratch *s, size_t count, size_t size)
{
    size_t bytes, end;
    if (!ledge__mul(count, size, &bytes) || bytes > SIZE_MAX / 4 ||
        !ledge__add(s->used, ledge__round_up(bytes, LEDGE_ALIGN), &end)) {
        s->overflow = true;
        return NULL;
    }
    void *p = s->base ? s->base + s->used : NULL;
    s->used = end;
    return p;
}

bool ledge__nn_is_float(LedgeType t)
{
    return t == LEDGE_FLOAT || t == LEDGE_FLOAT16 || t == LEDGE_BFLOAT16 || t == LEDGE_DOUBLE;
}

static LedgeType work_type(const LedgeOpCtx *c)
{
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] && c->in[i]->type == LEDGE_DOUBLE)
            return LEDGE_DOUBLE;
    return LEDGE_FLOAT;
}

static bool differs(const LedgeTensor *t, LedgeType work)
{
    return t && ledge__nn_is_float(t->type) && t->type != work;
}

/* Room for the converted copy of each tensor that is not of the working type. */
static void *take_copy(NnScratch *s, const LedgeTensor *t, LedgeType work)
{
    int64_t n = ledge_tensor_count(t);
    if (n < 0) {
        s->overflow = true;
        return NULL;
    }
    return ledge__nn_take(s, (size_t)n, work == LEDGE_DOUBLE ? 8 : 4);
}

LedgeStatus ledge__nn_ask(LedgeOpCtx *c, const NnScratch *own)
{
    NnScratch s = *own;
    LedgeType work = work_type(c);
    for (uint32_t i = 0; i < c->n_in; i++)
        if (differs(c->in[i], work))
            take_copy(&s, c->in[i], work);
    for (uint32_t i = 0; i < c->n_out; i++)
        if (differs(c->out[i], work))
            take_copy(&s, c->out[i], work);
    if (s.overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "needs more working memory than can be counted");
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

LedgeStatus ledge__nn_prepare_float(LedgeOpCtx *c)
{
    NnScratch s = {0};
    return ledge__nn_ask(c, &s);
}

LedgeStatus ledge__nn_check_scratch(LedgeOpCtx *c, const NnScratch *s)
{
    if (s->overflow || s->used > c->scratch_bytes || (s->used && !c->scratch))
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "was run with shapes it was not planned for");
    return LEDGE_OK;
}

/* ---- conversions ---- */

static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, mant = h & 0x3ff, bits;
    int exp = h >> 10 & 31;
    if (exp == 31) {
        bits = sign | 0x7f800000 | mant << 13;
    } else if (exp) {
        bits = sign | (uint32_t)(exp + 112) << 23 | mant << 13;
    } else {
        float f = (float)mant * 0x1p-24f;
        return sign ? -f : f;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Round to nearest, ties to even. */
static uint16_t float_to_half(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t sign = bits >> 16 & 0x8000, abs = bits & 0x7fffffff;
    if (abs >= 0x7f800000)
        return (uint16_t)(sign | 0x7c00 | (abs > 0x7f800000 ? 0x200 | (abs >> 13 & 0x1ff) : 0));
    if (abs >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00);
    if (abs < 0x38800000) { /* subnormal: let the float adder round */
        float a;
        memcpy(&a, &abs, 4);
        a += 0.5f;
        memcpy(&abs, &a, 4);
        return (uint16_t)(sign | (abs - 0x3f000000));
    }
    abs += 0xc8000fff + (abs >> 13 & 1);
    return (uint16_t)(sign | abs >> 13);
}

static uint16_t float_to_bfloat(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float bfloat_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static double load(LedgeType type, const void *from, size_t i)
{
    switch (type) {
    case LEDGE_FLOAT:
        return ((const float *)from)[i];
    case LEDGE_DOUBLE:
        return ((const double *)from)[i];
    case LEDGE_FLOAT16:
        return half_to_float(((const uint16_t *)from)[i]);
    case LEDGE_BFLOAT16:
        return bfloat_to_float(((const uint16_t *)from)[i]);
    case LEDGE_INT8:
        return ((const int8_t *)from)[i];
    case LEDGE_UINT8:
    case LEDGE_BOOL:
        return ((const uint8_t *)from)[i];
    case LEDGE_INT16:
        return ((const int16_t *)from)[i];
    case LEDGE_UINT16:
        return ((const uint16_t *)from)[i];
    case LEDGE_INT32:
        return ((const int32_t *)from)[i];
    case LEDGE_UINT32:
        return ((const uint32_t *)from)[i];
    case LEDGE_INT64:
        return (double)((const int64_t *)from)[i];
    case LEDGE_UINT64:
        return (double)((const uint64_t *)from)[i];
    default:
        return NAN;
    }
}

static void store(LedgeType type, void *to, size_t i, double v)
{
    switch (type) {
    case LEDGE_FLOAT:
        ((float *)to)[i] = (float)v;
        break;
    case LEDGE_DOUBLE:
        ((double *)to)[i] = v;
        break;
    case LEDGE_FLOAT16:
        ((uint16_t *)to)[i] = float_to_half((float)v);
        break;
    case LEDGE_BFLOAT16:
        ((uint16_t *)to)[i] = float_to_bfloat((float)v);
        break;
    default:
        break;
    }
}

double ledge__nn_at(const LedgeTensor *t, int64_t i)
{
    return load(t->type, t->data, (size_t)i);
}

LedgeStatus ledge__nn_to_float(LedgeType type, const void *from, size_t count, LedgeType to_type,
                               void *to)
{
    if (ledge_type_bits(type) < 8 || !ledge__nn_is_float(to_type))
        return LEDGE_ERROR_TYPE;
    for (size_t i = 0; i < count; i++)
        store(to_type, to, i, load(type, from, i));
    return LEDGE_OK;
}

/* ---- the bridge ---- */

typedef struct Shadow {
    LedgeOpCtx ctx;
    LedgeTensor in[NN_MAX_IO], out[NN_MAX_IO];
    const LedgeTensor *in_p[NN_MAX_IO];
    LedgeTensor *out_p[NN_MAX_IO];
} Shadow;

static LedgeStatus shadow_inputs(LedgeOpCtx *c, Shadow *sh, NnScratch *s, LedgeType work)
{
    for (uint32_t i = 0; i < c->n_in; i++) {
        sh->in_p[i] = c->in[i];
        if (!differs(c->in[i], work))
            continue;
        sh->in[i] = *c->in[i];
        sh->in[i].type = work;
        sh->in[i].data = take_copy(s, c->in[i], work);
        LEDGE_TRY(ledge__nn_check_scratch(c, s));
        LEDGE_TRY(ledge__nn_to_float(c->in[i]->type, c->in[i]->data,
                                     (size_t)ledge_tensor_count(c->in[i]), work, sh->in[i].data));
        sh->in_p[i] = &sh->in[i];
    }
    return LEDGE_OK;
}

static LedgeStatus shadow_outputs(LedgeOpCtx *c, Shadow *sh, NnScratch *s, LedgeType work)
{
    for (uint32_t i = 0; i < c->n_out; i++) {
        sh->out_p[i] = c->out[i];
        if (!differs(c->out[i], work))
            continue;
        sh->out[i] = *c->out[i];
        sh->out[i].type = work;
        sh->out[i].data = take_copy(s, c->out[i], work);
        LEDGE_TRY(ledge__nn_check_scratch(c, s));
        sh->out_p[i] = &sh->out[i];
    }
    return LEDGE_OK;
}

LedgeStatus ledge__nn_run_float(LedgeOpCtx *c, NnBody body)
{
    LedgeType work = work_type(c);
    bool plain = true;
    for (uint32_t i = 0; i < c->n_in; i++)
        plain &= !differs(c->in[i], work);
    for (uint32_t i = 0; i < c->n_out; i++)
        plain &= !differs(c->out[i], work);
    if (plain)
        return body(c);
    Shadow sh = {.ctx = *c};
    NnScratch s = {.base = c->scratch};
    LEDGE_TRY(shadow_inputs(c, &sh, &s, work));
    LEDGE_TRY(shadow_outputs(c, &sh, &s, work));
    sh.ctx.in = sh.in_p;
    sh.ctx.out = sh.out_p;
    sh.ctx.scratch = s.base + s.used;
    sh.ctx.scratch_bytes = c->scratch_bytes - s.used;
    LEDGE_TRY(body(&sh.ctx));
    for (uint32_t i = 0; i < c->n_out; i++)
        if (differs(c->out[i], work))
            LEDGE_TRY(ledge__nn_to_float(work, sh.out[i].data,
                                         (size_t)ledge_tensor_count(c->out[i]), c->out[i]->type,
                                         c->out[i]->data));
    return LEDGE_OK;
}

/* ---- checks ---- */

LedgeStatus ledge__nn_need(LedgeOpCtx *c, uint32_t required, uint32_t floats)
{
    if (c->n_in > NN_MAX_IO || c->n_out > NN_MAX_IO)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "has %u inputs and %u outputs, too many",
                              c->n_in, c->n_out);
    for (uint32_t i = 0; i < required; i++)
        LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    for (uint32_t i = 0; i < c->n_in; i++) {
        const LedgeTensor *t = c->in[i];
        if (t && (floats >> i & 1) && t->type != LEDGE_TYPE_NONE && !ledge__nn_is_float(t->type))
            return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be floating-point", i,
                                  ledge_type_name(t->type));
    }
    return LEDGE_OK;
}

LedgeStatus ledge__nn_rank(LedgeOpCtx *c, uint32_t i, int32_t min, int32_t max)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (t && t->rank >= 0 && (t->rank < min || t->rank > max))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has rank %d, must be %d to %d", i,
                              t->rank, min, max);
    return LEDGE_OK;
}

LedgeStatus ledge__nn_same(LedgeOpCtx *c, const char *what, int64_t a, int64_t b)
{
    if (a >= 0 && b >= 0 && a != b)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%s: %lld does not fit %lld", what,
                              (long long)a, (long long)b);
    return LEDGE_OK;
}

LedgeStatus ledge__nn_count(LedgeOpCtx *c, uint32_t i, int64_t count)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    int64_t n = t ? ledge_tensor_count(t) : -1;
    if (n >= 0 && count >= 0 && n != count)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %lld elements, must have %lld", i,
                              (long long)n, (long long)count);
    return LEDGE_OK;
}

void ledge__nn_like(LedgeOpCtx *c, uint32_t i, const LedgeTensor *x)
{
    ledge__op_set_out(c, i, x->type, x->rank, x->dims);
}
