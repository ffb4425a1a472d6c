/* Small parts of the registry: latency buckets, rate limits, files in a folder, the admin API's
 * table, the older clients' batches, the log's hashes. */
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
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "fleet/registry/admin.h"
#include "fleet/registry/rate_limit.h"
#include "fleet/registry/s3_client.h"
#include "fleet/registry/store.h"

static void latency_buckets_grow_and_hold_their_middle(void **state)
{
    (void)state;
    int last = -1;
    for (int64_t us = 0; us < 5000000; us += 1 + us / 50) {
        const int b = ledge__latency_bucket(us);
        assert_true(b >= last && b < 256);
        last = b;
        const double middle = ledge__latency_of_bucket(b);
        assert_true(us < 4 || (middle > (double)us * 0.8 && middle < (double)us * 1.25));
    }
    assert_int_equal(ledge__latency_bucket(-5), 0);
    assert_true(ledge__latency_bucket(INT64_MAX) < 256);
}

static void a_rate_limit_gives_a_burst_and_then_its_rate(void **state)
{
    (void)state;
    LedgeRateLimit *r = ledge__rate_limit_new(2, 5);
    int given = 0;
    for (int i = 0; i < 10; i++)
        given += ledge__rate_limit_ask(r, 7, 100);
    assert_int_equal(given, 5);
    assert_true(ledge__rate_limit_ask(r, 8, 100)); /* somebody else */
    assert_false(ledge__rate_limit_ask(r, 7, 100.4));
    assert_true(ledge__rate_limit_ask(r, 7, 100.9));
    given = 0;
    for (int i = 0; i < 100; i++)
        given += ledge__rate_limit_ask(r, 7, 10000);
    assert_int_equal(given, 5);                 /* no more is saved up */
    for (uint64_t who = 0; who < 200000; who++) /* more than the table holds */
        assert_true(ledge__rate_limit_ask(r, who * 2654435761u, 20000));
    ledge__rate_limit_free(r);
    ledge__rate_limit_free(NULL);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void a_damaged_file_is_seen_and_a_missing_one_said(void **state)
{
    (void)state;
    char folder[] = "/tmp/ledge-blobs-XXXXXX", path[200], hash[LEDGE_SHA256_HEX], *text = NULL;
    LedgeError err = {0};
    LedgeBlobs *b = NULL;
    size_t size;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(ledge__blobs_open(folder, &err, &b), LEDGE_OK);
    assert_int_equal(ledge__sha256_of("hello", 5, hash), LEDGE_OK);
    snprintf(path, sizeof path, "%s/new", ledge__blobs_folder(b));
    write_text(path, "hello");
    assert_int_equal(ledge__blobs_read(b, hash, 100, &err, &text, &size), LEDGE_ERROR_NOT_FOUND);
    assert_int_equal(ledge__blobs_put(b, hash, path, &err), LEDGE_OK);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(ledge__blobs_read(b, hash, 4, &err, &text, &size), LEDGE_ERROR_LIMIT);
    assert_int_equal(ledge__blobs_read(b, hash, 5, &err, &text, &size), LEDGE_OK);
    assert_string_equal(text, "hello");
    free(text);
    snprintf(path, sizeof path, "%s/%.2s/%s", folder, hash, hash);
    write_text(path, "hellO");
    assert_int_equal(ledge__blobs_read(b, hash, 100, &err, &text, &size), LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__blobs_remove(b, hash, &err), LEDGE_OK);
    assert_int_equal(ledge__blobs_remove(b, hash, &err), LEDGE_OK);
    ledge__blobs_free(b);
    snprintf(path, sizeof path, "rm -rf '%s'", folder);
    assert_int_equal(system(path), 0);
}

static void uploads_that_were_cut_off_go_after_a_day(void **state)
{
    (void)state;
    char folder[] = "/tmp/ledge-blobs-XXXXXX", old[200], young[200], command[100];
    const struct timespec at = {.tv_sec = time(NULL) - 90000}, both[2] = {at, at};
    LedgeBlobs *b;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(ledge__blobs_open(folder, NULL, &b), LEDGE_OK);
    snprintf(old, sizeof old, "%s/abc-1-0", ledge__blobs_folder(b));
    snprintf(young, sizeof young, "%s/abc-1-1", ledge__blobs_folder(b));
    ledge__blobs_free(b);
    write_text(old, "half");
    write_text(young, "half");
    assert_int_equal(utimensat(AT_FDCWD, old, both, 0), 0);
    assert_int_equal(ledge__blobs_open(folder, NULL, &b), LEDGE_OK);
    ledge__blobs_free(b);
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void the_admin_table_finds_what_fits(void **state)
{
    (void)state;
    char words[3][LEDGE_ADMIN_WORD], longer[LEDGE_ADMIN_WORD + 20];
    bool known;
    const LedgeAdminRoute *r = ledge__admin_find("POST", "models/net/promote", words, &known);
    assert_non_null(r);
    assert_int_equal(r->role, LEDGE_ROLE_OPERATOR);
    assert_string_equal(words[0], "net");
    assert_null(ledge__admin_find("DELETE", "models/net/promote", words, &known));
    assert_true(known);
    static const char *const none[] = {
        "", "models/", "models//promote", "models/net/promote/x", "model", "groups/a/models", "*"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(ledge__admin_find("POST", none[i], words, &known));
        assert_false(known && i != 0);
    }
    memset(longer, 'a', sizeof longer);
    memcpy(longer, "devices/", 8);
    longer[sizeof longer - 1] = '\0';
    assert_null(ledge__admin_find("GET", longer, words, &known));
}

static void roles_allow_no_more_than_they_say(void **state)
{
    (void)state;
    static const LedgeRole all[] = {LEDGE_ROLE_DEVICE, LEDGE_ROLE_VIEWER, LEDGE_ROLE_PUBLISHER,
                                    LEDGE_ROLE_OPERATOR, LEDGE_ROLE_ADMIN};
    static const char *const may[] = {"d....", ".v...", ".vp..", ".v.o.", "dvpoa"};
    for (int has = 0; has < 5; has++)
        for (int asks = 0; asks < 5; asks++)
            assert_int_equal(ledge__role_allows(all[has], all[asks]), may[has][asks] != '.');
    assert_int_equal(ledge__role_of("king"), LEDGE_ROLE_NONE);
    assert_int_equal(ledge__role_of("none"), LEDGE_ROLE_NONE);
    assert_int_equal(ledge__role_of(NULL), LEDGE_ROLE_NONE);
}

static void old_batches_are_read_in_every_spelling_of_time(void **state)
{
    (void)state;
    static const char text[] =
        "{\"device_id\":\"a\",\"records\":[{\"timestamp\":1795000000},{\"timestamp\":1795000000.25}"
        ","
        "{\"timestamp\":1795000000000},{\"timestamp\":1795000000000000},{\"timestamp\":\"2026-11-"
        "18T11:06:40Z\"},"
        "{\"timestamp\":\"2026-11-18T11:06:40.5+00:00\"},{\"timestamp\":\"2026-11-18T11:06:40\"},"
        "{\"latency_ms\":1.5,\"confidence\":0.25,\"class_id\":7,\"request_hash\":\"ab\",\"model_"
        "version\":\"3\"}]}";
    LedgeIngest i, again;
    LedgeError err = {0};
    assert_int_equal(ledge__ingest_read_old(text, sizeof text - 1, &err, &i), LEDGE_OK);
    assert_int_equal(i.n_rows, 8);
    for (int k = 0; k < 7; k++)
        assert_int_equal(i.rows[k].at_ms / 1000, 1795000000);
    assert_int_equal(i.rows[7].latency_us, 1500);
    assert_int_equal(i.rows[7].confidence_ppm, 250000);
    assert_int_equal(i.rows[7].class_id, 7);
    assert_string_equal(i.rows[7].request_hash, "ab");
    assert_null(i.rows[0].request_hash);
    assert_string_equal(i.streams[i.rows[7].stream].version, "3");
    assert_int_equal(ledge__ingest_read_old(text, sizeof text - 1, &err, &again), LEDGE_OK);
    assert_string_equal(i.head.batch, again.head.batch); /* the same bytes are the same batch */
    ledge__ingest_free(&i);
    ledge__ingest_free(&again);
}

static void an_entry_of_the_log_has_one_hash(void **state)
{
    (void)state;
    char first[LEDGE_SHA256_HEX], second[LEDGE_SHA256_HEX];
    LedgeError err = {0};
    json_t *a = json_pack("{s:i, s:s, s:{s:i}, s:s}", "id", 1, "who", "me", "detail", "x", 1,
                          "hash", "whatever"),
           *b = json_pack("{s:{s:i}, s:s, s:i}", "detail", "x", 1, "who", "me", "id", 1);
    assert_int_equal(ledge__audit_hash(a, &err, first), LEDGE_OK);
    assert_int_equal(ledge__audit_hash(b, &err, second), LEDGE_OK);
    assert_string_equal(first, second);
    json_object_set_new(b, "who", json_string("you"));
    assert_int_equal(ledge__audit_hash(b, &err, second), LEDGE_OK);
    assert_string_not_equal(first, second);
    json_decref(a);
    json_decref(b);
}

/* The example of AWS's "Authenticating Requests: Using Query Parameters". */
static void an_address_is_signed_as_aws_shows_it(void **state)
{
    (void)state;
    LedgeS3 s3 = {.endpoint = "https://examplebucket.s3.amazonaws.com",
                  .region = "us-east-1",
                  .access_key = "AKIAIOSFODNN7EXAMPLE",
                  .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
    char *address = NULL;
    LedgeError err = {0};
    /* That one is not path-style: with the bucket in the host the path is /test.txt, so the
     * bucket's place in the path is looked at through the parts that do not depend on it. */
    snprintf(s3.bucket, sizeof s3.bucket, "b");
    assert_int_equal(ledge__s3_sign(&s3, "test.txt", 1369353600, 86400, &err, &address), LEDGE_OK);
    assert_non_null(
        strstr(address,
               "https://examplebucket.s3.amazonaws.com/b/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"
               "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&"
               "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-"
               "Signature="));
    assert_int_equal(strlen(strstr(address, "Signature=")), strlen("Signature=") + 64);
    free(address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latency_buckets_grow_and_hold_their_middle),
        cmocka_unit_test(a_rate_limit_gives_a_burst_and_then_its_rate),
        cmocka_unit_test(a_damaged_file_is_seen_and_a_missing_one_said),
        cmocka_unit_test(uploads_that_were_cut_off_go_after_a_day),
        cmocka_unit_test(the_admin_table_finds_what_fits),
        cmocka_unit_test(roles_allow_no_more_than_they_say),
        cmocka_unit_test(old_batches_are_read_in_every_spelling_of_time),
        cmocka_unit_test(an_entry_of_the_log_has_one_hash),
        cmocka_unit_test(an_address_is_signed_as_aws_shows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
