/* The database layer, over SQLite always and over PostgreSQL where LEDGE_TEST_POSTGRES names one
 * that may be filled (its tables are made there and stay). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet/registry/sql.h"
#include "fleet/registry/sql_driver.h"

static char folder[64], path[100];
static const char *addresses[2];
static int n_addresses;

#define GOOD(call)                                                                                 \
    do {                                                                                           \
        LedgeError e_ = {0};                                                                       \
        LedgeError *err = &e_;                                                                     \
        if ((call) != LEDGE_OK)                                                                    \
            fail_msg("%s: %s", #call, e_.message);                                                 \
    } while (0)

static LedgeSql *open_new(int which)
{
    LedgeSql *db = NULL;
    if (which == 0)
        (void)unlink(path);
    GOOD(ledge__sql_open(addresses[which], err, &db));
    GOOD(ledge__sql_make_tables(db, err));
    return db;
}

static int64_t count_tokens(LedgeSql *db, const char *note)
{
    json_t *list = NULL;
    int64_t n = 0;
    GOOD(ledge__sql_list(db, err, &list, LEDGE_Q_TOKENS, ""));
    for (size_t i = 0; i < json_array_size(list); i++)
        n += strcmp(json_string_value(json_object_get(json_array_get(list, i), "note")), note) == 0;
    json_decref(list);
    return n;
}

/* Other at each run, since PostgreSQL's tables stay. */
static const char *fresh(const char *name)
{
    static char texts[8][80];
    static int next;
    char *t = texts[next++ % 8];
    snprintf(t, 80, "%s-%ld-%d", name, (long)getpid(), next);
    return t;
}

static void what_is_committed_stays_and_what_is_undone_goes(void **state)
{
    (void)state;
    for (int w = 0; w < n_addresses; w++) {
        LedgeSql *db = open_new(w);
        const char *note = fresh("note"), *first = fresh("a"), *second = fresh("b");
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_run(db, err, LEDGE_Q_TOKEN_ADD, "tttti", first, "viewer", NULL, note,
                            (int64_t)7));
        GOOD(ledge__sql_commit(db, err));
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_run(db, err, LEDGE_Q_TOKEN_ADD, "tttti", second, "viewer", NULL, note,
                            (int64_t)7));
        ledge__sql_undo(db);
        assert_int_equal(count_tokens(db, note), 1);
        ledge__sql_close(db);
        GOOD(ledge__sql_open(addresses[w], err, &db));
        assert_int_equal(count_tokens(db, note), 1);
        ledge__sql_close(db);
    }
}

static void a_failure_behind_a_mark_leaves_the_rest(void **state)
{
    (void)state;
    for (int w = 0; w < n_addresses; w++) {
        LedgeSql *db = open_new(w);
        LedgeError e = {0};
        const char *note = fresh("note"), *hash = fresh("h"), *third = fresh("h3");
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_mark(db, err));
        GOOD(ledge__sql_run(db, err, LEDGE_Q_TOKEN_ADD, "tttti", hash, "viewer", NULL, note,
                            (int64_t)1));
        GOOD(ledge__sql_keep(db, err));
        GOOD(ledge__sql_mark(db, err));
        assert_int_equal(ledge__sql_run(db, &e, LEDGE_Q_TOKEN_ADD, "tttti", hash, "viewer", NULL,
                                        note, (int64_t)1),
                         LEDGE_ERROR_MISMATCH);
        GOOD(ledge__sql_return(db, err));
        GOOD(ledge__sql_mark(db, err));
        GOOD(ledge__sql_run(db, err, LEDGE_Q_TOKEN_ADD, "tttti", third, "viewer", NULL, note,
                            (int64_t)1));
        GOOD(ledge__sql_keep(db, err));
        GOOD(ledge__sql_commit(db, err));
        assert_int_equal(count_tokens(db, note), 2);
        ledge__sql_close(db);
    }
}

