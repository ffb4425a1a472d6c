/* The insides of an instance, for the files of this folder alone. */
#ifndef LEDGE_WASM_NN_STATE_H
#define LEDGE_WASM_NN_STATE_H

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/lock.h"
#include "wasm/wasi_nn/wasi_nn.h"

/* ---- guest memory ---- */

/* `count` elements of `size` bytes at a guest address, or NULL when they do not all lie inside. */
static inline uint8_t *ledge__nn_at(LedgeNnMemory m, uint32_t address, uint64_t count,
                                    uint32_t size)
{
    /* count and size come from 32-bit words: neither product nor sum overflows 64 bits. */
    const uint64_t bytes = count * size;
    return m.base && bytes <= m.size && address <= m.size - bytes ? m.base + address : NULL;
}

static inline uint32_t ledge__nn_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void ledge__nn_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* ---- host memory, counted ---- */

typedef struct NnBudget {
    LedgeAllocator allocator; /* what models and sessions get; its context is this */
    const LedgeAllocator *below;
    uint64_t limit;
    _Atomic uint64_t used, peak;
    _Atomic bool refused; /* since it was last set to false */
} NnBudget;

/* ---- handles ---- */

/* A handle is generation << 8 | kind << 7 | slot: a stale one, one of the other kind and a guessed
 * one name nothing. Generations begin at a random number and a slot that has used all is retired.
 */
typedef struct NnSlot {
    void *object; /* NULL: free */
    uint32_t generation, first;
    bool retired;
} NnSlot;

typedef struct NnTable {
    NnSlot slots[NN_MOST_OBJECTS];
    uint32_t kind, limit, count;
} NnTable;

enum { NN_GRAPHS = 0, NN_CONTEXTS = 1 };
bool ledge__nn_table_full(const NnTable *t);
uint32_t ledge__nn_table_put(NnTable *t, void *object);       /* the table must not be full */
void *ledge__nn_table_get(const NnTable *t, uint32_t handle); /* NULL: no such object */
void *ledge__nn_table_take(NnTable *t, uint32_t handle);      /* the same, and out of the table */

/* ---- objects ---- */

enum { NN_NAME_BYTES = 256 };

typedef enum NnTarget { NN_CPU = 0, NN_GPU = 1, NN_TPU = 2 } NnTarget;

typedef struct NnGraph {
    uint32_t references; /* the handle, and each context */
    LedgeModel *model;   /* owned, unless it belongs to a name */
    bool named;
    void *bytes;           /* the guest's model, copied: the guest may overwrite its own */
    const char *providers; /* static; NULL: ledge's own CPU kernels */
    int threads;
} NnGraph;

typedef struct NnContext {
    NnGraph *graph;
    LedgeSession *session;
    size_t n_inputs, n_outputs;
    LedgeTensor *inputs; /* data owned; type NONE: not set */
    size_t *capacity;
    LedgeTensor *outputs; /* of the session */
    bool computed, busy;
} NnContext;

struct LedgeNn {
    LedgeNnOptions o;
    const LedgeAllocator *allocator;
    NnBudget budget;
    LedgeLock lock;
    NnTable graphs, contexts;
    uint32_t live_graphs; /* those unloaded that contexts still hold included */
    uint64_t calls, refused, computes;
    _Atomic uint64_t compute_ns;
    _Atomic uint64_t deadline; /* of the computation that runs, on ledge__nn_now's clock */
    char last_error[sizeof(LedgeError)];
    char missing[NN_NAME_BYTES + 1]; /* a name that was asked for in vain */
};

void ledge__nn_graph_release(LedgeNn *nn, NnGraph *g);
void ledge__nn_context_free(LedgeNn *nn, NnContext *x);

/* ---- failing ---- */

/* Keeps the sentence for last_error and gives `e`. */
NnErrno ledge__nn_fail(LedgeNn *nn, NnErrno e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
NnErrno ledge__nn_fail_status(LedgeNn *nn, LedgeStatus status, const LedgeError *err);
/* A guest address with so many bytes that do not lie in its memory. */
NnErrno ledge__nn_fail_at(LedgeNn *nn, LedgeNnMemory m, const char *what, uint32_t address,
                          uint64_t bytes);

/* Writes `text` into the guest's buffer: args are its address, its size, and the address of a
 * word for the text's own size. TOO_LARGE, with that size told, when it does not fit. */
NnErrno ledge__nn_give_text(LedgeNn *nn, LedgeNnMemory memory, const char *text,
                            const uint32_t *args);

uint64_t ledge__nn_now(void); /* nanoseconds of a steady clock */
/* OK while the guest may still load and compute. */
NnErrno ledge__nn_check_time(LedgeNn *nn);

/* ---- names (nn_names.c) ---- */

typedef struct NnNamed {
    char *name, *path;
    NnTarget target;
    LedgeModel *model; /* NULL: not loaded yet */
} NnNamed;

/* The model called so, loaded. NULL with *status set: NOT_FOUND, or why it cannot be loaded. */
const NnNamed *ledge__nn_names_find(LedgeNnNames *names, const char *name, size_t size,
                                    LedgeError *err, LedgeStatus *status);

/* ---- the functions ---- */

#define NN_FUNCTION(module, name, params)                                                          \
    NnErrno ledge__##module##__##name(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args);
#include "wasm/wasi_nn/nn_functions.def"
#undef NN_FUNCTION

/* Element types: wasi-nn's code for a model's type, or -1. */
int ledge__nn_type(LedgeType type);

#endif
