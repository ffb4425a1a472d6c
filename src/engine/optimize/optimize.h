/* The optimiser: rewrites a graph so that it computes the same with less work.
 *
 * Takes a graph whose operators are bound and whose shapes were inferred, and changes it in
 * place by the passes listed in passes.def, group after group, each group until nothing moves
 * any more. A pass makes an internal operator (domain "ledge", docs/internal-operators.md) only
 * where that operator is registered. */
#ifndef LEDGE_ENGINE_OPTIMIZE_H
#define LEDGE_ENGINE_OPTIMIZE_H

#include "engine/graph/op.h"

typedef struct LedgeOptOptions {
    uint32_t cpu;  /* CPU flags that kernels may use; some fusions pay only with some kernels */
    bool portable; /* only rewrites whose result is plain ONNX, for graphs that are written out */
    size_t fold_limit; /* bytes, for ledge__graph_infer; 0: nothing is folded */
    uint32_t *counts;  /* NULL, or ledge__opt_pass_count() counters: rounds in which each fired */
} LedgeOptOptions;

/* Statuses: MEMORY, and what ledge__graph_infer gives. After a failure the graph may only be
 * freed. `o` may be NULL. */
LedgeStatus ledge__graph_optimize(LedgeGraph *g, const LedgeOptOptions *o, LedgeError *err);

/* The passes in their order, for tests and `inspect`. */
size_t ledge__opt_pass_count(void);
const char *ledge__opt_pass_name(size_t i); /* NULL past the end */
/* Runs one pass by its name, once; NOT_FOUND for an unknown one. */
LedgeStatus ledge__opt_run_pass(LedgeGraph *g, const LedgeOptOptions *o, const char *name,
                                bool *changed, LedgeError *err);

#endif
