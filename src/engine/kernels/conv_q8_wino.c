/* Winograd F(4×4, 3×3) of 8-bit convolution, exact in integers: a quarter of the multiplications,
 * of int16. Blocks of 4×4 output tiles go through input transform, 36 small products and output
 * transform while they stay in cache; blocks are the items of the thread pool. See
 * wino_q8_tile.h. */
#include "engine/kernels/conv_q8.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "engine/kernels/conv_wino.h"

enum {
    BLOCK_BYTES = 256 * 1024,      /* of transformed bytes and products */
    CACHED = 1024 * 1024,          /* packed weights that stay in the L2 cache */
    MOST_PACKED = 5 * 1024 * 1024, /* eight times what they are to other algorithms */
    PAD = 16,                      /* int32: keeps the 36 positions out of one cache set */
    /* What a filter sums up to, of bytes up to 255: six bits less than an int32 */
    MOST_WEIGHTS = (1 << 25) / 255,
    GROUP = 8 /* columns whose weights are transformed at once */
};

bool ledge__conv_q8_wino_serves(const LedgeConvShape *s, const LedgeQ8Kernels *k)
{
    return k->wino.nv > 0 && s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 && s->dh == 1 &&
           s->dw == 1 && s->group == 1 && s->c > 0 && s->m > 0;
}

/* In multiply-adds of bytes, measured on Zen 4: those of int16 cost two where there are products of
 * four bytes, and what a transformed value costs is told by `value`. */
bool ledge__conv_q8_wino_pays(const LedgeConvShape *s, uint32_t cpu)
{
    const LedgeQ8Kernels *k = ledge__q8_kernels(cpu);
    const bool fours = k->cpu & (LEDGE_CPU_AVX512VNNI | LEDGE_CPU_AVXVNNI);
    const double c = (double)s->c, m = (double)s->m, tiles = (double)ledge__wino_tiles(s);
    const double direct = (double)s->n * (double)s->oh * (double)s->ow * 9 * c * m;
    const double product = fours ? 2 : 1, value = fours ? 24 : 15;
    return ledge__conv_q8_wino_serves(s, k) && s->c >= 2 * k->lanes && s->m >= k->lanes &&
           tiles >= 2 * LEDGE_Q8_WINO_ROWS && /* there are two threads to serve */
           LEDGE_WINO_POSITIONS * c * m * sizeof(int16_t) <= MOST_PACKED &&
           tiles * LEDGE_WINO_POSITIONS * (c * m * product + value * (c + m)) < 0.9 * direct;
}

typedef int16_t Short __attribute__((vector_size(GROUP * 2)));

/* The sum of what is above 0 among n weights, and of what is below. */
static void sum_signs(const int8_t *w, size_t n, size_t *above, size_t *below)
{
    typedef int8_t Eight __attribute__((vector_size(GROUP)));
    enum { STEPS = INT16_MAX / 128 };
    while (n > 0) {
        Short up = {0}, down = {0};
        for (size_t i = 0; n > 0 && i < STEPS; i++) {
            const size_t now = n < GROUP ? n : GROUP;
            Eight eight = {0};
            if (now == GROUP) /* a load, not a call */
                memcpy(&eight, w, GROUP);
            else
                memcpy(&eight, w, now);
            const Short x = __builtin_convertvector(eight, Short);
            up += x & (x > 0);
            down -= x & (x < 0);
            w += now;
            n -= now;
        }
        for (int i = 0; i < GROUP; i++) {
            *above += (size_t)up[i];
            *below += (size_t)down[i];
        }
    }
}

bool ledge__conv_q8_wino_exact(const int8_t *w, size_t m, size_t each)
{
    if (each <= MOST_WEIGHTS / 128)
        return true;
    for (size_t i = 0; i < m; i++, w += each) {
        size_t above = 0, below = 0;
        sum_signs(w, each, &above, &below);
        if (above > MOST_WEIGHTS || below > MOST_WEIGHTS)
            return false;
    }
    return true;
}

