/* Operators that choose or combine elements of several tensors: Max, Min, Sum, Mean (any number
 * of inputs, broadcast), Where and Clip. */
#include <math.h>

#include "engine/kernels/ref/binary.h"
#include "engine/kernels/ref/convert.h"
#include "engine/kernels/ref/unary.h"
#include "engine/ops/math/math_types.h"

#define CHUNK 256

/* ---- Max, Min, Sum, Mean ---- */

static LedgeStatus infer_variadic(LedgeOpCtx *c, LedgeTypeSet set)
{
    LEDGE_TRY(ledge__math_need(c, 0, set));
    LedgeTensor all = *c->in[0];
    for (uint32_t i = 1; i < c->n_in; i++) {
        LEDGE_TRY(ledge__math_need_like(c, i, 0));
        int32_t rank;
        int64_t dims[LEDGE_MAX_RANK];
        LEDGE_TRY(ledge__op_broadcast(c, &all, c->in[i], &rank, dims));
        all.rank = rank;
        for (int32_t d = 0; d < rank; d++)
            all.dims[d] = dims[d];
    }
    ledge__op_set_out(c, 0, all.type, all.rank, all.dims);
    return LEDGE_OK;
}

static LedgeStatus infer_max_min(LedgeOpCtx *c)
{
    return infer_variadic(c, LEDGE_SET_NUMBERS);
}

static LedgeStatus infer_sum_mean(LedgeOpCtx *c)
{
    return infer_variadic(c, LEDGE_SET_FLOATS);
}

static LedgeStatus run_variadic(LedgeOpCtx *c, LedgeBinary kind)
{
    const LedgeTensor *y = c->out[0];
    if (c->n_in == 1)
        ledge__math_copy(y, c->in[0]);
    else
        ledge__binary(kind, c->in[0], c->in[1], y, (LedgeRunner){c->pool, c->cpu});
    for (uint32_t i = 2; i < c->n_in; i++)
        ledge__binary(kind, y, c->in[i], y, (LedgeRunner){c->pool, c->cpu});
    return LEDGE_OK;
}

static LedgeStatus run_max(LedgeOpCtx *c)
{
    return run_variadic(c, LEDGE_BINARY_MAX);
}

static LedgeStatus run_min(LedgeOpCtx *c)
{
    return run_variadic(c, LEDGE_BINARY_MIN);
}

static LedgeStatus run_sum(LedgeOpCtx *c)
{
    return run_variadic(c, LEDGE_BINARY_ADD);
}

static LedgeStatus run_mean(LedgeOpCtx *c)
{
    LEDGE_TRY(run_variadic(c, LEDGE_BINARY_ADD));
    const LedgeTensor *y = c->out[0];
    double count = c->n_in, bytes;
    LedgeTensor divisor = {.type = y->type, .rank = 0, .data = &bytes, .bytes = sizeof bytes};
    ledge__store_f64(y->type, &bytes, 0, 1, &count);
    ledge__binary(LEDGE_BINARY_DIV, y, &divisor, y, (LedgeRunner){c->pool, c->cpu});
    return LEDGE_OK;
}

/* ---- Where ---- */

static LedgeStatus infer_where(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_BOOL));
    LEDGE_TRY(ledge__math_need(c, 1, LEDGE_SET_TENSORS & ~LEDGE_SET_PACKED));
    LEDGE_TRY(ledge__math_need_like(c, 2, 1));
    LedgeTensor both = *c->in[1];
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_broadcast(c, c->in[1], c->in[2], &both.rank, both.dims));
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], &both, &rank, dims));
    ledge__op_set_out(c, 0, both.type, rank, dims);
    return LEDGE_OK;
}

typedef struct WhereJob {
    const uint8_t *condition;
    const char *a, *b;
    char *y;
    size_t size;
} WhereJob;

/* Scalars on a side, as masks have them, get loops of their own; both sides are read before one is
 * chosen, so that they vectorise. */
#define DEFINE_WHERE(name, T)                                                                      \
    static inline T pick_##name(bool first, T a, T b)                                              \
    {                                                                                              \
        return first ? a : b;                                                                      \
    }                                                                                              \
    static void where_##name(const uint8_t *c, const T *a, const T *b, T *restrict y,              \
                             const LedgeSpan *s)                                                   \
    {                                                                                              \
        const T a0 = *a, b0 = *b;                                                                  \
        size_t n = s->n, sc = s->step[0], sa = s->step[1], sb = s->step[2];                        \
        if (sc && sa && sb)                                                                        \
            for (size_t i = 0; i < n; i++)                                                         \
                y[i] = pick_##name(c[i], a[i], b[i]);                                              \
        else if (sc && sa)                                                                         \
            for (size_t i = 0; i < n; i++)                                                         \
                y[i] = pick_##name(c[i], a[i], b0);                                                \
        else if (sc && sb)                                                                         \
            for (size_t i = 0; i < n; i++)                                                         \
                y[i] = pick_##name(c[i], a0, b[i]);                                                \
        else                                                                                       \
            for (size_t i = 0; i < n; i++)                                                         \
                y[i] = c[i * sc] ? a[i * sa] : b[i * sb];                                          \
    }
DEFINE_WHERE(8, uint8_t)
DEFINE_WHERE(16, uint16_t)
DEFINE_WHERE(32, uint32_t)
DEFINE_WHERE(64, uint64_t)
DEFINE_WHERE(string, LedgeString) /* and complex128 */

