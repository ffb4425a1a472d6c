/* Canonical JSON, see canonical_json.h. */
#include "trust/canonical_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

typedef struct Text {
    LedgeText out;
    LedgeError *err;
} Text;

static void put(Text *t, const char *bytes, size_t n)
{
    ledge__text_put(&t->out, bytes, n);
}

static void put_string(Text *t, const char *s)
{
    put(t, "\"", 1);
    while (*s) {
        const size_t plain = strcspn(s, "\"\\");
        put(t, s, plain);
        s += plain;
        if (*s) {
            const char escaped[2] = {'\\', *s++};
            put(t, escaped, 2);
        }
    }
    put(t, "\"", 1);
}

static LedgeStatus put_value(Text *t, const json_t *value, int depth);

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static LedgeStatus put_members(Text *t, const json_t *object, const char **keys, int depth)
{
    size_t n = 0;
    for (void *it = json_object_iter((json_t *)object); it;
         it = json_object_iter_next((json_t *)object, it))
        keys[n++] = json_object_iter_key(it);
    qsort(keys, n, sizeof *keys, by_bytes);
    put(t, "{", 1);
    for (size_t i = 0; i < n; i++) {
        if (i)
            put(t, ",", 1);
        put_string(t, keys[i]);
        put(t, ":", 1);
        LEDGE_TRY(put_value(t, json_object_get(object, keys[i]), depth));
    }
    put(t, "}", 1);
    return LEDGE_OK;
}

static LedgeStatus put_object(Text *t, const json_t *object, int depth)
{
    const char **keys = calloc(json_object_size(object) + 1, sizeof *keys);
    if (!keys)
        return ledge__no_memory(t->err);
    LedgeStatus status = put_members(t, object, keys, depth);
    free(keys);
    return status;
}

static LedgeStatus put_array(Text *t, const json_t *array, int depth)
{
    put(t, "[", 1);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            put(t, ",", 1);
        LEDGE_TRY(put_value(t, json_array_get(array, i), depth));
    }
    put(t, "]", 1);
    return LEDGE_OK;
}

static LedgeStatus put_value(Text *t, const json_t *value, int depth)
{
    if (depth >= LEDGE_CANONICAL_DEPTH)
        return ledge__fail(t->err, LEDGE_ERROR_LIMIT, NULL,
                           "arrays and objects go deeper than the %d levels allowed",
                           LEDGE_CANONICAL_DEPTH);
    if (json_is_object(value))
        return put_object(t, value, depth + 1);
    if (json_is_array(value))
        return put_array(t, value, depth + 1);
    if (json_is_string(value))
        put_string(t, json_string_value(value));
    else if (json_is_integer(value))
        ledge__text_printf(&t->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        ledge__text_add(&t->out, json_is_true(value) ? "true" : "false");
    else if (json_is_null(value))
        ledge__text_add(&t->out, "null");
    else
        return ledge__fail(t->err, LEDGE_ERROR_FORMAT, NULL,
                           "signed JSON holds whole numbers only, and this one has a fraction or "
                           "an exponent");
    return LEDGE_OK;
}

LedgeStatus ledge__canonical_json(const json_t *value, LedgeError *err, char **out, size_t *size)
{
    Text t = {.err = err};
    LedgeStatus status = put_value(&t, value, 0);
    if (status == LEDGE_OK && t.out.failed)
        status = ledge__no_memory(err);
    if (status) {
        ledge__text_free(&t.out);
        return status;
    }
    *out = t.out.p;
    *size = t.out.n;
    return LEDGE_OK;
}

/* The parser recurses, so depth is bounded before it begins. */
static bool is_too_deep(const char *p, size_t n)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            in_string = !in_string;
        else if (!in_string && (p[i] == '{' || p[i] == '['))
            depth++;
        else if (!in_string && (p[i] == '}' || p[i] == ']'))
            depth--;
        if (depth > LEDGE_CANONICAL_DEPTH)
            return true;
    }
    return false;
}

LedgeStatus ledge__json_parse(const char *where, const void *bytes, size_t size, LedgeError *err,
                              json_t **out)
{
    json_error_t fault;
    if (is_too_deep(bytes, size))
        return ledge__fail(err, LEDGE_ERROR_LIMIT, where,
                           "its arrays and objects go deeper than the %d levels allowed",
                           LEDGE_CANONICAL_DEPTH);
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return json_error_code(&fault) == json_error_out_of_memory
                   ? ledge__no_memory(err)
                   : ledge__fail(err, LEDGE_ERROR_FORMAT, where, "is not JSON: %s at line %d",
                                 fault.text, fault.line);
    if (!json_is_object(root)) {
        json_decref(root);
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "must be one JSON object");
    }
    *out = root;
    return LEDGE_OK;
}
