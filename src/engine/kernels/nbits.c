/* Plans, packs and runs products with blocked weights; see nbits.h. */
#include "engine/kernels/nbits.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define NBITS_ISA(name, flags) extern const LedgeNbitsKernels ledge__nbits_##name;
#include "engine/kernels/nbits.def"
#undef NBITS_ISA

enum {
    GROUP = LEDGE_NBITS_GROUP,
    DIRECT_ROWS = 4,     /* with more rows of A than this, codes are widened into panels */
    PANEL_COLUMNS = 64,  /* about so many columns of a panel … */
    PANEL_FLOATS = 16384 /* … and so many floats of it at a time: they stay in the L2 */
};

static const LedgeNbitsKernels *const tables[] = {
#define NBITS_ISA(name, flags) &ledge__nbits_##name,
#include "engine/kernels/nbits.def"
#undef NBITS_ISA
};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

const LedgeNbitsKernels *ledge__nbits_at(size_t i)
{
    return i < N_TABLES ? tables[i] : NULL;
}

const LedgeNbitsKernels *ledge__nbits(uint32_t cpu)
{
    for (size_t i = N_TABLES; i-- > 1;)
        if ((tables[i]->needs & cpu) == tables[i]->needs)
            return tables[i];
    return tables[0];
}

/* ---- planning ---- */

static bool product(size_t a, size_t b, size_t c, size_t *out)
{
    return ledge__mul(a, b, out) && ledge__mul(*out, c, out) && *out <= SIZE_MAX / 4;
}

static size_t zero_size(LedgeNbitsZeros kind)
{
    return kind == LEDGE_NBITS_BYTES ? 1 : kind == LEDGE_NBITS_FLOATS ? sizeof(float) : 0;
}

static bool plan_packed(LedgeNbitsPlan *p)
{
    size_t numbers;
    if (!product(p->depth, GROUP, p->s.bits, &p->group_codes) ||
        !product(p->blocks, GROUP, zero_size(p->s.zeros), &p->group_zeros) ||
        !product(p->blocks, GROUP, p->groups, &numbers))
        return false;
    p->group_codes /= 8;
    return product(p->group_codes, p->groups, 1, &p->codes_bytes) &&
           product(numbers, sizeof(float), 1, &p->scale_bytes) &&
           product(p->group_zeros, p->groups, 1, &p->zero_bytes);
}

/* Rows as the kernels read them: padded, with a scale and a sum for each block. */
static bool plan_scratch(LedgeNbitsPlan *p)
{
    size_t rows, floats, all;
    const size_t element = p->path == LEDGE_NBITS_ROUNDED ? 1 : sizeof(float);
    if (p->path == LEDGE_NBITS_PANELS) {
        p->row_bytes = 0;
        p->thread_bytes = (p->chunk * p->width + PANEL_COLUMNS) * sizeof(float) +
                          LEDGE_GEMM_MR_MAX * sizeof(float *);
    } else {
        if (!product(p->depth, element, 1, &rows) || !product(p->blocks, 2, sizeof(float), &floats))
            return false;
        p->row_bytes = ledge__round_up(rows, LEDGE_ALIGN) + floats;
        p->thread_bytes = LEDGE_NBITS_MR * GROUP * sizeof(float);
    }
    p->row_bytes = ledge__round_up(p->row_bytes, LEDGE_ALIGN);
    p->thread_bytes = ledge__thread_stride(p->thread_bytes, p->threads);
    return product(p->row_bytes, p->s.rows, 1, &rows) &&
           product(p->thread_bytes, (size_t)p->threads, 1, &all) &&
           ledge__add(rows, all, &p->scratch_bytes);
}

