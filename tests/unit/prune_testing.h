/* What the tests of channel pruning share: pruners of made models, and their answers. */
#ifndef LEDGE_TESTS_PRUNE_TESTING_H
#define LEDGE_TESTS_PRUNE_TESTING_H

#include "compress/prune/prune_internal.h"
#include "model_maker.h"

/* Models here take a batch of pictures of three channels, and give 10 scores for each. */
enum { PRUNE_SIDE = 8, PRUNE_BATCH = 2, PRUNE_ANSWERS = PRUNE_BATCH * 10 };

/* Answers to always the same pictures. */
void prune_answers_of_bytes(const void *bytes, size_t size, float *out);
void prune_answers(const OnnxModel *onnx, float *out);
/* Up to rounding; `seed` is for the message. */
void prune_assert_same(const float *a, const float *b, uint32_t seed);
/* Ranked, with its plan. NULL: a model whose channels all have to stay. */
LedgePruner *prune_open_any(TestModel *t, const LedgePruneOptions *o);
LedgePruner *prune_open(TestModel *t, const LedgePruneOptions *o); /* never NULL */
LedgePruned *prune_build(const LedgePruner *p);

#endif
