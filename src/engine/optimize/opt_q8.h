/* What the passes for quantized graphs (opt_q8_*.c) share: how bytes stand for real numbers, and
 * the constants of the 8-bit operators.
 *
 * Inside, every 8-bit activation is uint8 with one float32 scale and one zero point. A value is
 * "read" as bytes where a DequantizeLinear makes it, and "written" as bytes where a
 * QuantizeLinear reads it; anything else about a DequantizeLinear or QuantizeLinear (per-axis or
 * computed scales, other types, scales that are no positive normal numbers) keeps it in float. */
#ifndef LEDGE_ENGINE_OPTIMIZE_Q8_H
#define LEDGE_ENGINE_OPTIMIZE_Q8_H

#include "engine/optimize/pass.h"

/* real = (byte - zero) * scale */
typedef struct LedgeQ8 {
    LedgeValue *v; /* the bytes */
    float scale;
    int32_t zero;
} LedgeQ8;

/* Scale and zero point of a QuantizeLinear or DequantizeLinear with one for the whole tensor,
 * constant and sound, for `type` (LEDGE_UINT8 or LEDGE_INT8). */
bool ledge__q8_params(const LedgeNode *n, LedgeType type, LedgeQ8 *q);
/* The uint8 tensor that float `v` is read from. */
bool ledge__q8_read(const LedgeValue *v, LedgeQ8 *q);
/* The uint8 tensor that QuantizeLinear `n` makes of its float input. */
bool ledge__q8_write(const LedgeNode *n, LedgeQ8 *q);
static inline bool ledge__q8_equal(const LedgeQ8 *a, const LedgeQ8 *b)
{
    return a->scale == b->scale && a->zero == b->zero;
}
/* Scale that the kernels take: finite, positive and not subnormal. */
bool ledge__q8_scale_is_sound(float scale);

/* A QuantizeLinear to uint8 with Relu, Clip, Min and Max by constants before it. Rounding is
 * monotone, so that clamping real numbers is clamping bytes: they become `lo` and `hi`. */
typedef struct LedgeQ8Tail {
    LedgeNode *quantize;
    LedgeQ8 y;
    LedgeValue *x; /* what is clamped and written: read by nothing else when it is not the
                      QuantizeLinear's own input */
    int32_t lo, hi;
} LedgeQ8Tail;
bool ledge__q8_tail(LedgeNode *quantize, LedgeQ8Tail *t);

/* ---- constants (*ok false: left as it is; a status other than OK: no memory) ---- */

typedef struct LedgeQ8Weights {
    LedgeValue *w; /* int8, of the shape it had */
    LedgeNode *dq; /* the DequantizeLinear it was read by */
    int64_t n;     /* scales: 1 or the channels */
    const float *scale;
    const int64_t *zero; /* as many zero points; NULL: they are all 0 */
} LedgeQ8Weights;

/* DequantizeLinear of a constant as int8 weights with a scale for each of `channels` along
 * `axis`, or one. Zero points are taken off where the result fits. */
LedgeStatus ledge__q8_weights(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *v, int32_t axis,
                              int64_t channels, LedgeQ8Weights *w, bool *ok);
/* `factor` / y_scale times the scales of the weights, [n]. y_scale 1: results stay real. */
LedgeStatus ledge__q8_scales(LedgeGraph *g, LedgeOptCtx *c, const LedgeQ8Weights *w, float factor,
                             float y_scale, LedgeValue **out, bool *ok);
/* A bias (float constant, DequantizeLinear of a constant, or NULL) times beta as int32 in units
 * of `factor` times the scales of the weights; *out NULL where there is none. */
LedgeStatus ledge__q8_bias(LedgeGraph *g, LedgeOptCtx *c, const LedgeValue *v, double beta,
                           const LedgeQ8Weights *w, float factor, int64_t channels,
                           LedgeValue **out, bool *ok);

/* ---- making (NULL: no memory) ---- */

/* The constants that Quantize- and DequantizeLinear take. */
LedgeValue *ledge__q8_scale_value(LedgeGraph *g, float scale);
LedgeValue *ledge__q8_zero_value(LedgeGraph *g, LedgeType type, int32_t zero);
/* QuantizeLinear or DequantizeLinear of `x` before `before`, its result of x's shape. */
LedgeNode *ledge__q8_linear(LedgeGraph *g, const char *op_type, LedgeValue *x, LedgeType type,
                            const LedgeQ8 *q, LedgeNode *before);
/* ledge.QMap of `x` through 256 bytes, which are copied. */
LedgeNode *ledge__q8_map(LedgeGraph *g, LedgeValue *x, const uint8_t *table, LedgeType to,
                         LedgeNode *before);
/* The bytes' table of a ledge.QMap. */
const uint8_t *ledge__q8_table(const LedgeNode *map);
/* Sets y_zero, y_lo and y_hi, the last two only where they say something. */
bool ledge__q8_set_output(LedgeGraph *g, LedgeNode *n, const LedgeQ8Tail *t);

/* Output `i` of `n` becomes a new uint8 value of the same shape, which is returned; the old one
 * is left without a producer. */
LedgeValue *ledge__q8_byte_output(LedgeGraph *g, LedgeNode *n, uint32_t i);
/* A Pad that fills with a constant fills with `byte`; any other node stays. */
bool ledge__q8_fill_pad(LedgeGraph *g, LedgeNode *n, int32_t byte);

/* Output 0 is made of input 0's elements alone, each as it was; the other inputs are no data.
 * MaxPool, Resize by nearest and Pad by zeros count. */
bool ledge__q8_moves(const LedgeNode *n);

#endif
