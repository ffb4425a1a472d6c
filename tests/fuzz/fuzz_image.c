/* Fuzz target of the picture decoders and of what follows them.
 *
 * Any bytes: decoding must not read outside them, and what it accepts must be a picture within
 * the bounds, which is then taken through a preset. The bytes are read as a preprocessing
 * description too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz_input.h"
#include "image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_json(const uint8_t *data, size_t size)
{
    LedgePreprocess pre, back;
    LedgeError err = {0};
    LedgeStatus status = ledge__preprocess_from_json("fuzz", (const char *)data, size, &err, &pre);
    check(status == err.status);
    if (status != LEDGE_OK)
        return;
    char *text = ledge__preprocess_to_json(&pre);
    check(text &&
          ledge__preprocess_from_json("again", text, strlen(text), NULL, &back) == LEDGE_OK);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeImage im;
    LedgePreprocess pre;
    LedgeTensor t;
    LedgeError err = {0};
    if (size > 0 && data[0] == '{') {
        fuzz_json(data, size);
        return 0;
    }
    LedgeStatus status = ledge__image_decode(NULL, "fuzz", data, size, &err, &im);
    check(status == err.status);
    if (status != LEDGE_OK) {
        check(err.message[0] != 0);
        return 0;
    }
    check(im.width > 0 && im.height > 0 && (im.channels == 1 || im.channels == 3));
    check((uint64_t)im.width * im.height <= LEDGE_IMAGE_MAX_PIXELS);
    check(ledge__preprocess_preset("imagenet", NULL, &pre) == LEDGE_OK);
    /* Small, or a sliver of a picture would make every run slow. */
    pre.shorter = 12;
    pre.crop_width = pre.crop_height = 8;
    status = ledge__preprocess_tensor(&pre, NULL, &im, &err, &t);
    check(status == LEDGE_OK || status == LEDGE_ERROR_LIMIT);
    if (status == LEDGE_OK)
        ledge__free(ledge__allocator_or_default(NULL), t.data);
    ledge__image_free(&im);
    return 0;
}
