/* The tables of ONNX's messages, see onnx_schema.h. */
#include "engine/onnx/onnx_schema.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define STRING(n, S, m) {n, ONNX_FIELD_STRING, 0, offsetof(S, m), 0, NULL}
#define STRINGS(n, S, m, c) {n, ONNX_FIELD_STRINGS, 0, offsetof(S, m), offsetof(S, c), NULL}
#define INT64(n, S, m) {n, ONNX_FIELD_INT64, 0, offsetof(S, m), 0, NULL}
#define INT32(n, S, m) {n, ONNX_FIELD_INT32, 0, offsetof(S, m), 0, NULL}
#define INT64S(n, S, m, c) {n, ONNX_FIELD_INT64S, 0, offsetof(S, m), offsetof(S, c), NULL}
#define MESSAGE(n, S, m, sub) {n, ONNX_FIELD_MESSAGE, 0, offsetof(S, m), 0, &sub}
#define MESSAGES(n, S, m, c, sub)                                                         \
    {n, ONNX_FIELD_MESSAGES, 0, offsetof(S, m), offsetof(S, c), &sub}
#define METADATA(n, S) MESSAGES(n, S, metadata, n_metadata, ledge__onnx_entry)
#define DATA(n) {n, ONNX_FIELD_DATA, 0, 0, 0, NULL}
#define DEFINE(linkage, var, title, S, table, present_, active_)                          \
    linkage const OnnxMessage var = {title,         sizeof(S),                            \
                                     table,         COUNT(table),                         \
                                     offsetof(S, unknown), present_, active_};            \
    _Static_assert(COUNT(table) <= ONNX_MAX_FIELDS && sizeof(S) < UINT16_MAX, title)
#define NONE ONNX_NO_MEMBER

static const OnnxMessage graph_message;

/* ---- entries, tensors ---- */

static const OnnxField entry_fields[] = {
    STRING(1, OnnxEntry, key),
    STRING(2, OnnxEntry, value),
};
DEFINE(, ledge__onnx_entry, "StringStringEntryProto", OnnxEntry, entry_fields, NONE, NULL);

static const OnnxField segment_fields[] = {
    INT64(1, OnnxTensor, segment_begin),
    INT64(2, OnnxTensor, segment_end),
};
static const OnnxMessage segment_message = {
    "TensorProto.Segment", sizeof(OnnxTensor), segment_fields, COUNT(segment_fields),
    offsetof(OnnxTensor, segment_unknown), NONE, NULL};

static bool tensor_active(const void *message, const OnnxField *field)
{
    return field->kind != ONNX_FIELD_DATA || field->number == ledge__onnx_data_field(message);
}

static const OnnxField tensor_fields[] = {
    INT64S(1, OnnxTensor, dims, n_dims),
    INT32(2, OnnxTensor, data_type),
    {3, ONNX_FIELD_INLINE, 0, offsetof(OnnxTensor, has_segment), 0, &segment_message},
    DATA(4),
    DATA(5),
    DATA(6),
    DATA(7),
    STRING(8, OnnxTensor, name),
    DATA(9),
    DATA(10),
    DATA(11),
    STRING(12, OnnxTensor, doc_string),
    MESSAGES(13, OnnxTensor, external_data, n_external_data, ledge__onnx_entry),
    {14, ONNX_FIELD_BOOL, 0, offsetof(OnnxTensor, external), 0, NULL},
    METADATA(16, OnnxTensor),
};
DEFINE(, ledge__onnx_tensor, "TensorProto", OnnxTensor, tensor_fields,
       offsetof(OnnxTensor, present), tensor_active);

static const OnnxField sparse_fields[] = {
    MESSAGE(1, OnnxSparseTensor, values, ledge__onnx_tensor),
    MESSAGE(2, OnnxSparseTensor, indices, ledge__onnx_tensor),
    INT64S(3, OnnxSparseTensor, dims, n_dims),
};
DEFINE(, ledge__onnx_sparse_tensor, "SparseTensorProto", OnnxSparseTensor, sparse_fields, NONE,
       NULL);

/* ---- types: the messages in between have no structure of their own ---- */

static const OnnxField dim_fields[] = {
    {1, ONNX_FIELD_DIM, 0, offsetof(OnnxDim, value), 0, NULL},
    STRING(2, OnnxDim, param),
    STRING(3, OnnxDim, denotation),
};
DEFINE(static, dim_message, "TensorShapeProto.Dimension", OnnxDim, dim_fields, NONE, NULL);

static const OnnxField shape_fields[] = {
    MESSAGES(1, OnnxType, dims, n_dims, dim_message),
};
static const OnnxMessage shape_message = {
    "TensorShapeProto", sizeof(OnnxType), shape_fields, COUNT(shape_fields),
    offsetof(OnnxType, shape_unknown), NONE, NULL};

