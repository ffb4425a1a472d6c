/* 8-bit depthwise convolution over NHWC: the walk over output rows; see dw_q8_tile.h for the
 * arithmetic. Each output row gets a table of pixel pointers, with x_zero where padding is, so
 * that the kernel knows no borders. */
#include "engine/kernels/conv_q8.h"

#include <string.h>

#include "base/alloc.h"

enum { DW_SMALL_WORK = 256 * 1024, DW_ITEMS_PER_THREAD = 4 };

/* Pixels of one image row that the filter row walks over, padding included. */
static size_t row_pixels(const LedgeConvShape *s)
{
    return (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
}

/* A set for older CPUs of the same kind of which the channels fill a block; `best`: there is none. */
static const LedgeQ8Kernels *older(const LedgeQ8Kernels *best, size_t channels)
{
    const LedgeQ8Kernels *k;
    for (size_t i = 0; (k = ledge__q8_kernels_at(i)) != NULL; i++)
        if (k->lanes < best->lanes && 4 * (size_t)k->lanes <= channels)
            return k;
    return best;
}

bool ledge__conv_q8_dw_plan(LedgeConvQ8Plan *plan)
{
    const LedgeConvShape *s = &plan->s;
    size_t taps, bytes, all;
    if (s->c > SIZE_MAX / 2)
        return false;
    if (s->c < 4 * (size_t)plan->k->lanes) /* no whole block, but perhaps one of the narrower */
        plan->k = ledge__q8_narrower(plan->k);
    if (s->c < 4 * (size_t)plan->k->lanes) /* a part of a block costs more than older vectors do */
        plan->k = older(plan->k, s->c);
    const size_t block = 4 * (size_t)plan->k->lanes;
    plan->tail = ledge__q8_narrower(plan->k);
    plan->wide = s->c / block * block;
    if (s->c - plan->wide > 4 * (size_t)plan->tail->lanes)
        plan->tail = plan->k; /* as good in one piece */
    const size_t rest = s->c > plan->wide ? 4 * (size_t)plan->tail->lanes : 0;
    plan->tail_first = s->c > rest ? s->c - rest : 0;
    plan->columns = plan->wide + rest;
    plan->border_bytes = s->c;
    if (s->kh > SIZE_MAX / 8 ||
        !ledge__mul(ledge__round_up(s->kh * plan->parts, 4), s->kw, &taps) ||
        !ledge__mul(plan->columns, taps, &plan->packed_bytes))
        return false;
    if (s->ow == 0)
        return true;
    if (!ledge__mul(row_pixels(s), s->kh, &all) || !ledge__add(all, s->kh * plan->parts, &all) ||
        !ledge__mul(all, sizeof(uint8_t *), &bytes) || bytes > SIZE_MAX / 2)
        return false;
    plan->thread_bytes = ledge__thread_stride(bytes, plan->threads);
    return true;
}

size_t ledge__conv_q8_dw_channel(const LedgeConvQ8Plan *plan, size_t place)
{
    const bool wide = place < plan->wide;
    const size_t lanes = wide ? plan->k->lanes : plan->tail->lanes;
    const size_t in = (wide ? place : place - plan->wide) % (4 * lanes);
    return (wide ? place - in : plan->tail_first) +
           ledge__q8_dw_channel((uint32_t)(in / lanes), (uint32_t)(in % lanes));
}

/* The next part of a weight that may take nine bits. */
static int8_t next_part(int32_t *v)
{
    const int32_t part = *v < -128 ? -128 : *v > 127 ? 127 : *v;
    *v -= part;
    return (int8_t)part;
}

void ledge__conv_q8_pack_zeros(const LedgeConvQ8Plan *plan, const int8_t *w, const int32_t *b_zero,
                               size_t count, int8_t *packed)
{
    const LedgeConvShape *s = &plan->s;
    const size_t kh = s->kh, fours = (kh * plan->parts + 3) / 4;
    memset(packed, 0, plan->packed_bytes);
    for (size_t place = 0; place < plan->columns; place++) {
        const size_t c = ledge__conv_q8_dw_channel(plan, place);
        const bool wide = place < plan->wide;
        const size_t block = 4 * (size_t)(wide ? plan->k : plan->tail)->lanes;
        const size_t in = (wide ? place : place - plan->wide) % block;
        int8_t *to = packed + (place - in) * fours * 4 * s->kw + in * 4;
        for (size_t j = 0; c < s->c && j < s->kw; j++)
            for (size_t i = 0; i < kh; i++) {
                int32_t v = w[(c * kh + i) * s->kw + j] - (b_zero ? b_zero[count == 1 ? 0 : c] : 0);
                for (size_t row = i; row < kh * plan->parts; row += kh)
                    to[(j * fours + row / 4) * block * 4 + row % 4] = next_part(&v);
            }
    }
}

typedef struct DwWalk {
    const LedgeConvQ8Plan *plan;
    const LedgeConvQ8Args *a;
} DwWalk;

static void fill_row(const LedgeConvShape *s, const LedgeConvQ8Args *a, const uint8_t *image,
                     size_t y, const uint8_t **px)
{
    const size_t count = row_pixels(s);
    const size_t at = a->ring ? y % a->ring : y;
    const uint8_t *row = y < s->h ? image + at * s->w * s->c : NULL;
    size_t j = 0;
    for (; j < count && j < s->pl; j++)
        px[j] = a->border;
    for (; row && j < count && j - s->pl < s->w; j++)
        px[j] = row + (j - s->pl) * s->c;
    for (; j < count; j++)
        px[j] = a->border;
}

static void run_rows(void *arg, size_t begin, size_t end, int thread)
{
    const DwWalk *w = arg;
    const LedgeConvQ8Plan *plan = w->plan;
    const LedgeConvQ8Args *a = w->a;
    const LedgeConvShape *s = &plan->s;
    const size_t element = a->out.kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const uint8_t **px =
        (const uint8_t **)(void *)((char *)a->scratch + (size_t)thread * plan->thread_bytes);
    const size_t count = row_pixels(s);
    const uint8_t *const **rows = (const uint8_t *const **)(void *)(px + s->kh * count);
    for (size_t row = begin; row < end; row++) {
        const size_t n = row / s->oh, oy = row % s->oh;
        const uint8_t *image = a->x + n * s->h * s->w * s->c;
        /* rows that the last output row saw too keep their tables, one place further up */
        const bool next = row > begin && oy > 0 && s->dh == 1 && s->sh < s->kh;
        const size_t kept = next ? s->kh - s->sh : 0;
        for (size_t i = 0; i < kept; i++) {
            const uint8_t *const *table = rows[i];
            rows[i] = rows[i + s->sh];
            rows[i + s->sh] = table;
        }
        for (size_t i = kept; i < s->kh; i++) {
            if (!next)
                rows[i] = px + i * count;
            fill_row(s, a, image, oy * s->sh + i * s->dh - s->pt,
                     px + (size_t)(rows[i] - (const uint8_t *const *)px));
        }
        for (size_t i = s->kh; i < s->kh * plan->parts; i++)
            rows[i] = rows[i - s->kh];
        LedgeQ8DwTile t = {.rows = (const uint8_t *const *const *)rows,
                           .kh = (uint32_t)s->kh * plan->parts,
                           .kw = (uint32_t)s->kw,
                           .step = (uint32_t)s->sw,
                           .dil = (uint32_t)s->dw,
                           .w = a->packed,
                           .init = a->init,
                           .scale = a->scale,
                           .fbias = a->fbias,
                           .y = (char *)a->y + row * s->ow * s->ldc * element,
                           .ldy = s->ldc,
                           .r = a->r ? (const char *)a->r + row * s->ow * a->ldr * element
                                     : NULL,
                           .ldr = a->ldr,
                           .ow = s->ow,
                           .c = plan->wide,
                           .out = &a->out};
        if (plan->wide)
            plan->k->dw(&t);
        if (plan->wide < s->c) {
            t.first = plan->tail_first;
            t.c = s->c;
            t.w += plan->wide * ledge__round_up(t.kh, 4) * s->kw;
            t.init += plan->wide;
            t.scale += plan->wide;
            t.fbias = t.fbias ? t.fbias + plan->wide : NULL;
            plan->tail->dw(&t);
        }
        if (element > 1 && a->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(plan->act_kernels, t.y, s->ow, s->ldc, s->c, &a->act);
    }
}

void ledge__conv_q8_dw_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *a, LedgePool *pool)
{
    const LedgeConvShape *s = &plan->s;
    const size_t rows = s->n * s->oh;
    if (rows == 0 || s->ow == 0 || s->c == 0)
        return;
    const size_t share = rows / ((size_t)ledge__pool_threads(pool) * DW_ITEMS_PER_THREAD);
    const bool small = (double)rows * (double)s->ow * (double)s->c *
                           (double)s->kh * (double)s->kw < DW_SMALL_WORK;
    DwWalk w = {plan, a};
    ledge__pool_run(small ? NULL : pool, rows, share > 1 ? share : 1, run_rows, &w);
}
