/* What both databases share: arguments, tables, transactions, rows as JSON. */
#include "fleet/registry/sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fleet/registry/sql_driver.h"

#define TABLES_VERSION "1"

static const char *const queries[LEDGE_QUERIES] = {
#define QUERY(name, text) text,
#include "fleet/registry/queries.def"
#undef QUERY
};

const char *ledge__sql_query(LedgeQuery q)
{
    return queries[q];
}

bool ledge__sql_is_address(const char *where)
{
    return strncmp(where, "postgres://", 11) == 0 || strncmp(where, "postgresql://", 13) == 0;
}

LedgeStatus ledge__sql_open(const char *where, LedgeError *err, LedgeSql **out)
{
    return ledge__sql_is_address(where) ? ledge__sql_postgres_open(where, err, out)
                                        : ledge__sql_sqlite_open(where, err, out);
}

void ledge__sql_close(LedgeSql *db)
{
    if (db)
        db->driver->close(db);
}

/* ---- tables ---- */

/* {id}, {int}, {blob} and {rowless} are the driver's words. */
static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tokens(id {id}, hash TEXT NOT NULL UNIQUE, role TEXT NOT NULL, "
    "device TEXT, note TEXT NOT NULL, created {int} NOT NULL, revoked {int} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS audit(id {int} PRIMARY KEY, at {int} NOT NULL, who TEXT NOT NULL, "
    "action TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, detail_json TEXT NOT NULL, "
    "previous TEXT NOT NULL, hash TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS blobs(sha256 TEXT PRIMARY KEY, length {int} NOT NULL, "
    "created {int} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS models(name TEXT PRIMARY KEY, created {int} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS versions(model TEXT NOT NULL, version TEXT NOT NULL, "
    "state TEXT NOT NULL, created {int} NOT NULL, release_sha256 TEXT NOT NULL, "
    "release_length {int} NOT NULL, certificate_json TEXT NOT NULL, forced {int} NOT NULL, "
    "PRIMARY KEY(model, version))",
    "CREATE TABLE IF NOT EXISTS files(model TEXT NOT NULL, version TEXT NOT NULL, "
    "role TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, length {int} NOT NULL, "
    "arch TEXT, level TEXT, PRIMARY KEY(model, version, path))",
    "CREATE TABLE IF NOT EXISTS aliases(model TEXT NOT NULL, alias TEXT NOT NULL, "
    "version TEXT NOT NULL, previous TEXT, changed {int} NOT NULL, PRIMARY KEY(model, alias))",
    "CREATE TABLE IF NOT EXISTS tuf(role TEXT NOT NULL, version {int} NOT NULL, "
    "body TEXT NOT NULL, expires {int} NOT NULL, PRIMARY KEY(role, version))",
    "CREATE TABLE IF NOT EXISTS groups(name TEXT PRIMARY KEY, selector_json TEXT NOT NULL, "
    "priority {int} NOT NULL, created {int} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS assignments(grp TEXT NOT NULL, model TEXT NOT NULL, "
    "alias TEXT NOT NULL, fallback_model TEXT, fallback_version TEXT, moment TEXT NOT NULL, "
    "strict {int} NOT NULL, PRIMARY KEY(grp, model))",
    "CREATE TABLE IF NOT EXISTS devices(id {id}, name TEXT NOT NULL UNIQUE, "
    "labels_json TEXT NOT NULL, set_labels_json TEXT NOT NULL, state TEXT NOT NULL, arch TEXT, "
    "level TEXT, cores {int}, agent TEXT, first_seen {int} NOT NULL, last_seen {int} NOT NULL, "
    "skew_ms {int}, queued {int}, dropped {int}, disk_free {int}, uptime_s {int}, "
    "lost_oldest {int} NOT NULL DEFAULT 0, lost_rejected {int} NOT NULL DEFAULT 0, "
    "lost_sampled {int} NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS device_models(device {int} NOT NULL, model TEXT NOT NULL, "
    "version TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, since_s {int}, samples {int} NOT "
    "NULL, "
    "errors {int} NOT NULL, p90_us {int} NOT NULL, drift {int} NOT NULL, "
    "shadow_count {int} NOT NULL, shadow_agree {int} NOT NULL, seen {int} NOT NULL, "
    "PRIMARY KEY(device, model, version)){rowless}",
    "CREATE INDEX IF NOT EXISTS device_models_by_model ON device_models(model, version)",
    "CREATE TABLE IF NOT EXISTS rollouts(id {id}, model TEXT NOT NULL, from_version TEXT, "
    "to_version TEXT NOT NULL, grp TEXT NOT NULL, plan_json TEXT NOT NULL, state TEXT NOT NULL, "
    "step {int} NOT NULL, entered {int} NOT NULL, threshold {int} NOT NULL, reason TEXT NOT NULL, "
    "revision {int} NOT NULL, created {int} NOT NULL, changed {int} NOT NULL, "
    "gates_json TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS batches(id TEXT PRIMARY KEY, device {int} NOT NULL, "
    "received {int} NOT NULL, records {int} NOT NULL){rowless}",
    "CREATE TABLE IF NOT EXISTS streams(id {id}, model TEXT NOT NULL, version TEXT NOT NULL, "
    "UNIQUE(model, version))",
    "CREATE TABLE IF NOT EXISTS rollups(stream {int} NOT NULL, grp TEXT NOT NULL, at {int} NOT "
    "NULL, "
    "bucket {int} NOT NULL, records {int} NOT NULL, latency_us {int} NOT NULL, "
    "confidence_ppm {int} NOT NULL, warnings {int} NOT NULL, highs {int} NOT NULL, "
    "errors {int} NOT NULL, "
    "PRIMARY KEY(at, stream, grp, bucket)){rowless}",
    "CREATE TABLE IF NOT EXISTS events(id TEXT PRIMARY KEY, device {int} NOT NULL, "
    "received {int} NOT NULL, at {int} NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, "
    "model TEXT, version TEXT, text TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS events_by_time ON events(received)",
    "CREATE TABLE IF NOT EXISTS days(day TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS raw_pending(id {id}, received {int} NOT NULL, device {int} NOT "
    "NULL, "
    "batch TEXT NOT NULL, body {blob} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS raw_segments(sha256 TEXT PRIMARY KEY, first {int} NOT NULL, "
    "last {int} NOT NULL, batches {int} NOT NULL, length {int} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS samples(sha256 TEXT PRIMARY KEY, device {int} NOT NULL, "
    "received {int} NOT NULL, at {int} NOT NULL, length {int} NOT NULL, key_id TEXT NOT NULL, "
    "model TEXT NOT NULL, version TEXT NOT NULL, drift TEXT NOT NULL, confidence_ppm {int} NOT NULL, "
    "class_id {int} NOT NULL)",
    "INSERT INTO meta(name, value) VALUES ('tables', '" TABLES_VERSION
    "'), ('epoch', '1'), ('audit', '') ON CONFLICT(name) DO NOTHING",
    "INSERT INTO groups(name, selector_json, priority, created) VALUES ('all', '{}', 0, 0) "
    "ON CONFLICT(name) DO NOTHING",
};

