/* The 8-bit micro-kernels behind quantised convolution and GEMM: what they take, and the sets
 * that they are chosen from.
 *
 * Activations are uint8 with a zero point, weights int8. A sum is an int32 modulo 2^32:
 * acc[m] = init[m] + sum x * w. What becomes of it (requantised bytes, bytes after a residual
 * sum, floats) is described by LedgeQ8Out; every set gives the same bits. q8.def lists each
 * set once. CPU flags are an argument, so that a test can hold two sets at once. */
#ifndef LEDGE_KERNELS_Q8_H
#define LEDGE_KERNELS_Q8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum LedgeQ8Kind {
    LEDGE_Q8_BYTES, /* q = clamp(rne((float)acc * scale[m]) + y_zero, y_lo, y_hi) */
    LEDGE_Q8_SUM,   /* clamp(rne((float)(q - y_zero) * y_scale + (float)(r - r_zero) * r_scale)
                       + z_zero, z_lo, z_hi): q as above, r the residual's byte */
    LEDGE_Q8_FLOAT  /* (float)acc * scale[m] (+ fbias[m]) (+ float residual), from lo to hi */
} LedgeQ8Kind;

/* Single precision, each operation rounded on its own. Zero points and bounds are 0 … 255. */
typedef struct LedgeQ8Out {
    LedgeQ8Kind kind;
    int32_t y_zero, y_lo, y_hi;
    float y_scale, r_scale;
    int32_t r_zero, z_zero, z_lo, z_hi;
    float lo, hi;
    bool tame; /* every scale is so small that no float exceeds an int32; drivers set it */
} LedgeQ8Out;

/* A filter tap of a tile that leaves out what reads nothing but padding of zeros. */
typedef struct LedgeQ8Tap {
    uint32_t at; /* its place among the packed taps */
    enum { LEDGE_Q8_ALL, LEDGE_Q8_NOT_FIRST, LEDGE_Q8_NOT_LAST } rows; /* that count */
} LedgeQ8Tap;

/* One tile of mr rows by n columns, or `repeat` of them one below the other.
 *
 * `a` holds taps × mr row pointers, tap by tap; each row has kc readable bytes. `b` is a packed
 * panel: for each tap, for each `step` bytes of k (the last padded with zeros), nv vectors of
 * columns, one column's bytes after the other's. With `live`, which of b's taps these are; rows
 * that do not count are zeros for x, so that kernels may sum them all the same. */
typedef struct LedgeQ8Tile {
    const uint8_t *const *a;
    size_t taps, kc;
    const LedgeQ8Tap *live; /* of each tap; NULL: all of b's, in order */
    const int8_t *b;
    size_t ahead;           /* B is fetched into cache this many bytes ahead; 0: it is there */
    const int32_t *init;    /* nv vectors */
    const float *scale;     /* nv vectors */
    const float *fbias;     /* nv vectors, LEDGE_Q8_FLOAT only; NULL: none */
    const int32_t *b_zero;  /* nv vectors: zero points of the columns of B; NULL: all zero */
    const int32_t *row_sum; /* with b_zero: sums of the rows of A */
    void *c;                /* uint8_t, or float with LEDGE_Q8_FLOAT */
    size_t ldc;             /* elements from row to row of C */
    const void *r;          /* residual like C; NULL: none */
    size_t ldr;
    const LedgeQ8Out *out;
    uint32_t mr, nv, n; /* rows, vectors and columns (n ≤ nv × lanes) of this tile */
    size_t repeat;      /* at least 1; more only without b_zero */
    size_t a_step;      /* what all row pointers advance by from one to the next */
} LedgeQ8Tile;

/* A run of `ow` neighbouring outputs of a depthwise convolution, over `c` channels.
 *
 * rows[i][o * step + j * dil] is the pixel that filter tap (i, j) of output o reads. Weights,
 * init, scale and fbias come in blocks of 4 × lanes channels in the set's own order (see
 * ledge__q8_dw_channel): of weights kw columns of ceil(kh / 4) times four vectors. */
