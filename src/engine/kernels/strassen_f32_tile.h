/* Template of Strassen's product in Winograd's form (Strassen, "Gaussian Elimination is not
 * Optimal", 1969; seven products and fifteen sums for a 2×2 matrix) inside one GEMM tile.
 *
 * The 2×2 matrices are made of row pairs × halves of K (A), halves of K × two vectors of columns
 * (B) and row pairs × two vectors (C). All seven products of a tile are summed in registers, so
 * that C is put together once, at the end: an eighth of all multiply-adds goes away and
 * nothing is stored on the way. Sums of A are made once for all columns by `rows`, those of B as
 * its vectors are loaded: CPUs with adders beside their multipliers do that for nothing. */

/* Places of the packed rows: a11, a12, s1 = a21 + a22, s2 = s1 - a11, a22, s4 = a12 - s2,
 * s3 = a11 - a21; LEDGE_STRASSEN_PAIRS vectors of each, then the next VF_LANES columns. */
enum { STRASSEN_STEP = 7 * LEDGE_STRASSEN_PAIRS * VF_LANES };

VX_INLINE bool strassen_pack_pair(const float *p, const float *q, size_t half, float *s)
{
    const vf zero = vf_set(0.0f), high = vf_set(64.0f);
    vf bad = zero;
    const size_t step = (size_t)LEDGE_STRASSEN_PAIRS * VF_LANES;
    for (size_t k = 0; k < half; k += VF_LANES, s += STRASSEN_STEP) {
        const size_t n = half - k < VF_LANES ? half - k : VF_LANES;
        const vf a11 = vf_load_n(p + k, n), a12 = vf_load_n(p + half + k, n);
        const vf a21 = q ? vf_load_n(q + k, n) : zero, a22 = q ? vf_load_n(q + half + k, n) : zero;
        const vf s1 = vf_add(a21, a22), s2 = vf_sub(s1, a11), s4 = vf_sub(a12, s2);
        /* zero times what is finite, with room for sums, is zero; else NaN, and it stays */
        bad = vf_fma(vf_mul(a11, high), zero, vf_fma(vf_mul(a12, high), zero, bad));
        bad = vf_fma(vf_mul(a21, high), zero, vf_fma(vf_mul(a22, high), zero, bad));
        vf_store(s, a11);
        vf_store(s + step, a12);
        vf_store(s + 2 * step, s1);
        vf_store(s + 3 * step, s2);
        vf_store(s + 4 * step, a22);
        vf_store(s + 5 * step, s4);
        vf_store(s + 6 * step, vf_sub(a11, a21));
    }
    float lanes[VF_LANES];
    vf_store(lanes, bad);
    bool finite = true;
    for (int i = 0; i < VF_LANES; i++)
        finite &= lanes[i] == 0.0f;
    return finite;
}

static bool strassen_rows(const float *const *rows, uint32_t n, size_t half, float *s)
{
    bool finite = true;
    for (uint32_t i = 0; i < n; i += 2, s += VF_LANES)
        finite &= strassen_pack_pair(rows[i], i + 1 < n ? rows[i + 1] : NULL, half, s);
    return finite;
}

/* What the rows of a tile share at its end, read once. */
typedef struct StrassenEnd {
    vf lo, hi, scale0, scale1;
    const float *bias;
    size_t tail;
} StrassenEnd;

/* One row of the tile: scale, bias, residual, clamp, store. */
VX_INLINE void strassen_store(const StrassenEnd *e, const vf y0, const vf y1, float *c,
                              const float *r)
{
    const float *base = e->bias ? e->bias : c;
    vf a = vf_fma(y0, e->scale0, vf_load(base));
    vf b = vf_fma(y1, e->scale1, vf_load_n(base + VF_LANES, e->tail));
    if (r) {
        a = vf_add(a, vf_load(r));
        b = vf_add(b, vf_load_n(r + VF_LANES, e->tail));
    }
    vf_store(c, vf_clamp(a, e->lo, e->hi));
    vf_store_n(c + VF_LANES, vf_clamp(b, e->lo, e->hi), e->tail);
}

