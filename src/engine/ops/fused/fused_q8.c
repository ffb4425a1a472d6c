/* See fused_q8.h. Where weights, bias and scale are constants they are packed when planning, the
 * weights once per model; else all is made anew at each run. */
#include "engine/ops/fused/fused_q8.h"

#include <math.h>
#include <stdio.h>

#include "base/hash.h"
#include "engine/ops/fused/fused_act.h"

/* An attribute's name with the prefix of its convolution. */
typedef struct Name {
    char text[32];
} Name;

static Name named(const LedgeFusedQ8 *f, const char *name)
{
    Name n;
    snprintf(n.text, sizeof(n.text), "%s%s", f->prefix ? f->prefix : "", name);
    return n;
}

static LedgeStatus byte(LedgeOpCtx *c, const LedgeFusedQ8 *f, const char *name, int64_t absent,
                        int32_t *out)
{
    const Name n = named(f, name);
    const int64_t v = ledge__node_int(c->node, n.text, absent);
    if (v < 0 || v > 255)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute %s is %lld, must be 0 to 255",
                              n.text, (long long)v);
    *out = (int32_t)v;
    return LEDGE_OK;
}

static LedgeStatus range(LedgeOpCtx *c, const LedgeFusedQ8 *f, const char *zero, const char *lo,
                         const char *hi, int32_t out[3])
{
    LEDGE_TRY(byte(c, f, zero, 0, &out[0]));
    LEDGE_TRY(byte(c, f, lo, 0, &out[1]));
    LEDGE_TRY(byte(c, f, hi, 255, &out[2]));
    if (out[1] > out[2])
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s %d is above %s %d", lo, out[1], hi,
                              out[2]);
    return LEDGE_OK;
}

static bool is_scale(float x)
{
    return isfinite(x) && x > 0;
}

static LedgeStatus positive(LedgeOpCtx *c, const char *name, float *out)
{
    *out = ledge__node_float(c->node, name, 0.0f);
    if (!is_scale(*out))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "attribute %s must be a finite number above 0", name);
    return LEDGE_OK;
}

static LedgeStatus weight_zeros(LedgeOpCtx *c, const char *name, LedgeFusedQ8 *f)
{
    const LedgeAttr *a = ledge__node_attr(c->node, named(f, name).text);
    f->w_zero = a && a->ints ? a->ints : a ? &a->i : NULL;
    f->w_zeros = a && a->ints ? a->count : 1;
    bool any = false;
    for (size_t i = 0; f->w_zero && i < f->w_zeros; i++) {
        any |= f->w_zero[i] != 0;
        if (f->w_zero[i] < -128 || f->w_zero[i] > 127)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                                  "attribute %s holds %lld, must be -128 to 127", name,
                                  (long long)f->w_zero[i]);
    }
    f->w_zero = any ? f->w_zero : NULL;
    return LEDGE_OK;
}

LedgeStatus ledge__fused_q8_attrs(LedgeOpCtx *c, const char *x_zero, const char *w_zero,
                                  bool residual, LedgeFusedQ8 *f)
{
    int32_t y[3], z[3];
    LedgeQ8Out *o = &f->out;
    LEDGE_TRY(byte(c, f, x_zero, 0, &f->x_zero));
    LEDGE_TRY(weight_zeros(c, w_zero, f));
    if (ledge__node_int(c->node, named(f, "to_float").text, 0) != 0) {
        LEDGE_TRY(ledge__fused_act(c, &f->act));
        *o = (LedgeQ8Out){.kind = LEDGE_Q8_FLOAT, .lo = f->act.lo, .hi = f->act.hi};
        return LEDGE_OK;
    }
    LEDGE_TRY(range(c, f, "y_zero", "y_lo", "y_hi", y));
    *o = (LedgeQ8Out){.kind = LEDGE_Q8_BYTES, .y_zero = y[0], .y_lo = y[1], .y_hi = y[2]};
    if (!residual)
        return LEDGE_OK;
    o->kind = LEDGE_Q8_SUM;
    LEDGE_TRY(range(c, f, "z_zero", "z_lo", "z_hi", z));
    LEDGE_TRY(byte(c, f, "r_zero", 0, &o->r_zero));
    o->z_zero = z[0];
    o->z_lo = z[1];
    o->z_hi = z[2];
    LEDGE_TRY(positive(c, "y_scale", &o->y_scale));
    return positive(c, "r_scale", &o->r_scale);
}

