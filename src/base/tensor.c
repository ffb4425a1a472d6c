/* Element types and tensor sizes. */
#include "ledge/tensor.h"

const char *ledge_type_name(LedgeType type)
{
    switch (type) {
#define NAME_CASE(code, NAME, name, bits)                                                 \
    case LEDGE_##NAME:                                                                    \
        return name;
        LEDGE_TYPE_LIST(NAME_CASE)
#undef NAME_CASE
    case LEDGE_SEQUENCE:
        return "sequence";
    case LEDGE_OPTIONAL:
        return "optional";
    case LEDGE_TYPE_NONE:
        break;
    }
    return "?";
}

unsigned ledge_type_bits(LedgeType type)
{
    switch (type) {
#define BITS_CASE(code, NAME, name, bits)                                                 \
    case LEDGE_##NAME:                                                                    \
        return bits;
        LEDGE_TYPE_LIST(BITS_CASE)
#undef BITS_CASE
    case LEDGE_SEQUENCE:
    case LEDGE_OPTIONAL:
    case LEDGE_TYPE_NONE:
        break;
    }
    return 0;
}

int64_t ledge_tensor_count(const LedgeTensor *tensor)
{
    int64_t n = 1;
    if (tensor->rank < 0)
        return -1;
    for (int32_t i = 0; i < tensor->rank; i++)
        if (tensor->dims[i] < 0 || __builtin_mul_overflow(n, tensor->dims[i], &n))
            return -1;
    return n;
}

size_t ledge_tensor_bytes(const LedgeTensor *tensor)
{
    int64_t n = ledge_tensor_count(tensor);
    unsigned bits = ledge_type_bits(tensor->type);
    uint64_t total;
    if (n < 0 || bits == 0 || __builtin_mul_overflow((uint64_t)n, (uint64_t)bits, &total))
        return SIZE_MAX;
    if (total > SIZE_MAX / 2)
        return SIZE_MAX;
    return (size_t)((total + 7) / 8);
}
