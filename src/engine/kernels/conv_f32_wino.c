/* Winograd F(4×4, 3×3) convolution: weights transformed once, then blocks of 4×4 output tiles
 * go through input transform, 36 small GEMMs and output transform while they stay in cache.
 * Blocks are the items of the thread pool. */
#include "engine/kernels/conv_f32.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/kernels/conv_wino.h"

enum {
    WINO_BLOCK_FLOATS = 192 * 1024, /* of transformed input and output in a block */
    WINO_MIN_TILES = 12,            /* fewer, and the weights are streamed too often */
    WINO_PAD = 16 /* keeps the 36 positions of a channel out of one cache set */
};

static size_t in_stride(const LedgeConvPlan *plan)
{
    return plan->tiles * plan->s.c + WINO_PAD;
}

static size_t out_stride(const LedgeConvPlan *plan)
{
    return plan->tiles * plan->s.m + WINO_PAD;
}

bool ledge__conv_f32_wino_plan(LedgeConvPlan *plan, uint32_t cpu)
{
    const LedgeConvShape *s = &plan->s;
    size_t channels, floats, bytes;
    plan->k = ledge__conv_f32_kernels(cpu, s->m);
    plan->in = ledge__conv_f32_kernels(cpu, s->c);
    ledge__panels_init(&plan->p, plan->k, s->m, s->c);
    plan->taps = 1;
    plan->kc = s->c;
    plan->mr = ledge__panels_mr(&plan->p);
    plan->bias_floats = ledge__panels_columns(&plan->p);
    plan->zeros_floats = s->c > 64 ? s->c : 64; /* also the bias of the products */
    const size_t tiles = ledge__wino_tiles(s);
    if (!ledge__add(s->c, s->m, &channels) || !ledge__mul(channels, LEDGE_WINO_POSITIONS, &floats))
        return false;
    size_t block = floats ? WINO_BLOCK_FLOATS / floats : 1;
    block = block < WINO_MIN_TILES ? WINO_MIN_TILES : block;
    const size_t share = (tiles + (size_t)plan->threads - 1) / (size_t)plan->threads;
    block = block > share ? share : block;
    block = block < 1 ? 1 : block;
    /* blocks of one size, so that the last is not a remnant; as many for each thread */
    const size_t blocks = ledge__round_up((tiles + block - 1) / block, (size_t)plan->threads);
    plan->tiles = blocks ? (tiles + blocks - 1) / blocks : 1;
    if (!ledge__mul(floats, plan->tiles, &floats) ||
        !ledge__add(floats, 2 * LEDGE_WINO_POSITIONS * WINO_PAD, &floats) ||
        !ledge__mul(floats, sizeof(float), &bytes) || bytes > SIZE_MAX / 2)
        return false;
    plan->thread_bytes = ledge__thread_stride(bytes, plan->threads);
    const size_t panels = ledge__panels_floats(&plan->p);
    return panels > 0 && ledge__mul(panels, LEDGE_WINO_POSITIONS, &plan->packed_floats);
}

/* u = G g Gᵀ in double precision, rounded once. */
static void transform_weights(const char *g, float u[LEDGE_WINO_POSITIONS])
{
    static const double m[6][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
    float w[9];
    double half[6][3];
    memcpy(w, g, sizeof(w));
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++)
            half[i][j] = m[i][0] * w[j] + m[i][1] * w[3 + j] + m[i][2] * w[6 + j];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            u[i * 6 + j] =
                (float)(half[i][0] * m[j][0] + half[i][1] * m[j][1] + half[i][2] * m[j][2]);
}

void ledge__conv_f32_wino_pack(const LedgeConvPlan *plan, const void *w, float *packed)
{
    const LedgePanels *p = &plan->p;
    const size_t c = plan->s.c, lanes = p->k->lanes, position = ledge__panels_floats(p);
    memset(packed, 0, plan->packed_floats * sizeof(float));
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__panel_start(p, i) * lanes;
        const size_t width = ledge__panel_nv(p, i) * lanes;
        for (size_t j = 0; j < width && first + j < p->n; j++)
            for (size_t k = 0; k < c; k++) {
                float u[LEDGE_WINO_POSITIONS];
                transform_weights((const char *)w + ((first + j) * c + k) * 9 * sizeof(float), u);
                float *to = packed + first * c + k * width + j;
                for (size_t q = 0; q < LEDGE_WINO_POSITIONS; q++)
                    to[q * position] = u[q];
            }
    }
}

typedef struct WinoWalk {
    const LedgeConvPlan *plan;
    const LedgeConvArgs *a;
} WinoWalk;

