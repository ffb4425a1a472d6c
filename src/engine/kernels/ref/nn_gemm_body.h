/* Matrix product for one element type; included by nn_gemm_ref.c with
 *   IN  operand type, T  sum type, FN(x)  the function's name for this type.
 * Four steps of k a pass keep sums in registers; blocks of columns stay in the caches. */

static void FN(add_pair)(const IN *restrict a0, const IN *restrict a1, size_t a_col,
                         const IN *restrict b, size_t b_row, T *restrict c0, T *restrict c1,
                         size_t n, size_t k)
{
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
        T x0 = (T)a0[p * a_col], x1 = (T)a0[(p + 1) * a_col];
        T x2 = (T)a0[(p + 2) * a_col], x3 = (T)a0[(p + 3) * a_col];
        T y0 = (T)a1[p * a_col], y1 = (T)a1[(p + 1) * a_col];
        T y2 = (T)a1[(p + 2) * a_col], y3 = (T)a1[(p + 3) * a_col];
        const IN *b0 = b + p * b_row, *b1 = b0 + b_row, *b2 = b1 + b_row, *b3 = b2 + b_row;
        for (size_t j = 0; j < n; j++) {
            T v0 = (T)b0[j], v1 = (T)b1[j], v2 = (T)b2[j], v3 = (T)b3[j];
            c0[j] += x0 * v0 + x1 * v1 + x2 * v2 + x3 * v3;
            c1[j] += y0 * v0 + y1 * v1 + y2 * v2 + y3 * v3;
        }
    }
    for (; p < k; p++) {
        T x = (T)a0[p * a_col], y = (T)a1[p * a_col];
        const IN *b0 = b + p * b_row;
        for (size_t j = 0; j < n; j++) {
            c0[j] += x * (T)b0[j];
            c1[j] += y * (T)b0[j];
        }
    }
}

static void FN(add_row)(const IN *restrict a, size_t a_col, const IN *restrict b, size_t b_row,
                        T *restrict c, size_t n, size_t k)
{
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
        T x0 = (T)a[p * a_col], x1 = (T)a[(p + 1) * a_col];
        T x2 = (T)a[(p + 2) * a_col], x3 = (T)a[(p + 3) * a_col];
        const IN *b0 = b + p * b_row, *b1 = b0 + b_row, *b2 = b1 + b_row, *b3 = b2 + b_row;
        for (size_t j = 0; j < n; j++)
            c[j] += x0 * (T)b0[j] + x1 * (T)b1[j] + x2 * (T)b2[j] + x3 * (T)b3[j];
    }
    for (; p < k; p++) {
        T x = (T)a[p * a_col];
        const IN *b0 = b + p * b_row;
        for (size_t j = 0; j < n; j++)
            c[j] += x * (T)b0[j];
    }
}

/* b's rows are contiguous. */
static void FN(tile_rows)(const LedgeMatmul *g, size_t m0, size_t m1, size_t n0, size_t n1)
{
    T *c = (T *)g->c + n0;
    for (size_t p = 0; p < g->k; p += NN_K_BLOCK) {
        size_t k = g->k - p < NN_K_BLOCK ? g->k - p : NN_K_BLOCK;
        const IN *b = (const IN *)g->b + p * g->b_row + n0;
        const IN *a = (const IN *)g->a + p * g->a_col;
        size_t i = m0;
        for (; i + 2 <= m1; i += 2)
            FN(add_pair)
        (a + i * g->a_row, a + (i + 1) * g->a_row, g->a_col, b, g->b_row, c + i * g->c_row,
         c + (i + 1) * g->c_row, n1 - n0, k);
        if (i < m1)
            FN(add_row)(a + i * g->a_row, g->a_col, b, g->b_row, c + i * g->c_row, n1 - n0, k);
    }
}

/* Eight partial sums in a fixed order: fast, and the same on every machine. */
static void FN(dot4)(const IN *restrict a, const IN *restrict b, size_t step, size_t k, T *out)
{
    T s0[8] = {0}, s1[8] = {0}, s2[8] = {0}, s3[8] = {0};
    const IN *b1 = b + step, *b2 = b1 + step, *b3 = b2 + step;
    size_t p = 0;
    for (; p + 8 <= k; p += 8)
        for (int l = 0; l < 8; l++) {
            T x = (T)a[p + l];
            s0[l] += x * (T)b[p + l];
            s1[l] += x * (T)b1[p + l];
            s2[l] += x * (T)b2[p + l];
            s3[l] += x * (T)b3[p + l];
        }
    for (int l = 0; p < k; p++, l++) {
        T x = (T)a[p];
        s0[l] += x * (T)b[p];
        s1[l] += x * (T)b1[p];
        s2[l] += x * (T)b2[p];
        s3[l] += x * (T)b3[p];
    }
    for (int l = 1; l < 8; l++) {
        s0[0] += s0[l];
        s1[0] += s1[l];
        s2[0] += s2[l];
        s3[0] += s3[l];
    }
    out[0] += s0[0];
    out[1] += s1[0];
    out[2] += s2[0];
    out[3] += s3[0];
}

