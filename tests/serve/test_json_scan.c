/* The pull reader: numbers to the last bit, strings, and every kind of damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/json_quick.h"

static LedgeJson begin(const char *text)
{
    LedgeJson j;
    ledge__json_begin(&j, text, strlen(text));
    return j;
}

static void numbers_are_the_nearest_doubles(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "1",
                                        "-1.5",
                                        "0.1",
                                        "1e22",
                                        "1e23",
                                        "1e-22",
                                        "123456789012345678",
                                        "9007199254740993",
                                        "1.7976931348623157e308",
                                        "5e-324",
                                        "2.2250738585072011e-308",
                                        "0.000000000000000000000000000001",
                                        "3.141592653589793238462643383279502884197",
                                        "179769313486231570000000000000000000000",
                                        "1E+2",
                                        "1e-400",
                                        "0.3",
                                        "33554433.0",
                                        "8.5e-10",
                                        "1.00000017881393432617187499",
                                        "7.2057594037927933e16"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        LedgeJson j = begin(texts[i]);
        const double got = ledge__json_number(&j), want = strtod(texts[i], NULL);
        if (j.bad || memcmp(&got, &want, sizeof got) != 0)
            fail_msg("%s became %.17g (%s)", texts[i], got, j.bad ? j.bad : "");
    }
    uint64_t random = 5;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        const float f = (float)((double)(int64_t)random / 9.3e18);
        snprintf(text, sizeof text, i % 2 ? "%.9g" : "%.17g", (double)f);
        LedgeJson j = begin(text);
        const double want = strtod(text, NULL), got = ledge__json_number(&j);
        assert_memory_equal(&got, &want, sizeof got);
    }
}

static void integers_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
        bool good;
    } at[] = {{"9223372036854775807", INT64_MAX, true},
              {"-9223372036854775808", INT64_MIN, true},
              {"9223372036854775808", 0, false},
              {"-9223372036854775809", 0, false},
              {"1e3", 1000, true},
              {"2.0", 2, true},
              {"2.5", 0, false},
              {"1e300", 0, false},
              {"99999999999999999999999", 0, false},
              {"\"1\"", 0, false}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        LedgeJson j = begin(at[i].text);
        const int64_t v = ledge__json_integer(&j);
        assert_int_equal(j.bad == NULL, at[i].good);
        if (at[i].good)
            assert_true(v == at[i].value);
    }
    uint64_t u = 0;
    LedgeJson j = begin("[18446744073709551615]");
    assert_int_equal(ledge__json_numbers(&j, LEDGE_UINT64, &u, 1), 1);
    assert_true(!j.bad && u == UINT64_MAX);
}

static void arrays_fill_tensors_of_every_type(void **state)
{
    (void)state;
    float f[6];
    LedgeJson j = begin(" [ [1, 2.5] , [[-3e0]], [], true ] ");
    assert_int_equal(ledge__json_numbers(&j, LEDGE_FLOAT, f, 6), 4);
    ledge__json_finish(&j);
    assert_null(j.bad);
    assert_true(f[0] == 1 && f[1] == 2.5f && f[2] == -3 && f[3] == 1);
    uint8_t u[3];
    j = begin("[255, 0, 256]");
    ledge__json_numbers(&j, LEDGE_UINT8, u, 3);
    assert_non_null(j.bad);
    int8_t s[3];
    j = begin("[-128,127, -1]");
    assert_int_equal(ledge__json_numbers(&j, LEDGE_INT8, s, 3), 3);
    assert_true(!j.bad && s[0] == -128 && s[1] == 127);
    uint8_t b[2];
    j = begin("[true,false]");
    assert_int_equal(ledge__json_numbers(&j, LEDGE_BOOL, b, 2), 2);
    assert_true(!j.bad && b[0] == 1 && b[1] == 0);
    j = begin("[2]");
    ledge__json_numbers(&j, LEDGE_BOOL, b, 2);
    assert_non_null(j.bad);
    j = begin("[1,2,3]");
    ledge__json_numbers(&j, LEDGE_FLOAT, f, 2);
    assert_non_null(j.bad);
    j = begin("[1e39]");
    ledge__json_numbers(&j, LEDGE_FLOAT, f, 2);
    assert_non_null(j.bad);
}

/* Long arrays are read in another way than short ones, and must be taken and refused alike. */
static void long_arrays_of_integers_are_like_short_ones(void **state)
{
    (void)state;
    enum { N = 1000 };
    static const struct {
        LedgeType type;
        int64_t low, high;
    } types[] = {{LEDGE_BOOL, 0, 1},
                 {LEDGE_UINT8, 0, UINT8_MAX},
                 {LEDGE_INT8, INT8_MIN, INT8_MAX},
                 {LEDGE_UINT16, 0, UINT16_MAX},
                 {LEDGE_INT16, INT16_MIN, INT16_MAX},
                 {LEDGE_UINT32, 0, UINT32_MAX},
                 {LEDGE_INT32, INT32_MIN, INT32_MAX},
                 {LEDGE_UINT64, 0, INT64_MAX},
                 {LEDGE_INT64, INT64_MIN, INT64_MAX}};
    static const char *const wrong[] = {"0.5", "300000000000000000000", "\"1\"", "01",
                                        "-99999999999e9"};
    static const char *const between[] = {",", ", ", " ,\n", "],["};
    static char text[32 * N];
    static uint64_t out[N], want[N];
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t k = 0; k < 4 * 6; k++) {
            const char *comma = between[k % 4], *bad = k < 4 ? NULL : wrong[k / 4 - 1];
            const size_t item = ledge_type_bits(types[t].type) / 8, at = (N - 1) * k / 24;
            size_t n = (size_t)snprintf(text, sizeof text, "[[");
            memset(want, 0, sizeof want);
            for (size_t i = 0; i < N; i++) {
                const int64_t v = i % 3 == 0   ? types[t].low
                                  : i % 3 == 1 ? types[t].high
                                               : types[t].low / 3 + (int64_t)(i % 2);
                const char *bytes = (const char *)&v; /* the last ones, where the high come first */
                memcpy((char *)want + i * item, *(const char *)&(int){1} ? bytes : bytes + 8 - item,
                       item);
                n += bad && i == at ? (size_t)snprintf(text + n, sizeof text - n, "%s", bad)
                     : i % 97 == 5 && v < 1000 && v > -1000
                         ? (size_t)snprintf(text + n, sizeof text - n, "%d.0", (int)v)
                         : (size_t)snprintf(text + n, sizeof text - n, "%lld", (long long)v);
                n += (size_t)snprintf(text + n, sizeof text - n, "%s", i + 1 < N ? comma : "]]");
            }
            LedgeJson j = begin(text);
            const size_t got = ledge__json_numbers(&j, types[t].type, out, N);
            assert_int_equal(j.bad == NULL, bad == NULL);
            if (bad)
                continue;
            assert_int_equal(got, N);
            assert_memory_equal(out, want, N * item);
        }
}