bool ledge__nbits_plan(const LedgeNbitsShape *s, uint32_t cpu, int threads, LedgeNbitsPlan *out)
{
    LedgeNbitsPlan p = {
        .s = *s, .kernels = ledge__nbits(cpu), .f32 = ledge__f32_kernels(cpu), .threads = threads};
    if (s->block == 0 || s->block % LEDGE_NBITS_UNIT != 0 || s->k == 0 || s->n == 0 ||
        s->k > SIZE_MAX / 64 || s->n > SIZE_MAX / 64 || s->block > SIZE_MAX / 64)
        return false;
    p.blocks = (s->k + s->block - 1) / s->block;
    p.groups = (s->n + GROUP - 1) / GROUP;
    p.depth = p.blocks * s->block;
    /* 255 * 127 * block must fit an int32 */
    p.path = s->round_a && s->block <= 1 << 15 ? LEDGE_NBITS_ROUNDED
             : s->rows <= DIRECT_ROWS          ? LEDGE_NBITS_DIRECT
                                               : LEDGE_NBITS_PANELS;
    const size_t most = (size_t)p.f32->nv * p.f32->lanes;
    p.width = most > PANEL_COLUMNS ? PANEL_COLUMNS : most;
    if (p.width > GROUP)
        p.width -= p.width % GROUP;
    p.chunk = PANEL_FLOATS / PANEL_COLUMNS;
    p.chunk = p.chunk > p.depth ? p.depth : p.chunk; /* a multiple of LEDGE_NBITS_UNIT */
    if (!plan_packed(&p) || !plan_scratch(&p))
        return false;
    *out = p;
    return true;
}

/* ---- packing ---- */

static void pack_codes(const LedgeNbitsPlan *p, const uint8_t *row, size_t column, uint8_t *to)
{
    const uint32_t bits = p->s.bits;
    const size_t word = 32 / bits;
    for (size_t k = 0; k < p->depth; k += word, to += 4 * GROUP)
        for (size_t i = 0; i < 4; i++) {
            uint32_t byte = 0;
            for (size_t j = 0; j < 8 / bits; j++)
                byte |= (uint32_t)row[k + 4 * j + i] << (bits * j);
            to[4 * column + i] = (uint8_t)byte;
        }
}

void ledge__nbits_pack_codes(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, uint8_t *row,
                             void *packed)
{
    memset(packed, 0, p->codes_bytes);
    for (size_t n = 0; n < p->s.n; n++) {
        from->codes(from->arg, n, row);
        memset(row + p->s.k, 0, p->depth - p->s.k);
        pack_codes(p, row, n % GROUP, (uint8_t *)packed + n / GROUP * p->group_codes);
    }
}

void ledge__nbits_pack_scales(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, void *packed)
{
    float *to = packed;
    memset(packed, 0, p->scale_bytes);
    for (size_t n = 0; n < p->s.n; n++)
        for (size_t b = 0; b < p->blocks; b++)
            to[(n / GROUP * p->blocks + b) * GROUP + n % GROUP] = from->number(from->arg, n, b);
}

void ledge__nbits_pack_zeros(const LedgeNbitsPlan *p, const LedgeNbitsSource *from, void *packed)
{
    uint8_t *bytes = packed;
    float *floats = packed;
    memset(packed, 0, p->zero_bytes);
    for (size_t n = 0; n < p->s.n; n++)
        for (size_t b = 0; b < p->blocks; b++) {
            const size_t at = (n / GROUP * p->blocks + b) * GROUP + n % GROUP;
            const float zero = from->number(from->arg, n, b);
            if (p->s.zeros == LEDGE_NBITS_BYTES)
                bytes[at] = (uint8_t)zero;
            else
                floats[at] = zero;
        }
}

static LedgeNbitsGroup group_at(const LedgeNbitsPlan *p, const LedgeNbitsArgs *a, size_t g)
{
    LedgeNbitsGroup group = {.codes = (const uint8_t *)a->codes + g * p->group_codes,
                             .scales = (const float *)a->scales + g * p->blocks * GROUP};
    if (a->zeros)
        group.zeros = (const uint8_t *)a->zeros + g * p->group_zeros;
    return group;
}

/* ---- running ---- */

typedef struct Walk {
    const LedgeNbitsPlan *p;
    const LedgeNbitsArgs *a;
    char *rows, *threads; /* parts of the scratch: rows with what is known of them, then threads */
    size_t codes;         /* bytes of a row; then the scales of its blocks, then their sums */
} Walk;

