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
/* The same, int8 constants included, which are copied as uint8. *no_memory is set when that fails.
 */
bool ledge__q8_operand(LedgeGraph *g, const LedgeValue *v, LedgeQ8 *q, bool *no_memory);
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

/* ---- ConvTranspose as a convolution whose outputs are blocks of pixels: opt_q8_up.c ---- */

/* Pairs are of rows and columns; 1-D has one row. */
typedef struct LedgeQ8Up {
    int64_t group, own; /* `own`: output channels of a group */
    int64_t kernel[2];  /* of the ConvTranspose */
    int64_t block[2];   /* its strides: pixels of a block */
    int64_t taps[2], dilations[2], pads[4], out[2]; /* of the convolution, which has stride 1 */
    int64_t crop[4]; /* pixels too many in what it makes: above, left, below, right */
    bool depthwise;  /* one channel a group; `group` and `own` then say one group of all */
} LedgeQ8Up;

/* Of a ConvTranspose of known sizes; false where it cannot be done so: output_shape, auto_pad,
 * dilations with strides, pads beyond the filter. */
bool ledge__q8_up(const LedgeNode *n, LedgeQ8Up *u);
/* Scales and zero points along axis 1, which all groups share, one for each output channel. */
bool ledge__q8_up_groups(LedgeGraph *g, const LedgeQ8Up *u, LedgeQ8Weights *w);
/* Weights, scale and bias become those of the convolution. */
bool ledge__q8_up_constants(LedgeGraph *g, const LedgeQ8Up *u, LedgeQ8Weights *w,
                            LedgeValue **scale, LedgeValue **bias);
/* The convolution's attributes, its input and the ConvTranspose's output from its own, NHWC. */
bool ledge__q8_up_attrs(LedgeGraph *g, const LedgeQ8Up *u, LedgeNode *conv);
LedgeValue *ledge__q8_up_input(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *x, LedgeNode *before);
LedgeValue *ledge__q8_up_spread(LedgeGraph *g, const LedgeQ8Up *u, LedgeValue *y,
                                LedgeNode *before);

/* ---- Conv over three dimensions as one over two: opt_q8_volume.c ---- */

typedef struct LedgeQ8Volume {
    int64_t taps, step, dilation, before, behind;         /* of the depth */
    int64_t kernel[2], strides[2], dilations[2], pads[4]; /* of the convolution over two */
    int64_t out[3];
} LedgeQ8Volume;

/* Of a Conv of rank 5 with known sizes and one group; false where it cannot be done so. */
bool ledge__q8_volume(const LedgeNode *n, LedgeQ8Volume *u);
/* (NULL or false: no memory) */
LedgeValue *ledge__q8_volume_weights(LedgeGraph *g, const LedgeValue *w);
bool ledge__q8_volume_attrs(LedgeGraph *g, const LedgeQ8Volume *u, LedgeNode *conv);
/* NHWC input of the convolution from the NCDHW one, bytes whose zero point is `zero`; and back. */
LedgeValue *ledge__q8_volume_input(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *x,
                                   int32_t zero, LedgeNode *before);
LedgeNode *ledge__q8_volume_output(LedgeGraph *g, const LedgeQ8Volume *u, LedgeValue *y,
                                   LedgeNode *before);

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
