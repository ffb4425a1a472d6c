/* The Update Framework's client workflow (specification 1.0, section 5): which metadata a device
 * believes, step by step from the root that it was given.
 *
 * No network and no files here: metadata come from a LedgeTufSource, what is trusted lies in a
 * LedgeTufStore. Every file is fetched with a bound, checked whole, and only then saved; a failure
 * at any step leaves what was trusted before. Nothing that an attacker without keys sends makes a
 * device take anything older, other or more than what was signed.
 *
 * Time: metadata expire. A device's clock may be wrong, so the registry is asked for a time that
 * the timestamp's keys sign over a nonce. What is judged by is
 *   a synchronised clock:   the latest of clock, signed time and floor,
 *   any other clock:        signed time, but not before the floor; without it clock or floor.
 * The floor is the latest signed time ever seen; so a clock in 1970 revives nothing. */
#ifndef LEDGE_FLEET_TUF_CLIENT_H
#define LEDGE_FLEET_TUF_CLIENT_H

#include "fleet/protocol/release.h"
#include "fleet/protocol/tuf_meta.h"

/* Where trusted state is kept, by names such as "root". What `load` gives is freed with free(). */
typedef struct LedgeTufStore {
    void *context;
    /* NOT_FOUND: nothing is kept by that name. */
    LedgeStatus (*load)(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                        size_t *size);
    /* Whole or not at all, and on the disk when it returns. */
    LedgeStatus (*save)(void *context, const char *name, const void *bytes, size_t size,
                        LedgeError *err);
    LedgeStatus (*remove)(void *context, const char *name, LedgeError *err);
} LedgeTufStore;

/* Where metadata come from: names as under /v1/tuf/ ("2.root.json", "time/NONCE.json"). */
typedef struct LedgeTufSource {
    void *context;
    /* At most `max` bytes; LIMIT when there would be more, NOT_FOUND when the source says that
     * there is no such file. */
    LedgeStatus (*fetch)(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                         size_t *size);
} LedgeTufSource;

typedef struct LedgeTufClock {
    int64_t now;          /* the device's, seconds since 1970 */
    bool is_synchronised; /* by NTP or the like, as the kernel says */
    const char *nonce;    /* hexadecimal, never used before; NULL: no signed time is asked for */
} LedgeTufClock;

typedef struct LedgeTuf LedgeTuf;

/* anchor: the root.json that the device was given. A later root that is kept in the store, and
 * that it led to, goes first. Statuses: FORMAT, LIMIT, MISMATCH (not signed by its own keys), those
 * of the store. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_open(const LedgeTufStore *store, const void *anchor,
                                             size_t size, LedgeError *err, LedgeTuf **out);
void ledge__tuf_free(LedgeTuf *tuf); /* NULL is legal */

/* Steps 5.3 to 5.6: root, timestamp, snapshot, targets. Statuses: MISMATCH (forged, rolled back,
 * mixed, expired), FORMAT, LIMIT, those of source and store. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_update(LedgeTuf *tuf, const LedgeTufSource *source,
                                               const LedgeTufClock *clock, LedgeError *err);

/* After an update that succeeded: a target's length and hash. NOT_FOUND: nobody signed it. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_target(const LedgeTuf *tuf, const char *path,
                                               LedgeError *err, LedgeTufFile *out,
                                               bool *rollback_ok);
/* Checks release.json's bytes against its target, and that it is the release of that very name and
 * version. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_release(const LedgeTuf *tuf, const char *name,
                                                const char *version, const void *bytes, size_t size,
                                                LedgeError *err, LedgeRelease **out);

int64_t ledge__tuf_version(const LedgeTuf *tuf, LedgeTufRole role); /* 0: none yet */
int64_t ledge__tuf_time(const LedgeTuf *tuf); /* what expiry was judged by; 0: no update yet */
bool ledge__tuf_time_was_signed(const LedgeTuf *tuf);

#endif
