/* Changing a picture's size, to the byte as Pillow's Image.resize does it. */
#ifndef LEDGE_IMAGE_IMAGE_RESIZE_H
#define LEDGE_IMAGE_IMAGE_RESIZE_H

#include "image/image.h"

/* X(NAME, name) */
#define LEDGE_FILTER_LIST(X)                                                                       \
    X(NEAREST, "nearest")                                                                          \
    X(BILINEAR, "bilinear")                                                                        \
    X(BICUBIC, "bicubic")

typedef enum LedgeFilter {
#define LEDGE_FILTER_ENUM(NAME, name) LEDGE_FILTER_##NAME,
    LEDGE_FILTER_LIST(LEDGE_FILTER_ENUM)
#undef LEDGE_FILTER_ENUM
} LedgeFilter;

/* A new picture of width x height. Bilinear and bicubic average over the pixels that an
 * output pixel covers when they shrink (antialias). Statuses: LIMIT, ARGUMENT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__image_resize(const LedgeImage *image, uint32_t width,
                                                 uint32_t height, LedgeFilter filter,
                                                 LedgeError *err, LedgeImage *out);

#endif
