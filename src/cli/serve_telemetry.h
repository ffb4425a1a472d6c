/* Records of what `ledge serve` answers, for the agent to bring to the registry. */
#ifndef LEDGE_CLI_SERVE_TELEMETRY_H
#define LEDGE_CLI_SERVE_TELEMETRY_H

#include "cli/cli.h"
#include "fleet/agent/telemetry_queue.h"
#include "serve/served_model.h"

/* Opens a queue in `folder` (an agent's queue/NAME) and sets *how so that every request is put into
 * it. CLI_GO, or the exit code after a message. Closed by ledge__telemetry_close. */
int cli_serve_telemetry(const char *folder, LedgeServedOptions *how, LedgeTelemetry **out);

#endif