static const OnnxField tensor_type_fields[] = {
    INT32(1, OnnxType, elem_type),
    {2, ONNX_FIELD_INLINE, 0, offsetof(OnnxType, has_shape), 0, &shape_message},
};
static const OnnxField element_type_fields[] = {
    {1, ONNX_FIELD_POINTER, 0, offsetof(OnnxType, element), 0, &ledge__onnx_type},
};
static const OnnxField map_type_fields[] = {
    INT32(1, OnnxType, key_type),
    {2, ONNX_FIELD_POINTER, 0, offsetof(OnnxType, element), 0, &ledge__onnx_type},
};
#define INNER_TYPE(var, title, table)                                                     \
    static const OnnxMessage var = {                                                      \
        title, sizeof(OnnxType), table, COUNT(table), offsetof(OnnxType, inner_unknown),  \
        offsetof(OnnxType, present), NULL}
INNER_TYPE(tensor_type_message, "TypeProto.Tensor", tensor_type_fields);
INNER_TYPE(element_type_message, "TypeProto.Sequence", element_type_fields);
INNER_TYPE(map_type_message, "TypeProto.Map", map_type_fields);

static bool type_active(const void *message, const OnnxField *field)
{
    return !field->only || (OnnxTypeKind)field->only == ((const OnnxType *)message)->kind;
}

static const OnnxField type_fields[] = {
    {1, ONNX_FIELD_INLINE, ONNX_TYPE_TENSOR, NONE, 0, &tensor_type_message},
    {4, ONNX_FIELD_INLINE, ONNX_TYPE_SEQUENCE, NONE, 0, &element_type_message},
    {5, ONNX_FIELD_INLINE, ONNX_TYPE_MAP, NONE, 0, &map_type_message},
    STRING(6, OnnxType, denotation),
    {8, ONNX_FIELD_INLINE, ONNX_TYPE_SPARSE_TENSOR, NONE, 0, &tensor_type_message},
    {9, ONNX_FIELD_INLINE, ONNX_TYPE_OPTIONAL, NONE, 0, &element_type_message},
};
DEFINE(, ledge__onnx_type, "TypeProto", OnnxType, type_fields, NONE, type_active);

static const OnnxField value_info_fields[] = {
    STRING(1, OnnxValueInfo, name),
    MESSAGE(2, OnnxValueInfo, type, ledge__onnx_type),
    STRING(3, OnnxValueInfo, doc_string),
    METADATA(4, OnnxValueInfo),
};
DEFINE(static, value_info_message, "ValueInfoProto", OnnxValueInfo, value_info_fields,
       offsetof(OnnxValueInfo, present), NULL);

/* ---- attributes and nodes ---- */

static bool attr_active(const void *message, const OnnxField *field)
{
    return !field->only || (OnnxAttrType)field->only == ((const OnnxAttr *)message)->type;
}

