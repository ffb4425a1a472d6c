/* SHA-256, see sha256.h. By libcrypto's plain functions: the ones behind EVP load its providers
 * first, which takes 1.7 MB that a server on a small device need not hold. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "trust/sha256.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "base/error.h"

struct LedgeSha256 {
    SHA256_CTX context;
};

LedgeSha256 *ledge__sha256_new(void)
{
    LedgeSha256 *sha = calloc(1, sizeof *sha);
    if (sha)
        SHA256_Init(&sha->context);
    return sha;
}

void ledge__sha256_free(LedgeSha256 *sha)
{
    free(sha);
}

LedgeStatus ledge__sha256_add(LedgeSha256 *sha, const void *bytes, size_t size)
{
    return SHA256_Update(&sha->context, bytes, size) == 1 ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

LedgeStatus ledge__sha256_hex(LedgeSha256 *sha, char out[LEDGE_SHA256_HEX])
{
    uint8_t digest[LEDGE_SHA256_BYTES];
    if (SHA256_Final(digest, &sha->context) != 1 || SHA256_Init(&sha->context) != 1)
        return LEDGE_ERROR_MEMORY;
    ledge__hex(digest, sizeof digest, out);
    return LEDGE_OK;
}

LedgeStatus ledge__sha256_of(const void *bytes, size_t size, char out[LEDGE_SHA256_HEX])
{
    LedgeSha256 sha;
    SHA256_Init(&sha.context); /* SHA256() itself is one of those behind EVP */
    LEDGE_TRY(ledge__sha256_add(&sha, bytes, size));
    return ledge__sha256_hex(&sha, out);
}
