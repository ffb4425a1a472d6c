/* com.microsoft QAttention and DynamicQuantizeLSTM: Attention and LSTM over bytes, as ONNX
 * Runtime's dynamic quantiser writes them. The bytes are made floats in scratch and the float
 * operator does the rest; for QAttention that gives the integer sums but for the rounding of
 * floats. The LSTM keeps its input and its state as floats, where ONNX Runtime rounds them to bytes
 * on the way. */
#include "engine/ops/nn/nn.h"

enum { MOST = 12 };

/* One tensor of bytes: where it, its scales and its zero points stand among the inputs. */
typedef struct Bytes {
    uint32_t in, scale, zero;
    bool turned; /* [dirs, rows, columns] here, [dirs, columns, rows] for the operator */
} Bytes;

typedef struct Outer {
    const char *domain, *op_type; /* of the float operator */
    int opset;
    uint32_t n_in;
    int8_t from[MOST]; /* which input here is its i-th; -1: none */
    Bytes bytes[2];
} Outer;

static const Outer attention = {
    "com.microsoft", "Attention", 1, 5, {0, 1, 2, 5, 8}, {{0, 3, 6, false}, {1, 4, 7, false}}};
static const Outer lstm = {
    "", "LSTM", 14, 8, {0, 1, 2, 3, 4, 5, 6, 7}, {{1, 8, 9, true}, {2, 10, 11, true}}};

static const Outer *outer_of(const LedgeOpCtx *c)
{
    return strcmp(c->node->op_type, "QAttention") == 0 ? &attention : &lstm;
}

/* The float operator's view of the call. */
typedef struct Inner {
    LedgeOpCtx ctx;
    LedgeNode node;
    const LedgeOp *op;
    const LedgeTensor *in[MOST];
    uint8_t constant[MOST];
    LedgeTensor floats[2];
} Inner;

static int64_t count_of(const LedgeTensor *t)
{
    return t ? ledge_tensor_count(t) : 0;
}

/* Scales are one, or one for each of the last dimension (of each direction where turned). */
static LedgeStatus check_bytes(LedgeOpCtx *c, const Bytes *b)
{
    LEDGE_TRY(ledge__op_need(c, b->in, LEDGE_TYPE_NONE));
    const LedgeTensor *x = c->in[b->in], *zero = ledge__op_in(c, b->zero);
    if (x->type != LEDGE_INT8 && x->type != LEDGE_UINT8 && x->type != LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be int8 or uint8", b->in,
                              ledge_type_name(x->type));
    LEDGE_TRY(ledge__op_need(c, b->scale, LEDGE_FLOAT));
    if (zero)
        LEDGE_TRY(ledge__op_need(c, b->zero, x->type));
    if (x->rank < 0 || ledge_tensor_count(x) < 0)
        return LEDGE_OK;
    if (b->turned && x->rank != 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %d dimensions, must have 3",
                              b->in, x->rank);
    const int64_t last = x->rank > 0 ? x->dims[x->rank - 1] : 1, dirs = b->turned ? x->dims[0] : 1;
    const uint32_t numbers[] = {b->scale, b->zero};
    for (int i = 0; i < 2; i++) {
        const LedgeTensor *t = ledge__op_in(c, numbers[i]);
        const int64_t n = count_of(t);
        if (t && n >= 0 && n != 1 && n != dirs && n != ledge__nn_times(dirs, last))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %lld elements", numbers[i],
                                  (long long)n);
    }
    return LEDGE_OK;
}

/* Types and shapes; data where there is any, but of the bytes. */
static LedgeStatus make_inner(LedgeOpCtx *c, Inner *n)
{
    const Outer *o = outer_of(c);
    LEDGE_TRY(ledge__nn_need(c, o == &attention ? 5 : 3, 0));
    *n =
        (Inner){.ctx = *c, .node = *c->node, .op = ledge__op_find(o->domain, o->op_type, o->opset)};
    if (!n->op)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "needs operator %s", o->op_type);
    for (uint32_t i = 0; i < o->n_in; i++)
        n->in[i] = ledge__op_in(c, (uint32_t)o->from[i]);
    for (int i = 0; i < 2; i++) {
        const Bytes *b = &o->bytes[i];
        LEDGE_TRY(check_bytes(c, b));
        LedgeTensor *t = &n->floats[i];
        *t = *c->in[b->in];
        t->type = LEDGE_FLOAT;
        t->data = NULL;
        if (b->turned && t->rank == 3) {
            t->dims[1] = c->in[b->in]->dims[2];
            t->dims[2] = c->in[b->in]->dims[1];
        }
        n->in[b->in] = t; /* both stand at the same place there */
    }
    n->node.op_type = o->op_type;
    n->node.domain = o->domain;
    n->node.opset = o->opset;
    n->ctx.node = &n->node;
    n->ctx.in = n->in;
    n->ctx.n_in = o->n_in;
    n->ctx.in_constant = n->constant;
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Inner n;
    LEDGE_TRY(make_inner(c, &n));
    return n.op->infer(&n.ctx);
}

