/* Filling a LedgeError, and byte strings that are not NUL-terminated. */
#ifndef LEDGE_BASE_ERROR_H
#define LEDGE_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "ledge/status.h"

/* Sets *err (may be NULL) and returns `status`, so that a failure is one line:
 * return ledge__fail(err, LEDGE_ERROR_SHAPE, node->name, "expected 4 dimensions, got %d", r); */
LedgeStatus ledge__fail(LedgeError *err, LedgeStatus status, const char *where, const char *fmt,
                        ...) __attribute__((format(printf, 4, 5), cold));
/* After a failed system call: "cannot WHAT: …" by errno. LIMIT where the disk is full, else IO. */
LedgeStatus ledge__fail_errno(LedgeError *err, const char *where, const char *what)
    __attribute__((cold));
/* The one answer to a failed allocation. */
LedgeStatus ledge__no_memory(LedgeError *err) __attribute__((cold));

/* Bytes of somebody else's, e.g. inside a mapped file. */
typedef struct LedgeStr {
    const char *p;
    size_t n;
} LedgeStr;

static inline bool ledge__str_eq(LedgeStr s, const char *z)
{
    return strlen(z) == s.n && (s.n == 0 || memcmp(s.p, z, s.n) == 0);
}

#define LEDGE_TRY(call)                                                                   \
    do {                                                                                  \
        LedgeStatus try_status_ = (call);                                                 \
        if (try_status_ != LEDGE_OK)                                                      \
            return try_status_;                                                           \
    } while (0)

#endif
