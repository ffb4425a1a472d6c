/* NonMaxSuppression, RoiAlign and MaxRoiPool: boxes over images. */
#include <math.h>
#include <stdlib.h>

#include "engine/ops/shape/move.h"

/* ---- NonMaxSuppression ---- */

typedef struct Candidate {
    float score;
    int64_t box;
} Candidate;

/* Highest score first; of equal ones the first box. NaN comes last. */
static int compare_candidates(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    if (x->score > y->score || (x->score == x->score && y->score != y->score))
        return -1;
    if (x->score < y->score || (x->score != x->score && y->score == y->score))
        return 1;
    return (x->box > y->box) - (x->box < y->box);
}

typedef struct Corners {
    float x0, y0, x1, y1;
} Corners;

static Corners corners_of(const float *b, bool center)
{
    if (center)
        return (Corners){b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2};
    return (Corners){fminf(b[1], b[3]), fminf(b[0], b[2]), fmaxf(b[1], b[3]), fmaxf(b[0], b[2])};
}

static bool overlap(const float *boxes, int64_t i, int64_t j, bool center, float threshold)
{
    Corners a = corners_of(boxes + 4 * i, center), b = corners_of(boxes + 4 * j, center);
    float w = fminf(a.x1, b.x1) - fmaxf(a.x0, b.x0), h = fminf(a.y1, b.y1) - fmaxf(a.y0, b.y0);
    if (!(w > 0 && h > 0))
        return false;
    float area_a = (a.x1 - a.x0) * (a.y1 - a.y0), area_b = (b.x1 - b.x0) * (b.y1 - b.y0);
    float both = w * h, either = area_a + area_b - both;
    return both > 0 && area_a > 0 && area_b > 0 && either > 0 && both / either > threshold;
}

static LedgeStatus infer_nms(LedgeOpCtx *c)
{
    const int64_t dims[2] = {-1, 3};
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_FLOAT));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_FLOAT));
    const LedgeTensor *boxes = c->in[0], *scores = c->in[1];
    if (boxes->rank >= 0 && scores->rank >= 0 &&
        (boxes->rank != 3 || scores->rank != 3 || (boxes->dims[2] >= 0 && boxes->dims[2] != 4) ||
         (boxes->dims[0] >= 0 && scores->dims[0] >= 0 && boxes->dims[0] != scores->dims[0]) ||
         (boxes->dims[1] >= 0 && scores->dims[2] >= 0 && boxes->dims[1] != scores->dims[2])))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "boxes must be [batch, n, 4] and scores [batch, classes, n]");
    ledge__op_set_out(c, 0, LEDGE_INT64, 2, dims);
    return LEDGE_OK;
}

static float float_input(const LedgeOpCtx *c, uint32_t i, float absent)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (!t || ledge_tensor_count(t) < 1)
        return absent;
    return (float)ledge__number_at(t->type, t->data, 0);
}

/* Boxes kept for one class, as indices written to `kept` (at most `most`). */
static int64_t suppress(LedgeOpCtx *c, const float *boxes, const float *scores, int64_t n,
                        int64_t most, Candidate *work, int64_t *kept)
{
    bool center = ledge__node_int(c->node, "center_point_box", 0) != 0;
    float iou = float_input(c, 3, 0), least = float_input(c, 4, -INFINITY);
    bool filter = ledge__op_in(c, 4) != NULL;
    int64_t count = 0, found = 0;
    for (int64_t i = 0; i < n; i++)
        if (!filter || scores[i] > least)
            work[count++] = (Candidate){scores[i], i};
    qsort(work, (size_t)count, sizeof *work, compare_candidates);
    for (int64_t i = 0; i < count && found < most; i++) {
        bool keep = true;
        for (int64_t k = 0; k < found && keep; k++)
            keep = !overlap(boxes, work[i].box, kept[k], center, iou);
        if (keep)
            kept[found++] = work[i].box;
    }
    return found;
}

