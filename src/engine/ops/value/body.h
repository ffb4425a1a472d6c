/* What If, Loop, Scan and SequenceMap share: finding a body, what is known of its outputs before
 * it runs, and storing a result that must keep to it. */
#ifndef LEDGE_ENGINE_OPS_BODY_H
#define LEDGE_ENGINE_OPS_BODY_H

#include "engine/graph/op.h"

/* The subgraph of attribute `name`; FORMAT when it is missing. */
LedgeStatus ledge__body(LedgeOpCtx *c, const char *name, LedgeGraph **out);
static inline uint32_t ledge__body_formal(const LedgeGraph *g)
{
    return g->n_inputs - g->n_captured;
}
/* Output i becomes a copy of `value`, whose shape must be what infer said where it said one:
 * others were planned by it. */
LedgeStatus ledge__body_store(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value);
/* Type of out[i] from `a`, and where b != NULL only what both agree on. */
void ledge__body_meet(LedgeOpCtx *c, uint32_t i, const LedgeTensor *a, const LedgeTensor *b);
/* out[i] as a sequence of `element` (NONE: not known). */
void ledge__out_sequence(LedgeOpCtx *c, uint32_t i, LedgeType element);

/* Rows of one scan output, gathered while a body runs again and again. */
typedef struct LedgeRows {
    LedgeTensor row; /* type and dims of one row; set by the first one */
    int64_t count, cap;
    size_t row_bytes;
    char *data;
} LedgeRows;

/* Appends a deep copy; every row must have the type and shape of the first. */
LedgeStatus ledge__rows_add(LedgeOpCtx *c, LedgeRows *rows, const LedgeTensor *row);
/* Output i: the rows stacked along a new axis. Without rows their shape is taken from
 * `declared`, unknown dimensions being 0. */
LedgeStatus ledge__rows_store(LedgeOpCtx *c, uint32_t i, const LedgeRows *rows, int64_t axis,
                              bool backwards, const LedgeTensor *declared);

#endif
