/* The protocol's messages: what is written is read back the same, and what no honest side would
 * write is refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fleet/protocol/deflate.h"
#include "fleet/protocol/release.h"
#include "fleet/protocol/wire_batch.h"
#include "fleet/protocol/wire_poll.h"

typedef struct Text {
    char *p;
    size_t n;
    FILE *f;
} Text;

static void text_begin(Text *t)
{
    t->f = open_memstream(&t->p, &t->n);
    assert_non_null(t->f);
}

static void names_keep_to_their_letters(void **state)
{
    (void)state;
    char long_name[66];
    memset(long_name, 'a', 65);
    long_name[65] = '\0';
    assert_true(ledge__fleet_is_name("resnet-18_v1.0"));
    assert_false(ledge__fleet_is_name(""));
    assert_false(ledge__fleet_is_name("."));
    assert_false(ledge__fleet_is_name("-x"));
    assert_false(ledge__fleet_is_name("a/b"));
    assert_false(ledge__fleet_is_name("a b"));
    assert_false(ledge__fleet_is_name(long_name));
    long_name[64] = '\0';
    assert_true(ledge__fleet_is_name(long_name));
    assert_true(ledge__fleet_is_path("golden/in_0.npy"));
    assert_true(ledge__fleet_is_path("a/b/c/d/e/f/g/h"));
    assert_false(ledge__fleet_is_path("a/b/c/d/e/f/g/h/i"));
    static const char *const bad[] = {"",       "/a",   "a/", "../a", "a/..",
                                      "a/../b", "a//b", ".a", "a/.b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ledge__fleet_is_path(bad[i]));
}

static void a_poll_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    LedgePollRequest r = {.device_id = "cam:7",
                          .agent = "ledge-0.1.0",
                          .arch = "x86-64",
                          .level = "avx2",
                          .cores = 4,
                          .n_labels = 1,
                          .clock = -5,
                          .skew_ms = -350,
                          .has_skew = true,
                          .boot = "b-1",
                          .uptime_s = 9,
                          .n_models = 2,
                          .queue_records = 3,
                          .queue_dropped = 1,
                          .disk_free = 1000000000000,
                          .disk_quota = 5,
                          .etag = "abc"},
                     back;
    LedgeError err = {0};
    Text t, u;
    strcpy(r.labels[0].key, "site");
    strcpy(r.labels[0].value, "berlin");
    strcpy(r.models[0].name, "net");
    strcpy(r.models[0].version, "1.0");
    r.models[0].window = (LedgePollWindow){100, 2, 5000, LEDGE_FLEET_DRIFT_WARNING, 10, 9};
    strcpy(r.models[1].name, "net");
    strcpy(r.models[1].version, "2.0");
    r.models[1].state = LEDGE_FLEET_FAILED;
    strcpy(r.models[1].reason, "said \"no\"\n\xff");
    text_begin(&t);
    ledge__poll_request_write(&r, t.f);
    fclose(t.f);
    assert_int_equal(ledge__poll_request_read(t.p, t.n, &err, &back), LEDGE_OK);
    assert_string_equal(back.models[1].reason, "said \"no\"\n?");
    assert_int_equal(back.models[0].window.shadow_agree, 9);
    assert_int_equal(back.disk_free, 1000000000000);
    assert_int_equal(back.clock, -5);
    strcpy(r.models[1].reason, back.models[1].reason);
    text_begin(&u);
    ledge__poll_request_write(&back, u.f);
    fclose(u.f);
    assert_int_equal(u.n, t.n);
    assert_memory_equal(u.p, t.p, t.n);
    for (size_t n = 0; n < t.n; n++) /* any cut is refused */
        assert_int_equal(ledge__poll_request_read(t.p, n, &err, &back), LEDGE_ERROR_FORMAT);
    free(t.p);
    free(u.p);
}

static void an_answer_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    LedgePollAnswer a = {.etag = "e1",
                         .time = 1800000000,
                         .interval_s = 30,
                         .n_models = 1,
                         .n_retire = 1},
                    back;
    LedgeError err = {0};
    Text t;
    strcpy(a.models[0].name, "net");
    strcpy(a.models[0].version, "2");
    strcpy(a.models[0].release, "models/net/2/release.json");
    strcpy(a.models[0].fallback_name, "net");
    strcpy(a.models[0].fallback_version, "1");
    strcpy(a.models[0].when, "22:00-05:30");
    a.models[0].strict = true;
    strcpy(a.retire[0].name, "net");
    strcpy(a.retire[0].version, "0");
    text_begin(&t);
    ledge__poll_answer_write(&a, t.f);
    fclose(t.f);
    memset(&back, 1, sizeof back);
    assert_int_equal(ledge__poll_answer_read(t.p, t.n, &err, &back), LEDGE_OK);
    assert_string_equal(back.models[0].fallback_version, "1");
    assert_string_equal(back.models[0].when, "22:00-05:30");
    assert_true(back.models[0].strict);
    assert_string_equal(back.retire[0].version, "0");
    assert_int_equal(back.interval_s, 30);
    free(t.p);
}

