/* The growing buffer, and JSON's scalars in it. */
#include "serve/byte_buffer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ledge__bytes_free(LedgeBytes *b)
{
    ledge__free(b->allocator, b->p);
    ledge__bytes_init(b, b->allocator);
}

char *ledge__bytes_room(LedgeBytes *b, size_t more)
{
    size_t need;
    if (b->failed)
        return NULL;
    if (b->room - b->n >= more)
        return b->p + b->n;
    const size_t room = ledge__add(b->n, more, &need) && need <= SIZE_MAX / 4 ? 2 * need + 256 : 0;
    char *p = room ? ledge__alloc(b->allocator, room, 1) : NULL;
    b->failed = p == NULL;
    if (!p)
        return NULL;
    if (b->n)
        memcpy(p, b->p, b->n);
    ledge__free(b->allocator, b->p);
    b->p = p;
    b->room = room;
    return p + b->n;
}

void ledge__bytes_put(LedgeBytes *b, const void *from, size_t n)
{
    char *to = ledge__bytes_room(b, n);
    if (to && n)
        memcpy(to, from, n);
    b->n += to ? n : 0;
}

void ledge__bytes_text(LedgeBytes *b, const char *text)
{
    ledge__bytes_put(b, text, strlen(text));
}

/* ---- strings ---- */

/* Bytes of the UTF-8 character at s, 0 where there is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    const size_t len = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
                       : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                       : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                     : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0; /* too long a form, a surrogate, beyond Unicode */
    return len;
}

void ledge__bytes_json_string(LedgeBytes *b, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    char escape[8];
    ledge__bytes_put(b, "\"", 1);
    for (size_t i = 0; i < n;) {
        const size_t len = utf8_length(s + i, n - i);
        if (len == 0) {
            ledge__bytes_put(b, "\xEF\xBF\xBD", 3);
        } else if (s[i] == '"' || s[i] == '\\') {
            escape[0] = '\\';
            escape[1] = (char)s[i];
            ledge__bytes_put(b, escape, 2);
        } else if (s[i] < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", s[i]);
            ledge__bytes_put(b, escape, 6);
        } else {
            ledge__bytes_put(b, s + i, len);
        }
        i += len ? len : 1;
    }
    ledge__bytes_put(b, "\"", 1);
}

/* ---- numbers ---- */

static void put_decimal(LedgeBytes *b, uint64_t u, bool negative)
{
    char digits[24];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + u % 10);
    while ((u /= 10) != 0);
    if (negative)
        digits[--at] = '-';
    ledge__bytes_put(b, digits + at, sizeof digits - at);
}

void ledge__bytes_json_integer(LedgeBytes *b, int64_t v)
{
    put_decimal(b, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void ledge__bytes_json_unsigned(LedgeBytes *b, uint64_t v)
{
    put_decimal(b, v, false);
}

void ledge__bytes_json_double(LedgeBytes *b, double v)
{
    char text[32];
    if (!isfinite(v)) {
        ledge__bytes_text(b, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    ledge__bytes_text(b, text);
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

void ledge__bytes_json_float(LedgeBytes *b, float v)
{
    char *to = ledge__bytes_room(b, 32);
    if (!to)
        return;
    const float size = fabsf(v);
    if (size >= 1e-5f && size < 1e9f) {
        size_t n = 0;
        if (v < 0)
            to[n++] = '-';
        b->n += n + plain_float((double)size, to + n);
    } else if (v == 0) {
        ledge__bytes_text(b, signbit(v) ? "-0.0" : "0");
    } else if (isfinite(v)) {
        b->n += (size_t)snprintf(to, 32, "%.9g", (double)v);
    } else {
        ledge__bytes_text(b, "null");
    }
}
