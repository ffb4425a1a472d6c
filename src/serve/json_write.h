/* JSON's scalars onto growing text. */
#ifndef LEDGE_SERVE_JSON_WRITE_H
#define LEDGE_SERVE_JSON_WRITE_H

#include <string.h>

#include "base/text.h"

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD. */
void ledge__json_put_string(LedgeText *b, const char *text, size_t n);
static inline void ledge__json_put_text(LedgeText *b, const char *text)
{
    ledge__json_put_string(b, text, strlen(text));
}
void ledge__json_put_integer(LedgeText *b, int64_t v);
void ledge__json_put_unsigned(LedgeText *b, uint64_t v);
/* With commas between them. Up to 9 digits each, which read back as the same float; JSON has no
 * number for NaN and infinities, which become null. */
void ledge__json_put_floats(LedgeText *b, const float *v, size_t n);
void ledge__json_put_double(LedgeText *b, double v);

#endif
