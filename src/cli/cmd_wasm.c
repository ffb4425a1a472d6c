/* ledge wasm: guests in WebAssembly, compiled ahead of time and run in this process. */
#include <stdlib.h>
#include <string.h>

#include "cli/wasm.h"

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "APP.lwm", "build: where the result goes", offsetof(WasmOptions, out),
     0, 0},
    {"target", 0, CLI_TEXT, "LIST",
     "build: of x86_64, x86_64_v2, x86_64_v3, aarch64 (this machine)",
     offsetof(WasmOptions, target), 0, 0},
    {"bounds", 0, CLI_TEXT, "HOW", "build: guard pages, or 'explicit' checks of each access",
     offsetof(WasmOptions, bounds), 0, 0},
    {"wasm2c", 0, CLI_TEXT, "PATH", "build: wasm2c of wabt, where it is not in PATH",
     offsetof(WasmOptions, wasm2c), 0, 0},
    {"cc", 0, CLI_LIST, "[TARGET=]CC", "build: the C compiler, for all or one target",
     offsetof(WasmOptions, compilers), 0, 0},
    {"key", 'k', CLI_LIST, "FILE",
     "build: private key to sign with; run, info: public key to trust", offsetof(WasmOptions, keys),
     0, 0},
    {"dir", 0, CLI_LIST, "HOST:GUEST[:ro]", "run: a folder that the guest may use",
     offsetof(WasmOptions, dirs), 0, 0},
    {"env", 0, CLI_LIST, "NAME=VALUE", "run: an environment variable of the guest's",
     offsetof(WasmOptions, env), 0, 0},
    {"nn-preload", 0, CLI_LIST, "NAME=MODEL", "run: a model that the guest loads by name",
     offsetof(WasmOptions, preload), 0, 0},
    {"memory-page-limit", 0, CLI_INT, "N", "run: most pages of 64 KiB of the guest's memory",
     offsetof(WasmOptions, pages), 1, 65536},
    {"time-limit", 0, CLI_INT, "MS", "run: milliseconds until the guest is ended",
     offsetof(WasmOptions, time), 1, INT32_MAX},
    {"fuel", 0, CLI_INT, "MS", "run: the same, of CPU time used", offsetof(WasmOptions, cpu_time),
     1, INT32_MAX},
    {"stack", 0, CLI_INT, "KB", "run: most kilobytes of call stack (1024)",
     offsetof(WasmOptions, stack), 16, 1 << 20},
    {"nn-memory", 0, CLI_INT, "MB", "run: most megabytes of host memory by wasi-nn (1024)",
     offsetof(WasmOptions, nn_memory), 1, 1 << 20},
    {"nn-time", 0, CLI_INT, "MS", "run: most milliseconds of loading and computing in all",
     offsetof(WasmOptions, nn_time), 1, INT32_MAX},
    {"nn-models", 0, CLI_INT, "N", "run: most models that the guest may hold at a time (16)",
     offsetof(WasmOptions, nn_models), 1, NN_MOST_OBJECTS},
    {"isolate", 0, CLI_TEXT, "process", "run: in a child with seccomp and resource limits",
     offsetof(WasmOptions, isolate), 0, 0},
    {"invoke", 0, CLI_TEXT, "NAME", "run: call this export, with whole numbers as arguments",
     offsetof(WasmOptions, invoke), 0, 0},
    {"no-cache", 0, CLI_FLAG, NULL, "run: build a .wasm anew", offsetof(WasmOptions, no_cache), 0,
     0},
    CLI_OPTION_THREADS(WasmOptions),
    CLI_OPTION_CPU(WasmOptions),
    CLI_OPTION_JSON(WasmOptions),
};

void wasm_keys_free(LedgeKey **keys, size_t n)
{
    for (size_t i = 0; keys && i < n; i++)
        ledge__key_free(keys[i]);
    free(keys);
}

int wasm_keys(const WasmOptions *o, LedgeKey ***out)
{
    LedgeError err = {0};
    LedgeKey **keys = calloc(o->keys.n + 1, sizeof *keys);
    if (!keys)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < o->keys.n; i++) {
        if (ledge__key_load(o->keys.items[i], &err, &keys[i])) {
            wasm_keys_free(keys, o->keys.n);
            return cli_fail(o->keys.items[i], &err);
        }
    }
    *out = keys;
    return CLI_GO;
}

static int check_usage(const CliCommand *c, const WasmOptions *o, const char *what, size_t n)
{
    const bool build = strcmp(what, "build") == 0, run = strcmp(what, "run") == 0;
    if (!build && !run && strcmp(what, "info") != 0)
        return cli_usage(c, "'%s' is none of build, run and info", cli_clean(what));
    if (!run && n > 2)
        return cli_usage(c, "%s takes one file", what);
    if (build != (o->out != NULL))
        return cli_usage(c, build ? "say by --output APP.lwm where the result goes"
                                  : "--output goes with build");
    if (o->bounds && strcmp(o->bounds, "guard") != 0 && strcmp(o->bounds, "explicit") != 0)
        return cli_usage(c, "--bounds takes guard or explicit");
    if (o->isolate && strcmp(o->isolate, "process") != 0 && strcmp(o->isolate, "none") != 0)
        return cli_usage(c, "--isolate takes process or none");
    return CLI_GO;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    WasmOptions o = {.stack = 1024, .words = argv};
    CliArgs args;
    LedgeKey **keys = NULL;
    int code = cli_parse(c, argc, argv, 2, 1024, &o, &args);
    if (code != CLI_GO)
        return code;
    const char *what = args.items[0];
    code = check_usage(c, &o, what, args.n);
    const bool build = strcmp(what, "build") == 0;
    if (code == CLI_GO && !build)
        code = wasm_keys(&o, &keys);
    if (code == CLI_GO)
        code = build                       ? wasm_build(&o, args.items[1])
               : strcmp(what, "info") == 0 ? wasm_info(&o, args.items[1], keys)
                                           : wasm_run(c, &o, &args, keys);
    wasm_keys_free(keys, o.keys.n);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_wasm = {
    .name = "wasm",
    .arguments = "build|run|info FILE [-- GUEST'S ARGUMENTS]",
    .summary = "compile WebAssembly guests ahead of time, and run them in a sandbox",
    .description =
        "'build' makes a .lwm of a .wasm, with native code for each target, by wasm2c and a C\n"
        "compiler; 'run' runs it in this process, without either. The guest gets WASI preview 1,\n"
        "wasi-nn over ledge's own engine, and nothing of the machine but what options give it.\n"
        "'info' tells what a .wasm or .lwm imports, exports and needs. A guest's exit status is\n"
        "the command's.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