static float *row_scales(const Walk *w, size_t m)
{
    return (float *)(void *)(w->rows + m * w->p->row_bytes + w->codes);
}

/* A row padded and, for sums of bytes, rounded. */
static void take_row(const Walk *w, size_t m)
{
    const LedgeNbitsPlan *p = w->p;
    const size_t k = p->s.k, block = p->s.block;
    const float *x = w->a->a + m * k;
    char *row = w->rows + m * p->row_bytes;
    float *scale = row_scales(w, m), *sum = scale + p->blocks;
    if (p->path == LEDGE_NBITS_DIRECT) {
        float *to = (float *)(void *)row;
        memcpy(to, x, k * sizeof *to);
        memset(to + k, 0, (p->depth - k) * sizeof *to);
        for (size_t b = 0; b < p->blocks && p->s.zeros != LEDGE_NBITS_MIDDLE; b++)
            sum[b] = p->kernels->sum_block(to + b * block, block);
        return;
    }
    for (size_t b = 0; b < p->blocks; b++) {
        const size_t left = k - b * block;
        sum[b] = p->kernels->round_block(x + b * block, left < block ? left : block, block,
                                         (int8_t *)row + b * block, &scale[b]);
    }
}

static void take_rows(void *arg, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t m = begin; m < end; m++)
        take_row(arg, m);
}

