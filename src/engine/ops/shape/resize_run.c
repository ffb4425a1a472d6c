/* Resize over elements: nearest copies elements of any type, linear and cubic work axis by axis.
 *
 * Float images whose last two axes change take the fast way: for each output row its input rows
 * are blended into one line, which is then blended along itself; planes and rows are spread
 * over the pool. All else goes through double, one axis after the other. */
#include "engine/kernels/vec.h"
#include "engine/ops/shape/resize.h"

typedef struct ResizeWork {
    const ResizePlan *plan;
    const LedgeTensor *in, *out;
    size_t size;                /* nearest: bytes of an element */
    bool twice;                 /* nearest: 4-byte elements of the last axis become two each */
    int64_t stride[LEDGE_MAX_RANK]; /* of the input */
    float *lines;               /* fast way: a line of n_in floats per thread */
} ResizeWork;

static int64_t source(const ResizeAxis *a, int64_t at)
{
    return a->changes ? a->index[at] : at;
}

/* Row of the input that an output row of nearest is made from. */
static const char *nearest_row(const ResizeWork *w, int64_t row)
{
    int64_t from = 0;
    for (int32_t d = w->plan->rank - 2; d >= 0; d--) {
        from += source(&w->plan->axis[d], row % w->out->dims[d]) * w->stride[d];
        row /= w->out->dims[d];
    }
    return (const char *)w->in->data + (size_t)from * w->size;
}

#define PICK(bytes)                                                                       \
    for (int64_t k = 0; k < n; k++)                                                       \
    memcpy(to + k * (bytes), from + index[k] * (bytes), bytes)

static void pick_row(char *to, const char *from, const int64_t *index, int64_t n, size_t size)
{
    switch (size) {
    case 1:
        PICK(1);
        break;
    case 2:
        PICK(2);
        break;
    case 4:
        PICK(4);
        break;
    case 8:
        PICK(8);
        break;
    default:
        PICK(16);
    }
}

/* Twice the width, which most upsampling is: k / 2 is where position k comes from. */
static bool is_double(const ResizeAxis *a)
{
    if (!a->changes || a->n_out != 2 * a->n_in)
        return false;
    for (int64_t k = 0; k < a->n_out; k++)
        if (a->index[k] != k / 2)
            return false;
    return true;
}

static void double_row(uint32_t *to, const uint32_t *from, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        to[2 * k] = to[2 * k + 1] = from[k];
}

static void nearest_rows(void *arg, size_t begin, size_t end, int thread)
{
    const ResizeWork *w = arg;
    int32_t last = w->plan->rank - 1;
    const ResizeAxis *axis = &w->plan->axis[last];
    size_t bytes = (size_t)w->out->dims[last] * w->size;
    const char *before = NULL;
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        char *to = (char *)w->out->data + row * bytes;
        const char *from = nearest_row(w, (int64_t)row);
        if (from == before)
            memcpy(to, to - bytes, bytes);
        else if (w->twice)
            double_row((uint32_t *)to, (const uint32_t *)from, axis->n_in);
        else if (axis->changes)
            pick_row(to, from, axis->index, axis->n_out, w->size);
        else
            memcpy(to, from, bytes);
        before = from;
    }
}

/* tf_crop_and_resize: what lies outside the image gets the extrapolation value. */
static void extrapolate(const ResizePlan *p, const LedgeTensor *out)
{
    int64_t total = ledge_tensor_count(out);
    for (int64_t i = 0; i < total && p->any_outside; i++) {
        int64_t rest = i;
        bool outside = false;
        for (int32_t d = p->rank - 1; d >= 0; d--) {
            outside |= p->axis[d].outside && p->axis[d].outside[rest % out->dims[d]];
            rest /= out->dims[d];
        }
        if (outside)
            ledge__number_set(out->type, out->data, i, p->extrapolation);
    }
}

static LedgeStatus run_nearest(LedgeOpCtx *c, ResizeWork *w)
{
    LEDGE_TRY(ledge__element_size(c, w->in, &w->size));
    ledge__strides(w->in->rank, w->in->dims, w->stride);
    int64_t cols = w->out->dims[w->plan->rank - 1];
    w->twice = w->size == 4 && is_double(&w->plan->axis[w->plan->rank - 1]);
    size_t rows = (size_t)(ledge_tensor_count(w->out) / cols);
    size_t grain = 32768 / ((size_t)cols * w->size) + 1;
    ledge__pool_run(rows > grain ? c->pool : NULL, rows, grain, nearest_rows, w);
    extrapolate(w->plan, w->out);
    return LEDGE_OK;
}

