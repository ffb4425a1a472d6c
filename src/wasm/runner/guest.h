/* Running guests from .lwm files in this process.
 *
 *   LedgeGuestModule *module;   a file: read, checked, its code mapped; shared by instances
 *   LedgeGuest *guest;          one instance: memory, WASI, wasi-nn; one thread at a time
 *
 * A guest is confined by its code being WebAssembly's: it reaches its own memory and what it
 * imports, nothing else. Whoever built the file vouches for that (see keys). A trap ends the
 * instance and is told as a sentence; the process goes on. */
#ifndef LEDGE_WASM_GUEST_H
#define LEDGE_WASM_GUEST_H

#include "wasm/runner/lwm_file.h"
#include "wasm/wasi_nn/wasi_nn.h"

/* ---- modules ---- */

typedef struct LedgeGuestModule LedgeGuestModule;

/* With n_keys > 0 one of the keys must have signed the file. Statuses: those of reading, and
 * MISMATCH (no code for this machine), UNSUPPORTED (an import that ledge does not have: named),
 * RUNTIME (the code cannot be mapped). */
LEDGE_MUST_CHECK LedgeStatus ledge__guest_open(const char *path, const LedgeKey *const *keys,
                                               size_t n_keys, LedgeError *err,
                                               LedgeGuestModule **out);
void ledge__guest_close(LedgeGuestModule *module); /* after all its instances; NULL is legal */
const LwmFile *ledge__guest_file(const LedgeGuestModule *module);
const char *ledge__guest_target(const LedgeGuestModule *module);
/* The signature of an exported function ("ii:i"); NULL: there is none of that name. */
const char *ledge__guest_signature(const LedgeGuestModule *module, const char *name);

/* Does ledge have this function for guests to import? */
bool ledge__guest_has(const char *module, const char *name);

/* ---- instances ---- */

typedef struct LedgeGuestDir {
    const char *host, *guest; /* a folder here, and its name there */
    bool read_only;
} LedgeGuestDir;

typedef struct LedgeGuestOptions {
    const char *const *args; /* args[0]: the program's name */
    size_t n_args;
    const char *const *env; /* "NAME=VALUE" */
    size_t n_env;
    const LedgeGuestDir *dirs;
    size_t n_dirs;
    uint32_t most_pages; /* of 64 KiB; 0: as the module says */
    uint64_t time_ns;    /* of one call, by the clock; 0: no limit */
    uint64_t cpu_ns;     /* the same, by this thread's CPU time */
    size_t stack_bytes;  /* of the thread that calls, that the guest may use; 0: all but 256 KiB */
    LedgeNnOptions nn;   /* cancelled is the runner's own */
    bool no_stdin;
    bool no_stdout;           /* what it writes there goes to stderr */
    const char *pages_option; /* what sets most_pages, for messages; NULL: --memory-page-limit */
} LedgeGuestOptions;

typedef enum LedgeGuestEnd {
    LEDGE_GUEST_RETURNED,
    LEDGE_GUEST_EXITED, /* by proc_exit: code */
    LEDGE_GUEST_TRAPPED /* the instance is dead */
} LedgeGuestEnd;

typedef struct LedgeGuestResult {
    LedgeGuestEnd end;
    uint32_t code;
    bool time_over;     /* it was trapped for that */
    char sentence[512]; /* of a trap: what, in which function, and what would help */
} LedgeGuestResult;

typedef struct LedgeGuestCounts {
    uint32_t pages, most_pages;
    bool grow_refused; /* the guest asked for memory over the limit */
    uint64_t host_calls;
    const char *missing_model; /* the last name that no model had; NULL: none. The guest's */
    LedgeNnCounts nn;
} LedgeGuestCounts;

typedef struct LedgeGuest LedgeGuest;

/* Statuses: LIMIT (the module's least memory is over the limit: both are said), IO and NOT_FOUND
 * (a folder), RUNTIME (a trap while starting), MEMORY. Strings must live as long as the guest. */
LEDGE_MUST_CHECK LedgeStatus ledge__guest_new(LedgeGuestModule *module,
                                              const LedgeGuestOptions *options, LedgeError *err,
                                              LedgeGuest **out);
void ledge__guest_free(LedgeGuest *guest); /* NULL is legal */

/* Calls an export. values: its arguments on entry, its result in values[0]; room for n. What the
 * guest does wrong is no failure of this function but told in *result. Statuses: NOT_FOUND (no
 * such export), ARGUMENT (it takes another number of arguments), RUNTIME (the instance is dead). */
LEDGE_MUST_CHECK LedgeStatus ledge__guest_call(LedgeGuest *guest, const char *name,
                                               uint64_t *values, size_t n, LedgeError *err,
                                               LedgeGuestResult *result);
/* The guest's memory, NULL where it has none, and bytes of it; NULL when they do not lie inside.
 * Valid until the next call. */
uint8_t *ledge__guest_memory(LedgeGuest *guest, uint64_t *bytes);
uint8_t *ledge__guest_at(LedgeGuest *guest, uint32_t address, uint64_t bytes);
LedgeGuestCounts ledge__guest_counts(LedgeGuest *guest);
/* Of a guest whose memory was not let grow: how much it has, and what gives it more. */
void ledge__guest_tell_memory(const LedgeGuest *guest, char *out, size_t room);

#endif
