/* Convolution of NCHW planes into NHWC pixels, row by row of the output: see planes_f32_tile.h
 * for the arithmetic. The image rows that an output row reads are copied into scratch with their
 * padding, so that the kernel knows no borders. */
#include "engine/kernels/conv_f32.h"

#include <string.h>

#include "base/alloc.h"

enum { PLANES_SMALL_WORK = 64 * 1024, PLANES_ITEMS_PER_THREAD = 4 };

/* Floats from copied row to copied row: what the last tile reads past the last output is zeros. */
static bool row_floats(const LedgeConvPlan *plan, size_t *floats)
{
    const LedgeConvShape *s = &plan->s;
    const size_t px = plan->k->planes(NULL);
    size_t outputs, covered;
    if (!ledge__add(s->ow, px - 1, &outputs) || !ledge__mul(outputs, s->sw, &outputs) ||
        !ledge__mul(s->kw, s->dw, &covered) || !ledge__add(outputs, covered, &outputs) ||
        !ledge__add(s->pl, s->w, &covered))
        return false;
    outputs = outputs > covered ? outputs : covered;
    *floats = outputs < UINT32_MAX ? ledge__round_up(outputs, 16) : 0;
    return *floats > 0;
}

bool ledge__conv_f32_planes_plan(LedgeConvPlan *plan)
{
    const LedgeConvShape *s = &plan->s;
    size_t rows, depth, floats;
    if (!row_floats(plan, &floats) || !ledge__mul(s->c, s->kh, &rows) ||
        !ledge__mul(rows, floats, &floats) || !ledge__mul(rows, s->kw, &depth) ||
        !ledge__add(floats, depth, &floats) || floats > UINT32_MAX / sizeof(float))
        return false;
    ledge__panels_init_narrow(&plan->p, plan->k, s->m, depth, 2);
    plan->taps = 1;
    plan->kc = depth;
    plan->mr = 1;
    plan->packed_floats = ledge__panels_floats(&plan->p);
    plan->bias_floats = ledge__panels_columns(&plan->p);
    plan->thread_bytes = ledge__thread_stride(floats * sizeof(float), plan->threads);
    return plan->packed_floats > 0 || depth == 0 || s->m == 0;
}

void ledge__conv_f32_planes_pack(const LedgeConvPlan *plan, const void *w, const float *scale,
                                 float *packed)
{
    const size_t depth = plan->p.depth;
    ledge__panels_pack(&plan->p, w, 1, depth, depth, 0, 1, scale, packed);
}

typedef struct PlanesWalk {
    const LedgeConvPlan *plan;
    const LedgeConvArgs *a;
    size_t row;  /* floats from copied row to copied row */
    size_t kept; /* filter rows that the next output row finds copied */
    uint32_t px;
} PlanesWalk;

/* Row i of those that output row oy reads of plane c: outside the image NULL. */
static const float *image_row(const PlanesWalk *w, size_t n, size_t c, size_t oy, size_t i)
{
    const LedgeConvShape *s = &w->plan->s;
    const size_t y = oy * s->sh + i * s->dh - s->pt; /* above the image wraps round */
    return y < s->h ? w->a->x + ((n * s->c + c) * s->h + y) * s->w : NULL;
}

/* Filter row i of output row oy has its copy in a ring of kh; the next output row finds it there. */
static size_t slot_of(const LedgeConvShape *s, size_t oy, size_t i)
{
    return s->dh == 1 ? (oy * s->sh + i) % s->kh : i;
}

/* Copies filter rows `from` … kh - 1 of every plane, and notes where each tap begins. */
static void enter_rows(const PlanesWalk *w, size_t n, size_t oy, size_t from, float *copy,
                       uint32_t *at)
{
    const LedgeConvShape *s = &w->plan->s;
    for (size_t c = 0; c < s->c; c++)
        for (size_t i = 0; i < s->kh; i++) {
            const size_t row = (c * s->kh + slot_of(s, oy, i)) * w->row;
            const float *x = i < from ? NULL : image_row(w, n, c, oy, i);
            for (size_t j = 0; j < s->kw; j++)
                *at++ = (uint32_t)(row + j * s->dw);
            if (x)
                memcpy(copy + row + s->pl, x, s->w * sizeof(float));
            else if (i >= from)
                memset(copy + row + s->pl, 0, s->w * sizeof(float));
        }
}

