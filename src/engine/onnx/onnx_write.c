/* The ONNX writer: walks the structures by the same tables as the reader.
 *
 * Fields are written in the order of their numbers and unknown ones where their number falls,
 * which is what the protobuf library does: a file written by it comes out byte for byte.
 * A message's length stands before it, so each is walked once to count and once to write;
 * the walk and the counting are the same code with another sink. */
#include "engine/onnx/onnx_writer.h"

#include <stdlib.h>
#include <string.h>

void ledge__onnx_put(OnnxWriter *w, const void *bytes, size_t n)
{
    if (w->status)
        return;
    if (w->memory && n)
        memcpy(w->memory + w->count, bytes, n);
    if (w->file)
        w->status = ledge__out_file_write(w->file, bytes, n, w->err);
    w->count += n;
}

void ledge__onnx_put_varint(OnnxWriter *w, uint64_t v)
{
    uint8_t bytes[10];
    ledge__onnx_put(w, bytes, (size_t)(ledge__wire_put_varint(bytes, v) - bytes));
}

void ledge__onnx_put_bytes(OnnxWriter *w, uint32_t number, const void *bytes, size_t n)
{
    ledge__onnx_put_varint(w, ledge__wire_tag(number, WIRE_LEN));
    ledge__onnx_put_varint(w, n);
    ledge__onnx_put(w, bytes, n);
}

static void put_number(OnnxWriter *w, uint32_t number, uint64_t v)
{
    ledge__onnx_put_varint(w, ledge__wire_tag(number, WIRE_VARINT));
    ledge__onnx_put_varint(w, v);
}

static void put_float(OnnxWriter *w, uint32_t number, const void *f)
{
    ledge__onnx_put_varint(w, ledge__wire_tag(number, WIRE_I32));
    ledge__onnx_put(w, f, sizeof(float));
}

static OnnxWriter counting(const OnnxWriter *w)
{
    return (OnnxWriter){.placements = w->placements, .n_placements = w->n_placements};
}

/* `even_empty`: a message without fields is written too. */
static void put_submessage(OnnxWriter *w, uint32_t number, const OnnxMessage *m,
                           const void *message, bool even_empty)
{
    OnnxWriter c = counting(w);
    ledge__onnx_put_message(&c, m, message);
    if (!c.count && !even_empty)
        return;
    ledge__onnx_put_varint(w, ledge__wire_tag(number, WIRE_LEN));
    ledge__onnx_put_varint(w, c.count);
    if (w->memory || w->file)
        ledge__onnx_put_message(w, m, message);
    else
        w->count += c.count;
}

/* Whether a field that holds its default is to be written all the same. */
static bool is_asked(const OnnxMessage *m, const void *message, const OnnxField *f)
{
    if (m == &ledge__onnx_attr && f->only)
        return ((const OnnxAttr *)message)->ref_attr_name.n == 0;
    if (m->present == ONNX_NO_MEMBER)
        return false;
    const uint32_t bits = *(const uint32_t *)ledge__onnx_member(message, m->present);
    return bits >> (f - m->fields) & 1;
}

static void put_array(OnnxWriter *w, const OnnxField *f, const void *member, size_t count)
{
    const char *array = *(char *const *)member;
    for (size_t i = 0; i < count && !w->status; i++) {
        switch ((OnnxFieldKind)f->kind) {
        case ONNX_FIELD_STRINGS:
            ledge__onnx_put_bytes(w, f->number, ((const LedgeStr *)array)[i].p,
                                  ((const LedgeStr *)array)[i].n);
            break;
        case ONNX_FIELD_INT64S:
            put_number(w, f->number, (uint64_t)((const int64_t *)array)[i]);
            break;
        case ONNX_FIELD_FLOATS:
            put_float(w, f->number, (const float *)array + i);
            break;
        default:
            put_submessage(w, f->number, f->sub, array + i * f->sub->size, true);
            break;
        }
    }
}

static void put_scalar(OnnxWriter *w, const OnnxField *f, const void *member, bool asked)
{
    const LedgeStr *s = member;
    uint64_t v = 0;
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_STRING:
        if (s->p || (asked && f->only))
            ledge__onnx_put_bytes(w, f->number, s->p, s->n);
        return;
    case ONNX_FIELD_FLOAT:
        memcpy(&v, member, sizeof(float));
        if (v || asked)
            put_float(w, f->number, member);
        return;
    case ONNX_FIELD_DIM:
        if (*(const int64_t *)member >= 0)
            put_number(w, f->number, (uint64_t) * (const int64_t *)member);
        return;
    case ONNX_FIELD_INT64:
        v = (uint64_t) * (const int64_t *)member;
        break;
    case ONNX_FIELD_INT32:
        v = (uint64_t)(int64_t) * (const int32_t *)member;
        break;
    default:
        v = *(const bool *)member;
        break;
    }
    if (v || asked)
        put_number(w, f->number, v);
}

static void put_field(OnnxWriter *w, const OnnxMessage *m, const OnnxField *f, const void *message)
{
    const void *member =
        f->offset == ONNX_NO_MEMBER ? NULL : ledge__onnx_member(message, f->offset);
    const size_t *count = ledge__onnx_member(message, f->count);
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_STRINGS:
    case ONNX_FIELD_INT64S:
    case ONNX_FIELD_FLOATS:
    case ONNX_FIELD_MESSAGES:
    case ONNX_FIELD_SINGLE:
        put_array(w, f, member, *count);
        break;
    case ONNX_FIELD_MESSAGE:
        put_submessage(w, f->number, f->sub, member, is_asked(m, message, f));
        break;
    case ONNX_FIELD_POINTER:
        if (*(void *const *)member)
            put_submessage(w, f->number, f->sub, *(void *const *)member, true);
        break;
    case ONNX_FIELD_INLINE:
        if (!member || *(const bool *)member)
            put_submessage(w, f->number, f->sub, message, true);
        break;
    case ONNX_FIELD_DATA:
        ledge__onnx_put_data(w, message, f->number, is_asked(m, message, f));
        break;
    default:
        put_scalar(w, f, member, is_asked(m, message, f));
        break;
    }
}

