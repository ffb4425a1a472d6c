/* Scores of classifiers. */
#include "base/scores.h"

#include <math.h>
#include <string.h>

static double half(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 31 ? (fraction ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return h & 0x8000 ? -v : v;
}

static double brain(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

double ledge__tensor_number(const LedgeTensor *t, int64_t i)
{
    switch (t->type) {
#define CASE(code, ctype)                                                                          \
    case LEDGE_##code:                                                                             \
        return (double)((const ctype *)t->data)[i]
        CASE(FLOAT, float);
        CASE(DOUBLE, double);
        CASE(BOOL, uint8_t);
        CASE(UINT8, uint8_t);
        CASE(INT8, int8_t);
        CASE(UINT16, uint16_t);
        CASE(INT16, int16_t);
        CASE(UINT32, uint32_t);
        CASE(INT32, int32_t);
        CASE(UINT64, uint64_t);
        CASE(INT64, int64_t);
#undef CASE
    case LEDGE_FLOAT16:
        return half(((const uint16_t *)t->data)[i]);
    case LEDGE_BFLOAT16:
        return brain(((const uint16_t *)t->data)[i]);
    default:
        return 0;
    }
}

bool ledge__scores_of(const LedgeTensor *t, int64_t *rows, int64_t *classes)
{
    int64_t most = 0;
    if (t->type != LEDGE_FLOAT && t->type != LEDGE_DOUBLE && t->type != LEDGE_FLOAT16 &&
        t->type != LEDGE_BFLOAT16)
        return false;
    for (int32_t i = t->rank > 1; i < t->rank; i++)
        most = t->dims[i] > most ? t->dims[i] : most;
    const int64_t n = t->rank > 1 ? t->dims[0] : 1;
    if (most < 2 || n < 1 || ledge_tensor_count(t) / n != most || ledge_tensor_count(t) % n)
        return false; /* further dimensions are not all 1 */
    *rows = n;
    *classes = most;
    return true;
}

bool ledge__scores_row(const LedgeTensor *t)
{
    int64_t rows, classes;
    return ledge__scores_of(t, &rows, &classes) && rows == 1;
}

/* NaN ranks last. */
static inline double rank_of(const LedgeTensor *t, int64_t i)
{
    const double v =
        t->type == LEDGE_FLOAT ? (double)((const float *)t->data)[i] : ledge__tensor_number(t, i);
    return isnan(v) ? -INFINITY : v;
}

size_t ledge__scores_top(const LedgeTensor *t, int64_t row, size_t k, int64_t *classes)
{
    int64_t rows, count;
    size_t n = 0;
    if (!ledge__scores_of(t, &rows, &count) || row >= rows)
        return 0;
    const int64_t first = row * count;
    for (int64_t i = 0; i < count; i++) {
        const double v = rank_of(t, first + i);
        size_t at = n;
        while (at > 0 && v > rank_of(t, first + classes[at - 1]))
            at--;
        if (at >= k)
            continue;
        n += n < k;
        memmove(classes + at + 1, classes + at, (n - at - 1) * sizeof *classes);
        classes[at] = i;
    }
    return n;
}

void ledge__scores_probabilities(const LedgeTensor *t, int64_t row, const int64_t *classes,
                                 size_t k, double *out)
{
    int64_t rows, count;
    double sum = 0, least = INFINITY, most = -INFINITY, exps = 0;
    if (!ledge__scores_of(t, &rows, &count) || row >= rows)
        return;
    const int64_t first = row * count;
    for (int64_t i = 0; i < count; i++) {
        const double v = ledge__tensor_number(t, first + i);
        sum += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    const bool already = least >= 0 && fabs(sum - 1) < 1e-3;
    for (int64_t i = 0; i < count && !already; i++)
        exps += exp(ledge__tensor_number(t, first + i) - most);
    for (size_t i = 0; i < k; i++) {
        const double v = ledge__tensor_number(t, first + classes[i]);
        out[i] = already ? v : exp(v - most) / exps;
    }
}
