/* The pull reader of json_scan.h. */
#include "base/json_quick.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

void ledge__json_begin(LedgeJson *j, const char *text, size_t size)
{
    *j = (LedgeJson){.start = text, .p = text, .end = text + size};
}

void ledge__json_fault(LedgeJson *j, const char *what)
{
    if (!j->bad)
        j->bad = what;
}

LedgeStatus ledge__json_status(const LedgeJson *j, const char *where, LedgeError *err)
{
    return j->bad ? ledge__fail(err, LEDGE_ERROR_FORMAT, where, "%s at byte %zu of the JSON",
                                j->bad, (size_t)(j->p - j->start))
                  : LEDGE_OK;
}

static inline void skip_space(LedgeJson *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
}

LedgeJsonKind ledge__json_peek(LedgeJson *j)
{
    skip_space(j);
    if (j->bad || j->p == j->end)
        return LEDGE_JSON_END;
    switch (*j->p) {
    case '{':
        return LEDGE_JSON_OBJECT;
    case '[':
        return LEDGE_JSON_ARRAY;
    case '"':
        return LEDGE_JSON_STRING;
    case 't':
        return LEDGE_JSON_TRUE;
    case 'f':
        return LEDGE_JSON_FALSE;
    case 'n':
        return LEDGE_JSON_NULL;
    default:
        break;
    }
    if (*j->p == '-' || (*j->p >= '0' && *j->p <= '9'))
        return LEDGE_JSON_NUMBER;
    ledge__json_fault(j, "a character that begins no value");
    return LEDGE_JSON_END;
}

/* The next character, if it is c. */
static bool take(LedgeJson *j, char c)
{
    skip_space(j);
    if (j->bad || j->p == j->end || *j->p != c)
        return false;
    j->p++;
    return true;
}

static void enter(LedgeJson *j, char open, const char *fault)
{
    if (!take(j, open))
        ledge__json_fault(j, fault);
    else if (++j->depth > LEDGE_JSON_DEPTH)
        ledge__json_fault(j, "more than 64 levels");
    j->first = true;
}

void ledge__json_object(LedgeJson *j)
{
    enter(j, '{', "an object is wanted");
}

void ledge__json_array(LedgeJson *j)
{
    enter(j, '[', "an array is wanted");
}

/* Past the comma to the next item, or out by `close`. */
static bool next_item(LedgeJson *j, char close)
{
    const bool first = j->first;
    j->first = false;
    if (take(j, close)) {
        j->depth--;
        return false;
    }
    if (!first && !take(j, ','))
        ledge__json_fault(j,
                          close == '}' ? "a comma or '}' is missing" : "a comma or ']' is missing");
    return !j->bad;
}

bool ledge__json_element(LedgeJson *j)
{
    return next_item(j, ']');
}

/* ---- strings ---- */

static int hex4(LedgeJson *j)
{
    int v = 0;
    if (j->end - j->p < 4) {
        ledge__json_fault(j, "a \\u escape is cut");
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        const char c = *j->p++;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            ledge__json_fault(j, "a \\u escape needs four hex digits");
            return 0;
        }
        v = v * 16 + digit;
    }
    return v;
}

static size_t put_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Behind a backslash. */
static size_t unescape(LedgeJson *j, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (j->p == j->end) {
        ledge__json_fault(j, "a string does not end");
        return 0;
    }
    const char c = *j->p++;
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        out[0] = to[at - from];
        return 1;
    }
    if (c != 'u') {
        ledge__json_fault(j, "an unknown escape");
        return 0;
    }
    uint32_t v = (uint32_t)hex4(j);
    if (v >= 0xD800 && v < 0xDC00) {
        if (j->bad || j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u') {
            ledge__json_fault(j, "half a surrogate pair");
            return 0;
        }
        j->p += 2;
        const uint32_t low = (uint32_t)hex4(j);
        if (low < 0xDC00 || low > 0xDFFF)
            ledge__json_fault(j, "half a surrogate pair");
        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
    } else if (v >= 0xDC00 && v < 0xE000) {
        ledge__json_fault(j, "half a surrogate pair");
    }
    return j->bad ? 0 : put_utf8(v, out);
}

