/* Making a baseline from answers that are all at hand: calibration, certification, a test set. */
#ifndef LEDGE_MONITOR_COLLECT_H
#define LEDGE_MONITOR_COLLECT_H

#include "monitor/drift.h"

typedef struct LedgeCollector LedgeCollector;

/* n_classes: of the classifier, 0 for other models. names: of the features that records carry.
 * Statuses: LIMIT (too many classes or features), MEMORY. */
LedgeStatus ledge__collector_new(uint32_t n_classes, uint32_t n_features, const char *const *names,
                                 const LedgeAllocator *a, LedgeError *err, LedgeCollector **out);
void ledge__collector_free(LedgeCollector *c); /* NULL is legal */
/* Memory stays the same however many are added: distributions are kept as even samples of 4,096. */
void ledge__collector_add(LedgeCollector *c, const LedgeDriftRecord *r);
/* What was added so far, to be freed by ledge__baseline_free. Status: MEMORY. */
LedgeStatus ledge__collector_baseline(LedgeCollector *c, LedgeError *err, LedgeBaseline **out);

#endif
