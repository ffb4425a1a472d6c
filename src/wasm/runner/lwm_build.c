/* See lwm_build.h. The work is done in a temporary folder, which is removed again:
 *   guest.c guest.h   by wasm2c        guest_abi.h guest_glue.inc  from inside ledge
 *   glue.c            the joint        TARGET.so                  by the compiler */
#include "wasm/runner/lwm_build.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/out_file.h"
#include "image/file_bytes.h"
#include "ledge/ledge.h"
#include "trust/sha256.h"
#include "wasm/runner/child.h"
#include "wasm/runner/lwm_glue.h"

static const char guest_abi[] = {
#include "guest_abi_bytes.h"
};
static const char guest_glue[] = {
#include "guest_glue_bytes.h"
};

typedef struct Build {
    LedgeArena *arena;
    LedgeError *err;
    const LwmBuildOptions *o;
    const char *path, *folder;
    const char *wasm2c;
    const char *headers; /* folder of wasm-rt.h */
    uint8_t *wasm;
    size_t wasm_size;
    WasmFile file;
    LwmGlue glue;
    LwmFile lwm;
    char hash[LEDGE_SHA256_HEX];
} Build;

/* ---- tools ---- */

static const char *in_folder(Build *b, const char *name)
{
    return ledge__arena_printf(b->arena, "%s/%s", b->folder, name);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where PATH has a program; NULL: nowhere. */
static char *which(LedgeArena *arena, const char *program)
{
    if (strchr(program, '/'))
        return access(program, X_OK) == 0 ? ledge__arena_str(arena, program) : NULL;
    const char *p = getenv("PATH");
    while (p && *p) {
        const int n = (int)strcspn(p, ":");
        char *path = ledge__arena_printf(arena, "%.*s/%s", n, p, program);
        if (path && access(path, X_OK) == 0)
            return path;
        p += n + (p[n] == ':');
    }
    return NULL;
}

static LedgeStatus find_wasm2c(LedgeArena *arena, const LwmBuildOptions *o, LedgeError *err,
                               const char **out)
{
    const char *asked = o->wasm2c ? o->wasm2c : getenv("LEDGE_WASM2C");
    *out = which(arena, asked && *asked ? asked : "wasm2c");
    if (*out)
        return LEDGE_OK;
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, asked ? asked : "wasm2c",
                       "not found: apt-get install wabt (Debian 13's 1.0.36 for guests with SIMD), "
                       "or give its path by --wasm2c");
}

/* wasm2c's run-time header lies beside it, in folders that differ by version. */
static LedgeStatus find_headers(Build *b)
{
    static const char *const places[] = {"../src/wasm2c", "../share/wabt/wasm2c", "../include",
                                         "../wasm2c", "."};
    char real[PATH_MAX];
    if (!realpath(b->wasm2c, real))
        return ledge__fail(b->err, LEDGE_ERROR_IO, b->wasm2c, "cannot be resolved");
    *strrchr(real, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        b->headers = ledge__arena_printf(b->arena, "%s/%s", real, places[i]);
        const char *file = ledge__arena_printf(b->arena, "%s/wasm-rt.h", b->headers);
        if (file && access(file, R_OK) == 0)
            return LEDGE_OK;
    }
    return ledge__fail(
        b->err, LEDGE_ERROR_NOT_FOUND, b->wasm2c,
        "its header wasm-rt.h is not beside it (%s/../src/wasm2c); install wabt whole", real);
}

static bool is_native(const char *target)
{
#if defined(__x86_64__)
    return strncmp(target, "x86_64", 6) == 0;
#elif defined(__aarch64__)
    return strcmp(target, "aarch64") == 0;
#else
    (void)target;
    return false;
#endif
}

/* The compiler for a target: as asked for, else the usual names. */
static LedgeStatus find_compiler(LedgeArena *arena, const LwmBuildOptions *o, const char *target,
                                 LedgeError *err, const char **out)
{
    const char *package = is_native(target)                ? "gcc"
                          : strcmp(target, "aarch64") == 0 ? "gcc-aarch64-linux-gnu"
                                                           : "gcc-x86-64-linux-gnu";
    const char *usual[3] = {NULL};
    size_t n = 0;
    for (size_t i = 0; i < o->n_compilers; i++) {
        const char *equals = strchr(o->compilers[i], '=');
        if (!equals && is_native(target))
            usual[0] = o->compilers[i];
        else if (equals && strlen(target) == (size_t)(equals - o->compilers[i]) &&
                 strncmp(o->compilers[i], target, strlen(target)) == 0)
            usual[0] = equals + 1;
    }
    if (!usual[0] && is_native(target)) {
        usual[n++] = "cc";
        usual[n++] = "gcc";
        usual[n++] = "clang";
    } else if (!usual[0]) {
        usual[n++] =
            strcmp(target, "aarch64") == 0 ? "aarch64-linux-gnu-gcc" : "x86_64-linux-gnu-gcc";
    }
    for (size_t i = 0; i < 3 && usual[i]; i++)
        if ((*out = which(arena, usual[i])))
            return LEDGE_OK;
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, usual[0],
                       "no C compiler for %s: apt-get install %s, or give one by --cc %s=COMMAND",
                       target, package, target);
}

