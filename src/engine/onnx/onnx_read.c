/* The ONNX reader: walks the wire bytes by the tables of onnx_schema.c.
 *
 * Every message is walked twice: once to check it and count its repeated fields, once to
 * fill arrays of just that size. Counts come from bytes that are there, so nothing declared
 * can make it allocate more than a fixed multiple of the file. Strings and tensor bytes stay
 * where they are in the file. A singular message that occurs more than once is merged as
 * protobuf wants it: by reading the concatenation of its parts. */
#include "engine/onnx/onnx_reader.h"

#include <stdio.h>
#include <string.h>

#define BUDGET_PER_BYTE 64
#define BUDGET_BASE     ((size_t)1 << 20)

OnnxReader ledge__onnx_reader(LedgeArena *arena, size_t size, LedgeError *err)
{
    size_t budget;
    if (!ledge__mul(size, BUDGET_PER_BYTE, &budget) || !ledge__add(budget, BUDGET_BASE, &budget))
        budget = SIZE_MAX;
    return (OnnxReader){.arena = arena, .err = err, .budget = budget};
}

void *ledge__onnx_reader_alloc(OnnxReader *r, size_t count, size_t size, LedgeStatus *status)
{
    size_t bytes;
    *status = LEDGE_OK;
    if (!ledge__mul(count, size, &bytes) || bytes > r->budget) {
        *status = ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL,
                              "the file has far more structures than content, which no ONNX "
                              "exporter writes; reading it would take too much memory");
        return NULL;
    }
    r->budget -= bytes;
    void *p = ledge__arena_alloc(r->arena, count, size);
    if (!p)
        *status = ledge__no_memory(r->err);
    return p;
}

/* What the first walk over a message finds, by table row. */
typedef struct Counts {
    size_t items[ONNX_MAX_FIELDS];
    size_t unknown;
} Counts;

static const OnnxField *find_field(const OnnxMessage *m, const void *to, uint32_t number)
{
    for (size_t i = 0; i < m->n_fields; i++)
        if (m->fields[i].number == number)
            return !m->active || m->active(to, &m->fields[i]) ? &m->fields[i] : NULL;
    return NULL;
}

static LedgeStatus wrong_wire_type(OnnxReader *r, const OnnxMessage *m, const WireField *w)
{
    char where[40];
    snprintf(where, sizeof where, "byte %llu", (unsigned long long)w->whole.offset);
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where,
                       "field %u of %s has wire type %d: the file is damaged or no ONNX model",
                       w->number, m->name, (int)w->type);
}

/* Elements that one wire field adds to a table row; checks its wire type. */
static LedgeStatus count_items(OnnxReader *r, const OnnxMessage *m, const OnnxField *f,
                               const WireField *w, size_t *items)
{
    bool ok;
    size_t n = 1;
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_INT64:
    case ONNX_FIELD_INT32:
    case ONNX_FIELD_BOOL:
    case ONNX_FIELD_DIM:
        ok = w->type == WIRE_VARINT;
        break;
    case ONNX_FIELD_FLOAT:
        ok = w->type == WIRE_I32;
        break;
    case ONNX_FIELD_INT64S:
        ok = w->type == WIRE_VARINT || w->type == WIRE_LEN;
        if (w->type == WIRE_LEN)
            n = ledge__wire_count_varints(w->bytes);
        break;
    case ONNX_FIELD_FLOATS:
        ok = w->type == WIRE_I32 || (w->type == WIRE_LEN && w->bytes.n % 4 == 0);
        if (w->type == WIRE_LEN)
            n = w->bytes.n / 4;
        break;
    case ONNX_FIELD_DATA: /* looked at by ledge__onnx_finish_tensor */
        return LEDGE_OK;
    default:
        ok = w->type == WIRE_LEN;
        break;
    }
    if (!ok)
        return wrong_wire_type(r, m, w);
    *items += n;
    return LEDGE_OK;
}

static LedgeStatus count_fields(OnnxReader *r, const OnnxMessage *m, WireSpan span, const void *to,
                                Counts *counts)
{
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        const OnnxField *f = find_field(m, to, w.number);
        if (f)
            LEDGE_TRY(count_items(r, m, f, &w, &counts->items[f - m->fields]));
        else
            counts->unknown++;
    }
}