/* ---- packing ---- */

static size_t lines(size_t bytes)
{
    return ledge__round_up(bytes, LEDGE_ALIGN);
}

static size_t weights_bytes(const LedgeFusedQ8 *f)
{
    return lines(f->plan.packed_bytes) + lines(f->plan.s.m * sizeof(int32_t));
}

static size_t rest_bytes(const LedgeFusedQ8 *f)
{
    return 3 * lines(f->plan.columns * sizeof(int32_t)) + lines(f->plan.s.m * sizeof(int32_t)) +
           lines(f->plan.border_bytes);
}

typedef struct PackArg {
    const LedgeFusedQ8 *f;
    const void *w;
} PackArg;

/* Packed weights, then their sums. */
static LedgeStatus pack_weights(void *arg, void *to)
{
    const PackArg *p = arg;
    const LedgeFusedQ8 *f = p->f;
    int32_t *sums = (int32_t *)(void *)((char *)to + lines(f->plan.packed_bytes));
    if (f->matrix) {
        ledge__conv_q8_pack_matrix(&f->plan, p->w, f->sn, f->sk, f->flip, to);
        ledge__conv_q8_sums_matrix(&f->plan, p->w, f->sn, f->sk, f->flip, sums);
    } else {
        if (f->plan.parts > 1)
            ledge__conv_q8_pack_zeros(&f->plan, p->w, f->zeros, f->w_zeros, to);
        else
            ledge__conv_q8_pack(&f->plan, p->w, to);
        ledge__conv_q8_sums(&f->plan, p->w, sums);
    }
    return LEDGE_OK;
}

static void use_weights(LedgeFusedQ8 *f, const void *at)
{
    f->packed = at;
    f->sums = (const int32_t *)(const void *)((const char *)at + lines(f->plan.packed_bytes));
}

static LedgeStatus check_scale(LedgeOpCtx *c, const float *scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_scale(scale[i]))
            return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                                  "the scale of channel %zu is %g; scales must be finite and "
                                  "above 0", i, (double)scale[i]);
    return LEDGE_OK;
}

/* init, weight zero points, scale and border in `to`; bias and scale may be misaligned. */
static LedgeStatus make_rest(LedgeOpCtx *c, LedgeFusedQ8 *f, char *to)
{
    const LedgeConvQ8Plan *p = &f->plan;
    const LedgeTensor *bias = ledge__op_in(c, f->in_bias), *scale = c->in[f->in_scale];
    const size_t column = lines(p->columns * sizeof(int32_t)), m = p->s.m;
    int32_t *init = (int32_t *)(void *)to, *b_zero = (int32_t *)(void *)(to + column);
    float *scales = (float *)(void *)(to + 2 * column);
    int32_t *plain = (int32_t *)(void *)(to + 3 * column);
    const size_t n_scale = (size_t)ledge_tensor_count(scale);
    if (n_scale)
        memcpy(plain, scale->data, n_scale * sizeof(float));
    const float *copied = (const float *)(const void *)plain;
    LEDGE_TRY(check_scale(c, copied, n_scale));
    ledge__conv_q8_pack_floats(p, copied, n_scale, 1.0f, scales);
    if (bias && m)
        memcpy(plain, bias->data, m * sizeof(int32_t));
    ledge__conv_q8_pack_init(p, bias ? plain : NULL, f->sums, f->x_zero, f->zeros, f->w_zeros,
                             init);
    if (f->zeros)
        ledge__conv_q8_pack_ints(p, f->zeros, f->w_zeros, b_zero);
    uint8_t *border = (uint8_t *)to + 3 * column + lines(m * sizeof(int32_t));
    if (p->border_bytes)
        memset(border, f->x_zero, p->border_bytes);
    f->init = init;
    f->b_zero = f->zeros && p->parts == 1 ? b_zero : NULL;
    f->scale = scales;
    f->border = border;
    return LEDGE_OK;
}

