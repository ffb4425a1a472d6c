/* Template: reductions, softmax and norms over rows and over columns, over the vocabulary of
 * the simd_<isa>.h included before.
 *
 * Sums run in four vectors of partial sums over blocks of SUM_BLOCK elements, and the blocks'
 * sums are added in a second level, so that the error grows with the block, not with n. The
 * order depends on n and the instruction set alone. */

enum { SUM_BLOCK = 4096, COL_BLOCK = 256 };

static inline vf term(LedgeFold kind, vf x)
{
    return kind == LEDGE_R_SUM_SQUARE ? vf_mul(x, x) : kind == LEDGE_R_L1 ? vf_abs(x) : x;
}

/* Sum over up to SUM_BLOCK elements of f(x); `kind` is a constant wherever it is called. */
static inline float sum_block(LedgeFold kind, const float *x, size_t n)
{
    vf s0 = vf_set(0.0f), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) {
        s0 = vf_add(s0, term(kind, vf_load(x + i)));
        s1 = vf_add(s1, term(kind, vf_load(x + i + VF_LANES)));
        s2 = vf_add(s2, term(kind, vf_load(x + i + 2 * VF_LANES)));
        s3 = vf_add(s3, term(kind, vf_load(x + i + 3 * VF_LANES)));
    }
    for (; i + VF_LANES <= n; i += VF_LANES)
        s0 = vf_add(s0, term(kind, vf_load(x + i)));
    if (i < n)
        s1 = vf_add(s1, term(kind, vf_load_n(x + i, n - i)));
    return vf_hsum(vf_add(vf_add(s0, s1), vf_add(s2, s3)));
}

static inline float sum_row(LedgeFold kind, const float *x, size_t n)
{
    if (n <= SUM_BLOCK)
        return sum_block(kind, x, n);
    double s = 0.0; /* of blocks only: too few to cost anything */
    for (size_t i = 0; i < n; i += SUM_BLOCK)
        s += (double)sum_block(kind, x + i, n - i < SUM_BLOCK ? n - i : SUM_BLOCK);
    return (float)s;
}

/* The largest (sign 1) or least (sign -1) element by the sign's turn; NaN if there is one. */
static inline float extreme_row(bool most, const float *x, size_t n)
{
    const vf worst = vf_set(most ? -INFINITY : INFINITY);
    vf m0 = worst, m1 = worst, nan = vf_set(0.0f);
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) {
        const vf v = vf_load(x + i);
        nan = vf_sel(vf_nan(v), v, nan);
        m0 = most ? vf_max(v, m0) : vf_min(v, m0);
    }
    if (i < n) {
        vf v = vf_load_n(x + i, n - i);
        float keep[VF_LANES];
        vf_store(keep, v); /* lanes past the end must not win */
        for (size_t k = n - i; k < VF_LANES; k++)
            keep[k] = most ? -INFINITY : INFINITY;
        v = vf_load(keep);
        nan = vf_sel(vf_nan(v), v, nan);
        m1 = most ? vf_max(v, m1) : vf_min(v, m1);
    }
    const float bad = vf_hsum(nan);
    if (bad != bad)
        return bad;
    return most ? vf_hmax(vf_max(m1, m0)) : vf_hmin(vf_min(m1, m0));
}

static float vec_reduce(LedgeFold kind, const float *x, size_t n)
{
    switch (kind) {
    case LEDGE_R_MEAN:
        return sum_row(LEDGE_R_SUM, x, n) / (float)n;
    case LEDGE_R_MAX:
        return extreme_row(true, x, n);
    case LEDGE_R_MIN:
        return extreme_row(false, x, n);
    case LEDGE_R_SUM_SQUARE:
        return sum_row(LEDGE_R_SUM_SQUARE, x, n);
    case LEDGE_R_L1:
        return sum_row(LEDGE_R_L1, x, n);
    case LEDGE_R_SUM:
    case LEDGE_R_COUNT:
        break;
    }
    return sum_row(LEDGE_R_SUM, x, n);
}

/* ---- columns ---- */

static inline vf load_some(const float *p, size_t n)
{
    return n == VF_LANES ? vf_load(p) : vf_load_n(p, n);
}
static inline void store_some(float *p, vf v, size_t n)
{
    if (n == VF_LANES)
        vf_store(p, v);
    else
        vf_store_n(p, v, n);
}

