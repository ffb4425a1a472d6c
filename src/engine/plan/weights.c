/* Packed and aligned forms of constants, shared by all plans of a model. */
#include "engine/plan/weights.h"

#include "base/lock.h"

struct LedgeWeights {
    const LedgeAllocator *a;
    LedgeLock lock;
    LedgeArena *names;
    LedgeWeightEntry *entries;
    size_t count, cap;
    size_t *slots; /* open addressing over entries; index + 1, 0 is empty */
    size_t n_slots;
    bool sealed;
    char *room;      /* rest of the newest chunk that packed forms are cut from */
    size_t room_left;
    void **chunks;
    size_t n_chunks, cap_chunks;
};

/* Forms share chunks, small ones first; the allocator can put large ones on huge pages. */
#define CHUNK_FIRST ((size_t)64 << 10)
#define CHUNK_LAST ((size_t)4 << 20)

static size_t chunk_size(const LedgeWeights *w, size_t bytes)
{
    size_t size = w->n_chunks < 7 ? CHUNK_FIRST << w->n_chunks : CHUNK_LAST;
    size = size < CHUNK_LAST ? size : CHUNK_LAST;
    return bytes > size ? bytes : size;
}

static void *cut(LedgeWeights *w, size_t bytes)
{
    bytes = ledge__round_up(bytes ? bytes : 1, LEDGE_ALIGN);
    if (bytes > w->room_left) {
        size_t size = chunk_size(w, bytes);
        void *chunks = w->chunks;
        if (!ledge__grow(w->a, &chunks, w->n_chunks, &w->cap_chunks, sizeof *w->chunks))
            return NULL;
        w->chunks = chunks;
        void *p = ledge__alloc_lasting(w->a, size);
        if (!p)
            return NULL;
        w->chunks[w->n_chunks++] = p;
        w->room = p;
        w->room_left = size;
    }
    void *p = w->room;
    w->room += bytes;
    w->room_left -= bytes;
    return p;
}

LedgeWeights *ledge__weights_new(const LedgeAllocator *a)
{
    LedgeWeights *w = ledge__calloc(a, 1, sizeof *w);
    if (!w)
        return NULL;
    w->a = a;
    w->names = ledge__arena_new(a);
    if (!w->names || !ledge__lock_init(&w->lock)) {
        ledge__arena_free(w->names);
        ledge__free(a, w);
        return NULL;
    }
    return w;
}

void ledge__weights_free(LedgeWeights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_chunks; i++)
        ledge__free(w->a, w->chunks[i]);
    ledge__free(w->a, w->chunks);
    ledge__free(w->a, w->entries);
    ledge__free(w->a, w->slots);
    ledge__arena_free(w->names);
    ledge__lock_end(&w->lock);
    ledge__free(w->a, w);
}

static size_t hash_of(const void *source, const char *key)
{
    uint64_t h = (uint64_t)(uintptr_t)source * 0x9e3779b97f4a7c15u;
    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 1099511628211u;
    return (size_t)(h ^ (h >> 29));
}

static LedgeWeightEntry *find(const LedgeWeights *w, const void *source, const char *key)
{
    if (!w->n_slots)
        return NULL;
    for (size_t i = hash_of(source, key) & (w->n_slots - 1); w->slots[i];
         i = (i + 1) & (w->n_slots - 1)) {
        LedgeWeightEntry *e = &w->entries[w->slots[i] - 1];
        if (e->source == source && strcmp(e->key, key) == 0)
            return e;
    }
    return NULL;
}

static void put_slot(LedgeWeights *w, size_t index)
{
    const LedgeWeightEntry *e = &w->entries[index];
    size_t i = hash_of(e->source, e->key) & (w->n_slots - 1);
    while (w->slots[i])
        i = (i + 1) & (w->n_slots - 1);
    w->slots[i] = index + 1;
}

