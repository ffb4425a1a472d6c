/* ONNX's messages as tables: which field number goes to which member of which structure.
 *
 * The reader and the writer both walk these tables, so that a field is described once and
 * what is read is what is written. Field numbers are those of onnx.proto (ONNX IR 13). */
#ifndef LEDGE_ENGINE_ONNX_SCHEMA_H
#define LEDGE_ENGINE_ONNX_SCHEMA_H

#include "engine/onnx/onnx.h"

typedef enum OnnxFieldKind {
    ONNX_FIELD_STRING,   /* LedgeStr; p == NULL: absent */
    ONNX_FIELD_INT64,    /* int64_t */
    ONNX_FIELD_INT32,    /* int32_t or an enumeration */
    ONNX_FIELD_BOOL,     /* bool from an enumeration of 0 and 1 */
    ONNX_FIELD_FLOAT,    /* float */
    ONNX_FIELD_DIM,      /* int64_t; negative: absent */
    ONNX_FIELD_STRINGS,  /* LedgeStr[] */
    ONNX_FIELD_INT64S,   /* int64_t[] */
    ONNX_FIELD_FLOATS,   /* float[] */
    ONNX_FIELD_MESSAGE,  /* structure in place */
    ONNX_FIELD_POINTER,  /* structure of its own */
    ONNX_FIELD_SINGLE,   /* one message kept as an array of one */
    ONNX_FIELD_MESSAGES, /* array of structures */
    ONNX_FIELD_INLINE,   /* message whose fields land in the same structure */
    ONNX_FIELD_DATA      /* tensor elements: onnx_read_tensor.c, onnx_write_tensor.c */
} OnnxFieldKind;

typedef struct OnnxMessage OnnxMessage;

typedef struct OnnxField {
    uint16_t number;
    uint8_t kind;        /* OnnxFieldKind */
    uint8_t only;        /* attribute type or type kind that it belongs to; 0: all */
    uint16_t offset;     /* of the member; INLINE: of a bool that says it is there, or NONE */
    uint16_t count;      /* of the size_t beside arrays */
    const OnnxMessage *sub;
} OnnxField;

#define ONNX_NO_MEMBER UINT16_MAX
#define ONNX_MAX_FIELDS 24 /* longest table */

struct OnnxMessage {
    const char *name; /* as in onnx.proto, for errors */
    size_t size;      /* of the structure */
    const OnnxField *fields;
    size_t n_fields;
    uint16_t unknown; /* offset of the OnnxUnknown */
    uint16_t present; /* offset of the uint32_t with one bit per table row, or NONE */
    /* Whether the field belongs to this message as it stands; NULL: all do. A field that does
     * not is kept as unknown bytes. */
    bool (*active)(const void *message, const OnnxField *field);
};

extern const OnnxMessage ledge__onnx_model, ledge__onnx_tensor, ledge__onnx_type,
    ledge__onnx_attr, ledge__onnx_sparse_tensor, ledge__onnx_entry;

/* Number of the TensorProto field that holds (or shall hold) the elements; 0: none does. */
uint32_t ledge__onnx_data_field(const OnnxTensor *t);
/* Number of the typed field for an element type ("float_data" …); 0: unknown type. */
uint32_t ledge__onnx_typed_field(int32_t data_type);
const char *ledge__onnx_data_field_name(uint32_t number);

static inline void *ledge__onnx_member(const void *message, uint16_t offset)
{
    return (char *)(uintptr_t)message + offset;
}

#endif
