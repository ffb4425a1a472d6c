/* Publishing, see publish.h. */
#include "fleet/registry/publish.h"

#include <stdlib.h>
#include <string.h>

#include "fleet/protocol/release.h"
#include "fleet/registry/store_state.h"

#define DAY ((int64_t)86400)
enum { OLD_KEPT = 16 };

/* ---- reading what is there ---- */

LedgeStatus ledge__publish_text(LedgeStore *s, LedgeTufRole role, int64_t version, LedgeError *err,
                                char **out, size_t *size)
{
    const LedgeQuery q = version ? LEDGE_Q_TUF_GET : LEDGE_Q_TUF_LAST;
    const char *name = ledge__tuf_role_name(role);
    char *text = NULL;
    bool lost = false;
    LEDGE_TRY(version ? ledge__sql_ask(s->db, err, q, "ti", name, version)
                      : ledge__sql_ask(s->db, err, q, "t", name));
    while (ledge__sql_next(s->db, q)) {
        free(text);
        const char *body = ledge__sql_text(s->db, q, 0);
        text = strdup(body ? body : "");
        lost |= !text;
    }
    LedgeStatus status = ledge__sql_end(s->db, q, err);
    if (!status && lost)
        status = ledge__no_memory(err);
    if (!status && !text)
        status = ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "there is no such metadata");
    if (status) {
        free(text);
        return status;
    }
    *out = text;
    *size = strlen(text);
    return LEDGE_OK;
}

LedgeStatus ledge__publish_newest(LedgeStore *s, LedgeTufRole role, LedgeError *err,
                                  LedgeTufMeta *out)
{
    char *text;
    size_t size;
    LEDGE_TRY(ledge__publish_text(s, role, 0, err, &text, &size));
    LedgeStatus status = ledge__tuf_parse(role, text, size, err, out);
    free(text);
    return status;
}

/* 0: there is none. */
static LedgeStatus newest_version(LedgeStore *s, LedgeTufRole role, LedgeError *err, int64_t *out)
{
    int64_t version = 0;
    LEDGE_TRY(ledge__sql_ask(s->db, err, LEDGE_Q_TUF_LAST, "t", ledge__tuf_role_name(role)));
    while (ledge__sql_next(s->db, LEDGE_Q_TUF_LAST))
        version = ledge__sql_int(s->db, LEDGE_Q_TUF_LAST, 1);
    *out = version;
    return ledge__sql_end(s->db, LEDGE_Q_TUF_LAST, err);
}

/* ---- signing ---- */

/* Signs, stores, and says what the file above it lists. The content's reference is taken. */
static LedgeStatus sign(LedgeStore *s, LedgeTufRole role, json_t *content, const LedgeKey *key,
                        int64_t expires, LedgeError *err, LedgeTufFile *file)
{
    json_t *envelope = NULL;
    char *text = NULL;
    size_t size;
    LedgeStatus status =
        content ? ledge__envelope_make(content, &key, 1, err, &envelope) : ledge__no_memory(err);
    json_decref(content);
    if (!status)
        status = ledge__tuf_text(envelope, err, &text, &size, file);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_TUF_ADD, "titi", ledge__tuf_role_name(role),
                                file->version, text, expires);
    if (!status && file->version > OLD_KEPT)
        status = ledge__sql_run(s->db, err, LEDGE_Q_TUF_DROP_OLD, "ti", ledge__tuf_role_name(role),
                                file->version - OLD_KEPT);
    json_decref(envelope);
    free(text);
    return status;
}

static LedgeStatus check_keys(const LedgeStore *s, LedgeError *err)
{
    return s->options.snapshot_key && s->options.timestamp_key
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_NOT_FOUND, "keys",
                             "this registry lacks the keys of snapshot and timestamp");
}

static LedgeStatus sign_snapshot(LedgeStore *s, LedgeError *err, LedgeTufFile *out)
{
    char *text;
    size_t size;
    LedgeTufFile targets = {0};
    int64_t version;
    const int64_t expires = s->now + LEDGE_SNAPSHOT_DAYS * DAY;
    LEDGE_TRY(ledge__publish_text(s, LEDGE_TUF_TARGETS, 0, err, &text, &size));
    LedgeStatus status = newest_version(s, LEDGE_TUF_TARGETS, err, &targets.version);
    if (!status)
        status = ledge__sha256_of(text, size, targets.sha256);
    targets.length = (int64_t)size;
    free(text);
    if (!status)
        status = newest_version(s, LEDGE_TUF_SNAPSHOT, err, &version);
    return status ? status
                  : sign(s, LEDGE_TUF_SNAPSHOT,
                         ledge__tuf_make_snapshot(version + 1, expires, &targets),
                         s->options.snapshot_key, expires, err, out);
}

