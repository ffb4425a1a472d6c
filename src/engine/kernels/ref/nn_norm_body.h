/* Softmax and normalisations for one type; included by nn_norm_ref.c with T, FN(x), EXP, LOG,
 * SQRT, POW, FABS. Sums run in eight lanes of fixed order: fast and the same everywhere. */

static T FN(sum)(const T *x, size_t n)
{
    T s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            s[l] += x[i + l];
    for (int l = 0; i < n; i++, l++)
        s[l] += x[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* Sum of (x - m)^2. */
static T FN(sum_squares)(const T *x, size_t n, T m)
{
    T s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            s[l] += (x[i + l] - m) * (x[i + l] - m);
    for (int l = 0; i < n; i++, l++)
        s[l] += (x[i] - m) * (x[i] - m);
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* ---- softmax family ---- */

/* Up to NN_LANES rows side by side, element e of lane j at x[e*inner + j]. */
static void FN(softmax_lanes)(const T *x, T *y, size_t size, size_t inner, size_t lanes, bool logs)
{
    T top[NN_LANES], sum[NN_LANES];
    for (size_t j = 0; j < lanes; j++) {
        top[j] = x[j];
        sum[j] = 0;
    }
    for (size_t e = 1; e < size; e++)
        for (size_t j = 0; j < lanes; j++)
            top[j] = x[e * inner + j] > top[j] ? x[e * inner + j] : top[j];
    for (size_t e = 0; e < size; e++)
        for (size_t j = 0; j < lanes; j++) {
            T d = x[e * inner + j] - top[j], v = EXP(d);
            sum[j] += v;
            y[e * inner + j] = logs ? d : v;
        }
    for (size_t j = 0; j < lanes; j++)
        sum[j] = logs ? LOG(sum[j]) : 1 / sum[j];
    for (size_t e = 0; e < size; e++)
        for (size_t j = 0; j < lanes; j++) {
            T *v = y + e * inner + j;
            *v = logs ? *v - sum[j] : *v * sum[j];
        }
}

static void FN(softmax_row)(const T *x, T *y, size_t size, bool logs)
{
    T top = x[0], sum;
    for (size_t e = 1; e < size; e++)
        top = x[e] > top ? x[e] : top;
    if (logs) {
        sum = 0;
        for (size_t e = 0; e < size; e++) {
            y[e] = x[e] - top;
            sum += EXP(y[e]);
        }
        sum = LOG(sum);
        for (size_t e = 0; e < size; e++)
            y[e] -= sum;
        return;
    }
    for (size_t e = 0; e < size; e++)
        y[e] = EXP(x[e] - top);
    sum = 1 / FN(sum)(y, size);
    for (size_t e = 0; e < size; e++)
        y[e] *= sum;
}

/* Items: rows when inner is 1, else blocks of NN_LANES neighbours of one outer index. */
static size_t FN(row_items)(const LedgeRows *r)
{
    return r->outer * ((r->inner + NN_LANES - 1) / NN_LANES);
}

static void FN(softmax_some)(const LedgeRows *r, size_t begin, size_t end, bool logs)
{
    size_t blocks = (r->inner + NN_LANES - 1) / NN_LANES;
    for (size_t i = begin; i < end; i++) {
        size_t j0 = i % blocks * NN_LANES, at = i / blocks * r->size * r->inner + j0;
        size_t lanes = r->inner - j0 < NN_LANES ? r->inner - j0 : NN_LANES;
        if (r->inner == 1)
            FN(softmax_row)((const T *)r->x + at, (T *)r->y + at, r->size, logs);
        else
            FN(softmax_lanes)((const T *)r->x + at, (T *)r->y + at, r->size, r->inner, lanes, logs);
    }
}

static void FN(softmax_items)(void *arg, size_t begin, size_t end, int thread)
{
    (void)thread;
    FN(softmax_some)(arg, begin, end, false);
}

static void FN(log_softmax_items)(void *arg, size_t begin, size_t end, int thread)
{
    (void)thread;
    FN(softmax_some)(arg, begin, end, true);
}

void FN(ledge__softmax)(const LedgeRows *r, LedgePool *pool)
{
    if (r->size && r->inner)
        ledge__pool_run(pool, FN(row_items)(r), grain(r->size), FN(softmax_items), (void *)r);
}

void FN(ledge__log_softmax)(const LedgeRows *r, LedgePool *pool)
{
    if (r->size && r->inner)
        ledge__pool_run(pool, FN(row_items)(r), grain(r->size), FN(log_softmax_items), (void *)r);
}

void FN(ledge__hardmax)(const LedgeRows *r, LedgePool *pool)
{
    (void)pool;
    for (size_t o = 0; o < r->outer; o++)
        for (size_t i = 0; i < r->inner && r->size; i++) {
            const T *x = (const T *)r->x + o * r->size * r->inner + i;
            T *y = (T *)r->y + o * r->size * r->inner + i;
            size_t best = 0;
            for (size_t e = 1; e < r->size; e++)
                if (x[e * r->inner] > x[best * r->inner])
                    best = e;
            for (size_t e = 0; e < r->size; e++)
                y[e * r->inner] = e == best;
        }
}

void FN(ledge__lp_normalize)(const LedgeRows *r, int p, LedgePool *pool)
{
    (void)pool;
    for (size_t o = 0; o < r->outer; o++)
        for (size_t i = 0; i < r->inner; i++) {
            const T *x = (const T *)r->x + o * r->size * r->inner + i;
            T *y = (T *)r->y + o * r->size * r->inner + i;
            T sum = 0;
            for (size_t e = 0; e < r->size; e++)
                sum += p == 1 ? FABS(x[e * r->inner]) : x[e * r->inner] * x[e * r->inner];
            if (p != 1)
                sum = SQRT(sum);
            /* A row of zeros stays one. */
            for (size_t e = 0; e < r->size; e++)
                y[e * r->inner] = sum == 0 ? 0 : x[e * r->inner] / sum;
        }
}

/* ---- layer and RMS ---- */

static void FN(layer_row)(const LedgeLayerNorm *p, size_t r)
{
    size_t n = p->size;
    const T *x = (const T *)p->x + r * n, *scale = p->scale, *bias = p->bias;
    T *y = (T *)p->y + r * n;
    if (p->skip || p->skip_bias) {
        const T *skip = p->skip ? (const T *)p->skip + r % p->skip_rows * n : NULL;
        const T *sb = p->skip_bias;
        T *sum = p->sum ? (T *)p->sum + r * n : y;
        for (size_t i = 0; i < n; i++)
            sum[i] = x[i] + (skip ? skip[i] : 0) + (sb ? sb[i] : 0);
        x = sum;
    } else if (p->sum) {
        memcpy((T *)p->sum + r * n, x, n * sizeof(T));
    }
    T mean = p->rms ? 0 : FN(sum)(x, n) / (T)n;
    T inv = 1 / SQRT(FN(sum_squares)(x, n, mean) / (T)n + (T)p->epsilon);
    if (p->mean)
        ((T *)p->mean)[r] = mean;
    if (p->inv_std)
        ((T *)p->inv_std)[r] = inv;
    if (scale)
        scale += r % p->scale_rows * (p->scale_each ? n : 1);
    if (bias)
        bias += r % p->bias_rows * (p->bias_each ? n : 1);
    if (scale && bias && p->scale_each && p->bias_each)
        for (size_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inv * scale[i] + bias[i];
    else
        for (size_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inv * (scale ? scale[p->scale_each ? i : 0] : 1) +
                   (bias ? bias[p->bias_each ? i : 0] : 0);
}

static void FN(layer_items)(void *arg, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t r = begin; r < end; r++)
        FN(layer_row)(arg, r);
}

void FN(ledge__layer_norm)(const LedgeLayerNorm *p, LedgePool *pool)
{
    ledge__pool_run(pool, p->rows, grain(p->size), FN(layer_items), (void *)p);
}

/* ---- over channels ---- */

static void FN(group_items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeGroupNorm *p = arg;
    size_t n = p->per * p->spatial, groups = p->channels / p->per;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const T *x = (const T *)p->x + i * n, *scale = p->scale, *bias = p->bias;
        T *y = (T *)p->y + i * n, mean = FN(sum)(x, n) / (T)n;
        T inv = 1 / SQRT(FN(sum_squares)(x, n, mean) / (T)n + (T)p->epsilon);
        for (size_t c = 0; c < p->per; c++) {
            size_t at = p->by_group ? i % groups : i % groups * p->per + c;
            T a = inv * scale[at], b = bias[at];
            for (size_t s = 0; s < p->spatial; s++, x++, y++)
                *y = (*x - mean) * a + b;
        }
    }
}

void FN(ledge__group_norm)(const LedgeGroupNorm *p, LedgePool *pool)
{
    ledge__pool_run(pool, p->batch * (p->channels / p->per), 1, FN(group_items), (void *)p);
}

static void FN(batch_items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeBatchNorm *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t c = i % p->channels;
        const T *x = (const T *)p->x + i * p->spatial;
        T *y = (T *)p->y + i * p->spatial, mean = ((const T *)p->mean)[c];
        T a = ((const T *)p->scale)[c] / SQRT(((const T *)p->var)[c] + (T)p->epsilon);
        T b = ((const T *)p->bias)[c];
        for (size_t s = 0; s < p->spatial; s++)
            y[s] = (x[s] - mean) * a + b;
    }
}

void FN(ledge__batch_norm)(const LedgeBatchNorm *p, LedgePool *pool)
{
    ledge__pool_run(pool, p->batch * p->channels, grain(p->spatial), FN(batch_items), (void *)p);
}

void FN(ledge__channel_moments)(const LedgeBatchNorm *p, void *mean, void *var, LedgePool *pool)
{
    (void)pool;
    for (size_t c = 0; c < p->channels; c++) {
        T sum = 0, squares = 0, n = (T)(p->batch * p->spatial);
        for (size_t b = 0; b < p->batch; b++)
            sum += FN(sum)((const T *)p->x + (b * p->channels + c) * p->spatial, p->spatial);
        for (size_t b = 0; b < p->batch; b++)
            squares += FN(sum_squares)((const T *)p->x + (b * p->channels + c) * p->spatial,
                                       p->spatial, sum / n);
        ((T *)mean)[c] = sum / n;
        ((T *)var)[c] = squares / n;
    }
}

static void FN(lrn_items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeLrn *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t c = i % p->channels, below = (p->size - 1) / 2, above = p->size - 1 - below;
        size_t c0 = c > below ? c - below : 0;
        size_t c1 = above < p->channels - 1 - c ? c + above : p->channels - 1;
        const T *x = (const T *)p->x + (i - c) * p->spatial;
        T *y = (T *)p->y + i * p->spatial;
        for (size_t s = 0; s < p->spatial; s++) {
            T sum = 0;
            for (size_t k = c0; k <= c1; k++)
                sum += x[k * p->spatial + s] * x[k * p->spatial + s];
            T base = (T)p->bias + (T)p->alpha / (T)p->size * sum;
            /* The usual exponent is two roots, many times cheaper than a power. */
            y[s] = x[c * p->spatial + s] /
                   (p->beta == 0.75 ? SQRT(base) * SQRT(SQRT(base)) : POW(base, (T)p->beta));
        }
    }
}

void FN(ledge__lrn)(const LedgeLrn *p, LedgePool *pool)
{
    ledge__pool_run(pool, p->batch * p->channels, 1, FN(lrn_items), (void *)p);
}
