/* Pooling of bytes: finds the taps of each output pixel, leaves the channels to the kernels, and
 * shares rows, bands of channels or planes among the threads of a pool; see bytes.h. */
#include "engine/kernels/bytes.h"

#include <math.h>
#include <string.h>

#include "engine/kernels/bytes_piece.h"
#include "engine/kernels/pool_span.h"

enum { BAND = 128 }; /* channels of one work item of a global pool */

typedef struct PoolArgs {
    const LedgeVec *v;
    const LedgePoolWindow *w;
    const LedgeByteMean *mean; /* NULL: the maximum */
    const uint8_t *x;
    uint8_t *y;
} PoolArgs;

static int32_t clamp(int32_t q, const LedgeByteMean *m)
{
    return q < m->lo ? m->lo : q > m->hi ? m->hi : q;
}

static void pool_pixel(const PoolArgs *p, const uint8_t *image, const Span *rows, const Span *cols,
                       uint8_t *y)
{
    const LedgePoolWindow *w = p->w;
    LedgeByteTaps t = {NULL, rows->end - rows->first, w->dilation_h * w->w * w->channels,
                       cols->end - cols->first, w->dilation_w * w->channels};
    if (t.rows == 0 || t.cols == 0) {
        memset(y, p->mean ? clamp(p->mean->y_zero, p->mean) : 0, w->channels);
        return;
    }
    const ptrdiff_t row = rows->start + (ptrdiff_t)(rows->first * w->dilation_h);
    const ptrdiff_t col = cols->start + (ptrdiff_t)(cols->first * w->dilation_w);
    t.x = image + ((size_t)row * w->w + (size_t)col) * w->channels;
    if (!p->mean) {
        p->v->byte_max(&t, y, w->channels);
        return;
    }
    const size_t count = w->count_pad ? rows->in_padded * cols->in_padded : t.rows * t.cols;
    p->v->byte_mean(&t, p->mean, p->mean->scale / (float)count, y, w->channels);
}

static void pool_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PoolArgs *p = arg;
    const LedgePoolWindow *w = p->w;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint8_t *image = p->x + i / w->out_h * w->h * w->w * w->channels;
        const Span rows = span_of(i % w->out_h, w->kernel_h, w->stride_h, w->dilation_h, w->pad_top,
                                  w->pad_bottom, w->h);
        uint8_t *y = p->y + i * w->out_w * w->channels;
        for (size_t k = 0; k < w->out_w; k++, y += w->channels) {
            const Span cols = span_of(k, w->kernel_w, w->stride_w, w->dilation_w, w->pad_left,
                                      w->pad_right, w->w);
            pool_pixel(p, image, &rows, &cols, y);
        }
    }
}

static void run_pool(LedgeRunner r, const LedgePoolWindow *w, const LedgeByteMean *m,
                     const uint8_t *x, uint8_t *y)
{
    PoolArgs p = {ledge__vec(r.cpu), w, m, x, y};
    const size_t row = w->out_w * w->channels * w->kernel_h * w->kernel_w;
    ledge__pool_run(r.pool, w->batch * w->out_h, row < 65536 ? 65536 / (row + 1) + 1 : 1, pool_rows,
                    &p);
}

void ledge__bytes_max_pool(LedgeRunner r, const LedgePoolWindow *w, const uint8_t *x, uint8_t *y)
{
    run_pool(r, w, NULL, x, y);
}

void ledge__bytes_average_pool(LedgeRunner r, const LedgePoolWindow *w, const LedgeByteMean *m,
                               const uint8_t *x, uint8_t *y)
{
    run_pool(r, w, m, x, y);
}

typedef struct GlobalArgs {
    const LedgeVec *v;
    const LedgeByteMean *mean; /* NULL: the maximum */
    size_t pixels, channels, bands;
    const uint8_t *x;
    uint8_t *y;
} GlobalArgs;

/* One item: some channels of one image. */
static void global_band(void *arg, size_t begin, size_t end, int thread)
{
    const GlobalArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t image = i / p->bands, c = i % p->bands * BAND;
        const size_t n = p->channels - c < BAND ? p->channels - c : BAND;
        const LedgeByteTaps t = {p->x + image * p->pixels * p->channels + c, p->pixels, p->channels,
                                 1, 0};
        uint8_t *y = p->y + image * p->channels + c;
        if (p->mean)
            p->v->byte_mean(&t, p->mean, p->mean->scale / (float)p->pixels, y, n);
        else
            p->v->byte_max(&t, y, n);
    }
}

static void run_global(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                       const LedgeByteMean *m, const uint8_t *x, uint8_t *y)
{
    GlobalArgs p = {ledge__vec(r.cpu), m, pixels, channels, ledge__pieces(channels, BAND), x, y};
    const size_t cost = pixels * (channels < BAND ? channels : BAND);
    ledge__pool_run(r.pool, batch * p.bands, cost < 65536 ? 65536 / (cost + 1) + 1 : 1, global_band,
                    &p);
}

void ledge__bytes_global_max(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                             const uint8_t *x, uint8_t *y)
{
    run_global(r, batch, pixels, channels, NULL, x, y);
}

void ledge__bytes_global_average(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                                 const LedgeByteMean *m, const uint8_t *x, uint8_t *y)
{
    run_global(r, batch, pixels, channels, m, x, y);
}

typedef struct PlaneArgs {
    const LedgeVec *v;
    const LedgeByteMean *mean;
    size_t pixels;
    uint8_t x_flip, y_flip;
    const uint8_t *x;
    uint8_t *y;
} PlaneArgs;

static void plane_average(void *arg, size_t begin, size_t end, int thread)
{
    const PlaneArgs *p = arg;
    const LedgeByteMean *m = p->mean;
    const float scale = m->scale / (float)p->pixels;
    const int32_t zeros = (int32_t)p->pixels * m->x_zero;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const int32_t sum = p->v->byte_sum(p->x + i * p->pixels, p->pixels, p->x_flip) - zeros;
        const float v = (float)sum * scale, low = (float)(m->lo - m->y_zero);
        const float high = (float)(m->hi - m->y_zero);
        const float q = rintf(v < low ? low : v < high ? v : high);
        p->y[i] = (uint8_t)((int32_t)q + m->y_zero) ^ p->y_flip;
    }
}

void ledge__bytes_plane_average(LedgeRunner r, size_t planes, size_t pixels, const LedgeByteMean *m,
                                uint8_t x_flip, uint8_t y_flip, const uint8_t *x, uint8_t *y)
{
    PlaneArgs p = {ledge__vec(r.cpu), m, pixels, x_flip, y_flip, x, y};
    ledge__pool_run(r.pool, planes, pixels < 65536 ? 65536 / (pixels + 1) + 1 : 1, plane_average,
                    &p);
}
