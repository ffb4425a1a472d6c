/* The poll's JSON, see wire_poll.h. */
#include "fleet/protocol/wire_poll.h"

#include <stdlib.h>
#include <string.h>

#define KEY(text) (strcmp(key, text) == 0)
enum { KEY_SIZE = 32 };
#define NOT_NEGATIVE "a count below zero"
#define BAD_NAME     "a name other than [A-Za-z0-9][A-Za-z0-9._-]*"

static bool is_any(const char *text)
{
    (void)text;
    return true;
}

static bool is_name_or_empty(const char *text)
{
    return !text[0] || ledge__fleet_is_name(text);
}

#define READ(field, is, what) ledge__fleet_read(j, field, sizeof(field), is, what)

/* "HH:MM" as minutes of the day; -1: it is not. */
static int minutes(const char *t)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? t[i] != ':' : t[i] < '0' || t[i] > '9')
            return -1;
    const int hour = (t[0] - '0') * 10 + t[1] - '0', minute = (t[3] - '0') * 10 + t[4] - '0';
    return hour < 24 && minute < 60 ? hour * 60 + minute : -1;
}

bool ledge__fleet_is_when(const char *text)
{
    if (strcmp(text, "now") == 0 || strcmp(text, "idle") == 0)
        return true;
    return strlen(text) == 11 && text[5] == '-' && minutes(text) >= 0 && minutes(text + 6) >= 0;
}

bool ledge__fleet_when_allows(const char *when, int minute, bool idle)
{
    if (strcmp(when, "idle") == 0)
        return idle;
    if (strlen(when) != 11)
        return true;
    const int from = minutes(when), to = minutes(when + 6);
    return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

/* ---- the request ---- */

static void read_shadow(LedgeJson *j, LedgePollWindow *w)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("count"))
            w->shadow_count = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("agree"))
            w->shadow_agree = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else
            ledge__json_skip(j);
    }
}

static void read_window(LedgeJson *j, LedgePollWindow *w)
{
    char key[KEY_SIZE], word[LEDGE_FLEET_WORD];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("count")) {
            w->count = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        } else if (KEY("errors")) {
            w->errors = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        } else if (KEY("p90_us")) {
            w->p90_us = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        } else if (KEY("drift")) {
            ledge__json_string(j, word, sizeof word);
            if (!j->bad && !ledge__fleet_drift_of(word, &w->drift))
                ledge__json_fault(j, "an unknown drift verdict");
        } else if (KEY("shadow")) {
            read_shadow(j, w);
        } else {
            ledge__json_skip(j);
        }
    }
}

static void read_model(LedgeJson *j, LedgePollModel *m)
{
    char key[KEY_SIZE], word[LEDGE_FLEET_WORD];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name")) {
            READ(m->name, ledge__fleet_is_name, BAD_NAME);
        } else if (KEY("version")) {
            READ(m->version, ledge__fleet_is_name, BAD_NAME);
        } else if (KEY("state")) {
            ledge__json_string(j, word, sizeof word);
            if (!j->bad && !ledge__fleet_state_of(word, &m->state))
                ledge__json_fault(j, "an unknown state of a model");
        } else if (KEY("reason")) {
            READ(m->reason, is_any, "");
        } else if (KEY("since_s")) {
            m->since_s = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        } else if (KEY("window")) {
            read_window(j, &m->window);
        } else {
            ledge__json_skip(j);
        }
    }
    if (!j->bad && (!m->name[0] || !m->version[0]))
        ledge__json_fault(j, "a model without name or version");
}

static void read_models(LedgeJson *j, LedgePollRequest *r)
{
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        if (r->n_models == LEDGE_FLEET_MODELS)
            ledge__json_fault(j, "more than 16 models");
        else
            read_model(j, &r->models[r->n_models++]);
    }
}

static void read_labels(LedgeJson *j, LedgePollRequest *r)
{
    char key[LEDGE_FLEET_NAME + 1];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (r->n_labels == LEDGE_FLEET_LABELS || !ledge__fleet_is_name(key)) {
            ledge__json_fault(j, "more than 16 labels, or one of other letters");
            continue;
        }
        LedgePollLabel *l = &r->labels[r->n_labels++];
        strcpy(l->key, key);
        READ(l->value, ledge__fleet_is_name, BAD_NAME);
    }
}

static void read_platform(LedgeJson *j, LedgePollRequest *r)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("arch"))
            READ(r->arch, is_name_or_empty, BAD_NAME);
        else if (KEY("level"))
            READ(r->level, is_name_or_empty, BAD_NAME);
        else if (KEY("cores"))
            r->cores = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else
            ledge__json_skip(j);
    }
}

/* {"a":n,"b":n}: both small groups of two counts. */
static void read_pair(LedgeJson *j, const char *a, int64_t *a_value, const char *b,
                      int64_t *b_value)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY(a))
            *a_value = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY(b))
            *b_value = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else
            ledge__json_skip(j);
    }
}

