/* JSON values: counted references, arrays, objects in the order of their members. See
 * json/jansson.h for why this is here and what it must do. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FOREVER SIZE_MAX /* references of a value that is never freed */

static json_t *value_new(json_type type)
{
    json_t *v = calloc(1, sizeof *v);
    if (v) {
        v->type = type;
        v->refs = 1;
    }
    return v;
}

json_t *json_object(void)
{
    return value_new(JSON_OBJECT);
}

json_t *json_array(void)
{
    return value_new(JSON_ARRAY);
}

json_t *json_string(const char *utf8)
{
    const size_t n = utf8 ? strlen(utf8) : 0;
    if (!utf8)
        return NULL;
    for (size_t i = 0, k; i < n; i += k)
        if ((k = ledge__utf8_length(utf8 + i, n - i)) == 0)
            return NULL;
    json_t *v = value_new(JSON_STRING);
    if (v && !(v->text = strdup(utf8))) {
        free(v);
        return NULL;
    }
    return v;
}

json_t *json_integer(json_int_t value)
{
    json_t *v = value_new(JSON_INTEGER);
    if (v)
        v->integer = value;
    return v;
}

json_t *json_real(double value)
{
    json_t *v = isfinite(value) ? value_new(JSON_REAL) : NULL;
    if (v)
        v->real = value;
    return v;
}

json_t *json_boolean(bool value)
{
    static json_t yes = {.type = JSON_TRUE, .refs = FOREVER};
    static json_t no = {.type = JSON_FALSE, .refs = FOREVER};
    return value ? &yes : &no;
}

json_t *json_null(void)
{
    static json_t null = {.type = JSON_NULL, .refs = FOREVER};
    return &null;
}

json_t *json_incref(json_t *v)
{
    if (v && v->refs != FOREVER)
        v->refs++;
    return v;
}

void json_decref(json_t *v)
{
    if (!v || v->refs == FOREVER || --v->refs > 0)
        return;
    for (size_t i = 0; i < v->n; i++) {
        json_decref(v->items[i]);
        if (v->keys)
            free(v->keys[i]);
    }
    free(v->items);
    free(v->keys);
    free(v->text);
    free(v);
}

/* Room for one more item, and its key in an object. */
static bool grow(json_t *v)
{
    if (v->n < v->room)
        return true;
    const size_t room = v->room ? 2 * v->room : 8;
    json_t **items = realloc(v->items, room * sizeof(json_t *));
    v->items = items ? items : v->items;
    if (!items)
        return false;
    if (v->type == JSON_OBJECT) {
        char **keys = realloc(v->keys, room * sizeof(char *));
        v->keys = keys ? keys : v->keys;
        if (!keys)
            return false;
    }
    v->room = room;
    return true;
}

size_t json_array_size(const json_t *a)
{
    return json_is_array(a) ? a->n : 0;
}

json_t *json_array_get(const json_t *a, size_t i)
{
    return i < json_array_size(a) ? a->items[i] : NULL;
}

int json_array_append_new(json_t *a, json_t *v)
{
    if (!v || !json_is_array(a) || !grow(a)) {
        json_decref(v);
        return -1;
    }
    a->items[a->n++] = v;
    return 0;
}

size_t json_object_size(const json_t *o)
{
    return json_is_object(o) ? o->n : 0;
}

static size_t place(const json_t *o, const char *key)
{
    size_t i = 0;
    while (i < json_object_size(o) && strcmp(o->keys[i], key) != 0)
        i++;
    return i;
}

json_t *json_object_get(const json_t *o, const char *key)
{
    const size_t i = place(o, key);
    return i < json_object_size(o) ? o->items[i] : NULL;
}

int json_object_set_new(json_t *o, const char *key, json_t *v)
{
    const size_t i = place(o, key);
    if (!v || !json_is_object(o) || (i == o->n && !grow(o))) {
        json_decref(v);
        return -1;
    }
    if (i < o->n) {
        json_decref(o->items[i]);
    } else if (!(o->keys[i] = strdup(key))) {
        json_decref(v);
        return -1;
    } else {
        o->n++;
    }
    o->items[i] = v;
    return 0;
}

int json_object_update(json_t *o, json_t *from)
{
    int failed = json_is_object(from) ? 0 : -1;
    for (size_t i = 0; i < json_object_size(from); i++)
        failed |= json_object_set_new(o, from->keys[i], json_incref(from->items[i]));
    return failed;
}

bool json__object_at(const json_t *o, size_t i, const char **key, json_t **v)
{
    if (i >= json_object_size(o))
        return false;
    *key = o->keys[i];
    *v = o->items[i];
    return true;
}

const char *json_string_value(const json_t *v)
{
    return json_is_string(v) ? v->text : NULL;
}

json_int_t json_integer_value(const json_t *v)
{
    return json_is_integer(v) ? v->integer : 0;
}

double json_number_value(const json_t *v)
{
    if (json_is_integer(v))
        return (double)v->integer;
    return v && v->type == JSON_REAL ? v->real : 0;
}

/* ---- packing ---- */

typedef struct Pack {
    const char *at; /* in the format */
    va_list args;
    bool failed;
} Pack;

static char next(Pack *p)
{
    while (*p->at && strchr(" ,:\t\n", *p->at))
        p->at++;
    return *p->at ? *p->at++ : '\0';
}

/* All arguments are read whatever goes wrong, since those of "o" are ours to release. */
static json_t *pack(Pack *p, char kind)
{
    json_t *v = NULL;
    switch (kind) {
    case '{':
        v = json_object();
        for (char c = next(p); c == 's'; c = next(p)) {
            const char *key = va_arg(p->args, const char *);
            if (json_object_set_new(v, key, pack(p, next(p))))
                p->failed = true;
        }
        return v;
    case '[':
        v = json_array();
        for (char c = next(p); c && c != ']'; c = next(p))
            if (json_array_append_new(v, pack(p, c)))
                p->failed = true;
        return v;
    case 's':
        return json_string(va_arg(p->args, const char *));
    case 'o':
        return va_arg(p->args, json_t *);
    case 'i':
        return json_integer(va_arg(p->args, int));
    case 'I':
        return json_integer(va_arg(p->args, json_int_t));
    case 'f':
        return json_real(va_arg(p->args, double));
    case 'b':
        return json_boolean(va_arg(p->args, int));
    default:
        p->failed = true;
        return NULL;
    }
}

json_t *json_pack(const char *fmt, ...)
{
    Pack p = {.at = fmt};
    va_start(p.args, fmt);
    json_t *v = pack(&p, next(&p));
    va_end(p.args);
    if (!p.failed)
        return v;
    json_decref(v);
    return NULL;
}
