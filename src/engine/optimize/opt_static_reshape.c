/* Shape arithmetic: Reshape whose target is computed in the graph (Shape, Gather, Unsqueeze,
 * Concat, …) gets a constant one, with 0 for a dimension that is copied from its own place
 * and -1 for one that only the element count tells. */
#include "engine/optimize/pass.h"

enum { MAX_DEPTH = 16 };

/* One element of a shape tensor: a number, a dimension of some value, or neither. */
typedef struct Element {
    enum { UNKNOWN, NUMBER, DIM } kind;
    int64_t number;       /* NUMBER */
    const LedgeValue *of; /* DIM */
    int32_t axis;
} Element;

typedef struct Elements {
    Element e[LEDGE_MAX_RANK];
    int n; /* -1: not understood */
} Elements;

static Elements evaluate(const LedgeValue *v, int depth);

static Elements of_constant(const LedgeValue *v)
{
    Elements r = {.n = -1};
    int64_t count = ledge_tensor_count(&v->t);
    if (count < 0 || count > LEDGE_MAX_RANK ||
        (v->t.type != LEDGE_INT64 && v->t.type != LEDGE_INT32))
        return r;
    r.n = (int)count;
    for (int i = 0; i < r.n; i++)
        r.e[i] = (Element){.kind = NUMBER, .number = ledge__value_as_int(v, i)};
    return r;
}

static Elements of_shape(const LedgeNode *n)
{
    Elements r = {.n = -1};
    const LedgeValue *x = n->in[0].value;
    int32_t rank = x->t.rank;
    if (rank < 0)
        return r;
    int64_t start = ledge__node_int(n, "start", 0), end = ledge__node_int(n, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end > rank ? rank : end;
    r.n = 0;
    for (int64_t d = start < 0 ? 0 : start; d < end; d++)
        r.e[r.n++] = x->t.dims[d] >= 0 ? (Element){.kind = NUMBER, .number = x->t.dims[d]}
                                       : (Element){.kind = DIM, .of = x, .axis = (int32_t)d};
    return r;
}

static Elements of_gather(const LedgeNode *n, int depth)
{
    Elements r = {.n = -1}, from = evaluate(n->in[0].value, depth);
    const LedgeValue *index = ledge__node_in(n, 1);
    if (from.n < 0 || !ledge__value_is_constant(index) || ledge__node_int(n, "axis", 0) != 0)
        return r;
    int64_t count = ledge_tensor_count(&index->t);
    if (count < 0 || count > LEDGE_MAX_RANK)
        return r;
    for (int64_t i = 0; i < count; i++) {
        int32_t at = ledge__opt_axis(ledge__value_as_int(index, i), from.n);
        if (at < 0)
            return r;
        r.e[i] = from.e[at];
    }
    r.n = (int)count;
    return r;
}

static Elements of_concat(const LedgeNode *n, int depth)
{
    Elements r = {.n = 0}, none = {.n = -1};
    for (uint32_t i = 0; i < n->n_in; i++) {
        Elements part = evaluate(n->in[i].value, depth);
        if (part.n < 0 || r.n + part.n > LEDGE_MAX_RANK)
            return none;
        memcpy(r.e + r.n, part.e, (size_t)part.n * sizeof *part.e);
        r.n += part.n;
    }
    return r;
}

static Elements of_slice(const LedgeNode *n, int depth)
{
    Elements r = {.n = -1}, from = evaluate(n->in[0].value, depth);
    int64_t start, end, axis = 0, step = 1;
    if (from.n < 0 || ledge__opt_list(n, 1, "starts", &start, 1) != 1 ||
        ledge__opt_list(n, 2, "ends", &end, 1) != 1 ||
        ledge__opt_list(n, 3, "axes", &axis, 1) == -1 ||
        ledge__opt_list(n, 4, NULL, &step, 1) == -1)
        return r;
    if (axis != 0 || step != 1)
        return r;
    start = start < 0 ? start + from.n : start;
    end = end < 0 ? end + from.n : end > from.n ? from.n : end;
    r.n = 0;
    for (int64_t i = start < 0 ? 0 : start; i < end; i++)
        r.e[r.n++] = from.e[i];
    return r;
}

static Elements evaluate(const LedgeValue *v, int depth)
{
    Elements none = {.n = -1};
    if (!v || depth == 0)
        return none;
    if (ledge__value_is_constant(v))
        return of_constant(v);
    const LedgeNode *n = v->producer;
    if (!n || n->domain[0] || n->n_in == 0 || !n->in[0].value)
        return none;
    if (strcmp(n->op_type, "Shape") == 0)
        return of_shape(n);
    if (strcmp(n->op_type, "Gather") == 0)
        return of_gather(n, depth - 1);
    if (strcmp(n->op_type, "Concat") == 0)
        return of_concat(n, depth - 1);
    if (strcmp(n->op_type, "Slice") == 0)
        return of_slice(n, depth - 1);
    if (ledge__opt_is_view(n) || strcmp(n->op_type, "Identity") == 0 ||
        (strcmp(n->op_type, "Cast") == 0 && (v->t.type == LEDGE_INT64 || v->t.type == LEDGE_INT32)))
        return evaluate(n->in[0].value, depth - 1);
    int64_t count = ledge_tensor_count(&v->t);
    if (count < 0 || count > LEDGE_MAX_RANK)
        return none;
    Elements r = {.n = (int)count}; /* so many numbers, but unknown ones */
    return r;
}

static bool static_shape(const LedgeValue *x, const Elements *e, int64_t *shape)
{
    int open = 0;
    for (int i = 0; i < e->n; i++) {
        const Element *s = &e->e[i];
        if (s->kind == NUMBER)
            shape[i] = s->number;
        else if (s->kind == DIM && i < x->t.rank && ledge__opt_same_dim(s->of, s->axis, x, i))
            shape[i] = 0;
        else
            shape[i] = -1;
        open += shape[i] == -1;
    }
    return open <= 1;
}

LedgeStatus ledge__opt_static_reshape(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        if (!ledge__node_is(n, "Reshape") || n->n_in < 2 || !n->in[0].value || !n->in[1].value ||
            ledge__value_is_constant(n->in[1].value) || ledge__node_int(n, "allowzero", 0))
            continue;
        int64_t shape[LEDGE_MAX_RANK];
        Elements e = evaluate(n->in[1].value, MAX_DEPTH);
        if (e.n < 0 || !static_shape(n->in[0].value, &e, shape))
            continue;
        LedgeValue *s = ledge__opt_ints(g, NULL, shape, e.n);
        if (!s)
            return ledge__no_memory(c->err);
        ledge__node_set_input(n, 1, s);
        *changed = true;
    }
    return LEDGE_OK;
}