static void read_request_member(LedgeJson *j, const char *key, LedgePollRequest *r)
{
    if (KEY("device_id")) {
        READ(r->device_id, ledge__fleet_is_device, "a device id of other letters");
    } else if (KEY("agent")) {
        READ(r->agent, is_any, "");
    } else if (KEY("platform")) {
        read_platform(j, r);
    } else if (KEY("labels")) {
        read_labels(j, r);
    } else if (KEY("clock")) {
        r->clock = ledge__json_integer(j);
    } else if (KEY("skew_ms")) {
        r->skew_ms = ledge__json_integer(j);
        r->has_skew = true;
    } else if (KEY("boot")) {
        READ(r->boot, is_name_or_empty, BAD_NAME);
    } else if (KEY("uptime_s")) {
        r->uptime_s = ledge__fleet_count(j, 0, NOT_NEGATIVE);
    } else if (KEY("models")) {
        read_models(j, r);
    } else if (KEY("queue")) {
        read_pair(j, "records", &r->queue_records, "dropped", &r->queue_dropped);
    } else if (KEY("disk")) {
        read_pair(j, "free", &r->disk_free, "quota", &r->disk_quota);
    } else if (KEY("etag")) {
        READ(r->etag, is_name_or_empty, "an etag of other letters");
    } else {
        ledge__json_skip(j);
    }
}

static LedgeStatus check_size(const char *where, size_t size, LedgeError *err)
{
    return size > LEDGE_FLEET_POLL_MAX
               ? ledge__fail(err, LEDGE_ERROR_LIMIT, where,
                             "is larger than the %zu bytes that a poll may have",
                             LEDGE_FLEET_POLL_MAX)
               : LEDGE_OK;
}

LedgeStatus ledge__poll_request_read(const char *text, size_t size, LedgeError *err,
                                     LedgePollRequest *out)
{
    LedgeJson j;
    char key[KEY_SIZE];
    LEDGE_TRY(check_size("poll", size, err));
    *out = (LedgePollRequest){0};
    ledge__json_begin(&j, text, size);
    ledge__json_object(&j);
    while (ledge__json_member(&j, key, sizeof key))
        read_request_member(&j, key, out);
    ledge__json_finish(&j);
    if (!j.bad && !out->device_id[0])
        ledge__json_fault(&j, "the device_id is missing");
    return ledge__json_status(&j, "poll", err);
}

static void write_window(const LedgePollWindow *w, FILE *to)
{
    ledge__fleet_put_int(to, true, "count", w->count);
    ledge__fleet_put_int(to, false, "errors", w->errors);
    ledge__fleet_put_int(to, false, "p90_us", w->p90_us);
    ledge__fleet_put(to, false, "drift", ledge__fleet_drift_name(w->drift));
    if (w->shadow_count) {
        fputs(",\"shadow\":{", to);
        ledge__fleet_put_int(to, true, "count", w->shadow_count);
        ledge__fleet_put_int(to, false, "agree", w->shadow_agree);
        putc('}', to);
    }
}

static void write_model(const LedgePollModel *m, FILE *to)
{
    ledge__fleet_put(to, true, "name", m->name);
    ledge__fleet_put(to, false, "version", m->version);
    ledge__fleet_put(to, false, "state", ledge__fleet_state_name(m->state));
    if (m->reason[0])
        ledge__fleet_put(to, false, "reason", m->reason);
    ledge__fleet_put_int(to, false, "since_s", m->since_s);
    fputs(",\"window\":{", to);
    write_window(&m->window, to);
    putc('}', to);
}

void ledge__poll_request_write(const LedgePollRequest *r, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "device_id", r->device_id);
    ledge__fleet_put(to, false, "agent", r->agent);
    fputs(",\"platform\":{", to);
    ledge__fleet_put(to, true, "arch", r->arch);
    ledge__fleet_put(to, false, "level", r->level);
    ledge__fleet_put_int(to, false, "cores", r->cores);
    fputs("},\"labels\":{", to);
    for (size_t i = 0; i < r->n_labels; i++)
        ledge__fleet_put(to, i == 0, r->labels[i].key, r->labels[i].value);
    putc('}', to);
    ledge__fleet_put_int(to, false, "clock", r->clock);
    if (r->has_skew)
        ledge__fleet_put_int(to, false, "skew_ms", r->skew_ms);
    ledge__fleet_put(to, false, "boot", r->boot);
    ledge__fleet_put_int(to, false, "uptime_s", r->uptime_s);
    fputs(",\"models\":[", to);
    for (size_t i = 0; i < r->n_models; i++) {
        fputs(i ? ",{" : "{", to);
        write_model(&r->models[i], to);
        putc('}', to);
    }
    fputs("],\"queue\":{", to);
    ledge__fleet_put_int(to, true, "records", r->queue_records);
    ledge__fleet_put_int(to, false, "dropped", r->queue_dropped);
    fputs("},\"disk\":{", to);
    ledge__fleet_put_int(to, true, "free", r->disk_free);
    ledge__fleet_put_int(to, false, "quota", r->disk_quota);
    putc('}', to);
    if (r->etag[0])
        ledge__fleet_put(to, false, "etag", r->etag);
    putc('}', to);
}

