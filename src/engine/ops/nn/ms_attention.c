/* com.microsoft Attention (projects its input itself) and MultiHeadAttention: multi-head
 * attention with padding masks, added bias and key/value cache, on the common kernel. */
#include "engine/ops/nn/attention.h"

#include <math.h>

/* What both operators come down to. */
typedef struct Sizes {
    int64_t batch, heads, q_len, kv_len, past_len;
    int64_t q_hidden, k_hidden, v_hidden, in; /* over all heads; `in`: Attention's input width */
    enum { FLAT, HEADS, PACKED_KV, PACKED_QKV } form; /* how MultiHeadAttention's K and V lie */
    uint32_t mask, bias; /* input indices of padding mask and of added bias */
} Sizes;

static LedgeStatus refuse(LedgeOpCtx *c, const char *what)
{
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "%s is not supported", what);
}

static LedgeStatus head_count(LedgeOpCtx *c, Sizes *s)
{
    s->heads = ledge__node_int(c->node, "num_heads", 0);
    if (s->heads < 1 || s->q_hidden % s->heads || s->k_hidden % s->heads || s->v_hidden % s->heads)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "num_heads must divide the hidden sizes");
    return ledge__nn_same(c, "hidden sizes of Q and K", s->q_hidden, s->k_hidden);
}

static int64_t keys_of(const Sizes *s)
{
    return s->kv_len + s->past_len;
}

/* ---- padding mask and bias as one added tensor ---- */

static LedgeStatus check_masks(LedgeOpCtx *c, const Sizes *s)
{
    const LedgeTensor *m = ledge__op_in(c, s->mask), *b = ledge__op_in(c, s->bias);
    if (m) {
        LEDGE_TRY(ledge__op_need(c, s->mask, LEDGE_INT32));
        int64_t keys = keys_of(s), n = ledge_tensor_count(m);
        bool fits = m->rank == 1   ? n == s->batch || n == 2 * s->batch
                    : m->rank == 2 ? m->dims[0] == s->batch && m->dims[1] == keys
                    : m->rank == 3 ? m->dims[0] == s->batch && m->dims[1] == s->q_len &&
                                         m->dims[2] == keys
                                   : false;
        if (!fits)
            return refuse(c, "this shape of mask");
    }
    if (b) {
        const int64_t full[4] = {s->batch, s->heads, s->q_len, keys_of(s)};
        if (b->rank != 4)
            return refuse(c, "attention bias that is not of rank 4");
        for (int d = 0; d < 4; d++)
            if (b->dims[d] != full[d] && !(d < 2 && b->dims[d] == 1))
                return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "attention bias does not fit");
    }
    return LEDGE_OK;
}

static void bias_dims(const LedgeOpCtx *c, const Sizes *s, int64_t *dims)
{
    const LedgeTensor *m = ledge__op_in(c, s->mask), *b = ledge__op_in(c, s->bias);
    dims[0] = s->batch;
    dims[1] = b ? s->heads : 1;
    dims[2] = b || (m && m->rank == 3) ? s->q_len : 1;
    dims[3] = m || b ? keys_of(s) : 0;
}

static bool is_masked(const LedgeTensor *m, const Sizes *s, int64_t b, int64_t i, int64_t j)
{
    const int32_t *v = m->data;
    int64_t keys = keys_of(s);
    if (m->rank == 1) /* ends, then optionally starts */
        return j >= v[b] || (m->dims[0] == 2 * s->batch && j < v[s->batch + b]);
    return v[m->rank == 2 ? b * keys + j : (b * s->q_len + i) * keys + j] == 0;
}

static void fill_bias(const LedgeOpCtx *c, const Sizes *s, const int64_t *dims, bool is_double,
                      void *to)
{
    const LedgeTensor *m = ledge__op_in(c, s->mask), *add = ledge__op_in(c, s->bias);
    double filter = ledge__node_float(c->node, "mask_filter_value", -10000.0f);
    size_t e = 0;
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t h = 0; h < dims[1]; h++)
            for (int64_t i = 0; i < dims[2]; i++)
                for (int64_t j = 0; j < dims[3]; j++, e++) {
                    double v = m && is_masked(m, s, b, i, j) ? filter : 0;
                    if (add) {
                        int64_t ab = add->dims[0] == 1 ? 0 : b, ah = add->dims[1] == 1 ? 0 : h;
                        v += ledge__nn_at(add, ((ab * add->dims[1] + ah) * dims[2] + i) * dims[3] +
                                                   j);
                    }
                    if (is_double)
                        ((double *)to)[e] = v;
                    else
                        ((float *)to)[e] = (float)v;
                }
}

