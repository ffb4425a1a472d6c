/* Models to memory and to files. External tensors are laid out anew: their files are written
 * whole, in the order of the tensors, each at a page boundary if it is a page or more. */
#include "engine/onnx/onnx_writer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE    INT32_MAX /* protobuf's own limit */
#define PAGE        4096
#define SMALL_ALIGN 64

static LedgeStatus check_size(const OnnxWriter *w, const char *path, LedgeError *err)
{
    if (w->count <= MAX_FILE)
        return LEDGE_OK;
    return ledge__fail(
        err, LEDGE_ERROR_LIMIT, path,
        "the model takes %llu bytes and ONNX files end at 2 GiB; keep its weights in "
        "an external data file",
        (unsigned long long)w->count);
}

LedgeStatus ledge__onnx_write_memory(const OnnxModel *model, const LedgeAllocator *a, void **bytes,
                                     size_t *size, LedgeError *err)
{
    OnnxWriter w = {.err = err};
    ledge__onnx_put_message(&w, &ledge__onnx_model, model);
    LEDGE_TRY(check_size(&w, model->path, err));
    const size_t n = (size_t)w.count;
    w.memory = ledge__alloc(a, n, 1);
    if (!w.memory)
        return ledge__no_memory(err);
    w.count = 0;
    ledge__onnx_put_message(&w, &ledge__onnx_model, model);
    *bytes = w.memory;
    *size = n;
    return LEDGE_OK;
}

/* ---- external data ---- */

typedef struct DataFile {
    LedgeStr location;
    LedgeOutFile *out;
} DataFile;

typedef struct Saver {
    const LedgeAllocator *allocator;
    const char *path; /* of the model */
    LedgeError *err;
    LedgeStatus status;
    DataFile *files;
    size_t n_files, cap_files;
    OnnxPlacement *placements;
    size_t n_placements, cap_placements;
} Saver;

static void saver_free(Saver *s)
{
    for (size_t i = 0; i < s->n_files; i++)
        ledge__out_file_abort(s->files[i].out);
    ledge__free(s->allocator, s->files);
    ledge__free(s->allocator, s->placements);
}

/* Path of `location` beside the model; NULL after filling the error. */
static char *data_path(Saver *s, LedgeStr location)
{
    const char *slash = strrchr(s->path, '/');
    const size_t folder = slash ? (size_t)(slash - s->path) + 1 : 0;
    const char *name = s->path + folder;
    if (!location.n || memchr(location.p, '/', location.n) || memchr(location.p, 0, location.n) ||
        ledge__str_eq(location, ".") || ledge__str_eq(location, "..") ||
        ledge__str_eq(location, name)) {
        s->status =
            ledge__fail(s->err, LEDGE_ERROR_UNSUPPORTED, s->path,
                        "external data is only written to a file of its own beside the "
                        "model, not to '%.*s'",
                        (int)(location.n < 200 ? location.n : 200), location.n ? location.p : "");
        return NULL;
    }
    char *path = ledge__alloc(s->allocator, folder + location.n + 1, 1);
    if (!path) {
        s->status = ledge__no_memory(s->err);
        return NULL;
    }
    memcpy(path, s->path, folder);
    memcpy(path + folder, location.p, location.n);
    path[folder + location.n] = '\0';
    return path;
}

static DataFile *data_file(Saver *s, LedgeStr location)
{
    for (size_t i = 0; i < s->n_files; i++)
        if (s->files[i].location.n == location.n &&
            memcmp(s->files[i].location.p, location.p, location.n) == 0)
            return &s->files[i];
    if (!ledge__grow(s->allocator, (void **)&s->files, s->n_files, &s->cap_files,
                     sizeof *s->files)) {
        s->status = ledge__no_memory(s->err);
        return NULL;
    }
    char *path = data_path(s, location);
    if (!path)
        return NULL;
    DataFile f = {.location = location};
    s->status = ledge__out_file_open(s->allocator, path, s->err, &f.out);
    ledge__free(s->allocator, path);
    if (s->status)
        return NULL;
    s->files[s->n_files] = f;
    return &s->files[s->n_files++];
}

static void place(void *arg, const OnnxTensor *t)
{
    Saver *s = arg;
    if (s->status || !t->external)
        return;
    DataFile *f = data_file(s, t->location);
    if (!f)
        return;
    if (!ledge__grow(s->allocator, (void **)&s->placements, s->n_placements, &s->cap_placements,
                     sizeof *s->placements)) {
        s->status = ledge__no_memory(s->err);
        return;
    }
    s->status = ledge__out_file_pad(f->out, t->data_size >= PAGE ? PAGE : SMALL_ALIGN, s->err);
    if (s->status)
        return;
    s->placements[s->n_placements++] = (OnnxPlacement){t, ledge__out_file_size(f->out)};
    s->status = ledge__out_file_write(f->out, t->data, t->data_size, s->err);
}

static int compare_placements(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t)((const OnnxPlacement *)a)->tensor;
    const uintptr_t y = (uintptr_t)((const OnnxPlacement *)b)->tensor;
    return x < y ? -1 : x > y;
}

static LedgeStatus write_model(Saver *s, const OnnxModel *model, LedgeOutFile *out)
{
    OnnxWriter w = {.err = s->err, .placements = s->placements, .n_placements = s->n_placements};
    ledge__onnx_put_message(&w, &ledge__onnx_model, model);
    LEDGE_TRY(check_size(&w, s->path, s->err));
    w.count = 0;
    w.file = out;
    ledge__onnx_put_message(&w, &ledge__onnx_model, model);
    return w.status;
}

/* Everything is on the disk before the first rename; the model's own comes last. */
static LedgeStatus commit(Saver *s, LedgeOutFile *out)
{
    LedgeStatus status = ledge__out_file_sync(out, s->err);
    for (size_t i = 0; i < s->n_files && !status; i++)
        status = ledge__out_file_sync(s->files[i].out, s->err);
    for (size_t i = 0; i < s->n_files && !status; i++) {
        status = ledge__out_file_commit(s->files[i].out, s->err);
        s->files[i].out = NULL;
    }
    if (status) {
        ledge__out_file_abort(out);
        return status;
    }
    return ledge__out_file_commit(out, s->err);
}

LedgeStatus ledge__onnx_write_file(const OnnxModel *model, const char *path, bool keep_external,
                                   LedgeError *err)
{
    Saver s = {.allocator = ledge__arena_allocator(model->arena), .path = path, .err = err};
    LedgeOutFile *out = NULL;
    if (keep_external)
        ledge__onnx_visit_tensors(&ledge__onnx_model, model, place, &s);
    LedgeStatus status = s.status;
    if (s.n_placements)
        qsort(s.placements, s.n_placements, sizeof *s.placements, compare_placements);
    if (!status)
        status = ledge__out_file_open(s.allocator, path, err, &out);
    if (!status)
        status = write_model(&s, model, out);
    if (status)
        ledge__out_file_abort(out);
    else
        status = commit(&s, out);
    saver_free(&s);
    return status;
}
