/* Plain kernels behind the neural-network operators: what runs when no fast kernel fits, and
 * what fast ones are compared with.
 *
 * Each exists for float and double from one body (nn_*_body.h), named by NN_F32 / NN_F64
 * suffixes; parameters hold untyped pointers so that one struct serves both. Work is cut into
 * pool items whose arithmetic does not depend on the number of threads. */
#ifndef LEDGE_KERNELS_NN_REF_H
#define LEDGE_KERNELS_NN_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "ledge/tensor.h"

#define NN_MAX_SPATIAL (LEDGE_MAX_RANK - 2)

/* Calls the kernel of the working type, LEDGE_FLOAT or LEDGE_DOUBLE. */
#define NN_CALL(type, name, ...)                                                          \
    ((type) == LEDGE_DOUBLE ? ledge__##name##_f64_ref(__VA_ARGS__)                        \
                            : ledge__##name##_f32_ref(__VA_ARGS__))
#define NN_DECLARE(name, ...)                                                             \
    void ledge__##name##_f32_ref(__VA_ARGS__);                                            \
    void ledge__##name##_f64_ref(__VA_ARGS__);

/* ---- activations ---- */

typedef enum NnActKind {
    NN_ACT_NONE,
    NN_ACT_RELU,
    NN_ACT_TANH,
    NN_ACT_SIGMOID,
    NN_ACT_AFFINE,
    NN_ACT_LEAKY_RELU,
    NN_ACT_THRESHOLDED_RELU,
    NN_ACT_SCALED_TANH,
    NN_ACT_HARD_SIGMOID,
    NN_ACT_ELU,
    NN_ACT_SOFTSIGN,
    NN_ACT_SOFTPLUS,
    NN_ACT_CLIP,
    NN_ACT_HARD_SWISH
} NnActKind;

typedef struct NnActivation {
    NnActKind kind;
    float alpha, beta;
} NnActivation;
/* In place. */
NN_DECLARE(activate, const NnActivation *a, void *data, size_t n)

/* ---- matrix product ---- */

/* c = a b, or c += a b; strides in elements. c is dense along its rows. */
typedef struct LedgeMatmul {
    size_t m, n, k;
    const void *a, *b;
    void *c;
    size_t a_row, a_col, b_row, b_col, c_row;
    bool add;
} LedgeMatmul;

/* The same over a broadcast batch: `rank` outer dimensions, strides in elements (0 where an
 * operand is broadcast). c lies dense, batch after batch. */
typedef struct LedgeMatmulBatch {
    LedgeMatmul one;
    int rank;
    int64_t dims[LEDGE_MAX_RANK];
    size_t a_stride[LEDGE_MAX_RANK], b_stride[LEDGE_MAX_RANK];
} LedgeMatmulBatch;

NN_DECLARE(matmul, const LedgeMatmul *g)
NN_DECLARE(matmul_batch, const LedgeMatmulBatch *g, LedgePool *pool)
/* int32 and int64 wrap around, so signed and unsigned share one kernel. */
void ledge__matmul_batch_u32_ref(const LedgeMatmulBatch *g, LedgePool *pool);
void ledge__matmul_batch_u64_ref(const LedgeMatmulBatch *g, LedgePool *pool);
/* int16 operands (8-bit values less their zero point), 32-bit sums. */
void ledge__matmul_s16_ref(const LedgeMatmul *g);
void ledge__matmul_batch_s16_ref(const LedgeMatmulBatch *g, LedgePool *pool);

/* ---- sliding windows ---- */

typedef struct LedgeWindow {
    int nd;
    int64_t kernel[NN_MAX_SPATIAL], stride[NN_MAX_SPATIAL], dilation[NN_MAX_SPATIAL];
    int64_t pad[NN_MAX_SPATIAL], pad_end[NN_MAX_SPATIAL];
    int64_t in[NN_MAX_SPATIAL], out[NN_MAX_SPATIAL];
} LedgeWindow;

/* Convolution of NCHW-like tensors by columns and matrix product. */
typedef struct LedgeConvRef {
    LedgeWindow w;
    int64_t batch, groups, in_c, out_c; /* channels of one group */
    const void *x, *weights, *bias;     /* bias may be NULL */
    void *y;
    void *scratch; /* ledge__conv_ref_scratch elements */
    /* Float form: another matrix product for the tiles, run by `thread`; NULL: the plain one. */
    void (*product)(const LedgeMatmul *g, void *arg, int thread);
    void *product_arg;
    int32_t x_zero; /* integer form: zero point of x, also what padding holds */
    bool x_signed;
} LedgeConvRef;

/* Output positions of one tile. */
size_t ledge__conv_ref_tile(const LedgeConvRef *p);
/* Elements of scratch that a convolution wants (of its working type; int16 for integers). */
size_t ledge__conv_ref_scratch(const LedgeConvRef *p, int threads);
NN_DECLARE(conv, const LedgeConvRef *p, LedgePool *pool)
/* x is uint8 or int8, weights int16 (zero point already taken off), y int32; no bias. */
void ledge__conv_s16_ref(const LedgeConvRef *p, LedgePool *pool);

/* Transposed: w.in is x's size, w.out y's; groups' channels as above. */
size_t ledge__conv_transpose_ref_scratch(const LedgeConvRef *p, int threads);
NN_DECLARE(conv_transpose, const LedgeConvRef *p, LedgePool *pool)

/* Deformable, two spatial dimensions. */
typedef struct LedgeDeformRef {
    LedgeConvRef conv;
    const void *offset, *mask; /* mask may be NULL */
    int64_t offset_groups;
} LedgeDeformRef;
NN_DECLARE(deform_conv, const LedgeDeformRef *p, LedgePool *pool)

/* ---- pooling ---- */

typedef struct LedgePoolRef {
    LedgeWindow w;
    int64_t planes; /* batch times channels */
    const void *x;
    void *y;
    int64_t *indices; /* max: flat index over the whole of x, or NULL */
    bool column_major; /* of the indices */
    bool count_pads;   /* average */
    int64_t p;         /* Lp */
} LedgePoolRef;
NN_DECLARE(max_pool, const LedgePoolRef *p, LedgePool *pool)
NN_DECLARE(average_pool, const LedgePoolRef *p, LedgePool *pool)
NN_DECLARE(lp_pool, const LedgePoolRef *p, LedgePool *pool)
void ledge__max_pool_u8_ref(const LedgePoolRef *p, LedgePool *pool);
void ledge__max_pool_s8_ref(const LedgePoolRef *p, LedgePool *pool);

/* ---- normalisation ---- */

/* Rows of `size` elements at `inner` stride: element e of row (o, i) is at
 * (o*size + e)*inner + i. */
typedef struct LedgeRows {
    size_t outer, size, inner;
    const void *x;
    void *y; /* may be x */
} LedgeRows;
NN_DECLARE(softmax, const LedgeRows *r, LedgePool *pool)
NN_DECLARE(log_softmax, const LedgeRows *r, LedgePool *pool)
NN_DECLARE(hardmax, const LedgeRows *r, LedgePool *pool)
NN_DECLARE(lp_normalize, const LedgeRows *r, int p, LedgePool *pool)

/* Layer and RMS normalisation over dense rows. scale and bias broadcast over leading
 * dimensions: row r reads them at (r % *_rows) * size. */
typedef struct LedgeLayerNorm {
    size_t rows, size;
    const void *x, *skip, *skip_bias; /* x + skip + skip_bias is normalised; both may be NULL */
    size_t skip_rows;                 /* rows of skip before it repeats */
    const void *scale, *bias;         /* may be NULL */
    size_t scale_rows, bias_rows;
    bool scale_each, bias_each; /* false: one number a row instead of `size` */
    void *y, *sum;              /* sum: x + skip + skip_bias, may be NULL */
    void *mean, *inv_std;       /* one number a row, may be NULL */
    double epsilon;
    bool rms; /* no mean is taken off */
} LedgeLayerNorm;
NN_DECLARE(layer_norm, const LedgeLayerNorm *p, LedgePool *pool)

/* Channels of N x C x S, `per` channels normalised together (instance: 1, group: C/groups). */
typedef struct LedgeGroupNorm {
    size_t batch, channels, per, spatial;
    const void *x, *scale, *bias; /* of channels, or of groups when by_group */
    bool by_group;
    void *y;
    double epsilon;
} LedgeGroupNorm;
NN_DECLARE(group_norm, const LedgeGroupNorm *p, LedgePool *pool)

/* y = (x - mean) * scale / sqrt(var + epsilon) + bias for each channel of N x C x S. */
typedef struct LedgeBatchNorm {
    size_t batch, channels, spatial;
    const void *x, *scale, *bias, *mean, *var;
    void *y;
    double epsilon;
} LedgeBatchNorm;
NN_DECLARE(batch_norm, const LedgeBatchNorm *p, LedgePool *pool)
/* Mean and population variance of each channel. */
NN_DECLARE(channel_moments, const LedgeBatchNorm *p, void *mean, void *var, LedgePool *pool)

typedef struct LedgeLrn {
    size_t batch, channels, spatial, size;
    const void *x;
    void *y;
    double alpha, beta, bias;
} LedgeLrn;
NN_DECLARE(lrn, const LedgeLrn *p, LedgePool *pool)

/* ---- recurrent ---- */

/* One direction of an RNN (1 gate), GRU (3: z r h) or LSTM (4: i o f c). x's strides in
 * rows of `in`, others in elements. */
typedef struct LedgeRnnRef {
    size_t gates, seq, batch, in, hidden;
    const void *x, *w, *r, *b; /* b: gates W then gates R biases, or NULL */
    const void *h0, *c0, *peephole; /* may be NULL */
    const int32_t *lens;            /* steps of each batch row, or NULL */
    void *y, *yh, *yc;              /* may be NULL */
    size_t x_time, x_batch, y_time, y_batch, state_batch;
    bool reverse, input_forget, linear_before_reset;
    double clip; /* 0: none */
    NnActivation act[3];
    void *scratch; /* ledge__rnn_ref_scratch elements */
} LedgeRnnRef;
size_t ledge__rnn_ref_scratch(const LedgeRnnRef *p); /* SIZE_MAX: too many */
NN_DECLARE(rnn, const LedgeRnnRef *p, LedgePool *pool)

/* ---- attention ---- */

/* softmax(scale Q K' + bias) V for each batch and head; strides in elements. Keys are those of
 * past_k followed by k. */
typedef struct LedgeAttentionRef {
    size_t batch, heads, kv_heads, q_len, kv_len, past_len, size, v_size;
    const void *q, *k, *v, *past_k, *past_v;
    size_t q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row;
    size_t past_k_batch, past_v_batch; /* within: heads, then rows, dense */
    size_t y_batch, y_head, y_row;
    const void *bias;    /* added, or NULL */
    const uint8_t *mask; /* 0 masks, or NULL */
    size_t bias_batch, bias_head, bias_row, bias_len; /* from bias_len on: masked */
    const int64_t *valid; /* usable keys of each batch, or NULL */
    const int64_t *offset; /* position of query 0 of each batch, or NULL: past_len */
    bool causal;
    int64_t left, right; /* window, -1: open */
    double scale, softcap;
    void *y, *qk; /* qk: batch x heads x q_len x keys, may be NULL */
    int qk_mode;  /* 0: scaled product, 1: after softcap, 2: with bias, 3: softmax */
    void *scratch;
} LedgeAttentionRef;
size_t ledge__attention_ref_scratch(const LedgeAttentionRef *p, int threads);
NN_DECLARE(attention, const LedgeAttentionRef *p, LedgePool *pool)

/* ---- Fourier ---- */

/* A complex transform of length n; power of two directly, others by Bluestein's chirp. */
typedef struct LedgeFft {
    size_t n, m;                      /* m: power of two that is worked in */
    double *twiddle, *chirp, *kernel; /* re, im pairs */
} LedgeFft;
/* Doubles of memory for the tables, and for work of one transform; 0 when n is 0 or too
 * large. */
size_t ledge__fft_tables(size_t n);
size_t ledge__fft_work(size_t n);
void ledge__fft_init(LedgeFft *f, size_t n, double *tables);
/* In place over n pairs; inverse does not divide by n. */
void ledge__fft_run(const LedgeFft *f, double *pairs, bool inverse, double *work);

#endif
