/* The way back from the numbers that a model takes to a picture of what it saw. */
#include <math.h>

#include "base/error.h"
#include "image/preprocess.h"

static uint8_t pixel(const LedgePreprocess *pre, float v, int c)
{
    const double p = ((double)v * pre->std[c] + pre->mean[c]) / pre->scale;
    return p >= 254.5 ? 255 : p > 0 ? (uint8_t)lround(p) : 0; /* a NaN is black */
}

LedgeStatus ledge__preprocess_undo(const LedgePreprocess *pre, const LedgeTensor *t, int64_t row,
                                   LedgeError *err, LedgeImage *out)
{
    const bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    const int channels = ledge__color_channels(pre->color);
    if (t->type != LEDGE_FLOAT || t->rank != 4 || row < 0 || row >= t->dims[0] ||
        t->dims[nchw ? 1 : 3] != channels || t->dims[2] > UINT32_MAX ||
        t->dims[nchw ? 3 : 1] > UINT32_MAX || pre->scale == 0)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, NULL,
                           "the tensor is none that this preprocessing makes");
    const uint32_t h = (uint32_t)t->dims[nchw ? 2 : 1], w = (uint32_t)t->dims[nchw ? 3 : 2];
    LEDGE_TRY(ledge__image_new(NULL, w, h, channels, err, out));
    const size_t plane = (size_t)w * h;
    const float *from = (const float *)t->data + (size_t)row * plane * (size_t)channels;
    for (size_t i = 0; i < plane; i++)
        for (int c = 0; c < channels; c++) {
            const int at = pre->color == LEDGE_COLOR_BGR ? 2 - c : c;
            out->pixels[i * (size_t)channels + (size_t)at] = pixel(
                pre, from[nchw ? (size_t)c * plane + i : i * (size_t)channels + (size_t)c], c);
        }
    return LEDGE_OK;
}