LedgeStatus ledge__lwm_can_build(const LwmBuildOptions *options, LedgeError *err)
{
    LedgeArena *arena = ledge__arena_new(NULL);
    const char *path;
    if (!arena)
        return ledge__no_memory(err);
    LedgeStatus status = find_wasm2c(arena, options, err, &path);
    if (!status)
        status = find_compiler(arena, options, ledge__lwm_native_target(), err, &path);
    ledge__arena_free(arena);
    return status;
}

/* The line of a tool's complaint that says most: the first with "error", else the first. */
static const char *complaint(LedgeText *said)
{
    char *line = said->p ? strstr(said->p, "error") : NULL;
    if (!line)
        line = said->p;
    while (line && line > said->p && line[-1] != '\n')
        line--;
    if (line)
        line[strcspn(line, "\n")] = '\0';
    return line ? line : "";
}

static LedgeStatus run_tool(Build *b, const char *const *argv, const char *what)
{
    LedgeText said = {0};
    int code = 0;
    LedgeStatus status = ledge__child_run(argv, b->err, &said, &code);
    if (!status && code)
        status = ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, base_name(argv[0]),
                             "cannot %s (exit %d): %.300s", what, code, complaint(&said));
    ledge__text_free(&said);
    return status;
}

static LedgeStatus wasm2c_version(Build *b)
{
    const char *const argv[] = {b->wasm2c, "--version", NULL};
    LedgeText said = {0};
    int code = 0;
    const LedgeStatus status = ledge__child_run(argv, b->err, &said, &code);
    if (said.p)
        said.p[strcspn(said.p, " \n")] = '\0';
    b->lwm.wasm2c = ledge__arena_str(b->arena, said.p && *said.p ? said.p : "unknown");
    ledge__text_free(&said);
    return b->lwm.wasm2c ? status : ledge__no_memory(b->err);
}

/* ---- the steps ---- */

static LedgeStatus read_module(Build *b)
{
    LEDGE_TRY(ledge__file_bytes(NULL, b->path, WASM_FILE_MAX, b->err, &b->wasm, &b->wasm_size));
    LEDGE_TRY(ledge__wasm_file_read(b->arena, b->wasm, b->wasm_size, b->err, &b->file));
    for (size_t i = 0; i < b->file.n_imports; i++)
        if (b->file.imports[i].kind != WASM_FUNCTION)
            return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                               "the module imports %s.%s, which is no function; a guest brings its "
                               "own memory, tables and globals",
                               b->file.imports[i].module, b->file.imports[i].name);
    return ledge__sha256_of(b->wasm, b->wasm_size, b->hash);
}

static LedgeStatus put_file(Build *b, const char *name, const void *bytes, size_t n)
{
    const char *path = in_folder(b, name);
    LedgeOutFile *f = NULL;
    if (!path)
        return ledge__no_memory(b->err);
    LedgeStatus status = ledge__out_file_open(NULL, path, b->err, &f);
    if (!status)
        status = ledge__out_file_write(f, bytes, n, b->err);
    if (status) {
        ledge__out_file_abort(f);
        return status;
    }
    return ledge__out_file_commit(f, b->err);
}

/* The module is translated from the bytes that were looked at, not from a file that may change. */
static LedgeStatus translate(Build *b)
{
    const char *wasm = in_folder(b, "guest.wasm"), *c = in_folder(b, "guest.c");
    if (!wasm || !c)
        return ledge__no_memory(b->err);
    const char *const argv[] = {b->wasm2c, wasm, "-n", "guest", "-o", c, NULL};
    LEDGE_TRY(put_file(b, "guest.wasm", b->wasm, b->wasm_size));
    LedgeStatus status = run_tool(b, argv, "translate the module");
    /* Versions without SIMD abort at it and say nothing. */
    if (status && strstr(b->err->message, "(exit 134)"))
        return ledge__fail(b->err, LEDGE_ERROR_UNSUPPORTED, "wasm2c",
                           "version %s gives up on this module, as those before 1.0.33 do on SIMD; "
                           "take wabt 1.0.36 (Debian 13) or compile the guest without -msimd128",
                           b->lwm.wasm2c);
    return status;
}

