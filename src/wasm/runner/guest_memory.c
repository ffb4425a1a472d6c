/* Linear memories: address space reserved once, made accessible page by page, so that a memory
 * never moves. With guard pages 8 GiB are reserved: a 32-bit address plus a 32-bit offset cannot
 * leave them. Where code checks each access itself, only what the memory may grow to is. */
#include "wasm/runner/guest_state.h"

#include <sys/mman.h>

/* In front of the memory, out of the guest's reach. */
typedef struct Head {
    uint64_t reserved, bytes;
} Head;

static Head *head_of(const uint8_t *data)
{
    return (Head *)(uintptr_t)(data - LWM_PAGE);
}

/* Address space, of which the first `usable` bytes can be used. */
static uint8_t *reserve(uint64_t bytes, uint64_t usable)
{
    uint8_t *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (mprotect(p, usable, PROT_READ | PROT_WRITE) == 0)
        return p;
    munmap(p, bytes);
    return NULL;
}

uint8_t *ledge__guest_memory_new(uint64_t pages, uint64_t most)
{
    LedgeGuest *g = ledge__guest_now();
    if (!g || pages > g->most_pages)
        return NULL;
    most = most < g->most_pages ? most : g->most_pages;
    const uint64_t body = g->module->code->guard_pages ? GUEST_GUARD_BYTES : most * LWM_PAGE;
    g->host.in_host = 1; /* a signal must not jump out in the middle; see LwmHost */
    uint8_t *p = reserve(LWM_PAGE + body, LWM_PAGE + pages * LWM_PAGE);
    if (p) {
        *(Head *)p = (Head){.reserved = LWM_PAGE + body, .bytes = pages * LWM_PAGE};
        g->pages = (uint32_t)pages;
    }
    g->host.in_host = 0;
    return p ? p + LWM_PAGE : NULL;
}

int ledge__guest_memory_grow(uint8_t *data, uint64_t pages, uint64_t more)
{
    LedgeGuest *g = ledge__guest_now();
    if (more > g->most_pages || pages > g->most_pages - more) {
        g->grow_refused = true;
        return 0;
    }
    g->host.in_host = 1;
    const bool ok =
        !more || mprotect(data + pages * LWM_PAGE, more * LWM_PAGE, PROT_READ | PROT_WRITE) == 0;
    if (ok) {
        head_of(data)->bytes = (pages + more) * LWM_PAGE;
        g->pages = (uint32_t)(pages + more);
    }
    g->host.in_host = 0;
    if (g->host.pending)
        ledge__guest_services.trap((LwmTrap)g->host.pending, __builtin_return_address(0));
    return ok;
}

void ledge__guest_memory_free(uint8_t *data)
{
    if (data)
        munmap(head_of(data), head_of(data)->reserved);
}

bool ledge__guest_memory_has(const uint8_t *data, const void *address)
{
    const uintptr_t at = (uintptr_t)address, begin = (uintptr_t)data;
    return data && at >= begin && at - begin < head_of(data)->reserved - LWM_PAGE;
}