/* Both operands run along k. */
static void FN(tile_dots)(const LedgeMatmul *g, size_t m0, size_t m1, size_t n0, size_t n1)
{
    for (size_t i = m0; i < m1; i++) {
        const IN *a = (const IN *)g->a + i * g->a_row;
        T *c = (T *)g->c + i * g->c_row;
        size_t j = n0;
        for (; j + 4 <= n1; j += 4)
            FN(dot4)(a, (const IN *)g->b + j * g->b_col, g->b_col, g->k, c + j);
        for (; j < n1; j++) {
            T t[4] = {0};
            FN(dot4)(a, (const IN *)g->b + j * g->b_col, 0, g->k, t);
            c[j] += t[0];
        }
    }
}

static void FN(tile_any)(const LedgeMatmul *g, size_t m0, size_t m1, size_t n0, size_t n1)
{
    for (size_t i = m0; i < m1; i++)
        for (size_t j = n0; j < n1; j++) {
            const IN *a = (const IN *)g->a + i * g->a_row;
            const IN *b = (const IN *)g->b + j * g->b_col;
            T sum = 0;
            for (size_t p = 0; p < g->k; p++)
                sum += (T)a[p * g->a_col] * (T)b[p * g->b_row];
            ((T *)g->c)[i * g->c_row + j] += sum;
        }
}

static void FN(tile)(const LedgeMatmul *g, size_t m0, size_t m1, size_t n0, size_t n1)
{
    if (!g->add)
        for (size_t i = m0; i < m1; i++)
            memset((T *)g->c + i * g->c_row + n0, 0, (n1 - n0) * sizeof(T));
    if (g->b_col == 1)
        FN(tile_rows)(g, m0, m1, n0, n1);
    else if (g->b_row == 1 && g->a_col == 1)
        FN(tile_dots)(g, m0, m1, n0, n1);
    else
        FN(tile_any)(g, m0, m1, n0, n1);
}

static void FN(items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeMatmulBatch *q = arg;
    size_t mb = (q->one.m + NN_M_BLOCK - 1) / NN_M_BLOCK;
    size_t nb = (q->one.n + NN_N_BLOCK - 1) / NN_N_BLOCK;
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        LedgeMatmul g = q->one;
        size_t batch = item / (mb * nb), m0 = item / nb % mb * NN_M_BLOCK;
        size_t n0 = item % nb * NN_N_BLOCK, rest = batch, a = 0, b = 0;
        for (int d = q->rank - 1; d >= 0; d--) {
            a += rest % (size_t)q->dims[d] * q->a_stride[d];
            b += rest % (size_t)q->dims[d] * q->b_stride[d];
            rest /= (size_t)q->dims[d];
        }
        g.a = (const IN *)g.a + a;
        g.b = (const IN *)g.b + b;
        g.c = (T *)g.c + batch * g.m * g.c_row;
        FN(tile)
        (&g, m0, m0 + NN_M_BLOCK < g.m ? m0 + NN_M_BLOCK : g.m, n0,
         n0 + NN_N_BLOCK < g.n ? n0 + NN_N_BLOCK : g.n);
    }
}

void FN(ledge__matmul_batch)(const LedgeMatmulBatch *g, LedgePool *pool)
{
    size_t count = (g->one.m + NN_M_BLOCK - 1) / NN_M_BLOCK *
                   ((g->one.n + NN_N_BLOCK - 1) / NN_N_BLOCK);
    for (int d = 0; d < g->rank; d++)
        count *= (size_t)g->dims[d];
    /* Small products go to a thread in handfuls. */
    size_t work = g->one.k * NN_M_BLOCK * NN_N_BLOCK;
    size_t grain = work < 1u << 18 ? (1u << 18) / (work + 1) + 1 : 1;
    ledge__pool_run(pool, count, grain, FN(items), (void *)g);
}