/* ---- the answer ---- */

static void read_fallback(LedgeJson *j, LedgeAssignment *a)
{
    char key[KEY_SIZE];
    if (ledge__json_peek(j) == LEDGE_JSON_NULL) {
        ledge__json_skip(j);
        return;
    }
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name"))
            READ(a->fallback_name, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("version"))
            READ(a->fallback_version, ledge__fleet_is_name, BAD_NAME);
        else
            ledge__json_skip(j);
    }
    if (!j->bad && (!a->fallback_name[0] || !a->fallback_version[0]))
        ledge__json_fault(j, "a fallback without name or version");
}

static void read_assignment(LedgeJson *j, LedgeAssignment *a)
{
    char key[KEY_SIZE];
    strcpy(a->when, "now");
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name"))
            READ(a->name, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("version"))
            READ(a->version, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("release"))
            READ(a->release, ledge__fleet_is_path, "a path that is not plain and relative");
        else if (KEY("fallback"))
            read_fallback(j, a);
        else if (KEY("shadow"))
            a->shadow = ledge__json_bool(j);
        else if (KEY("strict"))
            a->strict = ledge__json_bool(j);
        else if (KEY("when"))
            READ(a->when, ledge__fleet_is_when, "when is not now, idle or HH:MM-HH:MM");
        else
            ledge__json_skip(j);
    }
    if (!j->bad && (!a->name[0] || !a->version[0] || !a->release[0]))
        ledge__json_fault(j, "a model without name, version or release");
}

static void read_retired(LedgeJson *j, LedgeRetired *r)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name"))
            READ(r->name, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("version"))
            READ(r->version, ledge__fleet_is_name, BAD_NAME);
        else
            ledge__json_skip(j);
    }
    if (!j->bad && (!r->name[0] || !r->version[0]))
        ledge__json_fault(j, "a retired model without name or version");
}

static void read_answer_lists(LedgeJson *j, const char *key, LedgePollAnswer *a)
{
    const bool is_models = KEY("models");
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        if ((is_models ? a->n_models : a->n_retire) == LEDGE_FLEET_MODELS)
            ledge__json_fault(j, "more than 16 models");
        else if (is_models)
            read_assignment(j, &a->models[a->n_models++]);
        else
            read_retired(j, &a->retire[a->n_retire++]);
    }
}

LedgeStatus ledge__poll_answer_read(const char *text, size_t size, LedgeError *err,
                                    LedgePollAnswer *out)
{
    LedgeJson j;
    char key[KEY_SIZE];
    LEDGE_TRY(check_size("poll answer", size, err));
    *out = (LedgePollAnswer){.interval_s = LEDGE_FLEET_INTERVAL};
    ledge__json_begin(&j, text, size);
    ledge__json_object(&j);
    while (ledge__json_member(&j, key, sizeof key)) {
        if (KEY("etag"))
            ledge__fleet_read(&j, out->etag, sizeof out->etag, is_name_or_empty,
                              "an etag of other letters");
        else if (KEY("time"))
            out->time = ledge__fleet_count(&j, 0, NOT_NEGATIVE);
        else if (KEY("interval_s"))
            out->interval_s = ledge__fleet_count(&j, 1, "an interval below one second");
        else if (KEY("models") || KEY("retire"))
            read_answer_lists(&j, key, out);
        else
            ledge__json_skip(&j);
    }
    ledge__json_finish(&j);
    return ledge__json_status(&j, "poll answer", err);
}

static void write_assignment(const LedgeAssignment *m, FILE *to)
{
    ledge__fleet_put(to, true, "name", m->name);
    ledge__fleet_put(to, false, "version", m->version);
    ledge__fleet_put(to, false, "release", m->release);
    fputs(",\"fallback\":", to);
    if (m->fallback_name[0]) {
        putc('{', to);
        ledge__fleet_put(to, true, "name", m->fallback_name);
        ledge__fleet_put(to, false, "version", m->fallback_version);
        putc('}', to);
    } else {
        fputs("null", to);
    }
    fprintf(to, ",\"shadow\":%s,\"strict\":%s", m->shadow ? "true" : "false",
            m->strict ? "true" : "false");
    ledge__fleet_put(to, false, "when", m->when[0] ? m->when : "now");
}

void ledge__poll_answer_write(const LedgePollAnswer *a, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "etag", a->etag);
    ledge__fleet_put_int(to, false, "time", a->time);
    ledge__fleet_put_int(to, false, "interval_s", a->interval_s);
    fputs(",\"models\":[", to);
    for (size_t i = 0; i < a->n_models; i++) {
        fputs(i ? ",{" : "{", to);
        write_assignment(&a->models[i], to);
        putc('}', to);
    }
    fputs("],\"retire\":[", to);
    for (size_t i = 0; i < a->n_retire; i++) {
        fputs(i ? ",{" : "{", to);
        ledge__fleet_put(to, true, "name", a->retire[i].name);
        ledge__fleet_put(to, false, "version", a->retire[i].version);
        putc('}', to);
    }
    fputs("]}", to);
}
