/* The packing of B and the walk over GEMM tiles; see gemm_f32.h.
 *
 * Order: blocks of panels that stay in the L2 cache; in a block the tiles of rows; for a
 * tile of rows all panels of the block, so that the rows are read from L1 but once. */
#include "engine/kernels/gemm_f32.h"

#include <string.h>

#include "base/alloc.h"

enum {
    NEAR_FLOATS = 12 * 1024, /* of packed B that come into cache by themselves */
    L2_FLOATS = 128 * 1024,  /* of packed B in a block: half of a usual L2 of 1 MiB */
    SMALL_WORK = 128 * 1024, /* multiply-adds too few to be shared out */
    ITEMS_PER_THREAD = 4
};

void ledge__panels_init(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth)
{
    const size_t vectors = (n + k->lanes - 1) / k->lanes;
    p->k = k;
    p->n = n;
    p->columns = vectors * k->lanes;
    p->depth = depth;
    p->count = (uint32_t)((vectors + k->nv - 1) / k->nv);
    p->base = p->count ? (uint32_t)(vectors / p->count) : 0;
    p->wide = p->count ? (uint32_t)(vectors % p->count) : 0;
}

size_t ledge__panels_floats(const LedgePanels *p)
{
    size_t floats;
    return ledge__mul(ledge__panels_columns(p), p->depth, &floats) ? floats : 0;
}

uint32_t ledge__panels_mr(const LedgePanels *p)
{
    const uint32_t most = p->base + (p->wide > 0);
    return most ? p->k->mr[most - 1] : 1;
}

static inline float load_any(const char *p)
{
    float x;
    memcpy(&x, p, sizeof(x));
    return x;
}

/* One row of a panel: `cols` columns from `w` on, zeros up to `width`. */
static void pack_row(const char *w, size_t step, size_t cols, size_t width, const float *scale,
                     float *out)
{
    size_t j = 0;
    for (; j < cols; j++, w += step)
        out[j] = scale ? load_any(w) * scale[j] : load_any(w);
    for (; j < width; j++)
        out[j] = 0.0f;
}

typedef float Four __attribute__((vector_size(16)));

static inline Four load_four(const char *p)
{
    Four x;
    memcpy(&x, p, sizeof(x));
    return x;
}

static inline void store_four(float *to, Four x)
{
    memcpy(to, &x, sizeof(x));
}

/* Four columns of n contiguous rows each, n a multiple of four, turned by 4 × 4 blocks. */
static void turn_four(const char *w, size_t sn, size_t n, size_t width, const float *scale,
                      float *out)
{
    Four f = {1.0f, 1.0f, 1.0f, 1.0f};
    if (scale)
        memcpy(&f, scale, sizeof(f));
    for (size_t c = 0; c < n; c += 4, w += 4 * sizeof(float), out += 4 * width) {
        const Four r0 = load_four(w), r1 = load_four(w + sn), r2 = load_four(w + 2 * sn),
                   r3 = load_four(w + 3 * sn);
        const Four a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
        const Four b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
        const Four d = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
        const Four e = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        store_four(out, __builtin_shufflevector(a, b, 0, 1, 4, 5) * f);
        store_four(out + width, __builtin_shufflevector(a, b, 2, 3, 6, 7) * f);
        store_four(out + 2 * width, __builtin_shufflevector(d, e, 0, 1, 4, 5) * f);
        store_four(out + 3 * width, __builtin_shufflevector(d, e, 2, 3, 6, 7) * f);
    }
}

/* `cols` columns of contiguous k each, turned into kc rows. */
static void pack_columns(const char *w, size_t sn, size_t cols, size_t kc, size_t width,
                         const float *scale, float *out)
{
    enum { BLOCK = 16 }; /* rows at a time: what is written stays in L1 */
    for (size_t c0 = 0; c0 < kc; c0 += BLOCK, out += BLOCK * width, w += BLOCK * sizeof(float)) {
        const size_t n = kc - c0 < BLOCK ? kc - c0 : BLOCK;
        size_t j = 0;
        for (; n % 4 == 0 && j + 4 <= cols; j += 4)
            turn_four(w + j * sn, sn, n, width, scale ? scale + j : NULL, out + j);
        for (; j < width; j++)
            for (size_t c = 0; c < n; c++) {
                const float x = j < cols ? load_any(w + j * sn + c * sizeof(float)) : 0.0f;
                out[c * width + j] = scale && j < cols ? x * scale[j] : x;
            }
    }
}

