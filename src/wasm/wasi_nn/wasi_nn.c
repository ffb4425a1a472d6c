/* One guest's instance: its life, its calls, its handles, and the host memory that it uses. */
#include "wasm/wasi_nn/nn_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

/* ---- host memory ---- */

/* Before each block stands its whole size; LEDGE_ALIGN keeps the block's own alignment. */
static void *counted_alloc(void *context, size_t size, size_t align)
{
    NnBudget *b = context;
    size_t head = align > LEDGE_ALIGN ? align : LEDGE_ALIGN, whole;
    if (!ledge__add(size, head, &whole))
        return NULL;
    const uint64_t used = atomic_fetch_add(&b->used, whole) + whole;
    char *p = used <= b->limit ? b->below->alloc(b->below->context, whole, head) : NULL;
    if (!p) {
        atomic_fetch_sub(&b->used, whole);
        b->refused = true;
        return NULL;
    }
    uint64_t peak = b->peak;
    while (used > peak && !atomic_compare_exchange_weak(&b->peak, &peak, used))
        ;
    memcpy(p + head - 2 * sizeof(size_t), &head, sizeof head);
    memcpy(p + head - sizeof(size_t), &whole, sizeof whole);
    return p + head;
}

static void counted_free(void *context, void *pointer)
{
    NnBudget *b = context;
    size_t head, whole;
    if (!pointer)
        return;
    memcpy(&head, (char *)pointer - 2 * sizeof(size_t), sizeof head);
    memcpy(&whole, (char *)pointer - sizeof(size_t), sizeof whole);
    atomic_fetch_sub(&b->used, whole);
    b->below->free(b->below->context, (char *)pointer - head);
}

static void budget_init(NnBudget *b, const LedgeAllocator *below, uint64_t limit)
{
    b->below = ledge__allocator_or_default(below);
    b->limit = limit;
    b->allocator = (LedgeAllocator){counted_alloc, counted_free, b};
}

/* ---- handles ---- */

#define GENERATIONS 0xffffffu /* 24 bits; 0 and the last are never used, nor a handle 0 or ~0 */

static void table_init(NnTable *t, uint32_t kind, uint32_t limit)
{
    uint32_t seed[NN_MOST_OBJECTS] = {0};
    t->kind = kind;
    t->limit = limit < NN_MOST_OBJECTS ? limit : NN_MOST_OBJECTS;
    /* A lack of entropy only makes handles easier to guess, and they name the guest's own. */
    (void)!getrandom(seed, sizeof seed, GRND_NONBLOCK);
    for (uint32_t i = 0; i < NN_MOST_OBJECTS; i++)
        t->slots[i].first = t->slots[i].generation = 1 + seed[i] % (GENERATIONS - 1);
}

bool ledge__nn_table_full(const NnTable *t)
{
    for (uint32_t i = 0; t->count < t->limit && i < NN_MOST_OBJECTS; i++)
        if (!t->slots[i].object && !t->slots[i].retired)
            return false;
    return true;
}

uint32_t ledge__nn_table_put(NnTable *t, void *object)
{
    uint32_t i = 0;
    while (t->slots[i].object || t->slots[i].retired)
        i++;
    t->slots[i].object = object;
    t->count++;
    return t->slots[i].generation << 8 | t->kind << 7 | i;
}

static uint32_t slot_of(const NnTable *t, uint32_t handle)
{
    const uint32_t i = handle & (NN_MOST_OBJECTS - 1);
    const bool fits =
        (handle >> 7 & 1) == t->kind && t->slots[i].object && t->slots[i].generation == handle >> 8;
    return fits ? i : NN_MOST_OBJECTS;
}

void *ledge__nn_table_get(const NnTable *t, uint32_t handle)
{
    const uint32_t i = slot_of(t, handle);
    return i < NN_MOST_OBJECTS ? t->slots[i].object : NULL;
}

void *ledge__nn_table_take(NnTable *t, uint32_t handle)
{
    const uint32_t i = slot_of(t, handle);
    if (i == NN_MOST_OBJECTS)
        return NULL;
    NnSlot *s = &t->slots[i];
    void *object = s->object;
    s->object = NULL;
    s->generation = s->generation % (GENERATIONS - 1) + 1;
    s->retired = s->generation == s->first;
    t->count--;
    return object;
}

/* ---- failing ---- */

NnErrno ledge__nn_fail(LedgeNn *nn, NnErrno e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(nn->last_error, sizeof nn->last_error, fmt, args);
    va_end(args);
    return e;
}

