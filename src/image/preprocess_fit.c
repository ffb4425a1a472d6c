/* Fitting a description to the dimensions that a model's input fixes. */
#include "image/preprocess.h"

#include <math.h>

#include "base/error.h"

/* Where the model fixes the size, its numbers win over the description's. */
static void fit_size(LedgePreprocess *pre, uint32_t width, uint32_t height)
{
    bool crops = pre->crop_width != 0 || pre->resize == LEDGE_RESIZE_SHORTER;
    if (!crops) {
        pre->resize = LEDGE_RESIZE_EXACT;
        pre->resize_width = width;
        pre->resize_height = height;
        return;
    }
    uint32_t larger = width > height ? width : height;
    /* A crop of three quarters or more of the shorter side is what such models are used
     * with; else keep the proportion 256 : 224. */
    if (pre->resize == LEDGE_RESIZE_SHORTER &&
        (larger > pre->shorter || 4 * (uint64_t)larger < 3 * (uint64_t)pre->shorter))
        pre->shorter = (uint32_t)lround(larger * 256.0 / 224.0);
    pre->crop_width = width;
    pre->crop_height = height;
}

static LedgeStatus fit_channels(LedgePreprocess *pre, const LedgeTensorInfo *input, LedgeError *err)
{
    int64_t first = input->dims[1], last = input->dims[3];
    if (first == 1 || first == 3)
        pre->layout = LEDGE_LAYOUT_NCHW;
    else if (last == 1 || last == 3)
        pre->layout = LEDGE_LAYOUT_NHWC;
    int64_t channels = pre->layout == LEDGE_LAYOUT_NCHW ? first : last;
    if (channels == 1)
        pre->color = LEDGE_COLOR_GRAY;
    if (channels > 0 && channels != ledge__color_channels(pre->color))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, input->name,
                           "takes %lld channels, a picture gives %d; give this input as .npy",
                           (long long)channels, ledge__color_channels(pre->color));
    return LEDGE_OK;
}

LedgeStatus ledge__preprocess_fit(LedgePreprocess *pre, const LedgeTensorInfo *input,
                                  LedgeError *err)
{
    if (input->type != LEDGE_FLOAT)
        return ledge__fail(err, LEDGE_ERROR_TYPE, input->name,
                           "takes %s, and a picture gives float32; give this input as .npy",
                           ledge_type_name(input->type));
    if (input->rank == -1)
        return LEDGE_OK;
    if (input->rank != 4)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, input->name,
                           "has %d dimensions, and a picture needs 4; give this input as .npy",
                           input->rank);
    LEDGE_TRY(fit_channels(pre, input, err));
    bool nchw = pre->layout == LEDGE_LAYOUT_NCHW;
    int64_t height = input->dims[nchw ? 2 : 1], width = input->dims[nchw ? 3 : 2];
    if (height == 0 || width == 0 || height > UINT32_MAX || width > UINT32_MAX)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, input->name, "takes no picture of %lldx%lld",
                           (long long)width, (long long)height);
    if (height > 0 && width > 0)
        fit_size(pre, (uint32_t)width, (uint32_t)height);
    return LEDGE_OK;
}
