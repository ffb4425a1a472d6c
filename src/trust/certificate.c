/* Certificates, see certificate.h. One table per JSON object says which key goes to which
 * field; it serves reading and writing. */
#include "trust/certificate.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "trust/sha256.h"

#define TYPE         "ledge-certificate"
#define SPEC_VERSION 1
#define TEXT_MAX     4096
/* Counts stay so small that millionths of them fit 63 bits. */
#define COUNT_MAX INT64_C(1000000000000)
#define LAST_TIME INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

typedef enum Kind {
    COUNT,     /* int64_t, 0 … max */
    BIG_COUNT, /* int64_t, 0 … INT64_MAX */
    TIME,      /* int64_t seconds */
    TEXT,      /* const char * */
    HASH,      /* const char *: 64 hexadecimal digits */
    HASH_OR_NULL,
    NAMES,  /* json_t *: array of texts */
    HASHES, /* json_t *: object of hashes */
    OBJECT  /* fields of its own */
} Kind;

typedef struct Field Field;
struct Field {
    const char *key;
    Kind kind;
    size_t offset;
    const Field *fields; /* OBJECT: ended by a NULL key */
};

#define MODEL(key, kind, member)                                                                   \
    {                                                                                              \
        key, kind, offsetof(LedgeCertifiedModel, member), NULL                                     \
    }
#define FIELD(key, kind, member)                                                                   \
    {                                                                                              \
        key, kind, offsetof(LedgeCertificate, member), NULL                                        \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, COUNT, 0, NULL                                                                       \
    }

static const Field latency_fields[] = {MODEL("p50", COUNT, p50_ns), MODEL("p90", COUNT, p90_ns),
                                       MODEL("p99", COUNT, p99_ns), END};
static const Field model_fields[] = {MODEL("name", TEXT, name),
                                     MODEL("sha256", HASH, sha256),
                                     MODEL("length", BIG_COUNT, length),
                                     MODEL("external", HASHES, external),
                                     MODEL("preprocess", TEXT, preprocess),
                                     MODEL("baseline_sha256", HASH_OR_NULL, baseline),
                                     MODEL("top1_count", COUNT, top1),
                                     MODEL("top5_count", COUNT, top5),
                                     {"latency_ns", OBJECT, 0, latency_fields},
                                     MODEL("cold_start_ns", BIG_COUNT, cold_start_ns),
                                     MODEL("peak_memory_bytes", BIG_COUNT, peak_memory),
                                     MODEL("macs", BIG_COUNT, macs),
                                     MODEL("integer_macs", BIG_COUNT, integer_macs),
                                     END};
static const Field picture_fields[] = {
    FIELD("source", TEXT, pictures.source), FIELD("sha256", HASH, pictures.sha256),
    FIELD("names", NAMES, pictures.names), FIELD("count", COUNT, pictures.count), END};
static const Field cpu_fields[] = {
    FIELD("name", TEXT, cpu.name),          FIELD("kernels", TEXT, cpu.kernels),
    FIELD("features", NAMES, cpu.features), FIELD("threads", COUNT, cpu.threads),
    FIELD("runs", COUNT, cpu.runs),         END};
static const Field gate_fields[] = {FIELD("max_drop_ppm", COUNT, gates.max_drop),
                                    FIELD("min_agreement_ppm", COUNT, gates.min_agreement),
                                    FIELD("max_latency_ratio_ppm", COUNT, gates.max_latency_ratio),
                                    END};
static const Field fields[] = {
    FIELD("created", TIME, created),
    FIELD("expires", TIME, expires),
    FIELD("ledge_version", TEXT, ledge_version),
    {"model", OBJECT, offsetof(LedgeCertificate, model), model_fields},
    {"reference", OBJECT, offsetof(LedgeCertificate, reference), model_fields},
    {"pictures", OBJECT, 0, picture_fields},
    FIELD("agreement_count", COUNT, agreement),
    {"cpu", OBJECT, 0, cpu_fields},
    {"gates", OBJECT, 0, gate_fields},
    END};

/* ---- time ---- */

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days_before(int64_t year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int64_t y = year - 1;
    return 365 * (year - 1970) + (y / 4 - y / 100 + y / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400) + before[month - 1] + (month > 2 && leap) + day - 1;
}

int64_t ledge__time_read(const char *text)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int part[6];
    char again[LEDGE_TIME_TEXT];
    if (strlen(text) != LEDGE_TIME_TEXT - 1)
        return -1;
    for (int i = 0; i < 6; i++) {
        const char *p = text + (i ? 2 + 3 * i : 0);
        part[i] = 0;
        for (int k = 0; k < (i ? 2 : 4); k++) {
            if (p[k] < '0' || p[k] > '9')
                return -1;
            part[i] = 10 * part[i] + p[k] - '0';
        }
    }
    if (part[0] < 1970 || part[1] < 1 || part[1] > 12 || part[2] < 1 ||
        part[2] > days[part[1] - 1] || part[3] > 23 || part[4] > 59 || part[5] > 59)
        return -1;
    const int64_t seconds =
        (days_before(part[0], part[1], part[2]) * 24 + part[3]) * 3600 + part[4] * 60 + part[5];
    ledge__time_text(seconds, again); /* the 29th of some Februaries, and the signs between */
    return strcmp(again, text) == 0 ? seconds : -1;
}

