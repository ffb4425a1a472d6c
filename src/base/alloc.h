/* Allocation: the checked wrappers over a LedgeAllocator, and the arena.
 *
 * All sizes are multiplied by ledge__mul; nothing here aborts. An arena frees at once. */
#ifndef LEDGE_BASE_ALLOC_H
#define LEDGE_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/allocator.h"

#define LEDGE_ALIGN 64 /* a cache line, and the widest vector */

/* *out = a * b; false on overflow. */
static inline bool ledge__mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* *out = a + b; false on overflow. */
static inline bool ledge__add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t ledge__round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes from the scratch of one of `threads` to the next one's, n of them in use. Cores fetch lines
 * far beyond what they read: without a gap they keep taking those that a neighbour writes. */
static inline size_t ledge__thread_stride(size_t n, int threads)
{
    return ledge__round_up(n, LEDGE_ALIGN) + (threads > 1 ? 16384 : 0);
}

/* The process's own allocator (aligned_alloc); used where the caller gave NULL. */
const LedgeAllocator *ledge__allocator_or_default(const LedgeAllocator *a);

/* count * size bytes aligned to LEDGE_ALIGN, not zeroed; NULL on overflow, on lack of
 * memory. A request of 0 bytes gives a valid pointer. */
void *ledge__alloc(const LedgeAllocator *a, size_t count, size_t size);
/* The same for what is read often and kept long. Memory that was somebody's before lies on small
 * pages; where it is large, these go back to the system, and huge ones come when it is filled. */
void *ledge__alloc_lasting(const LedgeAllocator *a, size_t bytes);
void *ledge__calloc(const LedgeAllocator *a, size_t count, size_t size);
void ledge__free(const LedgeAllocator *a, void *p); /* NULL is legal */

/* Grows *items (count used, *cap allocated) so that one more fits. false: no memory, and
 * nothing changed. */
bool ledge__grow(const LedgeAllocator *a, void **items, size_t count, size_t *cap, size_t size);

typedef struct LedgeArena LedgeArena;

LedgeArena *ledge__arena_new(const LedgeAllocator *a); /* NULL: no memory */
void ledge__arena_free(LedgeArena *arena);             /* NULL is legal */
/* Zeroed, 16-byte aligned (64 when size >= 4096); NULL on overflow or lack of memory. */
void *ledge__arena_alloc(LedgeArena *arena, size_t count, size_t size);
/* The same with LEDGE_ALIGN for every size. */
void *ledge__arena_aligned(LedgeArena *arena, size_t bytes);
/* The same, not zeroed: for what is filled at once. */
void *ledge__arena_room(LedgeArena *arena, size_t bytes);
/* Room for one more behind `count` items of an array that only this function made: it doubles
 * when the count is a power of two, so that many appends stay cheap and no capacity needs
 * keeping. Gives the array, perhaps moved; NULL: no memory, and nothing changed. */
void *ledge__arena_append(LedgeArena *arena, void *items, size_t count, size_t size);
char *ledge__arena_strn(LedgeArena *arena, const char *s, size_t n); /* NUL-terminated copy */
char *ledge__arena_str(LedgeArena *arena, const char *s);
char *ledge__arena_printf(LedgeArena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const LedgeAllocator *ledge__arena_allocator(const LedgeArena *arena);

#endif
