/* Metadata of The Update Framework (specification 1.0, section 4) as structures, one file at a
 * time; which file may follow which is tuf_client.h's.
 *
 * Ed25519 keys, canonical JSON, one level of targets: delegations are passed over, so that nobody
 * but the targets role is ever believed. */
#ifndef LEDGE_FLEET_TUF_META_H
#define LEDGE_FLEET_TUF_META_H

#include "fleet/protocol/wire_names.h"
#include "trust/envelope.h"

#define LEDGE_TUF_SPEC "1.0.31"

/* X(NAME, name, most bytes of its file) */
#define LEDGE_TUF_ROLES(X)                                                                         \
    X(ROOT, "root", 512u << 10)                                                                    \
    X(TIMESTAMP, "timestamp", 16u << 10)                                                           \
    X(SNAPSHOT, "snapshot", 64u << 10)                                                             \
    X(TARGETS, "targets", 8u << 20)

#define LEDGE_TUF_ONE(NAME, name, max) LEDGE_TUF_##NAME,
typedef enum LedgeTufRole { LEDGE_TUF_ROLES(LEDGE_TUF_ONE) LEDGE_TUF_ROLE_COUNT } LedgeTufRole;
#undef LEDGE_TUF_ONE

enum { LEDGE_TUF_KEYS = 32 }; /* of one role */

const char *ledge__tuf_role_name(LedgeTufRole role);
size_t ledge__tuf_role_max(LedgeTufRole role);

typedef struct LedgeTufMeta {
    LedgeTufRole role;
    json_t *envelope;         /* owned */
    int64_t version, expires; /* from 1; seconds since 1970 */
} LedgeTufMeta;

/* Parses one role's file and checks type, specification, version and expiry date; signatures are
 * the next function's. Statuses: FORMAT, LIMIT, MEMORY, UNSUPPORTED (another major version). */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_parse(LedgeTufRole role, const void *bytes, size_t size,
                                              LedgeError *err, LedgeTufMeta *out);
void ledge__tuf_meta_free(LedgeTufMeta *meta); /* leaves it empty */

typedef struct LedgeTufKeys {
    LedgeKey *keys[LEDGE_TUF_KEYS];
    size_t n, threshold;
} LedgeTufKeys;

/* The keys that a root names for a role. Keys of other kinds than Ed25519 are left out; a key
 * whose id is not its own, and a threshold that its keys cannot reach, are FORMAT. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_keys(const LedgeTufMeta *root, LedgeTufRole role,
                                             LedgeError *err, LedgeTufKeys *out);
void ledge__tuf_keys_free(LedgeTufKeys *keys);
bool ledge__tuf_keys_equal(const LedgeTufKeys *a, const LedgeTufKeys *b);
/* MISMATCH: not signed as the root asks for that role. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_verify(const LedgeTufMeta *root, const LedgeTufMeta *meta,
                                               LedgeError *err);

/* What a timestamp says of the snapshot, a snapshot of targets.json, or targets of a target. */
typedef struct LedgeTufFile {
    int64_t version;                 /* 0: of a target */
    int64_t length;                  /* -1: not said (metadata only) */
    char sha256[LEDGE_FLEET_SHA256]; /* "": not said (metadata only) */
} LedgeTufFile;

/* The entry `name` ("snapshot.json") of a timestamp's or snapshot's meta. Statuses: FORMAT,
 * NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_listed(const LedgeTufMeta *meta, const char *name,
                                               LedgeError *err, LedgeTufFile *out);
/* A target, always with length and SHA-256. custom (may be NULL): what the publisher adds,
 * borrowed, NULL where nothing is. Statuses: FORMAT, NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_find_target(const LedgeTufMeta *targets, const char *path,
                                                    LedgeError *err, LedgeTufFile *out,
                                                    const json_t **custom);
/* MISMATCH unless bytes have the length and hash that the entry says. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_check_bytes(const char *where, const LedgeTufFile *file,
                                                    const void *bytes, size_t size,
                                                    LedgeError *err);

/* ---- making ---- */

/* The "signed" parts, new references; NULL: no memory. They are signed by ledge__envelope_make and
 * written down by ledge__tuf_text. A root's keys[role] may name the same key for several roles. */
json_t *ledge__tuf_make_root(int64_t version, int64_t expires,
                             const LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT]);
json_t *ledge__tuf_make_timestamp(int64_t version, int64_t expires, const LedgeTufFile *snapshot);
json_t *ledge__tuf_make_snapshot(int64_t version, int64_t expires, const LedgeTufFile *targets);
/* `targets` maps paths to entries of ledge__tuf_make_target; its reference is taken. */
json_t *ledge__tuf_make_targets(int64_t version, int64_t expires, json_t *targets);
/* `custom` is taken; NULL: none. */
json_t *ledge__tuf_make_target(int64_t length, const char *sha256, json_t *custom);
/* The answer to a device that asks for the time: the timestamp's keys sign it. */
json_t *ledge__tuf_make_time(int64_t time, const char *nonce);
/* An envelope as the bytes to publish (canonical JSON and a newline), freed with free(), and what
 * the file above it lists: version, length and hash. file may be NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_text(const json_t *envelope, LedgeError *err, char **out,
                                             size_t *size, LedgeTufFile *file);

/* Reads that answer: OK only if it is signed as the root asks of timestamps and bears the nonce. */
LEDGE_MUST_CHECK LedgeStatus ledge__tuf_read_time(const LedgeTufMeta *root, const void *bytes,
                                                  size_t size, const char *nonce, LedgeError *err,
                                                  int64_t *out);

#endif
