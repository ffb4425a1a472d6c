/* Template: kernels over 8-bit numbers (see bytes.h), over the vocabulary of the simd_<isa>.h
 * included before. */
#include <math.h>

/* Bounds on v whole numbers apart from zero, so clamping may come before rounding. */
static inline uint8_t byte_round(float v, int32_t zero, int32_t lo, int32_t hi)
{
    const float low = (float)(lo - zero), high = (float)(hi - zero);
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (uint8_t)((int32_t)rintf(v) + zero);
}

static void vec_quantize(const float *x, uint8_t *y, size_t n, const LedgeByteScale *s)
{
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] / s->scale;
        y[i] = (uint8_t)(byte_round(v == v ? v : 0.0f, s->zero, 0, 255) ^ s->flip);
    }
}

static void vec_dequantize(const uint8_t *x, float *y, size_t n, const LedgeByteScale *s)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((x[i] ^ s->flip) - s->zero) * s->scale;
}

static void vec_byte_map(const uint8_t *x, uint8_t *y, size_t n, const uint8_t *table)
{
    for (size_t i = 0; i < n; i++)
        y[i] = table[x[i]];
}

static void vec_byte_add(LedgeForm form, const uint8_t *a, const uint8_t *b, uint8_t *y, size_t n,
                         const LedgeByteMix *m)
{
    const size_t sa = form != LEDGE_SV, sb = form != LEDGE_VS;
    for (size_t i = 0; i < n; i++) {
        const float p = (float)((a[i * sa] ^ m->a.flip) - m->a.zero) * m->a.scale;
        const float q = (float)((b[i * sb] ^ m->b.flip) - m->b.zero) * m->b.scale;
        y[i] = (uint8_t)(byte_round(p + q, m->y_zero, m->lo, m->hi) ^ m->y_flip);
    }
}

static void vec_byte_mul(LedgeForm form, const uint8_t *a, const uint8_t *b, uint8_t *y, size_t n,
                         const LedgeByteMix *m)
{
    const size_t sa = form != LEDGE_SV, sb = form != LEDGE_VS;
    for (size_t i = 0; i < n; i++) {
        const int32_t p = (a[i * sa] ^ m->a.flip) - m->a.zero;
        const int32_t q = (b[i * sb] ^ m->b.flip) - m->b.zero;
        y[i] = (uint8_t)(byte_round((float)(p * q) * m->a.scale, m->y_zero, m->lo, m->hi) ^
                         m->y_flip);
    }
}

static void vec_byte_max(const LedgeByteTaps *t, uint8_t *y, size_t channels)
{
    memset(y, 0, channels);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->cols; k++)
            for (size_t c = 0; c < channels; c++) {
                const uint8_t v = t->x[i * t->row_step + k * t->col_step + c];
                y[c] = v > y[c] ? v : y[c];
            }
}

static void vec_byte_mean(const LedgeByteTaps *t, const LedgeByteMean *m, float scale, uint8_t *y,
                          size_t channels)
{
    for (size_t c = 0; c < channels; c++) {
        int32_t sum = -(int32_t)(t->rows * t->cols) * m->x_zero;
        for (size_t i = 0; i < t->rows; i++)
            for (size_t k = 0; k < t->cols; k++)
                sum += t->x[i * t->row_step + k * t->col_step + c];
        y[c] = byte_round((float)sum * scale, m->y_zero, m->lo, m->hi);
    }
}

static void vec_transpose_8(const uint8_t *x, size_t ldx, uint8_t *y, size_t ldy, size_t rows,
                            size_t cols)
{
    for (size_t r0 = 0; r0 < rows; r0 += 32)
        for (size_t c = 0; c < cols; c++)
            for (size_t r = r0; r < rows && r < r0 + 32; r++)
                y[c * ldy + r] = x[r * ldx + c];
}

static void vec_range(const float *x, size_t n, float *low, float *high)
{
    float lo = 0, hi = 0;
    for (size_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    *low = lo;
    *high = hi;
}
