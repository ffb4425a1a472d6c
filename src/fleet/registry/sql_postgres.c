/* PostgreSQL by libpq. Several registries may share one database; a connection that was lost is
 * made anew when the next transaction begins, so that whoever waited gets an answer and tries
 * again. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fleet/registry/sql_driver.h"

#define NAME_MAX_ 16

typedef struct Postgres {
    LedgeSql base;
    PGconn *db;
    bool prepared[LEDGE_QUERIES];
    PGresult *results[LEDGE_QUERIES];
    int at[LEDGE_QUERIES];
    unsigned char *unescaped;
} Postgres;

static Postgres *mine(LedgeSql *db)
{
    return (Postgres *)(void *)db;
}

/* libpq's messages end with a line break and may have several lines. */
static LedgeStatus fail(Postgres *s, const PGresult *r, LedgeError *err)
{
    const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *said = r ? PQresultErrorMessage(r) : PQerrorMessage(s->db);
    const bool unique = state && (strncmp(state, "23", 2) == 0 || strcmp(state, "P0001") == 0);
    return ledge__fail(err, unique ? LEDGE_ERROR_MISMATCH : LEDGE_ERROR_IO, "database", "%.*s",
                       (int)strcspn(said, "\n"), said);
}

static bool is_good(const PGresult *r)
{
    const ExecStatusType t = PQresultStatus(r);
    return t == PGRES_COMMAND_OK || t == PGRES_TUPLES_OK || t == PGRES_EMPTY_QUERY;
}

static LedgeStatus execute(LedgeSql *db, const char *text, LedgeError *err)
{
    Postgres *s = mine(db);
    PGresult *r = PQexec(s->db, text);
    /* A transaction that failed answers COMMIT by undoing it, as a success. */
    LedgeStatus status =
        !is_good(r) ? fail(s, r, err)
        : strcmp(text, "COMMIT") == 0 && strcmp(PQcmdStatus(r), "COMMIT") != 0
            ? ledge__fail(err, LEDGE_ERROR_IO, "database", "the transaction was undone")
            : LEDGE_OK;
    PQclear(r);
    return status;
}

static LedgeStatus begin(LedgeSql *db, LedgeError *err)
{
    Postgres *s = mine(db);
    if (PQstatus(s->db) != CONNECTION_OK) {
        memset(s->prepared, 0, sizeof s->prepared);
        PQreset(s->db);
        if (PQstatus(s->db) != CONNECTION_OK)
            return fail(s, NULL, err);
        LEDGE_TRY(
            execute(db, "SET synchronous_commit = on; SET client_min_messages = warning", err));
    }
    return execute(db, "BEGIN", err);
}

/* ---- queries ---- */

static LedgeStatus prepare(Postgres *s, LedgeQuery q, LedgeError *err)
{
    char name_[NAME_MAX_];
    snprintf(name_, sizeof name_, "q%d", (int)q);
    PGresult *r = PQprepare(s->db, name_, ledge__sql_query(q), 0, NULL);
    LedgeStatus status = is_good(r) ? LEDGE_OK : fail(s, r, err);
    PQclear(r);
    s->prepared[q] = !status;
    return status;
}

static LedgeStatus start(LedgeSql *db, LedgeQuery q, const LedgeSqlArg *args, int n,
                         LedgeError *err)
{
    Postgres *s = mine(db);
    char name_[NAME_MAX_], numbers[LEDGE_SQL_ARGS][24];
    const char *values[LEDGE_SQL_ARGS];
    int lengths[LEDGE_SQL_ARGS], formats[LEDGE_SQL_ARGS];
    if (!s->prepared[q])
        LEDGE_TRY(prepare(s, q, err));
    for (int i = 0; i < n; i++) {
        values[i] = args[i].type == 'b' && !args[i].bytes ? "" : args[i].bytes;
        lengths[i] = (int)args[i].size;
        formats[i] = args[i].type == 'b';
        if (args[i].type == 'i') {
            snprintf(numbers[i], sizeof numbers[i], "%lld", (long long)args[i].number);
            values[i] = numbers[i];
        }
    }
    snprintf(name_, sizeof name_, "q%d", (int)q);
    PQclear(s->results[q]);
    s->results[q] = PQexecPrepared(s->db, name_, n, values, lengths, formats, 0);
    s->at[q] = -1;
    if (is_good(s->results[q]))
        return LEDGE_OK;
    LedgeStatus status = fail(s, s->results[q], err);
    PQclear(s->results[q]);
    s->results[q] = NULL;
    return status;
}

static bool next(LedgeSql *db, LedgeQuery q)
{
    Postgres *s = mine(db);
    return ++s->at[q] < PQntuples(s->results[q]);
}

static LedgeStatus end(LedgeSql *db, LedgeQuery q, LedgeError *err)
{
    Postgres *s = mine(db);
    (void)err;
    db->changed = s->results[q] ? strtoll(PQcmdTuples(s->results[q]), NULL, 10) : 0;
    PQclear(s->results[q]);
    s->results[q] = NULL;
    return LEDGE_OK;
}

static int columns(LedgeSql *db, LedgeQuery q)
{
    return PQnfields(mine(db)->results[q]);
}

static const char *name(LedgeSql *db, LedgeQuery q, int column)
{
    return PQfname(mine(db)->results[q], column);
}

static char type(LedgeSql *db, LedgeQuery q, int column)
{
    enum { BYTEA = 17, INT8 = 20, INT2 = 21, INT4 = 23, NUMERIC = 1700 };
    Postgres *s = mine(db);
    if (PQgetisnull(s->results[q], s->at[q], column))
        return 'n';
    switch (PQftype(s->results[q], column)) {
    case INT2:
    case INT4:
    case INT8:
    case NUMERIC:
        return 'i';
    case BYTEA:
        return 'b';
    default:
        return 't';
    }
}

