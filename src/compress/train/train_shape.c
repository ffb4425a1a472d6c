/* Operators that move values: Concat, Slice, Pad, Transpose as copies of boxes, and views. */
#include <string.h>

#include "compress/train/train_internal.h"

/* A box of `dims` elements at `from` in an input and `to` in the output, both in memory order. */
typedef struct Box {
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK], in_step[LEDGE_MAX_RANK], out_step[LEDGE_MAX_RANK];
    int64_t from, to;
} Box;

typedef struct Boxes {
    bool fills; /* the boxes leave some of the output over, which is … */
    float fill;
    bool leaves; /* they leave some of an input out */
    Box box[];   /* one an input */
} Boxes;

typedef struct BoxArg {
    const Box *b;
    const float *in;
    float *out;
    float *din;
    const float *dout;
    bool accumulate;
} BoxArg;

/* Items are rows of the box: all dims but the last. */
static void box_rows(void *arg, size_t begin, size_t end, int thread)
{
    const BoxArg *a = arg;
    const Box *b = a->b;
    const int32_t last = b->rank - 1;
    const int64_t n = b->dims[last], si = b->in_step[last], so = b->out_step[last];
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        int64_t i = b->from, o = b->to, rest = (int64_t)row;
        for (int32_t d = last; d-- > 0; rest /= b->dims[d]) {
            i += rest % b->dims[d] * b->in_step[d];
            o += rest % b->dims[d] * b->out_step[d];
        }
        if (a->out && si == 1 && so == 1)
            memcpy(a->out + o, a->in + i, (size_t)n * sizeof(float));
        else if (a->out)
            for (int64_t j = 0; j < n; j++)
                a->out[o + j * so] = a->in[i + j * si];
        else if (a->accumulate)
            for (int64_t j = 0; j < n; j++)
                a->din[i + j * si] += a->dout[o + j * so];
        else
            for (int64_t j = 0; j < n; j++)
                a->din[i + j * si] = a->dout[o + j * so];
    }
}

static void run_box(Trainer *t, BoxArg *a)
{
    size_t rows = 1;
    for (int32_t d = 0; d + 1 < a->b->rank; d++)
        rows *= (size_t)a->b->dims[d];
    const size_t grain = 8192 / (size_t)a->b->dims[a->b->rank - 1];
    ledge__pool_run(t->pool, rows, grain ? grain : 1, box_rows, a);
}

static void boxes_forward(Trainer *t, TrainStep *s)
{
    const Boxes *b = s->state;
    for (size_t i = 0; b->fills && i < s->out->count; i++)
        s->out->data[i] = b->fill;
    for (uint32_t i = 0; i < s->n_in; i++) {
        BoxArg a = {.b = &b->box[i], .in = s->in[i]->data, .out = s->out->data};
        run_box(t, &a);
    }
}

static void boxes_backward(Trainer *t, TrainStep *s)
{
    const Boxes *b = s->state;
    for (uint32_t i = 0; i < s->n_in; i++) {
        BoxArg a = {.b = &b->box[i], .dout = s->out->grad};
        a.din = ledge__train_grad(s, i, &a.accumulate);
        if (!a.din)
            continue;
        if (b->leaves && !a.accumulate)
            memset(a.din, 0, s->in[i]->count * sizeof(float));
        run_box(t, &a);
    }
}

static const TrainOp boxes_op = {"copy", 0, boxes_forward, boxes_backward};

/* A step of one box an input, each the whole of the input at the output's beginning. */
static LedgeStatus new_boxes(TrainBuild *b, TrainValue *const *in, uint32_t n, TrainValue *y,
                             Boxes **out)
{
    TrainStep *s = ledge__train_step(b, &boxes_op, in, n, y, sizeof(Boxes) + n * sizeof(Box));
    if (!s)
        return ledge__no_memory(b->err);
    *out = s->state;
    int64_t lies[LEDGE_MAX_RANK];
    for (uint32_t i = 0; i < n; i++) {
        Box *box = &(*out)->box[i];
        int64_t step = 1;
        ledge__train_lies(in[i], box->dims);
        box->rank = in[i]->rank;
        for (int32_t d = box->rank; d-- > 0; step *= box->dims[d])
            box->in_step[d] = step;
        step = 1;
        ledge__train_lies(y, lies);
        for (int32_t d = box->rank; d-- > 0; step *= lies[d])
            box->out_step[d] = step;
    }
    return LEDGE_OK;
}

