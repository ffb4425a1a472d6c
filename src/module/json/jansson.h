/* The part of jansson's interface that the command line uses, for a target that Debian has no
 * jansson for; the functions do what jansson 2.14 documents under these names.
 *
 * Kept to what `run`, `bench` and `inspect` call: values are counted references, objects keep
 * their order, json_pack and the *_new functions take "o" references over even when they fail. */
#ifndef LEDGE_MODULE_JSON_JANSSON_H
#define LEDGE_MODULE_JSON_JANSSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef long long json_int_t;

typedef enum json_type {
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_INTEGER,
    JSON_REAL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
} json_type;

typedef struct json_t json_t;
struct json_t {
    json_type type;
    size_t refs, n, room;
    json_t **items; /* of arrays and objects */
    char **keys;    /* of objects, as many as items */
    char *text;
    json_int_t integer;
    double real;
};

typedef struct json_error_t {
    int line, column, position;
    char text[160];
} json_error_t;

#define JSON_INDENT(n)         ((size_t)(n))
#define JSON_PRESERVE_ORDER    ((size_t)0x100)
#define JSON_REAL_PRECISION(n) ((size_t)(n) << 11)
#define JSON_REJECT_DUPLICATES ((size_t)1)

#define json_is_object(v)  ((v) && (v)->type == JSON_OBJECT)
#define json_is_array(v)   ((v) && (v)->type == JSON_ARRAY)
#define json_is_string(v)  ((v) && (v)->type == JSON_STRING)
#define json_is_integer(v) ((v) && (v)->type == JSON_INTEGER)
#define json_is_number(v)  ((v) && ((v)->type == JSON_INTEGER || (v)->type == JSON_REAL))
#define json_is_null(v)    ((v) && (v)->type == JSON_NULL)

json_t *json_object(void);
json_t *json_array(void);
json_t *json_string(const char *utf8); /* NULL: not UTF-8 */
json_t *json_integer(json_int_t value);
json_t *json_real(double value); /* NULL: not finite */
json_t *json_boolean(bool value);
json_t *json_null(void);
json_t *json_incref(json_t *v);
void json_decref(json_t *v);

size_t json_array_size(const json_t *a);
json_t *json_array_get(const json_t *a, size_t i);
int json_array_append_new(json_t *a, json_t *v);
size_t json_object_size(const json_t *o);
json_t *json_object_get(const json_t *o, const char *key);
int json_object_set_new(json_t *o, const char *key, json_t *v);
int json_object_update(json_t *o, json_t *from);
bool json__object_at(const json_t *o, size_t i, const char **key, json_t **v);
#define json_object_foreach(o, key, v)                                                             \
    for (size_t json__i = 0; json__object_at(o, json__i, &(key), &(v)); json__i++)

const char *json_string_value(const json_t *v);
json_int_t json_integer_value(const json_t *v);
double json_number_value(const json_t *v);

/* Formats: {} [] s o i I f b, with s also for keys. */
json_t *json_pack(const char *fmt, ...);
json_t *json_loadb(const char *text, size_t size, size_t flags, json_error_t *err);
char *json_dumps(const json_t *v, size_t flags); /* freed by free() */
int json_dumpf(const json_t *v, FILE *to, size_t flags);

#endif
