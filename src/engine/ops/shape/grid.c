/* GridSample (opset 16 on, one to six spatial dimensions) and AffineGrid (opset 20).
 *
 * For each output point the grid gives a position; for each spatial dimension it becomes one,
 * two or four taps (index, weight). The value is the sum over the product of the taps, so one
 * loop serves nearest, linear and cubic in every number of dimensions. */
#include <math.h>

#include "engine/ops/shape/move.h"

#define MAX_SPACE (LEDGE_MAX_RANK - 2)

typedef enum GridMode { GRID_NEAREST, GRID_LINEAR, GRID_CUBIC } GridMode;
typedef enum GridPad { GRID_ZEROS, GRID_BORDER, GRID_REFLECTION } GridPad;

typedef struct GridWork {
    const LedgeTensor *in, *grid, *out;
    GridMode mode;
    GridPad pad;
    bool align;
    int32_t space;          /* spatial dimensions */
    int64_t points, pixels; /* of one image: output, input */
} GridWork;

static LedgeStatus get_modes(LedgeOpCtx *c, GridWork *w)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear", "bicubic"};
    static const GridMode mode_of[] = {GRID_NEAREST, GRID_LINEAR, GRID_CUBIC, GRID_LINEAR,
                                       GRID_CUBIC};
    static const char *const pads[] = {"zeros", "border", "reflection"};
    const char *mode = ledge__node_string(c->node, "mode", "linear");
    const char *pad = ledge__node_string(c->node, "padding_mode", "zeros");
    int m = 0, p = 0;
    while (m < 5 && strcmp(modes[m], mode) != 0)
        m++;
    while (p < 3 && strcmp(pads[p], pad) != 0)
        p++;
    if (m == 5 || p == 3)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "mode %s with padding_mode %s", mode, pad);
    w->mode = mode_of[m];
    w->pad = (GridPad)p;
    w->align = ledge__node_int(c->node, "align_corners", 0) != 0;
    return LEDGE_OK;
}

static LedgeStatus infer_grid_sample(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0], *grid = c->in[1];
    if (in->rank < 0 || grid->rank < 0)
        return ledge__out_rank(c, 0, in->type, in->rank);
    if (in->rank < 3 || grid->rank != in->rank ||
        (grid->dims[grid->rank - 1] >= 0 && grid->dims[grid->rank - 1] != in->rank - 2))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "grid must have the rank of the input and end in its %d spatial "
                              "dimensions",
                              in->rank - 2);
    if (in->dims[0] >= 0 && grid->dims[0] >= 0 && in->dims[0] != grid->dims[0])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input and grid differ in batch");
    dims[0] = in->dims[0] < 0 ? grid->dims[0] : in->dims[0];
    dims[1] = in->dims[1];
    for (int32_t d = 2; d < in->rank; d++)
        dims[d] = grid->dims[d - 1];
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    return LEDGE_OK;
}

/* Mirrors x at the borders until it lies between them. */
static double reflect(double x, double low, double high)
{
    double range = high - low;
    if (range <= 0)
        return low;
    double d = x < low ? low - x : x > high ? x - high : -1;
    if (d < 0)
        return x;
    double turns = floor(d / range), rest = d - turns * range;
    bool even = fmod(turns, 2) == 0;
    return (x < low) == even ? low + rest : high - rest;
}

