/* Pictures out, as PNG by libpng's short way in. */
#include <png.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/out_file.h"
#include "image/image.h"

LedgeStatus ledge__png_save(const char *path, const LedgeImage *image, LedgeError *err)
{
    png_image p = {.version = PNG_IMAGE_VERSION,
                   .width = image->width,
                   .height = image->height,
                   .format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t n = 0;
    if (!png_image_write_get_memory_size(p, n, 0, image->pixels, 0, NULL))
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, path, "cannot be made a PNG: %s", p.message);
    void *bytes = malloc(n);
    if (!bytes)
        return ledge__no_memory(err);
    LedgeStatus status =
        png_image_write_to_memory(&p, bytes, &n, 0, image->pixels, 0, NULL)
            ? ledge__out_file_whole(NULL, path, bytes, n, err)
            : ledge__fail(err, LEDGE_ERROR_RUNTIME, path, "cannot be made a PNG: %s", p.message);
    free(bytes);
    return status;
}