static void hours_may_go_over_midnight(void **state)
{
    (void)state;
    assert_true(ledge__fleet_when_allows("22:00-05:30", 23 * 60, false));
    assert_true(ledge__fleet_when_allows("22:00-05:30", 0, false));
    assert_false(ledge__fleet_when_allows("22:00-05:30", 5 * 60 + 30, false));
    assert_false(ledge__fleet_when_allows("08:00-09:00", 7 * 60, false));
    assert_true(ledge__fleet_when_allows("08:00-09:00", 8 * 60, false));
    assert_false(ledge__fleet_when_allows("idle", 0, false));
    assert_true(ledge__fleet_when_allows("idle", 0, true));
    assert_true(ledge__fleet_is_when("00:00-23:59"));
    assert_false(ledge__fleet_is_when("24:00-01:00"));
    assert_false(ledge__fleet_is_when("tomorrow"));
}

static void polls_that_no_agent_sends_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"device_id\":\"\"}",
        "{\"device_id\":7}",
        "{\"device_id\":\"a/b\"}",
        "{\"device_id\":\"a\",\"models\":[{\"name\":\"n\"}]}",
        "{\"device_id\":\"a\",\"models\":[{\"name\":\"..\",\"version\":\"1\"}]}",
        "{\"device_id\":\"a\",\"models\":[{\"name\":\"n\",\"version\":\"1\",\"state\":\"on\"}]}",
        "{\"device_id\":\"a\",\"models\":{}}",
        "{\"device_id\":\"a\",\"queue\":{\"records\":-1}}",
        "{\"device_id\":\"a\",\"clock\":1.5}",
        "{\"device_id\":\"a\",\"labels\":{\"x y\":\"z\"}}",
        "{\"device_id\":\"a\"} x",
    };
    (void)state;
    static LedgePollRequest r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeError err = {0};
        assert_int_equal(ledge__poll_request_read(bad[i], strlen(bad[i]), &err, &r),
                         LEDGE_ERROR_FORMAT);
        assert_true(err.message[0] != '\0');
    }
    Text t;
    text_begin(&t);
    fputs("{\"device_id\":\"a\",\"models\":[", t.f);
    for (int i = 0; i < LEDGE_FLEET_MODELS + 1; i++)
        fprintf(t.f, "%s{\"name\":\"n\",\"version\":\"%d\"}", i ? "," : "", i);
    fputs("]}", t.f);
    fclose(t.f);
    LedgeError err = {0};
    assert_int_equal(ledge__poll_request_read(t.p, t.n, &err, &r), LEDGE_ERROR_FORMAT);
    free(t.p);
    char *big = calloc(1, LEDGE_FLEET_POLL_MAX + 1);
    assert_int_equal(ledge__poll_request_read(big, LEDGE_FLEET_POLL_MAX + 1, &err, &r),
                     LEDGE_ERROR_LIMIT);
    free(big);
}

