/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear, of all versions: one scale for the
 * tensor, one for each index of an axis, or one for each block along an axis.
 *
 * The tensor is walked in spans over which the scale either stands still or moves with the element.
 * Division and multiplication are done in float, as the scale's type asks (float16 and bfloat16
 * results are rounded to it), rounding is to nearest even. */
#include <math.h>

#include "engine/kernels/bytes.h"
#include "engine/kernels/ref/broadcast.h"
#include "engine/kernels/ref/convert.h"
#include "engine/ops/math/math_types.h"

#define CHUNK 256

#define QUANT_TYPES                                                                                \
    (LEDGE_SET(INT8) | LEDGE_SET(UINT8) | LEDGE_SET(INT16) | LEDGE_SET(UINT16) |                   \
     LEDGE_SET_PACKED | LEDGE_SET_FLOAT8)
#define SCALE_TYPES                                                                                \
    (LEDGE_SET(FLOAT) | LEDGE_SET(FLOAT16) | LEDGE_SET(BFLOAT16) | LEDGE_SET(FLOAT8E8M0))

/* Where an element's scale and zero point are: x seen as [outer, axis, inner]. */
typedef struct Grid {
    size_t axis, inner, block; /* block: elements of the axis that share a scale */
    bool whole;                /* one scale for all */
    bool per_axis;             /* outer and inner share */
} Grid;

static LedgeStatus check_blocks(LedgeOpCtx *c, const LedgeTensor *x, const LedgeTensor *scale,
                                int32_t axis, int64_t block)
{
    if (scale->rank != x->rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "blocked scales must have the input's rank");
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t want = x->dims[d];
        if (d == axis && want > 0)
            want = (want - 1) / block + 1;
        if (want >= 0 && scale->dims[d] >= 0 && scale->dims[d] != want)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "scale has %lld in dimension %d, must have %lld",
                                  (long long)scale->dims[d], d, (long long)want);
    }
    return LEDGE_OK;
}

/* Checks scale and zero point against x, as far as shapes are known. */
static LedgeStatus check_grid(LedgeOpCtx *c, int32_t *axis, int64_t *block)
{
    const LedgeTensor *x = c->in[0], *scale = c->in[1], *zero = ledge__op_in(c, 2);
    *block = ledge__node_int(c->node, "block_size", 0);
    *axis = 0;
    if (*block < 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "block_size is %lld", (long long)*block);
    if (zero && zero->rank >= 0 && scale->rank >= 0) {
        bool same = ledge_tensor_count(zero) == ledge_tensor_count(scale);
        if (!same)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "scale and zero point differ in shape");
    }
    if (x->rank < 0 || scale->rank < 0 || (*block == 0 && ledge_tensor_count(scale) == 1))
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 1), x->rank, axis));
    if (*block > 0)
        return check_blocks(c, x, scale, *axis, *block);
    if (scale->rank != 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "scale must be a scalar or a vector");
    if (scale->dims[0] >= 0 && x->dims[*axis] >= 0 && scale->dims[0] != x->dims[*axis])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%lld scales for an axis of %lld",
                              (long long)scale->dims[0], (long long)x->dims[*axis]);
    return LEDGE_OK;
}

static LedgeStatus make_grid(LedgeOpCtx *c, Grid *g)
{
    int32_t axis;
    int64_t block;
    size_t outer;
    *g = (Grid){.axis = 1, .inner = 1, .block = 1};
    LEDGE_TRY(check_grid(c, &axis, &block));
    g->whole = block == 0 && ledge_tensor_count(c->in[1]) == 1;
    g->per_axis = block == 0;
    if (g->whole || c->in[0]->rank == 0)
        return LEDGE_OK;
    ledge__math_split(c->in[0], axis, &outer, &g->axis, &g->inner);
    g->block = block > 0 ? (size_t)block : 1;
    return LEDGE_OK;
}

/* Index of element i's scale, how many elements from i on follow the same rule (*run), and
 * whether the scale moves along with them (*step). */
static size_t scale_at(const Grid *g, size_t i, size_t *run, size_t *step)
{
    if (g->whole) {
        *run = SIZE_MAX;
        *step = 0;
        return 0;
    }
    size_t in = i % g->inner, a = i / g->inner % g->axis, outer = i / g->inner / g->axis;
    size_t groups = (g->axis - 1) / g->block + 1;
    if (g->inner == 1) { /* the axis itself is contiguous */
        bool blocks = g->block > 1;
        *run = blocks ? g->block - a % g->block : g->axis - a;
        if (*run > g->axis - a)
            *run = g->axis - a;
        *step = !blocks;
        return (g->per_axis ? 0 : outer * groups) + a / g->block;
    }
    *run = g->inner - in;
    *step = !g->per_axis;
    return g->per_axis ? a : (outer * groups + a / g->block) * g->inner + in;
}

