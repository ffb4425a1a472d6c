/* For guests in WebAssembly: the imports of wasi-nn and of ledge_nn, as C.
 *
 * Compile with clang --target=wasm32-wasi. `wasi_ephemeral_nn` is the standard ABI and works in
 * every runtime that has wasi-nn; `ledge_nn` is there in ledge and in stock WasmEdge with ledge's
 * plugin. Each function gives an errno, NN_SUCCESS (0) when all is well. */
#ifndef LEDGE_GUEST_NN_H
#define LEDGE_GUEST_NN_H

#include <stdint.h>

#ifdef __wasm__
#define NN_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#else /* so that the header can be read, and a guest be tested, elsewhere */
#define NN_IMPORT(module, name)
#endif

typedef uint32_t nn_errno;
enum {
    NN_GUEST_SUCCESS = 0,
    NN_GUEST_INVALID_ARGUMENT = 1,
    NN_GUEST_INVALID_ENCODING = 2,
    NN_GUEST_MISSING_MEMORY = 3,
    NN_GUEST_BUSY = 4,
    NN_GUEST_RUNTIME_ERROR = 5,
    NN_GUEST_UNSUPPORTED_OPERATION = 6,
    NN_GUEST_TOO_LARGE = 7, /* also: the buffer is too small */
    NN_GUEST_NOT_FOUND = 8
};

typedef enum nn_encoding { NN_ENCODING_ONNX = 1, NN_ENCODING_AUTO = 5 } nn_encoding;
typedef enum nn_target { NN_TARGET_CPU = 0, NN_TARGET_GPU = 1, NN_TARGET_TPU = 2 } nn_target;
typedef enum nn_type {
    NN_TYPE_F16 = 0,
    NN_TYPE_F32 = 1,
    NN_TYPE_F64 = 2,
    NN_TYPE_U8 = 3, /* all types of 8 bits */
    NN_TYPE_I32 = 4,
    NN_TYPE_I64 = 5
} nn_type;

typedef uint32_t nn_graph;
typedef uint32_t nn_context;

typedef struct nn_builder {
    const uint8_t *bytes;
    uint32_t size;
} nn_builder;

typedef struct nn_tensor {
    const uint32_t *dims;
    uint32_t rank;
    uint8_t type;
    const uint8_t *data;
    uint32_t size; /* in bytes */
} nn_tensor;

/* ---- wasi_ephemeral_nn ---- */

NN_IMPORT("wasi_ephemeral_nn", "load")
nn_errno nn_load(const nn_builder *builders, uint32_t n, uint32_t encoding, uint32_t target,
                 nn_graph *graph);
NN_IMPORT("wasi_ephemeral_nn", "load_by_name")
nn_errno nn_load_by_name(const char *name, uint32_t size, nn_graph *graph);
/* config: JSON, {"target": "cpu", "threads": 2} */
NN_IMPORT("wasi_ephemeral_nn", "load_by_name_with_config")
nn_errno nn_load_by_name_with_config(const char *name, uint32_t size, const char *config,
                                     uint32_t config_size, nn_graph *graph);
NN_IMPORT("wasi_ephemeral_nn", "unload")
nn_errno nn_unload(nn_graph graph);
NN_IMPORT("wasi_ephemeral_nn", "init_execution_context")
nn_errno nn_init_execution_context(nn_graph graph, nn_context *context);
NN_IMPORT("wasi_ephemeral_nn", "finalize_execution_context")
nn_errno nn_finalize_execution_context(nn_context context);
NN_IMPORT("wasi_ephemeral_nn", "set_input")
nn_errno nn_set_input(nn_context context, uint32_t index, const nn_tensor *tensor);
NN_IMPORT("wasi_ephemeral_nn", "compute")
nn_errno nn_compute(nn_context context);
NN_IMPORT("wasi_ephemeral_nn", "get_output")
nn_errno nn_get_output(nn_context context, uint32_t index, uint8_t *buffer, uint32_t room,
                       uint32_t *written);

/* ---- ledge_nn: kind is 0 for inputs, 1 for outputs ---- */

NN_IMPORT("ledge_nn", "tensor_count")
nn_errno nn_tensor_count(nn_graph graph, uint32_t kind, uint32_t *count);
/* Texts have no NUL; *size is the text's own, also when it does not fit (TOO_LARGE). */
NN_IMPORT("ledge_nn", "tensor_name")
nn_errno nn_tensor_name(nn_graph graph, uint32_t kind, uint32_t index, char *name, uint32_t room,
                        uint32_t *size);
NN_IMPORT("ledge_nn", "tensor_type")
nn_errno nn_tensor_type(nn_graph graph, uint32_t kind, uint32_t index, uint32_t *type);
/* As ONNX numbers types: 1 float32, 2 uint8, 3 int8 … */
NN_IMPORT("ledge_nn", "tensor_onnx_type")
nn_errno nn_tensor_onnx_type(nn_graph graph, uint32_t kind, uint32_t index, uint32_t *type);
/* A free dimension is 0xffffffff. */
NN_IMPORT("ledge_nn", "tensor_shape")
nn_errno nn_tensor_shape(nn_graph graph, uint32_t kind, uint32_t index, uint32_t *dims,
                         uint32_t room, uint32_t *rank);
NN_IMPORT("ledge_nn", "output_shape") /* of what was computed */
nn_errno nn_output_shape(nn_context context, uint32_t index, uint32_t *dims, uint32_t room,
                         uint32_t *rank);
NN_IMPORT("ledge_nn", "metadata")
nn_errno nn_metadata(nn_graph graph, const char *key, uint32_t key_size, char *value, uint32_t room,
                     uint32_t *size);
NN_IMPORT("ledge_nn", "placement") /* "cpu", "cuda" … */
nn_errno nn_placement(nn_context context, char *text, uint32_t room, uint32_t *size);
NN_IMPORT("ledge_nn", "last_error") /* why the last call failed */
nn_errno nn_last_error(char *text, uint32_t room, uint32_t *size);

#endif
