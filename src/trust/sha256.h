/* SHA-256 of bytes and files (FIPS 180-4), by libcrypto (sha256.c), or without it (sha256_small.c)
 * in programs that have no other need of it. */
#ifndef LEDGE_TRUST_SHA256_H
#define LEDGE_TRUST_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

#define LEDGE_SHA256_BYTES 32
#define LEDGE_SHA256_HEX   65 /* with its NUL */

typedef struct LedgeSha256 LedgeSha256;

LedgeSha256 *ledge__sha256_new(void);      /* NULL: no memory */
void ledge__sha256_free(LedgeSha256 *sha); /* NULL is legal */
LEDGE_MUST_CHECK LedgeStatus ledge__sha256_add(LedgeSha256 *sha, const void *bytes, size_t size);
/* Lower-case hexadecimal of all that was added; then it starts anew. Both: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sha256_hex(LedgeSha256 *sha, char out[LEDGE_SHA256_HEX]);

/* In one go. Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sha256_of(const void *bytes, size_t size,
                                              char out[LEDGE_SHA256_HEX]);
/* Of a file's content, read in pieces. Statuses: NOT_FOUND, IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sha256_file(const char *path, LedgeError *err,
                                                char out[LEDGE_SHA256_HEX], uint64_t *size);

/* Of sha256_small.c, for tests: without the CPU's own instructions. */
extern bool ledge__sha256_plain;

/* Lower-case hexadecimal, 2 * size characters and a NUL. */
void ledge__hex(const uint8_t *bytes, size_t size, char *out);
/* Exactly `size` bytes from 2 * size digits of either case and the text's end; false else. */
int ledge__from_hex(const char *text, uint8_t *out, size_t size);

#endif
