/* Execution contexts: a session each, with inputs copied from the guest and outputs copied to it.
 */
#include "wasm/wasi_nn/nn_state.h"

#include "ledge/report.h"

/* ---- element types ---- */

enum { TYPE_F16, TYPE_F32, TYPE_F64, TYPE_U8, TYPE_I32, TYPE_I64 };

int ledge__nn_type(LedgeType type)
{
    switch (type) {
    case LEDGE_FLOAT16:
        return TYPE_F16;
    case LEDGE_FLOAT:
        return TYPE_F32;
    case LEDGE_DOUBLE:
        return TYPE_F64;
    case LEDGE_UINT8:
    case LEDGE_INT8: /* bytes are bytes: wasi-nn has one name for all types of 8 bits */
    case LEDGE_BOOL:
        return TYPE_U8;
    case LEDGE_INT32:
    case LEDGE_UINT32:
        return TYPE_I32;
    case LEDGE_INT64:
    case LEDGE_UINT64:
        return TYPE_I64;
    default:
        return -1;
    }
}

/* The plain type behind a code, for inputs whose type the model leaves open. */
static LedgeType plain_type(uint32_t code)
{
    static const LedgeType types[] = {LEDGE_FLOAT16, LEDGE_FLOAT, LEDGE_DOUBLE,
                                      LEDGE_UINT8,   LEDGE_INT32, LEDGE_INT64};
    return types[code];
}

/* ---- life ---- */

void ledge__nn_context_free(LedgeNn *nn, NnContext *x)
{
    const LedgeAllocator *a = &nn->budget.allocator;
    if (!x)
        return;
    ledge_session_free(x->session);
    for (size_t i = 0; x->inputs && i < x->n_inputs; i++)
        ledge__free(a, x->inputs[i].data);
    ledge__free(a, x->inputs);
    ledge__free(a, x->capacity);
    ledge__free(a, x->outputs);
    ledge__nn_graph_release(nn, x->graph);
    ledge__free(a, x);
}

/* Between the steps of a run: is the guest's time used up, or its end wanted? */
static bool is_over(void *arg)
{
    LedgeNn *nn = arg;
    const uint64_t limit = nn->o.limits.compute_ns;
    if (nn->o.cancelled && nn->o.cancelled(nn->o.cancel_arg))
        return true;
    return limit && ledge__nn_now() > nn->deadline;
}

static LedgeStatus open_session(LedgeNn *nn, NnContext *x, LedgeError *err)
{
    const LedgeSessionOptions o = {.threads = x->graph->threads,
                                   .arena_limit = nn->budget.limit,
                                   .allocator = &nn->budget.allocator,
                                   .providers = x->graph->providers,
                                   .cancelled = is_over,
                                   .cancel_arg = nn};
    LEDGE_TRY(ledge_session_create(x->graph->model, &o, err, &x->session));
    const LedgePlacement *p = ledge_session_placement(x->session);
    if (x->graph->providers && p->n_providers && p->providers[0].status != LEDGE_OK)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, p->providers[0].name, "%s",
                           p->providers[0].reason);
    return LEDGE_OK;
}

static LedgeStatus fill_context(LedgeNn *nn, NnContext *x, LedgeError *err)
{
    const LedgeAllocator *a = &nn->budget.allocator;
    x->n_inputs = ledge_model_input_count(x->graph->model);
    x->n_outputs = ledge_model_output_count(x->graph->model);
    x->inputs = ledge__calloc(a, x->n_inputs, sizeof *x->inputs);
    x->capacity = ledge__calloc(a, x->n_inputs, sizeof *x->capacity);
    x->outputs = ledge__calloc(a, x->n_outputs, sizeof *x->outputs);
    if (!x->inputs || !x->capacity || !x->outputs)
        return ledge__no_memory(err);
    return open_session(nn, x, err);
}

/* init_execution_context(graph, context) */
NnErrno ledge__wasi_ephemeral_nn__init_execution_context(LedgeNn *nn, LedgeNnMemory memory,
                                                         const uint32_t *args)
{
    LedgeError err = {0};
    NnGraph *g = ledge__nn_table_get(&nn->graphs, args[0]);
    uint8_t *out = ledge__nn_at(memory, args[1], 1, 4);
    if (!g)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is no graph of this guest", args[0]);
    if (!out)
        return ledge__nn_fail_at(nn, memory, "the context's place", args[1], 4);
    const NnErrno e = ledge__nn_check_time(nn);
    if (e)
        return e;
    if (ledge__nn_table_full(&nn->contexts))
        return ledge__nn_fail(nn, NN_TOO_LARGE,
                              "the guest holds %u contexts, its limit; "
                              "finalize_execution_context takes one back",
                              nn->contexts.count);
    const uint64_t begin = ledge__nn_now();
    NnContext *x = ledge__calloc(&nn->budget.allocator, 1, sizeof *x);
    if (!x)
        return ledge__nn_fail_status(nn, LEDGE_ERROR_MEMORY, &err);
    x->graph = g;
    g->references++;
    const LedgeStatus status = fill_context(nn, x, &err);
    nn->compute_ns += ledge__nn_now() - begin;
    if (status) {
        ledge__nn_context_free(nn, x);
        return ledge__nn_fail_status(nn, status, &err);
    }
    ledge__nn_put32(out, ledge__nn_table_put(&nn->contexts, x));
    return NN_SUCCESS;
}