typedef struct QuantJob {
    Grid grid;
    const LedgeTensor *x, *scale, *zero, *y; /* zero: NULL when absent */
    LedgeType precision;                     /* of the division or the product */
    bool saturate, to_float;                 /* the quantized type is a float8 or float4 */
    int64_t lowest, highest;
    const LedgeVec *v;
} QuantJob;

typedef void (*QuantSpan)(const QuantJob *j, size_t at, size_t n, size_t scale, size_t step);

/* float16 and bfloat16 arithmetic is float's, rounded. */
static void round_to(LedgeType type, float *v, size_t n)
{
    uint16_t bits[CHUNK];
    if (type != LEDGE_FLOAT16 && type != LEDGE_BFLOAT16)
        return;
    ledge__store_f32(type, bits, 0, n, v);
    ledge__load_f32(type, bits, 0, n, v);
}

static void load_scales(const QuantJob *j, size_t at, size_t n, size_t step, float *scale,
                        float *zero)
{
    size_t count = step ? n : 1;
    ledge__load_f32(j->scale->type, j->scale->data, at, count, scale);
    if (j->zero)
        ledge__load_f32(j->zero->type, j->zero->data, at, count, zero);
    else
        memset(zero, 0, count * sizeof *zero);
}

/* To even, zero added, saturated; NaN as 0. The bounds are whole numbers, so that clamping may come
 * first; what is left is small enough for 1.5 * 2^23 to push its fraction out. */
static inline float quantize_one(float v, float zero, float lowest, float highest)
{
    const float magic = 12582912.0f;
    float low = lowest - zero, high = highest - zero;
    v = v < low ? low : v;
    v = v > high ? high : v;
    v = v == v ? v : 0;
    return v + magic - magic + zero;
}

