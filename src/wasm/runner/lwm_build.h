/* From .wasm to .lwm, at publish time: wasm2c makes C of it, a C compiler a shared library for
 * each target. Both are looked for on this machine; nothing of them is needed to run the result. */
#ifndef LEDGE_WASM_LWM_BUILD_H
#define LEDGE_WASM_LWM_BUILD_H

#include "trust/key.h"
#include "wasm/runner/lwm_file.h"

typedef struct LwmBuildOptions {
    const char *targets;          /* "x86_64,aarch64"; NULL: the best for this machine */
    const char *wasm2c;           /* NULL: from PATH */
    const char *const *compilers; /* "CC", for this machine's architecture, or "TARGET=CC" */
    size_t n_compilers;
    bool explicit_bounds; /* check each access instead of relying on guard pages */
    const char *name;     /* NULL: the file's */
    int64_t created;      /* seconds since 1970 */
    const LedgeKey *const *keys;
    size_t n_keys;
} LwmBuildOptions;

/* Statuses: those of reading `path`, FORMAT and UNSUPPORTED (of the module), NOT_FOUND (a tool is
 * missing: which, and the package that has it), RUNTIME (a tool failed: what it said), IO, MEMORY.
 */
LedgeStatus ledge__lwm_build(const char *path, const char *out, const LwmBuildOptions *options,
                             LedgeError *err);
/* Are wasm2c and a C compiler here? Status NOT_FOUND, naming the packages. */
LedgeStatus ledge__lwm_can_build(const LwmBuildOptions *options, LedgeError *err);

#endif
