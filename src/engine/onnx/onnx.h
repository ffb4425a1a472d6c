/* The ONNX file as data: what the reader makes from a ModelProto and the writer turns
 * back into one. Field names follow onnx.proto3.
 *
 * Strings and tensor bytes are views into the mapped file wherever possible (zero copy);
 * everything else lives in the model's arena. Unknown fields are kept as raw bytes, so
 * that reading and writing lose nothing. To change a model, build new structures in its
 * arena; nothing in the mapping is ever written. */
#ifndef LEDGE_ENGINE_ONNX_H
#define LEDGE_ENGINE_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ledge/tensor.h"

/* Wire bytes (tag included) of fields that this reader does not know, in file order. */
typedef struct OnnxUnknown {
    LedgeStr *items;
    size_t count;
} OnnxUnknown;

typedef struct OnnxEntry { /* StringStringEntryProto */
    LedgeStr key, value;
    OnnxUnknown unknown;
} OnnxEntry;

/* A string is absent when p is NULL and empty when only n is 0. `present` members have a bit
 * per field that the file wrote although it holds the default (0), so that it is written back;
 * leave them 0 in structures that you build. */

typedef struct OnnxTensor {
    LedgeStr name, doc_string;
    int32_t data_type; /* ONNX code; may be one that ledge does not know */
    int64_t *dims;
    size_t n_dims;
    /* Elements in little-endian row-major order, packed as LedgeType says, whichever field of
     * the file they came from; NULL for string tensors. May be misaligned. */
    const void *data;
    size_t data_size;
    LedgeStr *strings; /* STRING tensors */
    size_t n_strings;
    bool external;       /* the bytes came from (or go to) another file */
    bool typed_storage;  /* the file used float_data & co., not raw_data; kept on writing */
    LedgeStr location;   /* external file name relative to the model's folder */
    int64_t offset, length; /* as written in external_data; -1 when absent */
    OnnxEntry *external_data;
    size_t n_external_data;
    OnnxEntry *metadata;
    size_t n_metadata;
    bool has_segment;
    int64_t segment_begin, segment_end;
    uint32_t present;
    OnnxUnknown unknown, segment_unknown;
} OnnxTensor;

typedef struct OnnxSparseTensor {
    OnnxTensor values, indices;
    int64_t *dims;
    size_t n_dims;
    OnnxUnknown unknown;
} OnnxSparseTensor;

typedef enum OnnxTypeKind {
    ONNX_TYPE_NONE = 0,
    ONNX_TYPE_TENSOR,
    ONNX_TYPE_SPARSE_TENSOR,
    ONNX_TYPE_SEQUENCE,
    ONNX_TYPE_MAP,
    ONNX_TYPE_OPTIONAL
} OnnxTypeKind;

typedef struct OnnxDim {
    int64_t value;  /* -1: free */
    LedgeStr param; /* name of a free dimension, may be empty */
    LedgeStr denotation;
    OnnxUnknown unknown;
} OnnxDim;

typedef struct OnnxType {
    OnnxTypeKind kind;
    int32_t elem_type;        /* tensor kinds */
    bool has_shape;           /* false: rank unknown */
    OnnxDim *dims;
    size_t n_dims;
    struct OnnxType *element; /* sequence, optional: element; map: value */
    int32_t key_type;         /* map */
    LedgeStr denotation;
    uint32_t present;
    OnnxUnknown unknown, inner_unknown, shape_unknown;
} OnnxType;

typedef struct OnnxValueInfo {
    LedgeStr name, doc_string;
    OnnxType type;
    OnnxEntry *metadata;
    size_t n_metadata;
    uint32_t present;
    OnnxUnknown unknown;
} OnnxValueInfo;

typedef enum OnnxAttrType { /* AttributeProto.AttributeType */
    ONNX_ATTR_UNDEFINED = 0,
    ONNX_ATTR_FLOAT = 1,
    ONNX_ATTR_INT = 2,
    ONNX_ATTR_STRING = 3,
    ONNX_ATTR_TENSOR = 4,
    ONNX_ATTR_GRAPH = 5,
    ONNX_ATTR_FLOATS = 6,
    ONNX_ATTR_INTS = 7,
    ONNX_ATTR_STRINGS = 8,
    ONNX_ATTR_TENSORS = 9,
    ONNX_ATTR_GRAPHS = 10,
    ONNX_ATTR_SPARSE_TENSOR = 11,
    ONNX_ATTR_SPARSE_TENSORS = 12,
    ONNX_ATTR_TYPE_PROTO = 13,
    ONNX_ATTR_TYPE_PROTOS = 14
} OnnxAttrType;

