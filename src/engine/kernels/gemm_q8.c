/* The packing of B and the walk over 8-bit GEMM tiles; see gemm_q8.h.
 *
 * Order: blocks of panels that stay in the L2 cache; in a block the tiles of rows; for a tile
 * of rows all panels of the block, so that the rows are read from L1 but once. */
#include "engine/kernels/gemm_q8.h"

#include <string.h>

#include "base/alloc.h"

enum {
    NEAR_BYTES = 48 * 1024, /* of packed B that come into cache by themselves */
    L2_BYTES = 512 * 1024,  /* of packed B in a block: half of a usual L2 of 1 MiB */
    SMALL_WORK = 512 * 1024, /* multiply-adds too few to be shared out */
    ITEMS_PER_THREAD = 4
};

bool ledge__q8_panels_init(LedgeQ8Panels *p, const LedgeQ8Kernels *k, size_t n, size_t taps,
                           size_t kc)
{
    size_t bytes;
    if (n > SIZE_MAX / 2 || kc > SIZE_MAX / 2)
        return false;
    const size_t vectors = (n + k->lanes - 1) / k->lanes;
    *p = (LedgeQ8Panels){.k = k, .n = n, .columns = vectors * k->lanes, .taps = taps, .kc = kc};
    p->count = (uint32_t)((vectors + k->nv - 1) / k->nv);
    p->base = p->count ? (uint32_t)(vectors / p->count) : 0;
    p->wide = p->count ? (uint32_t)(vectors % p->count) : 0;
    return ledge__mul(taps, ledge__round_up(kc, 4), &p->depth) &&
           ledge__mul(p->columns, p->depth, &bytes);
}

uint32_t ledge__q8_panels_mr(const LedgeQ8Panels *p)
{
    const uint32_t most = p->base + (p->wide > 0);
    return most ? p->k->mr[most - 1] : 1;
}

bool ledge__q8_scales_tame(const float *scale, size_t n, const LedgeQ8Out *o)
{
    /* 2^31 times the largest float below 1 is an int32; sums of bytes are far from it */
    bool tame = o->kind != LEDGE_Q8_SUM || (o->y_scale < 65536.0f && o->r_scale < 65536.0f);
    for (size_t i = 0; i < n; i++)
        tame &= scale[i] < 1.0f;
    return tame;
}

/* Four of k, zeros beyond, for `cols` columns, zeros up to `width`. */
static void pack_fours(const uint8_t *w, size_t sn, size_t sc, size_t k, size_t cols, size_t width,
                       uint8_t flip, uint8_t *to)
{
    memset(to, 0, width * 4);
    for (size_t j = 0; j < cols; j++)
        for (size_t i = 0; i < k; i++)
            to[j * 4 + i] = w[j * sn + i * sc] ^ flip;
}

void ledge__q8_panels_pack(const LedgeQ8Panels *p, const void *w, size_t sn, size_t st, size_t sc,
                           uint8_t flip, int8_t *packed)
{
    const size_t lanes = p->k->lanes;
    uint8_t *to = (uint8_t *)packed;
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__q8_panel_start(p, i) * lanes;
        const size_t width = ledge__q8_panel_nv(p, i) * lanes;
        const size_t cols = p->n - first < width ? p->n - first : width;
        const uint8_t *from = (const uint8_t *)w + first * sn;
        for (size_t t = 0; t < p->taps; t++)
            for (size_t c = 0; c < p->kc; c += 4, to += width * 4)
                pack_fours(from + t * st + c * sc, sn, sc, p->kc - c < 4 ? p->kc - c : 4, cols,
                           width, flip, to);
    }
}

size_t ledge__gemm_q8_thread_bytes(size_t taps, size_t border)
{
    size_t pointers, sum;
    if (!ledge__mul(taps, LEDGE_Q8_MR_MAX * sizeof(uint8_t *), &pointers) ||
        pointers > SIZE_MAX - LEDGE_ALIGN ||
        !ledge__add(ledge__round_up(pointers, LEDGE_ALIGN), border, &sum) ||
        sum > SIZE_MAX - LEDGE_ALIGN)
        return 0;
    return ledge__round_up(sum, LEDGE_ALIGN);
}

typedef struct Walk {
    const LedgeQ8Run *g;
    size_t block, blocks, chunks;
} Walk;

