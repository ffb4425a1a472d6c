/* WASI preview 1 for one instance: what the files of it share.
 *
 * A guest holds what it was given: arguments, environment, three streams, and folders. Every file
 * is reached from one of those folders, and by a path that cannot lead out of it. */
#ifndef LEDGE_WASM_WASI_STATE_H
#define LEDGE_WASM_WASI_STATE_H

#include <errno.h>
#include <sys/stat.h>

#include "wasm/runner/guest_state.h"

typedef enum WasiErrno {
    WASI_SUCCESS = 0,
#define W(code, NAME, host) WASI_##NAME = (code),
#include "wasm/runner/wasi_errno.def"
#undef W
} WasiErrno;

WasiErrno ledge__wasi_errno(int host);

enum { WASI_MOST_FDS = 128, WASI_MOST_PATH = 4096, WASI_MOST_IOVS = 1024 };

typedef enum WasiKind { WASI_FREE, WASI_STREAM, WASI_FILE, WASI_DIR } WasiKind;

typedef struct WasiFd {
    WasiKind kind;
    int host;
    bool read_only; /* a folder and all that is opened below it */
    bool owned;     /* the host's descriptor is closed with it */
    bool may_read, may_write;
    uint16_t flags;      /* fdflags as given */
    const char *preopen; /* the name that the guest knows a given folder by */
} WasiFd;

struct LedgeWasi {
    const LedgeGuestOptions *o;
    WasiFd fds[WASI_MOST_FDS];
};

/* ---- guest memory ---- */

/* Elements at a guest address; NULL when they do not lie inside. */
uint8_t *ledge__wasi_at(LedgeGuest *g, uint64_t address, uint64_t count, uint32_t size);

static inline void wasi_put(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint64_t wasi_get(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* ---- descriptors ---- */

WasiFd *ledge__wasi_fd(LedgeGuest *g, uint64_t fd);           /* NULL: not open */
int ledge__wasi_new_fd(LedgeGuest *g);                        /* -1: all are in use */
void ledge__wasi_put_stat(uint8_t *to, const struct stat *s); /* 64 bytes */
/* Times as WASI gives them (fstflags: 1 atim, 2 atim now, 4 mtim, 8 mtim now), for futimens; false:
 * the flags contradict each other. */
bool ledge__wasi_times(uint64_t atim, uint64_t mtim, uint64_t flags, struct timespec out[2]);

/* ---- paths (wasi_beneath.c) ---- */

/* Opens `path` below the folder `dir`, never outside of it, whatever links lie on the way. Gives
 * -1 with errno. `follow`: a link at the end is followed (inside the folder). */
int ledge__wasi_open_beneath(int dir, const char *path, int flags, mode_t mode, bool follow);
/* The folder that holds the last part of `path`, and that part's name in *last (inside `path`,
 * which is cut up). -1 with errno. */
int ledge__wasi_open_parent(int dir, char *path, const char **last);
/* For tests: without the kernel's own help (openat2). */
extern bool ledge__wasi_no_openat2;

#define F(name, signature) WasiErrno ledge__wasi_##name(LedgeGuest *g, const uint64_t *v);
#include "wasm/runner/wasi_functions.def"
#undef F

#endif