static LedgeStatus run_nms(LedgeOpCtx *c)
{
    const LedgeTensor *boxes = c->in[0], *scores = c->in[1];
    int64_t batches = scores->dims[0], classes = scores->dims[1], n = scores->dims[2], most = 0;
    int64_t total = 0;
    int given;
    size_t lists, bytes;
    LEDGE_TRY(ledge__op_int_input(c, 2, &most, 1, &given));
    most = most < 0 ? 0 : most > n ? n : most;
    /* Per class its count and up to `most` boxes, then the candidates. */
    if (!ledge__mul((size_t)(batches * classes), (size_t)(most + 1) * 8, &lists) ||
        !ledge__mul((size_t)n + 1, sizeof(Candidate), &bytes) || !ledge__add(bytes, lists, &bytes))
        return ledge__no_memory(c->err);
    int64_t *kept = ledge__work(c, bytes);
    if (!kept)
        return ledge__no_memory(c->err);
    Candidate *work = (Candidate *)((char *)kept + lists);
    for (int64_t i = 0; i < batches * classes; i++) {
        int64_t *list = kept + i * (most + 1);
        list[0] = suppress(c, (const float *)boxes->data + i / classes * n * 4,
                           (const float *)scores->data + i * n, n, most, work, list + 1);
        total += list[0];
    }
    const int64_t dims[2] = {total, 3};
    ledge__op_set_out(c, 0, LEDGE_INT64, 2, dims);
    LEDGE_TRY(ledge__op_output(c, 0));
    int64_t *out = c->out[0]->data;
    for (int64_t i = 0; i < batches * classes; i++)
        for (int64_t k = 0; k < kept[i * (most + 1)]; k++, out += 3) {
            out[0] = i / classes;
            out[1] = i % classes;
            out[2] = kept[i * (most + 1) + 1 + k];
        }
    return LEDGE_OK;
}

/* ---- RoiAlign ---- */

static LedgeStatus infer_roi_align(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 2, LEDGE_INT64));
    const LedgeTensor *in = c->in[0], *rois = c->in[1];
    int64_t dims[4] = {rois->rank < 0 ? -1 : rois->dims[0], in->rank < 0 ? -1 : in->dims[1],
                       ledge__node_int(c->node, "output_height", 1),
                       ledge__node_int(c->node, "output_width", 1)};
    if ((in->rank >= 0 && in->rank != 4) ||
        (rois->rank >= 0 && (rois->rank != 2 || (rois->dims[1] >= 0 && rois->dims[1] != 4))))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "needs an image of rank 4 and rois [n, 4]");
    if (c->in[2]->rank >= 0 && rois->rank >= 0 &&
        (c->in[2]->rank != 1 ||
         (c->in[2]->dims[0] >= 0 && rois->dims[0] >= 0 && c->in[2]->dims[0] != rois->dims[0])))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "batch_indices must have one entry per roi");
    if (dims[2] < 1 || dims[3] < 1 || dims[2] > 1 << 20 || dims[3] > 1 << 20)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the output size is out of range");
    LEDGE_TRY(ledge__check_dims(c, 4, dims));
    ledge__op_set_out(c, 0, in->type, 4, dims);
    return LEDGE_OK;
}

typedef struct RoiWork {
    const LedgeTensor *in, *rois, *batch, *out;
    double scale, offset;
    int64_t ratio;
    bool max;
} RoiWork;

/* One sample: the four products of pixel and weight. */
static void sample(const RoiWork *w, int64_t plane, double y, double x, double *product)
{
    int64_t h = w->in->dims[2], wd = w->in->dims[3];
    if (!(y >= -1 && y <= (double)h && x >= -1 && x <= (double)wd)) {
        product[0] = product[1] = product[2] = product[3] = 0;
        return;
    }
    y = y < 0 ? 0 : y;
    x = x < 0 ? 0 : x;
    int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1 = y0 + 1, x1 = x0 + 1;
    if (y0 >= h - 1) {
        y1 = y0 = h - 1;
        y = (double)y0;
    }
    if (x0 >= wd - 1) {
        x1 = x0 = wd - 1;
        x = (double)x0;
    }
    double ly = y - (double)y0, lx = x - (double)x0;
    LedgeType t = w->in->type;
    product[0] = (1 - ly) * (1 - lx) * ledge__number_at(t, w->in->data, plane + y0 * wd + x0);
    product[1] = (1 - ly) * lx * ledge__number_at(t, w->in->data, plane + y0 * wd + x1);
    product[2] = ly * (1 - lx) * ledge__number_at(t, w->in->data, plane + y1 * wd + x0);
    product[3] = ly * lx * ledge__number_at(t, w->in->data, plane + y1 * wd + x1);
}