/* Unknown fields numbered below `limit`, from *next on. */
static void put_unknown(OnnxWriter *w, const OnnxUnknown *u, size_t *next, uint32_t limit)
{
    for (; *next < u->count; ++*next) {
        const LedgeStr item = u->items[*next];
        WireSpan s = {(const uint8_t *)item.p, item.n, 0};
        uint64_t tag;
        if (ledge__wire_varint(&s, &tag, NULL) || tag >> 3 >= limit)
            return;
        ledge__onnx_put(w, item.p, item.n);
    }
}

static void put_fields(OnnxWriter *w, const OnnxMessage *m, const void *message)
{
    const OnnxUnknown *u = ledge__onnx_member(message, m->unknown);
    size_t next = 0;
    for (size_t i = 0; i < m->n_fields && !w->status; i++) {
        const OnnxField *f = &m->fields[i];
        put_unknown(w, u, &next, f->number);
        if (!m->active || m->active(message, f))
            put_field(w, m, f, message);
    }
    put_unknown(w, u, &next, UINT32_MAX);
}

static int compare_placements(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t)((const OnnxPlacement *)a)->tensor;
    const uintptr_t y = (uintptr_t)((const OnnxPlacement *)b)->tensor;
    return x < y ? -1 : x > y;
}

#define DATA_LOCATION 14 /* TensorProto's field number */

static void put_inline_tensor(OnnxWriter *w, const OnnxTensor *external)
{
    OnnxTensor t = *external;
    t.external = false;
    t.typed_storage = false;
    t.n_external_data = 0;
    for (size_t i = 0; i < ledge__onnx_tensor.n_fields; i++)
        if (ledge__onnx_tensor.fields[i].number == DATA_LOCATION)
            t.present &= ~(1u << i);
    put_fields(w, &ledge__onnx_tensor, &t);
}

/* external_data with the offset of this writing; keys other than these (but the checksum of
 * the old file) are kept. */
static void put_placed_tensor(OnnxWriter *w, const OnnxTensor *external, uint64_t offset)
{
    char texts[2][24];
    OnnxEntry entries[16] = {0};
    size_t n = 0;
    const char *const ours[] = {"location", "offset", "length", "checksum"};
    for (int i = 0; i < 2; i++) {
        const uint64_t v = i == 0 ? offset : external->data_size;
        char digits[24];
        size_t k = sizeof digits, rest = v;
        do
            digits[--k] = (char)('0' + rest % 10);
        while (rest /= 10);
        memcpy(texts[i], digits + k, sizeof digits - k);
        entries[1 + i].value = (LedgeStr){texts[i], sizeof digits - k};
    }
    entries[0].value = external->location;
    for (n = 0; n < 3; n++)
        entries[n].key = (LedgeStr){ours[n], strlen(ours[n])};
    for (size_t i = 0; i < external->n_external_data && n < 16; i++) {
        bool known = false;
        for (size_t k = 0; k < 4; k++)
            known |= ledge__str_eq(external->external_data[i].key, ours[k]);
        if (!known)
            entries[n++] = external->external_data[i];
    }
    OnnxTensor t = *external;
    t.external_data = entries;
    t.n_external_data = n;
    put_fields(w, &ledge__onnx_tensor, &t);
}

static void put_external_tensor(OnnxWriter *w, const OnnxTensor *t)
{
    const OnnxPlacement key = {.tensor = t};
    const OnnxPlacement *p = w->n_placements ? bsearch(&key, w->placements, w->n_placements,
                                                       sizeof key, compare_placements)
                                             : NULL;
    if (p)
        put_placed_tensor(w, t, p->offset);
    else
        put_inline_tensor(w, t);
}

void ledge__onnx_put_message(OnnxWriter *w, const OnnxMessage *m, const void *message)
{
    if (m == &ledge__onnx_tensor && ((const OnnxTensor *)message)->external)
        put_external_tensor(w, message);
    else
        put_fields(w, m, message);
}

void ledge__onnx_visit_tensors(const OnnxMessage *m, const void *message, OnnxTensorFn fn,
                               void *arg)
{
    if (m == &ledge__onnx_tensor) {
        fn(arg, message);
        return;
    }
    for (size_t i = 0; i < m->n_fields; i++) {
        const OnnxField *f = &m->fields[i];
        if (m->active && !m->active(message, f))
            continue;
        if (f->kind == ONNX_FIELD_MESSAGE)
            ledge__onnx_visit_tensors(f->sub, ledge__onnx_member(message, f->offset), fn, arg);
        if (f->kind != ONNX_FIELD_MESSAGES && f->kind != ONNX_FIELD_SINGLE)
            continue; /* types hold no tensors */
        const char *array = *(char *const *)ledge__onnx_member(message, f->offset);
        const size_t count = *(const size_t *)ledge__onnx_member(message, f->count);
        for (size_t k = 0; k < count; k++)
            ledge__onnx_visit_tensors(f->sub, array + k * f->sub->size, fn, arg);
    }
}
