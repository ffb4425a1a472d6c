/* A small float model and what the quantizer makes of it, side by side: for tests that quantize. */
#ifndef LEDGE_TESTS_QUANTIZE_CASE_H
#define LEDGE_TESTS_QUANTIZE_CASE_H

#include "compress/quantize/quantize.h"
#include "model_maker.h"

/* A float model in a file, quantized; both run. */
typedef struct Case {
    char path[64];
    LedgeQuantizer *q;
    LedgeArena *arena;
    OnnxModel *built;
    LedgeModel *model;
    LedgeSession *session;
    LedgeModel *parent;
    LedgeSession *parent_session;
} Case;

/* The model in a file of its own, c->path; frees *t. */
void case_write(Case *c, TestModel *t);
/* Random numbers for an input, in `room` for 4,096. */
LedgeTensor case_sample(const LedgeModel *m, size_t input, uint32_t seed, float *room);
/* c->built from the file by a new quantizer. */
LedgeStatus case_build(Case *c, const LedgeQuantOptions *o, LedgeError *err);
/* All of it; fails the test with the quantizer's own words. */
void case_quantize(Case *c, TestModel *t, const LedgeQuantOptions *o);
void case_end(Case *c);
/* Signal to noise of the quantized answers, in dB, on a sample that was not calibrated on. */
double case_quality(Case *c);

#endif
