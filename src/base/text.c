/* Growing text, see text.h. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ledge__text_free(LedgeText *t)
{
    ledge__free(t->allocator, t->p);
    ledge__text_init(t, t->allocator);
}

char *ledge__text_room(LedgeText *t, size_t more)
{
    size_t need;
    if (t->failed)
        return NULL;
    if (t->room - t->n > more)
        return t->p + t->n;
    const size_t room = ledge__add(t->n, more, &need) && need <= SIZE_MAX / 4 ? 2 * need + 256 : 0;
    char *p = room ? ledge__alloc(t->allocator, room, 1) : NULL;
    t->failed = p == NULL;
    if (!p)
        return NULL;
    if (t->n)
        memcpy(p, t->p, t->n);
    p[t->n] = '\0';
    ledge__free(t->allocator, t->p);
    t->p = p;
    t->room = room;
    return p + t->n;
}

void ledge__text_put(LedgeText *t, const void *from, size_t n)
{
    char *to = ledge__text_room(t, n);
    if (!to)
        return;
    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
    t->n += n;
}

void ledge__text_add(LedgeText *t, const char *text)
{
    ledge__text_put(t, text, strlen(text));
}

void ledge__text_printf(LedgeText *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *to = n < 0 ? NULL : ledge__text_room(t, (size_t)n);
    t->failed |= to == NULL;
    if (!to)
        return;
    va_start(args, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, args);
    va_end(args);
    t->n += (size_t)n;
}

size_t ledge__utf8_length(const char *s, size_t n)
{
    const uint8_t *u = (const uint8_t *)s;
    const uint8_t a = u[0];
    if (a < 0x80)
        return 1;
    const size_t length = a < 0xc2 || a > 0xf4 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : 4;
    if (length == 0 || length > n)
        return 0;
    const uint8_t low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
    if (u[1] < low || u[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (u[i] < 0x80 || u[i] > 0xbf)
            return 0;
    return length;
}