static void fill_in(const LedgeSqlDriver *d, const char *from, char *to, size_t size)
{
    const struct {
        const char *word, *becomes;
    } words[] = {
        {"{id}", d->id}, {"{int}", d->integer}, {"{blob}", d->blob}, {"{rowless}", d->rowless}};
    size_t n = 0;
    while (*from && n + 1 < size) {
        size_t w = 0;
        while (w < 4 && strncmp(from, words[w].word, strlen(words[w].word)) != 0)
            w++;
        if (w == 4) {
            to[n++] = *from++;
        } else {
            n += (size_t)snprintf(to + n, size - n, "%s", words[w].becomes);
            from += strlen(words[w].word);
        }
    }
    to[n < size ? n : size - 1] = '\0';
}

static LedgeStatus make_all(LedgeSql *db, LedgeError *err)
{
    char text[2000];
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        fill_in(db->driver, tables[i], text, sizeof text);
        LEDGE_TRY(db->driver->execute(db, text, err));
    }
    return db->driver->execute(db, db->driver->tables, err);
}

static LedgeStatus check_version(LedgeSql *db, LedgeError *err)
{
    LEDGE_TRY(ledge__sql_ask(db, err, LEDGE_Q_META_GET, "t", "tables"));
    bool right = false;
    while (ledge__sql_next(db, LEDGE_Q_META_GET)) {
        const char *have = ledge__sql_text(db, LEDGE_Q_META_GET, 0);
        right = have && strcmp(have, TABLES_VERSION) == 0;
    }
    LEDGE_TRY(ledge__sql_end(db, LEDGE_Q_META_GET, err));
    return right ? LEDGE_OK
                 : ledge__fail(err, LEDGE_ERROR_MISMATCH, "database",
                               "its tables were made by another version of ledge; use that one");
}

