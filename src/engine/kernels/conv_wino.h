/* What Winograd F(4×4, 3×3) in float and in 8 bits share: where its tiles lie. */
#ifndef LEDGE_KERNELS_CONV_WINO_H
#define LEDGE_KERNELS_CONV_WINO_H

#include "engine/kernels/conv_f32.h"

#define LEDGE_WINO_POSITIONS 36 /* of a tile's transformed input */

/* A 4×4 tile of the output: image n, first row y and column x, and how much of it there is. */
typedef struct LedgeWinoTile {
    size_t n, y, x;
    uint32_t h, w;
} LedgeWinoTile;

static inline size_t ledge__wino_tiles(const LedgeConvShape *s)
{
    return s->n * ((s->oh + 3) / 4) * ((s->ow + 3) / 4);
}

static inline LedgeWinoTile ledge__wino_tile_at(const LedgeConvShape *s, size_t t)
{
    const size_t across = (s->ow + 3) / 4, down = (s->oh + 3) / 4;
    const size_t y = t / across % down * 4, x = t % across * 4;
    return (LedgeWinoTile){t / across / down, y, x, (uint32_t)(s->oh - y < 4 ? s->oh - y : 4),
                           (uint32_t)(s->ow - x < 4 ? s->ow - x : 4)};
}

/* The 6×6 pixels that a tile reads, of `bytes` each, row by row; `border` for those outside. */
static inline void ledge__wino_pixels(const LedgeConvShape *s, const LedgeWinoTile *tile,
                                      const void *image, size_t bytes, const void *border,
                                      const void *px[LEDGE_WINO_POSITIONS])
{
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 6; j++) {
            const size_t y = tile->y + i - s->pt, x = tile->x + j - s->pl; /* may wrap round */
            const bool inside = y < s->h && x < s->w;
            px[i * 6 + j] = inside ? (const char *)image + (y * s->w + x) * bytes : border;
        }
}

#endif
