/* Fuzz target of samples of inputs: the head of a file, as the registry reads it of any device, and
 * what was sealed, which anybody can make who has the public key. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/protocol/field_sample.h"
#include "fuzz_input.h"
#include "image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_content(const uint8_t *data, size_t size)
{
    LedgeFieldContent *c;
    LedgePreprocess pre;
    LedgeImage image = {0};
    uint64_t sum = 0;
    void *bytes = malloc(size + 1);
    check(bytes);
    memcpy(bytes, data, size);
    if (ledge__field_content_read(bytes, size, NULL, &c))
        return;
    for (size_t i = 0; i < c->picture_size; i++)
        sum += ((const uint8_t *)c->picture)[i];
    for (size_t i = 0; i < c->n_inputs; i++)
        for (size_t k = 0; k < c->inputs[i].bytes; k++)
            sum += ((const uint8_t *)c->inputs[i].data)[k];
    check(sum < UINT64_MAX); /* every byte was read */
    if (c->n_inputs &&
        ledge__preprocess_from_json("fuzz", c->preprocess, strlen(c->preprocess), NULL, &pre) ==
            LEDGE_OK &&
        ledge__preprocess_undo(&pre, &c->inputs[0], 0, NULL, &image) == LEDGE_OK)
        ledge__image_free(&image);
    ledge__field_content_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeFieldHead head;
    size_t end;
    if (ledge__field_sample_head(data, size, NULL, &head, &end) == LEDGE_OK)
        check(end < size && ledge__fleet_is_name(head.model) &&
              ledge__fleet_is_name(head.version) && ledge__fleet_is_sha256(head.key) &&
              head.confidence_ppm <= 1000000);
    read_content(data, size);
    return 0;
}
