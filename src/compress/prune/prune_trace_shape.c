/* Operators that move channels: joining, cutting, padding, reshaping. */
#include "compress/prune/prune_internal.h"

enum { MOST_PARTS = 64 };

static LedgeStatus pass(LedgePruner *p, LedgeNode *n, int32_t axis, uint32_t span)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        ledge__prune_set_out(p, n, i, axis, span);
    return LEDGE_OK;
}

/* Rank of input 0 and of output 0, both known, and input 0 followed; else NULL (a barrier's case
 * where something is followed). */
static const PruneTrack *data_track(const LedgePruner *p, const LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeValue *y = ledge__node_out(n, 0);
    if (!x || !y || ledge__prune_shape(p, y)->rank < 0)
        return NULL;
    for (uint32_t i = 1; i < n->n_in; i++) /* no operator here has channels in its settings */
        if (ledge__prune_in(p, n, i))
            return NULL;
    return x;
}

#define NOT_FOLLOWED "has settings that are no constants"

static const LedgeTensor *in_shape(const LedgePruner *p, const LedgeNode *n)
{
    return ledge__prune_shape(p, n->in[0].value);
}

/* An integer list that was an attribute and became input `slot`. Absent: *n = 0 and *given false;
 * false: it is computed. */
static bool setting(const LedgePruner *p, const LedgeNode *n, const char *attr, uint32_t slot,
                    int64_t *values, int *count, bool *given)
{
    size_t size;
    const int64_t *a = ledge__node_ints(n, attr, &size);
    *count = 0;
    *given = a || ledge__node_in(n, slot);
    if (a && size <= MOST_PARTS) {
        memcpy(values, a, size * sizeof *values);
        *count = (int)size;
        return true;
    }
    if (a)
        return false;
    return !ledge__node_in(n, slot) || ledge__prune_ints(p, n, slot, values, MOST_PARTS, count);
}

/* ---- Concat, Split ---- */

/* Index by index: the pieces lie behind each other along another axis. */
static LedgeStatus concat_across(LedgePruner *p, LedgeNode *n, const PruneTrack *first)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        if (!t || t->axis != first->axis || p->spans[t->span].n != p->spans[first->span].n)
            return ledge__prune_barrier(p, n, "joins them with a tensor whose channels are fixed");
        ledge__prune_join_spans(p, first->span, t->span);
    }
    return pass(p, n, first->axis, first->span);
}

static LedgeStatus trace_concat(LedgePruner *p, LedgeNode *n)
{
    const LedgeTensor *y = ledge__prune_shape(p, n->out[0]);
    const PruneTrack *first = NULL;
    int64_t axis = ledge__node_int(n, "axis", 0), total = 0;
    for (uint32_t i = 0; i < n->n_in && !first; i++)
        first = ledge__prune_in(p, n, i);
    if (y->rank < 1 || !first)
        return ledge__prune_barrier(p, n, "has tensors of unknown shape");
    axis += axis < 0 ? y->rank : 0;
    if (first->axis != axis)
        return concat_across(p, n, first);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        const LedgeTensor *x = ledge__node_in(n, i) ? ledge__prune_shape(p, n->in[i].value) : NULL;
        if (!x || x->rank != y->rank || x->dims[axis] < 0 || (t && t->axis != axis))
            return ledge__prune_barrier(p, n, "joins channels of different axes");
        total += x->dims[axis];
    }
    uint32_t out, fixed, at = 0;
    LEDGE_TRY(ledge__prune_span_new(p, total, &out));
    for (uint32_t i = 0; i < n->n_in; i++) {
        const PruneTrack *t = ledge__prune_in(p, n, i);
        const int64_t count = ledge__prune_shape(p, n->in[i].value)->dims[axis];
        if (!t) {
            LEDGE_TRY(ledge__prune_span_fresh(p, count, &fixed));
            LEDGE_TRY(ledge__prune_hold(p, n, fixed, "joins a tensor whose channels are fixed"));
        }
        memcpy(p->spans[out].atoms + at, p->spans[t ? t->span : fixed].atoms,
               (size_t)count * sizeof(uint32_t));
        at += (uint32_t)count;
    }
    return pass(p, n, (int32_t)axis, out);
}

