/* Escaping text, see html_text.h. */
#include "report/html_text.h"

#include <string.h>

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

void ledge__html_text_cut(LedgeText *h, const char *text, size_t most)
{
    static const char unknown[] = "\xef\xbf\xbd";
    const char *end = text ? text + strlen(text) : NULL;
    for (size_t i = 0; text < end; i++) {
        if (i == most) {
            ledge__text_put(h, "\xe2\x80\xa6", 3);
            return;
        }
        const size_t n = ledge__utf8_length(text, (size_t)(end - text));
        /* C1 controls, U+0080 to U+009F, too */
        const bool control = (uint8_t)*text < 0x20 || *text == 0x7f ||
                             (n == 2 && (uint8_t)text[0] == 0xc2 && (uint8_t)text[1] < 0xa0);
        const char *as = n == 1 ? entity(*text) : NULL;
        if (!n || control)
            ledge__text_put(h, unknown, 3);
        else
            ledge__text_put(h, as ? as : text, as ? strlen(as) : n);
        text += n ? n : 1;
    }
}

void ledge__html_text(LedgeText *h, const char *text)
{
    ledge__html_text_cut(h, text, SIZE_MAX);
}
