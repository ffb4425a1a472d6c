/* Pictures for a model's only input; see pictures.h. */
#include "cli/pictures.h"

bool cli_pictures_ask(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    CliPictures *p = arg;
    LedgeError err;
    const LedgeTensorInfo *info = ledge_model_input(m, input);
    if (ledge_model_input_count(m) != 1 || info->rank != 4 ||
        ledge__preprocess_for_model(m, input, p->preprocess, &err, &p->pre, &p->from))
        return false; /* whoever prepares floats then says what is wrong */
    if (info->dims[p->pre.layout == LEDGE_LAYOUT_NCHW ? 1 : 3] != ledge__color_channels(p->pre.color))
        return false;
    ledge__preprocess_pixels(&p->pre, out);
    p->bytes = true;
    return true;
}

LedgeStatus cli_pictures_tensor(const CliPictures *p, const LedgeImage *image, LedgeError *err,
                                LedgeTensor *out)
{
    return p->bytes ? ledge__preprocess_bytes(&p->pre, NULL, image, err, out)
                    : ledge__preprocess_tensor(&p->pre, NULL, image, err, out);
}