static LedgeStatus trace_split(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    if (!x)
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    int64_t axis = ledge__node_int(n, "axis", 0);
    axis += axis < 0 ? in_shape(p, n)->rank : 0;
    if (axis != x->axis)
        return pass(p, n, x->axis, x->span);
    int64_t total = 0;
    for (uint32_t i = 0; i < n->n_out; i++) {
        const LedgeTensor *y = n->out[i] ? ledge__prune_shape(p, n->out[i]) : NULL;
        if (!y || y->rank < 0 || y->dims[axis] < 1)
            return ledge__prune_barrier(p, n, "splits into parts of unknown size");
        total += y->dims[axis];
    }
    if (total != p->spans[x->span].n)
        return ledge__prune_barrier(p, n, "splits into parts of unknown size");
    const PruneTrack from = *x;
    const uint32_t first = (uint32_t)p->n_spans;
    int64_t at = 0;
    for (uint32_t i = 0; i < n->n_out; i++) {
        const int64_t count = ledge__prune_shape(p, n->out[i])->dims[axis];
        uint32_t part;
        LEDGE_TRY(ledge__prune_span_part(p, from.span, at, count, &part));
        ledge__prune_set_out(p, n, i, from.axis, part);
        at += count;
    }
    return ledge__prune_edit(
        p, (PruneEdit){.kind = PRUNE_SPLIT, .node = n, .slot = 1, .span = first, .to = n->n_out});
}

/* ---- Slice, Pad, Gather ---- */

typedef struct SliceSettings {
    int64_t starts[MOST_PARTS], ends[MOST_PARTS], axes[MOST_PARTS], steps[MOST_PARTS];
    int n;
} SliceSettings;

static bool slice_settings(const LedgePruner *p, const LedgeNode *n, SliceSettings *s)
{
    int ends, axes, steps;
    bool given;
    if (!setting(p, n, "starts", 1, s->starts, &s->n, &given) || !given ||
        !setting(p, n, "ends", 2, s->ends, &ends, &given) || ends != s->n ||
        !setting(p, n, "axes", 3, s->axes, &axes, &given))
        return false;
    for (int i = 0; i < s->n && !given; i++)
        s->axes[i] = i;
    if ((given && axes != s->n) || !setting(p, n, "steps", 4, s->steps, &steps, &given))
        return false;
    for (int i = 0; i < s->n && !given; i++)
        s->steps[i] = 1;
    return !given || steps == s->n;
}

static int64_t within(int64_t at, int64_t n)
{
    at += at < 0 ? n : 0;
    return at < 0 ? 0 : at > n ? n : at;
}

static LedgeStatus trace_slice(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    SliceSettings s;
    if (!x || !slice_settings(p, n, &s))
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    const PruneTrack from = *x;
    const int64_t count = p->spans[from.span].n;
    for (int i = 0; i < s.n; i++) {
        const int64_t axis = s.axes[i] + (s.axes[i] < 0 ? in_shape(p, n)->rank : 0);
        if (axis != from.axis)
            continue;
        const int64_t begin = within(s.starts[i], count), end = within(s.ends[i], count);
        uint32_t part;
        if (s.steps[i] != 1 || end <= begin)
            return ledge__prune_barrier(p, n, "takes every other channel");
        LEDGE_TRY(ledge__prune_span_part(p, from.span, begin, end - begin, &part));
        LEDGE_TRY(ledge__prune_edit(p, (PruneEdit){.kind = PRUNE_SLICE,
                                                   .node = n,
                                                   .axis = i,
                                                   .span = from.span,
                                                   .at = begin,
                                                   .to = end}));
        return pass(p, n, from.axis, part);
    }
    return pass(p, n, from.axis, from.span);
}

static LedgeStatus pad_channels(LedgePruner *p, LedgeNode *n, PruneTrack from, int64_t before,
                                int64_t behind, int32_t entry)
{
    const int64_t count = p->spans[from.span].n;
    uint32_t out;
    if (before < 0 || behind < 0 || strcmp(ledge__node_string(n, "mode", "constant"), "constant"))
        return ledge__prune_barrier(p, n, "does not pad with a constant");
    if (before > PRUNE_MOST_SPAN || behind > PRUNE_MOST_SPAN)
        return ledge__prune_barrier(p, n, "pads with too many channels");
    LEDGE_TRY(ledge__prune_span_new(p, before + count + behind, &out));
    for (int64_t i = 0; i < before + count + behind; i++)
        if (i >= before && i < before + count)
            p->spans[out].atoms[i] = p->spans[from.span].atoms[i - before];
        else
            LEDGE_TRY(ledge__prune_atom_new(p, &p->spans[out].atoms[i]));
    LEDGE_TRY(ledge__prune_edit(p, (PruneEdit){.kind = PRUNE_PADS,
                                               .node = n,
                                               .slot = 1,
                                               .axis = entry,
                                               .span = out,
                                               .at = before,
                                               .to = behind}));
    return pass(p, n, from.axis, out);
}

