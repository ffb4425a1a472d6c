/* What is in a model file and what would happen to it: for `ledge inspect`, reports and tools.
 *
 * A report can be made of files that ledge reads but cannot run; `runnable` then says why. */
#ifndef LEDGE_REPORT_H
#define LEDGE_REPORT_H

#include "ledge/ledge.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LedgeReportOpset {
    const char *domain; /* "" is ONNX's own */
    int64_t version;
} LedgeReportOpset;

/* One kind of operator, subgraphs and functions included. */
typedef struct LedgeReportOp {
    const char *domain, *op_type;
    size_t count;
    bool supported; /* ledge has it in the imported version, or the model defines it */
} LedgeReportOp;

/* Stored weights of one element type. */
typedef struct LedgeReportWeights {
    LedgeType type;
    size_t tensors;
    int64_t elements;
    uint64_t bytes;
} LedgeReportWeights;

typedef struct LedgeReportPair {
    const char *key, *value;
} LedgeReportPair;

/* One step of the plan: what really runs, after optimisation. */
typedef struct LedgeReportStep {
    const char *name, *domain, *op_type; /* domain "ledge": fused by ledge */
    int64_t macs;                        /* multiply-accumulates; 0 where none are counted */
    bool integer;                        /* … of 8-bit integers, summed exactly */
    bool skips_zeros;                    /* of weights in blocks: fewer products than macs says */
} LedgeReportStep;

/* All that it points to belongs to it. Arrays may be NULL where their count is 0. */
typedef struct LedgeReport {
    bool compiled;            /* a .ledge file */
    uint64_t file_bytes;
    uint64_t external_bytes;  /* tensors kept in other files */
    int64_t ir_version, model_version;
    const char *producer_name, *producer_version, *domain, *doc_string, *graph_name;
    LedgeReportOpset *opsets;
    size_t n_opsets;
    LedgeReportPair *metadata;
    size_t n_metadata;
    LedgeTensorInfo *inputs, *outputs;
    size_t n_inputs, n_outputs;
    size_t n_nodes, n_subgraphs, n_functions, n_initializers;
    int64_t parameters;       /* elements of all stored weights */
    uint64_t parameter_bytes;
    LedgeReportWeights *weights;
    size_t n_weights;
    LedgeReportOp *ops;       /* most frequent first */
    size_t n_ops;
    size_t n_quantize, n_dequantize; /* QuantizeLinear and DequantizeLinear nodes */
    size_t n_weighted;        /* Conv, Gemm, MatMul and the like … */
    size_t n_weighted_quantized; /* … of these, fed by dequantized values or integer operators */

    LedgeStatus runnable;     /* OK, or why not: */
    LedgeError problem;
    const char *cpu;          /* level of the kernels chosen, "avx2" */
    LedgeReportStep *steps;   /* when runnable */
    size_t n_steps;
    int64_t macs;             /* of one run, free dimensions taken as 1 … */
    int64_t integer_macs;     /* … and how many of them really run in 8-bit integers */
    uint64_t arena_bytes;     /* activations of one run */

    const char **external_files; /* that hold tensors, relative to the model's folder */
    size_t n_external_files;
} LedgeReport;

/* path: .onnx or .ledge. options may be NULL. Statuses: IO, FORMAT, LIMIT, MISMATCH, MEMORY;
 * what ledge can read but not run is no failure. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_report_create(const char *path,
                                                           const LedgeModelOptions *options,
                                                           LedgeError *error,
                                                           LedgeReport **out);
LEDGE_API void ledge_report_free(LedgeReport *report); /* NULL is legal */

/* The optimised graph as text, one line a node; the caller frees it with free(). Statuses:
 * MEMORY. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_model_graph_text(const LedgeModel *model, char **out);

/* Copies an .onnx file with metadata key `key` set to `value`, or without it when value is
 * NULL. out_path may be `path` itself; the new file appears whole or not at all. External data
 * stays external. Statuses: those of reading, and UNSUPPORTED for compiled models. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_file_set_metadata(const char *path,
                                                               const char *out_path,
                                                               const char *key, const char *value,
                                                               LedgeError *error);

/* ---- what really ran ---- */

/* One provider that took part or was asked to. */
typedef struct LedgePlacedProvider {
    const char *name;    /* "cpu", "cuda" … */
    const char *version; /* "ONNX Runtime 1.30.0"; "" where none is known */
    LedgeStatus status;  /* OK, or why it takes no part … */
    const char *reason;  /* … in one sentence that says what mends it; "" where all is well */
    size_t nodes;        /* of the model, that it runs */
    int64_t macs;        /* of those nodes: free dimensions as 1, or, where no providers were asked
                            for, as in the last run */
} LedgePlacedProvider;

/* A node that does not run on the first provider asked for. */
typedef struct LedgeFallback {
    const char *node, *op_type, *from, *to, *reason;
} LedgeFallback;

/* All of it belongs to the session and may change with a run. */
typedef struct LedgePlacement {
    const char *asked;  /* the list as given; "cpu" */
    const char *got;    /* who runs nodes, most work first: "cuda", "blas+cpu" */
    const char *source; /* who says so: "ledge", "ONNX Runtime's assignment record" … */
    bool settled;       /* false: known only after the first run */
    bool fell_back;     /* not everything runs on the first provider asked for */
    const LedgePlacedProvider *providers;
    size_t n_providers;
    size_t n_nodes;
    int64_t macs;
    const LedgeFallback *fallbacks; /* node by node; none where a provider did not come up */
    size_t n_fallbacks;
    const char *note;   /* what happened while running, e.g. a batch cut for lack of memory; "" */
} LedgePlacement;

/* Never NULL. */
LEDGE_API const LedgePlacement *ledge_session_placement(LedgeSession *session);

/* ---- where the time goes ---- */

/* Switches the timing of each step on or off; costs two clock reads a step. */
LEDGE_API void ledge_session_set_timing(LedgeSession *session, bool on);
/* Steps of the plan of the last run; 0 before the first. */
LEDGE_API size_t ledge_session_step_count(const LedgeSession *session);
/* Fills *out for step `index` and gives its nanoseconds in the last run (0 without timing). The
 * strings live as long as the session's model. */
LEDGE_API uint64_t ledge_session_step(const LedgeSession *session, size_t index,
                                      LedgeReportStep *out);

#ifdef __cplusplus
}
#endif
#endif