/* Whatever stands between two commas at any place: bytes are read where doubles are, if these are
 * whole and small enough. */
static void bytes_are_the_doubles_that_fit(void **state)
{
    (void)state;
    enum { N = 120, ODD = 60 };
    static const char signs[] = "0125679, -.e]";
    static const char *const plain[] = {"7", "42", "255", " 0", " 10", " 199"};
    char text[8 * N];
    double v[N + 8];
    uint8_t out[N + 8];
    for (unsigned code = 0; code < 13 * 13 * 13 * 13; code++) {
        size_t size = (size_t)sprintf(text, "[");
        for (unsigned i = 0; i < N; i++) {
            if (i == ODD + code % 16)
                for (unsigned k = 0, c = code; k < 4 && (k == 0 || c > 0); k++, c /= 13)
                    text[size++] = signs[c % 13];
            else
                size += (size_t)sprintf(text + size, "%s", plain[(code + i * (code % 3)) % 6]);
            text[size++] = i + 1 < N ? ',' : ']';
        }
        text[size] = '\0';
        LedgeJson as_doubles = begin(text), as_bytes = begin(text);
        const size_t n = ledge__json_numbers(&as_doubles, LEDGE_DOUBLE, v, N + 8);
        const size_t m = ledge__json_numbers(&as_bytes, LEDGE_UINT8, out, N + 8);
        bool fit = !as_doubles.bad;
        for (size_t i = 0; i < n && fit; i++)
            fit = v[i] >= 0 && v[i] <= UINT8_MAX && v[i] == floor(v[i]);
        if (fit != !as_bytes.bad || (fit && m != n))
            fail_msg("%s: %s", text, as_bytes.bad ? as_bytes.bad : "is read");
        for (size_t i = 0; i < n && fit; i++)
            assert_true(out[i] == v[i]);
    }
}

