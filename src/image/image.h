/* Decoded pictures: 8-bit grey or RGB pixels from JPEG and PNG bytes.
 *
 * All of a picture's variety ends here: CMYK and YCCK become RGB, palettes are expanded,
 * 16-bit samples are rounded to 8, fewer bits are widened, transparency is laid over white,
 * and the EXIF orientation is applied, so that what follows sees upright rows of bytes.
 * Colour profiles and gamma are not applied, as in the tools that models are trained with. */
#ifndef LEDGE_IMAGE_IMAGE_H
#define LEDGE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/allocator.h"
#include "ledge/status.h"

/* Most pixels that a picture may have, checked from its header before any is allocated:
 * 100 megapixels take 300 MB. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define LEDGE_IMAGE_MAX_PIXELS (1u * 1000 * 1000) /* a fuzzer learns nothing from more */
#else
#define LEDGE_IMAGE_MAX_PIXELS (100u * 1000 * 1000)
#endif

typedef struct LedgeImage {
    uint32_t width, height;
    int channels;    /* 1: grey, 3: red, green, blue */
    uint8_t *pixels; /* height * width * channels, rows from the top, no padding */
    const LedgeAllocator *allocator;
} LedgeImage;

/* Allocates pixels (not set) for an image of this size. Statuses: LIMIT (over
 * LEDGE_IMAGE_MAX_PIXELS), ARGUMENT (a side of 0), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__image_new(const LedgeAllocator *a, uint32_t width,
                                              uint32_t height, int channels, LedgeError *err,
                                              LedgeImage *out);
/* Frees the pixels and clears the struct; NULL and a cleared struct are legal. */
void ledge__image_free(LedgeImage *image);

/* Decodes a JPEG or PNG, told apart by content. `name` is for messages (a path). A file that
 * is cut off or damaged inside is an error, not a half-grey picture. Statuses: FORMAT,
 * UNSUPPORTED (another kind of file), LIMIT, MEMORY. The image is the caller's to free. */
LEDGE_MUST_CHECK LedgeStatus ledge__image_decode(const LedgeAllocator *a, const char *name,
                                                 const void *bytes, size_t size, LedgeError *err,
                                                 LedgeImage *out);
/* The same from a file; also IO, and LIMIT for a file over 256 MiB. */
LEDGE_MUST_CHECK LedgeStatus ledge__image_load(const LedgeAllocator *a, const char *path,
                                               LedgeError *err, LedgeImage *out);

/* Writes a PNG, whole or not at all. Statuses: IO, RUNTIME, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__png_save(const char *path, const LedgeImage *image,
                                             LedgeError *err);

#endif
