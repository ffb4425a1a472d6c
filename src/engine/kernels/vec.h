/* Float32 kernels over plain arrays: maps, binary maps, rows (softmax, norms, reductions),
 * pooling and resize over NHWC pixels, transposition, conversions.
 *
 * LedgeVec is one instruction set's table of the bare kernels (vec.def lists them); the
 * ledge__vec_… functions below it choose the table by CPU flags and share the work among the
 * threads of a pool. An element's value depends on neither alignment, position, tail nor
 * thread count. Outputs may be the input itself (same pointer) in maps, softmax and norm;
 * other overlap is not allowed. Infinities and NaN behave as in C's math library. */
#ifndef LEDGE_KERNELS_VEC_H
#define LEDGE_KERNELS_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "engine/kernels/kernels.h"

typedef enum LedgeMap {
#define VEC_UNARY(NAME, name, ulp) LEDGE_U_##NAME,
#include "engine/kernels/vec.def"
    LEDGE_U_COUNT
} LedgeMap;

typedef enum LedgePairMap {
    LEDGE_B_ADD,
    LEDGE_B_SUB,
    LEDGE_B_MUL,
    LEDGE_B_DIV,
    LEDGE_B_MIN, /* NaN if either operand is */
    LEDGE_B_MAX,
    LEDGE_B_COUNT
} LedgePairMap;

/* Which operands are arrays; a scalar one is read from its first element. */
typedef enum LedgeForm { LEDGE_VV, LEDGE_VS, LEDGE_SV } LedgeForm;

typedef enum LedgeFold {
    LEDGE_R_SUM,
    LEDGE_R_MEAN,
    LEDGE_R_MAX, /* NaN if any element is */
    LEDGE_R_MIN,
    LEDGE_R_SUM_SQUARE,
    LEDGE_R_L1,
    LEDGE_R_COUNT
} LedgeFold;

/* A row of LayerNorm (or RMSNorm); more rows follow it: t = x + skip + bias, kept in `sum` if that is wanted;
 * y = (t - mean) / sqrt(variance + eps) * gamma + beta. All pointers but x, gamma and y may
 * be NULL. y may be x or skip. */
typedef struct LedgeNorm {
    const float *x, *skip, *bias, *gamma, *beta;
    float *sum, *y;
    size_t n;
    float eps;
    bool rms;              /* no mean: y = t / sqrt(mean square + eps) * gamma + beta */
    float *mean, *inv_std; /* where to leave these two, or NULL */
} LedgeNorm;

/* One step of an LSTM for `n` hidden units, default activations. gates: pre-activations in
 * ONNX's order i, o, f, c, each n long. peephole: Pi, Po, Pf (3n) or NULL. */
typedef struct LedgeLstmGates {
    const float *gates, *peephole;
    float *cell;   /* n, updated */
    float *hidden; /* n, written */
    size_t n;
    float clip; /* clamps pre-activations to ±clip; 0: off */
    bool input_forget;
} LedgeLstmGates;

/* One step of a GRU: x and h are the input's and the recurrent part's pre-activations with
 * their biases in ONNX's order z, r, h, each n long. linear_before_reset form only. */
typedef struct LedgeGruGates {
    const float *x, *h;
    float *hidden; /* n, updated */
    size_t n;
    float clip;
} LedgeGruGates;

/* ---- 8-bit numbers; bytes.h says what the kernels do ---- */

typedef struct LedgeByteScale {
    float scale;
    int32_t zero; /* 0 … 255 */
    uint8_t flip; /* 0: uint8, 0x80: int8 */
} LedgeByteScale;

typedef struct LedgeByteMix {
    LedgeByteScale a, b; /* of a product a.scale is the whole factor */
    int32_t y_zero;
    uint8_t y_flip, lo, hi; /* lo and hi before the flip */
} LedgeByteMix;

typedef struct LedgeByteMean {
    int32_t x_zero, y_zero;
    float scale;
    uint8_t lo, hi;
} LedgeByteMean;

/* The bytes that one output pixel of a pool sees, for its first channel. */
typedef struct LedgeByteTaps {
    const uint8_t *x;
    size_t rows, row_step, cols, col_step;
} LedgeByteTaps;

typedef struct LedgeVec {
    const char *isa;
    uint32_t needs; /* CPU flags */
    uint32_t lanes;
#define VEC_FN(result, name, args) result(*name) args;
#include "engine/kernels/vec.def"
} LedgeVec;

/* The best table for the flags; never NULL. */
const LedgeVec *ledge__vec(uint32_t cpu);
/* The i-th table of this build, NULL past the end; for tests and benchmarks. */
const LedgeVec *ledge__vec_at(size_t i);
const char *ledge__unary_name(LedgeMap kind);
/* The map that is the activation, and its parameters. */
LedgeMap ledge__act_map(const LedgeAct *act, float *a, float *b);

