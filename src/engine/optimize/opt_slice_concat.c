/* Slice that takes just one part of a Concat out again reads that part. */
#include "engine/optimize/pass.h"

typedef struct Range {
    int32_t axis;
    int64_t begin, end; /* end INT64_MAX: to the last */
} Range;

/* One axis, step 1, counted from the front. */
static bool range_of(const LedgeNode *n, int32_t rank, Range *r)
{
    int64_t axis = 0, step = 1;
    if (ledge__opt_list(n, 1, "starts", &r->begin, 1) != 1 ||
        ledge__opt_list(n, 2, "ends", &r->end, 1) != 1 ||
        ledge__opt_list(n, 3, "axes", &axis, 1) == -1 ||
        ledge__opt_list(n, 4, NULL, &step, 1) == -1)
        return false;
    r->axis = ledge__opt_axis(axis, rank);
    return r->axis >= 0 && step == 1 && r->begin >= 0 && r->end > r->begin;
}

/* The input of `concat` that covers the range exactly. */
static LedgeValue *part(const LedgeNode *concat, const Range *r)
{
    int64_t at = 0;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        LedgeValue *v = concat->in[i].value;
        if (!v || v->t.rank <= r->axis || v->t.dims[r->axis] < 0)
            return NULL;
        int64_t size = v->t.dims[r->axis];
        bool last = i + 1 == concat->n_in;
        if (size > 0 && at == r->begin && (at + size == r->end || (last && r->end >= at + size)))
            return v;
        at += size;
    }
    return NULL;
}

LedgeStatus ledge__opt_slice_concat(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    (void)c;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeNode *concat =
            ledge__node_is(n, "Slice") ? ledge__opt_made_by(n->in[0].value, "Concat") : NULL;
        int32_t rank = concat ? concat->out[0]->t.rank : -1;
        Range r;
        if (rank < 1 || !n->out[0] || !range_of(n, rank, &r) ||
            ledge__opt_axis(ledge__node_int(concat, "axis", 0), rank) != r.axis)
            continue;
        LedgeValue *v = part(concat, &r);
        if (v)
            *changed |= ledge__opt_bypass(g, n, v);
    }
    return LEDGE_OK;
}
