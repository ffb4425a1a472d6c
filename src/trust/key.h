/* Ed25519 keys (RFC 8032), by libcrypto: made, kept as PEM files, used to sign and verify.
 *
 * A key is named by its key id as The Update Framework defines it: SHA-256 of the canonical
 * JSON of the public key object {"keytype":"ed25519","keyval":{"public":HEX},
 * "scheme":"ed25519"}. */
#ifndef LEDGE_TRUST_KEY_H
#define LEDGE_TRUST_KEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"
#include "trust/sha256.h"

#define LEDGE_SIGNATURE_BYTES  64
#define LEDGE_PUBLIC_KEY_BYTES 32

typedef struct LedgeKey LedgeKey;

/* A new key pair from the system's random numbers. Statuses: RUNTIME, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__key_new(LedgeError *err, LedgeKey **out);
/* A private (PKCS #8) or public (SubjectPublicKeyInfo) key as PEM. Statuses: IO, NOT_FOUND,
 * LIMIT, FORMAT, UNSUPPORTED (another kind of key, or an encrypted one), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__key_load(const char *path, LedgeError *err, LedgeKey **out);
LEDGE_MUST_CHECK LedgeStatus ledge__key_parse(const char *where, const void *bytes, size_t size,
                                              LedgeError *err, LedgeKey **out);
LEDGE_MUST_CHECK LedgeStatus ledge__key_from_public(const uint8_t bytes[LEDGE_PUBLIC_KEY_BYTES],
                                                    LedgeError *err, LedgeKey **out);
void ledge__key_free(LedgeKey *key); /* NULL is legal; private bytes are wiped */

/* Writes NAME.key (private, mode 0600) and NAME.pub (public, 0644), both new: an existing file
 * is never replaced, and on failure neither is left behind. Statuses: IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__key_save(const LedgeKey *key, const char *name,
                                             LedgeError *err);

bool ledge__key_is_private(const LedgeKey *key);
const char *ledge__key_id(const LedgeKey *key); /* 64 hexadecimal digits */
void ledge__key_public(const LedgeKey *key, uint8_t out[LEDGE_PUBLIC_KEY_BYTES]);
/* The public key object above, a new reference; NULL: no memory. */
json_t *ledge__key_json(const LedgeKey *key);
/* The public key as PEM, freed by free(); NULL: no memory. */
char *ledge__key_public_pem(const LedgeKey *key);

/* Statuses: ARGUMENT (not a private key), RUNTIME. */
LEDGE_MUST_CHECK LedgeStatus ledge__key_sign(const LedgeKey *key, const void *bytes, size_t size,
                                             LedgeError *err, uint8_t out[LEDGE_SIGNATURE_BYTES]);
bool ledge__key_verify(const LedgeKey *key, const void *bytes, size_t size,
                       const uint8_t signature[LEDGE_SIGNATURE_BYTES]);

#endif
