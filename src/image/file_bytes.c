/* Whole files in memory, with a bound. Grows as it reads rather than trust the size that the
 * file system tells, so that pipes and /proc files work too. */
#include "image/file_bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static LedgeStatus read_all(FILE *f, const LedgeAllocator *a, const char *path, size_t max,
                            LedgeError *err, uint8_t **out, size_t *size)
{
    uint8_t *bytes = NULL;
    size_t used = 0, cap = 0;
    for (;;) {
        if (cap - used < 2) {
            size_t wider = cap ? 2 * cap : 65536;
            uint8_t *moved = ledge__alloc(a, wider, 1);
            if (!moved) {
                ledge__free(a, bytes);
                return ledge__no_memory(err);
            }
            if (used)
                memcpy(moved, bytes, used);
            ledge__free(a, bytes);
            bytes = moved;
            cap = wider;
        }
        size_t got = fread(bytes + used, 1, cap - used - 1, f);
        used += got;
        if (got == 0 || used > max)
            break;
    }
    if (ferror(f) || used > max) {
        ledge__free(a, bytes);
        return ferror(f)
                   ? ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno))
                   : ledge__fail(err, LEDGE_ERROR_LIMIT, path,
                                 "is larger than the %zu bytes allowed here", max);
    }
    bytes[used] = 0;
    *out = bytes;
    *size = used;
    return LEDGE_OK;
}

LedgeStatus ledge__file_bytes(const LedgeAllocator *a, const char *path, size_t max,
                              LedgeError *err, uint8_t **out, size_t *size)
{
    a = ledge__allocator_or_default(a);
    FILE *f = fopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    LedgeStatus status = read_all(f, a, path, max, err, out, size);
    fclose(f);
    return status;
}