static inline vf sum_cols(LedgeFold kind, const float *x, size_t rows, size_t ld, size_t n)
{
    vf total = vf_set(0.0f);
    for (size_t r = 0; r < rows; r += COL_BLOCK) {
        const size_t end = rows - r < COL_BLOCK ? rows : r + COL_BLOCK;
        vf s0 = vf_set(0.0f), s1 = s0;
        size_t k = r;
        for (; k + 2 <= end; k += 2) {
            s0 = vf_add(s0, term(kind, load_some(x + k * ld, n)));
            s1 = vf_add(s1, term(kind, load_some(x + (k + 1) * ld, n)));
        }
        if (k < end)
            s0 = vf_add(s0, term(kind, load_some(x + k * ld, n)));
        total = vf_add(total, vf_add(s0, s1));
    }
    return total;
}

static inline vf extreme_cols(bool most, const float *x, size_t rows, size_t ld, size_t n)
{
    vf m = load_some(x, n);
    for (size_t r = 1; r < rows; r++) {
        const vf v = load_some(x + r * ld, n);
        m = most ? both_max(m, v) : both_min(m, v);
    }
    return m;
}

static inline vf reduce_some(LedgeFold kind, const float *x, size_t rows, size_t ld, size_t n)
{
    switch (kind) {
    case LEDGE_R_MEAN:
        return vf_div(sum_cols(LEDGE_R_SUM, x, rows, ld, n), vf_set((float)rows));
    case LEDGE_R_MAX:
        return extreme_cols(true, x, rows, ld, n);
    case LEDGE_R_MIN:
        return extreme_cols(false, x, rows, ld, n);
    case LEDGE_R_SUM_SQUARE:
        return sum_cols(LEDGE_R_SUM_SQUARE, x, rows, ld, n);
    case LEDGE_R_L1:
        return sum_cols(LEDGE_R_L1, x, rows, ld, n);
    case LEDGE_R_SUM:
    case LEDGE_R_COUNT:
        break;
    }
    return sum_cols(LEDGE_R_SUM, x, rows, ld, n);
}

static void vec_reduce_cols(LedgeFold kind, const float *x, size_t rows, size_t ld, float *y,
                            size_t cols)
{
    size_t c = 0;
    for (; c + VF_LANES <= cols; c += VF_LANES)
        vf_store(y + c, reduce_some(kind, x + c, rows, ld, VF_LANES));
    if (c < cols)
        vf_store_n(y + c, reduce_some(kind, x + c, rows, ld, cols - c), cols - c);
}

/* ---- softmax ---- */

/* y = x * scale + mask */
static void scale_and_mask(const float *x, const float *mask, float scale, float *y, size_t n)
{
    const vf s = vf_set(scale);
    if (!mask)
        MAP_LOOP(n, vf_store(y + i, vf_mul(vf_load(x + i), s)),
                 vf_store_n(y + i, vf_mul(vf_load_n(x + i, left), s), left));
    else
        MAP_LOOP(
            n, vf_store(y + i, vf_fma(vf_load(x + i), s, vf_load(mask + i))),
            vf_store_n(y + i, vf_fma(vf_load_n(x + i, left), s, vf_load_n(mask + i, left)), left));
}

/* Writes exp(x * scale - top) where y is not NULL and gives the sum. */
static float exp_row(const float *x, float *y, size_t n, float scale, float top)
{
    const vf t = vf_set(-top), f = vf_set(scale);
    vf s0 = vf_set(0.0f), s1 = s0;
    size_t i = 0;
    for (; i + 2 * VF_LANES <= n; i += 2 * VF_LANES) {
        const vf e0 = vf_exp(vf_fma(vf_load(x + i), f, t));
        const vf e1 = vf_exp(vf_fma(vf_load(x + i + VF_LANES), f, t));
        s0 = vf_add(s0, e0);
        s1 = vf_add(s1, e1);
        if (y) {
            vf_store(y + i, e0);
            vf_store(y + i + VF_LANES, e1);
        }
    }
    for (; i < n; i += VF_LANES) {
        const size_t left = n - i < VF_LANES ? n - i : VF_LANES;
        float lanes[VF_LANES];
        vf e = vf_exp(vf_fma(load_some(x + i, left), f, t));
        vf_store(lanes, e);
        for (size_t k = left; k < VF_LANES; k++)
            lanes[k] = 0.0f;
        e = vf_load(lanes);
        s0 = vf_add(s0, e);
        if (y)
            store_some(y + i, e, left);
    }
    return vf_hsum(vf_add(s0, s1));
}

