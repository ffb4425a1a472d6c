/* What shape operators share beside the strided copy: strides, element sizes, checked indices,
 * numbers of any element type, and outputs that are only half known. */
#include "engine/ops/shape/move.h"

#include <math.h>

#include "engine/kernels/ref/convert.h"

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
    bool all = true;
    if (t->type == LEDGE_INT64 && ((uintptr_t)t->data & 7) == 0)
        for (int64_t k = 0; k < count; k++)
            all &= ((const int64_t *)t->data)[k] >= -n && ((const int64_t *)t->data)[k] < n;
    else
        all = false;
    for (int64_t k = 0; k < count && !all; k++) { /* one by one, to name the culprit */
        int64_t v = ledge__index_at(t, k);
        if (v < -n || v >= n)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "index %lld is outside a dimension of %lld elements",
                                  (long long)v, (long long)n);
    }
    return LEDGE_OK;
}

double ledge__number_at(LedgeType type, const void *data, int64_t i)
{
    double v = 0;
    uint64_t aligned[2]; /* constants may lie anywhere in the file */
    unsigned bits = ledge_type_bits(type);
    if (bits < 8) {
        ledge__load_f64(type, data, (size_t)i, 1, &v);
        return v;
    }
    memcpy(aligned, (const char *)data + (size_t)i * (bits / 8), bits / 8);
    ledge__load_f64(type, aligned, 0, 1, &v);
    return v;
}

void ledge__number_set(LedgeType type, void *data, int64_t i, double v)
{
    if (type != LEDGE_BOOL && !ledge__num_is_float(type))
        v = nearbyint(v);
    ledge__store_f64(type, data, (size_t)i, 1, &v);
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
