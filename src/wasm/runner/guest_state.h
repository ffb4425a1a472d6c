/* The insides of modules and instances, for the files of this folder alone. */
#ifndef LEDGE_WASM_GUEST_STATE_H
#define LEDGE_WASM_GUEST_STATE_H

#include <setjmp.h>
#include <signal.h>

#include "wasm/runner/guest.h"
#include "wasm/runner/guest_abi.h"

struct LedgeGuestModule {
    LwmFile *file;
    const LwmTarget *target;
    int fd; /* of the mapped code: its number is the library's name, so it stays open */
    void *library;
    const LwmModule *code;
    const struct GuestFunction **functions; /* one per import */
};

typedef struct LedgeWasi LedgeWasi;

enum { GUEST_SIGNAL_STACK = 64 << 10 }; /* bytes of LedgeGuest.signal_stack */

struct LedgeGuest {
    LwmHost host; /* first: what the guest's code gets is a pointer to it */
    LedgeGuestModule *module;
    LedgeGuestOptions o;
    void *instance;
    LwmImport *imports;
    struct GuestImport *contexts;
    LedgeNn *nn;
    LedgeWasi *wasi;
    uint32_t pages, most_pages; /* now, and at most */
    bool grow_refused, dead;
    uint64_t host_calls;
    volatile bool time_over;
    void *signal_stack;
};

/* What a guest may import: args of the words in `signature`, the result in values[0]. */
typedef struct GuestFunction {
    const char *module, *name, *signature;
    void (*run)(LedgeGuest *guest, uint64_t *values, const struct GuestFunction *self);
    const LedgeNnFunction *nn; /* behind it, or NULL */
} GuestFunction;

typedef struct GuestImport {
    LedgeGuest *guest;
    const GuestFunction *function;
} GuestImport;

/* ---- running (guest_run.c) ---- */

/* Runs `body` as the guest; what ends it is told in *result. */
void ledge__guest_run(LedgeGuest *guest, void (*body)(LedgeGuest *guest, void *arg), void *arg,
                      LedgeGuestResult *result);
/* From host functions, which must hold nothing: ends the guest. */
__attribute__((noreturn)) void ledge__guest_exit(LedgeGuest *guest, uint32_t code);
extern const LwmServices ledge__guest_services;
/* The guest that runs on this thread, or NULL. */
LedgeGuest *ledge__guest_now(void);

/* ---- memory (guest_memory.c) ---- */

uint8_t *ledge__guest_memory_new(uint64_t pages, uint64_t most);
int ledge__guest_memory_grow(uint8_t *data, uint64_t pages, uint64_t more);
void ledge__guest_memory_free(uint8_t *data);
/* Does the address lie in the reservation of the memory at `data`? */
bool ledge__guest_memory_has(const uint8_t *data, const void *address);
#define GUEST_GUARD_BYTES (((uint64_t)8 << 30) + LWM_PAGE)

/* ---- names (guest_symbol.c) ---- */

/* The function of the ELF library `code` at `offset` from its base, as WebAssembly calls it, and
 * how far into it. false: not known. */
bool ledge__guest_symbol(const uint8_t *code, size_t size, uint64_t offset, char *name, size_t room,
                         uint64_t *into);

/* ---- WASI ---- */

LedgeStatus ledge__wasi_new(const LedgeGuestOptions *o, LedgeError *err, LedgeWasi **out);
void ledge__wasi_free(LedgeWasi *wasi);
extern const GuestFunction ledge__wasi_functions[]; /* ends with an all-zero entry */

#endif
