/* Attention (ONNX 23, 24, 25): self, cross, grouped-query and multi-query attention with
 * masks, softcap, key/value cache and the intermediate product as an output. */
#include "engine/ops/nn/attention.h"

#include <math.h>

typedef struct Sizes {
    bool flat; /* 3-D inputs: heads lie inside the last dimension */
    int64_t batch, heads, kv_heads, q_len, kv_len, past_len, size, v_size;
} Sizes;

static int64_t ratio(int64_t a, int64_t b)
{
    return a < 0 || b <= 0 ? -1 : a / b;
}

static LedgeStatus flat_sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    s->heads = ledge__node_int(c->node, "q_num_heads", 0);
    s->kv_heads = ledge__node_int(c->node, "kv_num_heads", 0);
    if (s->heads < 1 || s->kv_heads < 1)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "3-D inputs need attributes q_num_heads and kv_num_heads");
    if ((q->dims[2] >= 0 && q->dims[2] % s->heads) ||
        (k->dims[2] >= 0 && k->dims[2] % s->kv_heads) ||
        (v->dims[2] >= 0 && v->dims[2] % s->kv_heads))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "hidden size does not divide into the heads");
    s->q_len = q->dims[1];
    s->kv_len = k->dims[1];
    LEDGE_TRY(ledge__nn_same(c, "lengths of K and V", k->dims[1], v->dims[1]));
    s->size = ratio(q->dims[2], s->heads);
    LEDGE_TRY(ledge__nn_same(c, "head sizes of Q and K", s->size, ratio(k->dims[2], s->kv_heads)));
    s->v_size = ratio(v->dims[2], s->kv_heads);
    return LEDGE_OK;
}

static LedgeStatus split_sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    s->heads = q->dims[1];
    s->kv_heads = k->dims[1];
    LEDGE_TRY(ledge__nn_same(c, "heads of K and V", k->dims[1], v->dims[1]));
    s->q_len = q->dims[2];
    s->kv_len = k->dims[2];
    LEDGE_TRY(ledge__nn_same(c, "lengths of K and V", k->dims[2], v->dims[2]));
    s->size = q->dims[3];
    LEDGE_TRY(ledge__nn_same(c, "head sizes of Q and K", q->dims[3], k->dims[3]));
    s->v_size = v->dims[3];
    return LEDGE_OK;
}

static LedgeStatus past_sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *pk = ledge__op_in(c, 4), *pv = ledge__op_in(c, 5);
    if (!pk != !pv)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "past_key and past_value go together");
    if (!pk)
        return LEDGE_OK;
    if (ledge__op_in(c, 6))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "past_key excludes nonpad_kv_seqlen");
    s->past_len = -1;
    LEDGE_TRY(ledge__nn_rank(c, 4, 4, 4));
    LEDGE_TRY(ledge__nn_rank(c, 5, 4, 4));
    if (pk->rank != 4 || pv->rank != 4)
        return LEDGE_OK;
    const int64_t key[4] = {s->batch, s->kv_heads, pk->dims[2], s->size};
    const int64_t value[4] = {s->batch, s->kv_heads, pk->dims[2], s->v_size};
    for (int d = 0; d < 4; d++) {
        LEDGE_TRY(ledge__nn_same(c, "past_key", pk->dims[d], key[d]));
        LEDGE_TRY(ledge__nn_same(c, "past_value", pv->dims[d], value[d]));
    }
    s->past_len = pk->dims[2];
    return LEDGE_OK;
}

static LedgeStatus sizes(LedgeOpCtx *c, Sizes *s)
{
    *s = (Sizes){.batch = -1,
                 .heads = -1,
                 .kv_heads = -1,
                 .q_len = -1,
                 .kv_len = -1,
                 .size = -1,
                 .v_size = -1};
    const LedgeTensor *q = c->in[0];
    for (uint32_t i = 0; i < 3; i++) {
        LEDGE_TRY(ledge__nn_rank(c, i, 3, 4));
        if (c->in[i]->rank < 0)
            return LEDGE_OK;
        LEDGE_TRY(ledge__nn_same(c, "ranks of Q, K and V", c->in[i]->rank, q->rank));
        LEDGE_TRY(ledge__nn_same(c, "batch", c->in[i]->dims[0], q->dims[0]));
    }
    s->batch = q->dims[0];
    s->flat = q->rank == 3;
    LEDGE_TRY(s->flat ? flat_sizes(c, s) : split_sizes(c, s));
    if (s->heads >= 0 && s->kv_heads >= 0 && (s->kv_heads == 0 || s->heads % s->kv_heads))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "%lld query heads do not share %lld key heads evenly",
                              (long long)s->heads, (long long)s->kv_heads);
    return past_sizes(c, s);
}

