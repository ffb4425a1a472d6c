/* SQLite: one file in WAL mode. synchronous=FULL makes every commit wait for the disk; many
 * requests share a commit (registry_tasks.h), so that this costs little each. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fleet/registry/sql_driver.h"

#define BUSY_MS  10000
#define TEXT_MAX 1400

typedef struct Sqlite {
    LedgeSql base;
    sqlite3 *db;
    sqlite3_stmt *statements[LEDGE_QUERIES], *put;
    int failure; /* of the last step */
} Sqlite;

static Sqlite *mine(LedgeSql *db)
{
    return (Sqlite *)(void *)db;
}

static LedgeStatus fail(Sqlite *s, LedgeError *err)
{
    const int code = sqlite3_errcode(s->db) & 0xff;
    return ledge__fail(err, code == SQLITE_CONSTRAINT ? LEDGE_ERROR_MISMATCH : LEDGE_ERROR_IO,
                       "database", "%s%s", sqlite3_errmsg(s->db),
                       code == SQLITE_FULL ? "; make room on its disk" : "");
}

static LedgeStatus execute(LedgeSql *db, const char *text, LedgeError *err)
{
    Sqlite *s = mine(db);
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? LEDGE_OK : fail(s, err);
}

static LedgeStatus begin(LedgeSql *db, LedgeError *err)
{
    return execute(db, "BEGIN IMMEDIATE", err);
}

/* ---- queries ---- */

/* $1 becomes ?1, which SQLite counts as PostgreSQL does. */
static LedgeStatus prepare(Sqlite *s, LedgeQuery q, LedgeError *err)
{
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%s", ledge__sql_query(q));
    for (char *p = text; *p; p++)
        if (*p == '$')
            *p = '?';
    return sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s->statements[q], NULL)
               ? fail(s, err)
               : LEDGE_OK;
}

static int bind(sqlite3_stmt *st, int i, const LedgeSqlArg *a)
{
    if (a->type == 'i')
        return sqlite3_bind_int64(st, i, a->number);
    if (!a->bytes)
        return a->type == 'b' ? sqlite3_bind_zeroblob(st, i, 0) : sqlite3_bind_null(st, i);
    return a->type == 't'
               ? sqlite3_bind_text64(st, i, a->bytes, a->size, SQLITE_TRANSIENT, SQLITE_UTF8)
               : sqlite3_bind_blob64(st, i, a->bytes, a->size, SQLITE_TRANSIENT);
}

static LedgeStatus start(LedgeSql *db, LedgeQuery q, const LedgeSqlArg *args, int n,
                         LedgeError *err)
{
    Sqlite *s = mine(db);
    if (!s->statements[q])
        LEDGE_TRY(prepare(s, q, err));
    sqlite3_stmt *st = s->statements[q];
    (void)sqlite3_reset(st);
    for (int i = 0; i < n; i++)
        if (bind(st, i + 1, &args[i]) != SQLITE_OK)
            return fail(s, err);
    s->failure = SQLITE_OK;
    return LEDGE_OK;
}

static bool next(LedgeSql *db, LedgeQuery q)
{
    Sqlite *s = mine(db);
    s->failure = sqlite3_step(s->statements[q]);
    return s->failure == SQLITE_ROW;
}

static LedgeStatus end(LedgeSql *db, LedgeQuery q, LedgeError *err)
{
    Sqlite *s = mine(db);
    const int failure = s->failure;
    LedgeStatus status = LEDGE_OK;
    if (failure != SQLITE_DONE && failure != SQLITE_ROW && failure != SQLITE_OK)
        status = fail(s, err);
    db->changed = sqlite3_changes64(s->db);
    (void)sqlite3_reset(s->statements[q]);
    s->failure = SQLITE_OK;
    return status;
}

static int columns(LedgeSql *db, LedgeQuery q)
{
    return sqlite3_column_count(mine(db)->statements[q]);
}

static const char *name(LedgeSql *db, LedgeQuery q, int column)
{
    return sqlite3_column_name(mine(db)->statements[q], column);
}

static char type(LedgeSql *db, LedgeQuery q, int column)
{
    switch (sqlite3_column_type(mine(db)->statements[q], column)) {
    case SQLITE_NULL:
        return 'n';
    case SQLITE_INTEGER:
        return 'i';
    case SQLITE_BLOB:
        return 'b';
    default:
        return 't';
    }
}

static int64_t number(LedgeSql *db, LedgeQuery q, int column)
{
    return sqlite3_column_int64(mine(db)->statements[q], column);
}

static const char *text(LedgeSql *db, LedgeQuery q, int column)
{
    return (const char *)sqlite3_column_text(mine(db)->statements[q], column);
}

static const void *bytes(LedgeSql *db, LedgeQuery q, int column, size_t *size)
{
    sqlite3_stmt *st = mine(db)->statements[q];
    const void *p = sqlite3_column_blob(st, column);
    *size = (size_t)sqlite3_column_bytes(st, column);
    return p;
}

/* ---- telemetry: a table a day, and a view over all of them ---- */

/* The digits of a day come from a clock; checked, since they become part of a statement. */
static bool is_day(const char *day)
{
    return strlen(day) == 8 && strspn(day, "0123456789") == 8;
}

