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
    NEAR_ROWS = 8 * 1024,    /* bytes of rows that stay in L1 while panels go by */
    ITEMS_PER_THREAD = 4,
    /* of a thread's scratch for each tap: pointers to rows, and which tap it is */
    TAP_BYTES = LEDGE_Q8_MR_MAX * sizeof(uint8_t *) + sizeof(LedgeQ8Tap)
};

bool ledge__q8_panels_init(LedgeQ8Panels *p, const LedgeQ8Kernels *k, uint32_t most, size_t n,
                           size_t taps, size_t kc)
{
    size_t bytes;
    if (n > SIZE_MAX / 2 || kc > SIZE_MAX / 2)
        return false;
    const size_t vectors = (n + k->lanes - 1) / k->lanes;
    *p = (LedgeQ8Panels){.k = k, .n = n, .columns = vectors * k->lanes, .taps = taps, .kc = kc,
                         .most = most};
    p->count = (uint32_t)((vectors + most - 1) / most);
    p->base = p->count ? (uint32_t)(vectors / p->count) : 0;
    p->wide = p->count ? (uint32_t)(vectors % p->count) : 0;
    return ledge__mul(taps, ledge__round_up(kc, k->step), &p->depth) &&
           ledge__mul(p->columns, p->depth, &bytes);
}

uint32_t ledge__q8_panels_mr(const LedgeQ8Panels *p)
{
    const uint32_t most = p->base + (p->wide > 0);
    return most ? p->k->mr[most - 1] : 1;
}

bool ledge__q8_scales_tame(const float *scale, size_t n, const LedgeQ8Out *o)
{
    typedef int32_t Bits __attribute__((vector_size(16))); /* ordered like the magnitudes */
    enum { LANES = sizeof(Bits) / sizeof(float), ONE = 0x3f800000 };
    Bits wild = {0};
    for (size_t i = 0; i < n; i += LANES) {
        Bits b;
        memcpy(&b, scale + i, sizeof(b));
        wild |= (b & INT32_MAX) >= ONE;
    }
    /* 2^31 times the largest float below 1 is an int32; sums of bytes are far from it */
    return !(wild[0] | wild[1] | wild[2] | wild[3]) &&
           (o->kind != LEDGE_Q8_SUM || (o->y_scale < 65536.0f && o->r_scale < 65536.0f));
}

typedef uint8_t Bytes __attribute__((vector_size(16)));

static inline Bytes load_bytes(const uint8_t *p)
{
    Bytes x;
    memcpy(&x, p, sizeof(x));
    return x;
}

/* Four rows of 16 columns each, turned into four bytes of each column. */
static void turn_rows(const uint8_t *w, size_t row, uint8_t flip, uint8_t *to)
{
    Bytes f;
    memset(&f, flip, sizeof(f));
    const Bytes r0 = load_bytes(w) ^ f, r1 = load_bytes(w + row) ^ f;
    const Bytes r2 = load_bytes(w + 2 * row) ^ f, r3 = load_bytes(w + 3 * row) ^ f;
#define LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
    const Bytes a = __builtin_shufflevector(r0, r1, LOW), b = __builtin_shufflevector(r2, r3, LOW);
    const Bytes c = __builtin_shufflevector(r0, r1, HIGH), d = __builtin_shufflevector(r2, r3, HIGH);
#undef LOW
#undef HIGH
#define LOW  0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23
#define HIGH 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31
    const Bytes out[4] = {
        __builtin_shufflevector(a, b, LOW), __builtin_shufflevector(a, b, HIGH),
        __builtin_shufflevector(c, d, LOW), __builtin_shufflevector(c, d, HIGH)};
#undef LOW
#undef HIGH
    memcpy(to, out, sizeof(out));
}

/* One step of k, zeros beyond, for `cols` columns, zeros up to `width`. Matrices that are not
 * constants are packed at each run: whole steps of contiguous rows or columns go fast. */
static void pack_step(const uint8_t *w, size_t sn, size_t sc, size_t k, size_t step, size_t cols,
                      size_t width, uint8_t flip, uint8_t *to)
{
    size_t j = 0;
    if (sc == 1 && k == step && step == 4) {
        for (; j < cols; j++) {
            uint32_t x;
            memcpy(&x, w + j * sn, sizeof(x));
            x ^= 0x01010101u * flip;
            memcpy(to + j * 4, &x, sizeof(x));
        }
    } else if (sn == 1 && k == step && step == 4) {
        for (; j + 16 <= cols; j += 16)
            turn_rows(w + j, sc, flip, to + j * 4);
    }
    memset(to + j * step, 0, (width - j) * step);
    for (; j < cols; j++)
        for (size_t i = 0; i < k; i++)
            to[j * step + i] = w[j * sn + i * sc] ^ flip;
}