static int64_t keys_of(const Sizes *s)
{
    return s->kv_len < 0 || s->past_len < 0 ? -1 : s->kv_len + s->past_len;
}

/* attn_mask broadcasts from the right; its last dimension may stop short of the keys. */
static LedgeStatus check_mask(LedgeOpCtx *c, const Sizes *s)
{
    const LedgeTensor *m = ledge__op_in(c, 3);
    if (!m)
        return LEDGE_OK;
    if (m->type != LEDGE_TYPE_NONE && m->type != LEDGE_BOOL && !ledge__nn_is_float(m->type))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "attn_mask of %s is not supported",
                              ledge_type_name(m->type));
    LEDGE_TRY(ledge__nn_rank(c, 3, 1, 4));
    const int64_t full[4] = {s->batch, s->heads, s->q_len, keys_of(s)};
    for (int32_t d = 0; d < m->rank; d++) {
        int64_t want = full[4 - m->rank + d];
        if (d == m->rank - 1
                ? m->dims[d] > want && want >= 0
                : m->dims[d] != 1 && m->dims[d] >= 0 && want >= 0 && m->dims[d] != want)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "attn_mask has %lld in dimension %d, scores have %lld",
                                  (long long)m->dims[d], d, (long long)want);
    }
    return LEDGE_OK;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Sizes s;
    LEDGE_TRY(ledge__nn_need(c, 3, 0x37));
    LEDGE_TRY(sizes(c, &s));
    LEDGE_TRY(check_mask(c, &s));
    if (ledge__op_in(c, 6)) {
        LEDGE_TRY(ledge__op_need(c, 6, LEDGE_INT64));
        LEDGE_TRY(ledge__nn_count(c, 6, s.batch));
    }
    int64_t mode = ledge__node_int(c->node, "qk_matmul_output_mode", 0);
    if (mode < 0 || mode > 3)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "qk_matmul_output_mode must be 0 to 3");
    int64_t keys = keys_of(&s);
    int64_t y4[4] = {s.batch, s.heads, s.q_len, s.v_size};
    int64_t y3[3] = {s.batch, s.q_len, ledge__nn_times(s.heads, s.v_size)};
    int64_t pk[4] = {s.batch, s.kv_heads, keys, s.size};
    int64_t pv[4] = {s.batch, s.kv_heads, keys, s.v_size};
    int64_t qk[4] = {s.batch, s.heads, s.q_len, keys};
    if (c->in[0]->rank < 0)
        ledge__op_set_out(c, 0, c->in[0]->type, -1, y4);
    else
        ledge__op_set_out(c, 0, c->in[0]->type, s.flat ? 3 : 4, s.flat ? y3 : y4);
    ledge__op_set_out(c, 1, c->in[0]->type, 4, pk);
    ledge__op_set_out(c, 2, c->in[2]->type, 4, pv);
    ledge__op_set_out(c, 3, c->in[0]->type, 4, qk);
    return LEDGE_OK;
}

static void strides(const Sizes *s, LedgeAttentionRef *p)
{
    size_t h = (size_t)s->heads, kh = (size_t)s->kv_heads;
    p->q_row = p->size * (s->flat ? h : 1);
    p->k_row = p->size * (s->flat ? kh : 1);
    p->v_row = p->v_size * (s->flat ? kh : 1);
    p->y_row = p->v_size * (s->flat ? h : 1);
    p->q_head = p->size * (s->flat ? 1 : p->q_len);
    p->k_head = p->size * (s->flat ? 1 : p->kv_len);
    p->v_head = p->v_size * (s->flat ? 1 : p->kv_len);
    p->y_head = p->v_size * (s->flat ? 1 : p->q_len);
    p->q_batch = h * p->q_len * p->size;
    p->k_batch = kh * p->kv_len * p->size;
    p->v_batch = kh * p->kv_len * p->v_size;
    p->y_batch = h * p->q_len * p->v_size;
    p->past_k_batch = kh * p->past_len * p->size;
    p->past_v_batch = kh * p->past_len * p->v_size;
}

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *s, Sizes *z, LedgeAttentionRef *p,
                          int64_t **offset)
{
    LEDGE_TRY(sizes(c, z));
    *p = (LedgeAttentionRef){.batch = (size_t)z->batch,
                             .heads = (size_t)z->heads,
                             .kv_heads = (size_t)z->kv_heads,
                             .q_len = (size_t)z->q_len,
                             .kv_len = (size_t)z->kv_len,
                             .past_len = (size_t)z->past_len,
                             .size = (size_t)z->size,
                             .v_size = (size_t)z->v_size,
                             .left = -1,
                             .right = -1};
    strides(z, p);
    p->scratch = ledge__nn_take(s, ledge__attention_ref_scratch(p, ledge__pool_threads(c->pool)),
                                c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
    *offset = ledge__nn_take(s, ledge__op_in(c, 6) ? p->batch : 0, sizeof **offset);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Sizes z;
    LedgeAttentionRef p;
    int64_t *offset;
    LEDGE_TRY(layout(c, &s, &z, &p, &offset));
    return ledge__nn_ask(c, &s);
}

static void set_mask(const LedgeTensor *m, LedgeAttentionRef *p)
{
    if (!m)
        return;
    size_t stride = 1, *to[3] = {&p->bias_row, &p->bias_head, &p->bias_batch};
    p->bias_len = (size_t)m->dims[m->rank - 1];
    stride = p->bias_len;
    for (int32_t d = m->rank - 2, k = 0; d >= 0; d--, k++) {
        *to[k] = m->dims[d] == 1 ? 0 : stride;
        stride *= (size_t)m->dims[d];
    }
    if (m->type == LEDGE_BOOL)
        p->mask = m->data;
    else
        p->bias = m->data;
}

static LedgeStatus set_valid(LedgeOpCtx *c, LedgeAttentionRef *p, int64_t *offset)
{
    const LedgeTensor *t = ledge__op_in(c, 6);
    if (!t)
        return LEDGE_OK;
    p->valid = t->data;
    p->offset = offset;
    for (size_t b = 0; b < p->batch; b++) {
        if (p->valid[b] < 0 || p->valid[b] > (int64_t)p->kv_len)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "nonpad_kv_seqlen %lld is outside 0 to %zu",
                                  (long long)p->valid[b], p->kv_len);
        offset[b] = p->valid[b] - (int64_t)p->q_len;
    }
    return LEDGE_OK;
}

