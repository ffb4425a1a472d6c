/* What a public key is called, for key.c and key_public.c. */
#include <stdlib.h>

#include "base/error.h"
#include "trust/canonical_json.h"
#include "trust/key_name.h"

json_t *ledge__public_key_json(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES])
{
    char hex[2 * LEDGE_PUBLIC_KEY_BYTES + 1];
    ledge__hex(public_key, LEDGE_PUBLIC_KEY_BYTES, hex);
    return json_pack("{s:s, s:{s:s}, s:s}", "keytype", "ed25519", "keyval", "public", hex, "scheme",
                     "ed25519");
}

LedgeStatus ledge__public_key_id(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES], LedgeError *err,
                                 char id[LEDGE_SHA256_HEX])
{
    char *text;
    size_t n;
    json_t *o = ledge__public_key_json(public_key);
    if (!o)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__canonical_json(o, err, &text, &n);
    json_decref(o);
    if (status)
        return status;
    status = ledge__sha256_of(text, n, id) ? ledge__no_memory(err) : LEDGE_OK;
    free(text);
    return status;
}
