/* What classifiers give: rows of scores, their best classes and how sure they are.
 *
 * A tensor of scores is [C], [N,C] or either with further dimensions of 1, of floats of any width,
 * C > 1. Scores are probabilities already when none is negative and they sum to 1; else softmax
 * makes them so. */
#ifndef LEDGE_BASE_SCORES_H
#define LEDGE_BASE_SCORES_H

#include <stdbool.h>
#include <stddef.h>

#include "ledge/tensor.h"

/* Element i of a tensor of numbers as a double, float16 and bfloat16 too; 0 for other types. */
double ledge__tensor_number(const LedgeTensor *t, int64_t i);

/* Whether t is rows of scores, and of how many classes. */
bool ledge__scores_of(const LedgeTensor *t, int64_t *rows, int64_t *classes);
/* The same of a single row. */
bool ledge__scores_row(const LedgeTensor *t);
/* The `k` best of a row, best first (ties: the lower class first; NaN ranks last). Gives how many
 * were written; 0 where t is no scores. */
size_t ledge__scores_top(const LedgeTensor *t, int64_t row, size_t k, int64_t *classes);
/* Probabilities of `classes` of that row. */
void ledge__scores_probabilities(const LedgeTensor *t, int64_t row, const int64_t *classes,
                                 size_t k, double *out);

#endif
