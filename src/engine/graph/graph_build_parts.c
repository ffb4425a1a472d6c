/* The parts of a graph that stand alone: tensors, types, attributes. */
#include "engine/graph/graph_build.h"

#include <limits.h>

/* What a constant of no elements points to. */
static const uint64_t no_elements[LEDGE_ALIGN / 8];

static LedgeStatus bad_tensor(GraphBuild *b, const OnnxTensor *t, LedgeStatus s, const char *what)
{
    char name[128];
    size_t n = t->name.n < sizeof name - 1 ? t->name.n : sizeof name - 1;
    if (n)
        memcpy(name, t->name.p, n);
    name[n] = 0;
    return ledge__fail(b->err, s, name, "%s", what);
}

static LedgeStatus gather_strings(GraphBuild *b, const OnnxTensor *from, LedgeTensor *t)
{
    int64_t count = ledge_tensor_count(t);
    if (count < 0 || (uint64_t)count != from->n_strings)
        return bad_tensor(b, from, LEDGE_ERROR_FORMAT,
                          "the number of strings does not match the tensor's dimensions");
    LedgeString *s = ledge__arena_alloc(b->arena, from->n_strings, sizeof *s);
    if (!s)
        return ledge__no_memory(b->err);
    for (size_t i = 0; i < from->n_strings; i++)
        s[i] = (LedgeString){from->strings[i].p, from->strings[i].n};
    t->data = s;
    t->bytes = from->n_strings * sizeof *s;
    return LEDGE_OK;
}

LedgeStatus ledge__build_tensor(GraphBuild *b, const OnnxTensor *from, LedgeTensor *t)
{
    LedgeTensor made = {.type = (LedgeType)from->data_type, .rank = (int32_t)from->n_dims};
    if (ledge_type_bits(made.type) == 0)
        return bad_tensor(b, from, LEDGE_ERROR_UNSUPPORTED, "element type of the tensor is unknown");
    if (from->n_dims > LEDGE_MAX_RANK)
        return bad_tensor(b, from, LEDGE_ERROR_LIMIT, "tensors have at most 8 dimensions here");
    for (size_t d = 0; d < from->n_dims; d++)
        made.dims[d] = from->dims[d];
    if (made.type == LEDGE_STRING) {
        LEDGE_TRY(gather_strings(b, from, &made));
    } else {
        made.bytes = ledge_tensor_bytes(&made);
        if (made.bytes == SIZE_MAX || made.bytes != from->data_size)
            return bad_tensor(b, from, LEDGE_ERROR_FORMAT,
                              "the tensor's data does not have the size that its dimensions say");
        made.data = (void *)(uintptr_t)from->data; /* constants are never written */
    }
    if (made.bytes == 0)
        made.data = (void *)(uintptr_t)no_elements;
    *t = made;
    return LEDGE_OK;
}

/* Dense form of a sparse tensor: indices are [n] into the flat tensor or [n, rank]. */
static LedgeStatus scatter_sparse(GraphBuild *b, const OnnxSparseTensor *from,
                                  const LedgeTensor *values, const LedgeTensor *indices,
                                  LedgeTensor *t)
{
    size_t size = ledge_type_bits(t->type) / 8;
    int64_t total = ledge_tensor_count(t), n = ledge_tensor_count(values);
    bool flat = indices->rank == 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t at = 0;
        for (int32_t d = 0; d < (flat ? 1 : t->rank); d++) {
            int64_t i;
            memcpy(&i, (const char *)indices->data + 8 * (size_t)(flat ? k : k * t->rank + d), 8);
            if (i < 0 || i >= (flat ? total : t->dims[d]))
                return bad_tensor(b, &from->values, LEDGE_ERROR_FORMAT,
                                  "a sparse tensor's index is outside its shape");
            at = flat ? i : at * t->dims[d] + i;
        }
        memcpy((char *)t->data + (size_t)at * size, (const char *)values->data + (size_t)k * size,
               size);
    }
    return LEDGE_OK;
}

#define SPARSE_MAX_BYTES ((size_t)1 << 28) /* of one, and of all in a model */
#define SPARSE_MAX_TOTAL ((size_t)1 << 30)