/* int16 of a pixel's channels, whole vectors. */
static size_t channels(const LedgeConvQ8Plan *plan)
{
    return ledge__round_up(plan->s.c, plan->k->lanes * (size_t)2);
}

static size_t in_stride(const LedgeConvQ8Plan *plan)
{
    return plan->tiles * channels(plan) + PAD * 2;
}

static size_t out_columns(const LedgeConvQ8Plan *plan)
{
    return (plan->p.base + (plan->p.wide > 0)) * plan->k->lanes;
}

static size_t out_stride(const LedgeConvQ8Plan *plan)
{
    return plan->tiles * out_columns(plan) + PAD;
}

/* Groups of tiles that a product takes at once, over all images. */
static size_t group_count(const LedgeConvShape *s)
{
    return (ledge__wino_tiles(s) + LEDGE_Q8_WINO_ROWS - 1) / LEDGE_Q8_WINO_ROWS;
}

/* The first tile of a block: groups are dealt out evenly. */
static size_t block_start(const LedgeConvQ8Plan *plan, size_t block)
{
    return block * group_count(&plan->s) / plan->blocks * LEDGE_Q8_WINO_ROWS;
}

/* Blocks that fit into cache, as many for each thread. Weights that do not are read but once: each
 * thread takes some of the panels, and makes the transformed bytes for itself. */
static void choose_blocks(LedgeConvQ8Plan *plan)
{
    const size_t threads = (size_t)plan->threads, groups = group_count(&plan->s);
    const size_t each = LEDGE_Q8_WINO_ROWS * LEDGE_WINO_POSITIONS *
                        (channels(plan) * sizeof(int16_t) + out_columns(plan) * sizeof(int32_t));
    const bool cached = ledge__q8_panels_bytes(&plan->p) <= CACHED;
    const size_t most = each > BLOCK_BYTES / 2 ? 1 : (cached ? 1 : 2) * BLOCK_BYTES / each;
    plan->blocks = groups ? (groups + most - 1) / most : 1;
    plan->shares = !cached || groups < threads ? threads : 1;
    if (plan->shares > plan->p.count)
        plan->shares = plan->p.count;
    if (plan->shares == 1 && groups >= threads)
        plan->blocks = ledge__round_up(plan->blocks, threads);
    if (plan->blocks > groups && groups)
        plan->blocks = groups;
    plan->tiles = (groups + plan->blocks - 1) / plan->blocks * LEDGE_Q8_WINO_ROWS;
}

bool ledge__conv_q8_wino_plan(LedgeConvQ8Plan *plan)
{
    const LedgeConvShape *s = &plan->s;
    size_t bytes;
    if (!ledge__mul(s->c, 2, &bytes) ||
        !ledge__q8_panels_init(&plan->p, plan->k, plan->k->wino.nv, s->m, LEDGE_WINO_POSITIONS,
                               bytes))
        return false;
    choose_blocks(plan);
    plan->columns = plan->p.columns;
    plan->packed_bytes = ledge__q8_panels_bytes(&plan->p);
    plan->border_bytes = s->c;
    bytes = LEDGE_WINO_POSITIONS *
            (in_stride(plan) * sizeof(int16_t) + out_stride(plan) * sizeof(int32_t));
    plan->thread_bytes = ledge__thread_stride(bytes, plan->threads);
    return true;
}

/* o = G g, the rows times 24, -6, -6, 24, 24 and 6 of the usual ones. */
static inline void transform(const Short g[3], Short o[6])
{
    const Short middle = g[1] + g[1], sum = g[0] + g[2], far = g[0] + (g[2] << 2);
    o[0] = g[0] * 6;
    o[1] = sum + g[1];
    o[2] = sum - g[1];
    o[3] = far + middle;
    o[4] = far - middle;
    o[5] = g[2] * 6;
}

