/* The walk over output pixels that convolutions in float and in 8 bits share, where rows of a GEMM
 * are pointers to pixels of the image. */
#ifndef LEDGE_KERNELS_CONV_PIXEL_H
#define LEDGE_KERNELS_CONV_PIXEL_H

#include <string.h>

#include "engine/kernels/conv_f32.h"

/* An output pixel as a place in the image, stepped along. */
typedef struct LedgePixel {
    size_t n, y, x;
} LedgePixel;

static inline LedgePixel ledge__pixel_at(const LedgeConvShape *s, size_t m)
{
    const size_t row = m / s->ow, x = m - row * s->ow;
    if (s->n == 1) /* a division less: this is done for every tile */
        return (LedgePixel){0, row, x};
    return (LedgePixel){row / s->oh, row % s->oh, x};
}

static inline void ledge__pixel_next(const LedgeConvShape *s, LedgePixel *p)
{
    if (++p->x < s->ow)
        return;
    p->x = 0;
    if (++p->y == s->oh) {
        p->y = 0;
        p->n++;
    }
}

/* A filter row over pixels x … x + kw - 1, of `bytes` each, that leaves the image: in `to` its part
 * inside, and bytes of value `fill`. */
static inline const void *ledge__border_run(const LedgeConvShape *s, const void *row, size_t x,
                                            size_t bytes, uint8_t fill, void *to)
{
    const size_t left = x < s->w ? 0 : (size_t)0 - x; /* x wrapped round: pixels before 0 */
    const size_t skip = left < s->kw ? left : s->kw;
    const size_t first = x + skip;
    size_t count = first < s->w ? s->w - first : 0;
    count = count < s->kw - skip ? count : s->kw - skip;
    memset(to, fill, s->kw * bytes);
    if (count)
        memcpy((char *)to + skip * bytes, (const char *)row + first * bytes, count * bytes);
    return to;
}

#endif
