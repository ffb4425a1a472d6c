/* Pictures for a model's only input; see pictures.h. */
#include "cli/pictures.h"

bool cli_pictures_ask(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    CliPictures *p = arg;
    /* Where that cannot be, whoever prepares floats says what is wrong. */
    p->bytes = ledge__preprocess_ask(m, input, p->preprocess, &p->pre, &p->from, out);
    return p->bytes;
}

LedgeStatus cli_pictures_tensor(const CliPictures *p, const LedgeImage *image, LedgeError *err,
                                LedgeTensor *out)
{
    return p->bytes ? ledge__preprocess_bytes(&p->pre, NULL, image, err, out)
                    : ledge__preprocess_tensor(&p->pre, NULL, image, err, out);
}
