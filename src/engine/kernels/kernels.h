/* The fp32 micro-kernels behind convolution and GEMM: what they take, and the sets that
 * they are chosen from.
 *
 * A micro-kernel computes one tile and knows neither threads nor graphs; the drivers beside
 * this file walk the tiles. kernels.def lists each set once. CPU flags are an argument, so
 * that a test can hold two sets at once. */
#ifndef LEDGE_KERNELS_KERNELS_H
#define LEDGE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One tile C[mr][n] = clamp(bias + sum over taps and k of A[row][k] * B[k][col] + R).
 *
 * `a` holds taps × mr row pointers, tap by tap; each row has kc readable floats; a tap whose
 * first pointer is NULL is skipped. `b` is a packed panel: taps × kc rows of `nv` vectors. The
 * sum is made in the order of taps and k, one multiply-add each, whatever the tile: answers do
 * not depend on tiling. */
typedef struct LedgeGemmTile {
    const float *const *a;
    size_t taps, kc;
    const float *b;
    size_t ahead; /* B is fetched into cache this many floats ahead; 0: it is there */
    const float *bias; /* nv vectors; NULL: go on from what C holds */
    float *c;
    size_t ldc;     /* floats from row to row of C */
    const float *r; /* residual, added last before the clamp; NULL: none */
    size_t ldr;
    float lo, hi;
    uint32_t mr, nv, n; /* rows, vectors and columns (n ≤ nv × lanes) of this tile */
    const uint32_t *at; /* strips: the rows of B that `b` holds, kc of them; one tap */
} LedgeGemmTile;

#define LEDGE_STRIP_COLUMNS 16

enum { LEDGE_STRASSEN_PAIRS = 4 }; /* most row pairs of a tile */

/* One tile C[rows][n] = clamp(scale × (A × B) + bias + R) by Strassen's algorithm, n more than one
 * vector. `s` holds the rows of A as `rows` of LedgeStrassen packs them; `b` is a packed panel of two
 * vectors, 2 × half rows deep; scale, bias: two vectors each, bias NULL: go on from what C holds. */
typedef struct LedgeStrassenTile {
    const float *s, *b;
    size_t half, ahead; /* B is fetched into cache this many floats ahead */
    const float *scale, *bias;
    float *c;
    size_t ldc;
    const float *r; /* NULL: none */
    size_t ldr;
    float lo, hi;
    uint32_t rows, n;
} LedgeStrassenTile;

/* What a set of kernels offers of it; NULL: nothing. */
typedef struct LedgeStrassen {
    /* Packs n ≤ 2 × LEDGE_STRASSEN_PAIRS rows of 2 × half floats into
     * ledge__strassen_floats. false: one is not finite, or nearly so; its sums with its
     * neighbours mean nothing then. */
    bool (*rows)(const float *const *rows, uint32_t n, size_t half, float *s);
    void (*tile)(const LedgeStrassenTile *t);
} LedgeStrassen;

/* A run of `ow` neighbouring outputs of a depthwise convolution, over `c` channels.
 *
 * rows[i][o * step + j * dil] is the pixel that filter tap (i, j) of output o reads: a
 * pointer to its channels, or to zeros where padding is. `w` holds the kh × kw taps
 * of one vector of channels after the other; `bias` is padded to whole vectors. */
typedef struct LedgeDwTile {
    const float *const *const *rows;
    uint32_t kh, kw, step, dil;
    const float *w, *bias;
    float *y;
    size_t ldy; /* floats from output to output */
    const float *r;
    size_t ldr;
    size_t ow, c;
    float lo, hi;
} LedgeDwTile;

enum { LEDGE_LINE_PX = 8 };

/* LEDGE_LINE_PX neighbouring outputs of a convolution of one input channel with stride 1 and at
 * most `lanes` filters: output o of row c + o * ldc sums x[i * ldx + o + j] * b[i * kw + j]. */
typedef struct LedgeLineTile {
    const float *x;
    size_t ldx;
    uint32_t kh, kw, n; /* n filters */
    const float *b;     /* kh × kw vectors */
    const float *bias;
    float *c;
    size_t ldc;
    float lo, hi;
} LedgeLineTile;

/* px neighbouring outputs of a convolution over planes: output o of row c + o * ldc sums
 * x[at[k] + o * step] * b[k] over the `depth` taps k of all planes. Reads as if px were what the
 * kernel gives back for NULL: the outputs that it computes at once. */
