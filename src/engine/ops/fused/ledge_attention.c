/* ledge.Attention: scaled dot-product attention over heads that lie side by side.
 *
 * Inputs: 0 Q [B,S,H*D]; 1 K [B,T,H*D]; 2 V [B,T,H*E]; with K and V omitted input 0 is Q, K and
 * V one after the other in each row, [B,S,3*H*D]; 3 mask, added to the scaled scores, that
 * broadcasts to [B,H,S,T], or omitted. Output [B,S,H*E]. Attributes: heads; scale, absent
 * 1/sqrt(D). */
#include "engine/graph/op.h"
#include "engine/kernels/attention_f32.h"

#include <math.h>

enum { IN_Q, IN_K, IN_V, IN_MASK };

typedef struct AttentionDims {
    int64_t batch, queries, keys, heads, head, v_head; /* -1: not known yet */
    bool packed;
} AttentionDims;

/* Elements of a head of input i, whose rows are `parts` times all heads; -1: not known. */
static LedgeStatus head_size(LedgeOpCtx *c, uint32_t i, int64_t heads, int64_t parts, int64_t *out)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_FLOAT));
    const LedgeTensor *t = c->in[i];
    if (t->rank >= 0 && t->rank != 3)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %d dimensions, must have 3", i,
                              t->rank);
    const int64_t row = t->rank == 3 ? t->dims[2] : -1;
    if (row >= 0 && row % (heads * parts) != 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "rows of %lld elements cannot be split into %lld parts of %lld heads",
                              (long long)row, (long long)parts, (long long)heads);
    *out = row < 0 ? -1 : row / (heads * parts);
    return LEDGE_OK;
}

static LedgeStatus same(LedgeOpCtx *c, const char *what, int64_t a, int64_t b)
{
    if (a >= 0 && b >= 0 && a != b)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%s differ: %lld and %lld", what, (long long)a,
                              (long long)b);
    return LEDGE_OK;
}

static LedgeStatus attention_dims(LedgeOpCtx *c, AttentionDims *d)
{
    d->heads = ledge__node_int(c->node, "heads", 1);
    if (d->heads < 1 || d->heads > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute heads is %lld",
                              (long long)d->heads);
    d->packed = !ledge__op_in(c, IN_K) && !ledge__op_in(c, IN_V);
    LEDGE_TRY(head_size(c, IN_Q, d->heads, d->packed ? 3 : 1, &d->head));
    const LedgeTensor *q = c->in[IN_Q];
    d->batch = q->rank == 3 ? q->dims[0] : -1;
    d->queries = d->keys = q->rank == 3 ? q->dims[1] : -1;
    d->v_head = d->head;
    if (d->packed)
        return LEDGE_OK;
    int64_t k_head;
    LEDGE_TRY(head_size(c, IN_K, d->heads, 1, &k_head));
    LEDGE_TRY(head_size(c, IN_V, d->heads, 1, &d->v_head));
    const LedgeTensor *k = c->in[IN_K], *v = c->in[IN_V];
    LEDGE_TRY(same(c, "head sizes of Q and K", d->head, k_head));
    d->keys = k->rank == 3 ? k->dims[1] : -1;
    if (k->rank == 3)
        LEDGE_TRY(same(c, "batches of Q and K", d->batch, k->dims[0]));
    if (v->rank == 3) {
        LEDGE_TRY(same(c, "batches of Q and V", d->batch, v->dims[0]));
        LEDGE_TRY(same(c, "lengths of K and V", d->keys, v->dims[1]));
    }
    return LEDGE_OK;
}

static LedgeStatus attention_infer(LedgeOpCtx *c)
{
    AttentionDims d;
    LEDGE_TRY(attention_dims(c, &d));
    const int64_t dims[3] = {d.batch, d.queries, d.v_head < 0 ? -1 : d.heads * d.v_head};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 3, dims);
    return LEDGE_OK;
}

typedef struct AttentionState {
    LedgeAttentionPlan plan;
    float scale;
    size_t mask[4]; /* strides over batch, head, query, key */
} AttentionState;

