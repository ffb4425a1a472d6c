/* Fuzz target of the reader that takes JSON arrays of numbers straight into tensors.
 *
 * The first byte picks the element type, the rest is JSON. Whatever it is: nothing is written past
 * the room that was given, a fault has a sentence, what is read as numbers is what jansson, another
 * reader of JSON, finds there, and singles are these rounded. */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 300 };

/* The numbers of nested arrays, in order, against `v`. */
static void compare(const json_t *o, const double *v, size_t n, size_t *at)
{
    if (json_is_array(o)) {
        for (size_t i = 0; i < json_array_size(o); i++)
            compare(json_array_get(o, i), v, n, at);
        return;
    }
    const double want = json_is_true(o) ? 1 : json_is_false(o) ? 0 : json_real_value(o);
    check(*at < n && (json_is_boolean(o) || json_is_real(o)));
    const double got = v[(*at)++];
    check(got == want);
}

/* Bytes and words are taken where all numbers are such, and are these. */
static void whole_numbers(const char *text, size_t size, const double *v, size_t n)
{
    uint8_t bytes[ROOM];
    int32_t words[ROOM];
    bool all_bytes = true, all_words = true;
    LedgeJson j, k;
    ledge__json_begin(&j, text, size);
    const size_t m = ledge__json_numbers(&j, LEDGE_UINT8, bytes, ROOM);
    ledge__json_begin(&k, text, size);
    const size_t l = ledge__json_numbers(&k, LEDGE_INT32, words, ROOM);
    for (size_t i = 0; i < n; i++) {
        all_bytes = all_bytes && v[i] >= 0 && v[i] <= UINT8_MAX && v[i] == floor(v[i]);
        all_words = all_words && v[i] >= INT32_MIN && v[i] <= INT32_MAX && v[i] == floor(v[i]);
    }
    check(!j.bad == all_bytes && (j.bad || m == n));
    check(!k.bad == all_words && (k.bad || l == n));
    for (size_t i = 0; i < n; i++)
        check((j.bad || bytes[i] == v[i]) && (k.bad || words[i] == v[i]));
}

/* Pieces between commas hold what the whole, which gave v, has there; until one is no such piece.
 */
static void in_pieces(const char *text, size_t size, const double *v, size_t n)
{
    double out[ROOM];
    const char *p = memchr(text, '[', size), *end;
    for (size_t at = 0, step = 1; p++ && at < ROOM; at += step, step = step % 37 + 9, p = end) {
        end = p - 1;
        for (size_t i = 0; end && i < step; i++)
            end = memchr(end + 1, ',', (size_t)(text + size - end) - 1);
        if (!end || step > ROOM - at)
            break;
        check(ledge__json_commas(p, (size_t)(end - p)) == step - 1);
        if (!ledge__json_numbers_between(p, end, text + size, LEDGE_DOUBLE, out, at, step))
            break;
        check(at + step <= n && memcmp(out + at, v + at, step * sizeof *v) == 0);
    }
}

static void whole_text(const char *text, size_t size)
{
    double v[ROOM];
    size_t at = 0;
    LedgeJson j;
    ledge__json_begin(&j, text, size);
    const size_t n = ledge__json_numbers(&j, LEDGE_DOUBLE, v, ROOM);
    ledge__json_finish(&j);
    check(n <= ROOM);
    size_t blanks = 0;
    while (blanks < size && strchr(" \t\r\n", text[blanks]) && text[blanks])
        blanks++;
    if (blanks < size && text[blanks] == '[')
        in_pieces(text + blanks, size - blanks, v, n);
    if (j.bad)
        return;
    float narrow[ROOM];
    ledge__json_begin(&j, text, size);
    const size_t m = ledge__json_numbers(&j, LEDGE_FLOAT, narrow, ROOM);
    check(j.bad || m == n);
    for (size_t i = 0; !j.bad && i < n; i++)
        check(narrow[i] == (float)v[i]);
    whole_numbers(text, size, v, n);
    json_t *o = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, NULL);
    if (o) { /* it refuses exponents that ours rounds to 0 */
        compare(o, v, n, &at);
        check(at == n);
    }
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const LedgeType types[] = {LEDGE_FLOAT,  LEDGE_DOUBLE, LEDGE_BOOL,  LEDGE_INT8,
                                      LEDGE_INT16,  LEDGE_INT32,  LEDGE_INT64, LEDGE_UINT8,
                                      LEDGE_UINT16, LEDGE_UINT32, LEDGE_UINT64};
    LedgeError err = {0};
    LedgeJson j;
    if (size < 2)
        return 0;
    const LedgeType type = types[data[0] % (sizeof types / sizeof *types)];
    const size_t room = data[1], item = ledge_type_bits(type) / 8;
    const char *text = (const char *)data + 2;
    uint8_t *out = malloc(room * item + 1); /* of just this size, for the sanitizer */
    check(out != NULL);
    ledge__json_begin(&j, text, size - 2);
    const size_t n = ledge__json_numbers(&j, type, out, room);
    check(n <= room);
    const LedgeStatus s = ledge__json_status(&j, "fuzz", &err);
    check(s == err.status && (s == LEDGE_OK || err.message[0]));
    for (size_t i = 0; !j.bad && i < n; i++)
        check((type != LEDGE_FLOAT || isfinite(((float *)(void *)out)[i])) &&
              (type != LEDGE_BOOL || out[i] <= 1));
    free(out);
    ledge__json_begin(&j, text, size - 2);
    ledge__json_skip(&j);
    check(j.p <= j.end);
    whole_text(text, size - 2);
    return 0;
}