typedef struct LedgePlanesTile {
    const float *x;
    const uint32_t *at;
    size_t depth, step;
    const float *b;    /* depth rows of nv vectors */
    const float *bias; /* nv vectors */
    float *c;
    size_t ldc;
    const float *r; /* NULL: none */
    size_t ldr;
    float lo, hi;
    uint32_t px, nv, n; /* nv: 1 or 2; n columns */
} LedgePlanesTile;

/* Winograd F(4×4, 3×3), input side: 6×6 pixels (pointers, zeros where padding is) of c
 * channels to 36 positions; position p goes to v[p * ldv + channel]. */
typedef struct LedgeWinoIn {
    const void *const *px;
    float *v;
    size_t ldv, c;
} LedgeWinoIn;

/* Output side: 36 positions m[p * ldm + channel] to h × w (at most 4 × 4) outputs; output
 * (i, j) goes to y[i * ldy_row + j * ldy + channel]. `bias` has n readable floats. */
typedef struct LedgeWinoOut {
    const float *m;
    size_t ldm, n;
    const float *bias;
    float *y;
    size_t ldy_row, ldy;
    const float *r;
    size_t ldr_row, ldr;
    uint32_t h, w;
    float lo, hi;
} LedgeWinoOut;

/* Activations that a clamp cannot express, X(NAME, "attribute value"). */
#define LEDGE_ACT_LIST(X)                                                                 \
    X(LEAKYRELU, "leakyrelu")                                                             \
    X(ELU, "elu")                                                                         \
    X(SIGMOID, "sigmoid")                                                                 \
    X(SILU, "silu")                                                                       \
    X(TANH, "tanh")                                                                       \
    X(HARDSIGMOID, "hardsigmoid")                                                         \
    X(HARDSWISH, "hardswish")                                                             \
    X(GELU, "gelu")                                                                       \
    X(GELU_TANH, "gelu_tanh")

typedef enum LedgeActKind {
    LEDGE_ACT_CLAMP = 0, /* none, relu, clip: done by lo and hi alone */
#define LEDGE_ACT_ENUM(NAME, name) LEDGE_ACT_##NAME,
    LEDGE_ACT_LIST(LEDGE_ACT_ENUM)
#undef LEDGE_ACT_ENUM
} LedgeActKind;

typedef struct LedgeAct {
    LedgeActKind kind;
    float lo, hi;      /* -INFINITY and INFINITY when there is no bound */
    float alpha, beta; /* leakyrelu and elu: alpha; hardsigmoid: both */
} LedgeAct;

/* The product with a strip, see strips_f32.h; NULL: the set has none. */
typedef struct LedgeStrips {
    void (*tile)(const LedgeGemmTile *t);
} LedgeStrips;

typedef struct LedgeF32Kernels {
    const char *isa;
    uint32_t cpu;   /* flags that it needs */
    uint32_t lanes; /* floats in a vector; panels are padded to whole vectors */
    uint32_t nv;    /* most vectors of a GEMM tile */
    uint32_t mr[4]; /* most rows of a GEMM tile of 1 … nv vectors */
    void (*gemm)(const LedgeGemmTile *t);
    const LedgeStrips *strips;
    const LedgeStrassen *strassen;
    void (*dw)(const LedgeDwTile *t);
    void (*line)(const LedgeLineTile *t);
    uint32_t (*planes)(const LedgePlanesTile *t);
    void (*wino_in)(const LedgeWinoIn *t);
    void (*wino_out)(const LedgeWinoOut *t);
    /* y[i * c + k] = x[k * ld + i] for i < n: a few planes (c ≤ 4) to pixels. */
    void (*interleave)(const float *x, size_t ld, size_t c, size_t n, float *y);
} LedgeF32Kernels;

#define LEDGE_GEMM_MR_MAX 8 /* no set has more rows in a tile */

/* The best set for these CPU flags; never NULL. */
const LedgeF32Kernels *ledge__f32_kernels(uint32_t cpu);
/* The activation over rows × n floats in place, ld from row to row. */
void ledge__act_f32(const LedgeF32Kernels *k, float *y, size_t rows, size_t ld, size_t n,
                    const LedgeAct *act);
/* The i-th set of this build, best first, or NULL past the end. */
const LedgeF32Kernels *ledge__f32_kernels_at(size_t i);

#endif