static size_t element_size(const OnnxField *f)
{
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_STRINGS:
        return sizeof(LedgeStr);
    case ONNX_FIELD_INT64S:
        return sizeof(int64_t);
    case ONNX_FIELD_FLOATS:
        return sizeof(float);
    case ONNX_FIELD_MESSAGES:
        return f->sub->size;
    default:
        return 0;
    }
}

static LedgeStatus allocate_arrays(OnnxReader *r, const OnnxMessage *m, const Counts *counts,
                                   void *to)
{
    LedgeStatus status = LEDGE_OK;
    for (size_t i = 0; i < m->n_fields; i++) {
        const OnnxField *f = &m->fields[i];
        const size_t size = element_size(f);
        if (!size || !counts->items[i])
            continue;
        void *array = ledge__onnx_reader_alloc(r, counts->items[i], size, &status);
        if (!array)
            return status;
        *(void **)ledge__onnx_member(to, f->offset) = array;
    }
    if (counts->unknown) {
        OnnxUnknown *u = ledge__onnx_member(to, m->unknown);
        u->items = ledge__onnx_reader_alloc(r, counts->unknown, sizeof *u->items, &status);
    }
    return status;
}

/* All parts of a singular message, in one piece. */
static LedgeStatus merge_parts(OnnxReader *r, uint32_t number, WireSpan rest, WireSpan first,
                               WireSpan *out)
{
    WireField w;
    bool more = true;
    size_t total = first.n;
    LedgeStatus status;
    for (WireSpan s = rest;;) {
        LEDGE_TRY(ledge__wire_next(&s, &w, &more, r->err));
        if (!more)
            break;
        total += w.number == number ? w.bytes.n : 0;
    }
    uint8_t *p = ledge__onnx_reader_alloc(r, total, 1, &status);
    if (!p)
        return status;
    *out = (WireSpan){p, total, first.offset};
    for (w.bytes = first, more = true, w.number = number; more;) {
        if (w.number == number && w.bytes.n) {
            memcpy(p, w.bytes.p, w.bytes.n);
            p += w.bytes.n;
        }
        LEDGE_TRY(ledge__wire_next(&rest, &w, &more, r->err));
    }
    return LEDGE_OK;
}

static LedgeStatus read_ints(OnnxReader *r, const WireField *w, int64_t *to, size_t *count)
{
    uint64_t v;
    if (w->type == WIRE_VARINT) {
        to[(*count)++] = (int64_t)w->value;
        return LEDGE_OK;
    }
    for (WireSpan s = w->bytes; s.n;) {
        LEDGE_TRY(ledge__wire_varint(&s, &v, r->err));
        to[(*count)++] = (int64_t)v;
    }
    return LEDGE_OK;
}

static void read_scalar(const OnnxField *f, const WireField *w, void *member)
{
    uint32_t bits = (uint32_t)w->value;
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_STRING:
        *(LedgeStr *)member = ledge__wire_str(w->bytes);
        break;
    case ONNX_FIELD_INT64:
        *(int64_t *)member = (int64_t)w->value;
        break;
    case ONNX_FIELD_DIM:
        *(int64_t *)member = (int64_t)w->value < 0 ? -1 : (int64_t)w->value;
        break;
    case ONNX_FIELD_BOOL:
        *(bool *)member = w->value == 1;
        break;
    case ONNX_FIELD_INT32:
    case ONNX_FIELD_FLOAT:
        memcpy(member, &bits, 4);
        break;
    default:
        break;
    }
}

/* A message that stands alone: in place, behind a pointer, or in the same structure. */
static LedgeStatus read_single(OnnxReader *r, const OnnxField *f, WireSpan span, void *to)
{
    LedgeStatus status;
    void *target = ledge__onnx_member(to, f->offset);
    if (f->kind == ONNX_FIELD_MESSAGE)
        return ledge__onnx_read_message(r, f->sub, span, target);
    if (f->kind == ONNX_FIELD_INLINE) {
        if (f->offset != ONNX_NO_MEMBER)
            *(bool *)target = true;
        return ledge__onnx_read_message(r, f->sub, span, to);
    }
    void *p = ledge__onnx_reader_alloc(r, 1, f->sub->size, &status);
    if (!p)
        return status;
    *(void **)target = p;
    if (f->kind == ONNX_FIELD_SINGLE)
        *(size_t *)ledge__onnx_member(to, f->count) = 1;
    return ledge__onnx_read_message(r, f->sub, span, p);
}