static LedgeStatus make_view(LedgeSql *db, LedgeError *err)
{
    json_t *days = NULL;
    size_t cap, n = 0;
    LEDGE_TRY(ledge__sql_list(db, err, &days, LEDGE_Q_DAYS, "t", "99999999"));
    cap = 200 + 100 * json_array_size(days);
    char *view = malloc(cap);
    if (view)
        n = (size_t)snprintf(view, cap, "DROP VIEW IF EXISTS telemetry");
    for (size_t i = 0; view && i < json_array_size(days); i++) {
        const char *day = json_string_value(json_object_get(json_array_get(days, i), "day"));
        n += (size_t)snprintf(view + n, cap - n, "%sSELECT * FROM telemetry_%s",
                              i ? " UNION ALL " : "; CREATE VIEW telemetry AS ", day);
    }
    LedgeStatus status = view ? execute(db, view, err) : ledge__no_memory(err);
    free(view);
    json_decref(days);
    return status;
}

static LedgeStatus use_day(LedgeSql *db, const char *day, LedgeError *err)
{
    Sqlite *s = mine(db);
    char text_[400];
    if (!is_day(day))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "database", "'%s' is no day", day);
    snprintf(text_, sizeof text_,
             "CREATE TABLE IF NOT EXISTS telemetry_%s(device INTEGER NOT NULL, stream INTEGER NOT "
             "NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, latency_us INTEGER NOT NULL, "
             "confidence_ppm INTEGER NOT NULL, class_id INTEGER NOT NULL, drift INTEGER NOT NULL, "
             "request_hash TEXT)",
             day);
    LEDGE_TRY(execute(db, text_, err));
    LEDGE_TRY(ledge__sql_run(db, err, LEDGE_Q_DAY_ADD, "t", day));
    if (ledge__sql_changed(db))
        LEDGE_TRY(make_view(db, err));
    (void)sqlite3_finalize(s->put);
    s->put = NULL;
    snprintf(text_, sizeof text_, "INSERT INTO telemetry_%s VALUES (?,?,?,?,?,?,?,?,?)", day);
    return sqlite3_prepare_v3(s->db, text_, -1, SQLITE_PREPARE_PERSISTENT, &s->put, NULL)
               ? fail(s, err)
               : LEDGE_OK;
}

static LedgeStatus drop_day(LedgeSql *db, const char *day, LedgeError *err)
{
    char text_[100];
    if (!is_day(day))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "database", "'%s' is no day", day);
    LEDGE_TRY(ledge__sql_run(db, err, LEDGE_Q_DAY_DROP, "t", day));
    LEDGE_TRY(make_view(db, err));
    snprintf(text_, sizeof text_, "DROP TABLE IF EXISTS telemetry_%s", day);
    return execute(db, text_, err);
}

static LedgeStatus put_records(LedgeSql *db, const LedgeRecordRow *rows, size_t n, LedgeError *err)
{
    Sqlite *s = mine(db);
    for (size_t i = 0; i < n; i++) {
        const LedgeRecordRow *r = &rows[i];
        const int64_t numbers[] = {r->device,     r->stream,         r->seq,      r->at_ms,
                                   r->latency_us, r->confidence_ppm, r->class_id, r->drift};
        for (int c = 0; c < 8; c++)
            (void)sqlite3_bind_int64(s->put, c + 1, numbers[c]);
        if (r->request_hash)
            (void)sqlite3_bind_text(s->put, 9, r->request_hash, -1, SQLITE_STATIC);
        else
            (void)sqlite3_bind_null(s->put, 9);
        const int code = sqlite3_step(s->put);
        if (code != SQLITE_DONE) {
            LedgeStatus status = fail(s, err);
            (void)sqlite3_reset(s->put);
            return status;
        }
        (void)sqlite3_reset(s->put);
    }
    return LEDGE_OK;
}

/* ---- life ---- */

static void close_all(LedgeSql *db)
{
    Sqlite *s = mine(db);
    for (int q = 0; q < LEDGE_QUERIES; q++)
        (void)sqlite3_finalize(s->statements[q]);
    (void)sqlite3_finalize(s->put);
    (void)sqlite3_close(s->db);
    free(s);
}

static const LedgeSqlDriver driver = {
    .id = "INTEGER PRIMARY KEY AUTOINCREMENT",
    .integer = "INTEGER",
    .blob = "BLOB",
    .rowless = " WITHOUT ROWID",
    .tables = "CREATE TRIGGER IF NOT EXISTS audit_stays BEFORE UPDATE ON audit BEGIN "
              "SELECT RAISE(ABORT, 'the audit log is only added to'); END;"
              "CREATE TRIGGER IF NOT EXISTS audit_grows BEFORE DELETE ON audit BEGIN "
              "SELECT RAISE(ABORT, 'the audit log is only added to'); END;",
    LEDGE_SQL_FUNCTIONS,
};

LedgeStatus ledge__sql_sqlite_open(const char *path, LedgeError *err, LedgeSql **out)
{
    Sqlite *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    s->base.driver = &driver;
    LedgeStatus status = LEDGE_OK;
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        status = ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be opened as a database: %s",
                             s->db ? sqlite3_errmsg(s->db) : "out of memory");
    if (!status) {
        (void)sqlite3_busy_timeout(s->db, BUSY_MS);
        status =
            execute(&s->base,
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; "
                    "PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=8000; "
                    "PRAGMA journal_size_limit=67108864",
                    err);
    }
    if (status)
        close_all(&s->base);
    else
        *out = &s->base;
    return status;
}
