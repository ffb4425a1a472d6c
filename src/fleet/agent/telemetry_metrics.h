/* Counts and latencies per model as records come, in constant memory. */
#ifndef LEDGE_AGENT_TELEMETRY_METRICS_H
#define LEDGE_AGENT_TELEMETRY_METRICS_H

#include "fleet/agent/telemetry_queue.h"
#include "monitor/sketch.h"

typedef struct LedgeMetricsModel {
    LedgeModelMetrics m;
    LedgeSketch now, before; /* of the last five minutes begun, and of the five before */
} LedgeMetricsModel;

typedef struct LedgeMetrics {
    LedgeMetricsModel models[LEDGE_METRICS_MODELS]; /* the last used first goes, when full */
    size_t n;
    int64_t last;
    int64_t turned_ms; /* when `now` began */
} LedgeMetrics;

void ledge__metrics_add(LedgeMetrics *m, const LedgeTelemetryRecord *r);
void ledge__metrics_shadow(LedgeMetrics *m, const char *model, const char *version, bool agrees,
                           int64_t latency_us);
/* Fills in models and `last`. now_ms: of a monotonic clock. */
void ledge__metrics_tell(LedgeMetrics *m, int64_t now_ms, LedgeProducerMetrics *out);
/* Goes on with counts told before. */
void ledge__metrics_start(LedgeMetrics *m, const LedgeProducerMetrics *from);

#endif