/* One output cell: samples of a rows x cols grid inside the bin. */
static double pool_bin(const RoiWork *w, int64_t plane, double y0, double x0, double bh, double bw,
                       int64_t rows, int64_t cols)
{
    double sum = 0, most = 0, product[4];
    bool first = true;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < cols; k++) {
            sample(w, plane, y0 + ((double)i + 0.5) * bh / (double)rows,
                   x0 + ((double)k + 0.5) * bw / (double)cols, product);
            for (int p = 0; p < 4; p++) {
                sum += product[p];
                most = first || product[p] > most ? product[p] : most;
                first = false;
            }
        }
    int64_t count = rows * cols;
    return w->max ? most : sum / (double)(count > 0 ? count : 1);
}

#define MAX_SAMPLES 2048 /* a side of a cell; a roi that needs more is none */

/* Samples along one side of a cell; above MAX_SAMPLES it is refused before it is used. */
static int64_t grid_size(int64_t ratio, double size, int64_t cells)
{
    double n = ratio > 0 ? (double)ratio : ceil(size / (double)cells);
    return n > 0 ? n <= MAX_SAMPLES ? (int64_t)n : MAX_SAMPLES + 1 : 0;
}

/* Corners of roi n on the image, and its size; without half_pixel at least 1x1. */
static void roi_box(const RoiWork *w, int64_t n, double *b, double *height, double *width)
{
    for (int i = 0; i < 4; i++)
        b[i] = ledge__number_at(w->rois->type, w->rois->data, 4 * n + i) * w->scale - w->offset;
    *width = b[2] - b[0];
    *height = b[3] - b[1];
    if (w->offset == 0) {
        *width = *width > 1 ? *width : 1;
        *height = *height > 1 ? *height : 1;
    }
}

static void align_rois(void *arg, size_t begin, size_t end, int thread)
{
    const RoiWork *w = arg;
    const int64_t *od = w->out->dims, *id = w->in->dims;
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        int64_t n = (int64_t)item / od[1], k = (int64_t)item % od[1];
        double b[4], rh, rw;
        roi_box(w, n, b, &rh, &rw);
        double bh = rh / (double)od[2], bw = rw / (double)od[3];
        int64_t rows = grid_size(w->ratio, rh, od[2]), cols = grid_size(w->ratio, rw, od[3]);
        int64_t plane = (ledge__index_at(w->batch, n) * id[1] + k) * id[2] * id[3];
        for (int64_t i = 0; i < od[2] * od[3]; i++)
            ledge__number_set(w->out->type, w->out->data, (int64_t)item * od[2] * od[3] + i,
                              pool_bin(w, plane, b[1] + (double)(i / od[3]) * bh,
                                       b[0] + (double)(i % od[3]) * bw, bh, bw, rows, cols));
    }
}

static LedgeStatus check_rois(LedgeOpCtx *c, const RoiWork *w)
{
    int64_t n = ledge_tensor_count(w->batch);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = ledge__index_at(w->batch, i);
        double b[4], rh, rw;
        if (at < 0 || at >= w->in->dims[0])
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "batch index %lld of %lld images",
                                  (long long)at, (long long)w->in->dims[0]);
        roi_box(w, i, b, &rh, &rw);
        if (grid_size(w->ratio, rh, w->out->dims[2]) > MAX_SAMPLES ||
            grid_size(w->ratio, rw, w->out->dims[3]) > MAX_SAMPLES)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "roi %lld is too large to be sampled",
                                  (long long)i);
    }
    return LEDGE_OK;
}

static LedgeStatus run_roi_align(LedgeOpCtx *c)
{
    RoiWork w = {.in = c->in[0], .rois = c->in[1], .batch = c->in[2], .out = c->out[0]};
    const char *how = ledge__node_string(c->node, "coordinate_transformation_mode",
                                         c->node->opset < 16 ? "output_half_pixel" : "half_pixel");
    w.max = strcmp(ledge__node_string(c->node, "mode", "avg"), "max") == 0;
    w.offset = strcmp(how, "half_pixel") == 0 ? 0.5 : 0;
    w.scale = ledge__node_float(c->node, "spatial_scale", 1);
    w.ratio = ledge__node_int(c->node, "sampling_ratio", 0);
    if (!ledge__is_float(w.in->type) || !ledge__is_float(w.rois->type))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "image and rois must be floating point");
    LEDGE_TRY(check_rois(c, &w));
    if (ledge_tensor_count(w.out) == 0)
        return LEDGE_OK;
    if (ledge_tensor_count(w.in) == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the image is empty");
    ledge__pool_run(c->pool, (size_t)(w.out->dims[0] * w.out->dims[1]), 1, align_rois, &w);
    return LEDGE_OK;
}

