/* HPKE, see seal.h; names in comments are those of RFC 9180. */
#include "trust/seal.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/key_file.h"

enum { KEY = 32, NONCE = 12, TAG = 16, LABELED_MAX = 256 };

struct LedgeSealKey {
    EVP_PKEY *pkey;
    bool is_private;
    uint8_t public[KEY];
    char id[LEDGE_SHA256_HEX];
};

/* ---- keys ---- */

/* Takes pkey over whatever the outcome. */
static LedgeStatus adopt(const char *where, EVP_PKEY *pkey, bool is_private, LedgeError *err,
                         LedgeSealKey **out)
{
    size_t n = KEY;
    if (EVP_PKEY_get_id(pkey) != EVP_PKEY_X25519) {
        EVP_PKEY_free(pkey);
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "is a key of another kind; 'ledge key new --type sampling' makes one "
                           "for samples");
    }
    LedgeSealKey *key = calloc(1, sizeof *key);
    const bool ok = key && EVP_PKEY_get_raw_public_key(pkey, key->public, &n) == 1 && n == KEY &&
                    ledge__sha256_of(key->public, KEY, key->id) == LEDGE_OK;
    ERR_clear_error();
    if (!ok) {
        EVP_PKEY_free(pkey);
        free(key);
        return ledge__no_memory(err);
    }
    key->pkey = pkey;
    key->is_private = is_private;
    *out = key;
    return LEDGE_OK;
}

LedgeStatus ledge__seal_key_new(LedgeError *err, LedgeSealKey **out)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    ERR_clear_error();
    return pkey ? adopt(NULL, pkey, true, err, out)
                : ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL,
                              "the system gave no random numbers for a key");
}

LedgeStatus ledge__seal_key_parse(const char *where, const void *bytes, size_t size,
                                  LedgeError *err, LedgeSealKey **out)
{
    EVP_PKEY *pkey;
    bool is_private;
    LEDGE_TRY(ledge__pem_parse(where, bytes, size, err, &pkey, &is_private));
    return adopt(where, pkey, is_private, err, out);
}

LedgeStatus ledge__seal_key_load(const char *path, LedgeError *err, LedgeSealKey **out)
{
    EVP_PKEY *pkey;
    bool is_private;
    LEDGE_TRY(ledge__pem_load(path, err, &pkey, &is_private));
    return adopt(path, pkey, is_private, err, out);
}

