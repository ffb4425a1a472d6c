/* Telemetry: reading a batch into rows (outside of any transaction), and storing it exactly once.
 *
 * A transaction takes many batches. Their rollups are gathered in memory, by version, group, five
 * minutes and latency bucket, and written once before the commit; so a batch that is stored is also
 * counted, and one that was there already is neither. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "fleet/registry/store_state.h"
#include "trust/certificate.h"
#include "trust/sha256.h"

enum { ROLLUP_SECONDS = 300, ROLLUP_SLOTS = 4096, STREAMS_KEPT = 4096 };

int ledge__latency_bucket(int64_t us)
{
    if (us < 4)
        return us < 0 ? 0 : (int)us;
    const int octave = 63 - __builtin_clzll((unsigned long long)us);
    return octave * 4 + (int)(us >> (octave - 2) & 3) - 4;
}

double ledge__latency_of_bucket(int bucket)
{
    if (bucket < 4)
        return bucket;
    const int octave = (bucket + 4) / 4;
    return ldexp(1 + ((bucket + 4) % 4 + 0.5) / 4, octave);
}

/* ---- reading ---- */

void ledge__ingest_free(LedgeIngest *i)
{
    free(i->rows);
    free(i->errors);
    free(i->notes);
    free(i->is_event);
    free(i->text);
    *i = (LedgeIngest){0};
}

static int stream_of(LedgeIngest *i, const char *model, const char *version)
{
    for (size_t k = 0; k < i->n_streams; k++)
        if (strcmp(i->streams[k].model, model) == 0 && strcmp(i->streams[k].version, version) == 0)
            return (int)k;
    if (i->n_streams == LEDGE_INGEST_STREAMS)
        return -1;
    LedgeIngestStream *s = &i->streams[i->n_streams];
    snprintf(s->model, sizeof s->model, "%s", model);
    snprintf(s->version, sizeof s->version, "%s", version);
    return (int)i->n_streams++;
}

typedef struct Room {
    size_t rows, notes, text, used; /* allocated, and of the text also used */
} Room;

static bool more_rows(LedgeIngest *i, Room *room)
{
    if (i->n_rows < room->rows)
        return true;
    const size_t n = room->rows ? 2 * room->rows : 128;
    LedgeRecordRow *rows = realloc(i->rows, n * sizeof *rows);
    if (rows)
        i->rows = rows;
    uint8_t *errors = realloc(i->errors, n);
    if (errors)
        i->errors = errors;
    if (!rows || !errors)
        return false;
    room->rows = n;
    return true;
}

/* Where the hash lies is kept as an offset until the text stands still. */
static bool keep_hash(LedgeIngest *i, Room *room, const char *hash, LedgeRecordRow *row)
{
    const size_t n = strlen(hash) + 1;
    if (n == 1) {
        row->request_hash = NULL;
        return true;
    }
    if (room->text - room->used < n) {
        const size_t cap = 2 * room->text + 8192;
        char *text = realloc(i->text, cap);
        if (!text)
            return false;
        i->text = text;
        room->text = cap;
    }
    memcpy(i->text + room->used, hash, n);
    row->request_hash = (const char *)(uintptr_t)(room->used + 1);
    room->used += n;
    return true;
}

static void place_hashes(LedgeIngest *i)
{
    for (size_t k = 0; k < i->n_rows; k++)
        if (i->rows[k].request_hash)
            i->rows[k].request_hash = i->text + ((uintptr_t)i->rows[k].request_hash - 1);
}

static LedgeStatus too_many_streams(LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_LIMIT, "batch", "names more than %d versions of models",
                       LEDGE_INGEST_STREAMS);
}

static LedgeStatus read_records(LedgeBatchReader *r, int64_t shift_us, LedgeError *err,
                                LedgeIngest *out, Room *room)
{
    LedgeTelemetryRecord t;
    ledge__batch_list(r, LEDGE_BATCH_RECORDS);
    while (ledge__batch_record(r, &t)) {
        const int stream = stream_of(out, t.model, t.version);
        int64_t at;
        if (stream < 0)
            return too_many_streams(err);
        if (!more_rows(out, room))
            return ledge__no_memory(err);
        if (__builtin_add_overflow(t.timestamp, shift_us, &at))
            at = t.timestamp;
        LedgeRecordRow *row = &out->rows[out->n_rows];
        *row = (LedgeRecordRow){.stream = stream,
                                .seq = (int64_t)(t.seq & INT64_MAX),
                                .at_ms = at / 1000,
                                .latency_us = t.latency_us,
                                .confidence_ppm = t.confidence_ppm,
                                .class_id = t.class_id,
                                .drift = t.drift};
        if (!keep_hash(out, room, t.request_hash, row))
            return ledge__no_memory(err);
        out->errors[out->n_rows++] = t.error;
    }
    return ledge__batch_status(r, err);
}