static void strings_are_decoded(void **state)
{
    (void)state;
    char out[32];
    LedgeJson j = begin("\"a\\n\\\"\\u00e9\\ud83d\\ude00\\/\"");
    ledge__json_string(&j, out, sizeof out);
    assert_null(j.bad);
    assert_string_equal(out, "a\n\"\xc3\xa9\xf0\x9f\x98\x80/");
    char text[] = "[\"x\\u0000y\",\"\"]";
    ledge__json_begin(&j, text, strlen(text));
    ledge__json_array(&j);
    assert_true(ledge__json_element(&j));
    const LedgeStr s = ledge__json_bytes(&j);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "x\0y", 3);
    assert_true(ledge__json_element(&j));
    assert_int_equal(ledge__json_bytes(&j).n, 0);
    assert_false(ledge__json_element(&j));
    static const char *const bad[] = {"\"",
                                      "\"\\",
                                      "\"\\u12",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\q\"",
                                      "\"\n\"",
                                      "\"\\u0000\"",
                                      "\"0123456789012345678901234567890123\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        j = begin(bad[i]);
        ledge__json_string(&j, out, sizeof out);
        assert_non_null(j.bad);
    }
}

static void objects_are_walked_and_skipped(void **state)
{
    (void)state;
    char key[8];
    LedgeJson j = begin("{\"a\":{\"x\":[1,{\"y\":[]},null]},\"bb\":[[],[{}]],\"id\":7,"
                        "\"averylongkey\":\"\\u0041\\\"\",\"e\":{},\"t\":true}");
    int n = 0;
    ledge__json_object(&j);
    while (ledge__json_member(&j, key, sizeof key)) {
        n++;
        if (strcmp(key, "id") == 0)
            assert_int_equal(ledge__json_integer(&j), 7);
        else
            ledge__json_skip(&j);
    }
    ledge__json_finish(&j);
    assert_null(j.bad);
    assert_int_equal(n, 6);
    assert_int_equal(j.depth, 0);
}

static void damage_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        " ",        "{",          "}",
                                      "[",       "]",        "{]",         "[}",
                                      "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
                                      "[1,]",    "[,1]",     "[1 2]",      "{\"a\":1 \"b\":2}",
                                      "01",      "1.",       ".5",         "-",
                                      "1e",      "1e+",      "+1",         "tru",
                                      "nul",     "NaN",      "Infinity",   "'a'",
                                      "[1]]",    "1 2",      "{\"a\":1}x", "[[1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeJson j = begin(bad[i]);
        LedgeError err;
        ledge__json_skip(&j);
        ledge__json_finish(&j);
        if (ledge__json_status(&j, "request", &err) != LEDGE_ERROR_FORMAT)
            fail_msg("%s was taken", bad[i]);
    }
    char deep[200];
    memset(deep, '[', 199);
    deep[199] = '\0';
    LedgeJson j = begin(deep);
    ledge__json_skip(&j);
    assert_non_null(j.bad);
    float f;
    j = begin(deep);
    ledge__json_numbers(&j, LEDGE_FLOAT, &f, 1);
    assert_non_null(j.bad);
}

