/* Pictures for a model's only input: bytes where the model can take them, so that it normalises
 * them itself, else prepared floats. The answers are the same. */
#ifndef LEDGE_CLI_PICTURES_H
#define LEDGE_CLI_PICTURES_H

#include "cli/model_io.h"
#include "image/preprocess.h"

typedef struct CliPictures {
    const char *preprocess; /* what the user said, or NULL */
    LedgePreprocess pre;
    const char *from; /* who describes the preprocessing: "option", "model" or "default" */
    bool bytes;       /* the model takes bytes; `pre` is set */
} CliPictures;

/* For CliOpen: asks the model about its pictures, and for bytes where that can be. */
bool cli_pictures_ask(void *arg, const LedgeModel *m, size_t input, LedgePixels *out);
/* The tensor for the model's input. Data is freed by ledge__free(NULL, …). */
LedgeStatus cli_pictures_tensor(const CliPictures *p, const LedgeImage *image, LedgeError *err,
                                LedgeTensor *out);

#endif
