/* The inference server: Open Inference Protocol v2 over HTTP, pictures to classes, metrics, a page.
 *
 * One thread talks to the network (libmicrohttpd, epoll) and workers answer, or, to a client that
 * is alone, that thread. docs/protocol.md lists what it understands. Everything from outside is
 * bounded: headers, bodies, connections, waiting.
 */
#ifndef LEDGE_SERVE_SERVER_H
#define LEDGE_SERVE_SERVER_H

#include "serve/ladder.h"
#include "serve/watch.h"

typedef struct LedgeServerOptions {
    const char *host;              /* NULL: 127.0.0.1 */
    uint16_t port;                 /* 0: any that is free */
    int workers;                   /* 0: as many as there are fast cores */
    size_t queue;                  /* requests that may wait, 0: 256 */
    double deadline;               /* seconds that a request may wait, 0: 30 */
    size_t body_limit;             /* bytes of one request, 0: 64 MiB */
    uint32_t connections;          /* most at a time, 0: 1,000 */
    uint32_t idle;                 /* seconds until a silent connection is closed, 0: 30 */
    const char *token;             /* bearer token that POSTs must carry, NULL: none */
    const char *certificate, *key; /* PEM texts for TLS, or NULL */
    const char *shared_memory;     /* what keys of shared memory begin with, NULL: it is off */
    LedgeWatchOptions watch;       /* alerts and kept state */
} LedgeServerOptions;

typedef struct LedgeServer LedgeServer;

/* Serves the models of `table` and `ladders`, which the caller keeps. Statuses: ARGUMENT, RUNTIME
 * (the address is taken), UNSUPPORTED (TLS without support for it), MEMORY. */
LedgeStatus ledge__server_start(const LedgeServerOptions *options, LedgeModelTable *table,
                                LedgeLadders *ladders, LedgeError *err, LedgeServer **out);
/* Another bearer token, NULL: none. Status: MEMORY; then the old one stays. */
LedgeStatus ledge__server_set_token(LedgeServer *s, const char *token, LedgeError *err);
uint16_t ledge__server_port(const LedgeServer *s);
/* Takes no new connections, answers what was asked, for at most `patience` seconds, and ends. NULL
 * is legal. */
void ledge__server_stop(LedgeServer *s, double patience);

#endif
