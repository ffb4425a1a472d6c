/* The bytes of pictures on their way into a model: each channel through a table, to bytes or to
 * floats. Blocks of pixels are taken apart into planes, which the table kernel then walks. */
#include "engine/kernels/bytes.h"

#include <string.h>

enum { BLOCK = 1024, MOST_CHANNELS = 4 };

typedef struct PixelArgs {
    const LedgeVec *v;
    const LedgePixelTables *t;
    const uint8_t *x;
    void *y;
    size_t pixels, blocks; /* of one image */
    bool planes;
} PixelArgs;

/* Which byte of a pixel result channel c is made from. */
static size_t source(const LedgePixelTables *t, size_t c)
{
    return t->reversed ? t->channels - 1 - c : c;
}

static void byte_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const PixelArgs *p = arg;
    const size_t c = p->t->channels;
    const uint8_t *tables = p->t->entries;
    uint8_t in[MOST_CHANNELS * BLOCK], out[MOST_CHANNELS * BLOCK];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * BLOCK, n = p->pixels - at < BLOCK ? p->pixels - at : BLOCK;
        p->v->transpose_8(p->x + at * c, c, in, BLOCK, n, c);
        for (size_t k = 0; k < c; k++)
            p->v->byte_map(in + source(p->t, k) * BLOCK, out + k * BLOCK, n, tables + 256 * k);
        p->v->transpose_8(out, BLOCK, (uint8_t *)p->y + at * c, c, c, n);
    }
}

void ledge__bytes_pixels(LedgeRunner r, const LedgePixelTables *t, const uint8_t *x, uint8_t *y,
                         size_t pixels)
{
    PixelArgs p = {.v = ledge__vec(r.cpu), .t = t, .x = x, .y = y, .pixels = pixels};
    if (t->channels == 1)
        ledge__bytes_map(r, x, y, pixels, t->entries);
    else
        ledge__pool_run(r.pool, (pixels + BLOCK - 1) / BLOCK, 8, byte_blocks, &p);
}

/* One channel of a block: `step` floats from one to the next. */
static void look_up(const uint8_t *x, size_t x_step, float *y, size_t step, size_t n,
                    const float *table)
{
    for (size_t i = 0; i < n; i++)
        y[i * step] = table[x[i * x_step]];
}

static void float_blocks(void *arg, size_t begin, size_t end, int thread)
{
    const PixelArgs *p = arg;
    const size_t c = p->t->channels;
    const float *tables = p->t->entries;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t image = i / p->blocks, at = i % p->blocks * BLOCK;
        const size_t n = p->pixels - at < BLOCK ? p->pixels - at : BLOCK;
        const uint8_t *x = p->x + (image * p->pixels + at) * c;
        float *y = (float *)p->y + image * p->pixels * c;
        for (size_t k = 0; k < c; k++)
            if (p->planes)
                look_up(x + source(p->t, k), c, y + k * p->pixels + at, 1, n, tables + 256 * k);
            else
                look_up(x + source(p->t, k), c, y + at * c + k, c, n, tables + 256 * k);
    }
}

void ledge__bytes_pixel_floats(LedgeRunner r, const LedgePixelTables *t, const uint8_t *x, float *y,
                               size_t images, size_t pixels, bool planes)
{
    PixelArgs p = {NULL, t, x, y, pixels, (pixels + BLOCK - 1) / BLOCK, planes};
    ledge__pool_run(r.pool, images * p.blocks, 8, float_blocks, &p);
}