void ledge__time_text(int64_t seconds, char out[LEDGE_TIME_TEXT])
{
    const int64_t s = seconds < 0 ? 0 : seconds > LAST_TIME ? LAST_TIME : seconds;
    int year = (int)(1970 + s / 86400 / 366), month = 1;
    while (days_before(year + 1, 1, 1) <= s / 86400)
        year++;
    while (month < 12 && days_before(year, month + 1, 1) <= s / 86400)
        month++;
    const int day = (int)(s / 86400 - days_before(year, month, 1)) + 1;
    snprintf(out, LEDGE_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000u,
             (unsigned)month % 100u, (unsigned)day % 100u, (unsigned)(s / 3600 % 24),
             (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}

/* ---- writing ---- */

static json_t *write_object(const Field *f, const char *base);

static json_t *write_field(const Field *f, const char *base)
{
    const char *at = base + f->offset;
    char text[LEDGE_TIME_TEXT];
    switch (f->kind) {
    case COUNT:
    case BIG_COUNT:
        return json_integer(*(const int64_t *)at);
    case TIME:
        ledge__time_text(*(const int64_t *)at, text);
        return json_string(text);
    case TEXT:
    case HASH:
        return json_string(*(const char *const *)at);
    case HASH_OR_NULL:
        return *(const char *const *)at ? json_string(*(const char *const *)at) : json_null();
    case NAMES:
    case HASHES:
        return json_incref(*(json_t *const *)at);
    case OBJECT:
        break;
    }
    return write_object(f->fields, at);
}

static json_t *write_object(const Field *f, const char *base)
{
    json_t *o = json_object();
    for (; o && f->key; f++)
        if (json_object_set_new(o, f->key, write_field(f, base)) != 0) {
            json_decref(o);
            return NULL;
        }
    return o;
}

json_t *ledge__certificate_json(const LedgeCertificate *c)
{
    json_t *o = write_object(fields, (const char *)c);
    if (o && (json_object_set_new(o, "_type", json_string(TYPE)) != 0 ||
              json_object_set_new(o, "spec_version", json_integer(SPEC_VERSION)) != 0)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- reading ---- */

static LedgeStatus bad(LedgeError *err, const char *where, const char *key, const char *wanted)
{
    return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "is no certificate: \"%s\" must be %s", key,
                       wanted);
}

static bool is_hash(const json_t *v)
{
    uint8_t scratch[LEDGE_SHA256_BYTES];
    return json_is_string(v) && ledge__from_hex(json_string_value(v), scratch, sizeof scratch);
}

static bool is_text(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) <= TEXT_MAX;
}

static bool all_texts(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!is_text(json_array_get(array, i)))
            return false;
    return json_is_array(array);
}

static bool all_hashes(const json_t *object)
{
    for (void *it = json_object_iter((json_t *)object); it;
         it = json_object_iter_next((json_t *)object, it))
        if (!is_hash(json_object_iter_value(it)))
            return false;
    return json_is_object(object);
}

static LedgeStatus read_object(const char *where, const char *name, const json_t *o, const Field *f,
                               size_t more, LedgeError *err, char *base);

static LedgeStatus read_field(const char *where, const Field *f, const json_t *v, LedgeError *err,
                              char *base)
{
    char *at = base + f->offset;
    const int64_t number = json_integer_value(v);
    switch (f->kind) {
    case COUNT:
    case BIG_COUNT:
        if (!json_is_integer(v) || number < 0 || (f->kind == COUNT && number > COUNT_MAX))
            return bad(err, where, f->key, "a whole number that is not negative");
        *(int64_t *)at = number;
        return LEDGE_OK;
    case TIME:
        *(int64_t *)at = json_is_string(v) ? ledge__time_read(json_string_value(v)) : -1;
        return *(int64_t *)at >= 0 ? LEDGE_OK
                                   : bad(err, where, f->key, "a time like 2026-01-31T23:59:59Z");
    case TEXT:
        *(const char **)at = json_string_value(v);
        return is_text(v) ? LEDGE_OK : bad(err, where, f->key, "a text");
    case HASH:
    case HASH_OR_NULL:
        *(const char **)at = json_string_value(v);
        return is_hash(v) || (f->kind == HASH_OR_NULL && json_is_null(v))
                   ? LEDGE_OK
                   : bad(err, where, f->key, "a SHA-256 of 64 hexadecimal digits");
    case NAMES:
        *(json_t **)at = (json_t *)v;
        return all_texts(v) ? LEDGE_OK : bad(err, where, f->key, "an array of texts");
    case HASHES:
        *(json_t **)at = (json_t *)v;
        return all_hashes(v) ? LEDGE_OK : bad(err, where, f->key, "an object of SHA-256 texts");
    case OBJECT:
        break;
    }
    return read_object(where, f->key, v, f->fields, 0, err, at);
}

/* `more`: keys besides those of the table. */
static LedgeStatus read_object(const char *where, const char *name, const json_t *o, const Field *f,
                               size_t more, LedgeError *err, char *base)
{
    size_t n = more;
    if (!json_is_object(o))
        return bad(err, where, name, "an object");
    for (const Field *k = f; k->key; k++, n++)
        if (!json_object_get(o, k->key))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                               "is no certificate: \"%s\" is missing in \"%s\"", k->key, name);
    if (json_object_size(o) != n)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "has keys in \"%s\" that this version of ledge does not know", name);
    for (; f->key; f++)
        LEDGE_TRY(read_field(where, f, json_object_get(o, f->key), err, base));
    return LEDGE_OK;
}

