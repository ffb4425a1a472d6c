/* Pooling and resizing of NHWC images: finds each output pixel's taps and leaves the channels
 * to the kernels of vec.def. Work is shared by output rows. */
#include "engine/kernels/vec.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/kernels/pool_span.h"

typedef struct PoolArgs {
    const LedgeVec *v;
    const LedgePoolWindow *w;
    const float *x;
    float *y;
    const float **taps; /* kernel_h * kernel_w a thread */
    bool average;
} PoolArgs;

/* Taps of output column `cols`, whose rows begin at image row rows->start. */
static size_t pool_taps(const LedgePoolWindow *w, const float *image, const Span *rows,
                        const Span *cols, const float **taps)
{
    const size_t step = w->dilation_w * w->channels, wide = cols->end - cols->first;
    const ptrdiff_t row = rows->start + (ptrdiff_t)(rows->first * w->dilation_h);
    const ptrdiff_t col = cols->start + (ptrdiff_t)(cols->first * w->dilation_w);
    size_t n = 0;
    if (wide == 0 || rows->end == rows->first)
        return 0;
    const float *line = image + ((size_t)row * w->w + (size_t)col) * w->channels;
    for (size_t i = rows->first; i < rows->end; i++, line += w->dilation_h * w->w * w->channels) {
        const float *tap = line;
        for (size_t k = 0; k < wide; k++, tap += step)
            taps[n++] = tap;
    }
    return n;
}

static void pool_pixel(const PoolArgs *p, const Span *rows, const Span *cols,
                       const float *const *taps, size_t n, float *y)
{
    const LedgePoolWindow *w = p->w;
    if (n == 0) { /* a window all in the padding */
        for (size_t c = 0; c < w->channels; c++)
            y[c] = p->average ? 0.0f : -INFINITY;
        return;
    }
    if (!p->average) {
        p->v->pool_max(taps, n, y, w->channels);
        return;
    }
    const size_t count = w->count_pad ? rows->in_padded * cols->in_padded : n;
    p->v->pool_sum(taps, n, 1.0f / (float)count, y, w->channels);
}

static void pool_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PoolArgs *p = arg;
    const LedgePoolWindow *w = p->w;
    const float **taps = p->taps + (size_t)thread * w->kernel_h * w->kernel_w;
    for (size_t i = begin; i < end; i++) {
        const float *image = p->x + i / w->out_h * w->h * w->w * w->channels;
        const Span rows = span_of(i % w->out_h, w->kernel_h, w->stride_h, w->dilation_h,
                                  w->pad_top, w->pad_bottom, w->h);
        float *y = p->y + i * w->out_w * w->channels;
        for (size_t k = 0; k < w->out_w; k++, y += w->channels) {
            const Span cols = span_of(k, w->kernel_w, w->stride_w, w->dilation_w, w->pad_left,
                                      w->pad_right, w->w);
            pool_pixel(p, &rows, &cols, taps, pool_taps(w, image, &rows, &cols, taps), y);
        }
    }
}

static void run_pool(LedgeRunner r, const LedgePoolWindow *w, const float *x, float *y,
                     void *scratch, bool average)
{
    PoolArgs p = {ledge__vec(r.cpu), w, x, y, scratch, average};
    const size_t row = w->out_w * w->channels * w->kernel_h * w->kernel_w;
    ledge__pool_run(r.pool, w->batch * w->out_h, row < 16384 ? 16384 / (row + 1) + 1 : 1, pool_rows,
                    &p);
}

size_t ledge__vec_pool_scratch(const LedgePoolWindow *w, int threads)
{
    size_t n;
    if (!ledge__mul(w->kernel_h, w->kernel_w, &n) ||
        !ledge__mul(n, (size_t)threads * sizeof(const float *), &n))
        return SIZE_MAX;
    return n;
}

void ledge__vec_max_pool(LedgeRunner r, const LedgePoolWindow *w, const float *x, float *y,
                         void *scratch)
{
    run_pool(r, w, x, y, scratch, false);
}

void ledge__vec_average_pool(LedgeRunner r, const LedgePoolWindow *w, const float *x, float *y,
                             void *scratch)
{
    run_pool(r, w, x, y, scratch, true);
}

/* ---- resize ---- */

typedef struct ResizeArgs {
    const LedgeVec *v;
    const float *x;
    float *y;
    size_t h, w, channels;
    const LedgeResample *rows, *cols;
} ResizeArgs;

/* Tap `k` of output `i`: its position, and its weight in *weight. */
static size_t tap_of(const LedgeResample *r, size_t i, size_t k, float *weight)
{
    *weight = r->at ? r->weight[i * r->taps + k] : 1.0f;
    return r->at ? (size_t)r->at[i * r->taps + k] : i;
}

/* Taps of an output pixel: the product of its row's and its column's, zero weights left out. */
static size_t resize_taps(const ResizeArgs *p, const float *image, size_t i, size_t k,
                          const float **taps, float *weights)
{
    size_t n = 0;
    for (size_t a = 0; a < (p->rows->at ? p->rows->taps : 1); a++) {
        float row_weight, col_weight;
        const float *row = image + tap_of(p->rows, i, a, &row_weight) * p->w * p->channels;
        for (size_t b = 0; b < (p->cols->at ? p->cols->taps : 1); b++) {
            const size_t col = tap_of(p->cols, k, b, &col_weight);
            if (row_weight * col_weight == 0.0f)
                continue;
            taps[n] = row + col * p->channels;
            weights[n++] = row_weight * col_weight;
        }
    }
    return n;
}

static void resize_rows(void *arg, size_t begin, size_t end, int thread)
{
    const ResizeArgs *p = arg;
    const float *taps[LEDGE_RESIZE_TAPS * LEDGE_RESIZE_TAPS];
    float weights[LEDGE_RESIZE_TAPS * LEDGE_RESIZE_TAPS];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i % p->rows->out;
        const float *image = p->x + i / p->rows->out * p->h * p->w * p->channels;
        float *y = p->y + i * p->cols->out * p->channels;
        for (size_t k = 0; k < p->cols->out; k++, y += p->channels) {
            const size_t n = resize_taps(p, image, row, k, taps, weights);
            if (n == 1 && weights[0] == 1.0f)
                memcpy(y, taps[0], p->channels * sizeof *y);
            else if (n > 0)
                p->v->lerp(taps, weights, n, y, p->channels);
            else
                memset(y, 0, p->channels * sizeof *y);
        }
    }
}

void ledge__vec_resize(LedgeRunner r, const float *x, float *y, size_t batch, size_t h, size_t w,
                       size_t channels, const LedgeResample *rows, const LedgeResample *cols)
{
    ResizeArgs p = {ledge__vec(r.cpu), x, y, h, w, channels, rows, cols};
    const size_t row = cols->out * channels;
    ledge__pool_run(r.pool, batch * rows->out, row < 8192 ? 8192 / (row + 1) + 1 : 1, resize_rows,
                    &p);
}
