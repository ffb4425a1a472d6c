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

/* 10^-5 <= v < 10^9: nine digits by one product of doubles. Its error, 2^-53, is far below half of
 * the distance between floats, so that the digits read back as v. */
static size_t plain_float(double v, char *out)
{
    int before = 1; /* digits before the point; 0.00… counts down */
    if (v >= 1)
        while (before < 9 && v >= ten[before])
            before++;
    else
        for (before = 0; v * ten[-before + 1] < 1; before--) {
        }
    const int places = 9 - before;
    uint64_t u = (uint64_t)(v * ten[places] + 0.5);
    char digits[24];
    int n = 0, drop = 0;
    while (drop < places && u % 10 == 0) {
        u /= 10;
        drop++;
    }
    const int fraction = places - drop;
    do
        digits[n++] = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    while (n <= fraction)
        digits[n++] = '0';
    size_t at = 0;
    for (int i = n - 1; i >= 0; i--) {
        out[at++] = digits[i];
        if (i == fraction && fraction)
            out[at++] = '.';
    }
    return at;
}

void ledge__json_put_float(LedgeText *b, float v)
{
    char digits[32];
    size_t n = 0;
    const float size = fabsf(v);
    if (size >= 1e-5f && size < 1e9f) {
        if (v < 0)
            digits[n++] = '-';
        n += plain_float((double)size, digits + n);
    } else if (v == 0) {
        n = (size_t)snprintf(digits, sizeof digits, signbit(v) ? "-0.0" : "0");
    } else if (isfinite(v)) {
        n = (size_t)snprintf(digits, sizeof digits, "%.9g", (double)v);
    } else {
        n = (size_t)snprintf(digits, sizeof digits, "null");
    }
    ledge__text_put(b, digits, n);
}
