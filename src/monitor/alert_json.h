/* Alerts as other programs take them. */
#ifndef LEDGE_MONITOR_ALERT_JSON_H
#define LEDGE_MONITOR_ALERT_JSON_H

#include <jansson.h>

#include "monitor/alerts.h"

/* {"event": "firing"|"resolved", "id", "name", "subject", "severity", "text", "value", "threshold",
 * "host", "since", "ended"}; times as RFC 3339. wall: seconds to add to the alert's clock to get
 * Unix time. A new reference, NULL: out of memory. */
json_t *ledge__alert_json(const LedgeAlert *a, double wall, const char *host);

/* One alert of Alertmanager's API v2, POST /api/v2/alerts, which takes an array of them. An alert
 * that holds is said to end `alive` seconds after `now` unless it is said again, so that nothing
 * fires for ever after this process is gone. */
json_t *ledge__alert_for_alertmanager(const LedgeAlert *a, double now, double wall, double alive,
                                      const char *host);

#endif
