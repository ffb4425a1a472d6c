/* The providers that ledge knows by name: itself, and those that ONNX Runtime brings. */
#ifndef LEDGE_PROVIDER_KNOWN_H
#define LEDGE_PROVIDER_KNOWN_H

#include "ledge/provider.h"

/* How ONNX Runtime is told to use one. */
typedef enum OrtAppend {
    ORT_APPEND_NONE,     /* its CPU provider, always there */
    ORT_APPEND_CUDA,     /* calls of its own, options as keys and values */
    ORT_APPEND_TENSORRT, /* the same */
    ORT_APPEND_NAMED,    /* SessionOptionsAppendExecutionProvider by `symbol` */
    ORT_APPEND_FLAGS     /* an exported function `symbol` (options, one number) */
} OrtAppend;

typedef struct KnownProvider {
    const char *name;     /* "cuda" */
    const char *ort_name; /* "CUDAExecutionProvider"; NULL: not ONNX Runtime's */
    OrtAppend append;
    const char *symbol;
    const char *prefix;   /* of ONNX Runtime's own option names, which may be left out: "trt_" */
    const char *mend;     /* the step that brings it here */
    const LedgeProviderOption *options;
    size_t n_options;
} KnownProvider;

extern const KnownProvider ledge__known_providers[];
extern const size_t ledge__known_provider_count;

const KnownProvider *ledge__known_find(const char *name);            /* NULL: unknown */
const KnownProvider *ledge__known_find_ort(const char *ort_name);    /* the same */
/* Options that every provider through ONNX Runtime takes besides its own. */
extern const LedgeProviderOption ledge__ort_session_options[];
extern const size_t ledge__ort_session_option_count;

#endif
