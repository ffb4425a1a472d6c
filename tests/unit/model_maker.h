/* Models made in a few lines, for tests of graph, planner, session and optimiser.
 *
 *   TestModel *t = test_model_new(17);
 *   test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
 *   test_floats(t, "w", 2, (int64_t[]){4, 3}, values);
 *   test_node(t, "MatMul", "x w", "y");
 *   test_output(t, "y");
 *
 * Names are separated by blanks; "_" is an omitted one. Everything aborts the test on lack of
 * memory. The bytes live until test_model_free. */
#ifndef LEDGE_TESTS_MODEL_MAKER_H
#define LEDGE_TESTS_MODEL_MAKER_H

#include "engine/onnx/onnx.h"
#include "ledge/ledge.h"

typedef struct TestModel TestModel;

TestModel *test_model_new(int opset);
void test_model_free(TestModel *t);

void test_input(TestModel *t, const char *name, LedgeType type, int rank, const int64_t *dims);
void test_output(TestModel *t, const char *name);
void test_tensor(TestModel *t, const char *name, LedgeType type, int rank, const int64_t *dims,
                 const void *data);
void test_floats(TestModel *t, const char *name, int rank, const int64_t *dims, const float *data);
/* Seeded noise in [-1, 1). */
void test_noise(TestModel *t, const char *name, int rank, const int64_t *dims, uint32_t seed);
void test_ints(TestModel *t, const char *name, int n, const int64_t *data); /* int64 [n] */

OnnxNode *test_node(TestModel *t, const char *op_type, const char *inputs, const char *outputs);
void test_attr_int(TestModel *t, OnnxNode *n, const char *name, int64_t v);
void test_attr_float(TestModel *t, OnnxNode *n, const char *name, float v);
void test_attr_ints(TestModel *t, OnnxNode *n, const char *name, int count, const int64_t *v);
void test_attr_string(TestModel *t, OnnxNode *n, const char *name, const char *v);
/* The graph of `body` (which must live as long as t). */
void test_attr_graph(TestModel *t, OnnxNode *n, const char *name, TestModel *body);
void test_metadata(TestModel *t, const char *key, const char *value);

OnnxModel *test_onnx(TestModel *t);
/* Serialized; made anew at each call, owned by t. */
const void *test_bytes(TestModel *t, size_t *size);
/* Loaded through the public API; the caller frees. NULL with *err filled on failure. */
LedgeModel *test_load(TestModel *t, bool optimize, LedgeError *err);

/* Fills x with the noise that test_noise makes. */
void test_fill(float *x, size_t n, uint32_t seed);

#endif
