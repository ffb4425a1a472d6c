/* A picture for a model that takes pixels: resized and cropped, but left in bytes. */
#include "image/preprocess.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void ledge__preprocess_pixels(const LedgePreprocess *pre, LedgePixels *out)
{
    out->channels_last = pre->layout == LEDGE_LAYOUT_NHWC;
    out->reversed = pre->color == LEDGE_COLOR_BGR;
    out->scale = pre->scale;
    memcpy(out->mean, pre->mean, sizeof pre->mean);
    memcpy(out->std, pre->std, sizeof pre->std);
}

/* One row of `width` pixels, to `channels` bytes each. */
static void copy_row(const uint8_t *from, int from_channels, uint8_t *to, int channels,
                     uint32_t width)
{
    if (from_channels == channels) {
        memcpy(to, from, (size_t)width * (size_t)channels);
        return;
    }
    for (uint32_t x = 0; x < width; x++, from += from_channels)
        for (int c = 0; c < channels; c++)
            *to++ = channels == 1 ? ledge__luma(from) : from[0];
}

static void crop(const LedgeImage *im, const LedgeTensor *out, int channels)
{
    const uint32_t height = (uint32_t)out->dims[1], width = (uint32_t)out->dims[2];
    const size_t left = (im->width - width) / 2, top = (im->height - height) / 2;
    for (uint32_t y = 0; y < height; y++)
        copy_row(im->pixels + ((top + y) * im->width + left) * (size_t)im->channels, im->channels,
                 (uint8_t *)out->data + (size_t)y * width * (size_t)channels, channels, width);
}

LedgeStatus ledge__preprocess_bytes(const LedgePreprocess *pre, const LedgeAllocator *a,
                                    const LedgeImage *image, LedgeError *err, LedgeTensor *out)
{
    LedgePreprocess last = *pre;
    LedgeTensor t = {.type = LEDGE_UINT8, .rank = 4};
    LedgeImage sized = {0};
    uint32_t width = image->width, height = image->height;
    a = ledge__allocator_or_default(a);
    last.layout = LEDGE_LAYOUT_NHWC;
    LEDGE_TRY(ledge__preprocess_dims(&last, width, height, err, t.dims));
    ledge__preprocess_size(pre, &width, &height);
    const bool same = width == image->width && height == image->height;
    if (!same)
        LEDGE_TRY(ledge__image_resize(image, width, height, pre->filter, err, &sized));
    t.bytes = ledge_tensor_bytes(&t);
    t.data = ledge__alloc(a, t.bytes, 1);
    if (t.data)
        crop(same ? image : &sized, &t, ledge__color_channels(pre->color));
    ledge__image_free(&sized);
    if (!t.data)
        return ledge__no_memory(err);
    *out = t;
    return LEDGE_OK;
}