static double cubic_weight(double x)
{
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/* The element that position i means, or -1 for a zero. */
static int64_t pixel_index(const GridWork *w, double i, int64_t n)
{
    double low = w->align ? 0 : -0.5, high = (double)n - (w->align ? 1 : 0.5);
    if (i >= 0 && i < (double)n)
        return (int64_t)i;
    if (w->pad == GRID_ZEROS)
        return -1;
    if (w->pad == GRID_REFLECTION)
        i = trunc(reflect(i, low, high));
    return i < 0 ? 0 : i > (double)(n - 1) ? n - 1 : (int64_t)i;
}

typedef struct Taps {
    int n;
    int64_t index[4]; /* -1: the value is 0 */
    double weight[4];
} Taps;

static void find_taps(const GridWork *w, double at, int64_t n, Taps *taps)
{
    double low = w->align ? 0 : -0.5, high = (double)n - (w->align ? 1 : 0.5);
    double x = w->align ? (at + 1) / 2 * (double)(n - 1) : ((at + 1) * (double)n - 1) / 2;
    x = (double)(float)x; /* positions are float32 by definition */
    if (!(fabs(x) < 1e9)) /* NaN, infinity and what float cannot tell apart */
        x = -1e9;
    if (w->mode == GRID_NEAREST)
        x = nearbyint(x);
    if (x < low || x > high) {
        if (w->pad == GRID_BORDER && w->mode != GRID_CUBIC) /* cubic clamps pixels, not positions */
            x = x < 0 ? 0 : x > (double)(n - 1) ? (double)(n - 1) : x;
        else if (w->pad == GRID_REFLECTION)
            x = reflect(x, low, high);
    }
    double base = w->mode == GRID_NEAREST ? x : floor(x);
    taps->n = w->mode == GRID_NEAREST ? 1 : w->mode == GRID_LINEAR ? 2 : 4;
    for (int k = 0; k < taps->n; k++) {
        double i = base + k - (w->mode == GRID_CUBIC);
        taps->index[k] = pixel_index(w, i, n);
        taps->weight[k] = w->mode == GRID_NEAREST  ? 1
                          : w->mode == GRID_LINEAR ? 1 - fabs(x - i)
                                                   : cubic_weight(x - i);
    }
}

static double pixel(const GridWork *w, int64_t plane, int64_t offset)
{
    if (w->in->type == LEDGE_FLOAT)
        return ((const float *)w->in->data)[plane + offset];
    return ledge__number_at(w->in->type, w->in->data, plane + offset);
}

/* Sum over all combinations of the taps of dimensions d … space-1. */
static double blend(const GridWork *w, const Taps *taps, int32_t d, int64_t plane, int64_t offset)
{
    double sum = 0;
    for (int k = 0; k < taps[d].n; k++) {
        if (taps[d].index[k] < 0)
            continue;
        int64_t at = offset * w->in->dims[2 + d] + taps[d].index[k];
        sum += taps[d].weight[k] *
               (d + 1 < w->space && d + 1 < MAX_SPACE ? blend(w, taps, d + 1, plane, at)
                                                      : pixel(w, plane, at));
    }
    return sum;
}

/* Linear in two dimensions of float: four pixels, those outside weighing nothing. */
static void blend_image(const GridWork *w, const Taps *taps, int64_t first, int64_t to)
{
    float weight[4];
    int64_t offset[4];
    for (int i = 0; i < 4; i++) {
        int64_t y = taps[0].index[i / 2], x = taps[1].index[i % 2];
        bool inside = y >= 0 && x >= 0;
        weight[i] = inside ? (float)(taps[0].weight[i / 2] * taps[1].weight[i % 2]) : 0;
        offset[i] = inside ? y * w->in->dims[3] + x : 0;
    }
    const float *from = (const float *)w->in->data + first;
    float *out = (float *)w->out->data + to;
    for (int64_t k = 0; k < w->in->dims[1]; k++, from += w->pixels, out += w->points) {
        float sum = 0;
        for (int i = 0; i < 4; i++)
            if (weight[i] != 0) /* a pixel that is not looked at may be infinite */
                sum += weight[i] * from[offset[i]];
        *out = sum;
    }
}

/* Nearest keeps every bit of the element. */
static void copy_nearest(const GridWork *w, const Taps *taps, int64_t plane, int64_t to)
{
    size_t size = ledge_type_bits(w->in->type) / 8;
    int64_t offset = 0;
    for (int32_t d = 0; d < w->space && offset >= 0; d++)
        offset = taps[d].index[0] < 0 ? -1 : offset * w->in->dims[2 + d] + taps[d].index[0];
    char *out = (char *)w->out->data + (size_t)to * size;
    if (offset < 0)
        memset(out, 0, size);
    else
        memcpy(out, (const char *)w->in->data + (size_t)(plane + offset) * size, size);
}

/* An item is one output point, in all channels. */
static void sample_points(void *arg, size_t begin, size_t end, int thread)
{
    const GridWork *w = arg;
    int64_t channels = w->in->dims[1];
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        int64_t n = (int64_t)item / w->points, point = (int64_t)item % w->points;
        Taps taps[MAX_SPACE];
        for (int32_t d = 0; d < w->space; d++) {
            int64_t at = (int64_t)item * w->space + (w->space - 1 - d); /* x comes first */
            double x = w->grid->type == LEDGE_FLOAT
                           ? (double)((const float *)w->grid->data)[at]
                           : ledge__number_at(w->grid->type, w->grid->data, at);
            find_taps(w, x, w->in->dims[2 + d], &taps[d]);
        }
        if (w->mode == GRID_LINEAR && w->space == 2 && w->in->type == LEDGE_FLOAT) {
            blend_image(w, taps, n * channels * w->pixels, n * channels * w->points + point);
            continue;
        }
        for (int64_t k = 0; k < channels; k++) {
            int64_t plane = (n * channels + k) * w->pixels, to = (n * channels + k) * w->points + point;
            if (w->mode == GRID_NEAREST)
                copy_nearest(w, taps, plane, to);
            else
                ledge__number_set(w->out->type, w->out->data, to, blend(w, taps, 0, plane, 0));
        }
    }
}

