/* Requests into a guest's memory and answers out of it: the structures of
 * ledge/guest/guest_serve.h, as wasm32 lays them out. */
#ifndef LEDGE_SERVE_GUEST_WIRE_H
#define LEDGE_SERVE_GUEST_WIRE_H

#include "serve/served_guest.h"

/* Bytes that the request takes; over UINT32_MAX: no guest has them. */
uint64_t ledge__guest_wire_size(const LedgeGuestAsk *ask);
/* Writes it at `to`, which the guest knows as `address`. */
void ledge__guest_wire_put(const LedgeGuestAsk *ask, uint8_t *to, uint32_t address);
/* A guest's memory while it does not run. */
typedef struct LedgeGuestMemory {
    const uint8_t *p;
    uint64_t n;
} LedgeGuestMemory;

/* Reads the answer at `address`. All that it points to must lie in the memory, and no more is
 * copied than that has. Statuses: ARGUMENT (the guest's own refusal), FORMAT, SHAPE, MEMORY. */
LedgeStatus ledge__guest_wire_get(LedgeGuestMemory memory, uint32_t address, LedgeGuestStage stage,
                                  LedgeArena *arena, LedgeError *err, LedgeGuestSaid *out);

#endif
