/* What SQLite and PostgreSQL each have their own way of. */
#ifndef LEDGE_FLEET_REGISTRY_SQL_DRIVER_H
#define LEDGE_FLEET_REGISTRY_SQL_DRIVER_H

#include "fleet/registry/sql.h"

typedef struct LedgeSqlArg {
    char type; /* i, t or b */
    int64_t number;
    const void *bytes; /* NULL: null */
    size_t size;
} LedgeSqlArg;

typedef struct LedgeSqlDriver {
    const char *id, *integer, *blob; /* column types; id: a primary key that counts up */
    const char *rowless;             /* behind a table whose key is its order */
    const char *tables;              /* what only this database needs, after the common tables */
    void (*close)(LedgeSql *db);
    LedgeStatus (*execute)(LedgeSql *db, const char *text, LedgeError *err);
    LedgeStatus (*begin)(LedgeSql *db, LedgeError *err);
    LedgeStatus (*start)(LedgeSql *db, LedgeQuery q, const LedgeSqlArg *args, int n,
                         LedgeError *err);
    bool (*next)(LedgeSql *db, LedgeQuery q);
    LedgeStatus (*end)(LedgeSql *db, LedgeQuery q, LedgeError *err);
    int (*columns)(LedgeSql *db, LedgeQuery q);
    const char *(*name)(LedgeSql *db, LedgeQuery q, int column);
    char (*type)(LedgeSql *db, LedgeQuery q, int column); /* i, t, b, or n for null */
    int64_t (*number)(LedgeSql *db, LedgeQuery q, int column);
    const char *(*text)(LedgeSql *db, LedgeQuery q, int column);
    const void *(*bytes)(LedgeSql *db, LedgeQuery q, int column, size_t *size);
    LedgeStatus (*use_day)(LedgeSql *db, const char *day, LedgeError *err);
    LedgeStatus (*drop_day)(LedgeSql *db, const char *day, LedgeError *err);
    LedgeStatus (*put_records)(LedgeSql *db, const LedgeRecordRow *rows, size_t n, LedgeError *err);
} LedgeSqlDriver;

/* The functions of a driver, which both files call as the table does. */
#define LEDGE_SQL_FUNCTIONS                                                                        \
    .close = close_all, .execute = execute, .begin = begin, .start = start, .next = next,          \
    .end = end, .columns = columns, .name = name, .type = type, .number = number, .text = text,    \
    .bytes = bytes, .use_day = use_day, .drop_day = drop_day, .put_records = put_records

/* Begins each driver's own structure. */
struct LedgeSql {
    const LedgeSqlDriver *driver;
    int64_t changed;
    char day[16]; /* "20261122", or "" */
};

LedgeStatus ledge__sql_sqlite_open(const char *path, LedgeError *err, LedgeSql **out);
LedgeStatus ledge__sql_postgres_open(const char *address, LedgeError *err, LedgeSql **out);
/* The text of a query, as queries.def has it. */
const char *ledge__sql_query(LedgeQuery q);

#endif
