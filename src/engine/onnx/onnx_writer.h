/* What the parts of the ONNX writer share. */
#ifndef LEDGE_ENGINE_ONNX_WRITER_H
#define LEDGE_ENGINE_ONNX_WRITER_H

#include "base/out_file.h"
#include "engine/onnx/onnx_schema.h"
#include "engine/onnx/wire.h"

/* Where an external tensor's bytes go. */
typedef struct OnnxPlacement {
    const OnnxTensor *tensor;
    uint64_t offset;
} OnnxPlacement;

/* One sink for three ends: counting bytes, memory, a file. */
typedef struct OnnxWriter {
    LedgeError *err;
    LedgeStatus status; /* the first failure; further output is dropped */
    uint64_t count;     /* bytes put so far */
    uint8_t *memory;    /* NULL and no file: only counting */
    LedgeOutFile *file;
    const OnnxPlacement *placements; /* sorted by tensor; NULL: external tensors go inline */
    size_t n_placements;
} OnnxWriter;

void ledge__onnx_put(OnnxWriter *w, const void *bytes, size_t n);
void ledge__onnx_put_varint(OnnxWriter *w, uint64_t v);
/* Tag and length, then the bytes. */
void ledge__onnx_put_bytes(OnnxWriter *w, uint32_t number, const void *bytes, size_t n);
/* All fields of a message, without a length before them. */
void ledge__onnx_put_message(OnnxWriter *w, const OnnxMessage *m, const void *message);
/* The elements, if `number` is the field they belong in; `asked`: the file had the field. */
void ledge__onnx_put_data(OnnxWriter *w, const OnnxTensor *t, uint32_t number, bool asked);
/* Calls fn for each tensor in the message, in the order of writing. */
typedef void (*OnnxTensorFn)(void *arg, const OnnxTensor *t);
void ledge__onnx_visit_tensors(const OnnxMessage *m, const void *message, OnnxTensorFn fn,
                               void *arg);

#endif