static void store_rounded(const QuantJob *j, size_t at, size_t n, float *v, const float *zero)
{
    float lowest = (float)j->lowest, highest = (float)j->highest;
    uint8_t *restrict u = (uint8_t *)j->y->data + at;
    if (j->y->type == LEDGE_UINT8 || j->y->type == LEDGE_INT8) { /* the common ones in one go */
        for (size_t i = 0; i < n; i++)
            u[i] = (uint8_t)(int32_t)quantize_one(v[i], zero[i], lowest, highest);
        return;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = quantize_one(v[i], zero[i], lowest, highest);
    ledge__store_f32(j->y->type, j->y->data, at, n, v);
}

/* At most CHUNK elements. */
static void quantize_span(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    float v[CHUNK], scale[CHUNK], zero[CHUNK];
    ledge__load_f32(j->x->type, j->x->data, at, n, v);
    load_scales(j, from, n, step, scale, zero);
    round_to(j->precision, v, n);
    if (step)
        for (size_t i = 0; i < n; i++)
            v[i] /= scale[i];
    else
        for (size_t i = 0; i < n; i++)
            v[i] /= scale[0];
    round_to(j->precision, v, n);
    if (j->to_float) {
        double wide[CHUNK];
        for (size_t i = 0; i < n; i++)
            wide[i] = (double)v[i] + (double)zero[i * step];
        ledge__store_f64_mode(j->y->type, j->y->data, at, n, wide,
                              (LedgeStoreMode){j->saturate, LEDGE_E8M0_UP});
        return;
    }
    if (!step)
        for (size_t i = 1; i < n; i++)
            zero[i] = zero[0];
    store_rounded(j, at, n, v, zero);
}

static void dequantize_span(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    float scale[CHUNK], zero[CHUNK], v[CHUNK];
    load_scales(j, from, n, step, scale, zero);
    if (j->x->type == LEDGE_INT32) { /* more digits than float has, until it is scaled */
        double wide[CHUNK];
        ledge__load_f64(j->x->type, j->x->data, at, n, wide);
        for (size_t i = 0; i < n; i++)
            v[i] = (float)((wide[i] - (double)zero[i * step]) * (double)scale[i * step]);
    } else {
        ledge__load_f32(j->x->type, j->x->data, at, n, v);
        if (step)
            for (size_t i = 0; i < n; i++)
                v[i] = (v[i] - zero[i]) * scale[i];
        else
            for (size_t i = 0; i < n; i++)
                v[i] = (v[i] - zero[0]) * scale[0];
    }
    ledge__store_f32(j->y->type, j->y->data, at, n, v);
}

/* ---- float32 beside integers of 4, 8 and 16 bits: vector kernels, spans of any length ---- */

static bool is_signed(LedgeType t)
{
    return t == LEDGE_INT8 || t == LEDGE_INT16 || t == LEDGE_INT4;
}

/* The zero point as its unsigned counterpart, for spans that share one. */
static int32_t unsigned_zero(const QuantJob *j, size_t at, int32_t half)
{
    float z = 0;
    if (j->zero)
        ledge__load_f32(j->zero->type, j->zero->data, at, 1, &z);
    return (int32_t)z + half;
}

static LedgeByteScale byte_scale(const QuantJob *j, LedgeType type, size_t at, uint8_t half)
{
    const uint8_t flip = is_signed(type) ? half : 0;
    return (LedgeByteScale){((const float *)j->scale->data)[at], unsigned_zero(j, at, flip), flip};
}

static void quantize_bytes(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    const float *x = (const float *)j->x->data + at, *scale = j->scale->data;
    uint8_t *y = (uint8_t *)j->y->data + at;
    const LedgeByteScale s = byte_scale(j, j->y->type, from, 0x80);
    if (step)
        j->v->quantize_each(x, y, n, scale + from,
                            j->zero ? (const uint8_t *)j->zero->data + from : NULL, s.flip);
    else
        j->v->quantize(x, y, n, &s);
}

static void dequantize_bytes(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    const uint8_t *x = (const uint8_t *)j->x->data + at;
    const float *scale = j->scale->data;
    float *y = (float *)j->y->data + at;
    const LedgeByteScale s = byte_scale(j, j->x->type, from, 0x80);
    if (step)
        j->v->dequantize_each(x, y, n, scale + from,
                              j->zero ? (const uint8_t *)j->zero->data + from : NULL, s.flip);
    else
        j->v->dequantize(x, y, n, &s);
}

/* Elements first … first+n-1 of packed nibbles, one a byte. */
static void unpack_nibbles(const void *from, size_t first, size_t n, uint8_t *to)
{
    const uint8_t *p = (const uint8_t *)from + first / 2;
    size_t i = 0;
    if (n > 0 && first % 2)
        to[i++] = *p++ >> 4;
    for (; i + 2 <= n; i += 2, p++) {
        to[i] = *p & 15;
        to[i + 1] = *p >> 4;
    }
    if (i < n)
        to[i] = *p & 15;
}

/* The reverse; of the first and the last byte only the named half changes. */
static void pack_nibbles(const uint8_t *from, size_t n, void *to, size_t first)
{
    uint8_t *p = (uint8_t *)to + first / 2;
    size_t i = 0;
    if (n > 0 && first % 2) {
        *p = (uint8_t)((*p & 15) | from[i++] << 4);
        p++;
    }
    for (; i + 2 <= n; i += 2)
        *p++ = (uint8_t)(from[i] | from[i + 1] << 4);
    if (i < n)
        *p = (uint8_t)((*p & 0xf0) | from[i]);
}

/* At most CHUNK elements; int4 plus 8 is unsigned. Bytes are cut to 15 where more came out. */
static void quantize_nibbles(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    uint8_t y[CHUNK], zero[CHUNK] = {0};
    const float *x = (const float *)j->x->data + at, *scale = j->scale->data;
    const uint8_t half = is_signed(j->y->type) ? 8 : 0;
    if (step) {
        if (j->zero)
            unpack_nibbles(j->zero->data, from, n, zero);
        for (size_t i = 0; i < n; i++)
            zero[i] ^= half;
        j->v->quantize_each(x, y, n, scale + from, zero, 0);
    } else {
        const LedgeByteScale s = {scale[from], unsigned_zero(j, from, half), 0};
        j->v->quantize(x, y, n, &s);
    }
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)((y[i] < 15 ? y[i] : 15) ^ half);
    pack_nibbles(y, n, j->y->data, at);
}