/* ---- MaxRoiPool ---- */

static LedgeStatus infer_max_roi_pool(LedgeOpCtx *c)
{
    size_t n = 0;
    const int64_t *shape = ledge__node_ints(c->node, "pooled_shape", &n);
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0], *rois = c->in[1];
    if (n != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > 1 << 20 || shape[1] > 1 << 20)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "pooled_shape must be two sizes");
    if ((in->rank >= 0 && in->rank != 4) ||
        (rois->rank >= 0 && (rois->rank != 2 || (rois->dims[1] >= 0 && rois->dims[1] != 5))))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "needs an image of rank 4 and rois [n, 5]");
    int64_t dims[4] = {rois->rank < 0 ? -1 : rois->dims[0], in->rank < 0 ? -1 : in->dims[1],
                       shape[0], shape[1]};
    LEDGE_TRY(ledge__check_dims(c, 4, dims));
    ledge__op_set_out(c, 0, in->type, 4, dims);
    return LEDGE_OK;
}

/* Cells [begin, end) of `n` pixels that bin `i` of `bins` covers. */
static void bin_range(double start, double size, int64_t i, int64_t bins, int64_t n, int64_t *begin,
                      int64_t *end)
{
    double b = floor((double)i * size / (double)bins) + start;
    double e = ceil((double)(i + 1) * size / (double)bins) + start;
    *begin = b < 0 ? 0 : b > (double)n ? n : (int64_t)b;
    *end = e < 0 ? 0 : e > (double)n ? n : (int64_t)e;
}

static double max_of(const LedgeTensor *in, int64_t plane, const int64_t *range)
{
    double most = 0;
    bool first = true;
    for (int64_t y = range[0]; y < range[1]; y++)
        for (int64_t x = range[2]; x < range[3]; x++) {
            double v = ledge__number_at(in->type, in->data, plane + y * in->dims[3] + x);
            most = first || v > most ? v : most;
            first = false;
        }
    return most;
}

static LedgeStatus run_max_roi_pool(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *rois = c->in[1], *out = c->out[0];
    double scale = ledge__node_float(c->node, "spatial_scale", 1);
    int64_t cells = out->dims[2] * out->dims[3], total = ledge_tensor_count(out);
    if (!ledge__is_float(in->type) || !ledge__is_float(rois->type))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "image and rois must be floating point");
    for (int64_t i = 0; i < total; i++) {
        int64_t n = i / cells / out->dims[1], k = i / cells % out->dims[1], range[4];
        double b[5];
        for (int j = 0; j < 5; j++)
            b[j] = ledge__number_at(rois->type, rois->data, 5 * n + j) * (j ? scale : 1);
        if (!(b[0] >= 0 && b[0] < (double)in->dims[0]))
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "batch index %g of %lld images", b[0],
                                  (long long)in->dims[0]);
        double x = round(b[1]), y = round(b[2]), w = round(b[3]) - x + 1, h = round(b[4]) - y + 1;
        bin_range(y, h > 1 ? h : 1, i % cells / out->dims[3], out->dims[2], in->dims[2], &range[0],
                  &range[1]);
        bin_range(x, w > 1 ? w : 1, i % out->dims[3], out->dims[3], in->dims[3], &range[2],
                  &range[3]);
        int64_t plane = ((int64_t)b[0] * in->dims[1] + k) * in->dims[2] * in->dims[3];
        ledge__number_set(out->type, out->data, i, max_of(in, plane, range));
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_roi[] = {
    {.domain = "",
     .op_type = "NonMaxSuppression",
     .since = 10,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_nms,
     .run = run_nms},
    {.domain = "",
     .op_type = "RoiAlign",
     .since = 10,
     .infer = infer_roi_align,
     .run = run_roi_align},
    {.domain = "",
     .op_type = "MaxRoiPool",
     .since = 1,
     .infer = infer_max_roi_pool,
     .run = run_max_roi_pool},
    {0},
};
