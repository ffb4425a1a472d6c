/* Fuzz target of TUF metadata: the bytes are one role's file, by the first byte, and also what a
 * source answers to everything. Nothing but what real keys signed is ever believed. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fleet/protocol/tuf_client.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Bytes {
    const uint8_t *p;
    size_t n;
} Bytes;

static LedgeStatus fetch(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                         size_t *size)
{
    const Bytes *b = context;
    if (b->n > max)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, name, "too large");
    *bytes = malloc(b->n + 1);
    check(*bytes);
    memcpy(*bytes, b->p, b->n);
    *size = b->n;
    return LEDGE_OK;
}

static LedgeStatus load(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                        size_t *size)
{
    (void)context;
    (void)max;
    (void)bytes;
    (void)size;
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "none");
}

static LedgeStatus save(void *context, const char *name, const void *bytes, size_t size,
                        LedgeError *err)
{
    (void)context;
    (void)name;
    (void)bytes;
    (void)size;
    (void)err;
    abort(); /* nothing that was made up is trusted */
}

static LedgeStatus forget(void *context, const char *name, LedgeError *err)
{
    (void)context;
    (void)name;
    (void)err;
    return LEDGE_OK;
}

/* A root of a key that nobody has. */
static void make_anchor(char **text, size_t *size)
{
    LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT];
    LedgeKey *key;
    json_t *content, *envelope;
    check(ledge__key_new(NULL, &key) == LEDGE_OK);
    for (int i = 0; i < LEDGE_TUF_ROLE_COUNT; i++)
        keys[i] = (LedgeTufKeys){.keys = {key}, .n = 1, .threshold = 1};
    content = ledge__tuf_make_root(1, 4000000000, keys);
    const LedgeKey *signer = key;
    check(ledge__envelope_make(content, &signer, 1, NULL, &envelope) == LEDGE_OK);
    check(ledge__tuf_text(envelope, NULL, text, size, NULL) == LEDGE_OK);
    json_decref(content);
    json_decref(envelope);
    ledge__key_free(key);
}

static void try_role(LedgeTufRole role, const void *bytes, size_t size)
{
    LedgeTufMeta meta;
    LedgeError err = {0};
    LedgeTufFile file;
    const json_t *custom;
    const LedgeStatus status = ledge__tuf_parse(role, bytes, size, &err, &meta);
    check(status == err.status && (!status || err.message[0]));
    if (status)
        return;
    check(meta.version >= 1 && meta.expires >= 0);
    (void)!ledge__tuf_listed(&meta, "snapshot.json", &err, &file);
    (void)!ledge__tuf_listed(&meta, "targets.json", &err, &file);
    (void)!ledge__tuf_find_target(&meta, "models/net/1/release.json", &err, &file, &custom);
    for (int i = 0; role == LEDGE_TUF_ROOT && i < LEDGE_TUF_ROLE_COUNT; i++) {
        LedgeTufKeys keys;
        if (ledge__tuf_keys(&meta, (LedgeTufRole)i, &err, &keys))
            continue;
        check(keys.threshold >= 1 && keys.threshold <= keys.n);
        ledge__tuf_keys_free(&keys);
    }
    ledge__tuf_meta_free(&meta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *anchor;
    static size_t anchor_size;
    LedgeTuf *tuf;
    LedgeTufFile file;
    LedgeError err = {0};
    if (!anchor)
        make_anchor(&anchor, &anchor_size);
    if (size == 0)
        return 0;
    try_role((LedgeTufRole)(data[0] % LEDGE_TUF_ROLE_COUNT), data + 1, size - 1);
    Bytes b = {data + 1, size - 1};
    const LedgeTufStore store = {NULL, load, save, forget};
    const LedgeTufSource source = {&b, fetch};
    const LedgeTufClock clock = {1800000000, true, "00"};
    check(ledge__tuf_open(&store, anchor, anchor_size, &err, &tuf) == LEDGE_OK);
    check(ledge__tuf_update(tuf, &source, &clock, &err) != LEDGE_OK);
    check(ledge__tuf_target(tuf, "models/net/1/release.json", &err, &file, NULL) != LEDGE_OK);
    ledge__tuf_free(tuf);
    return 0;
}