static void a_batch_is_read_item_by_item_in_any_order(void **state)
{
    (void)state;
    const LedgeBatchHead head = {"cam", "cam-ff:7", 42, 1, 2, 3};
    LedgeTelemetryRecord r = {.seq = 9,
                              .timestamp = -1,
                              .model = "net",
                              .version = "1",
                              .latency_us = 77,
                              .confidence_ppm = 1000000,
                              .class_id = 3,
                              .request_hash = "ab12",
                              .drift = LEDGE_FLEET_DRIFT_HIGH},
                         got;
    LedgeFleetNote n = {.seq = 10, .timestamp = 5, .kind = "switched", .message = "1 to 2"}, note;
    LedgeBatchWriter w;
    LedgeBatchReader b;
    LedgeError err = {0};
    Text t;
    text_begin(&t);
    ledge__batch_write_head(&w, t.f, &head);
    ledge__batch_write_list(&w, LEDGE_BATCH_EVENTS);
    ledge__batch_write_note(&w, &n);
    ledge__batch_write_list(&w, LEDGE_BATCH_RECORDS);
    ledge__batch_write_record(&w, &r);
    r.seq = 11;
    r.confidence_ppm = -1;
    r.class_id = -1;
    r.error = true;
    ledge__batch_write_record(&w, &r);
    ledge__batch_write_end(&w);
    fclose(t.f);
    assert_int_equal(ledge__batch_open(&b, t.p, t.n, &err), LEDGE_OK);
    assert_string_equal(b.head.batch, "cam-ff:7");
    assert_int_equal(b.head.dropped_sampled, 3);
    ledge__batch_list(&b, LEDGE_BATCH_RECORDS);
    assert_true(ledge__batch_record(&b, &got));
    assert_int_equal(got.seq, 9);
    assert_int_equal(got.timestamp, -1);
    assert_int_equal(got.drift, LEDGE_FLEET_DRIFT_HIGH);
    assert_true(ledge__batch_record(&b, &got));
    assert_true(got.error);
    assert_int_equal(got.confidence_ppm, -1);
    assert_false(ledge__batch_record(&b, &got));
    assert_false(ledge__batch_record(&b, &got));
    assert_int_equal(ledge__batch_status(&b, &err), LEDGE_OK);
    ledge__batch_list(&b, LEDGE_BATCH_EVENTS);
    assert_true(ledge__batch_note(&b, &note));
    assert_string_equal(note.message, "1 to 2");
    assert_false(ledge__batch_note(&b, &note));
    ledge__batch_list(&b, LEDGE_BATCH_ALERTS);
    assert_false(ledge__batch_note(&b, &note));
    assert_int_equal(ledge__batch_status(&b, &err), LEDGE_OK);
    for (size_t cut = 0; cut < t.n; cut++)
        assert_int_equal(ledge__batch_open(&b, t.p, cut, &err), LEDGE_ERROR_FORMAT);
    free(t.p);
}

static void records_of_wrong_types_are_refused(void **state)
{
    static const char *const bad[] = {
        "7",
        "{}",
        "{\"model\":\"m\"}",
        "{\"model\":\"m\",\"version\":\"1\",\"seq\":\"1\"}",
        "{\"model\":\"m\",\"version\":\"1\",\"latency_us\":-1}",
        "{\"model\":\"m\",\"version\":\"1\",\"confidence_ppm\":1000001}",
        "{\"model\":\"m\",\"version\":\"1\",\"request_hash\":\"xyz\"}",
        "{\"model\":\"m';--\",\"version\":\"1\"}",
        "{\"model\":\"m\",\"version\":\"1\",\"drift\":\"some\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[300];
        LedgeError err = {0};
        LedgeBatchReader b;
        LedgeTelemetryRecord r;
        const int n = snprintf(text, sizeof text,
                               "{\"device_id\":\"d\",\"batch\":\"b\",\"records\":[%s]}", bad[i]);
        assert_int_equal(ledge__batch_open(&b, text, (size_t)n, &err), LEDGE_OK);
        ledge__batch_list(&b, LEDGE_BATCH_RECORDS);
        assert_false(ledge__batch_record(&b, &r));
        assert_int_equal(ledge__batch_status(&b, &err), LEDGE_ERROR_FORMAT);
    }
}

/* A release with one more file, as JSON. */
static LedgeStatus read_with(const char *file, LedgeError *err)
{
    char text[1000];
    LedgeRelease *r = NULL;
    const int n = snprintf(text, sizeof text,
                           "{\"name\":\"net\",\"version\":\"1\",\"created\":1,\"files\":[{\"role\":"
                           "\"model\",\"path\":\"m.onnx\",\"sha256\":\"%064d\",\"length\":1},{%s,"
                           "\"sha256\":\"%064d\"}]}",
                           1, file, 2);
    *err = (LedgeError){0};
    const LedgeStatus status = ledge__release_read(text, (size_t)n, err, &r);
    ledge__release_free(r);
    return status;
}

static void a_guest_has_one_name_and_a_bound(void **state)
{
    (void)state;
    LedgeError err;
    assert_int_equal(read_with("\"role\":\"guest\",\"path\":\"guest.lwm\",\"length\":67108864,"
                               "\"target\":{\"arch\":\"aarch64\"}",
                               &err),
                     LEDGE_OK);
    assert_int_equal(
        read_with("\"role\":\"guest\",\"path\":\"guest.lwm\",\"length\":67108865", &err),
        LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "more than 64 MB"));
    assert_int_equal(read_with("\"role\":\"guest\",\"path\":\"other.lwm\",\"length\":9", &err),
                     LEDGE_ERROR_FORMAT);
    /* The server would take it for one. */
    assert_int_equal(read_with("\"role\":\"labels\",\"path\":\"guest.lwm\",\"length\":9", &err),
                     LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "no guest"));
}

