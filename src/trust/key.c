/* Ed25519 keys, see key.h. */
#include "trust/key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/key_file.h"
#include "trust/key_name.h"

struct LedgeKey {
    EVP_PKEY *pkey;
    bool is_private;
    uint8_t public[LEDGE_PUBLIC_KEY_BYTES];
    char id[LEDGE_SHA256_HEX];
};

json_t *ledge__key_json(const LedgeKey *key)
{
    return ledge__public_key_json(key->public);
}

/* Takes pkey over whatever the outcome. */
static LedgeStatus adopt(EVP_PKEY *pkey, bool is_private, LedgeError *err, LedgeKey **out)
{
    size_t n = LEDGE_PUBLIC_KEY_BYTES;
    LedgeKey *key = calloc(1, sizeof *key);
    if (!key) {
        EVP_PKEY_free(pkey);
        return ledge__no_memory(err);
    }
    key->pkey = pkey;
    key->is_private = is_private;
    LedgeStatus status =
        EVP_PKEY_get_raw_public_key(pkey, key->public, &n) == 1 && n == LEDGE_PUBLIC_KEY_BYTES
            ? ledge__public_key_id(key->public, err, key->id)
            : ledge__no_memory(err);
    if (status) {
        ledge__key_free(key);
        return status;
    }
    *out = key;
    return LEDGE_OK;
}

void ledge__key_free(LedgeKey *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

LedgeStatus ledge__key_new(LedgeError *err, LedgeKey **out)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!pkey) {
        ERR_clear_error();
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL,
                           "the system gave no random numbers for a key");
    }
    return adopt(pkey, true, err, out);
}

LedgeStatus ledge__key_from_public(const uint8_t bytes[LEDGE_PUBLIC_KEY_BYTES], LedgeError *err,
                                   LedgeKey **out)
{
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, LEDGE_PUBLIC_KEY_BYTES);
    if (!pkey) {
        ERR_clear_error();
        return ledge__no_memory(err);
    }
    return adopt(pkey, false, err, out);
}

/* ---- files ---- */

LedgeStatus ledge__key_parse(const char *where, const void *bytes, size_t size, LedgeError *err,
                             LedgeKey **out)
{
    EVP_PKEY *pkey;
    bool is_private;
    LEDGE_TRY(ledge__pem_parse(where, bytes, size, err, &pkey, &is_private));
    if (EVP_PKEY_get_id(pkey) == EVP_PKEY_ED25519)
        return adopt(pkey, is_private, err, out);
    EVP_PKEY_free(pkey);
    return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                       "is a key of another kind; ledge signs with Ed25519 alone");
}

LedgeStatus ledge__key_save(const LedgeKey *key, const char *name, LedgeError *err)
{
    return ledge__pem_save(key->pkey, name, err);
}

char *ledge__key_public_pem(const LedgeKey *key)
{
    size_t n;
    return ledge__pem_text(key->pkey, false, &n);
}

/* ---- use ---- */

bool ledge__key_is_private(const LedgeKey *key)
{
    return key->is_private;
}

const char *ledge__key_id(const LedgeKey *key)
{
    return key->id;
}

void ledge__key_public(const LedgeKey *key, uint8_t out[LEDGE_PUBLIC_KEY_BYTES])
{
    memcpy(out, key->public, LEDGE_PUBLIC_KEY_BYTES);
}

LedgeStatus ledge__key_sign(const LedgeKey *key, const void *bytes, size_t size, LedgeError *err,
                            uint8_t out[LEDGE_SIGNATURE_BYTES])
{
    size_t n = LEDGE_SIGNATURE_BYTES;
    if (!key->is_private)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "a public key cannot sign; give the private one (NAME.key)");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
                    EVP_DigestSign(context, out, &n, bytes, size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok ? LEDGE_OK : ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL, "libcrypto could not sign");
}

bool ledge__key_verify(const LedgeKey *key, const void *bytes, size_t size,
                       const uint8_t signature[LEDGE_SIGNATURE_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool ok = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
                    EVP_DigestVerify(context, signature, LEDGE_SIGNATURE_BYTES, bytes, size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}
