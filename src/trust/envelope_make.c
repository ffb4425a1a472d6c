/* Making signed JSON, see envelope.h. Not in programs that only verify. */
#include <stdlib.h>

#include "base/error.h"
#include "trust/canonical_json.h"
#include "trust/envelope.h"

static LedgeStatus sign(json_t *signatures, const LedgeKey *key, const char *text, size_t n,
                        LedgeError *err)
{
    uint8_t bytes[LEDGE_SIGNATURE_BYTES];
    char hex[2 * LEDGE_SIGNATURE_BYTES + 1];
    LEDGE_TRY(ledge__key_sign(key, text, n, err, bytes));
    ledge__hex(bytes, sizeof bytes, hex);
    json_t *one = json_pack("{s:s, s:s}", "keyid", ledge__key_id(key), "sig", hex);
    return json_array_append_new(signatures, one) ? ledge__no_memory(err) : LEDGE_OK;
}

LedgeStatus ledge__envelope_make(json_t *content, const LedgeKey *const *keys, size_t n,
                                 LedgeError *err, json_t **out)
{
    char *text;
    size_t size;
    LEDGE_TRY(ledge__canonical_json(content, err, &text, &size));
    json_t *signatures = json_array();
    LedgeStatus status = signatures ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++)
        status = sign(signatures, keys[i], text, size, err);
    free(text);
    json_t *envelope =
        status ? NULL : json_pack("{s:O, s:O}", "signatures", signatures, "signed", content);
    json_decref(signatures);
    if (!status && !envelope)
        status = ledge__no_memory(err);
    if (!status)
        *out = envelope;
    return status;
}
