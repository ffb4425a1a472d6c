/* fp32 GEMM over packed weights: the packing, and the walk over tiles that convolution, Gemm
 * and Winograd share.
 *
 * C[m][n] = act(bias + A × B + R). B is packed once in panels of at most `nv` vectors of
 * columns; rows of A are reached through pointers that the caller makes tile by tile.
 * Every element is the same sum in the same order whatever the tiling and the threads; with
 * Strassen's panels it depends on the row that it is paired with, and on no thread either. */
#ifndef LEDGE_KERNELS_GEMM_F32_H
#define LEDGE_KERNELS_GEMM_F32_H

#include "base/pool.h"
#include "engine/kernels/kernels.h"

/* How n columns are cut into panels: `wide` panels of base + 1 vectors, then some of base. */
typedef struct LedgePanels {
    const LedgeF32Kernels *k;
    size_t n;            /* columns */
    size_t columns;      /* rounded up to whole vectors */
    size_t depth;        /* rows of B: taps × kc */
    uint32_t count;      /* panels */
    uint32_t nv;         /* most vectors of a panel */
    uint32_t base, wide;
    bool strassen;       /* panels of two vectors are for k->strassen, and begin with … */
    size_t rows;         /* … a row of scales (all zeros: unfit, see there), thus depth + 1 */
    bool strips;         /* made by strips_f32.h, of … */
    size_t kept;         /* … so many rows in all strips together */
} LedgePanels;

void ledge__panels_init(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth);
/* The same with panels of at most nv vectors. */
void ledge__panels_init_narrow(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth,
                               uint32_t nv);
/* Panels for Strassen's algorithm, where `k` has it, the columns fit its tiles and `depth` is
 * even, not small and not huge; false: it does not serve. Only for taps = 1. Results differ from the
 * plain ones within their rounding; a row with numbers that are not finite is computed the plain
 * way, so it spoils no other. */
bool ledge__panels_init_strassen(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth);
/* Floats that one thread needs to pack a tile's rows; 0 without Strassen. */
size_t ledge__strassen_floats(const LedgePanels *p);
/* Floats of packed B and of the padded bias; 0 when the product overflows. */
size_t ledge__panels_floats(const LedgePanels *p);
static inline size_t ledge__panels_columns(const LedgePanels *p)
{
    return p->columns;
}
/* Vectors of panel i, and the first vector's index. */
static inline uint32_t ledge__panel_nv(const LedgePanels *p, size_t i)
{
    return p->base + (i < p->wide);
}
static inline size_t ledge__panel_start(const LedgePanels *p, size_t i)
{
    return i * p->base + (i < p->wide ? i : p->wide);
}
uint32_t ledge__panels_mr(const LedgePanels *p); /* rows of a tile that fits every panel */

/* Packs B[(t, c)][n] = w[n * sn + t * st + c * sc] (in floats; `w` may be misaligned), times
 * scale[n] unless `scale` is NULL. */
void ledge__panels_pack(const LedgePanels *p, const void *w, size_t taps, size_t kc, size_t sn,
                        size_t st, size_t sc, const float *scale, float *packed);
/* n floats of `bias` (NULL: zeros; may be misaligned), zeros up to whole vectors. */
void ledge__panels_pack_bias(const LedgePanels *p, const void *bias, float *packed);

/* Row pointers of rows m0 … m0 + mr - 1, tap by tap (out[tap * mr + i]); a tap whose rows are
 * all zeros may have NULL as its first and is skipped. `border` is this thread's room for
 * rows that must be put together (with Strassen's panels it holds the packed rows). */
typedef void (*LedgeGemmRowsFn)(const void *arg, size_t group, size_t m0, uint32_t mr,
                                const float **out, float *border);

typedef struct LedgeGemmRun {
    LedgePanels p;
    size_t m, groups;
    size_t taps, kc;
    uint32_t mr; /* rows of a tile, at most ledge__panels_mr */
    LedgeGemmRowsFn rows;
    const void *rows_arg;
    const float *b, *bias; /* of group 0; the others follow */
    bool shared_b, shared_bias; /* one for all groups */
    const size_t *c_at;    /* where each group's C begins, in floats; NULL: group × c_step */
    size_t c_step;         /* 0: n, the groups side by side */
    float *c;
    size_t ldc;
    const float *r;
    size_t ldr;
    LedgeAct act;
    void *scratch; /* threads × thread_bytes */
    size_t thread_bytes;
    size_t block; /* panels at a time; 0: chosen so that they stay in cache */
} LedgeGemmRun;

/* m rows of contiguous k, all in the calling thread; for drivers that share out work by
 * themselves. `mr` as in LedgeGemmRun. Not for Strassen's panels. */
void ledge__gemm_serial(const LedgePanels *p, uint32_t mr, const float *a, size_t lda, size_t m,
                        const float *b, const float *bias, float *c, size_t ldc, const float *r,
                        size_t ldr, const LedgeAct *act);

/* Scratch of one of `threads`: its pointers, and border floats on top of them; 0: overflow. */
size_t ledge__gemm_thread_bytes(size_t taps, size_t border_floats, int threads);
void ledge__gemm_run(const LedgeGemmRun *g, LedgePool *pool);

#endif
