/* Text that grows, for writing HTML and SVG. Failures stick: write on and look at `failed` once,
 * at the end. */
#ifndef LEDGE_REPORT_HTML_TEXT_H
#define LEDGE_REPORT_HTML_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct LedgeHtml {
    char *p; /* NUL-terminated once something was written */
    size_t n, cap;
    bool failed;
} LedgeHtml;

/* Markup of our own. Text from outside goes through ledge__html_text alone. */
void ledge__html(LedgeHtml *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Any bytes as text or inside a quoted attribute: markup characters become entities, control
 * characters and what is not UTF-8 become U+FFFD. NULL: nothing. */
void ledge__html_text(LedgeHtml *h, const char *text);
/* The same, cut to `most` characters with an ellipsis. */
void ledge__html_text_cut(LedgeHtml *h, const char *text, size_t most);

#endif
