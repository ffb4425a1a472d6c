/* Writing .lwm files; see lwm_file.h. */
#include "wasm/runner/lwm_file.h"

#include <stdio.h>

#include "base/out_file.h"
#include "trust/envelope.h"

enum { ALIGN = 64 };

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

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
    uint8_t head[LWM_HEAD], hash[LEDGE_SHA256_BYTES];
    char hex[LEDGE_SHA256_HEX];
    const size_t n = strlen(text);
    memcpy(head, LWM_MAGIC, 8);
    put32(head + 8, LWM_VERSION);
    put32(head + 12, (uint32_t)room);
    LEDGE_TRY(write_bytes(w, head, LWM_HEAD, err));
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
                             : manifest_text(f, aligned(LWM_HEAD + room), keys, n_keys, err, &text);
    if (!status)
        status = write_text(f, path, text, room, err);
    free(text);
    return status;
}