/* At most CHUNK elements; flipping bit 3 makes int4 unsigned. */
static void dequantize_nibbles(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    uint8_t x[CHUNK], zero[CHUNK];
    float *y = (float *)j->y->data + at;
    const LedgeByteScale s = byte_scale(j, j->x->type, from, 8);
    unpack_nibbles(j->x->data, at, n, x);
    if (!step) {
        j->v->dequantize(x, y, n, &s);
        return;
    }
    if (j->zero)
        unpack_nibbles(j->zero->data, from, n, zero);
    j->v->dequantize_each(x, y, n, (const float *)j->scale->data + from, j->zero ? zero : NULL,
                          s.flip);
}

static void quantize_words(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    const uint16_t flip = j->y->type == LEDGE_INT16 ? 0x8000 : 0;
    (void)step;
    j->v->quantize_16((const float *)j->x->data + at, (uint16_t *)j->y->data + at, n,
                      ((const float *)j->scale->data)[from], unsigned_zero(j, from, flip), flip);
}

static void dequantize_words(const QuantJob *j, size_t at, size_t n, size_t from, size_t step)
{
    const uint16_t flip = j->x->type == LEDGE_INT16 ? 0x8000 : 0;
    (void)step;
    j->v->dequantize_16((const uint16_t *)j->x->data + at, (float *)j->y->data + at, n,
                        ((const float *)j->scale->data)[from], unsigned_zero(j, from, flip), flip);
}

/* A kernel for spans, and how long they may be. */
typedef struct QuantWalk {
    const QuantJob *job;
    QuantSpan fn, each; /* each: for spans whose scale moves with the element */
    size_t most;
} QuantWalk;

static bool is_nibble(LedgeType t)
{
    return t == LEDGE_INT4 || t == LEDGE_UINT4;
}

/* Puts the kernels for float x and scale in, where there are some. */
static void choose_kernels(QuantWalk *w, LedgeType type, bool quantize)
{
    const QuantJob *j = w->job;
    const LedgeTensor *floats = quantize ? j->x : j->y;
    if (floats->type != LEDGE_FLOAT || j->scale->type != LEDGE_FLOAT)
        return;
    if (type == LEDGE_UINT8 || type == LEDGE_INT8) {
        w->fn = w->each = quantize ? quantize_bytes : dequantize_bytes;
        w->most = SIZE_MAX;
    } else if (type == LEDGE_UINT16 || type == LEDGE_INT16) {
        w->fn = quantize ? quantize_words : dequantize_words;
        w->most = SIZE_MAX;
    } else if (is_nibble(type)) {
        w->fn = w->each = quantize ? quantize_nibbles : dequantize_nibbles;
    }
}

static void quant_piece(void *arg, const LedgeSpan *s)
{
    const QuantWalk *w = arg;
    for (size_t at = s->out, end = s->out + s->n; at < end;) {
        size_t n, step, from = scale_at(&w->job->grid, at, &n, &step);
        const size_t most = step && w->each != w->fn ? CHUNK : w->most;
        n = n > most ? most : n;
        n = n > end - at ? end - at : n;
        (step ? w->each : w->fn)(w->job, at, n, from, step);
        at += n;
    }
}

static void walk(LedgeOpCtx *c, QuantJob *j, LedgeType type, bool quantize)
{
    const QuantSpan general = quantize ? quantize_span : dequantize_span;
    QuantWalk w = {j, general, general, CHUNK};
    j->v = ledge__vec(c->cpu);
    if (!quantize || j->precision == LEDGE_FLOAT)
        choose_kernels(&w, type, quantize);
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(j->x), quant_piece, &w);
}

/* ---- QuantizeLinear ---- */

#define QUANT_INPUTS                                                                               \
    (LEDGE_SET(FLOAT) | LEDGE_SET(FLOAT16) | LEDGE_SET(BFLOAT16) | LEDGE_SET(INT32))

static LedgeStatus infer_quantize(LedgeOpCtx *c)
{
    LedgeType type;
    int32_t axis;
    int64_t block;
    const LedgeTensor *zero = ledge__op_in(c, 2);
    LEDGE_TRY(ledge__math_need(c, 0, QUANT_INPUTS));
    LEDGE_TRY(ledge__math_need(c, 1, SCALE_TYPES | LEDGE_SET(INT32)));
    LEDGE_TRY(ledge__math_type_attr(c, "output_dtype", zero ? zero->type : LEDGE_UINT8, QUANT_TYPES,
                                    &type));
    if (zero) {
        LEDGE_TRY(ledge__math_need(c, 2, QUANT_TYPES));
        if (zero->type != type && zero->type != LEDGE_TYPE_NONE)
            return ledge__op_fail(c, LEDGE_ERROR_TYPE, "zero point is %s, output_dtype %s",
                                  ledge_type_name(zero->type), ledge_type_name(type));
    }
    LEDGE_TRY(check_grid(c, &axis, &block));
    return ledge__math_infer_like_input(c, QUANT_INPUTS, type);
}

