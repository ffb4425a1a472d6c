/* RotaryEmbedding (ONNX 23) and com.microsoft RotaryEmbedding: pairs of each head's numbers
 * turned by an angle that depends on the position. */
#include "engine/ops/nn/nn.h"

/* Input indices differ: ONNX has X, cos, sin, positions; com.microsoft X, positions, cos, sin. */
typedef struct Slots {
    uint32_t cos, sin, pos;
} Slots;

static Slots slots_of(const LedgeOpCtx *c)
{
    return c->node->domain[0] ? (Slots){2, 3, 1} : (Slots){1, 2, 3};
}

typedef struct Sizes {
    int64_t batch, heads, len, size, turned;
    bool flat;
} Sizes;

static LedgeStatus sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *x = c->in[0], *cos = c->in[slots_of(c).cos];
    int64_t heads = ledge__node_int(c->node, "num_heads", 0);
    *s = (Sizes){.batch = x->dims[0], .flat = x->rank == 3};
    s->turned = ledge__node_int(c->node, "rotary_embedding_dim", 0);
    if (s->flat) {
        s->len = x->dims[1];
        if (heads <= 0 && c->node->domain[0] && x->dims[2] > 0) { /* from the table's width */
            int64_t width = 2 * cos->dims[cos->rank - 1];
            heads = width > 0 ? x->dims[2] / width : 0;
        }
        if (heads <= 0 || x->dims[2] % heads)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "num_heads must divide the hidden size of a 3-D input");
        s->heads = heads;
        s->size = x->dims[2] / heads;
    } else {
        s->heads = x->dims[1];
        s->len = x->dims[2];
        s->size = x->dims[3];
    }
    if (s->turned == 0)
        s->turned = s->size;
    if (s->turned < 0 || s->turned > s->size || s->turned % 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "rotary_embedding_dim must be even and at most the head size %lld",
                              (long long)s->size);
    return LEDGE_OK;
}

static LedgeStatus check(LedgeOpCtx *c)
{
    Slots t = slots_of(c);
    const LedgeTensor *pos = ledge__op_in(c, t.pos);
    Sizes s;
    for (uint32_t i = t.cos; i <= t.sin; i++)
        LEDGE_TRY(ledge__nn_rank(c, i, pos ? 2 : 3, pos ? 2 : 3));
    LEDGE_TRY(sizes(c, &s));
    for (uint32_t i = t.cos; i <= t.sin; i++) {
        const LedgeTensor *table = c->in[i];
        LEDGE_TRY(ledge__nn_same(c, "width of the tables", table->dims[table->rank - 1],
                                 s.turned / 2));
        if (!pos) {
            LEDGE_TRY(ledge__nn_same(c, "batch of the tables", table->dims[0], s.batch));
            LEDGE_TRY(ledge__nn_same(c, "length of the tables", table->dims[1], s.len));
        }
    }
    LEDGE_TRY(ledge__nn_same(c, "positions in the tables", c->in[t.cos]->dims[0],
                             c->in[t.sin]->dims[0]));
    if (pos && !(c->node->domain[0] && ledge_tensor_count(pos) == 1))
        LEDGE_TRY(ledge__nn_count(c, t.pos, s.batch * s.len));
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Slots t = slots_of(c);
    bool ms = c->node->domain[0] != 0;
    LEDGE_TRY(ledge__nn_need(c, ms ? 4 : 3, ms ? 0xd : 7));
    if (ledge__op_in(c, t.pos))
        LEDGE_TRY(ledge__op_need(c, t.pos, LEDGE_INT64));
    if (ledge__node_int(c->node, "is_packed_batching", 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "is_packed_batching is not supported");
    LEDGE_TRY(ledge__nn_rank(c, 0, 3, 4));
    bool known = true;
    for (uint32_t i = 0; i < c->n_in; i++)
        known &= !c->in[i] || ledge__nn_known(c->in[i]);
    if (known)
        LEDGE_TRY(check(c));
    ledge__nn_like(c, 0, c->in[0]);
    return LEDGE_OK;
}

typedef struct Turn {
    const LedgeOpCtx *c;
    Sizes s;
    bool interleaved;
} Turn;

/* Where batch b, position i begins in the tables; -1: outside. */
static int64_t table_row(const Turn *t, int64_t b, int64_t i)
{
    Slots slots = slots_of(t->c);
    const LedgeTensor *pos = ledge__op_in(t->c, slots.pos);
    if (!pos)
        return b * t->s.len + i;
    const int64_t *ids = pos->data;
    int64_t at = ledge_tensor_count(pos) == 1 && t->c->node->domain[0]
                     ? (ids[0] > INT32_MAX ? -1 : ids[0] + i)
                     : ids[b * t->s.len + i];
    return at < 0 || at >= t->c->in[slots.cos]->dims[0] ? -1 : at;
}

#define TURN(T)                                                                           \
    static void turn_##T(const Turn *t, const T *x, T *y, const T *cos, const T *sin)     \
    {                                                                                     \
        int64_t half = t->s.turned / 2, step = t->interleaved ? 2 : 1;                    \
        int64_t other = t->interleaved ? 1 : half;                                        \
        for (int64_t i = 0; i < half; i++) {                                              \
            T a = x[i * step], b = x[i * step + other];                                   \
            y[i * step] = cos[i] * a - sin[i] * b;                                        \
            y[i * step + other] = sin[i] * a + cos[i] * b;                                \
        }                                                                                 \
        for (int64_t i = t->s.turned; i < t->s.size; i++)                                 \
            y[i] = x[i];                                                                  \
    }
TURN(float)
TURN(double)

static LedgeStatus body(LedgeOpCtx *c)
{
    Turn t = {.c = c, .interleaved = ledge__node_int(c->node, "interleaved", 0) != 0};
    Slots slots = slots_of(c);
    LEDGE_TRY(sizes(c, &t.s));
    bool is_double = c->in[0]->type == LEDGE_DOUBLE;
    size_t e = is_double ? 8 : 4;
    for (int64_t b = 0; b < t.s.batch; b++)
        for (int64_t i = 0; i < t.s.len; i++) {
            int64_t row = table_row(&t, b, i);
            if (row < 0)
                return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                      "a position id is outside the tables of %lld",
                                      (long long)c->in[slots.cos]->dims[0]);
            size_t at = (size_t)(row * (t.s.turned / 2)) * e;
            const char *cos = (const char *)c->in[slots.cos]->data + at;
            const char *sin = (const char *)c->in[slots.sin]->data + at;
            for (int64_t h = 0; h < t.s.heads; h++) {
                int64_t first = t.s.flat ? (b * t.s.len + i) * t.s.heads + h
                                         : (b * t.s.heads + h) * t.s.len + i;
                size_t offset = (size_t)(first * t.s.size) * e;
                const char *x = (const char *)c->in[0]->data + offset;
                char *y = (char *)c->out[0]->data + offset;
                if (is_double)
                    turn_double(&t, (const void *)x, (void *)y, (const void *)cos,
                                (const void *)sin);
                else
                    turn_float(&t, (const void *)x, (void *)y, (const void *)cos,
                               (const void *)sin);
            }
        }
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, body);
}

const LedgeOp ledge__ops_nn_rotary[] = {
    {"", "RotaryEmbedding", 23, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float, run, NULL},
    {"com.microsoft", "RotaryEmbedding", 1, 0, LEDGE_OP_INPLACE, infer, ledge__nn_prepare_float,
     run, NULL},
    {0},
};
