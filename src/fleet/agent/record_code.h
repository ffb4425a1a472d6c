/* Records and notes as bytes in a spool, and back: the strings of wire_batch.h's structures with
 * their lengths, all else in eight bytes each. A first byte says which kind it is. */
#ifndef LEDGE_AGENT_RECORD_CODE_H
#define LEDGE_AGENT_RECORD_CODE_H

#include "fleet/protocol/wire_batch.h"

typedef enum LedgeCodeKind {
    LEDGE_CODE_NONE,
    LEDGE_CODE_RECORD,
    LEDGE_CODE_ALERT,
    LEDGE_CODE_EVENT,
    LEDGE_CODE_DROPPED /* counts of records that never came here, or went */
} LedgeCodeKind;

typedef struct LedgeDropped {
    int64_t oldest, rejected, sampled;
} LedgeDropped;

/* Most bytes that any of them takes. */
#define LEDGE_CODE_MAX 1024

/* seq is not written: the spool numbers records itself. They give the bytes written to `out`, which
 * has room for LEDGE_CODE_MAX. */
size_t ledge__code_record(const LedgeTelemetryRecord *r, uint8_t *out);
size_t ledge__code_note(LedgeCodeKind kind, const LedgeFleetNote *n, uint8_t *out);
size_t ledge__code_dropped(const LedgeDropped *d, uint8_t *out);

typedef struct LedgeCoded {
    LedgeCodeKind kind; /* NONE: the bytes are not such a thing */
    union {
        LedgeTelemetryRecord record;
        LedgeFleetNote note;
        LedgeDropped dropped;
    };
} LedgeCoded;
/* Checks all that it reads; names as the protocol wants them. */
void ledge__code_read(const uint8_t *bytes, size_t size, uint64_t number, LedgeCoded *out);

#endif