/* ---- views ---- */

static void view_forward(Trainer *t, TrainStep *s)
{
    ledge__train_pass(t, s->in[0]->data, s->out->data, s->out->count, false);
}

static void view_backward(Trainer *t, TrainStep *s)
{
    bool accumulate;
    float *dx = ledge__train_grad(s, 0, &accumulate);
    if (dx)
        ledge__train_pass(t, s->out->grad, dx, s->out->count, accumulate);
}

static const TrainOp view_op = {"view", TRAIN_INPLACE | TRAIN_STEAL, view_forward, view_backward};

LedgeStatus ledge__train_view(TrainBuild *b, TrainValue *x, TrainValue *y)
{
    return ledge__train_step(b, &view_op, &x, 1, y, 0) ? LEDGE_OK : ledge__no_memory(b->err);
}

LedgeStatus ledge__train_identity(TrainBuild *b)
{
    TrainValue *x, *y;
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    LEDGE_TRY(ledge__train_output(b, x->rank, x->dims, x->nhwc, &y));
    return ledge__train_view(b, x, y);
}

/* ---- Reshape and its kin ---- */

enum { LIST_MAX = LEDGE_MAX_RANK };

/* Integers of a constant input, or where older versions had one, an attribute; *n -1: absent. */
static LedgeStatus list(TrainBuild *b, uint32_t input, const char *attr, int64_t *out, int *n)
{
    const LedgeValue *v = ledge__node_in(b->node, input);
    size_t count = 0;
    const int64_t *ints = ledge__node_ints(b->node, attr, &count);
    if (v && !ledge__value_is_constant(v))
        return ledge__train_refuse(b, "its '%s' must be constant", attr);
    if (v)
        count = (size_t)ledge_tensor_count(&v->t);
    *n = v || ints ? (int)count : -1;
    if (count > LIST_MAX)
        return ledge__train_refuse(b, "its '%s' has too many entries", attr);
    for (size_t i = 0; i < count; i++)
        out[i] = v ? ledge__value_as_int(v, (int64_t)i) : ints[i];
    return LEDGE_OK;
}

static LedgeStatus reshape_dims(TrainBuild *b, const TrainValue *x, int64_t *dims, int *rank)
{
    int64_t known = 1;
    int free_dim = -1;
    LEDGE_TRY(list(b, 1, "shape", dims, rank));
    for (int d = 0; d < *rank; d++) {
        if (dims[d] == 0 && d < x->rank && !ledge__node_int(b->node, "allowzero", 0))
            dims[d] = x->dims[d];
        if (dims[d] == -1)
            free_dim = d;
        else
            known *= dims[d] > 0 ? dims[d] : 0;
    }
    /* Exported for one sample: the batch goes where the 1 is. */
    if (*rank > 0 && dims[0] == 1 && x->dims[0] > 1 && free_dim < 0)
        dims[0] = x->dims[0];
    else if (free_dim >= 0 && known > 0)
        dims[free_dim] = (int64_t)x->count / known;
    return LEDGE_OK;
}

static LedgeStatus flatten_dims(TrainBuild *b, const TrainValue *x, int64_t *dims, int *rank)
{
    int64_t axis = ledge__node_int(b->node, "axis", 1);
    axis += axis < 0 ? x->rank : 0;
    dims[0] = dims[1] = 1;
    for (int32_t d = 0; d < x->rank; d++)
        dims[d >= axis] *= x->dims[d];
    *rank = 2;
    return LEDGE_OK;
}

