/* The thread that reads bodies while they come in: what it gives is what reading them whole gives,
 * however they come, and whether they come at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "serve/read_ahead.h"

enum { COUNT = 40000, LIMIT = 1 << 22 };

static uint32_t next_random(uint32_t *r)
{
    return (*r = *r * 1664525 + 1013904223) >> 8;
}

static LedgeText body_of(const char *datatype, const char *last)
{
    LedgeText t = {0};
    uint32_t r = 7;
    ledge__text_printf(&t,
                       "{\"inputs\":[{\"name\":\"a\",\"datatype\":\"%s\",\"shape\":[%d],\"data\":[",
                       datatype, COUNT);
    for (int i = 0; i + 1 < COUNT; i++)
        if (strcmp(datatype, "UINT8") == 0)
            ledge__text_printf(&t, "%u,", next_random(&r) % 256);
        else
            ledge__text_printf(&t, "%.*g,", (int)(next_random(&r) % 17) + 1,
                               (double)next_random(&r) / 8e6 - 1);
    ledge__text_printf(&t, "%s]}]}", last);
    assert_false(t.failed);
    return t;
}

static LedgeReadAhead *new_reader(void)
{
    LedgeError err = {0};
    LedgeReadAhead *r = NULL;
    assert_int_equal(ledge__read_ahead_new(LIMIT, &err, &r), LEDGE_OK);
    return r;
}

/* Sends pieces of at most `most` bytes; returns whether anything was read on the way. */
static bool send_and_compare(LedgeReadAhead *r, const LedgeText *t, size_t most, uint32_t *random)
{
    static LedgeOipRequest a, b;
    LedgeError err_a = {0}, err_b = {0};
    LedgeOipAhead ahead = {.off = false};
    LedgeArena *arena = ledge__arena_new(NULL);
    char *one = malloc(t->n), *other = malloc(t->n);
    assert_true(one && other && arena);
    memcpy(one, t->p, t->n);
    assert_true(ledge__read_ahead_begin(r, &ahead, other, t->n));
    for (size_t have = 0; have < t->n;) {
        size_t n = next_random(random) % most + 1;
        n = n < t->n - have ? n : t->n - have;
        memcpy(other + have, t->p + have, n);
        have += n;
        ledge__read_ahead_more(r, &ahead, have);
    }
    if (next_random(random) % 2)
        ledge__read_ahead_help(r, &ahead);
    ledge__read_ahead_end(r, &ahead);
    const LedgeStatus s = ledge__oip_read(one, t->n, SIZE_MAX, LIMIT, NULL, arena, &err_a, &a);
    assert_int_equal(ledge__oip_read(other, t->n, SIZE_MAX, LIMIT, &ahead, arena, &err_b, &b), s);
    assert_string_equal(err_b.message, err_a.message);
    const LedgeTensor *x = &a.input[0].tensor, *y = &b.input[0].tensor;
    if (s == LEDGE_OK)
        assert_memory_equal(x->data, y->data, ledge_tensor_bytes(x));
    const bool was_read = ahead.numbers.n >= COUNT - 2 && (s || y->data == ahead.numbers.out);
    ledge__oip_ahead_free(&ahead);
    ledge__arena_free(arena);
    free(one);
    free(other);
    return was_read;
}

static void bodies_in_pieces_are_read_on_their_way(void **state)
{
    (void)state;
    static const char *const datatypes[] = {"FP32", "UINT8", "FP64"};
    static const char *const lasts[] = {"7", "7, 8", "0x7"};
    LedgeReadAhead *r = new_reader();
    uint32_t random = 1;
    for (int i = 0; i < 9; i++) {
        LedgeText t = body_of(datatypes[i % 3], lasts[i / 3]);
        for (size_t most = 1000; most < 1000000; most *= 10)
            assert_true(send_and_compare(r, &t, most, &random));
        ledge__text_free(&t);
    }
    ledge__read_ahead_free(r);
}

