/* From bytes to an upright picture: finds the format, decodes, turns by EXIF. */
#include "image/image.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/codecs.h"
#include "image/file_bytes.h"

#define MAX_FILE ((size_t)256 << 20)

LedgeStatus ledge__image_new(const LedgeAllocator *a, uint32_t width, uint32_t height, int channels,
                             LedgeError *err, LedgeImage *out)
{
    a = ledge__allocator_or_default(a);
    if (width == 0 || height == 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "a picture of %ux%u pixels is empty",
                           width, height);
    if ((uint64_t)width * height > LEDGE_IMAGE_MAX_PIXELS)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, NULL,
                           "a picture of %ux%u pixels is over the limit of %u megapixels; make "
                           "it smaller first",
                           width, height, LEDGE_IMAGE_MAX_PIXELS / 1000000);
    uint8_t *pixels = ledge__alloc(a, (size_t)width * height, (size_t)channels);
    if (!pixels)
        return ledge__no_memory(err);
    *out = (LedgeImage){width, height, channels, pixels, a};
    return LEDGE_OK;
}

void ledge__image_free(LedgeImage *image)
{
    if (!image)
        return;
    ledge__free(image->allocator, image->pixels);
    memset(image, 0, sizeof *image);
}

/* Where pixel (x, y) of the stored picture goes: its offset, and the steps to the right and
 * downward neighbours, in pixels of the upright one. */
static void orientation_steps(const LedgeImage *im, int orientation, ptrdiff_t *origin,
                              ptrdiff_t *right, ptrdiff_t *down)
{
    ptrdiff_t w = im->width, h = im->height;
    bool turned = orientation >= 5; /* rows become columns: the upright width is h */
    bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    /* flip_x: the stored row runs backward; flip_y: stored rows are stacked backward. */
    ptrdiff_t step_x = turned ? h : 1, step_y = turned ? 1 : w;
    *origin = (flip_x ? (w - 1) * step_x : 0) + (flip_y ? (h - 1) * step_y : 0);
    *right = flip_x ? -step_x : step_x;
    *down = flip_y ? -step_y : step_y;
}

LedgeStatus ledge__image_orient(LedgeImage *image, int orientation, LedgeError *err)
{
    if (orientation < 2 || orientation > 8)
        return LEDGE_OK;
    LedgeImage up;
    bool turned = orientation >= 5;
    LEDGE_TRY(ledge__image_new(image->allocator, turned ? image->height : image->width,
                               turned ? image->width : image->height, image->channels, err, &up));
    ptrdiff_t origin, right, down;
    orientation_steps(image, orientation, &origin, &right, &down);
    size_t bytes = (size_t)image->channels;
    const uint8_t *from = image->pixels;
    for (uint32_t y = 0; y < image->height; y++) {
        ptrdiff_t to = origin + (ptrdiff_t)y * down;
        for (uint32_t x = 0; x < image->width; x++, to += right, from += bytes)
            memcpy(up.pixels + (size_t)to * bytes, from, bytes);
    }
    ledge__image_free(image);
    *image = up;
    return LEDGE_OK;
}

static bool starts_with(const uint8_t *bytes, size_t size, const char *magic, size_t n)
{
    return size >= n && memcmp(bytes, magic, n) == 0;
}

static const char *other_kind(const uint8_t *b, size_t n)
{
    if (n == 0)
        return "an empty file";
    if (starts_with(b, n, "GIF8", 4))
        return "a GIF";
    if (starts_with(b, n, "BM", 2))
        return "a BMP";
    if (n >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0)
        return "a WebP";
    if (starts_with(b, n, "II*\0", 4) || starts_with(b, n, "MM\0*", 4))
        return "a TIFF";
    if (n >= 12 && memcmp(b + 4, "ftyp", 4) == 0)
        return "an MP4, HEIC or AVIF";
    return "no picture that ledge knows";
}

LedgeStatus ledge__image_decode(const LedgeAllocator *a, const char *name, const void *bytes,
                                size_t size, LedgeError *err, LedgeImage *out)
{
    LedgeDecoded found;
    if (starts_with(bytes, size, "\xff\xd8\xff", 3))
        LEDGE_TRY(ledge__jpeg_decode(a, name, bytes, size, err, &found));
    else if (starts_with(bytes, size, "\x89PNG\r\n\x1a\n", 8))
        LEDGE_TRY(ledge__png_decode(a, name, bytes, size, err, &found));
    else
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, name,
                           "this is %s; give a JPEG or PNG file", other_kind(bytes, size));
    LedgeStatus status = ledge__image_orient(&found.image, found.orientation, err);
    if (status != LEDGE_OK) {
        ledge__image_free(&found.image);
        return status;
    }
    *out = found.image;
    return LEDGE_OK;
}

LedgeStatus ledge__image_load(const LedgeAllocator *a, const char *path, LedgeError *err,
                              LedgeImage *out)
{
    uint8_t *bytes;
    size_t size;
    LEDGE_TRY(ledge__file_bytes(a, path, MAX_FILE, err, &bytes, &size));
    LedgeStatus status = ledge__image_decode(a, path, bytes, size, err, out);
    ledge__free(ledge__allocator_or_default(a), bytes);
    return status;
}