/* Every cut of a good text is refused, and nothing is read beyond it. */
static void every_cut_is_refused(void **state)
{
    (void)state;
    const char text[] = "{\"id\":\"x\\u00e9\",\"inputs\":[{\"name\":\"a\",\"data\":[1.5,[2e3]],"
                        "\"b\":true,\"c\":null}]}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        LedgeJson j;
        ledge__json_begin(&j, copy, n);
        ledge__json_skip(&j);
        ledge__json_finish(&j);
        assert_non_null(j.bad);
        free(copy);
    }
}

/* Thousands of numbers in a row take the quick way; each must be what the C library reads. */
static void numbers_in_a_row_are_the_nearest(void **state)
{
    (void)state;
    enum { N = 20000 };
    static const char *const format[] = {"%.9g", "%.17g", "%.4f", "%.1g", "%.12e", "%.0f", "%.3e"};
    static double got[N];
    static float narrow[N];
    char *text = malloc(N * 40 + 100), *at = text;
    uint64_t x = 1;
    assert_non_null(text);
    *at++ = '[';
    for (int i = 0; i < N; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        const double scale = i % 11 == 0 ? 1e12 : i % 7 == 0 ? 1e-9 : 1;
        const double v = ((double)(x >> 11) / 4503599627370496.0 - 1) * scale;
        at += sprintf(at, i ? (i % 5 ? "," : ", ") : "");
        at += sprintf(at, format[(x >> 3) % 7], v);
    }
    strcpy(at, "]  ");
    LedgeJson j;
    ledge__json_begin(&j, text, strlen(text));
    assert_int_equal(ledge__json_numbers(&j, LEDGE_DOUBLE, got, N), N);
    ledge__json_finish(&j);
    assert_null(j.bad);
    ledge__json_begin(&j, text, strlen(text));
    assert_int_equal(ledge__json_numbers(&j, LEDGE_FLOAT, narrow, N), N);
    assert_null(j.bad);
    const char *p = text + 1;
    for (int i = 0; i < N; i++) {
        char *end;
        const double want = strtod(p, &end);
        assert_memory_equal(&got[i], &want, sizeof want);
        assert_true(narrow[i] == (float)want);
        p = end + 1;
    }
    /* One too many for the room, wherever it comes. */
    ledge__json_begin(&j, text, strlen(text));
    (void)ledge__json_numbers(&j, LEDGE_DOUBLE, got, N - 1);
    assert_non_null(j.bad);
    free(text);
}

static uint64_t next_random(void)
{
    static uint64_t x = 7;
    x = x * 6364136223846793005u + 1442695040888963407u;
    return x >> 20;
}

static size_t put_digits(char *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)('0' + next_random() % 10);
    return n;
}

/* A number of the given form: digits before and behind the point, an exponent or not. */
static void put_number(char *to, int whole, int places, bool exponent)
{
    if (next_random() % 2)
        *to++ = '-';
    if (next_random() % 3 == 0 || whole == 0) {
        *to++ = '0';
    } else {
        *to++ = (char)('1' + next_random() % 9);
        to += put_digits(to, (size_t)whole - 1);
    }
    if (places) {
        *to++ = '.';
        to += put_digits(to, (size_t)places);
    }
    *to = '\0';
    if (exponent)
        sprintf(to, "%c%s%d", next_random() % 2 ? 'e' : 'E',
                (const char *[]){"", "+", "-", "-1"}[next_random() % 4], (int)(next_random() % 15));
}

