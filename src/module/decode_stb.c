/* JPEG and PNG inside WebAssembly, by stb_image, which is one header and so compiles for any
 * target; Debian has libjpeg and libpng for none but its own.
 *
 * The kind, the orientation and the size are read here first, so that nothing is decoded that is
 * over the limits, and a file that stops short is refused as elsewhere. A JPEG's pixels differ from
 * libjpeg's by a few steps (another inverse DCT), a PNG's are the same. Of stb_image's formats
 * these two alone are compiled in. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/codecs.h"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"
#pragma clang diagnostic ignored "-Wunused-parameter"
#pragma clang diagnostic ignored "-Wsign-compare"
#pragma clang diagnostic ignored "-Wunused-but-set-variable"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_SIMD
#define STBI_NO_THREAD_LOCALS
#define STBI_FAILURE_USERMSG
#define STBI_MAX_DIMENSIONS 1000000
#include <stb_image.h>
#pragma clang diagnostic pop

typedef struct Source {
    const LedgeAllocator *allocator;
    const char *name, *kind;
    const uint8_t *bytes;
    size_t size;
    LedgeError *err;
} Source;

static void over_white(const uint8_t *from, uint8_t *to, size_t pixels, int colours)
{
    for (size_t i = 0; i < pixels; i++, from += colours + 1, to += colours) {
        const unsigned alpha = from[colours];
        for (int c = 0; c < colours; c++)
            to[c] = (uint8_t)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

static LedgeStatus decode(const Source *s, LedgeImage *out)
{
    int width, height, stored;
    if (s->size > INT_MAX || !stbi_info_from_memory(s->bytes, (int)s->size, &width, &height, &stored))
        return ledge__fail(s->err, LEDGE_ERROR_FORMAT, s->name,
                           "the %s is damaged (%s); save it again", s->kind, stbi_failure_reason());
    const int colours = stored <= 2 ? 1 : 3;
    LedgeImage image;
    LEDGE_TRY(ledge__image_new(s->allocator, (uint32_t)width, (uint32_t)height, colours, s->err,
                               &image));
    int w, h, n;
    uint8_t *pixels = stbi_load_from_memory(s->bytes, (int)s->size, &w, &h, &n, stored);
    if (!pixels || w != width || h != height) {
        stbi_image_free(pixels);
        ledge__image_free(&image);
        return ledge__fail(s->err, LEDGE_ERROR_FORMAT, s->name,
                           "the %s is damaged (%s); save it again", s->kind, stbi_failure_reason());
    }
    const size_t count = (size_t)width * (size_t)height;
    if (stored != colours)
        over_white(pixels, image.pixels, count, colours);
    else
        memcpy(image.pixels, pixels, count * (size_t)colours);
    stbi_image_free(pixels);
    *out = image;
    return LEDGE_OK;
}

static size_t big_endian(const uint8_t *p, int n)
{
    size_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* From one segment to the next, up to the picture's own data. */
static int jpeg_orientation(const uint8_t *b, size_t size)
{
    for (size_t at = 2; at + 4 <= size && b[at] == 0xff && b[at + 1] != 0xda;) {
        const size_t n = big_endian(b + at + 2, 2);
        if (n < 2 || n > size - at - 2)
            return 1;
        if (b[at + 1] == 0xe1 && n > 8 && memcmp(b + at + 4, "Exif\0\0", 6) == 0)
            return ledge__exif_orientation(b + at + 10, n - 8);
        at += 2 + n;
    }
    return 1;
}

/* The end marker, which stb_image does not miss when it is not there. */
static bool jpeg_ends(const uint8_t *b, size_t size)
{
    for (size_t i = size; i >= 2; i--)
        if (b[i - 2] == 0xff && b[i - 1] == 0xd9)
            return true;
    return false;
}

LedgeStatus ledge__jpeg_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                               size_t size, LedgeError *err, LedgeDecoded *out)
{
    const Source s = {a, name, "JPEG", bytes, size, err};
    LedgeImage image;
    if (!jpeg_ends(bytes, size))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                           "the JPEG is cut off: its data ends before its last row; copy the file "
                           "again");
    LEDGE_TRY(decode(&s, &image));
    *out = (LedgeDecoded){image, jpeg_orientation(bytes, size)};
    return LEDGE_OK;
}

/* Walks the chunks; `*whole` tells whether the last one is there. */
static int png_orientation(const uint8_t *b, size_t size, bool *whole)
{
    int found = 1;
    *whole = false;
    for (size_t at = 8; size - at >= 12;) {
        const size_t n = big_endian(b + at, 4);
        if (n > size - at - 12)
            break;
        if (memcmp(b + at + 4, "eXIf", 4) == 0)
            found = ledge__exif_orientation(b + at + 8, n);
        if (memcmp(b + at + 4, "IEND", 4) == 0) {
            *whole = true;
            break;
        }
        at += 12 + n;
    }
    return found;
}

LedgeStatus ledge__png_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                              size_t size, LedgeError *err, LedgeDecoded *out)
{
    const Source s = {a, name, "PNG", bytes, size, err};
    LedgeImage image;
    bool whole;
    const int orientation = png_orientation(bytes, size, &whole);
    if (!whole)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                           "the PNG is cut off: its data ends before its last chunk; copy the file "
                           "again");
    LEDGE_TRY(decode(&s, &image));
    *out = (LedgeDecoded){image, orientation};
    return LEDGE_OK;
}
