/* The module `ledge_nn`: what a guest cannot learn by wasi-nn itself. */
#include "wasm/wasi_nn/nn_state.h"

NnErrno ledge__nn_give_text(LedgeNn *nn, LedgeNnMemory memory, const char *text,
                            const uint32_t *args)
{
    const size_t size = strlen(text);
    uint8_t *to = ledge__nn_at(memory, args[0], args[1], 1);
    uint8_t *written = ledge__nn_at(memory, args[2], 1, 4);
    if (!to)
        return ledge__nn_fail_at(nn, memory, "the buffer", args[0], args[1]);
    if (!written)
        return ledge__nn_fail_at(nn, memory, "the size's place", args[2], 4);
    if (size > UINT32_MAX)
        return ledge__nn_fail(nn, NN_TOO_LARGE, "the text has more than 4 GiB");
    if (size <= args[1])
        memcpy(to, text, size);
    ledge__nn_put32(written, (uint32_t)size);
    return size <= args[1] ? NN_SUCCESS
                           : ledge__nn_fail(nn, NN_TOO_LARGE,
                                            "the text has %zu bytes, the buffer %u", size, args[1]);
}

/* args begin with a graph and 0 for its inputs, 1 for its outputs. */
static NnErrno find_model(LedgeNn *nn, const uint32_t *args, const LedgeModel **out)
{
    const NnGraph *g = ledge__nn_table_get(&nn->graphs, args[0]);
    if (!g)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is no graph of this guest", args[0]);
    if (args[1] > 1)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is neither inputs (0) nor outputs (1)",
                              args[1]);
    *out = g->model;
    return NN_SUCCESS;
}

static size_t count_of(const LedgeModel *m, uint32_t kind)
{
    return kind ? ledge_model_output_count(m) : ledge_model_input_count(m);
}

/* The same, and the third is an index. */
static NnErrno find_info(LedgeNn *nn, const uint32_t *args, const LedgeTensorInfo **out)
{
    const LedgeModel *m = NULL;
    const NnErrno e = find_model(nn, args, &m);
    if (e)
        return e;
    if (args[2] >= count_of(m, args[1]))
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "tensor %u of %zu", args[2],
                              count_of(m, args[1]));
    *out = args[1] ? ledge_model_output(m, args[2]) : ledge_model_input(m, args[2]);
    return NN_SUCCESS;
}

static NnErrno give32(LedgeNn *nn, LedgeNnMemory memory, uint32_t address, uint32_t value)
{
    uint8_t *to = ledge__nn_at(memory, address, 1, 4);
    if (!to)
        return ledge__nn_fail_at(nn, memory, "the result's place", address, 4);
    ledge__nn_put32(to, value);
    return NN_SUCCESS;
}

/* tensor_count(graph, kind, count) */
NnErrno ledge__ledge_nn__tensor_count(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeModel *m = NULL;
    const NnErrno e = find_model(nn, args, &m);
    return e ? e : give32(nn, memory, args[2], (uint32_t)count_of(m, args[1]));
}

/* tensor_name(graph, kind, index, buffer, its size, bytes of the name) */
NnErrno ledge__ledge_nn__tensor_name(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeTensorInfo *info = NULL;
    const NnErrno e = find_info(nn, args, &info);
    return e ? e : ledge__nn_give_text(nn, memory, info->name, args + 3);
}

/* tensor_type(graph, kind, index, wasi-nn's type) */
NnErrno ledge__ledge_nn__tensor_type(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeTensorInfo *info = NULL;
    const NnErrno e = find_info(nn, args, &info);
    if (e)
        return e;
    if (ledge__nn_type(info->type) < 0)
        return ledge__nn_fail(nn, NN_UNSUPPORTED_OPERATION, "wasi-nn has no tensors of type %s",
                              ledge_type_name(info->type));
    return give32(nn, memory, args[3], (uint32_t)ledge__nn_type(info->type));
}

/* tensor_onnx_type(graph, kind, index, TensorProto's type) */
NnErrno ledge__ledge_nn__tensor_onnx_type(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeTensorInfo *info = NULL;
    const NnErrno e = find_info(nn, args, &info);
    return e ? e : give32(nn, memory, args[3], (uint32_t)info->type);
}

/* tensor_shape(graph, kind, index, dims, room for so many, how many there are): all bits set for
 * a free dimension, and for the count of a tensor of unknown rank. */
NnErrno ledge__ledge_nn__tensor_shape(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeTensorInfo *info = NULL;
    NnErrno e = find_info(nn, args, &info);
    if (e)
        return e;
    uint8_t *to = ledge__nn_at(memory, args[3], args[4], 4);
    if (!to)
        return ledge__nn_fail_at(nn, memory, "the dimensions", args[3], (uint64_t)args[4] * 4);
    e = give32(nn, memory, args[5], (uint32_t)info->rank);
    if (e)
        return e;
    if (info->rank > 0 && (uint32_t)info->rank > args[4])
        return ledge__nn_fail(nn, NN_TOO_LARGE, "the tensor has %d dimensions", info->rank);
    for (int32_t d = 0; d < info->rank; d++) {
        if (info->dims[d] >= UINT32_MAX)
            return ledge__nn_fail(nn, NN_TOO_LARGE, "dimension %d has more than 32 bits", d);
        ledge__nn_put32(to + 4 * d, (uint32_t)info->dims[d]);
    }
    return NN_SUCCESS;
}

/* metadata(graph, key, its bytes, buffer, its size, bytes of the value) */
NnErrno ledge__ledge_nn__metadata(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    char key[257];
    const NnGraph *g = ledge__nn_table_get(&nn->graphs, args[0]);
    const uint8_t *p = ledge__nn_at(memory, args[1], args[2], 1);
    if (!g)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is no graph of this guest", args[0]);
    if (!p)
        return ledge__nn_fail_at(nn, memory, "the key", args[1], args[2]);
    if (args[2] >= sizeof key)
        return ledge__nn_fail(nn, NN_TOO_LARGE, "a key of %u bytes", args[2]);
    memcpy(key, p, args[2]);
    key[args[2]] = '\0';
    const char *value = strlen(key) == args[2] ? ledge_model_metadata(g->model, key) : NULL;
    if (!value)
        return ledge__nn_fail(nn, NN_NOT_FOUND, "the model has no metadata '%s'", key);
    return ledge__nn_give_text(nn, memory, value, args + 3);
}

/* last_error(buffer, its size, bytes of the sentence): of the last call that failed, "" if none */
NnErrno ledge__ledge_nn__last_error(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    char text[sizeof nn->last_error];
    memcpy(text, nn->last_error, sizeof text); /* a failure below must not change what is told */
    return ledge__nn_give_text(nn, memory, text, args);
}
