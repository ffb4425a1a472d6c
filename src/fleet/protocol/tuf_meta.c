/* Reading TUF metadata, see tuf_meta.h. */
#include "fleet/protocol/tuf_meta.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/canonical_json.h"
#include "trust/certificate.h"

#define ONE(NAME, name, max) name,
static const char *const names[] = {LEDGE_TUF_ROLES(ONE)};
#undef ONE
#define ONE(NAME, name, max) max,
static const size_t sizes[] = {LEDGE_TUF_ROLES(ONE)};
#undef ONE
enum { TIME_MAX = 4096 };

const char *ledge__tuf_role_name(LedgeTufRole role)
{
    return names[role];
}

size_t ledge__tuf_role_max(LedgeTufRole role)
{
    return sizes[role];
}

static json_t *content(const LedgeTufMeta *meta)
{
    return ledge__envelope_content(meta->envelope);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* ---- one file ---- */

static LedgeStatus check_head(const char *type, const json_t *o, LedgeError *err)
{
    if (strcmp(text_of(o, "_type"), type) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, type, "is metadata of another role ('%.32s')",
                           text_of(o, "_type"));
    if (strncmp(text_of(o, "spec_version"), "1.", 2) != 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, type,
                           "follows version '%.16s' of the specification; this device knows 1.x",
                           text_of(o, "spec_version"));
    return LEDGE_OK;
}

static LedgeStatus read_head(LedgeTufMeta *meta, LedgeError *err)
{
    const char *where = names[meta->role];
    const json_t *o = content(meta), *version = json_object_get(o, "version");
    LEDGE_TRY(check_head(where, o, err));
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "its version is no number from 1 on");
    meta->version = json_integer_value(version);
    meta->expires = ledge__time_read(text_of(o, "expires"));
    if (meta->expires < 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "its expiry is no time of the form 2026-01-31T12:00:00Z");
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_parse(LedgeTufRole role, const void *bytes, size_t size, LedgeError *err,
                             LedgeTufMeta *out)
{
    LedgeTufMeta meta = {.role = role};
    if (size > sizes[role])
        return ledge__fail(err, LEDGE_ERROR_LIMIT, names[role],
                           "is larger than the %zu bytes that this role may have", sizes[role]);
    LEDGE_TRY(ledge__envelope_parse(names[role], bytes, size, err, &meta.envelope));
    LedgeStatus status = read_head(&meta, err);
    if (status) {
        ledge__tuf_meta_free(&meta);
        return status;
    }
    *out = meta;
    return LEDGE_OK;
}

void ledge__tuf_meta_free(LedgeTufMeta *meta)
{
    json_decref(meta->envelope);
    *meta = (LedgeTufMeta){.role = meta->role};
}

/* ---- keys ---- */

void ledge__tuf_keys_free(LedgeTufKeys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        ledge__key_free(keys->keys[i]);
    *keys = (LedgeTufKeys){0};
}

static bool has_key(const LedgeTufKeys *k, const char *id)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(ledge__key_id(k->keys[i]), id) == 0)
            return true;
    return false;
}

bool ledge__tuf_keys_equal(const LedgeTufKeys *a, const LedgeTufKeys *b)
{
    bool equal = a->n == b->n && a->threshold == b->threshold;
    for (size_t i = 0; equal && i < a->n; i++)
        equal = has_key(b, ledge__key_id(a->keys[i]));
    return equal;
}

static LedgeStatus add_key(const json_t *keys, const char *id, LedgeError *err, LedgeTufKeys *out)
{
    const json_t *key = json_object_get(keys, id);
    uint8_t bytes[LEDGE_PUBLIC_KEY_BYTES];
    LedgeKey *made = NULL;
    if (!key)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "root", "names a key %.16s... it does not hold",
                           id);
    if (strcmp(text_of(key, "keytype"), "ed25519") != 0 ||
        strcmp(text_of(key, "scheme"), "ed25519") != 0)
        return LEDGE_OK;
    if (!ledge__from_hex(text_of(json_object_get(key, "keyval"), "public"), bytes, sizeof bytes))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "root", "key %.16s... is not 32 bytes", id);
    LEDGE_TRY(ledge__key_from_public(bytes, err, &made));
    if (strcmp(ledge__key_id(made), id) != 0) {
        ledge__key_free(made);
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "root", "key %.16s... has another id", id);
    }
    out->keys[out->n++] = made;
    return LEDGE_OK;
}