static void check_array(char *const *number, int n, const char *between, int nested)
{
    static double got[64];
    static float narrow[64];
    char text[16384] = "{\"k\":[", *at = text + strlen(text);
    for (int i = 0; i < n; i++) {
        if (nested)
            at += sprintf(at, "%s%s",
                          i == 0       ? ""
                          : i % nested ? between
                                       : "]",
                          i % nested ? ""
                          : i        ? between
                                     : "");
        else
            at += sprintf(at, "%s", i ? between : "");
        at += sprintf(at, "%s%s", nested && i % nested == 0 ? "[" : "", number[i]);
    }
    at += sprintf(at, nested ? "]]}" : "]}");
    for (int type = 0; type < 2; type++) {
        LedgeJson j;
        char key[4];
        char *copy = malloc((size_t)(at - text)); /* nothing may be read beyond it */
        assert_non_null(copy);
        memcpy(copy, text, (size_t)(at - text));
        ledge__json_begin(&j, copy, (size_t)(at - text));
        ledge__json_object(&j);
        assert_true(ledge__json_member(&j, key, sizeof key));
        const size_t many = ledge__json_numbers(&j, type ? LEDGE_DOUBLE : LEDGE_FLOAT,
                                                type ? (void *)got : (void *)narrow, 64);
        assert_false(ledge__json_member(&j, key, sizeof key));
        ledge__json_finish(&j);
        if (j.bad || many != (size_t)n)
            fail_msg("%s: %s", text, j.bad ? j.bad : "another count");
        free(copy);
    }
    for (int i = 0; i < n; i++) {
        const double want = strtod(number[i], NULL);
        const float single = (float)want;
        if (memcmp(&got[i], &want, sizeof want) || memcmp(&narrow[i], &single, sizeof single))
            fail_msg("%s became %.17g and %.9g", number[i], got[i], (double)narrow[i]);
    }
}

/* Digits before and behind the point in every mix, by themselves and nested, with and without
 * spaces: whichever way reads them. */
static void numbers_of_every_form_are_the_nearest(void **state)
{
    (void)state;
    enum { N = 40 };
    static char room[N][64];
    char *number[N];
    for (int i = 0; i < N; i++)
        number[i] = room[i];
    for (int whole = 0; whole <= 22; whole++)
        for (int places = 0; places <= 24; places++)
            for (int kind = 0; kind < 6; kind++) {
                for (int i = 0; i < N; i++)
                    put_number(room[i], whole, places, kind >= 4);
                check_array(number, N, kind % 2 ? ", " : ",", kind / 2 % 2 ? 3 : 0);
            }
}

enum { AROUND = 300 }; /* spaces before and behind, so that all ways are open everywhere */

/* Rows of numbers of one form each, as they come, some with a byte that is not what it was. */
static size_t put_rows(char *to, size_t rows, bool damaged)
{
    char *at = to + AROUND, number[64];
    memset(to, ' ', AROUND);
    for (size_t i = 0; i < rows; i++) {
        const int whole = (int)(next_random() % 12), places = (int)(next_random() % 24);
        const char *between = next_random() % 4 ? "," : next_random() % 4 ? ", " : "],[";
        const int digits = (int)(next_random() % 17) + 1, kind = (int)(next_random() % 4);
        for (uint64_t k = next_random() % 80; k-- > 0;) {
            if (kind)
                put_number(number, whole, places, kind == 1 && next_random() % 16 == 0);
            else
                sprintf(number, "%.*g", digits, (double)next_random() / 1e13 - 0.8);
            at += sprintf(at, "%s%s", number, between);
        }
    }
    at += sprintf(at, "7]]");
    memset(at, ' ', AROUND);
    const size_t size = (size_t)(at - to) - AROUND;
    for (int k = 0; damaged && k < 3; k++)
        to[AROUND + next_random() % size] = "0,.- -,e]17"[next_random() % 11];
    return size + 2 * AROUND;
}

/* The number that ends before a comma or a bracket; NAN: it is none. */
static double read_slowly(LedgeJson *j)
{
    LedgeJson one;
    const char *end = j->p;
    while (end < j->end && *end != ',' && *end != ']')
        end++;
    ledge__json_begin(&one, j->p, (size_t)(end - j->p));
    const double v = ledge__json_number(&one);
    ledge__json_finish(&one);
    j->p = end;
    return one.bad ? NAN : v;
}

