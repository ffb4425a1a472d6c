/* The presets of preprocessing, and its steps over one picture. */
#include "image/preprocess.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/file_bytes.h"

/* What the three families of published classifiers use; see docs/preprocess.md. */
static const struct {
    const char *name;
    LedgePreprocess pre;
} presets[] = {
    {"imagenet",
     {.color = LEDGE_COLOR_RGB,
      .resize = LEDGE_RESIZE_SHORTER,
      .shorter = 256,
      .crop_width = 224,
      .crop_height = 224,
      .filter = LEDGE_FILTER_BILINEAR,
      .scale = 1.0 / 255,
      .mean = {0.485, 0.456, 0.406},
      .std = {0.229, 0.224, 0.225}}},
    {"tf",
     {.color = LEDGE_COLOR_RGB,
      .resize = LEDGE_RESIZE_SHORTER,
      .shorter = 256,
      .crop_width = 224,
      .crop_height = 224,
      .filter = LEDGE_FILTER_BILINEAR,
      .scale = 1.0,
      .mean = {127.5, 127.5, 127.5},
      .std = {127.5, 127.5, 127.5}}},
    {"caffe",
     {.color = LEDGE_COLOR_BGR,
      .resize = LEDGE_RESIZE_SHORTER,
      .shorter = 256,
      .crop_width = 224,
      .crop_height = 224,
      .filter = LEDGE_FILTER_BILINEAR,
      .scale = 1.0,
      .mean = {104, 117, 123},
      .std = {1, 1, 1}}},
    {"none",
     {.color = LEDGE_COLOR_RGB,
      .resize = LEDGE_RESIZE_NONE,
      .filter = LEDGE_FILTER_BILINEAR,
      .scale = 1.0,
      .std = {1, 1, 1}}},
};

LedgeStatus ledge__preprocess_preset(const char *name, LedgeError *err, LedgePreprocess *out)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0) {
            *out = presets[i].pre;
            return LEDGE_OK;
        }
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name,
                       "no such preset; there are imagenet, tf, caffe and none");
}

LedgeStatus ledge__preprocess_parse(const char *what, LedgeError *err, LedgePreprocess *out)
{
    size_t blank = strspn(what, " \t\r\n"), size;
    uint8_t *bytes;
    if (what[blank] == '{')
        return ledge__preprocess_from_json("the preprocess text", what, strlen(what), err, out);
    if (ledge__preprocess_preset(what, err, out) == LEDGE_OK)
        return LEDGE_OK;
    LedgeStatus status = ledge__file_bytes(NULL, what, 1 << 20, err, &bytes, &size);
    if (status == LEDGE_ERROR_NOT_FOUND)
        return ledge__fail(err, status, what,
                           "is neither a preset (imagenet, tf, caffe, none) nor a JSON file "
                           "that is there");
    LEDGE_TRY(status);
    status = ledge__preprocess_from_json(what, (const char *)bytes, size, err, out);
    ledge__free(ledge__allocator_or_default(NULL), bytes);
    return status;
}

void ledge__preprocess_size(const LedgePreprocess *pre, uint32_t *width, uint32_t *height)
{
    if (pre->resize == LEDGE_RESIZE_EXACT) {
        *width = pre->resize_width;
        *height = pre->resize_height;
    } else if (pre->resize == LEDGE_RESIZE_SHORTER) {
        uint32_t w = *width, h = *height;
        uint64_t longer = (uint64_t)pre->shorter * (w > h ? w : h) / (w > h ? h : w);
        longer = longer > UINT32_MAX ? UINT32_MAX : longer;
        *width = w > h ? (uint32_t)longer : pre->shorter;
        *height = w > h ? pre->shorter : (uint32_t)longer;
    }
}