static NnErrno find(LedgeNn *nn, uint32_t handle, NnContext **out)
{
    NnContext *x = ledge__nn_table_get(&nn->contexts, handle);
    if (!x)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is no context of this guest", handle);
    if (x->busy)
        return ledge__nn_fail(nn, NN_BUSY, "the context is computing");
    *out = x;
    return NN_SUCCESS;
}

/* finalize_execution_context(context) */
NnErrno ledge__wasi_ephemeral_nn__finalize_execution_context(LedgeNn *nn, LedgeNnMemory memory,
                                                             const uint32_t *args)
{
    NnContext *x = NULL;
    const NnErrno e = find(nn, args[0], &x);
    (void)memory;
    if (e)
        return e;
    (void)ledge__nn_table_take(&nn->contexts, args[0]);
    ledge__nn_context_free(nn, x);
    return NN_SUCCESS;
}

/* ---- inputs ---- */

static bool shape_fits(const LedgeTensorInfo *info, const LedgeTensor *t)
{
    if (info->rank >= 0 && info->rank != t->rank)
        return false;
    for (int32_t d = 0; info->rank >= 0 && d < t->rank; d++)
        if (info->dims[d] >= 0 && info->dims[d] != t->dims[d])
            return false;
    return true;
}

/* The guest's tensor record, as far as it can be judged without its data. */
static NnErrno read_tensor(LedgeNn *nn, LedgeNnMemory memory, const uint8_t *record,
                           const LedgeTensorInfo *info, LedgeTensor *t)
{
    const uint32_t dims = ledge__nn_get32(record), rank = ledge__nn_get32(record + 4);
    const uint32_t code = record[8], size = ledge__nn_get32(record + 16);
    if (rank > LEDGE_MAX_RANK)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%s: %u dimensions are over %d", info->name,
                              rank, LEDGE_MAX_RANK);
    const uint8_t *p = ledge__nn_at(memory, dims, rank, 4);
    if (!p)
        return ledge__nn_fail_at(nn, memory, "the dimensions", dims, (uint64_t)rank * 4);
    if (code > TYPE_I64)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "tensor type %u is none of wasi-nn's", code);
    if (info->type != LEDGE_TYPE_NONE && ledge__nn_type(info->type) < 0)
        return ledge__nn_fail(nn, NN_UNSUPPORTED_OPERATION,
                              "%s: wasi-nn has no tensors of type %s, which the model takes",
                              info->name, ledge_type_name(info->type));
    *t = (LedgeTensor){.type = info->type ? info->type : plain_type(code), .rank = (int32_t)rank};
    if ((uint32_t)ledge__nn_type(t->type) != code)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                              "%s: tensor type %u was given, the model takes %s (%d)", info->name,
                              code, ledge_type_name(t->type), ledge__nn_type(t->type));
    for (uint32_t d = 0; d < rank; d++)
        t->dims[d] = ledge__nn_get32(p + 4 * d);
    if (!shape_fits(info, t))
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                              "%s: the shape is not the one that the model takes", info->name);
    if (ledge_tensor_bytes(t) != size)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                              "%s: %u bytes were given, the shape needs %zu", info->name, size,
                              ledge_tensor_bytes(t));
    return NN_SUCCESS;
}

/* set_input(context, index, tensor) */
NnErrno ledge__wasi_ephemeral_nn__set_input(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    NnContext *x = NULL;
    LedgeTensor t;
    NnErrno e = find(nn, args[0], &x);
    if (e)
        return e;
    if (args[1] >= x->n_inputs)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "input %u of a model that has %zu", args[1],
                              x->n_inputs);
    const uint8_t *record = ledge__nn_at(memory, args[2], 1, 20);
    if (!record)
        return ledge__nn_fail_at(nn, memory, "the tensor", args[2], 20);
    e = read_tensor(nn, memory, record, ledge_model_input(x->graph->model, args[1]), &t);
    if (e)
        return e;
    const uint32_t address = ledge__nn_get32(record + 12), size = ledge__nn_get32(record + 16);
    const uint8_t *data = ledge__nn_at(memory, address, size, 1);
    if (!data)
        return ledge__nn_fail_at(nn, memory, "the tensor's data", address, size);
    LedgeTensor *to = &x->inputs[args[1]];
    if (size > x->capacity[args[1]] || !to->data) {
        void *room = ledge__alloc(&nn->budget.allocator, size, 1);
        if (!room)
            return ledge__nn_fail_status(nn, LEDGE_ERROR_MEMORY, &(LedgeError){0});
        ledge__free(&nn->budget.allocator, to->data);
        to->data = room;
        x->capacity[args[1]] = size;
    }
    t.data = to->data;
    t.bytes = size;
    *to = t;
    memcpy(to->data, data, size);
    return NN_SUCCESS;
}

