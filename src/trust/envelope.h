/* Signed JSON in the shape that The Update Framework uses:
 *
 *   {"signed": {...}, "signatures": [{"keyid": HEX, "sig": HEX}, ...]}
 *
 * Signatures are made over the canonical JSON of "signed". A file with no signatures is an
 * unsigned one and is well-formed. */
#ifndef LEDGE_TRUST_ENVELOPE_H
#define LEDGE_TRUST_ENVELOPE_H

#include "trust/key.h"

#define LEDGE_ENVELOPE_SIGNATURES 64

/* Puts `content` (an object, borrowed) into an envelope signed by the n keys (0: unsigned). The
 * new reference is the caller's. Statuses: those of canonical JSON and of signing. */
LEDGE_MUST_CHECK LedgeStatus ledge__envelope_make(json_t *content, const LedgeKey *const *keys,
                                                  size_t n, LedgeError *err, json_t **out);
/* Parses and checks the shape. Statuses: FORMAT, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__envelope_parse(const char *where, const void *bytes,
                                                   size_t size, LedgeError *err, json_t **out);
/* The same from a file of up to `max` bytes; also IO, NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__envelope_load(const char *path, size_t max, LedgeError *err,
                                                  json_t **out);

/* Borrowed from a well-formed envelope. */
json_t *ledge__envelope_content(const json_t *envelope);
size_t ledge__envelope_signatures(const json_t *envelope);
const char *ledge__envelope_key_id(const json_t *envelope, size_t index);

/* OK when at least `threshold` different keys of the n trusted ones signed the content. Status
 * MISMATCH: nobody signed, only others did, or a trusted key's signature does not fit the
 * content, which was changed after signing; LIMIT, FORMAT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__envelope_verify(const char *where, const json_t *envelope,
                                                    const LedgeKey *const *keys, size_t n,
                                                    size_t threshold, LedgeError *err);

#endif
