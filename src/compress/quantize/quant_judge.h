/* How a quantized model answers beside the float one: signal to noise of the outputs, and
 * classes.
 *
 * Keeps some samples and the float model's answers to them in memory, evenly spread over the
 * calibration data and never more than a budget of bytes, however many samples there are. All
 * searches (mixed precision, rounding, bias) judge and measure on these. */
#ifndef LEDGE_COMPRESS_QUANT_JUDGE_H
#define LEDGE_COMPRESS_QUANT_JUDGE_H

#include "compress/quantize/quantize.h"

#define LEDGE_JUDGE_BUDGET ((size_t)64 << 20)

/* Told how far a long search is; false ends it with LEDGE_ERROR_CANCELLED. */
typedef struct LedgeQuantTick {
    bool (*fn)(void *arg, const char *what, size_t done, size_t total);
    void *arg;
} LedgeQuantTick;
LedgeStatus ledge__quant_tick(const LedgeQuantTick *t, const char *what, size_t done, size_t total,
                              LedgeError *err);

typedef struct LedgeJudgeSample {
    int32_t label;        /* -1: none known */
    int64_t best;         /* class that the float model gives; -1: it does not classify */
    LedgeTensor *inputs;  /* of the model */
    LedgeTensor *outputs; /* the float model's */
} LedgeJudgeSample;

typedef struct LedgeJudge {
    const LedgeAllocator *allocator;
    LedgeArena *arena;
    size_t budget, used;
    size_t expected, every; /* samples to come; each `every`-th is kept */
    size_t seen;
    LedgeJudgeSample *samples;
    size_t n, n_labelled, float_top1;
    size_t n_inputs, n_outputs;
    bool classifies; /* the first output is one row of scores */
    int threads;
} LedgeJudge;

typedef struct LedgeScore {
    size_t n, labelled; /* samples judged */
    size_t top1;        /* right by label */
    size_t agreement;   /* the float model's class */
    double sqnr_db;     /* over all outputs; INFINITY: equal */
} LedgeScore;

/* `expected` samples will be added. Status: MEMORY. */
LedgeStatus ledge__judge_new(const LedgeAllocator *a, size_t expected, size_t budget, int threads,
                             LedgeError *err, LedgeJudge **out);
void ledge__judge_free(LedgeJudge *j); /* NULL is legal */
/* One more sample with the float model's outputs; copied if it is one to keep. */
LedgeStatus ledge__judge_add(LedgeJudge *j, const LedgeTensor *inputs, size_t n_inputs,
                             const LedgeTensor *outputs, size_t n_outputs, int32_t label,
                             LedgeError *err);
/* The model that `q` would build now, on the first `most` samples (0: all). */
LedgeStatus ledge__judge_score(const LedgeJudge *j, const LedgeQuantizer *q, size_t most,
                               LedgeError *err, LedgeScore *out);
/* The same for a model in memory. */
LedgeStatus ledge__judge_score_bytes(const LedgeJudge *j, const void *bytes, size_t size,
                                     size_t most, LedgeError *err, LedgeScore *out);

/* Points of accuracy lost: of top-1 where samples are labelled, else of agreement with the
 * float model, which no loss of top-1 can exceed. */
double ledge__judge_drop(const LedgeJudge *j, const LedgeScore *s);

/* ---- values inside the float model ---- */

/* Called for each kept sample with the tensors asked for. */
typedef LedgeStatus (*LedgeTapFn)(void *arg, size_t sample, const LedgeTensor *taps,
                                  LedgeError *err);
/* Runs the float model on the first `most` samples (0: all) and hands over `n` of its values,
 * inputs of the model included. */
LedgeStatus ledge__judge_tap(const LedgeJudge *j, LedgeQuantizer *q, LedgeValue *const *values,
                             size_t n, size_t most, LedgeTapFn fn, void *arg, LedgeError *err);

/* Class of the highest score; NaN ranks last. -1: the tensor is no row of scores. */
int64_t ledge__judge_class(const LedgeTensor *t);

#endif
