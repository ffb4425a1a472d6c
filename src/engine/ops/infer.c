/* Shape inference and constant folding over a graph, before inputs are known.
 *
 * Walks the nodes in order, asks each operator for its outputs' types and shapes, and runs
 * operators whose inputs are all constant. What the file declared is kept where inference
 * knows less. Subgraphs are inferred first, from what their captured values are. */
#include "engine/graph/op.h"

/* Bytes that folding may add to one graph, whatever a hostile file asks for. */
#define FOLD_TOTAL_LIMIT ((size_t)512 << 20)
/* Over this a node is left to run time: loading must stay quick. */
#define FOLD_MAX_MACS ((int64_t)1 << 30)

typedef struct Infer {
    LedgeGraph *g;
    LedgeError *err;
    LedgeError scratch_error; /* of folding attempts that may fail without harm */
    size_t fold_limit;
    LedgeOpCtx ctx;
    const LedgeTensor **in;
    LedgeTensor **out;
    LedgeTensor *made; /* what infer fills */
    uint8_t *in_constant;
} Infer;

static void *infer_alloc(LedgeOpCtx *c, size_t bytes)
{
    Infer *s = c->host_data;
    return ledge__arena_alloc(s->g->arena, bytes, 1);
}

static LedgeStatus infer_output(LedgeOpCtx *c, uint32_t i)
{
    LedgeTensor *t = c->out[i];
    Infer *s = c->host_data;
    size_t bytes = ledge_tensor_bytes(t);
    if (bytes == SIZE_MAX || bytes > s->fold_limit || s->g->folded_bytes > FOLD_TOTAL_LIMIT)
        return LEDGE_ERROR_LIMIT;
    s->g->folded_bytes += bytes;
    t->data = ledge__arena_alloc(s->g->arena, bytes, 1);
    t->bytes = bytes;
    return t->data ? LEDGE_OK : ledge__no_memory(c->err);
}

static LedgeStatus infer_packed(LedgeOpCtx *c, uint32_t i, const char *key, size_t bytes,
                                LedgeStatus (*pack)(void *arg, void *to), void *arg,
                                const void **out)
{
    (void)i;
    (void)key;
    void *p = infer_alloc(c, bytes);
    if (!p)
        return ledge__no_memory(c->err);
    *out = p;
    return pack(arg, p);
}

static LedgeStatus infer_subgraph(LedgeOpCtx *c, LedgeGraph *g, const LedgeTensor *in,
                                  uint32_t n_in, LedgeTensor *out, uint32_t n_out)
{
    (void)c, (void)g, (void)in, (void)n_in, (void)out, (void)n_out;
    return LEDGE_ERROR_UNSUPPORTED; /* nodes with subgraphs are not folded */
}

static LedgeStatus infer_store(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value)
{
    if (value->type >= LEDGE_SEQUENCE || value->type == LEDGE_STRING)
        return LEDGE_ERROR_UNSUPPORTED;
    LedgeTensor *t = c->out[i];
    *t = *value;
    LEDGE_TRY(infer_output(c, i));
    memcpy(t->data, value->data, ledge_tensor_bytes(t));
    return LEDGE_OK;
}

static const LedgeOpHost infer_host = {infer_alloc, infer_output, infer_packed, infer_subgraph,
                                       infer_store};

static LedgeStatus infer_bodies(Infer *s, LedgeNode *n)
{
    for (size_t a = 0; a < n->n_attrs; a++)
        for (size_t i = 0; n->attrs[a].graphs && i < n->attrs[a].count; i++) {
            LedgeGraph *body = n->attrs[a].graphs[i];
            for (uint32_t k = 0; k < body->n_captured; k++) {
                LedgeValue *outer = ledge__node_in(n, body->captured_slot[k]);
                LedgeValue *inner = body->inputs[body->n_inputs - body->n_captured + k];
                if (outer) {
                    inner->t = outer->t;
                    inner->t.data = NULL;
                }
            }
            LEDGE_TRY(ledge__graph_infer(body, s->fold_limit, s->err));
        }
    return LEDGE_OK;
}