static void vec_softmax(const float *x, const float *mask, float scale, float *y, size_t n,
                        bool log)
{
    if (n == 0)
        return;
    /* A scale alone goes into the exponent; a negative one would turn largest into least. */
    if (mask || (scale != 1.0f && (log || !(scale > 0.0f)))) {
        scale_and_mask(x, mask, scale, y, n);
        x = y;
        scale = 1.0f;
    }
    const float top = extreme_row(true, x, n) * scale;
    const float sum = exp_row(x, log ? NULL : y, n, scale, top);
    if (log) {
        const vf t = vf_set(top), s = vf_log(vf_set(sum));
        MAP_LOOP(n, vf_store(y + i, vf_sub(vf_sub(vf_load(x + i), t), s)),
                 vf_store_n(y + i, vf_sub(vf_sub(vf_load_n(x + i, left), t), s), left));
    } else {
        const vf s = vf_set(1.0f / sum);
        MAP_LOOP(n, vf_store(y + i, vf_mul(vf_load(y + i), s)),
                 vf_store_n(y + i, vf_mul(vf_load_n(y + i, left), s), left));
    }
}

/* The largest element; NaN does not count. */
static inline float top_of(const float *x, size_t n)
{
    vf m0 = vf_set(-INFINITY), m1 = m0;
    size_t i = 0;
    for (; i + 2 * VF_LANES <= n; i += 2 * VF_LANES) {
        m0 = vf_max(vf_load(x + i), m0);
        m1 = vf_max(vf_load(x + i + VF_LANES), m1);
    }
    for (; i < n; i++) {
        const vf v = vf_set(x[i]);
        m0 = vf_max(v, m0);
    }
    return vf_hmax(vf_max(m0, m1));
}

/* Softmax of scale * y + mask in place, several rows side by side; for why see norm_some. A NaN
 * makes its whole row NaN by way of the sum. */
static void vec_softmax_rows(float *y, size_t ld, size_t rows, size_t n, float scale,
                             const float *const *masks)
{
    enum { MOST = 4 };
    float top[MOST], sum[MOST];
    const float *row_masks[MOST] = {NULL};
    if (n == 0)
        return;
    for (size_t r0 = 0; r0 < rows; r0 += MOST) {
        const size_t some = rows - r0 < MOST ? rows - r0 : MOST;
        float *const part = y + r0 * ld;
        float s = scale;
        for (size_t r = 0; masks && r < some; r++)
            row_masks[r] = masks[r0 + r];
        if (masks || !(scale > 0.0f)) {
            for (size_t r = 0; r < some; r++)
                scale_and_mask(part + r * ld, row_masks[r], scale, part + r * ld, n);
            s = 1.0f;
        }
        for (size_t r = 0; r < some; r++)
            top[r] = top_of(part + r * ld, n) * s;
        for (size_t r = 0; r < some; r++)
            sum[r] = exp_row(part + r * ld, part + r * ld, n, s, top[r]);
        for (size_t r = 0; r < some; r++) {
            const vf f = vf_set(1.0f / sum[r]);
            float *const row = part + r * ld;
            MAP_LOOP(n, vf_store(row + i, vf_mul(vf_load(row + i), f)),
                     vf_store_n(row + i, vf_mul(vf_load_n(row + i, left), f), left));
        }
    }
}

static inline void softmax_some(const float *x, float *y, size_t rows, size_t ld, size_t n,
                                bool log)
{
    const vf top = extreme_cols(true, x, rows, ld, n);
    vf sum = vf_set(0.0f);
    for (size_t r = 0; r < rows; r++) {
        const vf d = vf_sub(load_some(x + r * ld, n), top), e = vf_exp(d);
        sum = vf_add(sum, e);
        store_some(y + r * ld, log ? d : e, n);
    }
    const vf s = log ? vf_log(sum) : vf_div(vf_set(1.0f), sum);
    for (size_t r = 0; r < rows; r++) {
        const vf v = load_some(y + r * ld, n);
        store_some(y + r * ld, log ? vf_sub(v, s) : vf_mul(v, s), n);
    }
}

