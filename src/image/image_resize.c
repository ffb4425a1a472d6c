/* Resampling in two passes, along rows and along columns, with 8-bit pixels between them and
 * weights in 22-bit fixed point: the arithmetic of Pillow, so that a model sees the bytes that it
 * was trained on. Each output pixel is a weighted sum over the input pixels within the filter's
 * support, which is widened by the scale when the picture shrinks. */
#include "image/image_resize.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define WEIGHT_BITS 22 /* 32, less 8 for the pixel and 2 for sums beyond its range */

/* For each output position: the first input position, how many, and their weights. */
typedef struct Taps {
    uint32_t *first, *count;
    int32_t *weights; /* `most` per output position */
    size_t most;
} Taps;

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -0.5. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static void taps_free(const LedgeAllocator *a, Taps *t)
{
    ledge__free(a, t->first);
    ledge__free(a, t->count);
    ledge__free(a, t->weights);
}

static int32_t to_fixed(double w)
{
    return (int32_t)(w * (1 << WEIGHT_BITS) + (w < 0 ? -0.5 : 0.5));
}

/* Weights of one output position; `real` has room for `t->most`. */
static void taps_at(Taps *t, uint32_t i, uint32_t from, double scale, LedgeFilter filter,
                    double *real)
{
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = (filter == LEDGE_FILTER_BICUBIC ? 2.0 : 1.0) * stretch;
    double center = (i + 0.5) * scale, step = 1.0 / stretch, sum = 0.0;
    int64_t low = (int64_t)(center - support + 0.5), high = (int64_t)(center + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > from ? from : high;
    uint32_t n = (uint32_t)(high - low);
    for (uint32_t k = 0; k < n; k++) {
        double x = ((double)(low + k) - center + 0.5) * step;
        real[k] = filter == LEDGE_FILTER_BICUBIC ? cubic(x) : triangle(x);
        sum += real[k];
    }
    for (uint32_t k = 0; k < n; k++)
        t->weights[i * t->most + k] = to_fixed(sum != 0.0 ? real[k] / sum : real[k]);
    t->first[i] = (uint32_t)low;
    t->count[i] = n;
}

static LedgeStatus taps_new(const LedgeAllocator *a, uint32_t from, uint32_t to, LedgeFilter filter,
                            LedgeError *err, Taps *out)
{
    Taps t = {0};
    double scale = (double)from / to, stretch = scale < 1.0 ? 1.0 : scale;
    t.most = 2 * (size_t)ceil((filter == LEDGE_FILTER_BICUBIC ? 2.0 : 1.0) * stretch) + 1;
    size_t total;
    double *real = ledge__alloc(a, t.most, sizeof *real);
    t.first = ledge__alloc(a, to, sizeof *t.first);
    t.count = ledge__alloc(a, to, sizeof *t.count);
    t.weights = ledge__mul(to, t.most, &total) ? ledge__alloc(a, total, sizeof *t.weights) : NULL;
    bool ok = real && t.first && t.count && t.weights;
    for (uint32_t i = 0; ok && i < to; i++)
        taps_at(&t, i, from, scale, filter, real);
    ledge__free(a, real);
    if (!ok) {
        taps_free(a, &t);
        return ledge__no_memory(err);
    }
    *out = t;
    return LEDGE_OK;
}

static uint8_t to_pixel(int64_t sum)
{
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One output pixel of `c` channels from inputs `stride` bytes apart. */
static inline void weigh(const uint8_t *from, size_t stride, const int32_t *weights, uint32_t n,
                         int channels, uint8_t *to)
{
    for (int c = 0; c < channels; c++) {
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (uint32_t k = 0; k < n; k++)
            sum += from[k * stride + (size_t)c] * weights[k];
        to[c] = to_pixel(sum);
    }
}

static void pass_rows(const LedgeImage *from, const Taps *t, LedgeImage *to)
{
    size_t ch = (size_t)from->channels;
    for (uint32_t y = 0; y < to->height; y++) {
        const uint8_t *in = from->pixels + (size_t)y * from->width * ch;
        uint8_t *out = to->pixels + (size_t)y * to->width * ch;
        for (uint32_t x = 0; x < to->width; x++)
            weigh(in + t->first[x] * ch, ch, t->weights + x * t->most, t->count[x], from->channels,
                  out + x * ch);
    }
}

/* A whole output row at once: adds each input row, so that memory is walked in order. */
static void pass_columns(const LedgeImage *from, const Taps *t, LedgeImage *to, int32_t *sums)
{
    size_t row = (size_t)from->width * (size_t)from->channels;
    for (uint32_t y = 0; y < to->height; y++) {
        for (size_t i = 0; i < row; i++)
            sums[i] = 1 << (WEIGHT_BITS - 1);
        for (uint32_t k = 0; k < t->count[y]; k++) {
            const uint8_t *in = from->pixels + (t->first[y] + k) * row;
            int32_t weight = t->weights[y * t->most + k];
            for (size_t i = 0; i < row; i++)
                sums[i] += in[i] * weight;
        }
        for (size_t i = 0; i < row; i++)
            to->pixels[y * row + i] = to_pixel(sums[i]);
    }
}

static LedgeStatus resize_rows(const LedgeImage *from, uint32_t width, LedgeFilter filter,
                               LedgeError *err, LedgeImage *out)
{
    Taps taps;
    LedgeImage to;
    LEDGE_TRY(ledge__image_new(from->allocator, width, from->height, from->channels, err, &to));
    LedgeStatus status = taps_new(from->allocator, from->width, width, filter, err, &taps);
    if (status != LEDGE_OK) {
        ledge__image_free(&to);
        return status;
    }
    pass_rows(from, &taps, &to);
    taps_free(from->allocator, &taps);
    *out = to;
    return LEDGE_OK;
}

static LedgeStatus resize_columns(const LedgeImage *from, uint32_t height, LedgeFilter filter,
                                  LedgeError *err, LedgeImage *out)
{
    const LedgeAllocator *a = from->allocator;
    Taps taps = {0};
    LedgeImage to;
    LEDGE_TRY(ledge__image_new(a, from->width, height, from->channels, err, &to));
    int32_t *sums = ledge__alloc(a, (size_t)from->width * (size_t)from->channels, sizeof *sums);
    LedgeStatus status =
        sums ? taps_new(a, from->height, height, filter, err, &taps) : ledge__no_memory(err);
    if (status == LEDGE_OK)
        pass_columns(from, &taps, &to, sums);
    ledge__free(a, sums);
    taps_free(a, &taps);
    if (status != LEDGE_OK) {
        ledge__image_free(&to);
        return status;
    }
    *out = to;
    return LEDGE_OK;
}

/* Input position of each output pixel's middle. */
static void pass_nearest(const LedgeImage *from, LedgeImage *to)
{
    double step_x = (double)from->width / to->width, step_y = (double)from->height / to->height;
    size_t ch = (size_t)from->channels;
    for (uint32_t y = 0; y < to->height; y++) {
        size_t in_y = (size_t)((y + 0.5) * step_y);
        in_y = in_y < from->height ? in_y : from->height - 1;
        for (uint32_t x = 0; x < to->width; x++) {
            size_t in_x = (size_t)((x + 0.5) * step_x);
            in_x = in_x < from->width ? in_x : from->width - 1;
            memcpy(to->pixels + ((size_t)y * to->width + x) * ch,
                   from->pixels + (in_y * from->width + in_x) * ch, ch);
        }
    }
}

/* Rounding between the passes makes their order matter by 1. Rows come first, except where far
 * more rows than columns go: where Pillow 13 changes over, as found by trying sizes. */
static bool columns_first(const LedgeImage *from, uint32_t width, uint32_t height)
{
    int64_t rows_gone = (int64_t)from->height - height;
    return rows_gone > 0 && rows_gone > 2 * ((int64_t)from->width - width);
}

LedgeStatus ledge__image_resize(const LedgeImage *image, uint32_t width, uint32_t height,
                                LedgeFilter filter, LedgeError *err, LedgeImage *out)
{
    LedgeImage first = {0};
    bool same_width = width == image->width, same_height = height == image->height;
    if (filter == LEDGE_FILTER_NEAREST || (same_width && same_height)) {
        LEDGE_TRY(ledge__image_new(image->allocator, width, height, image->channels, err, out));
        pass_nearest(image, out);
        return LEDGE_OK;
    }
    if (same_height)
        return resize_rows(image, width, filter, err, out);
    if (same_width)
        return resize_columns(image, height, filter, err, out);
    LedgeStatus status;
    if (columns_first(image, width, height)) {
        LEDGE_TRY(resize_columns(image, height, filter, err, &first));
        status = resize_rows(&first, width, filter, err, out);
    } else {
        LEDGE_TRY(resize_rows(image, width, filter, err, &first));
        status = resize_columns(&first, height, filter, err, out);
    }
    ledge__image_free(&first);
    return status;
}
