/* SHA-256, see sha256.h. By libcrypto's plain functions: the ones behind EVP load its providers
 * first, which takes 1.7 MB that a server on a small device need not hold. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "trust/sha256.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static LedgeStatus add_file(LedgeSha256 *sha, FILE *f, const char *path, LedgeError *err,
                            uint64_t *size)
{
    uint8_t piece[16384];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
        *size += n;
        if (ledge__sha256_add(sha, piece, n))
            return ledge__no_memory(err);
    }
    return ferror(f) ? ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno))
                     : LEDGE_OK;
}

LedgeStatus ledge__sha256_file(const char *path, LedgeError *err, char out[LEDGE_SHA256_HEX],
                               uint64_t *size)
{
    uint64_t total = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    LedgeSha256 *sha = ledge__sha256_new();
    LedgeStatus status = sha ? add_file(sha, f, path, err, &total) : ledge__no_memory(err);
    if (!status && ledge__sha256_hex(sha, out))
        status = ledge__no_memory(err);
    if (!status && size)
        *size = total;
    ledge__sha256_free(sha);
    fclose(f);
    return status;
}

void ledge__hex(const uint8_t *bytes, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int ledge__from_hex(const char *text, uint8_t *out, size_t size)
{
    if (strlen(text) != 2 * size)
        return 0;
    for (size_t i = 0; i < size; i++) {
        const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return 0;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}
