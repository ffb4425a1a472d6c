/* wasi-nn for whatever runs guests: the whole core ABI, and `ledge_nn`, over the public C API.
 *
 * An embedder makes one LedgeNn per guest instance and passes each call on with the guest's
 * memory as it is at that moment. All that a guest says is checked here: pointers and lengths
 * against the memory in 64 bits, handles against tables that belong to this instance alone.
 * Nothing a guest does is a failure of the host: every refusal is an errno, and a sentence that
 * `ledge_nn.last_error` tells. What a guest may use up is bounded and counted. */
#ifndef LEDGE_WASM_WASI_NN_H
#define LEDGE_WASM_WASI_NN_H

#include "ledge/ledge.h"

typedef enum NnErrno {
#define X(code, NAME) NN_##NAME = (code),
#include "wasm/wasi_nn/nn_errno.def"
#undef X
} NnErrno;

/* ---- models that guests load by name ---- */

/* Shared by instances and threads, which must be freed before it. Models are loaded when they
 * are first asked for, and once. */
typedef struct LedgeNnNames LedgeNnNames;

LEDGE_MUST_CHECK LedgeStatus ledge__nn_names_new(const LedgeModelOptions *options,
                                                 LedgeNnNames **out);
void ledge__nn_names_free(LedgeNnNames *names); /* NULL is legal */
/* "NAME=PATH", or "NAME:ENCODING:TARGET:PATH" as wasmedge's --nn-preload has it (the encoding is
 * onnx or auto, the target cpu, gpu, tpu or auto). Not once instances use it. Statuses: FORMAT,
 * UNSUPPORTED (another encoding), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__nn_names_add(LedgeNnNames *names, const char *word,
                                                 LedgeError *err);
size_t ledge__nn_names_count(const LedgeNnNames *names);
const char *ledge__nn_name(const LedgeNnNames *names, size_t index);
/* Loads the model now, so that guests need not wait and failures are told early. Statuses:
 * those of ledge_model_load. */
LEDGE_MUST_CHECK LedgeStatus ledge__nn_names_load(LedgeNnNames *names, size_t index,
                                                  LedgeError *err);

/* ---- one guest instance ---- */

#define NN_MOST_OBJECTS 128 /* graphs, and contexts, whatever the limits say */

typedef struct LedgeNnLimits {
    uint32_t graphs, contexts; /* at a time; 0: 16 and 32 */
    uint64_t host_bytes;       /* of host memory: models, tensors, activations; 0: 1 GiB */
    uint64_t compute_ns;       /* of loading and computing in all; 0: no bound */
} LedgeNnLimits;

typedef struct LedgeNnOptions {
    LedgeNnNames *names; /* NULL: nothing can be loaded by name */
    LedgeNnLimits limits;
    int threads;     /* of one computation; 0: every fast core */
    const char *cpu; /* highest CPU level for models that the guest brings; NULL: this CPU's */
    bool (*cancelled)(void *arg); /* true ends a computation (errno 5); NULL: never */
    void *cancel_arg;
    const LedgeAllocator *allocator;
} LedgeNnOptions;

typedef struct LedgeNnCounts {
    uint32_t graphs, contexts;       /* now */
    uint64_t host_bytes, peak_bytes; /* now, and at most */
    uint64_t calls, refused;         /* calls, and those that gave another errno than 0 */
    uint64_t computes, compute_ns;
} LedgeNnCounts;

typedef struct LedgeNn LedgeNn;

/* options may be NULL. Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__nn_new(const LedgeNnOptions *options, LedgeNn **out);
/* Frees all that the guest left behind; NULL is legal. Not while a call runs. */
void ledge__nn_free(LedgeNn *nn);
LedgeNnCounts ledge__nn_counts(LedgeNn *nn);
/* The last name that the guest asked for and no model has; NULL: there was none. The instance's. */
const char *ledge__nn_missing(const LedgeNn *nn);

/* ---- calls ---- */

typedef struct LedgeNnMemory {
    uint8_t *base; /* NULL: the guest has no memory */
    uint64_t size; /* bytes */
} LedgeNnMemory;

typedef struct LedgeNnFunction {
    const char *module, *name;
    uint32_t params;
    NnErrno (*run)(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args);
} LedgeNnFunction;

extern const LedgeNnFunction ledge__nn_functions[]; /* ends with an all-zero entry */

/* Any thread, several at a time: a call on an object that another thread computes with gives
 * BUSY. args: function->params of them. */
NnErrno ledge__nn_call(LedgeNn *nn, const LedgeNnFunction *function, LedgeNnMemory memory,
                       const uint32_t *args);

#endif
