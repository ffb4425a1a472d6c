/* Telemetry on its way to the disk, for whoever makes inferences: `ledge serve` or a program of
 * one's own. The agent (another process) takes it from there to the registry.
 *
 * Putting a record copies it into a ring in memory and returns; it never waits for a disk. A thread
 * carries the ring to a spool (spool.h) every 100 ms and has the disk confirm it every second: a
 * crash of the process loses at most 100 ms of records, a power cut at most a second. Alerts go to
 * a spool of their own, whose size nobody else's records use up, and are confirmed at once.
 *
 * Each producer has a folder of its own beneath the agent's `queue`, and one writer at a time:
 *
 *   NAME/ NAME.alerts/    spools
 *   NAME/metrics.json     counts and latencies, replaced every two seconds
 *
 * What does not fit is dropped by the policy and counted; the counts are themselves records, and
 * reach the registry exactly once. Thread-safe. */
#ifndef LEDGE_AGENT_TELEMETRY_QUEUE_H
#define LEDGE_AGENT_TELEMETRY_QUEUE_H

#include "fleet/agent/record_code.h"

/* When the disk's share is full: */
typedef enum LedgeOverflow {
    LEDGE_OVERFLOW_OLDEST, /* the oldest records go */
    LEDGE_OVERFLOW_REJECT, /* new records do not get in */
    LEDGE_OVERFLOW_SAMPLE  /* from half on one of ten gets in; when full, none */
} LedgeOverflow;

typedef struct LedgeTelemetryOptions {
    const char *folder; /* …/queue/NAME */
    LedgeOverflow overflow;
    int64_t disk; /* bytes of the disk for records; 0: 64 MB */
    size_t ring;  /* records in memory; 0: 4096 */
} LedgeTelemetryOptions;

typedef struct LedgeTelemetry LedgeTelemetry;

/* Statuses: MISMATCH (another process writes there), IO, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__telemetry_open(const LedgeTelemetryOptions *options,
                                                   LedgeError *err, LedgeTelemetry **out);
/* Brings all to the disk and frees; NULL is legal. */
void ledge__telemetry_close(LedgeTelemetry *t);
/* seq is ignored; timestamp 0 is now. Names must be as wire_names.h wants them. */
void ledge__telemetry_put(LedgeTelemetry *t, const LedgeTelemetryRecord *r);
void ledge__telemetry_alert(LedgeTelemetry *t, const LedgeFleetNote *n);
/* One answer of a version in the shadow: whether it is that of the version that serves. */
void ledge__telemetry_shadow(LedgeTelemetry *t, const char *model, const char *version, bool agrees,
                             int64_t latency_us);

bool ledge__overflow_of(const char *name, LedgeOverflow *out); /* "oldest", "reject", "sample" */

/* ---- what has been seen ---- */

enum { LEDGE_METRICS_MODELS = 16 };

typedef struct LedgeModelMetrics {
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    int64_t count, errors, shadow_count, shadow_agree;      /* since the producer's folder began */
    int64_t avg_us, p50_us, p90_us, p95_us, p99_us, max_us; /* of the last 5 to 10 minutes */
    LedgeFleetDrift drift;
} LedgeModelMetrics;

typedef struct LedgeProducerMetrics {
    LedgeModelMetrics models[LEDGE_METRICS_MODELS];
    size_t n_models;
    int64_t last;       /* microseconds since 1970 of the newest record; 0: none */
    int64_t next;       /* number of the spool's next record */
    int64_t next_alert; /* … and of the alerts' */
    int64_t bytes;      /* on the disk */
    LedgeDropped dropped;
} LedgeProducerMetrics;

void ledge__metrics_write(const LedgeProducerMetrics *m, FILE *to);
LEDGE_MUST_CHECK LedgeStatus ledge__metrics_read(const char *text, size_t size, LedgeError *err,
                                                 LedgeProducerMetrics *out);
/* How many of a spool's records no batch has, `next` being what its metrics say. These are told now
 * and then, so the reader may be ahead of them: then it is 0. */
int64_t ledge__metrics_waiting(const char *spool, int64_t next);

#endif
