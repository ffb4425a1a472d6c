/* A database as the registry uses one: named queries, transactions, rows put in by the thousand.
 *
 * The queries stand in queries.def, in the SQL that SQLite and PostgreSQL share; what differs is
 * behind LedgeSqlDriver. A connection belongs to one thread at a time. */
#ifndef LEDGE_FLEET_REGISTRY_SQL_H
#define LEDGE_FLEET_REGISTRY_SQL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

typedef enum LedgeQuery {
#define QUERY(name, text) LEDGE_Q_##name,
#include "fleet/registry/queries.def"
#undef QUERY
    LEDGE_QUERIES
} LedgeQuery;

enum { LEDGE_SQL_ARGS = 24 };

typedef struct LedgeSql LedgeSql;

/* `where` is a SQLite file's path or a PostgreSQL address (postgres://…, postgresql://…). Statuses:
 * IO, UNSUPPORTED, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_open(const char *where, LedgeError *err, LedgeSql **out);
void ledge__sql_close(LedgeSql *db);           /* NULL is legal; an open transaction is undone */
bool ledge__sql_is_address(const char *where); /* of PostgreSQL */

/* Makes all tables that are missing, or refuses a database of a newer ledge. Statuses: IO,
 * MISMATCH. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_make_tables(LedgeSql *db, LedgeError *err);
/* The table (or partition) that records of this day go to, "20261122"; made where missing. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_use_day(LedgeSql *db, const char *day, LedgeError *err);
/* Drops the tables of all days before this one. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_drop_days(LedgeSql *db, const char *before, LedgeError *err,
                                                  int64_t *dropped);

/* A commit that gave LEDGE_OK is on the disk. After a failure of any of these the transaction is
 * gone, and a new one may be begun (where a connection was lost, over a new one). Status: IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_begin(LedgeSql *db, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__sql_commit(LedgeSql *db, LedgeError *err);
void ledge__sql_undo(LedgeSql *db);
/* A mark inside a transaction: what follows is kept, or undone without the rest. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_mark(LedgeSql *db, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__sql_keep(LedgeSql *db, LedgeError *err);
LEDGE_MUST_CHECK LedgeStatus ledge__sql_return(LedgeSql *db, LedgeError *err);

/* Runs a query with its arguments: a letter each in `types`, i int64_t, t text (NULL: null), b
 * bytes and their size_t. Statuses: MISMATCH (what is to be unique is there already, or a table
 * that only grows was to be changed), IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_run(LedgeSql *db, LedgeError *err, LedgeQuery q,
                                            const char *types, ...);
int64_t ledge__sql_changed(const LedgeSql *db); /* rows that the last ledge__sql_run changed */

/* The same for queries with rows: ask, then `next` until it is false, which also ends the query;
 * its status is the one that `end` gives. A query cannot be asked again before it ended. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_ask(LedgeSql *db, LedgeError *err, LedgeQuery q,
                                            const char *types, ...);
bool ledge__sql_next(LedgeSql *db, LedgeQuery q);
LEDGE_MUST_CHECK LedgeStatus ledge__sql_end(LedgeSql *db, LedgeQuery q, LedgeError *err);
/* Of the present row; texts and bytes hold until the next call of next or end. Null is 0, NULL. */
int64_t ledge__sql_int(LedgeSql *db, LedgeQuery q, int column);
const char *ledge__sql_text(LedgeSql *db, LedgeQuery q, int column);
const void *ledge__sql_bytes(LedgeSql *db, LedgeQuery q, int column, size_t *size);

/* All rows as an array of objects by column names. A column "x_json" is put in as the value "x"
 * that its text holds. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_list(LedgeSql *db, LedgeError *err, json_t **out,
                                             LedgeQuery q, const char *types, ...);
/* The first row as an object, NULL where there is none. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_one(LedgeSql *db, LedgeError *err, json_t **out,
                                            LedgeQuery q, const char *types, ...);
/* The first column of the first row; `missing` where there is none. */
LEDGE_MUST_CHECK LedgeStatus ledge__sql_number(LedgeSql *db, LedgeError *err, int64_t missing,
                                               int64_t *out, LedgeQuery q, const char *types, ...);

/* One record of telemetry, as a row of the day's table. */
typedef struct LedgeRecordRow {
    int64_t device, stream, seq, at_ms, latency_us, confidence_ppm, class_id, drift;
    const char *request_hash; /* or NULL */
} LedgeRecordRow;
LEDGE_MUST_CHECK LedgeStatus ledge__sql_put_records(LedgeSql *db, LedgeError *err,
                                                    const LedgeRecordRow *rows, size_t n);

#endif