static bool grow_slots(LedgeWeights *w)
{
    if (2 * (w->count + 1) < w->n_slots)
        return true;
    size_t n = w->n_slots ? w->n_slots * 2 : 64;
    size_t *slots = ledge__calloc(w->a, n, sizeof *slots);
    if (!slots)
        return false;
    ledge__free(w->a, w->slots);
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < w->count; i++)
        put_slot(w, i);
    return true;
}

static bool add(LedgeWeights *w, const LedgeWeightEntry *entry)
{
    LedgeWeightEntry e = *entry;
    void *entries = w->entries;
    e.key = ledge__arena_str(w->names, entry->key);
    e.value_name = ledge__arena_str(w->names, entry->value_name);
    if (!e.key || !e.value_name || !grow_slots(w) ||
        !ledge__grow(w->a, &entries, w->count, &w->cap, sizeof e))
        return false;
    w->entries = entries;
    w->entries[w->count++] = e;
    put_slot(w, w->count - 1);
    return true;
}

static LedgeStatus make(LedgeWeights *w, const LedgeValue *v, const char *key, size_t bytes,
                        LedgeStatus (*pack)(void *arg, void *to), void *arg, LedgeError *err,
                        const void **out)
{
    if (w->sealed && strcmp(key, LEDGE_WEIGHTS_ALIGNED) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, v->name,
                           "the compiled model lacks the weights in the form that this CPU needs "
                           "(%s); compile it again for this machine", key);
    if (bytes > PTRDIFF_MAX / 2)
        return ledge__no_memory(err);
    void *p = cut(w, bytes);
    if (!p)
        return ledge__no_memory(err);
    LEDGE_TRY(pack(arg, p));
    LedgeWeightEntry e = {v->t.data, v->name, key, p, bytes, false};
    if (!add(w, &e))
        return ledge__no_memory(err);
    *out = p;
    return LEDGE_OK;
}

LedgeStatus ledge__weights_get(LedgeWeights *w, const LedgeValue *v, const char *key, size_t bytes,
                               LedgeStatus (*pack)(void *arg, void *to), void *arg,
                               const OnnxModel *onnx, LedgeError *err, const void **out)
{
    LedgeStatus s = LEDGE_OK;
    ledge__lock_take(&w->lock);
    const LedgeWeightEntry *e = find(w, v->t.data, key);
    if (e && e->bytes == bytes)
        *out = e->data;
    else
        s = make(w, v, key, bytes, pack, arg, err, out);
    ledge__lock_give(&w->lock);
    if (!e && s == LEDGE_OK && onnx)
        ledge__onnx_release_pages(onnx, v->t.data, ledge_tensor_bytes(&v->t));
    return s;
}

static LedgeStatus copy_bytes(void *arg, void *to)
{
    const LedgeTensor *t = arg;
    memcpy(to, t->data, ledge_tensor_bytes(t));
    return LEDGE_OK;
}

LedgeStatus ledge__weights_aligned(LedgeWeights *w, const LedgeValue *v, LedgeError *err,
                                   const void **out)
{
    size_t bytes = ledge_tensor_bytes(&v->t);
    if (bytes == 0 || ((uintptr_t)v->t.data & 15) == 0) {
        *out = v->t.data;
        return LEDGE_OK;
    }
    return ledge__weights_get(w, v, LEDGE_WEIGHTS_ALIGNED, bytes, copy_bytes, (void *)(uintptr_t)&v->t, NULL,
                              err, out);
}

LedgeStatus ledge__weights_adopt(LedgeWeights *w, const LedgeWeightEntry *entry)
{
    LedgeWeightEntry e = *entry;
    e.borrowed = true;
    return add(w, &e) ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

const LedgeWeightEntry *ledge__weights_at(const LedgeWeights *w, size_t i)
{
    return i < w->count ? &w->entries[i] : NULL;
}

void ledge__weights_seal(LedgeWeights *w)
{
    w->sealed = true;
}