static LedgeStatus trace_pad(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    int64_t pads[MOST_PARTS], axes[MOST_PARTS];
    int n_pads, n_axes = 0;
    bool given, has_axes = ledge__node_in(n, 3) != NULL;
    if (!x || !setting(p, n, "pads", 1, pads, &n_pads, &given) || !given ||
        (has_axes && !ledge__prune_ints(p, n, 3, axes, MOST_PARTS, &n_axes)))
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    const int32_t rank = in_shape(p, n)->rank, entries = has_axes ? n_axes : rank;
    if (n_pads != 2 * entries)
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    for (int32_t i = 0; i < entries; i++) {
        const int64_t axis = has_axes ? axes[i] + (axes[i] < 0 ? rank : 0) : i;
        if (axis == x->axis && (pads[i] || pads[i + entries]))
            return pad_channels(p, n, *x, pads[i], pads[i + entries], i);
    }
    return pass(p, n, x->axis, x->span);
}

static LedgeStatus gather_channels(LedgePruner *p, LedgeNode *n, PruneTrack from,
                                   const LedgeTensor *indices)
{
    const int64_t n_in = p->spans[from.span].n, count = ledge_tensor_count(indices);
    const LedgeValue view = {.t = *indices};
    uint32_t out;
    if (indices->rank != 1 || count < 1 ||
        (indices->type != LEDGE_INT64 && indices->type != LEDGE_INT32))
        return ledge__prune_barrier(p, n, "takes a single channel");
    LEDGE_TRY(ledge__prune_span_new(p, count, &out));
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = ledge__value_as_int(&view, i);
        if (at < -n_in || at >= n_in)
            return ledge__fail(p->err, LEDGE_ERROR_SHAPE, n->name, "an index is out of range");
        p->spans[out].atoms[i] = p->spans[from.span].atoms[at < 0 ? at + n_in : at];
    }
    LEDGE_TRY(ledge__prune_edit(
        p, (PruneEdit){.kind = PRUNE_INDEX, .node = n, .slot = 1, .span = from.span, .to = out}));
    return pass(p, n, from.axis, out);
}

static LedgeStatus trace_gather(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    if (!x || !ledge__node_in(n, 1))
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    int64_t axis = ledge__node_int(n, "axis", 0);
    axis += axis < 0 ? in_shape(p, n)->rank : 0;
    const LedgeTensor *indices = ledge__prune_static(p, n, 1);
    const int32_t rank = ledge__prune_shape(p, n->in[1].value)->rank;
    if (axis != x->axis && rank >= 0)
        return pass(p, n, x->axis < axis ? x->axis : x->axis + rank - 1, x->span);
    return indices && rank >= 0 ? gather_channels(p, n, *x, indices)
                                : ledge__prune_barrier(p, n, NOT_FOLLOWED);
}

/* ---- Reshape and its like ---- */

/* Which axes of the output the followed axis of the input becomes: both shapes are cut into the
 * smallest runs of equal product. */
typedef struct Run {
    int32_t out_axis;
    int64_t before, behind; /* products of the run's other axes */
} Run;

static bool follow_run(const LedgeTensor *x, const LedgeTensor *y, int32_t axis, Run *run)
{
    int32_t i = 0, j = 0;
    while (i < x->rank) {
        const int32_t i0 = i, j0 = j;
        int64_t a = x->dims[i++], b = j < y->rank ? y->dims[j++] : 1;
        if (a < 1 || b < 1)
            return false;
        while (a != b) {
            if (a < b && i < x->rank && x->dims[i] > 0)
                a *= x->dims[i++];
            else if (a > b && j < y->rank && y->dims[j] > 0)
                b *= y->dims[j++];
            else
                return false;
        }
        if (axis >= i)
            continue;
        int32_t wide = -1;
        for (int32_t k = j0; k < j; k++) {
            if (y->dims[k] != 1 && wide >= 0)
                return false; /* channels are spread over several axes */
            wide = y->dims[k] != 1 ? k : wide;
        }
        *run = (Run){wide, 1, 1};
        for (int32_t k = i0; k < axis; k++)
            run->before *= x->dims[k];
        for (int32_t k = axis + 1; k < i; k++)
            run->behind *= x->dims[k];
        return wide >= 0;
    }
    return false;
}

