/* Functions of two numbers, over arrays with broadcasting: arithmetic, comparison, logic,
 * bits.
 *
 * float32, float64, int32, int64 and uint64 are computed in themselves; float16 and bfloat16
 * in float; the narrower integers in int64, whose low bits are the answer that wrapping
 * arithmetic of their own width gives. Integers never trap: x / 0 and x mod 0 are 0, the most
 * negative number divided by -1 is itself, and shifting by the width or more gives 0. */
#ifndef LEDGE_KERNELS_REF_BINARY_H
#define LEDGE_KERNELS_REF_BINARY_H

#include <stdbool.h>

#include "engine/kernels/ref/broadcast.h"
#include "engine/kernels/vec.h"

typedef enum LedgeBinary {
    LEDGE_BINARY_ADD,
    LEDGE_BINARY_SUB,
    LEDGE_BINARY_MUL,
    LEDGE_BINARY_DIV,  /* integers: towards zero */
    LEDGE_BINARY_MOD,  /* sign of the divisor */
    LEDGE_BINARY_FMOD, /* sign of the dividend */
    LEDGE_BINARY_POW,
    LEDGE_BINARY_MIN, /* NaN wins */
    LEDGE_BINARY_MAX,
    LEDGE_BINARY_PRELU,
    LEDGE_BINARY_BIT_AND, /* integers; bool as logic */
    LEDGE_BINARY_BIT_OR,
    LEDGE_BINARY_BIT_XOR,
    LEDGE_BINARY_SHIFT_LEFT, /* unsigned integers */
    LEDGE_BINARY_SHIFT_RIGHT,
    /* From here on the result is a bool. */
    LEDGE_BINARY_EQUAL,
    LEDGE_BINARY_LESS,
    LEDGE_BINARY_LESS_EQUAL,
    LEDGE_BINARY_GREATER,
    LEDGE_BINARY_GREATER_EQUAL,
    LEDGE_BINARY_COUNT
} LedgeBinary;

/* Whether a kind is defined for inputs of this type. */
bool ledge__binary_has(LedgeBinary kind, LedgeType type);

/* y = f(a, b); a and b are of one type, and broadcast to y's shape. y is of their type or
 * bool, and may be the same memory as an input of its own shape. */
void ledge__binary(LedgeBinary kind, const LedgeTensor *a, const LedgeTensor *b,
                   const LedgeTensor *y, LedgeRunner r);

/* a (any number type) to the power of b (any number type), in a's type. */
void ledge__pow_mixed(const LedgeTensor *a, const LedgeTensor *b, const LedgeTensor *y,
                      LedgePool *pool);

#endif
