/* Batches compressed and back, see deflate.h. */
#include "fleet/protocol/deflate.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/error.h"

LedgeStatus ledge__deflate(const void *bytes, size_t size, LedgeError *err, char **out,
                           size_t *out_size)
{
    uLongf used = compressBound(size);
    char *made = malloc(used);
    if (!made || compress2((Bytef *)made, &used, bytes, size, 6) != Z_OK) {
        free(made);
        return ledge__no_memory(err);
    }
    *out = made;
    *out_size = used;
    return LEDGE_OK;
}

static LedgeStatus inflate_into(z_stream *z, size_t max, LedgeError *err, char **out)
{
    size_t room = 16384, used = 0;
    char *p = NULL;
    int code = Z_OK;
    while (code == Z_OK) {
        if (room > max + 1)
            room = max + 1; /* one byte more shows that there would be more */
        char *wider = realloc(p, room + 1);
        if (!wider) {
            free(p);
            return ledge__no_memory(err);
        }
        p = wider;
        z->next_out = (Bytef *)p + used;
        z->avail_out = (uInt)(room - used);
        code = inflate(z, Z_NO_FLUSH);
        used = room - z->avail_out;
        if (used > max)
            break;
        if (code == Z_BUF_ERROR && z->avail_out == 0)
            code = Z_OK;
        room = used == room ? room * 2 : room;
        if (code == Z_OK && z->avail_in == 0 && z->avail_out != 0)
            code = Z_DATA_ERROR; /* cut */
    }
    if (used > max || code != Z_STREAM_END || z->avail_in) {
        free(p);
        return used > max ? ledge__fail(err, LEDGE_ERROR_LIMIT, "deflate",
                                        "inflates to more than the %zu bytes allowed", max)
                          : ledge__fail(err, LEDGE_ERROR_FORMAT, "deflate",
                                        "is damaged, cut, or has bytes behind its end");
    }
    p[used] = '\0';
    *out = p;
    return LEDGE_OK;
}

LedgeStatus ledge__inflate(const void *bytes, size_t size, size_t max, LedgeError *err, char **out,
                           size_t *out_size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)size};
    if (size > UINT_MAX / 4 || max > UINT_MAX / 4)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "deflate", "is too large");
    if (inflateInit(&z) != Z_OK)
        return ledge__no_memory(err);
    LedgeStatus status = inflate_into(&z, max, err, out);
    if (!status)
        *out_size = z.total_out;
    inflateEnd(&z);
    return status;
}
