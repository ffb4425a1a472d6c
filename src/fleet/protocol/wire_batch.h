/* Batches: telemetry records, alerts and events on their way from a device to the registry.
 *
 *   {"device_id","batch","clock_us","dropped":{"oldest","rejected","sampled"},
 *    "records":[...],"alerts":[...],"events":[...]}
 *
 * One shape for POST /v1/telemetry (records and alerts) and POST /v1/events (events). A batch's id
 * is unique for ever, so that one that comes twice is counted once. The reader builds no tree: it
 * looks over the text once for the heads and for where the lists are, and then gives item by item.
 * The lists may come in any order and be absent. */
#ifndef LEDGE_FLEET_WIRE_BATCH_H
#define LEDGE_FLEET_WIRE_BATCH_H

#include "fleet/protocol/wire_names.h"

/* One inference. Times are the device's own; the registry corrects them by clock_us. */
typedef struct LedgeTelemetryRecord {
    uint64_t seq;      /* counts up in one device's queue, over restarts; gaps: dropped */
    int64_t timestamp; /* microseconds since 1970 */
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    int64_t latency_us;
    int32_t confidence_ppm;                /* 0 to 1,000,000; -1: the model gives none */
    int64_t class_id;                      /* -1: the model gives none */
    char request_hash[LEDGE_FLEET_SHA256]; /* of the input, as far as the device gives it; "" */
    LedgeFleetDrift drift;
    bool error; /* the inference failed */
} LedgeTelemetryRecord;

/* An alert ("drift", "resource" ...) or an event ("switched", "self_test_failed", "fell_back",
 * "refused", "damaged", "started"). */
typedef struct LedgeFleetNote {
    uint64_t seq;
    int64_t timestamp;                                       /* microseconds since 1970 */
    char kind[LEDGE_FLEET_WORD], severity[LEDGE_FLEET_WORD]; /* info, warning, high */
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME]; /* "": of the whole device */
    char message[LEDGE_FLEET_REASON];
} LedgeFleetNote;

typedef struct LedgeBatchHead {
    char device_id[LEDGE_FLEET_DEVICE], batch[LEDGE_FLEET_BATCH];
    int64_t clock_us; /* the device's, on sending; 0: unsaid */
    int64_t dropped_oldest, dropped_rejected, dropped_sampled; /* since the batch before */
} LedgeBatchHead;

typedef enum LedgeBatchList {
    LEDGE_BATCH_RECORDS,
    LEDGE_BATCH_ALERTS,
    LEDGE_BATCH_EVENTS,
    LEDGE_BATCH_LISTS
} LedgeBatchList;

typedef struct LedgeBatchReader {
    const char *text;
    size_t size;
    LedgeBatchHead head;
    const char *lists[LEDGE_BATCH_LISTS]; /* where each begins; NULL: absent */
    LedgeJson json;                       /* in the list that is being read */
} LedgeBatchReader;

/* Reads the heads and checks that the whole text is JSON; items are checked when they are given.
 * `text` must outlive the reader. Statuses: FORMAT, LIMIT. */
LEDGE_MUST_CHECK LedgeStatus ledge__batch_open(LedgeBatchReader *r, const char *text, size_t size,
                                               LedgeError *err);
/* Goes to the beginning of a list. */
void ledge__batch_list(LedgeBatchReader *r, LedgeBatchList list);
/* The next item of RECORDS, or of the other two; false at the end and after a fault. */
bool ledge__batch_record(LedgeBatchReader *r, LedgeTelemetryRecord *out);
bool ledge__batch_note(LedgeBatchReader *r, LedgeFleetNote *out);
/* To be asked at the end of each list: OK, or FORMAT naming the byte. */
LEDGE_MUST_CHECK LedgeStatus ledge__batch_status(const LedgeBatchReader *r, LedgeError *err);

/* Writing: head, lists in any order with their items, end. */
typedef struct LedgeBatchWriter {
    FILE *to;
    bool in_list, has_item;
} LedgeBatchWriter;
void ledge__batch_write_head(LedgeBatchWriter *w, FILE *to, const LedgeBatchHead *head);
void ledge__batch_write_list(LedgeBatchWriter *w, LedgeBatchList list);
void ledge__batch_write_record(LedgeBatchWriter *w, const LedgeTelemetryRecord *r);
void ledge__batch_write_note(LedgeBatchWriter *w, const LedgeFleetNote *n);
void ledge__batch_write_end(LedgeBatchWriter *w);

/* The registry's answer: {"batch","stored","duplicate"}. */
typedef struct LedgeBatchAnswer {
    char batch[LEDGE_FLEET_BATCH];
    int64_t stored;
    bool duplicate;
} LedgeBatchAnswer;
LEDGE_MUST_CHECK LedgeStatus ledge__batch_answer_read(const char *text, size_t size,
                                                      LedgeError *err, LedgeBatchAnswer *out);
void ledge__batch_answer_write(const LedgeBatchAnswer *a, FILE *to);

#endif