static LedgeStatus sign_timestamp(LedgeStore *s, const LedgeTufFile *snapshot, LedgeError *err)
{
    int64_t version;
    LedgeTufFile file;
    const int64_t expires = s->now + LEDGE_TIMESTAMP_DAYS * DAY;
    LEDGE_TRY(newest_version(s, LEDGE_TUF_TIMESTAMP, err, &version));
    return sign(s, LEDGE_TUF_TIMESTAMP, ledge__tuf_make_timestamp(version + 1, expires, snapshot),
                s->options.timestamp_key, expires, err, &file);
}

/* The newest snapshot, as a timestamp lists it. */
static LedgeStatus listed_snapshot(LedgeStore *s, LedgeError *err, LedgeTufFile *out)
{
    char *text;
    size_t size;
    LEDGE_TRY(ledge__publish_text(s, LEDGE_TUF_SNAPSHOT, 0, err, &text, &size));
    LedgeStatus status = newest_version(s, LEDGE_TUF_SNAPSHOT, err, &out->version);
    if (!status)
        status = ledge__sha256_of(text, size, out->sha256);
    out->length = (int64_t)size;
    free(text);
    return status;
}

LedgeStatus ledge__publish_refresh(LedgeStore *s, bool snapshot_too, LedgeError *err)
{
    LedgeTufFile snapshot = {0};
    LEDGE_TRY(check_keys(s, err));
    if (snapshot_too)
        LEDGE_TRY(sign_snapshot(s, err, &snapshot));
    else
        LEDGE_TRY(listed_snapshot(s, err, &snapshot));
    return sign_timestamp(s, &snapshot, err);
}

static LedgeStatus expiry(LedgeStore *s, LedgeTufRole role, LedgeError *err, int64_t *out)
{
    *out = -1;
    LEDGE_TRY(ledge__sql_ask(s->db, err, LEDGE_Q_TUF_LAST, "t", ledge__tuf_role_name(role)));
    while (ledge__sql_next(s->db, LEDGE_Q_TUF_LAST))
        *out = ledge__sql_int(s->db, LEDGE_Q_TUF_LAST, 2);
    return ledge__sql_end(s->db, LEDGE_Q_TUF_LAST, err);
}

LedgeStatus ledge__store_refresh(LedgeStore *s, LedgeError *err)
{
    int64_t snapshot, timestamp;
    if (!s->options.snapshot_key || !s->options.timestamp_key)
        return LEDGE_OK;
    LEDGE_TRY(expiry(s, LEDGE_TUF_SNAPSHOT, err, &snapshot));
    LEDGE_TRY(expiry(s, LEDGE_TUF_TIMESTAMP, err, &timestamp));
    if (timestamp < 0) /* nothing was published yet */
        return LEDGE_OK;
    const bool old = snapshot < s->now + LEDGE_SNAPSHOT_DAYS * DAY / 2;
    if (!old && timestamp >= s->now + LEDGE_TIMESTAMP_DAYS * DAY / 2)
        return LEDGE_OK;
    return ledge__publish_refresh(s, old, err);
}

/* ---- taking in ---- */

static LedgeStatus take_root(LedgeStore *s, const LedgeTufMeta *root, const char *text,
                             LedgeError *err)
{
    LedgeTufMeta present = {0};
    int64_t version;
    LEDGE_TRY(newest_version(s, LEDGE_TUF_ROOT, err, &version));
    if (root->version != version + 1)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "root", "version %lld follows, not %lld",
                           (long long)version + 1, (long long)root->version);
    LEDGE_TRY(ledge__tuf_verify(root, root, err));
    if (version) {
        LEDGE_TRY(ledge__publish_newest(s, LEDGE_TUF_ROOT, err, &present));
        LedgeStatus status = ledge__tuf_verify(&present, root, err);
        ledge__tuf_meta_free(&present);
        if (status)
            return status;
    }
    return ledge__sql_run(s->db, err, LEDGE_Q_TUF_ADD, "titi", "root", root->version, text,
                          root->expires);
}