static LedgeStatus write_glue(Build *b)
{
    LedgeText c = {0};
    uint8_t *header = NULL;
    size_t n;
    const char *path = in_folder(b, "guest.h");
    if (!path)
        return ledge__no_memory(b->err);
    LedgeStatus status = ledge__file_bytes(NULL, path, WASM_FILE_MAX, b->err, &header, &n);
    /* The names that the glue gives point into a copy in the arena. */
    char *copy = status ? NULL : ledge__arena_strn(b->arena, (char *)header, n);
    ledge__free(NULL, header);
    if (!status)
        status = copy
                     ? ledge__lwm_glue(b->arena, copy, !b->o->explicit_bounds, b->err, &c, &b->glue)
                     : ledge__no_memory(b->err);
    if (!status)
        status = put_file(b, "glue.c", c.p, c.n);
    if (!status)
        status = put_file(b, "guest_abi.h", guest_abi, sizeof guest_abi);
    if (!status)
        status = put_file(b, "guest_glue.inc", guest_glue, sizeof guest_glue);
    ledge__text_free(&c);
    return status;
}

/* simde, by a link of its own: the rest of /usr/include is not a cross compiler's. */
static LedgeStatus link_simde(Build *b, const char *guest_c)
{
    uint8_t *text = NULL;
    size_t n;
    LEDGE_TRY(ledge__file_bytes(NULL, guest_c, (size_t)2 << 30, b->err, &text, &n));
    const bool needed = strstr((char *)text, "simde/") != NULL;
    ledge__free(NULL, text);
    const char *to = in_folder(b, "simde");
    if (!needed)
        return LEDGE_OK;
    if (access("/usr/include/simde/wasm/simd128.h", R_OK) != 0)
        return ledge__fail(b->err, LEDGE_ERROR_NOT_FOUND, "simde",
                           "the module uses SIMD, whose C headers are not here: apt-get install "
                           "libsimde-dev");
    return to && symlink("/usr/include/simde", to) == 0
               ? LEDGE_OK
               : ledge__fail(b->err, LEDGE_ERROR_IO, b->folder, "cannot make a link");
}

static const char *march_of(const char *target)
{
    static const char *const flags[][2] = {{"x86_64", "-march=x86-64"},
                                           {"x86_64_v2", "-march=x86-64-v2"},
                                           {"x86_64_v3", "-march=x86-64-v3"},
                                           {"aarch64", "-march=armv8-a"}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(flags[i][0], target) == 0)
            return flags[i][1];
    return NULL;
}

static LedgeStatus compile(Build *b, const char *target, LwmTarget *to)
{
    const char *cc, *march = march_of(target);
    char include[PATH_MAX + 8], here[PATH_MAX + 8];
    const char *so = ledge__arena_printf(b->arena, "%s/%s.so", b->folder, target);
    const char *source = in_folder(b, "glue.c"), *guest = in_folder(b, "guest.c");
    uint8_t *code = NULL;
    if (!march)
        return ledge__fail(b->err, LEDGE_ERROR_ARGUMENT, target,
                           "targets are x86_64, x86_64_v2, x86_64_v3 and aarch64");
    LEDGE_TRY(find_compiler(b->arena, b->o, target, b->err, &cc));
    snprintf(include, sizeof include, "-I%s", b->headers);
    snprintf(here, sizeof here, "-I%s", b->folder);
    const bool guard = !b->o->explicit_bounds;
    const char *const argv[] = {
        cc, "-std=gnu11", "-O2", march, "-w", "-fPIC", "-shared", "-fvisibility=hidden",
        /* Every page of a deep frame is touched in turn, so that none jumps over the guard. */
        "-fstack-clash-protection",
        /* WebAssembly's floats: each operation rounds. */
        "-ffp-contract=off", "-fno-math-errno", "-fno-asynchronous-unwind-tables", "-fno-ident",
        guard ? "-DWASM_RT_USE_MMAP=1" : "-DWASM_RT_USE_MMAP=0",
        guard ? "-DWASM_RT_MEMCHECK_GUARD_PAGES=1" : "-DWASM_RT_MEMCHECK_BOUNDS_CHECK=1",
        b->glue.old ? (guard ? "-DWASM_RT_MEMCHECK_SIGNAL_HANDLER=1"
                             : "-DWASM_RT_MEMCHECK_SIGNAL_HANDLER=0")
                    : "-DWASM_RT_NONCONFORMING_UNCHECKED_STACK_EXHAUSTION=1",
        "-DWASM_RT_USE_STACK_DEPTH_COUNT=0", here, include, source, guest, "-o", so,
        "-Wl,-z,now,-z,relro,-z,noexecstack,--build-id=none", "-lm", NULL};
    if (!so || !source || !guest)
        return ledge__no_memory(b->err);
    LEDGE_TRY(run_tool(b, argv, "compile the module"));
    LEDGE_TRY(ledge__file_bytes(NULL, so, LWM_FILE_MAX, b->err, &code, &to->size));
    to->code = code;
    to->name = ledge__arena_str(b->arena, target);
    to->bounds = guard ? "guard" : "explicit";
    return to->name ? LEDGE_OK : ledge__no_memory(b->err);
}

