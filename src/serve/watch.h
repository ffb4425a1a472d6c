/* The server's watchman: one thread that looks at models and machine every few seconds, raises and
 * ends alerts, keeps a day of the machine's minutes, and saves the state of drift monitoring.
 *
 * Alerts are on whenever they have somewhere to go; what holds is shown in /v1/status and /metrics
 * in any case. */
#ifndef LEDGE_SERVE_WATCH_H
#define LEDGE_SERVE_WATCH_H

#include "base/text.h"
#include "monitor/alert_rules.h"
#include "serve/model_table.h"
#include "serve/outbox.h"

typedef struct LedgeWatchOptions {
    bool log;                  /* a line on stderr for each event */
    LedgeOutboxOptions outbox; /* texts are borrowed */
    LedgeAlertOptions alerts;
    LedgeResourceLimits limits;
    const char *state;    /* folder of drift states, NULL: they are lost at the end */
    double interval;      /* seconds between two looks, 0: 5 */
    double minute;        /* seconds between samples of the machine and savings, 0: 60 */
    LedgeAlertSink event; /* told of each event too, and must not wait; NULL: nobody is */
    void *event_arg;
} LedgeWatchOptions;

typedef struct LedgeWatch LedgeWatch;

/* Statuses: MEMORY, RUNTIME (no thread), IO (the folder cannot be written). */
LedgeStatus ledge__watch_new(const LedgeWatchOptions *options, LedgeModelTable *table,
                             LedgeError *err, LedgeWatch **out);
/* Saves all states and delivers what waits, for at most `patience` seconds. NULL is legal. */
void ledge__watch_free(LedgeWatch *w, double patience);

/* A copy of the alerts that hold; gives how many, at most `room`. Their clock is ledge__now(). */
size_t ledge__watch_alerts(LedgeWatch *w, LedgeAlert *to, size_t room);
void ledge__watch_counts(LedgeWatch *w, LedgeChannel channel, LedgeOutboxCounts *out);
uint64_t ledge__watch_save_failures(LedgeWatch *w);
/* The kept samples of the machine, oldest first, as JSON: {"interval": s, "age": s of the newest,
 * "series": {NAME: [number|null...]}}. */
void ledge__watch_history(LedgeWatch *w, LedgeText *out);

#endif
