/* Template: an array of numbers by spans, whose commas are listed first; included before the words
 * of a vector unit (json_quick_avx512.c, json_quick_avx2.c), which gives LANES, so many numbers are
 * read at once, and the two functions that are declared here. */
#ifndef LEDGE_BASE_JSON_QUICK_SPANS_H
#define LEDGE_BASE_JSON_QUICK_SPANS_H

#include "base/json_quick.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* BLOCK: bytes that are looked at together; ROUND: places of commas may be stored so many at once
 */
enum { BLOCK = 64, SPAN = 16 * BLOCK, ROUND = 16 };

/* What is to be read: `most` numbers between commas at at[], `gap` bytes from one to the next. */
typedef struct Span {
    const char *p; /* where numbers begin behind at[] */
    size_t most;
    int gap;
    LedgeType type;
    int32_t at[1 + SPAN + ROUND];
} Span;

/* Where the commas of `size` bytes are, whole blocks, behind a -1; returns how many. `spaced`: a
 * space must stand before the first number and behind each comma, and nowhere else; else 0. */
static size_t list_commas(const char *p, size_t size, bool spaced, int32_t *at);
/* Reads the numbers from the first one on that are alike, LANES at a time; returns how many. */
static size_t read_span(const Span *s, char *out);

/* What LedgeQuickLanes is to do. */
static ALWAYS_INLINE size_t read_spans(const char **p, const char *end, LedgeType type, void *out,
                                       size_t room)
{
    const size_t each = type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    size_t n = 0, some = 1;
    Span s;
    s.type = type; /* the rest is large */
    while (some && end - *p > 2 * BLOCK) {
        const size_t left = (size_t)(end - *p) - BLOCK; /* lanes reach 33 bytes beyond a span */
        const size_t size = left < SPAN ? left / BLOCK * BLOCK : SPAN;
        s.gap = 1 + (**p == ' ');
        s.p = *p + s.gap;
        const size_t commas = list_commas(*p, size, s.gap == 2, s.at);
        s.most = commas < room - n ? commas : room - n;
        some = s.most < LANES ? 0 : read_span(&s, (char *)out + n * each);
        *p += s.at[some] + 1;
        n += some;
    }
    return n;
}

#endif