static LedgeStatus add_keys(const json_t *root, const char *role, LedgeError *err,
                            LedgeTufKeys *out)
{
    const json_t *entry = json_object_get(json_object_get(root, "roles"), role);
    const json_t *ids = json_object_get(entry, "keyids");
    const json_int_t threshold = json_integer_value(json_object_get(entry, "threshold"));
    if (!json_is_array(ids) || json_array_size(ids) > LEDGE_TUF_KEYS || threshold < 1)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "root",
                           "role %s needs up to %d keyids and a threshold from 1 on", role,
                           LEDGE_TUF_KEYS);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!id || !ledge__fleet_is_sha256(id) || has_key(out, id))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, "root",
                               "a keyid of role %s is no 64 hex digits, or comes twice", role);
        LEDGE_TRY(add_key(json_object_get(root, "keys"), id, err, out));
    }
    if ((uint64_t)threshold > out->n)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "root",
                           "role %s asks for %lld signatures and has %zu Ed25519 keys", role,
                           (long long)threshold, out->n);
    out->threshold = (size_t)threshold;
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_keys(const LedgeTufMeta *root, LedgeTufRole role, LedgeError *err,
                            LedgeTufKeys *out)
{
    LedgeTufKeys keys = {0};
    LedgeStatus status = add_keys(content(root), names[role], err, &keys);
    if (status) {
        ledge__tuf_keys_free(&keys);
        return status;
    }
    *out = keys;
    return LEDGE_OK;
}

static LedgeStatus verify(const LedgeTufMeta *root, LedgeTufRole role, const char *where,
                          const json_t *envelope, LedgeError *err)
{
    LedgeTufKeys keys;
    LEDGE_TRY(ledge__tuf_keys(root, role, err, &keys));
    LedgeStatus status = ledge__envelope_verify(where, envelope, (const LedgeKey *const *)keys.keys,
                                                keys.n, keys.threshold, err);
    ledge__tuf_keys_free(&keys);
    return status;
}

LedgeStatus ledge__tuf_verify(const LedgeTufMeta *root, const LedgeTufMeta *meta, LedgeError *err)
{
    return verify(root, meta->role, names[meta->role], meta->envelope, err);
}

/* ---- what a file lists ---- */

static LedgeStatus read_length_and_hash(const char *where, const json_t *entry, const char *name,
                                        LedgeError *err, LedgeTufFile *f)
{
    const json_t *length = json_object_get(entry, "length"), *hashes;
    hashes = json_object_get(entry, "hashes");
    if (length && (!json_is_integer(length) || json_integer_value(length) < 0))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "the length of %.200s is no count",
                           name);
    f->length = length ? json_integer_value(length) : -1;
    const char *sha = text_of(hashes, "sha256");
    if (hashes && !ledge__fleet_is_sha256(sha))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "%.200s has no SHA-256", name);
    strcpy(f->sha256, sha);
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_listed(const LedgeTufMeta *meta, const char *name, LedgeError *err,
                              LedgeTufFile *out)
{
    const char *where = names[meta->role];
    const json_t *entry = json_object_get(json_object_get(content(meta), "meta"), name);
    const json_t *version = json_object_get(entry, "version");
    LedgeTufFile f = {0};
    if (!entry)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, where, "does not list %s", name);
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "the version of %s is no number from 1 on", name);
    f.version = json_integer_value(version);
    LEDGE_TRY(read_length_and_hash(where, entry, name, err, &f));
    *out = f;
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_find_target(const LedgeTufMeta *targets, const char *path, LedgeError *err,
                                   LedgeTufFile *out, const json_t **custom)
{
    const json_t *entry = json_object_get(json_object_get(content(targets), "targets"), path);
    LedgeTufFile f = {0};
    if (!entry)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, "targets",
                           "nobody signed %.200s: it is not among the targets", path);
    LEDGE_TRY(read_length_and_hash("targets", entry, path, err, &f));
    if (f.length < 0 || !f.sha256[0])
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "targets", "%.200s has no length or SHA-256",
                           path);
    *out = f;
    if (custom)
        *custom = json_object_get(entry, "custom");
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_check_bytes(const char *where, const LedgeTufFile *file, const void *bytes,
                                   size_t size, LedgeError *err)
{
    char sha[LEDGE_SHA256_HEX];
    if (file->length >= 0 && (uint64_t)file->length != size)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where, "has %zu bytes where %lld were signed",
                           size, (long long)file->length);
    if (ledge__sha256_of(bytes, size, sha))
        return ledge__no_memory(err);
    if (file->sha256[0] && strcmp(sha, file->sha256) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "its SHA-256 is not the one that was signed");
    return LEDGE_OK;
}

/* ---- the signed time ---- */

static LedgeStatus check_time(const LedgeTufMeta *root, const json_t *envelope, const char *nonce,
                              LedgeError *err, int64_t *out)
{
    const json_t *o = ledge__envelope_content(envelope), *time = json_object_get(o, "time");
    LEDGE_TRY(check_head("time", o, err));
    if (strcmp(text_of(o, "nonce"), nonce) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "time", "answers another question");
    if (!json_is_integer(time) || json_integer_value(time) < 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "time", "is no count of seconds");
    LEDGE_TRY(verify(root, LEDGE_TUF_TIMESTAMP, "time", envelope, err));
    *out = json_integer_value(time);
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_read_time(const LedgeTufMeta *root, const void *bytes, size_t size,
                                 const char *nonce, LedgeError *err, int64_t *out)
{
    json_t *envelope;
    if (size > TIME_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "time", "is larger than %d bytes", TIME_MAX);
    LEDGE_TRY(ledge__envelope_parse("time", bytes, size, err, &envelope));
    LedgeStatus status = check_time(root, envelope, nonce, err, out);
    json_decref(envelope);
    return status;
}
