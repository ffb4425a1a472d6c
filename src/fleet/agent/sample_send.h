/* Samples on their way to the registry: one at a time, behind everything else.
 *
 * A sample is named by the SHA-256 of its file, and the registry takes each name once; it is
 * removed here when the registry says that it has it. So one that was sent and not heard of is sent
 * again and counted once. */
#ifndef LEDGE_AGENT_SAMPLE_SEND_H
#define LEDGE_AGENT_SAMPLE_SEND_H

#include "fleet/agent/agent_state.h"
#include "fleet/agent/http_client.h"

enum { LEDGE_SAMPLE_SEND_MS = 60000 }; /* that one turn spends on them, about */

typedef struct LedgeSampleSend {
    const LedgeAgentDir *dir;
    const char *device_id;
    const char *key_id; /* samples for another key are none of ours, and are left */
    LedgeHttp *http;
    const bool *stop; /* NULL: never */
} LedgeSampleSend;

typedef struct LedgeSampleSent {
    int64_t sent, refused; /* refused: never to be taken, and removed */
    int64_t waiting;
} LedgeSampleSent;

/* Statuses: IO (not now; all is kept), CANCELLED, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sample_send(const LedgeSampleSend *o, LedgeError *err,
                                                LedgeSampleSent *out);

#endif
