/* The inverted bottleneck, row by row; see block_f32.h. */
#include "engine/kernels/block_f32.h"

#include <string.h>

#include "base/alloc.h"

enum { STRIPS_PER_THREAD = 1 }; /* at each strip's edge some rows are expanded twice */

static size_t row_pixels(const LedgeConvShape *s)
{
    return (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
}

/* Parts of a thread's scratch, in floats and pointers. */
typedef struct Parts {
    size_t ring, out;      /* floats: kh expanded rows; one depthwise row */
    size_t tables;         /* pointers: kh rows and one of zeros */
} Parts;

static bool parts_of(const LedgeBlockPlan *p, Parts *q, size_t *bytes)
{
    const LedgeConvShape *s = &p->dw.s;
    size_t floats, pointers;
    q->ring = 0;
    if (p->expand.s.m &&
        (!ledge__mul(s->w, s->c, &q->ring) || !ledge__mul(q->ring, s->kh, &q->ring)))
        return false;
    if (!ledge__mul(s->ow, s->c, &q->out) || !ledge__mul(row_pixels(s), s->kh + 1, &q->tables) ||
        !ledge__add(q->ring, q->out, &floats) || !ledge__mul(floats, sizeof(float), &floats) ||
        !ledge__mul(q->tables + s->kh, sizeof(float *), &pointers) || floats > SIZE_MAX / 4 ||
        pointers > SIZE_MAX / 4)
        return false;
    *bytes = ledge__thread_stride(ledge__round_up(floats, LEDGE_ALIGN) + pointers, p->threads);
    return true;
}

static LedgeConvShape pointwise(const LedgeConvShape *dw, size_t h, size_t w, size_t c, size_t m)
{
    return (LedgeConvShape){.n = dw->n, .h = h, .w = w, .c = c, .oh = h, .ow = w, .m = m,
                            .ldc = m, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1,
                            .group = 1, .serial = true};
}

bool ledge__block_f32_plan(const LedgeConvShape *dw, size_t in, size_t out, uint32_t cpu,
                           int threads, LedgeBlockPlan *plan)
{
    const LedgeConvShape expand = pointwise(dw, dw->h, dw->w, in, dw->c);
    const LedgeConvShape project = pointwise(dw, dw->oh, dw->ow, dw->c, out);
    Parts parts;
    memset(plan, 0, sizeof(*plan));
    plan->threads = threads < 1 ? 1 : threads;
    if (dw->ow == 0 || dw->oh == 0 ||
        (in && !ledge__conv_f32_plan(&expand, cpu, 1, LEDGE_CONV_POINTWISE, &plan->expand)) ||
        !ledge__conv_f32_plan(dw, cpu, 1, LEDGE_CONV_DEPTHWISE, &plan->dw) ||
        plan->dw.path != LEDGE_CONV_DEPTHWISE ||
        !ledge__conv_f32_plan(&project, cpu, 1, LEDGE_CONV_POINTWISE, &plan->project))
        return false;
    return parts_of(plan, &parts, &plan->thread_bytes) &&
           ledge__mul(plan->thread_bytes, (size_t)plan->threads, &plan->scratch_bytes);
}

typedef struct Strip {
    const LedgeBlockPlan *p;
    const LedgeBlockArgs *a;
    float *ring, *out;
    const float **tables; /* of slot i at i × row_pixels; the last has zeros only */
    const float *const **rows;
    size_t next;          /* first input row that is not in the ring yet */
} Strip;

typedef struct BlockWalk {
    const LedgeBlockPlan *p;
    const LedgeBlockArgs *a;
    size_t strips;
} BlockWalk;

/* The table of a ring slot: its pixels, zeros where padding is. */
static void fill_table(const Strip *t, size_t slot, const float *row)
{
    const LedgeConvShape *s = &t->p->dw.s;
    const size_t count = row_pixels(s);
    const float **px = t->tables + slot * count;
    for (size_t j = 0; j < count; j++)
        px[j] = row && j - s->pl < s->w ? row + (j - s->pl) * s->c : t->a->dw.zeros;
}

/* Brings input row y of image n into its slot. */
static void enter_row(const Strip *t, size_t n, size_t y)
{
    const LedgeConvShape *s = &t->p->dw.s;
    const LedgeConvPlan *e = &t->p->expand;
    const LedgeConvArgs *a = &t->a->expand;
    const size_t pixel = (n * s->h + y) * s->w;
    if (!e->s.m) {
        fill_table(t, y % s->kh, t->a->dw.x + pixel * s->c);
        return;
    }
    ledge__gemm_serial(&e->p, e->mr, a->x + pixel * e->s.c, e->s.c, s->w, a->packed, a->bias,
                       t->ring + y % s->kh * s->w * s->c, s->c, NULL, 0, &a->act);
}

static void output_row(Strip *t, size_t n, size_t oy)
{
    const LedgeConvPlan *d = &t->p->dw, *q = &t->p->project;
    const LedgeConvShape *s = &d->s;
    const LedgeConvArgs *da = &t->a->dw, *pa = &t->a->project;
    const size_t first = oy * s->sh, count = row_pixels(s), pixel = (n * s->oh + oy) * s->ow;
    for (size_t i = 0; i < s->kh; i++) {
        const size_t y = first + i - s->pt; /* above the image wraps round */
        for (; y < s->h && t->next <= y; t->next++)
            if (t->next + s->kh > y)
                enter_row(t, n, t->next);
        t->rows[i] = t->tables + (y < s->h ? y % s->kh : s->kh) * count;
    }
    const LedgeDwTile dw = {.rows = t->rows, .kh = (uint32_t)s->kh, .kw = (uint32_t)s->kw,
                            .step = (uint32_t)s->sw, .dil = 1, .w = da->packed, .bias = da->bias,
                            .y = t->out, .ldy = s->c, .ow = s->ow, .c = s->c, .lo = da->act.lo,
                            .hi = da->act.hi};
    d->k->dw(&dw);
    if (da->act.kind != LEDGE_ACT_CLAMP)
        ledge__act_f32(d->k, t->out, s->ow, s->c, s->c, &da->act);
    ledge__gemm_serial(&q->p, q->mr, t->out, s->c, s->ow, pa->packed, pa->bias,
                       pa->y + pixel * q->s.m, q->s.m, pa->r ? pa->r + pixel * pa->ldr : NULL,
                       pa->ldr, &pa->act);
}

static void run_strips(void *arg, size_t begin, size_t end, int thread)
{
    const BlockWalk *w = arg;
    const LedgeConvShape *s = &w->p->dw.s;
    Parts q;
    size_t bytes;
    if (!parts_of(w->p, &q, &bytes))
        return; /* the plan has seen to that */
    char *scratch = (char *)w->a->scratch + (size_t)thread * bytes;
    Strip t = {.p = w->p, .a = w->a, .ring = (float *)(void *)scratch};
    t.out = t.ring + q.ring;
    const size_t floats = ledge__round_up((q.ring + q.out) * sizeof(float), LEDGE_ALIGN);
    t.tables = (const float **)(void *)(scratch + floats);
    t.rows = (const float *const **)(void *)(t.tables + q.tables);
    fill_table(&t, s->kh, NULL);
    for (size_t i = 0; w->p->expand.s.m && i < s->kh; i++)
        fill_table(&t, i, t.ring + i * s->w * s->c);
    for (size_t item = begin; item < end; item++) {
        const size_t n = item / w->strips, strip = item % w->strips;
        const size_t last = (strip + 1) * s->oh / w->strips;
        t.next = 0;
        for (size_t oy = strip * s->oh / w->strips; oy < last; oy++)
            output_row(&t, n, oy);
    }
}

void ledge__block_f32_run(const LedgeBlockPlan *plan, const LedgeBlockArgs *a, LedgePool *pool)
{
    const size_t threads = (size_t)ledge__pool_threads(pool);
    BlockWalk w = {plan, a, threads > 1 ? threads * STRIPS_PER_THREAD : 1};
    if (ledge__pool_threads(pool) > plan->threads)
        pool = NULL; /* scratch was sized for fewer */
    if (w.strips > plan->dw.s.oh)
        w.strips = plan->dw.s.oh;
    ledge__pool_run(pool, plan->dw.s.n * w.strips, 1, run_strips, &w);
}
