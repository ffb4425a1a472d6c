/* What people look at: the log, tokens, figures over time, and the page's one big answer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/admin.h"
#include "fleet/registry/store_state.h"

enum { BUCKETS = 256 };

LedgeStatus ledge__admin_audit(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    const int64_t limit = ledge__admin_number(ask, "limit", 200, 10000);
    if (ask->query && ask->query(ask->query_arg, "after"))
        LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_AUDIT, "ii",
                                  ledge__admin_number(ask, "after", 0, INT64_MAX), limit));
    else
        LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_AUDIT_NEWEST, "i", limit));
    return ledge__admin_pack(json_pack("{s:o}", "entries", rows), err, out);
}

/* ---- tokens ---- */

LedgeStatus ledge__admin_tokens(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    (void)ask;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_TOKENS, ""));
    return ledge__admin_pack(json_pack("{s:o}", "tokens", rows), err, out);
}

/* A token of the role device without a device lets devices enroll: any device may use it. */
LedgeStatus ledge__admin_token_new(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                   json_t **out)
{
    const char *text, *device = json_string_value(json_object_get(ask->body, "device")),
                      *note = json_string_value(json_object_get(ask->body, "note"));
    LEDGE_TRY(ledge__admin_text(ask, "role", NULL, err, &text));
    const LedgeRole role = ledge__role_of(text);
    if (role == LEDGE_ROLE_NONE)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "role",
                           "must be device, viewer, publisher, operator or admin");
    if (device && (role != LEDGE_ROLE_DEVICE || !ledge__fleet_is_device(device)))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "device",
                           "is no device id, or the role is not device");
    if (note && strlen(note) > 200)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "note", "is longer than 200 bytes");
    if (device) {
        LedgeDevice *ignored;
        LEDGE_TRY(ledge__fleet_device(s, device, true, err, &ignored));
    }
    LEDGE_TRY(ledge__store_token_new(s, ask, role, device, note ? note : "", err, out));
    LedgeStatus status = ledge__store_changed(s, err);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

LedgeStatus ledge__admin_token_revoke(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                      json_t **out)
{
    char *end, subject[48];
    const int64_t id = strtoll(ask->words[0], &end, 10);
    if (end == ask->words[0] || *end)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, ask->words[0],
                           "a token is named by its number");
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_TOKEN_REVOKE, "ii", id, s->now));
    if (!ledge__sql_changed(s->db))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ask->words[0],
                           "there is no such token, or it is revoked already");
    snprintf(subject, sizeof subject, "token %lld", (long long)id);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "token.revoke", subject, ledge__admin_reason(ask),
                                 NULL, err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_pack(json_pack("{s:I, s:b}", "id", (json_int_t)id, "revoked", 1), err, out);
}

/* ---- figures over time ---- */

typedef struct Series {
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    int64_t at, counts[BUCKETS], records, latency_us, confidence_ppm, warnings, highs, errors;
} Series;

static double quantile(const Series *p, double q)
{
    int64_t upto = 0;
    const double want = q * (double)p->records;
    for (int b = 0; b < BUCKETS; b++) {
        upto += p->counts[b];
        if (upto > 0 && (double)upto >= want)
            return round(ledge__latency_of_bucket(b));
    }
    return 0;
}

static void emit(json_t *list, Series *p)
{
    if (p->records)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "model",
                            p->model, "version", p->version, "at", (json_int_t)p->at, "records",
                            (json_int_t)p->records, "errors", (json_int_t)p->errors, "warnings",
                            (json_int_t)p->warnings, "highs", (json_int_t)p->highs, "mean_us",
                            (double)p->latency_us / (double)p->records, "p50_us", quantile(p, 0.5),
                            "p90_us", quantile(p, 0.9), "p99_us", quantile(p, 0.99)));
    *p = (Series){0};
}

static void add_row(LedgeSql *db, LedgeQuery q, int64_t width, json_t *list, Series *p)
{
    const char *model = ledge__sql_text(db, q, 0), *version = ledge__sql_text(db, q, 1);
    const int64_t at = ledge__sql_int(db, q, 3) / width * width, bucket = ledge__sql_int(db, q, 4);
    if (at != p->at || strcmp(model, p->model) != 0 || strcmp(version, p->version) != 0)
        emit(list, p);
    snprintf(p->model, sizeof p->model, "%s", model);
    snprintf(p->version, sizeof p->version, "%s", version);
    p->at = at;
    p->counts[bucket >= 0 && bucket < BUCKETS ? bucket : 0] += ledge__sql_int(db, q, 5);
    p->records += ledge__sql_int(db, q, 5);
    p->latency_us += ledge__sql_int(db, q, 6);
    p->confidence_ppm += ledge__sql_int(db, q, 7);
    p->warnings += ledge__sql_int(db, q, 8);
    p->highs += ledge__sql_int(db, q, 9);
    p->errors += ledge__sql_int(db, q, 10);
}

static LedgeStatus rollups(LedgeStore *s, int64_t since, int64_t until, int64_t width,
                           const char *group, LedgeError *err, json_t **out)
{
    json_t *list = json_array();
    Series *p = calloc(1, sizeof *p);
    LedgeStatus status =
        list && p ? ledge__sql_ask(s->db, err, LEDGE_Q_ROLLUPS, "iit", since, until, group)
                  : ledge__no_memory(err);
    if (!status) {
        while (ledge__sql_next(s->db, LEDGE_Q_ROLLUPS))
            add_row(s->db, LEDGE_Q_ROLLUPS, width, list, p);
        emit(list, p);
        status = ledge__sql_end(s->db, LEDGE_Q_ROLLUPS, err);
    }
    free(p);
    if (status)
        json_decref(list);
    else
        *out = list;
    return status;
}