/* One channel of `cols` columns, whose 9 weights are `each` bytes apart. */
static void transform_weights(const int8_t *w, size_t each, size_t cols,
                              Short u[LEDGE_WINO_POSITIONS])
{
    Short half[6][3];
    for (int x = 0; x < 3; x++) {
        Short g[3], o[6];
        for (int y = 0; y < 3; y++) {
            int16_t row[GROUP] = {0};
            for (size_t j = 0; j < cols; j++)
                row[j] = w[j * each + (size_t)(y * 3 + x)];
            memcpy(&g[y], row, sizeof(row));
        }
        transform(g, o);
        for (int i = 0; i < 6; i++)
            half[i][x] = o[i];
    }
    for (int i = 0; i < 6; i++)
        transform(half[i], u + i * 6);
}

/* Two channels of GROUP columns, of which `cols` have weights: `to` is at the first position, whose
 * next is `position` bytes on. */
static void pack_pair(const int8_t *w, size_t each, size_t count, size_t cols, char *to,
                      size_t position, size_t bytes)
{
    Short u[2][LEDGE_WINO_POSITIONS];
    memset(u, 0, sizeof(u));
    for (size_t h = 0; h < count; h++)
        transform_weights(w + h * 9, each, cols, u[h]);
    for (size_t q = 0; q < LEDGE_WINO_POSITIONS; q++, to += position) {
        const Short pair[2] = {
            __builtin_shufflevector(u[0][q], u[1][q], 0, 8, 1, 9, 2, 10, 3, 11),
            __builtin_shufflevector(u[0][q], u[1][q], 4, 12, 5, 13, 6, 14, 7, 15)};
        memcpy(to, pair, bytes);
    }
}

void ledge__conv_q8_wino_pack(const LedgeConvQ8Plan *plan, const int8_t *w, int8_t *packed)
{
    const LedgeQ8Panels *p = &plan->p;
    const size_t c = plan->s.c, lanes = p->k->lanes, each = c * 9, pairs = (c + 1) / 2;
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__q8_panel_start(p, i) * lanes;
        const size_t width = ledge__q8_panel_nv(p, i) * lanes;
        char *to = (char *)packed + first * p->depth;
        for (size_t k = 0; k < pairs; k++, to += width * 4)
            for (size_t j = 0; j < width; j += GROUP) {
                const size_t at = first + j, left = p->n > at ? p->n - at : 0;
                const size_t group = width - j < GROUP ? width - j : GROUP;
                pack_pair(w + at * each + k * 18, each, c - k * 2 < 2 ? 1 : 2,
                          left < group ? left : group, to + j * 4, pairs * width * 4, group * 4);
            }
    }
}

typedef struct WinoWalk {
    const LedgeConvQ8Plan *plan;
    const LedgeConvQ8Args *a;
} WinoWalk;

static void tile_in(const WinoWalk *w, size_t t, int16_t *v)
{
    const LedgeConvShape *s = &w->plan->s;
    const LedgeWinoTile tile = ledge__wino_tile_at(s, t);
    const void *px[LEDGE_WINO_POSITIONS];
    ledge__wino_pixels(s, &tile, w->a->x + tile.n * s->h * s->w * s->c, s->c, w->a->border, px);
    const LedgeQ8WinoIn in = {px, s->c, v, in_stride(w->plan)};
    w->plan->k->wino.in(&in);
}

/* The products of one panel, `count` tiles. */
static void multiply(const LedgeConvQ8Plan *plan, const int16_t *v, const int16_t *b, uint32_t nv,
                     int32_t *m, size_t count)
{
    const size_t pairs = (plan->s.c + 1) / 2, step = pairs * nv * plan->k->lanes * 2;
    LedgeQ8WinoMul t = {.a = v, .lda = channels(plan), .rows = count, .pairs = pairs, .b = b,
                        .ahead = step * sizeof(*b), .nv = nv, .c = m, .ldc = out_columns(plan)};
    for (size_t q = 0; q < LEDGE_WINO_POSITIONS; q++) {
        plan->k->wino.mul(&t);
        t.a += in_stride(plan);
        t.b += step;
        t.c += out_stride(plan);
    }
}

