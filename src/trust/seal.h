/* Bytes that only one key's holder can read: Hybrid Public Key Encryption (RFC 9180), base mode,
 * with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305, by libcrypto.
 *
 * Who seals needs the public key alone and keeps nothing that opens: a device that is stolen gives
 * away none of what it sealed. What is sealed cannot be changed without being noticed; it does not
 * say who sealed it. */
#ifndef LEDGE_TRUST_SEAL_H
#define LEDGE_TRUST_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"
#include "trust/sha256.h"

#define LEDGE_SEAL_OVERHEAD ((size_t)48) /* the encapsulated key before, the tag behind */

typedef struct LedgeSealKey LedgeSealKey;

/* A new X25519 pair. Statuses: RUNTIME, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__seal_key_new(LedgeError *err, LedgeSealKey **out);
/* A private or public key in PEM. Statuses: as ledge__key_load. */
LEDGE_MUST_CHECK LedgeStatus ledge__seal_key_load(const char *path, LedgeError *err,
                                                  LedgeSealKey **out);
LEDGE_MUST_CHECK LedgeStatus ledge__seal_key_parse(const char *where, const void *bytes,
                                                   size_t size, LedgeError *err,
                                                   LedgeSealKey **out);
void ledge__seal_key_free(LedgeSealKey *key); /* NULL is legal */
/* NAME.key and NAME.pub, as ledge__key_save. */
LEDGE_MUST_CHECK LedgeStatus ledge__seal_key_save(const LedgeSealKey *key, const char *name,
                                                  LedgeError *err);
bool ledge__seal_key_is_private(const LedgeSealKey *key);
/* SHA-256 of the 32 public bytes in hexadecimal. */
const char *ledge__seal_key_id(const LedgeSealKey *key);
char *ledge__seal_key_public_pem(const LedgeSealKey *key); /* freed by free(); NULL: no memory */

/* size + LEDGE_SEAL_OVERHEAD bytes to `out`. `info` says what for, `more` (which may be empty) is
 * not hidden but bound to it: opening takes the same of both. Statuses: RUNTIME, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__seal(const LedgeSealKey *to, const char *info, const void *more,
                                         size_t more_size, const void *bytes, size_t size,
                                         LedgeError *err, uint8_t *out);
/* size - LEDGE_SEAL_OVERHEAD bytes to `out`. Statuses: ARGUMENT (a public key), MISMATCH (sealed
 * to another key, cut or changed), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__unseal(const LedgeSealKey *key, const char *info,
                                           const void *more, size_t more_size, const void *sealed,
                                           size_t size, LedgeError *err, uint8_t *out);

#endif
