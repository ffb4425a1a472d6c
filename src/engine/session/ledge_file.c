/* Reading compiled models. Nothing in the file is trusted: every offset is held against the
 * file's size and every part against its checksum before use. */
#include "engine/session/ledge_file.h"

#include "base/cpu.h"
#include "base/hash.h"
#include "base/pool.h"

#include <sys/mman.h>

/* Bytes of absent constants for each byte of the file. */
#define ABSENT_MAX_RATIO 64u

/* From this size on it pays to start threads for the checksums, up to so many. */
#define SHARED_BYTES ((size_t)2 << 20)
#define MOST_CHECKERS 4

struct LedgeFile {
    const LedgeAllocator *a;
    const uint8_t *bytes;
    size_t size;
    LedgeFileHeader h;
    void *absent; /* address space of constants that are only there packed: reads give zeros */
    size_t absent_size;
    const void **source; /* per constant: the address that stands for it */
    LedgePool *checkers; /* at work on the blobs' checksums; NULL: that is over */
    _Atomic bool wrong;  /* one of them is not what it should be */
};

static LedgeStatus damaged(LedgeError *err, const char *what)
{
    return ledge__fail(err, LEDGE_ERROR_FORMAT, NULL,
                       "the compiled model is damaged (%s); copy or compile it again", what);
}

static bool inside(const LedgeFile *f, const LedgeFilePart *p)
{
    return p->offset <= f->size && p->size <= f->size - p->offset;
}

static bool intact(const LedgeFile *f, const LedgeFilePart *p)
{
    return inside(f, p) && ledge__checksum(f->bytes + p->offset, (size_t)p->size) == p->hash;
}

static LedgeStatus check_header(LedgeFile *f, LedgeError *err)
{
    if (f->size < sizeof f->h)
        return damaged(err, "it ends inside its header");
    memcpy(&f->h, f->bytes, sizeof f->h);
    if (f->h.format != LEDGE_FILE_FORMAT || f->h.packing != LEDGE_FILE_PACKING)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, NULL,
                           "the model was compiled by another version of ledge (format %u.%u, this "
                           "one reads %u.%u); compile it again", f->h.format, f->h.packing,
                           LEDGE_FILE_FORMAT, LEDGE_FILE_PACKING);
    if (ledge__checksum(&f->h, offsetof(LedgeFileHeader, hash)) != f->h.hash)
        return damaged(err, "its header's checksum is wrong");
    if (f->h.file_size != f->size)
        return damaged(err, "its size is not what its header says");
    uint32_t lacking = (uint32_t)f->h.cpu & ~ledge__cpu_flags();
    if (lacking)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, NULL,
                           "the model was compiled for a CPU with %s, this one offers %s; compile "
                           "it for this machine", ledge__cpu_level_name((uint32_t)f->h.cpu),
                           ledge__cpu_level_name(ledge__cpu_flags()));
    if (!intact(f, &f->h.graph))
        return damaged(err, "its graph's checksum is wrong");
    if (!intact(f, &f->h.table))
        return damaged(err, "its table's checksum is wrong");
    return LEDGE_OK;
}

static bool table_has_room(const LedgeFileHeader *h)
{
    size_t a, b, n;
    return ledge__mul((size_t)h->n_constants, sizeof(LedgeFileConstant), &a) &&
           ledge__mul((size_t)h->n_forms, sizeof(LedgeFileForm), &b) && ledge__add(a, b, &n) &&
           n <= h->names_offset && h->names_offset <= h->table.size;
}

static void constant_at(const LedgeFile *f, size_t i, LedgeFileConstant *c)
{
    memcpy(c, f->bytes + f->h.table.offset + i * sizeof *c, sizeof *c);
}

static void form_at(const LedgeFile *f, size_t i, LedgeFileForm *m)
{
    memcpy(m,
           f->bytes + f->h.table.offset + (size_t)f->h.n_constants * sizeof(LedgeFileConstant) +
               i * sizeof *m,
           sizeof *m);
}

/* A name inside the table's names; false when it is not inside. */
static bool name_at(const LedgeFile *f, uint64_t offset, uint64_t size, LedgeStr *out)
{
    uint64_t room = f->h.table.size - f->h.names_offset;
    if (offset > room || size > room - offset)
        return false;
    out->p = (const char *)f->bytes + f->h.table.offset + f->h.names_offset + offset;
    out->n = (size_t)size;
    return true;
}