static void tile_in(const WinoWalk *w, size_t t, float *v)
{
    const LedgeConvShape *s = &w->plan->s;
    const LedgeWinoTile tile = ledge__wino_tile_at(s, t);
    const void *px[LEDGE_WINO_POSITIONS];
    ledge__wino_pixels(s, &tile, w->a->x + tile.n * s->h * s->w * s->c, s->c * sizeof(float),
                       w->a->zeros, px);
    const LedgeWinoIn in = {px, v, in_stride(w->plan), s->c};
    w->plan->in->wino_in(&in);
}

static void tile_out(const WinoWalk *w, size_t t, const float *m)
{
    const LedgeConvShape *s = &w->plan->s;
    const LedgeConvArgs *a = w->a;
    const LedgeWinoTile tile = ledge__wino_tile_at(s, t);
    const size_t pixel = (tile.n * s->oh + tile.y) * s->ow + tile.x;
    const LedgeWinoOut out = {.m = m,
                              .ldm = out_stride(w->plan),
                              .n = s->m,
                              .bias = a->bias,
                              .y = a->y + pixel * s->ldc,
                              .ldy_row = s->ow * s->ldc,
                              .ldy = s->ldc,
                              .r = a->r ? a->r + pixel * a->ldr : NULL,
                              .ldr_row = s->ow * a->ldr,
                              .ldr = a->ldr,
                              .h = tile.h,
                              .w = tile.w,
                              .lo = a->act.lo,
                              .hi = a->act.hi};
    w->plan->k->wino_out(&out);
    if (a->act.kind != LEDGE_ACT_CLAMP)
        for (uint32_t i = 0; i < out.h; i++)
            ledge__act_f32(w->plan->k, out.y + i * out.ldy_row, out.w, out.ldy, s->m, &a->act);
}

/* m = v × u at every position, `count` tiles. */
static void multiply(const WinoWalk *w, const float *v, float *m, size_t count)
{
    const LedgeConvPlan *plan = w->plan;
    const LedgePanels *p = &plan->p;
    const size_t lanes = p->k->lanes, c = plan->s.c, groups = (count + plan->mr - 1) / plan->mr;
    const float *rows[LEDGE_GEMM_MR_MAX];
    LedgeGemmTile t = {.a = rows, .taps = 1, .kc = c, .bias = w->a->zeros, .ldc = plan->s.m,
                       .lo = -INFINITY, .hi = INFINITY};
    const float *u = w->a->packed;
    for (size_t q = 0; q < LEDGE_WINO_POSITIONS; q++, v += in_stride(plan), m += out_stride(plan))
        for (size_t i = 0; i < p->count; i++) {
            const size_t first = ledge__panel_start(p, i) * lanes;
            t.nv = ledge__panel_nv(p, i);
            t.n = (uint32_t)(p->n - first < t.nv * lanes ? p->n - first : t.nv * lanes);
            t.b = u;
            t.ahead = c * t.nv * lanes;
            u += c * t.nv * lanes;
            for (size_t g = 0; g < groups; g++) {
                const size_t m0 = g * count / groups;
                t.mr = (uint32_t)((g + 1) * count / groups - m0);
                for (size_t j = 0; j < t.mr; j++)
                    rows[j] = v + (m0 + j) * c;
                t.c = m + m0 * plan->s.m + first;
                p->k->gemm(&t);
            }
        }
}

static void run_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const WinoWalk *w = arg;
    const LedgeConvPlan *plan = w->plan;
    const size_t tiles = ledge__wino_tiles(&plan->s);
    float *v = (float *)(void *)((char *)w->a->scratch + (size_t)thread * plan->thread_bytes);
    float *m = v + LEDGE_WINO_POSITIONS * in_stride(plan);
    for (size_t b = begin; b < end; b++) {
        const size_t t0 = b * plan->tiles;
        const size_t count = tiles - t0 < plan->tiles ? tiles - t0 : plan->tiles;
        for (size_t t = 0; t < count; t++)
            tile_in(w, t0 + t, v + t * plan->s.c);
        multiply(w, v, m, count);
        for (size_t t = 0; t < count; t++)
            tile_out(w, t0 + t, m + t * plan->s.m);
    }
}

void ledge__conv_f32_wino_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool)
{
    const size_t tiles = ledge__wino_tiles(&plan->s);
    if (tiles == 0 || plan->s.m == 0)
        return;
    WinoWalk w = {plan, a};
    ledge__pool_run(pool, (tiles + plan->tiles - 1) / plan->tiles, 1, run_blocks, &w);
}
