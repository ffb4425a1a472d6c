/* Products with constant weights of 2, 4 or 8 bits that share a scale, and perhaps a zero point,
 * in blocks along K: Y[m][n] = sum over k of A[m][k] (code[n][k] - zero[n][b]) scale[n][b], b the
 * block of k.
 *
 * The codes stay packed in memory. Three ways through: for a few rows of A the codes are widened
 * in registers and multiplied as floats; for many they are widened into panels in the cache for
 * the fp32 GEMM kernels; and where A may be rounded to int8, one scale a block, sums of bytes are
 * made, which are exact and so the same in every instruction set. */
#ifndef LEDGE_KERNELS_NBITS_H
#define LEDGE_KERNELS_NBITS_H

#include "base/pool.h"
#include "engine/kernels/kernels.h"
#include "engine/kernels/vec.h"

enum {
    LEDGE_NBITS_GROUP = 16, /* columns that lie together */
    LEDGE_NBITS_UNIT = 16,  /* blocks are multiples of so many elements */
    LEDGE_NBITS_MR = 4      /* most rows of a tile */
};

typedef enum LedgeNbitsZeros {
    LEDGE_NBITS_MIDDLE, /* 1 << (bits - 1) everywhere */
    LEDGE_NBITS_BYTES,  /* a whole number each */
    LEDGE_NBITS_FLOATS
} LedgeNbitsZeros;

/* Packed weights of a group of 16 columns: for each 32 / bits elements of K a row of 16 words of
 * 32 bits, one a column. Byte i of a word holds, from its low bits up, elements i, 4 + i and so on.
 * Scales and zero points: 16 for each block. */
typedef struct LedgeNbitsGroup {
    const uint8_t *codes;
    const float *scales;
    const void *zeros;
} LedgeNbitsGroup;

/* A tile: mr rows of A by one group of columns, over all of K. */
typedef struct LedgeNbitsTile {
    LedgeNbitsGroup g;
    LedgeNbitsZeros zero_kind;
    uint32_t bits, mr;
    size_t blocks, block;
    const void *a; /* int8_t or float, rows padded with zeros to blocks × block */
    size_t lda;
    const float *a_scale, *a_sum; /* of each block; a_scale with int8 only */
    size_t ld_a;                  /* floats from row to row of these */
    float *c;                     /* 16 floats a row */
    size_t ldc;
} LedgeNbitsTile;

/* `count` columns of a group from `first` on (both multiples of the table's lanes), elements k0 …
 * k1 - 1 (multiples of LEDGE_NBITS_UNIT), as floats: row k - k0 of `to`, `width` floats a row. */
typedef struct LedgeNbitsWiden {
    LedgeNbitsGroup g;
    LedgeNbitsZeros zero_kind;
    uint32_t bits;
    size_t block, k0, k1, first, count;
    float *to;
    size_t width;
} LedgeNbitsWiden;

typedef struct LedgeNbitsKernels {
    const char *isa;
    uint32_t needs; /* CPU flags */
    uint32_t lanes;
    void (*bytes)(const LedgeNbitsTile *t);
    void (*floats)(const LedgeNbitsTile *t);
    void (*widen)(const LedgeNbitsWiden *w);
    /* n numbers as int8, x[i] = q[i] * scale, then zeros up to `block`; gives the sum of q. */
    float (*round_block)(const float *x, size_t n, size_t block, int8_t *q, float *scale);
    /* Of a multiple of LEDGE_NBITS_UNIT. */
    float (*sum_block)(const float *x, size_t n);
} LedgeNbitsKernels;

/* The best table for the flags; never NULL. */
const LedgeNbitsKernels *ledge__nbits(uint32_t cpu);
/* The i-th table of this build, NULL past the end; for tests. */
const LedgeNbitsKernels *ledge__nbits_at(size_t i);

/* ---- whole products ---- */

typedef struct LedgeNbitsShape {
    size_t rows, k, n, block;
    uint32_t bits;
    LedgeNbitsZeros zeros;
    bool round_a; /* A as int8 */
} LedgeNbitsShape;

typedef enum LedgeNbitsPath {
    LEDGE_NBITS_ROUNDED, /* bytes */
    LEDGE_NBITS_DIRECT,  /* floats, codes widened in registers */
    LEDGE_NBITS_PANELS   /* floats, codes widened into the cache */
} LedgeNbitsPath;

typedef struct LedgeNbitsPlan {
    LedgeNbitsShape s;
    const LedgeNbitsKernels *kernels;
    const LedgeF32Kernels *f32;
    LedgeNbitsPath path;
    size_t blocks, groups;
    size_t depth;                              /* K rounded up to whole blocks */
    size_t group_codes, group_zeros;           /* bytes of one group */
    size_t codes_bytes, scale_bytes, zero_bytes; /* packed, of all groups */
    size_t width, chunk;                       /* of a panel: columns, rows at a time */
    size_t row_bytes, thread_bytes;            /* scratch for one row of A, for one thread */
    int threads;
    size_t scratch_bytes;
} LedgeNbitsPlan;

/* false: sizes overflow, or a block is no multiple of LEDGE_NBITS_UNIT. */
bool ledge__nbits_plan(const LedgeNbitsShape *s, uint32_t cpu, int threads, LedgeNbitsPlan *out);

/* Where to take weights from when packing: column n's codes (of all k), block b's number. */
typedef struct LedgeNbitsSource {
    const void *arg;
    void (*codes)(const void *arg, size_t n, uint8_t *row);
    float (*number)(const void *arg, size_t n, size_t b);
} LedgeNbitsSource;

/* `row`: room for plan->depth bytes. */
void ledge__nbits_pack_codes(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, uint8_t *row,
                             void *packed);
/* Scales, and zero points as the plan's kind says. */
void ledge__nbits_pack_scales(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, void *packed);
void ledge__nbits_pack_zeros(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, void *packed);

typedef struct LedgeNbitsArgs {
    const float *a; /* rows of k */
    const void *codes, *scales, *zeros; /* packed; zeros NULL with LEDGE_NBITS_MIDDLE */
    const float *bias; /* n, or NULL */
    const float *r;    /* rows of n, added before the activation, or NULL */
    float *y;
    LedgeAct act;
    void *scratch;
} LedgeNbitsArgs;

void ledge__nbits_run(const LedgeNbitsPlan *p, const LedgeNbitsArgs *a, LedgePool *pool);

#endif