static LedgeStatus check_constant(const LedgeFile *f, const LedgeFileConstant *c, LedgeStr *name,
                                  size_t *bytes, LedgeError *err)
{
    LedgeTensor t = {.type = (LedgeType)c->type, .rank = c->rank};
    if (c->rank < 0 || c->rank > LEDGE_MAX_RANK || ledge_type_bits(t.type) == 0 ||
        t.type == LEDGE_STRING || !name_at(f, c->name_offset, c->name_size, name))
        return damaged(err, "a constant's description is wrong");
    memcpy(t.dims, c->dims, sizeof t.dims);
    *bytes = ledge_tensor_bytes(&t);
    if (*bytes == SIZE_MAX || (c->data.size && c->data.size != *bytes) ||
        (c->data.offset & (LEDGE_ALIGN - 1)) || !inside(f, &c->data))
        return damaged(err, "a constant's data is wrong");
    return LEDGE_OK;
}

/* Addresses for constants without raw data: readable zeros that take no memory. */
static LedgeStatus reserve_absent(LedgeFile *f, LedgeError *err)
{
    LedgeFileConstant c;
    LedgeStr name;
    size_t total = LEDGE_ALIGN, present = 0, bytes;
    for (size_t i = 0; i < f->h.n_constants; i++) {
        constant_at(f, i, &c);
        LEDGE_TRY(check_constant(f, &c, &name, &bytes, err));
        /* Entries that share bytes would be hashed over and over. */
        if (!ledge__add(present, (size_t)c.data.size, &present) || present > f->size)
            return damaged(err, "its constants overlap");
        if (!c.data.size && !ledge__add(total, ledge__round_up(bytes, LEDGE_ALIGN), &total))
            return damaged(err, "its constants are too large");
    }
    /* Packing shrinks a weight by so much at most; reading terabytes of zeros would take for ever. */
    if (total > LEDGE_ALIGN && total / ABSENT_MAX_RATIO > f->size)
        return damaged(err, "its constants are too large");
    void *p = mmap(NULL, total, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return ledge__no_memory(err);
    f->absent = p;
    f->absent_size = total;
    return LEDGE_OK;
}

static LedgeStatus add_constants(LedgeFile *f, OnnxModel *m, LedgeError *err)
{
    size_t n = (size_t)f->h.n_constants, old = m->graph.n_initializers, used = 0, bytes;
    OnnxTensor *all = ledge__arena_alloc(m->arena, old + n, sizeof *all);
    f->source = ledge__arena_alloc(m->arena, n, sizeof *f->source);
    if (!all || !f->source)
        return ledge__no_memory(err);
    if (old)
        memcpy(all, m->graph.initializers, old * sizeof *all);
    for (size_t i = 0; i < n; i++) {
        LedgeFileConstant c;
        OnnxTensor *t = &all[old + i];
        constant_at(f, i, &c);
        LEDGE_TRY(check_constant(f, &c, &t->name, &bytes, err));
        t->data_type = c.type;
        t->n_dims = (size_t)c.rank;
        t->dims = ledge__arena_alloc(m->arena, t->n_dims, sizeof *t->dims);
        if (!t->dims)
            return ledge__no_memory(err);
        memcpy(t->dims, c.dims, t->n_dims * sizeof *t->dims);
        t->data = c.data.size ? f->bytes + c.data.offset : (uint8_t *)f->absent + used;
        t->data_size = bytes;
        t->offset = t->length = -1;
        f->source[i] = t->data;
        used += c.data.size ? 0 : ledge__round_up(bytes, LEDGE_ALIGN);
    }
    m->graph.initializers = all;
    m->graph.n_initializers = old + n;
    return LEDGE_OK;
}

/* ---- checksums of the blobs, by several threads, while the model is made ---- */

/* The last first: large classifiers stand at the end, and what is large should begin early. */
static void verify_some(void *arg, size_t begin, size_t end, int thread)
{
    LedgeFile *f = arg;
    const size_t constants = (size_t)f->h.n_constants, items = constants + (size_t)f->h.n_forms;
    (void)thread;
    for (size_t item = begin; item < end && !f->wrong; item++) {
        const size_t i = items - 1 - item;
        LedgeFileConstant c;
        LedgeFileForm m;
        if (i < constants)
            constant_at(f, i, &c);
        else
            form_at(f, i - constants, &m);
        if (!intact(f, i < constants ? &c.data : &m.data))
            f->wrong = true;
    }
}

/* Entries that share bytes would be hashed over and over. */
static LedgeStatus begin_to_verify(LedgeFile *f, LedgeError *err)
{
    size_t total = 0;
    for (size_t i = 0; i < f->h.n_forms; i++) {
        LedgeFileForm m;
        form_at(f, i, &m);
        if (!inside(f, &m.data))
            return damaged(err, "a packed weight is wrong");
        if (!ledge__add(total, (size_t)m.data.size, &total) || total > f->size)
            return damaged(err, "its packed weights overlap");
    }
    const int cores = f->size >= SHARED_BYTES ? ledge__cpu_allowed() : 1;
    if (ledge__pool_new(f->a, cores < MOST_CHECKERS ? cores : MOST_CHECKERS, &f->checkers) !=
        LEDGE_OK)
        return ledge__no_memory(err);
    ledge__pool_begin(f->checkers, (size_t)(f->h.n_constants + f->h.n_forms), 1, verify_some, f);
    return LEDGE_OK;
}

LedgeStatus ledge__file_verified(LedgeFile *f, LedgeError *err)
{
    if (f->checkers) {
        ledge__pool_end(f->checkers);
        ledge__pool_free(f->checkers);
        f->checkers = NULL;
    }
    return f->wrong ? damaged(err, "a weight's checksum is wrong") : LEDGE_OK;
}

static LedgeStatus open_checked(LedgeFile *f, LedgeError *err, OnnxModel **model)
{
    OnnxModel *m = NULL;
    LEDGE_TRY(check_header(f, err));
    if (!table_has_room(&f->h))
        return damaged(err, "its table is too short");
    LEDGE_TRY(reserve_absent(f, err));
    LEDGE_TRY(begin_to_verify(f, err));
    LEDGE_TRY(ledge__onnx_read_memory(f->a, f->bytes + f->h.graph.offset, (size_t)f->h.graph.size,
                                      err, &m));
    LedgeStatus s = add_constants(f, m, err);
    if (s != LEDGE_OK) {
        ledge__onnx_free(m);
        return s;
    }
    *model = m;
    return LEDGE_OK;
}

LedgeStatus ledge__file_open(const LedgeAllocator *a, const void *bytes, size_t size,
                             LedgeError *err, LedgeFile **out, OnnxModel **model)
{
    LedgeFile *f = ledge__calloc(a, 1, sizeof *f);
    if (!f)
        return ledge__no_memory(err);
    f->a = a;
    f->bytes = bytes;
    f->size = size;
    LedgeStatus s = open_checked(f, err, model);
    if (s != LEDGE_OK) {
        ledge__file_free(f);
        return s;
    }
    *out = f;
    return LEDGE_OK;
}

uint32_t ledge__file_cpu(const LedgeFile *f)
{
    return (uint32_t)f->h.cpu;
}

/* Kernels read packed forms with aligned loads; a file in memory may begin anywhere. */
static const void *aligned_form(const LedgeFile *f, const LedgeGraph *g, const LedgeFilePart *part)
{
    const uint8_t *from = f->bytes + part->offset;
    if (((uintptr_t)from & (LEDGE_ALIGN - 1)) == 0)
        return from;
    void *to = ledge__arena_room(g->arena, (size_t)part->size);
    if (to)
        memcpy(to, from, (size_t)part->size);
    return to;
}

LedgeStatus ledge__file_adopt(const LedgeFile *f, const LedgeGraph *g, LedgeWeights *w,
                              LedgeError *err)
{
    for (size_t i = 0; i < f->h.n_forms; i++) {
        LedgeFileForm m;
        LedgeStr key;
        const void *data;
        form_at(f, i, &m);
        if (m.constant >= f->h.n_constants || !name_at(f, m.key_offset, m.key_size, &key) ||
            m.data.size == 0 || (m.data.offset & (LEDGE_ALIGN - 1)))
            return damaged(err, "a packed weight is wrong");
        if (!(data = aligned_form(f, g, &m.data)))
            return ledge__no_memory(err);
        const char *text = ledge__arena_strn(g->arena, key.p, key.n);
        if (!text)
            return ledge__no_memory(err);
        LedgeWeightEntry e = {.source = f->source[m.constant], .value_name = "", .key = text,
                              .data = data, .bytes = (size_t)m.data.size};
        if (ledge__weights_adopt(w, &e) != LEDGE_OK)
            return ledge__no_memory(err);
    }
    ledge__weights_seal(w);
    return LEDGE_OK;
}

void ledge__file_free(LedgeFile *f)
{
    if (!f)
        return;
    ledge__file_verified(f, NULL);
    if (f->absent)
        munmap(f->absent, f->absent_size);
    ledge__free(f->a, f);
}
