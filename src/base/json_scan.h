/* A pull reader of JSON (RFC 8259) that builds no tree: the caller asks for what it expects, and
 * arrays of numbers go straight into a tensor.
 *
 * Reading goes on until something is wrong; from then on every call gives its "end" answer and
 * `bad` says what was wrong and where. The text need not end with a NUL. Memory: none. */
#ifndef LEDGE_BASE_JSON_SCAN_H
#define LEDGE_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ledge/tensor.h"

enum { LEDGE_JSON_DEPTH = 64 };

typedef enum LedgeJsonKind {
    LEDGE_JSON_END, /* of the text, or after a fault */
    LEDGE_JSON_OBJECT,
    LEDGE_JSON_ARRAY,
    LEDGE_JSON_STRING,
    LEDGE_JSON_NUMBER,
    LEDGE_JSON_TRUE,
    LEDGE_JSON_FALSE,
    LEDGE_JSON_NULL
} LedgeJsonKind;

typedef struct LedgeJson {
    const char *start, *p, *end;
    const char *bad; /* NULL: all well so far */
    int depth;
    bool first; /* nothing was read yet of the object or array begun last */
} LedgeJson;

void ledge__json_begin(LedgeJson *j, const char *text, size_t size);
/* What comes next; nothing is consumed but white space. */
LedgeJsonKind ledge__json_peek(LedgeJson *j);

/* After `object` each call of `member` gives the next key, whose value is to be read then; false
 * ends the object. Keys that do not fit into `key` are cut. `array` and `element` likewise. */
void ledge__json_object(LedgeJson *j);
bool ledge__json_member(LedgeJson *j, char *key, size_t size);
void ledge__json_array(LedgeJson *j);
bool ledge__json_element(LedgeJson *j);

/* Values. A string longer than size - 1 bytes of UTF-8 is a fault; so is one with a NUL. */
void ledge__json_string(LedgeJson *j, char *out, size_t size);
/* The same for bytes of any length: they are decoded in place, over the text itself, which must
 * be writable; NULs are taken. */
LedgeStr ledge__json_bytes(LedgeJson *j);
double ledge__json_number(LedgeJson *j);
int64_t ledge__json_integer(LedgeJson *j); /* a fraction, or beyond int64: a fault */
/* The same, and below 0 the fault `below`. */
int64_t ledge__json_natural(LedgeJson *j, const char *below);
bool ledge__json_bool(LedgeJson *j);
void ledge__json_skip(LedgeJson *j); /* any value */
/* Nothing but white space follows. */
void ledge__json_finish(LedgeJson *j);

/* An array of numbers (or true and false), flat or nested, into at most `room` elements of a
 * type of 8 to 64 bits. Returns how many there were; more than `room` is a fault, as is one
 * that does not fit the type. FLOAT takes the nearest double rounded to single. */
size_t ledge__json_numbers(LedgeJson *j, LedgeType type, void *out, size_t room);

/* The same in pieces, for a text that is still coming in: begin, then `ahead` as often as j->end
 * has moved, then `end` when all is there. `ahead` reads what cannot change any more and finds no
 * fault. */
typedef struct LedgeJsonNumbers {
    LedgeType type;
    void *out;
    size_t room, n; /* n: how many there are */
    int base;       /* depth around the array */
} LedgeJsonNumbers;

void ledge__json_numbers_begin(LedgeJson *j, LedgeJsonNumbers *a);
void ledge__json_numbers_ahead(LedgeJson *j, LedgeJsonNumbers *a);
void ledge__json_numbers_end(LedgeJson *j, LedgeJsonNumbers *a);

/* Pieces of such an array, for several threads. Commas among bytes; and the n numbers, and nothing
 * else, from p to the comma at `end` into places `at` and on of `out`: false, where that is not
 * what there is. have: how far bytes may be looked at. */
size_t ledge__json_commas(const char *p, size_t size);
bool ledge__json_numbers_between(const char *p, const char *end, const char *have, LedgeType type,
                                 void *out, size_t at, size_t n);

/* Sets the fault; the first one stays. */
void ledge__json_fault(LedgeJson *j, const char *what);
/* LEDGE_OK, or FORMAT with the fault and its byte offset. */
LedgeStatus ledge__json_status(const LedgeJson *j, const char *where, LedgeError *err);

#endif
