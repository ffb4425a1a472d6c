/* What a .wasm module says of itself: imports, exports, memory. Only the sections needed for that
 * are read; whether the code is valid, wasm2c judges.
 *
 * Signatures are text: a letter for each parameter, ':', a letter for each result. i32 is 'i', i64
 * 'I', f32 'f', f64 'F', v128 'v', references 'r'. */
#ifndef LEDGE_WASM_WASM_FILE_H
#define LEDGE_WASM_WASM_FILE_H

#include "base/alloc.h"
#include "base/error.h"

#define WASM_MOST_PAGES 65536u
#define WASM_FILE_MAX   ((size_t)256 << 20)

typedef enum WasmKind { WASM_FUNCTION, WASM_TABLE, WASM_MEMORY, WASM_GLOBAL } WasmKind;

typedef struct WasmImport {
    const char *module, *name, *signature; /* signature: of functions, else "" */
    WasmKind kind;
} WasmImport;

typedef struct WasmExport {
    const char *name, *signature;
    WasmKind kind;
} WasmExport;

typedef struct WasmFile {
    WasmImport *imports;
    size_t n_imports;
    WasmExport *exports;
    size_t n_exports;
    bool has_memory;
    uint32_t pages, most_pages; /* most_pages: WASM_MOST_PAGES where none is given */
} WasmFile;

/* Statuses: FORMAT (with the byte's offset), UNSUPPORTED (a component, a 64-bit or shared memory,
 * names that C comments could not hold), LIMIT, MEMORY. *out lives in the arena. */
LedgeStatus ledge__wasm_file_read(LedgeArena *arena, const uint8_t *bytes, size_t size,
                                  LedgeError *err, WasmFile *out);

#endif
