/* A TensorProto's elements: found in whichever field holds them, checked against type and
 * dims before anything is allocated, and given as packed little-endian bytes.
 *
 * raw_data, and float_data and double_data in one packed piece, stay in the file (zero copy).
 * Varint fields are converted, narrower types by truncation as every ONNX reader does. */
#include "engine/onnx/onnx_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ledge__onnx_tensor_where(const OnnxTensor *t, WireSpan span, char *to, size_t size)
{
    snprintf(to, size, "tensor '%.*s' at byte %" PRIu64, (int)(t->name.n < 120 ? t->name.n : 120),
             t->name.n ? t->name.p : "", span.offset);
}

static bool is_typed_field(uint32_t number)
{
    return (number >= 4 && number <= 7) || number == 10 || number == 11;
}

LedgeStatus ledge__onnx_prepare_tensor(OnnxReader *r, WireSpan span, OnnxTensor *t)
{
    bool raw_seen = false, raw_filled = false, typed_seen = false, typed_filled = false;
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            break;
        if (w.number == 2)
            t->data_type = (int32_t)w.value;
        else if (w.number == 14)
            t->external = w.value == 1;
        else if (w.number == 9) {
            raw_seen = true;
            raw_filled = w.bytes.n > 0;
        } else if (is_typed_field(w.number)) {
            typed_seen = true;
            typed_filled |= w.bytes.n > 0 || w.number == 6;
        }
    }
    t->typed_storage = typed_seen && (!raw_seen || (typed_filled && !raw_filled));
    t->offset = t->length = -1;
    return LEDGE_OK;
}

static LedgeStatus tensor_fail(OnnxReader *r, WireSpan span, const OnnxTensor *t, const char *what)
{
    char where[200];
    ledge__onnx_tensor_where(t, span, where, sizeof where);
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "%s", what);
}

/* "float32 [3,1000]" */
static void describe(const OnnxTensor *t, char *to, size_t size)
{
    size_t n = (size_t)snprintf(to, size, "%s [", ledge_type_name((LedgeType)t->data_type));
    for (size_t i = 0; i < t->n_dims && n < size; i++)
        n += (size_t)snprintf(to + n, size - n, "%s%" PRId64, i ? "," : "", t->dims[i]);
    if (n < size)
        snprintf(to + n, size - n, "]");
}

static LedgeStatus wrong_size(OnnxReader *r, WireSpan span, const OnnxTensor *t, uint64_t wanted,
                              uint64_t found, const char *unit)
{
    char where[200], text[160], what[400];
    ledge__onnx_tensor_where(t, span, where, sizeof where);
    describe(t, text, sizeof text);
    snprintf(what, sizeof what, "%s takes %" PRIu64 " %s but %s holds %" PRIu64, text, wanted, unit,
             t->external ? "the data file" : ledge__onnx_data_field_name(ledge__onnx_data_field(t)),
             found);
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "%s: the file is damaged", what);
}

/* Elements and bytes that dims and type ask for; bits are 0 for a type unknown to ledge. */
static LedgeStatus expected_size(OnnxReader *r, WireSpan span, const OnnxTensor *t,
                                 uint64_t *elements, uint64_t *bytes)
{
    const unsigned bits = ledge_type_bits((LedgeType)t->data_type);
    uint64_t n = 1, total;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0)
            return tensor_fail(r, span, t, "a dimension is negative; a stored tensor needs a size");
        if (__builtin_mul_overflow(n, (uint64_t)t->dims[i], &n) || n > INT64_MAX / 128)
            return tensor_fail(r, span, t, "the dimensions multiply to more than any memory holds");
    }
    total = n * bits / 8;
    if (bits < 8)
        total = (n * bits + 7) / 8;
    *elements = n;
    *bytes = total;
    return LEDGE_OK;
}

/* How field `number` of the tensor is made up in the file. */
typedef struct Pieces {
    size_t count;  /* wire fields */
    size_t values; /* varints in them */
    size_t bytes;  /* payload */
    WireSpan last;
} Pieces;

static LedgeStatus survey(OnnxReader *r, WireSpan span, uint32_t number, Pieces *out)
{
    Pieces p = {0};
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            break;
        if (w.number != number)
            continue;
        p.count++;
        p.bytes += w.bytes.n;
        p.last = w.bytes;
        if (w.type == WIRE_VARINT)
            p.values++;
        else if (number == 5 || number == 7 || number == 11) /* never walk over raw bytes */
            p.values += ledge__wire_count_varints(w.bytes);
    }
    *out = p;
    return LEDGE_OK;
}

static LedgeStatus check_wire_types(OnnxReader *r, WireSpan span, uint32_t number, WireType scalar,
                                    const OnnxTensor *t)
{
    WireSpan s = span;
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&s, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        if (w.number == number && w.type != WIRE_LEN && w.type != scalar)
            return tensor_fail(r, span, t,
                               "its data field has the wrong wire type: the file is "
                               "damaged");
    }
}