static LedgeStatus run_quantize(LedgeOpCtx *c)
{
    QuantJob j = {.x = c->in[0], .scale = c->in[1], .zero = ledge__op_in(c, 2), .y = c->out[0],
                  .saturate = ledge__node_int(c->node, "saturate", 1) != 0};
    LEDGE_TRY(ledge__math_type_attr(c, "precision", j.scale->type, QUANT_INPUTS, &j.precision));
    LEDGE_TRY(make_grid(c, &j.grid));
    j.to_float = ledge__num_is_float(j.y->type);
    if (!j.to_float)
        ledge__type_int_range(j.y->type, &j.lowest, &j.highest);
    ledge__math_clear_tail(j.y);
    walk(c, &j, j.y->type, true);
    return LEDGE_OK;
}

/* ---- DequantizeLinear ---- */

#define DEQUANT_OUTPUTS (LEDGE_SET(FLOAT) | LEDGE_SET(FLOAT16) | LEDGE_SET(BFLOAT16))

static LedgeStatus infer_dequantize(LedgeOpCtx *c)
{
    LedgeType type;
    int32_t axis;
    int64_t block;
    LEDGE_TRY(ledge__math_need(c, 0, QUANT_TYPES | LEDGE_SET(INT32)));
    LEDGE_TRY(ledge__math_need(c, 1, SCALE_TYPES));
    LEDGE_TRY(ledge__math_type_attr(c, "output_dtype", c->in[1]->type, DEQUANT_OUTPUTS, &type));
    if (type == LEDGE_FLOAT8E8M0)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "a float8e8m0 scale needs output_dtype");
    if (ledge__op_in(c, 2))
        LEDGE_TRY(ledge__math_need_like(c, 2, 0));
    LEDGE_TRY(check_grid(c, &axis, &block));
    return ledge__math_infer_like_input(c, QUANT_TYPES | LEDGE_SET(INT32), type);
}

static LedgeStatus run_dequantize(LedgeOpCtx *c)
{
    QuantJob j = {.x = c->in[0], .scale = c->in[1], .zero = ledge__op_in(c, 2), .y = c->out[0]};
    LEDGE_TRY(make_grid(c, &j.grid));
    walk(c, &j, j.x->type, false);
    return LEDGE_OK;
}

/* ---- DynamicQuantizeLinear ---- */

static LedgeStatus infer_dynamic(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_infer_like_input(c, LEDGE_SET(FLOAT), LEDGE_UINT8));
    ledge__op_set_out(c, 1, LEDGE_FLOAT, 0, NULL);
    ledge__op_set_out(c, 2, LEDGE_UINT8, 0, NULL);
    return LEDGE_OK;
}

/* All zeros (and NaN, which does not count) have scale 1, as in ONNX Runtime. */
static LedgeStatus run_dynamic(LedgeOpCtx *c)
{
    const LedgeTensor *x = c->in[0], *y = ledge__op_out(c, 0);
    const LedgeRunner r = {c->pool, c->cpu};
    const size_t n = (size_t)ledge_tensor_count(x);
    float low, high;
    ledge__bytes_range(r, x->data, n, &low, &high);
    const float scale = high == low ? 1.0f : (high - low) / 255;
    const float start = nearbyintf(-low / scale);
    const uint8_t zero = (uint8_t)(start > 0 ? start < 255 ? start : 255 : 0); /* NaN is 0 */
    if (ledge__op_out(c, 1))
        *(float *)c->out[1]->data = scale;
    if (ledge__op_out(c, 2))
        *(uint8_t *)c->out[2]->data = zero;
    if (y)
        ledge__bytes_quantize(r, x->data, y->data, n,
                              (LedgeByteScale){.scale = scale, .zero = zero});
    return LEDGE_OK;
}

const LedgeOp ledge__ops_math_quantize[] = {
    {"", "QuantizeLinear", 10, 0, 0, infer_quantize, NULL, run_quantize, NULL},
    {"", "DequantizeLinear", 10, 0, 0, infer_dequantize, NULL, run_dequantize, NULL},
    {"", "DynamicQuantizeLinear", 11, 0, 0, infer_dynamic, NULL, run_dynamic, NULL},
    {0}};