/* ---- sizes ---- */

static LedgeStatus attention_sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *x = c->in[0], *w = c->in[1], *past = ledge__op_in(c, 4);
    size_t n;
    const int64_t *hidden = ledge__node_ints(c->node, "qkv_hidden_sizes", &n);
    *s = (Sizes){.batch = x->dims[0], .q_len = x->dims[1], .kv_len = x->dims[1], .in = x->dims[2],
                 .mask = 3, .bias = 5};
    if (hidden && n == 3) {
        s->q_hidden = hidden[0];
        s->k_hidden = hidden[1];
        s->v_hidden = hidden[2];
    } else {
        s->q_hidden = s->k_hidden = s->v_hidden = w->dims[1] / 3;
    }
    if (s->q_hidden < 1 || s->k_hidden < 1 || s->v_hidden < 1 || s->q_hidden > w->dims[1] ||
        s->k_hidden > w->dims[1] || s->v_hidden > w->dims[1] ||
        s->q_hidden + s->k_hidden + s->v_hidden != w->dims[1])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "hidden sizes do not make up the weights");
    LEDGE_TRY(ledge__nn_same(c, "input width and weights", s->in, w->dims[0]));
    LEDGE_TRY(head_count(c, s));
    LEDGE_TRY(ledge__nn_count(c, 2, w->dims[1]));
    if (past) {
        const int64_t want[5] = {2, s->batch, s->heads, -1, s->k_hidden / s->heads};
        LEDGE_TRY(ledge__nn_rank(c, 4, 5, 5));
        for (int d = 0; d < 5; d++)
            LEDGE_TRY(ledge__nn_same(c, "past", past->dims[d], want[d]));
        LEDGE_TRY(ledge__nn_same(c, "hidden sizes of K and V with past", s->k_hidden,
                                 s->v_hidden));
        s->past_len = past->dims[3];
    }
    if (ledge__op_out(c, 1) && s->k_hidden != s->v_hidden)
        return refuse(c, "a present output with different sizes of K and V");
    if (ledge__op_in(c, 6) || ledge__node_int(c->node, "do_rotary", 0))
        return refuse(c, "do_rotary or past_sequence_length");
    return check_masks(c, s);
}

static LedgeStatus mha_keys(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *q = c->in[0], *k = ledge__op_in(c, 1), *v = ledge__op_in(c, 2);
    if (q->rank == 5) {
        s->form = PACKED_QKV;
        s->kv_len = s->q_len;
        s->k_hidden = s->v_hidden = s->q_hidden;
        return k || v || q->dims[3] != 3 ? refuse(c, "this packing of the query") : LEDGE_OK;
    }
    if (!k)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "input 1 (key) is missing");
    LEDGE_TRY(ledge__nn_same(c, "batch", k->dims[0], s->batch));
    if (k->rank == 5 && !v) {
        s->form = PACKED_KV;
        s->kv_len = k->dims[1];
        s->k_hidden = s->v_hidden = k->dims[2] * k->dims[4];
        LEDGE_TRY(ledge__nn_same(c, "heads of the key", k->dims[2],
                                 ledge__node_int(c->node, "num_heads", 0)));
        return k->dims[3] != 2 ? refuse(c, "this packing of the key") : LEDGE_OK;
    }
    if (!v || k->rank != v->rank || (k->rank != 3 && k->rank != 4))
        return refuse(c, "this combination of key and value");
    LEDGE_TRY(ledge__nn_same(c, "batch", v->dims[0], s->batch));
    s->form = k->rank == 4 ? HEADS : FLAT;
    int length = k->rank - 2;
    s->kv_len = k->dims[length];
    LEDGE_TRY(ledge__nn_same(c, "lengths of key and value", s->kv_len, v->dims[length]));
    s->k_hidden = k->dims[k->rank - 1] * (k->rank == 4 ? k->dims[1] : 1);
    s->v_hidden = v->dims[v->rank - 1] * (v->rank == 4 ? v->dims[1] : 1);
    if (k->rank == 4)
        for (uint32_t i = 1; i < 3; i++)
            LEDGE_TRY(ledge__nn_same(c, "heads of key and value", c->in[i]->dims[1],
                                     ledge__node_int(c->node, "num_heads", 0)));
    return LEDGE_OK;
}

