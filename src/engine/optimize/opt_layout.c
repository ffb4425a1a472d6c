/* NHWC inside: every eligible Conv becomes ledge.Conv, and nodes between them that do not mind
 * compute on permuted axes, so that one Transpose remains at each border.
 *
 * Nodes fall into three kinds: native (NHWC only), flexible (either) and rigid (NCHW). Flexible
 * nodes that share a value form a region; a region changes layout when that converts fewer
 * elements at its borders than leaving it. Transposes that a model brings along count as
 * borders too, so graphs exported from NHWC frameworks lose theirs. */
#include "engine/optimize/opt_layout.h"

typedef struct Region {
    uint32_t parent;
    double if_nhwc, if_nchw; /* elements to convert at the border in either case */
} Region;

typedef enum Kind { RIGID, FLEXIBLE, NATIVE } Kind;

typedef struct Layout {
    LedgeGraph *g;
    LedgeOptCtx *c;
    uint32_t n;        /* values when the pass began; arrays are by value id */
    uint8_t *kind;     /* of the node that makes the value as its output 0 */
    Region *region;    /* likewise */
    LedgeValue **nhwc; /* the value's NHWC form, once made */
    uint8_t *moved;    /* the value lost its producer: only the NHWC form is computed */
} Layout;

static Kind kind_of(const Layout *l, const LedgeNode *n)
{
    const LedgeValue *v = n ? ledge__node_out(n, 0) : NULL;
    return v && v->id < l->n && v->producer == n ? (Kind)l->kind[v->id] : RIGID;
}

static uint32_t root(Layout *l, uint32_t i)
{
    while (l->region[i].parent != i) {
        l->region[i].parent = l->region[l->region[i].parent].parent;
        i = l->region[i].parent;
    }
    return i;
}

static Region *region_of(Layout *l, const LedgeNode *n)
{
    return &l->region[root(l, n->out[0]->id)];
}

static void join(Layout *l, const LedgeNode *a, const LedgeNode *b)
{
    l->region[root(l, a->out[0]->id)].parent = root(l, b->out[0]->id);
}

/* Elements to move; unknown sizes count as a photo's usual ones, 1x1 images as next to nothing. */
static double weight(const LedgeValue *v)
{
    const LedgeTensor *t = &v->t;
    double w = 1;
    if (t->rank == 4 && t->dims[2] == 1 && t->dims[3] == 1)
        return w;
    for (int32_t d = 0; d < t->rank; d++)
        w *= t->dims[d] >= 0 ? (double)t->dims[d] : d == 0 ? 1 : 64;
    return w;
}

static bool is_transpose(const LedgeNode *n, const int32_t *wanted)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    return ledge__node_is(n, "Transpose") && ledge__opt_perm(n, perm, &rank) && rank == 4 &&
           memcmp(perm, wanted, 4 * sizeof *perm) == 0;
}

/* ---- deciding ---- */

static void classify(Layout *l)
{
    for (const LedgeNode *n = l->g->first; n; n = n->next) {
        if (n->n_out == 0 || !n->out[0])
            continue;
        uint32_t id = n->out[0]->id;
        l->region[id].parent = id;
        l->kind[id] = ledge__layout_is_native(l->c, n)     ? NATIVE
                      : ledge__layout_is_flexible(l->c, n) ? FLEXIBLE
                                                           : RIGID;
    }
}

static void connect(Layout *l)
{
    for (const LedgeNode *n = l->g->first; n; n = n->next) {
        if (kind_of(l, n) != FLEXIBLE)
            continue;
        for (uint32_t i = 0; i < n->n_in; i++) {
            const LedgeValue *v = n->in[i].value;
            if (v && ledge__layout_is_data(n, i) && kind_of(l, v->producer) == FLEXIBLE)
                join(l, n, v->producer);
        }
    }
}

static void count_inputs(Layout *l, const LedgeNode *n)
{
    Region *r = region_of(l, n);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        if (!v || !ledge__layout_is_data(n, i) || v->t.rank != 4 || ledge__value_is_constant(v))
            continue;
        Kind k = kind_of(l, v->producer);
        if (k == NATIVE || is_transpose(v->producer, ledge__to_nchw))
            r->if_nchw += weight(v);
        else if (k == RIGID)
            r->if_nhwc += weight(v);
    }
}

static void count_output(Layout *l, const LedgeNode *n, const LedgeValue *v)
{
    Region *r = region_of(l, n);
    bool to_nhwc = false, to_nchw = v->n_outputs > 0;
    for (const LedgeUse *u = v->uses; u; u = u->next) {
        Kind k = kind_of(l, u->node);
        if ((k == NATIVE && u == &u->node->in[0]) || is_transpose(u->node, ledge__to_nhwc))
            to_nhwc = true;
        else if (k == RIGID)
            to_nchw = true;
    }
    r->if_nchw += to_nhwc ? weight(v) : 0;
    r->if_nhwc += to_nchw ? weight(v) : 0;
}

