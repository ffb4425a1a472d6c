/* Reading and writing .lwm files; see lwm_file.h. */
#include "wasm/runner/lwm_file.h"

#include <stdio.h>
#include <time.h>

#include "base/cpu.h"
#include "base/out_file.h"
#include "trust/canonical_json.h"
#include "trust/envelope.h"

enum { HEAD = 16, ALIGN = 64 };

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
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
    if (!ledge__lwm_is(f->bytes, f->size) || f->size < HEAD + LEDGE_SHA256_BYTES)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "is no .lwm file, or only its beginning");
    LEDGE_TRY(check_hash(f->bytes, f->size, where, err));
    const uint32_t version = get32(f->bytes + 8), n = get32(f->bytes + 12);
    const size_t end = f->size - LEDGE_SHA256_BYTES;
    if (version != LWM_VERSION)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "is a .lwm file of version %u; this ledge reads %u: build it again",
                           version, LWM_VERSION);
    if (n > end - HEAD || n > LWM_MANIFEST_MAX)
        return bad(err, where, "it is longer than the file, or over 4 MiB");
    LEDGE_TRY(ledge__envelope_parse(where, f->bytes + HEAD, n, err, &f->envelope));
    f->n_signatures = ledge__envelope_signatures(f->envelope);
    if (n_keys) {
        LEDGE_TRY(ledge__envelope_verify(where, f->envelope, keys, n_keys, 1, err));
        f->trusted = true;
    }
    return read_manifest(f, HEAD + n, end, where, err);
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

/* ---- writing ---- */

static json_t *functions_json(const LwmFunctionName *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, names[i].module ? json_pack("{s:s, s:s, s:s}", "module", names[i].module, "name",
                                              names[i].name, "signature", names[i].signature)
                                  : json_pack("{s:s, s:s}", "name", names[i].name, "signature",
                                              names[i].signature));
    return list;
}

static LedgeStatus target_json(const LwmTarget *t, size_t offset, json_t **out)
{
    char hash[LEDGE_SHA256_HEX];
    LEDGE_TRY(ledge__sha256_of(t->code, t->size, hash));
    *out = json_pack("{s:s, s:s, s:I, s:I, s:s}", "target", t->name, "bounds", t->bounds, "offset",
                     (json_int_t)offset, "length", (json_int_t)t->size, "sha256", hash);
    return *out ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* The manifest with the code beginning at `at`, signed and as text. */
static LedgeStatus manifest_text(const LwmFile *f, size_t at, const LedgeKey *const *keys,
                                 size_t n_keys, LedgeError *err, char **text)
{
    json_t *targets = json_array(), *envelope = NULL;
    LedgeStatus status = LEDGE_OK;
    for (size_t i = 0; i < f->n_targets && !status; i++) {
        json_t *t = NULL;
        status = target_json(&f->targets[i], at, &t);
        json_array_append_new(targets, t);
        at = aligned(at + f->targets[i].size);
    }
    json_t *memory = f->has_memory ? json_pack("{s:I, s:I}", "pages", (json_int_t)f->pages, "most",
                                               (json_int_t)f->most_pages)
                                   : json_null();
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:{s:s, s:I}, s:o, s:o, s:o, s:o}", "_type",
                          "lwm", "name", f->name, "ledge", f->ledge_version, "wasm2c", f->wasm2c,
                          "created", (json_int_t)f->created, "wasm", "sha256", f->wasm_sha256,
                          "length", (json_int_t)f->wasm_size, "memory", memory, "imports",
                          functions_json(f->imports, f->n_imports), "exports",
                          functions_json(f->exports, f->n_exports), "targets", targets);
    if (!status && !o)
        status = ledge__no_memory(err);
    if (!status)
        status = ledge__envelope_make(o, keys, n_keys, err, &envelope);
    if (!status) {
        *text = json_dumps(envelope, JSON_COMPACT | JSON_SORT_KEYS);
        status = *text ? LEDGE_OK : ledge__no_memory(err);
    }
    json_decref(envelope);
    json_decref(o);
    return status;
}

typedef struct Writer {
    LedgeOutFile *to;
    LedgeSha256 *sha;
} Writer;

static LedgeStatus write_bytes(Writer *w, const void *bytes, size_t n, LedgeError *err)
{
    LEDGE_TRY(ledge__sha256_add(w->sha, bytes, n));
    return ledge__out_file_write(w->to, bytes, n, err);
}

static LedgeStatus write_padding(Writer *w, LedgeError *err)
{
    static const uint8_t zeros[ALIGN];
    const size_t at = (size_t)ledge__out_file_size(w->to);
    return write_bytes(w, zeros, aligned(at) - at, err);
}

static LedgeStatus write_all(Writer *w, const LwmFile *f, const char *text, size_t room,
                             LedgeError *err)
{
    uint8_t head[HEAD], hash[LEDGE_SHA256_BYTES];
    char hex[LEDGE_SHA256_HEX];
    const size_t n = strlen(text);
    memcpy(head, LWM_MAGIC, 8);
    put32(head + 8, LWM_VERSION);
    put32(head + 12, (uint32_t)room);
    LEDGE_TRY(write_bytes(w, head, HEAD, err));
    LEDGE_TRY(write_bytes(w, text, n, err));
    for (size_t i = n; i < room; i++)
        LEDGE_TRY(write_bytes(w, "\n", 1, err));
    for (size_t i = 0; i < f->n_targets; i++) {
        LEDGE_TRY(write_padding(w, err));
        LEDGE_TRY(write_bytes(w, f->targets[i].code, f->targets[i].size, err));
    }
    LEDGE_TRY(ledge__sha256_hex(w->sha, hex));
    (void)ledge__from_hex(hex, hash, sizeof hash);
    return ledge__out_file_write(w->to, hash, sizeof hash, err);
}

static LedgeStatus write_text(const LwmFile *f, const char *path, const char *text, size_t room,
                              LedgeError *err)
{
    Writer w = {.sha = ledge__sha256_new()};
    LedgeStatus status = w.sha ? LEDGE_OK : ledge__no_memory(err);
    if (!status)
        status = ledge__out_file_open(NULL, path, err, &w.to);
    if (!status)
        status = write_all(&w, f, text, room, err);
    if (status)
        ledge__out_file_abort(w.to);
    else
        status = ledge__out_file_commit(w.to, err);
    ledge__sha256_free(w.sha);
    return status;
}

/* The manifest's own length moves the code, whose offsets the manifest holds: it is made once for
 * its length and, with room for longer numbers, again; the rest is filled with line ends. */
LedgeStatus ledge__lwm_write(const LwmFile *f, const char *path, const LedgeKey *const *keys,
                             size_t n_keys, LedgeError *err)
{
    char *text = NULL;
    LEDGE_TRY(manifest_text(f, 0, keys, n_keys, err, &text));
    const size_t room = strlen(text) + 16 * f->n_targets;
    free(text);
    text = NULL;
    LedgeStatus status = room > LWM_MANIFEST_MAX
                             ? ledge__fail(err, LEDGE_ERROR_LIMIT, path, "the manifest is too long")
                             : manifest_text(f, aligned(HEAD + room), keys, n_keys, err, &text);
    if (!status)
        status = write_text(f, path, text, room, err);
    free(text);
    return status;
}
