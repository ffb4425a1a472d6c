/* Allocation: checked wrappers over a LedgeAllocator, and a chunked arena. */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__wasi__)
#include <sys/mman.h>
#endif

#define CHUNK_MIN 16384
#define HUGE_PAGE ((size_t)2 << 20)

/* Large blocks come on huge pages where the system has them: filling them then costs a fault
 * every 2 MiB and not every 4 KiB, which is much of a cold start. */
static void *alloc_huge(size_t size)
{
    void *p = aligned_alloc(HUGE_PAGE, ledge__round_up(size, HUGE_PAGE));
#ifdef MADV_HUGEPAGE
    if (p)
        (void)madvise(p, ledge__round_up(size, HUGE_PAGE), MADV_HUGEPAGE);
#endif
    return p;
}

static void *default_alloc(void *context, size_t size, size_t align)
{
    (void)context;
    if (size > SIZE_MAX - HUGE_PAGE || size > SIZE_MAX - align)
        return NULL;
    if (size >= HUGE_PAGE && align <= HUGE_PAGE)
        return alloc_huge(size);
    return aligned_alloc(align, ledge__round_up(size, align));
}

static void default_free(void *context, void *pointer)
{
    (void)context;
    free(pointer);
}

static const LedgeAllocator default_allocator = {default_alloc, default_free, NULL};

const LedgeAllocator *ledge__allocator_or_default(const LedgeAllocator *a)
{
    return a ? a : &default_allocator;
}

void *ledge__alloc(const LedgeAllocator *a, size_t count, size_t size)
{
    size_t bytes;
    if (!ledge__mul(count, size, &bytes) || bytes > PTRDIFF_MAX - LEDGE_ALIGN)
        return NULL;
    a = ledge__allocator_or_default(a);
    return a->alloc(a->context, bytes ? bytes : 1, LEDGE_ALIGN);
}

void *ledge__alloc_lasting(const LedgeAllocator *a, size_t bytes)
{
    void *p = ledge__alloc(a, bytes, 1);
#ifdef MADV_HUGEPAGE
    if (p && bytes >= HUGE_PAGE && ledge__allocator_or_default(a) == &default_allocator)
        (void)madvise(p, ledge__round_up(bytes, HUGE_PAGE), MADV_DONTNEED);
#endif
    return p;
}

void *ledge__calloc(const LedgeAllocator *a, size_t count, size_t size)
{
    void *p = ledge__alloc(a, count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

void ledge__free(const LedgeAllocator *a, void *p)
{
    if (!p)
        return;
    a = ledge__allocator_or_default(a);
    a->free(a->context, p);
}

bool ledge__grow(const LedgeAllocator *a, void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    size_t wanted = *cap ? *cap * 2 : 8;
    void *p = ledge__alloc(a, wanted, size);
    if (!p)
        return false;
    if (count)
        memcpy(p, *items, count * size);
    ledge__free(a, *items);
    *items = p;
    *cap = wanted;
    return true;
}

typedef struct Chunk {
    struct Chunk *next;
    size_t used, size;
} Chunk;

#define CHUNK_HEADER ((size_t)64)
_Static_assert(sizeof(Chunk) <= 64, "the header keeps the chunk's data aligned");

struct LedgeArena {
    const LedgeAllocator *allocator;
    Chunk *head;
};

LedgeArena *ledge__arena_new(const LedgeAllocator *a)
{
    LedgeArena *arena = ledge__alloc(a, 1, sizeof *arena);
    if (!arena)
        return NULL;
    arena->allocator = a;
    arena->head = NULL;
    return arena;
}

void ledge__arena_free(LedgeArena *arena)
{
    if (!arena)
        return;
    for (Chunk *c = arena->head; c;) {
        Chunk *next = c->next;
        ledge__free(arena->allocator, c);
        c = next;
    }
    ledge__free(arena->allocator, arena);
}

const LedgeAllocator *ledge__arena_allocator(const LedgeArena *arena)
{
    return arena->allocator;
}

static Chunk *chunk_new(LedgeArena *arena, size_t bytes)
{
    size_t size = bytes > CHUNK_MIN / 4 ? bytes : CHUNK_MIN;
    size_t total;
    if (!ledge__add(size, CHUNK_HEADER, &total))
        return NULL;
    Chunk *c = ledge__alloc(arena->allocator, total, 1);
    if (!c)
        return NULL;
    c->used = 0;
    c->size = size;
    /* A large block gets a chunk of its own behind the head, so the head's rest stays usable. */
    if (arena->head && size != CHUNK_MIN) {
        c->next = arena->head->next;
        arena->head->next = c;
    } else {
        c->next = arena->head;
        arena->head = c;
    }
    return c;
}

/* Not zeroed. */
static void *take(LedgeArena *arena, size_t bytes)
{
    if (bytes > PTRDIFF_MAX - 2 * CHUNK_HEADER)
        return NULL;
    bytes = ledge__round_up(bytes ? bytes : 1, 16);
    Chunk *c = arena->head;
    if (!c || c->size - c->used < bytes)
        c = chunk_new(arena, bytes);
    if (!c)
        return NULL;
    char *p = (char *)c + CHUNK_HEADER + c->used;
    c->used += bytes;
    return p;
}

void *ledge__arena_alloc(LedgeArena *arena, size_t count, size_t size)
{
    size_t bytes;
    void *p = ledge__mul(count, size, &bytes) ? take(arena, bytes) : NULL;
    return p ? memset(p, 0, bytes) : NULL;
}

void *ledge__arena_room(LedgeArena *arena, size_t bytes)
{
    size_t room;
    char *p = ledge__add(bytes, LEDGE_ALIGN, &room) ? take(arena, room) : NULL;
    return p ? p + (LEDGE_ALIGN - 1 - ((uintptr_t)p - 1) % LEDGE_ALIGN) : NULL;
}

void *ledge__arena_aligned(LedgeArena *arena, size_t bytes)
{
    void *p = ledge__arena_room(arena, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void *ledge__arena_append(LedgeArena *arena, void *items, size_t count, size_t size)
{
    if (count & (count - 1))
        return items;
    void *p = ledge__arena_alloc(arena, count ? 2 * count : 1, size);
    if (p && count)
        memcpy(p, items, count * size);
    return p;
}

char *ledge__arena_strn(LedgeArena *arena, const char *s, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *p = ledge__arena_alloc(arena, n + 1, 1);
    if (p && n)
        memcpy(p, s, n);
    return p;
}

char *ledge__arena_str(LedgeArena *arena, const char *s)
{
    return ledge__arena_strn(arena, s, strlen(s));
}

char *ledge__arena_printf(LedgeArena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : ledge__arena_alloc(arena, (size_t)n + 1, 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
