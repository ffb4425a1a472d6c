/* Fuzz target of .wasm and .lwm files: any bytes, no read outside them, a sentence for each
 * refusal. An input that does not begin like a .wasm is taken as a .lwm whose hash is set right
 * first. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "trust/sha256.h"
#include "wasm/runner/guest_state.h"
#include "wasm/runner/lwm_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_wasm(const uint8_t *data, size_t size)
{
    LedgeError err = {0};
    WasmFile f;
    LedgeArena *arena = ledge__arena_new(NULL);
    const LedgeStatus status = ledge__wasm_file_read(arena, data, size, &err, &f);
    check(!status == !err.message[0]);
    for (size_t i = 0; !status && i < f.n_imports; i++)
        check(strlen(f.imports[i].name) < 2048 && f.imports[i].signature);
    check(status || f.pages <= f.most_pages || !f.has_memory);
    ledge__arena_free(arena);
}

static void fuzz_lwm(const uint8_t *data, size_t size)
{
    LedgeError err = {0};
    LwmFile *f = NULL;
    char hex[LEDGE_SHA256_HEX];
    uint8_t *bytes = ledge__alloc(NULL, size, 1);
    check(bytes);
    memcpy(bytes, data, size);
    if (size > 32 && ledge__sha256_of(bytes, size - 32, hex) == LEDGE_OK)
        (void)ledge__from_hex(hex, bytes + size - 32, 32);
    const LedgeStatus status = ledge__lwm_read("fuzz", bytes, size, NULL, 0, &err, &f);
    check(!status == !err.message[0]);
    if (!status) {
        const LwmTarget *t;
        (void)!ledge__lwm_choose(f, &err, &t);
        for (size_t i = 0; i < f->n_targets; i++) {
            char name[64];
            uint64_t into;
            check(f->targets[i].code >= f->bytes &&
                  f->targets[i].code + f->targets[i].size <= f->bytes + f->size);
            (void)ledge__guest_symbol(f->targets[i].code, f->targets[i].size, 0x1000, name,
                                      sizeof name, &into);
        }
    }
    ledge__lwm_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[64];
    uint64_t into;
    if (size >= 4 && memcmp(data, "\0asm", 4) == 0)
        fuzz_wasm(data, size);
    else if (size >= 4 && memcmp(data, "\177ELF", 4) == 0)
        (void)ledge__guest_symbol(data, size, 0x1000, name, sizeof name, &into);
    else
        fuzz_lwm(data, size);
    return 0;
}
