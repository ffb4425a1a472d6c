/* What report.c and report_count.c share. */
#ifndef LEDGE_ENGINE_REPORT_INTERNAL_H
#define LEDGE_ENGINE_REPORT_INTERNAL_H

#include "engine/session/model.h"
#include "ledge/report.h"

typedef struct LedgeReportBox {
    LedgeReport report; /* first, so that a report's address is its box's */
    LedgeArena *arena;
    LedgeModel *model; /* runnable: kept for its names */
    OnnxModel *onnx;   /* of a file that is no runnable model */
} LedgeReportBox;

/* Fills counts, weights, operators and quantization from the model's structures. */
LedgeStatus ledge__report_count(LedgeReportBox *box, const OnnxModel *m, LedgeError *err);
/* For qsort and bsearch over LedgeStr. */
int ledge__report_compare_str(const void *a, const void *b);

#endif
