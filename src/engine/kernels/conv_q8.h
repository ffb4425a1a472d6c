/* 8-bit convolution over NHWC: the choice of algorithm by shape, and its run.
 *
 * Steps: fill a LedgeConvShape, plan, allocate what the plan names, pack weights once and init
 * and scale as often as they change, run often. A run allocates nothing. A GEMM is a pointwise
 * convolution over rows × 1 pixels. Algorithms: pointwise (GEMM straight on the pixels),
 * indirect GEMM (pointers to pixels), runs (few channels: a filter row in one piece), depthwise,
 * Winograd. */
#ifndef LEDGE_KERNELS_CONV_Q8_H
#define LEDGE_KERNELS_CONV_Q8_H

#include "engine/kernels/conv_f32.h"
#include "engine/kernels/gemm_q8.h"

typedef struct LedgeConvQ8Plan {
    LedgeConvShape s;
    const LedgeQ8Kernels *k;
    /* Depthwise: the first `wide` channels go by whole blocks of k, what is left by one block of
     * `tail` from tail_first on, which overlaps them where there are enough. */
    const LedgeQ8Kernels *tail;
    size_t wide, tail_first;
    /* Depthwise weights with zero points: w - b_zero takes nine bits, which three int8 sum up to;
     * each pixel is multiplied by all three. Else 1. */
    uint32_t parts;
    LedgeConvPath path; /* POINTWISE, INDIRECT, RUNS, DEPTHWISE or WINOGRAD */
    LedgeQ8Panels p;    /* of one group; packed weights depend on p.most too */
    const LedgeF32Kernels *act_kernels;
    uint32_t mr;
    size_t line; /* output pixels of a row, where tiles keep to one; else 0 */
    /* Winograd: blocks of tiles, tiles of one, items that share its panels */
    size_t blocks, tiles, shares;
    int threads;
    size_t packed_bytes;  /* weights */
    size_t columns;       /* int32 or floats of packed init, b_zero, scale and fbias each */
    size_t border_bytes;  /* bytes of value x_zero that padding points to, and the room of fours */
    size_t thread_bytes;  /* scratch of one thread … */
    size_t scratch_bytes; /* … and of all */
} LedgeConvQ8Plan;

/* `force` is a path, or LEDGE_CONV_PATHS to choose; a path that cannot serve the shape is
 * passed over. Only `force` gives Winograd, since that takes weights that
 * ledge__conv_q8_wino_exact has seen and that have no zero points. `b_zero`: weights have zero
 * points other than 0; DEPTHWISE takes them only where it is forced, with weights packed by
 * ledge__conv_q8_pack_zeros. false: sizes overflow. */
bool ledge__conv_q8_plan(const LedgeConvShape *s, uint32_t cpu, int threads, LedgeConvPath force,
                         bool b_zero, LedgeConvQ8Plan *plan);

/* Whether Winograd is exact for these weights of m filters, `each` bytes each: what a filter can
 * sum up to leaves it the bits it needs. Where it is faster is said by ledge__conv_q8_wino_pays. */
bool ledge__conv_q8_wino_exact(const int8_t *w, size_t m, size_t each);
bool ledge__conv_q8_wino_pays(const LedgeConvShape *s, uint32_t cpu);

/* Weights in ONNX's order [m, c / group, kh, kw]. */
void ledge__conv_q8_pack(const LedgeConvQ8Plan *plan, const int8_t *w, int8_t *packed);
/* The same for a depthwise plan with b_zero (of 1 or m), which a run is then not given. */
void ledge__conv_q8_pack_zeros(const LedgeConvQ8Plan *plan, const int8_t *w, const int32_t *b_zero,
                               size_t count, int8_t *packed);
/* The same for a GEMM plan: B[k][n] = w[n * sn + k * sk], each byte XORed with `flip`. */
void ledge__conv_q8_pack_matrix(const LedgeConvQ8Plan *plan, const void *w, size_t sn, size_t sk,
                                uint8_t flip, int8_t *packed);
/* sums[m], the sum of each output channel's weights, in the order above; then for a GEMM. */
void ledge__conv_q8_sums(const LedgeConvQ8Plan *plan, const int8_t *w, int32_t *sums);
void ledge__conv_q8_sums_matrix(const LedgeConvQ8Plan *plan, const void *w, size_t sn, size_t sk,
                                uint8_t flip, int32_t *sums);
/* init[m] = bias[m] - x_zero * (sum of w[m] - b_zero[m]), in the kernels' order. `bias` and
 * `b_zero` may be NULL; `b_zero_count` is 1 or m. Cheap: dynamic quantisation does it at each
 * run, as the two below. */
void ledge__conv_q8_pack_init(const LedgeConvQ8Plan *plan, const int32_t *bias,
                              const int32_t *sums, int32_t x_zero, const int32_t *b_zero,
                              size_t b_zero_count, int32_t *packed);
/* b_zero, of 1 or m, in the kernels' order. */
void ledge__conv_q8_pack_ints(const LedgeConvQ8Plan *plan, const int32_t *v, size_t count,
                              int32_t *packed);
/* v[i] * factor for scale and fbias (`count` 1 or m) in the kernels' order. */
void ledge__conv_q8_pack_floats(const LedgeConvQ8Plan *plan, const float *v, size_t count,
                                float factor, float *packed);

typedef struct LedgeConvQ8Args {
    const uint8_t *x;
    size_t ring; /* depthwise: X holds so many rows, row y at y % ring; 0: the whole images */
    const int8_t *packed;
    const int32_t *init, *b_zero; /* b_zero NULL: weights have none */
    const float *scale, *fbias;   /* fbias: LEDGE_Q8_FLOAT only, NULL: none */
    const uint8_t *border;        /* border_bytes of value x_zero */
    const void *r;                /* NULL: none; uint8_t, or float with LEDGE_Q8_FLOAT */
    size_t ldr;
    void *y;
    LedgeQ8Out out;
    LedgeAct act; /* LEDGE_Q8_FLOAT: kinds beyond a clamp; the clamp is out.lo and out.hi */
    void *scratch;
} LedgeConvQ8Args;

void ledge__conv_q8_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *a, LedgePool *pool);

/* Parts of the above in files of their own. */
bool ledge__conv_q8_wino_serves(const LedgeConvShape *s, const LedgeQ8Kernels *k);
bool ledge__conv_q8_wino_plan(LedgeConvQ8Plan *plan);
void ledge__conv_q8_wino_pack(const LedgeConvQ8Plan *plan, const int8_t *w, int8_t *packed);
void ledge__conv_q8_wino_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *a,
                             LedgePool *pool);
bool ledge__conv_q8_dw_plan(LedgeConvQ8Plan *plan);
void ledge__conv_q8_dw_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *a, LedgePool *pool);
/* The channel that stands at `place` among packed init and scale; s.c or more: none. */
size_t ledge__conv_q8_dw_channel(const LedgeConvQ8Plan *plan, size_t place);
/* A set with narrower vectors for the CPU of `best`, or `best`. */
const LedgeQ8Kernels *ledge__q8_narrower(const LedgeQ8Kernels *best);

#endif
