/* Thread pool: parallel loops over independent work items.
 *
 * Items must not depend on which thread runs them or on how many there are; that is
 * what makes answers equal for every thread count. Workers spin briefly, then park. */
#ifndef LEDGE_BASE_POOL_H
#define LEDGE_BASE_POOL_H

#include <stddef.h>

#include "ledge/allocator.h"
#include "ledge/status.h"

typedef struct LedgePool LedgePool;

/* Work on items [begin, end); `thread` is 0 … threads-1, for per-thread scratch. */
typedef void (*LedgePoolFn)(void *arg, size_t begin, size_t end, int thread);

/* threads: 0 = every fast core, 1 = no workers (the caller does it all). */
LedgeStatus ledge__pool_new(const LedgeAllocator *a, int threads, LedgePool **out);
void ledge__pool_free(LedgePool *pool);         /* NULL is legal */
int ledge__pool_threads(const LedgePool *pool); /* NULL: 1 */

/* Runs fn over [0, count) in ranges of up to `grain` items (at least 1), and returns when
 * all is done. The caller works too. pool == NULL or one thread: a plain call. Calls from
 * several threads on one pool are served one after the other; nested calls run in place. */
void ledge__pool_run(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg);

/* The same in two steps, for a caller with something else to do meanwhile: the workers start at
 * begin, the caller joins in at end, and only after it all is done. pool is not NULL; end follows
 * begin in the same thread, outside any loop, and no other loop of this pool lies between. */
void ledge__pool_begin(LedgePool *pool, size_t count, size_t grain, LedgePoolFn fn, void *arg);
void ledge__pool_end(LedgePool *pool);

#endif