static void sum_rows(const uint8_t *const *rows, size_t taps, size_t kc, uint32_t mr, int32_t *sums)
{
    for (uint32_t i = 0; i < mr; i++) {
        uint32_t s = 0;
        for (size_t t = 0; t < taps; t++)
            for (size_t k = 0; k < kc; k++)
                s += rows[t * mr + i][k];
        sums[i] = (int32_t)s;
    }
}

/* All panels of [p0, p1) for one tile of rows whose pointers are ready. */
static void run_tile(const LedgeQ8Run *g, size_t group, size_t m0, uint32_t mr, size_t p0,
                     size_t p1, const uint8_t *const *rows)
{
    const LedgeQ8Panels *p = &g->p;
    const size_t lanes = p->k->lanes, element = g->out->kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const size_t columns = group * p->columns, bytes = p->columns * p->depth;
    const size_t c = m0 * g->ldc + group * p->n, r = m0 * g->ldr + group * p->n;
    int32_t sums[LEDGE_Q8_MR_MAX];
    LedgeQ8Tile t = {.a = rows, .taps = p->taps, .kc = p->kc, .mr = mr, .ldc = g->ldc,
                     .ldr = g->ldr, .out = g->out, .row_sum = sums};
    if (g->b_zero)
        sum_rows(rows, p->taps, p->kc, mr, sums);
    for (size_t i = p0; i < p1; i++) {
        const size_t first = ledge__q8_panel_start(p, i) * lanes, at = columns + first;
        t.nv = ledge__q8_panel_nv(p, i);
        t.n = (uint32_t)(p->n - first < t.nv * lanes ? p->n - first : t.nv * lanes);
        t.b = g->b + group * bytes + first * p->depth;
        t.ahead = bytes > NEAR_BYTES ? t.nv * lanes * p->depth : 0; /* the next panel */
        t.init = g->init + at;
        t.scale = g->scale + at;
        t.fbias = g->fbias ? g->fbias + at : NULL;
        t.b_zero = g->b_zero ? g->b_zero + at : NULL;
        t.c = (char *)g->c + (c + first) * element;
        t.r = g->r ? (const char *)g->r + (r + first) * element : NULL;
        p->k->gemm(&t);
        if (g->act && g->act->kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(g->act_kernels, t.c, mr, g->ldc, t.n, g->act);
    }
}

/* Item = (block of panels, group, chunk of rows), in this order. Rows are dealt out evenly, so
 * that no tile is much smaller than the others. */
static void run_items(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeQ8Run *g = w->g;
    char *scratch = (char *)g->scratch + (size_t)thread * g->thread_bytes;
    const uint8_t **rows = (const uint8_t **)(void *)scratch;
    const size_t pointers = g->p.taps * LEDGE_Q8_MR_MAX * sizeof(uint8_t *);
    uint8_t *border = (uint8_t *)scratch + ledge__round_up(pointers, LEDGE_ALIGN);
    const size_t tiles = (g->m + g->mr - 1) / g->mr;
    for (size_t item = begin; item < end; item++) {
        const size_t chunk = item % w->chunks, group = item / w->chunks % g->groups;
        const size_t p0 = item / w->chunks / g->groups * w->block;
        const size_t p1 = p0 + w->block < g->p.count ? p0 + w->block : g->p.count;
        const size_t t1 = (chunk + 1) * tiles / w->chunks;
        size_t t = chunk * tiles / w->chunks, m0 = t * g->m / tiles;
        for (; t < t1; t++) {
            const size_t next = (t + 1) * g->m / tiles;
            const uint32_t mr = (uint32_t)(next - m0);
            g->rows(g->rows_arg, group, m0, mr, rows, border);
            run_tile(g, group, m0, mr, p0, p1, rows);
            m0 = next;
        }
    }
}

void ledge__gemm_q8_run(const LedgeQ8Run *g, LedgePool *pool)
{
    if (g->m == 0 || g->p.count == 0 || g->groups == 0)
        return;
    const size_t threads = (size_t)ledge__pool_threads(pool);
    const size_t panel = g->p.depth * g->p.k->nv * g->p.k->lanes;
    const size_t tiles = (g->m + g->mr - 1) / g->mr;
    Walk w = {.g = g, .block = panel > L2_BYTES || panel == 0 ? 1 : L2_BYTES / panel, .chunks = 1};
    if (w.block > g->p.count)
        w.block = g->p.count;
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
    ledge__pool_run(small ? NULL : pool, w.blocks * w.chunks * g->groups, 1, run_items, &w);
}
