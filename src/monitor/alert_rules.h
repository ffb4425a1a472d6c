/* What is worth an alert: drift findings of a model, and a machine that runs short.
 *
 * Rules turn what is measured into alerts by name, with a sentence for people; the table of alerts
 * (alerts.h) decides what is told, and each event goes to the caller's sink. */
#ifndef LEDGE_MONITOR_ALERT_RULES_H
#define LEDGE_MONITOR_ALERT_RULES_H

#include "monitor/alerts.h"
#include "monitor/resources.h"

#define LEDGE_ALERT_MACHINE "machine" /* the subject of what is no model's */

typedef void (*LedgeAlertSink)(void *arg, LedgeAlertEvent event, const LedgeAlert *alert);

/* Shares are 0 … 1, temperatures degrees Celsius; 0: by default, INFINITY: never. */
typedef struct LedgeResourceLimits {
    struct {
        double warning, high;
    } cpu, /* 0.8, 0.95 */
        memory /* 0.85, 0.95 */, disk /* 0.9, 0.97 */, temperature /* 80, 95 */;
} LedgeResourceLimits;

/* subject: "MODEL/VERSION". A report that judges nothing leaves alerts as they are. */
void ledge__alert_drift(LedgeAlerts *alerts, double now, const char *subject,
                        const LedgeDriftReport *report, LedgeAlertSink sink, void *arg);
/* limits may be NULL. An alert ends when its value is a tenth below the limit of warning. */
void ledge__alert_resources(LedgeAlerts *alerts, double now, const LedgeResourceSample *sample,
                            const LedgeResourceLimits *limits, LedgeAlertSink sink, void *arg);
/* All alerts of a subject end: a model was unloaded. */
void ledge__alert_end(LedgeAlerts *alerts, double now, const char *subject, LedgeAlertSink sink,
                      void *arg);

#endif