/* Reads a string piece by piece; false at its end. */
static bool string_piece(LedgeJson *j, char out[4], size_t *n)
{
    if (j->bad)
        return false;
    if (j->p == j->end) {
        ledge__json_fault(j, "a string does not end");
        return false;
    }
    const char c = *j->p++;
    if (c == '"')
        return false;
    if ((unsigned char)c < 0x20) {
        ledge__json_fault(j, "a control character in a string");
        return false;
    }
    if (c == '\\') {
        *n = unescape(j, out);
        return !j->bad;
    }
    out[0] = c;
    *n = 1;
    return true;
}

/* What does not fit is left out where `cut`, else it is a fault. */
static void read_string(LedgeJson *j, char *out, size_t size, bool cut)
{
    char piece[4];
    size_t n, used = 0;
    if (!take(j, '"'))
        ledge__json_fault(j, "a string is wanted");
    while (string_piece(j, piece, &n)) {
        if (piece[0] == '\0')
            ledge__json_fault(j, "a NUL in a name");
        else if (used + n < size)
            for (size_t i = 0; i < n; i++)
                out[used++] = piece[i];
        else if (!cut)
            ledge__json_fault(j, "a string is too long");
    }
    out[used] = '\0';
}

void ledge__json_string(LedgeJson *j, char *out, size_t size)
{
    read_string(j, out, size, false);
}

bool ledge__json_member(LedgeJson *j, char *key, size_t size)
{
    if (!next_item(j, '}'))
        return false;
    read_string(j, key, size, true);
    if (!take(j, ':'))
        ledge__json_fault(j, "a ':' is missing");
    return !j->bad;
}

LedgeStr ledge__json_bytes(LedgeJson *j)
{
    char piece[4];
    size_t n;
    if (!take(j, '"'))
        ledge__json_fault(j, "a string is wanted");
    char *start = (char *)(uintptr_t)j->p, *to = start; /* never ahead of what is read */
    while (string_piece(j, piece, &n))
        for (size_t i = 0; i < n; i++)
            *to++ = piece[i];
    return j->bad ? (LedgeStr){NULL, 0} : (LedgeStr){start, (size_t)(to - start)};
}

/* ---- numbers ---- */

typedef struct Number {
    uint64_t digits;             /* as many as 64 bits hold */
    int64_t exponent;            /* of ten */
    bool negative, whole, exact; /* no fraction or exponent; no digit was left out */
} Number;

static inline bool is_digit(const LedgeJson *j)
{
    return j->p < j->end && (unsigned char)(*j->p - '0') < 10;
}

static inline void read_digits(LedgeJson *j, Number *n, bool fraction)
{
    for (; is_digit(j); j->p++) {
        const uint64_t digit = (uint64_t)(*j->p - '0');
        if (n->exact && n->digits <= (UINT64_MAX - digit) / 10) {
            n->digits = n->digits * 10 + digit;
            n->exponent -= fraction;
        } else {
            n->exact = false;
            n->exponent += !fraction;
        }
    }
}

/* The number's parts. RFC 8259: no leading zeros, a digit on both sides of the point. */
static void scan_number(LedgeJson *j, Number *n)
{
    *n = (Number){.whole = true, .exact = true};
    if (j->p < j->end && *j->p == '-') {
        n->negative = true;
        j->p++;
    }
    if (!is_digit(j))
        ledge__json_fault(j, "a number is wanted");
    if (is_digit(j) && *j->p == '0') {
        j->p++;
        if (is_digit(j))
            ledge__json_fault(j, "a number begins with 0");
    }
    read_digits(j, n, false);
    if (j->p < j->end && *j->p == '.') {
        n->whole = false;
        j->p++;
        if (!is_digit(j))
            ledge__json_fault(j, "a digit must follow the point");
        read_digits(j, n, true);
    }
    if (j->p < j->end && (*j->p | 32) == 'e') {
        n->whole = false;
        j->p++;
        bool minus = false;
        if (j->p < j->end && (*j->p == '-' || *j->p == '+'))
            minus = *j->p++ == '-';
        if (!is_digit(j))
            ledge__json_fault(j, "an exponent needs a digit");
        int64_t e = 0;
        for (; is_digit(j); j->p++)
            e = e < 100000 ? e * 10 + (*j->p - '0') : e;
        n->exponent += minus ? -e : e;
    }
}

/* Digits enough to tell any double from its neighbours, with a last one for all that is behind. */
enum { DIGITS = 800 };

