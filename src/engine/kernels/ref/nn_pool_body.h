/* Pooling of one plane for one type; included by nn_pool_ref.c with T, FN(x), LOWEST, IS_NAN,
 * POWER(x, p) = |x|^p and ROOT(x, p). */

static inline __attribute__((always_inline)) void FN(pool_plane)(const LedgePoolRef *p,
                                                                 size_t plane, const int op)
{
    const LedgeWindow *w = &p->w;
    int last = w->nd - 1;
    size_t in = product(w->in, w->nd), out = product(w->out, w->nd);
    const T *x = (const T *)p->x + plane * in;
    T *y = (T *)p->y + plane * out;
    int64_t o[NN_MAX_SPATIAL] = {0};
    for (size_t e = 0; e < out; e++, next_index(o, w->out, w->nd)) {
        Span s;
        bool any = window_span(w, o, &s);
        T best = LOWEST, sum = 0;
        int64_t best_at = -1;
        int64_t k[NN_MAX_SPATIAL];
        memcpy(k, s.lo, sizeof k);
        while (any) {
            int64_t row = row_offset(w, &s, k), step = w->dilation[last];
            for (int64_t i = s.lo[last]; i < s.hi[last]; i++) {
                T v = x[row + i * step];
                if (op == OP_MAX && (v > best || best_at < 0 || IS_NAN(v))) {
                    best = v;
                    best_at = row + i * step;
                }
                if (op == OP_AVERAGE)
                    sum += v;
                if (op == OP_LP)
                    sum += (T)POWER(v, p->p);
            }
            any = next_row(k, &s, w->nd);
        }
        if (op == OP_AVERAGE) {
            int64_t n = p->count_pads ? s.padded_count : s.count;
            y[e] = n ? (T)(sum / (T)n) : 0;
        } else if (op == OP_LP) {
            y[e] = (T)ROOT(sum, p->p);
        } else {
            y[e] = best;
            if (p->indices)
                p->indices[plane * out + e] =
                    (int64_t)(plane * in) +
                    (p->column_major ? column_major(w, best_at) : best_at < 0 ? 0 : best_at);
        }
    }
}

static void FN(max_items)(void *arg, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t i = begin; i < end; i++)
        FN(pool_plane)(arg, i, OP_MAX);
}

void FN(ledge__max_pool)(const LedgePoolRef *p, LedgePool *pool)
{
    ledge__pool_run(pool, (size_t)p->planes, 1, FN(max_items), (void *)p);
}