static LedgeStatus read_notes(LedgeBatchReader *r, LedgeBatchList list, LedgeError *err,
                              LedgeIngest *out)
{
    LedgeFleetNote note;
    ledge__batch_list(r, list);
    while (ledge__batch_note(r, &note)) {
        if (out->n_notes == LEDGE_INGEST_NOTES)
            return ledge__fail(err, LEDGE_ERROR_LIMIT, "batch",
                               "holds more than %d alerts and events", LEDGE_INGEST_NOTES);
        if (!out->notes) {
            out->notes = calloc(LEDGE_INGEST_NOTES, sizeof *out->notes);
            out->is_event = calloc(LEDGE_INGEST_NOTES, sizeof *out->is_event);
            if (!out->notes || !out->is_event)
                return ledge__no_memory(err);
        }
        out->is_event[out->n_notes] = list == LEDGE_BATCH_EVENTS;
        out->notes[out->n_notes++] = note;
    }
    return ledge__batch_status(r, err);
}

LedgeStatus ledge__ingest_read(const char *text, size_t size, int64_t received_us, LedgeError *err,
                               LedgeIngest *out)
{
    LedgeBatchReader r;
    Room room = {0};
    int64_t shift = 0;
    *out = (LedgeIngest){0};
    LEDGE_TRY(ledge__batch_open(&r, text, size, err));
    out->head = r.head;
    if (r.head.clock_us > 0)
        shift = received_us - r.head.clock_us;
    LedgeStatus status = read_records(&r, shift, err, out, &room);
    if (!status)
        status = read_notes(&r, LEDGE_BATCH_ALERTS, err, out);
    if (!status)
        status = read_notes(&r, LEDGE_BATCH_EVENTS, err, out);
    if (status)
        ledge__ingest_free(out);
    else
        place_hashes(out);
    return status;
}

/* ---- reading what the old clients send ---- */

/* Seconds, milliseconds or microseconds since 1970, told apart by size; or ISO 8601. */
static int64_t old_time_ms(LedgeJson *j)
{
    char text[40];
    if (ledge__json_peek(j) == LEDGE_JSON_STRING) {
        ledge__json_string(j, text, sizeof text);
        char *rest = strpbrk(text, ".+"); /* fractions and offsets of UTC, as Python writes them */
        if (rest && (rest - text) == 19)
            snprintf(rest, 2, "Z");
        else if (strlen(text) == 19)
            snprintf(text + 19, 2, "Z");
        const int64_t t = ledge__time_read(text);
        if (!j->bad && t < 0)
            ledge__json_fault(j, "a timestamp that is neither a number nor ISO 8601");
        return t * 1000;
    }
    const double t = ledge__json_number(j);
    if (!j->bad && !(t >= 0 && t < 1e17))
        ledge__json_fault(j, "a timestamp out of range");
    return j->bad ? 0 : (int64_t)(t < 1e11 ? t * 1000 : t < 1e14 ? t : t / 1000);
}

static double bounded(LedgeJson *j, double least, double most, const char *what)
{
    const double v = ledge__json_number(j);
    if (!j->bad && !(v >= least && v <= most))
        ledge__json_fault(j, what);
    return j->bad ? 0 : v;
}

static bool is_plain(const char *t)
{
    return strspn(t, "0123456789abcdefABCDEFghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ:._-") ==
           strlen(t);
}

