/* Records as bytes, see record_code.h. */
#include "fleet/agent/record_code.h"

#include <string.h>

typedef struct Bytes {
    const uint8_t *p, *end;
    bool bad;
} Bytes;

static uint8_t *put_int(uint8_t *p, int64_t v)
{
    memcpy(p, &v, 8);
    return p + 8;
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
    const size_t n = strlen(text); /* below 256: the longest field is REASON */
    *p++ = (uint8_t)n;
    memcpy(p, text, n);
    return p + n;
}

static int64_t get_int(Bytes *b)
{
    int64_t v = 0;
    if (b->end - b->p < 8) {
        b->bad = true;
        return 0;
    }
    memcpy(&v, b->p, 8);
    b->p += 8;
    return v;
}

static void get_text(Bytes *b, char *out, size_t size)
{
    const size_t n = b->p < b->end ? *b->p : size;
    out[0] = '\0';
    if (n >= size || (size_t)(b->end - b->p - 1) < n || memchr(b->p + 1, 0, n)) {
        b->bad = true;
        return;
    }
    memcpy(out, b->p + 1, n);
    out[n] = '\0';
    b->p += n + 1;
}

size_t ledge__code_record(const LedgeTelemetryRecord *r, uint8_t *out)
{
    uint8_t *p = out;
    *p++ = LEDGE_CODE_RECORD;
    *p++ = (uint8_t)r->drift;
    *p++ = r->error;
    p = put_int(p, r->timestamp);
    p = put_int(p, r->latency_us);
    p = put_int(p, r->confidence_ppm);
    p = put_int(p, r->class_id);
    p = put_text(p, r->model);
    p = put_text(p, r->version);
    p = put_text(p, r->request_hash);
    return (size_t)(p - out);
}

size_t ledge__code_note(LedgeCodeKind kind, const LedgeFleetNote *n, uint8_t *out)
{
    uint8_t *p = out;
    *p++ = (uint8_t)kind;
    p = put_int(p, n->timestamp);
    p = put_text(p, n->kind);
    p = put_text(p, n->severity);
    p = put_text(p, n->model);
    p = put_text(p, n->version);
    p = put_text(p, n->message);
    return (size_t)(p - out);
}

size_t ledge__code_dropped(const LedgeDropped *d, uint8_t *out)
{
    uint8_t *p = out;
    *p++ = LEDGE_CODE_DROPPED;
    p = put_int(p, d->oldest);
    p = put_int(p, d->rejected);
    p = put_int(p, d->sampled);
    return (size_t)(p - out);
}

static bool is_name_or_empty(const char *text)
{
    return !text[0] || ledge__fleet_is_name(text);
}

static void read_record(Bytes *b, uint64_t number, LedgeTelemetryRecord *r)
{
    if (b->end - b->p < 2) {
        b->bad = true;
        return;
    }
    *r = (LedgeTelemetryRecord){.seq = number};
    b->bad = b->p[0] > LEDGE_FLEET_DRIFT_HIGH || b->p[1] > 1;
    r->drift = (LedgeFleetDrift)b->p[0];
    r->error = b->p[1] != 0;
    b->p += 2;
    r->timestamp = get_int(b);
    r->latency_us = get_int(b);
    const int64_t ppm = get_int(b);
    r->confidence_ppm = (int32_t)ppm;
    r->class_id = get_int(b);
    get_text(b, r->model, sizeof r->model);
    get_text(b, r->version, sizeof r->version);
    get_text(b, r->request_hash, sizeof r->request_hash);
    b->bad = b->bad || r->latency_us < 0 || ppm < -1 || ppm > 1000000 || r->class_id < -1 ||
             !ledge__fleet_is_name(r->model) || !ledge__fleet_is_name(r->version) ||
             strspn(r->request_hash, "0123456789abcdefABCDEF") != strlen(r->request_hash);
}

static void read_note(Bytes *b, uint64_t number, LedgeFleetNote *n)
{
    *n = (LedgeFleetNote){.seq = number};
    n->timestamp = get_int(b);
    get_text(b, n->kind, sizeof n->kind);
    get_text(b, n->severity, sizeof n->severity);
    get_text(b, n->model, sizeof n->model);
    get_text(b, n->version, sizeof n->version);
    get_text(b, n->message, sizeof n->message);
    b->bad = b->bad || !ledge__fleet_is_name(n->kind) || !is_name_or_empty(n->severity) ||
             !is_name_or_empty(n->model) || !is_name_or_empty(n->version);
}

void ledge__code_read(const uint8_t *bytes, size_t size, uint64_t number, LedgeCoded *out)
{
    Bytes b = {bytes + (size > 0), bytes + size, size == 0};
    out->kind = b.bad ? LEDGE_CODE_NONE : (LedgeCodeKind)bytes[0];
    if (out->kind == LEDGE_CODE_RECORD) {
        read_record(&b, number, &out->record);
    } else if (out->kind == LEDGE_CODE_ALERT || out->kind == LEDGE_CODE_EVENT) {
        read_note(&b, number, &out->note);
    } else if (out->kind == LEDGE_CODE_DROPPED) {
        out->dropped = (LedgeDropped){get_int(&b), 0, 0};
        out->dropped.rejected = get_int(&b);
        out->dropped.sampled = get_int(&b);
        b.bad = b.bad || out->dropped.oldest < 0 || out->dropped.rejected < 0 ||
                out->dropped.sampled < 0;
    } else {
        b.bad = true;
    }
    if (b.bad || b.p != b.end)
        out->kind = LEDGE_CODE_NONE;
}