typedef struct LedgeQ8DwTile {
    const uint8_t *const *const *rows;
    uint32_t kh, kw, step, dil;
    const int8_t *w;
    const int32_t *init;
    const float *scale, *fbias;
    void *y;
    size_t ldy; /* elements from output to output */
    const void *r;
    size_t ldr;
    size_t ow, first, c; /* channels first … c - 1; w, init, scale and fbias begin at `first` */
    const LedgeQ8Out *out;
} LedgeQ8DwTile;

/* Winograd's F(4×4, 3×3) in integers: the transform of 36 pixels of c bytes to int16. */
typedef struct LedgeQ8WinoIn {
    const void *const *px; /* row by row */
    size_t c;
    int16_t *v; /* position q at v + q * ldv: c rounded up to 2 × lanes, zeros beyond c */
    size_t ldv;
} LedgeQ8WinoIn;

#define LEDGE_Q8_WINO_ROWS 4 /* tiles that a product takes at once */

/* The product at one position: C[rows][nv vectors] = A × B modulo 2^32. B holds, for every two of
 * k, nv vectors of columns, one column's two int16 after the other's. */
typedef struct LedgeQ8WinoMul {
    const int16_t *a;
    size_t lda, rows, pairs;
    const int16_t *b;
    size_t ahead; /* bytes that B is fetched ahead */
    uint32_t nv;
    int32_t *c;
    size_t ldc;
} LedgeQ8WinoMul;

/* From the products of a tile to its h × w outputs of t.n channels: t's c, r, init, scale and
 * fbias are those of its first pixel and channel; mr, nv and whatever tells of A and B are unused.
 * Products of position q are at m + q * ldm. */
typedef struct LedgeQ8WinoOut {
    const int32_t *m;
    size_t ldm;
    uint32_t h, w;       /* 1 to 4 */
    size_t c_row, r_row; /* elements from one row of the image to the next, of C and R */
    LedgeQ8Tile t;
} LedgeQ8WinoOut;

typedef struct LedgeQ8Wino {
    uint32_t nv; /* most vectors of a product; 0: the set has no Winograd */
    void (*in)(const LedgeQ8WinoIn *t);
    void (*mul)(const LedgeQ8WinoMul *t);
    void (*out)(const LedgeQ8WinoOut *t);
} LedgeQ8Wino;

typedef struct LedgeQ8Kernels {
    const char *isa;
    uint32_t cpu;   /* flags that it needs */
    uint32_t lanes; /* int32 in a vector; panels are padded to whole vectors */
    uint32_t nv;    /* most vectors of a GEMM tile */
    uint32_t mr[4]; /* most rows of a GEMM tile of 1 … nv vectors */
    uint32_t step;  /* bytes of k that stand together in a packed column: 4 or 8 */
    uint32_t flip;  /* 128 where x - 128 is what it multiplies: `init` then has 128 * sum w more */
    void (*gemm)(const LedgeQ8Tile *t);
    void (*dw)(const LedgeQ8DwTile *t);
    LedgeQ8Wino wino;
} LedgeQ8Kernels;

#define LEDGE_Q8_MR_MAX 8 /* no set has more rows in a tile */

/* The best set for these CPU flags; never NULL. */
const LedgeQ8Kernels *ledge__q8_kernels(uint32_t cpu);
/* The i-th set of this build, best first, or NULL past the end. */
const LedgeQ8Kernels *ledge__q8_kernels_at(size_t i);

/* The channel, within its block of 4 × lanes, that lane `l` of vector `v` holds: what is left
 * when the bytes of 16 channels are interleaved in 128-bit pieces. */
static inline uint32_t ledge__q8_dw_channel(uint32_t v, uint32_t l)
{
    return 16 * (l / 4) + 4 * v + l % 4;
}

#endif
