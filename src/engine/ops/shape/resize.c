/* Resize (opset 10 on) and Upsample (7 to 9): attributes, shapes, and the tables of taps.
 *
 * Coordinates are computed in double from the scale as given (or output / input where sizes
 * are given), as the operator's definition has it. Opset 10 and Upsample know only asymmetric
 * coordinates. */
#include "engine/ops/shape/resize.h"

#include <math.h>

typedef enum Coordinates {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_CROP_AND_RESIZE
} Coordinates;

typedef enum Nearest { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL, SIMPLE } Nearest;

typedef struct ResizeArgs {
    ResizeMode mode;
    Coordinates coordinates;
    Nearest nearest;
    bool antialias, exclude_outside;
    double cubic_a;
    bool known; /* scales or sizes are; else the output's dims are free */
    double scale[LEDGE_MAX_RANK];
    int64_t out[LEDGE_MAX_RANK]; /* -1: free */
    bool named[LEDGE_MAX_RANK];  /* the axis takes part */
    double roi_start[LEDGE_MAX_RANK], roi_end[LEDGE_MAX_RANK];
} ResizeArgs;

/* ledge.Resize has the meaning of ONNX's newest one, on tensors with channels last. */
static bool is_modern(const LedgeOpCtx *c)
{
    return c->node->opset > 10 || c->node->domain[0];
}

static LedgeStatus pick(LedgeOpCtx *c, const char *attr, const char *absent,
                        const char *const *names, int count, int *out)
{
    const char *name = ledge__node_string(c->node, attr, absent);
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "%s %s", attr, name);
}

static LedgeStatus get_modes(LedgeOpCtx *c, ResizeArgs *a)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear"};
    static const char *const coordinates[] = {
        "half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
        "align_corners", "asymmetric",           "tf_crop_and_resize"};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                          "ceil"};
    int mode = 0, how = ASYMMETRIC, near = SIMPLE;
    LEDGE_TRY(pick(c, "mode", "nearest", modes, 4, &mode));
    a->mode = mode == 3 ? RESIZE_LINEAR : (ResizeMode)mode;
    if (is_modern(c)) {
        LEDGE_TRY(pick(c, "coordinate_transformation_mode", "half_pixel", coordinates, 6, &how));
        LEDGE_TRY(pick(c, "nearest_mode", "round_prefer_floor", nearest, 4, &near));
    }
    a->coordinates = (Coordinates)how;
    a->nearest = (Nearest)near;
    a->antialias = ledge__node_int(c->node, "antialias", 0) != 0 && a->mode != RESIZE_NEAREST;
    a->exclude_outside = ledge__node_int(c->node, "exclude_outside", 0) != 0;
    a->cubic_a = ledge__node_float(c->node, "cubic_coeff_a", -0.75f);
    return LEDGE_OK;
}

/* The axes that scales, sizes and roi speak of, in their order. */
static LedgeStatus get_axes(LedgeOpCtx *c, int32_t rank, int32_t *axes, int32_t *n)
{
    size_t count = 0;
    const int64_t *attr = ledge__node_ints(c->node, "axes", &count);
    if (attr && count > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "%zu axes", count);
    *n = attr ? (int32_t)count : rank;
    for (int32_t i = 0; i < *n; i++)
        LEDGE_TRY(ledge__op_axis(c, attr ? attr[i] : i, rank, &axes[i]));
    return LEDGE_OK;
}

static LedgeStatus set_scale(LedgeOpCtx *c, const LedgeTensor *in, int32_t d, double scale,
                             ResizeArgs *a)
{
    if (!(scale > 0) || scale > 1e9)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the scale of dimension %d is %g", d, scale);
    a->scale[d] = scale;
    a->named[d] = true;
    if (in->dims[d] >= 0) {
        float n = floorf((float)in->dims[d] * (float)scale);
        if (!(n < 9e15f))
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result would have too many elements");
        a->out[d] = (int64_t)n;
    } else {
        a->out[d] = -1;
    }
    return LEDGE_OK;
}

