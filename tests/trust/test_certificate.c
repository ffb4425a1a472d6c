/* Certificates: what is written reads back, gates are exact at their edge, dates are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "certificate_sample.h"
#include "trust/canonical_json.h"
#include "trust/envelope.h"

static void what_is_written_reads_back(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeCertificate c = sample_certificate(), back;
    char *a, *b;
    size_t na, nb;
    json_t *o = ledge__certificate_json(&c);
    assert_non_null(o);
    if (ledge__certificate_read("t", o, &err, &back))
        fail_msg("%s", err.message);
    json_t *again = ledge__certificate_json(&back);
    assert_int_equal(ledge__canonical_json(o, &err, &a, &na), LEDGE_OK);
    assert_int_equal(ledge__canonical_json(again, &err, &b, &nb), LEDGE_OK);
    assert_string_equal(a, b);
    assert_int_equal(back.model.top1, 424);
    assert_int_equal(back.created, c.created);
    assert_null(back.reference.baseline);
    free(a);
    free(b);
    json_decref(o);
    json_decref(again);
    sample_certificate_free(&c);
}

static LedgeGates gates_of(int64_t top1, int64_t agreement, int64_t p50)
{
    LedgeCertificate c = sample_certificate();
    c.model.top1 = top1;
    c.agreement = agreement;
    c.model.p50_ns = p50;
    const LedgeGates g = ledge__certificate_gates(&c);
    sample_certificate_free(&c);
    return g;
}

/* 0.6 points of 500 pictures are 3; 95 % are 475; a ratio of 1.0 is 6 ms. */
static void gates_hold_at_their_edge_and_fail_behind_it(void **state)
{
    (void)state;
    assert_false(gates_of(423, 475, 6000000).drop);
    assert_true(gates_of(422, 475, 6000000).drop);
    assert_false(gates_of(500, 475, 6000000).drop); /* better than before */
    assert_false(gates_of(423, 475, 6000000).agreement);
    assert_true(gates_of(423, 474, 6000000).agreement);
    assert_false(gates_of(423, 475, 6000000).latency);
    assert_false(gates_of(423, 475, 6029000).latency); /* rounds to 1.00 */
    assert_true(gates_of(423, 475, 6031000).latency);
}

static void gates_bear_the_largest_counts(void **state)
{
    (void)state;
    LedgeCertificate c = sample_certificate();
    const int64_t most = INT64_C(1000000000000);
    c.pictures.count = c.reference.top1 = most;
    c.model.top1 = 0;
    c.agreement = 0;
    c.model.p50_ns = most;
    c.reference.p50_ns = 1;
    c.gates.max_latency_ratio = most;
    LedgeGates g = ledge__certificate_gates(&c);
    assert_true(g.drop && g.agreement && g.latency);
    c.reference.p50_ns = most;
    c.model.p50_ns = 1;
    assert_false(ledge__certificate_gates(&c).latency);
    sample_certificate_free(&c);
}

static void times_are_iso_8601_and_real_dates(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } good[] = {{0, "1970-01-01T00:00:00Z"},
                {951782400, "2000-02-29T00:00:00Z"},
                {1795370461, "2026-11-22T18:01:01Z"},
                {4107542399, "2100-02-28T23:59:59Z"},
                {INT64_C(253402300799), "9999-12-31T23:59:59Z"}};
    static const char *const bad[] = {"",
                                      "2026-11-22",
                                      "2026-11-22T18:01:01",
                                      "2026-11-22T18:01:01z",
                                      "2026-11-22 18:01:01Z",
                                      "2100-02-29T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "2026-11-22T24:00:00Z",
                                      "1969-12-31T23:59:59Z",
                                      "2026-11-22T18:01:60Z",
                                      "-026-11-22T18:01:01Z"};
    char text[LEDGE_TIME_TEXT];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ledge__time_text(good[i].seconds, text);
        assert_string_equal(text, good[i].text);
        assert_true(ledge__time_read(text) == good[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(ledge__time_read(bad[i]) == -1);
    /* every day of four centuries comes back */
    for (int64_t day = 0; day < 146097; day++) {
        ledge__time_text(day * 86400 + 12345, text);
        assert_true(ledge__time_read(text) == day * 86400 + 12345);
    }
}

static void certificates_expire(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeCertificate c = sample_certificate();
    assert_int_equal(ledge__certificate_check_time("t", &c, c.created, &err), LEDGE_OK);
    assert_int_equal(ledge__certificate_check_time("t", &c, c.expires - 1, &err), LEDGE_OK);
    assert_int_equal(ledge__certificate_check_time("t", &c, c.expires, &err), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "expired"));
    assert_int_equal(ledge__certificate_check_time("t", &c, c.created - 86401, &err),
                     LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "clock"));
    sample_certificate_free(&c);
}

/* Each key of each object gone, null, or of another type: never accepted. */
static void spoil(const json_t *whole, json_t *object, const char *key)
{
    LedgeError err;
    LedgeCertificate out;
    json_t *wrong[] = {NULL, json_true(), json_pack("[[]]"), json_integer(-1)};
    json_t *kept = json_incref(json_object_get(object, key));
    for (size_t i = 0; i < 4; i++) {
        if (i ? json_object_set_new(object, key, wrong[i]) : json_object_del(object, key))
            fail_msg("no memory");
        if (ledge__certificate_read("t", whole, &err, &out) != LEDGE_ERROR_FORMAT)
            fail_msg("%s: change %zu was accepted", key, i);
        assert_true(err.message[0] != '\0');
    }
    json_object_set_new(object, key, kept);
}

static void nothing_may_be_missing_or_of_another_kind(void **state)
{
    (void)state;
    static const char *const objects[] = {"model", "reference", "pictures", "cpu", "gates"};
    LedgeError err = {0};
    LedgeCertificate c = sample_certificate(), out;
    json_t *whole = ledge__certificate_json(&c);
    size_t n = 0;
    for (size_t i = 0; i <= 5; i++) {
        json_t *object = i < 5 ? json_object_get(whole, objects[i]) : whole;
        json_t *names = json_copy(object);
        const char *key;
        json_t *value;
        json_object_foreach(names, key, value) spoil(whole, object, key), n++;
        json_decref(names);
    }
    assert_true(n > 40);
    assert_int_equal(ledge__certificate_read("t", whole, &err, &out), LEDGE_OK);
    json_decref(whole);
    sample_certificate_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(gates_hold_at_their_edge_and_fail_behind_it),
        cmocka_unit_test(gates_bear_the_largest_counts),
        cmocka_unit_test(times_are_iso_8601_and_real_dates),
        cmocka_unit_test(certificates_expire),
        cmocka_unit_test(nothing_may_be_missing_or_of_another_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
