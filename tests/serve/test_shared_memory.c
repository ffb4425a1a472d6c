/* Regions of shared memory: what is taken, what is refused, and memory that goes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/oip.h"
#include "serve/server_state.h"

enum { SIZE = 64 * 1024 };

static char key[64]; /* of this process's object */

static void make_object(size_t size)
{
    snprintf(key, sizeof key, "/ledge-test-%ld", (long)getpid());
    const int fd = shm_open(key, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void resize_object(size_t size)
{
    const int fd = shm_open(key, O_RDWR, 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void fill_object(size_t at, const void *bytes, size_t n)
{
    const int fd = shm_open(key, O_RDWR, 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
    close(fd);
}

static int set_up(void **state)
{
    LedgeRegions *r = NULL;
    make_object(SIZE);
    assert_int_equal(ledge__regions_new("/ledge-test-", NULL, &r), LEDGE_OK);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    ledge__regions_free(*state);
    assert_int_equal(shm_unlink(key), 0); /* nobody else has */
    return 0;
}

static LedgeStatus add(LedgeRegions *r, const char *name, const char *of, uint64_t offset,
                       uint64_t bytes, LedgeError *err)
{
    LedgeRegionInfo info = {.offset = offset, .bytes = bytes};
    assert_true(strlen(name) < sizeof info.name && strlen(of) < sizeof info.key);
    strcpy(info.name, name);
    strcpy(info.key, of);
    return ledge__regions_add(r, &info, err);
}

static void count(void *arg, const LedgeRegionInfo *info)
{
    (void)info;
    (*(int *)arg)++;
}

static void bytes_go_in_and_out_at_any_offset(void **state)
{
    LedgeRegions *r = *state;
    LedgeRegion *region = NULL;
    char got[6] = "";
    fill_object(5000 + 7, "hello", 6);
    assert_int_equal(add(r, "a", key, 5000, 1000, NULL), LEDGE_OK); /* within a page */
    assert_int_equal(ledge__region_find(r, "a", 7, 6, true, NULL, &region), LEDGE_OK);
    assert_int_equal(ledge__region_read(region, 7, got, 6, NULL), LEDGE_OK);
    assert_string_equal(got, "hello");
    assert_int_equal(ledge__region_write(region, 994, "there", 6, NULL), LEDGE_OK);
    ledge__region_unref(region);
    assert_int_equal(add(r, "b", key + 1, 5994, 6, NULL), LEDGE_OK); /* the key without a slash */
    assert_int_equal(ledge__region_find(r, "b", 0, 6, false, NULL, &region), LEDGE_OK);
    assert_int_equal(ledge__region_read(region, 0, got, 6, NULL), LEDGE_OK);
    assert_string_equal(got, "there");
    ledge__region_unref(region);
}

static void names_and_keys_that_are_none_are_refused(void **state)
{
    LedgeRegions *r = *state;
    char longest[LEDGE_REGION_NAME];
    memset(longest, 'x', LEDGE_REGION_NAME - 1);
    longest[LEDGE_REGION_NAME - 1] = '\0';
    const struct {
        const char *name, *key;
        const char *says;
    } bad[] = {{"", key, "name"},
               {"a\nb", key, "name"},
               {"a", "", "key"},
               {"a", "/", "key"},
               {"a", "/..", "key"},
               {"a", ".", "key"},
               {"a", "//ledge-test-1", "key"},
               {"a", "/ledge-test-/../../etc/passwd", "key"},
               {"a", "/ledge-test-x/y", "key"},
               {"a", "/other", "must begin with \"ledge-test-\""},
               {"a", "/ledge-test-none", "cannot be opened"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeError err = {0};
        assert_int_not_equal(add(r, bad[i].name, bad[i].key, 0, 10, &err), LEDGE_OK);
        assert_non_null(strstr(err.message, bad[i].says));
    }
    assert_int_equal(add(r, longest, key, 0, 10, NULL), LEDGE_OK);
    LedgeRegions *none = NULL;
    LedgeError err = {0};
    assert_int_equal(ledge__regions_new("/a/b", &err, &none), LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__regions_new("/", &err, &none), LEDGE_OK); /* any key */
    assert_int_equal(add(none, "a", key, 0, 10, &err), LEDGE_OK);
    ledge__regions_free(none);
}

static void sizes_that_lie_are_refused(void **state)
{
    LedgeRegions *r = *state;
    const uint64_t pairs[][2] = {
        {0, 0},    {0, SIZE + 1},          {SIZE, 1},        {SIZE + 1, 1},
        {1, SIZE}, {INT64_MAX, INT64_MAX}, {INT64_MAX, 100}, {UINT64_MAX, UINT64_MAX}};
    LedgeRegion *region = NULL;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        LedgeError err = {0};
        assert_int_not_equal(add(r, "a", key, pairs[i][0], pairs[i][1], &err), LEDGE_OK);
        assert_true(err.message[0]);
    }
    assert_int_equal(add(r, "a", key, 100, 200, NULL), LEDGE_OK);
    const uint64_t beyond[][2] = {{0, 201}, {200, 1}, {201, 0}, {1, UINT64_MAX}, {UINT64_MAX, 1}};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        assert_int_equal(
            ledge__region_find(r, "a", beyond[i][0], beyond[i][1], false, NULL, &region),
            LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__region_find(r, "b", 0, 1, false, NULL, &region), LEDGE_ERROR_NOT_FOUND);
    assert_int_equal(ledge__region_find(r, "a", 200, 0, false, NULL, &region), LEDGE_OK);
    ledge__region_unref(region);
}

static void what_is_no_memory_is_refused(void **state)
{
    char path[96];
    LedgeError err = {0};
    snprintf(path, sizeof path, "/dev/shm%s-pipe", key);
    if (mkfifo(path, 0600) != 0)
        skip(); /* objects lie elsewhere here */
    snprintf(path, sizeof path, "%s-pipe", key);
    const LedgeStatus s = add(*state, "a", path, 0, 10, &err);
    shm_unlink(path);
    assert_int_equal(s, LEDGE_ERROR_ARGUMENT);
}

static void there_is_an_end_to_regions_and_bytes(void **state)
{
    LedgeRegions *r = *state;
    LedgeError err = {0};
    char name[16];
    int n = 0;
    for (int i = 0; i < LEDGE_REGIONS; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(add(r, name, key, 0, 10, NULL), LEDGE_OK);
    }
    assert_int_equal(add(r, "more", key, 0, 10, &err), LEDGE_ERROR_LIMIT);
    assert_int_equal(add(r, "r5", key, 0, 10, &err), LEDGE_ERROR_ARGUMENT); /* there already */
    ledge__regions_remove(r, "r5");
    ledge__regions_remove(r, "r5");
    assert_false(ledge__regions_visit(r, "r5", count, &n));
    assert_true(ledge__regions_visit(r, NULL, count, &n));
    assert_int_equal(n, LEDGE_REGIONS - 1);
    ledge__regions_remove(r, NULL);
    n = 0;
    assert_true(ledge__regions_visit(r, NULL, count, &n));
    assert_int_equal(n, 0);
    resize_object((size_t)LEDGE_REGION_BYTES + 1); /* sparse */
    assert_int_equal(add(r, "large", key, 0, LEDGE_REGION_BYTES + 1, &err), LEDGE_ERROR_LIMIT);
    assert_int_equal(add(r, "large", key, 0, LEDGE_REGION_BYTES - 9, &err), LEDGE_OK);
    assert_int_equal(add(r, "a", key, 0, 10, &err), LEDGE_ERROR_LIMIT);
    assert_int_equal(add(r, "a", key, 0, 9, &err), LEDGE_OK);
}

static void a_region_in_use_outlives_its_name(void **state)
{
    LedgeRegions *r = *state;
    LedgeRegion *region = NULL;
    char got[4] = "";
    fill_object(0, "abc", 4);
    assert_int_equal(add(r, "a", key, 0, 4, NULL), LEDGE_OK);
    assert_int_equal(ledge__region_find(r, "a", 0, 4, true, NULL, &region), LEDGE_OK);
    ledge__regions_remove(r, "a");
    assert_int_equal(ledge__region_read(region, 0, got, 4, NULL), LEDGE_OK);
    assert_string_equal(got, "abc");
    ledge__region_unref(region);
}

/* Again and again, by the same thread: the signal must not stay blocked. */
static void memory_that_is_cut_off_is_an_error(void **state)
{
    LedgeRegions *r = NULL;
    LedgeRegion *region = NULL;
    char *got = malloc(SIZE);
    (void)state;
    /* A table of its own, since cmocka takes the signal for each test. */
    assert_int_equal(ledge__regions_new("/", NULL, &r), LEDGE_OK);
    assert_int_equal(add(r, "a", key, 0, SIZE, NULL), LEDGE_OK);
    assert_int_equal(ledge__region_find(r, "a", 0, SIZE, true, NULL, &region), LEDGE_OK);
    for (int i = 0; i < 3; i++) {
        LedgeError err = {0};
        resize_object(100);
        assert_int_equal(ledge__region_read(region, 0, got, SIZE, &err), LEDGE_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "is gone"));
        assert_int_equal(ledge__region_write(region, SIZE - 10, got, 10, &err),
                         LEDGE_ERROR_ARGUMENT);
        assert_int_equal(ledge__region_read(region, 0, got, 100, NULL), LEDGE_OK);
        resize_object(SIZE);
        assert_int_equal(ledge__region_read(region, 0, got, SIZE, NULL), LEDGE_OK);
    }
    ledge__region_unref(region);
    ledge__regions_free(r);
    free(got);
}

/* ---- requests ---- */

typedef struct Sent {
    char body[1024];
    LedgeArena *arena;
    LedgeError err;
    LedgeOipRequest r;
    LedgeStatus status;
} Sent;

static Sent *ask(LedgeRegions *regions, size_t limit, const char *text)
{
    Sent *s = calloc(1, sizeof *s);
    snprintf(s->body, sizeof s->body, "%s", text);
    s->arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    s->status =
        ledge__oip_read(s->body, strlen(text), SIZE_MAX, limit, NULL, s->arena, &s->err, &s->r);
    if (s->status == LEDGE_OK)
        s->status = ledge__oip_fetch(&s->r, regions, limit, s->arena, &s->err);
    return s;
}

static void sent_free(Sent *s)
{
    ledge__oip_release(&s->r);
    ledge__arena_free(s->arena);
    free(s);
}

#define INPUT(shape, type, parameters)                                                             \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":" shape ",\"datatype\":\"" type                        \
    "\",\"parameters\":{" parameters "}}]}"
#define PLACE(size, offset)                                                                        \
    "\"shared_memory_region\":\"a\",\"shared_memory_byte_size\":" size                             \
    ",\"shared_memory_offset\":" offset

static void inputs_are_copies(void **state)
{
    LedgeRegions *r = *state;
    const float x[3] = {1, 2, 4};
    const char strings[] = "\2\0\0\0hi\1\0\0\0!";
    fill_object(12, x, sizeof x);
    fill_object(24, strings, 11);
    fill_object(40, "\0\7", 2);
    assert_int_equal(add(r, "a", key, 0, 64, NULL), LEDGE_OK);
    Sent *s = ask(r, 1 << 20, INPUT("[3]", "FP32", PLACE("12", "12")));
    assert_int_equal(s->status, LEDGE_OK);
    const LedgeTensor *t = &s->r.input[0].tensor;
    resize_object(1);
    assert_true(t->bytes == 12 && (uintptr_t)t->data % LEDGE_ALIGN == 0);
    assert_memory_equal(t->data, x, sizeof x);
    sent_free(s);
    resize_object(SIZE);
    fill_object(24, strings, 11);
    fill_object(40, "\0\7", 2);
    s = ask(r, 1 << 20, INPUT("[2]", "BYTES", PLACE("11", "24")));
    assert_int_equal(s->status, LEDGE_OK);
    assert_memory_equal(((const LedgeString *)s->r.input[0].tensor.data)[0].data, "hi", 2);
    sent_free(s);
    s = ask(r, 1 << 20, INPUT("[2]", "BOOL", PLACE("2", "40")));
    assert_int_equal(s->status, LEDGE_OK);
    assert_memory_equal(s->r.input[0].tensor.data, "\0\1", 2);
    sent_free(s);
}

static void requests_that_lie_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {INPUT("[3]", "FP32", PLACE("11", "0")), "not what shape and datatype need"},
        {INPUT("[3]", "FP32", PLACE("12", "53")), "reach beyond the region's 64 bytes"},
        {INPUT("[3]", "FP32", PLACE("12", "-1")), "below 0"},
        {INPUT("[3]", "FP32", PLACE("-12", "0")), "below 0"},
        {INPUT("[3]", "FP32", PLACE("12.5", "0")), ""},
        {INPUT("[3]", "FP32", PLACE("12", "9223372036854775807")), "reach beyond"},
        {INPUT("[3]", "FP32", PLACE("9223372036854775807", "0")), "larger than this server takes"},
        {INPUT("[3]", "FP32", "\"shared_memory_region\":\"a\""), "needs \"shared_memory_region\""},
        {INPUT("[3]", "FP32", "\"shared_memory_byte_size\":12"), "needs \"shared_memory_region\""},
        {INPUT("[3]", "FP32", "\"shared_memory_offset\":0"), "needs \"shared_memory_region\""},
        {INPUT("[3]", "FP32", "\"shared_memory_region\":\"b\",\"shared_memory_byte_size\":12"),
         "no region of shared memory is registered as \"b\""},
        {INPUT("[3]", "FP32", PLACE("12", "0") ",\"binary_data_size\":0"), "needs either"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[3],\"datatype\":\"FP32\",\"data\":[1,2,3],"
         "\"parameters\":{" PLACE("12", "0") "}}]}",
         "needs either"},
        {INPUT("[9]", "BYTES", PLACE("12", "0")), "too few for so many strings"},
        {INPUT("[2000000]", "INT8", PLACE("12", "0")), "larger than this server takes"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}],"
         "\"outputs\":[{\"name\":\"y\",\"parameters\":{" PLACE("60", "10") "}}]}",
         "reach beyond"},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}],"
         "\"outputs\":[{\"name\":\"y\",\"parameters\":{\"shared_memory_region\":\"a\"}}]}",
         "needs \"shared_memory_region\""},
    };
    LedgeRegions *r = *state;
    assert_int_equal(add(r, "a", key, 0, 64, NULL), LEDGE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Sent *s = ask(r, 1 << 20, bad[i].text);
        if (s->status == LEDGE_OK || !strstr(s->err.message, bad[i].says))
            fail_msg("%s: %d %s", bad[i].text, s->status, s->err.message);
        sent_free(s);
    }
}

