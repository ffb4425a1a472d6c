/* The machine under a model: CPU, memory, control group, disk, network, temperature, throttling.
 *
 * A sample reads a dozen small files of /proc and /sys and is kept in a ring of a day's minutes.
 * Rates are taken between two samples; the clock is the caller's, monotonic, in seconds. What a
 * machine does not tell is NAN. One thread at a time. */
#ifndef LEDGE_MONITOR_RESOURCES_H
#define LEDGE_MONITOR_RESOURCES_H

#include "base/alloc.h"
#include "base/error.h"

enum { LEDGE_RESOURCES_KEPT = 1440 };

/* X(field, "name", "unit"): units are base units, shares are 0 … 1. */
#define LEDGE_RESOURCES_LIST(X)                                                                    \
    X(cpu, "cpu", "ratio")                   /* of all CPUs, since the last sample */              \
    X(load1, "load1", "")                    /* as the kernel counts it */                         \
    X(memory, "memory", "ratio")             /* used, of what this process may use */              \
    X(memory_total, "memory_total", "bytes") /* the control group's limit if lower */              \
    X(disk, "disk", "ratio")                 /* of the watched file system */                      \
    X(disk_read, "disk_read", "bytes_per_second")                                                  \
    X(disk_written, "disk_written", "bytes_per_second")                                            \
    X(net_received, "net_received", "bytes_per_second") /* without the loopback */                 \
    X(net_sent, "net_sent", "bytes_per_second")                                                    \
    X(temperature, "temperature", "celsius")     /* of the hottest zone */                         \
    X(throttled, "throttled", "ratio")           /* 1: the clock is held down by heat */           \
    X(process_cpu, "process_cpu", "ratio")       /* of one CPU */                                  \
    X(process_memory, "process_memory", "bytes") /* resident */

typedef struct LedgeResourceSample {
    double time;
#define LEDGE_RESOURCE_FIELD(field, name, unit) double field;
    LEDGE_RESOURCES_LIST(LEDGE_RESOURCE_FIELD)
#undef LEDGE_RESOURCE_FIELD
} LedgeResourceSample;

typedef struct LedgeResources LedgeResources;

/* disk: a path on the file system to watch, NULL: "/". root: "" or a folder that stands for "/"
 * before /proc and /sys, for tests. Statuses: ARGUMENT, MEMORY. */
LedgeStatus ledge__resources_new(const char *disk, const char *root, const LedgeAllocator *a,
                                 LedgeError *err, LedgeResources **out);
void ledge__resources_free(LedgeResources *r); /* NULL is legal */
/* Takes a sample and keeps it; shares and rates are NAN in the first. */
void ledge__resources_sample(LedgeResources *r, double now, LedgeResourceSample *out);
/* The i-th kept sample, the newest first; NULL past the oldest. */
const LedgeResourceSample *ledge__resources_at(const LedgeResources *r, size_t i);

#endif
