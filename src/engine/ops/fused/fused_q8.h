/* What ledge's 8-bit convolution and product share: their attributes, the checks of scales and
 * zero points, and the packed form of weights, bias and scales. */
#ifndef LEDGE_OPS_FUSED_Q8_H
#define LEDGE_OPS_FUSED_Q8_H

#include "engine/graph/op.h"
#include "engine/kernels/conv_q8.h"

typedef struct LedgeFusedQ8 {
    const char *prefix; /* of attributes, where a node has several; NULL: none */
    LedgeConvQ8Plan plan;
    LedgeQ8Out out;
    LedgeAct act;
    int32_t x_zero;
    const int64_t *w_zero; /* w_zeros of them, 1 or m; NULL: all are 0 */
    size_t w_zeros;
    const int32_t *zeros;  /* the same for the kernels, made by ledge__fused_q8_prepare */
    bool matrix;   /* weights are B[k][n] = w[n * sn + k * sk] ^ flip, not a convolution's */
    size_t sn, sk;
    uint8_t flip;
    uint32_t in_w, in_bias, in_scale;
    bool fixed; /* all below was made when planning; else at each run, in scratch */
    const int8_t *packed;
    const int32_t *sums, *init, *b_zero;
    const float *scale;
    const uint8_t *border;
    size_t at; /* of scratch that is theirs */
} LedgeFusedQ8;

/* x_zero and w_zero under the names given, y_zero, y_lo, y_hi; with a residual y_scale, r_scale,
 * r_zero, z_zero, z_lo, z_hi; to_float and the activation behind it. */
LedgeStatus ledge__fused_q8_attrs(LedgeOpCtx *c, const char *x_zero, const char *w_zero,
                                  bool residual, LedgeFusedQ8 *f);
/* After the plan: checks bias and scale, packs what is constant, asks for scratch. `moving`: the
 * weights change within a run. */
LedgeStatus ledge__fused_q8_prepare(LedgeOpCtx *c, LedgeFusedQ8 *f, bool moving);
/* In run: everything but x, r, ldr and y. `w` are the weights where they are not fixed. */
LedgeStatus ledge__fused_q8_args(LedgeOpCtx *c, LedgeFusedQ8 *f, const void *w,
                                 LedgeConvQ8Args *a);

#endif