/* How to run: the pool (NULL: here) and the CPU flags. */
typedef struct LedgeRunner {
    LedgePool *pool;
    uint32_t cpu;
} LedgeRunner;

/* y[i] = f(x[i]); a and b as vec.def says for the kind. */
void ledge__vec_unary(LedgeRunner r, LedgeMap kind, const float *x, float *y, size_t n, float a,
                      float b);
/* y[i] = act(a[i] op b[i]). */
void ledge__vec_binary(LedgeRunner r, LedgePairMap op, LedgeForm form, const float *a,
                       const float *b, float *y, size_t n, LedgeAct act);
/* Broadcasting over one inner and one outer axis: y[o][i] = act(a op b) with a and b read at
 * o * stride_o + i * stride_i; the strides of i are 0 or 1. Covers per-channel, per-row and
 * per-position operands without expanding them. */
void ledge__vec_binary_2d(LedgeRunner r, LedgePairMap op, const float *a, size_t a_outer,
                          size_t a_inner, const float *b, size_t b_outer, size_t b_inner, float *y,
                          size_t outer, size_t inner, LedgeAct act);
/* y[row][c] = act(x[row][c] * a[c] + b[c]); b may be NULL. */
void ledge__vec_affine(LedgeRunner r, const float *x, const float *a, const float *b, float *y,
                       size_t rows, size_t channels, LedgeAct act);

/* Softmax (or its logarithm) of `outer` blocks over the middle axis of [outer][n][inner]. */
void ledge__vec_softmax(LedgeRunner r, const float *x, float *y, size_t outer, size_t n,
                        size_t inner, bool log);
/* LedgeNorm over `rows` rows one after the other; x, skip, sum, y of *p are those of row 0,
 * mean and inv_std get one number a row. */
void ledge__vec_norm(LedgeRunner r, const LedgeNorm *p, size_t rows);
/* y[outer][inner] = reduction over the middle axis of x [outer][n][inner]; n ≥ 1. */
void ledge__vec_reduce(LedgeRunner r, LedgeFold kind, const float *x, float *y, size_t outer,
                       size_t n, size_t inner);

/* y[batch][cols][rows] = x[batch][rows][cols] for elements of 1, 2, 4 or 8 bytes. */
void ledge__vec_transpose(LedgeRunner r, const void *x, void *y, size_t batch, size_t rows,
                          size_t cols, size_t element_bytes);

void ledge__vec_from_f16(LedgeRunner r, const uint16_t *x, float *y, size_t n);
void ledge__vec_to_f16(LedgeRunner r, const float *x, uint16_t *y, size_t n); /* nearest even */
/* y[i][c] = x[i][c] * a[c] + b[c] for interleaved bytes, as images are; channels ≤ 4. */
void ledge__vec_u8_affine(LedgeRunner r, const uint8_t *x, const float *a, const float *b, float *y,
                          size_t pixels, size_t channels);

/* ---- windows over NHWC ---- */

/* A pooling window over [batch][h][w][channels]. Positions outside the image do not count,
 * unless count_pad (average), which then divides by the whole window inside the padded image. */
typedef struct LedgePoolWindow {
    size_t batch, h, w, channels;
    size_t out_h, out_w;
    size_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    size_t pad_top, pad_left, pad_bottom, pad_right;
    bool count_pad;
} LedgePoolWindow;

/* Bytes of scratch that the pooling functions need for `threads` threads. */
size_t ledge__vec_pool_scratch(const LedgePoolWindow *w, int threads);
void ledge__vec_max_pool(LedgeRunner r, const LedgePoolWindow *w, const float *x, float *y,
                         void *scratch);
void ledge__vec_average_pool(LedgeRunner r, const LedgePoolWindow *w, const float *x, float *y,
                             void *scratch);

/* Resampling along one axis: output i is the sum of taps weight[k] * x[at[k]], k in i*taps …
 * i*taps+taps-1. at == NULL: the axis stays as it is. */
typedef struct LedgeResample {
    size_t out, taps;
    const int64_t *at;
    const float *weight;
} LedgeResample;

/* Separable resize of [batch][h][w][channels]: at most LEDGE_RESIZE_TAPS taps an axis. */
enum { LEDGE_RESIZE_TAPS = 8 };
void ledge__vec_resize(LedgeRunner r, const float *x, float *y, size_t batch, size_t h, size_t w,
                       size_t channels, const LedgeResample *rows, const LedgeResample *cols);

#endif