static LedgeStatus squeeze_dims(TrainBuild *b, const TrainValue *x, int64_t *dims, int *rank)
{
    int64_t axes[LIST_MAX];
    int n;
    LEDGE_TRY(list(b, 1, "axes", axes, &n));
    *rank = 0;
    for (int32_t d = 0; d < x->rank; d++) {
        bool gone = n < 0 && x->dims[d] == 1 && d > 0;
        for (int i = 0; i < n; i++)
            gone |= axes[i] == d || axes[i] + x->rank == d;
        if (!gone)
            dims[(*rank)++] = x->dims[d];
    }
    return LEDGE_OK;
}

static LedgeStatus unsqueeze_dims(TrainBuild *b, const TrainValue *x, int64_t *dims, int *rank)
{
    int64_t axes[LIST_MAX];
    int n, from = 0;
    LEDGE_TRY(list(b, 1, "axes", axes, &n));
    *rank = x->rank + n;
    for (int d = 0; n >= 0 && *rank <= LEDGE_MAX_RANK && d < *rank; d++) {
        bool made = false;
        for (int i = 0; i < n; i++)
            made |= axes[i] == d || axes[i] + *rank == d;
        dims[d] = made || from >= x->rank ? 1 : x->dims[from++];
    }
    return LEDGE_OK;
}

LedgeStatus ledge__train_reshape(TrainBuild *b)
{
    TrainValue *x, *y;
    int64_t dims[LEDGE_MAX_RANK] = {0};
    int rank;
    LEDGE_TRY(ledge__train_in_layout(b, 0, false, &x));
    if (!x)
        return ledge__train_refuse(b, "it has no input");
    LEDGE_TRY(ledge__node_is(b->node, "Reshape")   ? reshape_dims(b, x, dims, &rank)
              : ledge__node_is(b->node, "Flatten") ? flatten_dims(b, x, dims, &rank)
              : ledge__node_is(b->node, "Squeeze") ? squeeze_dims(b, x, dims, &rank)
                                                   : unsqueeze_dims(b, x, dims, &rank));
    LEDGE_TRY(ledge__train_output(b, rank, dims, false, &y));
    if (y->count != x->count)
        return ledge__train_refuse(b, "the new shape does not hold a batch of what it reads");
    return ledge__train_view(b, x, y);
}

/* ---- permutations ---- */

LedgeStatus ledge__train_permute(TrainBuild *b, TrainValue *x, const int32_t *perm, TrainValue *y)
{
    Boxes *boxes = NULL;
    LEDGE_TRY(new_boxes(b, &x, 1, y, &boxes));
    Box *box = &boxes->box[0], from = *box;
    /* In the output's order, so that writes are in a line. */
    for (int32_t d = 0; d < box->rank; d++) {
        box->dims[d] = from.dims[perm[d]];
        box->in_step[d] = from.in_step[perm[d]];
    }
    return LEDGE_OK;
}

LedgeStatus ledge__train_transpose(TrainBuild *b)
{
    TrainValue *x, *y;
    int64_t dims[LEDGE_MAX_RANK] = {0};
    int32_t perm[LEDGE_MAX_RANK];
    size_t n;
    const int64_t *given = ledge__node_ints(b->node, "perm", &n);
    LEDGE_TRY(ledge__train_in_layout(b, 0, false, &x));
    if (!x || (given && n != (size_t)x->rank))
        return ledge__train_refuse(b, "its permutation does not fit its input");
    for (int32_t d = 0; d < x->rank; d++) {
        perm[d] = given ? (int32_t)given[d] : x->rank - 1 - d;
        if (perm[d] < 0 || perm[d] >= x->rank)
            return ledge__train_refuse(b, "its permutation does not fit its input");
        dims[d] = x->dims[perm[d]];
    }
    LEDGE_TRY(ledge__train_output(b, x->rank, dims, false, &y));
    return ledge__train_permute(b, x, perm, y);
}

/* ---- boxes ---- */

/* Where a logical axis lies. */
static int32_t lies_at(const TrainValue *v, int32_t axis)
{
    static const int32_t at[] = {0, 3, 1, 2};
    return v->nhwc ? at[axis] : axis;
}

