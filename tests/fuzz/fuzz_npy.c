/* Fuzz target of the .npy reader: what it accepts must be a tensor whose bytes are all there. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "fuzz_input.h"
#include "image/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches every byte, for the sanitizer to see. */
static unsigned sum(const void *data, size_t n)
{
    const uint8_t *p = data;
    unsigned total = 0;
    for (size_t i = 0; i < n; i++)
        total += p[i];
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeTensor t;
    LedgeError err = {0};
    LedgeStatus status = ledge__npy_parse(NULL, "fuzz", data, size, &err, &t);
    check(status == err.status);
    if (status != LEDGE_OK) {
        check(err.message[0] != 0);
        return 0;
    }
    volatile unsigned total = 0;
    int64_t count = ledge_tensor_count(&t);
    check(count >= 0 && t.rank >= 0 && t.rank <= LEDGE_MAX_RANK);
    if (t.type == LEDGE_STRING) {
        const LedgeString *s = t.data;
        for (int64_t i = 0; i < count; i++)
            total += sum(s[i].data, s[i].size);
    } else {
        check(t.bytes == ledge_tensor_bytes(&t));
        total += sum(t.data, t.bytes);
    }
    (void)total;
    ledge__npy_free(NULL, &t);
    return 0;
}