void ledge__nn_attention_join(void *to, const void *past, const void *fresh, size_t element,
                              const LedgeAttentionRef *p, size_t size, size_t batch, size_t head,
                              size_t row)
{
    char *out = to;
    size_t past_bytes = p->past_len * size * element;
    for (size_t i = 0; to && i < p->batch * p->kv_heads; i++) {
        const char *src = fresh;
        src += (i / p->kv_heads * batch + i % p->kv_heads * head) * element;
        if (past_bytes)
            memcpy(out, (const char *)past + i * past_bytes, past_bytes);
        out += past_bytes;
        for (size_t r = 0; r < p->kv_len; r++, out += size * element)
            memcpy(out, src + r * row * element, size * element);
    }
}

static void *data_of(const LedgeTensor *t)
{
    return t ? t->data : NULL;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Sizes z;
    LedgeAttentionRef p;
    int64_t *offset;
    LEDGE_TRY(layout(c, &s, &z, &p, &offset));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    const LedgeTensor *pk = ledge__op_in(c, 4), *pv = ledge__op_in(c, 5);
    p.q = c->in[0]->data;
    p.k = c->in[1]->data;
    p.v = c->in[2]->data;
    p.past_k = data_of(pk);
    p.past_v = data_of(pv);
    p.y = c->out[0]->data;
    p.qk = ledge__op_out(c, 3) ? c->out[3]->data : NULL;
    p.qk_mode = (int)ledge__node_int(c->node, "qk_matmul_output_mode", 0);
    p.causal = ledge__node_int(c->node, "is_causal", 0) != 0;
    p.left = ledge__node_int(c->node, "left_window_size", -1);
    p.right = ledge__node_int(c->node, "right_window_size", -1);
    p.softcap = ledge__node_float(c->node, "softcap", 0);
    p.scale = ledge__node_attr(c->node, "scale") ? ledge__node_float(c->node, "scale", 1)
              : p.size                           ? 1.0 / sqrt((double)p.size)
                                                 : 1.0;
    set_mask(ledge__op_in(c, 3), &p);
    LEDGE_TRY(set_valid(c, &p, offset));
    NN_CALL(c->in[0]->type, attention, &p, c->pool);
    size_t e = c->in[0]->type == LEDGE_DOUBLE ? 8 : 4;
    ledge__nn_attention_join(data_of(ledge__op_out(c, 1)), p.past_k, p.k, e, &p, p.size, p.k_batch,
                             p.k_head, p.k_row);
    ledge__nn_attention_join(data_of(ledge__op_out(c, 2)), p.past_v, p.v, e, &p, p.v_size,
                             p.v_batch, p.v_head, p.v_row);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    if (!ledge__op_out(c, 0))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "must have its first output");
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    Sizes s;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(c->in[0]) || !ledge__nn_known(c->in[1]) || sizes(&quiet, &s) ||
        keys_of(&s) < 0)
        return 0;
    return ledge__nn_macs((double)s.batch * (double)s.heads * (double)s.q_len *
                          (double)keys_of(&s) * (double)(s.size + s.v_size));
}

const LedgeOp ledge__ops_nn_attention[] = {
    {"", "Attention", 23, 0, 0, infer, prepare, run, macs},
    {0},
};
