/* Alerts: which findings somebody should hear of, once each.
 *
 * Sources report the severity of each thing they watch, again and again; out come the few events
 * worth sending: an alert begins, worsens, is still there after a long time, is over. One that
 * comes back soon after it ended waits for the cooldown to pass. Sending is the caller's. The table
 * is bounded; what does not fit is counted. One thread at a time; the clock is the caller's. */
#ifndef LEDGE_MONITOR_ALERTS_H
#define LEDGE_MONITOR_ALERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "monitor/drift.h"

enum { LEDGE_ALERTS_KEPT = 256 };

typedef struct LedgeAlert {
    char name[64];    /* "drift_class_psi", "memory" */
    char subject[96]; /* model or machine part that it is about */
    char text[160];   /* one sentence */
    LedgeSeverity severity;
    double value, threshold;
    double since; /* when it began */
    double sent;  /* when somebody last heard of it; NAN: never */
    double ended; /* NAN while it holds */
    uint64_t id;  /* the same from beginning to end */
} LedgeAlert;

typedef enum LedgeAlertEvent {
    LEDGE_ALERT_NONE,
    LEDGE_ALERT_FIRING, /* begins, worsens or is still there */
    LEDGE_ALERT_RESOLVED
} LedgeAlertEvent;

typedef struct LedgeAlertOptions {
    double repeat;   /* seconds after which one that holds is told again; 4 hours where 0 */
    double cooldown; /* seconds for which one that ended stays silent; 5 minutes where 0 */
} LedgeAlertOptions;

typedef struct LedgeAlerts LedgeAlerts;

/* options may be NULL. Statuses: ARGUMENT, MEMORY. */
LedgeStatus ledge__alerts_new(const LedgeAlertOptions *options, const LedgeAllocator *a,
                              LedgeError *err, LedgeAlerts **out);
void ledge__alerts_free(LedgeAlerts *alerts); /* NULL is legal */
/* How things stand with (name, subject); FINE: all is well. *out is the alert, when there is an
 * event, and stays valid until the next call. */
LedgeAlertEvent ledge__alerts_update(LedgeAlerts *alerts, double now, const char *name,
                                     const char *subject, LedgeSeverity severity, double value,
                                     double threshold, const char *text, const LedgeAlert **out);
/* The alert of that name and subject, if it holds now; else NULL. */
const LedgeAlert *ledge__alerts_find(const LedgeAlerts *alerts, const char *name,
                                     const char *subject);
/* The i-th alert that holds now; NULL past the last. */
const LedgeAlert *ledge__alerts_at(const LedgeAlerts *alerts, size_t i);
uint64_t ledge__alerts_dropped(const LedgeAlerts *alerts); /* no room was left for so many */

#endif
