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

static void look_up_plane(const uint8_t *x, size_t step, float *y, size_t n, const float *table)
{
    for (size_t i = 0; i < n; i++)
        y[i] = table[x[i * step]];
}

/* A pixel at a time, so that stores follow each other. */
static void look_up_pixels(const LedgePixelTables *t, const uint8_t *x, float *y, size_t n)
{
    const size_t c = t->channels;
    const float *tables = t->entries;
    if (c == 3) {
        const size_t first = source(t, 0), last = source(t, 2);
        for (size_t i = 0; i < n; i++, x += 3, y += 3) {
            y[0] = tables[x[first]];
            y[1] = tables[256 + x[1]];
            y[2] = tables[512 + x[last]];
        }
        return;
    }
    for (size_t i = 0; i < n; i++, x += c, y += c)
        for (size_t k = 0; k < c; k++)
            y[k] = tables[256 * k + x[source(t, k)]];
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
        if (!p->planes)
            look_up_pixels(p->t, x, y + at * c, n);
        for (size_t k = 0; k < c && p->planes; k++)
            look_up_plane(x + source(p->t, k), c, y + k * p->pixels + at, n, tables + 256 * k);
    }
}

void ledge__bytes_pixel_floats(LedgeRunner r, const LedgePixelTables *t, const uint8_t *x, float *y,
                               size_t images, size_t pixels, bool planes)
{
    PixelArgs p = {NULL, t, x, y, pixels, (pixels + BLOCK - 1) / BLOCK, planes};
    ledge__pool_run(r.pool, images * p.blocks, 8, float_blocks, &p);
}
