/* HTTP as the agent needs it, by libcurl: one connection kept alive, everything bounded.
 *
 * Redirects are followed for GET only, never from https to http, and the token goes to the
 * registry's own host alone. A transfer that comes slower than a floor for half a minute is ended,
 * so that nobody can hold the agent by trickling bytes. */
#ifndef LEDGE_AGENT_HTTP_CLIENT_H
#define LEDGE_AGENT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

typedef struct LedgeHttpOptions {
    const char *base;       /* "https://registry:8443", no slash behind */
    const char *token;      /* bearer token; NULL: none */
    const char *ca;         /* PEM file of the authorities to trust; NULL: the system's */
    const char *cert, *key; /* client certificate and key, PEM files; NULL: none */
    const char *proxy;      /* as curl takes it; NULL: what the environment says */
    int64_t bandwidth;      /* bytes a second, 0: no limit */
    int64_t slowest;        /* bytes a second over stall_s below which a transfer ends; 0: 256 */
    int64_t stall_s;        /* 0: 30 */
} LedgeHttpOptions;

typedef struct LedgeHttp LedgeHttp;

LEDGE_MUST_CHECK LedgeStatus ledge__http_new(const LedgeHttpOptions *options, LedgeError *err,
                                             LedgeHttp **out);
void ledge__http_free(LedgeHttp *http); /* NULL is legal */

typedef struct LedgeHttpAsk {
    const char *path; /* behind the base, "/v1/poll" */
    const void *body; /* POST when not NULL */
    size_t body_size;
    bool is_deflated;          /* the body is; JSON either way */
    bool is_binary;            /* the body is no JSON, and may be long */
    const char *if_none_match; /* an ETag without its marks; NULL: none */
    size_t max;                /* most bytes of an answer kept in memory */
    bool is_partial;           /* a range from `from` on is asked for */
    int64_t from;
    /* Takes the answer's body piece by piece instead of memory; false ends the transfer. It is
     * called only where the status is 200 or 206; *answer has status and headers by then. */
    bool (*take)(void *arg, const void *bytes, size_t size);
    void *arg;
} LedgeHttpAsk;

typedef struct LedgeHttpAnswer {
    int status;
    char etag[72];                   /* without its marks; "": none, or longer */
    int64_t retry_after;             /* seconds; -1: not said */
    int64_t range_from, range_total; /* of Content-Range; -1: not said */
    int64_t received;                /* bytes of the body */
    bool too_slow;                   /* the transfer was ended for that */
    char *body;                      /* freed by the caller; NUL-terminated; NULL with `take` */
    size_t size;
} LedgeHttpAnswer;

/* Any answer of HTTP is OK; *out is then filled, whatever its status. Statuses: IO (no connection,
 * cut, too slow), LIMIT (over max), CANCELLED (by take), ARGUMENT, MEMORY. On failure *out has what
 * came so far, without a body. */
LEDGE_MUST_CHECK LedgeStatus ledge__http_ask(LedgeHttp *http, const LedgeHttpAsk *ask,
                                             LedgeError *err, LedgeHttpAnswer *out);
/* Bytes of bodies received since it was made. */
int64_t ledge__http_received(const LedgeHttp *http);

#endif
