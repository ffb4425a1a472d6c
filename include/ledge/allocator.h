/* The allocator that ledge takes its memory from, given at creation of an object. */
#ifndef LEDGE_ALLOCATOR_H
#define LEDGE_ALLOCATOR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `alloc` returns `size` bytes (at least 1) aligned to `align` (a power of two), or NULL;
 * `free` takes what `alloc` gave, or NULL. Both may be called from several threads. */
typedef struct LedgeAllocator {
    void *(*alloc)(void *context, size_t size, size_t align);
    void (*free)(void *context, void *pointer);
    void *context;
} LedgeAllocator;

#ifdef __cplusplus
}
#endif
#endif