static LedgeStatus mask_strides(LedgeOpCtx *c, const AttentionDims *d, size_t *strides)
{
    const LedgeTensor *m = ledge__op_in(c, IN_MASK);
    const int64_t full[4] = {d->batch, d->heads, d->queries, d->keys};
    if (!m)
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_MASK, LEDGE_FLOAT));
    if (m->rank > 4)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the mask has %d dimensions, at most 4 fit",
                              m->rank);
    size_t step = 1;
    for (int32_t k = m->rank - 1; k >= 0; k--) {
        const int32_t axis = k + 4 - m->rank;
        if (m->dims[k] != 1 && m->dims[k] != full[axis])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "the mask has %lld where the scores have %lld",
                                  (long long)m->dims[k], (long long)full[axis]);
        strides[axis] = m->dims[k] == 1 ? 0 : step;
        step *= (size_t)m->dims[k];
    }
    return LEDGE_OK;
}

static LedgeStatus attention_prepare(LedgeOpCtx *c)
{
    AttentionDims d;
    LEDGE_TRY(attention_dims(c, &d));
    AttentionState *s = ledge__op_alloc(c, sizeof *s);
    if (!s)
        return ledge__no_memory(c->err);
    *s = (AttentionState){.scale = 1.0f};
    s->scale = ledge__node_float(c->node, "scale", d.head ? 1.0f / sqrtf((float)d.head) : 1.0f);
    LEDGE_TRY(mask_strides(c, &d, s->mask));
    const LedgeAttentionShape shape = {(size_t)d.batch, (size_t)d.heads, (size_t)d.queries,
                                       (size_t)d.keys,  (size_t)d.head,  (size_t)d.v_head};
    if (!ledge__attention_f32_plan(&shape, c->cpu, ledge__pool_threads(c->pool), &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the attention is too large");
    c->scratch_bytes = s->plan.scratch_bytes;
    c->state = s;
    return LEDGE_OK;
}

static LedgeStatus attention_run(LedgeOpCtx *c)
{
    const AttentionState *s = c->state;
    const LedgeAttentionShape *d = &s->plan.s;
    const bool packed = !ledge__op_in(c, IN_K);
    const LedgeTensor *mask = ledge__op_in(c, IN_MASK);
    const size_t all = d->heads * d->head, row = packed ? 3 * all : all;
    const float *q = c->in[IN_Q]->data;
    LedgeAttentionArgs a = {.q = {q, row, d->queries * row},
                            .y = c->out[0]->data,
                            .scale = s->scale,
                            .mask = mask ? mask->data : NULL,
                            .mask_batch = s->mask[0],
                            .mask_head = s->mask[1],
                            .mask_query = s->mask[2],
                            .mask_key = s->mask[3],
                            .scratch = c->scratch};
    if (packed) {
        a.k = (LedgeHeads){q + all, row, d->queries * row};
        a.v = (LedgeHeads){q + 2 * all, row, d->queries * row};
    } else {
        const size_t v_row = d->heads * d->v_head;
        a.k = (LedgeHeads){c->in[IN_K]->data, all, d->keys * all};
        a.v = (LedgeHeads){c->in[IN_V]->data, v_row, d->keys * v_row};
    }
    if (ledge_tensor_count(c->out[0]) > 0)
        ledge__attention_f32_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

static int64_t attention_macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0), *q = ledge__op_in(c, IN_Q);
    const LedgeTensor *k = ledge__op_in(c, IN_K);
    if (!y || !q || y->rank != 3 || q->rank != 3 || (k && k->rank != 3))
        return 0;
    const int64_t keys = k ? k->dims[1] : q->dims[1], all = k ? q->dims[2] : q->dims[2] / 3;
    return y->dims[0] * y->dims[1] * keys * (all + y->dims[2]);
}

const LedgeOp ledge__ops_ledge_attention[] = {
    {"ledge", "Attention", 1, 0, 0, attention_infer, attention_prepare, attention_run,
     attention_macs},
    {0},
};