#define ATTR(n, kind, only, m, sub)                                                       \
    {n, ONNX_FIELD_##kind, ONNX_ATTR_##only, offsetof(OnnxAttr, m), offsetof(OnnxAttr, count), sub}
static const OnnxField attr_fields[] = {
    STRING(1, OnnxAttr, name),
    ATTR(2, FLOAT, FLOAT, f, NULL),
    ATTR(3, INT64, INT, i, NULL),
    ATTR(4, STRING, STRING, s, NULL),
    ATTR(5, SINGLE, TENSOR, tensors, &ledge__onnx_tensor),
    ATTR(6, SINGLE, GRAPH, graphs, &graph_message),
    ATTR(7, FLOATS, FLOATS, floats, NULL),
    ATTR(8, INT64S, INTS, ints, NULL),
    ATTR(9, STRINGS, STRINGS, strings, NULL),
    ATTR(10, MESSAGES, TENSORS, tensors, &ledge__onnx_tensor),
    ATTR(11, MESSAGES, GRAPHS, graphs, &graph_message),
    STRING(13, OnnxAttr, doc_string),
    ATTR(14, SINGLE, TYPE_PROTO, types, &ledge__onnx_type),
    ATTR(15, MESSAGES, TYPE_PROTOS, types, &ledge__onnx_type),
    INT32(20, OnnxAttr, type),
    STRING(21, OnnxAttr, ref_attr_name),
    ATTR(22, SINGLE, SPARSE_TENSOR, sparse_tensors, &ledge__onnx_sparse_tensor),
    ATTR(23, MESSAGES, SPARSE_TENSORS, sparse_tensors, &ledge__onnx_sparse_tensor),
};
DEFINE(, ledge__onnx_attr, "AttributeProto", OnnxAttr, attr_fields, offsetof(OnnxAttr, present),
       attr_active);

static const OnnxField node_fields[] = {
    STRINGS(1, OnnxNode, inputs, n_inputs),
    STRINGS(2, OnnxNode, outputs, n_outputs),
    STRING(3, OnnxNode, name),
    STRING(4, OnnxNode, op_type),
    MESSAGES(5, OnnxNode, attrs, n_attrs, ledge__onnx_attr),
    STRING(6, OnnxNode, doc_string),
    STRING(7, OnnxNode, domain),
    STRING(8, OnnxNode, overload),
    METADATA(9, OnnxNode),
};
DEFINE(static, node_message, "NodeProto", OnnxNode, node_fields, NONE, NULL);

/* ---- graph, functions, model ---- */

static const OnnxField annotation_fields[] = {
    STRING(1, OnnxQuantAnnotation, tensor_name),
    MESSAGES(2, OnnxQuantAnnotation, entries, n_entries, ledge__onnx_entry),
};
DEFINE(static, annotation_message, "TensorAnnotation", OnnxQuantAnnotation, annotation_fields,
       NONE, NULL);

static const OnnxField graph_fields[] = {
    MESSAGES(1, OnnxGraph, nodes, n_nodes, node_message),
    STRING(2, OnnxGraph, name),
    MESSAGES(5, OnnxGraph, initializers, n_initializers, ledge__onnx_tensor),
    STRING(10, OnnxGraph, doc_string),
    MESSAGES(11, OnnxGraph, inputs, n_inputs, value_info_message),
    MESSAGES(12, OnnxGraph, outputs, n_outputs, value_info_message),
    MESSAGES(13, OnnxGraph, value_info, n_value_info, value_info_message),
    MESSAGES(14, OnnxGraph, quant_annotations, n_quant_annotations, annotation_message),
    MESSAGES(15, OnnxGraph, sparse_initializers, n_sparse_initializers,
             ledge__onnx_sparse_tensor),
    METADATA(16, OnnxGraph),
};
DEFINE(static, graph_message, "GraphProto", OnnxGraph, graph_fields, NONE, NULL);

static const OnnxField opset_fields[] = {
    STRING(1, OnnxOpset, domain),
    INT64(2, OnnxOpset, version),
};
DEFINE(static, opset_message, "OperatorSetIdProto", OnnxOpset, opset_fields, NONE, NULL);

static const OnnxField function_fields[] = {
    STRING(1, OnnxFunction, name),
    STRINGS(4, OnnxFunction, inputs, n_inputs),
    STRINGS(5, OnnxFunction, outputs, n_outputs),
    STRINGS(6, OnnxFunction, attributes, n_attributes),
    MESSAGES(7, OnnxFunction, nodes, n_nodes, node_message),
    STRING(8, OnnxFunction, doc_string),
    MESSAGES(9, OnnxFunction, opsets, n_opsets, opset_message),
    STRING(10, OnnxFunction, domain),
    MESSAGES(11, OnnxFunction, attr_defaults, n_attr_defaults, ledge__onnx_attr),
    MESSAGES(12, OnnxFunction, value_info, n_value_info, value_info_message),
    STRING(13, OnnxFunction, overload),
    METADATA(14, OnnxFunction),
};
DEFINE(static, function_message, "FunctionProto", OnnxFunction, function_fields, NONE, NULL);

static const OnnxField model_fields[] = {
    INT64(1, OnnxModel, ir_version),
    STRING(2, OnnxModel, producer_name),
    STRING(3, OnnxModel, producer_version),
    STRING(4, OnnxModel, domain),
    INT64(5, OnnxModel, model_version),
    STRING(6, OnnxModel, doc_string),
    MESSAGE(7, OnnxModel, graph, graph_message),
    MESSAGES(8, OnnxModel, opsets, n_opsets, opset_message),
    METADATA(14, OnnxModel),
    MESSAGES(25, OnnxModel, functions, n_functions, function_message),
};
DEFINE(, ledge__onnx_model, "ModelProto", OnnxModel, model_fields, offsetof(OnnxModel, present),
       NULL);

/* ---- where a tensor's elements are ---- */

uint32_t ledge__onnx_typed_field(int32_t data_type)
{
    switch (data_type) {
    case LEDGE_FLOAT:
    case LEDGE_COMPLEX64:
        return 4;
    case LEDGE_STRING:
        return 6;
    case LEDGE_INT64:
        return 7;
    case LEDGE_DOUBLE:
    case LEDGE_COMPLEX128:
        return 10;
    case LEDGE_UINT32:
    case LEDGE_UINT64:
        return 11;
    default:
        return ledge_type_bits((LedgeType)data_type) ? 5 : 0;
    }
}

uint32_t ledge__onnx_data_field(const OnnxTensor *t)
{
    if (t->external)
        return 0;
    if (t->typed_storage || t->data_type == LEDGE_STRING)
        return ledge__onnx_typed_field(t->data_type);
    return 9;
}

const char *ledge__onnx_data_field_name(uint32_t number)
{
    static const char *const names[] = {[4] = "float_data",   [5] = "int32_data",
                                        [6] = "string_data",  [7] = "int64_data",
                                        [9] = "raw_data",     [10] = "double_data",
                                        [11] = "uint64_data"};
    return number < COUNT(names) && names[number] ? names[number] : "no data field";
}
