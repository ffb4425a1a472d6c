/* The walk over heads and blocks of query rows; see attention_f32.h. First all heads' K and V
 * are packed into panels for the GEMM micro-kernel, then blocks of rows are shared out. */
#include "engine/kernels/attention_f32.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum {
    BLOCK_FLOATS = 8192, /* of scores: a block's rows stay in the L1 with their panel */
    MOST_TILES = 8
};

static bool add_product(size_t *sum, size_t a, size_t b, size_t size)
{
    size_t t;
    return ledge__mul(a, b, &t) && ledge__mul(t, size, &t) && t <= SIZE_MAX - LEDGE_ALIGN &&
           ledge__add(*sum, ledge__round_up(t, LEDGE_ALIGN), sum);
}

bool ledge__attention_f32_plan(const LedgeAttentionShape *s, uint32_t cpu, int threads,
                               LedgeAttentionPlan *out)
{
    const LedgeF32Kernels *kernels = ledge__f32_kernels(cpu);
    size_t heads, bytes = 0;
    LedgeAttentionPlan p = {.s = *s, .vec = ledge__vec(cpu), .threads = threads};
    if (s->keys > SIZE_MAX / 1024 || s->v_head > SIZE_MAX / 1024 ||
        !ledge__mul(s->batch, s->heads, &heads))
        return false;
    ledge__panels_init(&p.k, kernels, s->keys, s->head);
    ledge__panels_init(&p.v, kernels, s->v_head, s->keys);
    const uint32_t mk = ledge__panels_mr(&p.k), mv = ledge__panels_mr(&p.v);
    p.mr = mk < mv ? mk : mv;
    const size_t row = ledge__panels_columns(&p.k);
    size_t tiles = row ? BLOCK_FLOATS / row / p.mr : 1;
    tiles = tiles < 1 ? 1 : tiles > MOST_TILES ? MOST_TILES : tiles;
    p.block = tiles * p.mr;
    p.k_floats = ledge__panels_floats(&p.k);
    p.v_floats = ledge__panels_floats(&p.v);
    p.zero_floats = row > ledge__panels_columns(&p.v) ? row : ledge__panels_columns(&p.v);
    /* one more for a mask row */
    p.thread_floats =
        ledge__thread_stride(((p.block + 1) * row + 1) * sizeof(float), threads) / sizeof(float);
    if (!add_product(&bytes, heads, p.k_floats, sizeof(float)) ||
        !add_product(&bytes, heads, p.v_floats, sizeof(float)) ||
        !add_product(&bytes, 1, p.zero_floats, sizeof(float)) ||
        !add_product(&bytes, (size_t)threads, p.thread_floats, sizeof(float)))
        return false;
    p.scratch_bytes = bytes;
    *out = p;
    return true;
}

typedef struct Walk {
    const LedgeAttentionPlan *p;
    const LedgeAttentionArgs *a;
    float *k, *v, *zeros, *threads; /* parts of the scratch */
    size_t blocks;                  /* of query rows of one head */
} Walk;

static const float *head_of(const LedgeHeads *x, size_t batch, size_t head, size_t size)
{
    return x->p + batch * x->batch + head * size;
}

/* Kᵀ in panels: row c of a panel holds element c of its keys. */
static void pack_keys(const LedgeAttentionPlan *p, const float *k, size_t ld, float *to)
{
    const size_t lanes = p->k.k->lanes, depth = p->s.head;
    for (size_t i = 0; i < p->k.count; i++) {
        const size_t first = ledge__panel_start(&p->k, i) * lanes;
        const size_t width = ledge__panel_nv(&p->k, i) * lanes;
        const size_t n = p->s.keys - first < width ? p->s.keys - first : width;
        float *panel = to + first * depth;
        if (n < width)
            memset(panel, 0, width * depth * sizeof *panel);
        p->vec->transpose_32((const uint32_t *)(const void *)(k + first * ld), ld,
                             (uint32_t *)(void *)panel, width, n, depth);
    }
}

/* Rows are short: a call of memcpy would take longer than the copy. */
static inline void copy_row(const float *from, size_t n, float *to)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        memcpy(to + i, from + i, 64);
    for (; i < n; i++)
        to[i] = from[i];
}

static void pack_values(const LedgeAttentionPlan *p, const float *v, size_t ld, float *to)
{
    const size_t lanes = p->v.k->lanes, depth = p->s.keys;
    for (size_t i = 0; i < p->v.count; i++) {
        const size_t first = ledge__panel_start(&p->v, i) * lanes;
        const size_t width = ledge__panel_nv(&p->v, i) * lanes;
        const size_t n = p->s.v_head - first < width ? p->s.v_head - first : width;
        float *panel = to + first * depth;
        for (size_t t = 0; t < depth; t++, panel += width) {
            copy_row(v + t * ld + first, n, panel);
            if (n < width)
                memset(panel + n, 0, (width - n) * sizeof *panel);
        }
    }
}

static void pack_heads(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeAttentionPlan *p = w->p;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / p->s.heads, h = i % p->s.heads;
        pack_keys(p, head_of(&w->a->k, b, h, p->s.head), w->a->k.row, w->k + i * p->k_floats);
        pack_values(p, head_of(&w->a->v, b, h, p->s.v_head), w->a->v.row, w->v + i * p->v_floats);
    }
}

