/* The store's life, its transactions, roles, tokens, and the audit log. */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/store_state.h"
#include "trust/canonical_json.h"
#include "trust/sha256.h"

static const char *const roles[LEDGE_ROLES] = {"none",      "device",   "viewer",
                                               "publisher", "operator", "admin"};

const char *ledge__role_name(LedgeRole role)
{
    return roles[role];
}

LedgeRole ledge__role_of(const char *name)
{
    for (int i = LEDGE_ROLE_DEVICE; name && i < LEDGE_ROLES; i++)
        if (strcmp(name, roles[i]) == 0)
            return (LedgeRole)i;
    return LEDGE_ROLE_NONE;
}

bool ledge__role_allows(LedgeRole has, LedgeRole asks)
{
    if (asks == LEDGE_ROLE_NONE || has == asks || (has == LEDGE_ROLE_ADMIN))
        return true;
    return asks == LEDGE_ROLE_VIEWER && (has == LEDGE_ROLE_PUBLISHER || has == LEDGE_ROLE_OPERATOR);
}

const char *ledge__member_text(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t ? t : "";
}

int64_t ledge__member_int(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* ---- life ---- */

LedgeStatus ledge__store_open(const LedgeStoreOptions *options, LedgeError *err, LedgeStore **out)
{
    LedgeStore *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    s->options = *options;
    s->options.interval_s = options->interval_s ? options->interval_s : LEDGE_FLEET_INTERVAL;
    s->options.keep_days = options->keep_days ? options->keep_days : 30;
    s->options.keep_rollup_days = options->keep_rollup_days ? options->keep_rollup_days : 400;
    s->epoch = -1;
    LedgeStatus status = ledge__sql_open(options->database, err, &s->db);
    if (!status)
        status = ledge__sql_make_tables(s->db, err);
    if (status)
        ledge__store_close(s);
    else
        *out = s;
    return status;
}

void ledge__store_close(LedgeStore *s)
{
    if (!s)
        return;
    ledge__fleet_forget(s);
    ledge__sql_close(s->db);
    free(s->rollups);
    free(s);
}

LedgeSql *ledge__store_sql(LedgeStore *s)
{
    return s->db;
}

int64_t ledge__store_epoch(const LedgeStore *s)
{
    return s->epoch;
}

LedgeStatus ledge__store_begin(LedgeStore *s, int64_t now, LedgeError *err)
{
    s->now = now;
    LEDGE_TRY(ledge__sql_begin(s->db, err));
    LedgeStatus status = ledge__fleet_load(s, err);
    if (status)
        ledge__store_undo(s);
    return status;
}

LedgeStatus ledge__store_commit(LedgeStore *s, LedgeError *err)
{
    LedgeStatus status = ledge__store_flush_rollups(s, err);
    if (!status)
        status = ledge__sql_commit(s->db, err);
    else
        ledge__sql_undo(s->db);
    if (status)
        ledge__fleet_forget(s);
    return status;
}

void ledge__store_undo(LedgeStore *s)
{
    ledge__sql_undo(s->db);
    ledge__fleet_forget(s);
}

LedgeStatus ledge__store_mark(LedgeStore *s, LedgeError *err)
{
    return ledge__sql_mark(s->db, err);
}

LedgeStatus ledge__store_keep(LedgeStore *s, LedgeError *err)
{
    return ledge__sql_keep(s->db, err);
}

LedgeStatus ledge__store_return(LedgeStore *s, LedgeError *err)
{
    ledge__fleet_forget_devices(s);
    return ledge__sql_return(s->db, err);
}

LedgeStatus ledge__store_changed(LedgeStore *s, LedgeError *err)
{
    return ledge__sql_run(s->db, err, LEDGE_Q_EPOCH_ADD, "");
}

/* ---- the audit log ---- */

/* Over the canonical JSON of the entry without its own hash. */
LedgeStatus ledge__audit_hash(const json_t *entry, LedgeError *err, char out[LEDGE_SHA256_HEX])
{
    char *text;
    size_t n;
    json_t *o = json_copy((json_t *)entry);
    if (!o)
        return ledge__no_memory(err);
    (void)json_object_del(o, "hash");
    LedgeStatus status = ledge__canonical_json(o, err, &text, &n);
    json_decref(o);
    if (status)
        return status;
    status = ledge__sha256_of(text, n, out);
    free(text);
    return status;
}

static LedgeStatus append(LedgeStore *s, json_t *entry, const json_t *detail, LedgeError *err)
{
    char hash[LEDGE_SHA256_HEX];
    char *text = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
    LedgeStatus status = text ? ledge__audit_hash(entry, err, hash) : ledge__no_memory(err);
    if (!status)
        status = ledge__sql_run(
            s->db, err, LEDGE_Q_AUDIT_ADD, "iittttttt", ledge__member_int(entry, "id"),
            ledge__member_int(entry, "at"), ledge__member_text(entry, "who"),
            ledge__member_text(entry, "action"), ledge__member_text(entry, "subject"),
            ledge__member_text(entry, "reason"), text, ledge__member_text(entry, "previous"), hash);
    free(text);
    return status;
}

LedgeStatus ledge__store_audit(LedgeStore *s, const char *who, const char *action,
                               const char *subject, const char *reason, json_t *detail,
                               LedgeError *err)
{
    int64_t id = 0;
    char previous[LEDGE_SHA256_HEX] = "";
    /* A row as a lock: registries that share a database append one after another. */
    LedgeStatus status = ledge__sql_run(s->db, err, LEDGE_Q_AUDIT_LOCK, "");
    if (!status)
        status = ledge__sql_ask(s->db, err, LEDGE_Q_AUDIT_LAST, "");
    if (status) {
        json_decref(detail);
        return status;
    }
    while (ledge__sql_next(s->db, LEDGE_Q_AUDIT_LAST)) {
        id = ledge__sql_int(s->db, LEDGE_Q_AUDIT_LAST, 0);
        snprintf(previous, sizeof previous, "%s", ledge__sql_text(s->db, LEDGE_Q_AUDIT_LAST, 1));
    }
    status = ledge__sql_end(s->db, LEDGE_Q_AUDIT_LAST, err);
    json_t *entry = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:s}", "id",
                              (json_int_t)(id + 1), "at", (json_int_t)s->now, "who", who, "action",
                              action, "subject", subject, "reason", reason ? reason : "", "detail",
                              detail ? detail : json_object(), "previous", previous);
    if (!status)
        status =
            entry ? append(s, entry, json_object_get(entry, "detail"), err) : ledge__no_memory(err);
    json_decref(entry);
    return status;
}