static NnErrno errno_of(LedgeStatus status)
{
    switch (status) {
    case LEDGE_ERROR_MEMORY:
    case LEDGE_ERROR_LIMIT:
        return NN_TOO_LARGE;
    case LEDGE_ERROR_UNSUPPORTED:
    case LEDGE_ERROR_PROVIDER:
    case LEDGE_ERROR_MISMATCH:
        return NN_UNSUPPORTED_OPERATION;
    case LEDGE_ERROR_NOT_FOUND:
        return NN_NOT_FOUND;
    case LEDGE_ERROR_IO:
    case LEDGE_ERROR_RUNTIME:
    case LEDGE_ERROR_CANCELLED:
        return NN_RUNTIME_ERROR;
    default:
        return NN_INVALID_ARGUMENT;
    }
}

NnErrno ledge__nn_fail_status(LedgeNn *nn, LedgeStatus status, const LedgeError *err)
{
    if (atomic_exchange(&nn->budget.refused, false))
        return ledge__nn_fail(
            nn, NN_TOO_LARGE, "the guest's host memory is used up: %llu of %llu bytes are in use",
            (unsigned long long)nn->budget.used, (unsigned long long)nn->budget.limit);
    return ledge__nn_fail(nn, errno_of(status), "%s%s%s", err->where, err->where[0] ? ": " : "",
                          err->message[0] ? err->message : ledge_status_text(status));
}

NnErrno ledge__nn_fail_at(LedgeNn *nn, LedgeNnMemory m, const char *what, uint32_t address,
                          uint64_t bytes)
{
    if (!m.base)
        return ledge__nn_fail(nn, NN_MISSING_MEMORY, "the guest exports no memory");
    return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                          "%s: %llu bytes at %u do not lie in the guest's %llu bytes of memory",
                          what, (unsigned long long)bytes, address, (unsigned long long)m.size);
}

uint64_t ledge__nn_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

NnErrno ledge__nn_check_time(LedgeNn *nn)
{
    const uint64_t limit = nn->o.limits.compute_ns;
    if (!limit || nn->compute_ns < limit)
        return NN_SUCCESS;
    return ledge__nn_fail(nn, NN_RUNTIME_ERROR,
                          "the guest's %.3f seconds for loading and computing are used up",
                          (double)limit / 1e9);
}

/* ---- life ---- */

LedgeStatus ledge__nn_new(const LedgeNnOptions *options, LedgeNn **out)
{
    const LedgeNnOptions o = options ? *options : (LedgeNnOptions){0};
    LedgeNn *nn = ledge__calloc(o.allocator, 1, sizeof *nn);
    if (!nn)
        return LEDGE_ERROR_MEMORY;
    nn->o = o;
    nn->allocator = o.allocator;
    if (!ledge__lock_init(&nn->lock)) {
        ledge__free(o.allocator, nn);
        return LEDGE_ERROR_MEMORY;
    }
    budget_init(&nn->budget, o.allocator,
                o.limits.host_bytes ? o.limits.host_bytes : (uint64_t)1 << 30);
    table_init(&nn->graphs, NN_GRAPHS, o.limits.graphs ? o.limits.graphs : 16);
    table_init(&nn->contexts, NN_CONTEXTS, o.limits.contexts ? o.limits.contexts : 32);
    *out = nn;
    return LEDGE_OK;
}

void ledge__nn_free(LedgeNn *nn)
{
    if (!nn)
        return;
    for (uint32_t i = 0; i < NN_MOST_OBJECTS; i++)
        ledge__nn_context_free(nn, nn->contexts.slots[i].object);
    for (uint32_t i = 0; i < NN_MOST_OBJECTS; i++)
        ledge__nn_graph_release(nn, nn->graphs.slots[i].object);
    ledge__lock_end(&nn->lock);
    ledge__free(nn->allocator, nn);
}

LedgeNnCounts ledge__nn_counts(LedgeNn *nn)
{
    ledge__lock_take(&nn->lock);
    const LedgeNnCounts c = {.graphs = nn->graphs.count,
                             .contexts = nn->contexts.count,
                             .host_bytes = nn->budget.used,
                             .peak_bytes = nn->budget.peak,
                             .calls = nn->calls,
                             .refused = nn->refused,
                             .computes = nn->computes,
                             .compute_ns = nn->compute_ns};
    ledge__lock_give(&nn->lock);
    return c;
}

const char *ledge__nn_missing(const LedgeNn *nn)
{
    return nn->missing[0] ? nn->missing : NULL;
}

/* ---- calls ---- */

const LedgeNnFunction ledge__nn_functions[] = {
#define NN_FUNCTION(module, name, params) {#module, #name, params, ledge__##module##__##name},
#include "wasm/wasi_nn/nn_functions.def"
#undef NN_FUNCTION
    {0},
};

NnErrno ledge__nn_call(LedgeNn *nn, const LedgeNnFunction *function, LedgeNnMemory memory,
                       const uint32_t *args)
{
    ledge__lock_take(&nn->lock);
    nn->calls++;
    nn->budget.refused = false;
    const NnErrno e = function->run(nn, memory, args);
    nn->refused += e != NN_SUCCESS;
    ledge__lock_give(&nn->lock);
    return e;
}
