/* Between the files key*.c: the text of a key's file, and names of public keys.
 *
 * key.c has keys by libcrypto, private ones too. key_public.c stands in its place in programs that
 * only verify, without libcrypto, and knows public keys alone. */
#ifndef LEDGE_TRUST_KEY_NAME_H
#define LEDGE_TRUST_KEY_NAME_H

#include "trust/key.h"

/* A key's file, not terminated; ledge__key_text_free wipes and frees it. Statuses: IO, NOT_FOUND,
 * LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__key_text(const char *path, LedgeError *err, char **text,
                                             size_t *size);
void ledge__key_text_free(char *text, size_t size); /* NULL is legal */

/* The public key object of key.h, a new reference; NULL: no memory. */
json_t *ledge__public_key_json(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES]);
/* Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__public_key_id(const uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES],
                                                  LedgeError *err, char id[LEDGE_SHA256_HEX]);

#endif
