/* JSON values from text and to text, on the scanner and writer that the server has. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "serve/json_write.h"

/* ---- to text ---- */

static void line(LedgeText *t, size_t indent, size_t depth)
{
    if (indent)
        ledge__text_printf(t, "\n%*s", (int)(indent * depth), "");
}

static void put_real(LedgeText *t, double v, size_t flags)
{
    char digits[40];
    const int precision = (int)(flags >> 11 & 31);
    snprintf(digits, sizeof digits, "%.*g", precision ? precision : 17, v);
    /* read back, it must be a real again */
    ledge__text_printf(t, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static void put(LedgeText *t, const json_t *v, size_t flags, size_t depth);

static void put_items(LedgeText *t, const json_t *v, size_t flags, size_t depth)
{
    const bool object = v->type == JSON_OBJECT;
    const size_t indent = flags & 31;
    ledge__text_add(t, object ? "{" : "[");
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            ledge__text_add(t, indent ? "," : ", ");
        line(t, indent, depth + 1);
        if (object) {
            ledge__json_put_text(t, v->keys[i]);
            ledge__text_add(t, ": ");
        }
        put(t, v->items[i], flags, depth + 1);
    }
    if (v->n)
        line(t, indent, depth);
    ledge__text_add(t, object ? "}" : "]");
}

static void put(LedgeText *t, const json_t *v, size_t flags, size_t depth)
{
    switch (v->type) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        put_items(t, v, flags, depth);
        break;
    case JSON_STRING:
        ledge__json_put_text(t, v->text);
        break;
    case JSON_INTEGER:
        ledge__json_put_integer(t, v->integer);
        break;
    case JSON_REAL:
        put_real(t, v->real, flags);
        break;
    default:
        ledge__text_add(t, v->type == JSON_NULL ? "null" : v->type == JSON_TRUE ? "true" : "false");
    }
}

char *json_dumps(const json_t *v, size_t flags)
{
    LedgeText t = {0};
    put(&t, v, flags, 0);
    if (t.failed) {
        ledge__text_free(&t);
        return NULL;
    }
    return t.p;
}

int json_dumpf(const json_t *v, FILE *to, size_t flags)
{
    char *text = json_dumps(v, flags);
    const bool bad = !text || fputs(text, to) < 0;
    free(text);
    return bad ? -1 : 0;
}

/* ---- from text ---- */

#define KEY_MAX 256

static json_t *read_value(LedgeJson *j);

static json_t *read_object(LedgeJson *j)
{
    char key[KEY_MAX];
    json_t *o = json_object();
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (json_object_get(o, key))
            ledge__json_fault(j, "a key is there twice");
        if (json_object_set_new(o, key, read_value(j)) && !j->bad)
            ledge__json_fault(j, "out of memory");
    }
    return o;
}

static json_t *read_array(LedgeJson *j)
{
    json_t *a = json_array();
    ledge__json_array(j);
    while (ledge__json_element(j))
        if (json_array_append_new(a, read_value(j)) && !j->bad)
            ledge__json_fault(j, "out of memory");
    return a;
}

static json_t *read_string(LedgeJson *j)
{
    const LedgeStr s = ledge__json_bytes(j);
    char *text = j->bad ? NULL : strndup(s.p, s.n);
    json_t *v = text && strlen(text) == s.n ? json_string(text) : NULL;
    free(text);
    return v;
}

/* A number without fraction and exponent is an integer. */
static json_t *read_number(LedgeJson *j)
{
    const char *p = j->p;
    while (p < j->end && strchr("+-0123456789", *p))
        p++;
    if (p < j->end && strchr(".eE", *p))
        return json_real(ledge__json_number(j));
    return json_integer(ledge__json_integer(j));
}

static json_t *read_value(LedgeJson *j)
{
    switch (ledge__json_peek(j)) {
    case LEDGE_JSON_OBJECT:
        return read_object(j);
    case LEDGE_JSON_ARRAY:
        return read_array(j);
    case LEDGE_JSON_STRING:
        return read_string(j);
    case LEDGE_JSON_NUMBER:
        return read_number(j);
    case LEDGE_JSON_TRUE:
    case LEDGE_JSON_FALSE:
        return json_boolean(ledge__json_bool(j));
    case LEDGE_JSON_NULL:
        ledge__json_skip(j);
        return json_null();
    default:
        return NULL;
    }
}

json_t *json_loadb(const char *text, size_t size, size_t flags, json_error_t *err)
{
    LedgeJson j;
    json_t *v = NULL;
    char *copy = malloc(size + 1); /* strings are decoded in place */
    (void)flags;                   /* keys that are there twice are always refused */
    memset(err, 0, sizeof *err);
    if (copy) {
        memcpy(copy, text, size);
        ledge__json_begin(&j, copy, size);
        v = read_value(&j);
        ledge__json_finish(&j);
    }
    if (!copy || !v || j.bad) {
        snprintf(err->text, sizeof err->text, "%s", copy && j.bad ? j.bad : "out of memory");
        err->line = 1;
        err->position = err->column = copy ? (int)(j.p - j.start) : 0;
        json_decref(v);
        v = NULL;
    }
    free(copy);
    return v;
}