static LedgeStatus set_up(Infer *s, LedgeNode *n)
{
    memset(&s->ctx, 0, sizeof s->ctx);
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *v = n->in[i].value;
        s->in[i] = v ? &v->t : NULL;
        s->in_constant[i] = v && ledge__value_is_constant(v);
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        s->made[i] = (LedgeTensor){.rank = -1};
        s->out[i] = n->out[i] ? &s->made[i] : NULL;
    }
    s->ctx.node = n;
    s->ctx.n_in = n->n_in;
    s->ctx.n_out = n->n_out;
    s->ctx.in = s->in;
    s->ctx.out = s->out;
    s->ctx.in_constant = s->in_constant;
    s->ctx.err = s->err;
    s->ctx.host = &infer_host;
    s->ctx.host_data = s;
    return n->op->infer(&s->ctx);
}

/* No shape beyond what a tensor can say goes further, whatever an operator let pass. */
static LedgeStatus check_made(Infer *s, const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const LedgeTensor *t = &s->made[i];
        bool open = t->rank < 0 || t->type == LEDGE_TYPE_NONE || t->type >= LEDGE_SEQUENCE;
        for (int32_t d = 0; !open && d < t->rank && d < LEDGE_MAX_RANK; d++)
            open = t->dims[d] < 0;
        if (t->rank > LEDGE_MAX_RANK || (!open && ledge_tensor_bytes(t) == SIZE_MAX))
            return ledge__fail(s->err, LEDGE_ERROR_SHAPE, n->name,
                               "%s: output %u would have more elements than memory can hold",
                               n->op_type, i);
    }
    return LEDGE_OK;
}

static LedgeStatus contradiction(Infer *s, const LedgeNode *n, const LedgeValue *v, const char *what)
{
    return ledge__fail(s->err, LEDGE_ERROR_SHAPE, n->name,
                       "%s: the file declares another %s for '%s' than its operator gives",
                       n->op_type, what, v->name);
}

/* Joins what the file declared for an output with what its operator says. */
static LedgeStatus merge(Infer *s, const LedgeNode *n, LedgeValue *v, const LedgeTensor *made)
{
    LedgeTensor *t = &v->t;
    if (made->type != LEDGE_TYPE_NONE) {
        if (t->type != LEDGE_TYPE_NONE && t->type != made->type)
            return contradiction(s, n, v, "type");
        t->type = made->type;
    }
    if (made->rank < 0)
        return LEDGE_OK;
    if (t->type >= LEDGE_SEQUENCE) {
        t->rank = 1;
        t->dims[0] = -1;
        if (made->dims[1])
            t->dims[1] = made->dims[1];
        return LEDGE_OK;
    }
    /* Declared shapes of a file are hints that exporters often get wrong (a fixed batch, a
     * stale value_info): where the operator knows, it decides. */
    bool same_rank = t->rank == made->rank;
    for (int32_t d = 0; d < made->rank; d++)
        if (!same_rank || made->dims[d] >= 0)
            t->dims[d] = made->dims[d];
    t->rank = made->rank;
    if (!same_rank)
        v->dim_names = NULL;
    return LEDGE_OK;
}

static bool fully_known(const LedgeTensor *t)
{
    return t->type != LEDGE_TYPE_NONE && t->type < LEDGE_SEQUENCE && t->type != LEDGE_STRING &&
           ledge_tensor_count(t) >= 0;
}

static bool is_kept(const Infer *s, const LedgeNode *n)
{
    const LedgeGraph *top = s->g;
    while (top->parent)
        top = top->parent;
    return top->keeps_dequantize && ledge__node_is(n, "DequantizeLinear");
}