LedgeStatus ledge__admin_rollups(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const char *group = ask->query ? ask->query(ask->query_arg, "group") : NULL;
    const int64_t width = ledge__admin_number(ask, "width", 300, 366 * 86400);
    json_t *list = NULL;
    LEDGE_TRY(rollups(s, ledge__admin_number(ask, "since", s->now - 86400, INT64_MAX),
                      ledge__admin_number(ask, "until", INT64_MAX, INT64_MAX),
                      width < 300 ? 300 : width, group ? group : "all", err, &list));
    return ledge__admin_pack(json_pack("{s:o}", "rollups", list), err, out);
}

LedgeStatus ledge__admin_events(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_EVENTS_NEWEST, "i",
                              ledge__admin_number(ask, "limit", 100, 10000)));
    return ledge__admin_pack(json_pack("{s:o}", "events", rows), err, out);
}

LedgeStatus ledge__admin_raw(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_RAW_SEGMENTS, "i",
                              ledge__admin_number(ask, "limit", 100, 10000)));
    return ledge__admin_pack(json_pack("{s:o}", "segments", rows), err, out);
}

/* ---- the page ---- */

static LedgeStatus counts(LedgeStore *s, LedgeError *err, json_t *to)
{
    int64_t all = 0, online = 0, batches = 0, records = 0;
    LEDGE_TRY(
        ledge__sql_ask(s->db, err, LEDGE_Q_DEVICES_COUNT, "i", s->now - 3 * s->options.interval_s));
    while (ledge__sql_next(s->db, LEDGE_Q_DEVICES_COUNT)) {
        all = ledge__sql_int(s->db, LEDGE_Q_DEVICES_COUNT, 0);
        online = ledge__sql_int(s->db, LEDGE_Q_DEVICES_COUNT, 1);
    }
    LEDGE_TRY(ledge__sql_end(s->db, LEDGE_Q_DEVICES_COUNT, err));
    LEDGE_TRY(ledge__sql_ask(s->db, err, LEDGE_Q_BATCHES_COUNT, ""));
    while (ledge__sql_next(s->db, LEDGE_Q_BATCHES_COUNT)) {
        batches = ledge__sql_int(s->db, LEDGE_Q_BATCHES_COUNT, 0);
        records = ledge__sql_int(s->db, LEDGE_Q_BATCHES_COUNT, 1);
    }
    LEDGE_TRY(ledge__sql_end(s->db, LEDGE_Q_BATCHES_COUNT, err));
    json_t *o =
        json_pack("{s:I, s:I, s:I, s:I}", "devices", (json_int_t)all, "online", (json_int_t)online,
                  "batches", (json_int_t)batches, "records", (json_int_t)records);
    return json_object_set_new(to, "counts", o) ? ledge__no_memory(err) : LEDGE_OK;
}

static LedgeStatus put_list(LedgeStore *s, LedgeError *err, json_t *to, const char *key,
                            LedgeQuery q, int64_t limit)
{
    json_t *rows = NULL;
    LEDGE_TRY(limit ? ledge__sql_list(s->db, err, &rows, q, "i", limit)
                    : ledge__sql_list(s->db, err, &rows, q, ""));
    return json_object_set_new(to, key, rows) ? ledge__no_memory(err) : LEDGE_OK;
}

static LedgeStatus overview(LedgeStore *s, LedgeError *err, json_t *o)
{
    json_t *series = NULL;
    LEDGE_TRY(counts(s, err, o));
    LEDGE_TRY(put_list(s, err, o, "versions", LEDGE_Q_VERSIONS, 0));
    LEDGE_TRY(put_list(s, err, o, "aliases", LEDGE_Q_ALIASES, 0));
    LEDGE_TRY(put_list(s, err, o, "rollouts", LEDGE_Q_ROLLOUTS, 20));
    LEDGE_TRY(put_list(s, err, o, "groups", LEDGE_Q_GROUPS, 0));
    LEDGE_TRY(put_list(s, err, o, "drift", LEDGE_Q_DRIFT_STATE, 0));
    LEDGE_TRY(put_list(s, err, o, "events", LEDGE_Q_EVENTS_NEWEST, 30));
    LEDGE_TRY(put_list(s, err, o, "audit", LEDGE_Q_AUDIT_NEWEST, 30));
    LEDGE_TRY(put_list(s, err, o, "metadata", LEDGE_Q_TUF_STATE, 0));
    LEDGE_TRY(rollups(s, s->now - 86400, INT64_MAX, 300, "all", err, &series));
    return json_object_set_new(o, "rollups", series) ? ledge__no_memory(err) : LEDGE_OK;
}

LedgeStatus ledge__admin_overview(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *o =
        json_pack("{s:I, s:s, s:I}", "now", (json_int_t)s->now, "role", ledge__role_name(ask->role),
                  "interval_s", (json_int_t)s->options.interval_s);
    LedgeStatus status = o ? overview(s, err, o) : ledge__no_memory(err);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}