LedgeStatus ledge__build_sparse(GraphBuild *b, const OnnxSparseTensor *from, LedgeTensor *t)
{
    LedgeTensor values, indices;
    LEDGE_TRY(ledge__build_tensor(b, &from->values, &values));
    LEDGE_TRY(ledge__build_tensor(b, &from->indices, &indices));
    LedgeTensor made = {.type = values.type, .rank = (int32_t)from->n_dims};
    if (from->n_dims > LEDGE_MAX_RANK || ledge_type_bits(made.type) < 8 || made.type == LEDGE_STRING)
        return bad_tensor(b, &from->values, LEDGE_ERROR_UNSUPPORTED,
                          "sparse tensors of this type or rank are not supported");
    for (size_t d = 0; d < from->n_dims; d++)
        made.dims[d] = from->dims[d];
    made.bytes = ledge_tensor_bytes(&made);
    if (made.bytes > SPARSE_MAX_BYTES || made.bytes > SPARSE_MAX_TOTAL - b->dense_bytes)
        return bad_tensor(b, &from->values, LEDGE_ERROR_LIMIT,
                          "the dense form of the sparse tensors is too large");
    b->dense_bytes += made.bytes;
    int64_t n = values.rank == 1 ? values.dims[0] : -1;
    bool fits = indices.type == LEDGE_INT64 && n >= 0 && indices.rank >= 1 && indices.rank <= 2 &&
                indices.dims[0] == n && (indices.rank == 1 || indices.dims[1] == made.rank);
    if (!fits)
        return bad_tensor(b, &from->values, LEDGE_ERROR_FORMAT,
                          "a sparse tensor's indices do not match its values");
    made.data = ledge__arena_alloc(b->arena, made.bytes, 1);
    if (!made.data)
        return ledge__no_memory(b->err);
    LEDGE_TRY(scatter_sparse(b, from, &values, &indices, &made));
    *t = made;
    return LEDGE_OK;
}

static LedgeStatus build_dims(GraphBuild *b, const char *where, const OnnxType *from, LedgeTensor *t,
                              const char ***dim_names)
{
    if (from->n_dims > LEDGE_MAX_RANK)
        return ledge__fail(b->err, LEDGE_ERROR_LIMIT, where, "has %zu dimensions, at most %d fit",
                           from->n_dims, LEDGE_MAX_RANK);
    t->rank = (int32_t)from->n_dims;
    const char **names = NULL;
    if (dim_names && !(names = ledge__arena_alloc(b->arena, from->n_dims, sizeof *names)))
        return ledge__no_memory(b->err);
    for (size_t d = 0; d < from->n_dims; d++) {
        if (from->dims[d].value < -1 || from->dims[d].value > INT_MAX)
            return ledge__fail(b->err, LEDGE_ERROR_SHAPE, where, "dimension %zu is %lld", d,
                               (long long)from->dims[d].value);
        t->dims[d] = from->dims[d].value;
        LedgeStr p = from->dims[d].param;
        if (names && p.n && !(names[d] = ledge__arena_strn(b->arena, p.p, p.n)))
            return ledge__no_memory(b->err);
    }
    if (dim_names)
        *dim_names = names;
    return LEDGE_OK;
}

LedgeStatus ledge__build_type(GraphBuild *b, LedgeStr name, const OnnxType *from, LedgeTensor *t,
                              const char ***dim_names)
{
    char where[128];
    size_t n = name.n < sizeof where - 1 ? name.n : sizeof where - 1;
    if (n)
        memcpy(where, name.p, n);
    where[n] = 0;
    LedgeTensor made = {.rank = -1};
    switch (from->kind) {
    case ONNX_TYPE_NONE:
        break;
    case ONNX_TYPE_TENSOR:
    case ONNX_TYPE_SPARSE_TENSOR:
        made.type = (LedgeType)from->elem_type;
        if (from->elem_type && ledge_type_bits(made.type) == 0)
            return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, where, "element type %d is unknown",
                               (int)from->elem_type);
        if (from->has_shape)
            LEDGE_TRY(build_dims(b, where, from, &made, dim_names));
        break;
    case ONNX_TYPE_SEQUENCE:
    case ONNX_TYPE_OPTIONAL:
        made.type = from->kind == ONNX_TYPE_SEQUENCE ? LEDGE_SEQUENCE : LEDGE_OPTIONAL;
        made.rank = 1;
        made.dims[0] = -1;
        made.dims[1] = from->element && from->element->kind == ONNX_TYPE_TENSOR
                           ? from->element->elem_type
                           : (from->element && from->element->kind == ONNX_TYPE_SEQUENCE
                                  ? LEDGE_SEQUENCE
                                  : 0);
        break;
    case ONNX_TYPE_MAP:
        return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, where,
                           "values of type map are not supported");
    }
    *t = made;
    return LEDGE_OK;
}

static bool copy_str(GraphBuild *b, LedgeStr from, LedgeString *to)
{
    to->data = ledge__arena_strn(b->arena, from.p, from.n);
    to->size = from.n;
    return to->data != NULL;
}