/* By the C library, which is handed digits and an exponent alone: no locale has a say then. */
static double hard_value(const char *text, size_t size)
{
    char copy[DIGITS + 24];
    size_t used = 0;
    int64_t exponent = 0, written = 0;
    bool behind = false, more = false;
    const char *p = text, *end = text + size;
    for (; p < end && (*p | 32) != 'e'; p++) {
        if (*p == '-' || *p == '.') {
            behind |= *p == '.';
            continue;
        }
        const bool kept = used < DIGITS && (used > 0 || *p != '0');
        if (kept)
            copy[used++] = *p;
        else if (used)
            more |= *p != '0';
        exponent += (used && !kept ? 1 : 0) - (behind ? 1 : 0);
    }
    const bool minus = end - p > 1 && p[1] == '-';
    for (p += p < end ? 1 + (p[1] == '-' || p[1] == '+') : 0; p < end; p++)
        written = written < 100000000 ? written * 10 + (*p - '0') : written;
    if (more && used) { /* a digit that breaks ties */
        copy[used++] = '1';
        exponent--;
    }
    exponent += minus ? -written : written;
    snprintf(copy + used, sizeof copy - used, "%se%lld", used ? "" : "0",
             (long long)(exponent < -99999  ? -99999
                         : exponent > 99999 ? 99999
                                            : exponent));
    return strtod(copy, NULL);
}

/* The nearest double. */
static double value_of(const Number *n, const char *text, size_t size)
{
    double v;
    if (!n->exact || !ledge__quick_nearest(n->digits, n->exponent, &v))
        v = hard_value(text, size);
    return n->negative ? -v : v;
}

static inline double read_double(LedgeJson *j, Number *n)
{
    const char *text = j->p;
    scan_number(j, n);
    return j->bad ? 0 : value_of(n, text, (size_t)(j->p - text));
}

double ledge__json_number(LedgeJson *j)
{
    Number n;
    skip_space(j);
    const double v = read_double(j, &n);
    if (!isfinite(v))
        ledge__json_fault(j, "a number is out of range");
    return v;
}

/* Integers may be written with a fraction of zeros (1.0, 1e3), as some clients do. */
static bool to_integer(const Number *n, double v, int64_t low, uint64_t high, uint64_t *out)
{
    uint64_t magnitude = n->digits;
    if (!n->whole) {
        if (v != floor(v) || fabs(v) > 9007199254740992.0)
            return false;
        magnitude = (uint64_t)fabs(v);
    } else if (!n->exact) {
        return false;
    }
    if (n->negative ? magnitude > (uint64_t)0 - (uint64_t)low : magnitude > high)
        return false;
    *out = n->negative ? (uint64_t)0 - magnitude : magnitude;
    return true;
}

int64_t ledge__json_integer(LedgeJson *j)
{
    Number n;
    uint64_t out = 0;
    skip_space(j);
    const double v = read_double(j, &n);
    if (!j->bad && !to_integer(&n, v, INT64_MIN, INT64_MAX, &out))
        ledge__json_fault(j, "a whole number of 64 bits is wanted");
    return (int64_t)out;
}

int64_t ledge__json_natural(LedgeJson *j, const char *below)
{
    const int64_t n = ledge__json_integer(j);
    if (n < 0)
        ledge__json_fault(j, below);
    return n;
}

/* ---- the rest ---- */

