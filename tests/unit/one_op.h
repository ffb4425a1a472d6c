/* One operator on given inputs, through model, plan and session, for tests of edge cases.
 *
 *   OneOp o = one_op(13, "Slice", 3, (LedgeTensor[]){x, INTS(0), INTS(2)}, 1);
 *   test_attr_int(o.t, o.n, "axis", 1);
 *   assert_int_equal(one_op_run(&o), LEDGE_OK);
 *   … o.out[0] …
 *   one_op_end(&o);
 *
 * All dimensions of the inputs are free in the model, so shapes are only known when running. A
 * tensor of type NONE is an omitted input. */
#ifndef LEDGE_TESTS_ONE_OP_H
#define LEDGE_TESTS_ONE_OP_H

#include "model_maker.h"

typedef struct OneOp {
    TestModel *t;
    OnnxNode *n;
    LedgeModel *model;
    LedgeSession *session;
    LedgeTensor in[8], out[4];
    size_t n_in, n_out;
    LedgeError err;
} OneOp;

OneOp one_op(int opset, const char *op_type, int n_in, const LedgeTensor *in, int n_out);
/* The first status that is not OK, of loading, planning or running. */
LedgeStatus one_op_run(OneOp *o);
void one_op_end(OneOp *o);
/* Runs, expects `status`, and frees. For cases that must be refused. */
void one_op_refused(OneOp *o, LedgeStatus status);
/* Runs and compares output 0: type and shape exactly, elements byte by byte (strings by text). */
void one_op_gives(OneOp *o, const LedgeTensor *want);

LedgeTensor shaped(LedgeType type, int rank, const int64_t *dims, const void *data);
#define COUNT(type, ...) ((int64_t)(sizeof((type[]){__VA_ARGS__}) / sizeof(type)))
#define DIMS(...)                                                                                  \
    (int)COUNT(int64_t, __VA_ARGS__), (int64_t[])                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define INTS(...)                                                                                  \
    shaped(LEDGE_INT64, 1, (int64_t[]){COUNT(int64_t, __VA_ARGS__)}, (int64_t[]){__VA_ARGS__})
#define FLOATS(...)                                                                                \
    shaped(LEDGE_FLOAT, 1, (int64_t[]){COUNT(float, __VA_ARGS__)}, (float[]){__VA_ARGS__})
#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define TEXTS(...)                                                                                 \
    shaped(LEDGE_STRING, 1, (int64_t[]){COUNT(LedgeString, __VA_ARGS__)},                          \
           (LedgeString[]){__VA_ARGS__})
#define NO_INPUT  ((LedgeTensor){0})
#define SCALAR(v) shaped(LEDGE_INT64, 0, NULL, (int64_t[]){v})

#endif