/* Attribute values that need more than a pointer copy. */
static LedgeStatus build_attr_value(GraphBuild *b, GraphScope *scope, const GraphCall *call,
                                    const OnnxAttr *from, LedgeNode *owner, LedgeAttr *to)
{
    switch (from->type) {
    case ONNX_ATTR_STRING:
        return copy_str(b, from->s, &to->s) ? LEDGE_OK : ledge__no_memory(b->err);
    case ONNX_ATTR_STRINGS:
        to->strings = ledge__arena_alloc(b->arena, from->count, sizeof *to->strings);
        for (size_t i = 0; to->strings && i < from->count; i++)
            if (!copy_str(b, from->strings[i], &to->strings[i]))
                return ledge__no_memory(b->err);
        return to->strings ? LEDGE_OK : ledge__no_memory(b->err);
    case ONNX_ATTR_TENSOR:
    case ONNX_ATTR_TENSORS:
        to->tensors = ledge__arena_alloc(b->arena, from->count, sizeof *to->tensors);
        for (size_t i = 0; to->tensors && i < from->count; i++)
            LEDGE_TRY(ledge__build_tensor(b, &from->tensors[i], &to->tensors[i]));
        return to->tensors ? LEDGE_OK : ledge__no_memory(b->err);
    case ONNX_ATTR_SPARSE_TENSOR:
    case ONNX_ATTR_SPARSE_TENSORS:
        to->tensors = ledge__arena_alloc(b->arena, from->count, sizeof *to->tensors);
        for (size_t i = 0; to->tensors && i < from->count; i++)
            LEDGE_TRY(ledge__build_sparse(b, &from->sparse_tensors[i], &to->tensors[i]));
        return to->tensors ? LEDGE_OK : ledge__no_memory(b->err);
    case ONNX_ATTR_GRAPH:
    case ONNX_ATTR_GRAPHS:
        to->graphs = ledge__arena_alloc(b->arena, from->count, sizeof *to->graphs);
        for (size_t i = 0; to->graphs && i < from->count; i++)
            LEDGE_TRY(ledge__build_subgraph(b, scope, owner, call, &from->graphs[i],
                                            &to->graphs[i]));
        return to->graphs ? LEDGE_OK : ledge__no_memory(b->err);
    case ONNX_ATTR_TYPE_PROTO:
        return from->count ? ledge__build_type(b, from->name, &from->types[0], &to->type_proto, NULL)
                           : LEDGE_OK;
    default:
        return LEDGE_OK;
    }
}

/* The attribute that a reference inside a function means; NULL: not given and no default. */
static const OnnxAttr *resolve_reference(const GraphCall *call, const OnnxAttr *a,
                                         const GraphCall **where)
{
    *where = call;
    while (a && a->ref_attr_name.n && *where) {
        LedgeStr wanted = a->ref_attr_name;
        const OnnxAttr *found = NULL;
        const OnnxNode *node = (*where)->node;
        const OnnxFunction *f = (*where)->function;
        const GraphCall *next = (*where)->outer;
        for (size_t i = 0; i < node->n_attrs && !found; i++)
            if (node->attrs[i].name.n == wanted.n &&
                memcmp(node->attrs[i].name.p, wanted.p, wanted.n) == 0)
                found = &node->attrs[i];
        for (size_t i = 0; i < f->n_attr_defaults && !found; i++)
            if (f->attr_defaults[i].name.n == wanted.n &&
                memcmp(f->attr_defaults[i].name.p, wanted.p, wanted.n) == 0)
                found = &f->attr_defaults[i];
        a = found;
        *where = next;
    }
    return a;
}

LedgeStatus ledge__build_attrs(GraphBuild *b, GraphScope *scope, const GraphCall *call,
                               const OnnxNode *from, LedgeNode *to)
{
    to->attrs = ledge__arena_alloc(b->arena, from->n_attrs, sizeof *to->attrs);
    if (!to->attrs)
        return ledge__no_memory(b->err);
    for (size_t i = 0; i < from->n_attrs; i++) {
        const GraphCall *where = call;
        const OnnxAttr *a = &from->attrs[i];
        if (a->ref_attr_name.n && !(a = resolve_reference(call, a, &where)))
            continue;
        LedgeAttr *made = &to->attrs[to->n_attrs++];
        made->name = ledge__arena_strn(b->arena, from->attrs[i].name.p, from->attrs[i].name.n);
        if (!made->name)
            return ledge__no_memory(b->err);
        made->type = a->type;
        made->f = a->f;
        made->i = a->i;
        made->floats = a->floats;
        made->ints = a->ints;
        made->count = a->count;
        LEDGE_TRY(build_attr_value(b, scope, where, a, to, made));
    }
    return LEDGE_OK;
}
