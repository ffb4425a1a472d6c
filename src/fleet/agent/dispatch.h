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
#ifndef LEDGE_AGENT_DISPATCH_H
#define LEDGE_AGENT_DISPATCH_H

#include "fleet/agent/agent_state.h"
#include "fleet/agent/http_client.h"
#include "fleet/agent/record_code.h"

enum { LEDGE_DISPATCH_RECORDS = 100, LEDGE_DISPATCH_FILES = 256 };

typedef struct LedgeDispatch {
    const LedgeAgentDir *dir;
    const char *device_id;
    LedgeHttp *http;
    const bool *stop; /* NULL: never */
} LedgeDispatch;

typedef struct LedgeDispatchResult {
    size_t sent, duplicates, refused; /* batches */
    int64_t records;                  /* in those sent */
    uint64_t damaged;                 /* bytes in spools that were no records */
    int64_t retry_after;              /* seconds that the registry asks for; -1: none */
} LedgeDispatchResult;

/* Makes batches of what lies in all spools, alerts and events first, and sends them and those that
 * are left from before. partial: also batches of fewer than LEDGE_DISPATCH_RECORDS. Statuses: IO
 * (not now; all is kept), CANCELLED, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__dispatch_send(const LedgeDispatch *o, bool partial,
                                                  LedgeError *err, LedgeDispatchResult *out);
/* Makes batches of one spool. */
LEDGE_MUST_CHECK LedgeStatus ledge__dispatch_fill(const LedgeDispatch *o, const char *spool,
                                                  bool partial, LedgeError *err, uint64_t *damaged);
/* Records that wait in spools and outbox. */
int64_t ledge__dispatch_waiting(const LedgeAgentDir *d);
/* Writes an event into the spool agent.events, on the disk when it returns. */
LEDGE_MUST_CHECK LedgeStatus ledge__dispatch_event(const LedgeAgentDir *d, const LedgeFleetNote *n,
                                                   LedgeError *err);

#endif