/* ---- computing ---- */

/* compute(context). The instance is not locked meanwhile: other threads may use other contexts. */
NnErrno ledge__wasi_ephemeral_nn__compute(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    LedgeError err = {0};
    NnContext *x = NULL;
    NnErrno e = find(nn, args[0], &x);
    (void)memory;
    if (!e)
        e = ledge__nn_check_time(nn);
    if (e)
        return e;
    for (size_t i = 0; i < x->n_inputs; i++)
        if (!x->inputs[i].data)
            return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%s: the input was not set",
                                  ledge_model_input(x->graph->model, i)->name);
    x->busy = true;
    x->computed = false;
    const uint64_t begin = ledge__nn_now();
    nn->deadline = begin + nn->o.limits.compute_ns - nn->compute_ns;
    ledge__lock_give(&nn->lock);
    for (size_t i = 0; i < x->n_outputs; i++)
        x->outputs[i] = (LedgeTensor){0};
    const LedgeStatus status =
        ledge_session_run(x->session, x->inputs, x->n_inputs, x->outputs, x->n_outputs, &err);
    ledge__lock_take(&nn->lock);
    nn->compute_ns += ledge__nn_now() - begin;
    nn->computes++;
    x->busy = false;
    x->computed = status == LEDGE_OK;
    if (status == LEDGE_ERROR_CANCELLED)
        return ledge__nn_fail(nn, NN_RUNTIME_ERROR,
                              "the computation was ended: the guest's time is used up");
    return status ? ledge__nn_fail_status(nn, status, &err) : NN_SUCCESS;
}

static NnErrno result(LedgeNn *nn, uint32_t handle, uint32_t index, const LedgeTensor **out)
{
    NnContext *x = NULL;
    const NnErrno e = find(nn, handle, &x);
    if (e)
        return e;
    if (index >= x->n_outputs)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "output %u of a model that has %zu", index,
                              x->n_outputs);
    if (!x->computed)
        return ledge__nn_fail(nn, NN_RUNTIME_ERROR, "nothing was computed yet");
    if (ledge__nn_type(x->outputs[index].type) < 0)
        return ledge__nn_fail(nn, NN_UNSUPPORTED_OPERATION,
                              "wasi-nn has no tensors of type %s, which output %u is of",
                              ledge_type_name(x->outputs[index].type), index);
    *out = &x->outputs[index];
    return NN_SUCCESS;
}

/* get_output(context, index, buffer, its size, bytes written) */
NnErrno ledge__wasi_ephemeral_nn__get_output(LedgeNn *nn, LedgeNnMemory memory,
                                             const uint32_t *args)
{
    const LedgeTensor *t = NULL;
    const NnErrno e = result(nn, args[0], args[1], &t);
    if (e)
        return e;
    const size_t bytes = ledge_tensor_bytes(t);
    uint8_t *to = ledge__nn_at(memory, args[2], args[3], 1);
    uint8_t *written = ledge__nn_at(memory, args[4], 1, 4);
    if (!to)
        return ledge__nn_fail_at(nn, memory, "the buffer", args[2], args[3]);
    if (!written)
        return ledge__nn_fail_at(nn, memory, "the size's place", args[4], 4);
    if (bytes > args[3])
        return ledge__nn_fail(nn, NN_TOO_LARGE, "output %u has %zu bytes, the buffer %u", args[1],
                              bytes, args[3]);
    if (bytes)
        memcpy(to, t->data, bytes);
    ledge__nn_put32(written, (uint32_t)bytes);
    return NN_SUCCESS;
}

/* ---- what wasi-nn lacks ---- */

/* output_shape(context, index, dims, room for so many, how many there are) */
NnErrno ledge__ledge_nn__output_shape(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    const LedgeTensor *t = NULL;
    const NnErrno e = result(nn, args[0], args[1], &t);
    if (e)
        return e;
    uint8_t *to = ledge__nn_at(memory, args[2], args[3], 4);
    uint8_t *count = ledge__nn_at(memory, args[4], 1, 4);
    if (!to)
        return ledge__nn_fail_at(nn, memory, "the dimensions", args[2], (uint64_t)args[3] * 4);
    if (!count)
        return ledge__nn_fail_at(nn, memory, "the count's place", args[4], 4);
    ledge__nn_put32(count, (uint32_t)t->rank);
    if ((uint32_t)t->rank > args[3])
        return ledge__nn_fail(nn, NN_TOO_LARGE, "the output has %d dimensions", t->rank);
    for (int32_t d = 0; d < t->rank; d++)
        ledge__nn_put32(to + 4 * d, (uint32_t)t->dims[d]);
    return NN_SUCCESS;
}

/* placement(context, buffer, its size, bytes of the text) */
NnErrno ledge__ledge_nn__placement(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    NnContext *x = NULL;
    const NnErrno e = find(nn, args[0], &x);
    return e ? e
             : ledge__nn_give_text(nn, memory, ledge_session_placement(x->session)->got, args + 1);
}
