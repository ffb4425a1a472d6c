/* Verifying Ed25519 signatures (RFC 8032, section 5.1.7) without libcrypto: what a device needs to
 * trust a guest. Signing and private keys are libcrypto's alone. */
#ifndef LEDGE_TRUST_ED25519_VERIFY_H
#define LEDGE_TRUST_ED25519_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As libcrypto judges: the equation without cofactor, S below the order, R as it is written. */
bool ledge__ed25519_verify(const uint8_t public_key[32], const void *bytes, size_t size,
                           const uint8_t signature[64]);

#endif
