/* Records of what `ledge serve` answers, for the agent to bring to the registry. */
#ifndef LEDGE_CLI_SERVE_TELEMETRY_H
#define LEDGE_CLI_SERVE_TELEMETRY_H

#include "cli/cli.h"
#include "fleet/agent/shadow.h"
#include "fleet/agent/telemetry_queue.h"
#include "serve/watch.h"

typedef struct CliServeTelemetry {
    LedgeTelemetry *queue;
    LedgeShadow *shadow; /* NULL: none */
} CliServeTelemetry;

/* Opens a queue (its folder is an agent's queue/NAME), shows inputs to the models of `shadow`
 * (NULL: none) and sets *how so that every request is put there. `t` must outlive the server.
 * CLI_GO, or the exit code after a message. */
int cli_serve_telemetry(const LedgeTelemetryOptions *queue, const char *shadow,
                        LedgeServedOptions *how, CliServeTelemetry *t);
/* Puts an alert there; arg is the CliServeTelemetry. */
void cli_serve_alert(void *arg, LedgeAlertEvent event, const LedgeAlert *a);
void cli_serve_telemetry_end(CliServeTelemetry *t); /* {0} is legal */

#endif