/* line = Σ weight · row, over the taps of one output row. */
static void blend_rows(float *line, const float *plane, const ResizeAxis *v, int64_t row, int64_t n)
{
    const int64_t *index = v->index + row * v->taps;
    const float *weight = v->weight_f + row * v->taps;
    if (v->taps == 2) {
        const float *a = plane + index[0] * n, *b = plane + index[1] * n;
        float wa = weight[0], wb = weight[1];
        for (int64_t k = 0; k < n; k++)
            line[k] = a[k] * wa + b[k] * wb;
        return;
    }
    for (int64_t k = 0; k < n; k++)
        line[k] = plane[index[0] * n + k] * weight[0];
    for (int t = 1; t < v->taps; t++) {
        const float *from = plane + index[t] * n;
        for (int64_t k = 0; k < n; k++)
            line[k] += from[k] * weight[t];
    }
}

static void blend_columns(float *to, const float *line, const ResizeAxis *h)
{
    const int64_t *index = h->index;
    const float *weight = h->weight_f;
    if (h->taps == 2) {
        for (int64_t k = 0; k < h->n_out; k++)
            to[k] = line[index[2 * k]] * weight[2 * k] + line[index[2 * k + 1]] * weight[2 * k + 1];
        return;
    }
    for (int64_t k = 0; k < h->n_out; k++) {
        float sum = 0;
        for (int t = 0; t < h->taps; t++)
            sum += line[index[k * h->taps + t]] * weight[k * h->taps + t];
        to[k] = sum;
    }
}

static void image_rows(void *arg, size_t begin, size_t end, int thread)
{
    const ResizeWork *w = arg;
    const ResizeAxis *v = &w->plan->axis[w->plan->rank - 2], *h = v + 1;
    float *line = w->lines + (int64_t)thread * h->n_in;
    for (size_t i = begin; i < end; i++) {
        int64_t plane = (int64_t)i / v->n_out, row = (int64_t)i % v->n_out;
        const float *from = (const float *)w->in->data + plane * v->n_in * h->n_in;
        float *to = (float *)w->out->data + (int64_t)i * h->n_out;
        const float *mixed = from + row * h->n_in;
        if (v->changes) {
            blend_rows(h->changes ? line : to, from, v, row, h->n_in);
            mixed = line;
        }
        if (h->changes)
            blend_columns(to, mixed, h);
        else if (!v->changes)
            memcpy(to, mixed, (size_t)h->n_out * sizeof *to);
    }
}

static bool is_image(const ResizePlan *p, const LedgeTensor *in)
{
    if (in->type != LEDGE_FLOAT || p->rank < 2)
        return false;
    for (int32_t d = 0; d < p->rank - 2; d++)
        if (p->axis[d].changes)
            return false;
    return true;
}

static LedgeStatus run_image(LedgeOpCtx *c, ResizeWork *w)
{
    const ResizeAxis *v = &w->plan->axis[w->plan->rank - 2], *h = v + 1;
    size_t rows = (size_t)(ledge_tensor_count(w->out) / h->n_out);
    w->lines = ledge__work(c, ledge__resize_work_bytes(c, w->plan, w->in));
    if (!w->lines)
        return ledge__no_memory(c->err);
    size_t grain = (size_t)(16384 / (h->n_out + h->n_in)) + 1;
    ledge__pool_run(rows > grain ? c->pool : NULL, rows, grain, image_rows, w);
    extrapolate(w->plan, w->out);
    return LEDGE_OK;
}

/* Float images with channels last: only the two axes before the last change, and the taps of
 * an output pixel are few. */
static bool is_nhwc(const ResizePlan *p, const LedgeTensor *in)
{
    if (in->type != LEDGE_FLOAT || p->rank != 4 || p->axis[0].changes || p->axis[3].changes)
        return false;
    for (int32_t d = 1; d < 3; d++)
        if (p->axis[d].changes && p->axis[d].taps > LEDGE_RESIZE_TAPS)
            return false;
    return true;
}

static LedgeStatus run_nhwc(LedgeOpCtx *c, ResizeWork *w)
{
    LedgeResample axis[2];
    const int64_t *in = w->in->dims;
    for (int i = 0; i < 2; i++) {
        const ResizeAxis *a = &w->plan->axis[1 + i];
        axis[i] = (LedgeResample){(size_t)a->n_out, a->changes ? (size_t)a->taps : 1,
                                  a->changes ? a->index : NULL, a->weight_f};
    }
    ledge__vec_resize((LedgeRunner){c->pool, c->cpu}, w->in->data, w->out->data, (size_t)in[0],
                      (size_t)in[1], (size_t)in[2], (size_t)in[3], &axis[0], &axis[1]);
    extrapolate(w->plan, w->out);
    return LEDGE_OK;
}