/* A root that names other online keys than are here would leave devices without updates. */
static LedgeStatus check_online(const LedgeStore *s, const LedgeTufMeta *root, LedgeTufRole role,
                                const LedgeKey *key, LedgeError *err)
{
    LedgeTufKeys keys = {0};
    bool known = false;
    LEDGE_TRY(ledge__tuf_keys(root, role, err, &keys));
    for (size_t i = 0; i < keys.n && key; i++)
        known |= strcmp(ledge__key_id(keys.keys[i]), ledge__key_id(key)) == 0;
    const size_t threshold = keys.threshold;
    ledge__tuf_keys_free(&keys);
    (void)s;
    return known && threshold == 1
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_MISMATCH, "root",
                             "does not let this registry's key alone sign the %s",
                             ledge__tuf_role_name(role));
}

LedgeStatus ledge__publish_root(LedgeStore *s, const char *text, size_t size, LedgeError *err)
{
    LedgeTufMeta root = {0};
    int64_t targets;
    LEDGE_TRY(check_keys(s, err));
    LEDGE_TRY(ledge__tuf_parse(LEDGE_TUF_ROOT, text, size, err, &root));
    LedgeStatus status = check_online(s, &root, LEDGE_TUF_SNAPSHOT, s->options.snapshot_key, err);
    if (!status)
        status = check_online(s, &root, LEDGE_TUF_TIMESTAMP, s->options.timestamp_key, err);
    if (!status && root.expires <= s->now)
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, "root",
                             "has expired; sign it with a later date");
    if (!status)
        status = take_root(s, &root, text, err);
    ledge__tuf_meta_free(&root);
    if (!status)
        status = newest_version(s, LEDGE_TUF_TARGETS, err, &targets);
    /* By keys that may be new; versions go on counting. */
    return status || !targets ? status : ledge__publish_refresh(s, true, err);
}

/* Every version that devices may still run must stay where it was, byte for byte. */
static LedgeStatus check_kept(LedgeStore *s, const LedgeTufMeta *targets, LedgeError *err)
{
    json_t *versions = NULL;
    LedgeStatus status = ledge__sql_list(s->db, err, &versions, LEDGE_Q_VERSIONS, "");
    for (size_t i = 0; i < json_array_size(versions) && !status; i++) {
        const json_t *v = json_array_get(versions, i);
        char path[LEDGE_FLEET_PATH];
        json_t *row = NULL;
        LedgeTufFile file = {0};
        if (strcmp(ledge__member_text(v, "state"), "retired") == 0)
            continue;
        ledge__release_target(ledge__member_text(v, "model"), ledge__member_text(v, "version"),
                              path);
        status = ledge__sql_one(s->db, err, &row, LEDGE_Q_VERSION_GET, "tt",
                                ledge__member_text(v, "model"), ledge__member_text(v, "version"));
        if (!status && (ledge__tuf_find_target(targets, path, err, &file, NULL) ||
                        strcmp(file.sha256, ledge__member_text(row, "release_sha256")) != 0))
            status = ledge__fail(err, LEDGE_ERROR_MISMATCH, path,
                                 "is missing or changed in these targets; retire it first, or take "
                                 "the newest targets.json and add to it");
        json_decref(row);
    }
    json_decref(versions);
    return status;
}

static LedgeStatus check_targets(LedgeStore *s, const LedgeTufMeta *targets, LedgeError *err)
{
    LedgeTufMeta root = {0};
    int64_t version;
    LEDGE_TRY(newest_version(s, LEDGE_TUF_TARGETS, err, &version));
    if (targets->version != version + 1)
        return ledge__fail(
            err, LEDGE_ERROR_MISMATCH, "targets",
            "version %lld follows, not %lld: somebody else published meanwhile, take "
            "the newest and push again",
            (long long)version + 1, (long long)targets->version);
    if (targets->expires <= s->now)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "targets", "have expired; sign them again");
    LEDGE_TRY(ledge__publish_newest(s, LEDGE_TUF_ROOT, err, &root));
    LedgeStatus status = ledge__tuf_verify(&root, targets, err);
    ledge__tuf_meta_free(&root);
    return status ? status : check_kept(s, targets, err);
}

LedgeStatus ledge__publish_targets(LedgeStore *s, const char *text, size_t size, LedgeError *err,
                                   LedgeTufMeta *out)
{
    LEDGE_TRY(check_keys(s, err));
    LEDGE_TRY(ledge__tuf_parse(LEDGE_TUF_TARGETS, text, size, err, out));
    LedgeStatus status = check_targets(s, out, err);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_TUF_ADD, "titi", "targets", out->version, text,
                                out->expires);
    if (!status)
        status = ledge__publish_refresh(s, true, err);
    if (status)
        ledge__tuf_meta_free(out);
    return status;
}