static bool take_word(LedgeJson *j, const char *word)
{
    const size_t n = strlen(word);
    skip_space(j);
    if (j->bad || (size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return false;
    j->p += n;
    return true;
}

bool ledge__json_bool(LedgeJson *j)
{
    if (take_word(j, "true"))
        return true;
    if (!take_word(j, "false"))
        ledge__json_fault(j, "true or false is wanted");
    return false;
}

static void skip_string(LedgeJson *j)
{
    char piece[4];
    size_t n;
    (void)take(j, '"');
    while (string_piece(j, piece, &n)) {
    }
}

static void skip_scalar(LedgeJson *j, LedgeJsonKind kind)
{
    Number n;
    if (kind == LEDGE_JSON_STRING)
        skip_string(j);
    else if (kind == LEDGE_JSON_NUMBER)
        scan_number(j, &n);
    else if (!take_word(j, "true") && !take_word(j, "false") && !take_word(j, "null"))
        ledge__json_fault(j, "a value is wanted");
}

/* Without recursion: depth is bounded by what `enter` allows, a bit for each level. */
void ledge__json_skip(LedgeJson *j)
{
    const int base = j->depth;
    bool object[LEDGE_JSON_DEPTH + 2];
    do {
        const LedgeJsonKind kind = ledge__json_peek(j);
        if (kind == LEDGE_JSON_OBJECT || kind == LEDGE_JSON_ARRAY) {
            enter(j, kind == LEDGE_JSON_OBJECT ? '{' : '[', "");
            if (!j->bad)
                object[j->depth] = kind == LEDGE_JSON_OBJECT;
        } else {
            skip_scalar(j, kind);
        }
        /* Out of everything that ends here, to the next value. */
        char key[2];
        while (
            !j->bad && j->depth > base &&
            !(object[j->depth] ? ledge__json_member(j, key, sizeof key) : ledge__json_element(j))) {
        }
    } while (!j->bad && j->depth > base);
}

void ledge__json_finish(LedgeJson *j)
{
    skip_space(j);
    if (j->p != j->end)
        ledge__json_fault(j, "something follows the value");
}

/* ---- arrays of numbers ---- */

/* Integers that a double holds exactly, with their bounds. */
#define SHORT_INTEGERS(X)                                                                          \
    X(LEDGE_BOOL, uint8_t, 0, 1)                                                                   \
    X(LEDGE_UINT8, uint8_t, 0, UINT8_MAX)                                                          \
    X(LEDGE_UINT16, uint16_t, 0, UINT16_MAX)                                                       \
    X(LEDGE_UINT32, uint32_t, 0, UINT32_MAX)                                                       \
    X(LEDGE_INT8, int8_t, INT8_MIN, INT8_MAX)                                                      \
    X(LEDGE_INT16, int16_t, INT16_MIN, INT16_MAX)                                                  \
    X(LEDGE_INT32, int32_t, INT32_MIN, INT32_MAX)

static bool store_integer(LedgeType type, void *out, size_t i, const Number *n, double v)
{
    uint64_t u;
#define STORE(TYPE, c_type, low, high)                                                             \
    case TYPE:                                                                                     \
        if (!to_integer(n, v, low, high, &u))                                                      \
            return false;                                                                          \
        ((c_type *)out)[i] = (c_type)u;                                                            \
        return true;
    switch (type) {
        SHORT_INTEGERS(STORE)
        STORE(LEDGE_UINT64, uint64_t, 0, UINT64_MAX)
        STORE(LEDGE_INT64, int64_t, INT64_MIN, INT64_MAX)
    default:
        return false;
    }
#undef STORE
}

static void store_value(LedgeJson *j, LedgeType type, void *out, size_t i)
{
    Number n = {.whole = true, .exact = true};
    double v;
    if (*j->p == 't' || *j->p == 'f') {
        v = ledge__json_bool(j);
        n.digits = v != 0;
    } else {
        v = read_double(j, &n);
    }
    if (j->bad)
        return;
    if (type == LEDGE_FLOAT)
        ((float *)out)[i] = (float)v;
    else if (type == LEDGE_DOUBLE)
        ((double *)out)[i] = v;
    else if (!store_integer(type, out, i, &n, v))
        ledge__json_fault(j, "a number does not fit the datatype");
    if (type == LEDGE_FLOAT || type == LEDGE_DOUBLE)
        if (!isfinite(v) || (type == LEDGE_FLOAT && isinf(((float *)out)[i])))
            ledge__json_fault(j, "a number is out of range");
}

/* Whole numbers of up to 32 bits by way of doubles, which hold them exactly: some at a time, until
 * one is not for the type. It is left, with all that were read with it, to the slow way, which
 * finds the fault. */
static size_t quick_integers(LedgeJson *j, bool nested, LedgeType type, void *out, size_t room)
{
    enum { SOME = 256 };
    double v[SOME];
    size_t n = 0, many = SOME;
    while (many == SOME && n < room) {
        const LedgeJson before = *j;
        bool fits = true;
        if (n > 0) {
            if (j->p == j->end || *j->p != ',')
                return n;
            j->p++;
        }
        many = ledge__quick_numbers(j, nested, LEDGE_DOUBLE, v, room - n < SOME ? room - n : SOME,
                                    ledge__cpu_flags());
#define STORE(TYPE, c_type, low, high)                                                             \
    case TYPE:                                                                                     \
        for (size_t i = 0; i < many; i++) {                                                        \
            const bool in = v[i] >= (double)(low) && v[i] <= (double)(high);                       \
            const c_type whole = in ? (c_type)v[i] : 0;                                            \
            fits &= in & ((double)whole == v[i]);                                                  \
            ((c_type *)out)[n + i] = whole;                                                        \
        }                                                                                          \
        break;
        switch (type) {
            SHORT_INTEGERS(STORE)
        default:
            return 0;
        }
#undef STORE
        if (!fits || many == 0) {
            *j = before;
            return n;
        }
        n += many;
    }
    return n;
}

/* Mostly plain ones; where they are not, a few the other way. */
static size_t quick_bytes(LedgeJson *j, bool nested, uint8_t *out, size_t room)
{
    enum { BACK = 4, FEW = 32 };
    const char *p = j->p;
    const size_t n = nested || p - j->start < BACK
                         ? 0
                         : ledge__quick_bytes(&p, j->end, out, room, ledge__cpu_flags());
    if (n == 0)
        return quick_integers(j, nested, LEDGE_UINT8, out, nested || room < FEW ? room : FEW);
    j->p = p - 1;
    return n;
}

void ledge__json_numbers_begin(LedgeJson *j, LedgeJsonNumbers *a)
{
    a->n = 0;
    a->base = j->depth;
    ledge__json_array(j);
}

/* To the next number and past it, or past a bracket. */
static void numbers_step(LedgeJson *j, LedgeJsonNumbers *a)
{
    if (!ledge__json_element(j))
        return; /* out of this array, or a fault */
    skip_space(j);
    if (j->p < j->end && *j->p == '[') {
        ledge__json_array(j);
        return;
    }
    if (a->n == a->room) {
        ledge__json_fault(j, "more numbers than the shape has room for");
        return;
    }
    size_t many = 0;
    if (j->p == j->end)
        ledge__json_fault(j, "an array does not end");
    else if (a->type == LEDGE_UINT8)
        many = quick_bytes(j, j->depth > a->base + 1, (uint8_t *)a->out + a->n, a->room - a->n);
    else if (a->type != LEDGE_FLOAT && a->type != LEDGE_DOUBLE && ledge_type_bits(a->type) <= 32)
        many =
            quick_integers(j, j->depth > a->base + 1, a->type,
                           (char *)a->out + a->n * (ledge_type_bits(a->type) / 8), a->room - a->n);
    else if (a->type == LEDGE_FLOAT || a->type == LEDGE_DOUBLE)
        many = ledge__quick_numbers(j, j->depth > a->base + 1, a->type,
                                    (char *)a->out + a->n * (a->type == LEDGE_FLOAT ? 4 : 8),
                                    a->room - a->n, ledge__cpu_flags());
    a->n += many;
    if (!many && !j->bad)
        store_value(j, a->type, a->out, a->n++);
}

void ledge__json_numbers_ahead(LedgeJson *j, LedgeJsonNumbers *a)
{
    while (!j->bad && j->depth > a->base) {
        const LedgeJson before = *j;
        const size_t n = a->n;
        numbers_step(j, a);
        if (j->bad || j->p == j->end) { /* perhaps it only goes on */
            *j = before;
            a->n = n;
            return;
        }
    }
}

void ledge__json_numbers_end(LedgeJson *j, LedgeJsonNumbers *a)
{
    while (!j->bad && j->depth > a->base)
        numbers_step(j, a);
}

bool ledge__json_numbers_between(const char *p, const char *end, const char *have, LedgeType type,
                                 void *out, size_t at, size_t n)
{
    LedgeJson j = {.start = p, .p = p, .end = have, .depth = 1, .first = true};
    LedgeJsonNumbers a = {.type = type, .out = out, .room = at + n, .n = at};
    while (!j.bad && j.depth == 1 && a.n < a.room)
        numbers_step(&j, &a);
    return !j.bad && j.depth == 1 && j.p == end;
}

size_t ledge__json_numbers(LedgeJson *j, LedgeType type, void *out, size_t room)
{
    LedgeJsonNumbers a = {.type = type, .out = out, .room = room};
    ledge__json_numbers_begin(j, &a);
    ledge__json_numbers_end(j, &a);
    return a.n;
}