struct OnnxGraph;

typedef struct OnnxAttr {
    LedgeStr name, doc_string;
    LedgeStr ref_attr_name; /* inside functions: takes the caller's attribute */
    OnnxAttrType type;
    float f;
    int64_t i;
    LedgeStr s;
    float *floats;
    int64_t *ints;
    LedgeStr *strings;
    OnnxTensor *tensors;          /* TENSOR (1) and TENSORS */
    struct OnnxGraph *graphs;     /* GRAPH (1) and GRAPHS */
    OnnxSparseTensor *sparse_tensors;
    OnnxType *types;
    size_t count; /* elements in the array that `type` uses; 1 for single values */
    uint32_t present;
    OnnxUnknown unknown;
} OnnxAttr;

typedef struct OnnxNode {
    LedgeStr name, op_type, domain, overload, doc_string;
    LedgeStr *inputs; /* an empty string is an omitted optional input */
    size_t n_inputs;
    LedgeStr *outputs;
    size_t n_outputs;
    OnnxAttr *attrs;
    size_t n_attrs;
    OnnxEntry *metadata;
    size_t n_metadata;
    OnnxUnknown unknown; /* device_configurations and later fields */
} OnnxNode;

typedef struct OnnxQuantAnnotation { /* TensorAnnotation */
    LedgeStr tensor_name;
    OnnxEntry *entries;
    size_t n_entries;
    OnnxUnknown unknown;
} OnnxQuantAnnotation;

typedef struct OnnxGraph {
    LedgeStr name, doc_string;
    OnnxNode *nodes;
    size_t n_nodes;
    OnnxTensor *initializers;
    size_t n_initializers;
    OnnxSparseTensor *sparse_initializers;
    size_t n_sparse_initializers;
    OnnxValueInfo *inputs;
    size_t n_inputs;
    OnnxValueInfo *outputs;
    size_t n_outputs;
    OnnxValueInfo *value_info;
    size_t n_value_info;
    OnnxQuantAnnotation *quant_annotations;
    size_t n_quant_annotations;
    OnnxEntry *metadata;
    size_t n_metadata;
    OnnxUnknown unknown;
} OnnxGraph;

typedef struct OnnxOpset { /* OperatorSetIdProto */
    LedgeStr domain;
    int64_t version;
    OnnxUnknown unknown;
} OnnxOpset;

typedef struct OnnxFunction {
    LedgeStr name, domain, overload, doc_string;
    LedgeStr *inputs;
    size_t n_inputs;
    LedgeStr *outputs;
    size_t n_outputs;
    LedgeStr *attributes; /* names without a default */
    size_t n_attributes;
    OnnxAttr *attr_defaults;
    size_t n_attr_defaults;
    OnnxNode *nodes;
    size_t n_nodes;
    OnnxOpset *opsets;
    size_t n_opsets;
    OnnxValueInfo *value_info;
    size_t n_value_info;
    OnnxEntry *metadata;
    size_t n_metadata;
    OnnxUnknown unknown;
} OnnxFunction;

typedef struct OnnxModel {
    LedgeArena *arena; /* owns everything below but the mappings */
    int64_t ir_version;
    OnnxOpset *opsets;
    size_t n_opsets;
    LedgeStr producer_name, producer_version, domain, doc_string;
    int64_t model_version;
    OnnxGraph graph;
    OnnxEntry *metadata;
    size_t n_metadata;
    OnnxFunction *functions;
    size_t n_functions;
    uint32_t present;
    OnnxUnknown unknown; /* training_info, configuration and later fields */
    const char *path;    /* the file, or NULL when read from memory; for messages */
    struct OnnxMapping *mappings; /* the model file and external data files */
} OnnxModel;