/* The shape asked for: entry `at` copes with fewer channels by itself, or is a constant that can
 * be changed; any other that copies the followed axis cannot. */
static bool shape_adapts(const LedgePruner *p, const LedgeNode *n, uint32_t slot, int32_t from,
                         int32_t at, bool *edit)
{
    int64_t entries[LEDGE_MAX_RANK];
    const LedgeValue *v = ledge__node_in(n, slot);
    const LedgeTensor *t = v ? ledge__prune_shape(p, v) : NULL;
    const LedgeValue view = {.t = t ? *t : (LedgeTensor){0}};
    const int64_t count = t && t->data ? ledge_tensor_count(t) : -1;
    if (count <= at || count > LEDGE_MAX_RANK || t->type != LEDGE_INT64)
        return false;
    for (int64_t i = 0; i < count; i++)
        entries[i] = ledge__value_as_int(&view, i);
    const bool copies = !ledge__node_int(n, "allowzero", 0);
    for (int64_t i = 0; i < count && copies; i++)
        if (i != at && i == from && entries[i] == 0)
            return false;
    *edit = entries[at] > 0;
    return entries[at] < 0 || (entries[at] == 0 && copies && at == from) ||
           (entries[at] > 0 && p->is_static[v->id]);
}

static LedgeStatus trace_reshape(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    Run run;
    bool edit = false;
    if (!x)
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    const PruneTrack from = *x;
    if (p->spans[from.span].n < 2)
        return ledge__prune_barrier(p, n, "has a single channel");
    if (!follow_run(in_shape(p, n), ledge__prune_shape(p, n->out[0]), from.axis, &run))
        return ledge__prune_barrier(p, n, "spreads channels over several axes");
    if (ledge__node_is(n, "Reshape") && !shape_adapts(p, n, 1, from.axis, run.out_axis, &edit))
        return ledge__prune_barrier(p, n, "has a shape that is no constant");
    uint32_t out = from.span;
    const int64_t count = p->spans[from.span].n;
    if (run.before > 1 || run.behind > 1) {
        if (run.before > PRUNE_MOST_SPAN || run.behind > PRUNE_MOST_SPAN)
            return ledge__prune_barrier(p, n, "has too many channels");
        LEDGE_TRY(ledge__prune_span_new(p, run.before * run.behind * count, &out));
        for (int64_t i = 0; i < run.before * count * run.behind; i++)
            p->spans[out].atoms[i] = p->spans[from.span].atoms[i / run.behind % count];
    }
    if (edit)
        LEDGE_TRY(ledge__prune_edit(
            p, (PruneEdit){
                   .kind = PRUNE_SHAPE, .node = n, .slot = 1, .at = run.out_axis, .span = out}));
    return pass(p, n, run.out_axis, out);
}

static LedgeStatus trace_transpose(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    size_t count;
    const int64_t *perm = ledge__node_ints(n, "perm", &count);
    if (!x)
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    const int32_t rank = in_shape(p, n)->rank;
    if (!perm)
        return pass(p, n, rank - 1 - x->axis, x->span);
    for (size_t i = 0; i < count; i++)
        if (perm[i] == x->axis)
            return pass(p, n, (int32_t)i, x->span);
    return ledge__prune_barrier(p, n, NOT_FOLLOWED);
}

/* ---- the rest ---- */

static LedgeStatus trace_reduce(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    int64_t axes[MOST_PARTS];
    int count;
    bool given;
    if (!x || !setting(p, n, "axes", 1, axes, &count, &given))
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    if (count == 0 && ledge__node_int(n, "noop_with_empty_axes", 0))
        return pass(p, n, x->axis, x->span);
    int32_t gone = 0;
    const int32_t rank = in_shape(p, n)->rank;
    for (int i = 0; i < count; i++) {
        axes[i] += axes[i] < 0 ? rank : 0;
        if (axes[i] == x->axis)
            return ledge__prune_barrier(p, n, "reduces over the channels");
        gone += axes[i] < x->axis;
    }
    if (count == 0)
        return ledge__prune_barrier(p, n, "reduces over the channels");
    return pass(p, n, ledge__node_int(n, "keepdims", 1) ? x->axis : x->axis - gone, x->span);
}

