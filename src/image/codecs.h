/* What the decoders of this folder share: one function per format, orientation, files. */
#ifndef LEDGE_IMAGE_CODECS_H
#define LEDGE_IMAGE_CODECS_H

#include "image/image.h"

/* What a decoder finds: the picture as stored, and how EXIF says to turn it (1: not at all). */
typedef struct LedgeDecoded {
    LedgeImage image;
    int orientation;
} LedgeDecoded;

/* `out` is untouched on failure. */
LedgeStatus ledge__jpeg_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                               size_t size, LedgeError *err, LedgeDecoded *out);
LedgeStatus ledge__png_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                              size_t size, LedgeError *err, LedgeDecoded *out);

/* The orientation (1 … 8) in a TIFF block, as JPEG's APP1 (after "Exif\0\0") and PNG's eXIf
 * carry it; 1 where it is absent or makes no sense. */
int ledge__exif_orientation(const uint8_t *tiff, size_t size);

/* Turns the picture upright in place (a side change needs a second buffer for a moment). */
LedgeStatus ledge__image_orient(LedgeImage *image, int orientation, LedgeError *err);

#endif