static void read_old_record(LedgeJson *j, LedgeIngest *out, Room *room)
{
    char key[32], version[LEDGE_FLEET_NAME] = "unknown", hash[LEDGE_FLEET_SHA256 + 8] = "",
                  device[LEDGE_FLEET_DEVICE];
    LedgeRecordRow row = {.confidence_ppm = -1, .class_id = -1};
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (ledge__json_peek(j) == LEDGE_JSON_NULL)
            ledge__json_skip(j);
        else if (strcmp(key, "timestamp") == 0)
            row.at_ms = old_time_ms(j);
        else if (strcmp(key, "device_id") == 0)
            ledge__fleet_read(j, device, sizeof device, ledge__fleet_is_device,
                              "a device_id of other letters");
        else if (strcmp(key, "request_hash") == 0)
            ledge__fleet_read(j, hash, sizeof hash, is_plain, "a request_hash of other letters");
        else if (strcmp(key, "latency_ms") == 0)
            row.latency_us = (int64_t)(bounded(j, 0, 1e9, "a latency_ms out of range") * 1000);
        else if (strcmp(key, "model_version") == 0)
            ledge__fleet_read(j, version, sizeof version, ledge__fleet_is_name,
                              "a model_version of other letters");
        else if (strcmp(key, "confidence") == 0)
            row.confidence_ppm = (int64_t)(bounded(j, 0, 1, "a confidence out of 0 to 1") * 1e6);
        else if (strcmp(key, "class_id") == 0)
            row.class_id = ledge__json_integer(j);
        else
            ledge__json_skip(j);
    }
    if (j->bad)
        return;
    const int stream = stream_of(out, "", version);
    if (stream < 0 || !more_rows(out, room) || !keep_hash(out, room, hash, &row)) {
        ledge__json_fault(j, stream < 0 ? "more than 16 model versions" : "more than memory holds");
        return;
    }
    row.stream = stream;
    row.seq = (int64_t)out->n_rows;
    out->errors[out->n_rows] = 0;
    out->rows[out->n_rows++] = row;
}

LedgeStatus ledge__ingest_read_old(const char *text, size_t size, LedgeError *err, LedgeIngest *out)
{
    LedgeJson j;
    Room room = {0};
    char key[32], hash[LEDGE_SHA256_HEX];
    *out = (LedgeIngest){0};
    LEDGE_TRY(ledge__sha256_of(text, size, hash));
    ledge__json_begin(&j, text, size);
    ledge__json_object(&j);
    while (ledge__json_member(&j, key, sizeof key)) {
        if (strcmp(key, "device_id") == 0) {
            ledge__fleet_read(&j, out->head.device_id, sizeof out->head.device_id,
                              ledge__fleet_is_device, "a device_id of other letters");
        } else if (strcmp(key, "records") == 0) {
            ledge__json_array(&j);
            while (ledge__json_element(&j))
                read_old_record(&j, out, &room);
        } else {
            ledge__json_skip(&j);
        }
    }
    ledge__json_finish(&j);
    if (!j.bad && !out->head.device_id[0])
        ledge__json_fault(&j, "the device_id is missing");
    LedgeStatus status = ledge__json_status(&j, "ingest", err);
    if (status)
        ledge__ingest_free(out);
    else
        place_hashes(out);
    snprintf(out->head.batch, sizeof out->head.batch, "body-%s", hash);
    return status;
}

/* ---- storing ---- */

static LedgeStatus stream_id(LedgeStore *s, const LedgeIngestStream *name, LedgeError *err,
                             int64_t *out)
{
    for (size_t i = 0; i < s->n_streams; i++)
        if (strcmp(s->streams[i].name.model, name->model) == 0 &&
            strcmp(s->streams[i].name.version, name->version) == 0) {
            *out = s->streams[i].id;
            return LEDGE_OK;
        }
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, out, LEDGE_Q_STREAM_GET, "tt", name->model,
                                name->version));
    if (!*out)
        LEDGE_TRY(ledge__sql_number(s->db, err, 0, out, LEDGE_Q_STREAM_ADD, "tt", name->model,
                                    name->version));
    if (!s->streams)
        s->streams = calloc(STREAMS_KEPT, sizeof *s->streams);
    if (s->streams && s->n_streams < STREAMS_KEPT) {
        s->streams[s->n_streams].name = *name;
        s->streams[s->n_streams++].id = *out;
    }
    return LEDGE_OK;
}