/* ---- tokens ---- */

LedgeStatus ledge__store_token_new(LedgeStore *s, const LedgeAsk *ask, LedgeRole role,
                                   const char *device, const char *note, LedgeError *err,
                                   json_t **out)
{
    uint8_t random[32];
    char hex[2 * sizeof random + 1], text[80], hash[LEDGE_SHA256_HEX], subject[48];
    int64_t id = 0;
    if (RAND_bytes(random, sizeof random) != 1)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "token", "the system gave no random numbers");
    ledge__hex(random, sizeof random, hex);
    snprintf(text, sizeof text, "ledge_%s", hex);
    LEDGE_TRY(ledge__sha256_of(text, strlen(text), hash));
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &id, LEDGE_Q_TOKEN_ADD, "tttti", hash, roles[role],
                                device, note, s->now));
    snprintf(subject, sizeof subject, "token %lld", (long long)id);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "token.new", subject,
                                 ledge__member_text(ask->body, "reason"),
                                 json_pack("{s:s, s:s, s:s}", "role", roles[role], "device",
                                           device ? device : "", "note", note),
                                 err));
    *out = json_pack("{s:I, s:s, s:s, s:s}", "id", (json_int_t)id, "token", text, "role",
                     roles[role], "device", device ? device : "");
    return *out ? LEDGE_OK : ledge__no_memory(err);
}