static void many_inputs_are_bounded_together(void **state)
{
    LedgeRegions *r = *state;
    const char *two =
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[64],\"datatype\":\"INT8\","
        "\"parameters\":{" PLACE("64", "0") "}},{\"name\":\"y\",\"shape\":[64],"
                                            "\"datatype\":\"INT8\",\"parameters\":{" PLACE(
                                                "64", "0") "}}]}";
    assert_int_equal(add(r, "a", key, 0, 64, NULL), LEDGE_OK);
    Sent *s = ask(r, 128, two);
    assert_int_equal(s->status, LEDGE_OK);
    sent_free(s);
    s = ask(r, 127, two);
    assert_int_equal(s->status, LEDGE_ERROR_LIMIT);
    sent_free(s);
}

static void outputs_go_where_they_were_asked_to(void **state)
{
    LedgeRegions *r = *state;
    LedgeText out = {0};
    LedgeRegion *region = NULL;
    LedgeError err = {0};
    size_t json = 1;
    float y[2] = {3, 5}, got[2];
    const char *names[] = {"y"};
    const LedgeTensor t = {
        .type = LEDGE_FLOAT, .rank = 1, .dims = {2}, .data = y, .bytes = sizeof y};
    const LedgeOipAnswer a = {
        .model = "m", .version = "1", .id = "", .names = names, .outputs = &t, .n_outputs = 1};
    assert_int_equal(add(r, "a", key, 0, 64, NULL), LEDGE_OK);
    Sent *s = ask(r, 1 << 20,
                  "{\"outputs\":[{\"name\":\"y\",\"parameters\":{" PLACE(
                      "9", "16") "}}],"
                                 "\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\","
                                 "\"data\":[1]}]}");
    assert_int_equal(s->status, LEDGE_OK);
    assert_int_equal(ledge__oip_write(&s->r, &a, &err, &out, &json), LEDGE_OK);
    assert_non_null(strstr(out.p, "\"shape\":[2],\"parameters\":{\"shared_memory_region\":\"a\","
                                  "\"shared_memory_byte_size\":8,\"shared_memory_offset\":16}}]}"));
    assert_int_equal(json, 0);
    assert_int_equal(ledge__region_find(r, "a", 16, 8, false, NULL, &region), LEDGE_OK);
    assert_int_equal(ledge__region_read(region, 16, got, 8, NULL), LEDGE_OK);
    ledge__region_unref(region);
    assert_memory_equal(got, y, sizeof y);
    s->r.output[0].shared->bytes = 7;
    assert_int_equal(ledge__oip_write(&s->r, &a, &err, &out, &json), LEDGE_ERROR_SHAPE);
    ledge__text_free(&out);
    sent_free(s);
}

