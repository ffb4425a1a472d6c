/* Metrics as Prometheus reads them: the text format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats).
 *
 * A family is begun once, then its samples follow; labels are escaped here. {0} is empty. */
#ifndef LEDGE_MONITOR_PROM_TEXT_H
#define LEDGE_MONITOR_PROM_TEXT_H

#include "base/text.h"
#include "monitor/sketch.h"

#define LEDGE_PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct LedgePromText {
    LedgeText text;
    const char *family;
} LedgePromText;

typedef struct LedgePromLabel {
    const char *name, *value;
} LedgePromLabel;

/* type: "counter", "gauge" or "histogram"; `name` must stay valid while its samples are written. */
void ledge__prom_family(LedgePromText *t, const char *name, const char *type, const char *help);
/* One sample of the family; labels end with {NULL, NULL}, or are NULL. */
void ledge__prom_sample(LedgePromText *t, const LedgePromLabel *labels, double value);
/* A histogram of seconds from a sketch, with Prometheus' usual latency buckets down to 100 us. */
void ledge__prom_histogram(LedgePromText *t, const LedgePromLabel *labels, const LedgeSketch *s);

#endif
