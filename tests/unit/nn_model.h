/* One operator as a model: inputs and constants from literal arrays, run once. */
#ifndef LEDGE_TESTS_NN_MODEL_H
#define LEDGE_TESTS_NN_MODEL_H

#include "model_maker.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define FLOATS(...) ((float[]){__VA_ARGS__})
#define BYTES(...) ((uint8_t[]){__VA_ARGS__})

typedef struct NnModel {
    TestModel *t;
    LedgeTensor in[8], out[4];
    size_t n_in, n_out;
    int threads;   /* 0: 1 */
    bool optimize; /* false: plain kernels, the graph as it stands */
    LedgeModel *model;
    LedgeSession *session;
    LedgeError err;
} NnModel;

/* An input called x0, x1, … in order. */
void nn_input(NnModel *m, LedgeType type, int rank, const int64_t *dims, const void *data);
/* Loads and runs; the model's outputs are y0 … (declared here). */
LedgeStatus nn_run(NnModel *m, size_t n_out);
void nn_free(NnModel *m);
/* Runs, expecting `status` and `text` in the message, then frees. */
void nn_expect_refusal(NnModel *m, LedgeStatus status, const char *text);
/* Output i has these dimensions and values within 1e-5. */
void nn_expect(const NnModel *m, size_t i, int rank, const int64_t *dims, const float *values);

#endif