LedgeStatus ledge__train_concat(TrainBuild *b)
{
    TrainValue *y, **in;
    const uint32_t n = b->node->n_in;
    int64_t axis = ledge__node_int(b->node, "axis", 1), at = 0;
    bool nhwc = false;
    Boxes *boxes = NULL;
    in = ledge__arena_alloc(b->t->arena, n + 1, sizeof(TrainValue *));
    if (!in)
        return ledge__no_memory(b->err);
    for (uint32_t i = 0; i < n; i++) {
        LEDGE_TRY(ledge__train_in(b, i, &in[i]));
        if (!in[i] || in[i]->rank != in[0]->rank)
            return ledge__train_refuse(b, "its inputs' shapes differ");
        nhwc |= in[i]->nhwc;
    }
    axis += axis < 0 && n ? in[0]->rank : 0;
    if (n == 0 || axis < 0 || axis >= in[0]->rank)
        return ledge__train_refuse(b, "its axis does not fit its inputs");
    int64_t dims[LEDGE_MAX_RANK];
    memcpy(dims, in[0]->dims, sizeof dims);
    dims[axis] = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (nhwc && in[i]->fixed)
            return ledge__train_refuse(b, "it joins pictures with a constant");
        LEDGE_TRY(ledge__train_layout(b, in[i], nhwc, &in[i]));
        for (int32_t d = 0; d < in[0]->rank; d++)
            if (d != axis && in[i]->dims[d] != dims[d])
                return ledge__train_refuse(b, "its inputs' shapes differ");
        dims[axis] += in[i]->dims[axis];
    }
    LEDGE_TRY(ledge__train_output(b, in[0]->rank, dims, nhwc, &y));
    LEDGE_TRY(new_boxes(b, in, n, y, &boxes));
    for (uint32_t i = 0; i < n; i++) {
        boxes->box[i].to = at * boxes->box[i].out_step[lies_at(y, (int32_t)axis)];
        at += in[i]->dims[axis];
    }
    return LEDGE_OK;
}

/* One axis of Slice, by ONNX's rules for ends out of range. */
static int64_t slice_axis(int64_t size, int64_t step, int64_t *start, int64_t end)
{
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
    *start += *start < 0 ? size : 0;
    end += end < 0 ? size : 0;
    *start = *start < 0 ? 0 : *start > high ? high : *start;
    end = end < low ? low : end > size ? size : end;
    const int64_t span = step < 0 ? *start - end : end - *start, by = step < 0 ? -step : step;
    return span > 0 ? (span + by - 1) / by : 0;
}

LedgeStatus ledge__train_slice(TrainBuild *b)
{
    TrainValue *x, *y;
    int64_t starts[LIST_MAX], ends[LIST_MAX], axes[LIST_MAX], steps[LIST_MAX];
    int64_t dims[LEDGE_MAX_RANK], from[LEDGE_MAX_RANK] = {0}, by[LEDGE_MAX_RANK];
    int n, n_ends, n_axes, n_steps;
    Boxes *boxes = NULL;
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    LEDGE_TRY(list(b, 1, "starts", starts, &n));
    LEDGE_TRY(list(b, 2, "ends", ends, &n_ends));
    LEDGE_TRY(list(b, 3, "axes", axes, &n_axes));
    LEDGE_TRY(list(b, 4, "steps", steps, &n_steps));
    if (!x || n != n_ends || n < 0 || (n_axes >= 0 && n_axes != n) ||
        (n_steps >= 0 && n_steps != n))
        return ledge__train_refuse(b, "starts, ends, axes and steps differ in number");
    memcpy(dims, x->dims, sizeof dims);
    for (int32_t d = 0; d < x->rank; d++)
        by[d] = 1;
    for (int i = 0; i < n; i++) {
        int64_t d = n_axes < 0 ? i : axes[i];
        d += d < 0 ? x->rank : 0;
        by[d >= 0 && d < x->rank ? d : 0] = n_steps < 0 ? 1 : steps[i];
        if (d <= 0 || d >= x->rank || by[d] == 0 || by[d] < -INT32_MAX || by[d] > INT32_MAX)
            return ledge__train_refuse(b, "it cuts the batch, or by a step of 0");
        from[d] = starts[i] < -INT32_MAX ? -INT32_MAX : starts[i];
        dims[d] =
            slice_axis(x->dims[d], by[d], &from[d], ends[i] < -INT32_MAX ? -INT32_MAX : ends[i]);
    }
    LEDGE_TRY(ledge__train_output(b, x->rank, dims, x->nhwc, &y));
    LEDGE_TRY(new_boxes(b, &x, 1, y, &boxes));
    boxes->leaves = x->count != y->count;
    Box *box = &boxes->box[0];
    ledge__train_lies(y, box->dims);
    for (int32_t d = 0; d < x->rank; d++) {
        const int32_t at = lies_at(x, d);
        box->from += from[d] * box->in_step[at];
        box->in_step[at] *= by[d];
    }
    return LEDGE_OK;
}

