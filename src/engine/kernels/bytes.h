/* Kernels over 8-bit numbers: conversion from and to float, sums and products of quantised
 * arrays, table lookup, pooling over NHWC pixels.
 *
 * A byte b of a quantised array means (b - zero) * scale. Signed bytes are taken as unsigned ones
 * by `flip`: 0 for uint8, 0x80 for int8, whose zero point is then the signed one plus 128. All
 * results are the same bits in every instruction set: each float operation is rounded on its own,
 * halves go to even, nothing is fused. The bare kernels stand in vec.def; these functions share
 * the work among the threads of a pool in pieces that do not depend on their number. */
#ifndef LEDGE_KERNELS_BYTES_H
#define LEDGE_KERNELS_BYTES_H

#include "engine/kernels/vec.h"

/* y[i] = clamp(rne(x[i] / scale) + zero, 0, 255); NaN gives zero. */
void ledge__bytes_quantize(LedgeRunner r, const float *x, uint8_t *y, size_t n, LedgeByteScale s);
/* y[i] = (float)(x[i] - zero) * scale. */
void ledge__bytes_dequantize(LedgeRunner r, const uint8_t *x, float *y, size_t n, LedgeByteScale s);
/* The same between [batch][channels][pixels] floats and [batch][pixels][channels] bytes. */
void ledge__bytes_quantize_nhwc(LedgeRunner r, const float *x, uint8_t *y, size_t batch,
                                size_t channels, size_t pixels, LedgeByteScale s);
void ledge__bytes_dequantize_nchw(LedgeRunner r, const uint8_t *x, float *y, size_t batch,
                                  size_t channels, size_t pixels, LedgeByteScale s);

/* y[i] = table[x[i]]. y may be x. */
void ledge__bytes_map(LedgeRunner r, const uint8_t *x, uint8_t *y, size_t n, const uint8_t *table);

/* Interleaved bytes of 1 … 4 channels, as pictures are, each channel through its own table of 256
 * entries. `reversed`: result channel c is read from byte channels - 1 - c. The first gives
 * pixels again; the second floats, as pixels or as planes, one image of many. */
typedef struct LedgePixelTables {
    size_t channels;
    bool reversed;
    const void *entries; /* [channels][256], uint8_t or float, in the order of the result */
} LedgePixelTables;
void ledge__bytes_pixels(LedgeRunner r, const LedgePixelTables *t, const uint8_t *x, uint8_t *y,
                         size_t pixels);
void ledge__bytes_pixel_floats(LedgeRunner r, const LedgePixelTables *t, const uint8_t *x, float *y,
                               size_t images, size_t pixels, bool planes);

/* A broadcast pair of byte arrays: dims of the result, and the strides of a and b along each,
 * 0 where one is broadcast; along the last axis 0 or 1. */
typedef struct LedgeBytePair {
    int32_t rank;
    size_t dims[8], a_stride[8], b_stride[8];
} LedgeBytePair;

/* y = clamp(rne((a - a.zero) * a.scale + (b - b.zero) * b.scale) + y_zero, lo, hi). */
void ledge__bytes_add(LedgeRunner r, const LedgeBytePair *shape, const LedgeByteMix *m,
                      const uint8_t *a, const uint8_t *b, uint8_t *y);
/* y = clamp(rne(((a - a.zero) * (b - b.zero)) * a.scale) + y_zero, lo, hi). */
void ledge__bytes_mul(LedgeRunner r, const LedgeBytePair *shape, const LedgeByteMix *m,
                      const uint8_t *a, const uint8_t *b, uint8_t *y);

/* Over NHWC bytes; a window all in the padding gives 0 (max) or y_zero (average).
 * average: clamp(rne((sum - taps * x_zero) * (scale / count)) + y_zero, lo, hi), where count is
 * that of the taps, or of the window inside the padded image with count_pad. */
void ledge__bytes_max_pool(LedgeRunner r, const LedgePoolWindow *w, const uint8_t *x, uint8_t *y);
void ledge__bytes_average_pool(LedgeRunner r, const LedgePoolWindow *w, const LedgeByteMean *m,
                               const uint8_t *x, uint8_t *y);
/* Both over all of [batch][pixels][channels]; pixels below LEDGE_BYTE_SUM_MOST. */
void ledge__bytes_global_max(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                             const uint8_t *x, uint8_t *y);
void ledge__bytes_global_average(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                                 const LedgeByteMean *m, const uint8_t *x, uint8_t *y);
/* The average over each of `planes` runs of `pixels` bytes; flips as in LedgeByteScale. */
void ledge__bytes_plane_average(LedgeRunner r, size_t planes, size_t pixels, const LedgeByteMean *m,
                                uint8_t x_flip, uint8_t y_flip, const uint8_t *x, uint8_t *y);
enum { LEDGE_BYTE_SUM_MOST = 1 << 22 }; /* bytes whose sum, zero points off, fits an int32 */

/* The least and the largest of 0 and all x that are not NaN. */
void ledge__bytes_range(LedgeRunner r, const float *x, size_t n, float *low, float *high);

#endif
