/* Whole files in memory, with a bound. */
#ifndef LEDGE_IMAGE_FILE_BYTES_H
#define LEDGE_IMAGE_FILE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "ledge/allocator.h"
#include "ledge/status.h"

/* Reads `path` whole; *out gets one more byte, a NUL, that *size does not count. The caller
 * frees it by ledge__free. Statuses: IO, NOT_FOUND, LIMIT (over `max` bytes), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__file_bytes(const LedgeAllocator *a, const char *path,
                                               size_t max, LedgeError *err, uint8_t **out,
                                               size_t *size);

#endif
