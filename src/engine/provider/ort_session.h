/* A whole model in ONNX Runtime: one of its sessions, with one of its providers in front. */
#ifndef LEDGE_PROVIDER_ORT_SESSION_H
#define LEDGE_PROVIDER_ORT_SESSION_H

#include "base/alloc.h"
#include "engine/provider/ort_library.h"

typedef struct OrtProgram OrtProgram;

typedef struct OrtSetup {
    const LedgeAllocator *allocator;
    const OrtLibrary *library;
    const KnownProvider *known;
    int threads;
    const LedgeProviderSetting *settings; /* checked against the tables */
    size_t n_settings;
    bool strict;            /* no node may be left to another provider */
    const char *model_path; /* or, where NULL: */
    const void *model;
    size_t model_size;
    size_t n_inputs, n_outputs; /* that ledge sees; another count is refused */
    const char *const *input_names, *const *output_names;
} OrtSetup;

/* Statuses: PROVIDER, UNSUPPORTED, MEMORY. */
LedgeStatus ledge__ort_program_new(const OrtSetup *setup, LedgeError *err, OrtProgram **out);
void ledge__ort_program_free(OrtProgram *p); /* NULL is legal */
/* Outputs are set to ONNX Runtime's memory, valid until the next run. */
LedgeStatus ledge__ort_program_run(OrtProgram *p, const LedgeTensor *inputs, LedgeTensor *outputs,
                                   LedgeError *err);

/* One node as ONNX Runtime placed it; the strings live as long as the program. */
typedef struct OrtPlaced {
    const char *provider, *node, *op_type;
} OrtPlaced;

/* What ran where. *source: who says so; NULL: not known before the first run. */
const OrtPlaced *ledge__ort_program_placed(const OrtProgram *p, size_t *n, const char **source);

#endif