static LedgeStatus check_inputs(LedgeOpCtx *c, const LedgeFusedQ8 *f)
{
    const LedgeTensor *bias = ledge__op_in(c, f->in_bias);
    const int64_t m = (int64_t)f->plan.s.m;
    LEDGE_TRY(ledge__op_need(c, f->in_scale, LEDGE_FLOAT));
    if (bias)
        LEDGE_TRY(ledge__op_need(c, f->in_bias, LEDGE_INT32));
    if (bias && ledge_tensor_count(bias) != m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the bias must have %lld elements",
                              (long long)m);
    const int64_t n = ledge_tensor_count(c->in[f->in_scale]);
    if (n != m && (n != 1 || m == 0))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "there are %lld scales for %lld channels",
                              (long long)n, (long long)m);
    if (f->w_zero && f->w_zeros != 1 && f->w_zeros != f->plan.s.m)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "there are %zu weight zero points for %lld channels", f->w_zeros,
                              (long long)m);
    return LEDGE_OK;
}

static LedgeStatus copy_zeros(LedgeOpCtx *c, LedgeFusedQ8 *f)
{
    if (!f->w_zero)
        return LEDGE_OK;
    int32_t *zeros = ledge__op_alloc(c, f->w_zeros * sizeof(*zeros));
    if (!zeros)
        return ledge__no_memory(c->err);
    for (size_t i = 0; i < f->w_zeros; i++)
        zeros[i] = (int32_t)f->w_zero[i];
    f->zeros = zeros;
    return LEDGE_OK;
}

/* Tells packed forms of one constant under several zero points apart. */
static uint64_t zeros_hash(const LedgeFusedQ8 *f)
{
    return f->plan.parts > 1 ? ledge__hash64(f->zeros, f->w_zeros * sizeof(*f->zeros), 0) : 0;
}

LedgeStatus ledge__fused_q8_prepare(LedgeOpCtx *c, LedgeFusedQ8 *f, bool moving)
{
    const LedgeTensor *bias = ledge__op_in(c, f->in_bias);
    LEDGE_TRY(check_inputs(c, f));
    LEDGE_TRY(copy_zeros(c, f));
    c->scratch_bytes = f->plan.scratch_bytes;
    f->fixed = !moving && c->in_constant[f->in_w] && c->in_constant[f->in_scale] &&
               (!bias || c->in_constant[f->in_bias]);
    if (!f->fixed) {
        f->at = lines(c->scratch_bytes);
        c->scratch_bytes = f->at + weights_bytes(f) + rest_bytes(f);
        return LEDGE_OK;
    }
    char key[160];
    const LedgeConvQ8Plan *p = &f->plan;
    const void *weights;
    PackArg arg = {f, c->in[f->in_w]->data};
    snprintf(key, sizeof(key),
             "q8 %s lanes=%u nv=%u step=%u group=%zu sn=%zu sk=%zu flip=%u zeros=%016llx",
             ledge__conv_f32_path_name(p->path), p->k->lanes, p->p.most, p->k->step, p->s.group,
             f->sn, f->sk, f->flip, (unsigned long long)zeros_hash(f));
    LEDGE_TRY(c->host->packed(c, f->in_w, key, weights_bytes(f), pack_weights, &arg, &weights));
    use_weights(f, weights);
    char *rest = ledge__op_alloc(c, rest_bytes(f) + LEDGE_ALIGN);
    if (!rest)
        return ledge__no_memory(c->err);
    rest += LEDGE_ALIGN - 1 - ((uintptr_t)rest - 1) % LEDGE_ALIGN;
    return make_rest(c, f, rest);
}

LedgeStatus ledge__fused_q8_args(LedgeOpCtx *c, LedgeFusedQ8 *f, const void *w,
                                 LedgeConvQ8Args *a)
{
    if (!f->fixed) {
        char *at = (char *)c->scratch + f->at;
        PackArg arg = {f, w};
        LEDGE_TRY(pack_weights(&arg, at));
        use_weights(f, at);
        LEDGE_TRY(make_rest(c, f, at + weights_bytes(f)));
    }
    *a = (LedgeConvQ8Args){.packed = f->packed,
                           .init = f->init,
                           .b_zero = f->b_zero,
                           .scale = f->scale,
                           .border = f->border,
                           .out = f->out,
                           .act = f->act,
                           .scratch = c->scratch};
    return LEDGE_OK;
}
