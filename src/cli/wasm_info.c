/* ledge wasm info: what is in a .wasm or .lwm. */
#include <string.h>

#include "cli/wasm.h"
#include "image/file_bytes.h"

bool wasm_is_plain(const char *path)
{
    char head[4] = {0};
    FILE *f = fopen(path, "rb");
    const bool plain = f && fread(head, 1, 4, f) == 4 && memcmp(head, "\0asm", 4) == 0;
    if (f)
        fclose(f);
    return plain;
}

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
