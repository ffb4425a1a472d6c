/* ONNX Runtime's shared library: where it is, whether it can be used, and its functions. Loaded
 * at run time, once per process, and never unloaded (its threads and static objects forbid it). */
#ifndef LEDGE_PROVIDER_ORT_LIBRARY_H
#define LEDGE_PROVIDER_ORT_LIBRARY_H

#include "engine/provider/known.h"
#include "engine/provider/ort_api.h"
#include "engine/provider/probe.h"

typedef struct OrtLibrary {
    void *handle;
    OrtCalls c;
    OrtEnv *env;
    uint32_t api;     /* version of the C API that was negotiated */
    char version[64]; /* "1.30.0" */
    char path[256];
} OrtLibrary;

/* Finds the library (LEDGE_ORT, the library path, where Debian and npm put it) without loading it.
 * false: *why says where it was looked for. */
bool ledge__ort_find(char *path, size_t size, char *why, size_t why_size);
/* Looks at one provider of the library at `path`, for ledge__probe_in_child. */
typedef struct OrtLook {
    const char *path;
    const KnownProvider *known;
} OrtLook;
void ledge__ort_look(const void *ort_look, ProbeAnswer *out);
/* The process's library, loaded now if it was not. Probe it first. Any thread. */
LedgeStatus ledge__ort_library(const char *path, LedgeError *err, const OrtLibrary **out);

/* Turns a failed call into an error and releases it; OK for NULL. `during` begins the sentence. */
LedgeStatus ledge__ort_check(const OrtLibrary *o, OrtStatus *s, LedgeStatus as, const char *during,
                             LedgeError *err);
/* Puts a provider at the end of the options' list. Keys and values as ONNX Runtime has them. */
LedgeStatus ledge__ort_append(const OrtLibrary *o, OrtSessionOptions *so,
                              const KnownProvider *known, const char *const *keys,
                              const char *const *values, size_t n, LedgeError *err);

#endif
