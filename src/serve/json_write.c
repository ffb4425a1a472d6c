/* JSON's scalars, see json_write.h. */
#include "serve/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ledge__json_put_string(LedgeText *b, const char *text, size_t n)
{
    char escape[8];
    ledge__text_put(b, "\"", 1);
    for (size_t i = 0; i < n;) {
        const size_t len = ledge__utf8_length(text + i, n - i);
        if (len == 0) {
            ledge__text_put(b, "\xEF\xBF\xBD", 3);
        } else if (text[i] == '"' || text[i] == '\\') {
            escape[0] = '\\';
            escape[1] = text[i];
            ledge__text_put(b, escape, 2);
        } else if ((unsigned char)text[i] < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)text[i]);
            ledge__text_put(b, escape, 6);
        } else {
            ledge__text_put(b, text + i, len);
        }
        i += len ? len : 1;
    }
    ledge__text_put(b, "\"", 1);
}

/* ---- numbers ---- */

static void put_decimal(LedgeText *b, uint64_t u, bool negative)
{
    char digits[24];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    if (negative)
        digits[--at] = '-';
    ledge__text_put(b, digits + at, sizeof digits - at);
}

void ledge__json_put_integer(LedgeText *b, int64_t v)
{
    put_decimal(b, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void ledge__json_put_unsigned(LedgeText *b, uint64_t v)
{
    put_decimal(b, v, false);
}

void ledge__json_put_double(LedgeText *b, double v)
{
    char text[32];
    if (!isfinite(v)) {
        ledge__text_add(b, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    ledge__text_add(b, text);
}

static const double ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                             1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};

enum { DIGITS = 9, FLOAT_TEXT = 32 }; /* FLOAT_TEXT: more than any float and a comma need */

static void put_pair(unsigned v, char *out)
{
    out[0] = (char)('0' + v / 10);
    out[1] = (char)('0' + v % 10);
}

/* u < 10^9, with zeros in front. */
static void nine_digits(uint32_t u, char out[DIGITS])
{
    const uint32_t high = u / 10000, low = u % 10000;
    out[0] = (char)('0' + high / 10000);
    put_pair(high % 10000 / 100, out + 1);
    put_pair(high % 100, out + 3);
    put_pair(low / 100, out + 5);
    put_pair(low % 100, out + 7);
}

/* 10^-5 <= v < 10^9: nine digits by one product of doubles. Its error, 2^-53, is far below half of
 * the distance between floats, so that the digits read back as v. */
static size_t plain_float(double v, char *out)
{
    int before = 1; /* digits before the point; 0.00… counts down */
    if (v >= 1)
        while (before < DIGITS && v >= ten[before])
            before++;
    else
        for (before = 0; v * ten[-before + 1] < 1; before--) {
        }
    uint64_t u = (uint64_t)(v * ten[DIGITS - before] + 0.5);
    if (u == 1000000000) { /* rounded up to one digit more */
        u = 100000000;
        before++;
    }
    char digits[DIGITS];
    nine_digits((uint32_t)u, digits);
    const int whole = before > 0 ? before : 0;
    int n = DIGITS;
    while (n > whole && digits[n - 1] == '0')
        n--;
    char *to = out;
    for (int i = 0; i < whole; i++)
        *to++ = digits[i];
    if (whole == 0)
        *to++ = '0';
    if (n > whole)
        *to++ = '.';
    for (int i = before; i < 0; i++)
        *to++ = '0';
    for (int i = whole; i < n; i++)
        *to++ = digits[i];
    return (size_t)(to - out);
}

static size_t float_text(float v, char *out)
{
    const float size = fabsf(v);
    if (size >= 1e-5f && size < 1e9f) {
        *out = '-';
        return plain_float((double)size, out + (v < 0)) + (v < 0);
    }
    if (v == 0)
        return (size_t)snprintf(out, FLOAT_TEXT, signbit(v) ? "-0.0" : "0");
    return (size_t)(isfinite(v) ? snprintf(out, FLOAT_TEXT, "%.9g", (double)v)
                                : snprintf(out, FLOAT_TEXT, "null"));
}

void ledge__json_put_floats(LedgeText *b, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *to = ledge__text_room(b, FLOAT_TEXT);
        if (!to)
            return;
        *to = ',';
        const size_t size = (i > 0) + float_text(v[i], to + (i > 0));
        to[size] = '\0';
        b->n += size;
    }
}
