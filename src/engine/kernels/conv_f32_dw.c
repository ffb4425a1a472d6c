/* Depthwise convolution over NHWC: the walk over output rows; see dw_f32_tile.h for the
 * arithmetic. Each output row gets a table of pixel pointers, with zeros where padding is, so
 * that the kernel knows no borders. */
#include "engine/kernels/conv_f32.h"

#include <string.h>

#include "base/alloc.h"

enum { DW_SMALL_WORK = 64 * 1024, DW_ITEMS_PER_THREAD = 4 };

/* Pixels of one image row that the filter row walks over, padding included. */
static size_t row_pixels(const LedgeConvShape *s)
{
    return (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
}

bool ledge__conv_f32_dw_plan(LedgeConvPlan *plan)
{
    const LedgeConvShape *s = &plan->s;
    size_t bytes;
    plan->taps = s->kh * s->kw;
    plan->kc = 1;
    ledge__panels_init(&plan->p, plan->k, s->c, plan->taps);
    plan->packed_floats = ledge__panels_floats(&plan->p);
    plan->bias_floats = ledge__panels_columns(&plan->p);
    plan->zeros_floats = s->c;
    if (s->ow == 0)
        return true;
    if (!ledge__mul(row_pixels(s) + 1, s->kh * sizeof(float *), &bytes) || bytes > SIZE_MAX / 2)
        return false;
    plan->thread_bytes = ledge__thread_stride(bytes, plan->threads);
    return plan->packed_floats > 0 || s->c == 0;
}

void ledge__conv_f32_dw_pack(const LedgeConvPlan *plan, const void *w, float *packed)
{
    const size_t lanes = plan->k->lanes, taps = plan->taps;
    for (size_t c0 = 0; c0 < plan->s.c; c0 += lanes, packed += lanes * taps) {
        memset(packed, 0, lanes * taps * sizeof(float));
        for (size_t c = c0; c < c0 + lanes && c < plan->s.c; c++)
            for (size_t t = 0; t < taps; t++)
                memcpy(&packed[t * lanes + c - c0],
                       (const char *)w + (c * taps + t) * sizeof(float), sizeof(float));
    }
}

typedef struct DwWalk {
    const LedgeConvPlan *plan;
    const LedgeConvArgs *a;
} DwWalk;

static void fill_row(const LedgeConvShape *s, const LedgeConvArgs *a, const float *image, size_t y,
                     const float **px)
{
    const size_t count = row_pixels(s);
    if (y >= s->h) {
        for (size_t j = 0; j < count; j++)
            px[j] = a->zeros;
        return;
    }
    const float *row = image + y * s->w * s->c;
    size_t j = 0;
    for (; j < count && j < s->pl; j++)
        px[j] = a->zeros;
    for (; j < count && j - s->pl < s->w; j++)
        px[j] = row + (j - s->pl) * s->c;
    for (; j < count; j++)
        px[j] = a->zeros;
}

static void run_rows(void *arg, size_t begin, size_t end, int thread)
{
    const DwWalk *w = arg;
    const LedgeConvPlan *plan = w->plan;
    const LedgeConvArgs *a = w->a;
    const LedgeConvShape *s = &plan->s;
    const float **px = (const float **)(void *)((char *)a->scratch +
                                                (size_t)thread * plan->thread_bytes);
    const size_t count = row_pixels(s);
    const float *const **rows = (const float *const **)(void *)(px + s->kh * count);
    for (size_t row = begin; row < end; row++) {
        const size_t n = row / s->oh, oy = row % s->oh;
        const float *image = a->x + n * s->h * s->w * s->c;
        /* rows that the last output row saw too keep their tables, one place further up */
        const bool next = row > begin && oy > 0 && s->dh == 1 && s->sh < s->kh;
        const size_t kept = next ? s->kh - s->sh : 0;
        for (size_t i = 0; i < kept; i++) {
            const float *const *table = rows[i];
            rows[i] = rows[i + s->sh];
            rows[i + s->sh] = table;
        }
        for (size_t i = next ? kept : 0; i < s->kh; i++) {
            if (!next)
                rows[i] = px + i * count;
            fill_row(s, a, image, oy * s->sh + i * s->dh - s->pt,
                     px + (size_t)(rows[i] - (const float *const *)px));
        }
        const LedgeDwTile t = {.rows = (const float *const *const *)rows,
                               .kh = (uint32_t)s->kh,
                               .kw = (uint32_t)s->kw,
                               .step = (uint32_t)s->sw,
                               .dil = (uint32_t)s->dw,
                               .w = a->packed,
                               .bias = a->bias,
                               .y = a->y + row * s->ow * s->ldc,
                               .ldy = s->ldc,
                               .r = a->r ? a->r + row * s->ow * a->ldr : NULL,
                               .ldr = a->ldr,
                               .ow = s->ow,
                               .c = s->c,
                               .lo = a->act.lo,
                               .hi = a->act.hi};
        plan->k->dw(&t);
        if (a->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(plan->k, t.y, s->ow, s->ldc, s->c, &a->act);
    }
}

void ledge__conv_f32_dw_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool)
{
    const LedgeConvShape *s = &plan->s;
    const size_t rows = s->n * s->oh;
    if (rows == 0 || s->ow == 0 || s->c == 0)
        return;
    const size_t share = rows / ((size_t)ledge__pool_threads(pool) * DW_ITEMS_PER_THREAD);
    const bool small = (double)rows * (double)s->ow * (double)s->c * (double)plan->taps <
                       DW_SMALL_WORK;
    DwWalk w = {plan, a};
    ledge__pool_run(small ? NULL : pool, rows, share > 1 ? share : 1, run_rows, &w);
}