static void the_audit_log_takes_no_change(void **state)
{
    (void)state;
    for (int w = 0; w < n_addresses; w++) {
        LedgeSql *db = open_new(w);
        LedgeError e = {0};
        int64_t last = 0;
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_number(db, err, 0, &last, LEDGE_Q_AUDIT_LAST, ""));
        GOOD(ledge__sql_run(db, err, LEDGE_Q_AUDIT_ADD, "iittttttt", last + 1, (int64_t)5, "me",
                            "test", "x", "", "{}", "", "hash"));
        GOOD(ledge__sql_commit(db, err));
        assert_int_equal(db->driver->execute(db, "UPDATE audit SET who = 'other'", &e),
                         LEDGE_ERROR_MISMATCH);
        assert_non_null(strstr(e.message, "only added to"));
        assert_int_equal(db->driver->execute(db, "DELETE FROM audit", &e), LEDGE_ERROR_MISMATCH);
        ledge__sql_close(db);
    }
}

static void records_go_to_the_table_of_their_day(void **state)
{
    (void)state;
    for (int w = 0; w < n_addresses; w++) {
        LedgeSql *db = open_new(w);
        int64_t before = 0, after = 0, dropped = 0;
        const LedgeRecordRow rows[3] = {
            {.device = 1, .stream = 2, .seq = 3, .request_hash = "abc"},
            {.device = 1, .stream = 2, .seq = 4, .latency_us = INT64_MAX},
            {.device = -1, .stream = 2, .seq = 5, .at_ms = INT64_MIN}};
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_use_day(db, "20200101", err));
        GOOD(ledge__sql_number(db, err, 0, &before, LEDGE_Q_RECORDS_COUNT, ""));
        GOOD(ledge__sql_put_records(db, err, rows, 3));
        GOOD(ledge__sql_use_day(db, "20200102", err));
        GOOD(ledge__sql_put_records(db, err, rows, 1));
        GOOD(ledge__sql_commit(db, err));
        GOOD(ledge__sql_number(db, err, 0, &after, LEDGE_Q_RECORDS_COUNT, ""));
        assert_int_equal(after - before, 4);
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_drop_days(db, "20200102", err, &dropped));
        GOOD(ledge__sql_commit(db, err));
        assert_int_equal(dropped, 1);
        GOOD(ledge__sql_number(db, err, 0, &after, LEDGE_Q_RECORDS_COUNT, ""));
        assert_int_equal(after - before, 1);
        GOOD(ledge__sql_begin(db, err));
        GOOD(ledge__sql_drop_days(db, "20200103", err, &dropped));
        GOOD(ledge__sql_commit(db, err));
        ledge__sql_close(db);
    }
}

static void every_query_is_one_that_the_database_takes(void **state)
{
    (void)state;
    static const struct {
        LedgeQuery q;
        const char *text;
    } all[] = {
#define QUERY(name, text) {LEDGE_Q_##name, text},
#include "fleet/registry/queries.def"
#undef QUERY
    };
    for (int w = 0; w < n_addresses; w++) {
        LedgeSql *db = open_new(w);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            LedgeError e = {0};
            LedgeSqlArg args[LEDGE_SQL_ARGS];
            int n = 0;
            for (const char *p = all[i].text; (p = strchr(p, '$')); p++)
                n = atoi(p + 1) > n ? atoi(p + 1) : n;
            for (int a = 0; a < n; a++)
                args[a] = (LedgeSqlArg){.type = 'i', .number = 1};
            GOOD(ledge__sql_begin(db, err));
            if (all[i].q == LEDGE_Q_RAW_ADD)
                args[3] = (LedgeSqlArg){.type = 'b', .bytes = "x", .size = 1};
            GOOD(ledge__sql_use_day(db, "20200105", err));
            LedgeStatus status = db->driver->start(db, all[i].q, args, n, &e);
            while (!status && ledge__sql_next(db, all[i].q))
                ;
            if (!status)
                status = ledge__sql_end(db, all[i].q, &e);
            if (status && status != LEDGE_ERROR_MISMATCH)
                fail_msg("%s: %s", all[i].text, e.message);
            ledge__sql_undo(db);
        }
        ledge__sql_close(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_query_is_one_that_the_database_takes),
        cmocka_unit_test(what_is_committed_stays_and_what_is_undone_goes),
        cmocka_unit_test(a_failure_behind_a_mark_leaves_the_rest),
        cmocka_unit_test(the_audit_log_takes_no_change),
        cmocka_unit_test(records_go_to_the_table_of_their_day),
    };
    snprintf(folder, sizeof folder, "/tmp/ledge-sql-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/r.db", folder);
    addresses[n_addresses++] = path;
    if (getenv("LEDGE_TEST_POSTGRES"))
        addresses[n_addresses++] = getenv("LEDGE_TEST_POSTGRES");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || failed;
}
