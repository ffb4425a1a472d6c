/* Fuzz target of compiled models. Checksums would stop nearly every changed byte at the door, so
 * each input is given right ones first: what is behind them must hold on its own. */
#include "fuzz_session.h"

#include "base/hash.h"
#include "engine/session/ledge_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(const uint8_t *bytes, size_t size, LedgeFilePart *p)
{
    if (p->offset <= size && p->size <= size - p->offset)
        p->hash = ledge__checksum(bytes + p->offset, (size_t)p->size);
}

/* The parts of the table's entries; `at` is where the first stands, `step` bytes apart. */
static void seal_entries(uint8_t *bytes, size_t size, size_t at, uint64_t count, size_t step,
                         size_t part)
{
    for (uint64_t i = 0; i < count && at <= size && step <= size - at; i++, at += step) {
        LedgeFilePart p;
        memcpy(&p, bytes + at + part, sizeof p);
        seal(bytes, size, &p);
        memcpy(bytes + at + part, &p, sizeof p);
    }
}

static void seal_all(uint8_t *bytes, size_t size)
{
    LedgeFileHeader h;
    memcpy(&h, bytes, sizeof h);
    memcpy(h.magic, LEDGE_FILE_MAGIC, 8);
    h.format = LEDGE_FILE_FORMAT;
    h.packing = LEDGE_FILE_PACKING;
    h.cpu = 0;
    h.file_size = size;
    if (h.table.offset < size && h.n_constants < size) {
        size_t constants = (size_t)h.n_constants * sizeof(LedgeFileConstant);
        seal_entries(bytes, size, (size_t)h.table.offset, h.n_constants, sizeof(LedgeFileConstant),
                     offsetof(LedgeFileConstant, data));
        if (constants < size)
            seal_entries(bytes, size, (size_t)h.table.offset + constants, h.n_forms,
                         sizeof(LedgeFileForm), offsetof(LedgeFileForm, data));
    }
    seal(bytes, size, &h.graph);
    seal(bytes, size, &h.table);
    h.hash = ledge__checksum(&h, offsetof(LedgeFileHeader, hash));
    memcpy(bytes, &h, sizeof h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeModel *m = NULL;
    LedgeError err = {0};
    if (size < sizeof(LedgeFileHeader) || size > (1u << 20))
        return 0;
    uint8_t *bytes = ledge__alloc(NULL, size, 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    seal_all(bytes, size);
    LedgeStatus status = ledge_model_load_memory(bytes, size, NULL, &err, &m);
    if (status == LEDGE_OK)
        fuzz_run(m);
    else if (err.message[0] == '\0' || m)
        abort();
    ledge_model_free(m);
    ledge__free(NULL, bytes);
    return 0;
}