static LedgeRollupSlot *slot_of(LedgeRollupSlot *slots, size_t n, int64_t stream, int64_t at,
                                int group, int bucket)
{
    const uint64_t key[4] = {(uint64_t)stream, (uint64_t)at, (uint64_t)group, (uint64_t)bucket};
    size_t i = (size_t)(ledge__hash64(key, sizeof key, 0) % n);
    while (slots[i].used && (slots[i].stream != stream || slots[i].at != at ||
                             slots[i].group != group || slots[i].bucket != bucket))
        i = (i + 1) % n;
    return &slots[i];
}

static bool rollup_room(LedgeStore *s, size_t more)
{
    if (s->rollups && (s->n_rollups + more) * 2 < s->n_rollup_slots)
        return true;
    size_t n = s->n_rollup_slots ? s->n_rollup_slots : ROLLUP_SLOTS;
    while ((s->n_rollups + more) * 2 >= n)
        n *= 2;
    LedgeRollupSlot *slots = calloc(n, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < s->n_rollup_slots; i++) {
        const LedgeRollupSlot *r = &s->rollups[i];
        if (r->used)
            *slot_of(slots, n, r->stream, r->at, r->group, r->bucket) = *r;
    }
    free(s->rollups);
    s->rollups = slots;
    s->n_rollup_slots = n;
    return true;
}

static void count_row(LedgeStore *s, int group, const LedgeRecordRow *row, bool error)
{
    const int64_t at = s->now - s->now % ROLLUP_SECONDS;
    const int bucket = ledge__latency_bucket(row->latency_us);
    LedgeRollupSlot *r = slot_of(s->rollups, s->n_rollup_slots, row->stream, at, group, bucket);
    if (!r->used) {
        *r = (LedgeRollupSlot){
            .used = true, .stream = row->stream, .at = at, .group = group, .bucket = bucket};
        s->n_rollups++;
    }
    r->records++;
    r->latency_us += row->latency_us;
    r->confidence_ppm += row->confidence_ppm > 0 ? row->confidence_ppm : 0;
    r->warnings += row->drift == LEDGE_FLEET_DRIFT_WARNING;
    r->highs += row->drift == LEDGE_FLEET_DRIFT_HIGH;
    r->errors += error;
}

static LedgeStatus count_rows(LedgeStore *s, const LedgeDevice *d, const LedgeIngest *i,
                              LedgeError *err)
{
    for (int g = 0; g < s->n_groups; g++) {
        if (!(d->groups >> g & 1))
            continue;
        if (!rollup_room(s, i->n_rows))
            return ledge__no_memory(err);
        for (size_t k = 0; k < i->n_rows; k++)
            count_row(s, g, &i->rows[k], i->errors[k]);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__store_flush_rollups(LedgeStore *s, LedgeError *err)
{
    for (size_t i = 0; i < s->n_rollup_slots && s->n_rollups; i++) {
        LedgeRollupSlot *r = &s->rollups[i];
        if (!r->used)
            continue;
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ROLLUP_ADD, "itiiiiiiii", r->stream,
                                 s->groups[r->group].name, r->at, (int64_t)r->bucket, r->records,
                                 r->latency_us, r->confidence_ppm, r->warnings, r->highs,
                                 r->errors));
        r->used = false;
        s->n_rollups--;
    }
    return LEDGE_OK;
}

static LedgeStatus store_notes(LedgeStore *s, const LedgeDevice *d, const LedgeIngest *i,
                               LedgeError *err)
{
    char id[LEDGE_FLEET_BATCH + 24], who[LEDGE_FLEET_DEVICE + 16], kind[LEDGE_FLEET_WORD + 8];
    for (size_t k = 0; k < i->n_notes; k++) {
        const LedgeFleetNote *n = &i->notes[k];
        snprintf(id, sizeof id, "%s:%zu", i->head.batch, k);
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_EVENT_ADD, "tiiittttt", id, d->id, s->now,
                                 n->timestamp / 1000000, n->kind, n->severity, n->model, n->version,
                                 n->message));
        if (!i->is_event[k])
            continue;
        snprintf(who, sizeof who, "device %s", d->name);
        snprintf(kind, sizeof kind, "device.%s", n->kind);
        LEDGE_TRY(ledge__store_audit(s, who, kind, n->model[0] ? n->model : d->name, n->message,
                                     json_pack("{s:s}", "version", n->version), err));
    }
    return LEDGE_OK;
}