static void a_release_made_of_files_reads_back_with_its_chunks(void **state)
{
    (void)state;
    char path[] = "/tmp/ledge-release-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    char *bytes = malloc(200000);
    for (int i = 0; i < 200000; i++)
        bytes[i] = (char)(i * 7);
    assert_int_equal(write(fd, bytes, 200000), 200000);
    close(fd);
    LedgeRelease *r, *back;
    LedgeError err = {0};
    Text t;
    assert_int_equal(ledge__release_new("net", "1", &err, &r), LEDGE_OK);
    assert_int_equal(ledge__release_add(r, LEDGE_RELEASE_MODEL, "m.onnx", path, &err), LEDGE_OK);
    assert_int_equal(ledge__release_add(r, LEDGE_RELEASE_MODEL, "m.onnx", path, &err),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__release_add(r, LEDGE_RELEASE_GOLDEN, "../o.npy", path, &err),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__release_add(r, LEDGE_RELEASE_GOLDEN, "o.npy", path, &err), LEDGE_OK);
    r->cases[0] =
        (LedgeGoldenCase){.inputs = {1}, .n_inputs = 1, .outputs = {{1, 5}}, .n_outputs = 1};
    r->n_cases = 1;
    r->max_latency_ratio = 1500000;
    text_begin(&t);
    ledge__release_write(r, t.f);
    fclose(t.f);
    assert_int_equal(ledge__release_read(t.p, t.n, &err, &back), LEDGE_OK);
    char sha[LEDGE_SHA256_HEX];
    assert_int_equal(ledge__sha256_of(bytes, 200000, sha), LEDGE_OK);
    assert_string_equal(back->files[0].sha256, sha);
    assert_int_equal(back->files[0].n_chunks, 49);
    assert_memory_equal(back->files[0].chunks, r->files[0].chunks, 49 * LEDGE_SHA256_BYTES);
    assert_int_equal(back->cases[0].outputs[0].tolerance_ppm, 5);
    assert_int_equal(back->max_latency_ratio, 1500000);
    char *count = strstr(t.p, "\"length\":200000");
    count[10] = '9'; /* the chunks no longer fit */
    LedgeRelease *none = NULL;
    assert_int_equal(ledge__release_read(t.p, t.n, &err, &none), LEDGE_ERROR_FORMAT);
    for (size_t cut = 0; cut < t.n; cut += 3)
        assert_int_equal(ledge__release_read(t.p, cut, &err, &none), LEDGE_ERROR_FORMAT);
    assert_null(none);
    ledge__release_free(r);
    ledge__release_free(back);
    free(t.p);
    free(bytes);
    unlink(path);
}

static void deflate_comes_back_and_bombs_are_bounded(void **state)
{
    (void)state;
    LedgeError err = {0};
    char *zeros = calloc(1, 3000000), *packed, *back;
    size_t n, m;
    assert_int_equal(ledge__deflate(zeros, 3000000, &err, &packed, &n), LEDGE_OK);
    assert_true(n < 10000);
    assert_int_equal(ledge__inflate(packed, n, 2999999, &err, &back, &m), LEDGE_ERROR_LIMIT);
    assert_int_equal(ledge__inflate(packed, n, 3000000, &err, &back, &m), LEDGE_OK);
    assert_int_equal(m, 3000000);
    assert_memory_equal(back, zeros, m);
    free(back);
    for (size_t cut = 0; cut < n; cut += 97)
        assert_int_equal(ledge__inflate(packed, cut, 3000000, &err, &back, &m), LEDGE_ERROR_FORMAT);
    packed = realloc(packed, n + 1);
    packed[n] = 'x';
    assert_int_equal(ledge__inflate(packed, n + 1, 3000000, &err, &back, &m), LEDGE_ERROR_FORMAT);
    free(packed);
    assert_int_equal(ledge__deflate("", 0, &err, &packed, &n), LEDGE_OK);
    assert_int_equal(ledge__inflate(packed, n, 10, &err, &back, &m), LEDGE_OK);
    assert_int_equal(m, 0);
    free(back);
    free(packed);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_keep_to_their_letters),
        cmocka_unit_test(a_poll_comes_back_as_it_was_sent),
        cmocka_unit_test(an_answer_comes_back_as_it_was_sent),
        cmocka_unit_test(hours_may_go_over_midnight),
        cmocka_unit_test(polls_that_no_agent_sends_are_refused),
        cmocka_unit_test(a_batch_is_read_item_by_item_in_any_order),
        cmocka_unit_test(records_of_wrong_types_are_refused),
        cmocka_unit_test(a_guest_has_one_name_and_a_bound),
        cmocka_unit_test(a_release_made_of_files_reads_back_with_its_chunks),
        cmocka_unit_test(deflate_comes_back_and_bombs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
