/* The packing of B and the walk over GEMM tiles; see gemm_f32.h.
 *
 * Order: blocks of panels that stay in the L2 cache; in a block the tiles of rows; for a
 * tile of rows all panels of the block, so that the rows are read from L1 but once. */
#include "engine/kernels/gemm_f32.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/kernels/strips_f32.h"

enum {
    NEAR_FLOATS = 12 * 1024, /* of packed B that come into cache by themselves */
    L2_FLOATS = 160 * 1024,  /* of packed B in a block: 5/8 of a usual L2 of 1 MiB */
    SMALL_WORK = 128 * 1024, /* multiply-adds too few to be shared out */
    ITEMS_PER_THREAD = 4,
    LANES_MAX = 16,
    STRASSEN_MIN_DEPTH = 48,   /* a tile's last sums would outweigh what is saved */
    STRASSEN_MAX_DEPTH = 1536, /* of a deeper B few panels fit the L2, too few for the sums of A */
    STRASSEN_RUN = 512,        /* of K: what its packed rows take stays in an L1 of 32 KiB */
    STRASSEN_MIN_COLUMNS = 96  /* the sums of A must serve some panels */
};

void ledge__panels_init_narrow(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth,
                               uint32_t nv)
{
    const size_t vectors = (n + k->lanes - 1) / k->lanes;
    p->k = k;
    p->n = n;
    p->columns = vectors * k->lanes;
    p->depth = depth;
    p->nv = nv;
    p->count = (uint32_t)((vectors + nv - 1) / nv);
    p->base = p->count ? (uint32_t)(vectors / p->count) : 0;
    p->wide = p->count ? (uint32_t)(vectors % p->count) : 0;
    p->strassen = p->strips = false;
    p->rows = depth;
}

void ledge__panels_init(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth)
{
    ledge__panels_init_narrow(p, k, n, depth, k->nv);
}

bool ledge__panels_init_strassen(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth)
{
    const size_t width = ledge__round_up(n, k->lanes);
    if (!k->strassen->tile || depth % 2 || depth < STRASSEN_MIN_DEPTH ||
        depth > STRASSEN_MAX_DEPTH || n < STRASSEN_MIN_COLUMNS || width / 11 * 10 > n)
        return false;
    ledge__panels_init_narrow(p, k, n, depth, 2);
    p->strassen = true;
    p->rows = depth + 1;
    return true;
}

/* K is cut into runs of one size whose halves are whole vectors. */
static size_t strassen_depth(const LedgePanels *p)
{
    const size_t runs = (p->depth + STRASSEN_RUN - 1) / STRASSEN_RUN;
    return ledge__round_up((p->depth + runs - 1) / runs, 2 * (size_t)p->k->lanes);
}

size_t ledge__strassen_floats(const LedgePanels *p)
{
    return p->strassen ? 7 * LEDGE_STRASSEN_PAIRS * (strassen_depth(p) / 2) : 0;
}

size_t ledge__panels_floats(const LedgePanels *p)
{
    size_t floats;
    if (p->strips)
        return ledge__strips_floats(p);
    return ledge__mul(ledge__panels_columns(p), p->rows, &floats) ? floats : 0;
}

