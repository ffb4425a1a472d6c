/* Inference requests and answers as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "serve/oip.h"

typedef struct Sent {
    char *body;
    LedgeArena *arena;
    LedgeError err;
    LedgeOipRequest r;
    LedgeStatus status;
} Sent;

static Sent *send_bytes(const void *bytes, size_t size, size_t json)
{
    Sent *s = calloc(1, sizeof *s);
    s->body = malloc(size ? size : 1);
    memcpy(s->body, bytes, size);
    s->arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    s->status = ledge__oip_read(s->body, size, json, 1 << 20, NULL, s->arena, &s->err, &s->r);
    return s;
}

static Sent *send_text(const char *text)
{
    return send_bytes(text, strlen(text), SIZE_MAX);
}

static void sent_free(Sent *s)
{
    ledge__arena_free(s->arena);
    free(s->body);
    free(s);
}

static void a_json_request_becomes_tensors(void **state)
{
    (void)state;
    Sent *s =
        send_text("{\"id\":\"42\",\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":"
                  "true}},{\"name\":\"z\"}],\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],"
                  "\"datatype\":\"FP32\",\"data\":[[1,2],[3,4.5]]},{\"data\":[\"a\","
                  "\"\\u00e9\"],\"name\":\"s\",\"datatype\":\"BYTES\",\"shape\":[2]}],"
                  "\"parameters\":{\"binary_data_output\":true,\"timeout\":1500000,"
                  "\"other\":{}},\"more\":[1]}");
    assert_int_equal(s->status, LEDGE_OK);
    assert_string_equal(s->r.id, "42");
    assert_int_equal(s->r.n_inputs, 2);
    const LedgeTensor *x = &s->r.input[0].tensor;
    assert_true(x->type == LEDGE_FLOAT && x->rank == 2 && x->dims[1] == 2);
    assert_true(((const float *)x->data)[3] == 4.5f);
    const LedgeString *text = s->r.input[1].tensor.data;
    assert_int_equal(text[1].size, 2);
    assert_memory_equal(text[1].data, "\xc3\xa9", 2);
    assert_int_equal(s->r.n_outputs, 2);
    assert_true(s->r.output[0].binary && s->r.output[1].binary);
    assert_true(s->r.timeout == 1.5);
    sent_free(s);
}

static void binary_tensors_follow_the_json(void **state)
{
    (void)state;
    const char *json = "{\"inputs\":[{\"name\":\"x\",\"shape\":[3],\"datatype\":\"FP16\","
                       "\"parameters\":{\"binary_data_size\":6}},{\"name\":\"s\",\"shape\":[2],"
                       "\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":11}}]}";
    char body[512];
    const size_t n = strlen(json);
    memcpy(body, json, n);
    memcpy(body + n, "abcdef\2\0\0\0hi\1\0\0\0!", 17);
    Sent *s = send_bytes(body, n + 17, n);
    assert_int_equal(s->status, LEDGE_OK);
    assert_memory_equal(s->r.input[0].tensor.data, "abcdef", 6);
    assert_int_equal((uintptr_t)s->r.input[0].tensor.data % LEDGE_ALIGN, 0);
    const LedgeString *text = s->r.input[1].tensor.data;
    assert_true(text[0].size == 2 && text[1].size == 1 && text[1].data[0] == '!');
    sent_free(s);
    for (size_t cut = 0; cut < 17; cut++) { /* sizes that lie */
        s = send_bytes(body, n + cut, n);
        assert_int_not_equal(s->status, LEDGE_OK);
        sent_free(s);
    }
    body[n + 6] = 3;
    s = send_bytes(body, n + 17, n);
    assert_int_equal(s->status, LEDGE_ERROR_FORMAT);
    sent_free(s);
}

static void bad_requests_get_one_sentence(void **state)
{
    (void)state;
#define X "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\","
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"inputs\":[]}",
        "{\"inputs\":{}}",
        "{\"inputs\":[{}]}",
        X "\"shape\":[2]}]}",
        X "\"data\":[1]}]}",
        X "\"shape\":[2],\"data\":[1]}]}",
        X "\"shape\":[1],\"data\":[1,2]}]}",
        X "\"shape\":[-1],\"data\":[1]}]}",
        X "\"shape\":[1,1,1,1,1,1,1,1,1],\"data\":[1]}]}",
        X "\"shape\":[4611686018427387904,4],\"data\":[1]}]}",
        X "\"shape\":[1000000000],\"data\":[1]}]}",
        X "\"shape\":[100000],\"data\":[1]}]}",
        X "\"shape\":[1],\"data\":[\"1\"]}]}",
        X "\"shape\":[1],\"data\":1}]}",
        X "\"shape\":[1],\"data\":[1]}]} x",
        X "\"shape\":[1.5],\"data\":[1]}]}",
        X "\"shape\":[1],\"data\":[1],\"parameters\":{\"binary_data_size\":4}}]}",
        X "\"shape\":[1],\"parameters\":{\"binary_data_size\":4}}]}",
        X "\"shape\":[1],\"parameters\":{\"binary_data_size\":-4}}]}",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP99\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP16\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        X "\"shape\":[1],\"data\":[1]}],\"outputs\":[{}]}",
        X "\"shape\":[1],\"data\":[1]}],\"parameters\":{\"timeout\":-1}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Sent *s = send_text(bad[i]);
        if (s->status == LEDGE_OK || !s->err.message[0])
            fail_msg("taken: %s", bad[i]);
        sent_free(s);
    }
    Sent *s = send_bytes("{}", 2, 3); /* a JSON longer than the body */
    assert_int_equal(s->status, LEDGE_ERROR_FORMAT);
    sent_free(s);
}