static void count_borders(Layout *l)
{
    for (const LedgeNode *n = l->g->first; n; n = n->next) {
        if (kind_of(l, n) != FLEXIBLE)
            continue;
        count_inputs(l, n);
        for (uint32_t i = 0; i < n->n_out; i++)
            count_output(l, n, n->out[i]);
    }
}

static bool changes_layout(Layout *l, const LedgeNode *n)
{
    const Region *r = kind_of(l, n) == FLEXIBLE ? region_of(l, n) : NULL;
    return r && r->if_nchw > 0 && r->if_nhwc <= r->if_nchw;
}

/* ---- rewriting ---- */

/* The NHWC form of `v` for a reader `before`; NULL: no memory. */
static LedgeValue *nhwc_form(Layout *l, LedgeValue *v, LedgeNode *before, bool keep_rank)
{
    if (ledge__value_is_constant(v))
        return ledge__opt_permuted_constant(l->g, v, 4, ledge__to_nhwc, keep_rank);
    if (v->t.rank < 4) /* a single number */
        return v;
    if (v->id < l->n && l->nhwc[v->id])
        return l->nhwc[v->id];
    if (is_transpose(v->producer, ledge__to_nchw))
        return v->producer->in[0].value;
    LedgeNode *t = ledge__opt_transpose(l->g, v, ledge__to_nhwc, before);
    if (!t)
        return NULL;
    if (v->id < l->n)
        l->nhwc[v->id] = t->out[0];
    return t->out[0];
}

static LedgeStatus convert_native(Layout *l, LedgeNode *n)
{
    LedgeValue *x = nhwc_form(l, n->in[0].value, n, true), *v = n->out[0];
    LedgeNode *made = x ? ledge__layout_conv(l->g, n) : NULL;
    if (!made)
        return ledge__no_memory(l->c->err);
    ledge__node_set_input(made, 0, x);
    l->nhwc[v->id] = made->out[0];
    l->moved[v->id] = 1;
    ledge__node_set_output(n, 0, NULL);
    ledge__node_remove(l->g, n);
    return LEDGE_OK;
}

static LedgeStatus convert_flexible(Layout *l, LedgeNode *n)
{
    bool keep_rank = strcmp(n->op_type, "Concat") == 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (!ledge__layout_is_data(n, i))
            continue;
        LedgeValue *x = nhwc_form(l, n->in[i].value, n, keep_rank);
        if (!x)
            return ledge__no_memory(l->c->err);
        ledge__node_set_input(n, i, x);
    }
    LEDGE_TRY(ledge__layout_remap(l->g, l->c, n));
    for (uint32_t i = 0; i < n->n_out; i++) {
        LedgeValue *v = n->out[i], *w = ledge__value_new(l->g, NULL);
        if (!w)
            return ledge__no_memory(l->c->err);
        w->t = v->t;
        for (int d = 0; d < 4; d++)
            w->t.dims[d] = v->t.dims[ledge__to_nhwc[d]];
        ledge__node_set_output(n, i, w);
        l->nhwc[v->id] = w;
        l->moved[v->id] = 1;
    }
    return LEDGE_OK;
}

/* What rigid nodes and the caller still read of values that are computed in NHWC only. */
static LedgeStatus convert_back(Layout *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        LedgeValue *v = l->g->values[i];
        if (!l->moved[i] || (!v->n_uses && !v->n_outputs))
            continue;
        LedgeNode *t =
            ledge__opt_transpose(l->g, l->nhwc[i], ledge__to_nchw, l->nhwc[i]->producer->next);
        if (!t)
            return ledge__no_memory(l->c->err);
        if (v->t.rank < 0)
            v->t = t->out[0]->t;
        ledge__node_set_output(t, 0, v);
    }
    return LEDGE_OK;
}

static LedgeStatus rewrite(Layout *l, bool *changed)
{
    for (LedgeNode *n = l->g->first, *next; n; n = next) {
        next = n->next;
        if (kind_of(l, n) == NATIVE)
            LEDGE_TRY(convert_native(l, n));
        else if (changes_layout(l, n))
            LEDGE_TRY(convert_flexible(l, n));
        else
            continue;
        *changed = true;
    }
    return convert_back(l);
}

LedgeStatus ledge__opt_layout(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    const LedgeAllocator *a = ledge__arena_allocator(g->arena);
    Layout l = {.g = g, .c = c, .n = g->n_values};
    l.kind = ledge__calloc(a, l.n, sizeof *l.kind);
    l.region = ledge__calloc(a, l.n, sizeof *l.region);
    l.nhwc = ledge__calloc(a, l.n, sizeof *l.nhwc);
    l.moved = ledge__calloc(a, l.n, sizeof *l.moved);
    LedgeStatus s;
    if (l.kind && l.region && l.nhwc && l.moved) {
        classify(&l);
        connect(&l);
        count_borders(&l);
        s = rewrite(&l, changed);
    } else {
        s = ledge__no_memory(c->err);
    }
    ledge__free(a, l.kind);
    ledge__free(a, l.region);
    ledge__free(a, l.nhwc);
    ledge__free(a, l.moved);
    return s;
}