static LedgeStatus run_grid_sample(LedgeOpCtx *c)
{
    GridWork w = {.in = c->in[0], .grid = c->in[1], .out = c->out[0]};
    size_t size;
    LEDGE_TRY(get_modes(c, &w));
    LEDGE_TRY(ledge__element_size(c, w.in, &size));
    if (!ledge__is_float(w.grid->type))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "grid is %s", ledge_type_name(w.grid->type));
    if (w.mode != GRID_NEAREST && (w.in->type == LEDGE_STRING || w.in->type == LEDGE_COMPLEX64 ||
                                   w.in->type == LEDGE_COMPLEX128))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "interpolation of %s",
                              ledge_type_name(w.in->type));
    w.space = w.in->rank - 2;
    w.points = ledge__dims_product(w.out->dims, 2, w.out->rank);
    w.pixels = ledge__dims_product(w.in->dims, 2, w.in->rank);
    if (ledge_tensor_count(w.out) == 0)
        return LEDGE_OK;
    if (w.pixels == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the image is empty");
    size_t items = (size_t)(w.in->dims[0] * w.points);
    ledge__pool_run(items > 256 ? c->pool : NULL, items, 128, sample_points, &w);
    return LEDGE_OK;
}

/* ---- AffineGrid ---- */

static LedgeStatus infer_affine_grid(LedgeOpCtx *c)
{
    int64_t size[5], dims[5];
    int n;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *theta = c->in[0];
    LEDGE_TRY(ledge__op_int_input(c, 1, size, 5, &n));
    if (n < 0) {
        const LedgeTensor *s = c->in[1];
        return ledge__out_rank(c, 0, theta->type,
                               s->rank == 1 && (s->dims[0] == 4 || s->dims[0] == 5)
                                   ? (int32_t)s->dims[0]
                                   : -1);
    }
    if (n != 4 && n != 5)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "size has %d entries, must have 4 or 5", n);
    for (int i = 0; i < n; i++)
        if (size[i] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a size is %lld", (long long)size[i]);
    if (theta->rank >= 0 &&
        (theta->rank != 3 || (theta->dims[0] >= 0 && theta->dims[0] != size[0]) ||
         (theta->dims[1] >= 0 && theta->dims[1] != n - 2) ||
         (theta->dims[2] >= 0 && theta->dims[2] != n - 1)))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "theta must be [%lld, %d, %d]",
                              (long long)size[0], n - 2, n - 1);
    dims[0] = size[0];
    for (int d = 2; d < n; d++)
        dims[d - 1] = size[d];
    dims[n - 1] = n - 2;
    LEDGE_TRY(ledge__check_dims(c, n, dims));
    ledge__op_set_out(c, 0, theta->type, n, dims);
    return LEDGE_OK;
}

static double grid_line(int64_t i, int64_t n, bool align)
{
    if (align)
        return n > 1 ? -1 + 2.0 * (double)i / (double)(n - 1) : -1;
    return -1 + (2.0 * (double)i + 1) / (double)n;
}

static LedgeStatus run_affine_grid(LedgeOpCtx *c)
{
    const LedgeTensor *theta = c->in[0], *out = c->out[0];
    bool align = ledge__node_int(c->node, "align_corners", 0) != 0;
    int32_t space = out->rank - 2;
    int64_t total = ledge_tensor_count(out) / (space ? space : 1);
    int64_t per_image = ledge__dims_product(out->dims, 1, out->rank - 1);
    if (!ledge__is_float(theta->type))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "theta is %s", ledge_type_name(theta->type));
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i % per_image, row = i / per_image * space * (space + 1);
        double at[4];
        for (int32_t d = 0; d < space; d++) { /* x comes first */
            int64_t n = out->dims[space - d];
            at[d] = grid_line(rest % n, n, align);
            rest /= n;
        }
        at[space] = 1;
        for (int32_t r = 0; r < space; r++) {
            double sum = 0;
            for (int32_t k = 0; k <= space; k++)
                sum += at[k] * ledge__number_at(theta->type, theta->data, row + r * (space + 1) + k);
            ledge__number_set(out->type, out->data, i * space + r, sum);
        }
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_grid[] = {
    {.domain = "", .op_type = "GridSample", .since = 16, .infer = infer_grid_sample,
     .run = run_grid_sample},
    {.domain = "", .op_type = "AffineGrid", .since = 20, .infer = infer_affine_grid,
     .run = run_affine_grid},
    {0},
};