static const char *text(LedgeSql *db, LedgeQuery q, int column)
{
    Postgres *s = mine(db);
    return PQgetisnull(s->results[q], s->at[q], column)
               ? NULL
               : PQgetvalue(s->results[q], s->at[q], column);
}

static int64_t number(LedgeSql *db, LedgeQuery q, int column)
{
    const char *t = text(db, q, column);
    return t ? strtoll(t, NULL, 10) : 0;
}

static const void *bytes(LedgeSql *db, LedgeQuery q, int column, size_t *size)
{
    Postgres *s = mine(db);
    const char *t = text(db, q, column);
    *size = 0;
    PQfreemem(s->unescaped);
    s->unescaped = t ? PQunescapeBytea((const unsigned char *)t, size) : NULL;
    return s->unescaped;
}

/* ---- telemetry: a table parted by days of arrival ---- */

/* The day after, as PostgreSQL counts, bounds the part. */
static LedgeStatus use_day(LedgeSql *db, const char *day, LedgeError *err)
{
    char text_[300];
    if (strlen(day) != 8 || strspn(day, "0123456789") != 8)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "database", "'%s' is no day", day);
    snprintf(text_, sizeof text_,
             "CREATE TABLE IF NOT EXISTS telemetry_%s PARTITION OF telemetry FOR VALUES IN (%s)",
             day, day);
    LEDGE_TRY(ledge__sql_run(db, err, LEDGE_Q_DAY_ADD, "t", day));
    return ledge__sql_changed(db) ? execute(db, text_, err) : LEDGE_OK;
}

static LedgeStatus drop_day(LedgeSql *db, const char *day, LedgeError *err)
{
    char text_[100];
    if (strlen(day) != 8 || strspn(day, "0123456789") != 8)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "database", "'%s' is no day", day);
    snprintf(text_, sizeof text_, "DROP TABLE IF EXISTS telemetry_%s", day);
    return execute(db, text_, err);
}

static int row_text(const LedgeSql *db, const LedgeRecordRow *r, char *out, size_t size)
{
    int n = snprintf(out, size, "%s\t%lld\t%lld\t%lld\t%lld\t%lld\t%lld\t%lld\t%lld\t", db->day,
                     (long long)r->device, (long long)r->stream, (long long)r->seq,
                     (long long)r->at_ms, (long long)r->latency_us, (long long)r->confidence_ppm,
                     (long long)r->class_id, (long long)r->drift);
    /* A hash is checked to be plain letters where it is read; nothing needs an escape. */
    n += snprintf(out + n, size - (size_t)n, "%s\n", r->request_hash ? r->request_hash : "\\N");
    return n;
}

static LedgeStatus put_records(LedgeSql *db, const LedgeRecordRow *rows, size_t n, LedgeError *err)
{
    Postgres *s = mine(db);
    char line[512];
    PGresult *r = PQexec(s->db, "COPY telemetry FROM STDIN");
    bool good = PQresultStatus(r) == PGRES_COPY_IN;
    LedgeStatus status = good ? LEDGE_OK : fail(s, r, err);
    PQclear(r);
    for (size_t i = 0; i < n && good; i++)
        good = PQputCopyData(s->db, line, row_text(db, &rows[i], line, sizeof line)) == 1;
    if (status)
        return status;
    if (!good || PQputCopyEnd(s->db, NULL) != 1)
        status = fail(s, NULL, err);
    while ((r = PQgetResult(s->db))) {
        if (!status && !is_good(r))
            status = fail(s, r, err);
        PQclear(r);
    }
    return status;
}

/* ---- life ---- */

static void close_all(LedgeSql *db)
{
    Postgres *s = mine(db);
    for (int q = 0; q < LEDGE_QUERIES; q++)
        PQclear(s->results[q]);
    PQfreemem(s->unescaped);
    PQfinish(s->db);
    free(s);
}

static const LedgeSqlDriver driver = {
    .id = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    .integer = "BIGINT",
    .blob = "BYTEA",
    .rowless = "",
    .tables =
        "CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger AS $$ BEGIN "
        "RAISE EXCEPTION 'the audit log is only added to'; END $$ LANGUAGE plpgsql; "
        "DROP TRIGGER IF EXISTS audit_stays ON audit; "
        "CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_stays(); "
        "CREATE TABLE IF NOT EXISTS telemetry(day BIGINT NOT NULL, device BIGINT NOT NULL, "
        "stream BIGINT NOT NULL, seq BIGINT NOT NULL, at_ms BIGINT NOT NULL, "
        "latency_us BIGINT NOT NULL, confidence_ppm BIGINT NOT NULL, class_id BIGINT NOT NULL, "
        "drift BIGINT NOT NULL, request_hash TEXT) PARTITION BY LIST (day)",
    LEDGE_SQL_FUNCTIONS,
};

LedgeStatus ledge__sql_postgres_open(const char *address, LedgeError *err, LedgeSql **out)
{
    Postgres *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    s->base.driver = &driver;
    s->db = PQconnectdb(address);
    LedgeStatus status = PQstatus(s->db) == CONNECTION_OK ? LEDGE_OK : fail(s, NULL, err);
    if (!status)
        status = execute(&s->base, "SET synchronous_commit = on; SET client_min_messages = warning",
                         err);
    if (status)
        close_all(&s->base);
    else
        *out = &s->base;
    return status;
}
