/* RNN, GRU and LSTM of one direction for one type; included by nn_rnn_ref.c with T, FN(x).
 * The input's part of all steps is one large product; then each step adds the state's part. */

typedef struct FN(Rnn) {
    const LedgeRnnRef *p;
    LedgePool *pool;
    T *xw, *gates, *h, *c, *part;
} FN(Rnn);

static void FN(project)(const FN(Rnn) *q)
{
    const LedgeRnnRef *p = q->p;
    size_t n = p->gates * p->hidden, rows = p->seq * p->batch;
    LedgeMatmulBatch g = {.one = {.m = rows, .n = n, .k = p->in, .a = p->x, .b = p->w, .c = q->xw,
                                  .a_row = p->in, .a_col = 1, .b_row = 1, .b_col = p->in,
                                  .c_row = n}};
    FN(ledge__matmul_batch)(&g, q->pool);
    if (!p->b)
        return;
    const T *wb = p->b, *rb = wb + n;
    /* GRU with linear_before_reset resets h's recurrent bias too, so it comes later. */
    size_t both = p->gates == 3 && p->linear_before_reset ? 2 * p->hidden : n;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            q->xw[r * n + j] += wb[j] + (j < both ? rb[j] : 0);
}

/* to[batch][columns] += a[batch][hidden] * (rows first … of R)' */
static void FN(add_state)(const FN(Rnn) *q, const T *a, size_t first, size_t columns, T *to,
                          size_t to_row)
{
    const LedgeRnnRef *p = q->p;
    LedgeMatmulBatch g = {.one = {.m = p->batch, .n = columns, .k = p->hidden, .a = a,
                                  .b = (const T *)p->r + first * p->hidden, .c = to,
                                  .a_row = p->hidden, .a_col = 1, .b_row = 1, .b_col = p->hidden,
                                  .c_row = to_row, .add = true}};
    FN(ledge__matmul_batch)(&g, q->pool);
}

static void FN(clip)(const LedgeRnnRef *p, T *v, size_t n)
{
    T top = (T)p->clip;
    for (size_t i = 0; p->clip > 0 && i < n; i++)
        v[i] = v[i] < -top ? -top : v[i] > top ? top : v[i];
}

static void FN(activate)(const LedgeRnnRef *p, int which, T *v, size_t n)
{
    FN(clip)(p, v, n);
    FN(ledge__activate)(&p->act[which], v, n);
}

/* ---- one step of one batch row; g: this row's gates ---- */

static void FN(lstm_row)(const FN(Rnn) *q, T *g, T *h, T *c)
{
    const LedgeRnnRef *p = q->p;
    size_t n = p->hidden;
    T *gi = g, *go = g + n, *gf = g + 2 * n, *gc = g + 3 * n;
    const T *pi = p->peephole, *po = pi ? pi + n : NULL, *pf = pi ? pi + 2 * n : NULL;
    for (size_t i = 0; pi && i < n; i++) {
        gi[i] += pi[i] * c[i];
        gf[i] += pf[i] * c[i];
    }
    FN(activate)(p, 0, gi, n);
    if (p->input_forget)
        for (size_t i = 0; i < n; i++)
            gf[i] = 1 - gi[i];
    else
        FN(activate)(p, 0, gf, n);
    FN(activate)(p, 1, gc, n);
    for (size_t i = 0; i < n; i++)
        c[i] = gf[i] * c[i] + gi[i] * gc[i];
    for (size_t i = 0; pi && i < n; i++)
        go[i] += po[i] * c[i];
    FN(activate)(p, 0, go, n);
    memcpy(h, c, n * sizeof(T));
    FN(ledge__activate)(&p->act[2], h, n);
    for (size_t i = 0; i < n; i++)
        h[i] *= go[i];
}

