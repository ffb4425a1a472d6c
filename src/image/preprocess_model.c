/* Preprocessing for a given model: whether the user, the model or nobody describes it. */
#include "image/preprocess.h"

#include <string.h>

#include "base/error.h"

LedgeStatus ledge__preprocess_for_model(const LedgeModel *model, size_t index, const char *override,
                                        LedgeError *err, LedgePreprocess *out, const char **from)
{
    LedgePreprocess pre;
    const char *own = ledge_model_metadata(model, LEDGE_PREPROCESS_KEY), *source;
    if (override) {
        LEDGE_TRY(ledge__preprocess_parse(override, err, &pre));
        source = "option";
    } else if (own) {
        LEDGE_TRY(ledge__preprocess_from_json("the model's metadata key " LEDGE_PREPROCESS_KEY, own,
                                              strlen(own), err, &pre));
        source = "model";
    } else {
        LEDGE_TRY(ledge__preprocess_preset("none", err, &pre));
        source = "default";
    }
    LEDGE_TRY(ledge__preprocess_fit(&pre, ledge_model_input(model, index), err));
    *out = pre;
    if (from)
        *from = source;
    return LEDGE_OK;
}