#define STRASSEN_PRODUCT(i, x)                                                                     \
    VX_EACH(r, pairs)                                                                              \
    acc[i][r] = vf_fma(vf_set(s[(i * LEDGE_STRASSEN_PAIRS + r) * VF_LANES + k]), x, acc[i][r]);

/* b11 … b22: the tops and lows of the panel's two vectors. Signs are chosen so that each sum of
 * B follows from the last by one operation. */
VX_INLINE void strassen_tile(const LedgeStrassenTile *t, const int pairs)
{
    const size_t ahead = t->ahead;
    vf acc[7][LEDGE_STRASSEN_PAIRS];
    VX_EACH(i, 7) VX_EACH(r, pairs) acc[i][r] = vf_set(0.0f);
    const float *s = t->s, *top = t->b, *low = t->b + t->half * 2 * VF_LANES;
    for (size_t left = t->half; left > 0; s += STRASSEN_STEP) {
        const size_t n = left < VF_LANES ? left : VF_LANES;
        left -= n;
        for (size_t k = 0; k < n; k++, top += 2 * VF_LANES, low += 2 * VF_LANES) {
            VX_EACH(v, 2) /* a cache line each */
            {
                __builtin_prefetch(top + ahead + v * VF_LANES, 0, 2);
                __builtin_prefetch(low + ahead + v * VF_LANES, 0, 2);
            }
            vf x = vf_load(top);
            STRASSEN_PRODUCT(0, x) /* a11 b11 */
            vf y = vf_load(low);
            STRASSEN_PRODUCT(1, y) /* a12 b21 */
            x = vf_sub(x, vf_load(top + VF_LANES));
            STRASSEN_PRODUCT(2, x) /* s1 (b11 - b12), the negative of p5 */
            x = vf_add(x, vf_load(low + VF_LANES));
            STRASSEN_PRODUCT(3, x) /* s2 t2 */
            y = vf_sub(x, y);
            STRASSEN_PRODUCT(4, y) /* a22 t4 */
            x = vf_load(low + VF_LANES);
            STRASSEN_PRODUCT(5, x) /* s4 b22 */
            y = vf_sub(x, vf_load(top + VF_LANES));
            STRASSEN_PRODUCT(6, y) /* s3 t3 */
        }
    }
    const StrassenEnd e = {vf_set(t->lo),     vf_set(t->hi),
                           vf_load(t->scale), vf_load(t->scale + VF_LANES),
                           t->bias,           t->n - VF_LANES};
    const size_t ldc = t->ldc, ldr = t->ldr;
    const bool even = t->rows == 2 * (uint32_t)pairs;
    float *c = t->c;
    const float *res = t->r;
    VX_UNROLL
    for (int r = 0; r < pairs; r++, c += 2 * ldc, res = res ? res + 2 * ldr : NULL) {
        const vf u2 = vf_add(acc[0][r], acc[3][r]), u3 = vf_add(u2, acc[6][r]);
        const vf u4 = vf_sub(u2, acc[2][r]);
        strassen_store(&e, vf_add(acc[0][r], acc[1][r]), vf_add(u4, acc[5][r]), c, res);
        if (r < pairs - 1 || even)
            strassen_store(&e, vf_sub(u3, acc[4][r]), vf_sub(u3, acc[2][r]), c + ldc,
                           res ? res + ldr : NULL);
    }
}
#undef STRASSEN_PRODUCT

static void strassen_1(const LedgeStrassenTile *t)
{
    strassen_tile(t, 1);
}
static void strassen_2(const LedgeStrassenTile *t)
{
    strassen_tile(t, 2);
}
static void strassen_3(const LedgeStrassenTile *t)
{
    strassen_tile(t, 3);
}
static void strassen_4(const LedgeStrassenTile *t)
{
    strassen_tile(t, 4);
}

static void strassen(const LedgeStrassenTile *t)
{
    static void (*const tiles[])(const LedgeStrassenTile *) = {strassen_1, strassen_2, strassen_3,
                                                               strassen_4};
    tiles[(t->rows - 1) / 2](t);
}