static bool may_fold(const Infer *s, const LedgeNode *n)
{
    if (is_kept(s, n) || (n->op->flags & LEDGE_OP_IMPURE) || ledge__node_has_bodies(n))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && (!s->in_constant[i] || n->in[i].value->t.type == LEDGE_STRING))
            return false;
    if (n->op->macs && n->op->macs(&s->ctx) > FOLD_MAX_MACS)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (!fully_known(&s->made[i]) || ledge_tensor_bytes(&s->made[i]) > s->fold_limit))
            return false;
    return true;
}

/* Misaligned constants are copied for operators that read them as arrays. */
static bool align_inputs(Infer *s, LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *v = n->in[i].value;
        if (!v || ((uintptr_t)v->t.data & 15) == 0)
            continue;
        size_t bytes = ledge_tensor_bytes(&v->t);
        if (bytes > s->fold_limit)
            return false;
        void *p = ledge__arena_alloc(s->g->arena, bytes, 1);
        if (!p)
            return false;
        memcpy(p, v->t.data, bytes);
        v->t.data = p;
    }
    return true;
}

/* Runs a node over constants; a fault leaves the node as it is, to be told at run time. */
static bool run_fold(Infer *s, LedgeNode *n)
{
    if (!align_inputs(s, n))
        return false;
    s->ctx.err = &s->scratch_error;
    s->ctx.complete = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (s->out[i] && !s->out[i]->data && infer_output(&s->ctx, i) != LEDGE_OK)
            return false;
    if (n->op->flags & LEDGE_OP_VIEW) {
        memcpy(s->out[0]->data, s->in[0]->data, ledge_tensor_bytes(s->out[0]));
        return true;
    }
    if (n->op->prepare && n->op->prepare(&s->ctx) != LEDGE_OK)
        return false;
    if (s->ctx.scratch_bytes > s->fold_limit)
        return false;
    if (s->ctx.scratch_bytes &&
        !(s->ctx.scratch = ledge__arena_aligned(s->g->arena, s->ctx.scratch_bytes)))
        return false;
    return n->op->run(&s->ctx) == LEDGE_OK;
}

static void become_constants(Infer *s, LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            n->out[i]->t = s->made[i];
    ledge__node_remove(s->g, n);
}

static bool all_have_data(const Infer *s, const LedgeNode *n)
{
    bool any = false;
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] && !s->made[i].data)
            return false;
        any |= n->out[i] != NULL;
    }
    return any;
}

static bool is_wanted(const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            return true;
    return false;
}

static LedgeStatus infer_node(Infer *s, LedgeNode *n)
{
    LEDGE_TRY(infer_bodies(s, n));
    if (!is_wanted(n))
        return LEDGE_OK;
    LEDGE_TRY(set_up(s, n));
    LEDGE_TRY(check_made(s, n));
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            LEDGE_TRY(merge(s, n, n->out[i], &s->made[i]));
    if (s->fold_limit && (all_have_data(s, n) || (may_fold(s, n) && run_fold(s, n))))
        become_constants(s, n);
    return LEDGE_OK;
}

static LedgeStatus make_room(Infer *s)
{
    uint32_t most_in = 1, most_out = 1;
    for (const LedgeNode *n = s->g->first; n; n = n->next) {
        most_in = n->n_in > most_in ? n->n_in : most_in;
        most_out = n->n_out > most_out ? n->n_out : most_out;
    }
    s->in = ledge__arena_alloc(s->g->arena, most_in, sizeof *s->in);
    s->in_constant = ledge__arena_alloc(s->g->arena, most_in, 1);
    s->out = ledge__arena_alloc(s->g->arena, most_out, sizeof *s->out);
    s->made = ledge__arena_alloc(s->g->arena, most_out, sizeof *s->made);
    return s->in && s->in_constant && s->out && s->made ? LEDGE_OK : ledge__no_memory(s->err);
}

LedgeStatus ledge__graph_infer(LedgeGraph *g, size_t fold_limit, LedgeError *err)
{
    Infer s = {.g = g, .err = err, .fold_limit = fold_limit};
    LEDGE_TRY(make_room(&s));
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op)
            LEDGE_TRY(infer_node(&s, n));
    }
    return LEDGE_OK;
}
