/* Between the parts of `ledge wasm`: build, run, info. */
#ifndef LEDGE_CLI_WASM_H
#define LEDGE_CLI_WASM_H

#include "cli/cli.h"
#include "trust/key.h"
#include "wasm/runner/guest.h"
#include "wasm/runner/lwm_build.h"

typedef struct WasmOptions {
    bool json, no_cache;
    int64_t pages, time, cpu_time, stack, threads, nn_memory, nn_time, nn_models;
    const char *out, *target, *bounds, *wasm2c, *invoke, *isolate, *cpu;
    CliList keys, compilers, dirs, env, preload;
    char *const *words; /* the command's; in front of them stands the program's name */
} WasmOptions;

/* The keys that --key names; freed by wasm_keys_free. */
int wasm_keys(const WasmOptions *o, LedgeKey ***out);
void wasm_keys_free(LedgeKey **keys, size_t n);

/* Building: wasm_build.c, or wasm_small.c, which hands it on to a program that can. */
int wasm_build(const WasmOptions *o, const char *path);
/* The .lwm that a .wasm was built into, in the user's cache; made when it is not there. */
int wasm_cached(const WasmOptions *o, const char *path, char *out, size_t room);

int wasm_info(const WasmOptions *o, const char *path, LedgeKey **keys);
/* words: the file, then the guest's own arguments. */
int wasm_run(const CliCommand *c, const WasmOptions *o, const CliArgs *args, LedgeKey **keys);

/* "FILE" is a .wasm, not a .lwm. */
bool wasm_is_plain(const char *path);

#endif