static void where_span(void *arg, const LedgeSpan *s)
{
    const WhereJob *j = arg;
    const uint8_t *c = j->condition + s->at[0];
    const void *a = j->a + s->at[1] * j->size, *b = j->b + s->at[2] * j->size;
    void *y = j->y + s->out * j->size;
    switch (j->size) {
    case 1:
        where_8(c, a, b, y, s);
        return;
    case 2:
        where_16(c, a, b, y, s);
        return;
    case 4:
        where_32(c, a, b, y, s);
        return;
    case 8:
        where_64(c, a, b, y, s);
        return;
    default:
        where_string(c, a, b, y, s);
    }
}

static LedgeStatus run_where(LedgeOpCtx *c)
{
    WhereJob j = {c->in[0]->data, c->in[1]->data, c->in[2]->data, c->out[0]->data,
                  ledge_type_bits(c->out[0]->type) / 8};
    LedgeBroadcast walk;
    ledge__broadcast_plan(&walk, c->out[0], c->in, 3);
    ledge__broadcast_run(&walk, c->pool, where_span, &j);
    return LEDGE_OK;
}

/* ---- Clip ---- */

typedef struct ClipJob {
    const LedgeTensor *x, *y;
    LedgeUnaryCall f32;
    double p64[2];
    int64_t low, high; /* integers; for uint64 the same bits */
} ClipJob;

static void clip_floats(const ClipJob *j, size_t at, size_t count)
{
    float chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_f32(j->x->type, j->x->data, at + done, n, chunk);
        ledge__unary_call(&j->f32, chunk, chunk, n);
        ledge__store_f32(j->x->type, j->y->data, at + done, n, chunk);
    }
}

static int64_t clip_one(const ClipJob *j, int64_t v)
{
    if (j->x->type == LEDGE_UINT64) {
        uint64_t u = (uint64_t)v, low = (uint64_t)j->low, high = (uint64_t)j->high;
        u = u < low ? low : u;
        return (int64_t)(u > high ? high : u);
    }
    v = v < j->low ? j->low : v;
    return v > j->high ? j->high : v;
}

static void clip_integers(const ClipJob *j, size_t at, size_t count)
{
    int64_t chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_i64(j->x->type, j->x->data, at + done, n, chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = clip_one(j, chunk[i]);
        ledge__store_i64(j->x->type, j->y->data, at + done, n, chunk);
    }
}

static void clip_piece(void *arg, const LedgeSpan *s)
{
    const ClipJob *j = arg;
    if (j->x->type == LEDGE_FLOAT)
        ledge__unary_call(&j->f32, (const float *)j->x->data + s->out,
                          (float *)j->y->data + s->out, s->n);
    else if (j->x->type == LEDGE_DOUBLE)
        ledge__unary_f64(LEDGE_UNARY_CLIP)((const double *)j->x->data + s->out,
                                           (double *)j->y->data + s->out, s->n, j->p64);
    else if (ledge__num_is_float(j->x->type))
        clip_floats(j, s->out, s->n);
    else
        clip_integers(j, s->out, s->n);
}

static LedgeStatus infer_clip(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_infer_like_input(c, LEDGE_SET_NUMBERS, LEDGE_TYPE_NONE));
    for (uint32_t i = 1; i < 3; i++) {
        const LedgeTensor *bound = ledge__op_in(c, i);
        if (!bound)
            continue;
        LEDGE_TRY(ledge__math_need_like(c, i, 0));
        if (ledge_tensor_count(bound) >= 0 && ledge_tensor_count(bound) != 1)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "bound %u must be a scalar", i);
    }
    return LEDGE_OK;
}

/* A bound from input i, or before opset 11 from the attribute; else the one given stays. */
static void clip_bound(const LedgeOpCtx *c, uint32_t i, const char *attr, double *f, int64_t *n)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (t) {
        ledge__load_f64(t->type, t->data, 0, 1, f);
        ledge__load_i64(t->type, t->data, 0, 1, n);
    } else if (ledge__node_attr(c->node, attr)) {
        *f = (double)ledge__node_float(c->node, attr, 0);
        *n = ledge__f64_to_i64(*f);
    }
}

static LedgeStatus run_clip(LedgeOpCtx *c)
{
    ClipJob j = {.x = c->in[0], .y = c->out[0], .p64 = {-INFINITY, INFINITY}};
    ledge__type_int_range(j.x->type, &j.low, &j.high);
    if (j.x->type == LEDGE_UINT64)
        j.high = -1; /* all bits */
    clip_bound(c, 1, "min", &j.p64[0], &j.low);
    clip_bound(c, 2, "max", &j.p64[1], &j.high);
    j.f32 = ledge__unary_f32(LEDGE_UNARY_CLIP, c->cpu,
                             (const float[]){(float)j.p64[0], (float)j.p64[1]});
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(j.x), clip_piece, &j);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_math_select[] = {
    {"", "Max", 6, 0, 0, infer_max_min, NULL, run_max, NULL},
    {"", "Min", 6, 0, 0, infer_max_min, NULL, run_min, NULL},
    {"", "Sum", 6, 0, 0, infer_sum_mean, NULL, run_sum, NULL},
    {"", "Mean", 6, 0, 0, infer_sum_mean, NULL, run_mean, NULL},
    {"", "Where", 9, 0, 0, infer_where, NULL, run_where, NULL},
    {"", "Clip", 6, 0, LEDGE_OP_INPLACE, infer_clip, NULL, run_clip, NULL},
    {0}};
