/* A buffer that grows, for answers put together piece by piece. A failure to grow is kept and
 * shows at the end, so that no single piece need be checked. */
#ifndef LEDGE_SERVE_BYTE_BUFFER_H
#define LEDGE_SERVE_BYTE_BUFFER_H

#include "base/alloc.h"
#include "ledge/tensor.h"

typedef struct LedgeBytes {
    const LedgeAllocator *allocator;
    char *p;
    size_t n, room;
    bool failed;
} LedgeBytes;

static inline void ledge__bytes_init(LedgeBytes *b, const LedgeAllocator *a)
{
    *b = (LedgeBytes){.allocator = a};
}
void ledge__bytes_free(LedgeBytes *b);
/* Room for `more` bytes at p + n; NULL: no memory. */
char *ledge__bytes_room(LedgeBytes *b, size_t more);
void ledge__bytes_put(LedgeBytes *b, const void *from, size_t n);
void ledge__bytes_text(LedgeBytes *b, const char *text);
/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD. */
void ledge__bytes_json_string(LedgeBytes *b, const char *text, size_t n);
void ledge__bytes_json_integer(LedgeBytes *b, int64_t v);
void ledge__bytes_json_unsigned(LedgeBytes *b, uint64_t v);
/* The shortest of up to 9 digits that reads back as the same float; JSON has no number for NaN and
 * infinities, which become null. */
void ledge__bytes_json_float(LedgeBytes *b, float v);
void ledge__bytes_json_double(LedgeBytes *b, double v);

#endif
