/* Element types and the tensor view that crosses the public API.
 *
 * Type codes are those of ONNX's TensorProto.DataType, so a model's code is ledge's. */
#ifndef LEDGE_TENSOR_H
#define LEDGE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Most dimensions that a tensor may have; a model with more is refused. */
#define LEDGE_MAX_RANK 8

/* X(code, NAME, name, bits per element). 4- and 2-bit types are packed, low bits first. */
#define LEDGE_TYPE_LIST(X)                                                                \
    X(1, FLOAT, "float32", 32)                                                            \
    X(2, UINT8, "uint8", 8)                                                               \
    X(3, INT8, "int8", 8)                                                                 \
    X(4, UINT16, "uint16", 16)                                                            \
    X(5, INT16, "int16", 16)                                                              \
    X(6, INT32, "int32", 32)                                                              \
    X(7, INT64, "int64", 64)                                                              \
    X(8, STRING, "string", 128)                                                           \
    X(9, BOOL, "bool", 8)                                                                 \
    X(10, FLOAT16, "float16", 16)                                                         \
    X(11, DOUBLE, "float64", 64)                                                          \
    X(12, UINT32, "uint32", 32)                                                           \
    X(13, UINT64, "uint64", 64)                                                           \
    X(14, COMPLEX64, "complex64", 64)                                                     \
    X(15, COMPLEX128, "complex128", 128)                                                  \
    X(16, BFLOAT16, "bfloat16", 16)                                                       \
    X(17, FLOAT8E4M3FN, "float8e4m3fn", 8)                                                \
    X(18, FLOAT8E4M3FNUZ, "float8e4m3fnuz", 8)                                            \
    X(19, FLOAT8E5M2, "float8e5m2", 8)                                                    \
    X(20, FLOAT8E5M2FNUZ, "float8e5m2fnuz", 8)                                            \
    X(21, UINT4, "uint4", 4)                                                              \
    X(22, INT4, "int4", 4)                                                                \
    X(23, FLOAT4E2M1, "float4e2m1", 4)                                                    \
    X(24, FLOAT8E8M0, "float8e8m0", 8)                                                    \
    X(25, UINT2, "uint2", 2)                                                              \
    X(26, INT2, "int2", 2)

typedef enum LedgeType {
    LEDGE_TYPE_NONE = 0,
#define LEDGE_TYPE_ENUM(code, NAME, name, bits) LEDGE_##NAME = (code),
    LEDGE_TYPE_LIST(LEDGE_TYPE_ENUM)
#undef LEDGE_TYPE_ENUM
    /* Containers: rank is 1, dims[0] the number of elements, data a LedgeTensor[]. An
     * optional holds 0 or 1 elements. dims[1] carries the element type if known, else 0. */
    LEDGE_SEQUENCE = 64,
    LEDGE_OPTIONAL = 65
} LedgeType;

/* One element of a LEDGE_STRING tensor: bytes, not NUL-terminated. */
typedef struct LedgeString {
    const char *data;
    size_t size;
} LedgeString;

/* A view of a dense row-major tensor. Who owns `data` is said where one is passed.
 * In descriptions (not in runs) rank may be -1 and a dimension -1: not known. */
typedef struct LedgeTensor {
    LedgeType type;
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK];
    void *data;
    size_t bytes; /* capacity of `data` in bytes */
} LedgeTensor;

/* Name of a type as in messages ("float32"); "?" for an unknown code. */
LEDGE_API const char *ledge_type_name(LedgeType type);

/* Bits per element; 0 for an unknown code or a container. */
LEDGE_API unsigned ledge_type_bits(LedgeType type);

/* Product of the dimensions; -1 if any is unknown or the product overflows int64. */
LEDGE_API int64_t ledge_tensor_count(const LedgeTensor *tensor);

/* Bytes that the elements take, packed types rounded up; SIZE_MAX if not known. */
LEDGE_API size_t ledge_tensor_bytes(const LedgeTensor *tensor);

#ifdef __cplusplus
}
#endif
#endif