static void an_answer_reads_as_the_protocol_wants(void **state)
{
    (void)state;
    float y[4] = {1, -0.1f, 1e10f, NAN};
    LedgeString text[1] = {{"a\"\xff", 3}};
    const LedgeTensor outputs[] = {{.type = LEDGE_FLOAT, .rank = 2, .dims = {1, 4}, .data = y},
                                   {.type = LEDGE_STRING, .rank = 1, .dims = {1}, .data = text}};
    const char *const names[] = {"y", "s"};
    const LedgeOipAnswer a = {.model = "m",
                              .version = "3",
                              .id = "i\n",
                              .names = names,
                              .outputs = outputs,
                              .n_outputs = 2,
                              .parameters = "\"ledge_cache\":\"hit\""};
    LedgeOipRequest *r = calloc(1, sizeof *r);
    LedgeText out;
    size_t json;
    ledge__text_init(&out, ledge__allocator_or_default(NULL));
    assert_int_equal(ledge__oip_write(r, &a, NULL, &out, &json), LEDGE_OK);
    ledge__text_put(&out, "", 1);
    assert_int_equal(json, 0);
    assert_string_equal(out.p,
                        "{\"model_name\":\"m\",\"model_version\":\"3\",\"id\":\"i\\u000a\","
                        "\"parameters\":{\"ledge_cache\":\"hit\"},\"outputs\":[{\"name\":\"y\","
                        "\"datatype\":\"FP32\",\"shape\":[1,4],\"data\":[1,-0.100000001,"
                        "1e+10,null]},{\"name\":\"s\",\"datatype\":\"BYTES\",\"shape\":[1],"
                        "\"data\":[\"a\\\"\xEF\xBF\xBD\"]}]}");
    ledge__text_free(&out);
    r->n_outputs = 1;
    strcpy(r->output[0].name, "s");
    r->output[0].binary = true;
    assert_int_equal(ledge__oip_write(r, &a, NULL, &out, &json), LEDGE_OK);
    assert_int_equal(out.n, json + 7);
    assert_memory_equal(out.p + json, "\3\0\0\0a\"\xff", 7);
    ledge__text_free(&out);
    strcpy(r->output[0].name, "none");
    assert_int_equal(ledge__oip_write(r, &a, NULL, &out, &json), LEDGE_ERROR_NOT_FOUND);
    ledge__text_free(&out);
    free(r);
}

static void floats_read_back_as_they_were(void **state)
{
    (void)state;
    uint64_t random = 77;
    LedgeText b;
    ledge__text_init(&b, ledge__allocator_or_default(NULL));
    for (int i = 0; i < 2000000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        const uint32_t bits = (uint32_t)(random >> 32);
        float v, back;
        memcpy(&v, &bits, 4);
        if (i % 2) /* where answers lie */
            v = (float)((double)bits / 4294967296.0 * (i % 4 == 1 ? 1 : 1e4));
        if (!isfinite(v))
            continue;
        b.n = 0;
        ledge__json_put_floats(&b, &v, 1);
        ledge__text_put(&b, "", 1);
        back = strtof(b.p, NULL);
        if (memcmp(&v, &back, 4) != 0)
            fail_msg("%.9g became %s", (double)v, b.p);
    }
    ledge__text_free(&b);
}

static void a_raw_body_fills_the_only_input(void **state)
{
    (void)state;
    float x[6] = {0};
    LedgeOipRequest *r = calloc(1, sizeof *r);
    LedgeTensorInfo info = {.name = "x", .type = LEDGE_FLOAT, .rank = 2, .dims = {-1, 3}};
    assert_int_equal(ledge__oip_read_raw((char *)x, sizeof x, &info, NULL, r), LEDGE_OK);
    assert_true(r->input[0].tensor.dims[0] == 2 && r->n_inputs == 1 && r->binary_default);
    assert_int_equal(ledge__oip_read_raw((char *)x, 20, &info, NULL, r), LEDGE_ERROR_SHAPE);
    info.dims[1] = -1;
    assert_int_equal(ledge__oip_read_raw((char *)x, 24, &info, NULL, r), LEDGE_ERROR_SHAPE);
    info.dims[0] = info.dims[1] = INT64_MAX;
    assert_int_equal(ledge__oip_read_raw((char *)x, 24, &info, NULL, r), LEDGE_ERROR_SHAPE);
    info.type = LEDGE_STRING;
    assert_int_equal(ledge__oip_read_raw((char *)x, 24, &info, NULL, r), LEDGE_ERROR_TYPE);
    free(r);
}

