/* ledge wasm build, and the cache of what was built on the fly. ledge-wasm has wasm_small.c
 * instead. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/wasm.h"
#include "trust/sha256.h"

static LwmBuildOptions build_options(const WasmOptions *o)
{
    return (LwmBuildOptions){.targets = o->target,
                             .wasm2c = o->wasm2c,
                             .compilers = o->compilers.items,
                             .n_compilers = o->compilers.n,
                             .explicit_bounds = o->bounds && strcmp(o->bounds, "explicit") == 0,
                             .created = (int64_t)time(NULL)};
}

/* ---- building ---- */

static int build(const WasmOptions *o, const char *path, LedgeKey **keys)
{
    LedgeError err = {0};
    LwmBuildOptions how = build_options(o);
    for (size_t i = 0; i < o->keys.n; i++)
        if (!ledge__key_is_private(keys[i]))
            return cli_fail_with(o->keys.items[i], LEDGE_ERROR_FORMAT,
                                 "a public key cannot sign; give the private one (NAME.key)");
    how.keys = (const LedgeKey *const *)keys;
    how.n_keys = o->keys.n;
    const LedgeStatus status = ledge__lwm_build(path, o->out, &how, &err);
    if (status == LEDGE_ERROR_IO)
        return cli_fail_writing(NULL, &err);
    if (status)
        return cli_fail(path, &err);
    WasmOptions plain = {.json = o->json};
    return wasm_info(&plain, o->out, NULL); /* what came of it */
}

int wasm_build(const WasmOptions *o, const char *path)
{
    LedgeKey **keys = NULL;
    int code = wasm_keys(o, &keys);
    if (code == CLI_GO)
        code = build(o, path, keys);
    wasm_keys_free(keys, o->keys.n);
    return code;
}

/* ---- the cache ---- */

static bool make_folder(const char *path)
{
    struct stat s;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return false;
    /* Code that others could have put there is not run. */
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == geteuid() &&
           !(s.st_mode & (S_IWGRP | S_IWOTH));
}

static bool cache_folder(char *out, size_t room)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[3072];
    if (base && *base)
        snprintf(path, sizeof path, "%s", base);
    else if (home && *home)
        snprintf(path, sizeof path, "%s/.cache", home);
    else
        return false;
    (void)mkdir(path, 0700);
    const size_t n = strlen(path);
    snprintf(path + n, sizeof path - n, "/ledge");
    if (!make_folder(path))
        return false;
    snprintf(out, room, "%s/wasm", path);
    return make_folder(out);
}

int wasm_cached(const WasmOptions *o, const char *path, char *out, size_t room)
{
    LedgeError err = {0};
    char hash[LEDGE_SHA256_HEX], folder[3200];
    LwmBuildOptions how = build_options(o);
    how.targets = ledge__lwm_native_target();
    if (ledge__sha256_file(path, &err, hash, NULL))
        return cli_fail(path, &err);
    if (!cache_folder(folder, sizeof folder))
        return cli_fail_with(path, LEDGE_ERROR_IO,
                             "no folder for built guests (XDG_CACHE_HOME or HOME) that is this "
                             "user's alone; 'ledge wasm build' makes a .lwm");
    snprintf(out, room, "%s/%s-%s-%s-%u%s.lwm", folder, hash, ledge_version(), how.targets,
             LWM_VERSION, how.explicit_bounds ? "-explicit" : "");
    if (!o->no_cache && access(out, R_OK) == 0)
        return CLI_GO;
    if (ledge__lwm_can_build(&how, &err))
        return cli_fail_with(
            path, LEDGE_ERROR_NOT_FOUND,
            "is a .wasm, and what compiles it is not here (%s: %s); build it where "
            "it is: ledge wasm build %s -o APP.lwm --target %s",
            err.where, err.message, path, how.targets);
    if (ledge__lwm_build(path, out, &how, &err))
        return cli_fail(path, &err);
    return CLI_GO;
}
