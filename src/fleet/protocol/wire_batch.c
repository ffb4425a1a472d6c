/* Batches' JSON, see wire_batch.h. */
#include "fleet/protocol/wire_batch.h"

#include <inttypes.h>
#include <string.h>

#define KEY(text) (strcmp(key, text) == 0)
enum { KEY_SIZE = 32, MILLION = 1000000 };
#define NOT_NEGATIVE "a count below zero"
#define BAD_NAME     "a name other than [A-Za-z0-9][A-Za-z0-9._-]*"

static const char *const lists[] = {"records", "alerts", "events"};

static bool is_any(const char *text)
{
    (void)text;
    return true;
}

static bool is_name_or_empty(const char *text)
{
    return !text[0] || ledge__fleet_is_name(text);
}

static bool is_hex_or_empty(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

#define READ(field, is, what) ledge__fleet_read(j, field, sizeof(field), is, what)

/* ---- the heads ---- */

static void read_dropped(LedgeJson *j, LedgeBatchHead *h)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("oldest"))
            h->dropped_oldest = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("rejected"))
            h->dropped_rejected = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("sampled"))
            h->dropped_sampled = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else
            ledge__json_skip(j);
    }
}

static void note_list(LedgeBatchReader *r, LedgeJson *j, int list)
{
    if (ledge__json_peek(j) != LEDGE_JSON_ARRAY)
        ledge__json_fault(j, "an array is wanted");
    else if (r->lists[list])
        ledge__json_fault(j, "a list comes twice");
    else
        r->lists[list] = j->p;
    ledge__json_skip(j);
}

static void read_head_member(LedgeBatchReader *r, LedgeJson *j, const char *key)
{
    LedgeBatchHead *h = &r->head;
    for (int i = 0; i < LEDGE_BATCH_LISTS; i++)
        if (KEY(lists[i])) {
            note_list(r, j, i);
            return;
        }
    if (KEY("device_id"))
        READ(h->device_id, ledge__fleet_is_device, "a device id of other letters");
    else if (KEY("batch"))
        READ(h->batch, ledge__fleet_is_batch, "a batch id of other letters");
    else if (KEY("clock_us"))
        h->clock_us = ledge__json_integer(j);
    else if (KEY("dropped"))
        read_dropped(j, h);
    else
        ledge__json_skip(j);
}

LedgeStatus ledge__batch_open(LedgeBatchReader *r, const char *text, size_t size, LedgeError *err)
{
    LedgeJson *j = &r->json;
    char key[KEY_SIZE];
    *r = (LedgeBatchReader){.text = text, .size = size};
    if (size > LEDGE_FLEET_BATCH_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "batch",
                           "is larger than the %zu bytes that a batch may have",
                           LEDGE_FLEET_BATCH_MAX);
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key))
        read_head_member(r, j, key);
    ledge__json_finish(j);
    if (!j->bad && (!r->head.device_id[0] || !r->head.batch[0]))
        ledge__json_fault(j, "device_id or batch is missing");
    return ledge__json_status(j, "batch", err);
}

/* ---- the items ---- */

void ledge__batch_list(LedgeBatchReader *r, LedgeBatchList list)
{
    const char *at = r->lists[list];
    ledge__json_begin(&r->json, r->text, r->size);
    r->json.p = at ? at : r->text + r->size;
    if (at)
        ledge__json_array(&r->json);
}

static bool has_item(LedgeBatchReader *r)
{
    return r->json.p < r->text + r->size && !r->json.bad && r->json.depth > 0 &&
           ledge__json_element(&r->json);
}

static int32_t read_ppm(LedgeJson *j)
{
    const int64_t v = ledge__fleet_count(j, -1, "a confidence below zero");
    if (!j->bad && v > MILLION)
        ledge__json_fault(j, "a confidence above 1000000 millionths");
    return j->bad ? -1 : (int32_t)v;
}

static void read_record_member(LedgeJson *j, const char *key, LedgeTelemetryRecord *t)
{
    char word[LEDGE_FLEET_WORD];
    if (KEY("seq")) {
        t->seq = (uint64_t)ledge__fleet_count(j, 0, NOT_NEGATIVE);
    } else if (KEY("timestamp")) {
        t->timestamp = ledge__json_integer(j);
    } else if (KEY("model")) {
        READ(t->model, ledge__fleet_is_name, BAD_NAME);
    } else if (KEY("version")) {
        READ(t->version, ledge__fleet_is_name, BAD_NAME);
    } else if (KEY("latency_us")) {
        t->latency_us = ledge__fleet_count(j, 0, "a latency below zero");
    } else if (KEY("confidence_ppm")) {
        t->confidence_ppm = read_ppm(j);
    } else if (KEY("class_id")) {
        t->class_id = ledge__fleet_count(j, -1, "a class below -1");
    } else if (KEY("request_hash")) {
        READ(t->request_hash, is_hex_or_empty, "a hash that is not hexadecimal");
    } else if (KEY("drift")) {
        ledge__json_string(j, word, sizeof word);
        if (!j->bad && !ledge__fleet_drift_of(word, &t->drift))
            ledge__json_fault(j, "an unknown drift verdict");
    } else if (KEY("error")) {
        t->error = ledge__json_bool(j);
    } else {
        ledge__json_skip(j);
    }
}