static bool model_fits(const LedgeCertifiedModel *m, int64_t count)
{
    return m->top1 <= m->top5 && m->top5 <= count && m->p50_ns > 0 && m->p50_ns <= m->p90_ns &&
           m->p90_ns <= m->p99_ns && m->integer_macs <= m->macs;
}

static LedgeStatus check_figures(const char *where, const LedgeCertificate *c, LedgeError *err)
{
    const size_t n_names = json_array_size(c->pictures.names);
    if (c->pictures.count < 1 || (n_names && (int64_t)n_names != c->pictures.count) ||
        c->agreement > c->pictures.count || !model_fits(&c->model, c->pictures.count) ||
        !model_fits(&c->reference, c->pictures.count) || c->created >= c->expires ||
        c->gates.min_agreement > LEDGE_MILLION)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "its figures contradict each other; it was not written by ledge");
    const LedgeGates failed = ledge__certificate_gates(c);
    if (failed.drop || failed.agreement || failed.latency)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "its own figures fail its own gates; it was not written by ledge");
    return LEDGE_OK;
}

LedgeStatus ledge__certificate_read(const char *where, const json_t *content, LedgeError *err,
                                    LedgeCertificate *out)
{
    LedgeCertificate c = {0};
    const char *type = json_string_value(json_object_get(content, "_type"));
    const json_t *version = json_object_get(content, "spec_version");
    if (!type || strcmp(type, TYPE) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "is signed JSON, but no certificate of ledge");
    if (!json_is_integer(version) || json_integer_value(version) != SPEC_VERSION)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "is a certificate of another format; this ledge reads format %d",
                           SPEC_VERSION);
    LEDGE_TRY(read_object(where, "signed", content, fields, 2, err, (char *)&c));
    LEDGE_TRY(check_figures(where, &c, err));
    *out = c;
    return LEDGE_OK;
}

/* ---- judging ---- */

/* part / whole > limit / 1000000, exactly: the reader bounds counts to 1e12, so only the product
 * needs care. */
static bool exceeds(int64_t part, int64_t whole, int64_t limit)
{
    const int64_t integer = part / whole, rest = part % whole;
    if (integer > COUNT_MAX / LEDGE_MILLION)
        return true;
    const int64_t millionths = integer * LEDGE_MILLION + rest * LEDGE_MILLION / whole;
    return millionths > limit || (millionths == limit && rest * LEDGE_MILLION % whole != 0);
}

LedgeGates ledge__certificate_gates(const LedgeCertificate *c)
{
    const int64_t n = c->pictures.count, before = c->reference.p50_ns;
    const int64_t drop = c->reference.top1 - c->model.top1, others = n - c->agreement;
    /* The clock's noise is not the model's fault: ratios count in whole hundredths. */
    const int64_t hundredths = (c->model.p50_ns * 100 + before / 2) / before;
    return (LedgeGates){
        .drop = drop > 0 && exceeds(drop, n, c->gates.max_drop),
        .agreement = exceeds(others, n, LEDGE_MILLION - c->gates.min_agreement),
        .latency = exceeds(hundredths, 100, c->gates.max_latency_ratio),
    };
}

LedgeStatus ledge__certificate_check_time(const char *where, const LedgeCertificate *c, int64_t now,
                                          LedgeError *err)
{
    char text[LEDGE_TIME_TEXT];
    if (now >= c->expires) {
        ledge__time_text(c->expires, text);
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "expired on %s; certify the model again", text);
    }
    if (c->created > now + 86400) {
        ledge__time_text(c->created, text);
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "was made on %s, which is yet to come; is this machine's clock right?",
                           text);
    }
    return LEDGE_OK;
}
