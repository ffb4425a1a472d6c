/* The publishing side of The Update Framework: taking in targets that a publisher signed, and
 * signing the snapshot and timestamp that lead devices to them. The registry holds no keys of root
 * or targets. */
#ifndef LEDGE_FLEET_REGISTRY_PUBLISH_H
#define LEDGE_FLEET_REGISTRY_PUBLISH_H

#include "fleet/protocol/tuf_meta.h"
#include "fleet/registry/store.h"

enum { LEDGE_SNAPSHOT_DAYS = 7, LEDGE_TIMESTAMP_DAYS = 1 };

/* The text of {version}.{role}.json, or the newest where version is 0; freed with free().
 * NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__publish_text(LedgeStore *s, LedgeTufRole role, int64_t version,
                                                 LedgeError *err, char **out, size_t *size);
/* The newest of a role, parsed; NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__publish_newest(LedgeStore *s, LedgeTufRole role,
                                                   LedgeError *err, LedgeTufMeta *out);
/* Takes a root in: the first one, or the next, signed as the present one and as itself ask.
 * Statuses: FORMAT, MISMATCH. */
LEDGE_MUST_CHECK LedgeStatus ledge__publish_root(LedgeStore *s, const char *text, size_t size,
                                                 LedgeError *err);
/* Takes targets in: the next version, signed as root asks, not expired, and naming every version
 * that is not retired as it was named before. Then signs snapshot and timestamp. Statuses: FORMAT,
 * MISMATCH (says what to do), LIMIT. */
LEDGE_MUST_CHECK LedgeStatus ledge__publish_targets(LedgeStore *s, const char *text, size_t size,
                                                    LedgeError *err, LedgeTufMeta *out);
/* Signs a new timestamp where it is past half its time, and a new snapshot likewise. */
LEDGE_MUST_CHECK LedgeStatus ledge__publish_refresh(LedgeStore *s, bool snapshot_too,
                                                    LedgeError *err);

#endif