void ledge__q8_panels_pack(const LedgeQ8Panels *p, const void *w, size_t sn, size_t st, size_t sc,
                           uint8_t flip, int8_t *packed)
{
    const size_t lanes = p->k->lanes, step = p->k->step;
    uint8_t *to = (uint8_t *)packed;
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__q8_panel_start(p, i) * lanes;
        const size_t width = ledge__q8_panel_nv(p, i) * lanes;
        const size_t cols = p->n - first < width ? p->n - first : width;
        const uint8_t *from = (const uint8_t *)w + first * sn;
        for (size_t t = 0; t < p->taps; t++)
            for (size_t c = 0; c < p->kc; c += step, to += width * step)
                pack_step(from + t * st + c * sc, sn, sc, p->kc - c < step ? p->kc - c : step, step,
                          cols, width, flip, to);
    }
}

size_t ledge__gemm_q8_thread_bytes(size_t taps, size_t border, int threads)
{
    size_t pointers, sum;
    if (!ledge__mul(taps, TAP_BYTES, &pointers) ||
        pointers > SIZE_MAX - LEDGE_ALIGN ||
        !ledge__add(ledge__round_up(pointers, LEDGE_ALIGN), border, &sum) || sum > SIZE_MAX / 2)
        return 0;
    return ledge__thread_stride(sum, threads);
}

typedef struct Walk {
    const LedgeQ8Run *g;
    size_t block, blocks, chunks;
} Walk;

/* Eight bytes at a time, as four sums of 16 bits that cannot overflow within a block. */
static uint32_t sum_bytes(const uint8_t *p, size_t n)
{
    enum { BLOCK = 128 };
    const uint64_t even = 0x00ff00ff00ff00ffu;
    uint32_t sum = 0;
    while (n >= 8) {
        uint64_t four = 0, x;
        for (size_t i = 0; n >= 8 && i < BLOCK; i++, p += 8, n -= 8) {
            memcpy(&x, p, sizeof(x));
            four += (x & even) + (x >> 8 & even);
        }
        four = (four & 0x0000ffff0000ffffu) + (four >> 16 & 0x0000ffff0000ffffu);
        sum += (uint32_t)four + (uint32_t)(four >> 32);
    }
    while (n > 0)
        sum += p[--n];
    return sum;
}

static void sum_rows(const LedgeQ8Rows *rows, size_t kc, int32_t *sums)
{
    for (uint32_t i = 0; i < rows->mr; i++) {
        uint32_t s = 0;
        for (size_t t = 0; t < rows->taps; t++)
            s += sum_bytes(rows->at[t * rows->mr + i], kc);
        sums[i] = (int32_t)s;
    }
}

/* All panels of [p0, p1) for these tiles, whose pointers are ready. */
static void run_tiles(const LedgeQ8Run *g, const LedgeQ8Rows *rows, size_t p0, size_t p1)
{
    const LedgeQ8Panels *p = &g->p;
    const size_t lanes = p->k->lanes, element = g->out->kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const size_t columns = rows->group * p->columns, bytes = p->columns * p->depth;
    const size_t c = rows->m0 * g->ldc + rows->group * p->n;
    const size_t r = rows->m0 * g->ldr + rows->group * p->n;
    int32_t sums[LEDGE_Q8_MR_MAX];
    LedgeQ8Tile t = {.a = rows->at, .taps = rows->taps, .kc = rows->kc, .mr = rows->mr,
                     .live = rows->some ? rows->live : NULL, .ldc = g->ldc, .ldr = g->ldr,
                     .out = g->out, .row_sum = sums, .repeat = rows->repeat,
                     .a_step = rows->mr * g->a_step};
    if (g->b_zero)
        sum_rows(rows, p->kc, sums);
    for (size_t i = p0; i < p1; i++) {
        const size_t first = ledge__q8_panel_start(p, i) * lanes, at = columns + first;
        t.nv = ledge__q8_panel_nv(p, i);
        t.n = (uint32_t)(p->n - first < t.nv * lanes ? p->n - first : t.nv * lanes);
        t.b = g->b + rows->group * bytes + first * p->depth;
        t.ahead = bytes > NEAR_BYTES ? t.nv * lanes * p->depth : 0; /* the next panel */
        t.init = g->init + at;
        t.scale = g->scale + at;
        t.fbias = g->fbias ? g->fbias + at : NULL;
        t.b_zero = g->b_zero ? g->b_zero + at : NULL;
        t.c = (char *)g->c + (c + first) * element;
        t.r = g->r ? (const char *)g->r + (r + first) * element : NULL;
        p->k->gemm(&t);
    }
    /* Over all panels at once: long rows are worth the constants that an activation loads. */
    const size_t n0 = ledge__q8_panel_start(p, p0) * lanes;
    const size_t n1 = ledge__q8_panel_start(p, p1) * lanes;
    if (g->act && g->act->kind != LEDGE_ACT_CLAMP)
        ledge__act_f32(g->act_kernels, (float *)g->c + c + n0, rows->mr * rows->repeat, g->ldc,
                       (n1 < p->n ? n1 : p->n) - n0, g->act);
}

