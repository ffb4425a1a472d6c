/* Records of what `ledge serve` answers, and samples of what it is asked, for the agent to bring to
 * the registry. */
#ifndef LEDGE_CLI_SERVE_TELEMETRY_H
#define LEDGE_CLI_SERVE_TELEMETRY_H

#include "cli/cli.h"
#include "fleet/agent/sampling.h"
#include "fleet/agent/shadow.h"
#include "fleet/agent/telemetry_queue.h"
#include "serve/watch.h"

typedef struct CliServeTelemetry {
    LedgeTelemetry *queue;   /* NULL: none */
    LedgeShadow *shadow;     /* NULL: none */
    LedgeSampling *sampling; /* NULL: no input is kept */
} CliServeTelemetry;

typedef struct CliServeTold {
    LedgeTelemetryOptions queue;   /* folder: an agent's queue/NAME; NULL: no records */
    const char *shadow;            /* with a queue: whose models are shown inputs; NULL: none's */
    LedgeSamplingOptions sampling; /* folder NULL: off */
} CliServeTold;

/* Opens what is asked for and sets *how so that every request is seen. `t` must outlive the server.
 * CLI_GO, or the exit code after a message. */
int cli_serve_telemetry(const CliServeTold *o, LedgeServedOptions *how, CliServeTelemetry *t);
/* Puts an alert into the queue, which must be there; arg is the CliServeTelemetry. */
void cli_serve_alert(void *arg, LedgeAlertEvent event, const LedgeAlert *a);
void cli_serve_telemetry_end(CliServeTelemetry *t); /* {0} is legal */

#endif