LedgeStatus ledge__preprocess_dims(const LedgePreprocess *pre, uint32_t width, uint32_t height,
                                   LedgeError *err, int64_t dims[4])
{
    ledge__preprocess_size(pre, &width, &height);
    if (pre->crop_width > width || pre->crop_height > height)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, NULL,
                           "the picture is %ux%u, smaller than the crop of %ux%u; add a resize "
                           "to the preprocessing",
                           width, height, pre->crop_width, pre->crop_height);
    if ((uint64_t)width * height > LEDGE_IMAGE_MAX_PIXELS)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, NULL,
                           "resizing would make %ux%u pixels, over the limit of %u megapixels",
                           width, height, LEDGE_IMAGE_MAX_PIXELS / 1000000);
    int64_t w = pre->crop_width ? pre->crop_width : width;
    int64_t h = pre->crop_height ? pre->crop_height : height;
    int64_t c = ledge__color_channels(pre->color);
    bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    dims[0] = 1;
    dims[1] = nchw ? c : h;
    dims[2] = nchw ? h : w;
    dims[3] = nchw ? w : c;
    return LEDGE_OK;
}

/* Every value that a byte can become, per output channel. */
static void fill_table(const LedgePreprocess *pre, float table[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = (float)((v * pre->scale - pre->mean[c]) / pre->std[c]);
}

/* Byte of output channel c of the pixel at p. */
static uint8_t channel_of(const uint8_t *p, int channels, LedgeColor color, int c)
{
    if (channels == 1)
        return p[0];
    if (color == LEDGE_COLOR_GRAY)
        return ledge__luma(p);
    return p[color == LEDGE_COLOR_BGR ? 2 - c : c];
}

/* The crop starts half of the rest in, a half pixel rounded down. */
static void to_floats(const LedgePreprocess *pre, const LedgeImage *im, uint32_t width,
                      uint32_t height, float *out)
{
    float table[3][256];
    fill_table(pre, table);
    size_t left = (im->width - width) / 2, top = (im->height - height) / 2;
    size_t plane = (size_t)width * height;
    int channels = ledge__color_channels(pre->color);
    bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    size_t step = nchw ? 1 : (size_t)channels, next_channel = nchw ? plane : 1;
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *row = im->pixels + ((top + y) * im->width + left) * (size_t)im->channels;
        for (int c = 0; c < channels; c++) {
            float *to = out + (size_t)y * width * step + (size_t)c * next_channel;
            for (uint32_t x = 0; x < width; x++)
                to[x * step] = table[c][channel_of(row + (size_t)x * (size_t)im->channels,
                                                   im->channels, pre->color, c)];
        }
    }
}

LedgeStatus ledge__preprocess_run(const LedgePreprocess *pre, const LedgeImage *image,
                                  LedgeError *err, float *out)
{
    int64_t dims[4] = {0};
    LedgeImage sized = {0};
    uint32_t width = image->width, height = image->height;
    LEDGE_TRY(ledge__preprocess_dims(pre, width, height, err, dims));
    ledge__preprocess_size(pre, &width, &height);
    bool same = width == image->width && height == image->height;
    if (!same)
        LEDGE_TRY(ledge__image_resize(image, width, height, pre->filter, err, &sized));
    bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    to_floats(pre, same ? image : &sized, (uint32_t)dims[nchw ? 3 : 2],
              (uint32_t)dims[nchw ? 2 : 1], out);
    ledge__image_free(&sized);
    return LEDGE_OK;
}

LedgeStatus ledge__preprocess_tensor(const LedgePreprocess *pre, const LedgeAllocator *a,
                                     const LedgeImage *image, LedgeError *err, LedgeTensor *out)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 4};
    a = ledge__allocator_or_default(a);
    LEDGE_TRY(ledge__preprocess_dims(pre, image->width, image->height, err, t.dims));
    t.bytes = ledge_tensor_bytes(&t);
    t.data = ledge__alloc(a, t.bytes, 1);
    if (!t.data)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__preprocess_run(pre, image, err, t.data);
    if (status != LEDGE_OK) {
        ledge__free(a, t.data);
        return status;
    }
    *out = t;
    return LEDGE_OK;
}
