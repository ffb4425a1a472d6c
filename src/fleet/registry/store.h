/* What the registry knows, over a database: every change of it is made here, inside a transaction
 * that the caller (registry_tasks.h) began, and is audited in the same transaction.
 *
 * A store belongs to one thread. It keeps copies of what every poll asks (devices, groups,
 * assignments, rollouts); they are read anew when the database's epoch counted up, which every
 * audited change of any registry does, and after a transaction that failed. */
#ifndef LEDGE_FLEET_REGISTRY_STORE_H
#define LEDGE_FLEET_REGISTRY_STORE_H

#include <jansson.h>

#include "fleet/protocol/field_sample.h"
#include "fleet/protocol/wire_batch.h"
#include "fleet/protocol/wire_poll.h"
#include "fleet/registry/blobs.h"
#include "fleet/registry/sql.h"
#include "trust/key.h"

typedef enum LedgeRole {
    LEDGE_ROLE_NONE,
    LEDGE_ROLE_DEVICE,
    LEDGE_ROLE_VIEWER,
    LEDGE_ROLE_PUBLISHER,
    LEDGE_ROLE_OPERATOR,
    LEDGE_ROLE_ADMIN,
    LEDGE_ROLES
} LedgeRole;
const char *ledge__role_name(LedgeRole role);
LedgeRole ledge__role_of(const char *name); /* NONE: no such role */
/* An admin may do all, publishers and operators what viewers may, devices only what devices do. */
bool ledge__role_allows(LedgeRole has, LedgeRole asks);

typedef struct LedgeStoreOptions {
    const char *database;                   /* file or address */
    LedgeBlobs *blobs;                      /* borrowed */
    LedgeKey *snapshot_key, *timestamp_key; /* borrowed; NULL: nothing can be published */
    int64_t interval_s;                     /* that devices poll in; 0: 60 */
    int64_t keep_days, keep_rollup_days;    /* of telemetry; 0: 30, 400 */
    bool keep_raw;                          /* batches as they came go to the blobs too */
    bool enroll;                            /* devices without a token of their own may come */
} LedgeStoreOptions;

typedef struct LedgeStore LedgeStore;

LEDGE_MUST_CHECK LedgeStatus ledge__store_open(const LedgeStoreOptions *options, LedgeError *err,
                                               LedgeStore **out);
void ledge__store_close(LedgeStore *s); /* NULL is legal */

/* A transaction: begin, any calls below, commit. `now` is seconds since 1970 for all of them. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_begin(LedgeStore *s, int64_t now, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__store_commit(LedgeStore *s, LedgeError *err);
void ledge__store_undo(LedgeStore *s);
/* A mark within: `keep` what was done since, or `return` to it. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_mark(LedgeStore *s, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__store_keep(LedgeStore *s, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__store_return(LedgeStore *s, LedgeError *err);
/* Counts the epoch up: groups, assignments, rollouts, tokens or devices were changed. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_changed(LedgeStore *s, LedgeError *err);
LedgeSql *ledge__store_sql(LedgeStore *s);
int64_t ledge__store_epoch(const LedgeStore *s); /* counts up with every change of the copies */

/* ---- who asks, and the log of what was done ---- */

typedef struct LedgeAsk {
    const char *who; /* "token 3 (ci)", "device cam-7" */
    LedgeRole role;
    const char *words[3];                              /* what the path's * stood for */
    const json_t *body;                                /* an object; NULL: there was none */
    const char *(*query)(void *arg, const char *name); /* the address's ?name=; NULL: absent */
    void *query_arg;
    const json_t *stored; /* gc: files at their place, as {sha256, length}; NULL: not looked for */
} LedgeAsk;

/* Appends to the audit log, whose every entry holds the hash of the one before. reason, detail
 * (taken): may be NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_audit(LedgeStore *s, const char *who, const char *action,
                                                const char *subject, const char *reason,
                                                json_t *detail, LedgeError *err);
/* The hash that an entry (as GET /v1/admin/audit gives it) must have. MEMORY, FORMAT. */
LEDGE_MUST_CHECK LedgeStatus ledge__audit_hash(const json_t *entry, LedgeError *err,
                                               char out[LEDGE_SHA256_HEX]);

/* A new token's text; only its hash is kept. device: NULL for other roles. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_token_new(LedgeStore *s, const LedgeAsk *ask,
                                                    LedgeRole role, const char *device,
                                                    const char *note, LedgeError *err,
                                                    json_t **out);

/* ---- devices (store_poll.c) ---- */

/* Takes a device's report and gives its assignment. Statuses: PROVIDER (blocked, or
 * unknown and it may not enroll), IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_poll(LedgeStore *s, const LedgePollRequest *poll,
                                               bool may_enroll, LedgeError *err,
                                               LedgePollAnswer *out);
/* What the old clients ask: the first model that the device is to run, as their object. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_latest(LedgeStore *s, const char *device,
                                                 const char *model, bool may_enroll,
                                                 const char *base, LedgeError *err, json_t **out);

/* ---- telemetry (store_ingest.c) ---- */

typedef struct LedgeIngestStream {
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
} LedgeIngestStream;

enum { LEDGE_INGEST_STREAMS = 16, LEDGE_INGEST_NOTES = 256 };

/* A batch after reading: rows whose `stream` is an index into streams, and whose request_hash lies
 * in `text`. */
typedef struct LedgeIngest {
    LedgeBatchHead head;
    LedgeRecordRow *rows;
    uint8_t *errors; /* per row: the inference failed */
    size_t n_rows;
    LedgeIngestStream streams[LEDGE_INGEST_STREAMS];
    size_t n_streams;
    LedgeFleetNote *notes;
    bool *is_event; /* per note */
    size_t n_notes;
    char *text;      /* owned: the hashes */
    const void *raw; /* as it came, borrowed; NULL: not to be kept */
    size_t raw_size;
} LedgeIngest;

/* received_us: now, by which the device's times are corrected. Statuses: FORMAT, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__ingest_read(const char *text, size_t size, int64_t received_us,
                                                LedgeError *err, LedgeIngest *out);
/* The body of the old clients' POST /api/ingest; its hash is its batch id. */
LEDGE_MUST_CHECK LedgeStatus ledge__ingest_read_old(const char *text, size_t size, LedgeError *err,
                                                    LedgeIngest *out);
void ledge__ingest_free(LedgeIngest *i); /* leaves it empty */
LEDGE_MUST_CHECK LedgeStatus ledge__store_ingest(LedgeStore *s, const LedgeIngest *i,
                                                 bool may_enroll, LedgeError *err,
                                                 LedgeBatchAnswer *out);
/* A sample of inputs whose file is among the blobs; *duplicate: it was known. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_sample(LedgeStore *s, const char *device, bool may_enroll,
                                                 const char *sha256, int64_t length,
                                                 const LedgeFieldHead *head, LedgeError *err,
                                                 bool *duplicate);
/* Where a latency is counted: four buckets an octave. */
int ledge__latency_bucket(int64_t us);
double ledge__latency_of_bucket(int bucket); /* its middle, in microseconds */

/* ---- what passes with time (store_time.c) ---- */

/* Rollouts take their turns; metadata near their expiry are signed anew; old telemetry goes; raw
 * batches move to the blobs. To be called every second or so, each in a transaction of its own. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_turn_rollouts(LedgeStore *s, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__store_refresh(LedgeStore *s, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__store_clean(LedgeStore *s, LedgeError *err);
/* force: now, however few there are. */
LEDGE_MUST_CHECK LedgeStatus ledge__store_move_raw(LedgeStore *s, bool force, LedgeError *err);

#endif