static LedgeStatus mha_sizes(LedgeOpCtx *c, Sizes *s)
{
    const LedgeTensor *q = c->in[0], *pk = ledge__op_in(c, 6), *pv = ledge__op_in(c, 7);
    *s = (Sizes){.batch = q->dims[0], .q_len = q->dims[1], .mask = 4, .bias = 5};
    if (q->rank != 3 && q->rank != 5)
        return refuse(c, "a query that is not of rank 3 or 5");
    s->q_hidden = q->rank == 5 ? q->dims[2] * q->dims[4] : q->dims[2];
    LEDGE_TRY(mha_keys(c, s));
    LEDGE_TRY(head_count(c, s));
    if (q->rank == 5)
        LEDGE_TRY(ledge__nn_same(c, "heads of the query", q->dims[2], s->heads));
    if (ledge__op_in(c, 3) && s->form != FLAT)
        return refuse(c, "a projection bias with packed inputs");
    LEDGE_TRY(ledge__nn_count(c, 3, s->q_hidden + s->k_hidden + s->v_hidden));
    if (!pk != !pv)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "past_key and past_value go together");
    for (uint32_t i = 6; pk && i < 8; i++) {
        const LedgeTensor *t = c->in[i];
        const int64_t want[4] = {s->batch, s->heads, pk->rank == 4 ? pk->dims[2] : -1,
                                 (i == 6 ? s->k_hidden : s->v_hidden) / s->heads};
        LEDGE_TRY(ledge__nn_rank(c, i, 4, 4));
        for (int d = 0; d < 4; d++)
            LEDGE_TRY(ledge__nn_same(c, "past", t->dims[d], want[d]));
        s->past_len = t->dims[2];
    }
    for (uint32_t i = 8; i < 10; i++)
        if (ledge__op_in(c, i))
            return refuse(c, "past_sequence_length or cache_indirection");
    return check_masks(c, s);
}

static bool is_mha(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'M';
}

static LedgeStatus sizes(LedgeOpCtx *c, Sizes *s)
{
    return is_mha(c) ? mha_sizes(c, s) : attention_sizes(c, s);
}

static bool all_known(const LedgeOpCtx *c)
{
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] && !ledge__nn_known(c->in[i]))
            return false;
    return true;
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    Sizes s;
    LEDGE_TRY(ledge__nn_need(c, is_mha(c) ? 1 : 2, is_mha(c) ? 0xef : 0x37));
    LedgeType t = c->in[0]->type;
    if (!is_mha(c)) {
        LEDGE_TRY(ledge__nn_rank(c, 0, 3, 3));
        LEDGE_TRY(ledge__nn_rank(c, 1, 2, 2));
    }
    int64_t y[3] = {-1, -1, -1}, present[5] = {2, -1, -1, -1, -1}, qk[4] = {-1, -1, -1, -1};
    if (c->in[0]->rank >= 2) {
        y[0] = present[1] = c->in[0]->dims[0];
        y[1] = c->in[0]->dims[1];
    }
    if (all_known(c)) {
        LEDGE_TRY(sizes(c, &s));
        y[2] = s.v_hidden;
        present[2] = qk[1] = s.heads;
        present[3] = qk[3] = keys_of(&s);
        present[4] = s.k_hidden / s.heads;
        qk[0] = s.batch;
        qk[2] = s.q_len;
    }
    ledge__op_set_out(c, 0, t, 3, y);
    if (is_mha(c)) {
        ledge__op_set_out(c, 1, t, 4, present + 1);
        present[4] = all_known(c) ? s.v_hidden / s.heads : -1;
        ledge__op_set_out(c, 2, t, 4, present + 1);
        ledge__op_set_out(c, 3, t, 4, qk);
    } else {
        ledge__op_set_out(c, 1, t, 5, present);
    }
    return LEDGE_OK;
}

/* ---- running ---- */