/* What a compiled model (M.ledge) begins with, to be told from ONNX. */
#define LEDGE_FILE_MAGIC "\x89LEDGE\r\n"
static inline bool ledge__file_is_compiled(const void *bytes, size_t size)
{
    return size >= 8 && memcmp(bytes, LEDGE_FILE_MAGIC, 8) == 0;
}

/* Bounds on hostile input; documented in docs/formats.md. */
#define ONNX_MAX_NESTING 32          /* subgraphs, types and messages inside each other */
#define ONNX_MIN_IR 3
#define ONNX_MAX_IR 13
#define ONNX_MIN_OPSET 7
#define ONNX_MAX_OPSET 26

/* Maps and reads a model file. External data is found in the file's own folder only; its
 * files are mapped too. The caller frees with ledge__onnx_free. Statuses: IO, FORMAT,
 * LIMIT, UNSUPPORTED (a compiled model too), MEMORY. Whether ledge runs the model's IR and opset
 * is not looked at here, so that tools can inspect and rewrite any model: see
 * ledge__onnx_check_versions. The file must not be cut short while it is mapped: the kernel answers
 * a read past the new end with SIGBUS. Replacing it by rename, as ledge's own writer does, is
 * safe. */
LedgeStatus ledge__onnx_read_file(const LedgeAllocator *a, const char *path, LedgeError *err,
                                  OnnxModel **out);
/* The same from `size` bytes that must outlive the model. External data is refused. */
LedgeStatus ledge__onnx_read_memory(const LedgeAllocator *a, const void *bytes, size_t size,
                                    LedgeError *err, OnnxModel **out);
/* A lone TensorProto / SequenceProto-free file such as the backend tests' input_0.pb; the
 * result lives in `arena`, its data may point into `bytes`. */
LedgeStatus ledge__onnx_read_tensor(LedgeArena *arena, const void *bytes, size_t size,
                                    LedgeError *err, OnnxTensor *out);
/* A value file of the backend tests: a TensorProto, SequenceProto or OptionalProto as `type`
 * says (NULL or kind NONE: a tensor). Everything is copied into `arena`, elements aligned as
 * the arena aligns; strings become LedgeString[], containers LedgeTensor[]. An absent optional
 * has 0 elements. Maps and sparse tensors are UNSUPPORTED, ranks over LEDGE_MAX_RANK LIMIT. */
LedgeStatus ledge__onnx_read_value(LedgeArena *arena, const OnnxType *type, const void *bytes,
                                   size_t size, LedgeError *err, LedgeTensor *out);
void ledge__onnx_free(OnnxModel *model); /* NULL is legal */

/* UNSUPPORTED with a sentence when the IR version is outside ONNX_MIN_IR … ONNX_MAX_IR or the
 * default domain's opset outside ONNX_MIN_OPSET … ONNX_MAX_OPSET, or there is none. */
LedgeStatus ledge__onnx_check_versions(const OnnxModel *model, LedgeError *err);

/* Writes to a new file beside `path` and renames it over, so that no half file is ever
 * seen; fsyncs file and folder. Tensors with `external` set go to their location when
 * `keep_external`, else inline. Statuses: IO, LIMIT (over 2 GiB without external data). */
LedgeStatus ledge__onnx_write_file(const OnnxModel *model, const char *path, bool keep_external,
                                   LedgeError *err);
/* The serialized bytes; free with ledge__free(a, *bytes). */
LedgeStatus ledge__onnx_write_memory(const OnnxModel *model, const LedgeAllocator *a,
                                     void **bytes, size_t *size, LedgeError *err);

/* Replaces or adds an entry of the model's metadata, or takes it away (value NULL). Both texts are
 * copied; the list itself is made anew, as others may share it. Status: MEMORY. */
LedgeStatus ledge__onnx_set_metadata(OnnxModel *model, const char *key, const char *value,
                                     LedgeError *err);

/* Opset version that the model imports for `domain` ("" and "ai.onnx" are one); 0: none. */
int64_t ledge__onnx_opset(const OnnxModel *model, const char *domain);

/* Tells the kernel that a mapped initializer's pages are not needed soon (after packing);
 * the bytes stay valid. Harmless for anything not inside a mapping. */
void ledge__onnx_release_pages(const OnnxModel *model, const void *data, size_t size);

#endif
