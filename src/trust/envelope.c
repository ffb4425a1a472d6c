/* Reading and verifying signed JSON, see envelope.h. */
#include "trust/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/canonical_json.h"

/* ---- reading ---- */

static bool is_hex(const json_t *value, size_t bytes)
{
    uint8_t scratch[LEDGE_SIGNATURE_BYTES];
    return json_is_string(value) && ledge__from_hex(json_string_value(value), scratch, bytes);
}

static LedgeStatus check_shape(const char *where, const json_t *root, LedgeError *err)
{
    const json_t *signatures = json_object_get(root, "signatures");
    if (json_object_size(root) != 2 || !json_is_object(json_object_get(root, "signed")) ||
        !json_is_array(signatures))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "must be an object of \"signed\" and \"signatures\", no more");
    if (json_array_size(signatures) > LEDGE_ENVELOPE_SIGNATURES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, where, "has more than %d signatures",
                           LEDGE_ENVELOPE_SIGNATURES);
    for (size_t i = 0; i < json_array_size(signatures); i++) {
        const json_t *s = json_array_get(signatures, i);
        if (json_object_size(s) != 2 || !is_hex(json_object_get(s, "keyid"), LEDGE_SHA256_BYTES) ||
            !is_hex(json_object_get(s, "sig"), LEDGE_SIGNATURE_BYTES))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                               "signature %zu is not a \"keyid\" of 64 and a \"sig\" of 128 "
                               "hexadecimal digits",
                               i + 1);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__envelope_parse(const char *where, const void *bytes, size_t size,
                                  LedgeError *err, json_t **out)
{
    json_t *root;
    LEDGE_TRY(ledge__json_parse(where, bytes, size, err, &root));
    LedgeStatus status = check_shape(where, root, err);
    if (status) {
        json_decref(root);
        return status;
    }
    *out = root;
    return LEDGE_OK;
}

static LedgeStatus read_file(FILE *f, const char *path, size_t max, LedgeError *err, json_t **out)
{
    size_t used = 0, cap = 65536, got;
    char *bytes = malloc(cap);
    while (bytes && (got = fread(bytes + used, 1, cap - used, f)) > 0) {
        used += got;
        if (used > max)
            break;
        if (used == cap) {
            char *wider = realloc(bytes, cap *= 2);
            if (!wider)
                free(bytes);
            bytes = wider;
        }
    }
    if (!bytes)
        return ledge__no_memory(err);
    LedgeStatus status =
        ferror(f)    ? ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno))
        : used > max ? ledge__fail(err, LEDGE_ERROR_LIMIT, path,
                                   "is larger than the %zu bytes allowed here", max)
                     : ledge__envelope_parse(path, bytes, used, err, out);
    free(bytes);
    return status;
}

LedgeStatus ledge__envelope_load(const char *path, size_t max, LedgeError *err, json_t **out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    LedgeStatus status = read_file(f, path, max, err, out);
    fclose(f);
    return status;
}

json_t *ledge__envelope_content(const json_t *envelope)
{
    return json_object_get(envelope, "signed");
}

size_t ledge__envelope_signatures(const json_t *envelope)
{
    return json_array_size(json_object_get(envelope, "signatures"));
}

static const char *signature_text(const json_t *envelope, size_t index, const char *key)
{
    const json_t *one = json_array_get(json_object_get(envelope, "signatures"), index);
    return json_string_value(json_object_get(one, key));
}

const char *ledge__envelope_key_id(const json_t *envelope, size_t index)
{
    return signature_text(envelope, index, "keyid");
}

/* ---- verifying ---- */

typedef struct Count {
    size_t good, bad;
} Count;

/* One vote a key, however often it signed. */
static void count_key(const json_t *envelope, const LedgeKey *key, const char *text, size_t size,
                      Count *count)
{
    uint8_t sig[LEDGE_SIGNATURE_BYTES];
    size_t good = 0;
    for (size_t i = 0; i < ledge__envelope_signatures(envelope); i++) {
        if (strcmp(ledge__envelope_key_id(envelope, i), ledge__key_id(key)) != 0)
            continue;
        if (ledge__from_hex(signature_text(envelope, i, "sig"), sig, sizeof sig) &&
            ledge__key_verify(key, text, size, sig))
            good = 1;
        else
            count->bad++;
    }
    count->good += good;
}

static LedgeStatus judge(const char *where, const json_t *envelope, Count count, size_t threshold,
                         LedgeError *err)
{
    if (count.good >= threshold)
        return LEDGE_OK;
    if (!ledge__envelope_signatures(envelope))
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where, "nobody signed it");
    if (count.bad)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "the signature does not fit: the content was changed after signing");
    if (!count.good)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "it is signed by another key (%.16s...), not by one that you trust",
                           ledge__envelope_key_id(envelope, 0));
    return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                       "%zu of the trusted keys signed it, and %zu are asked for", count.good,
                       threshold);
}

LedgeStatus ledge__envelope_verify(const char *where, const json_t *envelope,
                                   const LedgeKey *const *keys, size_t n, size_t threshold,
                                   LedgeError *err)
{
    char *text;
    size_t size;
    Count count = {0};
    if (!threshold)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, where, "a threshold of 0 trusts anybody");
    LEDGE_TRY(ledge__canonical_json(ledge__envelope_content(envelope), err, &text, &size));
    for (size_t i = 0; i < n; i++) {
        size_t before = 0; /* the same key given twice has one vote */
        while (before < i && strcmp(ledge__key_id(keys[before]), ledge__key_id(keys[i])) != 0)
            before++;
        if (before == i)
            count_key(envelope, keys[i], text, size, &count);
    }
    free(text);
    return judge(where, envelope, count, threshold, err);
}