/* Part `part` of `parts` of what the next output row will copy comes into cache meanwhile. */
static void fetch_part(const PlanesWalk *w, size_t n, size_t oy, size_t part, size_t parts)
{
    const LedgeConvShape *s = &w->plan->s;
    const size_t each = s->kh - w->kept, rows = s->c * each, line = LEDGE_ALIGN / sizeof(float);
    for (size_t r = part * rows / parts; r < (part + 1) * rows / parts; r++) {
        const float *x = image_row(w, n, r / each, oy, w->kept + r % each);
        for (size_t l = 0; x && l < s->w; l += line)
            __builtin_prefetch(x + l, 0, 2);
    }
}

static void output_row(const PlanesWalk *w, size_t row, const float *x, const uint32_t *at)
{
    const LedgeConvPlan *plan = w->plan;
    const LedgeConvArgs *a = w->a;
    const LedgeConvShape *s = &plan->s;
    const LedgePanels *p = &plan->p;
    const size_t tiles = (s->ow + w->px - 1) / w->px;
    LedgePlanesTile t = {.at = at,
                         .depth = p->depth,
                         .step = s->sw,
                         .ldc = s->ldc,
                         .ldr = a->ldr,
                         .lo = a->act.lo,
                         .hi = a->act.hi};
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = ledge__panel_start(p, i) * p->k->lanes;
        t.nv = ledge__panel_nv(p, i);
        t.n = (uint32_t)(p->n - first < t.nv * p->k->lanes ? p->n - first : t.nv * p->k->lanes);
        t.b = a->packed + first * p->rows;
        t.bias = a->bias + first;
        for (size_t ox = 0; ox < s->ow; ox += w->px) {
            if (i == 0 && row % s->oh + 1 < s->oh)
                fetch_part(w, row / s->oh, row % s->oh + 1, ox / w->px, tiles);
            const size_t pixel = row * s->ow + ox;
            t.x = x + ox * s->sw;
            t.px = (uint32_t)(s->ow - ox < w->px ? s->ow - ox : w->px);
            t.c = a->y + pixel * s->ldc + first;
            t.r = a->r ? a->r + pixel * a->ldr + first : NULL;
            plan->k->planes(&t);
        }
    }
    if (a->act.kind != LEDGE_ACT_CLAMP)
        ledge__act_f32(plan->k, a->y + row * s->ow * s->ldc, s->ow, s->ldc, s->m, &a->act);
}

static void run_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PlanesWalk *w = arg;
    const LedgeConvShape *s = &w->plan->s;
    const size_t bytes = w->plan->thread_bytes;
    float *copy = (float *)(void *)((char *)w->a->scratch + (size_t)thread * bytes);
    const size_t rows = s->c * s->kh;
    uint32_t *at = (uint32_t *)(void *)(copy + rows * w->row);
    memset(copy, 0, rows * w->row * sizeof(float)); /* the padding stays so */
    for (size_t row = begin; row < end; row++) {
        const size_t oy = row % s->oh;
        enter_rows(w, row / s->oh, oy, row > begin && oy > 0 ? w->kept : 0, copy, at);
        output_row(w, row, copy, at);
    }
}

void ledge__conv_f32_planes_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool)
{
    const LedgeConvShape *s = &plan->s;
    const size_t rows = s->n * s->oh;
    PlanesWalk w = {plan, a, 0, s->dh == 1 && s->sh < s->kh ? s->kh - s->sh : 0,
                    plan->k->planes(NULL)};
    if (rows == 0 || s->ow == 0 || s->m == 0 || !row_floats(plan, &w.row))
        return;
    const size_t share = rows / ((size_t)ledge__pool_threads(pool) * PLANES_ITEMS_PER_THREAD);
    const bool small =
        (double)rows * (double)s->ow * (double)s->m * (double)plan->p.depth < PLANES_SMALL_WORK;
    ledge__pool_run(small ? NULL : pool, rows, share > 1 ? share : 1, run_rows, &w);
}
