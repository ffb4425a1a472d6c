/* Fuzz target of the ONNX reader and writer.
 *
 * Any bytes: the reader must not read outside them (ASan), and what it accepts must be written
 * to a file that reads back and comes out the same again. The value reader gets the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onnx/onnx.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const uint8_t *data, size_t size)
{
    OnnxModel *first = NULL, *second = NULL;
    void *a, *b;
    size_t na, nb;
    LedgeError err = {0};
    LedgeStatus status = ledge__onnx_read_memory(NULL, data, size, &err, &first);
    check(status == err.status);
    if (status) {
        check(err.message[0] != '\0' && !first);
        return;
    }
    (void)!ledge__onnx_check_versions(first, &err);
    (void)ledge__onnx_opset(first, "");
    check(ledge__onnx_write_memory(first, NULL, &a, &na, NULL) == LEDGE_OK);
    ledge__onnx_free(first);
    /* What is merged or unpacked grows: the copy may be refused for its size, no more. */
    status = ledge__onnx_read_memory(NULL, a, na, NULL, &second);
    check(status == LEDGE_OK || status == LEDGE_ERROR_LIMIT);
    if (status == LEDGE_OK) {
        check(ledge__onnx_write_memory(second, NULL, &b, &nb, NULL) == LEDGE_OK);
        check(na == nb && memcmp(a, b, na) == 0);
        ledge__free(NULL, b);
    }
    ledge__onnx_free(second);
    ledge__free(NULL, a);
}

static void read_values(const uint8_t *data, size_t size)
{
    static const OnnxTypeKind kinds[] = {ONNX_TYPE_NONE, ONNX_TYPE_SEQUENCE, ONNX_TYPE_OPTIONAL,
                                         ONNX_TYPE_MAP};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const OnnxType type = {.kind = kinds[i]};
        LedgeArena *arena = ledge__arena_new(NULL);
        LedgeTensor v = {0};
        if (!arena)
            return;
        if (ledge__onnx_read_value(arena, &type, data, size, NULL, &v) == LEDGE_OK)
            check(v.type != LEDGE_TYPE_NONE && v.data);
        ledge__arena_free(arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    round_trip(data, size);
    read_values(data, size);
    return 0;
}
