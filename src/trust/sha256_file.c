/* SHA-256 of files, and digits: what sha256.c and sha256_small.c have in common. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "trust/sha256.h"

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
