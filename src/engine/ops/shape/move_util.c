/* What shape operators share beside the strided copy: strides, element sizes, checked indices,
 * numbers of any element type, and outputs that are only half known. */
#include "engine/ops/shape/move.h"

#include <math.h>

void ledge__strides(int32_t rank, const int64_t *dims, int64_t *strides)
{
    uint64_t s = 1; /* may wrap where another dimension is 0; it is never used then */
    for (int32_t d = rank - 1; d >= 0; d--) {
        strides[d] = (int64_t)s;
        s *= (uint64_t)dims[d];
    }
}

int64_t ledge__dims_product(const int64_t *dims, int32_t begin, int32_t end)
{
    uint64_t n = 1;
    for (int32_t d = begin; d < end; d++)
        n *= (uint64_t)dims[d];
    return (int64_t)n;
}

LedgeStatus ledge__element_size(LedgeOpCtx *c, const LedgeTensor *t, size_t *out)
{
    unsigned bits = ledge_type_bits(t->type);
    if (bits < 8)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "elements of type %s cannot be moved one by one",
                              ledge_type_name(t->type));
    *out = bits / 8;
    return LEDGE_OK;
}

LedgeStatus ledge__need_index(LedgeOpCtx *c, uint32_t i)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    LedgeType type = c->in[i]->type;
    if (type != LEDGE_INT32 && type != LEDGE_INT64 && type != LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be int64 or int32", i,
                              ledge_type_name(type));
    return LEDGE_OK;
}

LedgeStatus ledge__check_indices(LedgeOpCtx *c, uint32_t i, int64_t n)
{
    const LedgeTensor *t = c->in[i];
    int64_t count = ledge_tensor_count(t);
    for (int64_t k = 0; k < count; k++) {
        int64_t v = ledge__index_at(t, k);
        if (v < -n || v >= n)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "index %lld is outside a dimension of %lld elements",
                                  (long long)v, (long long)n);
    }
    return LEDGE_OK;
}

float ledge__half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    uint32_t bits;
    float f;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, 4);
    return f;
}

uint16_t ledge__float_to_half(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00);
    if (u >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (u < 0x38800000u) { /* subnormal: the sum is rounded at the right bit by the addition */
        float a;
        memcpy(&a, &u, 4);
        a += 0.5f;
        memcpy(&u, &a, 4);
        return (uint16_t)(sign | (u - 0x3f000000u));
    }
    u += 0xfffu + ((u >> 13) & 1);
    return (uint16_t)(sign | ((u - 0x38000000u) >> 13));
}