/* Scales from an attribute (Upsample 7) or a float input that is there and not empty. */
static LedgeStatus get_scales(LedgeOpCtx *c, const LedgeTensor *in, uint32_t slot,
                              const int32_t *axes, int32_t n, ResizeArgs *a)
{
    size_t count = 0;
    const float *attr = ledge__node_floats(c->node, "scales", &count);
    const LedgeTensor *t = ledge__op_in(c, slot);
    if (!attr) {
        if (!t || !t->data || ledge_tensor_count(t) == 0)
            return LEDGE_OK;
        LEDGE_TRY(ledge__op_need(c, slot, LEDGE_FLOAT));
        count = (size_t)ledge_tensor_count(t);
    }
    if (count != (size_t)n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%zu scales for %d dimensions", count, n);
    for (int32_t i = 0; i < n; i++)
        LEDGE_TRY(set_scale(c, in, axes[i],
                            attr ? attr[i] : ledge__number_at(LEDGE_FLOAT, t->data, i), a));
    a->known = true;
    return LEDGE_OK;
}

/* One scale for all axes, the smallest or the largest. */
static void keep_aspect(const LedgeTensor *in, const int32_t *axes, int32_t n, bool smallest,
                        ResizeArgs *a)
{
    double scale = n ? a->scale[axes[0]] : 1;
    for (int32_t i = 1; i < n; i++) {
        double s = a->scale[axes[i]];
        scale = (smallest ? s < scale : s > scale) ? s : scale;
    }
    for (int32_t i = 0; i < n; i++) {
        a->scale[axes[i]] = scale;
        a->out[axes[i]] = (int64_t)(scale * (double)in->dims[axes[i]] + 0.5);
    }
}

static LedgeStatus get_sizes(LedgeOpCtx *c, const LedgeTensor *in, const int32_t *axes, int32_t n,
                             ResizeArgs *a)
{
    int64_t sizes[LEDGE_MAX_RANK];
    int given;
    const LedgeTensor *t = ledge__op_in(c, 3);
    const char *policy = ledge__node_string(c->node, "keep_aspect_ratio_policy", "stretch");
    bool all = true;
    if (a->known || !t || !t->data || ledge_tensor_count(t) == 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_int_input(c, 3, sizes, LEDGE_MAX_RANK, &given));
    if (given != n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%d sizes for %d dimensions", given, n);
    for (int32_t i = 0; i < n; i++) {
        int32_t d = axes[i];
        if (sizes[i] < 0 || sizes[i] > (int64_t)1 << 48)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "size %lld", (long long)sizes[i]);
        if (in->dims[d] == 0 && sizes[i])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d is empty", d);
        a->out[d] = sizes[i];
        a->named[d] = true;
        all = all && in->dims[d] >= 0;
        a->scale[d] = in->dims[d] > 0 ? (double)sizes[i] / (double)in->dims[d] : 1;
    }
    if (strcmp(policy, "stretch") != 0) {
        bool smallest = strcmp(policy, "not_larger") == 0;
        if (!smallest && strcmp(policy, "not_smaller") != 0)
            return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "keep_aspect_ratio_policy %s", policy);
        if (all)
            keep_aspect(in, axes, n, smallest, a);
        for (int32_t i = 0; i < n && !all; i++)
            a->out[axes[i]] = -1;
    }
    a->known = true;
    return LEDGE_OK;
}

static LedgeStatus get_roi(LedgeOpCtx *c, const int32_t *axes, int32_t n, ResizeArgs *a)
{
    const LedgeTensor *t = ledge__op_in(c, 1);
    for (int32_t d = 0; d < LEDGE_MAX_RANK; d++)
        a->roi_end[d] = 1;
    if (a->coordinates != TF_CROP_AND_RESIZE || (t && !t->data))
        return LEDGE_OK;
    if (!t || ledge_tensor_count(t) != 2 * n || !ledge__is_float(t->type))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "tf_crop_and_resize needs a roi of %d numbers",
                              2 * n);
    for (int32_t i = 0; i < n; i++) {
        a->roi_start[axes[i]] = ledge__number_at(t->type, t->data, i);
        a->roi_end[axes[i]] = ledge__number_at(t->type, t->data, n + i);
    }
    return LEDGE_OK;
}

