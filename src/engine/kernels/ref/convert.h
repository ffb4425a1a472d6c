/* Element conversion between any number type and the three types that ledge computes in:
 * float, double and int64.
 *
 * The rules are those of ONNX Cast (opset 25): to a float type round to nearest, ties to even;
 * integer to integer drops high bits; anything but zero is a true bool. What ONNX leaves
 * undefined is defined here: a float that does not fit an integer type saturates, NaN gives 0;
 * only the 4- and 2-bit integers keep the low bits of the cut number, as the backend tests want.
 * float8 and float4 saturate unless asked otherwise. Positions count elements, also in the packed
 * 4- and 2-bit types. */
#ifndef LEDGE_KERNELS_REF_CONVERT_H
#define LEDGE_KERNELS_REF_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/tensor.h"

/* Which of the types that ledge computes in holds a type without loss. */
typedef enum LedgeNumClass {
    LEDGE_NUM_NONE = 0, /* strings, complex numbers, containers */
    LEDGE_NUM_FLOAT,    /* float holds it: float32, float16, bfloat16, float8, float4 */
    LEDGE_NUM_DOUBLE,
    LEDGE_NUM_INT,   /* int64 holds it: signed, unsigned but uint64, packed, bool */
    LEDGE_NUM_UINT64 /* travels as the same bits in int64 */
} LedgeNumClass;

LedgeNumClass ledge__num_class(LedgeType type);
bool ledge__num_is_float(LedgeType type); /* FLOAT or DOUBLE class */

/* Elements first … first+n-1 of `src`. The type must be of a number class. */
void ledge__load_f32(LedgeType type, const void *src, size_t first, size_t n, float *dst);
void ledge__load_f64(LedgeType type, const void *src, size_t first, size_t n, double *dst);
/* Floats are cut towards zero and saturate at int64 (uint64 for that class' own store). */
void ledge__load_i64(LedgeType type, const void *src, size_t first, size_t n, int64_t *dst);

/* How a value becomes float8: `saturate` as the attribute of Cast; `round` for float8e8m0. */
typedef enum LedgeE8m0Round {
    LEDGE_E8M0_UP = 0,
    LEDGE_E8M0_DOWN,
    LEDGE_E8M0_NEAREST
} LedgeE8m0Round;
typedef struct LedgeStoreMode {
    bool saturate;
    LedgeE8m0Round round;
} LedgeStoreMode;

/* Writes elements first … first+n-1 of `dst`. Of packed types only these elements change. */
void ledge__store_f32(LedgeType type, void *dst, size_t first, size_t n, const float *src);
void ledge__store_f64(LedgeType type, void *dst, size_t first, size_t n, const double *src);
void ledge__store_f64_mode(LedgeType type, void *dst, size_t first, size_t n, const double *src,
                           LedgeStoreMode mode);
void ledge__store_i64(LedgeType type, void *dst, size_t first, size_t n, const int64_t *src);

/* double nearest to `v`, or, where no double equals it, such that rounding it again to a
 * narrower float type gives what rounding `v` itself would have given. */
double ledge__i64_to_f64_odd(int64_t v);
double ledge__u64_to_f64_odd(uint64_t v);

/* Truncation towards zero; saturates, NaN is 0. */
int64_t ledge__f64_to_i64(double v);
uint64_t ledge__f64_to_u64(double v);

float ledge__f16_to_f32(uint16_t h);
uint16_t ledge__f32_to_f16(float f);
float ledge__bf16_to_f32(uint16_t h);
uint16_t ledge__f32_to_bf16(float f);

/* Largest finite value of a float type, and lowest and highest of an integer type. */
double ledge__type_max_float(LedgeType type);
void ledge__type_int_range(LedgeType type, int64_t *lowest, int64_t *highest);

#endif
