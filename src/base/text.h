/* Text that grows, for what is put together piece by piece: answers, pages, metrics, signed JSON.
 *
 * A failure to grow is kept and shows at the end, so that no single piece need be checked. What is
 * there always ends with a NUL beyond `n`. {0} is empty text of the C library's allocator, whose
 * memory free() takes too. */
#ifndef LEDGE_BASE_TEXT_H
#define LEDGE_BASE_TEXT_H

#include "base/alloc.h"

typedef struct LedgeText {
    const LedgeAllocator *allocator;
    char *p; /* NULL until something was put */
    size_t n, room;
    bool failed;
} LedgeText;

static inline void ledge__text_init(LedgeText *t, const LedgeAllocator *a)
{
    *t = (LedgeText){.allocator = a};
}
void ledge__text_free(LedgeText *t);
/* Room for `more` bytes and a NUL at p + n; NULL: no memory. Who fills it adds to n and ends it. */
char *ledge__text_room(LedgeText *t, size_t more);
void ledge__text_put(LedgeText *t, const void *from, size_t n);
void ledge__text_add(LedgeText *t, const char *text);
void ledge__text_printf(LedgeText *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Bytes of the well-formed UTF-8 character at s, of which n > 0 are there (Unicode 15, table 3-7);
 * 0: there is none. */
size_t ledge__utf8_length(const char *s, size_t n);

#endif
