/* .lwm: a guest compiled to native code for one or more targets (docs/formats.md).
 *
 *   "LEDGELWM", u32 version, u32 bytes of the manifest; the manifest: a signed envelope of JSON;
 *   one shared library per target, each on a 64-byte boundary; SHA-256 of all that before.
 *
 * The manifest names each library's place and hash, so the signature covers all of it. A file is
 * read whole into memory, and nothing of it is looked at before its hash was found right. */
#ifndef LEDGE_WASM_LWM_FILE_H
#define LEDGE_WASM_LWM_FILE_H

#include <jansson.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trust/key.h"
#include "wasm/runner/wasm_file.h"

#define LWM_MAGIC        "LEDGELWM"
#define LWM_VERSION      1u
#define LWM_FILE_MAX     ((size_t)512 << 20)
#define LWM_MANIFEST_MAX ((size_t)4 << 20)
#define LWM_TARGETS      16
#define LWM_HEAD         16 /* bytes before the manifest */

typedef struct LwmTarget {
    const char *name;   /* "x86_64", "x86_64_v2", "x86_64_v3", "aarch64" */
    const char *bounds; /* "guard" or "explicit" */
    const uint8_t *code;
    size_t size;
} LwmTarget;

typedef struct LwmFunctionName {
    const char *module, *name, *signature; /* module: NULL for exports */
} LwmFunctionName;

typedef struct LwmFile {
    LedgeArena *arena;
    uint8_t *bytes;
    size_t size;
    json_t *envelope; /* what the strings below live in */
    const char *name, *wasm_sha256, *wasm2c, *ledge_version;
    int64_t wasm_size, created;
    bool has_memory;
    uint32_t pages, most_pages;
    LwmFunctionName *imports, *exports;
    size_t n_imports, n_exports;
    LwmTarget targets[LWM_TARGETS];
    size_t n_targets;
    size_t n_signatures;
    bool trusted; /* one of the keys asked for signed it */
} LwmFile;

/* True if `bytes` begin like one. */
bool ledge__lwm_is(const uint8_t *bytes, size_t size);
/* Takes `bytes` (of ledge__alloc with the C library's allocator) over, also on failure. With
 * n_keys > 0 one of the keys must have signed. Statuses: FORMAT, MISMATCH (hash, signature,
 * version), LIMIT, MEMORY. */
LedgeStatus ledge__lwm_read(const char *where, uint8_t *bytes, size_t size,
                            const LedgeKey *const *keys, size_t n_keys, LedgeError *err,
                            LwmFile **out);
void ledge__lwm_free(LwmFile *file); /* NULL is legal */

/* The best target for this machine. Status: MISMATCH (saying which there are, and which this
 * machine is). */
LedgeStatus ledge__lwm_choose(const LwmFile *file, LedgeError *err, const LwmTarget **out);
/* Does this machine run code for the target? */
bool ledge__lwm_runs_here(const char *target);
/* This machine's best target. */
const char *ledge__lwm_native_target(void);

/* Writes a file from what is filled in (envelope, bytes and arena excepted), signed by the keys.
 * Statuses: IO, MEMORY, those of signing. */
LedgeStatus ledge__lwm_write(const LwmFile *file, const char *path, const LedgeKey *const *keys,
                             size_t n_keys, LedgeError *err);

#endif
