/* Ed25519 keys, see key.h. */
#include "trust/key_file.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

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

/* ---- PEM ---- */

/* libcrypto would ask at the terminal; an encrypted key is refused by name instead. */
static int no_password(char *to, int size, int writing, void *asked)
{
    (void)to, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

LedgeStatus ledge__key_parse(const char *where, const void *bytes, size_t size, LedgeError *err,
                             LedgeKey **out)
{
    bool is_encrypted = false, is_private = true;
    BIO *bio = size <= INT32_MAX ? BIO_new_mem_buf(bytes, (int)size) : NULL;
    if (!bio)
        return ledge__no_memory(err);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, &is_encrypted);
    if (!pkey && !is_encrypted) {
        BIO_free(bio);
        bio = BIO_new_mem_buf(bytes, (int)size);
        is_private = false;
        pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, &is_encrypted) : NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (is_encrypted)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "the key is encrypted, which ledge does not read; keep it on an "
                           "encrypted disk instead");
    if (!pkey)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "holds no key in PEM form; 'ledge key new' makes one");
    if (EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(pkey);
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "is a key of another kind; ledge signs with Ed25519 alone");
    }
    return adopt(pkey, is_private, err, out);
}

static char *pem(const LedgeKey *key, bool private_part, size_t *size)
{
    char *bytes = NULL, *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio &&
        (private_part ? PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL)
                      : PEM_write_bio_PUBKEY(bio, key->pkey)) == 1) {
        const long n = BIO_get_mem_data(bio, &bytes);
        text = n > 0 ? malloc((size_t)n + 1) : NULL;
        if (text) {
            memcpy(text, bytes, (size_t)n);
            text[n] = '\0';
            *size = (size_t)n;
        }
    }
    BIO_free(bio);
    ERR_clear_error();
    return text;
}

char *ledge__key_public_pem(const LedgeKey *key)
{
    size_t n;
    return pem(key, false, &n);
}

char *ledge__key_private_pem(const LedgeKey *key, size_t *size)
{
    return pem(key, true, size);
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