typedef struct Work {
    Sizes s;
    LedgeAttentionRef p;
    int64_t bias_shape[4];
    void *projected; /* Attention: Q K V side by side; MultiHeadAttention: with bias added */
    void *bias;
} Work;

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *scratch, Work *w)
{
    LEDGE_TRY(sizes(c, &w->s));
    const Sizes *s = &w->s;
    size_t e = c->in[0]->type == LEDGE_DOUBLE ? 8 : 4;
    w->p = (LedgeAttentionRef){.batch = (size_t)s->batch,
                               .heads = (size_t)s->heads,
                               .kv_heads = (size_t)s->heads,
                               .q_len = (size_t)s->q_len,
                               .kv_len = (size_t)s->kv_len,
                               .past_len = (size_t)s->past_len,
                               .size = (size_t)(s->q_hidden / s->heads),
                               .v_size = (size_t)(s->v_hidden / s->heads),
                               .left = -1,
                               .right = -1};
    size_t q = (size_t)(s->batch * s->q_len * s->q_hidden);
    size_t kv = (size_t)(s->batch * s->kv_len * (s->k_hidden + s->v_hidden));
    bool wants = !is_mha(c) || ledge__op_in(c, 3);
    bias_dims(c, s, w->bias_shape);
    w->projected = ledge__nn_take(scratch, wants ? q + kv : 0, e);
    w->bias = ledge__nn_take(scratch, ledge__nn_product(w->bias_shape, 0, 4), e);
    w->p.scratch = ledge__nn_take(
        scratch, ledge__attention_ref_scratch(&w->p, ledge__pool_threads(c->pool)), e);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Work w;
    LEDGE_TRY(layout(c, &s, &w));
    return ledge__nn_ask(c, &s);
}

/* rows x n of `from` plus a bias row; from may be `to`. */
static void add_row_bias(LedgeType t, const void *from, const void *bias, size_t first, size_t rows,
                         size_t n, void *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            if (t == LEDGE_DOUBLE)
                ((double *)to)[r * n + i] =
                    ((const double *)from)[r * n + i] + ((const double *)bias)[first + i];
            else
                ((float *)to)[r * n + i] =
                    ((const float *)from)[r * n + i] + ((const float *)bias)[first + i];
}

static void strides(Work *w, size_t q_row, size_t k_row, size_t v_row, size_t q_head, size_t k_head,
                    size_t v_head)
{
    LedgeAttentionRef *p = &w->p;
    p->q_row = q_row;
    p->k_row = k_row;
    p->v_row = v_row;
    p->q_head = q_head;
    p->k_head = k_head;
    p->v_head = v_head;
    p->q_batch = q_row * p->q_len;
    p->k_batch = k_row * p->kv_len;
    p->v_batch = v_row * p->kv_len;
}

static void project(LedgeOpCtx *c, Work *w)
{
    const Sizes *s = &w->s;
    LedgeType t = c->in[0]->type;
    size_t rows = (size_t)(s->batch * s->q_len), n = (size_t)c->in[1]->dims[1];
    size_t e = t == LEDGE_DOUBLE ? 8 : 4;
    LedgeMatmulBatch g = {.one = {.m = rows, .n = n, .k = (size_t)s->in, .a = c->in[0]->data,
                                  .b = c->in[1]->data, .c = w->projected, .a_row = (size_t)s->in,
                                  .a_col = 1, .b_row = n, .b_col = 1, .c_row = n}};
    NN_CALL(t, matmul_batch, &g, c->pool);
    if (ledge__op_in(c, 2))
        add_row_bias(t, w->projected, c->in[2]->data, 0, rows, n, w->projected);
    strides(w, n, n, n, w->p.size, w->p.size, w->p.v_size);
    w->p.q = w->projected;
    w->p.k = (const char *)w->projected + (size_t)s->q_hidden * e;
    w->p.v = (const char *)w->projected + (size_t)(s->q_hidden + s->k_hidden) * e;
}

