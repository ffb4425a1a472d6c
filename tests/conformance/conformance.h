/* One backend test case: what came of it, and what it may do. */
#ifndef LEDGE_TESTS_CONFORMANCE_H
#define LEDGE_TESTS_CONFORMANCE_H

#include <stdbool.h>

typedef enum Outcome {
    CASE_PASS,
    CASE_PASS_SHAPES,  /* random values: types and shapes agree, which is all that can */
    CASE_UNSUPPORTED,  /* refused by name */
    CASE_WRONG,        /* another answer, or refused for a wrong reason */
    CASE_CRASH,        /* a signal or no answer in time */
    CASE_OUT_OF_RANGE, /* an opset that ledge does not read */
    CASE_OUTCOMES
} Outcome;

typedef struct CaseResult {
    Outcome outcome;
    char detail[512]; /* why, in a sentence; empty for a pass */
} CaseResult;

typedef struct CaseOptions {
    int threads;
    bool no_optimize;
} CaseOptions;

/* Runs the case in folder `dir` (model.onnx, test_data_set_0/…) in this process. */
void conformance_case(const char *dir, const CaseOptions *options, CaseResult *result);

#endif
