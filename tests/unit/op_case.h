/* One operator, run on a few numbers through the whole engine, for tests of operators.
 *
 *   OpCase *t = op_case("Add", 14);
 *   op_in(t, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(1, 2));
 *   op_in(t, LEDGE_FLOAT, 0, NULL, NUMBERS(10));
 *   op_expect(t, 0, LEDGE_FLOAT, 1, DIMS(2), NUMBERS(11, 12));
 *   op_done(t);
 *
 * The first expectation runs the operator three times: on the caller's inputs, on inputs whose
 * dimensions the model leaves free, and on constants. The answers must agree to the bit, unless
 * op_random was called. */
#ifndef LEDGE_TESTS_OP_CASE_H
#define LEDGE_TESTS_OP_CASE_H

#include "ledge/ledge.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define NUMBERS(...) ((const double[]){__VA_ARGS__})

typedef struct OpCase OpCase;

OpCase *op_case(const char *op_type, int opset);
/* Another number of outputs than 1. */
void op_outputs(OpCase *t, int n);
void op_random(OpCase *t);
void op_threads(OpCase *t, int threads);

void op_in(OpCase *t, LedgeType type, int rank, const int64_t *dims, const double *values);
/* Elements as they lie in memory. */
void op_in_raw(OpCase *t, LedgeType type, int rank, const int64_t *dims, const void *data);
void op_omit(OpCase *t); /* an optional input left out */

void op_int(OpCase *t, const char *name, int64_t v);
void op_float(OpCase *t, const char *name, float v);
void op_ints(OpCase *t, const char *name, int count, const int64_t *v);
void op_text(OpCase *t, const char *name, const char *v);

/* Output i after a run that must have gone well. */
const LedgeTensor *op_output(OpCase *t, int i);
/* Exact for integers, within 1e-6 relative for floats; NaN equals NaN. */
void op_expect(OpCase *t, int i, LedgeType type, int rank, const int64_t *dims,
               const double *values);
void op_expect_raw(OpCase *t, int i, LedgeType type, int rank, const int64_t *dims,
                   const void *data);
/* Loading or running must fail so, with a sentence that names the operator. */
void op_refused(OpCase *t, LedgeStatus status);
void op_done(OpCase *t);

#endif
