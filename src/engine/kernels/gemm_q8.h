/* 8-bit GEMM over packed weights: the packing, and the walk over tiles that convolution and
 * Gemm share.
 *
 * B is packed once in panels of at most `nv` vectors of columns; rows of A are reached through
 * pointers that the caller makes tile by tile. Sums are exact, so neither tiling nor threads
 * change a bit. */
#ifndef LEDGE_KERNELS_GEMM_Q8_H
#define LEDGE_KERNELS_GEMM_Q8_H

#include "base/pool.h"
#include "engine/kernels/kernels.h"
#include "engine/kernels/q8.h"

/* How n columns are cut into panels: `wide` panels of base + 1 vectors, then some of base. */
typedef struct LedgeQ8Panels {
    const LedgeQ8Kernels *k;
    size_t n;       /* columns */
    size_t columns; /* rounded up to whole vectors */
    size_t taps, kc;
    size_t depth;   /* bytes of a packed column: taps × kc rounded up to steps */
    uint32_t most;  /* vectors of a panel */
    uint32_t count; /* panels */
    uint32_t base, wide;
} LedgeQ8Panels;

/* Panels of at most `most` vectors, 1 to k->nv. false: sizes overflow. */
bool ledge__q8_panels_init(LedgeQ8Panels *p, const LedgeQ8Kernels *k, uint32_t most, size_t n,
                           size_t taps, size_t kc);
/* Bytes of packed B. */
static inline size_t ledge__q8_panels_bytes(const LedgeQ8Panels *p)
{
    return p->columns * p->depth;
}
/* Vectors of panel i, and the first vector's index. */
static inline uint32_t ledge__q8_panel_nv(const LedgeQ8Panels *p, size_t i)
{
    return p->base + (i < p->wide);
}
static inline size_t ledge__q8_panel_start(const LedgeQ8Panels *p, size_t i)
{
    return i * p->base + (i < p->wide ? i : p->wide);
}
uint32_t ledge__q8_panels_mr(const LedgeQ8Panels *p); /* rows of a tile that fits every panel */

/* Packs B[(t, c)][n] = w[n * sn + t * st + c * sc], each byte XORed with `flip` (0, or 0x80 for
 * unsigned weights less 128). */
void ledge__q8_panels_pack(const LedgeQ8Panels *p, const void *w, size_t sn, size_t st, size_t sc,
                           uint8_t flip, int8_t *packed);

/* Whether all these scales, a multiple of 4, leave a sum within an int32: that saves clamping every
 * float. */
bool ledge__q8_scales_tame(const float *scale, size_t n, const LedgeQ8Out *o);

/* Tiles of rows m0 … m0 + mr - 1 and on, and where they are read. */
typedef struct LedgeQ8Rows {
    size_t group, m0;
    uint32_t mr;
    /* Wanted tiles, one below the other; becomes how many of them the pointers serve when all of
     * these advance by mr × a_step from one to the next. */
    size_t repeat;
    const uint8_t **at; /* room for the pointers, tap by tap: at[tap * mr + i] */
    size_t taps;        /* how many; preset to all */
    LedgeQ8Tap *live;   /* room, all taps wide, for which of them */
    bool some;          /* `live` was filled: taps that read only zeros are left out */
    uint8_t *border;    /* this thread's room for rows that must be put together */
    size_t kc;
} LedgeQ8Rows;

/* Fills `rows`. Gives whether all of them can be read up to whole steps, whatever stands there. */
typedef bool (*LedgeQ8RowsFn)(const void *arg, LedgeQ8Rows *rows);

typedef struct LedgeQ8Run {
    LedgeQ8Panels p;
    size_t m, groups;
    size_t line; /* rows that tiles do not go across: m is a multiple; m itself: one line */
    uint32_t mr; /* rows of a tile, at most ledge__q8_panels_mr */
    LedgeQ8RowsFn rows;
    const void *rows_arg;
    size_t a_step; /* bytes from a row's pointer to the next one's */
    const int8_t *b; /* of group 0; the others follow, here and below */
    const int32_t *init, *b_zero;
    const float *scale, *fbias;
    void *c;         /* group g begins g × n elements on */
    size_t ldc;
    const void *r;
    size_t ldr;
    const LedgeQ8Out *out;
    const LedgeAct *act; /* LEDGE_Q8_FLOAT: what a clamp cannot express; NULL: nothing */
    const LedgeF32Kernels *act_kernels;
    void *scratch; /* threads × thread_bytes */
    size_t thread_bytes;
} LedgeQ8Run;

/* Scratch of one of `threads` with `border` bytes of its own room; 0: overflow. */
size_t ledge__gemm_q8_thread_bytes(size_t taps, size_t border, int threads);
void ledge__gemm_q8_run(const LedgeQ8Run *g, LedgePool *pool);

#endif
