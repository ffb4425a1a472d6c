/* The inverted bottleneck in 8 bits, strip by strip; see block_q8.h.
 *
 * Each of the three convolutions runs over the rows that a strip of output needs. Expanded rows
 * stand in a ring, row y at y modulo its size, so that the next strip finds those it needs too. */
#include "engine/kernels/block_q8.h"

#include "base/alloc.h"

/* Of rows in scratch: with so many they stay in L2, and calls are few. Many cores tend to share
 * their L2, and what they hold together must not outgrow the tensor that is saved. */
enum { STRIP_BYTES = 192 * 1024, ALL_BYTES = 512 * 1024 };

/* Rows of the depthwise input from the first to the last that an output row reads. */
static size_t reach(const LedgeConvShape *s)
{
    return (s->kh - 1) * s->dh + 1;
}

/* Output rows of a strip: as many as there is room for and a chunk has, at least one. */
static size_t strip_rows(const LedgeConvShape *s, bool expands, size_t chunks, int threads)
{
    const size_t most = (s->oh + chunks - 1) / chunks, share = ALL_BYTES / (size_t)threads;
    const size_t room = share < STRIP_BYTES ? share : STRIP_BYTES;
    const size_t in = expands ? s->w * s->c : 0, out = s->ow * s->c;
    const size_t first = in * reach(s) + out, next = in * s->sh + out;
    const size_t rows = first < room && next ? (room - first) / next + 1 : 1;
    return rows < most ? rows : most;
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

bool ledge__block_q8_plan(const LedgeConvQ8Plan *expand, const LedgeConvQ8Plan *dw,
                          const LedgeConvQ8Plan *project, int threads, LedgeBlockQ8Plan *plan)
{
    const LedgeConvShape *s = &dw->s;
    const size_t share = threads > 1 && s->n % (size_t)threads ? (size_t)threads : 1;
    size_t out, bytes;
    *plan = (LedgeBlockQ8Plan){.expand = expand, .dw = dw, .project = project,
                               .chunks = share < s->oh ? share : s->oh,
                               .threads = threads < 1 ? 1 : threads};
    plan->rows = plan->chunks ? strip_rows(s, expand != NULL, plan->chunks, plan->threads) : 0;
    if (plan->rows == 0)
        return true;
    if ((expand && (!ledge__mul(s->w, s->c, &plan->ring) ||
                    !ledge__mul(plan->ring, (plan->rows - 1) * s->sh + reach(s), &plan->ring))) ||
        !ledge__mul(s->ow, s->c, &out) || !ledge__mul(out, plan->rows, &out) ||
        plan->ring > SIZE_MAX / 8 || out > SIZE_MAX / 8)
        return false;
    plan->ring = ledge__round_up(plan->ring, LEDGE_ALIGN);
    bytes = max_of(max_of(expand ? expand->thread_bytes : 0, dw->thread_bytes),
                   project->thread_bytes);
    if (!ledge__add(bytes, plan->ring + ledge__round_up(out, LEDGE_ALIGN), &bytes))
        return false;
    plan->thread_bytes = ledge__thread_stride(bytes, plan->threads);
    return ledge__mul(plan->thread_bytes, (size_t)plan->threads, &plan->scratch_bytes);
}

typedef struct Walk {
    const LedgeBlockQ8Plan *p;
    const LedgeBlockQ8Args *a;
} Walk;

/* A thread's: plans and arguments of windows, changed from strip to strip. */
typedef struct Strip {
    LedgeConvQ8Plan expand, dw, project;
    LedgeConvQ8Args ea, da, pa;
    uint8_t *ring;
    size_t end; /* rows of the image before this one were expanded or are not needed */
} Strip;

static void set_rows(LedgeConvQ8Plan *p, size_t rows)
{
    p->s.n = 1;
    p->s.h = p->s.oh = rows;
}

/* Expands the rows of an image up to `end` that the ring does not hold yet, from `first` on. */
static void fill_ring(Strip *t, const uint8_t *image, size_t first, size_t end)
{
    const size_t in = t->dw.s.w * t->expand.s.c, out = t->dw.s.w * t->dw.s.c;
    size_t y = t->end > first ? t->end : first;
    for (size_t rows; y < end; y += rows) {
        const size_t slot = y % t->da.ring, left = t->da.ring - slot;
        rows = end - y < left ? end - y : left;
        set_rows(&t->expand, rows);
        t->ea.x = image + y * in;
        t->ea.y = t->ring + slot * out;
        ledge__conv_q8_run(&t->expand, &t->ea, NULL);
    }
    t->end = end;
}

/* Output rows oy … oy + count - 1 of image n. */
static void run_strip(const Walk *w, Strip *t, size_t n, size_t oy, size_t count)
{
    const LedgeConvShape *s = &w->p->dw->s;
    const LedgeConvQ8Args *pa = &w->a->project;
    const size_t element = pa->out.kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const size_t top = oy * s->sh, below = top + (count - 1) * s->sh + reach(s);
    const size_t pixel = (n * s->oh + oy) * s->ow;
    if (w->p->expand)
        fill_ring(t, w->a->expand.x + n * s->h * s->w * w->p->expand->s.c,
                  top < s->pt ? 0 : top - s->pt,
                  below < s->pt ? 0 : below - s->pt < s->h ? below - s->pt : s->h);
    else
        t->da.x = w->a->dw.x + n * s->h * s->w * s->c;
    set_rows(&t->dw, count);
    t->dw.s.h = s->h;
    t->dw.s.pt = s->pt - top; /* wraps round: its rows are those of the image */
    ledge__conv_q8_run(&t->dw, &t->da, NULL);
    set_rows(&t->project, count);
    t->pa.y = (char *)pa->y + pixel * t->project.s.ldc * element;
    t->pa.r = pa->r ? (const char *)pa->r + pixel * pa->ldr * element : NULL;
    ledge__conv_q8_run(&t->project, &t->pa, NULL);
}

/* Item = (image, chunk of its output rows), one at a time. */
static void run_chunk(void *arg, size_t item, size_t end, int thread)
{
    const Walk *w = arg;
    const LedgeBlockQ8Plan *p = w->p;
    const size_t rows = p->dw->s.oh, chunk = item % p->chunks;
    const size_t last = (chunk + 1) * rows / p->chunks;
    char *scratch = (char *)w->a->scratch + (size_t)thread * p->thread_bytes;
    Strip t = {.dw = *p->dw, .project = *p->project, .da = w->a->dw, .pa = w->a->project,
               .ring = (uint8_t *)scratch};
    (void)end;
    if (p->expand) {
        t.expand = *p->expand;
        t.ea = w->a->expand;
        t.da.x = t.ring;
        t.da.ring = (p->rows - 1) * p->dw->s.sh + reach(&p->dw->s);
    }
    scratch += p->ring;
    t.da.y = scratch;
    t.pa.x = (uint8_t *)scratch;
    scratch += ledge__round_up(p->rows * p->dw->s.ow * p->dw->s.c, LEDGE_ALIGN);
    t.ea.scratch = t.da.scratch = t.pa.scratch = scratch;
    for (size_t oy = chunk * rows / p->chunks; oy < last; oy += p->rows)
        run_strip(w, &t, item / p->chunks, oy, last - oy < p->rows ? last - oy : p->rows);
}

static void tame(const LedgeConvQ8Plan *p, LedgeConvQ8Args *a)
{
    a->out.tame = ledge__q8_scales_tame(a->scale, p->columns, &a->out);
}

void ledge__block_q8_run(const LedgeBlockQ8Plan *plan, const LedgeBlockQ8Args *given,
                         LedgePool *pool)
{
    LedgeBlockQ8Args a = *given;
    if (ledge__pool_threads(pool) > plan->threads)
        pool = NULL; /* scratch was sized for fewer */
    Walk w = {plan, &a};
    if (plan->rows == 0)
        return;
    if (plan->expand)
        tame(plan->expand, &a.expand);
    tame(plan->dw, &a.dw);
    tame(plan->project, &a.project);
    ledge__pool_run(pool, plan->dw->s.n * plan->chunks, 1, run_chunk, &w);
}
