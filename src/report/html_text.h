/* Text from outside inside HTML and SVG; markup of our own goes by ledge__text_printf. */
#ifndef LEDGE_REPORT_HTML_TEXT_H
#define LEDGE_REPORT_HTML_TEXT_H

#include "base/text.h"

/* Any bytes as text or inside a quoted attribute: markup characters become entities, control
 * characters and what is not UTF-8 become U+FFFD. NULL: nothing. */
void ledge__html_text(LedgeText *h, const char *text);
/* The same, cut to `most` characters with an ellipsis. */
void ledge__html_text_cut(LedgeText *h, const char *text, size_t most);

#endif
