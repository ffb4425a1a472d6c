/* ledge wasm build and info, and the cache of what was built on the fly. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/wasm.h"
#include "image/file_bytes.h"
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

bool wasm_is_plain(const char *path)
{
    char head[4] = {0};
    FILE *f = fopen(path, "rb");
    const bool plain = f && fread(head, 1, 4, f) == 4 && memcmp(head, "\0asm", 4) == 0;
    if (f)
        fclose(f);
    return plain;
}

/* ---- what is in a file ---- */

static json_t *names_json(const LwmFunctionName *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char text[2200];
        snprintf(text, sizeof text, "%s%s%s", names[i].module ? names[i].module : "",
                 names[i].module ? "." : "", names[i].name);
        json_array_append_new(list, json_pack("{s:o, s:s}", "name", cli_json_text(text),
                                              "signature", names[i].signature));
    }
    return list;
}

static json_t *file_json(const char *path, const LwmFile *f)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < f->n_targets; i++)
        json_array_append_new(
            targets, json_pack("{s:s, s:s, s:I, s:b}", "target", f->targets[i].name, "bounds",
                               f->targets[i].bounds, "bytes", (json_int_t)f->targets[i].size,
                               "runs_here", (int)ledge__lwm_runs_here(f->targets[i].name)));
    return json_pack("{s:o, s:s, s:I, s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:I, s:b, s:o}", "file",
                     cli_json_text(path), "name", f->name, "bytes", (json_int_t)f->size, "ledge",
                     f->ledge_version, "wasm2c", f->wasm2c, "wasm_bytes", (json_int_t)f->wasm_size,
                     "wasm_sha256", f->wasm_sha256, "memory",
                     f->has_memory ? json_pack("{s:I, s:I}", "pages", (json_int_t)f->pages, "most",
                                               (json_int_t)f->most_pages)
                                   : json_null(),
                     "imports", names_json(f->imports, f->n_imports), "exports",
                     names_json(f->exports, f->n_exports), "signatures",
                     (json_int_t)f->n_signatures, "trusted", (int)f->trusted, "targets", targets);
}

static void print_names(const char *what, const LwmFunctionName *names, size_t n)
{
    printf("%-9s %zu\n", what, n);
    for (size_t i = 0; i < n; i++)
        printf("  %s%s%s %s%s\n", names[i].module ? cli_clean(names[i].module) : "",
               names[i].module ? "." : "", cli_clean(names[i].name), cli_clean(names[i].signature),
               names[i].module && !ledge__guest_has(names[i].module, names[i].name)
                   ? "  NOT IN LEDGE"
                   : "");
}

static void print_file(const LwmFile *f)
{
    printf("%s, from %s of WebAssembly (SHA-256 %.16s...), by ledge %s and wasm2c %s\n",
           cli_clean(f->name), cli_bytes((uint64_t)f->wasm_size), f->wasm_sha256, f->ledge_version,
           f->wasm2c);
    for (size_t i = 0; i < f->n_targets; i++)
        printf("target    %s, %s of code, %s%s\n", cli_clean(f->targets[i].name),
               cli_bytes(f->targets[i].size),
               strcmp(f->targets[i].bounds, "guard") == 0 ? "guard pages" : "explicit checks",
               ledge__lwm_runs_here(f->targets[i].name) ? ", runs here" : "");
    if (f->has_memory)
        printf("memory    %u pages of 64 KiB at least, %u at most\n", f->pages, f->most_pages);
    print_names("imports", f->imports, f->n_imports);
    print_names("exports", f->exports, f->n_exports);
    if (f->n_signatures)
        printf("signed    by %zu key%s%s\n", f->n_signatures, f->n_signatures == 1 ? "" : "s",
               f->trusted ? ", one of them trusted" : ": --key checks that");
    else
        printf("NOT SIGNED: it is native code, run it only from where you trust\n");
}

/* A .wasm has less to tell. */
static int plain_info(const WasmOptions *o, const char *path, const uint8_t *bytes, size_t size)
{
    LedgeError err = {0};
    WasmFile w;
    LedgeArena *arena = ledge__arena_new(NULL);
    LwmFunctionName *names = NULL;
    size_t n_exports = 0;
    if (!arena)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    LedgeStatus status = ledge__wasm_file_read(arena, bytes, size, &err, &w);
    if (!status) {
        names = ledge__arena_alloc(arena, w.n_imports + w.n_exports + 1, sizeof *names);
        status = names ? LEDGE_OK : LEDGE_ERROR_MEMORY;
    }
    if (status) {
        ledge__arena_free(arena);
        return cli_fail(path, &err);
    }
    for (size_t i = 0; i < w.n_imports; i++)
        names[i] =
            (LwmFunctionName){w.imports[i].module, w.imports[i].name, w.imports[i].signature};
    for (size_t i = 0; i < w.n_exports; i++)
        if (w.exports[i].kind == WASM_FUNCTION)
            names[w.n_imports + n_exports++] =
                (LwmFunctionName){NULL, w.exports[i].name, w.exports[i].signature};
    int code;
    if (o->json) {
        code = cli_print_json(json_pack("{s:o, s:I, s:o, s:o, s:o}", "file", cli_json_text(path),
                                        "wasm_bytes", (json_int_t)size, "memory",
                                        w.has_memory
                                            ? json_pack("{s:I, s:I}", "pages", (json_int_t)w.pages,
                                                        "most", (json_int_t)w.most_pages)
                                            : json_null(),
                                        "imports", names_json(names, w.n_imports), "exports",
                                        names_json(names + w.n_imports, n_exports)));
    } else {
        printf("%s, %s of WebAssembly; 'ledge wasm build' makes it run\n", cli_clean(path),
               cli_bytes(size));
        if (w.has_memory)
            printf("memory    %u pages of 64 KiB at least, %u at most\n", w.pages, w.most_pages);
        print_names("imports", names, w.n_imports);
        print_names("exports", names + w.n_imports, n_exports);
        code = cli_finish();
    }
    ledge__arena_free(arena);
    return code;
}

int wasm_info(const WasmOptions *o, const char *path, LedgeKey **keys)
{
    LedgeError err = {0};
    LwmFile *f = NULL;
    uint8_t *bytes = NULL;
    size_t size;
    if (ledge__file_bytes(NULL, path, LWM_FILE_MAX, &err, &bytes, &size))
        return cli_fail(path, &err);
    if (!ledge__lwm_is(bytes, size)) {
        const int code = plain_info(o, path, bytes, size);
        ledge__free(NULL, bytes);
        return code;
    }
    if (ledge__lwm_read("", bytes, size, (const LedgeKey *const *)keys, o->keys.n, &err, &f))
        return cli_fail(path, &err);
    int code = CLI_OK;
    if (o->json) {
        code = cli_print_json(file_json(path, f));
    } else {
        print_file(f);
        code = cli_finish();
    }
    ledge__lwm_free(f);
    return code;
}

/* ---- building ---- */

int wasm_build(const WasmOptions *o, const char *path, LedgeKey **keys)
{
    LedgeError err = {0};
    LwmBuildOptions how = build_options(o);
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
