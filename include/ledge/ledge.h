/* ledge: ONNX models on edge devices. The public C API.
 *
 *   LedgeModel   *model;    load once, shared by sessions and threads (read-only)
 *   LedgeSession *session;  one per thread that runs; owns arena and plans
 *
 * Ownership: what a `_load`, `_new` or `_create` gives is freed by its `_free`; NULL is
 * legal there. Results go to a last out-parameter that is untouched on failure. */
#ifndef LEDGE_LEDGE_H
#define LEDGE_LEDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/allocator.h"
#include "ledge/status.h"
#include "ledge/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LEDGE_VERSION_MAJOR 0
#define LEDGE_VERSION_MINOR 1
#define LEDGE_VERSION_PATCH 0

/* "0.1.0". Static storage. */
LEDGE_API const char *ledge_version(void);

typedef struct LedgeModel LedgeModel;
typedef struct LedgeSession LedgeSession;

/* ---- model ---- */

/* A picture's bytes instead of prepared floats: an input float32 [N,C,H,W] (or [N,H,W,C]) becomes
 * uint8 [N,H,W,C]. In channel c byte b stands for (b * scale - mean[c]) / std[c], computed in
 * double and rounded to float32: the answers are those of such floats, to the bit. Before a model
 * that quantises its input first, bytes go in and bytes come out. */
typedef struct LedgePixels {
    bool channels_last; /* the layout of the model's own input is [N,H,W,C] */
    bool reversed;      /* the model's channels are in the opposite order of the bytes (BGR) */
    double scale, mean[4], std[4]; /* in the order of the model's channels; preset to 1, 0, 1 */
} LedgePixels;

typedef struct LedgeModelOptions {
    const LedgeAllocator *allocator; /* NULL: the C library's */
    bool no_optimize; /* run the graph as it stands in the file, with reference kernels */
    /* Highest CPU level whose kernels may be chosen ("avx2", "neon", ... as LEDGE_CPU); NULL: this
     * CPU's. A higher one than this CPU's serves ledge_model_compile alone. */
    const char *cpu;
    /* Asked about each input before the graph is optimised, when the model's metadata and inputs can
     * be queried; true: the input takes pixels as *out says. NULL: none does. Up to 4 channels,
     * whose number the model must fix; else loading fails with TYPE, SHAPE or ARGUMENT. */
    bool (*pixels)(void *arg, const LedgeModel *model, size_t input, LedgePixels *out);
    void *pixels_arg;
    /* For sessions with providers: an operator that ledge lacks does not refuse the model here but
     * the session that would have to run it. The CPU's graph is made when a session needs it. */
    bool for_providers;
} LedgeModelOptions;

/* What the model says of one input or output. Owned by the model. */
typedef struct LedgeTensorInfo {
    const char *name;
    LedgeType type;                        /* element type, or a container */
    int32_t rank;                          /* -1: unknown */
    int64_t dims[LEDGE_MAX_RANK];          /* -1: free */
    const char *dim_names[LEDGE_MAX_RANK]; /* name of a free dimension, or NULL */
} LedgeTensorInfo;

/* Loads .onnx or .ledge (told apart by content). options may be NULL. Statuses: IO,
 * FORMAT, LIMIT, UNSUPPORTED (names the operator), MISMATCH (.ledge for another CPU or
 * version), SHAPE, TYPE, MEMORY. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_model_load(const char *path,
                                                        const LedgeModelOptions *options,
                                                        LedgeError *error, LedgeModel **out);
/* The same from memory, which must stay valid and unchanged while the model lives. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_model_load_memory(const void *bytes, size_t size,
                                                               const LedgeModelOptions *options,
                                                               LedgeError *error, LedgeModel **out);
/* Writes the model optimised and packed for its CPU level as `path` (.ledge), whole or not at
 * all. inputs: type, rank and dims for each input (data ignored), or NULL to take the model's
 * own with 1 for free dimensions; other shapes run too where they need no other packing.
 * Not while sessions of the model run. Statuses: IO, SHAPE, UNSUPPORTED, MEMORY. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_model_compile(LedgeModel *model,
                                                           const LedgeTensor *inputs,
                                                           size_t n_inputs, const char *path,
                                                           LedgeError *error);
/* Sessions hold a reference: the model may be freed before its sessions. */
LEDGE_API void ledge_model_free(LedgeModel *model);

LEDGE_API size_t ledge_model_input_count(const LedgeModel *model);
LEDGE_API size_t ledge_model_output_count(const LedgeModel *model);
/* index must be below the count. */
LEDGE_API const LedgeTensorInfo *ledge_model_input(const LedgeModel *model, size_t index);
LEDGE_API const LedgeTensorInfo *ledge_model_output(const LedgeModel *model, size_t index);
/* Value of a metadata_props key, or NULL. */
LEDGE_API const char *ledge_model_metadata(const LedgeModel *model, const char *key);

/* ---- session ---- */

typedef struct LedgeSessionOptions {
    int threads;        /* 0: every fast core; 1: only the calling thread */
    size_t arena_limit; /* most bytes for activations, 0: no limit but memory */
    const LedgeAllocator *allocator;
    /* Who runs the model, in order of preference: "tensorrt,cuda,cpu", a provider's path (see
     * provider.h), "auto" for the fastest that is here. NULL: ledge's own CPU kernels. What the
     * list leaves over runs on the CPU, and ledge_session_placement says what and why. */
    const char *providers;
    const char *const *provider_options; /* "tensorrt.fp16=1" */
    size_t n_provider_options;
    bool strict; /* PROVIDER unless every node runs on the first provider of the list */
    /* Asked before each step of a run on the CPU, Loop's iterations included; true ends the run
     * with CANCELLED. For models and time limits of other people. NULL: nobody is asked. */
    bool (*cancelled)(void *arg);
    void *cancel_arg;
} LedgeSessionOptions;

/* options may be NULL. The plan for fully fixed input shapes is made here, else at the
 * first run with new shapes. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_session_create(LedgeModel *model,
                                                            const LedgeSessionOptions *options,
                                                            LedgeError *error, LedgeSession **out);
LEDGE_API void ledge_session_free(LedgeSession *session);

/* Runs once. inputs[i] belongs to model input i; type, rank and dims must fit it, data is
 * only read. outputs[i]: with data == NULL it is set to memory of the session, valid until
 * the next run or free (passing it in again is the same as NULL); else the result is written to
 * data, whose capacity is `bytes`, and type, rank and dims are set. One thread at a time per
 * session. Allocates nothing when shapes were seen before and do not depend on data. Statuses:
 * SHAPE, TYPE (naming the input), LIMIT (buffer or arena too small), RUNTIME, MEMORY. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_session_run(LedgeSession *session,
                                                         const LedgeTensor *inputs, size_t n_inputs,
                                                         LedgeTensor *outputs, size_t n_outputs,
                                                         LedgeError *error);

/* Bytes of activations that the plan last used needs; 0 where a provider keeps its own. */
LEDGE_API size_t ledge_session_arena_bytes(const LedgeSession *session);

#ifdef __cplusplus
}
#endif
#endif