static void *take_floats(NnScratch *s, const Inner *n, int i)
{
    return ledge__nn_take(s, (size_t)ledge_tensor_count(&n->floats[i]), sizeof(float));
}

/* What the float operator's own prepare left. */
typedef struct State {
    void *inner;
    size_t inner_bytes;
} State;

static LedgeStatus prepare(LedgeOpCtx *c)
{
    Inner n;
    NnScratch s = {0};
    State *state = ledge__op_alloc(c, sizeof *state);
    if (!state)
        return ledge__no_memory(c->err);
    LEDGE_TRY(make_inner(c, &n));
    n.ctx.scratch_bytes = 0;
    n.ctx.state = NULL;
    LEDGE_TRY(n.op->prepare(&n.ctx));
    *state = (State){n.ctx.state, n.ctx.scratch_bytes};
    c->state = state;
    ledge__nn_take(&s, n.ctx.scratch_bytes, 1);
    take_floats(&s, &n, 0);
    take_floats(&s, &n, 1);
    if (s.overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    c->scratch_bytes = s.used;
    return LEDGE_OK;
}

/* Which of `count` scales or zero points belongs to column j of direction d. */
static int64_t place(int64_t count, int64_t dirs, int64_t last, int64_t d, int64_t j)
{
    return count == 1 ? 0 : count == dirs * last ? d * last + j : count == dirs ? d : j;
}

static void widen(const LedgeOpCtx *c, const Bytes *b, float *to)
{
    const LedgeTensor *x = c->in[b->in], *scale = c->in[b->scale], *zero = ledge__op_in(c, b->zero);
    const int64_t last = x->rank > 0 ? x->dims[x->rank - 1] : 1, dirs = b->turned ? x->dims[0] : 1;
    const int64_t all = ledge_tensor_count(x), rows = all ? all / dirs / last : 0;
    const uint8_t *from = x->data;
    for (int64_t d = 0; d < dirs; d++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < last; j++, from++) {
                const int32_t q = x->type == LEDGE_INT8 ? (int8_t)*from : *from;
                const int64_t sp = place(count_of(scale), dirs, last, d, j);
                const double z =
                    zero ? ledge__nn_at(zero, place(count_of(zero), dirs, last, d, j)) : 0;
                const int64_t at = b->turned ? j * rows + i : i * last + j;
                to[d * rows * last + at] = ((float)q - (float)z) * (float)ledge__nn_at(scale, sp);
            }
}

static LedgeStatus run(LedgeOpCtx *c)
{
    const Outer *o = outer_of(c);
    const State *state = c->state;
    NnScratch s = {.base = c->scratch};
    Inner n;
    LEDGE_TRY(make_inner(c, &n));
    n.ctx.scratch = ledge__nn_take(&s, state->inner_bytes, 1);
    n.ctx.scratch_bytes = state->inner_bytes;
    n.ctx.state = state->inner;
    for (int i = 0; i < 2; i++) {
        n.floats[i].data = take_floats(&s, &n, i);
        n.floats[i].bytes = ledge_tensor_bytes(&n.floats[i]);
        if (ledge_tensor_count(&n.floats[i]) > 0)
            widen(c, &o->bytes[i], n.floats[i].data);
    }
    return n.op->run(&n.ctx);
}

const LedgeOp ledge__ops_nn_ms_dynamic[] = {
    {"com.microsoft", "QAttention", 1, 0, 0, infer, prepare, run, NULL},
    {"com.microsoft", "DynamicQuantizeLSTM", 1, 0, 0, infer, prepare, run, NULL},
    {0},
};