static void FN(gru_rows)(const FN(Rnn) *q, size_t step)
{
    const LedgeRnnRef *p = q->p;
    size_t n = p->hidden, row = 3 * n;
    FN(add_state)(q, q->h, 0, 2 * n, q->gates, row);
    for (size_t b = 0; b < p->batch; b++)
        FN(activate)(p, 0, q->gates + b * row, 2 * n);
    if (p->linear_before_reset) {
        const T *rb = p->b ? (const T *)p->b + 5 * n : NULL;
        memset(q->part, 0, p->batch * n * sizeof(T));
        FN(add_state)(q, q->h, 2 * n, n, q->part, n);
        for (size_t b = 0; b < p->batch; b++)
            for (size_t i = 0; i < n; i++)
                q->gates[b * row + 2 * n + i] +=
                    q->gates[b * row + n + i] * (q->part[b * n + i] + (rb ? rb[i] : 0));
    } else {
        for (size_t b = 0; b < p->batch; b++)
            for (size_t i = 0; i < n; i++)
                q->part[b * n + i] = q->gates[b * row + n + i] * q->h[b * n + i];
        FN(add_state)(q, q->part, 2 * n, n, q->gates + 2 * n, row);
    }
    for (size_t b = 0; b < p->batch; b++) {
        T *z = q->gates + b * row, *fresh = z + 2 * n, *h = q->h + b * n;
        if (p->lens && step >= (size_t)p->lens[b])
            continue;
        FN(activate)(p, 1, fresh, n);
        for (size_t i = 0; i < n; i++)
            h[i] = (1 - z[i]) * fresh[i] + z[i] * h[i];
    }
}

static void FN(plain_rows)(const FN(Rnn) *q, size_t step)
{
    const LedgeRnnRef *p = q->p;
    size_t n = p->hidden;
    FN(add_state)(q, q->h, 0, p->gates * n, q->gates, p->gates * n);
    for (size_t b = 0; b < p->batch; b++) {
        T *g = q->gates + b * p->gates * n;
        if (p->lens && step >= (size_t)p->lens[b])
            continue;
        if (p->gates == 4) {
            FN(lstm_row)(q, g, q->h + b * n, q->c + b * n);
        } else {
            FN(activate)(p, 0, g, n);
            memcpy(q->h + b * n, g, n * sizeof(T));
        }
    }
}

/* Which time of the sequence step `step` of row `b` works on. */
static void FN(step)(const FN(Rnn) *q, size_t step)
{
    const LedgeRnnRef *p = q->p;
    size_t n = p->gates * p->hidden;
    for (size_t b = 0; b < p->batch; b++) {
        size_t time = time_of(p, b, step);
        memcpy(q->gates + b * n, q->xw + (time * p->x_time + b * p->x_batch) * n,
               n * sizeof(T));
    }
    if (p->gates == 3)
        FN(gru_rows)(q, step);
    else
        FN(plain_rows)(q, step);
    for (size_t b = 0; p->y && b < p->batch; b++) {
        T *y = (T *)p->y + time_of(p, b, step) * p->y_time + b * p->y_batch;
        if (p->lens && step >= (size_t)p->lens[b])
            memset(y, 0, p->hidden * sizeof(T));
        else
            memcpy(y, q->h + b * p->hidden, p->hidden * sizeof(T));
    }
}

static void FN(load_state)(const LedgeRnnRef *p, const void *from, T *to)
{
    for (size_t b = 0; b < p->batch; b++)
        if (from)
            memcpy(to + b * p->hidden, (const T *)from + b * p->state_batch,
                   p->hidden * sizeof(T));
        else
            memset(to + b * p->hidden, 0, p->hidden * sizeof(T));
}

/* A sequence of no steps ends in zeros, as ONNX Runtime has it; the text leaves it open. */
static void FN(save_state)(const LedgeRnnRef *p, const T *from, void *to)
{
    for (size_t b = 0; to && b < p->batch; b++)
        if (p->lens && p->lens[b] == 0)
            memset((T *)to + b * p->state_batch, 0, p->hidden * sizeof(T));
        else
            memcpy((T *)to + b * p->state_batch, from + b * p->hidden, p->hidden * sizeof(T));
}

void FN(ledge__rnn)(const LedgeRnnRef *p, LedgePool *pool)
{
    FN(Rnn) q = {.p = p, .pool = pool, .xw = p->scratch};
    q.gates = q.xw + p->seq * p->batch * p->gates * p->hidden;
    q.h = q.gates + p->batch * p->gates * p->hidden;
    q.c = q.h + p->batch * p->hidden;
    q.part = q.c + p->batch * p->hidden;
    FN(load_state)(p, p->h0, q.h);
    FN(load_state)(p, p->c0, q.c);
    if (p->hidden && p->batch) {
        FN(project)(&q);
        for (size_t t = 0; t < p->seq; t++)
            FN(step)(&q, t);
    }
    FN(save_state)(p, q.h, p->yh);
    FN(save_state)(p, q.c, p->yc);
}
