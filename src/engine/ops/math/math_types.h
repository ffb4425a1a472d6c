/* What the operators of this folder share: sets of element types, checks, small inputs. */
#ifndef LEDGE_OPS_MATH_TYPES_H
#define LEDGE_OPS_MATH_TYPES_H

#include "engine/graph/op.h"

/* A set of element types, one bit for each code. */
typedef uint32_t LedgeTypeSet;

#define LEDGE_SET(T) ((LedgeTypeSet)1 << LEDGE_##T)
#define LEDGE_SET_FLOATS                                                                           \
    (LEDGE_SET(FLOAT) | LEDGE_SET(DOUBLE) | LEDGE_SET(FLOAT16) | LEDGE_SET(BFLOAT16))
#define LEDGE_SET_SIGNED                                                                           \
    (LEDGE_SET(INT8) | LEDGE_SET(INT16) | LEDGE_SET(INT32) | LEDGE_SET(INT64))
#define LEDGE_SET_UNSIGNED                                                                         \
    (LEDGE_SET(UINT8) | LEDGE_SET(UINT16) | LEDGE_SET(UINT32) | LEDGE_SET(UINT64))
#define LEDGE_SET_NUMBERS (LEDGE_SET_FLOATS | LEDGE_SET_SIGNED | LEDGE_SET_UNSIGNED)
#define LEDGE_SET_INDICES (LEDGE_SET(INT32) | LEDGE_SET(INT64))
#define LEDGE_SET_FLOAT8                                                                           \
    (LEDGE_SET(FLOAT8E4M3FN) | LEDGE_SET(FLOAT8E4M3FNUZ) | LEDGE_SET(FLOAT8E5M2) |                 \
     LEDGE_SET(FLOAT8E5M2FNUZ))
#define LEDGE_SET_PACKED                                                                           \
    (LEDGE_SET(INT4) | LEDGE_SET(UINT4) | LEDGE_SET(INT2) | LEDGE_SET(UINT2) |                     \
     LEDGE_SET(FLOAT4E2M1))
#define LEDGE_SET_TENSORS (LEDGE_SET(INT2) * 2 - 2) /* every element type there is */

static inline bool ledge__type_in(LedgeType type, LedgeTypeSet set)
{
    return (unsigned)type < 32 && (set >> type & 1);
}

/* Fails when input i is missing, or of a type outside `set` (an unknown type passes). */
LedgeStatus ledge__math_need(LedgeOpCtx *c, uint32_t i, LedgeTypeSet set);
/* The same, and of the same type as input `like`. */
LedgeStatus ledge__math_need_like(LedgeOpCtx *c, uint32_t i, uint32_t like);
/* Checks input 0 and gives output 0 its type and shape; the type is `type` unless NONE. */
LedgeStatus ledge__math_infer_like_input(LedgeOpCtx *c, LedgeTypeSet set, LedgeType type);
/* The type that INT attribute `name` holds, `absent` without one; fails outside `set`. */
LedgeStatus ledge__math_type_attr(LedgeOpCtx *c, const char *name, LedgeType absent,
                                  LedgeTypeSet set, LedgeType *out);
/* The number in input i, a tensor of one element; *known says whether it is there yet. */
LedgeStatus ledge__math_scalar(LedgeOpCtx *c, uint32_t i, double *value, bool *known);
LedgeStatus ledge__math_scalar_int(LedgeOpCtx *c, uint32_t i, int64_t *value, bool *known);
/* Copies n elements of any type; to and from may be one array. */
void ledge__math_copy(const LedgeTensor *to, const LedgeTensor *from);
/* Sets every element of `t` to its zero bits (numbers and bool: 0, strings: empty). */
void ledge__math_clear(const LedgeTensor *t);
/* Zeroes the last byte of a packed tensor, so that the bits behind its last element are 0 once all
 * elements are written; nothing for other types. */
void ledge__math_clear_tail(const LedgeTensor *t);
/* rank and dims seen as [outer, dims[axis], inner]. */
void ledge__math_split(const LedgeTensor *t, int32_t axis, size_t *outer, size_t *n,
                       size_t *inner);

#endif
