/* Execution providers: what runs a model, or a part of it, in place of ledge's own kernels.
 *
 * The first half tells which providers are here. The second is the contract of a provider of
 * one's own, a shared library that exports `ledge_provider_get`; examples/provider_blas.c is a
 * whole one. A session asks for it by path: providers = "./libmine.so,cpu".
 *
 * What happens: `probe` runs in a child process first, so that a driver that crashes or hangs is
 * a sentence and no crash. `open` makes an instance for one session. `claim` says which nodes of
 * the model it takes. ledge gathers them into convex parts and gives each to `compile`; `run`
 * then gets tensors in host memory, and brings them to the device and back. Nodes not claimed,
 * and parts that do not compile, go to the next provider of the list and at last to the CPU; the
 * session's placement (ledge_session_placement) says so. */
#ifndef LEDGE_PROVIDER_H
#define LEDGE_PROVIDER_H

#include "ledge/ledge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- which providers are here ---- */

typedef struct LedgeProviderInfo {
    const char *name;    /* as a session asks for it: "cuda" */
    const char *through; /* "ledge" or "ONNX Runtime" */
    LedgeStatus status;  /* OK: it can be used; else PROVIDER, and `reason` says why not */
    char version[64];    /* of the library behind it; "" where none was found */
    char library[256];   /* its file; "" where none was found */
    char reason[512];    /* why it cannot be used, and the step that mends it; "" if it can */
} LedgeProviderInfo;

/* Providers that ledge knows by name; cpu is the first. */
LEDGE_API size_t ledge_provider_count(void);
/* Static storage; NULL past the end. */
LEDGE_API const char *ledge_provider_name(size_t index);
/* Probes a provider: one that ledge knows, or a shared library by its path. Looks in a child
 * process with a time limit (LEDGE_PROBE_SECONDS, 20), once per process and provider. What is
 * not usable is no failure of this function. Statuses: ARGUMENT (with the nearest name),
 * MEMORY. Any thread. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_provider_probe(const char *name, LedgeError *error,
                                                            LedgeProviderInfo *out);

/* ---- a provider of one's own ---- */

/* Rises when a member changes its meaning; members are only ever appended. */
#define LEDGE_PROVIDER_ABI 1

typedef enum LedgeAttributeType { /* AttributeProto.AttributeType */
    LEDGE_ATTRIBUTE_FLOAT = 1,
    LEDGE_ATTRIBUTE_INT = 2,
    LEDGE_ATTRIBUTE_STRING = 3,
    LEDGE_ATTRIBUTE_TENSOR = 4,
    LEDGE_ATTRIBUTE_FLOATS = 6,
    LEDGE_ATTRIBUTE_INTS = 7
} LedgeAttributeType; /* nodes with attributes of other types are not offered */

typedef struct LedgeProviderAttribute {
    const char *name;
    LedgeAttributeType type;
    float f;
    int64_t i;
    const char *s; /* NUL-terminated */
    const LedgeTensor *tensor;
    const float *floats;
    const int64_t *ints;
    size_t count; /* of floats or ints */
} LedgeProviderAttribute;

typedef struct LedgeProviderValue {
    const char *name;
    /* Type, rank (-1: unknown) and dims (-1: free). data: a constant, else NULL; perhaps not
     * aligned; it lives as long as the session. */
    LedgeTensor tensor;
} LedgeProviderValue;

typedef struct LedgeProviderNode {
    const char *name, *domain, *op_type; /* domain "": ONNX's own */
    int64_t opset;                       /* version of the domain that the model imports */
    const int32_t *inputs, *outputs;     /* indices into the graph's values; -1: left out */
    size_t n_inputs, n_outputs;
    const LedgeProviderAttribute *attributes;
    size_t n_attributes;
    int64_t macs;  /* multiply-accumulates with free dimensions as 1; 0: none or not known */
    bool offered;  /* false: stays with ledge (subgraphs, sequences, strings); not to be claimed */
} LedgeProviderNode;

/* A graph in topological order; all of it lives as long as the call that it is given to, and in
 * `compile` as long as the program. */
typedef struct LedgeProviderGraph LedgeProviderGraph;
struct LedgeProviderGraph {
    const LedgeProviderValue *values;
    size_t n_values;
    const LedgeProviderNode *nodes;
    size_t n_nodes;
    const int32_t *inputs, *outputs; /* indices into values; constants are no inputs */
    size_t n_inputs, n_outputs;
    const char *model_path; /* the file that the whole model came from; NULL: from memory */
    /* The graph as the bytes of an ONNX file, made when first asked for and freed with the graph;
     * NULL: no memory, or over 2 GiB. */
    const void *(*onnx)(const LedgeProviderGraph *graph, size_t *size);
};

typedef struct LedgeProviderSetting {
    const char *key, *value;
} LedgeProviderSetting;

typedef struct LedgeProviderSetup {
    int threads; /* that the session was given, at least 1 */
    const LedgeProviderSetting *settings; /* those of --provider-option for this provider */
    size_t n_settings;
} LedgeProviderSetup;

typedef struct LedgeProviderOption {
    const char *name, *preset, *help; /* preset: the value without one given */
} LedgeProviderOption;

/* Statuses: OK; MEMORY when the device's memory is used up (the session then tries a smaller
 * batch, then the next provider); any other, with one sentence in *error. */
typedef struct LedgeProvider {
    uint32_t abi;  /* LEDGE_PROVIDER_ABI */
    uint32_t size; /* sizeof(LedgeProvider) as the provider was built */
    const char *name;    /* short, lower case; options are given as NAME.KEY=VALUE */
    const char *version;
    const LedgeProviderOption *options; /* unknown ones are refused before `open` */
    size_t n_options;
    /* Is the device here? If not, *error says why and what mends it. May be NULL. */
    LedgeStatus (*probe)(LedgeError *error);
    LedgeStatus (*open)(const LedgeProviderSetup *setup, LedgeError *error, void **instance);
    void (*close)(void *instance); /* after all its programs are freed */
    /* Sets takes[i] for each node; where it stays false, reasons[i] may point to a sentence with
     * static storage. */
    LedgeStatus (*claim)(void *instance, const LedgeProviderGraph *graph, bool *takes,
                         const char **reasons, LedgeError *error);
    LedgeStatus (*compile)(void *instance, const LedgeProviderGraph *part, LedgeError *error,
                           void **program);
    /* One thread at a time per program. inputs and outputs in the order of the part's. An output
     * comes with its type, shape, data and bytes where the shape is known; else with data NULL:
     * set type, rank, dims, and data to memory of the program, valid until its next run. */
    LedgeStatus (*run)(void *program, const LedgeTensor *inputs, LedgeTensor *outputs,
                       LedgeError *error);
    void (*program_free)(void *program);
} LedgeProvider;

/* What the shared library exports under this very name. abi: the highest that the caller knows;
 * NULL when the library cannot serve that. Static storage. */
typedef const LedgeProvider *(*LedgeProviderGet)(uint32_t abi);
#define LEDGE_PROVIDER_SYMBOL "ledge_provider_get"

#ifdef __cplusplus
}
#endif
#endif