/* Members that decide which other fields are active: set before the walk, by prepare, and
 * constant during it, or the two walks would disagree about the size of an array. */
static bool is_prepared(const OnnxMessage *m, const OnnxField *f)
{
    return (m == &ledge__onnx_attr && f->number == 20) ||
           (m == &ledge__onnx_tensor && (f->number == 2 || f->number == 14));
}

static LedgeStatus read_field(OnnxReader *r, const OnnxMessage *m, const OnnxField *f,
                              const WireField *w, void *to)
{
    void *member = ledge__onnx_member(to, f->offset);
    size_t *count = ledge__onnx_member(to, f->count);
    float *floats;
    switch ((OnnxFieldKind)f->kind) {
    case ONNX_FIELD_DATA:
        return LEDGE_OK;
    case ONNX_FIELD_STRINGS:
        (*(LedgeStr **)member)[(*count)++] = ledge__wire_str(w->bytes);
        return LEDGE_OK;
    case ONNX_FIELD_INT64S:
        return read_ints(r, w, *(int64_t **)member, count);
    case ONNX_FIELD_FLOATS:
        floats = *(float **)member;
        if (w->bytes.n)
            memcpy(floats + *count, w->bytes.p, w->bytes.n);
        *count += w->bytes.n / sizeof(float);
        return LEDGE_OK;
    case ONNX_FIELD_MESSAGES:
        return ledge__onnx_read_message(r, f->sub, w->bytes,
                                        *(char **)member + (*count)++ * f->sub->size);
    case ONNX_FIELD_MESSAGE:
    case ONNX_FIELD_POINTER:
    case ONNX_FIELD_SINGLE:
    case ONNX_FIELD_INLINE:
        return read_single(r, f, w->bytes, to);
    default:
        if (!is_prepared(m, f))
            read_scalar(f, w, member);
        if (f->count) /* a single attribute value */
            *count = 1;
        return LEDGE_OK;
    }
}

static bool is_single_message(const OnnxField *f)
{
    return f->kind == ONNX_FIELD_MESSAGE || f->kind == ONNX_FIELD_POINTER ||
           f->kind == ONNX_FIELD_SINGLE || f->kind == ONNX_FIELD_INLINE;
}

/* A choice of TypeProto's oneof that a later one has overridden; protobuf drops it. */
static bool is_overridden(const OnnxMessage *m, uint32_t number)
{
    for (size_t i = 0; m == &ledge__onnx_type && i < m->n_fields; i++)
        if (m->fields[i].number == number && m->fields[i].only)
            return true;
    return false;
}

static LedgeStatus fill_fields(OnnxReader *r, const OnnxMessage *m, WireSpan span, Counts *counts,
                               void *to)
{
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        const OnnxField *f = find_field(m, to, w.number);
        if (!f && is_overridden(m, w.number))
            continue;
        if (!f) {
            OnnxUnknown *u = ledge__onnx_member(to, m->unknown);
            u->items[u->count++] = ledge__wire_str(w.whole);
            continue;
        }
        const size_t row = (size_t)(f - m->fields);
        if (m->present != ONNX_NO_MEMBER)
            *(uint32_t *)ledge__onnx_member(to, m->present) |= 1u << row;
        if (is_single_message(f)) {
            if (counts->items[row] == 0)
                continue; /* merged already */
            if (counts->items[row] > 1)
                LEDGE_TRY(merge_parts(r, f->number, span, w.bytes, &w.bytes));
            counts->items[row] = 0;
        }
        LEDGE_TRY(read_field(r, m, f, &w, to));
    }
}

/* ---- what must be known before a message's fields can be told apart ---- */