uint32_t ledge__panels_mr(const LedgePanels *p)
{
    if (p->strassen)
        return 2 * LEDGE_STRASSEN_PAIRS;
    if (p->strips)
        return ledge__strips_mr(p->k);
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

static inline Four larger(Four a, Four b)
{
    typedef int32_t Mask __attribute__((vector_size(16)));
    const Mask m = a > b;
    return (Four)((m & (Mask)a) | (~m & (Mask)b));
}

/* The powers of two that bring the columns' largest numbers near 1; they mix with their
 * neighbours' then at no loss. false: some number is not finite. */
static bool column_scales(const float *w, size_t width, size_t depth, float *scale)
{
    Four bad = {0};
    for (size_t j = 0; j < width; j += 4) {
        Four most = {0};
        for (size_t k = 0; k < depth; k++) {
            const Four x = load_four((const char *)(w + k * width + j));
            most = larger(larger(x, -x), most);
            bad += x * 0.0f;
        }
        for (size_t i = 0; i < 4; i++) {
            uint32_t bits;
            memcpy(&bits, (const char *)&most + i * 4, 4);
            bits &= 0x7f800000u;
            if (bits < 0x20000000u || bits > 0x5f000000u) /* 2^-63 … 2^63: their inverses exist */
                bits = 0x3f800000u;
            memcpy(&scale[j + i], &bits, 4);
        }
    }
    return bad[0] + bad[1] + bad[2] + bad[3] == 0.0f;
}

/* Scales a packed panel whose row of scales comes first. */
static void scale_panel(float *panel, size_t width, size_t depth, bool fit)
{
    float *w = panel + width;
    if (!fit || !column_scales(w, width, depth, panel)) {
        memset(panel, 0, width * sizeof(*panel));
        return;
    }
    for (size_t j = 0; j < width; j += 4) {
        const Four one = {1.0f, 1.0f, 1.0f, 1.0f};
        const Four f = one / load_four((const char *)(panel + j));
        for (size_t k = 0; k < depth; k++)
            store_four(w + k * width + j, load_four((const char *)(w + k * width + j)) * f);
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
        float *to = packed + (p->rows - p->depth) * width;
        if (taps == 1 && sc == 1)
            pack_columns(from, sn * f, cols, kc, width, factors, to);
        else
            for (size_t t = 0; t < taps; t++)
                for (size_t c = 0; c < kc; c++, to += width)
                    pack_row(from + (t * st + c * sc) * f, sn * f, cols, width, factors, to);
        if (p->strassen)
            scale_panel(packed, width, p->depth, ledge__panel_nv(p, i) == 2);
        packed += p->rows * width;
    }
}

void ledge__panels_pack_bias(const LedgePanels *p, const void *bias, float *packed)
{
    memset(packed, 0, ledge__panels_columns(p) * sizeof(float));
    if (bias && p->n)
        memcpy(packed, bias, p->n * sizeof(float));
}

size_t ledge__gemm_thread_bytes(size_t taps, size_t border_floats, int threads)
{
    size_t pointers, border, sum;
    if (!ledge__mul(taps, LEDGE_GEMM_MR_MAX * sizeof(float *), &pointers) ||
        !ledge__mul(border_floats, sizeof(float), &border) ||
        !ledge__add(ledge__round_up(pointers, LEDGE_ALIGN), border, &sum) || sum > SIZE_MAX / 2)
        return 0;
    return ledge__thread_stride(sum, threads);
}

typedef struct Walk {
    const LedgeGemmRun *g;
    size_t block, blocks, chunks;
    size_t per; /* chunks of a thread's own range of rows; 0: rows are not dealt out so */
} Walk;

/* A tile of a scaled panel without Strassen, for rows that are rare: slow, and in double precision
 * so that nothing overflows that need not. */
static void run_unscaled(const LedgeGemmTile *t, size_t width, const float *scale)
{
    for (size_t i = 0; i < t->mr; i++) {
        double sums[2 * LANES_MAX] = {0};
        for (size_t k = 0; k < t->kc; k++)
            for (size_t j = 0; j < t->n; j++)
                sums[j] += (double)t->a[i][k] * (double)t->b[k * width + j];
        for (size_t j = 0; j < t->n; j++) {
            float y = (float)(sums[j] * (double)scale[j] + (double)t->bias[j]);
            y += t->r ? t->r[i * t->ldr + j] : 0.0f;
            t->c[i * t->ldc + j] = y < t->lo ? t->lo : y > t->hi ? t->hi : y; /* NaN stays */
        }
    }
}

/* What panel i takes from the tile of rows m0 …; with Strassen's panels t->b is the row of scales.
 */
static void set_panel(const LedgeGemmRun *g, size_t group, size_t m0, size_t i, LedgeGemmTile *t)
{
    const LedgePanels *p = &g->p;
    const size_t lanes = p->k->lanes, columns = ledge__panels_columns(p);
    const size_t first = ledge__panel_start(p, i) * lanes;
    const size_t step = g->c_step ? g->c_step : p->n;
    t->nv = ledge__panel_nv(p, i);
    t->n = (uint32_t)(p->n - first < t->nv * lanes ? p->n - first : t->nv * lanes);
    t->b = g->b + (g->shared_b ? 0 : group * columns * p->rows) + first * p->rows;
    if (p->strips)
        ledge__strip_at(p, g->b, i, t);
    t->ahead = columns * p->depth > NEAR_FLOATS ? t->nv * lanes * p->rows : 0; /* the next panel */
    t->bias = g->bias + (g->shared_bias ? 0 : group * columns) + first;
    t->c = g->c + m0 * g->ldc + (g->c_at ? g->c_at[group] : group * step) + first;
    t->r = g->r ? g->r + m0 * g->ldr + group * p->n + first : NULL;
}

static void activate(const LedgeGemmRun *g, const LedgeGemmTile *t)
{
    if (g->act.kind != LEDGE_ACT_CLAMP)
        ledge__act_f32(g->p.k, t->c, t->mr, t->ldc, t->n, &g->act);
}

/* A tile of rows with numbers that are not finite, which must not meet other rows. */
static void run_apart(const LedgeGemmRun *g, size_t group, size_t m0, size_t p0, size_t p1,
                      LedgeGemmTile *t)
{
    for (size_t i = p0; i < p1; i++) {
        set_panel(g, group, m0, i, t);
        const float *scale = t->b;
        const size_t width = t->nv * g->p.k->lanes;
        t->b += width;
        if (scale[0] == 0.0f)
            g->p.k->gemm(t);
        else
            run_unscaled(t, width, scale);
        activate(g, t);
    }
}

/* Rows k … k + depth - 1 of K for the panels of a tile whose rows are packed: of several such
 * runs the first adds bias and residual and the last clamps. A panel that is unfit for it is left
 * to the first run. */
static void strassen_panels(const LedgeGemmRun *g, const LedgeGemmTile *from, size_t p0, size_t p1,
                            size_t k, size_t depth, const float *packed)
{
    const LedgePanels *p = &g->p;
    const bool first = k == 0, last = k + depth == p->depth;
    LedgeGemmTile t = *from;
    LedgeStrassenTile s = {.s = packed,
                           .half = depth / 2,
                           .ldc = t.ldc,
                           .ldr = t.ldr,
                           .lo = last ? t.lo : -INFINITY,
                           .hi = last ? t.hi : INFINITY,
                           .rows = t.mr};
    size_t left = p->n - ledge__panel_start(p, p0) * p->k->lanes;
    for (size_t i = p0; i < p1; i++) {
        const size_t width = ledge__panel_nv(p, i) * p->k->lanes;
        const float *const b = t.b;
        t.nv = ledge__panel_nv(p, i);
        t.n = (uint32_t)(left < width ? left : width);
        if (b[0] != 0.0f) {
            s.b = b + (1 + k) * width;
            s.ahead = t.ahead;
            s.scale = b;
            s.bias = first ? t.bias : NULL;
            s.c = t.c;
            s.r = first ? t.r : NULL;
            s.n = t.n;
            p->k->strassen->tile(&s);
        } else if (first) {
            t.b += width;
            p->k->gemm(&t);
        }
        if (last)
            activate(g, &t);
        t.b = b + p->rows * width;
        t.bias += width;
        t.c += width;
        t.r = t.r ? t.r + width : NULL;
        left -= t.n;
    }
}

/* Depth by depth, so that the packed rows stay in the L1. */
static void run_strassen(const LedgeGemmRun *g, size_t group, size_t m0, size_t p0, size_t p1,
                         LedgeGemmTile *t, float *room)
{
    const LedgePanels *p = &g->p;
    const float *rows[LEDGE_GEMM_MR_MAX];
    const size_t depth = strassen_depth(p);
    for (size_t k = 0; k < p->depth; k += depth) {
        const size_t n = p->depth - k < depth ? p->depth - k : depth;
        for (uint32_t i = 0; i < t->mr; i++)
            rows[i] = t->a[i] + k;
        if (!p->k->strassen->rows(rows, t->mr, n / 2, room)) {
            run_apart(g, group, m0, p0, p1, t);
            return;
        }
        set_panel(g, group, m0, p0, t);
        strassen_panels(g, t, p0, p1, k, n, room);
    }
}

/* All panels of [p0, p1) for one tile of rows whose pointers are ready. */
static void run_tile(const LedgeGemmRun *g, size_t group, size_t m0, uint32_t mr, size_t p0,
                     size_t p1, const float *const *rows, float *room)
{
    LedgeGemmTile t = {.a = rows,
                       .taps = g->taps,
                       .kc = g->kc,
                       .mr = mr,
                       .ldc = g->ldc,
                       .ldr = g->ldr,
                       .lo = g->act.lo,
                       .hi = g->act.hi};
    if (g->p.strassen) {
        run_strassen(g, group, m0, p0, p1, &t, room);
        return;
    }
    for (size_t i = p0; i < p1; i++) {
        set_panel(g, group, m0, i, &t);
        (g->p.strips ? g->p.k->strips->tile : g->p.k->gemm)(&t);
        activate(g, &t);
    }
}

/* How m rows are dealt out to tiles, evenly, so that no tile is much smaller than the others; with
 * Strassen in pairs. */
typedef struct Deal {
    size_t m, unit, units, tiles;
} Deal;

static Deal deal_rows(const LedgePanels *p, size_t m, uint32_t mr)
{
    const size_t unit = p->strassen ? 2 : 1, units = (m + unit - 1) / unit;
    size_t tiles = (units + mr / unit - 1) / (mr / unit);
    if (p->strassen && tiles > 1)
        tiles += tiles % 2; /* as many for both of two threads */
    return (Deal){m, unit, units, tiles};
}

/* Item = (block of panels, group, chunk of rows), in this order, so that groups that share B
 * find it in cache. With several threads and rows enough (thread's range of rows, block, chunk of
 * the range): from layer to layer a thread then finds its rows in its own core's cache. */
static void run_items(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeGemmRun *g = w->g;
    char *scratch = (char *)g->scratch + (size_t)thread * g->thread_bytes;
    const float **rows = (const float **)(void *)scratch;
    const size_t pointers = g->taps * LEDGE_GEMM_MR_MAX * sizeof(float *);
    float *border = (float *)(void *)(scratch + ledge__round_up(pointers, LEDGE_ALIGN));
    const Deal d = deal_rows(&g->p, g->m, g->mr);
    const size_t share = d.units / d.tiles, more = d.units % d.tiles;
    for (size_t item = begin; item < end; item++) {
        size_t chunk = item % w->chunks, block = item / w->chunks / g->groups;
        const size_t group = item / w->chunks % g->groups;
        if (w->per) {
            const size_t range = w->per * w->blocks;
            chunk = item / range * w->per + item % w->per;
            block = item % range / w->per;
        }
        const size_t p0 = block * w->block;
        const size_t p1 = p0 + w->block < g->p.count ? p0 + w->block : g->p.count;
        size_t t = chunk * d.tiles / w->chunks;
        const size_t t1 = (chunk + 1) * d.tiles / w->chunks;
        size_t m0 = t * d.units / d.tiles * d.unit, rest = t * d.units % d.tiles;
        for (size_t mr; t < t1; t++, m0 += mr) { /* units t units / tiles … (t + 1) units / tiles */
            rest += more;
            mr = (share + (rest >= d.tiles)) * d.unit;
            mr = mr < d.m - m0 ? mr : d.m - m0;
            rest -= rest >= d.tiles ? d.tiles : 0;
            g->rows(g->rows_arg, group, m0, (uint32_t)mr, rows, border);
            run_tile(g, group, m0, (uint32_t)mr, p0, p1, rows, border);
        }
    }
}

/* Panel by panel, so that what belongs to one is set up once for all rows. */
void ledge__gemm_serial(const LedgePanels *p, uint32_t mr, const float *a, size_t lda, size_t m,
                        const float *b, const float *bias, float *c, size_t ldc, const float *r,
                        size_t ldr, const LedgeAct *act)
{
    const float *rows[LEDGE_GEMM_MR_MAX];
    const size_t tiles = (m + mr - 1) / mr, share = tiles ? m / tiles : 0;
    const size_t more = tiles ? m % tiles : 0;
    LedgeGemmTile t = {
        .a = rows, .taps = 1, .kc = p->depth, .ldc = ldc, .ldr = ldr, .lo = act->lo, .hi = act->hi};
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__panel_start(p, i) * p->k->lanes;
        const float *x = a;
        t.nv = ledge__panel_nv(p, i);
        t.n = (uint32_t)(p->n - first < t.nv * p->k->lanes ? p->n - first : t.nv * p->k->lanes);
        t.b = b + first * p->depth;
        t.bias = bias + first;
        t.c = c + first;
        t.r = r ? r + first : NULL;
        for (size_t n = 0; n < tiles; n++, t.c += t.mr * ldc) {
            t.mr = (uint32_t)(share + (n < more));
            for (uint32_t j = 0; j < t.mr; j++, x += lda)
                rows[j] = x;
            p->k->gemm(&t);
            t.r = t.r ? t.r + t.mr * ldr : NULL;
        }
    }
    if (act->kind != LEDGE_ACT_CLAMP)
        ledge__act_f32(p->k, c, m, ldc, p->n, act);
}