static float bfloat_to_float(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint16_t float_to_bfloat(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

#define NUMBER_TYPES(X)                                                                   \
    X(FLOAT, float)                                                                       \
    X(DOUBLE, double)                                                                     \
    X(UINT8, uint8_t)                                                                     \
    X(INT8, int8_t)                                                                       \
    X(UINT16, uint16_t)                                                                   \
    X(INT16, int16_t)                                                                     \
    X(INT32, int32_t)                                                                     \
    X(UINT32, uint32_t)                                                                   \
    X(INT64, int64_t)                                                                     \
    X(UINT64, uint64_t)

double ledge__number_at(LedgeType type, const void *data, int64_t i)
{
    switch (type) {
#define LOAD(NAME, T)                                                                     \
    case LEDGE_##NAME: {                                                                  \
        T v;                                                                              \
        memcpy(&v, (const char *)data + i * (int64_t)sizeof v, sizeof v);                 \
        return (double)v;                                                                 \
    }
        NUMBER_TYPES(LOAD)
#undef LOAD
    case LEDGE_BOOL:
        return ((const uint8_t *)data)[i] != 0;
    case LEDGE_FLOAT16:
    case LEDGE_BFLOAT16: {
        uint16_t v;
        memcpy(&v, (const char *)data + 2 * i, 2);
        return type == LEDGE_FLOAT16 ? (double)ledge__half_to_float(v) : (double)bfloat_to_float(v);
    }
    default:
        return 0;
    }
}

static double clamp(double v, double low, double high)
{
    if (!(v > low)) /* NaN becomes the lower bound */
        return low;
    return v < high ? v : high;
}

void ledge__number_set(LedgeType type, void *data, int64_t i, double v)
{
    char *p = (char *)data + i * (int64_t)(ledge_type_bits(type) / 8);
#define STORE(T, expression)                                                              \
    do {                                                                                  \
        T stored_ = (T)(expression);                                                      \
        memcpy(p, &stored_, sizeof stored_);                                              \
    } while (0)
    switch (type) {
    case LEDGE_FLOAT:
        STORE(float, v);
        break;
    case LEDGE_DOUBLE:
        STORE(double, v);
        break;
    case LEDGE_FLOAT16:
        STORE(uint16_t, ledge__float_to_half((float)v));
        break;
    case LEDGE_BFLOAT16:
        STORE(uint16_t, float_to_bfloat((float)v));
        break;
    case LEDGE_BOOL:
        STORE(uint8_t, v != 0);
        break;
    case LEDGE_UINT8:
        STORE(uint8_t, clamp(nearbyint(v), 0, UINT8_MAX));
        break;
    case LEDGE_INT8:
        STORE(int8_t, clamp(nearbyint(v), INT8_MIN, INT8_MAX));
        break;
    case LEDGE_UINT16:
        STORE(uint16_t, clamp(nearbyint(v), 0, UINT16_MAX));
        break;
    case LEDGE_INT16:
        STORE(int16_t, clamp(nearbyint(v), INT16_MIN, INT16_MAX));
        break;
    case LEDGE_INT32:
        STORE(int32_t, clamp(nearbyint(v), INT32_MIN, INT32_MAX));
        break;
    case LEDGE_UINT32:
        STORE(uint32_t, clamp(nearbyint(v), 0, UINT32_MAX));
        break;
    case LEDGE_INT64: /* the largest double below 2^63 */
        STORE(int64_t, clamp(nearbyint(v), -0x1p63, 0x1.fffffffffffffp62));
        break;
    case LEDGE_UINT64:
        STORE(uint64_t, clamp(nearbyint(v), 0, 0x1.fffffffffffffp63));
        break;
    default:
        break;
    }
#undef STORE
}

bool ledge__is_float(LedgeType type)
{
    return type == LEDGE_FLOAT || type == LEDGE_DOUBLE || type == LEDGE_FLOAT16 ||
           type == LEDGE_BFLOAT16;
}

void *ledge__work(LedgeOpCtx *c, size_t bytes)
{
    if (c->scratch && c->scratch_bytes >= bytes)
        return c->scratch;
    return ledge__op_alloc(c, bytes ? bytes : 1);
}

LedgeStatus ledge__out_rank(LedgeOpCtx *c, uint32_t i, LedgeType type, int32_t rank)
{
    int64_t dims[LEDGE_MAX_RANK];
    if (rank > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has %d dimensions, at most %d fit",
                              rank, LEDGE_MAX_RANK);
    for (int32_t d = 0; d < LEDGE_MAX_RANK; d++)
        dims[d] = -1;
    ledge__op_set_out(c, i, type, rank < 0 ? -1 : rank, dims);
    return LEDGE_OK;
}

LedgeStatus ledge__check_dims(LedgeOpCtx *c, int32_t rank, const int64_t *dims)
{
    int64_t n = 1;
    if (rank > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has %d dimensions, at most %d fit",
                              rank, LEDGE_MAX_RANK);
    for (int32_t d = 0; d < rank; d++) {
        if (dims[d] < 0)
            return LEDGE_OK;
        if (__builtin_mul_overflow(n, dims[d], &n) || n > INT64_MAX / 16)
            return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result would have too many elements");
    }
    return LEDGE_OK;
}