static void gather(LedgeOpCtx *c, Work *w)
{
    const Sizes *s = &w->s;
    LedgeAttentionRef *p = &w->p;
    LedgeType t = c->in[0]->type;
    size_t e = t == LEDGE_DOUBLE ? 8 : 4, q = (size_t)s->q_hidden, k = (size_t)s->k_hidden;
    size_t v = (size_t)s->v_hidden, d = p->size, dv = p->v_size;
    const LedgeTensor *key = ledge__op_in(c, 1), *value = ledge__op_in(c, 2);
    p->q = c->in[0]->data;
    p->k = key ? key->data : NULL;
    p->v = value ? value->data : NULL;
    strides(w, q, k, v, d, d, dv);
    if (s->form == HEADS) {
        p->k_row = d;
        p->v_row = dv;
        p->k_head = d * p->kv_len;
        p->v_head = dv * p->kv_len;
    } else if (s->form == PACKED_KV) {
        strides(w, q, 2 * k, 2 * k, d, 2 * d, 2 * d);
        p->v = (const char *)p->k + d * e;
    } else if (s->form == PACKED_QKV) {
        strides(w, 3 * q, 3 * q, 3 * q, 3 * d, 3 * d, 3 * d);
        p->k = (const char *)p->q + d * e;
        p->v = (const char *)p->q + 2 * d * e;
    } else if (ledge__op_in(c, 3)) {
        size_t q_rows = (size_t)(s->batch * s->q_len), kv_rows = (size_t)(s->batch * s->kv_len);
        char *to = w->projected, *to_k = to + q_rows * q * e, *to_v = to_k + kv_rows * k * e;
        add_row_bias(t, p->q, c->in[3]->data, 0, q_rows, q, to);
        add_row_bias(t, p->k, c->in[3]->data, q, kv_rows, k, to_k);
        add_row_bias(t, p->v, c->in[3]->data, q + k, kv_rows, v, to_v);
        p->q = to;
        p->k = to_k;
        p->v = to_v;
    }
}

static void *data_of(const LedgeTensor *t)
{
    return t ? t->data : NULL;
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Work w = {0};
    LEDGE_TRY(layout(c, &s, &w));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    LedgeAttentionRef *p = &w.p;
    size_t e = c->in[0]->type == LEDGE_DOUBLE ? 8 : 4;
    size_t heads = p->heads, past = p->batch * heads * p->past_len * p->size;
    if (is_mha(c))
        gather(c, &w);
    else
        project(c, &w);
    p->past_k = data_of(ledge__op_in(c, is_mha(c) ? 6 : 4));
    p->past_v = is_mha(c)    ? data_of(ledge__op_in(c, 7))
                : p->past_k ? (const char *)p->past_k + past * e
                            : NULL;
    p->past_k_batch = heads * p->past_len * p->size;
    p->past_v_batch = heads * p->past_len * p->v_size;
    if (w.bias_shape[3]) {
        fill_bias(c, &w.s, w.bias_shape, e == 8, w.bias);
        p->bias = w.bias;
        p->bias_len = (size_t)w.bias_shape[3];
        p->bias_row = w.bias_shape[2] == 1 ? 0 : p->bias_len;
        p->bias_head = w.bias_shape[1] == 1 ? 0 : p->bias_len * (size_t)w.bias_shape[2];
        p->bias_batch = p->bias_len * (size_t)(w.bias_shape[1] * w.bias_shape[2]);
    }
    float scale = ledge__node_float(c->node, "scale", 0);
    p->scale = scale != 0 ? scale : 1.0 / sqrt((double)p->size);
    p->causal = ledge__node_int(c->node, "unidirectional", 0) != 0;
    p->y = c->out[0]->data;
    p->y_row = heads * p->v_size;
    p->y_head = p->v_size;
    p->y_batch = p->q_len * p->y_row;
    p->qk = is_mha(c) ? data_of(ledge__op_out(c, 3)) : NULL;
    NN_CALL(c->in[0]->type, attention, p, c->pool);
    char *present = data_of(ledge__op_out(c, 1));
    size_t keys = p->batch * heads * (p->past_len + p->kv_len) * p->size;
    ledge__nn_attention_join(present, p->past_k, p->k, e, p, p->size, p->k_batch, p->k_head,
                             p->k_row);
    ledge__nn_attention_join(is_mha(c) ? data_of(ledge__op_out(c, 2))
                             : present ? present + keys * e
                                       : NULL,
                             p->past_v, p->v, e, p, p->v_size, p->v_batch, p->v_head, p->v_row);
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    if (!ledge__op_out(c, 0))
        return refuse(c, "leaving out the first output");
    return ledge__nn_run_float(c, body);
}

static int64_t macs(const LedgeOpCtx *c)
{
    Sizes s;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!all_known(c) || sizes(&quiet, &s))
        return 0;
    double rows = (double)s.batch * (double)s.q_len;
    double own = is_mha(c) ? 0 : rows * (double)s.in * (double)c->in[1]->dims[1];
    return ledge__nn_macs(own + rows * (double)keys_of(&s) * (double)(s.q_hidden + s.v_hidden));
}

const LedgeOp ledge__ops_nn_ms_attention[] = {
    {"com.microsoft", "Attention", 1, 0, 0, infer, prepare, run, macs},
    {"com.microsoft", "MultiHeadAttention", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
