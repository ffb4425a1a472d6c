/* Making nodes and constants, and rewiring, for all passes. */
#include "engine/optimize/pass.h"

bool ledge__opt_has(const LedgeOptCtx *c, const char *op_type)
{
    return !c->options->portable && ledge__op_find("ledge", op_type, 1) != NULL;
}

static LedgeNode *make(LedgeGraph *g, const char *domain, const char *op_type, int opset,
                       uint32_t n_in, const LedgeTensor *like, LedgeNode *before)
{
    LedgeNode *n = ledge__node_new(g, domain, op_type, NULL, n_in, 1, before);
    LedgeValue *v = n ? ledge__value_new(g, NULL) : NULL;
    if (!v)
        return NULL;
    v->t = *like;
    v->t.data = NULL;
    v->t.bytes = 0;
    n->opset = opset;
    n->op = ledge__op_find(domain, op_type, opset);
    ledge__node_set_output(n, 0, v);
    return n;
}

LedgeNode *ledge__opt_internal(LedgeGraph *g, const char *op_type, uint32_t n_in,
                               const LedgeTensor *like, LedgeNode *before)
{
    return make(g, "ledge", op_type, 1, n_in, like, before);
}

LedgeNode *ledge__opt_onnx(LedgeGraph *g, const char *op_type, int since, uint32_t n_in,
                           const LedgeTensor *like, LedgeNode *before)
{
    return make(g, "", op_type, g->opset > since ? g->opset : since, n_in, like, before);
}

LedgeNode *ledge__opt_transpose(LedgeGraph *g, LedgeValue *x, const int32_t *perm,
                                LedgeNode *before)
{
    LedgeTensor like = x->t;
    int64_t p[LEDGE_MAX_RANK];
    for (int32_t d = 0; d < x->t.rank; d++) {
        p[d] = perm[d];
        like.dims[d] = x->t.dims[perm[d]];
    }
    LedgeNode *n = ledge__opt_onnx(g, "Transpose", 7, 1, &like, before);
    if (!n || !ledge__node_set_ints(g, n, "perm", p, (size_t)x->t.rank))
        return NULL;
    ledge__node_set_input(n, 0, x);
    return n;
}

LedgeNode *ledge__opt_slice(LedgeGraph *g, LedgeValue *x, const int64_t *axes, int64_t n,
                            const int64_t *from, const int64_t *to, const int64_t *steps,
                            const LedgeTensor *like, LedgeNode *before)
{
    const int64_t *const lists[] = {from, to, axes, steps};
    const uint32_t n_in = steps ? 5 : 4;
    LedgeNode *s = ledge__opt_onnx(g, "Slice", 10, n_in, like, before);
    if (!s)
        return NULL;
    ledge__node_set_input(s, 0, x);
    for (uint32_t i = 1; i < n_in; i++) {
        LedgeValue *v = ledge__opt_ints(g, NULL, lists[i - 1], n);
        if (!v)
            return NULL;
        ledge__node_set_input(s, i, v);
    }
    return s;
}

LedgeNode *ledge__opt_reshape(LedgeGraph *g, LedgeValue *x, const int64_t *shape, int32_t rank,
                              const LedgeTensor *like, LedgeNode *before)
{
    LedgeValue *s = ledge__opt_ints(g, NULL, shape, rank);
    LedgeNode *n = s ? ledge__opt_onnx(g, "Reshape", 7, 2, like, before) : NULL;
    if (!n)
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, s);
    return n;
}

LedgeValue *ledge__opt_ints(LedgeGraph *g, const char *name, const int64_t *v, int64_t n)
{
    int64_t *copy = ledge__arena_alloc(g->arena, (size_t)n, sizeof *copy);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, v, (size_t)n * sizeof *copy);
    LedgeTensor t = {.type = LEDGE_INT64, .rank = 1, .dims = {n}, .data = copy};
    return ledge__value_constant(g, name, &t, false);
}

LedgeValue *ledge__opt_floats(LedgeGraph *g, const char *name, int32_t rank, const int64_t *dims,
                              float **data)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank};
    for (int32_t d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    LedgeValue *v = ledge__value_constant(g, name, &t, false); /* no data: zeroed memory */
    if (v)
        *data = v->t.data;
    return v;
}

void ledge__opt_take_over(LedgeGraph *g, LedgeNode *made, LedgeNode *old)
{
    LedgeValue *v = old->out[0];
    LedgeTensor t = made->out[0]->t;
    ledge__node_set_output(old, 0, NULL);
    ledge__node_set_output(made, 0, v);
    if (v->t.rank < 0)
        v->t = t;
    ledge__opt_drop(g, old);
}

bool ledge__opt_bypass(LedgeGraph *g, LedgeNode *n, LedgeValue *v)
{
    LedgeValue *out = n->out[0];
    if (out->n_outputs && (v->is_input || !v->producer || v->n_outputs))
        return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->n_outputs))
            return false;
    if (v->t.rank < 0)
        v->t = out->t;
    ledge__value_replace(g, out, v);
    ledge__opt_drop(g, n);
    return true;
}

static bool is_read(const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->n_outputs))
            return true;
    return false;
}

void ledge__opt_drop(LedgeGraph *g, LedgeNode *n)
{
    enum { ROOM = 32 }; /* longer tails are left to the dead code pass */
    LedgeNode *list[ROOM];
    int count = 0;
    list[count++] = n;
    while (count) {
        n = list[--count];
        if (n->removed || is_read(n))
            continue;
        LedgeNode *makers[8];
        uint32_t n_makers = 0;
        for (uint32_t i = 0; i < n->n_in && n_makers < 8; i++)
            if (n->in[i].value && n->in[i].value->producer)
                makers[n_makers++] = n->in[i].value->producer;
        ledge__node_remove(g, n);
        for (uint32_t i = 0; i < n_makers && count < ROOM; i++)
            list[count++] = makers[i];
    }
}
