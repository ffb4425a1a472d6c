/* Reading .lwm files, and choosing what runs here; see lwm_file.h. */
#include "wasm/runner/lwm_file.h"

#include <stdio.h>
#include <time.h>

#include "base/cpu.h"
#include "trust/envelope.h"

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

bool ledge__lwm_is(const uint8_t *bytes, size_t size)
{
    return size >= 8 && memcmp(bytes, LWM_MAGIC, 8) == 0;
}

/* ---- targets ---- */

typedef struct Known {
    const char *name;
    uint32_t flags; /* that the CPU must have */
    bool this_machine;
} Known;

#if defined(__x86_64__)
#define ON_X86   true
#define ON_ARM64 false
#elif defined(__aarch64__)
#define ON_X86   false
#define ON_ARM64 true
#else
#define ON_X86   false
#define ON_ARM64 false
#endif

/* Best last. */
static const Known known[] = {
    {"x86_64", 0, ON_X86},
    {"x86_64_v2", LEDGE_CPU_SSE41, ON_X86},
    {"x86_64_v3", LEDGE_CPU_AVX2, ON_X86},
    {"aarch64", 0, ON_ARM64},
};
enum { N_KNOWN = sizeof known / sizeof *known };

static int rank_of(const char *target)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, target) == 0 && known[i].this_machine &&
            (known[i].flags & ~ledge__cpu_flags()) == 0)
            return i;
    return -1;
}

bool ledge__lwm_runs_here(const char *target)
{
    return rank_of(target) >= 0;
}

const char *ledge__lwm_native_target(void)
{
    for (int i = N_KNOWN - 1; i >= 0; i--)
        if (rank_of(known[i].name) >= 0)
            return known[i].name;
    return "none that ledge knows";
}

LedgeStatus ledge__lwm_choose(const LwmFile *file, LedgeError *err, const LwmTarget **out)
{
    char list[256] = "";
    int best = -1;
    for (size_t i = 0; i < file->n_targets; i++) {
        const int rank = rank_of(file->targets[i].name);
        const size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", file->targets[i].name);
        if (rank > best) {
            best = rank;
            *out = &file->targets[i];
        }
    }
    if (best < 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, NULL,
                           "was built for %s, this machine is %s; build it with --target %s", list,
                           ledge__lwm_native_target(), ledge__lwm_native_target());
    return LEDGE_OK;
}

/* ---- reading ---- */

void ledge__lwm_free(LwmFile *file)
{
    if (!file)
        return;
    json_decref(file->envelope);
    ledge__free(NULL, file->bytes);
    ledge__arena_free(file->arena);
    ledge__free(NULL, file);
}

static LedgeStatus bad(LedgeError *err, const char *where, const char *what)
{
    return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "the manifest is damaged: %s", what);
}

static LedgeStatus read_functions(LwmFile *f, const json_t *list, bool imports,
                                  LwmFunctionName **out, size_t *n, const char *where,
                                  LedgeError *err)
{
    const size_t count = json_array_size(list);
    LwmFunctionName *names = ledge__arena_alloc(f->arena, count + 1, sizeof *names);
    if (!names)
        return ledge__no_memory(err);
    if (!json_is_array(list))
        return bad(err, where, "a list of functions is missing");
    for (size_t i = 0; i < count; i++) {
        const json_t *o = json_array_get(list, i);
        names[i].module = json_string_value(json_object_get(o, "module"));
        names[i].name = json_string_value(json_object_get(o, "name"));
        names[i].signature = json_string_value(json_object_get(o, "signature"));
        if (!names[i].name || !names[i].signature || !names[i].module == imports ||
            !strchr(names[i].signature, ':'))
            return bad(err, where, "a function is not described in full");
    }
    *out = names;
    *n = count;
    return LEDGE_OK;
}

static LedgeStatus read_target(LwmFile *f, const json_t *o, size_t begin, size_t end,
                               const char *where, LedgeError *err)
{
    LwmTarget *t = &f->targets[f->n_targets];
    char hash[LEDGE_SHA256_HEX];
    const char *wanted = json_string_value(json_object_get(o, "sha256"));
    const json_int_t offset = json_integer_value(json_object_get(o, "offset"));
    const json_int_t size = json_integer_value(json_object_get(o, "length"));
    t->name = json_string_value(json_object_get(o, "target"));
    t->bounds = json_string_value(json_object_get(o, "bounds"));
    if (!t->name || !t->bounds || !wanted)
        return bad(err, where, "a target is not described in full");
    if (offset < (json_int_t)begin || size <= 0 || offset > (json_int_t)end ||
        size > (json_int_t)end - offset)
        return bad(err, where, "a target's code lies outside the file");
    t->code = f->bytes + offset;
    t->size = (size_t)size;
    LEDGE_TRY(ledge__sha256_of(t->code, t->size, hash));
    if (strcmp(hash, wanted) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "the code for %s is not the one that the manifest names: the file was "
                           "changed",
                           t->name);
    f->n_targets++;
    return LEDGE_OK;
}