/* All numbers of a copy, behind which nothing may be looked at; returns how many. */
static size_t read_by(const char *text, size_t size, LedgeType type, uint32_t cpu, void *out,
                      size_t room)
{
    const size_t each = type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    char *copy = malloc(size);
    size_t n = 0;
    LedgeJson j;
    assert_non_null(copy);
    memcpy(copy, text, size);
    ledge__json_begin(&j, copy, size);
    for (j.p += AROUND; n < room; j.p += strspn(j.p, ",[]")) {
        const char next = j.p[*j.p == ' ']; /* one is for the quick way too */
        if (next == ' ' || next == ']')
            break;
        char *to = (char *)out + n * each;
        const size_t some = ledge__quick_numbers(&j, true, type, to, room - n, cpu);
        n += some;
        if (some)
            continue;
        const double v = read_slowly(&j);
        if (type == LEDGE_FLOAT)
            ((float *)out)[n++] = (float)v;
        else
            ((double *)out)[n++] = v;
    }
    free(copy);
    return n;
}

enum { ROWS = 60, ROOM = ROWS * 80 };

/* All ways that this CPU has read the same out of a text; how many numbers. */
static size_t check_levels(const char *text, size_t size, LedgeType type, size_t room)
{
    static const uint32_t levels[] = {LEDGE_CPU_AVX2, LEDGE_CPU_AVX512};
    static double got[ROOM], want[ROOM];
    memset(want, 0, sizeof want);
    const size_t n = read_by(text, size, type, 0, want, room);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!(ledge__cpu_flags() & levels[i]))
            continue;
        memset(got, 0, sizeof got);
        const size_t many = read_by(text, size, type, levels[i], got, room);
        if (n != many || memcmp(got, want, sizeof got) != 0)
            fail_msg("%zu numbers, not %zu: %.*s", many, n, (int)size, text);
    }
    return n;
}

/* Which way reads numbers depends on the CPU; what comes of it must not. */
static void every_cpu_reads_the_same_numbers(void **state)
{
    (void)state;
    static char text[ROOM * 48];
    size_t read = 0;
    for (int round = 0; round < 1200; round++) {
        const size_t size = put_rows(text, round % 3 ? 3 : ROWS, round % 2);
        const LedgeType type = round % 4 < 2 ? LEDGE_FLOAT : LEDGE_DOUBLE;
        const size_t room = round % 5 ? ROOM : next_random() % 200;
        read += check_levels(text, size, type, room);
    }
    assert_true(read > 500000);
}

/* Texts by number: the empty one, those of one character, of two, and so on. */
static const char alphabet[] = "-.019e, ";

static size_t put_text(char *to, unsigned code)
{
    const unsigned letters = sizeof alphabet - 1;
    size_t n = 0;
    for (; code > 0; code = (code - 1) / letters)
        to[n++] = alphabet[(code - 1) % letters];
    return n;
}

/* A row of plain numbers, in which `odd` takes the place of some, or the middle of them. */
static void check_among(const char *plain, const char *odd, unsigned place, bool inside,
                        LedgeType type)
{
    enum { N = 48 };
    static char text[2 * AROUND + N * 48];
    const unsigned half = inside ? (unsigned)strlen(plain) / 2 : 0;
    char *at = text + AROUND;
    memset(text, ' ', AROUND);
    for (unsigned i = 0; i < N; i++)
        if (i % 16 == place % 16)
            at += sprintf(at, "%.*s%s%s,", (int)half, plain, odd, half ? plain + half : "");
        else
            at += sprintf(at, "%s,", plain);
    at += sprintf(at, "7]");
    memset(at, ' ', AROUND);
    (void)check_levels(text, (size_t)(at - text) + AROUND, type, ROOM);
}

/* Whatever stands between two commas, in any lane: all ways take it, or leave it to the slow one.
 */