static void read_both_ways(const char *text, size_t size, size_t piece)
{
    static LedgeOipRequest a, b;
    LedgeError err_a = {0}, err_b = {0};
    LedgeOipAhead ahead = {.off = false};
    LedgeArena *arena = ledge__arena_new(NULL);
    char *one = malloc(size + 1), *other = malloc(size + 1);
    assert_true(one && other && arena);
    memcpy(one, text, size);
    memset(other, '7', size); /* must not be taken for the body */
    for (size_t have = 0; have < size;) {
        const size_t n = piece < size - have ? piece : size - have;
        memcpy(other + have, text + have, n);
        have += n;
        (void)ledge__oip_ahead(&ahead, other, have, size, 1 << 20);
    }
    const LedgeStatus s = ledge__oip_read(one, size, SIZE_MAX, 1 << 20, NULL, arena, &err_a, &a);
    assert_int_equal(ledge__oip_read(other, size, SIZE_MAX, 1 << 20, &ahead, arena, &err_b, &b), s);
    assert_string_equal(err_b.message, err_a.message);
    assert_string_equal(err_b.where, err_a.where);
    assert_int_equal(b.n_inputs, a.n_inputs);
    for (size_t i = 0; s == LEDGE_OK && i < a.n_inputs; i++) {
        const LedgeTensor *x = &a.input[i].tensor, *y = &b.input[i].tensor;
        assert_int_equal(ledge_tensor_bytes(x), ledge_tensor_bytes(y));
        if (x->type != LEDGE_STRING)
            assert_memory_equal(x->data, y->data, ledge_tensor_bytes(x));
        if (i == 0 && x->type == LEDGE_FLOAT && size > 600 && text[2] == 'i' && text[3] == 'd' &&
            piece < 64)
            assert_true(y->data == ahead.numbers.out && ahead.numbers.n > 0);
    }
    ledge__oip_ahead_free(&ahead);
    ledge__arena_free(arena);
    free(one);
    free(other);
}

/* Bodies of all sorts, also one byte at a time: what was read on the way changes nothing. */
static void reading_ahead_changes_nothing(void **state)
{
    (void)state;
#define HEAD                                                                                       \
    "{\"id\":\"x\",\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[120],\"data\":"
#define TEN "0.5,-1.25, 3,4e2,0.0000000001,-0,12345678901234567890,7.25e-3,100,0.125"
#define ALL                                                                                        \
    "[" TEN "," TEN ",\n" TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN "," TEN      \
    "," TEN
    static const char *const bodies[] = {
        HEAD ALL "]}]}",
        HEAD ALL "],\"parameters\":{}},{\"name\":\"b\",\"datatype\":\"INT8\",\"shape\":[2],"
                 "\"data\":[1,2]}],\"outputs\":[{\"name\":\"y\"}]}",
        HEAD "[[" TEN "],[" TEN "],[" TEN "],[" TEN "],[" TEN "],[" TEN "], [" TEN "],[" TEN
             "],[" TEN "],[" TEN "],[" TEN "],[" TEN "]]}]}",
        HEAD ALL ",5]}]}",                            /* one too many */
        HEAD "[" TEN "]}]}",                          /* too few */
        HEAD ALL ",]}]}",                             /* a comma too many */
        HEAD ALL "}]}",                               /* no end of the array */
        HEAD ALL,                                     /* cut */
        HEAD "[" TEN "," TEN ",1e39," TEN ALL "]}]}", /* out of range */
        HEAD "[" TEN "," TEN ",01," TEN ALL "]}]}",   /* no number */
        HEAD "[" TEN "," TEN ",true,false,nul]}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"INT8\",\"shape\":[9],\"data\":[1,-2,3,4.0,5,"
        "6e0,"
        "7,8,127]}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"UINT8\",\"shape\":[4],\"data\":[1,2,256,7]}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"BOOL\",\"shape\":[4],\"data\":[true,false,1,0]"
        "}]}",
        HEAD "\"text\"}]}",
        HEAD "7}]}",
        HEAD,
        "{\"inputs\":[{\"name\":\"a\",\"data\":" ALL "],\"datatype\":\"FP32\",\"shape\":[120]}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"x\\n\","
        "\"y\"]}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"BYTES\",\"shape\":[0],\"parameters\":"
        "{\"binary_data_size\":0}}]}",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP64\",\"shape\":[3],\"data\":[1,2,3]}]} x",
        "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"FP32\",\"shape\":[9223372036854775807,9],"
        "\"data\":[1]}]}",
        "[1]"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (size_t piece = 1; piece < 300; piece += piece < 8 ? 1 : 37)
            read_both_ways(bodies[i], strlen(bodies[i]), piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_request_becomes_tensors),
        cmocka_unit_test(binary_tensors_follow_the_json),
        cmocka_unit_test(bad_requests_get_one_sentence),
        cmocka_unit_test(an_answer_reads_as_the_protocol_wants),
        cmocka_unit_test(floats_read_back_as_they_were),
        cmocka_unit_test(a_raw_body_fills_the_only_input),
        cmocka_unit_test(reading_ahead_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
