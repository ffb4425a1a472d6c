/* Keys of any kind as PEM, in memory and on the disk; what a key is for is its caller's to check.
 */
#ifndef LEDGE_TRUST_KEY_FILE_H
#define LEDGE_TRUST_KEY_FILE_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "ledge/status.h"

/* A private (PKCS #8) or public (SubjectPublicKeyInfo) key; the caller frees *out. Statuses:
 * FORMAT, UNSUPPORTED (encrypted), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__pem_parse(const char *where, const void *bytes, size_t size,
                                              LedgeError *err, EVP_PKEY **out, bool *is_private);
/* The same from a file; also IO, NOT_FOUND, LIMIT. */
LEDGE_MUST_CHECK LedgeStatus ledge__pem_load(const char *path, LedgeError *err, EVP_PKEY **out,
                                             bool *is_private);
/* NUL-terminated, freed by the caller, who wipes a private part's *size bytes; NULL: no memory. */
char *ledge__pem_text(EVP_PKEY *pkey, bool private_part, size_t *size);
/* NAME.key and NAME.pub, as ledge__key_save says. Statuses: IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__pem_save(EVP_PKEY *pkey, const char *name, LedgeError *err);

#endif
