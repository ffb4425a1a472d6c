/* For guests: as much JSON as a request of one object and its answer need, without a library.
 *
 * A value is found by its key and stays text; numbers and strings are read from there. Whoever
 * sent it is not trusted: nothing here reads past the end or recurses without bound. */
#ifndef LEDGE_GUEST_JSON_H
#define LEDGE_GUEST_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct GuestJson { /* a value's text; p NULL: there is none */
    const char *p, *end;
} GuestJson;

static inline const char *guest_json_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* Behind the value that begins at p; NULL: there is no whole one. */
static inline const char *guest_json_skip(const char *p, const char *end)
{
    int depth = 0;
    do {
        p = guest_json_blank(p, end);
        if (p >= end)
            return NULL;
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\';
            if (p >= end)
                return NULL;
            p++;
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
            continue;
        } else if (*p == '}' || *p == ']') {
            if (--depth < 0)
                return NULL;
            p++;
        } else if (*p == ',' || *p == ':') {
            if (!depth)
                return NULL;
            p++;
        } else {
            while (p < end && !strchr(" \t\r\n,:[]{}\"", *p))
                p++;
        }
    } while (depth);
    return p;
}

/* The value of `key` in an object. */
static inline GuestJson guest_json_get(GuestJson o, const char *key)
{
    const size_t n = strlen(key);
    const char *p = o.p ? guest_json_blank(o.p, o.end) : NULL;
    if (!p || p >= o.end || *p != '{')
        return (GuestJson){NULL, NULL};
    for (p++; p; p++) {
        const char *name = guest_json_blank(p, o.end);
        const char *colon = name < o.end && *name == '"' ? guest_json_skip(name, o.end) : NULL;
        const char *name_end = colon;
        colon = colon ? guest_json_blank(colon, o.end) : NULL;
        if (!colon || colon >= o.end || *colon != ':')
            break;
        const char *value = guest_json_blank(colon + 1, o.end);
        const char *end = guest_json_skip(value, o.end);
        if (!end)
            break;
        if ((size_t)(name_end - name) == n + 2 && memcmp(name + 1, key, n) == 0)
            return (GuestJson){value, end};
        p = guest_json_blank(end, o.end);
        if (p >= o.end || *p != ',')
            break;
    }
    return (GuestJson){NULL, NULL};
}

static inline bool guest_json_is(GuestJson v, char first)
{
    return v.p && v.p < v.end && *v.p == first;
}

/* The text between the quotes, escapes as they stand. */
static inline GuestJson guest_json_text(GuestJson v)
{
    return guest_json_is(v, '"') ? (GuestJson){v.p + 1, v.end - 1} : (GuestJson){NULL, NULL};
}

static inline double guest_json_number(GuestJson v, double otherwise)
{
    char text[40], *end;
    const size_t n = v.p ? (size_t)(v.end - v.p) : 0;
    if (!n || n >= sizeof text)
        return otherwise;
    memcpy(text, v.p, n);
    text[n] = '\0';
    const double d = strtod(text, &end);
    return end == text + n ? d : otherwise;
}

/* The next element of an array: *at begins as the array's own p. */
static inline bool guest_json_next(GuestJson array, const char **at, GuestJson *out)
{
    const char *p = guest_json_blank(*at, array.end);
    if (p >= array.end || (*p != '[' && *p != ','))
        return false;
    p = guest_json_blank(p + 1, array.end);
    const char *end = p < array.end && *p != ']' ? guest_json_skip(p, array.end) : NULL;
    if (!end)
        return false;
    *out = (GuestJson){p, end};
    *at = end;
    return true;
}

/* ---- writing ---- */

/* Text that grows, ended by a NUL; what there was no memory for is missing. p is freed by free().
 */
typedef struct GuestText {
    char *p;
    size_t n, room;
} GuestText;

static inline void guest_put(GuestText *t, const char *s, size_t n)
{
    if (!t->p || t->n + n + 1 > t->room) {
        const size_t room = (t->n + n + 1) * 2;
        char *grown = realloc(t->p, room);
        if (!grown)
            return;
        t->p = grown;
        t->room = room;
    }
    memcpy(t->p + t->n, s, n);
    t->n += n;
    t->p[t->n] = '\0';
}

static inline void guest_put_text(GuestText *t, const char *s)
{
    guest_put(t, s, strlen(s));
}

/* A JSON string of n bytes of UTF-8. */
static inline void guest_put_string(GuestText *t, const char *s, size_t n)
{
    guest_put_text(t, "\"");
    for (size_t i = 0; i < n; i++) {
        char code[8];
        if (s[i] == '"' || s[i] == '\\')
            guest_put_text(t, "\\");
        if ((unsigned char)s[i] < 0x20) {
            snprintf(code, sizeof code, "\\u%04x", (unsigned)s[i]);
            guest_put_text(t, code);
        } else {
            guest_put(t, s + i, 1);
        }
    }
    guest_put_text(t, "\"");
}

#endif