/* c[rows][panels->n] = a[rows][depth] × packed, panel by panel so that one stays in the L1. */
static void multiply(const LedgePanels *panels, uint32_t mr, const float *zeros, const float *a,
                     size_t lda, size_t rows, const float *packed, float *c, size_t ldc)
{
    const size_t lanes = panels->k->lanes;
    const float *pointers[LEDGE_GEMM_MR_MAX];
    LedgeGemmTile t = {.a = pointers,
                       .taps = 1,
                       .kc = panels->depth,
                       .bias = zeros,
                       .ldc = ldc,
                       .lo = -INFINITY,
                       .hi = INFINITY};
    for (size_t i = 0; i < panels->count; i++) {
        const size_t first = ledge__panel_start(panels, i) * lanes;
        t.nv = ledge__panel_nv(panels, i);
        t.n = (uint32_t)(panels->n - first < t.nv * lanes ? panels->n - first : t.nv * lanes);
        t.b = packed + first * panels->depth;
        for (size_t m = 0; m < rows; m += mr) {
            t.mr = (uint32_t)(rows - m < mr ? rows - m : mr);
            for (uint32_t r = 0; r < t.mr; r++)
                pointers[r] = a + (m + r) * lda;
            t.c = c + m * ldc + first;
            panels->k->gemm(&t);
        }
    }
}

/* The mask of one row of scores; one that repeats a number is spread out in `room`. */
static const float *mask_row(const LedgeAttentionArgs *a, size_t b, size_t h, size_t s, size_t keys,
                             float *room)
{
    if (!a->mask)
        return NULL;
    const float *m = a->mask + b * a->mask_batch + h * a->mask_head + s * a->mask_query;
    if (a->mask_key)
        return m;
    for (size_t i = 0; i < keys; i++)
        room[i] = *m;
    return room;
}

static void normalise(const Walk *w, size_t b, size_t h, size_t row, size_t rows, float *scores)
{
    const LedgeAttentionPlan *p = w->p;
    const LedgeAttentionArgs *a = w->a;
    const size_t ld = ledge__panels_columns(&p->k);
    const float *masks[LEDGE_GEMM_MR_MAX * MOST_TILES];
    float *room = scores + p->block * ld; /* of one mask row */
    if (a->mask && !a->mask_key) {
        for (size_t r = 0; r < rows; r++)
            p->vec->softmax(scores + r * ld, mask_row(a, b, h, row + r, p->s.keys, room), a->scale,
                            scores + r * ld, p->s.keys, false);
        return;
    }
    for (size_t r = 0; a->mask && r < rows; r++)
        masks[r] = mask_row(a, b, h, row + r, p->s.keys, room);
    p->vec->softmax_rows(scores, ld, rows, p->s.keys, a->scale, a->mask ? masks : NULL);
}

static void run_block(const Walk *w, size_t head, size_t row, size_t rows, float *scores)
{
    const LedgeAttentionPlan *p = w->p;
    const LedgeAttentionArgs *a = w->a;
    const size_t b = head / p->s.heads, h = head % p->s.heads;
    const size_t ld = ledge__panels_columns(&p->k), ldy = p->s.heads * p->s.v_head;
    const float *q = head_of(&a->q, b, h, p->s.head) + row * a->q.row;
    float *y = a->y + (b * p->s.queries + row) * ldy + h * p->s.v_head;
    multiply(&p->k, p->mr, w->zeros, q, a->q.row, rows, w->k + head * p->k_floats, scores, ld);
    normalise(w, b, h, row, rows, scores);
    multiply(&p->v, p->mr, w->zeros, scores, ld, rows, w->v + head * p->v_floats, y, ldy);
}

static void run_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeAttentionPlan *p = w->p;
    float *scores = w->threads + (size_t)thread * p->thread_floats;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i % w->blocks * p->block, left = p->s.queries - row;
        run_block(w, i / w->blocks, row, left < p->block ? left : p->block, scores);
    }
}

static float *take(char **at, size_t floats)
{
    float *p = (float *)(void *)*at;
    *at += ledge__round_up(floats * sizeof(float), LEDGE_ALIGN);
    return p;
}

void ledge__attention_f32_run(const LedgeAttentionPlan *p, const LedgeAttentionArgs *a,
                              LedgePool *pool)
{
    const size_t heads = p->s.batch * p->s.heads;
    char *at = a->scratch;
    Walk w = {.p = p, .a = a, .blocks = (p->s.queries + p->block - 1) / p->block};
    if (ledge__pool_threads(pool) > p->threads)
        pool = NULL; /* scratch was sized for fewer */
    w.k = take(&at, heads * p->k_floats);
    w.v = take(&at, heads * p->v_floats);
    w.zeros = take(&at, p->zero_floats);
    w.threads = take(&at, (size_t)p->threads * p->thread_floats);
    memset(w.zeros, 0, p->zero_floats * sizeof(float));
    ledge__pool_run(pool, heads, 1, pack_heads, &w);
    ledge__pool_run(pool, heads * w.blocks, 1, run_blocks, &w);
}
