/* Filling a LedgeError. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *ledge_status_text(LedgeStatus status)
{
    switch (status) {
#define STATUS_CASE(code, name, text)                                                     \
    case LEDGE_##name:                                                                    \
        return text;
        LEDGE_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "unknown status";
}

LedgeStatus ledge__fail(LedgeError *err, LedgeStatus status, const char *where, const char *fmt, ...)
{
    if (!err)
        return status;
    va_list args;
    err->status = status;
    snprintf(err->where, sizeof err->where, "%s", where ? where : "");
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return status;
}

LedgeStatus ledge__fail_errno(LedgeError *err, const char *where, const char *what)
{
    const int e = errno;
    return ledge__fail(err, e == ENOSPC || e == EDQUOT ? LEDGE_ERROR_LIMIT : LEDGE_ERROR_IO, where,
                       "cannot %s: %s", what, strerror(e));
}

LedgeStatus ledge__no_memory(LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_MEMORY, NULL, "out of memory");
}
