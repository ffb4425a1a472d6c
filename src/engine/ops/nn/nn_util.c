/* Shared services of the neural-network operators: scratch, checks, and the float bridge. */
#include "engine/kernels/ref/convert.h"
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
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
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

double ledge__nn_at(const LedgeTensor *t, int64_t i)
{
    double v = NAN;
    if (ledge_type_bits(t->type) >= 8 && ledge_type_bits(t->type) <= 64)
        ledge__load_f64(t->type, t->data, (size_t)i, 1, &v);
    return v;
}

LedgeStatus ledge__nn_to_float(LedgeType type, const void *from, size_t count, LedgeType to_type,
                               void *to)
{
    if (ledge_type_bits(type) < 8 || !ledge__nn_is_float(to_type))
        return LEDGE_ERROR_TYPE;
    if (to_type == LEDGE_FLOAT) {
        ledge__load_f32(type, from, 0, count, to);
    } else if (to_type == LEDGE_DOUBLE) {
        ledge__load_f64(type, from, 0, count, to);
    } else if (type == LEDGE_FLOAT) {
        ledge__store_f32(to_type, to, 0, count, from);
    } else if (type == LEDGE_DOUBLE) {
        ledge__store_f64(to_type, to, 0, count, from);
    } else {
        return LEDGE_ERROR_TYPE;
    }
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

static bool countable(const LedgeTensor *t)
{
    int64_t n = 1;
    for (int32_t d = 0; d < t->rank; d++)
        if (t->dims[d] > 0 && (__builtin_mul_overflow(n, t->dims[d], &n) || n > INT64_MAX / 64))
            return false;
    return true;
}

LedgeStatus ledge__nn_need(LedgeOpCtx *c, uint32_t required, uint32_t floats)
{
    if (c->n_in > NN_MAX_IO || c->n_out > NN_MAX_IO)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "has %u inputs and %u outputs, too many",
                              c->n_in, c->n_out);
    for (uint32_t i = 0; i < required; i++)
        LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    for (uint32_t i = 0; i < c->n_in; i++) {
        const LedgeTensor *t = c->in[i];
        if (t && t->type < LEDGE_SEQUENCE && !countable(t))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "input %u has too many elements", i);
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
