/* The process that stays: it keeps time, starts the turns (agent_sync.h) and the server, and tells
 * systemd that it lives. It opens no connection and reads nothing but the agent's own small files,
 * so it needs neither HTTP nor cryptography and little memory. */
#ifndef LEDGE_AGENT_RESIDENT_H
#define LEDGE_AGENT_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "ledge/status.h"

typedef struct LedgeResidentOptions {
    const char *state; /* the agent's folder */
    /* Program and arguments of a turn, NULL at the end; [1] is replaced by the kind of turn:
     * "sync", "verify", "telemetry", "fall-back". */
    char **sync;
    char **serve;       /* program and arguments of the server; NULL: none */
    int64_t interval_s; /* between polls until the registry says another number */
    bool quiet;
    int most_turns; /* ends after so many turns, for tests; 0: goes on */
} LedgeResidentOptions;

/* Until SIGTERM or SIGINT; SIGHUP polls at once. Statuses: IO, MEMORY, ARGUMENT. */
LEDGE_MUST_CHECK LedgeStatus ledge__resident_run(const LedgeResidentOptions *o, LedgeError *err);

/* Milliseconds until the next poll: the interval, after `failures` in a row doubled each time up to
 * an hour, and shifted by up to a fifth either way so that a fleet does not come all at once.
 * random: any number. retry_after: seconds asked for by the registry, -1: none. */
int64_t ledge__resident_wait(int64_t interval_s, int failures, int64_t retry_after,
                             uint32_t random);

#endif
