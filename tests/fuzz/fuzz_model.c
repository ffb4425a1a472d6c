/* Fuzz target of everything between a model file and its answer: any bytes are loaded, and what
 * loads is optimised, planned and run once on zeros. */
#include "fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeModel *m = NULL;
    LedgeError err = {0};
    LedgeStatus status = ledge_model_load_memory(data, size, NULL, &err, &m);
    if (status != LEDGE_OK) {
        if (err.message[0] == '\0' || m)
            abort();
        return 0;
    }
    fuzz_run(m);
    ledge_model_free(m);
    return 0;
}
