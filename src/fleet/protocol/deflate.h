/* zlib's format (RFC 1950) for batches: what HTTP calls Content-Encoding: deflate. */
#ifndef LEDGE_FLEET_DEFLATE_H
#define LEDGE_FLEET_DEFLATE_H

#include <stddef.h>

#include "ledge/status.h"

/* *out is freed by the caller with free(). Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__deflate(const void *bytes, size_t size, LedgeError *err,
                                            char **out, size_t *out_size);
/* Whole and with nothing behind it. No more than `max` bytes are made, whatever the input says;
 * one more, a NUL, follows them. Statuses: FORMAT (damaged or cut), LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__inflate(const void *bytes, size_t size, size_t max,
                                            LedgeError *err, char **out, size_t *out_size);

#endif