/* Whether threads share out the columns although there are rows enough: where B is much larger than
 * A and C together, it is better that no two of them fetch all of it. */
static bool shares_columns(const LedgeGemmRun *g, size_t threads)
{
    const double k = (double)g->p.depth, n = (double)g->p.n, m = (double)g->m;
    return g->groups == 1 && k * n > 2 * m * (k + n) &&
           (g->p.count % threads == 0 || g->p.count >= 8 * threads);
}

void ledge__gemm_run(const LedgeGemmRun *g, LedgePool *pool)
{
    if (g->m == 0 || g->p.count == 0 || g->groups == 0)
        return;
    const size_t threads = (size_t)ledge__pool_threads(pool);
    const size_t panel = g->p.depth * g->p.nv * g->p.k->lanes;
    const size_t tiles = deal_rows(&g->p, g->m, g->mr).tiles;
    Walk w = {.g = g, .block = g->block};
    if (!w.block)
        w.block = panel > L2_FLOATS || panel == 0 ? 1 : L2_FLOATS / panel;
    if (w.block > g->p.count)
        w.block = g->p.count;
    w.chunks = 1;
    const bool small =
        (double)g->m * (double)g->p.depth * (double)g->p.n * (double)g->groups < SMALL_WORK;
    if (threads > 1 && !small && shares_columns(g, threads)) {
        const size_t blocks = (g->p.count + w.block - 1) / w.block;
        w.block = g->p.count / ledge__round_up(blocks, threads);
        w.chunks = tiles < ITEMS_PER_THREAD ? tiles : ITEMS_PER_THREAD;
    } else if (threads > 1 && !small && g->groups == 1 && tiles >= 2 * threads) {
        w.per = tiles / threads < ITEMS_PER_THREAD ? tiles / threads : ITEMS_PER_THREAD;
        w.chunks = w.per * threads;
    } else if (threads > 1 && !small) {
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