static LedgeStatus get_args(LedgeOpCtx *c, const LedgeTensor *in, ResizeArgs *a)
{
    int32_t axes[LEDGE_MAX_RANK], n = 0;
    memset(a, 0, sizeof *a);
    LEDGE_TRY(get_modes(c, a));
    LEDGE_TRY(get_axes(c, in->rank, axes, &n));
    for (int32_t d = 0; d < in->rank; d++) {
        a->scale[d] = 1;
        a->out[d] = in->dims[d];
    }
    LEDGE_TRY(get_scales(c, in, is_modern(c) ? 2 : 1, axes, n, a));
    if (is_modern(c)) {
        LEDGE_TRY(get_sizes(c, in, axes, n, a));
        LEDGE_TRY(get_roi(c, axes, n, a));
    }
    for (int32_t i = 0; i < n && !a->known; i++)
        a->out[axes[i]] = -1;
    if (!a->known && c->complete)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "neither scales nor sizes are given");
    return LEDGE_OK;
}

static LedgeStatus infer_resize(LedgeOpCtx *c)
{
    ResizeArgs a;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    LEDGE_TRY(get_args(c, in, &a));
    LEDGE_TRY(ledge__check_dims(c, in->rank, a.out));
    ledge__op_set_out(c, 0, in->type, in->rank, a.out);
    return LEDGE_OK;
}

/* Where position x of the output lies on the input. */
static double coordinate(const ResizeArgs *a, int32_t d, int64_t n_in, int64_t n_out, int64_t at)
{
    double scale = a->scale[d], x = (double)at, width = (double)n_in, out = scale * width;
    switch (a->coordinates) {
    case ALIGN_CORNERS:
        return out == 1 ? 0 : x * (width - 1) / (out - 1);
    case ASYMMETRIC:
        return x / scale;
    case TF_CROP_AND_RESIZE: {
        double span = (a->roi_end[d] - a->roi_start[d]) * (width - 1);
        double first = a->roi_start[d] * (width - 1);
        return first + (out == 1 ? span / 2 : x * span / (out - 1));
    }
    case PYTORCH_HALF_PIXEL:
        return out == 1 ? -0.5 : (x + 0.5) / scale - 0.5;
    case HALF_PIXEL_SYMMETRIC:
        return width / 2 * (1 - (double)n_out / out) + (x + 0.5) / scale - 0.5;
    case HALF_PIXEL:
        break;
    }
    return (x + 0.5) / scale - 0.5;
}

static double nearest_position(Nearest how, double x, double scale)
{
    switch (how) {
    case ROUND_PREFER_FLOOR:
        return ceil(x - 0.5);
    case ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case CEIL:
        return ceil(x);
    case SIMPLE: /* opset 10 and before */
        return scale < 1 ? ceil(x) : floor(x);
    case FLOOR:
        break;
    }
    return floor(x);
}

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double linear(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static int64_t clamp_index(double x, int64_t n)
{
    return x < 1 ? 0 : x > (double)(n - 1) ? n - 1 : (int64_t)x;
}

/* Taps of one output position: positions first … first + taps - 1 about x. When antialiasing
 * shrinks, the kernel is as much wider as the scale is below 1. */
static void fill_taps(const ResizeArgs *a, double scale, double x, int taps, const ResizeAxis *axis,
                      int64_t at)
{
    double s = a->antialias && scale < 1 ? scale : 1, sum = 0;
    double base = floor(x) - (floor(x) == x); /* an integer belongs to the right of its pair */
    double first = base - taps / 2 + 1;
    double *weight = axis->weight + at * taps;
    for (int k = 0; k < taps; k++) {
        double t = (first + k - x) * s;
        bool outside = first + k < 0 || first + k >= (double)axis->n_in;
        weight[k] = a->mode == RESIZE_CUBIC ? cubic(t, a->cubic_a) : linear(t);
        if (outside && a->exclude_outside)
            weight[k] = 0;
        axis->index[at * taps + k] = clamp_index(first + k, axis->n_in);
        sum += weight[k];
    }
    for (int k = 0; k < taps; k++) {
        if ((a->antialias || a->exclude_outside) && sum != 0)
            weight[k] /= sum;
        axis->weight_f[at * taps + k] = (float)weight[k];
    }
}

static LedgeStatus count_taps(LedgeOpCtx *c, const ResizeArgs *a, double scale, int *taps)
{
    double reach = a->mode == RESIZE_CUBIC ? 2 : 1;
    *taps = a->mode == RESIZE_NEAREST ? 1 : (int)(2 * reach);
    if (a->antialias && scale < 1) {
        double first = floor(-reach / scale) + 1;
        if (first < -1e6)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "a scale of %g is too small", scale);
        *taps = (int)(2 - 2 * first);
    }
    return LEDGE_OK;
}

