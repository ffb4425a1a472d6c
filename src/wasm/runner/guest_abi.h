/* Between ledge and a guest's native code. Compiled into both: `ledge wasm build` puts this text
 * beside the C that wasm2c made, so it stands on its own.
 *
 * The guest's library exports one symbol, LWM_SYMBOL, a LwmModule. All that it needs of the
 * process comes through LwmServices, bound once; all that it needs of its instance through
 * LwmHost. Values cross as 64-bit words: an i32 in the low half, floats by their bits. */
#ifndef LEDGE_WASM_GUEST_ABI_H
#define LEDGE_WASM_GUEST_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LWM_ABI    1u /* rises with every change here */
#define LWM_SYMBOL "ledge_wasm_module"
#define LWM_PAGE   65536u

typedef enum LwmTrap {
    LWM_TRAP_NONE,
    LWM_TRAP_MEMORY,      /* an access outside the memory or a table */
    LWM_TRAP_OVERFLOW,    /* of an integer */
    LWM_TRAP_DIVISION,    /* by zero */
    LWM_TRAP_CONVERSION,  /* NaN to integer */
    LWM_TRAP_UNREACHABLE, /* the instruction */
    LWM_TRAP_INDIRECT,    /* call of no function, or of another type */
    LWM_TRAP_STACK,       /* exhausted */
    LWM_TRAP_TIME,        /* used up */
    LWM_TRAP_HOST_MEMORY, /* none left for the guest's tables */
    LWM_TRAP_OTHER
} LwmTrap;

/* Takes its arguments from `values` and puts its result into values[0]. */
typedef void LwmFunction(void *context, uint64_t *values);

typedef struct LwmImport {
    LwmFunction *run;
    void *context;
} LwmImport;

/* One instance, as its code sees it. */
typedef struct LwmHost {
    /* A signal that ends the guest jumps out at once where this is 0, and else waits for the end
     * of the call: host code may hold locks and memory. */
    volatile int in_host;
    volatile int pending;  /* a LwmTrap that waits */
    uintptr_t stack_floor; /* host calls begin above this address, or not at all */
    const LwmImport *imports;
} LwmHost;

typedef struct LwmServices {
    LwmHost *(*host)(void); /* of the guest that runs on this thread */
    __attribute__((noreturn)) void (*trap)(LwmTrap trap, const void *pc);
    /* Zeroed memory that can grow in place to `most` pages; NULL: none (a trap follows). */
    uint8_t *(*memory_new)(uint64_t pages, uint64_t most);
    int (*memory_grow)(uint8_t *data, uint64_t pages, uint64_t more); /* 0: refused */
    void (*memory_free)(uint8_t *data);                               /* NULL is legal */
    void *(*table_new)(void *old, size_t old_bytes, size_t bytes);    /* zeroed; NULL: none */
    void (*table_free)(void *table);
} LwmServices;

typedef struct LwmExport {
    const char *name;
    void (*run)(void *instance, uint64_t *values);
} LwmExport;

typedef struct LwmModule {
    uint32_t abi, n_imports, n_exports, guard_pages; /* guard_pages: it relies on 8 GiB of them */
    size_t instance_size;
    const LwmExport *exports;
    void (*bind)(const LwmServices *services);
    void (*end)(void);                                  /* once, after all instances */
    void (*instantiate)(void *instance, LwmHost *host); /* instance: zeroed */
    void (*destroy)(void *instance); /* also after a trap, also in the middle of instantiate */
    void (*memory)(void *instance, uint8_t **data, uint64_t *bytes);
} LwmModule;

#endif