void ledge__panels_pack(const LedgePanels *p, const void *w, size_t taps, size_t kc, size_t sn,
                        size_t st, size_t sc, const float *scale, float *packed)
{
    const size_t lanes = p->k->lanes, f = sizeof(float);
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__panel_start(p, i) * lanes;
        const size_t width = ledge__panel_nv(p, i) * lanes;
        const size_t cols = p->n - first < width ? p->n - first : width;
        const char *from = (const char *)w + first * sn * f;
        const float *factors = scale ? scale + first : NULL;
        if (taps == 1 && sc == 1) {
            pack_columns(from, sn * f, cols, kc, width, factors, packed);
            packed += kc * width;
            continue;
        }
        for (size_t t = 0; t < taps; t++)
            for (size_t c = 0; c < kc; c++, packed += width)
                pack_row(from + (t * st + c * sc) * f, sn * f, cols, width, factors, packed);
    }
}

void ledge__panels_pack_bias(const LedgePanels *p, const void *bias, float *packed)
{
    memset(packed, 0, ledge__panels_columns(p) * sizeof(float));
    if (bias && p->n)
        memcpy(packed, bias, p->n * sizeof(float));
}

size_t ledge__gemm_thread_bytes(size_t taps, size_t border_floats)
{
    size_t pointers, border, sum;
    if (!ledge__mul(taps, LEDGE_GEMM_MR_MAX * sizeof(float *), &pointers) ||
        !ledge__mul(border_floats, sizeof(float), &border) ||
        !ledge__add(ledge__round_up(pointers, LEDGE_ALIGN), border, &sum) ||
        sum > SIZE_MAX - LEDGE_ALIGN)
        return 0;
    return ledge__round_up(sum, LEDGE_ALIGN);
}

typedef struct Walk {
    const LedgeGemmRun *g;
    size_t block, blocks, chunks;
} Walk;