static LedgeStatus plan_axis(LedgeOpCtx *c, const ResizeArgs *a, int32_t d, ResizeAxis *axis)
{
    size_t n = (size_t)axis->n_out, cells;
    LEDGE_TRY(count_taps(c, a, a->scale[d], &axis->taps));
    if (!ledge__mul(n, (size_t)axis->taps * 24, &cells))
        return ledge__no_memory(c->err);
    axis->index = ledge__op_alloc(c, n * (size_t)axis->taps * sizeof *axis->index + 1);
    if (a->mode != RESIZE_NEAREST) {
        axis->weight = ledge__op_alloc(c, n * (size_t)axis->taps * sizeof *axis->weight + 1);
        axis->weight_f = ledge__op_alloc(c, n * (size_t)axis->taps * sizeof *axis->weight_f + 1);
    }
    if (a->coordinates == TF_CROP_AND_RESIZE)
        axis->outside = ledge__op_alloc(c, n * sizeof *axis->outside + 1);
    if (!axis->index || (a->mode != RESIZE_NEAREST && (!axis->weight || !axis->weight_f)) ||
        (a->coordinates == TF_CROP_AND_RESIZE && !axis->outside))
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < axis->n_out; i++) {
        double x = coordinate(a, d, axis->n_in, axis->n_out, i);
        if (x != x || fabs(x) > 1e15) /* a roi of infinities */
            x = -1;
        if (axis->outside)
            axis->outside[i] = x < 0 || x > (double)(axis->n_in - 1);
        if (a->mode == RESIZE_NEAREST)
            axis->index[i] = clamp_index(nearest_position(a->nearest, x, a->scale[d]), axis->n_in);
        else
            fill_taps(a, a->scale[d], x, axis->taps, axis, i);
    }
    return LEDGE_OK;
}

static LedgeStatus make_plan(LedgeOpCtx *c, ResizePlan **out)
{
    const LedgeTensor *in = c->in[0];
    ResizeArgs a;
    LEDGE_TRY(get_args(c, in, &a));
    ResizePlan *p = ledge__op_alloc(c, sizeof *p);
    if (!p)
        return ledge__no_memory(c->err);
    memset(p, 0, sizeof *p);
    p->mode = a.mode;
    p->rank = in->rank;
    p->extrapolation = ledge__node_float(c->node, "extrapolation_value", 0);
    for (int32_t d = 0; d < in->rank; d++) {
        ResizeAxis *axis = &p->axis[d];
        axis->n_in = in->dims[d];
        axis->n_out = a.out[d];
        bool same_roi = a.roi_start[d] == 0 && a.roi_end[d] == 1;
        axis->changes = a.named[d] && axis->n_in > 0 &&
                        (axis->n_out != axis->n_in || fabs(a.scale[d] - 1) > 1e-9 || !same_roi);
        if (axis->changes)
            LEDGE_TRY(plan_axis(c, &a, d, axis));
        p->any_outside = p->any_outside || axis->outside;
    }
    *out = p;
    return LEDGE_OK;
}

/* With constant scales, sizes and roi the tables are made once. */
static LedgeStatus prepare_resize(LedgeOpCtx *c)
{
    for (uint32_t i = 1; i < c->n_in; i++)
        if (c->in[i] && !c->in[i]->data)
            return LEDGE_OK;
    ResizePlan *p;
    LEDGE_TRY(make_plan(c, &p));
    c->state = p;
    size_t bytes = ledge__resize_work_bytes(c, p, c->in[0]);
    c->scratch_bytes = bytes == SIZE_MAX ? 0 : bytes;
    return LEDGE_OK;
}

static LedgeStatus run_resize(LedgeOpCtx *c)
{
    ResizePlan *p = c->state;
    if (!p)
        LEDGE_TRY(make_plan(c, &p));
    return ledge__resize_run(c, p, c->in[0], c->out[0]);
}

const LedgeOp ledge__ops_resize[] = {
    {.domain = "", .op_type = "Resize", .since = 10, .infer = infer_resize,
     .prepare = prepare_resize, .run = run_resize},
    {.domain = "ledge", .op_type = "Resize", .since = 1, .infer = infer_resize,
     .prepare = prepare_resize, .run = run_resize},
    {.domain = "", .op_type = "Upsample", .since = 7, .until = 9, .infer = infer_resize,
     .prepare = prepare_resize, .run = run_resize},
    {0},
};