static LedgeStatus gather_strings(OnnxReader *r, WireSpan span, uint64_t elements, OnnxTensor *t)
{
    Pieces pieces;
    LedgeStatus status;
    WireField w;
    LEDGE_TRY(survey(r, span, 6, &pieces));
    if (pieces.count != elements)
        return wrong_size(r, span, t, elements, pieces.count, "strings");
    LEDGE_TRY(check_wire_types(r, span, 6, WIRE_LEN, t));
    t->strings = ledge__onnx_reader_alloc(r, pieces.count, sizeof *t->strings, &status);
    if (!t->strings)
        return status;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        if (w.number == 6)
            t->strings[t->n_strings++] = ledge__wire_str(w.bytes);
    }
}

/* Copies fixed-size numbers that are not in one packed piece. */
static LedgeStatus copy_pieces(OnnxReader *r, WireSpan span, uint32_t number, uint8_t *to)
{
    WireField w;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        if (w.number != number || !w.bytes.n)
            continue;
        memcpy(to, w.bytes.p, w.bytes.n);
        to += w.bytes.n;
    }
}

static LedgeStatus gather_fixed(OnnxReader *r, WireSpan span, uint32_t number, uint64_t bytes,
                                OnnxTensor *t)
{
    Pieces pieces;
    LedgeStatus status;
    LEDGE_TRY(survey(r, span, number, &pieces));
    /* raw_data is a singular field: where it occurs again, the last one counts */
    const bool in_place = number == 9 || pieces.count <= 1;
    const size_t found = number == 9 ? pieces.last.n : pieces.bytes;
    if (found != bytes && ledge_type_bits((LedgeType)t->data_type))
        return wrong_size(r, span, t, bytes, found, "bytes");
    LEDGE_TRY(check_wire_types(r, span, number,
                               number == 4    ? WIRE_I32
                               : number == 10 ? WIRE_I64
                                              : WIRE_LEN,
                               t));
    t->data_size = found;
    t->data = pieces.count ? pieces.last.p : span.p;
    if (in_place)
        return LEDGE_OK;
    uint8_t *copy = ledge__onnx_reader_alloc(r, found, 1, &status);
    if (!copy)
        return status;
    t->data = copy;
    return copy_pieces(r, span, number, copy);
}

static uint8_t *put_element(uint8_t *to, uint64_t v, size_t width)
{
    memcpy(to, &v, width); /* little-endian, so the low bytes come first */
    return to + width;
}

static LedgeStatus gather_varints(OnnxReader *r, WireSpan span, uint32_t number, uint64_t bytes,
                                  OnnxTensor *t)
{
    const unsigned bits = ledge_type_bits((LedgeType)t->data_type);
    const size_t width = bits < 8 ? 1 : bits / 8;
    Pieces pieces;
    LedgeStatus status;
    WireField w;
    LEDGE_TRY(survey(r, span, number, &pieces));
    if (pieces.values != bytes / width)
        return wrong_size(r, span, t, bytes / width, pieces.values, "numbers");
    LEDGE_TRY(check_wire_types(r, span, number, WIRE_VARINT, t));
    uint8_t *to = ledge__onnx_reader_alloc(r, pieces.values, width, &status);
    if (!to)
        return status;
    t->data = to;
    t->data_size = (size_t)bytes;
    for (;;) {
        bool more;
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            return LEDGE_OK;
        if (w.number != number)
            continue;
        if (w.type == WIRE_VARINT)
            to = put_element(to, w.value, width);
        for (WireSpan s = w.bytes; w.type == WIRE_LEN && s.n;) {
            LEDGE_TRY(ledge__wire_varint(&s, &w.value, r->err));
            to = put_element(to, w.value, width);
        }
    }
}

LedgeStatus ledge__onnx_finish_tensor(OnnxReader *r, WireSpan span, OnnxTensor *t)
{
    uint64_t elements = 0, bytes = 0;
    const uint32_t number = ledge__onnx_data_field(t);
    LEDGE_TRY(expected_size(r, span, t, &elements, &bytes));
    if (t->data_type == LEDGE_STRING && t->external)
        return tensor_fail(r, span, t, "strings cannot be stored in an external data file");
    if (t->external && bytes > SIZE_MAX / 2)
        return tensor_fail(r, span, t, "the tensor is larger than this machine's memory");
    if (t->external)
        return ledge__onnx_open_external(r, t, (size_t)bytes);
    switch (number) {
    case 0: /* a type that ledge does not know, in a typed field: kept as unknown bytes */
        return LEDGE_OK;
    case 6:
        return gather_strings(r, span, elements, t);
    case 4:
    case 9:
    case 10:
        return gather_fixed(r, span, number, bytes, t);
    default:
        return gather_varints(r, span, number, bytes, t);
    }
}
