/* Fuzz target of what a guest of `ledge serve` says: the input is its memory, with the answer at
 * the address in the first word. The lowest bit of the next byte chooses the half. What is taken
 * over is read in full, so that AddressSanitizer sees it, is laid out again as a request, and
 * that is read as a memory of its own. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "serve/guest_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void read_all(const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        sink += b[i];
}

static void use(const LedgeGuestSaid *said)
{
    read_all(said->note, said->note_bytes);
    read_all(said->json, said->json_bytes);
    for (size_t i = 0; i < said->n_tensors; i++) {
        const LedgeTensor *t = &said->tensors[i];
        const int64_t n = ledge_tensor_count(t);
        check(strlen(said->names[i]) < 128 && n >= 0 && t->rank <= LEDGE_MAX_RANK);
        if (t->type != LEDGE_STRING)
            check(t->bytes == ledge_tensor_bytes(t));
        if (t->type != LEDGE_STRING)
            read_all(t->data, t->bytes);
        for (int64_t k = 0; t->type == LEDGE_STRING && k < n; k++)
            read_all(((const LedgeString *)t->data)[k].data,
                     ((const LedgeString *)t->data)[k].size);
    }
}

/* As a request; its bytes are all written, and no others. */
static void lay_again(const LedgeGuestSaid *said)
{
    const LedgeGuestAsk ask = {.stage = LEDGE_GUEST_POST,
                               .model = "m",
                               .body = said->json,
                               .body_bytes = said->json_bytes,
                               .note = said->note,
                               .note_bytes = said->note_bytes,
                               .n_tensors = said->n_tensors,
                               .names = (const char *const *)said->names,
                               .tensors = said->tensors};
    const uint64_t size = ledge__guest_wire_size(&ask);
    uint8_t *to = malloc((size_t)size);
    check(to != NULL);
    ledge__guest_wire_put(&ask, to, 4096);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeError err = {0};
    LedgeGuestSaid said;
    uint32_t address = 0;
    if (size < 5)
        return 0;
    for (int i = 0; i < 4; i++)
        address |= (uint32_t)data[i] << 8 * i;
    LedgeArena *arena = ledge__arena_new(NULL);
    check(arena != NULL);
    const LedgeStatus s =
        ledge__guest_wire_get((LedgeGuestMemory){data, size}, address,
                              data[4] & 1 ? LEDGE_GUEST_POST : LEDGE_GUEST_PRE, arena, &err, &said);
    if (s == LEDGE_OK) {
        use(&said);
        lay_again(&said);
    } else {
        check(err.message[0] != '\0');
    }
    ledge__arena_free(arena);
    return 0;
}