bool ledge__batch_record(LedgeBatchReader *r, LedgeTelemetryRecord *out)
{
    LedgeJson *j = &r->json;
    char key[KEY_SIZE];
    if (!has_item(r))
        return false;
    *out = (LedgeTelemetryRecord){.confidence_ppm = -1, .class_id = -1};
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key))
        read_record_member(j, key, out);
    if (!j->bad && (!out->model[0] || !out->version[0]))
        ledge__json_fault(j, "a record without model or version");
    return !j->bad;
}

bool ledge__batch_note(LedgeBatchReader *r, LedgeFleetNote *out)
{
    LedgeJson *j = &r->json;
    char key[KEY_SIZE];
    if (!has_item(r))
        return false;
    *out = (LedgeFleetNote){0};
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("seq"))
            out->seq = (uint64_t)ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("timestamp"))
            out->timestamp = ledge__json_integer(j);
        else if (KEY("kind"))
            READ(out->kind, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("severity"))
            READ(out->severity, is_name_or_empty, BAD_NAME);
        else if (KEY("model"))
            READ(out->model, is_name_or_empty, BAD_NAME);
        else if (KEY("version"))
            READ(out->version, is_name_or_empty, BAD_NAME);
        else if (KEY("message"))
            READ(out->message, is_any, "");
        else
            ledge__json_skip(j);
    }
    if (!j->bad && !out->kind[0])
        ledge__json_fault(j, "an item without a kind");
    return !j->bad;
}

LedgeStatus ledge__batch_status(const LedgeBatchReader *r, LedgeError *err)
{
    return ledge__json_status(&r->json, "batch", err);
}

/* ---- writing ---- */

void ledge__batch_write_head(LedgeBatchWriter *w, FILE *to, const LedgeBatchHead *h)
{
    *w = (LedgeBatchWriter){.to = to};
    putc('{', to);
    ledge__fleet_put(to, true, "device_id", h->device_id);
    ledge__fleet_put(to, false, "batch", h->batch);
    ledge__fleet_put_int(to, false, "clock_us", h->clock_us);
    fputs(",\"dropped\":{", to);
    ledge__fleet_put_int(to, true, "oldest", h->dropped_oldest);
    ledge__fleet_put_int(to, false, "rejected", h->dropped_rejected);
    ledge__fleet_put_int(to, false, "sampled", h->dropped_sampled);
    putc('}', to);
}

void ledge__batch_write_list(LedgeBatchWriter *w, LedgeBatchList list)
{
    fprintf(w->to, "%s,\"%s\":[", w->in_list ? "]" : "", lists[list]);
    w->in_list = true;
    w->has_item = false;
}

static void begin_item(LedgeBatchWriter *w, uint64_t seq, int64_t timestamp)
{
    fprintf(w->to, "%s{\"seq\":%" PRIu64 ",\"timestamp\":%" PRId64, w->has_item ? "," : "", seq,
            timestamp);
    w->has_item = true;
}

void ledge__batch_write_record(LedgeBatchWriter *w, const LedgeTelemetryRecord *r)
{
    begin_item(w, r->seq, r->timestamp);
    ledge__fleet_put(w->to, false, "model", r->model);
    ledge__fleet_put(w->to, false, "version", r->version);
    ledge__fleet_put_int(w->to, false, "latency_us", r->latency_us);
    if (r->confidence_ppm >= 0)
        ledge__fleet_put_int(w->to, false, "confidence_ppm", r->confidence_ppm);
    if (r->class_id >= 0)
        ledge__fleet_put_int(w->to, false, "class_id", r->class_id);
    if (r->request_hash[0])
        ledge__fleet_put(w->to, false, "request_hash", r->request_hash);
    ledge__fleet_put(w->to, false, "drift", ledge__fleet_drift_name(r->drift));
    fputs(r->error ? ",\"error\":true}" : "}", w->to);
}

void ledge__batch_write_note(LedgeBatchWriter *w, const LedgeFleetNote *n)
{
    begin_item(w, n->seq, n->timestamp);
    ledge__fleet_put(w->to, false, "kind", n->kind);
    if (n->severity[0])
        ledge__fleet_put(w->to, false, "severity", n->severity);
    if (n->model[0])
        ledge__fleet_put(w->to, false, "model", n->model);
    if (n->version[0])
        ledge__fleet_put(w->to, false, "version", n->version);
    ledge__fleet_put(w->to, false, "message", n->message);
    putc('}', w->to);
}

void ledge__batch_write_end(LedgeBatchWriter *w)
{
    fputs(w->in_list ? "]}" : "}", w->to);
}

/* ---- the answer ---- */

LedgeStatus ledge__batch_answer_read(const char *text, size_t size, LedgeError *err,
                                     LedgeBatchAnswer *out)
{
    LedgeJson json, *j = &json;
    char key[KEY_SIZE];
    *out = (LedgeBatchAnswer){0};
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("batch"))
            READ(out->batch, ledge__fleet_is_batch, "a batch id of other letters");
        else if (KEY("stored"))
            out->stored = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("duplicate"))
            out->duplicate = ledge__json_bool(j);
        else
            ledge__json_skip(j);
    }
    ledge__json_finish(j);
    if (!j->bad && !out->batch[0])
        ledge__json_fault(j, "the batch id is missing");
    return ledge__json_status(j, "batch answer", err);
}

void ledge__batch_answer_write(const LedgeBatchAnswer *a, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "batch", a->batch);
    ledge__fleet_put_int(to, false, "stored", a->stored);
    fprintf(to, ",\"duplicate\":%s}", a->duplicate ? "true" : "false");
}