static LedgeStatus compile_all(Build *b)
{
    const char *wanted = b->o->targets ? b->o->targets : ledge__lwm_native_target();
    char *save = NULL, *list = ledge__arena_str(b->arena, wanted);
    LEDGE_TRY(link_simde(b, in_folder(b, "guest.c")));
    for (char *t = list ? strtok_r(list, ",", &save) : NULL; t; t = strtok_r(NULL, ",", &save)) {
        if (b->lwm.n_targets == LWM_TARGETS)
            return ledge__fail(b->err, LEDGE_ERROR_LIMIT, NULL, "more than %d targets",
                               LWM_TARGETS);
        LEDGE_TRY(compile(b, t, &b->lwm.targets[b->lwm.n_targets++]));
    }
    return b->lwm.n_targets ? LEDGE_OK
                            : ledge__fail(b->err, LEDGE_ERROR_ARGUMENT, NULL, "no target is given");
}

static const char *plain_name(Build *b)
{
    const char *base = b->o->name ? b->o->name : base_name(b->path);
    const size_t n = strlen(base);
    const bool cut = !b->o->name && n > 5 && strcmp(base + n - 5, ".wasm") == 0;
    return ledge__arena_strn(b->arena, base, cut ? n - 5 : n);
}

static LedgeStatus build(Build *b, const char *out)
{
    LEDGE_TRY(read_module(b));
    LEDGE_TRY(find_wasm2c(b->arena, b->o, b->err, &b->wasm2c));
    LEDGE_TRY(find_headers(b));
    LEDGE_TRY(wasm2c_version(b));
    LEDGE_TRY(translate(b));
    LEDGE_TRY(write_glue(b));
    LEDGE_TRY(compile_all(b));
    b->lwm.name = plain_name(b);
    b->lwm.wasm_sha256 = b->hash;
    b->lwm.wasm_size = (int64_t)b->wasm_size;
    b->lwm.ledge_version = ledge_version();
    b->lwm.created = b->o->created;
    b->lwm.has_memory = b->file.has_memory;
    b->lwm.pages = b->file.pages;
    b->lwm.most_pages = b->file.most_pages;
    b->lwm.imports = b->glue.imports;
    b->lwm.n_imports = b->glue.n_imports;
    b->lwm.exports = b->glue.exports;
    b->lwm.n_exports = b->glue.n_exports;
    if (!b->lwm.name)
        return ledge__no_memory(b->err);
    return ledge__lwm_write(&b->lwm, out, b->o->keys, b->o->n_keys, b->err);
}

static void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(folder);
}

LedgeStatus ledge__lwm_build(const char *path, const char *out, const LwmBuildOptions *options,
                             LedgeError *err)
{
    char folder[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    Build b = {.err = err, .o = options, .path = path, .folder = folder};
    snprintf(folder, sizeof folder - 20, "%s", tmp && *tmp ? tmp : "/tmp");
    strcat(folder, "/ledge-wasm-XXXXXX");
    if (!mkdtemp(folder))
        return ledge__fail(err, LEDGE_ERROR_IO, folder, "cannot make a temporary folder");
    b.arena = ledge__arena_new(NULL);
    const LedgeStatus status = b.arena ? build(&b, out) : ledge__no_memory(err);
    for (size_t i = 0; i < b.lwm.n_targets; i++)
        ledge__free(NULL, (void *)(uintptr_t)b.lwm.targets[i].code);
    ledge__free(NULL, b.wasm);
    ledge__arena_free(b.arena);
    remove_folder(folder);
    return status;
}