LedgeStatus ledge__sql_make_tables(LedgeSql *db, LedgeError *err)
{
    LEDGE_TRY(ledge__sql_begin(db, err));
    LedgeStatus status = make_all(db, err);
    if (!status)
        status = check_version(db, err);
    if (!status)
        return ledge__sql_commit(db, err);
    ledge__sql_undo(db);
    return status;
}

LedgeStatus ledge__sql_use_day(LedgeSql *db, const char *day, LedgeError *err)
{
    if (strcmp(db->day, day) == 0)
        return LEDGE_OK;
    db->day[0] = '\0';
    LEDGE_TRY(db->driver->use_day(db, day, err));
    snprintf(db->day, sizeof db->day, "%s", day);
    return LEDGE_OK;
}

LedgeStatus ledge__sql_drop_days(LedgeSql *db, const char *before, LedgeError *err,
                                 int64_t *dropped)
{
    json_t *days = NULL;
    int64_t n = 0;
    LEDGE_TRY(ledge__sql_list(db, err, &days, LEDGE_Q_DAYS, "t", before));
    LedgeStatus status = LEDGE_OK;
    for (size_t i = 0; i < json_array_size(days) && !status; i++, n++) {
        const char *day = json_string_value(json_object_get(json_array_get(days, i), "day"));
        status = db->driver->drop_day(db, day, err);
        if (!status)
            status = ledge__sql_run(db, err, LEDGE_Q_DAY_DROP, "t", day);
    }
    json_decref(days);
    *dropped = n;
    return status;
}

/* ---- transactions ---- */

LedgeStatus ledge__sql_begin(LedgeSql *db, LedgeError *err)
{
    return db->driver->begin(db, err);
}

LedgeStatus ledge__sql_commit(LedgeSql *db, LedgeError *err)
{
    LedgeStatus status = db->driver->execute(db, "COMMIT", err);
    if (status)
        ledge__sql_undo(db);
    return status;
}

void ledge__sql_undo(LedgeSql *db)
{
    LedgeError ignored;
    db->day[0] = '\0'; /* its table may have gone with the rest */
    (void)!db->driver->execute(db, "ROLLBACK", &ignored);
}

LedgeStatus ledge__sql_mark(LedgeSql *db, LedgeError *err)
{
    return db->driver->execute(db, "SAVEPOINT mark", err);
}

LedgeStatus ledge__sql_keep(LedgeSql *db, LedgeError *err)
{
    return db->driver->execute(db, "RELEASE SAVEPOINT mark", err);
}

LedgeStatus ledge__sql_return(LedgeSql *db, LedgeError *err)
{
    db->day[0] = '\0';
    return db->driver->execute(db, "ROLLBACK TO SAVEPOINT mark; RELEASE SAVEPOINT mark", err);
}

/* ---- queries ---- */

static int gather(const char *types, va_list args, LedgeSqlArg *out)
{
    int n = 0;
    for (; types[n] && n < LEDGE_SQL_ARGS; n++) {
        out[n] = (LedgeSqlArg){.type = types[n]};
        if (types[n] == 'i') {
            out[n].number = va_arg(args, int64_t);
        } else if (types[n] == 't') {
            out[n].bytes = va_arg(args, const char *);
            out[n].size = out[n].bytes ? strlen(out[n].bytes) : 0;
        } else {
            out[n].bytes = va_arg(args, const void *);
            out[n].size = va_arg(args, size_t);
        }
    }
    return n;
}

static LedgeStatus start(LedgeSql *db, LedgeError *err, LedgeQuery q, const char *types,
                         va_list list)
{
    LedgeSqlArg args[LEDGE_SQL_ARGS];
    const int n = gather(types, list, args);
    return db->driver->start(db, q, args, n, err);
}

LedgeStatus ledge__sql_ask(LedgeSql *db, LedgeError *err, LedgeQuery q, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    LedgeStatus status = start(db, err, q, types, args);
    va_end(args);
    return status;
}