static void every_cpu_takes_the_same_texts(void **state)
{
    (void)state;
    enum { CODES = 37449 }; /* up to five characters of eight */
    static const char *const rows[] = {"-0.25", "0.0312345678", "3.1415926535897932384"};
    char odd[64];
    for (unsigned code = 0; code < CODES; code++) {
        odd[put_text(odd, code)] = '\0';
        check_among(rows[code % 3], odd, code / 3, code % 2 == 0,
                    code % 5 < 3 ? LEDGE_FLOAT : LEDGE_DOUBLE);
    }
    for (unsigned size = 1; size < 24; size++) /* a point anywhere, and at the end */
        for (unsigned point = 0; point <= size; point++)
            for (unsigned k = 0; k < 12; k++) {
                const bool minus = k / 3 % 2;
                sprintf(odd, "%s%.*s.%.*s", minus ? "-" : "", (int)point,
                        "271828182845904523536028", (int)(size - point),
                        "314159265358979323846264");
                check_among(rows[k % 3], odd, size + k, false, k < 6 ? LEDGE_FLOAT : LEDGE_DOUBLE);
            }
}

/* A text that comes in two pieces, cut at any of its bytes. */
static void numbers_in_pieces_are_the_same(void **state)
{
    (void)state;
    enum { PLACES = 8 * 80 };
    static char rows[PLACES * 48];
    static float want[PLACES], got[PLACES];
    for (int round = 0; round < 20; round++) {
        rows[0] = rows[1] = '[';
        const size_t size = 2 + put_rows(rows + 2, 8, false);
        LedgeJson j;
        ledge__json_begin(&j, rows, size);
        const size_t n = ledge__json_numbers(&j, LEDGE_FLOAT, want, PLACES);
        assert_null(j.bad);
        for (size_t cut = 1; cut < size; cut++) {
            LedgeJsonNumbers a = {.type = LEDGE_FLOAT, .out = got, .room = PLACES};
            memset(got, 0, sizeof got);
            ledge__json_begin(&j, rows, cut);
            ledge__json_numbers_begin(&j, &a);
            ledge__json_numbers_ahead(&j, &a);
            j.end = rows + size;
            ledge__json_numbers_end(&j, &a);
            if (j.bad || a.n != n || memcmp(got, want, n * sizeof *got) != 0)
                fail_msg("cut at %zu: %s: %s", cut, j.bad ? j.bad : "other numbers", rows);
        }
    }
}

/* Texts as near to the middle between two singles, or two doubles, as digits allow. */
static void middles_are_rounded_right(void **state)
{
    (void)state;
    enum { N = 40 };
    static char room[N][64];
    char *number[N];
    for (int i = 0; i < N; i++)
        number[i] = room[i];
    for (int round = 0; round < 3000; round++) {
        for (int i = 0; i < N; i++) {
            const float f = (float)((double)next_random() / 17592186044416.0 * 9.0);
            const double half = ((double)f + (double)nextafterf(f, 10)) / 2;
            const double d = (double)next_random() / 17592186044416.0;
            const long double middle = ((long double)d + (long double)nextafter(d, 2)) / 2;
            if (round % 3 == 0)
                snprintf(room[i], sizeof room[i], "%.*f", 8 + (int)(next_random() % 12), half);
            else if (round % 3 == 1)
                snprintf(room[i], sizeof room[i], "%.*Lf", 14 + (int)(next_random() % 8), middle);
            else
                snprintf(room[i], sizeof room[i], "%.*Lf", (int)(next_random() % 5),
                         middle * 72057594037927936.0L);
        }
        check_array(number, N, ",", 0);
    }
}