/* One axis of [outer, n_in, inner] to [outer, n_out, inner]. */
static void blend_axis(const double *from, double *to, int64_t outer, int64_t inner,
                       const ResizeAxis *a)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < a->n_out; i++) {
            double *row = to + (o * a->n_out + i) * inner;
            for (int64_t k = 0; k < inner; k++)
                row[k] = 0;
            for (int t = 0; t < a->taps; t++) {
                double weight = a->weight[i * a->taps + t];
                const double *line = from + (o * a->n_in + a->index[i * a->taps + t]) * inner;
                for (int64_t k = 0; k < inner; k++)
                    row[k] += weight * line[k];
            }
        }
}

/* Elements of the largest stage between input and output; -1: too many. */
static int64_t largest_stage(const ResizePlan *p, const LedgeTensor *in)
{
    LedgeTensor stage = *in;
    int64_t most = ledge_tensor_count(in);
    for (int32_t d = 0; d < p->rank && most >= 0; d++) {
        stage.dims[d] = p->axis[d].n_out;
        int64_t n = ledge_tensor_count(&stage);
        most = n < 0 || n > INT64_MAX / 32 ? -1 : n > most ? n : most;
    }
    return most;
}

size_t ledge__resize_work_bytes(const LedgeOpCtx *c, const ResizePlan *p, const LedgeTensor *in)
{
    if (p->mode == RESIZE_NEAREST || p->rank == 0)
        return 0;
    if (is_image(p, in))
        return (size_t)ledge__pool_threads(c->pool) * (size_t)in->dims[p->rank - 1] * sizeof(float);
    int64_t most = largest_stage(p, in);
    return most < 0 ? SIZE_MAX : (size_t)most * 2 * sizeof(double);
}

/* Axis by axis in double, between two buffers that hold the largest stage. */
static LedgeStatus run_general(LedgeOpCtx *c, ResizeWork *w)
{
    const ResizePlan *p = w->plan;
    int64_t dims[LEDGE_MAX_RANK], n = ledge_tensor_count(w->in);
    size_t bytes = ledge__resize_work_bytes(c, p, w->in);
    if (bytes == SIZE_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "a stage of it would have too many elements");
    double *a = ledge__work(c, bytes), *b = a + bytes / 16;
    if (!a)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < n; i++)
        a[i] = ledge__number_at(w->in->type, w->in->data, i);
    memcpy(dims, w->in->dims, sizeof dims);
    for (int32_t d = 0; d < p->rank; d++) {
        if (!p->axis[d].changes)
            continue;
        blend_axis(a, b, ledge__dims_product(dims, 0, d), ledge__dims_product(dims, d + 1, p->rank),
                   &p->axis[d]);
        dims[d] = p->axis[d].n_out;
        double *swap = a;
        a = b;
        b = swap;
    }
    n = ledge_tensor_count(w->out);
    for (int64_t i = 0; i < n; i++)
        ledge__number_set(w->out->type, w->out->data, i, a[i]);
    extrapolate(p, w->out);
    return LEDGE_OK;
}

LedgeStatus ledge__resize_run(LedgeOpCtx *c, const ResizePlan *p, const LedgeTensor *in,
                              const LedgeTensor *out)
{
    ResizeWork w = {.plan = p, .in = in, .out = out};
    if (ledge_tensor_count(out) == 0)
        return LEDGE_OK;
    if (ledge_tensor_count(in) == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the input is empty, the result is not");
    if (p->rank == 0) {
        ledge__move_bytes(out->data, in->data, ledge_tensor_bytes(in));
        return LEDGE_OK;
    }
    if (p->mode == RESIZE_NEAREST)
        return run_nearest(c, &w);
    if (in->type == LEDGE_STRING || in->type == LEDGE_BOOL || in->type == LEDGE_COMPLEX64 ||
        in->type == LEDGE_COMPLEX128 || ledge_type_bits(in->type) < 8)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "interpolation of %s",
                              ledge_type_name(in->type));
    if (is_image(p, in))
        return run_image(c, &w);
    return is_nhwc(p, in) ? run_nhwc(c, &w) : run_general(c, &w);
}
