/* Tensors whose bytes lie in another file: external_data's keys, and the bounds of what they
 * name. The file must be inside the model's own folder (onnx_map.c sees to that). The optional
 * SHA-1 `checksum` covers a whole file of possibly many tensors; it is kept but not checked,
 * for that would read every page of what is mapped so as not to be read. */
#include "engine/onnx/onnx_reader.h"

#include <stdio.h>
#include <string.h>

static bool parse_size(LedgeStr s, int64_t *out)
{
    int64_t v = 0;
    if (!s.n)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s.p[i] - '0', &v))
            return false;
    *out = v;
    return true;
}

static LedgeStatus fail(OnnxReader *r, const OnnxTensor *t, const char *what)
{
    char where[200];
    snprintf(where, sizeof where, "tensor '%.*s'", (int)(t->name.n < 120 ? t->name.n : 120),
             t->name.n ? t->name.p : "");
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "%s", what);
}

static LedgeStatus parse_entries(OnnxReader *r, OnnxTensor *t)
{
    for (size_t i = 0; i < t->n_external_data; i++) {
        const OnnxEntry *e = &t->external_data[i];
        bool ok = true;
        if (ledge__str_eq(e->key, "location"))
            t->location = e->value;
        else if (ledge__str_eq(e->key, "offset"))
            ok = parse_size(e->value, &t->offset);
        else if (ledge__str_eq(e->key, "length"))
            ok = parse_size(e->value, &t->length);
        if (!ok)
            return fail(r, t, "external_data's offset and length must be decimal numbers");
    }
    if (!t->location.n || memchr(t->location.p, '\0', t->location.n))
        return fail(r, t, "stored outside the model file but without a usable location");
    return LEDGE_OK;
}

/* Sets data to `length` bytes at `offset`, which must be in the file. */
static LedgeStatus take_range(OnnxReader *r, const OnnxMapping *m, size_t expected, OnnxTensor *t)
{
    const bool known = ledge_type_bits((LedgeType)t->data_type) != 0;
    const uint64_t offset = t->offset < 0 ? 0 : (uint64_t)t->offset;
    char what[200];
    if (offset > m->size)
        return fail(r, t, "its external data starts past the end of the data file");
    uint64_t length = t->length >= 0 ? (uint64_t)t->length : m->size - offset;
    if (t->length < 0 && known)
        length = expected;
    if (known && length != expected) {
        snprintf(what, sizeof what,
                 "type and dimensions take %zu bytes but external_data's length is %llu", expected,
                 (unsigned long long)length);
        return fail(r, t, what);
    }
    if (length > m->size - offset) {
        snprintf(what, sizeof what,
                 "%llu bytes at %llu reach past the end of its data file, which has %zu bytes",
                 (unsigned long long)length, (unsigned long long)offset, m->size);
        return fail(r, t, what);
    }
    t->data = m->bytes + offset;
    t->data_size = (size_t)length;
    return LEDGE_OK;
}

LedgeStatus ledge__onnx_open_external(OnnxReader *r, OnnxTensor *t, size_t expected)
{
    const OnnxMapping *m;
    LEDGE_TRY(parse_entries(r, t));
    if (!r->folder || !r->model)
        return fail(r, t,
                    "its bytes lie in another file, which a model read from memory does not "
                    "have; load the model by its path");
    char *name = ledge__arena_strn(r->arena, t->location.p, t->location.n);
    if (!name)
        return ledge__no_memory(r->err);
    LEDGE_TRY(ledge__onnx_map_in(r->arena, r->folder, name, &r->model->mappings, r->err, &m));
    return take_range(r, m, expected, t);
}
