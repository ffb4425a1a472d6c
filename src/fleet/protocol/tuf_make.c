/* Writing TUF metadata, see tuf_meta.h: for the registry and for tests. */
#include "fleet/protocol/tuf_meta.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/canonical_json.h"
#include "trust/certificate.h"

/* Takes `object` too: NULL where either is lacking. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *head(LedgeTufRole role, int64_t version, int64_t expires)
{
    char time[LEDGE_TIME_TEXT];
    ledge__time_text(expires, time);
    return json_pack("{s:s, s:s, s:I, s:s}", "_type", ledge__tuf_role_name(role), "spec_version",
                     LEDGE_TUF_SPEC, "version", (json_int_t)version, "expires", time);
}

static json_t *finished(json_t *o, bool ok)
{
    if (o && ok)
        return o;
    json_decref(o);
    return NULL;
}

static bool put_role(json_t *all_keys, json_t *roles, const char *name, const LedgeTufKeys *k)
{
    json_t *ids = json_array();
    bool ok = ids != NULL;
    for (size_t i = 0; ok && i < k->n; i++) {
        ok = put(all_keys, ledge__key_id(k->keys[i]), ledge__key_json(k->keys[i])) &&
             json_array_append_new(ids, json_string(ledge__key_id(k->keys[i]))) == 0;
    }
    return put(roles, name,
               json_pack("{s:o, s:I}", "keyids", ids, "threshold", (json_int_t)k->threshold)) &&
           ok;
}

json_t *ledge__tuf_make_root(int64_t version, int64_t expires,
                             const LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT])
{
    json_t *o = head(LEDGE_TUF_ROOT, version, expires);
    json_t *all_keys = json_object(), *roles = json_object();
    bool ok = o && all_keys && roles;
    for (int role = 0; ok && role < LEDGE_TUF_ROLE_COUNT; role++)
        ok = put_role(all_keys, roles, ledge__tuf_role_name((LedgeTufRole)role), &keys[role]);
    ok = put(o, "keys", all_keys) && ok;
    ok = put(o, "roles", roles) && ok;
    ok = put(o, "consistent_snapshot", json_true()) && ok;
    return finished(o, ok);
}

static json_t *entry(const LedgeTufFile *f)
{
    return json_pack("{s:I, s:I, s:{s:s}}", "version", (json_int_t)f->version, "length",
                     (json_int_t)f->length, "hashes", "sha256", f->sha256);
}

static json_t *with_meta(LedgeTufRole role, int64_t version, int64_t expires, const char *name,
                         const LedgeTufFile *f)
{
    json_t *o = head(role, version, expires);
    return finished(o, put(o, "meta", json_pack("{s:o}", name, entry(f))));
}

json_t *ledge__tuf_make_timestamp(int64_t version, int64_t expires, const LedgeTufFile *snapshot)
{
    return with_meta(LEDGE_TUF_TIMESTAMP, version, expires, "snapshot.json", snapshot);
}

json_t *ledge__tuf_make_snapshot(int64_t version, int64_t expires, const LedgeTufFile *targets)
{
    return with_meta(LEDGE_TUF_SNAPSHOT, version, expires, "targets.json", targets);
}

json_t *ledge__tuf_make_targets(int64_t version, int64_t expires, json_t *targets)
{
    json_t *o = head(LEDGE_TUF_TARGETS, version, expires);
    return finished(o, put(o, "targets", targets));
}

json_t *ledge__tuf_make_target(int64_t length, const char *sha256, json_t *custom)
{
    json_t *o =
        json_pack("{s:I, s:{s:s}}", "length", (json_int_t)length, "hashes", "sha256", sha256);
    return finished(o, !custom || put(o, "custom", custom));
}

json_t *ledge__tuf_make_time(int64_t time, const char *nonce)
{
    return json_pack("{s:s, s:s, s:I, s:s}", "_type", "time", "spec_version", LEDGE_TUF_SPEC,
                     "time", (json_int_t)time, "nonce", nonce);
}

LedgeStatus ledge__tuf_text(const json_t *envelope, LedgeError *err, char **out, size_t *size,
                            LedgeTufFile *file)
{
    char *text;
    size_t n;
    LEDGE_TRY(ledge__canonical_json(envelope, err, &text, &n));
    char *longer = realloc(text, n + 2);
    if (!longer) {
        free(text);
        return ledge__no_memory(err);
    }
    memcpy(longer + n++, "\n", 2);
    if (file) {
        const json_t *o = ledge__envelope_content(envelope);
        file->version = json_integer_value(json_object_get(o, "version"));
        file->length = (int64_t)n;
        if (ledge__sha256_of(longer, n, file->sha256)) {
            free(longer);
            return ledge__no_memory(err);
        }
    }
    *out = longer;
    *size = n;
    return LEDGE_OK;
}