/* `t0` … t0 + count - 1 of the panel that begins at channel `first`. */
static void tiles_out(const WinoWalk *w, size_t first, uint32_t nv, const int32_t *m, size_t t0,
                      size_t count)
{
    const LedgeConvQ8Plan *plan = w->plan;
    const LedgeConvShape *s = &plan->s;
    const LedgeConvQ8Args *a = w->a;
    const size_t element = a->out.kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const size_t width = nv * plan->k->lanes, n = s->m - first < width ? s->m - first : width;
    for (size_t i = 0; i < count; i++) {
        const LedgeWinoTile tile = ledge__wino_tile_at(s, t0 + i);
        const size_t pixel = (tile.n * s->oh + tile.y) * s->ow + tile.x;
        const LedgeQ8WinoOut out = {
            .m = m + i * out_columns(plan),
            .ldm = out_stride(plan),
            .h = tile.h,
            .w = tile.w,
            .c_row = s->ow * s->ldc,
            .r_row = s->ow * a->ldr,
            .t = {.init = a->init + first,
                  .scale = a->scale + first,
                  .fbias = a->fbias ? a->fbias + first : NULL,
                  .c = (char *)a->y + (pixel * s->ldc + first) * element,
                  .ldc = s->ldc,
                  .r = a->r ? (const char *)a->r + (pixel * a->ldr + first) * element : NULL,
                  .ldr = a->ldr,
                  .out = &a->out,
                  .n = (uint32_t)n}};
        plan->k->wino.out(&out);
        if (a->out.kind == LEDGE_Q8_FLOAT && a->act.kind != LEDGE_ACT_CLAMP)
            for (uint32_t y = 0; y < out.h; y++)
                ledge__act_f32(plan->act_kernels, (float *)out.t.c + y * out.c_row, out.w, s->ldc,
                               n, &a->act);
    }
}

/* Item = (block, share of the panels). */
static void run_items(void *arg, size_t begin, size_t end, int thread)
{
    const WinoWalk *w = arg;
    const LedgeConvQ8Plan *plan = w->plan;
    const LedgeQ8Panels *p = &plan->p;
    const size_t tiles = ledge__wino_tiles(&plan->s);
    int32_t *m = (int32_t *)(void *)((char *)w->a->scratch + (size_t)thread * plan->thread_bytes);
    int16_t *v = (int16_t *)(void *)(m + LEDGE_WINO_POSITIONS * out_stride(plan));
    for (size_t item = begin; item < end; item++) {
        const size_t block = item / plan->shares, share = item % plan->shares;
        const size_t t0 = block_start(plan, block), next = block_start(plan, block + 1);
        const size_t count = (next < tiles ? next : tiles) - t0;
        const size_t p1 = (share + 1) * p->count / plan->shares;
        for (size_t t = 0; t < count; t++)
            tile_in(w, t0 + t, v + t * channels(plan));
        for (size_t i = share * p->count / plan->shares; i < p1; i++) {
            const size_t first = ledge__q8_panel_start(p, i) * p->k->lanes;
            const uint32_t nv = ledge__q8_panel_nv(p, i);
            multiply(plan, v, (const int16_t *)(const void *)(w->a->packed + first * p->depth), nv,
                     m, count);
            tiles_out(w, first, nv, m, t0, count);
        }
    }
}

void ledge__conv_q8_wino_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *a,
                             LedgePool *pool)
{
    WinoWalk w = {plan, a};
    if (ledge__wino_tiles(&plan->s) > 0)
        ledge__pool_run(pool, plan->blocks * plan->shares, 1, run_items, &w);
}