LedgeStatus ledge__sql_run(LedgeSql *db, LedgeError *err, LedgeQuery q, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    LedgeStatus status = start(db, err, q, types, args);
    va_end(args);
    if (status)
        return status;
    while (ledge__sql_next(db, q))
        ;
    return ledge__sql_end(db, q, err);
}

int64_t ledge__sql_changed(const LedgeSql *db)
{
    return db->changed;
}

bool ledge__sql_next(LedgeSql *db, LedgeQuery q)
{
    return db->driver->next(db, q);
}

LedgeStatus ledge__sql_end(LedgeSql *db, LedgeQuery q, LedgeError *err)
{
    return db->driver->end(db, q, err);
}

int64_t ledge__sql_int(LedgeSql *db, LedgeQuery q, int column)
{
    return db->driver->number(db, q, column);
}

const char *ledge__sql_text(LedgeSql *db, LedgeQuery q, int column)
{
    return db->driver->text(db, q, column);
}

const void *ledge__sql_bytes(LedgeSql *db, LedgeQuery q, int column, size_t *size)
{
    return db->driver->bytes(db, q, column, size);
}

LedgeStatus ledge__sql_put_records(LedgeSql *db, LedgeError *err, const LedgeRecordRow *rows,
                                   size_t n)
{
    return n ? db->driver->put_records(db, rows, n, err) : LEDGE_OK;
}

/* ---- rows as JSON ---- */

static json_t *cell(LedgeSql *db, LedgeQuery q, int column, bool is_json)
{
    const char type = db->driver->type(db, q, column);
    if (type == 'n')
        return json_null();
    if (type == 'i')
        return json_integer(ledge__sql_int(db, q, column));
    const char *text = ledge__sql_text(db, q, column);
    json_t *value = is_json && text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    return value ? value : json_string(text ? text : "");
}

static json_t *row(LedgeSql *db, LedgeQuery q)
{
    json_t *o = json_object();
    const int n = db->driver->columns(db, q);
    for (int i = 0; i < n && o; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", db->driver->name(db, q, i));
        char *end = strstr(name, "_json");
        if (end)
            *end = '\0';
        if (json_object_set_new(o, name, cell(db, q, i, end != NULL))) {
            json_decref(o);
            o = NULL;
        }
    }
    return o;
}

static LedgeStatus collect(LedgeSql *db, LedgeQuery q, LedgeError *err, json_t **out)
{
    json_t *list = json_array();
    bool lost = !list;
    while (ledge__sql_next(db, q))
        lost |= json_array_append_new(list, row(db, q)) != 0;
    LedgeStatus status = ledge__sql_end(db, q, err);
    if (!status && lost)
        status = ledge__no_memory(err);
    if (status)
        json_decref(list);
    else
        *out = list;
    return status;
}

LedgeStatus ledge__sql_list(LedgeSql *db, LedgeError *err, json_t **out, LedgeQuery q,
                            const char *types, ...)
{
    va_list args;
    va_start(args, types);
    LedgeStatus status = start(db, err, q, types, args);
    va_end(args);
    return status ? status : collect(db, q, err, out);
}

LedgeStatus ledge__sql_one(LedgeSql *db, LedgeError *err, json_t **out, LedgeQuery q,
                           const char *types, ...)
{
    json_t *list = NULL;
    va_list args;
    va_start(args, types);
    LedgeStatus status = start(db, err, q, types, args);
    va_end(args);
    if (!status)
        status = collect(db, q, err, &list);
    if (!status) {
        *out = json_array_size(list) ? json_incref(json_array_get(list, 0)) : NULL;
        json_decref(list);
    }
    return status;
}

LedgeStatus ledge__sql_number(LedgeSql *db, LedgeError *err, int64_t missing, int64_t *out,
                              LedgeQuery q, const char *types, ...)
{
    int64_t value = missing;
    bool first = true;
    va_list args;
    va_start(args, types);
    LedgeStatus status = start(db, err, q, types, args);
    va_end(args);
    if (status)
        return status;
    for (; ledge__sql_next(db, q); first = false)
        if (first)
            value = ledge__sql_int(db, q, 0);
    LEDGE_TRY(ledge__sql_end(db, q, err));
    *out = value;
    return LEDGE_OK;
}
