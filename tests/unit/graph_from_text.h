/* Graphs for tests from a few lines of text, in the notation of ledge__graph_text:
 *
 *   opset 13
 *   input x f32[?,8,6,6]
 *   const w f32[4,8,3,3]            numbers in -1 … 1, always the same (i8, u8, i4, u4: all codes;
 *                                   i32: -1000 … 1000)
 *   const v f32[4] positive         numbers in 0.5 … 1.5
 *   const a i64[2] = 1,2
 *   y = Conv(x, w, _) {strides=[2,2], group=1, alpha=0.5, mode="linear"}
 *   output y
 *
 * Any fault fails the running cmocka test. */
#ifndef LEDGE_TEST_GRAPH_FROM_TEXT_H
#define LEDGE_TEST_GRAPH_FROM_TEXT_H

#include "engine/graph/op.h"

/* Operators are bound and shapes inferred. Free with ledge__graph_free. */
LedgeGraph *graph_from_text(const char *text);
/* The same as the bytes of a model file. Free with ledge__free(NULL, …). */
void *onnx_from_text(const char *text, size_t *size);
/* ledge__graph_text without the input lines, and with made-up names counted from %0 in the
 * order in which they appear. Free with ledge__free(NULL, …). */
char *text_of_graph(const LedgeGraph *g);
/* The text after one pass must be `after` (and the pass must say that it changed something, or
 * that it did not where `after` is NULL), and the graph must stay sound. */
void assert_pass(const char *pass, const char *before, const char *after);
/* The same after the whole optimiser. */
void assert_optimized(const char *before, const char *after);
/* The same for the rewrites that leave plain ONNX. */
void assert_optimized_portable(const char *before, const char *after);
/* Runs the graph as it is and optimised, on the same inputs (free dims are 2): the outputs'
 * normalised mean squared error must be at most 1e-10. */
void assert_outputs_agree(const char *text);
/* The same, but no number may differ by more than `within`; 0: equal. */
void assert_outputs_within(const char *text, double within);

#endif
