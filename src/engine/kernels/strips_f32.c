/* Packing strips, see strips_f32.h. */
#include "engine/kernels/strips_f32.h"

#include <string.h>

#include "base/alloc.h"

enum {
    WIDTH = LEDGE_STRIP_COLUMNS,
    LOOKS = 64,      /* blocks that are looked at before all are */
    MOST_SAVED = 32, /* a compiled file may not stand for much more than it holds */
    LEAST_DEPTH = 32 /* shorter sums end before the tile's own work pays */
};
#define LEAST_ZEROS 0.4 /* of all blocks: a row costs more here than in a panel of 64 columns */

static inline float element(const LedgeStripsView *v, size_t k, size_t n)
{
    float x;
    memcpy(&x, (const char *)v->w + (n * v->sn + k * v->sk) * sizeof x, sizeof x);
    return x;
}

static size_t strip_count(size_t n)
{
    return n / WIDTH + (n % WIDTH > 0);
}

/* Row k of strip i holds a number that is not zero. */
static bool is_kept(const LedgeStripsView *v, size_t i, size_t k)
{
    const size_t first = i * WIDTH, end = v->n - first < WIDTH ? v->n : first + WIDTH;
    for (size_t n = first; n < end; n++)
        if (element(v, k, n) != 0.0f)
            return true;
    return false;
}

bool ledge__strips_pay(const LedgeStripsView *v, size_t *kept)
{
    const size_t strips = strip_count(v->n);
    size_t blocks, zeros = 0;
    *kept = 0;
    if (v->depth < LEAST_DEPTH || v->n < WIDTH || !ledge__mul(strips, v->depth, &blocks) ||
        blocks > UINT32_MAX)
        return false;
    for (size_t i = 0; i < LOOKS; i++) {
        const size_t at = (size_t)((double)i * (double)blocks / LOOKS);
        zeros += !is_kept(v, at / v->depth, at % v->depth);
    }
    if (zeros < LOOKS / 4)
        return false;
    for (size_t i = 0; i < strips; i++)
        for (size_t k = 0; k < v->depth; k++)
            *kept += is_kept(v, i, k);
    return (double)(blocks - *kept) >= LEAST_ZEROS * (double)blocks && *kept >= blocks / MOST_SAVED;
}

uint32_t ledge__strips_mr(const LedgeF32Kernels *k)
{
    return k->lanes < WIDTH ? 6 : 8;
}

bool ledge__strips_init(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth,
                        size_t kept)
{
    const size_t strips = strip_count(n);
    size_t blocks;
    if (!k->strips->tile || !ledge__mul(strips, depth, &blocks) || blocks > UINT32_MAX ||
        kept > blocks)
        return false;
    *p = (LedgePanels){.k = k,
                       .n = n,
                       .columns = strips * WIDTH,
                       .depth = depth,
                       .rows = depth,
                       .count = (uint32_t)strips,
                       .nv = WIDTH / k->lanes,
                       .base = WIDTH / k->lanes,
                       .strips = true,
                       .kept = kept};
    return true;
}

/* Floats that the numbers before the rows take. */
static size_t head_floats(const LedgePanels *p)
{
    return ledge__round_up((size_t)p->count + 1 + p->kept, WIDTH);
}

size_t ledge__strips_floats(const LedgePanels *p)
{
    size_t floats;
    return ledge__mul(p->kept, WIDTH, &floats) && ledge__add(floats, head_floats(p), &floats)
               ? floats
               : 0;
}

bool ledge__strips_pack(const LedgePanels *p, const LedgeStripsView *v, const float *scale,
                        float *packed)
{
    uint32_t *starts = (uint32_t *)(void *)packed, *at = starts + p->count + 1;
    float *to = packed + head_floats(p);
    size_t kept = 0;
    memset(packed, 0, ledge__strips_floats(p) * sizeof *packed);
    for (size_t i = 0; i < p->count; i++) {
        const size_t first = i * WIDTH, cols = v->n - first < WIDTH ? v->n - first : WIDTH;
        for (size_t k = 0; k < v->depth; k++) {
            if (!is_kept(v, i, k))
                continue;
            if (kept == p->kept)
                return false;
            at[kept++] = (uint32_t)k;
            for (size_t j = 0; j < cols; j++)
                to[j] = element(v, k, first + j) * (scale ? scale[first + j] : 1.0f);
            to += WIDTH;
        }
        starts[i + 1] = (uint32_t)kept;
    }
    return kept == p->kept;
}

bool ledge__strips_check(const LedgePanels *p, const float *packed)
{
    const uint32_t *starts = (const uint32_t *)(const void *)packed, *at = starts + p->count + 1;
    bool ok = starts[0] == 0 && starts[p->count] == p->kept;
    for (size_t i = 0; i < p->count; i++)
        ok &= starts[i] <= starts[i + 1];
    for (size_t i = 0; i < p->kept; i++)
        ok &= at[i] < p->depth;
    return ok;
}

void ledge__strip_at(const LedgePanels *p, const float *packed, size_t i, LedgeGemmTile *t)
{
    const uint32_t *starts = (const uint32_t *)(const void *)packed;
    t->at = starts + p->count + 1 + starts[i];
    t->kc = starts[i + 1] - starts[i];
    t->b = packed + head_floats(p) + (size_t)starts[i] * WIDTH;
}