/* `tiles` of rows.mr rows each, from row rows.m0 on. */
static void run_strip(const LedgeQ8Run *g, char *scratch, size_t p0, size_t p1, LedgeQ8Rows rows,
                      size_t tiles)
{
    const size_t near = NEAR_ROWS / (g->p.kc * rows.mr + 1), most = g->b_zero || !near ? 1 : near;
    const size_t padded = ledge__round_up(g->p.kc, g->p.k->step);
    rows.at = (const uint8_t **)(void *)scratch;
    rows.live = (LedgeQ8Tap *)(void *)(rows.at + g->p.taps * LEDGE_Q8_MR_MAX);
    rows.border = (uint8_t *)scratch + ledge__round_up(g->p.taps * TAP_BYTES, LEDGE_ALIGN);
    while (tiles > 0) {
        rows.repeat = tiles < most ? tiles : most;
        rows.taps = g->p.taps;
        rows.some = false;
        rows.kc = g->rows(g->rows_arg, &rows) ? padded : g->p.kc;
        run_tiles(g, &rows, p0, p1);
        rows.m0 += rows.mr * rows.repeat;
        tiles -= rows.repeat;
    }
}

static size_t tiles_of_line(const LedgeQ8Run *g)
{
    return (g->line + g->mr - 1) / g->mr;
}

/* Tiles t0 … t1 - 1 of one line that begins at row m0. Rows are dealt out evenly, so that no tile
 * is much smaller than the others: first those with one row more. */
static void run_line(const LedgeQ8Run *g, char *scratch, size_t p0, size_t p1, LedgeQ8Rows rows,
                     size_t t0, size_t t1)
{
    const size_t tiles = tiles_of_line(g);
    const size_t share = g->line / tiles, more = g->line % tiles;
    const size_t middle = t1 < more ? t1 : t0 > more ? t0 : more;
    rows.m0 += t0 * share + (t0 < more ? t0 : more);
    rows.mr = (uint32_t)share + 1;
    run_strip(g, scratch, p0, p1, rows, middle - t0);
    rows.m0 += (middle - t0) * rows.mr;
    rows.mr = (uint32_t)share;
    run_strip(g, scratch, p0, p1, rows, t1 - middle);
}

static size_t tiles_of(const LedgeQ8Run *g)
{
    return g->m / g->line * tiles_of_line(g);
}

/* Item = (block of panels, group, chunk of tiles), in this order. */
static void run_items(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeQ8Run *g = w->g;
    char *scratch = (char *)g->scratch + (size_t)thread * g->thread_bytes;
    const size_t tiles = tiles_of(g), each = tiles_of_line(g);
    for (size_t item = begin; item < end; item++) {
        const size_t chunk = item % w->chunks, group = item / w->chunks % g->groups;
        const size_t p0 = item / w->chunks / g->groups * w->block;
        const size_t p1 = p0 + w->block < g->p.count ? p0 + w->block : g->p.count;
        const size_t t1 = (chunk + 1) * tiles / w->chunks;
        for (size_t t = chunk * tiles / w->chunks; t < t1;) {
            const size_t line = t / each, to = (line + 1) * each < t1 ? (line + 1) * each : t1;
            const LedgeQ8Rows rows = {.group = group, .m0 = line * g->line};
            run_line(g, scratch, p0, p1, rows, t - line * each, to - line * each);
            t = to;
        }
    }
}

void ledge__gemm_q8_run(const LedgeQ8Run *g, LedgePool *pool)
{
    if (g->m == 0 || g->p.count == 0 || g->groups == 0)
        return;
    const size_t threads = (size_t)ledge__pool_threads(pool);
    const size_t panel = g->p.depth * g->p.most * g->p.k->lanes;
    const size_t tiles = tiles_of(g);
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