/* Whatever stands in the middle of it: brackets, damage, the end with other things behind. */
static void what_is_no_row_of_numbers_is_read_alike(void **state)
{
    (void)state;
    static const char *const odd[] = {"],[",  "]",  "[",     "x",     " , ",        ",,",
                                      "-",    "\"", "\\",    "true,", "1e999",      "]]]]",
                                      "]},{", "],", "],\"b", "\n \t", "0000000000", ":"};
    LedgeReadAhead *r = new_reader();
    uint32_t random = 3;
    for (int i = 0; i < 120; i++) {
        LedgeText t = body_of(i % 3 ? "FP32" : "UINT16", i % 7 ? "7" : "7, 8, 9");
        const char *what = odd[next_random(&random) % (sizeof odd / sizeof *odd)];
        const size_t n = i % 8 ? strlen(what) : 0, first = 70;
        const size_t places[] = {next_random(&random) % (t.n - first - 20) + first, 4090, 16384,
                                 t.n - 20, 40000};
        memcpy(t.p + places[i % 5], what, n);
        (void)send_and_compare(r, &t, i % 2 ? 50000 : 1000000, &random);
        ledge__text_free(&t);
    }
    ledge__read_ahead_free(r);
}

/* Rows of rows go in order, and are all read. */
static void arrays_of_arrays_are_read_on_their_way(void **state)
{
    (void)state;
    LedgeReadAhead *r = new_reader();
    uint32_t random = 5;
    for (int row = 8; row <= COUNT; row *= 5) {
        LedgeText t = body_of("FP32", "7");
        int commas = 0;
        char *data = strstr(t.p, "\"data\":[");
        assert_non_null(data);
        LedgeText nested = {0};
        ledge__text_put(&nested, t.p, (size_t)(data + 8 - t.p));
        ledge__text_add(&nested, "[");
        for (const char *p = data + 8; p < t.p + t.n; p++) {
            if (*p == ',' && ++commas % row == 0)
                ledge__text_add(&nested, "],[");
            else if (*p == ']' && p[1] == '}')
                ledge__text_add(&nested, "]]"), commas = -COUNT;
            else
                ledge__text_put(&nested, p, 1);
        }
        assert_false(nested.failed);
        assert_true(send_and_compare(r, &nested, 50000, &random));
        ledge__text_free(&nested);
        ledge__text_free(&t);
    }
    ledge__read_ahead_free(r);
}

static void one_body_at_a_time(void **state)
{
    (void)state;
    LedgeReadAhead *r = new_reader();
    LedgeText t = body_of("FP32", "7");
    LedgeOipAhead first = {.off = false}, second = {.off = false};
    assert_true(ledge__read_ahead_begin(r, &first, t.p, t.n));
    assert_false(ledge__read_ahead_begin(r, &second, t.p, t.n));
    ledge__read_ahead_more(r, &second, t.n); /* nobody's */
    ledge__read_ahead_end(r, &second);
    assert_null(second.numbers.out);
    ledge__read_ahead_more(r, &first, t.n / 2); /* the rest never comes */
    ledge__read_ahead_end(r, &first);
    assert_true(first.numbers.n > 0 && first.numbers.n < COUNT);
    assert_true(ledge__read_ahead_begin(r, &second, t.p, t.n));
    ledge__read_ahead_more(r, &second, t.n);
    ledge__read_ahead_drop(r, &second); /* whatever there is of it */
    ledge__read_ahead_drop(r, &second);
    ledge__oip_ahead_free(&second);
    assert_true(ledge__read_ahead_begin(r, &second, t.p, t.n));
    ledge__read_ahead_end(r, &second);
    ledge__read_ahead_free(r);
    ledge__oip_ahead_free(&first);
    ledge__oip_ahead_free(&second);
    ledge__text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_in_pieces_are_read_on_their_way),
        cmocka_unit_test(what_is_no_row_of_numbers_is_read_alike),
        cmocka_unit_test(arrays_of_arrays_are_read_on_their_way),
        cmocka_unit_test(one_body_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
