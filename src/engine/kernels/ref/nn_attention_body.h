/* Attention for one type; included by nn_attention_ref.c with T, FN(x), EXP, TANH. A block of
 * query rows meets all keys at once, so scores stay in the caches. */

/* scores[rows][keys] = Q K', past keys first. */
static void FN(products)(const LedgeAttentionRef *p, size_t b, size_t h, size_t i0, size_t rows,
                         T *scores)
{
    size_t kv = h / (p->heads / p->kv_heads), keys = p->past_len + p->kv_len;
    LedgeMatmul g = {.m = rows, .n = p->past_len, .k = p->size, .a_row = p->q_row, .a_col = 1,
                     .b_row = 1, .b_col = p->size, .c = scores, .c_row = keys};
    g.a = (const T *)p->q + b * p->q_batch + h * p->q_head + i0 * p->q_row;
    if (p->past_len) {
        g.b = (const T *)p->past_k + b * p->past_k_batch + kv * p->past_len * p->size;
        FN(ledge__matmul)(&g);
    }
    g.n = p->kv_len;
    g.b = (const T *)p->k + b * p->k_batch + kv * p->k_head;
    g.b_col = p->k_row;
    g.c = scores + p->past_len;
    FN(ledge__matmul)(&g);
}

/* y rows = P V. */
static void FN(mix)(const LedgeAttentionRef *p, size_t b, size_t h, size_t i0, size_t rows,
                    const T *scores)
{
    size_t kv = h / (p->heads / p->kv_heads), keys = p->past_len + p->kv_len;
    LedgeMatmul g = {.m = rows, .n = p->v_size, .k = p->past_len, .a = scores, .a_row = keys,
                     .a_col = 1, .b_row = p->v_size, .b_col = 1, .c_row = p->y_row};
    g.c = (T *)p->y + b * p->y_batch + h * p->y_head + i0 * p->y_row;
    if (p->past_len) {
        g.b = (const T *)p->past_v + b * p->past_v_batch + kv * p->past_len * p->v_size;
        FN(ledge__matmul)(&g);
        g.add = true;
    }
    g.k = p->kv_len;
    g.a = scores + p->past_len;
    g.b = (const T *)p->v + b * p->v_batch + kv * p->v_head;
    g.b_row = p->v_row;
    FN(ledge__matmul)(&g);
}

/* Adds bias to a row and sets what is masked to -inf; false when all of it is. */
static bool FN(mask_row)(const LedgeAttentionRef *p, size_t b, size_t h, size_t i, T *s)
{
    size_t keys = p->past_len + p->kv_len, lo, hi;
    const size_t at = b * p->bias_batch + h * p->bias_head + i * p->bias_row;
    const T *bias = p->bias ? (const T *)p->bias + at : NULL;
    const uint8_t *mask = p->mask ? p->mask + at : NULL;
    bool any = false;
    visible(p, b, i, &lo, &hi);
    if ((bias || mask) && p->bias_len < hi)
        hi = p->bias_len;
    for (size_t j = 0; j < keys; j++) {
        if (j < lo || j >= hi || (mask && !mask[j]) || (bias && bias[j] == -(T)INFINITY)) {
            s[j] = -(T)INFINITY;
            continue;
        }
        any = true;
        s[j] += bias ? bias[j] : 0;
    }
    return any;
}

static void FN(soft_row)(T *s, size_t n, bool any)
{
    T top = -(T)INFINITY, sum = 0;
    if (!any) {
        memset(s, 0, n * sizeof(T));
        return;
    }
    for (size_t j = 0; j < n; j++)
        top = s[j] > top ? s[j] : top;
    for (size_t j = 0; j < n; j++) {
        s[j] = EXP(s[j] - top);
        sum += s[j];
    }
    sum = 1 / sum;
    for (size_t j = 0; j < n; j++)
        s[j] *= sum;
}

static void FN(attention_block)(const LedgeAttentionRef *p, size_t item, T *scores)
{
    size_t blocks = (p->q_len + NN_ROWS - 1) / NN_ROWS, keys = p->past_len + p->kv_len;
    size_t i0 = item % blocks * NN_ROWS, h = item / blocks % p->heads, b = item / blocks / p->heads;
    size_t rows = p->q_len - i0 < NN_ROWS ? p->q_len - i0 : NN_ROWS;
    T *qk = p->qk ? (T *)p->qk + ((b * p->heads + h) * p->q_len + i0) * keys : NULL;
    size_t bytes = keys * sizeof(T);
    FN(products)(p, b, h, i0, rows, scores);
    for (size_t r = 0; r < rows; r++) {
        T *s = scores + r * keys, cap = (T)p->softcap;
        for (size_t j = 0; j < keys; j++)
            s[j] *= (T)p->scale;
        if (qk && p->qk_mode == 0)
            memcpy(qk + r * keys, s, bytes);
        for (size_t j = 0; cap > 0 && j < keys; j++)
            s[j] = cap * TANH(s[j] / cap);
        if (qk && p->qk_mode == 1)
            memcpy(qk + r * keys, s, bytes);
        bool any = FN(mask_row)(p, b, h, i0 + r, s);
        if (qk && p->qk_mode == 2)
            memcpy(qk + r * keys, s, bytes);
        FN(soft_row)(s, keys, any);
        if (qk && p->qk_mode == 3)
            memcpy(qk + r * keys, s, bytes);
    }
    FN(mix)(p, b, h, i0, rows, scores);
}

static void FN(attention_items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeAttentionRef *p = arg;
    T *scores = (T *)p->scratch + (size_t)thread * NN_ROWS * (p->past_len + p->kv_len);
    for (size_t i = begin; i < end; i++)
        FN(attention_block)(p, i, scores);
}

void FN(ledge__attention)(const LedgeAttentionRef *p, LedgePool *pool)
{
    size_t blocks = (p->q_len + NN_ROWS - 1) / NN_ROWS;
    ledge__pool_run(pool, p->batch * p->heads * blocks, 1, FN(attention_items), (void *)p);
}