static void a_body_to_register_is_read(void **state)
{
    (void)state;
    LedgeRegionInfo info = {.name = "kept"};
    LedgeError err = {0};
    const char *good = " {\"key\":\"/a\",\"offset\":7,\"byte_size\":9223372036854775807,\"x\":[]}";
    assert_int_equal(ledge__oip_read_region(good, strlen(good), &err, &info), LEDGE_OK);
    assert_string_equal(info.key, "/a");
    assert_true(info.offset == 7 && info.bytes == INT64_MAX && strcmp(info.name, "kept") == 0);
    const char *bad[] = {"",
                         "[]",
                         "{}",
                         "{\"key\":\"a\"}",
                         "{\"byte_size\":1}",
                         "{\"key\":\"a\",\"byte_size\":-1}",
                         "{\"key\":\"a\",\"byte_size\":\"1\"}",
                         "{\"key\":\"a\",\"byte_size\":1.5}",
                         "{\"key\":\"a\\u0000b\",\"byte_size\":1}",
                         "{\"key\":\"a\",\"byte_size\":1,\"offset\":-1}",
                         "{\"key\":\"a\",\"byte_size\":1} x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ledge__oip_read_region(bad[i], strlen(bad[i]), &err, &info) == LEDGE_OK)
            fail_msg("%s", bad[i]);
    char *large = calloc(1, 5000);
    memset(large, ' ', 5000);
    memcpy(large + 4900, good, strlen(good));
    assert_int_equal(ledge__oip_read_region(large, 5000, &err, &info), LEDGE_ERROR_LIMIT);
    free(large);
}

static void only_the_own_machine_is_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is;
    } all[] = {{"127.0.0.1", true},
               {"127.9.8.7", true},
               {"128.0.0.1", false},
               {"10.0.0.127", false},
               {"0.0.0.0", false},
               {"::1", true},
               {"::ffff:127.0.0.1", true},
               {"::ffff:10.0.0.1", false},
               {"::2", false},
               {"fe80::1", false},
               {"::", false}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct sockaddr_in four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        const bool is_four = inet_pton(AF_INET, all[i].address, &four.sin_addr) == 1;
        if (!is_four)
            assert_int_equal(inet_pton(AF_INET6, all[i].address, &six.sin6_addr), 1);
        const void *address = is_four ? (const void *)&four : (const void *)&six;
        assert_int_equal(ledge__is_loopback(address), all[i].is);
    }
    assert_false(ledge__is_loopback(NULL));
    assert_false(ledge__is_loopback(&(struct sockaddr){.sa_family = AF_UNIX}));
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TABLE(bytes_go_in_and_out_at_any_offset),
        WITH_TABLE(names_and_keys_that_are_none_are_refused),
        WITH_TABLE(sizes_that_lie_are_refused),
        WITH_TABLE(what_is_no_memory_is_refused),
        WITH_TABLE(there_is_an_end_to_regions_and_bytes),
        WITH_TABLE(a_region_in_use_outlives_its_name),
        WITH_TABLE(memory_that_is_cut_off_is_an_error),
        WITH_TABLE(inputs_are_copies),
        WITH_TABLE(requests_that_lie_are_refused),
        WITH_TABLE(many_inputs_are_bounded_together),
        WITH_TABLE(outputs_go_where_they_were_asked_to),
        cmocka_unit_test(a_body_to_register_is_read),
        cmocka_unit_test(only_the_own_machine_is_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
