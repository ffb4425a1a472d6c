/* Between the files key*.c: names of public keys, and the private part as text.
 *
 * key.c has keys by libcrypto, private ones too. key_public.c stands in its place in programs that
 * only verify, without libcrypto, and knows public keys alone. */
#ifndef LEDGE_TRUST_KEY_FILE_H
#define LEDGE_TRUST_KEY_FILE_H

#include "trust/key.h"

/* The public key object of key.h, a new reference; NULL: no memory. */
json_t *ledge__public_key_json(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES]);
/* Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__public_key_id(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES],
                                                  LedgeError *err, char id[LEDGE_SHA256_HEX]);
/* PKCS #8 PEM, freed by the caller after wiping its *size bytes; NULL: no memory, or public. */
char *ledge__key_private_pem(const LedgeKey *key, size_t *size);

#endif