/* What the old clients leave out: the model whose version it is, as far as that can be known. */
static void name_model(const LedgeStore *s, const LedgeDevice *d, LedgeIngestStream *stream)
{
    LedgePollAnswer a = {0};
    const char *name = "unknown";
    if (stream->model[0])
        return;
    ledge__fleet_assign(s, d->name, d->groups, &a);
    for (size_t i = a.n_models; i-- > 0;)
        if (i == 0 || strcmp(a.models[i].version, stream->version) == 0)
            name = a.models[i].name;
    for (size_t i = 0; i < a.n_models; i++)
        if (strcmp(a.models[i].version, stream->version) == 0)
            name = a.models[i].name;
    snprintf(stream->model, sizeof stream->model, "%s", name);
}

static LedgeStatus store_rows(LedgeStore *s, LedgeDevice *d, const LedgeIngest *i, LedgeError *err)
{
    int64_t ids[LEDGE_INGEST_STREAMS];
    char day[16];
    const time_t now = (time_t)s->now;
    struct tm tm;
    for (size_t k = 0; k < i->n_streams; k++) {
        LedgeIngestStream name = i->streams[k];
        name_model(s, d, &name);
        LEDGE_TRY(stream_id(s, &name, err, &ids[k]));
    }
    for (size_t k = 0; k < i->n_rows; k++) {
        i->rows[k].stream = ids[i->rows[k].stream];
        i->rows[k].device = d->id;
    }
    (void)gmtime_r(&now, &tm);
    (void)strftime(day, sizeof day, "%Y%m%d", &tm);
    LEDGE_TRY(ledge__sql_use_day(s->db, day, err));
    LEDGE_TRY(ledge__sql_put_records(s->db, err, i->rows, i->n_rows));
    return count_rows(s, d, i, err);
}

static LedgeStatus store_drops(LedgeStore *s, const LedgeDevice *d, const LedgeBatchHead *h,
                               LedgeError *err)
{
    if (!h->dropped_oldest && !h->dropped_rejected && !h->dropped_sampled)
        return LEDGE_OK;
    return ledge__sql_run(s->db, err, LEDGE_Q_DROPPED_ADD, "iiii", d->id, h->dropped_oldest,
                          h->dropped_rejected, h->dropped_sampled);
}

LedgeStatus ledge__store_ingest(LedgeStore *s, const LedgeIngest *i, bool may_enroll,
                                LedgeError *err, LedgeBatchAnswer *out)
{
    LedgeDevice *d;
    LEDGE_TRY(ledge__fleet_device(s, i->head.device_id, may_enroll, err, &d));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_BATCH_ADD, "tiii", i->head.batch, d->id, s->now,
                             (int64_t)i->n_rows));
    *out = (LedgeBatchAnswer){.duplicate = !ledge__sql_changed(s->db)};
    snprintf(out->batch, sizeof out->batch, "%s", i->head.batch);
    if (out->duplicate)
        return LEDGE_OK;
    LEDGE_TRY(store_drops(s, d, &i->head, err));
    LEDGE_TRY(store_notes(s, d, i, err));
    if (i->raw && s->options.keep_raw)
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_RAW_ADD, "iitb", s->now, d->id, i->head.batch,
                                 i->raw, i->raw_size));
    if (i->n_rows)
        LEDGE_TRY(store_rows(s, d, i, err)); /* last: what it counts is not undone by a mark */
    out->stored = (int64_t)i->n_rows;
    return LEDGE_OK;
}

LedgeStatus ledge__store_sample(LedgeStore *s, const char *device, bool may_enroll,
                                const char *sha256, int64_t length, const LedgeFieldHead *h,
                                LedgeError *err, bool *duplicate)
{
    LedgeDevice *d;
    LEDGE_TRY(ledge__fleet_device(s, device, may_enroll, err, &d));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_BLOB_ADD, "tii", sha256, length, s->now));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_SAMPLE_ADD, "tiiiittttii", sha256, d->id, s->now,
                             h->timestamp / 1000000, length, h->key, h->model, h->version,
                             ledge__fleet_drift_name(h->drift), (int64_t)h->confidence_ppm,
                             h->class_id));
    *duplicate = !ledge__sql_changed(s->db);
    return LEDGE_OK;
}