void ledge__seal_key_free(LedgeSealKey *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

LedgeStatus ledge__seal_key_save(const LedgeSealKey *key, const char *name, LedgeError *err)
{
    return ledge__pem_save(key->pkey, name, err);
}

bool ledge__seal_key_is_private(const LedgeSealKey *key)
{
    return key->is_private;
}

const char *ledge__seal_key_id(const LedgeSealKey *key)
{
    return key->id;
}

char *ledge__seal_key_public_pem(const LedgeSealKey *key)
{
    size_t n;
    return ledge__pem_text(key->pkey, false, &n);
}

/* ---- key derivation ---- */

/* suite_id of the KEM and of all of it: kem 0x0020, kdf 0x0001, aead 0x0003. */
static const uint8_t kem_suite[] = {'K', 'E', 'M', 0, 0x20};
static const uint8_t hpke_suite[] = {'H', 'P', 'K', 'E', 0, 0x20, 0, 1, 0, 3};
#define KEM_SUITE  kem_suite, sizeof kem_suite
#define HPKE_SUITE hpke_suite, sizeof hpke_suite

typedef struct Bytes {
    uint8_t p[LABELED_MAX];
    size_t n;
} Bytes;

static void add(Bytes *b, const void *p, size_t n)
{
    if (n)
        memcpy(b->p + b->n, p, n); /* all that is put together here is below LABELED_MAX */
    b->n += n;
}

static bool hmac(const uint8_t *key, size_t key_size, const Bytes *b, uint8_t out[KEY])
{
    static const uint8_t nothing[1];
    unsigned n = KEY;
    return HMAC(EVP_sha256(), key_size ? key : nothing, (int)key_size, b->p, b->n, out, &n) &&
           n == KEY;
}

/* LabeledExtract(salt, label, ikm) */
static bool extract(const uint8_t *suite, size_t suite_size, const uint8_t *salt, size_t salt_size,
                    const char *label, const void *ikm, size_t ikm_size, uint8_t out[KEY])
{
    Bytes b = {.n = 0};
    add(&b, "HPKE-v1", 7);
    add(&b, suite, suite_size);
    add(&b, label, strlen(label));
    add(&b, ikm, ikm_size);
    const bool ok = hmac(salt, salt_size, &b, out);
    OPENSSL_cleanse(&b, sizeof b);
    return ok;
}

/* LabeledExpand(prk, label, info, size): up to one block of SHA-256, which is all there is here. */
static bool expand(const uint8_t *suite, size_t suite_size, const uint8_t prk[KEY],
                   const char *label, const void *info, size_t info_size, size_t size, uint8_t *out)
{
    Bytes b = {.n = 0};
    uint8_t block[KEY];
    add(&b, (const uint8_t[]){0, (uint8_t)size}, 2);
    add(&b, "HPKE-v1", 7);
    add(&b, suite, suite_size);
    add(&b, label, strlen(label));
    add(&b, info, info_size);
    add(&b, (const uint8_t[]){1}, 1);
    const bool ok = hmac(prk, KEY, &b, block);
    memcpy(out, block, size);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

/* ExtractAndExpand(dh, kem_context) */
static bool shared_secret(const uint8_t dh[KEY], const uint8_t enc[KEY], const uint8_t to[KEY],
                          uint8_t out[KEY])
{
    uint8_t prk[KEY], context[2 * KEY];
    memcpy(context, enc, KEY);
    memcpy(context + KEY, to, KEY);
    const bool ok = extract(KEM_SUITE, NULL, 0, "eae_prk", dh, KEY, prk) &&
                    expand(KEM_SUITE, prk, "shared_secret", context, sizeof context, KEY, out);
    OPENSSL_cleanse(prk, sizeof prk);
    return ok;
}

typedef struct Context {
    uint8_t key[KEY], nonce[NONCE]; /* of the first message, and there is no other */
} Context;

/* KeyScheduleS and KeyScheduleR, mode_base */
static bool schedule(const uint8_t shared[KEY], const char *info, Context *out)
{
    uint8_t context[1 + 2 * KEY] = {0}, secret[KEY];
    const bool ok =
        strlen(info) < LABELED_MAX / 2 &&
        extract(HPKE_SUITE, NULL, 0, "psk_id_hash", NULL, 0, context + 1) &&
        extract(HPKE_SUITE, NULL, 0, "info_hash", info, strlen(info), context + 1 + KEY) &&
        extract(HPKE_SUITE, shared, KEY, "secret", NULL, 0, secret) &&
        expand(HPKE_SUITE, secret, "key", context, sizeof context, KEY, out->key) &&
        expand(HPKE_SUITE, secret, "base_nonce", context, sizeof context, NONCE, out->nonce);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

/* DH(own, other); false too where the result is all zero, which libcrypto refuses as RFC 7748 asks.
 */
static bool agree(EVP_PKEY *own, EVP_PKEY *other, uint8_t out[KEY])
{
    size_t n = KEY;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(own, NULL);
    const bool ok = c && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, other) == 1 &&
                    EVP_PKEY_derive(c, out, &n) == 1 && n == KEY;
    EVP_PKEY_CTX_free(c);
    return ok;
}

static bool derive(EVP_PKEY *own, EVP_PKEY *other, const uint8_t enc[KEY], const uint8_t to[KEY],
                   const char *info, Context *out)
{
    uint8_t dh[KEY], shared[KEY];
    const bool ok =
        agree(own, other, dh) && shared_secret(dh, enc, to, shared) && schedule(shared, info, out);
    OPENSSL_cleanse(dh, sizeof dh);
    OPENSSL_cleanse(shared, sizeof shared);
    return ok;
}

/* ---- sealing ---- */

static bool crypt(const Context *x, bool seals, const void *more, size_t more_size,
                  const uint8_t *in, size_t size, uint8_t *out, uint8_t tag[TAG])
{
    int n;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c &&
              EVP_CipherInit_ex(c, EVP_chacha20_poly1305(), NULL, x->key, x->nonce, seals) == 1 &&
              (!more_size || EVP_CipherUpdate(c, NULL, &n, more, (int)more_size) == 1) &&
              (seals || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1) &&
              (!size || EVP_CipherUpdate(c, out, &n, in, (int)size) == 1) &&
              EVP_CipherFinal_ex(c, out + size, &n) == 1;
    if (ok && seals)
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

static bool fits(size_t size, size_t more_size)
{
    return size <= INT_MAX / 2 && more_size <= INT_MAX / 2;
}

LedgeStatus ledge__seal(const LedgeSealKey *to, const char *info, const void *more,
                        size_t more_size, const void *bytes, size_t size, LedgeError *err,
                        uint8_t *out)
{
    Context x;
    size_t n = KEY;
    if (!fits(size, more_size))
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "seal", "more than a gigabyte at once");
    EVP_PKEY *one = EVP_PKEY_Q_keygen(NULL, NULL, "X25519"); /* used for this alone */
    const bool ok = one && EVP_PKEY_get_raw_public_key(one, out, &n) == 1 && n == KEY &&
                    derive(one, to->pkey, out, to->public, info, &x) &&
                    crypt(&x, true, more, more_size, bytes, size, out + KEY, out + KEY + size);
    EVP_PKEY_free(one);
    OPENSSL_cleanse(&x, sizeof x);
    ERR_clear_error();
    return ok ? LEDGE_OK
              : ledge__fail(err, LEDGE_ERROR_RUNTIME, "seal", "libcrypto could not seal");
}

LedgeStatus ledge__unseal(const LedgeSealKey *key, const char *info, const void *more,
                          size_t more_size, const void *sealed, size_t size, LedgeError *err,
                          uint8_t *out)
{
    Context x;
    uint8_t tag[TAG];
    const uint8_t *enc = sealed;
    if (!key->is_private)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "a public key cannot open; give the private one (NAME.key)");
    if (size < LEDGE_SEAL_OVERHEAD || !fits(size, more_size))
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, NULL, "was cut");
    const size_t n = size - LEDGE_SEAL_OVERHEAD;
    memcpy(tag, enc + KEY + n, TAG);
    EVP_PKEY *one = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, enc, KEY);
    const bool ok = one && derive(key->pkey, one, enc, key->public, info, &x) &&
                    crypt(&x, false, more, more_size, enc + KEY, n, out, tag);
    EVP_PKEY_free(one);
    OPENSSL_cleanse(&x, sizeof x);
    ERR_clear_error();
    if (ok)
        return LEDGE_OK;
    memset(out, 0, n);
    return ledge__fail(err, LEDGE_ERROR_MISMATCH, NULL, "was sealed to another key, or changed");
}