/* What follows the product: bias, residual, activation. */
static void finish(const Walk *w, const float *c, size_t m0, uint32_t rows, size_t n0, size_t n)
{
    const LedgeNbitsPlan *p = w->p;
    const LedgeNbitsArgs *a = w->a;
    for (uint32_t i = 0; i < rows; i++) {
        const size_t at = (m0 + i) * p->s.n + n0;
        float *y = a->y + at;
        for (size_t j = 0; j < n; j++) {
            float v = c[i * GROUP + j];
            v = a->bias ? v + a->bias[n0 + j] : v;
            v = a->r ? v + a->r[at + j] : v;
            v = v < a->act.lo ? a->act.lo : v;
            y[j] = v > a->act.hi ? a->act.hi : v;
        }
        if (a->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(p->f32, y, 1, p->s.n, n, &a->act);
    }
}

/* One group of columns by all rows. */
static void run_group(const Walk *w, size_t g, float *c)
{
    const LedgeNbitsPlan *p = w->p;
    const bool rounded = p->path == LEDGE_NBITS_ROUNDED;
    const size_t left = p->s.n - g * GROUP, ld = p->row_bytes / sizeof(float);
    LedgeNbitsTile t = {.g = group_at(p, w->a, g),
                        .zero_kind = p->s.zeros,
                        .bits = p->s.bits,
                        .blocks = p->blocks,
                        .block = p->s.block,
                        .lda = rounded ? p->row_bytes : ld,
                        .ld_a = ld,
                        .c = c,
                        .ldc = GROUP};
    for (size_t m = 0; m < p->s.rows; m += LEDGE_NBITS_MR) {
        t.mr = (uint32_t)(p->s.rows - m < LEDGE_NBITS_MR ? p->s.rows - m : LEDGE_NBITS_MR);
        t.a = w->rows + m * p->row_bytes;
        t.a_scale = row_scales(w, m);
        t.a_sum = t.a_scale + p->blocks;
        (rounded ? p->kernels->bytes : p->kernels->floats)(&t);
        finish(w, c, m, t.mr, g * GROUP, left < GROUP ? left : GROUP);
    }
}

static void run_groups(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    float *c = (float *)(void *)(w->threads + (size_t)thread * w->p->thread_bytes);
    for (size_t g = begin; g < end; g++)
        run_group(w, g, c);
}

/* Codes of columns n0 … n0 + width - 1 from row k0 on, as floats. */
static void widen(const Walk *w, size_t n0, size_t width, size_t k0, size_t kc, float *panel)
{
    const LedgeNbitsPlan *p = w->p;
    LedgeNbitsWiden t = {.zero_kind = p->s.zeros,
                         .bits = p->s.bits,
                         .block = p->s.block,
                         .k0 = k0,
                         .k1 = k0 + ledge__round_up(kc, LEDGE_NBITS_UNIT),
                         .width = width};
    for (size_t n = n0; n < n0 + width; n += t.count) {
        const size_t room = GROUP - n % GROUP, want = n0 + width - n;
        t.g = group_at(p, w->a, n / GROUP);
        t.first = n % GROUP;
        t.count = want < room ? want : room;
        t.to = panel + (n - n0);
        p->kernels->widen(&t);
    }
}

typedef struct Panel {
    float *b, *bias;
    const float **pointers;
} Panel;

/* All rows by one panel of columns, whose codes are widened a chunk of K at a time. */
static void run_panel(const Walk *w, size_t n0, const Panel *room)
{
    const LedgeNbitsPlan *p = w->p;
    const LedgeNbitsArgs *a = w->a;
    const size_t n = p->s.n - n0 < p->width ? p->s.n - n0 : p->width;
    const uint32_t lanes = p->f32->lanes, nv = (uint32_t)((n + lanes - 1) / lanes);
    const uint32_t most = p->f32->mr[nv - 1];
    LedgeGemmTile t = {.a = room->pointers,
                       .taps = 1,
                       .b = room->b,
                       .ldc = p->s.n,
                       .ldr = p->s.n,
                       .nv = nv,
                       .n = (uint32_t)n};
    memset(room->bias, 0, nv * lanes * sizeof(float));
    if (a->bias)
        memcpy(room->bias, a->bias + n0, n * sizeof(float));
    for (size_t k0 = 0; k0 < p->s.k; k0 += p->chunk) {
        const bool last = p->s.k - k0 <= p->chunk;
        t.kc = last ? p->s.k - k0 : p->chunk;
        widen(w, n0, nv * lanes, k0, t.kc, room->b);
        t.bias = k0 == 0 ? room->bias : NULL;
        t.lo = last ? a->act.lo : -INFINITY;
        t.hi = last ? a->act.hi : INFINITY;
        for (size_t m = 0; m < p->s.rows; m += t.mr) {
            t.mr = (uint32_t)(p->s.rows - m < most ? p->s.rows - m : most);
            for (uint32_t i = 0; i < t.mr; i++)
                room->pointers[i] = a->a + (m + i) * p->s.k + k0;
            t.c = a->y + m * p->s.n + n0;
            t.r = last && a->r ? a->r + m * p->s.n + n0 : NULL;
            p->f32->gemm(&t);
            if (last && a->act.kind != LEDGE_ACT_CLAMP)
                ledge__act_f32(p->f32, t.c, t.mr, p->s.n, n, &a->act);
        }
    }
}

static void run_panels(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    char *at = w->threads + (size_t)thread * w->p->thread_bytes;
    Panel room = {.b = (float *)(void *)at};
    room.bias = room.b + w->p->chunk * w->p->width;
    room.pointers = (const float **)(void *)(room.bias + PANEL_COLUMNS);
    for (size_t i = begin; i < end; i++)
        run_panel(w, i * w->p->width, &room);
}

void ledge__nbits_run(const LedgeNbitsPlan *p, const LedgeNbitsArgs *a, LedgePool *pool)
{
    const size_t element = p->path == LEDGE_NBITS_ROUNDED ? 1 : sizeof(float);
    Walk w = {.p = p, .a = a, .rows = a->scratch};
    w.codes = ledge__round_up(p->depth * element, LEDGE_ALIGN);
    w.threads = w.rows + p->row_bytes * p->s.rows;
    if (ledge__pool_threads(pool) > p->threads)
        pool = NULL; /* scratch was sized for fewer */
    if (p->path == LEDGE_NBITS_PANELS) {
        ledge__pool_run(pool, (p->s.n + p->width - 1) / p->width, 1, run_panels, &w);
        return;
    }
    ledge__pool_run(p->s.k * p->s.rows < 1 << 14 ? NULL : pool, p->s.rows, 1, take_rows, &w);
    ledge__pool_run(p->depth * p->s.n * p->s.rows < 1 << 16 ? NULL : pool, p->groups, 4, run_groups,
                    &w);
}
