/* Pictures for models that take pixels: resized and cropped, but left in bytes. */
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

bool ledge__preprocess_ask(const LedgeModel *model, size_t input, const char *override,
                           LedgePreprocess *pre, const char **from, LedgePixels *out)
{
    LedgeError err;
    const LedgeTensorInfo *info = ledge_model_input(model, input);
    if (ledge_model_input_count(model) != 1 || info->rank != 4 ||
        ledge__preprocess_for_model(model, input, override, &err, pre, from) ||
        info->dims[pre->layout == LEDGE_LAYOUT_NCHW ? 1 : 3] != ledge__color_channels(pre->color))
        return false;
    ledge__preprocess_pixels(pre, out);
    return true;
}

void ledge__preprocess_values(const LedgePreprocess *pre, float to[3][256])
{
    for (int c = 0; c < ledge__color_channels(pre->color); c++)
        for (int b = 0; b < 256; b++)
            to[c][b] = (float)((b * pre->scale - pre->mean[c]) / pre->std[c]);
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

/* One channel of one picture: from every `c`-th byte to every `step`-th float. */
static void look_up(const float *value, const uint8_t *from, size_t c, float *to, size_t step,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i * step] = value[from[i * c]];
}

LedgeStatus ledge__preprocess_floats(const LedgePreprocess *pre, const LedgeAllocator *a,
                                     const LedgeTensor *bytes, LedgeError *err, LedgeTensor *out)
{
    const size_t c = (size_t)ledge__color_channels(pre->color);
    const bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    float value[3][256];
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 4};
    if (bytes->type != LEDGE_UINT8 || bytes->rank != 4 || bytes->dims[3] != (int64_t)c)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, NULL,
                           "the tensor has no pixels of this preprocessing");
    const size_t pixels = (size_t)bytes->dims[1] * (size_t)bytes->dims[2];
    memcpy(t.dims, bytes->dims, sizeof t.dims);
    if (nchw)
        memcpy(t.dims, (int64_t[4]){bytes->dims[0], (int64_t)c, bytes->dims[1], bytes->dims[2]},
               4 * sizeof *t.dims);
    t.bytes = ledge_tensor_bytes(&t);
    if (t.bytes == SIZE_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, NULL, "the tensor is beyond all bounds");
    t.data = ledge__alloc(ledge__allocator_or_default(a), t.bytes ? t.bytes : 1, 1);
    if (!t.data)
        return ledge__no_memory(err);
    ledge__preprocess_values(pre, value);
    for (size_t n = 0; n < (size_t)bytes->dims[0]; n++)
        for (size_t i = 0; i < c; i++)
            look_up(value[i],
                    (const uint8_t *)bytes->data + n * pixels * c +
                        (pre->color == LEDGE_COLOR_BGR ? c - 1 - i : i),
                    c, (float *)t.data + n * pixels * c + (nchw ? i * pixels : i), nchw ? 1 : c,
                    pixels);
    *out = t;
    return LEDGE_OK;
}