/* More digits than any number type holds decide still, down to the last. */
static void long_digits_are_not_cut(void **state)
{
    (void)state;
    static char text[4096];
    static const double values[] = {5e-324,
                                    2.2250738585072009e-308,
                                    2.2250738585072014e-308,
                                    1.7976931348623157e308,
                                    0.1,
                                    123456.789e3,
                                    1e22};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int tail = 0; tail < 3; tail++) {
            size_t n = (size_t)snprintf(text, sizeof text, "%.1200f", values[i]);
            if (tail) /* far behind */
                n += (size_t)snprintf(text + n, sizeof text - n, "%0*d", 1500, tail - 1);
            LedgeJson j;
            ledge__json_begin(&j, text, n);
            const double want = strtod(text, NULL), got = ledge__json_number(&j);
            assert_null(j.bad);
            assert_memory_equal(&got, &want, sizeof got);
        }
    /* 2^53 + 1 lies in the middle and goes down; a digit a thousand places behind lifts it. */
    size_t n = (size_t)sprintf(text, "9007199254740993.%01000d", 0);
    LedgeJson j;
    ledge__json_begin(&j, text, n);
    assert_true(ledge__json_number(&j) == 9007199254740992.0);
    text[n - 1] = '1';
    ledge__json_begin(&j, text, n);
    assert_true(ledge__json_number(&j) == 9007199254740994.0);
    /* The same written with an exponent, and zeros without end. */
    n = (size_t)sprintf(text, "0.%01000d9007199254740993%0900d1E1016", 0, 0);
    ledge__json_begin(&j, text, n);
    assert_true(ledge__json_number(&j) == 9007199254740994.0 && !j.bad);
    n = (size_t)sprintf(text, "1%01000de-1000", 0);
    ledge__json_begin(&j, text, n);
    assert_true(ledge__json_number(&j) == 1.0 && !j.bad);
    static const char *const out_of_range[] = {"1e400", "-1e400", "1e99999999999999999999",
                                               "17976931348623159e292"};
    for (size_t i = 0; i < sizeof out_of_range / sizeof *out_of_range; i++) {
        j = begin(out_of_range[i]);
        (void)ledge__json_number(&j);
        assert_non_null(j.bad);
    }
    static const char *const nothing[] = {"-0", "-0.0", "-0e5", "-1e-400", "-0e999999999999"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        j = begin(nothing[i]);
        const double v = ledge__json_number(&j);
        assert_true(!j.bad && v == 0 && signbit(v));
    }
}

/* Every byte before a point, wherever in a long array: none but a digit begins a number. */
static void damage_among_many_numbers_is_refused(void **state)
{
    (void)state;
    enum { N = 60 };
    static const char *const behind[] = {".5", ".123456789", ".12345678901234567", "e1", "12e1"};
    float out[N + 4];
    for (int byte = 1; byte < 256; byte++)
        for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
            for (int place = 0; place < N; place += 7) {
                char text[N * 20], *at = text;
                at += sprintf(at, "[7");
                for (int k = 0; k < N; k++)
                    at +=
                        k == place ? sprintf(at, ",%c%s", byte, behind[i]) : sprintf(at, ",-0.25");
                at += sprintf(at, "]");
                LedgeJson j;
                ledge__json_begin(&j, text, (size_t)(at - text));
                const size_t n = ledge__json_numbers(&j, LEDGE_FLOAT, out, N + 4);
                const bool digit = byte >= '0' && byte <= '9';
                const bool good = digit ? byte != '0' || i != 4
                                        : i == 4 && (byte == '-' || byte == ' ' || byte == '\t' ||
                                                     byte == '\n' || byte == '\r');
                if (good != (!j.bad && n == N + 1))
                    fail_msg("%c (%d) before %s: %s", byte, byte, behind[i], j.bad ? j.bad : "ok");
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_in_a_row_are_the_nearest),
        cmocka_unit_test(numbers_are_the_nearest_doubles),
        cmocka_unit_test(numbers_of_every_form_are_the_nearest),
        cmocka_unit_test(every_cpu_reads_the_same_numbers),
        cmocka_unit_test(every_cpu_takes_the_same_texts),
        cmocka_unit_test(numbers_in_pieces_are_the_same),
        cmocka_unit_test(middles_are_rounded_right),
        cmocka_unit_test(long_digits_are_not_cut),
        cmocka_unit_test(damage_among_many_numbers_is_refused),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(arrays_fill_tensors_of_every_type),
        cmocka_unit_test(long_arrays_of_integers_are_like_short_ones),
        cmocka_unit_test(bytes_are_the_doubles_that_fit),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(objects_are_walked_and_skipped),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(every_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
