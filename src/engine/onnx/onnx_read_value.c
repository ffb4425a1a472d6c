/* Value files of the ONNX backend tests: TensorProto, SequenceProto, OptionalProto, which of
 * them says the graph's type. They become LedgeTensors that own all of their bytes. */
#include "engine/onnx/onnx_reader.h"

#include <stdio.h>
#include <string.h>

static LedgeStatus read_value(OnnxReader *r, const OnnxType *type, WireSpan span, LedgeTensor *out);

static LedgeStatus copy_strings(OnnxReader *r, const OnnxTensor *t, LedgeTensor *out)
{
    LedgeString *s = ledge__arena_alloc(r->arena, t->n_strings, sizeof *s);
    if (!s)
        return ledge__no_memory(r->err);
    for (size_t i = 0; i < t->n_strings; i++) {
        char *copy = ledge__arena_strn(r->arena, t->strings[i].p, t->strings[i].n);
        if (!copy)
            return ledge__no_memory(r->err);
        s[i] = (LedgeString){copy, t->strings[i].n};
    }
    out->data = s;
    out->bytes = t->n_strings * sizeof *s;
    return LEDGE_OK;
}

static LedgeStatus copy_tensor(OnnxReader *r, const OnnxTensor *t, LedgeTensor *out)
{
    LedgeTensor v = {.type = (LedgeType)t->data_type, .rank = (int32_t)t->n_dims};
    if (t->n_dims > LEDGE_MAX_RANK)
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL,
                           "the tensor has %zu dimensions; ledge takes up to %d", t->n_dims,
                           LEDGE_MAX_RANK);
    if (!ledge_type_bits(v.type))
        return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL, "element type %d is not known",
                           (int)t->data_type);
    if (t->n_dims)
        memcpy(v.dims, t->dims, t->n_dims * sizeof *v.dims);
    if (v.type == LEDGE_STRING) {
        LEDGE_TRY(copy_strings(r, t, &v));
    } else {
        v.data = ledge__arena_alloc(r->arena, t->data_size, 1);
        if (!v.data)
            return ledge__no_memory(r->err);
        if (t->data_size)
            memcpy(v.data, t->data, t->data_size);
        v.bytes = t->data_size;
    }
    *out = v;
    return LEDGE_OK;
}

static LedgeStatus read_tensor(OnnxReader *r, WireSpan span, LedgeTensor *out)
{
    OnnxTensor t = {0};
    LEDGE_TRY(ledge__onnx_read_message(r, &ledge__onnx_tensor, span, &t));
    return copy_tensor(r, &t, out);
}

/* LedgeType that stands for a container's elements in dims[1]. */
static int64_t element_code(const OnnxType *type)
{
    if (!type)
        return 0;
    switch (type->kind) {
    case ONNX_TYPE_TENSOR:
        return type->elem_type;
    case ONNX_TYPE_SEQUENCE:
        return LEDGE_SEQUENCE;
    case ONNX_TYPE_OPTIONAL:
        return LEDGE_OPTIONAL;
    default:
        return 0;
    }
}

/* Field numbers of SequenceProto's and OptionalProto's values, one apart in neither. */
enum { VALUE_TENSOR = 3, VALUE_SPARSE = 4, VALUE_SEQUENCE = 5, VALUE_MAP = 6, VALUE_OPTIONAL = 7 };

static LedgeStatus read_element(OnnxReader *r, const OnnxType *type, const WireField *w,
                                LedgeTensor *out)
{
    /* The file's own tag decides, so that a wrong or missing type misleads nobody. */
    const OnnxType sequence = {.kind = ONNX_TYPE_SEQUENCE}, optional = {.kind = ONNX_TYPE_OPTIONAL};
    switch (w->number) {
    case VALUE_TENSOR:
        return read_tensor(r, w->bytes, out);
    case VALUE_SEQUENCE:
        return read_value(r, type && type->kind == ONNX_TYPE_SEQUENCE ? type : &sequence, w->bytes,
                          out);
    case VALUE_OPTIONAL:
        return read_value(r, type && type->kind == ONNX_TYPE_OPTIONAL ? type : &optional, w->bytes,
                          out);
    default:
        return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "sparse tensors and maps are not supported as values");
    }
}

static bool is_element(const WireField *w)
{
    return w->number >= VALUE_TENSOR && w->number <= VALUE_OPTIONAL && w->type == WIRE_LEN;
}

static LedgeStatus read_container(OnnxReader *r, const OnnxType *type, WireSpan span,
                                  LedgeTensor *out)
{
    const bool is_optional = type->kind == ONNX_TYPE_OPTIONAL;
    LedgeTensor v = {.type = is_optional ? LEDGE_OPTIONAL : LEDGE_SEQUENCE, .rank = 1};
    LedgeStatus status;
    size_t n = 0;
    WireField w;
    bool more = true;
    for (WireSpan s = span; more;) {
        LEDGE_TRY(ledge__wire_next(&s, &w, &more, r->err));
        n += more && is_element(&w);
    }
    if (is_optional && n > 1)
        return ledge__fail(r->err, LEDGE_ERROR_FORMAT, NULL, "an optional with several values");
    LedgeTensor *items = ledge__onnx_reader_alloc(r, n, sizeof *items, &status);
    if (!items)
        return status;
    v.dims[0] = (int64_t)n;
    v.dims[1] = element_code(type->element);
    v.data = items;
    v.bytes = n * sizeof *items;
    for (more = true, n = 0;;) {
        LEDGE_TRY(ledge__wire_next(&span, &w, &more, r->err));
        if (!more)
            break;
        if (is_element(&w))
            LEDGE_TRY(read_element(r, type->element, &w, &items[n++]));
    }
    *out = v;
    return LEDGE_OK;
}

static LedgeStatus read_value(OnnxReader *r, const OnnxType *type, WireSpan span, LedgeTensor *out)
{
    LedgeStatus status;
    if (r->depth >= ONNX_MAX_NESTING)
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL, "values are nested more than %d deep",
                           ONNX_MAX_NESTING);
    r->depth++;
    switch (type ? type->kind : ONNX_TYPE_NONE) {
    case ONNX_TYPE_NONE:
    case ONNX_TYPE_TENSOR:
        status = read_tensor(r, span, out);
        break;
    case ONNX_TYPE_SEQUENCE:
    case ONNX_TYPE_OPTIONAL:
        status = read_container(r, type, span, out);
        break;
    default:
        status = ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                             "sparse tensors and maps are not supported as values");
    }
    r->depth--;
    return status;
}

LedgeStatus ledge__onnx_read_value(LedgeArena *arena, const OnnxType *type, const void *bytes,
                                   size_t size, LedgeError *err, LedgeTensor *out)
{
    OnnxReader r = ledge__onnx_reader(arena, size, err);
    return read_value(&r, type, (WireSpan){bytes, size, 0}, out);
}