/* What a Pad adds: n numbers for the axes named, all of them when none are. */
static LedgeStatus read_pads(TrainBuild *b, const TrainValue *x, int64_t *before, int64_t *after)
{
    const LedgeValue *v = ledge__node_in(b->node, 1);
    int64_t axes[LIST_MAX];
    size_t n = 0;
    int n_axes;
    const int64_t *ints = ledge__node_ints(b->node, "pads", &n);
    if (v && !ledge__value_is_constant(v))
        return ledge__train_refuse(b, "its pads must be constant");
    if (v)
        n = (size_t)ledge_tensor_count(&v->t);
    LEDGE_TRY(list(b, 3, "axes", axes, &n_axes));
    const int32_t count = n_axes < 0 ? x->rank : n_axes;
    if (n != 2 * (size_t)count)
        return ledge__train_refuse(b, "its pads do not fit its input");
    for (int32_t i = 0; i < count; i++) {
        int64_t d = n_axes < 0 ? i : axes[i];
        d += d < 0 ? x->rank : 0;
        if (d < 0 || d >= x->rank)
            return ledge__train_refuse(b, "it has an axis out of range");
        before[d] = v ? ledge__value_as_int(v, i) : ints[i];
        after[d] = v ? ledge__value_as_int(v, i + count) : ints[i + count];
        if (before[d] < 0 || after[d] < 0 || before[d] > INT32_MAX || after[d] > INT32_MAX ||
            (d == 0 && before[d] + after[d] > 0))
            return ledge__train_refuse(b, "it cuts, or pads the batch");
    }
    return LEDGE_OK;
}

LedgeStatus ledge__train_pad(TrainBuild *b)
{
    TrainValue *x, *y;
    int64_t before[LEDGE_MAX_RANK] = {0}, after[LEDGE_MAX_RANK] = {0}, dims[LEDGE_MAX_RANK];
    Boxes *boxes = NULL;
    const LedgeValue *fill = ledge__node_in(b->node, 2);
    LEDGE_TRY(ledge__train_in(b, 0, &x));
    if (!x || strcmp(ledge__node_string(b->node, "mode", "constant"), "constant") != 0 ||
        (fill && !ledge__value_is_constant(fill)))
        return ledge__train_refuse(b, "only padding by a constant has a gradient here");
    LEDGE_TRY(read_pads(b, x, before, after));
    for (int32_t d = 0; d < x->rank; d++)
        dims[d] = x->dims[d] + before[d] + after[d];
    LEDGE_TRY(ledge__train_output(b, x->rank, dims, x->nhwc, &y));
    LEDGE_TRY(new_boxes(b, &x, 1, y, &boxes));
    boxes->fills = x->count != y->count;
    boxes->fill =
        fill ? (float)ledge__value_as_double(fill, 0) : ledge__node_float(b->node, "value", 0);
    for (int32_t d = 0; d < x->rank; d++)
        boxes->box[0].to += before[d] * boxes->box[0].out_step[lies_at(x, d)];
    return LEDGE_OK;
}