static LedgeStatus read_manifest(LwmFile *f, size_t begin, size_t end, const char *where,
                                 LedgeError *err)
{
    const json_t *o = ledge__envelope_content(f->envelope);
    const json_t *wasm = json_object_get(o, "wasm"), *memory = json_object_get(o, "memory");
    const json_t *targets = json_object_get(o, "targets");
    const char *type = json_string_value(json_object_get(o, "_type"));
    if (!type || strcmp(type, "lwm") != 0)
        return bad(err, where, "it is not one of a .lwm file");
    f->name = json_string_value(json_object_get(o, "name"));
    f->ledge_version = json_string_value(json_object_get(o, "ledge"));
    f->wasm2c = json_string_value(json_object_get(o, "wasm2c"));
    f->created = json_integer_value(json_object_get(o, "created"));
    f->wasm_sha256 = json_string_value(json_object_get(wasm, "sha256"));
    f->wasm_size = json_integer_value(json_object_get(wasm, "length"));
    if (!f->name || !f->ledge_version || !f->wasm2c || !f->wasm_sha256)
        return bad(err, where, "an entry is missing");
    f->has_memory = json_is_object(memory);
    const json_int_t pages = json_integer_value(json_object_get(memory, "pages"));
    const json_int_t most = json_integer_value(json_object_get(memory, "most"));
    if (pages < 0 || pages > WASM_MOST_PAGES || most < pages || most > WASM_MOST_PAGES)
        return bad(err, where, "its memory sizes make no sense");
    f->pages = (uint32_t)pages;
    f->most_pages = (uint32_t)most;
    LEDGE_TRY(read_functions(f, json_object_get(o, "imports"), true, &f->imports, &f->n_imports,
                             where, err));
    LEDGE_TRY(read_functions(f, json_object_get(o, "exports"), false, &f->exports, &f->n_exports,
                             where, err));
    if (!json_array_size(targets) || json_array_size(targets) > LWM_TARGETS)
        return bad(err, where, "it has no targets, or too many");
    for (size_t i = 0; i < json_array_size(targets); i++)
        LEDGE_TRY(read_target(f, json_array_get(targets, i), begin, end, where, err));
    return LEDGE_OK;
}

static LedgeStatus check_hash(const uint8_t *bytes, size_t size, const char *where, LedgeError *err)
{
    char hash[LEDGE_SHA256_HEX], wanted[LEDGE_SHA256_HEX];
    LEDGE_TRY(ledge__sha256_of(bytes, size - LEDGE_SHA256_BYTES, hash));
    ledge__hex(bytes + size - LEDGE_SHA256_BYTES, LEDGE_SHA256_BYTES, wanted);
    if (strcmp(hash, wanted) != 0)
        return ledge__fail(
            err, LEDGE_ERROR_MISMATCH, where,
            "the file's SHA-256 does not fit: it is damaged or was changed; fetch or "
            "build it again");
    return LEDGE_OK;
}

static LedgeStatus read_file(LwmFile *f, const char *where, const LedgeKey *const *keys,
                             size_t n_keys, LedgeError *err)
{
    if (!ledge__lwm_is(f->bytes, f->size) || f->size < LWM_HEAD + LEDGE_SHA256_BYTES)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "is no .lwm file, or only its beginning");
    LEDGE_TRY(check_hash(f->bytes, f->size, where, err));
    const uint32_t version = get32(f->bytes + 8), n = get32(f->bytes + 12);
    const size_t end = f->size - LEDGE_SHA256_BYTES;
    if (version != LWM_VERSION)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "is a .lwm file of version %u; this ledge reads %u: build it again",
                           version, LWM_VERSION);
    if (n > end - LWM_HEAD || n > LWM_MANIFEST_MAX)
        return bad(err, where, "it is longer than the file, or over 4 MiB");
    LEDGE_TRY(ledge__envelope_parse(where, f->bytes + LWM_HEAD, n, err, &f->envelope));
    f->n_signatures = ledge__envelope_signatures(f->envelope);
    if (n_keys) {
        LEDGE_TRY(ledge__envelope_verify(where, f->envelope, keys, n_keys, 1, err));
        f->trusted = true;
    }
    return read_manifest(f, LWM_HEAD + n, end, where, err);
}

LedgeStatus ledge__lwm_read(const char *where, uint8_t *bytes, size_t size,
                            const LedgeKey *const *keys, size_t n_keys, LedgeError *err,
                            LwmFile **out)
{
    LwmFile *f = ledge__calloc(NULL, 1, sizeof *f);
    if (!f) {
        ledge__free(NULL, bytes);
        return ledge__no_memory(err);
    }
    f->bytes = bytes;
    f->size = size;
    f->arena = ledge__arena_new(NULL);
    const LedgeStatus status =
        f->arena ? read_file(f, where, keys, n_keys, err) : ledge__no_memory(err);
    if (status) {
        ledge__lwm_free(f);
        return status;
    }
    *out = f;
    return LEDGE_OK;
}
