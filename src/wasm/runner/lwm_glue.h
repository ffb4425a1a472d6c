/* The C that joins wasm2c's output to ledge: made from the header that wasm2c writes, whose
 * comments name each import and export and whose declarations give their C types. */
#ifndef LEDGE_WASM_LWM_GLUE_H
#define LEDGE_WASM_LWM_GLUE_H

#include "base/text.h"
#include "wasm/runner/lwm_file.h"

typedef struct LwmGlue {
    LwmFunctionName *imports, *exports;
    size_t n_imports, n_exports;
    bool old; /* wabt up to 1.0.32 */
    bool simd;
} LwmGlue;

/* header: wasm2c's, NUL-terminated; it is cut up. Puts the C into *c, which stands beside
 * "guest.c" (wasm2c's other output) and includes its header. Statuses: FORMAT, UNSUPPORTED, MEMORY.
 */
LedgeStatus ledge__lwm_glue(LedgeArena *arena, char *header, bool guard_pages, LedgeError *err,
                            LedgeText *c, LwmGlue *out);

#endif
