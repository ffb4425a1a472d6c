/* From a path or bytes to an OnnxModel, and the questions asked of a model as a whole. */
#include "engine/onnx/onnx_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#if !defined(__wasi__)
#include <sys/mman.h>
#include <unistd.h>
#endif

static LedgeStatus model_new(const LedgeAllocator *a, LedgeError *err, OnnxModel **out)
{
    LedgeArena *arena = ledge__arena_new(a);
    OnnxModel *model = arena ? ledge__arena_alloc(arena, 1, sizeof *model) : NULL;
    if (!model) {
        ledge__arena_free(arena);
        return ledge__no_memory(err);
    }
    model->arena = arena;
    *out = model;
    return LEDGE_OK;
}

static LedgeStatus read_model(OnnxModel *model, const void *bytes, size_t size, OnnxFolder *folder,
                              LedgeError *err)
{
    OnnxReader r = ledge__onnx_reader(model->arena, size, err);
    r.model = model;
    r.folder = folder;
    if (size == 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, NULL, "the file is empty");
    if (ledge__file_is_compiled(bytes, size))
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "a compiled model is not changed; take the .onnx it came from and "
                           "compile what comes of that");
    LEDGE_TRY(ledge__onnx_read_message(&r, &ledge__onnx_model, (WireSpan){bytes, size, 0}, model));
    if (!(model->present & 1) && model->graph.n_nodes == 0 && model->n_opsets == 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, NULL,
                           "no ONNX model: neither an IR version nor a graph in it");
    return LEDGE_OK;
}

static LedgeStatus read_path(OnnxModel *model, const char *path, LedgeError *err)
{
    OnnxFolder folder = {-1, NULL};
    model->path = ledge__arena_str(model->arena, path);
    if (!model->path)
        return ledge__no_memory(err);
    LEDGE_TRY(ledge__onnx_map(model->arena, path, &model->mappings, err));
    LEDGE_TRY(ledge__onnx_folder_open(model->arena, path, err, &folder));
    LedgeStatus status =
        read_model(model, model->mappings->bytes, model->mappings->size, &folder, err);
    ledge__onnx_folder_close(&folder);
    return status;
}

LedgeStatus ledge__onnx_read_file(const LedgeAllocator *a, const char *path, LedgeError *err,
                                  OnnxModel **out)
{
    OnnxModel *model = NULL;
    LEDGE_TRY(model_new(a, err, &model));
    LedgeStatus status = read_path(model, path, err);
    if (status) {
        ledge__onnx_free(model);
        return status;
    }
    *out = model;
    return LEDGE_OK;
}

LedgeStatus ledge__onnx_read_memory(const LedgeAllocator *a, const void *bytes, size_t size,
                                    LedgeError *err, OnnxModel **out)
{
    OnnxModel *model = NULL;
    LEDGE_TRY(model_new(a, err, &model));
    LedgeStatus status = read_model(model, bytes, size, NULL, err);
    if (status) {
        ledge__onnx_free(model);
        return status;
    }
    *out = model;
    return LEDGE_OK;
}

LedgeStatus ledge__onnx_read_tensor(LedgeArena *arena, const void *bytes, size_t size,
                                    LedgeError *err, OnnxTensor *out)
{
    OnnxReader r = ledge__onnx_reader(arena, size, err);
    OnnxTensor t = {0};
    LEDGE_TRY(ledge__onnx_read_message(&r, &ledge__onnx_tensor, (WireSpan){bytes, size, 0}, &t));
    *out = t;
    return LEDGE_OK;
}

void ledge__onnx_free(OnnxModel *model)
{
    if (!model)
        return;
    ledge__onnx_unmap_all(model->mappings);
    ledge__arena_free(model->arena);
}

LedgeStatus ledge__onnx_set_metadata(OnnxModel *model, const char *key, const char *value,
                                     LedgeError *err)
{
    OnnxEntry *entries = ledge__arena_alloc(model->arena, model->n_metadata + 1, sizeof *entries);
    char *k = ledge__arena_str(model->arena, key);
    char *v = ledge__arena_str(model->arena, value ? value : "");
    size_t n = 0;
    bool placed = value == NULL;
    if (!entries || !k || !v)
        return ledge__no_memory(err);
    const OnnxEntry made = {.key = {k, strlen(k)}, .value = {v, strlen(v)}};
    for (size_t i = 0; i < model->n_metadata; i++) {
        const bool other = !ledge__str_eq(model->metadata[i].key, key);
        if (other || !placed)
            entries[n++] = other ? model->metadata[i] : made;
        placed |= !other;
    }
    if (!placed)
        entries[n++] = made;
    model->metadata = entries;
    model->n_metadata = n;
    return LEDGE_OK;
}

int64_t ledge__onnx_opset(const OnnxModel *model, const char *domain)
{
    const bool is_default = !*domain || strcmp(domain, "ai.onnx") == 0;
    for (size_t i = 0; i < model->n_opsets; i++) {
        const LedgeStr d = model->opsets[i].domain;
        if (is_default ? d.n == 0 || ledge__str_eq(d, "ai.onnx") : ledge__str_eq(d, domain))
            return model->opsets[i].version;
    }
    return 0;
}

LedgeStatus ledge__onnx_check_versions(const OnnxModel *model, LedgeError *err)
{
    const int64_t ir = model->ir_version, opset = ledge__onnx_opset(model, "");
    if (ir < ONNX_MIN_IR || ir > ONNX_MAX_IR)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "ONNX IR version %" PRId64 " is not supported; export the model with IR "
                           "version %d to %d",
                           ir, ONNX_MIN_IR, ONNX_MAX_IR);
    if (opset == 0 && model->n_opsets)
        return LEDGE_OK; /* only other domains' operators: the graph finds out */
    if (opset < ONNX_MIN_OPSET || opset > ONNX_MAX_OPSET)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "opset %" PRId64 " of ONNX's own operators is not supported; export the "
                           "model with opset %d to %d",
                           opset, ONNX_MIN_OPSET, ONNX_MAX_OPSET);
    return LEDGE_OK;
}

#if defined(__wasi__)
void ledge__onnx_release_pages(const OnnxModel *model, const void *data, size_t size)
{
    (void)model, (void)data, (void)size;
}
#else
void ledge__onnx_release_pages(const OnnxModel *model, const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + size) / page * page;
    for (const OnnxMapping *m = model->mappings; m; m = m->next) {
        const uintptr_t base = (uintptr_t)m->bytes;
        if (m->is_mapped && (uintptr_t)data >= base && (uintptr_t)data - base < m->size &&
            begin < end && end <= base + m->size)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
}
#endif
