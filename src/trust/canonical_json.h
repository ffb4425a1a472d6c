/* The one way of writing JSON down that signatures are made over.
 *
 * As The Update Framework's reference code does it (securesystemslib's "canonical JSON", after
 * the OLPC wiki): UTF-8, no white space, keys sorted by their bytes, in strings only the
 * quotation mark and the backslash escaped, integers of 64 bits. Fractions have more than one
 * spelling and are refused: what is signed counts in nanoseconds, bytes and pictures. */
#ifndef LEDGE_TRUST_CANONICAL_JSON_H
#define LEDGE_TRUST_CANONICAL_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "ledge/status.h"

/* Arrays and objects inside each other. */
#define LEDGE_CANONICAL_DEPTH 32

/* The canonical text of a value, NUL-terminated, freed by the caller with free(). Statuses:
 * FORMAT (a fraction), LIMIT (depth), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__canonical_json(const json_t *value, LedgeError *err, char **out,
                                                   size_t *size);

/* Parses an untrusted JSON object whole: no doubled keys, nothing behind it, no deeper than
 * above. `where` is for messages. Statuses: FORMAT, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__json_parse(const char *where, const void *bytes, size_t size,
                                               LedgeError *err, json_t **out);

#endif