/* All panels of [p0, p1) for one tile of rows whose pointers are ready. */
static void run_tile(const LedgeGemmRun *g, size_t group, size_t m0, uint32_t mr, size_t p0,
                     size_t p1, const float *const *rows)
{
    const LedgePanels *p = &g->p;
    const size_t lanes = p->k->lanes, columns = ledge__panels_columns(p);
    LedgeGemmTile t = {.a = rows,
                       .taps = g->taps,
                       .kc = g->kc,
                       .mr = mr,
                       .ldc = g->ldc,
                       .ldr = g->ldr,
                       .lo = g->act.lo,
                       .hi = g->act.hi};
    const float *b = g->b + (g->shared_b ? 0 : group * columns * p->depth);
    const float *bias = g->bias + (g->shared_bias ? 0 : group * columns);
    const size_t step = g->c_step ? g->c_step : p->n;
    const size_t start = m0 * g->ldc + (g->c_at ? g->c_at[group] : group * step);
    const bool far = columns * p->depth > NEAR_FLOATS;
    for (size_t i = p0; i < p1; i++) {
        const size_t first = ledge__panel_start(p, i) * lanes;
        t.nv = ledge__panel_nv(p, i);
        t.n = (uint32_t)(p->n - first < t.nv * lanes ? p->n - first : t.nv * lanes);
        t.b = b + first * p->depth;
        t.ahead = far ? t.nv * lanes * p->depth : 0; /* the next panel */
        t.bias = bias + first;
        t.c = g->c + start + first;
        t.r = g->r ? g->r + m0 * g->ldr + group * p->n + first : NULL;
        p->k->gemm(&t);
        if (g->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(p->k, t.c, mr, g->ldc, t.n, &g->act);
    }
}

/* Item = (block of panels, group, chunk of rows), in this order, so that groups that share B
 * find it in cache. Rows are dealt out evenly, so that no
 * tile is much smaller than the others. */
static void run_items(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeGemmRun *g = w->g;
    char *scratch = (char *)g->scratch + (size_t)thread * g->thread_bytes;
    const float **rows = (const float **)(void *)scratch;
    const size_t pointers = g->taps * LEDGE_GEMM_MR_MAX * sizeof(float *);
    float *border = (float *)(void *)(scratch + ledge__round_up(pointers, LEDGE_ALIGN));
    const size_t tiles = (g->m + g->mr - 1) / g->mr;
    const size_t share = g->m / tiles, more = g->m % tiles;
    for (size_t item = begin; item < end; item++) {
        const size_t chunk = item % w->chunks, group = item / w->chunks % g->groups;
        const size_t block = item / w->chunks / g->groups;
        const size_t p0 = block * w->block;
        const size_t p1 = p0 + w->block < g->p.count ? p0 + w->block : g->p.count;
        size_t t = chunk * tiles / w->chunks;
        const size_t t1 = (chunk + 1) * tiles / w->chunks;
        size_t m0 = t * g->m / tiles, rest = t * g->m % tiles;
        for (uint32_t mr; t < t1; t++, m0 += mr) { /* rows t m / tiles … (t + 1) m / tiles */
            rest += more;
            mr = (uint32_t)(share + (rest >= tiles));
            rest -= rest >= tiles ? tiles : 0;
            g->rows(g->rows_arg, group, m0, mr, rows, border);
            run_tile(g, group, m0, mr, p0, p1, rows);
        }
    }
}

void ledge__gemm_serial(const LedgePanels *p, uint32_t mr, const float *a, size_t lda, size_t m,
                        const float *b, const float *bias, float *c, size_t ldc, const float *r,
                        size_t ldr, const LedgeAct *act)
{
    const float *rows[LEDGE_GEMM_MR_MAX];
    const LedgeGemmRun g = {.p = *p,
                            .taps = 1,
                            .kc = p->depth,
                            .b = b,
                            .bias = bias,
                            .c = c,
                            .ldc = ldc,
                            .r = r,
                            .ldr = ldr,
                            .act = *act};
    const size_t tiles = (m + mr - 1) / mr;
    for (size_t t = 0, m0 = 0; t < tiles; t++) {
        const size_t end = (t + 1) * m / tiles;
        const uint32_t n = (uint32_t)(end - m0);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = a + (m0 + i) * lda;
        run_tile(&g, 0, m0, n, 0, p->count, rows);
        m0 = end;
    }
}

void ledge__gemm_run(const LedgeGemmRun *g, LedgePool *pool)
{
    if (g->m == 0 || g->p.count == 0 || g->groups == 0)
        return;
    const size_t threads = (size_t)ledge__pool_threads(pool);
    const size_t panel = g->p.depth * g->p.k->nv * g->p.k->lanes;
    const size_t tiles = (g->m + g->mr - 1) / g->mr;
    Walk w = {.g = g, .block = g->block};
    if (!w.block)
        w.block = panel > L2_FLOATS || panel == 0 ? 1 : L2_FLOATS / panel;
    if (w.block > g->p.count)
        w.block = g->p.count;
    w.chunks = 1;
    const bool small =
        (double)g->m * (double)g->p.depth * (double)g->p.n * (double)g->groups < SMALL_WORK;
    if (threads > 1 && !small) {
        const size_t want = threads * ITEMS_PER_THREAD;
        if (tiles < want) { /* few rows: the columns are shared out */
            const size_t share = g->p.count * tiles / want;
            w.block = share < 1 ? 1 : share < w.block ? share : w.block;
        }
        const size_t blocks = (g->p.count + w.block - 1) / w.block * g->groups;
        w.chunks = (want + blocks - 1) / blocks;
        w.chunks = w.chunks > tiles ? tiles : w.chunks;
    }
    w.blocks = (g->p.count + w.block - 1) / w.block;
    w.block = (g->p.count + w.blocks - 1) / w.blocks; /* of one size */
    const size_t items = w.blocks * w.chunks * g->groups;
    ledge__pool_run(small ? NULL : pool, items, 1, run_items, &w);
}
