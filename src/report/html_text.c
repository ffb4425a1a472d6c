/* Growing, escaping text, see html_text.h. */
#include "report/html_text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(LedgeHtml *h, size_t n)
{
    if (h->failed)
        return false;
    if (h->cap - h->n > n)
        return true;
    const size_t cap = 2 * (h->cap + n + 512);
    char *wider = realloc(h->p, cap);
    h->failed = !wider;
    if (h->failed)
        return false;
    h->p = wider;
    h->cap = cap;
    return true;
}

static void put(LedgeHtml *h, const char *bytes, size_t n)
{
    if (!make_room(h, n))
        return;
    memcpy(h->p + h->n, bytes, n);
    h->n += n;
    h->p[h->n] = '\0';
}

void ledge__html(LedgeHtml *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !make_room(h, (size_t)n)) {
        h->failed = true;
        return;
    }
    va_start(args, fmt);
    vsnprintf(h->p + h->n, (size_t)n + 1, fmt, args);
    va_end(args);
    h->n += (size_t)n;
}

/* Bytes of the well-formed UTF-8 character at s (Unicode 15, table 3-7); 0: there is none. */
static size_t utf8_length(const uint8_t *s)
{
    const uint8_t a = s[0];
    const size_t n = a < 0x80 ? 1 : a >= 0xc2 && a < 0xe0 ? 2 : a >= 0xe0 && a < 0xf0 ? 3 : 4;
    if (a < 0x80)
        return 1;
    if (a < 0xc2 || a > 0xf4)
        return 0;
    const uint8_t low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return n;
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void ledge__html_text_cut(LedgeHtml *h, const char *text, size_t most)
{
    static const char unknown[] = "\xef\xbf\xbd";
    for (size_t i = 0; text && *text; i++) {
        if (i == most) {
            put(h, "\xe2\x80\xa6", 3);
            return;
        }
        const size_t n = utf8_length((const uint8_t *)text);
        /* C1 controls, U+0080 to U+009F, too */
        const bool control = (uint8_t)*text < 0x20 || *text == 0x7f ||
                             (n == 2 && (uint8_t)text[0] == 0xc2 && (uint8_t)text[1] < 0xa0);
        const char *as = n == 1 ? entity(*text) : NULL;
        if (!n || control)
            put(h, unknown, 3);
        else
            put(h, as ? as : text, as ? strlen(as) : n);
        text += n ? n : 1;
    }
}

void ledge__html_text(LedgeHtml *h, const char *text)
{
    ledge__html_text_cut(h, text, SIZE_MAX);
}
