/* Batches between the spools and the registry.
 *
 * A batch is made once, compressed, and lies in queue/outbox/ until the registry has it:
 *
 *   SPOOL~BATCH~LAST~COUNT.z     LAST: number of its last record; COUNT: how many
 *
 * The name says how far the spool was taken over, so that the file's appearance, which is atomic,
 * is at once the end of those records in the spool: none is lost and none put into two batches,
 * whenever the process dies. A batch's id is made of the spool's random id and BATCH, which counts
 * up; the registry counts each id once. */
#ifndef LEDGE_AGENT_OUTBOX_H
#define LEDGE_AGENT_OUTBOX_H

#include "fleet/agent/agent_state.h"
#include "fleet/agent/http_client.h"
#include "fleet/agent/record_code.h"

enum { LEDGE_OUTBOX_RECORDS = 100, LEDGE_OUTBOX_FILES = 256 };

typedef struct LedgeOutbox {
    const LedgeAgentDir *dir;
    const char *device_id;
    LedgeHttp *http;
    const bool *stop; /* NULL: never */
} LedgeOutbox;

typedef struct LedgeOutboxResult {
    size_t sent, duplicates, refused; /* batches */
    int64_t records;                  /* in those sent */
    uint64_t damaged;                 /* bytes in spools that were no records */
    int64_t retry_after;              /* seconds that the registry asks for; -1: none */
} LedgeOutboxResult;

/* Makes batches of what lies in all spools, alerts and events first, and sends them and those that
 * are left from before. partial: also batches of fewer than LEDGE_OUTBOX_RECORDS. Statuses: IO
 * (not now; all is kept), CANCELLED, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__outbox_send(const LedgeOutbox *o, bool partial, LedgeError *err,
                                                LedgeOutboxResult *out);
/* Makes batches of one spool. */
LEDGE_MUST_CHECK LedgeStatus ledge__outbox_fill(const LedgeOutbox *o, const char *spool,
                                                bool partial, LedgeError *err, uint64_t *damaged);
/* Records that wait in spools and outbox. */
int64_t ledge__outbox_waiting(const LedgeAgentDir *d);
/* Writes an event into the spool agent.events, on the disk when it returns. */
LEDGE_MUST_CHECK LedgeStatus ledge__outbox_event(const LedgeAgentDir *d, const LedgeFleetNote *n,
                                                 LedgeError *err);

#endif