static void vec_softmax_cols(const float *x, float *y, size_t rows, size_t ld, size_t cols,
                             bool log)
{
    size_t c = 0;
    if (rows == 0)
        return;
    for (; c + VF_LANES <= cols; c += VF_LANES)
        softmax_some(x + c, y + c, rows, ld, VF_LANES, log);
    if (c < cols)
        softmax_some(x + c, y + c, rows, ld, cols - c, log);
}

/* ---- norms ---- */

static inline vf norm_term(const LedgeNorm *p, size_t row, size_t i, size_t left)
{
    vf t = load_some(p->x + row + i, left);
    if (p->skip)
        t = vf_add(t, load_some(p->skip + row + i, left));
    if (p->bias)
        t = vf_add(t, load_some(p->bias + i, left));
    return t;
}

/* Sum of (x - shift)² in the order of sum_block. */
static float sum_square_around(const float *x, size_t n, float shift)
{
    const vf m = vf_set(shift);
    vf s0 = vf_set(0.0f), s1 = s0;
    size_t i = 0;
    for (; i + 2 * VF_LANES <= n; i += 2 * VF_LANES) {
        const vf d0 = vf_sub(vf_load(x + i), m), d1 = vf_sub(vf_load(x + i + VF_LANES), m);
        s0 = vf_fma(d0, d0, s0);
        s1 = vf_fma(d1, d1, s1);
    }
    for (; i < n; i += VF_LANES) {
        const size_t left = n - i < VF_LANES ? n - i : VF_LANES;
        float lanes[VF_LANES];
        vf d = vf_sub(load_some(x + i, left), m);
        vf_store(lanes, d);
        for (size_t k = left; k < VF_LANES; k++)
            lanes[k] = 0.0f;
        d = vf_load(lanes);
        s0 = vf_fma(d, d, s0);
    }
    return vf_hsum(vf_add(s0, s1));
}

enum { SIDE_BY_SIDE = 4, SIDE_FLOATS = 1024 }; /* rows, of at most so many floats */

/* A few rows stage by stage: a sum over the lanes takes long but little, so that the rows hide
 * each other's. */
static void norm_some(const LedgeNorm *p, size_t rows)
{
    const size_t n = p->n;
    const float *t = p->x;
    float mean[SIDE_BY_SIDE], inv[SIDE_BY_SIDE];
    if (p->skip || p->bias || p->sum) {
        float *keep = p->sum ? p->sum : p->y;
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < n; i += VF_LANES) {
                const size_t left = n - i < VF_LANES ? n - i : VF_LANES;
                store_some(keep + r * n + i, norm_term(p, r * n, i, left), left);
            }
        t = keep;
    }
    for (size_t r = 0; r < rows; r++)
        mean[r] = p->rms ? 0.0f : sum_row(LEDGE_R_SUM, t + r * n, n) / (float)n;
    for (size_t r = 0; r < rows; r++)
        inv[r] = 1.0f / sqrtf(sum_square_around(t + r * n, n, mean[r]) / (float)n + p->eps);
    for (size_t r = 0; r < rows; r++) {
        const vf m = vf_set(mean[r]), s = vf_set(inv[r]);
        for (size_t i = 0; i < n; i += VF_LANES) {
            const size_t left = n - i < VF_LANES ? n - i : VF_LANES;
            vf v = vf_mul(vf_mul(vf_sub(load_some(t + r * n + i, left), m), s),
                          load_some(p->gamma + i, left));
            if (p->beta)
                v = vf_add(v, load_some(p->beta + i, left));
            store_some(p->y + r * n + i, v, left);
        }
        if (p->mean)
            p->mean[r] = mean[r];
        if (p->inv_std)
            p->inv_std[r] = inv[r];
    }
}

static void vec_norm(const LedgeNorm *p, size_t rows)
{
    const size_t most = p->n > SIDE_FLOATS ? 1 : SIDE_BY_SIDE;
    for (size_t r = 0, some; r < rows; r += some) {
        LedgeNorm part = *p;
        some = rows - r < most ? rows - r : most;
        part.x += r * p->n;
        part.y += r * p->n;
        part.skip = p->skip ? p->skip + r * p->n : NULL;
        part.sum = p->sum ? p->sum + r * p->n : NULL;
        part.mean = p->mean ? p->mean + r : NULL;
        part.inv_std = p->inv_std ? p->inv_std + r : NULL;
        norm_some(&part, some);
    }
}