static LedgeStatus trace_softmax(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = data_track(p, n);
    if (!x)
        return ledge__prune_barrier(p, n, NOT_FOLLOWED);
    const bool flat = n->opset < 13; /* all axes from `axis` on are one */
    int64_t axis = ledge__node_int(n, "axis", flat ? 1 : -1);
    axis += axis < 0 ? in_shape(p, n)->rank : 0;
    if (flat ? x->axis >= axis : x->axis == axis)
        return ledge__prune_barrier(p, n, "normalises over the channels");
    return pass(p, n, x->axis, x->span);
}

static LedgeStatus trace_resize(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeTensor *y = n->out[0] ? ledge__prune_shape(p, n->out[0]) : NULL;
    const bool sized = ledge__node_in(n, 3) != NULL;
    bool edit = false;
    if (!x || !y || y->rank <= x->axis || y->dims[x->axis] != p->spans[x->span].n)
        return ledge__prune_barrier(p, n, "resizes the channels");
    if (sized && (ledge__node_attr(n, "axes") ||
                  !shape_adapts(p, n, 3, PRUNE_MOST_SPAN, x->axis, &edit) || !edit))
        return ledge__prune_barrier(p, n, "has a size that is no constant");
    if (sized)
        LEDGE_TRY(ledge__prune_edit(
            p, (PruneEdit){
                   .kind = PRUNE_SHAPE, .node = n, .slot = 3, .at = x->axis, .span = x->span}));
    return pass(p, n, x->axis, x->span);
}

/* Whether node `r`, a reader of a Shape, leaves out entry `axis` of the shape. */
static bool leaves_out(const LedgePruner *p, const LedgeNode *r, int32_t rank, int32_t axis)
{
    int64_t at[MOST_PARTS];
    int count;
    SliceSettings s;
    if (ledge__node_is(r, "Gather")) {
        if (!ledge__prune_ints(p, r, 1, at, MOST_PARTS, &count))
            return false;
        for (int i = 0; i < count; i++)
            if (at[i] + (at[i] < 0 ? rank : 0) == axis)
                return false;
        return true;
    }
    if (!ledge__node_is(r, "Slice") || !slice_settings(p, r, &s) || s.n != 1 || s.steps[0] != 1)
        return false;
    return axis < within(s.starts[0], rank) || axis >= within(s.ends[0], rank);
}

/* Computations on a shape are fine as long as the number of channels takes no part in them. */
static LedgeStatus trace_shape(LedgePruner *p, LedgeNode *n)
{
    const PruneTrack *x = ledge__prune_in(p, n, 0);
    const LedgeValue *y = ledge__node_out(n, 0);
    const int32_t rank = in_shape(p, n)->rank;
    bool fine = y && !y->n_outputs && !ledge__node_attr(n, "start") && !ledge__node_attr(n, "end");
    for (const LedgeUse *u = y ? y->uses : NULL; u && fine; u = u->next)
        fine = leaves_out(p, u->node, rank, x->axis);
    return fine ? LEDGE_OK : ledge__prune_barrier(p, n, "computes with the number of channels");
}

PruneTraceFn ledge__prune_shape_fn(const LedgeNode *n)
{
    static const struct {
        const char *op;
        PruneTraceFn fn;
    } table[] = {{"Concat", trace_concat},     {"Split", trace_split},
                 {"Slice", trace_slice},       {"Pad", trace_pad},
                 {"Gather", trace_gather},     {"Reshape", trace_reshape},
                 {"Flatten", trace_reshape},   {"Squeeze", trace_reshape},
                 {"Unsqueeze", trace_reshape}, {"Transpose", trace_transpose},
                 {"Softmax", trace_softmax},   {"LogSoftmax", trace_softmax},
                 {"Resize", trace_resize},     {"Upsample", trace_resize},
                 {"Shape", trace_shape}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(n->op_type, table[i].op) == 0)
            return table[i].fn;
    return strncmp(n->op_type, "Reduce", 6) == 0 ? trace_reduce : NULL;
}
