/* What the parts of the ONNX reader share: its state and the steps between files. */
#ifndef LEDGE_ENGINE_ONNX_READER_H
#define LEDGE_ENGINE_ONNX_READER_H

#include "engine/onnx/onnx_map.h"
#include "engine/onnx/onnx_schema.h"
#include "engine/onnx/wire.h"

typedef struct OnnxReader {
    LedgeArena *arena;
    LedgeError *err;
    size_t budget; /* bytes of arena that may still be used */
    int depth;
    OnnxModel *model;   /* takes the mappings of external data */
    OnnxFolder *folder; /* where external data may lie; NULL: nowhere */
} OnnxReader;

/* A reader over `size` bytes of input. The memory for structures is bounded in proportion to
 * it, so that a small file cannot ask for much: real models stay below a third of the bound. */
OnnxReader ledge__onnx_reader(LedgeArena *arena, size_t size, LedgeError *err);
/* Zeroed arena memory within the budget; NULL after filling the error, see *status. */
void *ledge__onnx_reader_alloc(OnnxReader *r, size_t count, size_t size, LedgeStatus *status);

/* Reads the message in `span` into the zeroed structure `to`. */
LedgeStatus ledge__onnx_read_message(OnnxReader *r, const OnnxMessage *m, WireSpan span, void *to);
/* Before a TensorProto's fields: which of them holds the elements. */
LedgeStatus ledge__onnx_prepare_tensor(OnnxReader *r, WireSpan span, OnnxTensor *t);
/* After them: gathers the elements and checks them against type and dims. */
LedgeStatus ledge__onnx_finish_tensor(OnnxReader *r, WireSpan span, OnnxTensor *t);
/* Finds and maps the bytes of a tensor stored outside the model file. */
LedgeStatus ledge__onnx_open_external(OnnxReader *r, OnnxTensor *t, size_t expected);
/* "tensor 'w' at byte 120" for messages. */
void ledge__onnx_tensor_where(const OnnxTensor *t, WireSpan span, char *to, size_t size);

#endif