static OnnxAttrType attr_type_of_field(uint32_t number)
{
    for (size_t i = 0; i < ledge__onnx_attr.n_fields; i++)
        if (ledge__onnx_attr.fields[i].number == number)
            return (OnnxAttrType)ledge__onnx_attr.fields[i].only;
    return ONNX_ATTR_UNDEFINED;
}

/* Files of early exporters have no `type`; there the field that is filled tells it. */
static LedgeStatus prepare_attr(OnnxReader *r, WireSpan span, OnnxAttr *a)
{
    OnnxAttrType guess = ONNX_ATTR_UNDEFINED;
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            break;
        if (w.number == 20)
            a->type = (OnnxAttrType)(int32_t)w.value;
        else if (attr_type_of_field(w.number))
            guess = attr_type_of_field(w.number);
    }
    if (a->type == ONNX_ATTR_UNDEFINED)
        a->type = guess;
    return LEDGE_OK;
}

static bool attr_type_is_single_message(OnnxAttrType t)
{
    return t == ONNX_ATTR_TENSOR || t == ONNX_ATTR_GRAPH || t == ONNX_ATTR_SPARSE_TENSOR ||
           t == ONNX_ATTR_TYPE_PROTO;
}

/* Scalars that proto3 leaves out are 0; a message that is missing is a fault. */
static LedgeStatus finish_attr(OnnxReader *r, WireSpan span, OnnxAttr *a)
{
    char where[200];
    const OnnxAttrType type = a->type;
    if (a->count || a->ref_attr_name.n)
        return LEDGE_OK;
    if (type == ONNX_ATTR_FLOAT || type == ONNX_ATTR_INT || type == ONNX_ATTR_STRING)
        a->count = 1;
    if (!attr_type_is_single_message(type))
        return LEDGE_OK;
    snprintf(where, sizeof where, "attribute '%.*s' at byte %llu",
             (int)(a->name.n < 100 ? a->name.n : 100), a->name.n ? a->name.p : "",
             (unsigned long long)span.offset);
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "the attribute has a type but no value");
}

/* TypeProto.value is a oneof: the last one in the file counts. */
static LedgeStatus prepare_type(OnnxReader *r, WireSpan span, OnnxType *t)
{
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        for (size_t i = 0; i < ledge__onnx_type.n_fields; i++)
            if (ledge__onnx_type.fields[i].number == w.number && ledge__onnx_type.fields[i].only)
                t->kind = (OnnxTypeKind)ledge__onnx_type.fields[i].only;
    }
}

static LedgeStatus prepare(OnnxReader *r, const OnnxMessage *m, WireSpan span, void *to)
{
    if (m == &ledge__onnx_attr)
        return prepare_attr(r, span, to);
    if (m == &ledge__onnx_type)
        return prepare_type(r, span, to);
    if (m == &ledge__onnx_tensor)
        return ledge__onnx_prepare_tensor(r, span, to);
    return LEDGE_OK;
}

LedgeStatus ledge__onnx_read_message(OnnxReader *r, const OnnxMessage *m, WireSpan span, void *to)
{
    Counts counts = {0};
    if (r->depth >= ONNX_MAX_NESTING) {
        char where[40];
        snprintf(where, sizeof where, "byte %llu", (unsigned long long)span.offset);
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, where,
                           "messages are nested more than %d deep; flatten the model's subgraphs",
                           ONNX_MAX_NESTING);
    }
    for (size_t i = 0; i < m->n_fields; i++)
        if (m->fields[i].kind == ONNX_FIELD_DIM)
            *(int64_t *)ledge__onnx_member(to, m->fields[i].offset) = -1;
    LEDGE_TRY(prepare(r, m, span, to));
    LEDGE_TRY(count_fields(r, m, span, to, &counts));
    LEDGE_TRY(allocate_arrays(r, m, &counts, to));
    r->depth++;
    LEDGE_TRY(fill_fields(r, m, span, &counts, to));
    if (m == &ledge__onnx_tensor)
        LEDGE_TRY(ledge__onnx_finish_tensor(r, span, to));
    if (m == &ledge__onnx_attr)
        LEDGE_TRY(finish_attr(r, span, to));
    r->depth--;
    return LEDGE_OK;
}
